/* SPDX-License-Identifier: Apache-2.0 */
/* ears, hands and connection with libvirt's own test driver, and with a server
 * that takes connections and never says a word. */
#include "turn.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/fault.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/ears.h"
#include "vmconnect/hypervisor/event_uv.h"
#include "vmconnect/hypervisor/hands.h"
#include "vmconnect/hypervisor/lifecycle.h"
#include "vmconnect/hypervisor/rescuer.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TEST_URI "test:///default"
#define KNOCK_MS 1000 /* ears that may come again come after 100 */

static uv_loop_t loop;

static void on_closed(void *user)
{
    *(gboolean *)user = TRUE;
}

/* A libvirtd that hangs: its socket accepts and is never read. */
typedef struct {
    char *folder;
    char *uri;
    int fd;
} Mute;

static void mute_open(Mute *m)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    m->folder = g_dir_make_tmp("mute-XXXXXX", NULL);
    g_snprintf(at.sun_path, sizeof(at.sun_path), "%s/sock", m->folder);
    m->uri = g_strdup_printf("qemu+unix:///system?socket=%s", at.sun_path);
    m->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(m->fd, (struct sockaddr *)&at, sizeof(at)), ==, 0);
    g_assert_cmpint(listen(m->fd, 16), ==, 0);
}

static void mute_close(Mute *m)
{
    g_autofree char *path = g_build_filename(m->folder, "sock", NULL);

    close(m->fd);
    g_unlink(path);
    g_rmdir(m->folder);
    g_free(m->folder);
    g_free(m->uri);
}

