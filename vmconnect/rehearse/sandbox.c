/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/sandbox.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/process.h"

#include <string.h>

#define MAX_OUTPUT (1024 * 1024)
#define USER G_STRINGIFY(SANDBOX_USER)
#define MEMORY "--as=2147483648"

/* Each of these becomes the next, so the process stays the same. A change of user makes the kernel forget that it dies with
 * its thread: --pdeathsig reminds it. */
static const char *const CONFINED[] = {
    "unshare", "--net",   "--", "prlimit",        MEMORY,       "--core=0", "setpriv",        "--reuid",
    USER,      "--regid", USER, "--clear-groups", "--inh-caps", "-all",     "--no-new-privs", "--pdeathsig",
    "KILL",    "--",      NULL};

static GPtrArray *confined(const char *const *argv)
{
    GPtrArray *all = g_ptr_array_new();

    for (guint i = 0; CONFINED[i]; i++)
        g_ptr_array_add(all, (gpointer)CONFINED[i]);
    for (guint i = 0; argv[i]; i++)
        g_ptr_array_add(all, (gpointer)argv[i]);
    g_ptr_array_add(all, NULL);
    return all;
}

static gboolean run(const char *const *argv, int fd, SandboxLimits limits, int *ret_status, char **ret_output,
                    GError **error)
{
    g_autoptr(GPtrArray) all = confined(argv);
    ProcessSpec spec = {.argv = (const char *const *)all->pdata,
                        .pass_fd = fd,
                        .die_with_thread = TRUE,
                        .errors_too = TRUE,
                        .ret_status = ret_status};

    return process_run_spec(&spec, clock_left_ms(limits.deadline_ms), limits.cancel_fd, MAX_OUTPUT,
                            ret_output, error);
}

gboolean sandbox_try(SandboxLimits limits, GError **error)
{
    const char *argv[] = {"true", NULL};
    g_autofree char *output = NULL;
    g_autoptr(GError) why = NULL;
    int status = 0;

    if (run(argv, 0, limits, &status, &output, &why) && status == 0)
        return TRUE;
    if (why && (why->code == US_ERROR_TIMEOUT || why->code == US_ERROR_CANCELLED)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED,
                "programs cannot be confined on this host (%s), so no guest's file system is looked into: "
                "the engine must run as root, with util-linux installed",
                why ? why->message : g_strchomp(output));
    return FALSE;
}

/* All of them are started through the same first program. */
static void name_program(GError *error, const char *program)
{
    g_autofree char *old = error->message;

    error->message = g_str_has_prefix(old, CONFINED[0])
                         ? g_strconcat(program, old + strlen(CONFINED[0]), NULL)
                         : g_strdup(old);
}

gboolean sandbox_run(const char *const *argv, int fd, SandboxLimits limits, int *ret_status,
                     char **ret_output, GError **error)
{
    g_autofree char *program = g_find_program_in_path(argv[0]);
    g_autofree char *output = NULL;
    g_autoptr(GError) why = NULL;

    if (!program) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "no tool %s is installed", argv[0]);
        return FALSE;
    }
    if (!run(argv, fd, limits, ret_status, &output, &why)) {
        name_program(why, argv[0]);
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    *ret_output = g_utf8_make_valid(output, -1);
    return TRUE;
}
