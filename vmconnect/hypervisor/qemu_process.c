/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/qemu_process.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/process.h"
#include "vmconnect/hypervisor/xml.h"

#include <errno.h>
#include <fcntl.h>
#include <libxml/xmlreader.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* `-name guest=NAME,…` and `-uuid ID` are arguments of every QEMU that libvirt starts. */
static gboolean runs_vm(pid_t pid, Id vm)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)pid);
    g_autofree char *args = NULL;
    gsize len = 0;
    const char *flag = "";
    gboolean guest = FALSE;

    if (!g_file_get_contents(path, &args, &len, NULL))
        return FALSE;
    for (const char *a = args; a < args + len; a += strlen(a) + 1) {
        guest = guest || (strcmp(flag, "-name") == 0 && g_str_has_prefix(a, "guest="));
        if (strcmp(flag, "-uuid") == 0)
            return guest && g_ascii_strcasecmp(a, ID_TEXT(vm)) == 0;
        flag = a;
    }
    return FALSE;
}

/* -1: there is no such process, or it is not @vm's; errno is ESRCH then. */
static int open_if_runs(pid_t pid, Id vm)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    /* Looked at while the pidfd is held: now the number cannot change its owner. */
    if (fd < 0 || runs_vm(pid, vm))
        return fd;
    close(fd);
    errno = ESRCH;
    return -1;
}

/* Among all that run here. 0: none is @vm's. */
static pid_t find(Id vm)
{
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        guint64 pid;

        if (g_ascii_string_to_unsigned(name, 10, 2, G_MAXINT, &pid, NULL) && runs_vm((pid_t)pid, vm))
            return (pid_t)pid;
    }
    return 0;
}

/* The pid that <domstatus> has, 0 if it is not one; only the first tag is read. */
static long pid_in(int fd)
{
    xmlTextReader *r = xmlReaderForFd(fd, NULL, NULL, XML_SAFE_OPTIONS);
    xmlChar *pid = NULL;
    long n = 0;

    while (r && xmlTextReaderRead(r) == 1 && xmlTextReaderNodeType(r) != XML_READER_TYPE_ELEMENT)
        ;
    if (r && xmlTextReaderNodeType(r) == XML_READER_TYPE_ELEMENT &&
        strcmp((const char *)xmlTextReaderConstName(r), "domstatus") == 0)
        pid = xmlTextReaderGetAttribute(r, (const xmlChar *)"pid");
    if (pid) {
        n = strtol((const char *)pid, NULL, 10);
        xmlFree(pid);
    }
    if (r)
        xmlFreeTextReader(r);
    return n > 1 && n <= G_MAXINT ? n : 0;
}

static gboolean read_record(const char *folder, const char *name, pid_t *ret_pid, GError **error)
{
    g_autofree char *path = g_strconcat(folder, "/", name, ".xml", NULL);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    long pid;

    if (fd < 0 && errno != ENOENT)
        return us_error_errno(error, errno, "cannot read %s", path);
    if (fd < 0) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "libvirt has no record of a process for '%s'", name);
        return FALSE;
    }
    pid = pid_in(fd);
    close(fd);
    if (pid == 0) {
        g_set_error(error, US_ERROR, US_ERROR_IO, "%s names no process", path);
        return FALSE;
    }
    *ret_pid = (pid_t)pid;
    return TRUE;
}

static int open_recorded(const char *folder, const char *name, Id vm, gboolean *ret_gone, GError **error)
{
    pid_t pid = 0;
    int fd;

    if (!read_record(folder, name, &pid, error))
        return -1;
    fd = open_if_runs(pid, vm);
    if (fd >= 0)
        return fd;
    if (errno != ESRCH) {
        us_error_errno(error, errno, "cannot watch the QEMU process of '%s'", name);
        return -1;
    }
    *ret_gone = TRUE;
    g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "the QEMU process of '%s' has exited", name);
    return -1;
}

int qemu_process_open(const char *folder, const char *name, Id vm, gboolean *ret_gone, GError **error)
{
    g_autoptr(GError) why = NULL;
    pid_t lost;
    int fd;

    *ret_gone = FALSE;
    fd = open_recorded(folder, name, vm, ret_gone, &why);
    if (fd >= 0)
        return fd;
    lost = find(vm);
    fd = lost ? open_if_runs(lost, vm) : -1;
    if (fd < 0)
        g_propagate_error(error, g_steal_pointer(&why));
    else
        *ret_gone = FALSE;
    return fd;
}

pid_t qemu_process_pid(int pidfd)
{
    return MAX(process_of(pidfd), 0);
}

void qemu_process_kill(const char *folder, const char *name, Id vm)
{
    gboolean gone;
    int fd = qemu_process_open(folder, name, vm, &gone, NULL);

    if (fd < 0)
        return;
    (void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0); /* it fails if it has ended meanwhile */
    close(fd);
}

/* Since the boot; -1: it cannot be read. */
static gint64 started_ms(pid_t pid)
{
    ProcessStat stat;

    if (pid == 0 || !process_stat(pid, &stat))
        return -1;
    return (gint64)(stat.start_ticks * 1000 / (guint64)sysconf(_SC_CLK_TCK));
}

gint64 qemu_process_age_ms(const char *folder, const char *name, Id vm)
{
    struct timespec now;
    gint64 began_ms;
    gboolean gone;
    int fd = qemu_process_open(folder, name, vm, &gone, NULL);

    if (fd < 0)
        return -1;
    began_ms = started_ms(qemu_process_pid(fd));
    close(fd);
    clock_gettime(CLOCK_BOOTTIME, &now);
    return began_ms < 0 ? -1 : (gint64)now.tv_sec * 1000 + now.tv_nsec / 1000000 - began_ms;
}

gboolean qemu_process_expect_none(Id vm, const char *name, GError **error)
{
    pid_t lost = find(vm);

    if (!lost)
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_STUCK,
        "libvirt says that '%s' is off, but its QEMU runs as process %d: libvirt has lost sight of it, as it "
        "does when it is killed while it begins a backup job. The guest runs on, but it is not "
        "replicated, that job may still be open in it and fill the scratch folder, and it must not be "
        "started a second time: soon shut it down from within, end the process with `kill %d` (never "
        "-9: so it keeps its record of changes), and start the VM",
        name, (int)lost, (int)lost);
    return FALSE;
}

pid_t qemu_process_stopped(const char *folder, const char *name, Id vm)
{
    gboolean gone;
    int fd = qemu_process_open(folder, name, vm, &gone, NULL);
    pid_t pid = fd < 0 ? 0 : qemu_process_pid(fd);

    if (fd >= 0)
        close(fd);
    return pid != 0 && process_is_stopped(pid) ? pid : 0;
}

gboolean qemu_process_expect_awake(const char *folder, const char *name, Id vm, GError **error)
{
    pid_t pid = qemu_process_stopped(folder, name, vm);

    if (pid == 0)
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_BUSY,
        "the QEMU of '%s', process %d, was stopped by a signal, and libvirt would wait for it: its guard "
        "has it go on to be suspended (understudy-guard must run), or `virsh destroy` ends it",
        name, (int)pid);
    return FALSE;
}

gboolean qemu_process_wait(int pidfd, int cancel_fd, gint64 timeout_ms, GError **error)
{
    gint64 deadline_ms = clock_steady_ms() + timeout_ms;
    struct pollfd p[] = {{.fd = pidfd, .events = POLLIN}, {.fd = cancel_fd, .events = POLLIN}};

    for (;;) {
        int left_ms = clock_left_ms(deadline_ms);
        int n = poll(p, G_N_ELEMENTS(p), left_ms);

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
