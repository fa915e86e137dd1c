/* SPDX-License-Identifier: Apache-2.0 */
/* The whole guard in a child process and a network namespace of this test; guests are processes that compute, their tap is lo. Frames are the lab's. */
#include "orchestrator/votes/lease_clock.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/guard/sentry.h"
#include "vmconnect/guard/subject.h"
#include "vmconnect/guard/word.h"

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

typedef struct {
    char *folder;
    char *obstacle; /* a folder here, and no roll can be written */
    pid_t guard;
    pid_t guest;
    int engine;
    Id vm;
} World;

/* --- processes ----------------------------------------------------------- */

static pid_t begin_guest(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            __asm__ volatile("");
    }
    return pid;
}

static const char *device; /* the file that is one; NULL: none is used */

static gboolean open_device(const char *path, WatchdogDevice *ret_device, GError **error)
{
    (void)error;
    *ret_device = (WatchdogDevice){.fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600), .timeout_ms = 3000};
    return TRUE;
}

static pid_t begin_guard(const char *folder)
{
    pid_t pid = fork();

    if (pid == 0) {
        g_autoptr(Sentry) s = NULL;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        s = sentry_new(folder, device ? watchdog_new(device, open_device) : NULL, NULL);
        if (s)
            sentry_run(s);
        g_clear_pointer(&s, sentry_free);
        _exit(0);
    }
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static int join(const World *w)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    gint64 deadline_ms = clock_steady_ms() + PATIENCE_MS;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    g_snprintf(at.sun_path, sizeof(at.sun_path), "%s/socket", w->folder);
    while (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
        g_assert_cmpint(clock_left_ms(deadline_ms), >, 0);
    return fd;
}

static void world_begin(World *w)
{
    w->folder = g_dir_make_tmp("understudy-sentry-XXXXXX", NULL);
    w->obstacle = g_build_filename(w->folder, "roll.new", NULL);
    w->guest = begin_guest();
    w->guard = begin_guard(w->folder);
    w->vm = id_random();
    w->engine = join(w);
}

static void world_end(World *w)
{
    const char *const files[] = {"roll", "socket"};

    close(w->engine);
    end(w->guard);
    end(w->guest);
    g_remove(w->obstacle); /* or what it had begun to write */
    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_build_filename(w->folder, files[i], NULL);

        g_unlink(path);
    }
    g_assert_cmpint(g_rmdir(w->folder), ==, 0);
    g_free(w->folder);
    g_free(w->obstacle);
}

static void guard_again(World *w)
{
    close(w->engine);
    end(w->guard);
    w->guard = begin_guard(w->folder);
    w->engine = join(w);
}

/* --- words --------------------------------------------------------------- */

static Word hear(const World *w)
{
    struct pollfd p = {.fd = w->engine, .events = POLLIN};
    g_autoptr(GError) error = NULL;
    Word got = {0};

    g_assert_cmpint(poll(&p, 1, PATIENCE_MS), ==, 1);
    word_receive(w->engine, &got, NULL, &error);
    g_assert_no_error(error);
    return got;
}

static Word hear_of(const World *w, WordKind kind)
{
    for (;;) {
        Word got = hear(w);

        if (got.kind == kind)
            return got;
    }
}

/* @left_ms: -1: disarmed. */
static Word keep_word(const World *w, gint64 left_ms)
{
    Word said = {.kind = WORD_KEEP,
                 .vm = w->vm,
                 .reign.number = 3,
                 .is_enforced = left_ms >= 0,
                 .until = lease_moment_after(lease_clock_now(), left_ms),
                 .taps = 1,
                 .tap = {"lo"}};

    said.reign.id.bytes[0] = 3;
    return said;
}

static Word keep(const World *w, gint64 left_ms, gboolean with_process)
{
    int fd = with_process ? (int)syscall(SYS_pidfd_open, w->guest, 0) : -1;
    Word said = keep_word(w, left_ms), got;

    g_assert_true(word_send(w->engine, &said, fd, NULL));
    if (fd >= 0)
        close(fd);
    do
        got = hear(w);
    while (got.kind != WORD_DONE && got.kind != WORD_REFUSED);
    return got;
}

