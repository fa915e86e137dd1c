/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/loop/errand.h"

#include "vmconnect/base/error.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define LAST_WORDS_MS 200
#define PATH_VARIABLE "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct Errand {
    uv_process_t process;
    uv_pipe_t input, outputs[2];
    uv_timer_t timer;
    uv_write_t write;
    guint open; /* handles */
    char *path;
    char *told;
    gint64 limit_ms;
    GString *said;
    gboolean is_cut;
    gboolean is_spawned; /* the process is a handle, whether it was @is_started or not */
    gboolean is_started, has_ended, is_late;
    gint64 status;
    int signal;
    GError *failure;
    ErrandDone done; /* NULL: cancelled, or told */
    void *user;
    char block[4096];
};

/* --- its end ------------------------------------------------------------------ */

static void on_closed(uv_handle_t *handle)
{
    Errand *e = handle->data;

    if (--e->open > 0)
        return;
    g_clear_error(&e->failure);
    g_string_free(e->said, TRUE);
    g_free(e->path);
    g_free(e->told);
    g_free(e);
}

static void close_handle(void *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void tell(Errand *e)
{
    const ErrandEnd end = {.path = e->path,
                           .failure = e->failure,
                           .is_late = e->is_late,
                           .limit_ms = e->limit_ms,
                           .signal = e->signal,
                           .status = e->status,
                           .said = e->said->str,
                           .is_cut = e->is_cut};

    if (e->done)
        g_steal_pointer (&e->done)(e->user, &end);
}

static void finish(Errand *e)
{
    tell(e);
    close_handle(&e->input);
    for (guint i = 0; i < G_N_ELEMENTS(e->outputs); i++)
        close_handle(&e->outputs[i]);
    close_handle(&e->timer);
    if (e->is_spawned)
        close_handle(&e->process);
}

/* Not reaped yet, so its number is nobody else's. */
static void kill_all(Errand *e)
{
    if (e->is_started && !e->has_ended)
        kill(-e->process.pid, SIGKILL);
}

static void on_timer(uv_timer_t *timer)
{
    Errand *e = timer->data;

    if (e->has_ended || !e->is_started) {
        finish(e);
        return;
    }
    e->is_late = TRUE;
    kill_all(e);
}

/* Both outputs are at their end. */
static gboolean is_silent(const Errand *e)
{
    return uv_is_closing((const uv_handle_t *)&e->outputs[0]) &&
           uv_is_closing((const uv_handle_t *)&e->outputs[1]);
}

static void on_exit_of(uv_process_t *process, gint64 status, int signal)
{
    Errand *e = process->data;

    e->has_ended = TRUE;
    e->status = status;
    e->signal = signal;
    if (is_silent(e) || e->is_late || !e->done)
        finish(e);
    else
        uv_timer_start(&e->timer, on_timer, LAST_WORDS_MS, 0);
}

gboolean errand_check(const ErrandEnd *end, const char *said, GError **error)
{
    const char *saying = *said ? "; it said: " : "";

    if (end->failure)
        g_propagate_error(error, g_error_copy(end->failure));
    else if (end->is_late)
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT,
                    "%s took longer than %" G_GINT64_FORMAT " s and was killed%s%s", end->path,
                    (end->limit_ms + 999) / 1000, saying, said);
    else if (end->signal)
        g_set_error(error, US_ERROR, US_ERROR_FAILED, "%s was killed by signal %d%s%s", end->path,
                    end->signal, saying, said);
    else if (end->status)
        g_set_error(error, US_ERROR, US_ERROR_FAILED, "%s ended with status %" G_GINT64_FORMAT "%s%s",
                    end->path, end->status, saying, said);
    else
        return TRUE;
    return FALSE;
}

/* --- its input and output -------------------------------------------------------- */

static void on_block(uv_handle_t *handle, size_t wanted, uv_buf_t *buf)
{
    Errand *e = handle->data;

    (void)wanted;
    *buf = uv_buf_init(e->block, sizeof e->block);
}

