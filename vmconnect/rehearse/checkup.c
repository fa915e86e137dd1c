/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/checkup.h"

#include "netmap/isolate.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/readable.h"
#include "vmconnect/base/tail.h"
#include "vmconnect/hypervisor/agent.h"
#include "vmconnect/hypervisor/definition.h"
#include "vmconnect/hypervisor/screen.h"
#include "vmconnect/hypervisor/settle.h"
#include "vmconnect/rehearse/file_systems.h"
#include "vmconnect/rehearse/inquiry.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#define PING_MS 2000
#define SCREEN_EACH_MS 1000
#define AGENT_EACH_MS 2000 /* a command in the guest is not for every look */
#define DISKS_MS 600000
#define OTHERS_MS 10000 /* a card that is used comes up not much later than the first that answers */
#define CONSOLE_BYTES 65536
#define PANIC_BYTES 200 /* of what a kernel says last */

typedef enum { AGENT, NETWORK, SCREEN, DISKS, KINDS } Kind;

static const char *const WHAT[KINDS] = {"agent", "network", "screen", "disks"};

typedef struct {
    gboolean possible; /* the VM has what it asks */
    const char *state; /* "waiting", "passed", "failed", "unknown" */
    char *text;
    gint64 after_ms;  /* -1: not yet */
    const Exam *exam; /* that it is of; NULL: it is one of WHAT */
    gint64 next_ms;   /* it is not looked at before */
} Check;

struct Checkup {
    const StandInSite *site;
    const StandInSpec *spec;
    const StandInPart *part;
    Check checks[KINDS];
    gint64 answered_ms; /* its first card; -1: none yet */
    GArray *asked;      /* of Check: signs of life that its operator wants to see */
    Settle settle;
};

/* What its operator wants takes the place of what we would look at. */
static void take_exams(Checkup *c)
{
    const GPtrArray *exams = c->spec->exams;

    for (guint i = 0; exams && i < exams->len; i++) {
        const Exam *exam = exams->pdata[i];
        Check check = {.possible = TRUE, .state = "waiting", .after_ms = -1, .exam = exam};

        if (exam->kind == EXAM_NO_DISKS)
            c->checks[DISKS].possible = FALSE;
        else if (exam->kind != EXAM_DISKS)
            g_array_append_val(c->asked, check);
    }
    for (guint i = 0; c->asked->len > 0 && i < DISKS; i++)
        c->checks[i].possible = FALSE;
}

static gboolean has_live_card(const GPtrArray *nics)
{
    for (guint i = 0; i < nics->len; i++)
        if (!((const IsolatedNic *)nics->pdata[i])->down)
            return TRUE;
    return FALSE;
}

Checkup *checkup_new(const StandInSite *site, const StandInSpec *spec, const StandInPart *part)
{
    Checkup *c = g_new0(Checkup, 1);
    g_autoptr(Definition) d = definition_parse(part->xml, strlen(part->xml), NULL);

    c->site = site;
    c->spec = spec;
    c->part = part;
    settle_init(&c->settle, SETTLE_MS);
    for (guint i = 0; i < KINDS; i++)
        c->checks[i] = (Check){.state = "waiting", .after_ms = -1};
    c->checks[AGENT].possible = d && d->has_agent && spec->agent != FALSE;
    c->checks[NETWORK].possible = has_live_card(part->nics);
    c->answered_ms = -1;
    c->checks[SCREEN].possible = part->has_screen;
    c->checks[DISKS].possible = !site->manual;
    c->asked = g_array_new(FALSE, FALSE, sizeof(Check));
    take_exams(c);
    return c;
}

void checkup_free(Checkup *c)
{
    if (!c)
        return;
    for (guint i = 0; i < KINDS; i++)
        g_free(c->checks[i].text);
    for (guint i = 0; i < c->asked->len; i++)
        g_free(g_array_index(c->asked, Check, i).text);
    g_array_unref(c->asked);
    settle_clear(&c->settle);
    g_free(c);
}

static gboolean is_open(const Check *check)
{
    return check->possible && g_str_equal(check->state, "waiting");
}

/* Takes @text. */
static void note(Check *check, const char *state, char *text, gint64 at_ms)
{
    check->state = state;
    g_free(check->text);
    check->text = text;
    if (!g_str_equal(state, "waiting"))
        check->after_ms = at_ms;
}

/* --- signs of life ---------------------------------------------------------------- */

