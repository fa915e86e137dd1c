/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/policy.h"

#include "orchestrator/core/lease/lease.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/units.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_MS 1000LL
#define HOUR_MS (3600 * SECOND_MS)
#define MIB (1024LL * 1024)
#define NO_FIELD G_MAXSIZE
/* A chain is refused at 64 files and slowed down at 48 (one a point). */
#define MAX_POINTS 48
#define MAX_WORDS 3
#define NO_FOLDER "none"

typedef enum {
    KIND_DURATION,
    KIND_SIZE,
    KIND_RATE,
    KIND_RETAIN,
    KIND_WORD,
    KIND_FOLDER,
    KIND_COUNT,
    KIND_CALENDAR,
    KIND_ZONE
} Kind;

typedef struct {
    PolicyProperty shown;
    Kind kind;
    gsize field; /* offset in Policy; NO_FIELD: there is only one value yet */
    gint64 min;
    gint64 max;
    const char *words[MAX_WORDS]; /* of KIND_WORD: what this version acts on */
    const char *later;            /* of KIND_WORD: a word of the product that it does not */
    const char *instead;          /* and what to do meanwhile */
} Row;

#define IN(member) offsetof(Policy, member)

static const Row TABLE[] = {
    {{"interval", "5s", "250ms to 1h",
      "time between two cuts of a VM; a copy is lagging after 3 intervals + 5 s", POLICY_ALWAYS},
     KIND_DURATION,
     IN(interval_ms),
     250,
     HOUR_MS},
    {{"countdown", "300s", "5s to 1d",
      "time that a silent host or VM has to answer before a switchover is due", POLICY_ALWAYS},
     KIND_DURATION,
     IN(countdown_ms),
     5 * SECOND_MS,
     24 * HOUR_MS},
    {{"switchover", "manual", "manual | auto",
      "who starts a switchover when the countdown of a silent host or VM is over; auto needs a countdown of "
      "at "
      "least 12s, and a controller on a third machine",
      POLICY_NOT_WHILE_MOVED},
     KIND_WORD,
     IN(switchover),
     0,
     0,
     {"manual", "auto"}},
    {{"confirm", "no", "no | yes",
      "with switchover=auto, whether the operator is asked at the countdown's end, instead of switching over",
      POLICY_ALWAYS},
     KIND_WORD,
     IN(confirm),
     0,
     0,
     {"no", "yes"}},
    /* What a standby may conclude from silence: not to be changed while it concludes. */
    {{"isolation", "pause", "pause | run",
      "with switchover=auto, what becomes of VMs whose host neither replica nor controller answers: they are "
      "paused before another may run them; or run on, and then nobody takes over by itself unless a fence "
      "says "
      "that the host is off",
      POLICY_NOT_WHILE_MOVED},
     KIND_WORD,
     IN(isolation),
     0,
     0,
     {"pause", "run"}},
    {{"trust_clock", "no", "no | yes",
      "yes, at the operator's own risk: hosts that are VMs themselves may have switchover=auto; whoever "
      "suspends, migrates or snapshots such a host could have a VM run twice",
      POLICY_ALWAYS},
     KIND_WORD,
     IN(trust_clock),
     0,
     0,
     {"no", "yes"}},
    {{"reverse", "manual", "manual | auto",
      "who starts replication back to the old host after a switchover: the operator, or the switchover "
      "itself",
      POLICY_NOT_WHILE_MOVED},
     KIND_WORD,
     IN(reverse),
     0,
     0,
     {"manual", "auto"}},
    /* To leave it to the operator must be possible just when it is about to happen. */
    {{"switchback", "manual", "manual | auto",
      "who moves the VMs home when the master is well again; auto implies reverse=auto", POLICY_ALWAYS},
     KIND_WORD,
     IN(switchback),
     0,
     0,
     {"manual", "auto"}},
    {{"switchback_after", "10m", "10s to 7d",
      "with switchback=auto, how long what is away must have been protected there without a break",
      POLICY_ALWAYS},
     KIND_DURATION,
     IN(switchback_after_ms),
     10 * SECOND_MS,
     7 * 24 * HOUR_MS},
    {{"retain", "24+24h", "NEWEST[+HOURSh][+DAYSd][+WEEKSw], at most 48 in all",
      "recovery points kept: the newest, and the first of each hour, day, and week from Monday, in UTC",
      POLICY_ALWAYS},
     KIND_RETAIN,
     IN(retain),
     1,
     MAX_POINTS},
    {{"bandwidth", "0", "0 for no limit, or 64kbit to 400gbit", "the most that replication of a VM may send",
      POLICY_ALWAYS},
     KIND_RATE,
     IN(bandwidth_bps),
     8000,
     50000000000LL},
    {{"compress", "auto", "auto | never | always",
      "auto compresses when the link is slower than the processor", POLICY_ALWAYS},
     KIND_WORD,
     IN(compress),
     0,
     0,
     {"auto", "never", "always"}},
    {{"freeze", "never", "never | always",
      "whether the guest's agent freezes its file systems, at most 2 s, around a cut", POLICY_ALWAYS},
     KIND_WORD,
     IN(freeze),
     0,
     0,
     {"never", "always"}},
    {{"scratch", "1G", "64MiB to 1TiB", "most space for what a guest overwrites while a cut is being read",
      POLICY_ALWAYS},
     KIND_SIZE,
     IN(scratch_bytes),
     64 * MIB,
     1024 * 1024 * MIB},
    {{"shutdown_timeout", "180s", "5s to 1h",
      "how long a guest may take to shut down before it counts as failed", POLICY_ALWAYS},
     KIND_DURATION,
     IN(shutdown_timeout_ms),
     5 * SECOND_MS,
     HOUR_MS},
    {{"start_timeout", "300s", "5s to 1h",
      "how long a start, on the standby or where the VM was, may take before it counts as failed",
      POLICY_ALWAYS},
     KIND_DURATION,
     IN(start_timeout_ms),
     5 * SECOND_MS,
     HOUR_MS},
    {{"reset_after", "180s", "0s to 1h",
      "how long a guest that runs on is given, once its checks are missed, before it is reset: its user may "
      "be shutting it down",
      POLICY_ALWAYS},
     KIND_DURATION,
     IN(reset_after_ms),
     0,
     HOUR_MS},
    {{"probe_interval", "5s", "1s to 1h",
      "time between two probes of a host or guest, from the standby's host and from its own", POLICY_ALWAYS},
     KIND_DURATION,
     IN(probe_interval_ms),
     SECOND_MS,
     HOUR_MS},
    {{"probe_timeout", "5s", "250ms to 1h; at most three quarters of probe_interval count",
      "how long a probe may take before it counts as missed", POLICY_ALWAYS},
     KIND_DURATION,
     IN(probe_timeout_ms),
     250,
     HOUR_MS},
    {{"probe_misses", "3", "1 to 100", "probes missed in a row that make a host or guest silent",
      POLICY_ALWAYS},
     KIND_COUNT,
     IN(probe_misses),
     1,
     100},
    {{"restart", "auto", "auto | never",
      "whether a guest that died, or whose checks are missed, is first started or reset where it is",
      POLICY_ALWAYS},
     KIND_WORD,
     IN(restart),
     0,
     0,
     {"auto", "never"}},
    {{"verify_interval", "1h", "10s to 7d",
      "time between two looks whether a switchover would work; an event says so when the answer changes",
      POLICY_ALWAYS},
     KIND_DURATION,
     IN(verify_interval_ms),
     10 * SECOND_MS,
     7 * 24 * HOUR_MS},
    {{"test", POLICY_NO_TEST,
      "never, or as crontab(5): minute hour day-of-month month day-of-week; @hourly | @daily | @weekly | "
      "@monthly",
      "when an integrity test of all VMs begins by itself", POLICY_ALWAYS},
     KIND_CALENDAR,
     IN(test)},
    {{"test_zone", "UTC", "UTC | local (the controller's) | a place as Europe/Berlin",
      "time zone that test is in", POLICY_ALWAYS},
     KIND_ZONE,
     IN(test_zone)},
    {{"seed", NO_FOLDER, "none, or its path from / on",
      "folder on the replica's host with copies of the VMs' images, which the first copy is compared with",
      POLICY_ALWAYS},
     KIND_FOLDER,
     IN(seed)},
    {{"tracking", "auto", "auto", "how changes are found; auto takes what the VM's disks allow",
      POLICY_STOPPED},
     KIND_WORD,
     NO_FIELD,
     0,
     0,
     {"auto"},
     "epoch",
     "this version tracks changes by bitmaps, which qcow2 disks have"},
};

