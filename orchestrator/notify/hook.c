/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: the file is looked at, started in a session of its own with the message as its input, and both of its outputs
 * are read to their end. Failures: a deadline kills the whole session; whoever holds the output open after the program has
 * ended is not waited for. */
#include "orchestrator/notify/line.h"
#include "orchestrator/notify/sending_kinds.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_BYTES 2048 /* of what it says; the rest is read and dropped */
#define LAST_WORDS_MS 200
#define PATH_VARIABLE "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct Hook {
    uv_process_t process;
    uv_pipe_t input, outputs[2];
    uv_timer_t timer;
    uv_write_t write;
    guint open; /* handles */
    char *path;
    char *body;
    gint64 timeout_ms;
    GString *said;
    gboolean spawned; /* the process is a handle, whether it was @started or not */
    gboolean started, exited, late;
    gint64 status;
    int signal;
    GError *error;       /* it could not be started */
    SendingDone on_done; /* NULL: cancelled, or told */
    void *user;
    char block[4096];
};

/* --- the file ---------------------------------------------------------------- */

static gboolean refuse(GError **error, const char *path, const char *why)
{
    g_set_error(error, US_ERROR, US_ERROR_REFUSED, "%s is not run: %s", path, why);
    return FALSE;
}

/* Looked at by its descriptor, so that a link is seen as one. Who can change the folder afterwards is root. */
static gboolean check_file(const char *folder, const char *file, const char *path, GError **error)
{
    int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat in, st;
    gboolean good;

    if (dir < 0)
        return us_error_errno(error, errno, "the folder of hooks, %s", folder);
    if (fstat(dir, &in) != 0 || fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) != 0)
        good = us_error_errno(error, errno, "%s", path);
    else if (S_ISLNK(st.st_mode))
        good = refuse(error, path, "it is a symbolic link: put the program itself there");
    else if (!S_ISREG(st.st_mode))
        good = refuse(error, path, "it is no file");
    else if ((in.st_mode | st.st_mode) & S_IWOTH)
        good = refuse(error, path, "everybody may write to it, or to its folder: chmod o-w");
    else
        good = faccessat(dir, file, X_OK, AT_EACCESS) == 0 ||
               refuse(error, path, "the controller's user may not execute it: chmod +x");
    close(dir);
    return good;
}

/* --- its end ------------------------------------------------------------------ */

static void on_closed(uv_handle_t *handle)
{
    Hook *h = handle->data;

    if (--h->open > 0)
        return;
    g_clear_error(&h->error);
    g_string_free(h->said, TRUE);
    g_free(h->path);
    g_free(h->body);
    g_free(h);
}

static void close_handle(void *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void judge(const Hook *h, GError **error)
{
    g_autofree char *said = line_of(h->said->str, KEPT_BYTES);
    const char *shown = g_strstrip(said);

    if (h->error)
        g_propagate_error(error, g_error_copy(h->error));
    else if (h->late)
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT,
                    "%s took longer than %" G_GINT64_FORMAT " s and was killed%s%s", h->path,
                    h->timeout_ms / 1000, *shown ? "; it said: " : "", shown);
    else if (h->signal)
        g_set_error(error, US_ERROR, US_ERROR_FAILED, "%s was killed by signal %d%s%s", h->path, h->signal,
                    *shown ? "; it said: " : "", shown);
    else if (h->status)
        g_set_error(error, US_ERROR, US_ERROR_FAILED, "%s ended with status %" G_GINT64_FORMAT "%s%s",
                    h->path, h->status, *shown ? "; it said: " : "", shown);
    else if (*shown)
        log_info("%s said: %s", h->path, shown);
}

static void finish(Hook *h)
{
    SendingDone on_done = g_steal_pointer(&h->on_done);
    Outcome outcome = {0};

    if (on_done) {
        judge(h, &outcome.error);
        on_done(h->user, &outcome);
        g_clear_error(&outcome.error);
    }
    close_handle(&h->input);
    for (guint i = 0; i < G_N_ELEMENTS(h->outputs); i++)
        close_handle(&h->outputs[i]);
    close_handle(&h->timer);
    if (h->spawned)
        close_handle(&h->process);
}

/* Not reaped yet, so its number is nobody else's. */
static void kill_all(Hook *h)
{
    if (h->started && !h->exited)
        kill(-h->process.pid, SIGKILL);
}

static void on_timer(uv_timer_t *timer)
{
    Hook *h = timer->data;

    if (h->exited || !h->started) {
        finish(h);
        return;
    }
    h->late = TRUE;
    kill_all(h);
}