static void look_at_agent(Checkup *c, virDomainPtr dom, gint64 at_ms)
{
    g_autoptr(GError) error = NULL;

    if (agent_ping(dom, PING_MS, &error))
        note(&c->checks[AGENT], "passed", g_strdup("it answers"), at_ms);
    else
        note(&c->checks[AGENT], "waiting", g_strdup(error->message), at_ms);
}

/* Its cards, by what was heard of them. */
typedef struct {
    guint answer;
    guint fail;  /* they have, or want, an address, and do not answer */
    guint quiet; /* nothing that could be asked */
} Cards;

static void count_card(Checkup *c, const IsolatedNic *nic, Cards *cards, GString *all)
{
    gboolean speaks = FALSE, answers = FALSE;
    g_autofree char *text = NULL;

    if (nic->down) {
        text = g_strdup("its link is down in the definition");
    } else {
        answers = lookout_read(c->site->lookout, nic->tap, &speaks, &text);
        cards->answer += answers;
        cards->fail += !answers && speaks;
        cards->quiet += !answers && !speaks;
    }
    g_string_append_printf(all, "%s%s (%s): %s", all->len ? "; " : "", nic->mac ? nic->mac : nic->tap,
                           nic->place, text);
}

/* Many a guest has a card that it does not use. */
static gboolean cards_pass(Checkup *c, const Cards *cards, gint64 at_ms)
{
    if (cards->answer > 0 && c->answered_ms < 0)
        c->answered_ms = at_ms;
    return cards->answer > 0 && cards->fail == 0 &&
           (cards->quiet == 0 || at_ms - c->answered_ms >= OTHERS_MS);
}

static void look_at_network(Checkup *c, gint64 at_ms)
{
    g_autoptr(GString) all = g_string_new(NULL);
    Cards cards = {0};

    for (guint i = 0; i < c->part->nics->len; i++)
        count_card(c, c->part->nics->pdata[i], &cards, all);
    note(&c->checks[NETWORK], cards_pass(c, &cards, at_ms) ? "passed" : "waiting",
         g_string_free(g_steal_pointer(&all), FALSE), at_ms);
}

static void look_at_screen(Checkup *c, Check *check, virDomainPtr dom, gint64 at_ms)
{
    g_autoptr(Screen) screen = NULL;
    g_autoptr(GError) error = NULL;

    if (at_ms < check->next_ms)
        return;
    check->next_ms = at_ms + SCREEN_EACH_MS;
    if (!screen_take(dom, &screen, &error))
        note(check, "waiting", g_strdup(error->message), at_ms);
    else if (settle_add(&c->settle, screen, at_ms))
        note(check, "passed", g_strdup("it shows something, and has settled"), at_ms);
    else
        note(check, "waiting", g_strdup("it has not settled yet, or shows nothing"), at_ms);
}

static void look_by_inquiry(Checkup *c, Check *check, virDomainPtr dom, gint64 at_ms)
{
    gboolean needs_agent = inquiry_needs_agent(check->exam);
    g_autofree char *console = needs_agent ? NULL : checkup_console(c->spec->folder);
    gboolean good;
    char *says;

    if (at_ms < check->next_ms)
        return;
    check->next_ms = needs_agent ? at_ms + AGENT_EACH_MS : 0;
    good = inquiry_ask(check->exam, dom, console, &says);
    note(check, good ? "passed" : "waiting", says, at_ms);
}

static void look_at_asked(Checkup *c, Check *check, virDomainPtr dom, gint64 at_ms)
{
    gboolean good;
    char *says;

    switch (check->exam->kind) {
    case EXAM_PING:
    case EXAM_TCP:
    case EXAM_HTTP:
    case EXAM_HTTPS:
        good = lookout_ask(c->site->lookout, check->exam, c->part->nics, &says);
        note(check, good ? "passed" : "waiting", says, at_ms);
        break;
    case EXAM_SCREEN:
        look_at_screen(c, check, dom, at_ms);
        break;
    default:
        look_by_inquiry(c, check, dom, at_ms);
    }
}

static gboolean is_stopped(const Checkup *c)
{
    return readable_within(c->site->stop_fd, 0);
}

