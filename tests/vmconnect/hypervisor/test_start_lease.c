/* SPDX-License-Identifier: Apache-2.0 */
/* The start hook towards a guard that obeys, refuses, goes or says nothing; a process that looks like QEMU is the guest. The real guard is the lab's. */
#include "orchestrator/votes/lease_clock.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/guard/word.h"
#include "vmconnect/hypervisor/qemu_process.h"
#include "vmconnect/hypervisor/start_lease.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME "web 1"
#define RECORD "<domstatus state='running' reason='booted' pid='%d'/>"
#define PATIENCE_MS 20000

typedef struct {
    char *root;
    char *path[5];
    StartLease at;
    Guard guard;
    pid_t guest;
    pid_t sentry;
    int listener;
    int heard[2]; /* what the guard was told, as packets; with the pid of the pidfd as its reign's number */
} World;

enum { PATH_GUARD, PATH_LEASES, PATH_SOCKET, PATH_RECORD, PATH_GUARD_FILE };

/* --- the guest ----------------------------------------------------------- */

static void begin_guest(World *w)
{
    g_autofree char *record = NULL;
    gint64 deadline_ms = clock_steady_ms() + PATIENCE_MS;
    int hold[2], fd;
    gboolean gone;

    g_assert_cmpint(pipe(hold), ==, 0);
    w->guest = fork();
    if (w->guest == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(hold[0], 0);
        execlp("sh", "sh", "-c", "read x", "-name", "guest=" NAME, "-uuid", ID_TEXT(w->guard.vm), NULL);
        _exit(127);
    }
    record = g_strdup_printf(RECORD, (int)w->guest);
    g_assert_true(g_file_set_contents(w->path[PATH_RECORD], record, -1, NULL));
    /* fork and exec take a moment in which the command line is still ours. */
    while ((fd = qemu_process_open(w->root, NAME, w->guard.vm, &gone, NULL)) < 0)
        g_assert_cmpint(clock_left_ms(deadline_ms), >, 0);
    close(fd);
}

static void end(pid_t *pid)
{
    if (*pid > 0) {
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
    }
    *pid = 0;
}

/* --- the guard ----------------------------------------------------------- */

typedef enum { OBEYS, REFUSES, GOES, IS_SILENT } Manner;

static void answer(int engine, const Word *said, Manner manner)
{
    const Word others = {.kind = WORD_GONE, .vm = id_random()},
               elsewhere = {.kind = WORD_DONE, .vm = others.vm};
    Word w = {.kind = manner == REFUSES ? WORD_REFUSED : WORD_DONE, .vm = said->vm};

    if (manner == REFUSES)
        g_strlcpy(w.text, "a later reign of that VM is kept here", sizeof(w.text));
    /* Among what everybody is told. */
    word_send(engine, &others, -1, NULL);
    word_send(engine, &elsewhere, -1, NULL);
    word_send(engine, &w, -1, NULL);
}

static void serve(int listener, int told, Manner manner)
{
    for (;;) {
        int engine = accept(listener, NULL, NULL), fd = -1;
        Word said;

        if (word_receive(engine, &said, &fd, NULL)) {
            Word copy = said;

            copy.reign.number = fd >= 0 ? (guint64)qemu_process_pid(fd) : 0;
            word_send(told, &copy, -1, NULL);
            if (manner == IS_SILENT)
                pause();
            if (manner != GOES)
                answer(engine, &said, manner);
        }
        if (fd >= 0)
            close(fd);
        close(engine);
    }
}

static void begin_sentry(World *w, Manner manner)
{
    w->sentry = fork();
    if (w->sentry == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(w->listener, w->heard[1], manner);
    }
}

/* What it was told last; nothing else was said to it. */
static Word heard(World *w)
{
    Word got = {0};

    g_assert_true(word_receive(w->heard[0], &got, NULL, NULL));
    return got;
}

static void heard_nothing(World *w)
{
    g_autoptr(GError) error = NULL;
    Word got;

    g_assert_false(word_receive(w->heard[0], &got, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
}

/* --- the world ----------------------------------------------------------- */

static void write_lease(World *w, Id vm, gint64 left_ms)
{
    g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(LeaseEntry));
    LeaseEntry e = {
        .vm = vm, .reign = w->guard.reign, .until = lease_moment_after(lease_clock_now(), left_ms)};
    g_autofree char *text = NULL;

    g_array_append_val(entries, e);
    text = lease_file_text(entries);
    g_assert_true(lease_file_write(w->path[PATH_LEASES], text, NULL));
}

static void world_begin(World *w, gconstpointer data)
{
    static const char *const NAMES[] = {"guard", "leases", "socket", NAME ".xml"};
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    (void)data;
    w->root = g_dir_make_tmp("start-lease-XXXXXX", NULL);
    w->guard = (Guard){
        .vm = id_random(), .scenario = (char *)"web", .reign = {7, id_random()}, .role = GUARD_ACTIVE};
    for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++)
        w->path[i] = g_build_filename(w->root, NAMES[i], NULL);
    w->path[PATH_GUARD_FILE] = g_build_filename(w->path[PATH_GUARD], ID_TEXT(w->guard.vm), NULL);
    w->at = (StartLease){.guard_folder = w->path[PATH_GUARD],
                         .lease_file = w->path[PATH_LEASES],
                         .process_folder = w->root,
                         .socket = w->path[PATH_SOCKET]};
    g_strlcpy(at.sun_path, w->path[PATH_SOCKET], sizeof(at.sun_path));
    w->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(w->listener, (struct sockaddr *)&at, sizeof(at)), ==, 0);
    g_assert_cmpint(listen(w->listener, 4), ==, 0);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, w->heard), ==, 0);
    g_assert_true(guard_write(w->path[PATH_GUARD], &w->guard, NULL));
    begin_guest(w);
}

