/* SPDX-License-Identifier: Apache-2.0 */
/* The warden against a guard's end that the test plays, word by word, and against a real one in a child process. What it tells is narrated;
 * VMs are numbers there. */
#include "hypervisor/turn.h"
#include "orchestrator/votes/lease_clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/guard/sentry.h"
#include "vmconnect/warden.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define LATE_MS 2500
#define NOBODY 65534
#define GUESTS 5

typedef struct {
    uv_loop_t loop;
    char *folder;
    char *path;
    Warden *warden;
    GString *told;
    gboolean wanted[256]; /* by the first byte of its id */
    guint close_at;       /* as the event of this number is told; 0: not */
    guint events;
    gboolean is_closed;
    int listener;
    int guard; /* the played guard's end; -1: nobody is connected */
    pid_t guest[GUESTS];
    int pidfd[GUESTS];
    /* What turn_until() waits for. */
    const char *awaited;
} World;

static Id vm(guint8 n)
{
    Id id = {.bytes = {n}};

    return id;
}

/* --- what is told ---------------------------------------------------------- */

static void tell(World *w, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void tell(World *w, const char *format, ...)
{
    va_list args;

    g_assert_false(w->is_closed);
    va_start(args, format);
    g_string_append_vprintf(w->told, format, args);
    g_string_append(w->told, "; ");
    va_end(args);
    if (++w->events == w->close_at) {
        w->is_closed = TRUE;
        warden_close(w->warden);
    }
}

static void on_up(void *user, gboolean up)
{
    g_assert_cmpint(warden_is_up(((World *)user)->warden), ==, up);
    tell(user, up ? "up" : "down");
}

static void on_please_stop(void *user, Id id)
{
    tell(user, "%d stop", id.bytes[0]);
}

static void on_fenced(void *user, Id id, Fenced how)
{
    tell(user, "%d fenced %s", id.bytes[0], fenced_name(how));
}

static void on_gone(void *user, Id id)
{
    tell(user, "%d gone", id.bytes[0]);
}

static void on_kept(void *user, Id id, const GError *why_not)
{
    if (why_not)
        tell(user, "%d %s", id.bytes[0], why_not->message);
    else
        tell(user, "%d kept", id.bytes[0]);
}

static gboolean wants(void *user, Id id)
{
    return ((World *)user)->wanted[id.bytes[0]];
}

static gboolean is_told(void *user)
{
    const World *w = user;

    return strstr(w->told->str, w->awaited) != NULL;
}

static void wait_for(World *w, const char *what)
{
    w->awaited = what;
    if (!turn_until(&w->loop, is_told, w, PATIENCE_MS))
        g_error("'%s' was not told, but: %s", what, w->told->str);
}

/* All that was told since. */
#define expect_told(w, what)                       \
    do {                                           \
        wait_for(w, what);                         \
        g_assert_cmpstr((w)->told->str, ==, what); \
        g_string_truncate((w)->told, 0);           \
    } while (0)

/* --- guests ------------------------------------------------------------------ */

/* In a child: it ends with the test, even one that ended before this was said. */
static void end_with(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
}

static void begin_guest(World *w, guint i)
{
    pid_t parent = getpid();

    w->guest[i] = fork();
    if (w->guest[i] == 0) {
        end_with(parent);
        for (;;)
            pause();
    }
    w->pidfd[i] = (int)syscall(SYS_pidfd_open, w->guest[i], 0);
    g_assert_cmpint(w->pidfd[i], >=, 0);
}

static void end_process(pid_t *pid)
{
    if (*pid <= 0)
        return;
    kill(*pid, SIGKILL);
    waitpid(*pid, NULL, 0);
    *pid = 0;
}

static void end_guest(World *w, guint i)
{
    end_process(&w->guest[i]);
    close(w->pidfd[i]);
    w->pidfd[i] = -1;
}

/* --- the guard's end ----------------------------------------------------------- */

static int bind_at(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    g_strlcpy(at.sun_path, path, sizeof(at.sun_path));
    unlink(path);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&at, sizeof(at)), ==, 0);
    return fd;
}

static int listen_at(const char *path)
{
    int fd = bind_at(path);

    g_assert_cmpint(listen(fd, 4), ==, 0);
    return fd;
}

static gboolean is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) > 0;
}

static gboolean is_connected(void *user)
{
    World *w = user;

    w->guard = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return w->guard >= 0;
}

static gboolean has_word(void *user)
{
    return is_readable(((World *)user)->guard);
}

static Word hear_with(World *w, int *ret_fd)
{
    g_autoptr(GError) error = NULL;
    Word got = {0};

    if (!turn_until(&w->loop, has_word, w, PATIENCE_MS))
        g_error("the guard hears nothing; told was: %s", w->told->str);
    word_receive(w->guard, &got, ret_fd, &error);
    g_assert_no_error(error);
    return got;
}

