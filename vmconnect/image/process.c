/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: fork, set the child up with calls that are safe after a fork of a
 * threaded program, exec; the parent hears through a close-on-exec pipe whether
 * exec worked. Failures: exec's errno comes through that pipe; everything later
 * is seen by the pidfd. */
#include "vmconnect/image/process.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/process_group.h"
#include "vmconnect/image/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TAIL_BYTES 4096
#define FIRST_FREE_FD 10
#define KILL_TIMEOUT_MS 2000
#define GROUP_FIRST_MS 10 /* is it there still? Asked after that, and then after twice as long each time, … */
#define GROUP_EACH_MS 30000 /* … but not more than this, as all of /proc is read for it */
#define GROUP_EMPTY_MS 1000 /* that nothing is left of it, not even zombies, is cheap to know */
#define DRAIN_STEP 4096
#define DRAIN_STEPS 32 /* twice the capacity of a pipe */

struct Process {
    pid_t pid;
    int pidfd;
    int output; /* read end; -1: not wanted, or at its end */
    int errors;
    gboolean until_gone;
    gboolean ended;
    gboolean succeeded;
    int status; /* -1: it was killed */
    GString *tail;
    char *text; /* what process_stderr() gave away last */
    char *outcome;
};

/* What the child needs, made ready before the fork: no allocation after it. */
typedef struct {
    char *program;
    char **argv;
    char **envp;
    int output[2];
    int errors[2];
    int report[2]; /* exec's errno, or nothing */
    int pass_fd;
    int net_fd;
    gboolean die_with_thread;
    gboolean errors_too;
    pid_t parent;
} Launch;

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void launch_clear(Launch *l)
{
    g_free(l->program);
    g_strfreev(l->argv);
    g_strfreev(l->envp);
    for (int i = 0; i < 2; i++) {
        close_fd(&l->output[i]);
        close_fd(&l->errors[i]);
        close_fd(&l->report[i]);
    }
}

static gboolean non_blocking(int fd)
{
    return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0;
}

static gboolean launch_init(Launch *l, const ProcessSpec *spec, gboolean want_output, gboolean drained,
                            GError **error)
{
    *l = (Launch){
        .output = {-1, -1},
        .errors = {-1, -1},
        .report = {-1, -1},
        .pass_fd = spec->pass_fd,
        .net_fd = spec->net_fd,
        .die_with_thread = spec->die_with_thread,
        .errors_too = spec->errors_too && want_output,
        .parent = getpid(),
    };
    l->program = g_find_program_in_path(spec->argv[0]);
    if (!l->program) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "program %s is not installed", spec->argv[0]);
        return FALSE;
    }
    l->argv = g_strdupv((char **)spec->argv);
    /* Messages are compared with QEMU's and the C library's English ones. */
    l->envp = g_environ_setenv(g_get_environ(), "LC_ALL", "C", TRUE);
    if (pipe2(l->report, O_CLOEXEC) != 0 || pipe2(l->errors, O_CLOEXEC) != 0 || !non_blocking(l->errors[0]) ||
        (!drained && !non_blocking(l->errors[1])) ||
        (want_output && (pipe2(l->output, O_CLOEXEC) != 0 || !non_blocking(l->output[0]))))
        return us_error_errno(error, errno, "cannot start %s", spec->argv[0]);
    return TRUE;
}

/* In the child: dup @fd onto @target; both may be any number, so via one that is out of the way. */
static int out_of_the_way(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
}

static gboolean child_descriptors(const Launch *l)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int in = out_of_the_way(null);
    int out = out_of_the_way(l->output[1] >= 0 ? l->output[1] : null);
    int err = out_of_the_way(l->errors_too ? l->output[1] : l->errors[1]);
    int pass = l->pass_fd ? out_of_the_way(l->pass_fd) : -1;

    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0 || (l->pass_fd && dup2(pass, 3) < 0))
        return FALSE;
    /* Libraries open descriptors without close-on-exec; none of them is the child's business. */
    return close_range(l->pass_fd ? 4 : 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
}

