/* SPDX-License-Identifier: Apache-2.0 */
/* program - what the two daemons are on the outside: options and configuration,
 * the signals that end them, a loop that runs dry.
 *
 * Between the two is each program's own. Only for main() and what is near it: it
 * prints and logs. */
#pragma once

#include "vmconnect/base/conf.h"

#include <glib.h>
#include <uv.h>

#define PROGRAM_SIGNALS 2

typedef struct {
    const char *name;            /* "understudy-engine" */
    const char *path;            /* of the configuration, unless --config says otherwise */
    const char *group;           /* in it */
    const ConfKey *keys;         /* "listen", "port" and "log" among them */
    const GOptionEntry *options; /* beside --config, --check, --version; NULL: none */
    const char *arguments;       /* as --help shows them; NULL: it takes none */
    const char *summary;
    /* What is to be said about values beside these; NULL: nothing. */
    gboolean (*check)(const Conf *conf, GError **error);
} ProgramSpec;

/* Read the command line (what is left of it are the arguments) and the configuration, and set the
 * log's level. NULL: the program ends now, with *@ret_status; what there was to say has been said. */
Conf *program_begin(const ProgramSpec *spec, int *argc, char ***argv, int *ret_status);

/* Say @error on standard error; returns the exit status. */
int program_fail(const char *name, const GError *error);

/* `port`. Not USAGE after program_begin(). */
gboolean program_port(const Conf *conf, guint16 *ret_port, GError **error);
/* `listen`, a numeric address after program_begin(); NULL: all. Lives as long as @conf. */
const char *program_address(const Conf *conf);

/* SIGTERM and SIGINT call @on_signal with a handle whose data is @user, until they are left. */
void program_watch_signals(uv_loop_t *loop, uv_signal_t signals[static PROGRAM_SIGNALS],
                           uv_signal_cb on_signal, void *user);
void program_leave_signals(uv_signal_t signals[static PROGRAM_SIGNALS]);

/* Only one process at a time has folder @dir: it is ours from now on, until this process ends, however
 * it does. BUSY: another one that lives has it. */
gboolean program_claim(const char *dir, GError **error);

/* Everything was told to close: turn @loop until it is, and close it. */
void program_run_dry(uv_loop_t *loop);