/* Its descriptor is not looked at. */
static Word hear(World *w)
{
    int fd;
    Word got = hear_with(w, &fd);

    if (fd >= 0)
        close(fd);
    return got;
}

static void expect(World *w, WordKind kind, Id id)
{
    Word got = hear(w);

    g_assert_cmpstr(word_kind_name(got.kind), ==, word_kind_name(kind));
    g_assert_cmpint(got.vm.bytes[0], ==, id.bytes[0]);
}

/* A KEEP with its process, or without. */
static Word expect_keep(World *w, Id id, gboolean with_process)
{
    int fd;
    Word got = hear_with(w, &fd);

    g_assert_cmpstr(word_kind_name(got.kind), ==, "keep");
    g_assert_cmpint(got.vm.bytes[0], ==, id.bytes[0]);
    g_assert_cmpint(fd >= 0, ==, with_process);
    if (fd >= 0)
        close(fd);
    return got;
}

static void turn_a_bit(World *w)
{
    uv_run(&w->loop, UV_RUN_NOWAIT);
}

static void expect_silence(World *w)
{
    turn_a_bit(w);
    turn_a_bit(w);
    g_assert_false(is_readable(w->guard));
}

static void say_knowing(World *w, WordKind kind, Id id, guint64 words)
{
    g_assert_true(word_send(w->guard, &(Word){.kind = kind, .vm = id, .words = words}, -1, NULL));
}

/* As a guard of today. */
static void say(World *w, WordKind kind, Id id)
{
    say_knowing(w, kind, id, kind == WORD_DONE && id_is_nil(id) ? WORDS_KNOWN : 0);
}

static void say_how(World *w, WordKind kind, Id id, Fenced how)
{
    g_assert_true(word_send(w->guard, &(Word){.kind = kind, .vm = id, .how = how}, -1, NULL));
}

static void say_refused(World *w, Id id, const char *why)
{
    Word said = {.kind = WORD_REFUSED, .vm = id};

    g_strlcpy(said.text, why, sizeof(said.text));
    g_assert_true(word_send(w->guard, &said, -1, NULL));
}

static void guard_begin(World *w)
{
    w->listener = listen_at(w->path);
    g_assert_true(turn_until(&w->loop, is_connected, w, PATIENCE_MS));
}

static void guard_end(World *w)
{
    if (w->guard >= 0)
        close(g_steal_fd(&w->guard));
    if (w->listener >= 0)
        close(g_steal_fd(&w->listener));
    unlink(w->path);
}

/* One that has nobody, and is told of nobody. */
static void guard_begin_idle(World *w)
{
    guard_begin(w);
    expect(w, WORD_LIST, ID_NIL);
    say(w, WORD_DONE, ID_NIL);
    expect_told(w, "up; ");
}

/* --- the world -------------------------------------------------------------------- */

static void world_begin(World *w)
{
    static const WardenEvents EVENTS = {on_up, on_please_stop, on_fenced, on_gone, on_kept, wants};

    *w = (World){.listener = -1, .guard = -1};
    uv_loop_init(&w->loop);
    w->folder = g_dir_make_tmp("understudy-warden-XXXXXX", NULL);
    w->path = g_build_filename(w->folder, "socket", NULL);
    w->told = g_string_new(NULL);
    for (guint i = 0; i < GUESTS; i++)
        begin_guest(w, i);
    w->warden = warden_new(&w->loop, w->path, &EVENTS, w);
}

static void world_end(World *w)
{
    g_autofree char *roll = g_build_filename(w->folder, "roll", NULL);

    if (!w->is_closed)
        warden_close(w->warden);
    w->is_closed = TRUE;
    /* Nothing of it is left in the loop. */
    uv_run(&w->loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&w->loop), ==, 0);
    guard_end(w);
    for (guint i = 0; i < GUESTS; i++)
        if (w->guest[i] > 0)
            end_guest(w, i);
    unlink(roll);
    g_assert_cmpint(g_rmdir(w->folder), ==, 0);
    g_string_free(w->told, TRUE);
    g_free(w->folder);
    g_free(w->path);
}

/* Until @until_ms on both clocks; @guest: -1: as before. */
static void keep(World *w, guint8 n, int guest, gint64 until_ms)
{
    static const char TAPS[][IF_NAMESIZE] = {"lo"};
    Reign reign = {.number = 3};

    reign.id.bytes[0] = n;
    warden_keep(w->warden, vm(n), reign, guest < 0 ? -1 : w->pidfd[guest], TAPS, 1, TRUE,
                (LeaseMoment){until_ms, until_ms});
}

/* Kept, in the process of that guest, and nothing waits. */
static void keep_and_answer(World *w, guint8 n, int guest)
{
    g_autofree char *kept = g_strdup_printf("%d kept; ", n);

    keep(w, n, guest, 100);
    expect_keep(w, vm(n), guest >= 0);
    say(w, WORD_DONE, vm(n));
    expect_told(w, kept);
}

