/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/stand_in.h"

#include "netmap/isolate.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/priority.h"
#include "vmconnect/base/readable.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/definition.h"
#include "vmconnect/hypervisor/qemu_process.h"
#include "vmconnect/image/qcow2.h"
#include "vmconnect/loop/thread.h"
#include "vmconnect/rehearse/checkup.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECT_MS 10000
#define IMAGE_MS 10000
#define LOOK_MS 250        /* between two looks at a guest that boots */
#define READY_LOOK_MS 1000 /* … at one that is there for its operator */
#define ASK_EACH_MS 1000
#define CPU_SHARES 33   /* a guest has 100 by itself (cgroups version 1: 1024) */
#define EXIT_MS 3000    /* so long QEMU may take to exit when it was killed */
#define REMOVE_MS 20000 /* so long its removal is tried again, then it is swept */
#define HELD "somebody has paused it (virsh suspend), so nothing is claimed: leave it alone, and test again"

struct StandIn {
    const StandInSite *site;
    const StandInSpec *spec;
    const StandInPart *part;
    guint index;
    Mailbox *box;
    Mailbox *replies; /* of Reply * */
    uv_thread_t thread;

    /* The thread's own: */
    Connection *connection;
    virDomainPtr dom;
    gboolean gone;     /* it was there, and no process runs it any more */
    gboolean has_room; /* taken of the host's, of … */
    guint64 memory_kib;
    gboolean waited; /* others' VMs had memory that it needed */
    Checkup *checkup;
    const char *state;
    const char *verdict; /* NULL: none yet */
    char *why;
    gint64 since_ms;
    gint64 running_ms; /* it runs since; 0: it does not yet */
    gint64 start_ms;   /* -1: it did not get so far; the same of the next three */
    gint64 libvirt_ms;
    gint64 boot_ms;
    gint64 back_ms;
    gint64 ask_at_ms; /* see expect_well() */
    json_t *told;
};

typedef struct {
    GError *error; /* NULL: none */
} Reply;

/* --- specs, parts, words ------------------------------------------------------ */

StandInSpec *stand_in_spec_new(Id vm, const char *name)
{
    StandInSpec *spec = g_new0(StandInSpec, 1);

    spec->vm = vm;
    spec->name = g_strdup(name);
    spec->as = id_random();
    spec->agent = -1;
    return spec;
}

void stand_in_spec_free(StandInSpec *spec)
{
    if (!spec)
        return;
    g_free(spec->name);
    g_free(spec->from);
    g_free(spec->folder);
    json_decref(spec->lent);
    g_free(spec->unlent);
    g_clear_pointer(&spec->exams, g_ptr_array_unref);
    g_free(spec);
}

void stand_in_part_clear(StandInPart *part)
{
    g_clear_pointer(&part->xml, g_free);
    g_clear_pointer(&part->nics, g_ptr_array_unref);
    g_clear_pointer(&part->left_out, g_ptr_array_unref);
}

void stand_in_word_free(StandInWord *word)
{
    if (!word)
        return;
    json_decref(word->doc);
    g_clear_pointer(&word->png, g_bytes_unref);
    g_free(word->console);
    g_free(word);
}

/* --- what it says --------------------------------------------------------------- */

static json_t *number_or_null(gint64 value)
{
    return value < 0 ? json_null() : json_integer(value);
}

static json_t *texts(const GPtrArray *list)
{
    json_t *out = json_array();

    for (guint i = 0; list && i < list->len; i++)
        json_array_append_new(out, json_string(list->pdata[i]));
    return out;
}

static json_t *base_document(const StandInSpec *spec, const char *state, const char *verdict, const char *why)
{
    json_t *point = json_object_get(spec->lent, "point");

    return json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:O}", "vm", ID_TEXT(spec->vm), "name", spec->name, "state",
                     state, "verdict", verdict, "why", why, "point", point ? point : json_null());
}

json_t *stand_in_unbegun(const StandInSpec *spec, const char *verdict, const char *why)
{
    return base_document(spec, verdict ? "ended" : "waiting", verdict, why);
}

static json_t *document(const StandIn *s)
{
    json_t *doc = base_document(s->spec, s->state, s->verdict, s->why);
    json_t *more = json_pack("{s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "screen", s->part->has_screen,
                             "waited", s->waited, "start_ms", number_or_null(s->start_ms), "libvirt_ms",
                             number_or_null(s->libvirt_ms), "boot_ms", number_or_null(s->boot_ms), "back_ms",
                             number_or_null(s->back_ms), "checks", checkup_describe(s->checkup), "left_out",
                             texts(s->part->left_out));

    json_object_update(doc, more);
    json_decref(more);
    return doc;
}

