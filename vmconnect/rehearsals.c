/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearsals.h"

#include "netmap/mapping_json.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/exam.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/capture/gather.h"
#include "vmconnect/rehearse/rehearsal.h"

#include <string.h>

#define KEPT_BYTES_MAX (64 << 20)  /* of results that nobody has forgotten; the newest is kept anyway */
#define KEPT_PART_BYTES (64 << 10) /* one of their VMs counts for at least so much */
#define BOOT_MS_MAX 3600000        /* longest times that are taken */
#define LIMIT_MS_MAX ((gint64)30 * 24 * 3600000)
#define VMS_MAX 256

/* One of its VMs. */
typedef struct {
    Id vm;
    Id as;
    json_t *doc;
    GBytes *png;
    char *console;
    gboolean is_up;
    gboolean is_lent;
} Part;

typedef struct {
    Rehearsals *all;
    Id id;
    char *scenario;
    gboolean manual;
    gint64 begun_wall_ms;
    gint64 ended_wall_ms; /* 0: it runs */
    guint changed;
    gboolean stopping;
    char *stop_why; /* NULL: none, or somebody asked for it */
    GPtrArray *parts;
    json_t *proof;       /* NULL: not yet */
    RehearsalSpec *spec; /* until the thread has it */
    Rehearsal *thread;

    /* While it is begun: */
    RolesAnswer on_answer; /* NULL: it has been answered */
    void *user;
    guint open; /* loans that are under way */
    GError *error;
} Test;

typedef struct {
    Rehearsals *all;
    Id vm;
    uv_timer_t timer;
    void (*done)(void *user);
    void *user;
} Leaver;

struct Rehearsals {
    uv_loop_t *loop;
    HostPaths paths;
    char *permit_dir;
    Id run;
    Room *room;
    Policy *policy;
    Roles *roles;
    Clerk *clerk;
    Mailbox *reports;
    GPtrArray *tests;   /* of Test *, oldest first */
    GPtrArray *leavers; /* of Leaver * */
    void (*on_news)(void *user);
    void *user;
    void (*on_closed)(void *user); /* it is to end */
    void *closed_user;
};

/* --- tests ---------------------------------------------------------------------- */

static void part_free(gpointer data)
{
    Part *p = data;

    json_decref(p->doc);
    g_clear_pointer(&p->png, g_bytes_unref);
    g_free(p->console);
    g_free(p);
}

static void test_free(gpointer data)
{
    Test *t = data;

    g_assert(!t->thread);
    g_free(t->scenario);
    g_free(t->stop_why);
    g_ptr_array_unref(t->parts);
    json_decref(t->proof);
    rehearsal_spec_free(t->spec);
    g_clear_error(&t->error);
    g_free(t);
}

static gboolean has_ended(const Test *t)
{
    return t->ended_wall_ms > 0;
}

static Part *part_at(const Test *t, guint i)
{
    return t->parts->pdata[i];
}

static Part *find_part(const Test *t, Id vm)
{
    for (guint i = 0; i < t->parts->len; i++)
        if (id_equal(part_at(t, i)->vm, vm))
            return part_at(t, i);
    return NULL;
}

static Test *find_test(const Rehearsals *r, Id id)
{
    for (guint i = 0; i < r->tests->len; i++) {
        Test *t = r->tests->pdata[i];

        if (id_equal(t->id, id))
            return t;
    }
    return NULL;
}

/* The one that has it now. */
static Test *find_testing(const Rehearsals *r, Id vm)
{
    for (guint i = 0; i < r->tests->len; i++) {
        Test *t = r->tests->pdata[i];

        if (!has_ended(t) && find_part(t, vm))
            return t;
    }
    return NULL;
}

static void changed(Test *t)
{
    t->changed++;
    t->all->on_news(t->all->user);
}

static Test *need_test(const Rehearsals *r, Id id, GError **error)
{
    Test *t = find_test(r, id);

    if (!t)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                    "this engine does not know test %s: it was restarted since, or has forgotten it",
                    ID_TEXT(id));
    return t;
}

/* --- the end of one ------------------------------------------------------------------ */