/* --- tests ------------------------------------------------------------------------- */

/* What is said in one turn is on its way in one; the guard is up when it has all. */
static void test_burst(void)
{
    World w;

    world_begin(&w);
    for (guint8 n = 1; n <= 3; n++)
        keep(&w, n, n, 100 + n);
    g_assert_false(warden_is_up(w.warden));
    guard_begin(&w);
    expect(&w, WORD_LIST, ID_NIL);
    for (guint i = 0; i < 3; i++) {
        int fd;
        Word got;

        /* All of it has come with the first, without another turn. */
        g_assert_true(is_readable(w.guard));
        g_assert_true(word_receive(w.guard, &got, &fd, NULL));
        g_assert_cmpint(got.kind, ==, WORD_KEEP);
        g_assert_cmpint(got.until.raw_ms, ==, 100 + got.vm.bytes[0]);
        g_assert_cmpint(got.until.boot_ms, ==, 100 + got.vm.bytes[0]);
        g_assert_cmpint(got.reign.number, ==, 3);
        g_assert_cmpint(got.reign.id.bytes[0], ==, got.vm.bytes[0]);
        g_assert_cmpuint(got.taps, ==, 1);
        g_assert_cmpstr(got.tap[0], ==, "lo");
        g_assert_cmpint(fd, >=, 0);
        close(fd);
        if (i == 0)
            say(&w, WORD_DONE, ID_NIL);
        say(&w, WORD_DONE, got.vm);
    }
    wait_for(&w, "up; ");
    for (guint n = 1; n <= 3; n++) {
        g_autofree char *kept = g_strdup_printf("%u kept; ", n);

        wait_for(&w, kept);
    }
    g_assert_cmpuint(w.events, ==, 4);
    g_string_truncate(w.told, 0);
    keep(&w, 2, -1, 500);
    g_assert_cmpint(expect_keep(&w, vm(2), FALSE).until.raw_ms, ==, 500);
    say(&w, WORD_DONE, vm(2));
    expect_told(&w, "2 kept; ");
    world_end(&w);
}

/* Disarmed: no end is said, whatever was given. */
static void test_disarmed(void)
{
    World w;
    Word got;

    world_begin(&w);
    guard_begin_idle(&w);
    warden_keep(w.warden, vm(1), (Reign){.number = 1}, w.pidfd[1], NULL, 0, FALSE, (LeaseMoment){7, 7});
    got = expect_keep(&w, vm(1), TRUE);
    g_assert_false(got.is_enforced);
    g_assert_cmpuint(got.taps, ==, 0);
    world_end(&w);
}

static void test_newest_only(void)
{
    World w;

    world_begin(&w);
    guard_begin_idle(&w);
    keep(&w, 1, -1, 100);
    keep(&w, 1, 1, 200);
    keep(&w, 2, 2, 250);
    keep(&w, 1, -1, 300);
    g_assert_cmpint(expect_keep(&w, vm(1), TRUE).until.raw_ms, ==, 300);
    expect_keep(&w, vm(2), TRUE);
    expect_silence(&w);
    /* One that is under way already is answered, and is not the newest any more. */
    keep(&w, 1, -1, 400);
    say(&w, WORD_DONE, vm(1));
    g_assert_cmpint(expect_keep(&w, vm(1), FALSE).until.raw_ms, ==, 400);
    say(&w, WORD_DONE, vm(2));
    expect_told(&w, "2 kept; ");
    say(&w, WORD_DONE, vm(1));
    expect_told(&w, "1 kept; ");
    world_end(&w);
}

static char *log_begin(int *ret_saved)
{
    char *path = NULL;
    int fd = g_file_open_tmp("understudy-warden-log-XXXXXX", &path, NULL);

    *ret_saved = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
    return path;
}

/* How many lines name the guard. */
static guint log_end(char *path, int saved)
{
    g_autofree char *text = NULL;
    guint n = 0;

    dup2(saved, STDERR_FILENO);
    close(saved);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    for (const char *at = text; (at = strstr(at, "the guard ")); at++)
        n++;
    unlink(path);
    g_free(path);
    return n;
}

