/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/events.h"

#include "tests/tree.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#define DEADLINE_MS 20000
#define LATER_MS 3600000

static const Id ME = {{1}};

typedef struct {
    uv_loop_t loop;
    uv_timer_t patience;
    Database *db;
    Events *events;
    guint come;
    gboolean answered;
    json_t *rows;
} Desk;

static void on_patience(uv_timer_t *timer)
{
    (void)timer;
}

static void on_come(void *user)
{
    ((Desk *)user)->come++;
}

static void desk_open(Desk *d, const char *dir)
{
    g_autofree char *path = g_build_filename(dir, "state.db", NULL);

    uv_loop_init(&d->loop);
    uv_timer_init(&d->loop, &d->patience);
    uv_timer_start(&d->patience, on_patience, 50, 50);
    d->db = database_open(path, ME, NULL);
    g_assert_nonnull(d->db);
    d->events = events_new(d->db, (EventsKept){1000, 1000 * 1000});
    events_listen(d->events, on_come, d);
    database_start(d->db, &d->loop);
}

static void desk_close(Desk *d)
{
    events_close(d->events);
    database_close(d->db, NULL, NULL);
    uv_close((uv_handle_t *)&d->patience, NULL);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    events_free(d->events);
    json_decref(d->rows);
    g_assert_cmpint(uv_loop_close(&d->loop), ==, 0);
}

static void on_rows(const json_t *rows, const GError *error, void *user)
{
    Desk *d = user;

    g_assert_no_error(error);
    json_decref(d->rows);
    d->rows = json_deep_copy(rows);
    d->answered = TRUE;
}

/* What is there now, after all that was submitted. */
static json_t *history(Desk *d)
{
    gint64 end_ms = clock_steady_ms() + DEADLINE_MS;

    d->answered = FALSE;
    database_query_events(d->db, &(DatabaseEventFilter){0}, on_rows, d);
    while (!d->answered && clock_steady_ms() < end_ms)
        uv_run(&d->loop, UV_RUN_ONCE);
    g_assert_true(d->answered);
    return d->rows;
}

static void publish(Desk *d, const char *host)
{
    g_autoptr(Event) event = event_new(EVENT_LINK_BACK, NULL, host, NULL, NULL);

    events_publish(d->events, event);
}

/* So full that the database's own file has no room left in its pages either; the path of what fills it. */
static char *fill(const char *dir)
{
    char *path = g_build_filename(dir, "fill", NULL);
    g_autofree char *block = g_malloc0(4096);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    while (write(fd, block, 4096) > 0)
        ;
    close(fd);
    return path;
}

static const char *host_of(const json_t *rows, gsize i)
{
    return json_string_value(json_object_get(json_array_get(rows, i), "host"));
}

/* An hour of it, in short: all are there afterwards, in their order. */
static void test_a_full_disk(void)
{
    g_autofree char *dir = g_dir_make_tmp("understudy-events-XXXXXX", NULL);
    g_autofree char *filler = NULL;
    gsize before, after;
    Desk d = {0};

    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", dir, "tmpfs", 0, "size=1m") != 0) {
        g_test_skip("a file system of its own needs root");
        return;
    }
    desk_open(&d, dir);
    publish(&d, "first");
    g_assert_cmpuint(json_array_size(history(&d)), ==, 1);
    filler = fill(dir);
    for (guint i = 0; i < 300; i++) {
        g_autofree char *host = g_strdup_printf("host%u", i);

        publish(&d, host);
    }
    before = json_array_size(history(&d));
    g_assert_cmpuint(before, <, 301);
    events_tick(d.events, clock_steady_ms() + LATER_MS);
    after = json_array_size(history(&d));
    g_assert_cmpuint(after, ==, before);
    publish(&d, "last");
    g_assert_cmpint(unlink(filler), ==, 0);
    d.come = 0;
    events_tick(d.events, clock_steady_ms() + LATER_MS);
    while (json_array_size(history(&d)) < 302)
        ;
    g_assert_cmpuint(d.come, ==, 2);
    for (gsize i = 0; i < 300; i++) {
        g_autofree char *host = g_strdup_printf("host%zu", i);

        g_assert_cmpstr(host_of(d.rows, i + 1), ==, host);
    }
    g_assert_cmpstr(host_of(d.rows, 301), ==, "last");
    desk_close(&d);
    g_assert_cmpint(umount(dir), ==, 0);
    tree_remove(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/events/a-full-disk", test_a_full_disk);
    return g_test_run();
}