static const char *const WHEN[] = {
    [POLICY_ALWAYS] = "always",
    [POLICY_STOPPED] = "stopped",
    [POLICY_NOT_WHILE_MOVED] = "not-while-moved",
};

static const Row *find_row(const char *key)
{
    for (guint i = 0; i < G_N_ELEMENTS(TABLE); i++)
        if (g_str_equal(TABLE[i].shown.key, key))
            return &TABLE[i];
    return NULL;
}

static void *member(const Row *row, const Policy *p)
{
    g_assert(row->field < sizeof(Policy));
    return (char *)p + row->field;
}

static gboolean out_of_range(const Row *row, const char *value, GError **error)
{
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s '%.64s' is out of range: it may be %s", row->shown.key,
                value, row->shown.accepts);
    return FALSE;
}

static gboolean set_number(const Row *row, Policy *p, gint64 n, const char *value, GError **error)
{
    if (n < row->min || n > row->max)
        return out_of_range(row, value, error);
    *(gint64 *)member(row, p) = n;
    return TRUE;
}

static gboolean set_duration(const Row *row, Policy *p, const char *value, GError **error)
{
    gint64 ms;

    return units_parse_duration(value, &ms, error) && set_number(row, p, ms, value, error);
}

static gboolean set_count(const Row *row, Policy *p, const char *value, GError **error)
{
    guint64 n;

    return g_ascii_string_to_unsigned(value, 10, 0, G_MAXINT, &n, NULL)
               ? set_number(row, p, (gint64)n, value, error)
               : out_of_range(row, value, error);
}