/* Both outputs are at their end. */
static gboolean is_silent(const Hook *h)
{
    return uv_is_closing((const uv_handle_t *)&h->outputs[0]) &&
           uv_is_closing((const uv_handle_t *)&h->outputs[1]);
}

static void on_exit_of(uv_process_t *process, gint64 status, int signal)
{
    Hook *h = process->data;

    h->exited = TRUE;
    h->status = status;
    h->signal = signal;
    if (is_silent(h) || h->late || !h->on_done)
        finish(h);
    else
        uv_timer_start(&h->timer, on_timer, LAST_WORDS_MS, 0);
}

/* --- its input and output -------------------------------------------------------- */

static void on_block(uv_handle_t *handle, size_t wanted, uv_buf_t *buf)
{
    Hook *h = handle->data;

    (void)wanted;
    *buf = uv_buf_init(h->block, sizeof h->block);
}

static void on_output(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    Hook *h = stream->data;

    if (len > 0 && h->said->len < KEPT_BYTES)
        g_string_append_len(h->said, buf->base, MIN(len, (gssize)(KEPT_BYTES - h->said->len)));
    if (len >= 0)
        return;
    close_handle(stream);
    if (h->exited && is_silent(h))
        finish(h);
}

/* One that reads nothing of it, or not all, is no failure. */
static void on_written(uv_write_t *write, int status)
{
    Hook *h = write->data;

    (void)status;
    close_handle(&h->input);
}

static void talk(Hook *h)
{
    uv_buf_t buf = uv_buf_init(h->body, (unsigned)strlen(h->body));

    h->write.data = h;
    if (uv_write(&h->write, (uv_stream_t *)&h->input, &buf, 1, on_written) != 0)
        close_handle(&h->input);
    for (guint i = 0; i < G_N_ELEMENTS(h->outputs); i++)
        uv_read_start((uv_stream_t *)&h->outputs[i], on_block, on_output);
    uv_timer_start(&h->timer, on_timer, (uint64_t)h->timeout_ms, 0);
}

static char **environment(const Message *message)
{
    char **own = message_environment(message);
    guint count = g_strv_length(own);

    own = g_renew(char *, own, count + 3);
    own[count] = g_strdup(PATH_VARIABLE);
    own[count + 1] = g_strdup("LC_ALL=C.UTF-8");
    own[count + 2] = NULL;
    return own;
}

static void spawn(Hook *h, const Message *message)
{
    g_auto(GStrv) env = environment(message);
    char *argv[] = {h->path, NULL};
    uv_stdio_container_t stdio[] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&h->input},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&h->outputs[0]},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&h->outputs[1]}};
    uv_process_options_t options = {.file = h->path,
                                    .args = argv,
                                    .env = env,
                                    .cwd = "/",
                                    .flags = UV_PROCESS_DETACHED, /* setsid(2): it can be ended as a whole */
                                    .stdio = stdio,
                                    .stdio_count = G_N_ELEMENTS(stdio),
                                    .exit_cb = on_exit_of};
    int rc;

    h->process.data = h;
    h->spawned = TRUE;
    h->open++;
    /* Whatever this program was given, or a library of it has opened, is not the hook's. */
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    rc = uv_spawn(h->timer.loop, &h->process, &options);
    h->started = rc == 0;
    if (rc != 0)
        us_error_errno(&h->error, -rc, "%s cannot be started", h->path);
}

Hook *hook_start(const SendingGround *ground, const Channel *channel, const Message *message,
                 SendingDone on_done, void *user)
{
    Hook *h = g_new0(Hook, 1);

    *h = (Hook){.open = 4,
                .path = g_build_filename(ground->hooks, channel->file, NULL),
                .body = json_text(message->document),
                .timeout_ms = ground->hook_ms,
                .said = g_string_new(NULL),
                .on_done = on_done,
                .user = user};
    uv_pipe_init(ground->loop, &h->input, 0);
    uv_pipe_init(ground->loop, &h->outputs[0], 0);
    uv_pipe_init(ground->loop, &h->outputs[1], 0);
    uv_timer_init(ground->loop, &h->timer);
    h->input.data = h->outputs[0].data = h->outputs[1].data = h->timer.data = h;
    if (check_file(ground->hooks, channel->file, h->path, &h->error))
        spawn(h, message);
    if (h->started)
        talk(h);
    else
        uv_timer_start(&h->timer, on_timer, 0, 0);
    return h;
}

void hook_cancel(Hook *h)
{
    h->on_done = NULL;
    kill_all(h);
    if (!h->started)
        finish(h);
}