/* A guard that hangs: its socket fills, is waited for, and what waits becomes the newest. */
static void test_hang(void)
{
    World w;
    const guint rounds = 5000;
    guint heard = 0;
    gint64 last[4] = {0};
    int saved;
    char *log;

    world_begin(&w);
    log = log_begin(&saved);
    guard_begin_idle(&w);
    for (guint i = 1; i <= rounds; i++) {
        for (guint8 n = 1; n <= 3; n++)
            keep(&w, n, n, i);
        warden_tell(w.warden, vm(1), i % 2 == 0);
        turn_a_bit(&w);
    }
    expect_told(&w, "down; ");
    /* It goes on, and answers as it hears. */
    while (last[1] < rounds || last[2] < rounds || last[3] < rounds || is_readable(w.guard)) {
        int fd;
        Word got = hear_with(&w, &fd);

        heard++;
        if (got.kind == WORD_KEEP) {
            g_assert_cmpint(got.until.raw_ms, >, last[got.vm.bytes[0]]);
            last[got.vm.bytes[0]] = got.until.raw_ms;
        }
        if (fd >= 0)
            close(fd);
        say(&w, WORD_DONE, got.vm);
        turn_a_bit(&w);
    }
    wait_for(&w, "up; ");
    wait_for(&w, "1 kept; ");
    wait_for(&w, "2 kept; ");
    wait_for(&w, "3 kept; ");
    g_assert_cmpuint(w.events, ==, 2 + 4); /* up, down, and what follows the hang: each newest once */
    g_assert_cmpuint(heard, <, rounds);
    expect_silence(&w);
    world_end(&w);
    g_assert_cmpuint(log_end(log, saved), ==, 3); /* there, gone, there */
}

/* Who is back is told all, with the processes. */
static void test_again(void)
{
    World w;

    world_begin(&w);
    guard_begin_idle(&w);
    keep_and_answer(&w, 1, 1);
    guard_end(&w);
    expect_told(&w, "down; ");
    g_assert_false(warden_is_up(w.warden));
    /* While it is away, and as if it were not. */
    keep(&w, 1, -1, 700);
    keep(&w, 2, 2, 800);
    warden_tell(w.warden, vm(1), TRUE);
    warden_release(w.warden, vm(2));
    guard_begin(&w);
    expect(&w, WORD_LIST, ID_NIL);
    g_assert_cmpint(expect_keep(&w, vm(1), TRUE).until.raw_ms, ==, 700);
    w.wanted[4] = TRUE;
    /* Before the list has ended, and not asked for. */
    say(&w, WORD_PLEASE_STOP, vm(1));
    say_how(&w, WORD_WARD, vm(1), FENCED_STOPPED);
    say_how(&w, WORD_WARD, vm(2), FENCED_NOT);
    say_how(&w, WORD_WARD, vm(3), FENCED_NOT);
    say_how(&w, WORD_WARD, vm(4), FENCED_KILLED);
    say(&w, WORD_DONE, ID_NIL);
    expect_told(&w, "1 stop; 1 fenced stopped; 4 fenced killed; ");
    expect(&w, WORD_RELEASE, vm(2));
    expect(&w, WORD_RELEASE, vm(3));
    say(&w, WORD_DONE, vm(1));
    expect_told(&w, "1 kept; ");
    say(&w, WORD_DONE, vm(2));
    say(&w, WORD_DONE, vm(3));
    expect_told(&w, "up; ");
    say_how(&w, WORD_FENCED, vm(4), FENCED_ASKED);
    expect_told(&w, "4 fenced asked; ");
    expect_silence(&w);
    world_end(&w);
}

/* What a guard could not keep it is told anew, with the process. */
static void test_refused(void)
{
    World w;

    world_begin(&w);
    guard_begin_idle(&w);
    keep(&w, 1, 1, 100);
    expect_keep(&w, vm(1), TRUE);
    say_refused(&w, vm(1), "no room");
    expect_told(&w, "1 the guard refuses: no room; ");
    keep(&w, 1, -1, 200);
    expect_keep(&w, vm(1), TRUE);
    say(&w, WORD_DONE, vm(1));
    expect_told(&w, "1 kept; ");
    keep(&w, 1, -1, 300);
    expect_keep(&w, vm(1), FALSE);
    world_end(&w);
}

/* What is kept last is what stands, whatever was said before it in the same turn. */
static void test_released_and_kept(void)
{
    World w;

    world_begin(&w);
    guard_begin_idle(&w);
    keep(&w, 1, 1, 100);
    warden_release(w.warden, vm(1));
    keep(&w, 1, 2, 200);
    expect(&w, WORD_RELEASE, vm(1));
    g_assert_cmpint(expect_keep(&w, vm(1), TRUE).until.raw_ms, ==, 200);
    say(&w, WORD_DONE, vm(1));
    say(&w, WORD_DONE, vm(1));
    expect_told(&w, "1 kept; ");
    keep(&w, 1, -1, 300);
    warden_tell(w.warden, vm(1), TRUE);
    warden_release(w.warden, vm(1));
    warden_release(w.warden, vm(1));
    expect(&w, WORD_RELEASE, vm(1));
    expect_silence(&w);
    world_end(&w);
}