static gsize size_of(const Test *t)
{
    gsize bytes = 0;

    for (guint i = 0; i < t->parts->len; i++) {
        const Part *p = part_at(t, i);

        bytes += MAX(KEPT_PART_BYTES,
                     (p->png ? g_bytes_get_size(p->png) : 0) + (p->console ? strlen(p->console) : 0));
    }
    return bytes;
}

/* A controller may be away for the whole of a drill, and is to find what came of each of its tests. */
static void forget_old(Rehearsals *r)
{
    gsize bytes = 0;

    for (guint i = r->tests->len; i-- > 0;) {
        const Test *t = r->tests->pdata[i];
        gboolean newest = bytes == 0;

        if (!has_ended(t))
            continue;
        bytes += size_of(t);
        if (!newest && bytes > KEPT_BYTES_MAX)
            g_ptr_array_remove_index(r->tests, i);
    }
}

static void check_closed(Rehearsals *r)
{
    void (*on_closed)(void *) = r->on_closed;

    for (guint i = 0; i < r->tests->len; i++)
        if (!has_ended(r->tests->pdata[i]))
            return;
    r->on_closed = NULL;
    if (on_closed)
        on_closed(r->closed_user);
}

static void free_leaver(uv_handle_t *timer)
{
    g_free(timer->data);
}

static void let_leaver_go(Leaver *l)
{
    g_ptr_array_remove(l->all->leavers, l);
    l->done(l->user);
    uv_close((uv_handle_t *)&l->timer, free_leaver);
}

static void on_returned(void *user, const json_t *result, const GError *error)
{
    (void)user;
    (void)result;
    (void)error; /* its keeper has ended, and with it the loan */
}

static void return_loans(Test *t)
{
    for (guint i = 0; i < t->parts->len; i++) {
        Part *p = part_at(t, i);

        if (p->is_lent)
            roles_tell_standby(t->all->roles, p->vm, COMMAND_RETURN,
                               json_pack("{s:s, s:s}", "vm", ID_TEXT(p->vm), "test", ID_TEXT(t->id)),
                               on_returned, NULL);
        p->is_lent = FALSE;
    }
}

/* Its VMs are dead by now, whoever still waits for libvirt: who goes on finds the copy unused. */
static void on_leaver_timer(uv_timer_t *timer)
{
    Leaver *l = timer->data;
    Test *t = find_testing(l->all, l->vm);

    if (t) {
        log_notice("test %s of scenario '%s' has not ended in time -> who wants its copy goes on",
                   ID_TEXT(t->id), t->scenario);
        return_loans(t);
    }
    let_leaver_go(l);
}

static void let_leavers_go(Rehearsals *r)
{
    for (guint i = r->leavers->len; i-- > 0;) {
        Leaver *l = r->leavers->pdata[i];

        if (!find_testing(r, l->vm))
            let_leaver_go(l);
    }
}

static void end_test(Test *t)
{
    Rehearsals *r = t->all;
    guint at = 0;

    return_loans(t);
    t->ended_wall_ms = clock_wall_ms();
    log_info("test %s of scenario '%s' -> over", ID_TEXT(t->id), t->scenario);
    changed(t);
    /* They are forgotten in the order in which they end: one that has just ended is still to be asked for. */
    g_ptr_array_find(r->tests, t, &at);
    g_ptr_array_add(r->tests, g_ptr_array_steal_index(r->tests, at));
    forget_old(r);
    let_leavers_go(r);
    check_closed(r);
}

static void take_word(Test *t, StandInWord *word)
{
    Part *p = part_at(t, word->index);

    json_decref(p->doc);
    p->doc = g_steal_pointer(&word->doc);
    if (word->png) {
        g_clear_pointer(&p->png, g_bytes_unref);
        p->png = g_steal_pointer(&word->png);
    }
    if (word->console) {
        g_free(p->console);
        p->console = g_steal_pointer(&word->console);
    }
    p->is_up |= word->up;
    changed(t);
}