/* Each may take seconds where the agent is silent. */
static void look_at_all_asked(Checkup *c, virDomainPtr dom, gint64 at_ms)
{
    gint64 until_ms = clock_steady_ms() + c->site->boot_ms - at_ms;

    for (guint i = 0; i < c->asked->len && clock_left_ms(until_ms) > 0 && !is_stopped(c); i++) {
        Check *check = &g_array_index(c->asked, Check, i);

        if (is_open(check))
            look_at_asked(c, check, dom, at_ms);
    }
}

void checkup_look(Checkup *c, virDomainPtr dom, gint64 at_ms)
{
    if (is_open(&c->checks[AGENT]))
        look_at_agent(c, dom, at_ms);
    if (is_open(&c->checks[NETWORK]))
        look_at_network(c, at_ms);
    if (is_open(&c->checks[SCREEN]))
        look_at_screen(c, &c->checks[SCREEN], dom, at_ms);
    look_at_all_asked(c, dom, at_ms);
}

/* --- what follows of them ------------------------------------------------------------ */

/* The one that says whether it lives: an agent that answers at home must here, too; one that nobody knows of need not. */
static Kind decisive(const Checkup *c)
{
    if (c->checks[AGENT].possible &&
        (c->spec->agent == TRUE || !c->checks[NETWORK].possible || c->checks[AGENT].after_ms >= 0))
        return AGENT;
    return c->checks[NETWORK].possible ? NETWORK : c->checks[SCREEN].possible ? SCREEN : KINDS;
}

gboolean checkup_lives(const Checkup *c)
{
    Kind kind = decisive(c);

    for (guint i = 0; i < c->asked->len; i++)
        if (is_open(&g_array_index(c->asked, Check, i)))
            return FALSE;
    if (c->asked->len > 0)
        return TRUE;
    return kind < KINDS && g_str_equal(c->checks[kind].state, "passed");
}

static void append_open(GString *text, const Check *check, const char *what)
{
    if (is_open(check))
        g_string_append_printf(text, "; %s: %s", what, check->text ? check->text : "nothing yet");
}

static void say_not_asked(const Checkup *c, gint64 boot_ms, GString *text)
{
    g_string_printf(text, "it does not pass its checks %" G_GINT64_FORMAT " s after it was started",
                    boot_ms / 1000);
    for (guint i = 0; i < c->asked->len; i++) {
        const Check *check = &g_array_index(c->asked, Check, i);

        append_open(text, check, check->exam->text);
    }
}

/* A guest that hangs so gives no other sign, and what was seen of it before may look like life. */
static void append_panic(GString *text, const char *folder)
{
    g_autofree char *console = checkup_console(folder);
    const char *panic = console ? strstr(console, "Kernel panic - ") : NULL;
    g_autofree char *line =
        panic ? g_utf8_make_valid(panic, (gssize)MIN(strcspn(panic, "\n"), PANIC_BYTES)) : NULL;

    if (line)
        g_string_append_printf(text, "; its console says: %s", line);
}

char *checkup_why(const Checkup *c, gint64 boot_ms)
{
    GString *text =
        g_string_new("it runs, and gives no sign of life that can be told from a guest that hangs");

    if (c->asked->len > 0) {
        say_not_asked(c, boot_ms, text);
    } else if (decisive(c) == KINDS) {
        g_string_append(text, ": it has no agent, no network and no screen");
    } else {
        g_string_printf(text, "it does not live %" G_GINT64_FORMAT " s after it was started", boot_ms / 1000);
        for (guint i = 0; i < DISKS; i++)
            append_open(text, &c->checks[i], WHAT[i]);
    }
    append_panic(text, c->spec->folder);
    return g_string_free(text, FALSE);
}

static void describe(json_t *list, const Check *check, const char *what)
{
    if (check->possible)
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s?, s:o}", "what", what, "state", check->state, "text", check->text,
                            "after_ms", check->after_ms < 0 ? json_null() : json_integer(check->after_ms)));
}

json_t *checkup_describe(const Checkup *c)
{
    json_t *list = json_array();

    for (guint i = 0; i < DISKS; i++)
        describe(list, &c->checks[i], WHAT[i]);
    for (guint i = 0; i < c->asked->len; i++) {
        const Check *check = &g_array_index(c->asked, Check, i);

        describe(list, check, check->exam->text);
    }
    describe(list, &c->checks[DISKS], WHAT[DISKS]);
    return list;
}

/* --- evidence ---------------------------------------------------------------------------- */

