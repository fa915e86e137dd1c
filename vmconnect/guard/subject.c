/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/guard/subject.h"

#include "vmconnect/base/error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_BYTES 1024

/* A file of /proc, with a NUL behind it. FALSE: there is none. */
static gboolean read_file(const char *path, char ret_text[static FILE_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, ret_text, FILE_BYTES - 1);

    if (fd >= 0)
        close(fd);
    if (len < 0)
        return FALSE;
    ret_text[len] = '\0';
    return TRUE;
}

/* proc_pid_stat(5): fields are counted from behind the name, which may have any bytes in it. @ret_name is borrowed of @text. */
static gboolean parse_stat(char *text, const char **ret_name, char *ret_state, guint64 *ret_start)
{
    char *name = strchr(text, '('), *end = strrchr(text, ')'), *field = end;

    if (!name || !end || end[1] != ' ')
        return FALSE;
    *end = '\0';
    *ret_name = name + 1;
    *ret_state = end[2];
    for (int i = 0; i < 20; i++)
        if (!(field = strchr(field + 1, ' ')))
            return FALSE;
    *ret_start = strtoull(field + 1, NULL, 10);
    return TRUE;
}

static gboolean read_start(pid_t pid, guint64 *ret_start)
{
    char path[64], text[FILE_BYTES], state;
    const char *name;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    return read_file(path, text) && parse_stat(text, &name, &state, ret_start) && state != 'Z' &&
           state != 'X';
}

/* fdinfo(5); 0: no process of this namespace, or not one any more; -1: no pidfd. */
static pid_t pid_of(int fd)
{
    char path[64], text[FILE_BYTES];
    const char *line;

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    if (!read_file(path, text) || !(line = strstr(text, "\nPid:")))
        return -1;
    return (pid_t)MAX(strtol(line + 5, NULL, 10), 0);
}

static gboolean fail_gone(GError **error)
{
    g_set_error_literal(error, US_ERROR, US_ERROR_NOT_FOUND,
                        "that process has ended, or is not of this host");
    return FALSE;
}

gboolean subject_hold(int fd, Subject *ret_subject, GError **error)
{
    Subject s = {.fd = fd, .pid = pid_of(fd)};

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
typedef gboolean (*ThreadSight)(const char *folder, const char *name, char state, void *user);

/* FALSE: not all were seen. */
static gboolean look(const Subject *s, ThreadSight sight, void *user)
{
    char path[64], text[FILE_BYTES], state;
    const char *name;
    guint64 start;
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
        going = !read_file(file, text) || !parse_stat(text, &name, &state, &start) ||
                sight(folder, name, state, user);
    }
    closedir(dir);
    return going;
}

static gboolean see_still(const char *folder, const char *name, char state, void *user)
{
    guint *threads = user;

    (void)folder;
    (void)name;
    (*threads)++;
    return state == 'T' || state == 'Z' || state == 'X';
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

static gboolean see_computed(const char *folder, const char *name, char state, void *user)
{
    Computed *c = user;
    char path[160], text[FILE_BYTES];
    guint64 ns;

    (void)state;
    snprintf(path, sizeof(path), "%s/schedstat", folder);
    if (!read_file(path, text))
        return TRUE;
    ns = strtoull(text, NULL, 10);
    c->all_ns += ns;
    /* As QEMU calls them when libvirt starts it: "CPU 0/KVM", "ALL CPUs/TCG". */
    if (g_str_has_prefix(name, "CPU ") || g_str_has_prefix(name, "ALL CPUs"))
        c->processors_ns += ns;
    return TRUE;
}

guint64 subject_computed_ns(const Subject *s)
{
    Computed c = {0};

    look(s, see_computed, &c);
    return c.processors_ns > 0 ? c.processors_ns : c.all_ns;
}
