/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/pid_file.h"
#include "vmconnect/image/process.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

static void test_run_gives_output(void)
{
    const char *argv[] = {"sh", "-c", "echo \"$LC_ALL $(pwd) $(umask)\"", NULL};
    g_autofree char *out = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_true(process_run(argv, 5000, -1, 4096, &out, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(out, ==, "C / 0077\n");
}

static void test_child_inherits_nothing(void)
{
    const char *argv[] = {"sh", "-c", "test -e /proc/$$/fd/57 && echo leaked; cat", NULL};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int leak = fcntl(null, F_DUPFD, 57); /* without close-on-exec, as libraries do */
    g_autofree char *out = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(leak, ==, 57);
    g_assert_true(process_run(argv, 5000, -1, 4096, &out, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(out, ==, "");
    close(leak);
    close(null);
}

static void test_run_fails_with_last_words(void)
{
    const char *argv[] = {"sh", "-c", "echo out; echo first >&2; echo second >&2; exit 3", NULL};
    g_autoptr(GError) error = NULL;

    g_assert_false(process_run(argv, 5000, -1, 4096, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_FAILED);
    g_assert_cmpstr(error->message, ==, "sh exited with status 3: first\nsecond");
}

static void test_run_of_one_whose_status_speaks(void)
{
    const char *argv[] = {"sh", "-c", "echo out; echo first >&2; echo more; exit 3", NULL};
    const char *killed[] = {"sh", "-c", "kill -SEGV $$", NULL};
    int status = 0;
    ProcessSpec spec = {.argv = argv, .die_with_thread = TRUE, .errors_too = TRUE, .ret_status = &status};
    g_autofree char *out = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_true(process_run_spec(&spec, 5000, -1, 4096, &out, &error));
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 3);
    g_assert_cmpstr(out, ==, "out\nfirst\nmore\n");
    /* Who is killed has none. */
    spec.argv = killed;
    g_assert_false(process_run_spec(&spec, 5000, -1, 4096, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_FAILED);
}

static void test_run_is_bounded(void)
{
    const char *sleeper[] = {"sleep", "1000", NULL};
    const char *talker[] = {"yes", NULL};
    const char *complainer[] = {"sh", "-c", "while :; do echo y >&2; done", NULL};
    g_autofree char *out = NULL;
    const char *missing[] = {"no-such-program-here", NULL};
    int stop = eventfd(1, EFD_CLOEXEC);
    gint64 begin = clock_steady_ms();
    GError *error = NULL;

    g_assert_false(process_run(sleeper, 50, -1, 4096, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_clear_error(&error);
    g_assert_false(process_run(sleeper, 100000, stop, 4096, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CANCELLED);
    g_clear_error(&error);
    g_assert_false(process_run(talker, 100000, -1, 100000, &out, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    g_clear_error(&error);
    /* Neither what is thrown away nor what only its end is kept of keeps it alive. */
    g_assert_false(process_run(talker, 200, -1, 0, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_clear_error(&error);
    g_assert_false(process_run(complainer, 200, -1, 0, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_clear_error(&error);
    g_assert_false(process_run(missing, 1000, -1, 4096, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_cmpint(clock_steady_ms() - begin, <, 60000);
    close(stop);
}

/* What a script has started and waits for hangs instead of it. */
static void test_nothing_is_left(void)
{
    g_autofree char *dir = g_dir_make_tmp("understudy-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "pid", NULL);
    const char *argv[] = {"sh", "-c", "sleep 1000 & echo $! >\"$0\"; wait", path, NULL};
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    struct pollfd pfd = {.events = POLLIN};

    g_assert_false(process_run(argv, 1000, -1, 0, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    pfd.fd = pidfd_open(atoi(text), 0);
    g_assert_true(pfd.fd < 0 || poll(&pfd, 1, 10000) == 1);
    if (pfd.fd >= 0)
        close(pfd.fd);
    g_unlink(path);
    g_rmdir(dir);
}

static void test_output_that_nobody_wants(void)
{
    const char *argv[] = {"sh", "-c", "head -c 10000000 /dev/zero && head -c 10000000 /dev/zero >&2", NULL};
    g_autoptr(GError) error = NULL;

    g_assert_true(process_run(argv, 20000, -1, 4096, NULL, &error));
    g_assert_no_error(error);
}

static void test_large_output_is_whole(void)
{
    const char *argv[] = {"head", "-c", "3000000", "/dev/zero", NULL};
    g_autofree char *out = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_true(process_run(argv, 20000, -1, 3000000, &out, &error));
    g_assert_no_error(error);
}

static void test_chatty_child_never_waits(void)
{
    const char *argv[] = {"sh", "-c", "head -c 10000000 /dev/zero | tr '\\0' 'a' >&2; kill -9 $$", NULL};
    ProcessSpec spec = {.argv = argv};
    g_autoptr(GError) error = NULL;
    g_autoptr(Process) p = process_start(&spec, &error);

    g_assert_no_error(error);
    g_assert_true(process_wait(p, 20000)); /* nobody reads its standard error meanwhile */
    g_assert_cmpstr(process_outcome(p), ==, "was killed by signal 9");
    g_assert_false(process_succeeded(p));
    g_assert_cmpuint(strlen(process_stderr(p)), <=, 4096);
    g_assert_cmpuint(strlen(process_stderr(p)), >, 0);
}

static void start_and_leave(void *data)
{
    const char *argv[] = {"sleep", "1000", NULL};
    ProcessSpec spec = {.argv = argv, .die_with_thread = TRUE};
    Process **p = data;

    *p = process_start(&spec, NULL);
}

static void test_dies_with_its_thread(void)
{
    g_autoptr(Process) p = NULL;
    uv_thread_t thread;

    g_assert_cmpint(uv_thread_create(&thread, start_and_leave, &p), ==, 0);
    uv_thread_join(&thread);
    g_assert_nonnull(p);
    g_assert_true(process_wait(p, 10000));
    g_assert_cmpstr(process_outcome(p), ==, "was killed by signal 9");
}

static void test_pid_file_knows_its_own(void)
{
    const char *argv[] = {"sleep", "1000", NULL};
    ProcessSpec spec = {.argv = argv};
    g_autofree char *dir = g_dir_make_tmp("understudy-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "x.pid", NULL);
    g_autofree char *recycled = NULL;
    g_autoptr(Process) p = process_start(&spec, NULL);
    g_autoptr(GError) error = NULL;
    gboolean ended = TRUE;

    /* Not there at all; another program; another argument; another start time. */
    g_assert_true(pid_file_end(path, "sleep", "1000", &ended, &error));
    g_assert_false(ended);
    g_assert_true(pid_file_write(path, process_pid(p), &error));
    g_assert_true(pid_file_end(path, "qemu-storage-daemon", "1000", &ended, &error));
    g_assert_false(ended);
    g_assert_true(pid_file_write(path, process_pid(p), &error));
    g_assert_true(pid_file_end(path, "sleep", "100", &ended, &error));
    g_assert_false(ended);
    recycled = g_strdup_printf("{\"pid\": %d, \"start\": 1}", (int)process_pid(p));
    g_assert_true(g_file_set_contents(path, recycled, -1, NULL));
    g_assert_true(pid_file_end(path, "sleep", "1000", &ended, &error));
    g_assert_false(ended);
    g_assert_true(g_file_set_contents(path, "{\"pid\": 1, \"start\": \"x\"}", -1, NULL));
    g_assert_true(pid_file_end(path, "sleep", "1000", &ended, &error));
    g_assert_false(ended);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    g_assert_cmpstr(process_outcome(p), ==, "is running");

    g_assert_true(pid_file_write(path, process_pid(p), &error));
    g_assert_true(pid_file_end(path, "sleep", "1000", &ended, &error));
    g_assert_no_error(error);
    g_assert_true(ended);
    g_assert_true(process_wait(p, 5000));
    g_rmdir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    g_test_add_func("/process/run_gives_output", test_run_gives_output);
    g_test_add_func("/process/child_inherits_nothing", test_child_inherits_nothing);
    g_test_add_func("/process/run_fails_with_last_words", test_run_fails_with_last_words);
    g_test_add_func("/process/run_of_one_whose_status_speaks", test_run_of_one_whose_status_speaks);
    g_test_add_func("/process/run_is_bounded", test_run_is_bounded);
    g_test_add_func("/process/nothing_is_left", test_nothing_is_left);
    g_test_add_func("/process/output_that_nobody_wants", test_output_that_nobody_wants);
    g_test_add_func("/process/large_output_is_whole", test_large_output_is_whole);
    g_test_add_func("/process/chatty_child_never_waits", test_chatty_child_never_waits);
    g_test_add_func("/process/dies_with_its_thread", test_dies_with_its_thread);
    g_test_add_func("/process/pid_file_knows_its_own", test_pid_file_knows_its_own);
    return g_test_run();
}