static void say(StandIn *s, StandInWord *word)
{
    word->index = s->index;
    word->doc = document(s);
    mailbox_send(s->box, word);
}

static void say_if_new(StandIn *s)
{
    json_t *doc = document(s);

    if (!json_equal(doc, s->told)) {
        json_decref(s->told);
        s->told = json_deep_copy(doc);
        say(s, g_new0(StandInWord, 1));
    }
    json_decref(doc);
}

static void enter(StandIn *s, const char *state)
{
    s->state = state;
    say_if_new(s);
}

/* The first one counts. */
static void conclude(StandIn *s, const char *verdict, const char *why)
{
    if (s->verdict)
        return;
    s->verdict = verdict;
    s->why = g_strdup(why);
}

/* Somebody wants it to end. */
static gboolean is_stopped(const StandIn *s, int wait_ms)
{
    return readable_within(s->site->stop_fd, wait_ms);
}

const char *stand_in_verdict_of(const GError *error)
{
    return us_error_may_pass(error) || g_error_matches(error, US_ERROR, US_ERROR_EXISTS) ? "stopped"
                                                                                         : "failed";
}

/* What its disks lie on is ours to offer: where nobody does any more, whatever it has done says nothing of the copy. */
static gboolean expect_loan(const StandIn *s, GError **error)
{
    const char *path = json_string_value(json_object_get(s->spec->lent, "socket"));
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    gboolean there = fd < 0 || !path ||
                     g_strlcpy(to.sun_path, path, sizeof to.sun_path) >= sizeof to.sun_path ||
                     connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EAGAIN;

    if (!there)
        g_set_error(error, US_ERROR, US_ERROR_UNREACHABLE,
                    "the storage daemon that offered its disks has been ended (%s), so nothing is claimed: "
                    "find out what ended it, and test again",
                    g_strerror(errno));
    if (fd >= 0)
        close(fd);
    return there;
}

static void fail(StandIn *s, const char *why)
{
    g_autoptr(GError) gone = NULL;

    if (expect_loan(s, &gone))
        conclude(s, "failed", why);
    else
        conclude(s, "stopped", gone->message);
}

/* It goes no further. Where it was to end anyway, or this host has no space left, that says nothing of the copy. */
static void break_off(StandIn *s, const GError *error)
{
    g_autoptr(GError) full = NULL;

    if (!room_expect_space(s->site->remains.store_dir, &full))
        conclude(s, "stopped", full->message);
    else if (is_stopped(s, 0))
        conclude(s, "stopped", NULL);
    else if (g_str_equal(stand_in_verdict_of(error), "stopped"))
        conclude(s, "stopped", error->message);
    else
        fail(s, error->message);
}

/* --- before it runs ----------------------------------------------------------------- */

static gboolean make_overlay(const StandIn *s, const json_t *disk, GError **error)
{
    const char *target = json_string_value(json_object_get(disk, "target"));
    guint64 size_bytes = (guint64)json_integer_value(json_object_get(disk, "size_bytes"));
    g_autofree char *file = g_strdup_printf("%s/%s.qcow2", s->spec->folder, target);

    /* The definition names what lies below, and headers are not asked. */
    return qcow2_create(file, size_bytes, NULL, IMAGE_MS, s->site->stop_fd, error);
}

static gboolean lay_out(StandIn *s, GError **error)
{
    json_t *disk;
    gsize i;

    json_array_foreach(json_object_get(s->spec->lent, "disks"), i, disk)
    {
        if (!make_overlay(s, disk, error))
            return FALSE;
    }
    stop_at("test.laid_out");
    return TRUE;
}

/* This host's other guests come first. A host that does not know of shares has them all alike, which is no reason not to test. */
static void stand_behind_guests(virDomainPtr dom)
{
    virTypedParameterPtr params = NULL;
    int n = 0, max = 0;

    if (virTypedParamsAddULLong(&params, &n, &max, VIR_DOMAIN_SCHEDULER_CPU_SHARES, CPU_SHARES) == 0)
        (void)virDomainSetSchedulerParametersFlags(dom, params, n, VIR_DOMAIN_AFFECT_LIVE);
    virTypedParamsFree(params, n);
}