static void world_end(World *w, gconstpointer data)
{
    (void)data;
    end(&w->guest);
    end(&w->sentry);
    close(w->listener);
    close(w->heard[0]);
    close(w->heard[1]);
    for (guint i = G_N_ELEMENTS(w->path); i > 0; i--) {
        g_remove(w->path[i - 1]);
        g_free(w->path[i - 1]);
    }
    g_assert_cmpint(g_rmdir(w->root), ==, 0);
    g_free(w->root);
}

/* --- tests --------------------------------------------------------------- */

static void gives(World *w)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(start_lease_give(&w->at, w->guard.vm, NAME, &error));
    g_assert_no_error(error);
}

/* The sentence: who, why, what next. */
static void expect_sentence(const GError *error, const char *says)
{
    g_assert_nonnull(error);
    g_assert_true(g_str_has_prefix(error->message, "Understudy does not let '" NAME "' start: "));
    g_assert_nonnull(strstr(error->message, says));
    g_assert_nonnull(strstr(error->message, "`"));
}

static void does_not_give(World *w, const char *says)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(start_lease_give(&w->at, w->guard.vm, NAME, &error));
    expect_sentence(error, says);
}

static void expects_no_guard(World *w, const char *says)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(start_lease_expect_guard(&w->at, w->guard.vm, NAME, &error));
    expect_sentence(error, says);
}

static void test_gives(World *w, gconstpointer data)
{
    Word got;

    (void)data;
    begin_sentry(w, OBEYS);
    write_lease(w, w->guard.vm, 60000);
    g_assert_true(start_lease_expect_guard(&w->at, w->guard.vm, NAME, NULL));
    g_assert_cmpint(heard(w).kind, ==, WORD_LIST);
    gives(w);
    got = heard(w);
    g_assert_cmpint(got.kind, ==, WORD_KEEP);
    g_assert_true(id_equal(got.vm, w->guard.vm) && id_equal(got.reign.id, w->guard.reign.id));
    g_assert_cmpuint(got.reign.number, ==, (guint64)w->guest);
    g_assert_true(got.is_enforced);
    g_assert_cmpint(lease_left_ms(got.until, lease_clock_now()), >, 30000);
    g_assert_cmpuint(got.taps, ==, 0);
    heard_nothing(w);
}

/* Who needs no lease is not given to anybody, with or without a guard. */
static void test_needs_none(World *w, gconstpointer data)
{
    (void)data;
    begin_sentry(w, REFUSES);
    gives(w); /* no file */
    write_lease(w, id_random(), 0);
    gives(w); /* another's */
    g_assert_true(start_lease_expect_guard(&w->at, w->guard.vm, NAME, NULL));
    write_lease(w, w->guard.vm, 60000);
    g_assert_true(start_lease_give(&w->at, id_random(), NAME, NULL)); /* nobody protects it */
    w->guard.role = GUARD_STANDBY;                                    /* which was judged before */
    g_assert_true(guard_write(w->path[PATH_GUARD], &w->guard, NULL));
    gives(w);
    heard_nothing(w);
}

static void test_lease_over(World *w, gconstpointer data)
{
    (void)data;
    begin_sentry(w, OBEYS);
    write_lease(w, w->guard.vm, 0);
    does_not_give(w, "this host's lease for it is over");
    w->guard.reign.number++;
    write_lease(w, w->guard.vm, 60000);
    does_not_give(w, "is of term 8, not of term 7");
    g_assert_true(g_file_set_contents(w->path[PATH_LEASES], "x", -1, NULL));
    does_not_give(w, "cannot be read");
    expects_no_guard(w, "cannot be read");
    heard_nothing(w);
}

static void test_guard_refuses(World *w, gconstpointer data)
{
    (void)data;
    begin_sentry(w, REFUSES);
    write_lease(w, w->guard.vm, 60000);
    does_not_give(w, "(a later reign of that VM is kept here)");
    expects_no_guard(w, "(a later reign of that VM is kept here)");
}

static void test_guard_goes(World *w, gconstpointer data)
{
    (void)data;
    begin_sentry(w, GOES);
    write_lease(w, w->guard.vm, 60000);
    does_not_give(w, "(it was closed)");
    expects_no_guard(w, "(it was closed)");
    end(&w->sentry);
    close(w->listener);
    does_not_give(w, "Connection refused");
    expects_no_guard(w, "Connection refused");
    g_unlink(w->path[PATH_SOCKET]);
    does_not_give(w, "No such file or directory");
}

static void test_guard_is_silent(World *w, gconstpointer data)
{
    (void)data;
    begin_sentry(w, IS_SILENT);
    write_lease(w, w->guard.vm, 60000);
    does_not_give(w, "(it does not answer)");
    expects_no_guard(w, "(it does not answer)");
}

static void test_no_process(World *w, gconstpointer data)
{
    (void)data;
    begin_sentry(w, OBEYS);
    write_lease(w, w->guard.vm, 60000);
    end(&w->guest);
    does_not_give(w, "has exited");
    heard_nothing(w);
}

#define ADD(name, test) g_test_add("/start_lease/" name, World, NULL, world_begin, test, world_end)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("gives", test_gives);
    ADD("needs-none", test_needs_none);
    ADD("lease-over", test_lease_over);
    ADD("guard-refuses", test_guard_refuses);
    ADD("guard-goes", test_guard_goes);
    ADD("guard-is-silent", test_guard_is_silent);
    ADD("no-process", test_no_process);
    return g_test_run();
}
