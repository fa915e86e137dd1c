/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/loop/program.h"

#include "vmconnect/base/error.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>

static const ConfKey KEYS[] = {
    {"listen", "", ""}, {"port", "25000", ""}, {"log", "info", ""}, {"colour", "blue", ""}, {NULL},
};

static gboolean check_colour(const Conf *conf, GError **error)
{
    if (!g_str_equal(conf_get(conf, "colour"), "mauve"))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED, "not mauve");
    return FALSE;
}

/* Run with @text as configuration and two arguments (NULL: none). Returns the status, and whether
 * the program would go on. */
static int begin(const char *text, const char *first, const char *second, const char *arguments,
                 gboolean *ret_goes_on)
{
    const ProgramSpec spec = {.name = "program",
                              .path = "/nowhere/program.conf",
                              .group = "program",
                              .keys = KEYS,
                              .arguments = arguments,
                              .check = check_colour};
    g_autofree char *path = g_strdup("/tmp/understudy-XXXXXX");
    const char *list[] = {"program", "--config", path, first, second, NULL};
    int argc = (int)g_strv_length((char **)list);
    char **argv = (char **)list;
    int fd = g_mkstemp(path);
    int status;
    Conf *conf;

    g_assert_true(g_close(fd, NULL) && g_file_set_contents(path, text, -1, NULL));
    conf = program_begin(&spec, &argc, &argv, &status);
    *ret_goes_on = conf != NULL;
    if (conf && first)
        g_assert_cmpstr(argv[1], ==, first);
    conf_free(conf);
    g_unlink(path);
    return status;
}

static void expect(const char *text, const char *first, const char *second, int status, gboolean goes_on)
{
    gboolean went_on;

    g_assert_cmpint(begin(text, first, second, "[COMMAND]", &went_on), ==, status);
    g_assert_cmpint(went_on, ==, goes_on);
}

static void test_begin(void)
{
    gboolean goes_on;

    expect("", NULL, NULL, 0, TRUE);
    expect("", "command", NULL, 0, TRUE);
    expect("", "--version", NULL, 0, FALSE);
    expect("", "--nonsense", NULL, 2, FALSE);
    g_assert_cmpint(begin("", "command", NULL, NULL, &goes_on), ==, 2);
    g_assert_false(goes_on);
}

static void test_check(void)
{
    expect("[program]\nport = 1\nlog = debug\n", "--check", NULL, 0, FALSE);
    expect("[program]\nport = 0\n", "--check", NULL, 2, FALSE);
    expect("[program]\nport = 65536\n", "--check", NULL, 2, FALSE);
    expect("[program]\nport = many\n", "--check", NULL, 2, FALSE);
    expect("[program]\nlog = loud\n", "--check", NULL, 2, FALSE);
    expect("[program]\nsize = 1\n", "--check", NULL, 2, FALSE);
    expect("[program]\nlisten = localhost\n", "--check", NULL, 2, FALSE);
    expect("[program]\ncolour = mauve\n", "--check", NULL, 4, FALSE);
}

typedef struct {
    uv_loop_t loop;
    uv_signal_t signals[PROGRAM_SIGNALS];
    int signum;
} Stage;

static void on_signal(uv_signal_t *signal, int signum)
{
    Stage *s = signal->data;

    s->signum = signum;
    program_leave_signals(s->signals);
}

static void test_signals(void)
{
    Stage s = {.signum = 0};

    uv_loop_init(&s.loop);
    program_watch_signals(&s.loop, s.signals, on_signal, &s);
    g_assert_cmpint(raise(SIGTERM), ==, 0);
    program_run_dry(&s.loop);
    g_assert_cmpint(s.signum, ==, SIGTERM);
}

/* Until the process ends: nothing gives it back. */
static void test_claim(void)
{
    g_autofree char *dir = g_dir_make_tmp("us-claim-XXXXXX", NULL);
    g_autofree char *none = g_build_filename(dir, "none", NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(program_claim(none, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_true(program_claim(dir, &error));
    g_assert_no_error(error);
    g_assert_false(program_claim(dir, &error));
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
    rmdir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/loop/program/begin", test_begin);
    g_test_add_func("/loop/program/check", test_check);
    g_test_add_func("/loop/program/signals", test_signals);
    g_test_add_func("/loop/program/claim", test_claim);
    return g_test_run();
}