#define expect_done(word) g_assert_cmpint((word).kind, ==, WORD_DONE)
#define expect_refused(word, why)                      \
    do {                                               \
        Word said_ = (word);                           \
                                                       \
        g_assert_cmpint(said_.kind, ==, WORD_REFUSED); \
        g_assert_nonnull(strstr(said_.text, why));     \
    } while (0)

/* The one VM that is kept; its kind is DONE if there is none. */
static Word list(const World *w)
{
    Word got;

    g_assert_true(word_send(w->engine, &(Word){.kind = WORD_LIST}, -1, NULL));
    do
        got = hear(w);
    while (got.kind != WORD_WARD && got.kind != WORD_DONE);
    if (got.kind == WORD_WARD)
        hear_of(w, WORD_DONE);
    return got;
}

static gboolean say(const World *w, WordKind kind)
{
    Word got;

    g_assert_true(word_send(w->engine, &(Word){.kind = kind, .vm = w->vm}, -1, NULL));
    do
        got = hear(w);
    while (got.kind != WORD_DONE && got.kind != WORD_REFUSED);
    return got.kind == WORD_DONE;
}

static gboolean guest_is_still(const World *w)
{
    Subject s;
    gboolean still;

    g_assert_true(subject_hold((int)syscall(SYS_pidfd_open, w->guest, 0), &s, NULL));
    still = subject_is_still(&s);
    subject_clear(&s);
    return still;
}

static void wait_until_still(const World *w, gboolean still)
{
    gint64 deadline_ms = clock_steady_ms() + PATIENCE_MS;

    while (guest_is_still(w) != still)
        g_assert_cmpint(clock_left_ms(deadline_ms), >, 0);
}

/* The interface of this index; lo is 1. */
static gboolean gate_keeps(const char *index)
{
    g_autofree char *said = NULL, *wanted = g_strdup_printf("elements = { %s }", index);

    return g_spawn_command_line_sync("nft -n list set bridge understudy_guard kept", &said, NULL, NULL,
                                     NULL) &&
           (strstr(said, wanted) || strstr(said, "elements = { \"lo\" }"));
}

/* --- tests --------------------------------------------------------------- */

static void test_ladder(void)
{
    World w;
    Word got;

    world_begin(&w);
    g_assert_cmpint(list(&w).kind, ==, WORD_DONE);
    expect_done(keep(&w, -1, TRUE));
    g_assert_false(list(&w).is_enforced);
    expect_done(keep(&w, 1600, FALSE));
    got = hear_of(&w, WORD_PLEASE_STOP);
    g_assert_cmpint(lease_left_ms(got.until, lease_clock_now()), <=, 1500);
    got = hear_of(&w, WORD_FENCED);
    g_assert_cmpint(got.how, ==, FENCED_STOPPED);
    g_assert_true(guest_is_still(&w));
    /* Nothing changes that for a guard that comes after. */
    guard_again(&w);
    g_assert_cmpint(list(&w).how, ==, FENCED_STOPPED);
    kill(w.guest, SIGCONT);
    g_assert_cmpint(hear_of(&w, WORD_FENCED).how, ==, FENCED_STOPPED);
    wait_until_still(&w, TRUE);
    expect_done(keep(&w, 60000, FALSE));
    wait_until_still(&w, FALSE);
    /* What libvirt is said to have stopped, and computes. */
    expect_done(keep(&w, 1600, FALSE));
    hear_of(&w, WORD_PLEASE_STOP);
    g_assert_true(say(&w, WORD_STOPPED));
    while (hear_of(&w, WORD_FENCED).how != FENCED_STOPPED)
        ;
    g_assert_true(guest_is_still(&w));
    end(w.guest);
    g_assert_true(id_equal(hear_of(&w, WORD_GONE).vm, w.vm));
    g_assert_cmpint(list(&w).kind, ==, WORD_DONE);
    w.guest = begin_guest();
    world_end(&w);
}

static void test_refusals(void)
{
    World w;
    Word said, got;

    world_begin(&w);
    expect_refused(keep(&w, -1, FALSE), "brings its process");
    g_assert_false(say(&w, WORD_STOPPED));
    g_assert_true(say(&w, WORD_RELEASE));
    expect_done(keep(&w, 60000, TRUE));
    said = keep_word(&w, 60000);
    said.reign.id.bytes[0] = 4;
    g_assert_true(word_send(w.engine, &said, -1, NULL));
    got = hear(&w);
    expect_refused(got, "another reign");
    said.reign.number = 2;
    g_assert_true(word_send(w.engine, &said, -1, NULL));
    got = hear(&w);
    expect_refused(got, "a later reign");
    end(w.guest);
    w.guest = begin_guest();
    /* Its former process has ended, which the guard sees before it hears. */
    expect_done(keep(&w, 60000, TRUE));
    world_end(&w);
}

