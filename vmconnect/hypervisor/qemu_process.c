/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/qemu_process.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* `-uuid` is an argument of its own on every QEMU that libvirt starts. */
static gboolean runs_vm(pid_t pid, Id vm)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)pid);
    g_autofree char *args = NULL;
    gsize len = 0;
    gboolean after_flag = FALSE;

    if (!g_file_get_contents(path, &args, &len, NULL))
        return FALSE;
    for (const char *a = args; a < args + len; a += strlen(a) + 1) {
        if (after_flag)
            return g_ascii_strcasecmp(a, ID_TEXT(vm)) == 0;
        after_flag = strcmp(a, "-uuid") == 0;
    }
    return FALSE;
}

static int fail_not_found(const char *name, GError **error)
{
    g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "no QEMU process runs '%s'", name);
    return -1;
}

int qemu_process_open(const char *pid_folder, const char *name, Id vm, GError **error)
{
    g_autofree char *path = g_strconcat(pid_folder, "/", name, ".pid", NULL);
    g_autofree char *text = NULL;
    g_autoptr(GError) why = NULL;
    long pid;
    int fd;

    if (!g_file_get_contents(path, &text, NULL, &why)) {
        if (g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            return fail_not_found(name, error);
        g_set_error(error, US_ERROR, US_ERROR_IO, "%s", why->message);
        return -1;
    }
    pid = strtol(text, NULL, 10);
    if (pid <= 1 || pid > G_MAXINT)
        return fail_not_found(name, error);
    fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (fd < 0 && errno != ESRCH) {
        us_error_errno(error, errno, "cannot watch the QEMU process of '%s'", name);
        return -1;
    }
    if (fd < 0)
        return fail_not_found(name, error);
    /* Looked at after the pidfd is held: now the number cannot change its owner. */
    if (!runs_vm((pid_t)pid, vm)) {
        close(fd);
        return fail_not_found(name, error);
    }
    return fd;
}

gboolean qemu_process_wait(int pidfd, int cancel_fd, gint64 timeout_ms, GError **error)
{
    gint64 deadline_ms = clock_steady_ms() + timeout_ms;
    struct pollfd p[] = {{.fd = pidfd, .events = POLLIN}, {.fd = cancel_fd, .events = POLLIN}};

    for (;;) {
        gint64 left_ms = MAX(0, deadline_ms - clock_steady_ms());
        int n = poll(p, G_N_ELEMENTS(p), (int)MIN(left_ms, G_MAXINT));

        if (p[0].revents)
            return TRUE;
        if (n > 0) {
            g_set_error(error, US_ERROR, US_ERROR_CANCELLED, "waiting for QEMU to exit was given up");
            return FALSE;
        }
        if (left_ms == 0) {
            g_set_error(error, US_ERROR, US_ERROR_TIMEOUT,
                        "QEMU has not exited within %" G_GINT64_FORMAT " ms", timeout_ms);
            return FALSE;
        }
    }
}
