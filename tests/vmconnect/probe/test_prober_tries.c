/* SPDX-License-Identifier: Apache-2.0 */
/* Ports that accept or do not, and scripts of every kind. */
#include "bench.h"
#include "dead_mount.h"
#include "server.h"

#include "vmconnect/loop/aside.h"

#include <arpa/inet.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- tcp ------------------------------------------------------------------- */

static void expect_port(Bench *b, const char *address, guint16 port, gint64 timeout_ms, ProbeResult result,
                        const char *why)
{
    g_autofree char *spec = g_strdup_printf("tcp:%s:%u", address, port);

    expect(b, spec, timeout_ms, result, why);
}

static gboolean has_left(void *user)
{
    return server_left(user) == 1;
}

static void test_tcp(Bench *b, gconstpointer data)
{
    Server *silent = server_new(&b->loop, SERVER_SILENT, NULL, NULL);
    Server *closes = server_new(&b->loop, SERVER_CLOSES, NULL, NULL);
    Server *endless = server_new(&b->loop, SERVER_ENDLESS, NULL, "x");

    (void)data;
    expect_port(b, "127.0.0.1", server_port(silent), LONG_MS, PROBE_ANSWERED, NULL);
    expect_port(b, "127.0.0.1", server_port(closes), LONG_MS, PROBE_ANSWERED, NULL);
    expect_port(b, "127.0.0.1", server_port(endless), LONG_MS, PROBE_ANSWERED, NULL);
    /* The connection does not outlive the try. */
    g_assert_true(turn_until(&b->loop, has_left, silent, PATIENCE_MS));
    g_assert_cmpuint(server_came(silent), ==, 1);
    server_close(silent);
    server_close(closes);
    server_close(endless);
}

static void test_tcp_missed(Bench *b, gconstpointer data)
{
    g_autofree char *endless = g_strnfill(600, 'a');

    (void)data;
    expect_port(b, "127.0.0.1", dead_port(), LONG_MS, PROBE_MISSED, "nothing accepts there: ");
    expect_port(b, "[::1]", dead_port(), LONG_MS, PROBE_MISSED, "nothing accepts there: ");
    expect_port(b, "999.1.1.1", 80, LONG_MS, PROBE_NOT_MADE, "its name is not found: ");
    expect_port(b, endless, 80, LONG_MS, PROBE_NOT_MADE, "its name cannot be looked up: ");
}

/* A listener that has as many as it takes: the kernel lets the next one wait, as a host that is silent does. */
typedef struct {
    int door;
    int guest;
    guint16 port;
} Full;

static void full_open(Full *f)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(at);

    f->door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    f->guest = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(f->door, (struct sockaddr *)&at, sizeof(at)), ==, 0);
    g_assert_cmpint(listen(f->door, 0), ==, 0);
    g_assert_cmpint(getsockname(f->door, (struct sockaddr *)&at, &len), ==, 0);
    g_assert_cmpint(connect(f->guest, (struct sockaddr *)&at, sizeof(at)), ==, 0);
    f->port = ntohs(at.sin_port);
}

static void full_close(Full *f)
{
    close(f->guest);
    close(f->door);
}

static void test_tcp_silent(Bench *b, gconstpointer data)
{
    Full full;

    (void)data;
    full_open(&full);
    expect_port(b, "127.0.0.1", full.port, SHORT_MS, PROBE_MISSED, "no answer in time");
    full_close(&full);
}

/* Nothing is told of what was cancelled, wherever it was: before its name was looked up, or while it waited. */
static void test_tcp_cancelled(Bench *b, gconstpointer data)
{
    g_autofree char *spec = NULL;
    g_auto(Try) early = {0};
    g_auto(Try) late = {0};
    g_auto(Try) other = {0};
    Full full;

    (void)data;
    full_open(&full);
    spec = g_strdup_printf("tcp:127.0.0.1:%u", full.port);
    try_begin(&early, b, spec, ID_NIL, LONG_MS);
    prober_cancel(g_steal_pointer(&early.probe));
    try_begin(&late, b, spec, ID_NIL, LONG_MS);
    try_begin(&other, b, spec, ID_NIL, SHORT_MS);
    try_wait(&other);
    prober_cancel(g_steal_pointer(&late.probe));
    expect(b, spec, SHORT_MS, PROBE_MISSED, NULL);
    g_assert_cmpuint(early.times + late.times, ==, 0);
    full_close(&full);
}