/* Its process has ended; or the one before the one that was said. */
static void test_gone(void)
{
    World w;

    world_begin(&w);
    guard_begin_idle(&w);
    keep_and_answer(&w, 1, 1);
    keep_and_answer(&w, 2, 2);
    end_guest(&w, 1);
    say(&w, WORD_GONE, vm(1));
    expect_told(&w, "1 gone; ");
    end_guest(&w, 2);
    keep(&w, 2, 3, 200);
    expect_keep(&w, vm(2), TRUE);
    say_refused(&w, vm(2), "in another process");
    say(&w, WORD_GONE, vm(2));
    expect_told(&w, "2 the guard refuses: in another process; 2 gone; ");
    expect_keep(&w, vm(2), TRUE);
    say(&w, WORD_DONE, vm(2));
    expect_told(&w, "2 kept; ");
    /* The same while the new process is under way: it comes again, since nobody knows of which the guard spoke. */
    keep(&w, 2, 3, 250);
    expect_keep(&w, vm(2), TRUE);
    say(&w, WORD_GONE, vm(2));
    say(&w, WORD_DONE, vm(2));
    expect_told(&w, "2 gone; 2 kept; ");
    expect_keep(&w, vm(2), TRUE);
    say(&w, WORD_DONE, vm(2));
    expect_told(&w, "2 kept; ");
    guard_end(&w);
    expect_told(&w, "down; ");
    /* A guard does not know of those that have ended while none was there. */
    end_guest(&w, 3);
    keep(&w, 4, 4, 300);
    guard_begin(&w);
    expect(&w, WORD_LIST, ID_NIL);
    expect_keep(&w, vm(4), TRUE);
    say(&w, WORD_DONE, ID_NIL);
    expect_told(&w, "2 gone; ");
    end_guest(&w, 4);
    say_refused(&w, vm(4), "it has ended");
    expect_told(&w, "up; 4 gone; ");
    expect_silence(&w);
    world_end(&w);
}

/* libvirt's events of whom the guard has, by whose word ever. */
static void test_tells(void)
{
    World w;

    world_begin(&w);
    guard_begin(&w);
    expect(&w, WORD_LIST, ID_NIL);
    w.wanted[1] = w.wanted[3] = TRUE;
    say_how(&w, WORD_WARD, vm(1), FENCED_NOT);
    say(&w, WORD_PLEASE_STOP, vm(3));
    say(&w, WORD_DONE, ID_NIL);
    expect_told(&w, "3 stop; up; ");
    warden_tell(w.warden, vm(1), TRUE);
    warden_tell(w.warden, vm(2), TRUE);
    warden_tell(w.warden, vm(3), TRUE);
    warden_tell(w.warden, vm(1), FALSE);
    expect(&w, WORD_STOPPED, vm(3));
    expect(&w, WORD_RUNNING, vm(1));
    expect_silence(&w);
    say(&w, WORD_DONE, vm(3));
    say(&w, WORD_DONE, vm(1));
    /* Whom the guard does not release it has. */
    warden_release(w.warden, vm(3));
    expect(&w, WORD_RELEASE, vm(3));
    say_refused(&w, vm(3), "it stays");
    say(&w, WORD_GONE, vm(1));
    expect_told(&w, "1 gone; ");
    warden_tell(w.warden, vm(1), TRUE);
    warden_tell(w.warden, vm(3), FALSE);
    expect(&w, WORD_RUNNING, vm(3));
    say(&w, WORD_DONE, vm(3));
    warden_release(w.warden, vm(3));
    expect(&w, WORD_RELEASE, vm(3));
    say(&w, WORD_DONE, vm(3));
    turn_a_bit(&w);
    warden_tell(w.warden, vm(3), TRUE);
    expect_silence(&w);
    world_end(&w);
}

/* One that answers what nobody asked, or says what is no word, is let go. */
static void test_nonsense(void)
{
    World w;

    world_begin(&w);
    guard_begin_idle(&w);
    say(&w, WORD_DONE, vm(1));
    expect_told(&w, "down; ");
    guard_end(&w);
    guard_begin_idle(&w);
    keep(&w, 1, 1, 100);
    expect_keep(&w, vm(1), TRUE);
    say(&w, WORD_DONE, vm(2));
    expect_told(&w, "down; ");
    guard_end(&w);
    guard_begin(&w);
    expect(&w, WORD_LIST, ID_NIL);
    expect_keep(&w, vm(1), TRUE);
    g_assert_cmpint(send(w.guard, "?", 1, 0), ==, 1);
    close(g_steal_fd(&w.guard));
    g_assert_true(turn_until(&w.loop, is_connected, &w, PATIENCE_MS));
    expect(&w, WORD_LIST, ID_NIL);
    expect_keep(&w, vm(1), TRUE);
    say(&w, WORD_DONE, ID_NIL);
    say(&w, WORD_DONE, vm(1));
    expect_told(&w, "up; 1 kept; ");
    world_end(&w);
}

static gboolean is_closed_or_told(void *user)
{
    return ((World *)user)->is_closed || is_told(user);
}

/* One that never answers is not asked over and over; that is said once. */
static void test_mute(void)
{
    World w;
    char *log;
    int saved;

    world_begin(&w);
    log = log_begin(&saved);
    g_assert_null(warden_why_away(w.warden));
    guard_begin(&w);
    for (guint i = 0; i < 4; i++) {
        expect(&w, WORD_LIST, ID_NIL);
        close(g_steal_fd(&w.guard));
        g_assert_true(turn_until(&w.loop, is_connected, &w, PATIENCE_MS));
    }
    expect_told(&w, "down; ");
    g_assert_nonnull(warden_why_away(w.warden));
    world_end(&w);
    g_assert_cmpuint(log_end(log, saved), ==, 1);
}