static void test_another_process(void)
{
    World w;
    pid_t first;

    world_begin(&w);
    expect_done(keep(&w, 60000, TRUE));
    expect_done(keep(&w, 60000, TRUE));
    first = w.guest;
    w.guest = begin_guest();
    expect_refused(keep(&w, 60000, TRUE), "another process");
    end(w.guest);
    w.guest = first;
    expect_done(keep(&w, 0, FALSE));
    g_assert_false(say(&w, WORD_RELEASE));
    expect_done(keep(&w, -1, FALSE));
    g_assert_true(say(&w, WORD_RELEASE));
    g_assert_cmpint(list(&w).kind, ==, WORD_DONE);
    world_end(&w);
}

/* An older roll may be stricter than what was answered, never laxer. */
static void test_no_room(void)
{
    World w;

    world_begin(&w);
    g_assert_cmpint(g_mkdir(w.obstacle, 0700), ==, 0);
    expect_refused(keep(&w, 60000, TRUE), "roll.new");
    g_assert_cmpint(list(&w).kind, ==, WORD_DONE);
    g_assert_cmpint(g_rmdir(w.obstacle), ==, 0);
    expect_done(keep(&w, -1, TRUE));
    g_assert_cmpint(g_mkdir(w.obstacle, 0700), ==, 0);
    expect_refused(keep(&w, 60000, FALSE), "roll.new");
    g_assert_false(list(&w).is_enforced);
    g_assert_false(say(&w, WORD_RELEASE));
    g_assert_true(gate_keeps("1"));
    g_assert_cmpint(g_rmdir(w.obstacle), ==, 0);
    expect_done(keep(&w, 60000, FALSE));
    g_assert_cmpint(g_mkdir(w.obstacle, 0700), ==, 0);
    expect_done(keep(&w, 120000, FALSE));
    g_assert_cmpint(lease_left_ms(list(&w).until, lease_clock_now()), >, 60000);
    expect_refused(keep(&w, 50000, FALSE), "roll.new");
    g_assert_cmpint(lease_left_ms(list(&w).until, lease_clock_now()), >, 60000);
    /* Who comes after it knows of the older one. */
    guard_again(&w);
    g_assert_cmpint(lease_left_ms(list(&w).until, lease_clock_now()), <=, 60000);
    world_end(&w);
}

/* Who asks whom it has hears which words it knows; a packet of an engine from before that is the same. */
static void test_words(void)
{
    World w;

    world_begin(&w);
    g_assert_true(word_send(w.engine, &(Word){.kind = WORD_LIST}, -1, NULL));
    g_assert_cmpuint(hear_of(&w, WORD_DONE).words, ==, WORDS_KNOWN);
    expect_done(keep(&w, 60000, TRUE));
    g_assert_true(word_send(w.engine, &(Word){.kind = WORD_LIST, .words = WORDS_KNOWN}, -1, NULL));
    g_assert_cmpuint(hear_of(&w, WORD_WARD).words, ==, 0);
    g_assert_cmpuint(hear_of(&w, WORD_DONE).words, ==, WORDS_KNOWN);
    world_end(&w);
}

/* An engine of hundreds of guests says all before it reads the first answer. */
static void test_many_at_once(void)
{
    World w;

    world_begin(&w);
    expect_done(keep(&w, 60000, TRUE));
    for (guint i = 0; i < 500; i++)
        g_assert_true(word_send(w.engine, &(Word){.kind = WORD_LIST}, -1, NULL));
    for (guint i = 0; i < 500; i++) {
        hear_of(&w, WORD_WARD);
        hear_of(&w, WORD_DONE);
    }
    world_end(&w);
}

