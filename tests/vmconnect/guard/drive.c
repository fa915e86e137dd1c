/* SPDX-License-Identifier: Apache-2.0 */
/* ward_drive - a driver in the engine's place, for lab tests of the guard.
 *
 *   ward_drive keep VM PID|- TAP[,TAP…]|- LEFT_MS|none [REIGN [ID]]    prints when that ends: {"boot_ms", "wall_ms"}
 *   ward_drive renew VM TAP[,TAP…] LEFT_MS EACH_MS TIMES          the same again and again, over one connection; prints what it takes
 *   ward_drive release|stopped|running VM
 *   ward_drive list                        a line for each VM
 *   ward_drive listen                      a line for each word that nobody asked for, until the guard ends
 *   ward_drive obey                        the same, and each PLEASE_STOP is answered with STOPPED: libvirt has said so before
 *   ward_drive immune PID                  trace a process so that SIGSTOP does nothing to it, until it ends
 *
 * A reign's UUID is ID, a number too, or made of its own. Exit codes and errors as the command line's. */
#include "orchestrator/votes/lease_clock.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/guard/word.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int open_guard(GError **error)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = SENTRY_SOCKET};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
        return fd;
    us_error_errno(error, errno, "%s", SENTRY_SOCKET);
    return -1;
}

static void print_ward(const Word *w)
{
    g_autoptr(GString) taps = g_string_new(NULL);

    for (guint i = 0; i < w->taps; i++)
        g_string_append_printf(taps, "%s\"%s\"", i > 0 ? ", " : "", w->tap[i]);
    g_print("{\"vm\": \"%s\", \"how\": \"%s\", \"enforced\": %s, \"taps\": [%s], \"text\": \"%s\"}\n",
            ID_TEXT(w->vm), fenced_name(w->how), w->is_enforced ? "true" : "false", taps->str, w->text);
}

/* Say @w and wait for what is said to it. */
static gboolean ask(int guard, const Word *w, int fd, GError **error)
{
    if (!word_send(guard, w, fd, error))
        return FALSE;
    for (;;) {
        Word got;

        if (!word_receive(guard, &got, NULL, error))
            return FALSE;
        if (got.kind == WORD_WARD)
            print_ward(&got);
        if (got.kind == WORD_DONE)
            return TRUE;
        if (got.kind == WORD_REFUSED) {
            g_set_error(error, US_ERROR, US_ERROR_REFUSED, "%s", got.text);
            return FALSE;
        }
    }
}

static gboolean make(WordKind kind, const char *vm, const char *taps, const char *left, Word *ret_word,
                     GError **error)
{
    g_auto(GStrv) names = g_strsplit(taps && strcmp(taps, "-") != 0 ? taps : "", ",", -1);
    Word w = {.kind = kind, .reign.number = 1};

    if (!id_parse(vm, &w.vm, error))
        return FALSE;
    for (guint i = 0; names[i] && i < WORD_TAPS_MAX; i++)
        g_strlcpy(w.tap[w.taps++], names[i], IF_NAMESIZE);
    w.is_enforced = left && strcmp(left, "none") != 0;
    if (w.is_enforced)
        w.until = lease_moment_after(lease_clock_now(), g_ascii_strtoll(left, NULL, 10));
    *ret_word = w;
    return TRUE;
}

static gboolean keep(int guard, char **a, int n, GError **error)
{
    int fd = strcmp(a[1], "-") != 0 ? (int)syscall(SYS_pidfd_open, atoi(a[1]), 0) : -1;
    gint64 wall_ms = clock_wall_ms();
    gboolean done;
    Word w;

    if (!make(WORD_KEEP, a[0], a[2], a[3], &w, error))
        return FALSE;
    w.reign.number = n > 4 ? g_ascii_strtoull(a[4], NULL, 10) : 1;
    w.reign.id.bytes[15] = (guint8)(n > 5 ? g_ascii_strtoull(a[5], NULL, 10) : w.reign.number);
    done = ask(guard, &w, fd, error);
    if (fd >= 0)
        close(fd);
    if (done)
        g_print("{\"boot_ms\": %" G_GINT64_FORMAT ", \"wall_ms\": %" G_GINT64_FORMAT "}\n", w.until.boot_ms,
                w.is_enforced ? wall_ms + g_ascii_strtoll(a[3], NULL, 10) : 0);
    return done;
}

static gint64 now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (gint64)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int compare(const void *a, const void *b)
{
    return *(const gint64 *)a < *(const gint64 *)b ? -1 : 1;
}