static void on_report(void *user, void *letter)
{
    RehearsalNews *news = letter;
    Test *t = find_test(user, news->test);

    g_assert(t);
    if (news->word)
        take_word(t, news->word);
    if (news->proof)
        t->proof = g_steal_pointer(&news->proof);
    if (news->ended) {
        rehearsal_join(g_steal_pointer(&t->thread));
        end_test(t);
    }
    rehearsal_news_free(news);
}

/* --- the beginning ------------------------------------------------------------------------ */

RemainsSite rehearsals_remains(const Rehearsals *r)
{
    return (RemainsSite){.store_dir = r->paths.store_dir,
                         .nbd_dir = r->paths.nbd_dir,
                         .tpm_dir = GATHER_TPM_DIR,
                         .permit_dir = r->permit_dir,
                         .run = r->run};
}

static void answer(Test *t, const GError *error)
{
    RolesAnswer on_answer = g_steal_pointer(&t->on_answer);

    if (on_answer)
        on_answer(t->user, NULL, error);
}

/* It was never begun. */
static void drop(Test *t)
{
    Rehearsals *r = t->all;

    return_loans(t);
    answer(t, t->error);
    g_ptr_array_remove(r->tests, t);
    let_leavers_go(r);
    check_closed(r);
}

/* For the clerk: folders are made, or removed again. */
typedef struct {
    Test *test;
    RemainsSite site;
    GError *error;
} Folders;

static StandInSpec *spec_at(const Test *t, guint i)
{
    return t->spec->vms->pdata[i];
}

static void remove_work(void *data)
{
    Folders *f = data;

    for (guint i = 0; i < f->test->spec->vms->len; i++) {
        g_autoptr(GError) error = NULL;

        if (!remains_remove_files(&f->site, spec_at(f->test, i)->as, &error))
            remains_give_up(&f->site, spec_at(f->test, i)->as);
    }
}

static void remove_done(void *data)
{
    g_autofree Folders *f = data;

    drop(f->test);
}

static void give_up(Test *t)
{
    Folders *f = g_new0(Folders, 1);

    *f = (Folders){.test = t, .site = rehearsals_remains(t->all)};
    clerk_submit(t->all->clerk, remove_work, remove_done, f);
}

static void go(Test *t)
{
    if (!t->error && t->stopping)
        t->error = g_error_new(US_ERROR, US_ERROR_BUSY, "the test was stopped before it began: %s",
                               t->stop_why ? t->stop_why : "somebody asked for it");
    for (guint i = 0; !t->error && i < t->parts->len; i++) {
        json_decref(part_at(t, i)->doc);
        part_at(t, i)->doc = stand_in_unbegun(spec_at(t, i), NULL, NULL);
    }
    t->thread = t->error ? NULL : rehearsal_start(t->spec, t->all->reports, &t->error);
    if (!t->thread) {
        give_up(t);
        return;
    }
    t->spec = NULL; /* the thread's */
    log_info("test %s of scenario '%s', %u VMs -> begun", ID_TEXT(t->id), t->scenario, t->parts->len);
    answer(t, NULL);
    changed(t);
}

typedef struct {
    Test *test;
    guint index;
} Loan;

static void on_lent(void *user, const json_t *result, const GError *error)
{
    g_autofree Loan *loan = user;
    Test *t = loan->test;
    StandInSpec *spec = spec_at(t, loan->index);

    if (result) {
        spec->lent = json_deep_copy(result);
        part_at(t, loan->index)->is_lent = TRUE;
    } else if (g_error_matches(error, US_ERROR, US_ERROR_CORRUPT)) {
        spec->unlent = g_strdup(error->message); /* which is what the test has found */
    } else if (!t->error) {
        t->error = g_error_copy(error);
        g_prefix_error(&t->error, "'%s' is not tested: ", spec->name);
    }
    if (--t->open == 0) {
        stop_at("test.lent");
        go(t);
    }
}