/* Before there is a process that waits for it. */
static gboolean take_memory(StandIn *s, GError **error)
{
    g_autoptr(Definition) d = definition_parse(s->part->xml, strlen(s->part->xml), error);

    if (!d || !room_take(s->site->room, d->memory_kib, s->site->stop_fd, &s->waited, error))
        return FALSE;
    s->memory_kib = d->memory_kib;
    s->has_room = TRUE;
    return TRUE;
}

static gboolean start_paused(StandIn *s, GError **error)
{
    virConnectPtr conn = connection_get(s->connection, CONNECT_MS, error);
    gint64 begun_ms = clock_steady_ms();

    if (!conn)
        return FALSE;
    if (is_stopped(s, 0)) {
        g_set_error(error, US_ERROR, US_ERROR_CANCELLED, "the test ended before its VM was started");
        return FALSE;
    }
    if (!remains_permit(&s->site->remains, s->spec->as, error))
        return FALSE;
    s->dom = virDomainCreateXML(conn, s->part->xml, VIR_DOMAIN_START_PAUSED | VIR_DOMAIN_START_AUTODESTROY);
    if (!s->dom)
        virt_error(error, "libvirt does not start it");
    else
        stand_behind_guests(s->dom);
    remains_forbid(&s->site->remains, s->spec->as);
    s->libvirt_ms = clock_steady_ms() - begun_ms;
    stop_at("test.started");
    return s->dom != NULL;
}

static void reply_free(gpointer data)
{
    Reply *reply = data;

    g_clear_error(&reply->error);
    g_free(reply);
}

void stand_in_plugged(StandIn *s, GError *steal_error)
{
    Reply *reply = g_new0(Reply, 1);

    reply->error = steal_error;
    mailbox_send(s->replies, reply);
}

/* Its cards leave this host's network before it has executed anything. The stage's thread always answers. */
static gboolean plug(StandIn *s, GError **error)
{
    StandInWord *word = g_new0(StandInWord, 1);
    g_autofree Reply *reply = NULL;

    word->plug = TRUE;
    say(s, word);
    reply = mailbox_wait(s->replies, -1);
    stop_at("test.plugged");
    if (!reply->error)
        return TRUE;
    g_propagate_error(error, reply->error);
    return FALSE;
}

static gboolean let_run(StandIn *s, GError **error)
{
    if (virDomainResume(s->dom) != 0)
        return virt_error(error, "it does not begin to run");
    s->running_ms = clock_steady_ms();
    s->start_ms = s->running_ms - s->since_ms;
    stop_at("test.running");
    return TRUE;
}

/* --- while it runs -------------------------------------------------------------------- */

static gboolean expect_space(const StandIn *s, GError **error)
{
    return room_expect_space(s->site->remains.store_dir, error);
}

static gboolean expect_running(const StandIn *s, GError **error)
{
    int state, reason;

    if (virDomainGetState(s->dom, &state, &reason, 0) != 0) {
        if (virt_error_code() != VIR_ERR_NO_DOMAIN)
            return virt_error(error, "libvirt does not say what it does");
        state = VIR_DOMAIN_SHUTOFF;
    }
    /* libvirt forgets it, unless somebody has defined it. */
    if (state == VIR_DOMAIN_SHUTOFF) {
        g_set_error(
            error, US_ERROR, US_ERROR_FAILED,
            "it has ended by itself: it was shut down from inside, it crashed, or somebody has ended it");
        return FALSE;
    }
    if (state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_IOERROR) {
        g_set_error(error, US_ERROR, US_ERROR_IO,
                    "a disk of it cannot be read or written, so that QEMU has stopped it");
        return FALSE;
    }
    if (state == VIR_DOMAIN_CRASHED || (state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_CRASHED)) {
        g_set_error(error, US_ERROR, US_ERROR_FAILED, "its guest has crashed (the kernel panicked)");
        return FALSE;
    }
    return TRUE;
}

/* What somebody attaches is not on the stage: it is ended before it takes its VM's place in production. */
static gboolean expect_own_cards(const StandIn *s, GError **error)
{
    char *xml = virDomainGetXMLDesc(s->dom, 0);
    g_autofree char *foreign = NULL;

    foreign = xml ? isolate_foreign_card(xml, s->part->nics) : NULL;
    free(xml);
    if (foreign)
        g_set_error(
            error, US_ERROR, US_ERROR_VERIFY,
            "somebody has attached %s to it, which is none of its isolated ones, so that it was ended: see "
            "what it may have said there, and leave the VMs of tests alone",
            foreign);
    return !foreign;
}