/* What is said of several at once, of which not all can be kept, holds for the others. */
static void test_no_room_for_one(void)
{
    World w;
    Word of_first, of_other;
    pid_t other = begin_guest();
    int fd = (int)syscall(SYS_pidfd_open, other, 0);

    world_begin(&w);
    expect_done(keep(&w, 60000, TRUE));
    g_assert_cmpint(g_mkdir(w.obstacle, 0700), ==, 0);
    of_first = of_other = keep_word(&w, 120000);
    of_other.vm = id_random();
    kill(w.guard, SIGSTOP);
    g_assert_true(word_send(w.engine, &of_other, fd, NULL));
    g_assert_true(word_send(w.engine, &of_first, -1, NULL));
    close(fd);
    kill(w.guard, SIGCONT);
    expect_refused(hear(&w), "roll.new");
    expect_done(hear(&w));
    g_assert_cmpint(lease_left_ms(list(&w).until, lease_clock_now()), >, 60000);
    g_assert_true(gate_keeps("1"));
    end(other);
    world_end(&w);
}

/* Nobody waits for one who asks, and does not listen. */
static void test_deaf(void)
{
    World w;
    int deaf;

    world_begin(&w);
    expect_done(keep(&w, 60000, TRUE));
    deaf = join(&w);
    while (word_send(deaf, &(Word){.kind = WORD_LIST}, -1, NULL))
        ;
    close(deaf);
    /* Nor for one who says what is no word. */
    deaf = join(&w);
    g_assert_cmpint(send(deaf, "?", 1, 0), ==, 1);
    g_assert_cmpint(recv(deaf, &(char){0}, 1, 0), <=, 0);
    close(deaf);
    g_assert_cmpint(list(&w).kind, ==, WORD_WARD);
    world_end(&w);
}

/* What was said to one that hung is heard before it acts by what it knew. */
static void test_held_up(void)
{
    World w;
    Word free;
    gint64 deadline_ms;

    world_begin(&w);
    expect_done(keep(&w, 4000, TRUE));
    kill(w.guard, SIGSTOP);
    free = keep_word(&w, -1);
    g_assert_true(word_send(w.engine, &free, -1, NULL));
    deadline_ms = clock_steady_ms() + 4500;
    while (clock_left_ms(deadline_ms) > 0)
        g_usleep(10000);
    kill(w.guard, SIGCONT);
    expect_done(hear(&w));
    g_assert_cmpint(list(&w).how, ==, FENCED_NOT);
    g_assert_false(guest_is_still(&w));
    world_end(&w);
}

static void wait_for_end(const Word *kept)
{
    gint64 left_ms;

    while ((left_ms = lease_left_ms(kept->until, lease_clock_now())) > 0)
        g_usleep((gulong)MIN(left_ms, 100) * 1000);
}

/* So does one that comes long after a lease's end: who says that none is needed is heard first. Nobody does: then it is stopped. */
static void test_long_after(void)
{
    World w;
    Word kept;

    world_begin(&w);
    expect_done(keep(&w, 1700, TRUE));
    kept = list(&w);
    end(w.guard);
    wait_for_end(&kept);
    close(w.engine);
    w.guard = begin_guard(w.folder);
    w.engine = join(&w);
    expect_done(keep(&w, -1, FALSE));
    g_assert_cmpint(list(&w).how, ==, FENCED_NOT);
    g_assert_false(guest_is_still(&w));

    expect_done(keep(&w, 1700, FALSE));
    kept = list(&w);
    end(w.guard);
    wait_for_end(&kept);
    close(w.engine);
    w.guard = begin_guard(w.folder);
    w.engine = join(&w);
    g_assert_cmpint(hear_of(&w, WORD_FENCED).how, ==, FENCED_STOPPED);
    wait_until_still(&w, TRUE);
    world_end(&w);
}

static gboolean has_gate(void)
{
    g_autofree char *said = NULL;

    g_assert_true(g_spawn_command_line_sync("nft list tables bridge", &said, NULL, NULL, NULL));
    return strstr(said, "understudy_guard") != NULL;
}

/* As an engine of today. */
static void list_knowing(const World *w)
{
    g_assert_true(word_send(w->engine, &(Word){.kind = WORD_LIST, .words = WORDS_KNOWN}, -1, NULL));
    hear_of(w, WORD_DONE);
}

static gint64 wait_for_exit(World *w)
{
    gint64 since_ms = clock_steady_ms();
    int status;

    g_assert_cmpint(waitpid(w->guard, &status, 0), ==, w->guard);
    g_assert_true(WIFEXITED(status));
    return clock_steady_ms() - since_ms;
}

