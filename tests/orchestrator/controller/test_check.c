/* SPDX-License-Identifier: Apache-2.0 */
/* --check of both daemons: what would not start, or would not do what is written, is refused. */
#include "vmconnect/base/durable.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/wait.h>

static const struct {
    const char *program;
    const char *conf;
    const char *says; /* NULL: it is good */
} CASES[] = {
    {CONTROLLER, "[controller]\n", NULL},
    {CONTROLLER, "[controller]\nlisten=::\nport=1\nlog=debug\nnames=a.example, 192.0.2.1\n", NULL},
    {CONTROLLER, "[controller]\nlisten=localhost\n", "listen: 'localhost' is not a numeric address"},
    {CONTROLLER, "[controller]\nlisten=192.0.2\n", "listen: '192.0.2' is not a numeric address"},
    {CONTROLLER, "[controller]\nport=0\n", "port: '0' is not a TCP port"},
    {CONTROLLER, "[controller]\nport=65536\n", "port: '65536' is not a TCP port"},
    {CONTROLLER, "[controller]\nlog=loud\n", "log: 'loud' is none of"},
    {CONTROLLER, "[controller]\nnames=a_b\n", "names: 'a_b' is neither"},
    {CONTROLLER, "[controller]\nevents_kept=1000\nevents_age=30d\n", NULL},
    {CONTROLLER, "[controller]\nevents_kept=all\n", "events_kept: 'all' is not a number from 1000"},
    {CONTROLLER, "[controller]\nevents_age=3h\n", "events_age: '3h' is not a time from 1d"},
    {CONTROLLER, "[controller]\ncolour=red\n", "unknown key 'colour'"},
    {ENGINE, "[engine]\n", NULL},
    {ENGINE, "[engine]\nlog=notice\n", NULL},
    {ENGINE, "[engine]\nlog=Info\n", "log: 'Info' is none of"},
};

static void test_check(void)
{
    g_autofree char *folder = g_dir_make_tmp("understudy-check-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "a.conf", NULL);

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        const char *argv[] = {CASES[i].program, "--check", "--config", path, NULL};
        g_autofree char *err = NULL;
        int status;

        g_test_message("%s", CASES[i].conf);
        g_assert_true(durable_replace(path, CASES[i].conf, strlen(CASES[i].conf), 0600, NULL));
        g_assert_true(
            g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, &err, &status, NULL));
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, CASES[i].says ? 2 : 0);
        if (CASES[i].says)
            g_assert_nonnull(strstr(err, CASES[i].says));
        else
            g_assert_cmpstr(err, ==, "");
    }
    g_unlink(path);
    g_rmdir(folder);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/check/configurations", test_check);
    return g_test_run();
}
