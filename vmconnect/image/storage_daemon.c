/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: end a leftover, start the process with one end of a socket pair as
 * its monitor, write the pid file, greet. Failures: a daemon that is dead or
 * dies meanwhile closes the socket pair, and its last words become the error. */
#include "vmconnect/image/storage_daemon.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/pid_file.h"
#include "vmconnect/image/process.h"
#include "vmconnect/image/wait.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PROGRAM "qemu-storage-daemon"
#define START_TIMEOUT_MS 10000
#define CALL_TIMEOUT_MS 10000
#define QUIT_TIMEOUT_MS 2000
#define LAST_WORDS_MS 500

struct StorageDaemon {
    char *name;
    char *nbd_path;
    char *pid_path;
    Process *process;
    Qmp *qmp;
    int timeout_ms;
    guint names_given;
};

static char *nbd_path_in(const char *run_dir)
{
    return g_build_filename(run_dir, "nbd.sock", NULL);
}

static char *pid_path_in(const char *run_dir)
{
    return g_build_filename(run_dir, "daemon.pid", NULL);
}

/* The argument that names the NBD socket, and by which a leftover is recognised. */
static char *nbd_argument(const char *nbd_path)
{
    /* QEMU's option syntax writes a comma inside a value twice. */
    g_auto(GStrv) parts = g_strsplit(nbd_path, ",", -1);
    g_autofree char *escaped = g_strjoinv(",,", parts);

    return g_strconcat("addr.type=unix,addr.path=", escaped, NULL);
}

static gboolean prepare_folder(const char *run_dir, GError **error)
{
    g_autofree char *nbd = nbd_path_in(run_dir);

    if (strlen(nbd) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "%s is too long for the path of a socket: configure a shorter "
                    "run folder",
                    nbd);
        return FALSE;
    }
    if (g_mkdir_with_parents(run_dir, 0700) != 0)
        return us_error_errno(error, errno, "cannot create folder %s", run_dir);
    if (!storage_daemon_end_leftover(run_dir, NULL, error))
        return FALSE;
    if (g_unlink(nbd) != 0 && errno != ENOENT)
        return us_error_errno(error, errno, "cannot remove %s", nbd);
    return TRUE;
}

static Process *start_process(const char *nbd_path, int qmp_fd, GError **error)
{
    g_autofree char *nbd = nbd_argument(nbd_path);
    const char *argv[] = {PROGRAM,     "--nbd-server", nbd, "--chardev", "socket,id=qmp,fd=3",
                          "--monitor", "chardev=qmp",  NULL};
    ProcessSpec spec = {.argv = argv, .pass_fd = qmp_fd, .die_with_thread = TRUE};

    return process_start(&spec, error);
}

/* A lost connection says nothing; the process does. */
static void add_last_words(StorageDaemon *d, GError *error)
{
    g_autofree char *old = NULL;
    const char *words;

    if (!g_error_matches(error, US_ERROR, US_ERROR_UNREACHABLE) || !process_wait(d->process, LAST_WORDS_MS))
        return;
    words = process_stderr(d->process);
    old = error->message;
    error->message = g_strdup_printf("the storage daemon of '%s' %s%s%s (%s)", d->name,
                                     process_outcome(d->process), *words ? ": " : "", words, old);
}

static gboolean greet(StorageDaemon *d, int qmp_fd, GError **error)
{
    g_autofree char *peer = g_strdup_printf("the storage daemon of '%s'", d->name);
    g_autoptr(GError) why = NULL;

    d->qmp = qmp_new_fd(qmp_fd, peer, START_TIMEOUT_MS, &why);
    if (d->qmp)
        return TRUE;
    add_last_words(d, why);
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

static gboolean launch(StorageDaemon *d, GError **error)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return us_error_errno(error, errno, "cannot start the storage daemon of '%s'", d->name);
    d->process = start_process(d->nbd_path, pair[1], error);
    close(pair[1]);
    if (!d->process || !pid_file_write(d->pid_path, process_pid(d->process), error)) {
        close(pair[0]);
        return FALSE;
    }
    return greet(d, pair[0], error);
}