static void lend(Test *t, guint i, const char *point)
{
    const StandInSpec *spec = spec_at(t, i);
    Loan *loan = g_new0(Loan, 1);

    *loan = (Loan){t, i};
    roles_tell_standby(t->all->roles, spec->vm, COMMAND_LEND,
                       json_pack("{s:s, s:s, s:s, s:s?, s:s}", "vm", ID_TEXT(spec->vm), "test",
                                 ID_TEXT(t->id), "as", ID_TEXT(spec->as), "point", point, "folder",
                                 spec->folder),
                       on_lent, loan);
}

static void make_work(void *data)
{
    Folders *f = data;

    for (guint i = 0; !f->error && i < f->test->spec->vms->len; i++) {
        StandInSpec *spec = spec_at(f->test, i);

        spec->folder = remains_make(&f->site, spec->as, &f->error);
    }
}

static void make_done(void *data)
{
    g_autofree Folders *f = data;
    Test *t = f->test;

    t->error = f->error;
    if (t->error) {
        g_prefix_error(
            &t->error,
            "no test was begun, and replication goes on; make room where copies are kept, or let the "
            "engine write there: ");
        go(t);
        return;
    }
    t->open = t->parts->len;
    for (guint i = 0, n = t->parts->len; i < n; i++)
        lend(t, i, json_string_value(json_object_get(part_at(t, i)->doc, "point")));
}

/* --- what is asked for ----------------------------------------------------------------------- */

static gboolean check_vm(const Rehearsals *r, Id vm, const char *name, GError **error)
{
    const Test *testing = find_testing(r, vm);

    if (!policy_standby(r->policy, vm))
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                    "this host keeps no copy of '%s', so it cannot be tested here", name);
    else if (testing)
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "'%s' is being tested already, by test %s: wait for its end, or `understudy test stop %s`", name,
            ID_TEXT(testing->id), testing->scenario);
    else
        return TRUE;
    return FALSE;
}

static gboolean read_after(const json_t *list, GArray *after, GError **error)
{
    for (gsize i = 0; i < json_array_size(list); i++) {
        Id id;

        if (!json_to_id(json_array_get(list, i), &id, error))
            return FALSE;
        g_array_append_val(after, id);
    }
    return TRUE;
}

/* The point that is wanted waits in the part's document until it is lent. */
static gboolean read_vm(Test *t, const json_t *doc, GError **error)
{
    const char *vm, *name;
    json_t *point = NULL, *after = NULL, *checks = NULL;
    g_autoptr(GPtrArray) exams = NULL;
    int agent = -1;
    const StandbyRole *role;
    GArray *list = g_array_new(FALSE, FALSE, sizeof(Id));
    StandInSpec *spec;
    Part *part;
    Id id;

    g_ptr_array_add(t->spec->after, list);
    if (!json_read(doc, "test.start", error, "{s:s, s:s, s?o, s?o, s?b, s?o}", "vm", &vm, "name", &name,
                   "point", &point, "after", &after, "agent", &agent, "checks", &checks) ||
        !id_parse(vm, &id, error) || !check_vm(t->all, id, name, error) || !read_after(after, list, error))
        return FALSE;
    if (find_part(t, id)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%s' is named twice", name);
        return FALSE;
    }
    if (checks && !(exams = exam_list_from_json(checks, error)))
        return FALSE;
    role = policy_standby(t->all->policy, id);
    spec = stand_in_spec_new(id, name);
    spec->from = g_strdup(ID_TEXT(role->active));
    spec->agent = agent;
    spec->exams = g_steal_pointer(&exams);
    g_ptr_array_add(t->spec->vms, spec);
    part = g_new0(Part, 1);
    part->vm = id;
    part->as = spec->as;
    part->doc = json_pack("{s:O}", "point", point ? point : json_null());
    g_ptr_array_add(t->parts, part);
    t->spec->mappings[t->parts->len - 1] = mapping_from_json(role->networks, error);
    return t->spec->mappings[t->parts->len - 1] != NULL;
}

static gboolean read_vms(Test *t, const json_t *list, GError **error)
{
    gsize n = json_array_size(list);

    if (n == 0 || n > VMS_MAX) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "a test is of 1 to %u VMs", VMS_MAX);
        return FALSE;
    }
    t->spec->mappings = g_new0(Mapping *, n);
    for (gsize i = 0; i < n; i++)
        if (!read_vm(t, json_array_get(list, i), error))
            return FALSE;
    return TRUE;
}