static void begin_anew(World *w)
{
    close(w->engine);
    w->guard = begin_guard(w->folder);
    w->engine = join(w);
}

/* Told to end it waits for its engine to free guests of their leases; then nothing is left in the kernel. */
static void test_leaving(void)
{
    World w;

    world_begin(&w);
    list_knowing(&w);
    expect_done(keep(&w, 60000, TRUE));
    kill(w.guard, SIGTERM);
    hear_of(&w, WORD_LEAVING);
    g_assert_true(gate_keeps("1"));
    expect_done(keep(&w, -1, FALSE));
    wait_for_exit(&w);
    g_assert_false(has_gate());
    /* The one after it has that VM, and lays what is said. */
    begin_anew(&w);
    g_assert_false(list(&w).is_enforced);
    g_assert_true(gate_keeps("1"));
    expect_done(keep(&w, 60000, FALSE));
    /* An engine that does not know the word is not waited for, and what needs a lease stays in the gate. */
    kill(w.guard, SIGTERM);
    wait_for_exit(&w);
    g_assert_true(gate_keeps("1"));
    begin_anew(&w);
    g_assert_true(list(&w).is_enforced);
    /* One that does not free it is not waited for for long. */
    list_knowing(&w);
    kill(w.guard, SIGTERM);
    hear_of(&w, WORD_LEAVING);
    g_assert_true(list(&w).is_enforced);
    g_assert_cmpint(wait_for_exit(&w), <, PATIENCE_MS);
    g_assert_true(gate_keeps("1"));
    /* Nor if it is told twice. */
    begin_anew(&w);
    list_knowing(&w);
    kill(w.guard, SIGTERM);
    hear_of(&w, WORD_LEAVING);
    kill(w.guard, SIGTERM);
    wait_for_exit(&w);
    begin_anew(&w);
    world_end(&w);
}

static void expect_said(int manager, const char *word)
{
    struct pollfd p = {.fd = manager, .events = POLLIN};
    char got[32] = "";

    g_assert_cmpint(poll(&p, 1, PATIENCE_MS), ==, 1);
    g_assert_cmpint(recv(manager, got, sizeof(got) - 1, 0), >, 0);
    g_assert_cmpstr(got, ==, word);
}

/* Its service manager hears that it is there, that it does not hang, and that it ends; one that hangs says nothing. */
static void test_supervised(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    g_autofree char *folder = g_dir_make_tmp("understudy-sentry-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "notify", NULL);
    int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    gint64 deadline_ms;
    World w;

    g_strlcpy(at.sun_path, path, sizeof(at.sun_path));
    g_assert_cmpint(bind(manager, (struct sockaddr *)&at, sizeof(at)), ==, 0);
    g_setenv("NOTIFY_SOCKET", path, TRUE);
    g_setenv("WATCHDOG_USEC", "200000", TRUE);
    world_begin(&w);
    expect_said(manager, "READY=1");
    /* Nobody speaks to it. */
    for (guint i = 0; i < 5; i++)
        expect_said(manager, "WATCHDOG=1");
    kill(w.guard, SIGSTOP);
    deadline_ms = clock_steady_ms() + PATIENCE_MS;
    while (recv(manager, &(char){0}, 1, MSG_DONTWAIT) > 0)
        g_assert_cmpint(clock_left_ms(deadline_ms), >, 0);
    deadline_ms = clock_steady_ms() + 1000;
    while (clock_left_ms(deadline_ms) > 0)
        g_assert_cmpint(recv(manager, &(char){0}, 1, MSG_DONTWAIT), <, 0);
    kill(w.guard, SIGCONT);
    expect_said(manager, "WATCHDOG=1");
    kill(w.guard, SIGTERM);
    wait_for_exit(&w);
    g_unsetenv("NOTIFY_SOCKET");
    g_unsetenv("WATCHDOG_USEC");
    for (char got[32] = ""; strcmp(got, "STOPPING=1") != 0;) {
        memset(got, 0, sizeof(got));
        g_assert_cmpint(recv(manager, got, sizeof(got) - 1, MSG_DONTWAIT), >, 0);
    }
    begin_anew(&w);
    world_end(&w);
    close(manager);
    g_unlink(path);
    g_rmdir(folder);
}

static gboolean can_join(const World *w, int *ret_fd)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    *ret_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    g_snprintf(at.sun_path, sizeof(at.sun_path), "%s/socket", w->folder);
    if (connect(*ret_fd, (struct sockaddr *)&at, sizeof(at)) == 0)
        return TRUE;
    close(*ret_fd);
    return FALSE;
}

