/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/process.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_start_and_quit(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *pid_path = NULL;
    g_autofree char *nbd_path = NULL;

    lab_init(&lab, TRUE);
    pid_path = g_build_filename(lab.run_dir, "daemon.pid", NULL);
    nbd_path = g_strdup(storage_daemon_nbd_path(lab.daemon));
    g_assert_true(g_file_test(pid_path, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(nbd_path, G_FILE_TEST_EXISTS));
    g_assert_true(storage_daemon_close(g_steal_pointer(&lab.daemon), LAB_TIMEOUT_MS));
    g_assert_false(g_file_test(pid_path, G_FILE_TEST_EXISTS));
    g_assert_false(g_file_test(nbd_path, G_FILE_TEST_EXISTS));
}

static void test_folder_names(void)
{
    g_auto(Lab) lab = {0};
    g_autofree char *odd = NULL;
    g_autofree char *name = g_strnfill(120, 'x');
    g_autofree char *too_long = NULL;
    g_autoptr(StorageDaemon) daemon = NULL;
    g_autoptr(GError) error = NULL;

    lab_init(&lab, FALSE);
    odd = lab_path(&lab, "a,b =c");
    daemon = storage_daemon_start(odd, "guest", &error);
    g_assert_no_error(error);
    g_assert_nonnull(daemon);
    too_long = lab_path(&lab, name);
    g_assert_null(storage_daemon_start(too_long, "guest", &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
}

static void test_killed(void)
{
    g_auto(Lab) lab = {0};
    g_autoptr(GError) error = NULL;

    lab_init(&lab, TRUE);
    kill(storage_daemon_pid(lab.daemon), SIGKILL);
    g_assert_false(storage_daemon_call(lab.daemon, "query-jobs", NULL, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
    g_assert_nonnull(strstr(error->message, "the storage daemon of 'guest' was killed by signal 9"));
    g_clear_error(&error);
    g_assert_false(storage_daemon_call(lab.daemon, "query-jobs", NULL, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
    g_assert_false(storage_daemon_close(g_steal_pointer(&lab.daemon), 1000));
}

static void test_frozen(void)
{
    g_auto(Lab) lab = {0};
    g_autoptr(GError) error = NULL;
    int stop = eventfd(1, EFD_CLOEXEC);
    gint64 begin = clock_steady_ms();

    lab_init(&lab, TRUE);
    kill(storage_daemon_pid(lab.daemon), SIGSTOP);
    storage_daemon_set_timeout(lab.daemon, 100);
    g_assert_false(storage_daemon_call(lab.daemon, "query-jobs", NULL, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_assert_cmpstr(error->message, ==, "query-jobs: the storage daemon of 'guest' does not answer");
    g_clear_error(&error);
    storage_daemon_set_timeout(lab.daemon, 600000);
    storage_daemon_set_cancel(lab.daemon, stop);
    g_assert_false(storage_daemon_call(lab.daemon, "query-jobs", NULL, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CANCELLED);
    g_clear_error(&error);
    /* Thawed, it answers late; what is asked next gets its own answer. */
    kill(storage_daemon_pid(lab.daemon), SIGCONT);
    storage_daemon_set_cancel(lab.daemon, -1);
    g_assert_true(storage_daemon_call(lab.daemon, "query-jobs", NULL, NULL, &error));
    kill(storage_daemon_pid(lab.daemon), SIGSTOP);
    g_assert_false(storage_daemon_close(g_steal_pointer(&lab.daemon), 100));
    g_assert_cmpint(clock_steady_ms() - begin, <, 60000);
    close(stop);
}

/* A second engine's view: the daemon that a dead one left behind. The daemon is a child of
 * this process all the same, so that it is collected here. */
static void test_leftover_is_ended(void)
{
    g_auto(Lab) lab = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(StorageDaemon) next = NULL;
    guint ended = 0;
    pid_t old;

    lab_init(&lab, TRUE);
    old = storage_daemon_pid(lab.daemon);
    g_assert_true(storage_daemon_end_leftovers(lab.dir, &ended, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(ended, ==, 1);
    g_assert_false(storage_daemon_call(lab.daemon, "query-jobs", NULL, NULL, NULL));
    g_assert_true(storage_daemon_end_leftovers(lab.dir, &ended, &error));
    g_assert_cmpuint(ended, ==, 0);

    /* Starting does the same by itself. */
    next = storage_daemon_start(lab.run_dir, "guest", &error);
    g_assert_no_error(error);
    storage_daemon_free(g_steal_pointer(&lab.daemon)); /* removes the files: not a thing to do in life */
    g_assert_cmpint(storage_daemon_pid(next), !=, old);
    g_assert_true(storage_daemon_call(next, "query-jobs", NULL, NULL, &error));
    g_assert_no_error(error);
}

static void test_foreign_process_is_not_touched(void)
{
    g_auto(Lab) lab = {0};
    g_auto(Lab) other = {0};
    g_autofree char *pid_path = NULL;
    g_autofree char *other_pid = NULL;
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    gboolean ended = TRUE;

    /* Another VM's daemon has got the pid, with its true start time even: the socket differs. */
    lab_init(&lab, FALSE);
    lab_init(&other, TRUE);
    g_assert_cmpint(g_mkdir(lab.run_dir, 0700), ==, 0);
    pid_path = g_build_filename(lab.run_dir, "daemon.pid", NULL);
    other_pid = g_build_filename(other.run_dir, "daemon.pid", NULL);
    g_assert_true(g_file_get_contents(other_pid, &text, NULL, NULL));
    g_assert_true(g_file_set_contents(pid_path, text, -1, NULL));
    g_assert_true(storage_daemon_end_leftover(lab.run_dir, &ended, &error));
    g_assert_no_error(error);
    g_assert_false(ended);
    g_assert_false(g_file_test(pid_path, G_FILE_TEST_EXISTS));
    g_assert_true(storage_daemon_call(other.daemon, "query-jobs", NULL, NULL, &error));
}

static void test_dies_with_its_engine(void)
{
    g_auto(Lab) lab = {0};
    int pipe_fds[2];
    pid_t engine, daemon = 0;
    char stat_path[64];

    lab_init(&lab, FALSE);
    g_assert_cmpint(pipe(pipe_fds), ==, 0);
    engine = fork();
    if (engine == 0) {
        StorageDaemon *d = storage_daemon_start(lab.run_dir, "guest", NULL);

        daemon = d ? storage_daemon_pid(d) : 0;
        if (write(pipe_fds[1], &daemon, sizeof(daemon)) == sizeof(daemon))
            pause();
        _exit(1);
    }
    g_assert_cmpint(read(pipe_fds[0], &daemon, sizeof(daemon)), ==, sizeof(daemon));
    g_assert_cmpint(daemon, >, 0);
    g_assert_cmpint(kill(daemon, 0), ==, 0);
    kill(engine, SIGKILL);
    waitpid(engine, NULL, 0);
    g_snprintf(stat_path, sizeof(stat_path), "/proc/%d/cmdline", (int)daemon);
    for (gint64 deadline = clock_steady_ms() + LAB_TIMEOUT_MS;;) {
        g_autofree char *line = NULL;
        gsize len = 0;

        /* Gone, or waiting for init to collect it. */
        if (!g_file_get_contents(stat_path, &line, &len, NULL) || len == 0)
            break;
        g_assert_cmpint(clock_steady_ms(), <, deadline);
        g_usleep(1000);
    }
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    g_test_add_func("/daemon/start_and_quit", test_start_and_quit);
    g_test_add_func("/daemon/folder_names", test_folder_names);
    g_test_add_func("/daemon/killed", test_killed);
    g_test_add_func("/daemon/frozen", test_frozen);
    g_test_add_func("/daemon/leftover_is_ended", test_leftover_is_ended);
    g_test_add_func("/daemon/foreign_process_is_not_touched", test_foreign_process_is_not_touched);
    g_test_add_func("/daemon/dies_with_its_engine", test_dies_with_its_engine);
    return g_test_run();
}