static void hear(Errand *e, const char *text, gsize len)
{
    gsize room = ERRAND_KEPT_BYTES - e->said->len;

    e->is_cut |= len > room;
    g_string_append_len(e->said, text, (gssize)MIN(len, room));
}

static void on_output(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    Errand *e = stream->data;

    if (len > 0)
        hear(e, buf->base, (gsize)len);
    if (len >= 0)
        return;
    close_handle(stream);
    if (e->has_ended && is_silent(e))
        finish(e);
}

/* One that reads nothing of it, or not all, is no failure. */
static void on_written(uv_write_t *write, int status)
{
    Errand *e = write->data;

    (void)status;
    close_handle(&e->input);
}

static void talk(Errand *e)
{
    uv_buf_t buf = uv_buf_init(e->told, (unsigned)strlen(e->told));

    e->write.data = e;
    if (uv_write(&e->write, (uv_stream_t *)&e->input, &buf, 1, on_written) != 0)
        close_handle(&e->input);
    for (guint i = 0; i < G_N_ELEMENTS(e->outputs); i++)
        uv_read_start((uv_stream_t *)&e->outputs[i], on_block, on_output);
    uv_timer_start(&e->timer, on_timer, (uint64_t)e->limit_ms, 0);
}

/* --- its beginning ---------------------------------------------------------------- */

static char **environment(const char *const *own)
{
    GPtrArray *all = g_ptr_array_new();

    for (; own && *own; own++)
        g_ptr_array_add(all, (char *)*own);
    g_ptr_array_add(all, (char *)PATH_VARIABLE);
    g_ptr_array_add(all, (char *)"LC_ALL=C.UTF-8");
    g_ptr_array_add(all, NULL);
    return (char **)g_ptr_array_free(all, FALSE);
}

static void spawn(Errand *e, const char *const *own)
{
    g_autofree char **env = environment(own);
    char *argv[] = {e->path, NULL};
    uv_stdio_container_t stdio[] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&e->input},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&e->outputs[0]},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&e->outputs[1]}};
    uv_process_options_t options = {.file = e->path,
                                    .args = argv,
                                    .env = env,
                                    .cwd = "/",
                                    .flags = UV_PROCESS_DETACHED, /* setsid(2): it can be ended as a whole */
                                    .stdio = stdio,
                                    .stdio_count = G_N_ELEMENTS(stdio),
                                    .exit_cb = on_exit_of};
    int rc;

    e->process.data = e;
    e->is_spawned = TRUE;
    e->open++;
    /* Whatever this program was given, or a library of it has opened, is not the other's. */
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    rc = uv_spawn(e->timer.loop, &e->process, &options);
    e->is_started = rc == 0;
    if (rc != 0)
        us_error_errno(&e->failure, -rc, "%s cannot be started", e->path);
}

Errand *errand_start(uv_loop_t *loop, const ErrandOrder *order, ErrandDone done, void *user)
{
    Errand *e = g_new0(Errand, 1);

    *e = (Errand){.open = 4,
                  .path = g_strdup(order->path),
                  .told = g_strdup(order->input),
                  .limit_ms = order->limit_ms,
                  .said = g_string_new(NULL),
                  .failure = order->refusal ? g_error_copy(order->refusal) : NULL,
                  .done = done,
                  .user = user};
    uv_pipe_init(loop, &e->input, 0);
    uv_pipe_init(loop, &e->outputs[0], 0);
    uv_pipe_init(loop, &e->outputs[1], 0);
    uv_timer_init(loop, &e->timer);
    e->input.data = e->outputs[0].data = e->outputs[1].data = e->timer.data = e;
    if (!e->failure)
        spawn(e, order->env);
    if (e->is_started)
        talk(e);
    else
        uv_timer_start(&e->timer, on_timer, 0, 0);
    return e;
}

void errand_cancel(Errand *e)
{
    e->done = NULL;
    kill_all(e);
    if (!e->is_started)
        finish(e);
}
