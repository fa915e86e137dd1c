/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/guard/subject.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/process.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static gboolean read_start(pid_t pid, guint64 *ret_start)
{
    ProcessStat stat;

    if (!process_stat(pid, &stat) || stat.state == 'Z' || stat.state == 'X')
        return FALSE;
    *ret_start = stat.start_ticks;
    return TRUE;
}

static gboolean fail_gone(GError **error)
{
    g_set_error_literal(error, US_ERROR, US_ERROR_NOT_FOUND,
                        "that process has ended, or is not of this host");
    return FALSE;
}

gboolean subject_hold(int fd, Subject *ret_subject, GError **error)
{
    Subject s = {.fd = fd, .pid = process_of(fd)};

    if (s.pid < 0)
        g_set_error_literal(error, US_ERROR, US_ERROR_PROTOCOL, "what should be a process is no pidfd");
    /* Read first, then found to live: so what was read is of this process. */
    else if (s.pid <= 1 || !read_start(s.pid, &s.start) || subject_is_gone(&s))
        fail_gone(error);
    else {
        *ret_subject = s;
        return TRUE;
    }
    subject_clear(&s);
    return FALSE;
}

gboolean subject_find(pid_t pid, guint64 start, Subject *ret_subject, GError **error)
{
    int fd = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

    if (fd < 0)
        return fail_gone(error);
    if (!subject_hold(fd, ret_subject, error))
        return FALSE;
    if (ret_subject->start == start)
        return TRUE;
    subject_clear(ret_subject);
    return fail_gone(error);
}

void subject_clear(Subject *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

gboolean subject_equal(const Subject *a, const Subject *b)
{
    return a->pid == b->pid && a->start == b->start;
}

gboolean subject_is_gone(const Subject *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};

    return poll(&p, 1, 0) > 0;
}

gboolean subject_signal(const Subject *s, int signum, GError **error)
{
    return syscall(SYS_pidfd_send_signal, s->fd, signum, NULL, 0) == 0 ||
           us_error_errno(error, errno, "process %d cannot be sent %s", (int)s->pid, strsignal(signum));
}

/* --- its threads --------------------------------------------------------- */

/* FALSE: enough was seen. */
typedef gboolean (*ThreadSight)(const char *folder, const ProcessStat *thread, void *user);

/* FALSE: not all were seen. */
static gboolean look(const Subject *s, ThreadSight sight, void *user)
{
    char path[64];
    ProcessStat thread;
    DIR *dir;
    struct dirent *task;
    gboolean going = TRUE;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)s->pid);
    if (!(dir = opendir(path)))
        return FALSE;
    while (going && (task = readdir(dir))) {
        char folder[128], file[160];

        if (task->d_name[0] == '.')
            continue;
        snprintf(folder, sizeof(folder), "%s/%.16s", path, task->d_name);
        snprintf(file, sizeof(file), "%s/stat", folder);
        /* One that ended between the two has nothing to say. */
        going = !process_stat_read(file, &thread) || sight(folder, &thread, user);
    }
    closedir(dir);
    return going;
}

static gboolean see_still(const char *folder, const ProcessStat *thread, void *user)
{
    guint *threads = user;

    (void)folder;
    (*threads)++;
    return thread->state == 'T' || thread->state == 'Z' || thread->state == 'X';
}

gboolean subject_is_still(const Subject *s)
{
    guint threads = 0;

    return look(s, see_still, &threads) && threads > 0 && !subject_is_gone(s);
}

typedef struct {
    guint64 all_ns;
    guint64 processors_ns;
} Computed;

static gboolean see_computed(const char *folder, const ProcessStat *thread, void *user)
{
    Computed *c = user;
    char path[160];
    guint64 ns;

    snprintf(path, sizeof(path), "%s/schedstat", folder);
    if (!process_ran_ns(path, &ns))
        return TRUE;
    c->all_ns += ns;
    /* As QEMU calls them when libvirt starts it: "CPU 0/KVM", "ALL CPUs/TCG". */
    if (g_str_has_prefix(thread->name, "CPU ") || g_str_has_prefix(thread->name, "ALL CPUs"))
        c->processors_ns += ns;
    return TRUE;
}

guint64 subject_computed_ns(const Subject *s)
{
    Computed c = {0};

    look(s, see_computed, &c);
    return c.processors_ns > 0 ? c.processors_ns : c.all_ns;
}