/* A word that it does not know would end the connection: it is not said, but once for all. What it was asked before its words are known waits. */
static void test_older(void)
{
    World w;
    char *log;
    int saved;

    world_begin(&w);
    w.wanted[3] = TRUE;
    log = log_begin(&saved);
    guard_begin(&w);
    g_assert_cmpuint(hear(&w).words, ==, WORDS_KNOWN);
    warden_lend(w.warden, vm(3));
    expect_silence(&w);
    say_how(&w, WORD_WARD, vm(3), FENCED_STOPPED);
    say_knowing(&w, WORD_DONE, ID_NIL, WORDS_KNOWN & ~WORD_MASK(WORD_LEND));
    expect_told(&w, "3 fenced stopped; up; ");
    g_assert_true(warden_is_older(w.warden));
    expect_silence(&w);
    warden_lend(w.warden, vm(3));
    expect_silence(&w);
    g_assert_cmpuint(log_end(log, saved), ==, 2); /* there, older */
    guard_end(&w);
    expect_told(&w, "down; ");
    g_assert_false(warden_is_older(w.warden));
    /* One that does not say what it knows is older than that. */
    guard_begin(&w);
    expect(&w, WORD_LIST, ID_NIL);
    say_knowing(&w, WORD_DONE, ID_NIL, 0);
    expect_told(&w, "up; ");
    g_assert_true(warden_is_older(w.warden));
    guard_end(&w);
    expect_told(&w, "down; ");
    /* One of today is told what waited. */
    guard_begin(&w);
    expect(&w, WORD_LIST, ID_NIL);
    warden_lend(w.warden, vm(3));
    say(&w, WORD_DONE, ID_NIL);
    expect(&w, WORD_LEND, vm(3));
    say(&w, WORD_DONE, vm(3));
    expect_told(&w, "up; ");
    g_assert_false(warden_is_older(w.warden));
    world_end(&w);
}

/* It is down from then on, and hears what follows from that until it ends. */
static void test_leaving(void)
{
    World w;

    world_begin(&w);
    guard_begin_idle(&w);
    keep_and_answer(&w, 1, 1);
    say(&w, WORD_LEAVING, ID_NIL);
    expect_told(&w, "down; ");
    g_assert_nonnull(warden_why_away(w.warden));
    keep(&w, 1, -1, 900);
    g_assert_cmpint(expect_keep(&w, vm(1), FALSE).until.raw_ms, ==, 900);
    say(&w, WORD_DONE, vm(1));
    expect_told(&w, "1 kept; ");
    turn_a_bit(&w);
    g_assert_false(warden_is_up(w.warden));
    guard_end(&w);
    guard_begin(&w);
    expect(&w, WORD_LIST, ID_NIL);
    expect_keep(&w, vm(1), TRUE);
    say(&w, WORD_DONE, ID_NIL);
    say(&w, WORD_DONE, vm(1));
    expect_told(&w, "up; 1 kept; ");
    world_end(&w);
}

static void on_turn(uv_prepare_t *prepare)
{
    ++*(guint *)prepare->data;
}

/* The loop does not turn for nothing while an answer is waited for: no more often than turn_until() does. */
static void test_idle(void)
{
    World w;
    uv_prepare_t prepare;
    guint turns = 0;

    world_begin(&w);
    guard_begin_idle(&w);
    keep(&w, 1, 1, 100);
    expect_keep(&w, vm(1), TRUE);
    uv_prepare_init(&w.loop, &prepare);
    prepare.data = &turns;
    uv_prepare_start(&prepare, on_turn);
    expect_told(&w, "down; ");
    g_assert_cmpuint(turns, <, PATIENCE_MS / 4);
    uv_close((uv_handle_t *)&prepare, NULL);
    world_end(&w);
}

/* An answer that is there by the time that this process looks was not late. */
static void test_late_self(void)
{
    World w;
    gint64 by_ms;

    world_begin(&w);
    guard_begin_idle(&w);
    keep(&w, 1, 1, 100);
    expect_keep(&w, vm(1), TRUE);
    say(&w, WORD_DONE, vm(1));
    /* The loop stands still for longer than an answer may take. */
    by_ms = clock_steady_ms() + LATE_MS;
    while (clock_left_ms(by_ms) > 0)
        g_usleep(10000);
    expect_told(&w, "1 kept; ");
    world_end(&w);
}

