/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's event implementation, used as libvirt uses it: from many threads. */
#include "turn.h"
#include "vmconnect/hypervisor/event_uv.h"

#include <libvirt/libvirt.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

static uv_loop_t loop;

typedef struct {
    atomic_int calls;
    atomic_int freed;
    int last_events;
    int fd;
} Seen;

static void on_fd(int watch, int fd, int events, void *opaque)
{
    Seen *s = opaque;
    char byte;

    (void)watch;
    s->last_events = events;
    if (events & VIR_EVENT_HANDLE_READABLE && read(fd, &byte, 1) == 1)
        s->calls++;
    if (events & VIR_EVENT_HANDLE_WRITABLE)
        s->calls++;
}

static void on_time(int timer, void *opaque)
{
    Seen *s = opaque;

    (void)timer;
    s->calls++;
}

static void on_free(void *opaque)
{
    Seen *s = opaque;

    s->freed++;
}

static gboolean is_called(void *user)
{
    Seen *s = user;

    return s->calls > 0;
}

static gboolean is_called_thrice(void *user)
{
    Seen *s = user;

    return s->calls >= 3;
}

static gboolean is_freed(void *user)
{
    Seen *s = user;

    return s->freed > 0;
}

static gboolean nothing_left(void *user)
{
    (void)user;
    return event_uv_watches() == 0;
}

static void test_handle(void)
{
    Seen s = {0};
    int pair[2];
    int watch;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    watch = virEventAddHandle(pair[0], VIR_EVENT_HANDLE_READABLE, on_fd, &s, on_free);
    g_assert_cmpint(watch, >, 0);
    g_assert_cmpint(write(pair[1], "xy", 2), ==, 2);
    g_assert_true(turn_until(&loop, is_called, &s, 5000));

    virEventUpdateHandle(watch, VIR_EVENT_HANDLE_WRITABLE);
    s.calls = 0;
    g_assert_true(turn_until(&loop, is_called, &s, 5000));
    g_assert_cmpint(s.last_events, ==, VIR_EVENT_HANDLE_WRITABLE);

    /* No events wanted: none come, though the socket is readable. */
    virEventUpdateHandle(watch, 0);
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_run(&loop, UV_RUN_NOWAIT);
    s.calls = 0;
    uv_run(&loop, UV_RUN_NOWAIT);
    g_assert_cmpint(s.calls, ==, 0);

    g_assert_cmpint(virEventRemoveHandle(watch), ==, 0);
    /* Freed from a clean stack, and only once. */
    g_assert_cmpint(s.freed, ==, 0);
    g_assert_cmpint(virEventRemoveHandle(watch), ==, -1);
    g_assert_true(turn_until(&loop, is_freed, &s, 5000));
    g_assert_cmpint(s.freed, ==, 1);
    close(pair[0]);
    close(pair[1]);
}

