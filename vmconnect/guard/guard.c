/* SPDX-License-Identifier: Apache-2.0 */
/* understudy-guard - the program that stops a guest whose lease ends, whatever else on the host hangs.
 *
 * Happy path: become hard to disturb, take over what an earlier guard left, then sentry.h. A guard to which nobody speaks does nothing. */
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/guard/sentry.h"
#include "vmconnect/guard/word.h"
#include "vmconnect/loop/program.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#define NAME "understudy-guard"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_INSTRUMENTED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_INSTRUMENTED 1
#endif
#endif
#ifndef IS_INSTRUMENTED
#define IS_INSTRUMENTED 0
#endif

static gboolean write_oom(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    gboolean done = fd >= 0 && write(fd, "-1000", 5) == 5;

    if (fd >= 0)
        close(fd);
    return done;
}

/* Each is a help and no condition. */
static void harden(void)
{
    struct sched_param least = {.sched_priority = sched_get_priority_min(SCHED_FIFO)};

    /* A sanitizer has reserved terabytes that nobody could lock. */
    if (!IS_INSTRUMENTED && mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        log_warning("memory cannot be locked (%s) -> a host that swaps may delay the guard",
                    g_strerror(errno));
    if (!write_oom())
        log_warning("oom_score_adj cannot be set (%s) -> a host without memory may end the guard",
                    g_strerror(errno));
    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &least) != 0)
        log_warning("SCHED_FIFO is refused (%s) -> a busy host may delay the guard", g_strerror(errno));
    /* Journald may hang: lines are lost then, and not waited for. */
    if (g_getenv("JOURNAL_STREAM"))
        fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) | O_NONBLOCK);
}

static int run(const char *watchdog)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Sentry) sentry = NULL;

    harden();
    /* Others of ours have folders beside it, which QEMU passes through. */
    if (durable_mkdir("/run/understudy", 0755, &error) && durable_mkdir(SENTRY_FOLDER, 0700, &error))
        sentry =
            sentry_new(SENTRY_FOLDER, watchdog ? watchdog_new(watchdog, watchdog_open_device) : NULL, &error);
    if (!sentry) {
        log_error("%s", error->message);
        return us_error_exit(error);
    }
    log_info(NAME " %s", UNDERSTUDY_VERSION);
    sentry_run(sentry);
    return 0;
}

int main(int argc, char **argv)
{
    gboolean version = FALSE;
    g_autofree char *watchdog = NULL;
    const GOptionEntry entries[] = {{"watchdog", 0, 0, G_OPTION_ARG_FILENAME, &watchdog,
                                     "have this device reset the host if a guest outlives its lease",
                                     "DEVICE"},
                                    {"version", 0, 0, G_OPTION_ARG_NONE, &version, "print the version", NULL},
                                    {NULL}};
    g_autoptr(GOptionContext) options = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;

    g_option_context_add_main_entries(options, entries, NULL);
    g_option_context_set_summary(options, "Stops a protected guest of this host whose lease ends.");
    if (!g_option_context_parse(options, &argc, &argv, &error)) {
        program_fail(NAME, error);
        return 2;
    }
    if (version)
        g_print(NAME " %s\n", UNDERSTUDY_VERSION);
    return version ? 0 : run(watchdog);
}