/* --- scripts ---------------------------------------------------------------- */

static void script(const Bench *b, const char *name, const char *text, guint mode)
{
    g_autofree char *path = g_build_filename(b->dir, name, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_cmpint(g_chmod(path, (int)mode), ==, 0);
}

static void sh(const Bench *b, const char *name, const char *text)
{
    g_autofree char *whole = g_strconcat("#!/bin/sh\n", text, "\n", NULL);

    script(b, name, whole, 0755);
}

static void test_script(Bench *b, gconstpointer data)
{
    (void)data;
    sh(b, "zero", "exit 0");
    sh(b, "seven", "echo out; echo 'not ready' >&2; exit 7");
    sh(b, "signal", "kill -11 $$");
    sh(b, "words", "test $# = 2 && test \"$1\" = 'a b' && test \"$2\" = '$(exit 1)'");
    sh(b, "bytes", "printf '\\377\\200\\033[0m' >&2; exit 1");
    expect(b, "script:zero", LONG_MS, PROBE_ANSWERED, NULL);
    expect(b, "script:seven", LONG_MS, PROBE_MISSED, "exited with status 7: not ready");
    expect(b, "script:signal", LONG_MS, PROBE_MISSED, "was killed by signal 11");
    /* Its arguments are what they are: no shell reads them. */
    expect(b, "script:words 'a b' '$(exit 1)'", LONG_MS, PROBE_ANSWERED, NULL);
    expect(b, "script:words 'a b' c", LONG_MS, PROBE_MISSED, NULL);
    expect(b, "script:bytes", LONG_MS, PROBE_MISSED, "exited with status 1");
}

static void test_script_not_run(Bench *b, gconstpointer data)
{
    g_autofree char *folder = g_build_filename(b->dir, "folder", NULL);

    (void)data;
    script(b, "not-executable", "#!/bin/sh\nexit 0\n", 0644);
    script(b, "no-such-interpreter", "#!/nonexistent/sh\nexit 0\n", 0755);
    script(b, "no-program",
           "\x7f"
           "ELF and no more",
           0755);
    g_assert_cmpint(g_mkdir(folder, 0755), ==, 0);
    expect(b, "script:missing", LONG_MS, PROBE_NOT_MADE, "missing");
    expect(b, "script:not-executable", LONG_MS, PROBE_NOT_MADE, "not-executable");
    expect(b, "script:folder", LONG_MS, PROBE_NOT_MADE, "folder");
    expect(b, "script:no-such-interpreter", LONG_MS, PROBE_NOT_MADE, "no-such-interpreter");
    expect(b, "script:no-program", LONG_MS, PROBE_NOT_MADE, "no-program");
    /* Of the folder, not of the PATH. */
    expect(b, "script:true", LONG_MS, PROBE_NOT_MADE, "true");
}

/* However much it writes: nobody waits for anybody, and little is kept. */
static void test_script_writes(Bench *b, gconstpointer data)
{
    g_auto(Try) t = {0};

    (void)data;
    sh(b, "much", "head -c 8000000 /dev/zero && head -c 8000000 /dev/zero >&2");
    sh(b, "complains", "head -c 8000000 /dev/zero | tr '\\0' a >&2; exit 3");
    sh(b, "endless", "while :; do echo y; echo n >&2; done");
    expect(b, "script:much", LONG_MS, PROBE_ANSWERED, NULL);
    expect(b, "script:endless", SHORT_MS, PROBE_MISSED, "does not end");
    try_begin(&t, b, "script:complains", ID_NIL, LONG_MS);
    try_wait(&t);
    g_assert_cmpint(t.result, ==, PROBE_MISSED);
    g_assert_nonnull(strstr(t.why, "exited with status 3: aaaa"));
    g_assert_cmpuint(strlen(t.why), <, 5000);
}

/* A process of a script that writes its number to a file of the bench. */
static gboolean is_written(void *user)
{
    return g_file_test(user, G_FILE_TEST_EXISTS);
}

static int process_of(Bench *b, const char *name)
{
    g_autofree char *path = g_build_filename(b->dir, name, NULL);
    g_autofree char *text = NULL;
    int fd;

    g_assert_true(turn_until(&b->loop, is_written, path, PATIENCE_MS));
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    fd = pidfd_open(atoi(text), 0);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static gboolean has_ended(void *user)
{
    struct pollfd p = {.fd = *(int *)user, .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

static void expect_ended(Bench *b, int fd)
{
    g_assert_true(turn_until(&b->loop, has_ended, &fd, PATIENCE_MS));
    close(fd);
}

#define SAY_PID "say() { echo $2 >$0.new && mv $0.new $0.$1; }; "

/* When its time is over it is killed, whatever it makes of signals, and what it waits for with it. */
static void test_script_hangs(Bench *b, gconstpointer data)
{
    g_auto(Try) t = {0};
    int self, child;

    (void)data;
    sh(b, "hangs", SAY_PID "trap '' TERM INT HUP; sleep 1000 & say child $!; say self $$; wait; sleep 1000");
    try_begin(&t, b, "script:hangs", ID_NIL, 3000);
    child = process_of(b, "hangs.child");
    self = process_of(b, "hangs.self");
    g_assert_false(t.done);
    g_assert_false(has_ended(&self));
    try_wait(&t);
    g_assert_cmpint(t.result, ==, PROBE_MISSED);
    g_assert_nonnull(strstr(t.why, "does not end"));
    expect_ended(b, self);
    expect_ended(b, child);
}

/* One that has ended has answered, though what it left behind holds its output open. */
static void test_script_leaves_a_child(Bench *b, gconstpointer data)
{
    int child;

    (void)data;
    sh(b, "leaves", SAY_PID "sleep 1000 & say child $!; exit 0");
    expect(b, "script:leaves", LONG_MS, PROBE_ANSWERED, NULL);
    child = process_of(b, "leaves.child");
    g_assert_cmpint(pidfd_send_signal(child, SIGKILL, NULL, 0), ==, 0);
    expect_ended(b, child);
}

/* --- scripts that nobody can end ------------------------------------------------ */

/* Each begin of it is a byte in a file. What looks into the mount is the script itself, or a program of it. */
#define BEGINS SAY_PID "printf x >>$0.begun; "
#define ITSELF BEGINS "say self $$; exec ls \"$1/x\""
#define A_CHILD BEGINS "ls \"$1/x\" & say self $!; wait; exit 1"
#define HELD "earlier try"

static guint begun(const Bench *b)
{
    g_autofree char *path = g_build_filename(b->dir, "stuck.begun", NULL);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? (guint)strlen(text) : 0;
}

static gboolean is_none_lost(void *user)
{
    (void)user;
    return aside_lost() == 0;
}

/* A try of "stuck" that hangs in the mount, and can be ended by nobody. Its process. */
static int hang(Bench *b, const DeadMount *dead, const char *spec, gboolean cancelled)
{
    g_auto(Try) t = {0};
    int self;

    try_begin(&t, b, spec, ID_NIL, 3000);
    self = process_of(b, "stuck.self");
    g_assert_true(turn_until(&b->loop, dead_mount_is_asked, (void *)dead, PATIENCE_MS));
    if (cancelled) {
        prober_cancel(g_steal_pointer(&t.probe));
        while (aside_lost() == 0)
            uv_run(&b->loop, UV_RUN_ONCE);
        return self;
    }
    try_wait(&t);
    g_assert_cmpint(t.result, ==, PROBE_MISSED);
    g_assert_cmpstr(t.why, ==, "it hangs, and cannot be ended");
    return self;
}

static void expect_one_at_a_time(Bench *b, const char *text)
{
    g_autofree char *spec = NULL;
    DeadMount dead;
    int self;

    if (!dead_mount_open(&dead)) {
        g_test_skip("it takes root and /dev/fuse");
        return;
    }
    spec = g_strdup_printf("script:stuck %s", dead.dir);
    sh(b, "stuck", text);
    self = hang(b, &dead, spec, FALSE);
    for (int i = 0; i < 3; i++)
        expect(b, spec, LONG_MS, PROBE_MISSED, HELD);
    g_assert_cmpuint(begun(b), ==, 1);
    g_assert_cmpuint(aside_lost(), ==, 1);
    g_assert_false(has_ended(&self));
    /* Other checks go on: of other words, or of another guest. */
    expect(b, "script:stuck /nonexistent", LONG_MS, PROBE_MISSED, "exited with status");
    sh(b, "stuck", BEGINS "exit 0");
    expect_of(b, spec, id_random(), LONG_MS, PROBE_ANSWERED, NULL);
    g_assert_cmpuint(begun(b), ==, 3);
    expect(b, spec, LONG_MS, PROBE_MISSED, HELD);
    dead_mount_close(&dead);
    expect_ended(b, self);
    g_assert_true(turn_until(&b->loop, is_none_lost, NULL, PATIENCE_MS));
    expect(b, spec, LONG_MS, PROBE_ANSWERED, NULL);
    g_assert_cmpuint(begun(b), ==, 4);
}

static void test_script_stuck(Bench *b, gconstpointer data)
{
    (void)data;
    expect_one_at_a_time(b, ITSELF);
}

static void test_script_stuck_child(Bench *b, gconstpointer data)
{
    (void)data;
    expect_one_at_a_time(b, A_CHILD);
}

#define MANY 4

static gboolean are_begun(void *user)
{
    return begun(user) == MANY;
}

/* A script that each of many guests is checked by costs a few threads, not one for each. */
static void test_script_stuck_for_many(Bench *b, gconstpointer data)
{
    Try tries[MANY] = {0};
    g_autofree char *spec = NULL;
    DeadMount dead;

    (void)data;
    if (!dead_mount_open(&dead)) {
        g_test_skip("it takes root and /dev/fuse");
        return;
    }
    spec = g_strdup_printf("script:stuck %s", dead.dir);
    sh(b, "stuck", "printf x >>$0.begun; exec ls \"$1/x\"");
    sh(b, "other", "exit 0");
    for (guint i = 0; i < MANY; i++)
        try_begin(&tries[i], b, spec, id_random(), 3000);
    g_assert_true(turn_until(&b->loop, are_begun, b, PATIENCE_MS));
    g_assert_true(turn_until(&b->loop, dead_mount_is_asked, &dead, PATIENCE_MS));
    for (guint i = 0; i < MANY; i++) {
        try_wait(&tries[i]);
        g_assert_cmpstr(tries[i].why, ==, "it hangs, and cannot be ended");
        try_clear(&tries[i]);
    }
    expect_of(b, spec, id_random(), LONG_MS, PROBE_NOT_MADE, "hangs for other guests");
    expect_of(b, "script:stuck /nonexistent", id_random(), LONG_MS, PROBE_NOT_MADE, "hangs for other guests");
    g_assert_cmpuint(begun(b), ==, MANY);
    g_assert_cmpuint(aside_lost(), ==, MANY);
    expect_of(b, "script:other", id_random(), LONG_MS, PROBE_ANSWERED, NULL);
    dead_mount_close(&dead);
    g_assert_true(turn_until(&b->loop, is_none_lost, NULL, PATIENCE_MS));
    expect_of(b, "script:stuck /", id_random(), LONG_MS, PROBE_MISSED, "exited with status");
    g_assert_cmpuint(begun(b), ==, MANY + 1);
}

/* Who was cancelled meanwhile holds the next one up just so; and nobody who closes. */
static void test_script_stuck_cancelled(Bench *b, gconstpointer data)
{
    g_autofree char *spec = NULL;
    DeadMount dead;
    int self;

    (void)data;
    if (!dead_mount_open(&dead)) {
        g_test_skip("it takes root and /dev/fuse");
        return;
    }
    spec = g_strdup_printf("script:stuck %s", dead.dir);
    sh(b, "stuck", ITSELF);
    self = hang(b, &dead, spec, TRUE);
    expect(b, spec, LONG_MS, PROBE_MISSED, HELD);
    g_assert_cmpuint(begun(b), ==, 1);
    bench_close(b);
    g_assert_false(has_ended(&self));
    bench_open(b, NO_LIBVIRT); /* for what tears down */
    dead_mount_close(&dead);
    expect_ended(b, self);
    g_assert_true(turn_until(&b->loop, is_none_lost, NULL, PATIENCE_MS));
}

/* --- several ---------------------------------------------------------------- */

#define WAIT_FOR "until test -e $0.$1; do sleep 0.01; done; exit $2"

static void let_go(const Bench *b, const char *name)
{
    g_autofree char *path = g_build_filename(b->dir, name, NULL);

    g_assert_true(g_file_set_contents(path, "", 0, NULL));
}

/* Each has its own answer, and none waits for another. */
static void test_overlapping(Bench *b, gconstpointer data)
{
    g_auto(Try) first = {0};
    g_auto(Try) second = {0};
    g_auto(Try) third = {0};

    (void)data;
    sh(b, "waits", WAIT_FOR);
    try_begin(&first, b, "script:waits 1 4", ID_NIL, LONG_MS);
    try_begin(&second, b, "script:waits 2 0", ID_NIL, LONG_MS);
    try_begin(&third, b, "script:waits 3 5", ID_NIL, LONG_MS);
    let_go(b, "waits.3");
    try_wait(&third);
    g_assert_nonnull(strstr(third.why, "status 5"));
    let_go(b, "waits.2");
    try_wait(&second);
    g_assert_cmpint(second.result, ==, PROBE_ANSWERED);
    g_assert_false(first.done);
    let_go(b, "waits.1");
    try_wait(&first);
    g_assert_nonnull(strstr(first.why, "status 4"));
}

/* It is closed while one that was cancelled goes on: nothing is told of it, and its end disturbs nobody. */
static void test_close_while_one_runs(Bench *b, gconstpointer data)
{
    g_auto(Try) script_try = {0};
    g_auto(Try) page = {0};
    Server *server = server_new(&b->loop, SERVER_SILENT, NULL, NULL);
    int self;

    (void)data;
    sh(b, "hangs", SAY_PID "say self $$; sleep 1000");
    try_begin(&script_try, b, "script:hangs", ID_NIL, 1000);
    try_begin(&page, b, server_url(server), ID_NIL, 1000);
    self = process_of(b, "hangs.self");
    prober_cancel(g_steal_pointer(&script_try.probe));
    prober_cancel(g_steal_pointer(&page.probe));
    server_close(server);
    bench_close(b);
    g_assert_cmpuint(script_try.times + page.times, ==, 0);
    g_assert_true(has_ended(&self));
    close(self);
    bench_open(b, NO_LIBVIRT); /* for what tears down */
}

/* Nothing was lost on the way: each thread aside has come back. */
static void test_none_is_lost(Bench *b, gconstpointer data)
{
    (void)b;
    (void)data;
    g_assert_cmpuint(aside_lost(), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    bench_add("/prober_tries/tcp/what accepts has answered, whatever it says then", test_tcp);
    bench_add("/prober_tries/tcp/what does not accept is missed, with its reason", test_tcp_missed);
    bench_add("/prober_tries/tcp/what lets one wait is missed in time", test_tcp_silent);
    bench_add("/prober_tries/tcp/nothing is told of what was cancelled", test_tcp_cancelled);
    bench_add("/prober_tries/script/its end is the answer", test_script);
    bench_add("/prober_tries/script/what cannot be run is missed", test_script_not_run);
    bench_add("/prober_tries/script/writes what it likes", test_script_writes);
    bench_add("/prober_tries/script/hangs, and is killed with what it has started", test_script_hangs);
    bench_add("/prober_tries/script/has ended when it has, not when its child has",
              test_script_leaves_a_child);
    bench_add("/prober_tries/script/that cannot be ended is not begun again", test_script_stuck);
    bench_add("/prober_tries/script/nor one whose child cannot be ended", test_script_stuck_child);
    bench_add("/prober_tries/script/nor, of any guest, one of which several cannot be ended",
              test_script_stuck_for_many);
    bench_add("/prober_tries/script/nor one that was cancelled, and nobody waits for it",
              test_script_stuck_cancelled);
    bench_add("/prober_tries/several have each their own answer", test_overlapping);
    bench_add("/prober_tries/closed while one runs", test_close_while_one_runs);
    bench_add("/prober_tries/no thread was lost", test_none_is_lost);
    return g_test_run();
}