static gboolean set_size(const Row *row, Policy *p, const char *value, GError **error)
{
    guint64 bytes;

    if (!units_parse_size(value, &bytes, error))
        return FALSE;
    return set_number(row, p, (gint64)MIN(bytes, (guint64)G_MAXINT64), value, error);
}

static gboolean set_rate(const Row *row, Policy *p, const char *value, GError **error)
{
    guint64 rate;

    if (!units_parse_rate(value, &rate, error))
        return FALSE;
    if (rate == 0) {
        p->bandwidth_bps = 0;
        return TRUE;
    }
    return set_number(row, p, (gint64)MIN(rate, (guint64)G_MAXINT64), value, error);
}

/* The count that @unit ends; NULL: there is no such unit. */
static gint64 *retain_count(Retain *r, char unit)
{
    switch (unit) {
    case '\0':
        return &r->newest;
    case 'h':
        return &r->hourly;
    case 'd':
        return &r->daily;
    case 'w':
        return &r->weekly;
    default:
        return NULL;
    }
}

/* The newest come first, the others in any order and at most once. */
static gboolean parse_retain(const char *value, Retain *ret_retain)
{
    g_auto(GStrv) terms = g_strsplit(value, "+", 0);
    Retain r = {0};

    for (guint i = 0; terms[i]; i++) {
        char *unit = NULL;
        gint64 n = g_ascii_strtoll(terms[i], &unit, 10);
        gint64 *count = retain_count(&r, *unit);

        if (!g_ascii_isdigit(terms[i][0]) || !count || *count || (*unit && unit[1]) ||
            (i > 0) != (*unit != '\0'))
            return FALSE;
        *count = n;
    }
    *ret_retain = r;
    return terms[0] != NULL;
}

