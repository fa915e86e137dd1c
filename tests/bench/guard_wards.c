/* SPDX-License-Identifier: Apache-2.0 */
/* guard_wards - a guard with many guests in its care, whose leases an engine renews.
 *
 *   guard_wards VMS COUNTDOWN_MS SECONDS
 *
 * In a network namespace of its own: each guest is a process that sleeps, with a tap of the kernel's. All are renewed in one burst, as an engine
 * does when a list of answers comes (warden.h). Prints {"cpu_ms", "real_ms", "renew_ms", "renewals", "burst_ms", "kept"}: the guard's processor time
 * (the kernel's for its table with it), the longest burst until the last answer, and how many it has at the end that may run. */
#include "orchestrator/votes/lease_clock.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/guard/sentry.h"
#include "vmconnect/guard/word.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MS 10000

typedef struct {
    guint vms;
    LeaseTimes times;
    int *pidfds;
    pid_t *guests;
    int guard;
    gint64 worst_us;
} Bench;

static Id vm_of(guint i)
{
    Id id = {{0x77}};

    id.bytes[14] = (guint8)(i >> 8);
    id.bytes[15] = (guint8)i;
    return id;
}

static char *tap_of(guint i)
{
    return g_strdup_printf("vnet%u", i);
}

static void open_tap(guint i)
{
    g_autofree char *name = tap_of(i);
    struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    g_strlcpy(r.ifr_name, name, IFNAMSIZ);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &r) != 0)
        g_error("no tap: %s", g_strerror(errno));
}

static pid_t begin_child(void)
{
    pid_t pid = fork();

    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

static void begin_guests(Bench *b)
{
    b->pidfds = g_new0(int, b->vms);
    b->guests = g_new0(pid_t, b->vms);
    for (guint i = 0; i < b->vms; i++) {
        b->guests[i] = begin_child();
        if (b->guests[i] == 0)
            for (;;)
                pause();
        b->pidfds[i] = (int)syscall(SYS_pidfd_open, b->guests[i], 0);
        open_tap(i);
    }
}

static pid_t begin_guard(const char *folder)
{
    pid_t pid = begin_child();

    if (pid == 0) {
        g_autoptr(GError) error = NULL;
        Sentry *s = sentry_new(folder, NULL, &error);

        if (!s)
            g_error("%s", error->message);
        sentry_run(s);
        _exit(0);
    }
    return pid;
}

static int join(const char *folder)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    gint64 deadline_ms = clock_steady_ms() + ANSWER_MS;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    g_snprintf(at.sun_path, sizeof(at.sun_path), "%s/socket", folder);
    while (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
        if (clock_left_ms(deadline_ms) == 0)
            g_error("the guard is not there");
    return fd;
}

static void expect_done(const Bench *b)
{
    struct pollfd p = {.fd = b->guard, .events = POLLIN};
    Word got = {0};

    if (poll(&p, 1, ANSWER_MS) <= 0 || !word_receive(b->guard, &got, NULL, NULL) || got.kind != WORD_DONE)
        g_error("the guard says %s %s", word_kind_name(got.kind), got.text);
}

/* As much as its socket takes at once is on its way before an answer is read. */
static void renew(Bench *b, gboolean first)
{
    const LeaseMoment until = lease_moment_after(lease_clock_now(), b->times.lease_ms);
    gint64 begun_us = g_get_monotonic_time();

    for (guint i = 0; i < b->vms; i++) {
        g_autofree char *tap = tap_of(i);
        Word w = {.kind = WORD_KEEP,
                  .vm = vm_of(i),
                  .reign = {1, {{1}}},
                  .is_enforced = TRUE,
                  .until = until,
                  .taps = 1};

        g_strlcpy(w.tap[0], tap, IF_NAMESIZE);
        if (!word_send(b->guard, &w, first ? b->pidfds[i] : -1, NULL))
            g_error("the guard does not hear");
    }
    for (guint i = 0; i < b->vms; i++)
        expect_done(b);
    b->worst_us = MAX(b->worst_us, g_get_monotonic_time() - begun_us);
}

static guint renew_for(Bench *b, gint64 ms)
{
    gint64 begun_ms = clock_steady_ms();
    guint n = 0;

    while (clock_steady_ms() < begun_ms + ms) {
        renew(b, FALSE);
        /* The pace of renewals, not a wait for anything. */
        g_usleep((gulong)clock_left_ms(begun_ms + (gint64)++n * b->times.renew_ms) * 1000);
    }
    return n;
}

static guint count_kept(const Bench *b)
{
    guint n = 0;
    Word got = {0};

    word_send(b->guard, &(Word){.kind = WORD_LIST}, -1, NULL);
    while (word_receive(b->guard, &got, NULL, NULL) && got.kind == WORD_WARD)
        n += got.how == FENCED_NOT && got.is_enforced;
    return n;
}

static gint64 cpu_us(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/schedstat", (int)pid), *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        g_error("%s cannot be read", path);
    return (gint64)(g_ascii_strtoull(text, NULL, 10) / 1000);
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
    g_autofree char *folder = g_dir_make_tmp("guard-wards-XXXXXX", NULL);
    gint64 cpu, real_ms;
    Bench b = {0};
    guint renewals;
    pid_t guard;

    if (argc != 4 || !lease_times(atoi(argv[2]), &b.times, NULL)) {
        fprintf(stderr, "usage: guard_wards VMS COUNTDOWN_MS SECONDS\n");
        return 2;
    }
    if (unshare(CLONE_NEWNET) != 0) {
        perror("a network of its own");
        return 1;
    }
    b.vms = (guint)atoi(argv[1]);
    begin_guests(&b);
    guard = begin_guard(folder);
    b.guard = join(folder);
    renew(&b, TRUE);
    renew_for(&b, 1);
    b.worst_us = 0;
    cpu = cpu_us(guard);
    real_ms = clock_steady_ms();
    renewals = renew_for(&b, atoi(argv[3]) * (gint64)1000);
    cpu = cpu_us(guard) - cpu;
    real_ms = clock_steady_ms() - real_ms;
    printf("{\"cpu_ms\": %.1f, \"real_ms\": %d, \"renew_ms\": %d, \"renewals\": %u, \"burst_ms\": %.1f, "
           "\"kept\": %u}\n",
           (double)cpu / 1000, (int)real_ms, (int)b.times.renew_ms, renewals, (double)b.worst_us / 1000,
           count_kept(&b));
    end(guard);
    for (guint i = 0; i < b.vms; i++)
        end(b.guests[i]);
    return 0;
}