static void set_up_spec(Test *t, const char *here)
{
    RehearsalSpec *spec = t->spec = g_new0(RehearsalSpec, 1);
    const Rehearsals *r = t->all;

    spec->here = g_strdup(here);
    spec->vms = g_ptr_array_new_with_free_func((GDestroyNotify)stand_in_spec_free);
    spec->after = g_ptr_array_new_with_free_func((GDestroyNotify)g_array_unref);
    spec->hosts = g_ptr_array_new_with_free_func(g_free);
    spec->libvirt_uri = r->paths.libvirt_uri;
    spec->room = r->room;
    spec->remains = rehearsals_remains(r);
}

static gboolean read_hosts(Test *t, const json_t *list, GError **error)
{
    for (gsize i = 0; i < json_array_size(list); i++) {
        const char *address = json_string_value(json_array_get(list, i));

        if (!address) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "test.start: \"hosts\" are addresses");
            return FALSE;
        }
        g_ptr_array_add(t->spec->hosts, g_strdup(address));
    }
    return TRUE;
}

static gboolean read_test(Test *t, const json_t *params, GError **error)
{
    const char *id, *scenario;
    json_int_t limit_ms, boot_ms;
    json_t *vms, *hosts = NULL;
    int manual;

    if (!json_read(params, "test.start", error, "{s:s, s:s, s:b, s:I, s:I, s:o, s?o}", "test", &id,
                   "scenario", &scenario, "manual", &manual, "limit_ms", &limit_ms, "boot_ms", &boot_ms,
                   "vms", &vms, "hosts", &hosts) ||
        !id_parse(id, &t->id, error) || !read_hosts(t, hosts, error))
        return FALSE;
    if (find_test(t->all, t->id)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "test %s was begun already", id);
        return FALSE;
    }
    t->scenario = g_strdup(scenario);
    t->manual = manual;
    t->spec->test = t->id;
    t->spec->manual = manual;
    t->spec->begun_ms = clock_steady_ms();
    t->spec->limit_ms = CLAMP(limit_ms, 1000, LIMIT_MS_MAX);
    t->spec->boot_ms = CLAMP(boot_ms, 1000, BOOT_MS_MAX);
    return read_vms(t, vms, error);
}

void rehearsals_start(Rehearsals *r, const json_t *params, const char *here, RolesAnswer on_answer,
                      void *user)
{
    Test *t = g_new0(Test, 1);
    Folders *f;
    GError *error = NULL;

    t->all = r;
    t->parts = g_ptr_array_new_with_free_func(part_free);
    set_up_spec(t, here);
    if (!read_test(t, params, &error)) {
        on_answer(user, NULL, error);
        g_error_free(error);
        test_free(t);
        return;
    }
    t->begun_wall_ms = clock_wall_ms();
    t->on_answer = on_answer;
    t->user = user;
    g_ptr_array_add(r->tests, t);
    f = g_new0(Folders, 1);
    *f = (Folders){.test = t, .site = rehearsals_remains(r)};
    clerk_submit(r->clerk, make_work, make_done, f);
}

static void stop(Test *t, const char *why)
{
    if (has_ended(t) || t->stopping)
        return;
    t->stopping = TRUE;
    t->stop_why = g_strdup(why);
    log_info("test %s of scenario '%s': %s -> end", ID_TEXT(t->id), t->scenario,
             why ? why : "somebody asked for it");
    if (t->thread)
        rehearsal_stop(t->thread);
}

void rehearsals_stop(Rehearsals *r, Id test, const char *why)
{
    Test *t = find_test(r, test);

    if (t)
        stop(t, why);
}