static char *format_retain(Retain r)
{
    static const char UNITS[] = "hdw";
    GString *text = g_string_new(NULL);

    g_string_append_printf(text, "%" G_GINT64_FORMAT, r.newest);
    for (const char *unit = UNITS; *unit; unit++)
        if (*retain_count(&r, *unit))
            g_string_append_printf(text, "+%" G_GINT64_FORMAT "%c", *retain_count(&r, *unit), *unit);
    return g_string_free(text, FALSE);
}

static gboolean set_retain(const Row *row, Policy *p, const char *value, GError **error)
{
    Retain r;

    if (!parse_retain(value, &r)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "'%.64s' does not say what to keep: write 24 for the 24 newest points only, or "
                    "24+12h+7d+4w for those and one of each of 12 hours, 7 days and 4 weeks",
                    value);
        return FALSE;
    }
    if (r.newest < row->min || MAX(MAX(r.newest, r.hourly), MAX(r.daily, r.weekly)) > row->max ||
        r.newest + r.hourly + r.daily + r.weekly > row->max)
        return out_of_range(row, value, error);
    p->retain = r;
    return TRUE;
}

static gboolean set_word(const Row *row, Policy *p, const char *value, GError **error)
{
    for (int i = 0; i < MAX_WORDS && row->words[i]; i++) {
        if (!g_str_equal(row->words[i], value))
            continue;
        if (row->field != NO_FIELD)
            *(int *)member(row, p) = i;
        return TRUE;
    }
    if (row->later && g_str_equal(row->later, value))
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "%s cannot be '%s' yet: %s; keep '%s'",
                    row->shown.key, value, row->instead, row->words[0]);
    else
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s cannot be '%.64s': it may be %s", row->shown.key,
                    value, row->shown.accepts);
    return FALSE;
}

static gboolean set_folder(const Row *row, Policy *p, const char *value, GError **error)
{
    gboolean none = g_str_equal(value, NO_FOLDER);

    if (!none && !folder_check(row->shown.key, value, error))
        return FALSE;
    g_strlcpy(member(row, p), none ? "" : value, FOLDER_MAX + 1);
    return TRUE;
}

static gboolean set_calendar(const Row *row, Policy *p, const char *value, GError **error)
{
    Calendar calendar;

    if (!g_str_equal(value, POLICY_NO_TEST) && !calendar_read(value, &calendar, error)) {
        g_prefix_error(error, "%s: ", row->shown.key);
        return FALSE;
    }
    g_strlcpy(member(row, p), value, CALENDAR_MAX + 1);
    return TRUE;
}

/* Whether there is such a zone is the machine's to say that goes by it. */
static gboolean set_zone(const Row *row, Policy *p, const char *value, GError **error)
{
    if (!calendar_zone_check(value, error)) {
        g_prefix_error(error, "%s: ", row->shown.key);
        return FALSE;
    }
    g_strlcpy(member(row, p), value, CALENDAR_ZONE_MAX + 1);
    return TRUE;
}

static gboolean set_row(const Row *row, Policy *p, const char *value, GError **error)
{
    switch (row->kind) {
    case KIND_DURATION:
        return set_duration(row, p, value, error);
    case KIND_SIZE:
        return set_size(row, p, value, error);
    case KIND_RATE:
        return set_rate(row, p, value, error);
    case KIND_RETAIN:
        return set_retain(row, p, value, error);
    case KIND_WORD:
        return set_word(row, p, value, error);
    case KIND_FOLDER:
        return set_folder(row, p, value, error);
    case KIND_COUNT:
        return set_count(row, p, value, error);
    case KIND_CALENDAR:
        return set_calendar(row, p, value, error);
    case KIND_ZONE:
        return set_zone(row, p, value, error);
    }
    g_assert_not_reached();
}