static gboolean renew(int guard, char **a, GError **error)
{
    int each_ms = atoi(a[3]), times = atoi(a[4]);
    g_autofree gint64 *us = g_new0(gint64, (gsize)times);

    for (int i = 0; i < times; i++) {
        Word w;
        gint64 begun_us = now_us();

        if (!make(WORD_KEEP, a[0], a[1], a[2], &w, error))
            return FALSE;
        w.reign.id.bytes[15] = 1;
        if (!ask(guard, &w, -1, error))
            return FALSE;
        us[i] = now_us() - begun_us;
        /* The pace of renewals, not a wait for anything. */
        g_usleep((gulong)each_ms * 1000);
    }
    qsort(us, (gsize)times, sizeof(*us), compare);
    g_print("{\"times\": %d, \"median_us\": %" G_GINT64_FORMAT ", \"p99_us\": %" G_GINT64_FORMAT
            ", \"max_us\": %" G_GINT64_FORMAT "}\n",
            times, us[times / 2], us[times * 99 / 100], us[times - 1]);
    return TRUE;
}

static gboolean listen_on(int guard, gboolean obey, GError **error)
{
    for (;;) {
        Word w;

        if (!word_receive(guard, &w, NULL, error))
            return FALSE;
        printf("{\"word\": \"%s\", \"vm\": \"%s\", \"how\": \"%s\", \"left_ms\": %" G_GINT64_FORMAT
               ", \"boot_ms\": %" G_GINT64_FORMAT "}\n",
               word_kind_name(w.kind), ID_TEXT(w.vm), fenced_name(w.how),
               w.is_enforced ? lease_left_ms(w.until, lease_clock_now()) : 0, clock_steady_ms());
        fflush(stdout);
        if (obey && w.kind == WORD_PLEASE_STOP &&
            !word_send(guard, &(Word){.kind = WORD_STOPPED, .vm = w.vm}, -1, error))
            return FALSE;
    }
}

/* --- a process that does not stop ---------------------------------------- */

static void seize_all(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", (int)pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir)))
        ptrace(PTRACE_SEIZE, atoi(name), NULL, (void *)(gsize)PTRACE_O_TRACECLONE);
}

/* Every signal is handed on but SIGSTOP. */
static gboolean trace(pid_t pid)
{
    int status;
    pid_t thread;

    seize_all(pid);
    printf("traced\n");
    fflush(stdout);
    while ((thread = waitpid(-1, &status, __WALL)) > 0) {
        int event = WIFSTOPPED(status) ? status >> 16 : 0, signum = WIFSTOPPED(status) ? WSTOPSIG(status) : 0;

        if (WIFSTOPPED(status))
            ptrace(PTRACE_CONT, thread, NULL, (void *)(gsize)(event || signum == SIGSTOP ? 0 : signum));
    }
    return TRUE;
}

/* --- all ----------------------------------------------------------------- */

static gboolean say(int guard, WordKind kind, const char *vm, GError **error)
{
    Word w = {.kind = kind};

    return (!vm || id_parse(vm, &w.vm, error)) && ask(guard, &w, -1, error);
}

static gboolean run(int argc, char **argv, GError **error)
{
    const char *verb = argc > 1 ? argv[1] : "";
    int guard;

    if (strcmp(verb, "immune") == 0 && argc == 3)
        return trace(atoi(argv[2]));
    guard = open_guard(error);
    if (guard < 0)
        return FALSE;
    if (strcmp(verb, "keep") == 0 && argc >= 6)
        return keep(guard, argv + 2, argc - 2, error);
    if (strcmp(verb, "renew") == 0 && argc == 7)
        return renew(guard, argv + 2, error);
    if (strcmp(verb, "listen") == 0 || strcmp(verb, "obey") == 0)
        return listen_on(guard, strcmp(verb, "obey") == 0, error);
    if (strcmp(verb, "list") == 0)
        return say(guard, WORD_LIST, NULL, error);
    for (WordKind kind = WORD_RELEASE; kind <= WORD_RUNNING && argc == 3; kind++)
        if (strcmp(verb, word_kind_name(kind)) == 0)
            return say(guard, kind, argv[2], error);
    g_set_error_literal(error, US_ERROR, US_ERROR_USAGE, "see the top of its source");
    return FALSE;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;

    if (run(argc, argv, &error) || !error)
        return 0;
    g_printerr("ward_drive: %s: %s\n", us_error_name((UsError)error->code), error->message);
    return us_error_exit(error);
}
