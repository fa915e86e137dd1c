/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/lease_writer.h"

#include "vmconnect/base/log.h"
#include "vmconnect/hypervisor/lease_file.h"

#define AGAIN_MS 1000

struct LeaseWriter {
    Clerk *clerk;
    const LeaseWriterEvents *events;
    void *user;
    guint64 changes; /* of the file … */
    guint64 written; /* … and how many of them it has */
    gboolean has_begun;
    gboolean writing;
    gboolean fails;   /* told once, until it works again … */
    uv_timer_t timer; /* … and tried again when that fires */
    gboolean closed;
};

typedef struct {
    LeaseWriter *writer;
    char *text;
    guint64 has;
    GError *error;
} Writing;

static void write_file(void *data)
{
    Writing *one = data;

    (void)lease_file_write(LEASE_FILE, one->text, &one->error);
}

static void on_written(void *data);

static void write_soon(LeaseWriter *w)
{
    g_autoptr(GArray) list = NULL;
    Writing *one;

    if (!w->has_begun || w->writing || w->closed)
        return;
    list = w->events->entries(w->user);
    one = g_new0(Writing, 1);
    *one = (Writing){w, lease_file_text(list), w->changes, NULL};
    w->writing = TRUE;
    clerk_submit(w->clerk, write_file, on_written, one);
}

static void on_again(uv_timer_t *timer)
{
    write_soon(timer->data);
}

static void take(LeaseWriter *w, const Writing *one)
{
    gboolean failed = one->error != NULL;

    w->writing = FALSE;
    if (failed && !w->fails)
        log_error(
            "leases cannot be written for the start hook: %s -> it refuses starts by what it has, and no "
            "other VM is armed, until there is room",
            one->error->message);
    if (!failed)
        w->written = one->has;
    w->fails = failed;
}

static void on_written(void *data)
{
    Writing *one = data;
    LeaseWriter *w = one->writer;

    take(w, one);
    g_clear_error(&one->error);
    g_free(one->text);
    g_free(one);
    if (w->closed)
        return;
    if (w->fails)
        uv_timer_start(&w->timer, on_again, AGAIN_MS, 0);
    else if (!lease_writer_is_done(w))
        write_soon(w);
    else
        w->events->on_written(w->user);
}

LeaseWriter *lease_writer_new(uv_loop_t *loop, Clerk *clerk, const LeaseWriterEvents *events, void *user)
{
    LeaseWriter *w = g_new0(LeaseWriter, 1);

    w->clerk = clerk;
    w->events = events;
    w->user = user;
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    return w;
}

void lease_writer_begin(LeaseWriter *w)
{
    w->has_begun = TRUE;
    (void)lease_writer_change(w);
}

void lease_writer_close(LeaseWriter *w)
{
    w->closed = TRUE;
    uv_close((uv_handle_t *)&w->timer, NULL);
}

void lease_writer_free(LeaseWriter *w)
{
    g_free(w);
}

guint64 lease_writer_change(LeaseWriter *w)
{
    w->changes++;
    write_soon(w);
    return w->changes;
}

gboolean lease_writer_has(const LeaseWriter *w, guint64 change)
{
    return w->written >= change;
}

gboolean lease_writer_is_done(const LeaseWriter *w)
{
    return w->written == w->changes;
}
