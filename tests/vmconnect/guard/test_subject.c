/* SPDX-License-Identifier: Apache-2.0 */
/* With real processes: one that computes on two threads. */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/guard/subject.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static void *compute(void *name)
{
    if (name)
        pthread_setname_np(pthread_self(), name);
    for (;;)
        __asm__ volatile("");
    return NULL;
}

static pid_t begin(const char *name)
{
    pid_t pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        pthread_t thread;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pthread_create(&thread, NULL, compute, (void *)name);
        for (;;)
            pause();
    }
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void hold(pid_t pid, Subject *s)
{
    g_assert_true(subject_hold((int)syscall(SYS_pidfd_open, pid, 0), s, NULL));
}

static gboolean becomes_still(const Subject *s)
{
    gint64 deadline_ms = clock_steady_ms() + PATIENCE_MS;

    while (!subject_is_still(s))
        if (clock_left_ms(deadline_ms) == 0)
            return FALSE;
    return TRUE;
}

static gboolean computes(const Subject *s)
{
    guint64 before = subject_computed_ns(s);
    gint64 deadline_ms = clock_steady_ms() + PATIENCE_MS;

    while (subject_computed_ns(s) == before)
        if (clock_left_ms(deadline_ms) == 0)
            return FALSE;
    return TRUE;
}

static void test_still(void)
{
    pid_t pid = begin(NULL);
    Subject s;

    hold(pid, &s);
    g_assert_true(computes(&s));
    g_assert_false(subject_is_still(&s));
    g_assert_true(subject_signal(&s, SIGSTOP, NULL));
    g_assert_true(becomes_still(&s));
    g_assert_true(subject_signal(&s, SIGCONT, NULL));
    g_assert_true(computes(&s));
    g_assert_false(subject_is_still(&s));
    end(pid);
    g_assert_true(subject_is_gone(&s));
    g_assert_false(subject_is_still(&s));
    subject_clear(&s);
}

/* As a paused guest: its processor stands still, its other threads do not. */
static void test_processors(void)
{
    pid_t pid = begin("CPU 0/TCG"), idle;
    Subject s;
    guint64 ns;

    hold(pid, &s);
    g_assert_true(computes(&s));
    ns = subject_computed_ns(&s);
    g_assert_cmpuint(ns, >, 0);
    end(pid);
    subject_clear(&s);
    idle = fork();
    if (idle == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    hold(idle, &s);
    g_assert_false(subject_is_gone(&s));
    end(idle);
    subject_clear(&s);
}

static void test_identity(void)
{
    g_autoptr(GError) error = NULL;
    pid_t pid = begin(NULL);
    Subject s, again;

    hold(pid, &s);
    g_assert_true(subject_find(pid, s.start, &again, NULL));
    g_assert_true(subject_equal(&s, &again));
    subject_clear(&again);
    g_assert_false(subject_find(pid, s.start + 1, &again, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(subject_hold(open("/dev/null", O_RDONLY), &again, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    g_clear_error(&error);
    end(pid);
    g_assert_false(subject_find(pid, s.start, &again, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(subject_signal(&s, SIGSTOP, &error));
    subject_clear(&s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/subject/still", test_still);
    g_test_add_func("/subject/processors", test_processors);
    g_test_add_func("/subject/identity", test_identity);
    return g_test_run();
}