/* Everything that can be told, and closed as the first, the second … of it is; nothing is told after that. */
static gboolean close_at(guint event)
{
    World w;
    Word first, second;
    gboolean met;

    world_begin(&w);
    w.close_at = event;
    w.wanted[3] = TRUE;
    keep(&w, 1, 1, 100);
    keep(&w, 2, 2, 100);
    guard_begin(&w);
    expect(&w, WORD_LIST, ID_NIL);
    first = hear(&w);
    second = hear(&w);
    end_guest(&w, 2);
    say(&w, WORD_PLEASE_STOP, vm(1));
    say_how(&w, WORD_WARD, vm(3), FENCED_STOPPED);
    say_how(&w, WORD_WARD, vm(4), FENCED_NOT);
    say_how(&w, WORD_FENCED, vm(1), FENCED_ASKED);
    say(&w, WORD_DONE, ID_NIL);
    say(&w, WORD_DONE, first.vm);
    say(&w, WORD_DONE, second.vm);
    say(&w, WORD_GONE, vm(2));
    w.awaited = "2 gone; ";
    turn_until(&w.loop, is_closed_or_told, &w, PATIENCE_MS);
    /* The one whom nobody wants. */
    if (!w.is_closed) {
        expect(&w, WORD_RELEASE, vm(4));
        say(&w, WORD_DONE, vm(4));
        w.awaited = "up; ";
        turn_until(&w.loop, is_closed_or_told, &w, PATIENCE_MS);
    }
    guard_end(&w);
    w.awaited = "down; ";
    g_assert_true(turn_until(&w.loop, is_closed_or_told, &w, PATIENCE_MS));
    met = w.is_closed;
    world_end(&w);
    return met;
}

static void test_close(void)
{
    World w;
    guint event = 1;

    while (close_at(event))
        event++;
    /* A stop, two that are fenced, two kept, gone, up, down: of a ninth there is none. */
    g_assert_cmpuint(event, ==, 9);
    /* Before it has ever turned; while nobody is there; with words that wait. */
    world_begin(&w);
    world_end(&w);
    world_begin(&w);
    turn_a_bit(&w);
    keep(&w, 1, 1, 100);
    world_end(&w);
    world_begin(&w);
    guard_begin_idle(&w);
    keep(&w, 1, 1, 100);
    world_end(&w);
    warden_close(NULL);
}

static void release_at_up(void *user, gboolean up)
{
    World *w = user;

    tell(w, up ? "up" : "down");
    if (up)
        warden_release(w->warden, vm(1));
}

/* As the last answer comes, what was kept is released by who hears that the guard is up, or all is closed. */
static void test_released_within(void)
{
    static const WardenEvents EVENTS = {release_at_up, on_please_stop, on_fenced, on_gone, on_kept, wants};
    World w;

    world_begin(&w);
    w.close_at = 1;
    keep(&w, 1, 1, 100);
    guard_begin(&w);
    expect(&w, WORD_LIST, ID_NIL);
    expect_keep(&w, vm(1), TRUE);
    say(&w, WORD_DONE, ID_NIL);
    say(&w, WORD_DONE, vm(1));
    expect_told(&w, "up; ");
    world_end(&w);
    world_begin(&w);
    warden_close(w.warden);
    w.warden = warden_new(&w.loop, w.path, &EVENTS, &w);
    keep(&w, 1, 1, 100);
    guard_begin(&w);
    expect(&w, WORD_LIST, ID_NIL);
    expect_keep(&w, vm(1), TRUE);
    say(&w, WORD_DONE, ID_NIL);
    say(&w, WORD_DONE, vm(1));
    expect(&w, WORD_RELEASE, vm(1));
    expect_told(&w, "up; ");
    world_end(&w);
}

/* Nobody but root, as which this runs, is taken for a guard; that is said once. */
static void test_impostor(void)
{
    World w;
    pid_t impostor, parent = getpid();
    int saved, ready[2];
    char *log;
    char c;

    if (geteuid() != 0) {
        g_test_skip("another user's socket needs root");
        return;
    }
    world_begin(&w);
    g_assert_cmpint(pipe2(ready, O_CLOEXEC), ==, 0);
    impostor = fork();
    if (impostor == 0) {
        int listener = bind_at(w.path), fd; /* (where another user may not write) */

        /* Whoever listens is who it is. (Changing the user clears a death signal that was set before.) */
        if (setresuid(NOBODY, NOBODY, NOBODY) != 0 || listen(listener, 4) != 0)
            _exit(1);
        end_with(parent);
        fcntl(listener, F_SETFL, 0);
        for (guint i = 0; i < 8; i++) {
            fd = accept(listener, NULL, NULL);
            /* 'w': a word came; 'n': none did. */
            c = recv(fd, &c, 1, 0) > 0 ? 'w' : 'n';
            if (write(ready[1], &c, 1) != 1)
                _exit(1);
            close(fd);
        }
        _exit(0);
    }
    close(ready[1]);
    log = log_begin(&saved);
    keep(&w, 1, 1, 100);
    fcntl(ready[0], F_SETFL, O_NONBLOCK);
    for (guint i = 0; i < 5 || w.events == 0;) {
        ssize_t n;

        uv_run(&w.loop, UV_RUN_ONCE);
        n = read(ready[0], &c, 1);
        g_assert_cmpint(n, !=, 0);
        if (n == 1) {
            g_assert_cmpint(c, ==, 'n');
            i++;
        }
    }
    g_assert_cmpuint(log_end(log, saved), ==, 1);
    expect_told(&w, "down; ");
    end_process(&impostor);
    close(ready[0]);
    world_end(&w);
}