static char *get_row(const Row *row, const Policy *p)
{
    switch (row->kind) {
    case KIND_DURATION:
        return units_format_duration(*(gint64 *)member(row, p));
    case KIND_SIZE:
        return units_format_size(*(guint64 *)member(row, p));
    case KIND_RATE:
        return units_format_rate(*(guint64 *)member(row, p));
    case KIND_RETAIN:
        return format_retain(p->retain);
    case KIND_WORD:
        return g_strdup(row->words[row->field == NO_FIELD ? 0 : *(int *)member(row, p)]);
    case KIND_FOLDER:
        return g_strdup(*(char *)member(row, p) ? member(row, p) : NO_FOLDER);
    case KIND_COUNT:
        return g_strdup_printf("%" G_GINT64_FORMAT, *(gint64 *)member(row, p));
    case KIND_CALENDAR:
    case KIND_ZONE:
        return g_strdup(member(row, p));
    }
    g_assert_not_reached();
}

guint policy_count(void)
{
    return G_N_ELEMENTS(TABLE);
}

const PolicyProperty *policy_at(guint index)
{
    g_assert(index < G_N_ELEMENTS(TABLE));
    return &TABLE[index].shown;
}

const PolicyProperty *policy_find(const char *key)
{
    const Row *row = find_row(key);

    return row ? &row->shown : NULL;
}

void policy_init(Policy *p)
{
    memset(p, 0, sizeof *p);
    for (guint i = 0; i < G_N_ELEMENTS(TABLE); i++) {
        gboolean ok = set_row(&TABLE[i], p, TABLE[i].shown.fallback, NULL);

        g_assert(ok);
    }
}

gboolean policy_set(Policy *p, const char *key, const char *value, GError **error)
{
    const Row *row = find_row(key);

    if (!row) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "there is no property '%.64s'; 'understudy scenario set --help' lists them", key);
        return FALSE;
    }
    return set_row(row, p, value, error);
}

/* Three renewals may be lost, and there is still time to stop the guests: what lease_times() takes is long enough for that. */
gboolean policy_check(const Policy *p, GError **error)
{
    g_autofree char *countdown = units_format_duration(p->countdown_ms);
    g_autofree char *least = units_format_duration(LEASE_COUNTDOWN_MIN_MS);
    LeaseTimes times;

    if (p->switchover != SWITCHOVER_AUTO || lease_times(p->countdown_ms, &times, NULL))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_USAGE,
                "countdown %s is too short for switchover=auto: what runs on the master could not be stopped "
                "surely before the replica starts it; set countdown to at least %s, or switchover=manual",
                countdown, least);
    return FALSE;
}

char *policy_get(const Policy *p, const char *key)
{
    const Row *row = find_row(key);

    g_assert(row);
    return get_row(row, p);
}

gboolean policy_may_change(const char *key, PolicyMoment moment, GError **error)
{
    const Row *row = find_row(key);

    g_assert(row);
    if (row->shown.when == POLICY_STOPPED && moment != POLICY_MOMENT_STOPPED) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "%s may only change while the scenario is stopped: nothing was changed; stop it first",
                    key);
        return FALSE;
    }
    if (row->shown.when == POLICY_NOT_WHILE_MOVED && moment == POLICY_MOMENT_MOVED) {
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "%s may not change between a switchover and the switchback: nothing was changed; switch back "
            "first",
            key);
        return FALSE;
    }
    return TRUE;
}

gint64 policy_try_ms(const Policy *p)
{
    return MIN(p->probe_timeout_ms, p->probe_interval_ms * 3 / 4);
}

gboolean policy_reverses(const Policy *p)
{
    return p->reverse == REVERSE_AUTO || p->switchback == SWITCHBACK_AUTO;
}

static gboolean row_equal(const Row *row, const Policy *a, const Policy *b)
{
    g_autofree char *x = get_row(row, a);
    g_autofree char *y = get_row(row, b);

    return g_str_equal(x, y);
}

