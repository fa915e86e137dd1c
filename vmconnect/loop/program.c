/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/loop/program.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/listen_address.h"
#include "vmconnect/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

int program_fail(const char *name, const GError *error)
{
    g_printerr("%s: %s\n", name, error->message);
    return us_error_exit(error);
}

/* --- configuration ------------------------------------------------------- */

gboolean program_port(const Conf *conf, guint16 *ret_port, GError **error)
{
    const char *text = conf_get(conf, "port");
    guint64 port;

    if (!g_ascii_string_to_unsigned(text, 10, 1, 65535, &port, NULL)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "port: '%s' is not a TCP port", text);
        return FALSE;
    }
    *ret_port = (guint16)port;
    return TRUE;
}

const char *program_address(const Conf *conf)
{
    const char *text = conf_get(conf, "listen");

    return *text ? text : NULL;
}

/* What the listener would only find out when it begins. */
static gboolean check_address(const Conf *conf, GError **error)
{
    const char *address = program_address(conf);

    if (!address || listen_address_check(address, error))
        return TRUE;
    g_prefix_error(error, "listen: ");
    return FALSE;
}

static Conf *load(const ProgramSpec *spec, const char *path, GError **error)
{
    g_autoptr(Conf) conf = conf_load(path ? path : spec->path, spec->group, spec->keys, error);
    guint16 port;
    LogLevel level;

    if (!conf || !program_port(conf, &port, error) ||
        !log_level_parse(conf_get(conf, "log"), &level, error) || !check_address(conf, error) ||
        (spec->check && !spec->check(conf, error)))
        return NULL;
    log_set_level(level);
    return g_steal_pointer(&conf);
}

/* --- command line -------------------------------------------------------- */

static gboolean parse(const ProgramSpec *spec, const GOptionEntry *entries, int *argc, char ***argv,
                      GError **error)
{
    g_autoptr(GOptionContext) options = g_option_context_new(spec->arguments);

    g_option_context_add_main_entries(options, entries, NULL);
    if (spec->options)
        g_option_context_add_main_entries(options, spec->options, NULL);
    g_option_context_set_summary(options, spec->summary);
    if (!g_option_context_parse(options, argc, argv, error))
        return FALSE;
    if (*argc > 1 && !spec->arguments)
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "it takes no arguments; see --help");
    return *argc <= 1 || spec->arguments;
}

Conf *program_begin(const ProgramSpec *spec, int *argc, char ***argv, int *ret_status)
{
    g_autofree char *path = NULL;
    gboolean check = FALSE;
    gboolean version = FALSE;
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &path, "configuration file", "FILE"},
        {"check", 0, 0, G_OPTION_ARG_NONE, &check, "read the configuration and say whether it is good", NULL},
        {"version", 0, 0, G_OPTION_ARG_NONE, &version, "print the version", NULL},
        {NULL},
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(Conf) conf = NULL;

    *ret_status = 0;
    if (!parse(spec, entries, argc, argv, &error)) {
        program_fail(spec->name, error);
        *ret_status = 2;
        return NULL;
    }
    if (version) {
        g_print("%s %s\n", spec->name, UNDERSTUDY_VERSION);
        return NULL;
    }
    conf = load(spec, path, &error);
    if (!conf)
        *ret_status = program_fail(spec->name, error);
    return check ? NULL : g_steal_pointer(&conf);
}

/* --- alone --------------------------------------------------------------- */

gboolean program_claim(const char *dir, GError **error)
{
    /* Stays open: it is the process that lets go of it. */
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return us_error_errno(error, errno, "folder %s", dir);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return TRUE;
    close(fd);
    g_set_error(error, US_ERROR, US_ERROR_BUSY, "%s is in use by another process of ours that lives", dir);
    return FALSE;
}

/* --- loop ---------------------------------------------------------------- */

void program_watch_signals(uv_loop_t *loop, uv_signal_t signals[static PROGRAM_SIGNALS],
                           uv_signal_cb on_signal, void *user)
{
    static const int NUMBERS[PROGRAM_SIGNALS] = {SIGTERM, SIGINT};

    for (int i = 0; i < PROGRAM_SIGNALS; i++) {
        uv_signal_init(loop, &signals[i]);
        signals[i].data = user;
        uv_signal_start(&signals[i], on_signal, NUMBERS[i]);
    }
}

void program_leave_signals(uv_signal_t signals[static PROGRAM_SIGNALS])
{
    for (int i = 0; i < PROGRAM_SIGNALS; i++)
        uv_close((uv_handle_t *)&signals[i], NULL);
}

void program_run_dry(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    if (uv_loop_close(loop) != 0)
        log_warning("something was still open at the end");
}