/* --- a real guard -------------------------------------------------------------------- */

static pid_t begin_sentry(const World *w)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == 0) {
        g_autoptr(Sentry) s = NULL;

        end_with(parent);
        s = sentry_new(w->folder, NULL, NULL);
        if (s)
            sentry_run(s);
        g_clear_pointer(&s, sentry_free);
        _exit(0);
    }
    return pid;
}

/* @left_ms from now on. */
static void keep_for(World *w, guint8 n, int guest, gint64 left_ms)
{
    static const char TAPS[][IF_NAMESIZE] = {"lo"};

    warden_keep(w->warden, vm(n), (Reign){.number = 3}, guest < 0 ? -1 : w->pidfd[guest], TAPS, 1, TRUE,
                lease_moment_after(lease_clock_now(), left_ms));
}

static void test_real(void)
{
    World w;
    pid_t sentry;
    g_autofree char *obstacle = NULL;

    if (unshare(CLONE_NEWNET) != 0) {
        g_test_skip("network namespaces need root");
        return;
    }
    world_begin(&w);
    obstacle = g_build_filename(w.folder, "roll.new", NULL);
    sentry = begin_sentry(&w);
    expect_told(&w, "up; ");
    /* No room for its roll; and then there is. */
    g_assert_cmpint(g_mkdir(obstacle, 0700), ==, 0);
    keep_for(&w, 1, 1, 60000);
    wait_for(&w, "1 the guard refuses: ");
    g_string_truncate(w.told, 0);
    g_assert_cmpint(g_rmdir(obstacle), ==, 0);
    keep_for(&w, 1, -1, 60000);
    expect_told(&w, "1 kept; ");
    /* It is killed, and one comes after it. */
    end_process(&sentry);
    expect_told(&w, "down; ");
    sentry = begin_sentry(&w);
    wait_for(&w, "up; ");
    wait_for(&w, "1 kept; ");
    g_string_truncate(w.told, 0);
    /* It hangs, and goes on. */
    kill(sentry, SIGSTOP);
    keep_for(&w, 1, -1, 60000);
    expect_told(&w, "down; ");
    keep_for(&w, 1, -1, 60000);
    kill(sentry, SIGCONT);
    wait_for(&w, "up; ");
    wait_for(&w, "1 kept; ");
    g_string_truncate(w.told, 0);
    /* Its lease ends, comes back, and its process ends. */
    keep_for(&w, 1, -1, 1600);
    wait_for(&w, "1 kept; 1 stop; ");
    wait_for(&w, "1 fenced stopped; ");
    g_string_truncate(w.told, 0);
    keep_for(&w, 1, -1, 60000);
    expect_told(&w, "1 kept; ");
    end_guest(&w, 1);
    expect_told(&w, "1 gone; ");
    /* Another process of the same VM, though the guard has not seen the end of the one before. */
    keep_for(&w, 1, 2, 60000);
    expect_told(&w, "1 kept; ");
    end_guest(&w, 2);
    keep_for(&w, 1, 3, 60000);
    wait_for(&w, "1 gone; ");
    wait_for(&w, "1 kept; ");
    g_string_truncate(w.told, 0);
    warden_release(w.warden, vm(1));
    end_process(&sentry);
    expect_told(&w, "down; ");
    end_process(&sentry);
    world_end(&w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/warden/burst", test_burst);
    g_test_add_func("/warden/disarmed", test_disarmed);
    g_test_add_func("/warden/newest-only", test_newest_only);
    g_test_add_func("/warden/hang", test_hang);
    g_test_add_func("/warden/again", test_again);
    g_test_add_func("/warden/refused", test_refused);
    g_test_add_func("/warden/released-and-kept", test_released_and_kept);
    g_test_add_func("/warden/gone", test_gone);
    g_test_add_func("/warden/tells", test_tells);
    g_test_add_func("/warden/nonsense", test_nonsense);
    g_test_add_func("/warden/mute", test_mute);
    g_test_add_func("/warden/older", test_older);
    g_test_add_func("/warden/leaving", test_leaving);
    g_test_add_func("/warden/idle", test_idle);
    g_test_add_func("/warden/late-self", test_late_self);
    g_test_add_func("/warden/close", test_close);
    g_test_add_func("/warden/released-within", test_released_within);
    g_test_add_func("/warden/impostor", test_impostor);
    g_test_add_func("/warden/real", test_real);
    return g_test_run();
}