/* May it go on? What asks others is not for every look. */
static gboolean expect_well(StandIn *s, GError **error)
{
    if (!expect_space(s, error) || !expect_running(s, error))
        return FALSE;
    if (clock_left_ms(s->ask_at_ms) > 0)
        return TRUE;
    s->ask_at_ms = clock_steady_ms() + ASK_EACH_MS;
    return expect_loan(s, error) && expect_own_cards(s, error);
}

/* Of the beginning: whatever fails when its VM has ended, or libvirt is gone, fails for that. */
static void break_off_beginning(StandIn *s, const GError *error)
{
    g_autoptr(GError) why = NULL;

    break_off(s, !s->dom || expect_running(s, &why) ? error : why);
}

/* By hand: then its time was not its own. */
static gboolean is_held(const StandIn *s)
{
    int state, reason;

    return virDomainGetState(s->dom, &state, &reason, 0) == 0 && state == VIR_DOMAIN_PAUSED &&
           reason == VIR_DOMAIN_PAUSED_USER;
}

static gboolean look(StandIn *s, GError **error)
{
    if (!expect_well(s, error))
        return FALSE;
    checkup_look(s->checkup, s->dom, clock_steady_ms() - s->running_ms);
    return TRUE;
}

/* Until it lives, or it is clear that it does not. */
static void watch_boot(StandIn *s)
{
    g_autoptr(GError) error = NULL;

    while (!s->verdict) {
        if (!look(s, &error)) {
            break_off(s, error);
        } else if (checkup_lives(s->checkup)) {
            s->boot_ms = clock_steady_ms() - s->running_ms;
            s->back_ms = clock_steady_ms() - s->site->begun_ms;
            return;
        } else if (clock_steady_ms() - s->running_ms >= s->site->boot_ms) {
            g_autofree char *why = checkup_why(s->checkup, s->site->boot_ms);

            if (is_held(s))
                conclude(s, "stopped", HELD);
            else
                fail(s, why);
        } else if (is_stopped(s, LOOK_MS)) {
            break_off(s, NULL);
        }
        say_if_new(s);
    }
}

/* It is its operator's, whatever the checks say, until he or its time ends it: he may shut it down, too. */
static void wait_for_operator(StandIn *s)
{
    g_autoptr(GError) error = NULL;

    while (!is_stopped(s, READY_LOOK_MS)) {
        if (!expect_well(s, &error)) {
            if (g_error_matches(error, US_ERROR, US_ERROR_FAILED))
                conclude(s, "stopped", error->message);
            break_off(s, error);
            return;
        }
    }
    break_off(s, NULL);
}

/* Those that start after it may need it, as in production: it stays until all of its test live, or one waits for memory that it has. */
static void wait_for_others(StandIn *s)
{
    g_autoptr(GError) error = NULL;

    while (!s->verdict && !readable_within(s->site->all_up_fd, LOOK_MS) && !room_is_wanted(s->site->room))
        if (is_stopped(s, 0))
            break_off(s, NULL);
        else if (!expect_well(s, &error))
            break_off(s, error);
}

static void say_up(StandIn *s)
{
    StandInWord *word = g_new0(StandInWord, 1);

    word->up = TRUE;
    say(s, word);
    stop_at("test.up");
}

/* A picture, and what its console said: also of one that failed. */
static void keep_evidence(StandIn *s)
{
    StandInWord *word = g_new0(StandInWord, 1);

    word->png = checkup_picture(s->checkup, s->dom);
    word->console = checkup_console(s->spec->folder);
    say(s, word);
}

static void run_it(StandIn *s)
{
    enter(s, "booting");
    watch_boot(s);
    if (s->site->manual && g_strcmp0(s->verdict, "stopped") != 0) {
        keep_evidence(s);
        enter(s, "ready");
        say_up(s);
        wait_for_operator(s);
    } else if (!s->verdict) {
        enter(s, "ready");
        say_up(s);
        if (!s->site->alone)
            wait_for_others(s);
    }
    keep_evidence(s);
}

/* --- after it ---------------------------------------------------------------------------- */

/* Nobody runs it any more, whatever libvirt knows of that. */
static gboolean end_process(const StandIn *s)
{
    g_autofree char *name = g_strconcat(REMAINS_PREFIX, ID_TEXT(s->spec->vm), NULL);
    g_autoptr(GError) error = NULL;
    gboolean gone;
    int fd = qemu_process_open(QEMU_PROCESS_FOLDER, name, s->spec->as, &gone, &error);

    if (fd < 0)
        return g_error_matches(error, US_ERROR, US_ERROR_NOT_FOUND);
    qemu_process_kill(QEMU_PROCESS_FOLDER, name, s->spec->as);
    gone = qemu_process_wait(fd, -1, EXIT_MS, NULL);
    close(fd);
    return gone;
}