void rehearsals_leave(Rehearsals *r, Id vm, const char *why, gint64 limit_ms, void (*done)(void *user),
                      void *user)
{
    Test *t = find_testing(r, vm);
    Leaver *l;

    if (!t) {
        done(user);
        return;
    }
    stop(t, why);
    l = g_new0(Leaver, 1);
    l->all = r;
    l->vm = vm;
    l->done = done;
    l->user = user;
    uv_timer_init(r->loop, &l->timer);
    l->timer.data = l;
    uv_timer_start(&l->timer, on_leaver_timer, (guint64)limit_ms, 0);
    g_ptr_array_add(r->leavers, l);
}

void rehearsals_forget(Rehearsals *r, Id test)
{
    Test *t = find_test(r, test);

    if (t && has_ended(t))
        g_ptr_array_remove(r->tests, t);
}

/* --- what came of them -------------------------------------------------------------------------- */

static const char *state_of(const Test *t)
{
    if (has_ended(t))
        return "ended";
    for (guint i = 0; i < t->parts->len; i++)
        if (!part_at(t, i)->is_up)
            return "running";
    return t->manual ? "ready" : "running";
}

static const char *text_of(const Part *p, const char *key)
{
    return json_string_value(json_object_get(p->doc, key));
}

static const Part *first_with(const Test *t, const char *verdict)
{
    for (guint i = 0; i < t->parts->len; i++)
        if (g_strcmp0(text_of(part_at(t, i), "verdict"), verdict) == 0)
            return part_at(t, i);
    return NULL;
}

/* What the counters of its network say at its end; NULL: it was closed. *@ret_why: the caller frees. */
static const char *network_verdict(const Test *t, char **ret_why)
{
    const json_t *counters = json_object_get(t->proof, "counters"),
                 *leaked = json_object_get(counters, "leaked");

    if (!t->proof || (json_is_integer(leaked) && json_integer_value(leaked) == 0))
        return NULL;
    if (json_is_integer(leaked)) {
        *ret_why =
            g_strdup_printf("%" JSON_INTEGER_FORMAT
                            " frames of its guests found a way past the rules of its network, whoever made "
                            "that: do not test on this host before it is known, and report this",
                            json_integer_value(leaked));
        return "failed";
    }
    *ret_why = g_strdup_printf(
        "what its network let through could not be read at its end, so nothing is claimed: %s",
        json_string_value(json_object_get(counters, "why")));
    return "stopped";
}

/* One that failed makes it a failure, one that was stopped leaves it without a verdict; so does its network. */
static const char *verdict_of(const Test *t)
{
    g_autofree char *why = NULL;
    const char *network;

    if (!has_ended(t))
        return NULL;
    network = network_verdict(t, &why);
    if (g_strcmp0(network, "failed") == 0 || first_with(t, "failed"))
        return "failed";
    return network || first_with(t, "stopped") ? "stopped" : "passed";
}

static char *why_of(const Test *t)
{
    const Part *failed = first_with(t, "failed"), *stopped = first_with(t, "stopped");
    char *why = NULL;

    if (network_verdict(t, &why))
        return why;
    if (failed)
        return g_strdup_printf("'%s': %s", text_of(failed, "name"), text_of(failed, "why"));
    return g_strdup(t->stop_why ? t->stop_why : stopped ? text_of(stopped, "why") : NULL);
}

static json_t *wall_or_null(gint64 wall_ms)
{
    return wall_ms > 0 ? json_string(clock_format(wall_ms, (char[CLOCK_TEXT_LEN + 1]){0})) : json_null();
}

static json_t *describe_part(const Test *t, const Part *p)
{
    json_t *doc = json_deep_copy(p->doc);
    g_autofree char *why = NULL;
    const char *network = network_verdict(t, &why);
    gboolean runs = !has_ended(t) && p->is_up;
    g_autofree char *screen = g_strdup_printf("%s/%s-vnc", t->all->paths.nbd_dir, ID_TEXT(p->as));
    g_autofree char *console = g_strdup_printf("%s/%s-console", t->all->paths.nbd_dir, ID_TEXT(p->as));

    /* Nothing that was seen beside an open network proves anything. */
    if (has_ended(t) && network && g_strcmp0(text_of(p, "verdict"), "passed") == 0) {
        json_object_set_new(doc, "verdict", json_string(network));
        json_object_set_new(doc, "why", json_string(why));
    }
    /* The sockets last as long as it runs. */
    runs = runs && g_strcmp0(text_of(p, "state"), "ready") == 0;
    json_object_set_new(
        doc, "vnc", runs && json_is_true(json_object_get(doc, "screen")) ? json_string(screen) : json_null());
    json_object_set_new(doc, "serial", runs ? json_string(console) : json_null());
    json_object_set_new(doc, "picture", json_boolean(p->png != NULL));
    return doc;
}