GBytes *checkup_picture(Checkup *c, virDomainPtr dom)
{
    g_autoptr(Screen) screen = NULL;

    if (!c->part->has_screen || !dom || !screen_take(dom, &screen, NULL))
        return NULL;
    return screen_png(screen, NULL);
}

char *checkup_console(const char *folder)
{
    g_autofree char *path = g_build_filename(folder, CHECKUP_CONSOLE_LOG, NULL);

    return tail_read(path, CONSOLE_BYTES, NULL);
}

/* --- disks ---------------------------------------------------------------------------------- */

/* Of FileSystemsDisk, whose texts are the loan's. */
static GArray *disks_of(const json_t *lent)
{
    GArray *disks = g_array_new(FALSE, FALSE, sizeof(FileSystemsDisk));
    json_t *disk;
    gsize i;

    json_array_foreach(json_object_get(lent, "disks"), i, disk)
    {
        FileSystemsDisk one = {json_string_value(json_object_get(disk, "target")),
                               (guint64)json_integer_value(json_object_get(disk, "size_bytes")),
                               json_string_value(json_object_get(lent, "socket"))};

        g_array_append_val(disks, one);
    }
    return disks;
}

static const char *text_of(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));

    return text ? text : "";
}

/* What is told of disks: all of it, what is wrong, and into how many of the parts somebody has looked. */
typedef struct {
    GString *text;
    GString *bad;
    guint parts;
    guint looked;
} Findings;

static void describe_part(Findings *f, const char *target, const json_t *part)
{
    gint64 number = json_integer_value(json_object_get(part, "number"));
    const char *kind = text_of(part, "kind");
    const char *said = text_of(part, "text");
    g_autofree char *name =
        number ? g_strdup_printf("%s%" G_GINT64_FORMAT, target, number) : g_strdup(target);

    f->parts++;
    f->looked += !g_str_equal(text_of(part, "state"), "unknown");
    g_string_append_printf(f->text, "%s%s: %s%s%s", f->text->len ? "; " : "", name, kind, *kind ? ", " : "",
                           *said ? said : text_of(part, "state"));
    if (g_str_equal(text_of(part, "state"), "damaged"))
        g_string_append_printf(f->bad, "%sthe file system on %s (%s) is damaged: %s", f->bad->len ? "; " : "",
                               name, kind, text_of(part, "text"));
}

static void describe_disk(Findings *f, const json_t *disk)
{
    const char *target = text_of(disk, "target");
    json_t *part;
    gsize i;

    if (!json_is_true(json_object_get(disk, "opens")))
        g_string_append_printf(f->bad, "%sdisk %s does not open: %s", f->bad->len ? "; " : "", target,
                               text_of(disk, "why"));
    json_array_foreach(json_object_get(disk, "parts"), i, part) describe_part(f, target, part);
}

/* That every disk opens is not that what is on it is whole. */
static void note_disks(Checkup *c, const Findings *f, gint64 after_ms)
{
    const char *state = f->bad->len ? "failed" : f->looked ? "passed" : "unknown";
    char *says = f->bad->len ? g_strdup(f->bad->str)
                             : g_strdup_printf("they open; looked into: %u of %u%s%s", f->looked, f->parts,
                                               f->text->len ? "; " : "", f->text->str);

    note(&c->checks[DISKS], state, says, after_ms);
}

gboolean checkup_disks(Checkup *c, const json_t *lent, const char *folder, int stop_fd, char **ret_why,
                       GError **error)
{
    g_autoptr(GArray) disks = disks_of(lent);
    g_autofree char *work = g_build_filename(folder, REMAINS_DISKS, NULL);
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GString) bad = g_string_new(NULL);
    Findings f = {.text = text, .bad = bad};
    gint64 begun_ms = clock_steady_ms();
    json_auto_t *found = NULL;
    json_t *disk;
    gsize i;

    *ret_why = NULL;
    if (!c->checks[DISKS].possible)
        return TRUE;
    if (g_mkdir(work, 0700) != 0)
        return us_error_errno(error, errno, "cannot make %s", work);
    found = file_systems_check((const FileSystemsDisk *)(const void *)disks->data, disks->len, work,
                               begun_ms + DISKS_MS, stop_fd, error);
    if (!found)
        return FALSE;
    json_array_foreach(found, i, disk) describe_disk(&f, disk);
    note_disks(c, &f, clock_steady_ms() - begun_ms);
    *ret_why = bad->len ? g_strdup(bad->str) : NULL;
    return TRUE;
}