static void test_hangup(void)
{
    Seen s = {0};
    int pair[2];
    int watch;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    watch =
        virEventAddHandle(pair[0], VIR_EVENT_HANDLE_READABLE | VIR_EVENT_HANDLE_HANGUP, on_fd, &s, on_free);
    close(pair[1]);
    for (int i = 0; i < 100 && !(s.last_events & VIR_EVENT_HANDLE_HANGUP); i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    g_assert_cmpint(s.last_events & VIR_EVENT_HANDLE_HANGUP, !=, 0);
    virEventRemoveHandle(watch);
    g_assert_true(turn_until(&loop, is_freed, &s, 5000));
    close(pair[0]);
}

static void test_timer(void)
{
    Seen s = {0};
    int timer = virEventAddTimeout(-1, on_time, &s, on_free);

    uv_run(&loop, UV_RUN_NOWAIT);
    g_assert_cmpint(s.calls, ==, 0);
    virEventUpdateTimeout(timer, 0);
    g_assert_true(turn_until(&loop, is_called_thrice, &s, 5000));
    virEventUpdateTimeout(timer, 10);
    s.calls = 0;
    g_assert_true(turn_until(&loop, is_called_thrice, &s, 5000));
    virEventUpdateTimeout(timer, -1);
    uv_run(&loop, UV_RUN_NOWAIT);
    s.calls = 0;
    uv_run(&loop, UV_RUN_NOWAIT);
    g_assert_cmpint(s.calls, ==, 0);
    virEventRemoveTimeout(timer);
    g_assert_true(turn_until(&loop, is_freed, &s, 5000));
}

/* Removed before uv ever heard of it. */
static void test_short_life(void)
{
    Seen s = {0};
    int timer = virEventAddTimeout(0, on_time, &s, on_free);

    virEventRemoveTimeout(timer);
    g_assert_true(turn_until(&loop, is_freed, &s, 5000));
    g_assert_cmpint(s.calls, ==, 0);
}

#define ROUNDS 300

typedef struct {
    Seen seen[ROUNDS];
    atomic_bool done;
} Storm;

/* Adds, changes and removes as fast as it can while the loop turns. */
static void storm_run(void *data)
{
    Storm *storm = data;

    for (int i = 0; i < ROUNDS; i++) {
        Seen *s = &storm->seen[i];
        int pair[2];
        int watch;
        int timer = virEventAddTimeout(0, on_time, s, on_free);

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
        s->fd = pair[0];
        watch = virEventAddHandle(pair[0], VIR_EVENT_HANDLE_READABLE, on_fd, s, on_free);
        g_assert_cmpint(write(pair[1], "x", 1), ==, 1);
        virEventUpdateHandle(watch, VIR_EVENT_HANDLE_WRITABLE);
        virEventUpdateTimeout(timer, 1);
        virEventUpdateHandle(watch, VIR_EVENT_HANDLE_READABLE);
        virEventRemoveTimeout(timer);
        virEventRemoveHandle(watch);
        /* As libvirt does: the descriptor lives until the free callback. */
        while (s->freed < 2)
            uv_sleep(0);
        close(pair[0]);
        close(pair[1]);
    }
    storm->done = TRUE;
}

static gboolean storms_done(void *user)
{
    Storm *storms = user;

    return storms[0].done && storms[1].done && storms[2].done;
}

static void test_threads(void)
{
    Storm *storms = g_new0(Storm, 3);
    uv_thread_t threads[3];

    for (int i = 0; i < 3; i++)
        g_assert_cmpint(uv_thread_create(&threads[i], storm_run, &storms[i]), ==, 0);
    g_assert_true(turn_until(&loop, storms_done, storms, 60000));
    for (int i = 0; i < 3; i++)
        uv_thread_join(&threads[i]);
    for (int i = 0; i < 3; i++)
        for (int r = 0; r < ROUNDS; r++)
            g_assert_cmpint(storms[i].seen[r].freed, ==, 2);
    g_free(storms);
}

static int on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *opaque)
{
    Seen *s = opaque;

    (void)conn;
    (void)dom;
    (void)detail;
    if (event == VIR_DOMAIN_EVENT_STOPPED)
        s->calls++;
    return 0;
}

static void test_driver(void)
{
    Seen s = {0};
    virConnectPtr conn = virConnectOpen("test:///default");
    virDomainPtr dom = virDomainLookupByName(conn, "test");
    int id = virConnectDomainEventRegisterAny(conn, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                              VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), &s, on_free);

    g_assert_cmpint(id, >=, 0);
    g_assert_cmpint(virDomainDestroy(dom), ==, 0);
    g_assert_true(turn_until(&loop, is_called, &s, 5000));
    g_assert_cmpint(virConnectDomainEventDeregisterAny(conn, id), ==, 0);
    virDomainFree(dom);
    g_assert_cmpint(virConnectClose(conn), ==, 0);
    g_assert_true(turn_until(&loop, is_freed, &s, 5000));
    g_assert_true(turn_until(&loop, nothing_left, NULL, 5000));
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    uv_loop_init(&loop);
    event_uv_start(&loop);
    g_test_add_func("/event_uv/handle", test_handle);
    g_test_add_func("/event_uv/hangup", test_hangup);
    g_test_add_func("/event_uv/timer", test_timer);
    g_test_add_func("/event_uv/short-life", test_short_life);
    g_test_add_func("/event_uv/threads", test_threads);
    g_test_add_func("/event_uv/test-driver", test_driver);
    rc = g_test_run();
    g_assert_true(turn_until(&loop, nothing_left, NULL, 5000));
    event_uv_stop();
    uv_run(&loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&loop), ==, 0);
    return rc;
}