json_t *rehearsals_result(const Rehearsals *r, Id test, GError **error)
{
    const Test *t = need_test(r, test, error);
    g_autofree char *why = NULL;
    json_t *vms;

    if (!t)
        return NULL;
    vms = json_array();
    for (guint i = 0; i < t->parts->len; i++)
        json_array_append_new(vms, describe_part(t, part_at(t, i)));
    why = has_ended(t) ? why_of(t) : NULL;
    return json_pack("{s:s, s:s, s:b, s:s, s:o, s:o, s:s?, s:s?, s:O?, s:o}", "test", ID_TEXT(t->id),
                     "scenario", t->scenario, "manual", t->manual, "state", state_of(t), "begun_at",
                     wall_or_null(t->begun_wall_ms), "ended_at", wall_or_null(t->ended_wall_ms), "verdict",
                     verdict_of(t), "why", why, "proof", t->proof, "vms", vms);
}

json_t *rehearsals_evidence(const Rehearsals *r, Id test, Id vm, GError **error)
{
    const Test *t = need_test(r, test, error);
    const Part *p = t ? find_part(t, vm) : NULL;
    g_autofree char *png = NULL;
    gsize len;
    const guchar *data;

    if (t && !p)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "VM %s has no part in test %s", ID_TEXT(vm),
                    ID_TEXT(test));
    if (!p)
        return NULL;
    data = p->png ? g_bytes_get_data(p->png, &len) : NULL;
    png = data ? g_base64_encode(data, len) : NULL;
    return json_pack("{s:s?, s:s?}", "png", png, "console", p->console);
}

json_t *rehearsals_status(const Rehearsals *r)
{
    json_t *list = json_array();

    for (guint i = 0; i < r->tests->len; i++) {
        const Test *t = r->tests->pdata[i];

        if (!t->on_answer)
            json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:s, s:i}", "test", ID_TEXT(t->id), "scenario",
                                            t->scenario, "state", state_of(t), "changed", (int)t->changed));
    }
    return list;
}

/* --- all of them ------------------------------------------------------------------------------------ */

Rehearsals *rehearsals_new(uv_loop_t *loop, const HostPaths *paths, const char *permit_dir, guint vms_max,
                           Policy *policy, void (*on_news)(void *user), void *user)
{
    Rehearsals *r = g_new0(Rehearsals, 1);

    r->loop = loop;
    r->paths = *paths;
    r->permit_dir = g_strdup(permit_dir);
    r->run = id_random();
    r->room = room_new(vms_max);
    r->policy = policy;
    r->on_news = on_news;
    r->user = user;
    r->reports = mailbox_new_loop(loop, on_report, r, (GDestroyNotify)rehearsal_news_free);
    r->tests = g_ptr_array_new_with_free_func(test_free);
    r->leavers = g_ptr_array_new();
    return r;
}

void rehearsals_set(Rehearsals *r, Roles *roles, Clerk *clerk)
{
    r->roles = roles;
    r->clerk = clerk;
}

void rehearsals_close(Rehearsals *r, void (*on_closed)(void *user), void *user)
{
    r->on_closed = on_closed;
    r->closed_user = user;
    for (guint i = 0; i < r->tests->len; i++)
        stop(r->tests->pdata[i], "its engine ended");
    check_closed(r);
}

void rehearsals_free(Rehearsals *r)
{
    if (!r)
        return;
    g_assert(r->leavers->len == 0);
    g_ptr_array_unref(r->tests);
    g_ptr_array_unref(r->leavers);
    mailbox_close(r->reports);
    room_free(r->room);
    g_free(r->permit_dir);
    g_free(r);
}