StorageDaemon *storage_daemon_start(const char *run_dir, const char *name, GError **error)
{
    g_autoptr(StorageDaemon) d = g_new0(StorageDaemon, 1);

    d->name = g_strdup(name);
    d->nbd_path = nbd_path_in(run_dir);
    d->pid_path = pid_path_in(run_dir);
    d->timeout_ms = CALL_TIMEOUT_MS;
    if (!prepare_folder(run_dir, error) || !launch(d, error))
        return NULL;
    return g_steal_pointer(&d);
}

static gboolean quit(StorageDaemon *d, int timeout_ms)
{
    gint64 deadline = wait_deadline(timeout_ms);

    if (!d->qmp || timeout_ms <= 0)
        return FALSE;
    qmp_set_cancel(d->qmp, -1);
    /* It may be gone before its answer is: the process' end is what counts. */
    qmp_call(d->qmp, "quit", NULL, timeout_ms, NULL, NULL);
    return process_wait(d->process, clock_left_ms(deadline)) && process_succeeded(d->process);
}

gboolean storage_daemon_close(StorageDaemon *daemon, int timeout_ms)
{
    gboolean by_itself;

    if (!daemon)
        return TRUE;
    by_itself = quit(daemon, timeout_ms);
    if (daemon->process) {
        process_free(daemon->process);
        g_unlink(daemon->nbd_path);
        g_unlink(daemon->pid_path);
    }
    qmp_close(daemon->qmp);
    g_free(daemon->nbd_path);
    g_free(daemon->pid_path);
    g_free(daemon->name);
    g_free(daemon);
    return by_itself;
}

void storage_daemon_free(StorageDaemon *daemon)
{
    storage_daemon_close(daemon, QUIT_TIMEOUT_MS);
}

void storage_daemon_set_cancel(StorageDaemon *daemon, int cancel_fd)
{
    qmp_set_cancel(daemon->qmp, cancel_fd);
}

int storage_daemon_cancel(const StorageDaemon *daemon)
{
    return qmp_cancel(daemon->qmp);
}

void storage_daemon_set_timeout(StorageDaemon *daemon, int timeout_ms)
{
    daemon->timeout_ms = timeout_ms;
}

int storage_daemon_timeout(const StorageDaemon *daemon)
{
    return daemon->timeout_ms;
}

Qmp *storage_daemon_qmp(StorageDaemon *daemon)
{
    return daemon->qmp;
}

const char *storage_daemon_nbd_path(const StorageDaemon *daemon)
{
    return daemon->nbd_path;
}

const char *storage_daemon_name(const StorageDaemon *daemon)
{
    return daemon->name;
}

int storage_daemon_pidfd(const StorageDaemon *daemon)
{
    return process_pidfd(daemon->process);
}

pid_t storage_daemon_pid(const StorageDaemon *daemon)
{
    return process_pid(daemon->process);
}

guint storage_daemon_next_number(StorageDaemon *daemon)
{
    return ++daemon->names_given;
}

gboolean storage_daemon_call(StorageDaemon *daemon, const char *command, json_t *args, json_t **ret_result,
                             GError **error)
{
    g_autoptr(GError) why = NULL;

    if (qmp_call(daemon->qmp, command, args, daemon->timeout_ms, ret_result, &why))
        return TRUE;
    add_last_words(daemon, why);
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

gboolean storage_daemon_wait_news(StorageDaemon *daemon, int timeout_ms, GError **error)
{
    g_autoptr(GError) why = NULL;
    QmpMessage *event;

    if (!qmp_wait_event(daemon->qmp, timeout_ms, &why)) {
        add_last_words(daemon, why);
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    while ((event = qmp_take_event(daemon->qmp)))
        qmp_message_free(event);
    return TRUE;
}

gboolean storage_daemon_end_leftover(const char *run_dir, gboolean *ret_ended, GError **error)
{
    g_autofree char *nbd = nbd_path_in(run_dir);
    g_autofree char *argument = nbd_argument(nbd);
    g_autofree char *pid_path = pid_path_in(run_dir);

    return pid_file_end(pid_path, PROGRAM, argument, ret_ended, error);
}

gboolean storage_daemon_end_leftovers(const char *root, guint *ret_ended, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(root, 0, NULL);
    const char *name;
    guint n = 0;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *run_dir = g_build_filename(root, name, NULL);
        gboolean ended = FALSE;

        if (!storage_daemon_end_leftover(run_dir, &ended, error))
            return FALSE;
        n += ended;
    }
    if (ret_ended)
        *ret_ended = n;
    return TRUE;
}
