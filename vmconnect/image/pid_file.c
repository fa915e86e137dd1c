/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/pid_file.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/image/wait.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#define MAX_FILE 256
#define KILL_TIMEOUT_MS 5000
#define START_TIME_FIELD 20 /* counted from the state, the first after the name: field 22 of proc(5) */

static gboolean proc_read(pid_t pid, const char *file, char **ret_text, gsize *ret_len)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, file);

    return g_file_get_contents(path, ret_text, ret_len, NULL);
}

/* Ticks since boot, or 0 if there is no such process. */
static guint64 start_time(pid_t pid)
{
    g_autofree char *stat = NULL;
    g_auto(GStrv) fields = NULL;
    const char *after_name;

    if (!proc_read(pid, "stat", &stat, NULL))
        return 0;
    /* The name stands in brackets and may hold anything, brackets and blanks too. */
    after_name = strrchr(stat, ')');
    if (!after_name)
        return 0;
    fields = g_strsplit(after_name + 2, " ", START_TIME_FIELD + 1);
    return g_strv_length(fields) >= START_TIME_FIELD
               ? g_ascii_strtoull(fields[START_TIME_FIELD - 1], NULL, 10)
               : 0;
}

static gboolean has_command_line(pid_t pid, const char *program, const char *argument)
{
    g_autofree char *line = NULL;
    g_autofree char *name = NULL;
    gsize len = 0;

    if (!proc_read(pid, "cmdline", &line, &len) || len == 0)
        return FALSE;
    name = g_path_get_basename(line);
    if (!g_str_equal(name, program))
        return FALSE;
    for (const char *arg = line; arg < line + len; arg += strlen(arg) + 1)
        if (g_str_equal(arg, argument))
            return TRUE;
    return FALSE;
}

gboolean pid_file_write(const char *path, pid_t pid, GError **error)
{
    g_autofree char *text =
        g_strdup_printf("{\"pid\": %d, \"start\": %" G_GUINT64_FORMAT "}\n", (int)pid, start_time(pid));
    g_autoptr(GError) why = NULL;

    if (g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &why))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_IO, "cannot write %s: %s", path, why->message);
    return FALSE;
}

static gboolean pid_file_read(const char *path, pid_t *ret_pid, guint64 *ret_start)
{
    g_autofree char *text = NULL;
    json_auto_t *doc = NULL;
    json_int_t pid = 0;
    json_int_t start = 0;
    gsize len = 0;

    if (!g_file_get_contents(path, &text, &len, NULL))
        return FALSE;
    doc = json_parse(text, len, MAX_FILE, NULL);
    if (!doc || !json_read(doc, "pid file", NULL, "{s:I, s:I}", "pid", &pid, "start", &start) || pid <= 1 ||
        pid > G_MAXINT || start <= 0)
        return FALSE;
    *ret_pid = (pid_t)pid;
    *ret_start = (guint64)start;
    return TRUE;
}

/* The pidfd is opened before the comparison, so what is compared is what is killed. */
static gboolean end_if_ours(pid_t pid, guint64 start, const char *program, const char *argument, int pidfd,
                            gboolean *ret_ended, GError **error)
{
    if (start_time(pid) != start || !has_command_line(pid, program, argument))
        return TRUE;
    if (pidfd_send_signal(pidfd, SIGKILL, NULL, 0) != 0)
        return errno == ESRCH || us_error_errno(error, errno, "cannot end leftover process %d", (int)pid);
    *ret_ended = TRUE;
    return wait_fd(pidfd, POLLIN, -1, wait_deadline(KILL_TIMEOUT_MS), "the leftover storage daemon", NULL,
                   error);
}

gboolean pid_file_end(const char *path, const char *program, const char *argument, gboolean *ret_ended,
                      GError **error)
{
    gboolean ended = FALSE;
    guint64 start;
    pid_t pid = 0;

    if (pid_file_read(path, &pid, &start)) {
        int pidfd = pidfd_open(pid, 0);
        gboolean ok = pidfd < 0 || end_if_ours(pid, start, program, argument, pidfd, &ended, error);

        if (pidfd >= 0)
            close(pidfd);
        if (!ok)
            return FALSE;
    }
    if (g_unlink(path) != 0 && errno != ENOENT)
        return us_error_errno(error, errno, "cannot remove %s", path);
    if (ret_ended)
        *ret_ended = ended;
    return TRUE;
}