static void child_signals(void)
{
    sigset_t none;

    for (int n = 1; n < NSIG; n++)
        signal(n, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child, between fork and exec: only async-signal-safe calls. */
G_NORETURN static void child_run(Launch *l)
{
    int report = out_of_the_way(l->report[1]);
    int why;

    child_signals();
    setsid();
    umask(077);
    if (l->die_with_thread && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != l->parent))
        _exit(127);
    if (report >= 0 && chdir("/") == 0 && (l->net_fd == 0 || setns(l->net_fd, CLONE_NEWNET) == 0) &&
        child_descriptors(l))
        execve(l->program, l->argv, l->envp);
    why = errno;
    if (write(report, &why, sizeof(why)) < 0)
        _exit(126);
    _exit(127);
}

/* fork() with every signal held back: a handler of ours must not run in the child. */
static pid_t launch_fork(Launch *l)
{
    sigset_t all, old;
    pid_t pid;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pid = fork();
    if (pid == 0)
        child_run(l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return pid;
}

static Process *launch_parent(Launch *l, pid_t pid, const ProcessSpec *spec)
{
    Process *p = g_new0(Process, 1);

    p->until_gone = spec->until_gone;
    p->pid = pid;
    p->pidfd = pidfd_open(pid, 0);
    p->output = l->output[0];
    p->errors = l->errors[0];
    p->tail = g_string_new(NULL);
    l->output[0] = l->errors[0] = -1;
    return p;
}

/* @drained: somebody reads what it says for as long as it runs. */
static Process *launch(const ProcessSpec *spec, gboolean want_output, gboolean drained, GError **error)
{
    g_autoptr(Process) p = NULL;
    Launch l;
    pid_t pid;
    int why = 0;

    if (!launch_init(&l, spec, want_output, drained, error)) {
        launch_clear(&l);
        return NULL;
    }
    pid = launch_fork(&l);
    if (pid < 0) {
        us_error_errno(error, errno, "cannot start %s", spec->argv[0]);
        launch_clear(&l);
        return NULL;
    }
    p = launch_parent(&l, pid, spec);
    close_fd(&l.report[1]);
    if (read(l.report[0], &why, sizeof(why)) != 0 || p->pidfd < 0) {
        us_error_errno(error, why ? why : errno, "cannot start %s", spec->argv[0]);
        launch_clear(&l);
        return NULL;
    }
    launch_clear(&l);
    return g_steal_pointer(&p);
}

Process *process_start(const ProcessSpec *spec, GError **error)
{
    return launch(spec, FALSE, FALSE, error);
}

pid_t process_pid(const Process *process)
{
    return process->pid;
}

int process_pidfd(const Process *process)
{
    return process->pidfd;
}

static void reap(Process *p)
{
    siginfo_t info = {0};

    while (waitid(P_PID, (id_t)p->pid, &info, WEXITED) < 0 && errno == EINTR)
        ;
    p->ended = TRUE;
    p->outcome = info.si_code == CLD_EXITED ? g_strdup_printf("exited with status %d", info.si_status)
                                            : g_strdup_printf("was killed by signal %d", info.si_status);
    p->status = info.si_code == CLD_EXITED ? info.si_status : -1;
    p->succeeded = p->status == 0;
}

gboolean process_wait(Process *process, int timeout_ms)
{
    if (!process->ended &&
        wait_fd(process->pidfd, POLLIN, -1, wait_deadline(timeout_ms), "the process", NULL, NULL))
        reap(process);
    return process->ended;
}

void process_kill(Process *process, int signum)
{
    if (!process->ended)
        pidfd_send_signal(process->pidfd, signum, NULL, 0);
}

const char *process_outcome(Process *process)
{
    process_wait(process, 0);
    return process->ended ? process->outcome : "is running";
}

gboolean process_succeeded(Process *process)
{
    return process_wait(process, 0) && process->succeeded;
}

/* Append what @fd has to offer now, but no more than a full pipe, so that a child that
 * never stops writing cannot hold us here; closes it at its end. */
static void drain(int *fd, GString *out)
{
    char buf[DRAIN_STEP];
    gssize n;

    for (int i = 0; *fd >= 0 && i < DRAIN_STEPS; i++) {
        n = read(*fd, buf, sizeof(buf));
        if (n > 0)
            g_string_append_len(out, buf, n);
        else if (n < 0 && errno == EAGAIN)
            return;
        else if (n == 0 || errno != EINTR)
            close_fd(fd);
    }
}

static void drain_errors(Process *p)
{
    drain(&p->errors, p->tail);
    if (p->tail->len > TAIL_BYTES)
        g_string_erase(p->tail, 0, (gssize)(p->tail->len - TAIL_BYTES));
}

const char *process_stderr(Process *process)
{
    drain_errors(process);
    g_free(process->text);
    process->text = g_strchomp(g_utf8_make_valid(process->tail->str, (gssize)process->tail->len));
    return process->text;
}

static void sleep_while_any(pid_t leader, guint ms)
{
    for (guint left = ms, step; left > 0 && kill(-leader, 0) == 0; left -= step) {
        step = MIN(left, GROUP_EMPTY_MS);
        g_usleep(step * 1000UL);
    }
}

static void await_group(pid_t leader)
{
    for (guint ms = GROUP_FIRST_MS; process_group_lives(leader); ms = MIN(ms * 2, GROUP_EACH_MS))
        sleep_while_any(leader, ms);
}

/* By pid, as pidfd_open() may be what failed: not collected yet, so it is still ours. With it what it has started: a script hangs in a
 * program of its. */
static void end(Process *p)
{
    kill(p->pid, SIGKILL);
    kill(-p->pid, SIGKILL);
    if (p->until_gone || p->pidfd < 0)
        reap(p);
    else
        process_wait(p, KILL_TIMEOUT_MS);
    if (p->until_gone)
        await_group(p->pid);
}

void process_free(Process *process)
{
    if (!process)
        return;
    if (!process->ended)
        end(process);
    close_fd(&process->pidfd);
    close_fd(&process->output);
    close_fd(&process->errors);
    g_string_free(process->tail, TRUE);
    g_free(process->text);
    g_free(process->outcome);
    g_free(process);
}

/* Collect output until the process has ended. */
static gboolean collect(Process *p, const char *program, gint64 deadline, int cancel_fd, gsize max_output,
                        GString *out, GError **error)
{
    while (!p->ended) {
        struct pollfd pfd[] = {{.fd = p->pidfd, .events = POLLIN},
                               {.fd = p->output, .events = POLLIN},
                               {.fd = p->errors, .events = POLLIN},
                               {.fd = cancel_fd, .events = POLLIN}};
        int n = poll(pfd, G_N_ELEMENTS(pfd), clock_left_ms(deadline));

        if (n < 0 && errno != EINTR)
            return us_error_errno(error, errno, "waiting for %s", program);
        if (n > 0 && pfd[3].revents) {
            g_set_error(error, US_ERROR, US_ERROR_CANCELLED, "%s was given up on request", program);
            return FALSE;
        }
        if (n > 0 && pfd[0].revents)
            reap(p);
        drain(&p->output, out);
        drain_errors(p);
        if (out->len > max_output) {
            g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "%s writes more than %zu bytes", program,
                        max_output);
            return FALSE;
        }
        /* Also of one that never stops writing. */
        if (!p->ended && clock_left_ms(deadline) == 0) {
            g_set_error(error, US_ERROR, US_ERROR_TIMEOUT, "%s does not end: is a file system hanging?",
                        program);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean process_run_spec(const ProcessSpec *spec, int timeout_ms, int cancel_fd, gsize max_output,
                          char **ret_output, GError **error)
{
    const char *program = spec->argv[0];
    g_autoptr(GString) out = g_string_new(NULL);
    gint64 deadline = wait_deadline(timeout_ms);
    g_autoptr(Process) p = launch(spec, ret_output != NULL, TRUE, error);

    if (!p || !collect(p, program, deadline, cancel_fd, max_output, out, error))
        return FALSE;
    if (!p->succeeded && (!spec->ret_status || p->status < 0)) {
        g_set_error(error, US_ERROR, US_ERROR_FAILED, "%s %s: %s", program, p->outcome, process_stderr(p));
        return FALSE;
    }
    if (spec->ret_status)
        *spec->ret_status = p->status;
    if (ret_output)
        *ret_output = g_string_free(g_steal_pointer(&out), FALSE);
    return TRUE;
}

gboolean process_run(const char *const *argv, int timeout_ms, int cancel_fd, gsize max_output,
                     char **ret_output, GError **error)
{
    ProcessSpec spec = {.argv = argv, .die_with_thread = TRUE};

    return process_run_spec(&spec, timeout_ms, cancel_fd, max_output, ret_output, error);
}