gboolean policy_equal(const Policy *a, const Policy *b)
{
    for (guint i = 0; i < G_N_ELEMENTS(TABLE); i++)
        if (!row_equal(&TABLE[i], a, b))
            return FALSE;
    return TRUE;
}

gboolean policy_may_become(const Policy *from, const Policy *to, PolicyMoment moment, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(TABLE); i++)
        if (!row_equal(&TABLE[i], from, to) && !policy_may_change(TABLE[i].shown.key, moment, error))
            return FALSE;
    return TRUE;
}

json_t *policy_to_json(const Policy *p)
{
    json_t *doc = json_object();

    for (guint i = 0; i < G_N_ELEMENTS(TABLE); i++) {
        g_autofree char *text = get_row(&TABLE[i], p);

        json_object_set_new(doc, TABLE[i].shown.key, json_string(text));
    }
    return doc;
}

gboolean policy_from_json(const json_t *doc, Policy *ret_policy, GError **error)
{
    Policy p;
    const char *key;
    json_t *value;

    policy_init(&p);
    if (!json_is_object(doc)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "a policy is an object of properties");
        return FALSE;
    }
    json_object_foreach((json_t *)doc, key, value)
    {
        if (!json_is_string(value)) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "property '%.64s' is not a text such as \"5s\"",
                        key);
            return FALSE;
        }
        if (!policy_set(&p, key, json_string_value(value), error))
            return FALSE;
    }
    *ret_policy = p;
    return TRUE;
}

json_t *policy_for_active(const Policy *p)
{
    g_autofree char *compress = policy_get(p, "compress");
    g_autofree char *freeze = policy_get(p, "freeze");

    return json_pack("{s:I, s:I, s:I, s:s, s:s}", "interval_ms", (json_int_t)p->interval_ms, "scratch_bytes",
                     (json_int_t)p->scratch_bytes, "bandwidth_bps", (json_int_t)p->bandwidth_bps, "compress",
                     compress, "freeze", freeze);
}

json_t *policy_for_standby(const Policy *p)
{
    json_t *doc = json_pack("{s:I, s:I}", "newest", (json_int_t)p->retain.newest, "hourly",
                            (json_int_t)p->retain.hourly);

    if (p->retain.daily)
        json_object_set_new(doc, "daily", json_integer(p->retain.daily));
    if (p->retain.weekly)
        json_object_set_new(doc, "weekly", json_integer(p->retain.weekly));
    return doc;
}

static const char *when_words(PolicyWhen when)
{
    return when == POLICY_STOPPED           ? "; only while stopped"
           : when == POLICY_NOT_WHILE_MOVED ? "; never between switchover and switchback"
                                            : "";
}

char *policy_help(void)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < G_N_ELEMENTS(TABLE); i++) {
        const PolicyProperty *shown = &TABLE[i].shown;

        g_string_append_printf(text, "  %-17s %s\n  %-17s %s; default %s%s\n", shown->key, shown->help, "",
                               shown->accepts, shown->fallback, when_words(shown->when));
    }
    return g_string_free(text, FALSE);
}

char *policy_manual(void)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < G_N_ELEMENTS(TABLE); i++) {
        const PolicyProperty *shown = &TABLE[i].shown;

        g_string_append_printf(text, ".TP\n.B %s\n%s; %s; default %s%s\n", shown->key, shown->help,
                               shown->accepts, shown->fallback, when_words(shown->when));
    }
    return g_string_free(text, FALSE);
}

json_t *policy_schema(void)
{
    json_t *list = json_array();

    for (guint i = 0; i < G_N_ELEMENTS(TABLE); i++) {
        const PolicyProperty *shown = &TABLE[i].shown;

        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "key", shown->key, "default",
                                              shown->fallback, "accepts", shown->accepts, "help", shown->help,
                                              "when", WHEN[shown->when]));
    }
    return list;
}