static void test_open_has_a_deadline(void)
{
    Mute m;
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) again = NULL;
    Connection *c;
    gint64 start_ms = clock_steady_ms();

    mute_open(&m);
    c = connection_new(m.uri, NULL, NULL);
    g_assert_null(connection_get(c, 200, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_assert_nonnull(strstr(error->message, "guests run on"));
    /* The second waits for the same open: no second thread, no second connection. */
    g_assert_null(connection_get(c, 200, &again));
    g_assert_error(again, US_ERROR, US_ERROR_TIMEOUT);
    g_assert_cmpint(clock_steady_ms() - start_ms, <, 5000);
    g_assert_cmpint(connection_count(c), ==, 0);
    connection_free(c);
    mute_close(&m);
}

static gboolean something_left(void *user)
{
    (void)user;
    return event_uv_watches() > 0;
}

/* Who opened it has left: its watches go when libvirtd does, and nobody waits for that. */
static void test_drain_has_a_deadline(void)
{
    Mute m;
    Connection *c;
    gint64 start_ms;

    g_assert_true(event_uv_drain(20000));
    mute_open(&m);
    c = connection_new(m.uri, NULL, NULL);
    g_assert_null(connection_get(c, 1, NULL));
    g_assert_true(turn_until(&loop, something_left, NULL, 5000));
    connection_free(c);
    start_ms = clock_steady_ms();
    g_assert_false(event_uv_drain(100));
    g_assert_cmpint(clock_steady_ms() - start_ms, <, 5000);
    mute_close(&m);
    g_assert_true(event_uv_drain(20000));
}

static void test_refused_backs_off(void)
{
    g_autoptr(Connection) c = connection_new("qemu+unix:///system?socket=/nonexistent/sock", NULL, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) again = NULL;

    g_assert_null(connection_get(c, 5000, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
    g_assert_cmpint(connection_wait_ms(c), >, 0);
    g_assert_null(connection_get(c, 5000, &again));
    g_assert_cmpstr(error->message, ==, again->message);
}

static Id test_uuid(void)
{
    Id id;

    g_assert_true(id_parse("6695eb01-f6a4-8304-79aa-97f2502e193f", &id, NULL));
    return id;
}

/* It is asked again later. */
static void test_connection_without_thread(void)
{
    g_autoptr(Connection) c = connection_new(TEST_URI, NULL, NULL);
    g_autoptr(GError) error = NULL;

    fault_arm(1, EAGAIN);
    g_assert_null(connection_get(c, 5000, &error));
    g_assert_true(fault_was_met());
    g_assert_error(error, US_ERROR, US_ERROR_IO);
    g_assert_nonnull(connection_get(c, 5000, NULL));
}

/* The reason survives the making of the sentence that it ends. */
static void test_reasons(void)
{
    g_autoptr(Connection) c = connection_new(TEST_URI, NULL, NULL);
    virConnectPtr conn = connection_get(c, 5000, NULL);
    g_autoptr(GError) running = NULL;
    g_autoptr(GError) defined = NULL;

    g_assert_false(lifecycle_start(conn, test_uuid(), &running));
    g_assert_nonnull(running);
    g_assert_true(g_str_has_prefix(running->message, "cannot start 'test': "));
    g_assert_nonnull(strstr(running->message, "already running"));
    g_assert_false(lifecycle_undefine(conn, test_uuid(), &defined));
    g_assert_error(defined, US_ERROR, US_ERROR_REFUSED);
    g_assert_nonnull(strstr(defined->message, "'test' is running"));
}

static void test_connection(void)
{
    g_autoptr(Connection) c = connection_new(TEST_URI, NULL, NULL);
    virConnectPtr conn = connection_get(c, 5000, NULL);

    g_assert_nonnull(conn);
    g_assert_true(connection_get(c, 5000, NULL) == conn);
    g_assert_cmpint(connection_count(c), ==, 1);
}

typedef struct {
    gboolean done;
    guint vms;
    UsError code;
    gboolean failed;
    char *text;
} Answer;

static void on_inventory(void *user, gpointer result, const GError *error)
{
    Answer *a = user;
    Inventory *inv = result;

    a->done = TRUE;
    a->failed = error != NULL;
    a->code = error ? error->code : 0;
    a->vms = inv ? inv->vms->len : 0;
    inventory_free(inv);
}

static void on_text(void *user, gpointer result, const GError *error)
{
    Answer *a = user;

    a->done = TRUE;
    a->failed = error != NULL;
    a->code = error ? error->code : 0;
    a->text = result;
}

static void close_hands(Hands *h)
{
    gboolean closed = FALSE;

    hands_close(h, on_closed, &closed);
    g_assert_true(turn_until(&loop, turn_is_set, &closed, 20000));
}

static void test_hands(void)
{
    Hands *h = hands_new(&loop, TEST_URI);
    Answer list = {0};
    Answer text = {0};
    Answer none = {0};

    hands_inventory(h, on_inventory, &list);
    hands_definition(h, test_uuid(), on_text, &text);
    hands_definition(h, id_random(), on_text, &none);
    g_assert_true(turn_until(&loop, turn_is_set, &none.done, 10000));
    g_assert_true(list.done && text.done);
    g_assert_cmpuint(list.vms, ==, 1);
    g_assert_nonnull(strstr(text.text, "<name>test</name>"));
    g_assert_true(none.failed);
    g_assert_cmpint(none.code, ==, US_ERROR_NOT_FOUND);
    g_free(text.text);
    close_hands(h);
}

/* A call that hangs until the test lets it go. */
typedef struct {
    uv_sem_t entered;
    uv_sem_t go;
    atomic_int runs;
    atomic_int results_freed;
} Gate;

static Gate gate;

static gboolean work_gate(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    (void)conn;
    (void)request;
    (void)error;
    gate.runs++;
    uv_sem_post(&gate.entered);
    uv_sem_wait(&gate.go);
    *ret_result = &gate;
    return TRUE;
}

static void free_gate_result(gpointer result)
{
    Gate *g = result;

    g->results_freed++;
}

static void test_stuck_call_costs_its_thread(void)
{
    Hands *h = hands_new(&loop, TEST_URI);
    HandsJob job = {
        .what = "a stuck call", .timeout_ms = 100, .work = work_gate, .free_result = free_gate_result};
    Answer stuck = {0};
    Answer queued = {0};
    Answer later = {0};

    uv_sem_init(&gate.entered, 0);
    uv_sem_init(&gate.go, 0);
    hands_submit(h, &job, on_text, &stuck);
    hands_submit(h, &job, on_text, &queued);
    g_assert_true(turn_until(&loop, turn_is_set, &queued.done, 10000));
    g_assert_true(stuck.done && stuck.failed && queued.failed);
    g_assert_cmpint(stuck.code, ==, US_ERROR_TIMEOUT);
    g_assert_cmpint(queued.code, ==, US_ERROR_TIMEOUT);

    /* The late result is thrown away, the one given up in the queue is never begun. */
    uv_sem_wait(&gate.entered);
    uv_sem_post(&gate.go);
    hands_inventory(h, on_inventory, &later);
    g_assert_true(turn_until(&loop, turn_is_set, &later.done, 10000));
    g_assert_false(later.failed);
    g_assert_cmpint(gate.runs, ==, 1);
    g_assert_cmpint(gate.results_freed, ==, 1);
    close_hands(h);
}

static void test_hands_closing_answers(void)
{
    Hands *h = hands_new(&loop, TEST_URI);
    HandsJob job = {.what = "a stuck call", .work = work_gate, .free_result = free_gate_result};
    Answer running = {0};
    Answer queued = {0};
    gboolean closed = FALSE;

    hands_submit(h, &job, on_text, &running);
    hands_submit(h, &job, on_text, &queued);
    uv_sem_wait(&gate.entered);
    hands_close(h, on_closed, &closed);
    g_assert_true(running.done && queued.done);
    g_assert_cmpint(running.code, ==, US_ERROR_CANCELLED);
    g_assert_false(closed);
    uv_sem_post(&gate.go);
    g_assert_true(turn_until(&loop, turn_is_set, &closed, 10000));
}

static void test_hands_hung_server(void)
{
    Mute m;
    Hands *h;
    Answer list = {0};
    HandsJob job = {.what = "reading", .timeout_ms = 200, .work = work_gate};

    mute_open(&m);
    h = hands_new(&loop, m.uri);
    hands_submit(h, &job, on_text, &list);
    g_assert_true(turn_until(&loop, turn_is_set, &list.done, 5000));
    g_assert_cmpint(list.code, ==, US_ERROR_TIMEOUT);
    close_hands(h);
    mute_close(&m);
}

typedef struct {
    gboolean resynced;
    guint resyncs;
    guint vms;
    gboolean stopped;
    gboolean down;
    VmState state;
} Heard;

static void on_event(void *user, const EarEvent *event)
{
    Heard *heard = user;

    if (event->kind == EAR_DOWN)
        heard->down = TRUE;
    if (event->kind == EAR_RESYNC) {
        const Vm *vm = inventory_find(event->inventory, test_uuid());

        heard->resynced = TRUE;
        heard->resyncs++;
        heard->vms = event->inventory->vms->len;
        heard->state = vm ? vm->state : VM_STATE_UNKNOWN;
    }
    if (event->kind == EAR_LIFECYCLE && event->event == VIR_DOMAIN_EVENT_STOPPED) {
        g_assert_true(id_equal(event->vm, test_uuid()));
        g_assert_cmpstr(event->name, ==, "test");
        heard->stopped = TRUE;
    }
}

static gboolean stop_test(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    (void)request;
    (void)ret_result;
    (void)error;
    g_assert_cmpint(virDomainDestroy(virDomainLookupByUUID(conn, test_uuid().bytes)), ==, 0);
    return TRUE;
}

static void close_ears(Ears *e)
{
    gboolean closed = FALSE;

    ears_close(e, on_closed, &closed);
    g_assert_true(turn_until(&loop, turn_is_set, &closed, 20000));
}

static void test_ears(void)
{
    Heard heard = {0};
    Ears *e = ears_new(&loop, TEST_URI, on_event, &heard);

    g_assert_true(turn_until(&loop, turn_is_set, &heard.resynced, 10000));
    g_assert_cmpuint(heard.vms, ==, 1);
    g_assert_cmpint(heard.state, ==, VM_STATE_RUNNING);
    g_assert_false(heard.down);
    heard.resynced = FALSE;
    ears_resync(e);
    g_assert_true(turn_until(&loop, turn_is_set, &heard.resynced, 10000));
    g_assert_cmpuint(heard.resyncs, ==, 2);
    close_ears(e);
}

/* test:///default is one host for the whole process. */
static void test_ears_hear(void)
{
    Heard heard = {0};
    Ears *e = ears_new(&loop, TEST_URI, on_event, &heard);
    Hands *h = hands_new(&loop, TEST_URI);
    HandsJob job = {.what = "stopping", .work = stop_test};
    Answer stopped = {0};

    g_assert_true(turn_until(&loop, turn_is_set, &heard.resynced, 10000));
    hands_submit(h, &job, on_text, &stopped);
    g_assert_true(turn_until(&loop, turn_is_set, &heard.stopped, 10000));
    close_hands(h);
    close_ears(e);
}

static void on_vm(void *user, gpointer result, const GError *error)
{
    g_autoptr(Vm) vm = result;
    Heard *heard = user;

    g_assert_no_error(error);
    heard->state = vm->state;
    heard->resynced = TRUE;
}

typedef void Verb(Hands *h, Id vm, HandsDone on_done, void *user);

/* What it is after that; the verb must do. */
static VmState after(Hands *h, Verb *verb)
{
    Answer a = {0};
    Heard heard = {0};

    verb(h, test_uuid(), on_text, &a);
    hands_vm(h, test_uuid(), on_vm, &heard);
    g_assert_true(turn_until(&loop, turn_is_set, &heard.resynced, 10000));
    g_assert_true(a.done);
    g_assert_false(a.failed);
    g_assert_null(a.text);
    return heard.state;
}

static gboolean start_test(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    (void)request;
    (void)ret_result;
    return lifecycle_start(conn, test_uuid(), error);
}

static void do_work(Hands *h, gboolean (*work)(virConnectPtr, gpointer, gpointer *, GError **))
{
    HandsJob job = {.what = "working", .work = work};
    Answer a = {0};

    hands_submit(h, &job, on_text, &a);
    g_assert_true(turn_until(&loop, turn_is_set, &a.done, 10000));
    g_assert_false(a.failed);
}

/* Asked again, or of what is off, they do nothing, and that is well. */
static void test_suspend_and_resume(void)
{
    Hands *h = hands_new(&loop, TEST_URI);
    Answer still = {0};
    Answer none = {0};

    g_assert_cmpint(after(h, hands_resume), ==, VM_STATE_RUNNING);
    g_assert_cmpint(after(h, hands_suspend), ==, VM_STATE_PAUSED);
    g_assert_cmpint(after(h, hands_suspend), ==, VM_STATE_PAUSED);
    g_assert_cmpint(after(h, hands_resume), ==, VM_STATE_RUNNING);
    do_work(h, stop_test);
    g_assert_cmpint(after(h, hands_suspend), ==, VM_STATE_OFF);
    g_assert_cmpint(after(h, hands_resume), ==, VM_STATE_OFF);
    do_work(h, start_test);
    /* Who does not exist does nothing, and cannot go on. */
    hands_suspend(h, id_random(), on_text, &still);
    hands_resume(h, id_random(), on_text, &none);
    g_assert_true(turn_until(&loop, turn_is_set, &none.done, 10000));
    g_assert_true(still.done && !still.failed);
    g_assert_cmpint(none.code, ==, US_ERROR_NOT_FOUND);
    close_hands(h);
}

static void test_ears_hung_server(void)
{
    Heard heard = {0};
    Ears *e = ears_new(&loop, "qemu+unix:///system?socket=/nonexistent/sock", on_event, &heard);

    g_assert_true(turn_until(&loop, turn_is_set, &heard.down, 10000));
    g_assert_false(heard.resynced);
    close_ears(e);
}

/* It is told what it lost, and comes no more. */
static void test_ears_open_no_more(void)
{
    Mute m;
    Heard heard = {0};
    Ears *e;
    struct pollfd knock;
    int peer;

    mute_open(&m);
    knock = (struct pollfd){.fd = m.fd, .events = POLLIN};
    e = ears_new(&loop, m.uri, on_event, &heard);
    g_assert_cmpint(poll(&knock, 1, 10000), ==, 1);
    ears_open_no_more(e);
    peer = accept(m.fd, NULL, NULL);
    close(peer);
    g_assert_true(turn_until(&loop, turn_is_set, &heard.down, 10000));
    g_assert_cmpint(poll(&knock, 1, KNOCK_MS), ==, 0);
    close_ears(e);
    mute_close(&m);
}

static void on_news(void *user, const RescuerNews *news)
{
    gboolean *failed = user;

    g_assert_cmpint(news->kind, ==, RESCUER_FAILED);
    g_assert_nonnull(news->why);
    *failed = TRUE;
}

static void test_rescuer(void)
{
    gboolean failed = FALSE;
    gboolean closed = FALSE;
    const char *scratch[] = {"/proc/self/exe", "/nonexistent", NULL};
    Rescuer *r = rescuer_new(&loop, TEST_URI, "/run/understudy/test", on_news, &failed);
    RescuerWatch watch = {
        .vm = id_random(), .scratch = scratch, .end_by_ms = clock_steady_ms() + 100, .was_running = TRUE};

    /* A VM that libvirt does not know: the overdue job's rescue fails, and says so. */
    rescuer_watch(r, &watch);
    g_assert_true(turn_until(&loop, turn_is_set, &failed, 10000));
    rescuer_unwatch(r, watch.vm);
    rescuer_close(r, on_closed, &closed);
    g_assert_true(turn_until(&loop, turn_is_set, &closed, 10000));
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    uv_loop_init(&loop);
    event_uv_start(&loop);
    g_test_add_func("/connection/without-thread", test_connection_without_thread);
    g_test_add_func("/connection/deadline", test_open_has_a_deadline);
    g_test_add_func("/event_uv/drain", test_drain_has_a_deadline);
    g_test_add_func("/connection/back-off", test_refused_backs_off);
    g_test_add_func("/connection/live", test_connection);
    g_test_add_func("/connection/reasons", test_reasons);
    g_test_add_func("/hands/jobs", test_hands);
    g_test_add_func("/hands/stuck", test_stuck_call_costs_its_thread);
    g_test_add_func("/hands/closing", test_hands_closing_answers);
    g_test_add_func("/hands/hung-server", test_hands_hung_server);
    g_test_add_func("/ears/resync", test_ears);
    g_test_add_func("/hands/suspend-and-resume", test_suspend_and_resume);
    g_test_add_func("/ears/hear", test_ears_hear);
    g_test_add_func("/ears/down", test_ears_hung_server);
    g_test_add_func("/ears/open-no-more", test_ears_open_no_more);
    g_test_add_func("/rescuer/fails-aloud", test_rescuer);
    rc = g_test_run();
    g_assert_true(event_uv_drain(20000));
    event_uv_stop();
    uv_run(&loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&loop), ==, 0);
    return rc;
}