static void end_vm(StandIn *s)
{
    g_autoptr(GError) error = NULL;

    if (!s->dom)
        return;
    if (!remains_end_vm(s->dom, &error))
        log_notice("test of '%s': libvirt does not end its VM (%s) -> its QEMU is killed", s->spec->name,
                   error->message);
    g_clear_pointer(&s->dom, virDomainFree);
    s->gone = end_process(s);
}

static gboolean may_look_at_disks(const StandIn *s)
{
    return s->running_ms > 0 && !s->site->manual && g_strcmp0(s->verdict, "stopped") != 0;
}

static void look_at_disks(StandIn *s)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *why = NULL;

    if (!may_look_at_disks(s))
        return;
    if (!checkup_disks(s->checkup, s->spec->lent, s->spec->folder, s->site->stop_fd, &why, &error))
        conclude(s, "stopped", error->message); /* that they could not be looked at is this host's fault */
    else if (why)
        fail(s, why);
}

static gboolean remove_all(const StandIn *s, GError **error)
{
    virConnectPtr conn;

    if (s->gone)
        return remains_remove_files(&s->site->remains, s->spec->as, error);
    conn = connection_get(s->connection, CONNECT_MS, error);
    return conn && remains_remove(conn, &s->site->remains, s->spec->as, error);
}

/* libvirtd may be away: it has the VM's process then, or nobody has. Who wants the test to end does not wait for it. */
static void remove_remains(StandIn *s)
{
    gint64 until_ms = clock_steady_ms() + REMOVE_MS;
    GError *error = NULL;

    while (!remove_all(s, &error)) {
        if (clock_left_ms(until_ms) == 0 || is_stopped(s, 0)) {
            log_warning("test of '%s': what it made is not removed yet (%s) -> done when libvirtd is back",
                        s->spec->name, error->message);
            remains_give_up(&s->site->remains, s->spec->as);
            g_error_free(error);
            return;
        }
        g_clear_error(&error);
        poll(NULL, 0, LOOK_MS);
    }
}

static gboolean begin(StandIn *s, GError **error)
{
    enter(s, "preparing");
    if (!expect_space(s, error) || !lay_out(s, error) || !take_memory(s, error))
        return FALSE;
    enter(s, "starting");
    return start_paused(s, error) && plug(s, error) && let_run(s, error);
}

static void say_ended(StandIn *s)
{
    StandInWord *word = g_new0(StandInWord, 1);

    s->state = "ended";
    word->ended = TRUE;
    say(s, word);
}

static void run(void *arg)
{
    StandIn *s = arg;
    g_autoptr(GError) error = NULL;

    priority_behind_guests();
    s->connection = connection_new(s->site->libvirt_uri, NULL, NULL);
    if (begin(s, &error))
        run_it(s);
    else
        break_off_beginning(s, error);
    enter(s, "ending");
    stop_at("test.ending");
    end_vm(s);
    look_at_disks(s);
    conclude(s, "passed", NULL);
    stop_at("test.undone");
    remove_remains(s);
    if (s->has_room)
        room_give(s->site->room, s->memory_kib);
    connection_free(s->connection);
    say_ended(s);
}

static void stand_in_free(StandIn *s)
{
    checkup_free(s->checkup);
    mailbox_close(s->replies);
    json_decref(s->told);
    g_free(s->why);
    g_free(s);
}

StandIn *stand_in_start(const StandInSite *site, const StandInSpec *spec, const StandInPart *part,
                        guint index, gint64 since_ms, Mailbox *box, GError **error)
{
    StandIn *s = g_new0(StandIn, 1);

    *s = (StandIn){.site = site,
                   .spec = spec,
                   .part = part,
                   .index = index,
                   .since_ms = since_ms,
                   .box = box,
                   .state = "waiting",
                   .start_ms = -1,
                   .libvirt_ms = -1,
                   .boot_ms = -1,
                   .back_ms = -1};
    s->checkup = checkup_new(site, spec, part);
    s->replies = mailbox_try_thread(reply_free, error);
    if (s->replies && thread_start(&s->thread, run, s, error))
        return s;
    stand_in_free(s);
    return NULL;
}

void stand_in_join(StandIn *s)
{
    uv_thread_join(&s->thread);
    stand_in_free(s);
}