/* Somebody removes its socket, or all of its folder: it is made anew, and who is connected stays so. */
static void test_removed(void)
{
    World w;
    int other;
    g_autofree char *path = NULL, *roll = NULL;

    world_begin(&w);
    path = g_build_filename(w.folder, "socket", NULL);
    roll = g_build_filename(w.folder, "roll", NULL);
    expect_done(keep(&w, 60000, TRUE));
    g_assert_cmpint(g_unlink(path), ==, 0);
    g_assert_false(can_join(&w, &other));
    close(join(&w));
    g_assert_true(list(&w).is_enforced);
    /* A file that is in its place, as if it were moved back. */
    g_assert_cmpint(g_unlink(path), ==, 0);
    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    close(join(&w));
    g_assert_cmpint(g_unlink(path), ==, 0);
    g_assert_cmpint(g_unlink(roll), ==, 0);
    g_assert_cmpint(g_rmdir(w.folder), ==, 0);
    close(w.engine);
    w.engine = join(&w);
    g_assert_true(list(&w).is_enforced);
    /* What it keeps is in a roll again. */
    guard_again(&w);
    g_assert_true(list(&w).is_enforced);
    world_end(&w);
}

static gboolean was_written(char sign)
{
    g_autofree char *text = NULL;
    gsize len;

    return g_file_get_contents(device, &text, &len, NULL) && len > 0 && text[len - 1] == sign;
}

static void wait_for_sign(char sign)
{
    gint64 deadline_ms = clock_steady_ms() + PATIENCE_MS;

    while (!was_written(sign))
        g_assert_cmpint(clock_left_ms(deadline_ms), >, 0);
}

/* It is petted while a guest has its lease, and left when none needs one; not by a guard that dies. */
static void test_watchdog(void)
{
    g_autofree char *path = g_strdup("/tmp/understudy-sentry-device-XXXXXX");
    World w;

    close(g_mkstemp(path));
    device = path;
    world_begin(&w);
    wait_for_sign('V');
    expect_done(keep(&w, 60000, TRUE));
    wait_for_sign('.');
    guard_again(&w);
    g_assert_true(was_written('.'));
    g_assert_cmpint(truncate(path, 0), ==, 0);
    wait_for_sign('.');
    expect_done(keep(&w, -1, FALSE));
    wait_for_sign('V');
    /* Told to end, in order and not. */
    expect_done(keep(&w, 60000, FALSE));
    wait_for_sign('.');
    kill(w.guard, SIGTERM);
    waitpid(w.guard, NULL, 0);
    g_assert_true(was_written('.'));
    w.guard = begin_guard(w.folder);
    close(w.engine);
    w.engine = join(&w);
    g_assert_true(list(&w).is_enforced);
    end(w.guest);
    hear_of(&w, WORD_GONE);
    wait_for_sign('V');
    w.guest = begin_guest();
    world_end(&w);
    device = NULL;
    g_unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_unsetenv("NOTIFY_SOCKET");
    if (unshare(CLONE_NEWNET) != 0) {
        g_print("1..0 # SKIP network namespaces need root\n");
        return 0;
    }
    g_test_add_func("/sentry/ladder", test_ladder);
    g_test_add_func("/sentry/refusals", test_refusals);
    g_test_add_func("/sentry/another-process", test_another_process);
    g_test_add_func("/sentry/no-room", test_no_room);
    g_test_add_func("/sentry/words", test_words);
    g_test_add_func("/sentry/many-at-once", test_many_at_once);
    g_test_add_func("/sentry/no-room-for-one", test_no_room_for_one);
    g_test_add_func("/sentry/deaf", test_deaf);
    g_test_add_func("/sentry/held-up", test_held_up);
    g_test_add_func("/sentry/long-after", test_long_after);
    g_test_add_func("/sentry/leaving", test_leaving);
    g_test_add_func("/sentry/supervised", test_supervised);
    g_test_add_func("/sentry/removed", test_removed);
    g_test_add_func("/sentry/watchdog", test_watchdog);
    return g_test_run();
}
