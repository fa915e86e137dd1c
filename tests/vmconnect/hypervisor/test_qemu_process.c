/* SPDX-License-Identifier: Apache-2.0 */
/* A process that looks like QEMU of a VM with a difficult name. */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/qemu_process.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME "w\xc3\xa4 & \"b\" 'c' $(x)"

#define RECORD                                                \
    "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE.\n-->\n\n" \
    "<domstatus state='running' reason='booted' pid='%d'><domain id='1'/></domstatus>"

typedef struct {
    char *folder;
    char *path;
    pid_t pid;
    Id vm;
} Fake;

static void fake_open(Fake *f, gconstpointer data)
{
    g_autofree char *number = NULL;
    int hold[2];

    (void)data;
    f->vm = id_random();
    f->folder = g_dir_make_tmp("qemu-XXXXXX", NULL);
    f->path = g_strconcat(f->folder, "/" NAME ".xml", NULL);
    /* It reads from a pipe that nobody writes: it lives until it is killed. */
    g_assert_cmpint(pipe(hold), ==, 0);
    f->pid = fork();
    if (f->pid == 0) {
        dup2(hold[0], 0);
        execlp("sh", "sh", "-c", "read x", "-name", "guest=" NAME, "-uuid", ID_TEXT(f->vm), NULL);
        _exit(127);
    }
    number = g_strdup_printf(RECORD, (int)f->pid);
    g_assert_true(g_file_set_contents(f->path, number, -1, NULL));
}

static void fake_kill(Fake *f)
{
    if (f->pid > 0) {
        kill(f->pid, SIGKILL);
        waitpid(f->pid, NULL, 0);
    }
    f->pid = -1;
}

static void fake_close(Fake *f, gconstpointer data)
{
    (void)data;
    fake_kill(f);
    g_unlink(f->path);
    g_rmdir(f->folder);
    g_free(f->path);
    g_free(f->folder);
}

/* fork and exec take a moment in which the command line is still ours. */
static int open_soon(Fake *f)
{
    gint64 deadline_ms = clock_steady_ms() + 10000;
    gboolean gone;
    int fd;

    while ((fd = qemu_process_open(f->folder, NAME, f->vm, &gone, NULL)) < 0 &&
           clock_steady_ms() < deadline_ms)
        g_usleep(1000);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void test_wait(Fake *f, gconstpointer data)
{
    int fd = open_soon(f);
    int cancel[2];
    g_autoptr(GError) timeout = NULL;
    g_autoptr(GError) cancelled = NULL;

    (void)data;
    g_assert_false(qemu_process_wait(fd, -1, 20, &timeout));
    g_assert_error(timeout, US_ERROR, US_ERROR_TIMEOUT);
    g_assert_cmpint(pipe(cancel), ==, 0);
    g_assert_cmpint(write(cancel[1], "x", 1), ==, 1);
    g_assert_false(qemu_process_wait(fd, cancel[0], 60000, &cancelled));
    g_assert_error(cancelled, US_ERROR, US_ERROR_CANCELLED);
    kill(f->pid, SIGKILL);
    /* Dead counts, reaped or not, and before a wish to give up. */
    g_assert_true(qemu_process_wait(fd, -1, 10000, NULL));
    g_assert_true(qemu_process_wait(fd, cancel[0], 0, NULL));
    close(fd);
    close(cancel[0]);
    close(cancel[1]);
}

static void test_not_it(Fake *f, gconstpointer data)
{
    g_autoptr(GError) other = NULL;
    g_autoptr(GError) name = NULL;
    g_autoptr(GError) dead = NULL;
    gboolean gone;

    (void)data;
    close(open_soon(f));
    /* The number was given to another VM's process. */
    g_assert_cmpint(qemu_process_open(f->folder, NAME, id_random(), &gone, &other), ==, -1);
    g_assert_true(gone);
    g_assert_error(other, US_ERROR, US_ERROR_NOT_FOUND);
    fake_kill(f);
    g_assert_cmpint(qemu_process_open(f->folder, "w", f->vm, &gone, &name), ==, -1);
    g_assert_false(gone); /* no record: no proof */
    g_assert_error(name, US_ERROR, US_ERROR_NOT_FOUND);
    g_assert_cmpint(qemu_process_open(f->folder, NAME, f->vm, &gone, &dead), ==, -1);
    g_assert_true(gone);
    g_assert_error(dead, US_ERROR, US_ERROR_NOT_FOUND);
}

static void test_kill(Fake *f, gconstpointer data)
{
    int fd = open_soon(f);

    (void)data;
    qemu_process_kill(f->folder, NAME, id_random());
    g_assert_false(qemu_process_wait(fd, -1, 0, NULL));
    qemu_process_kill(f->folder, NAME, f->vm);
    g_assert_true(qemu_process_wait(fd, -1, 10000, NULL));
    qemu_process_kill(f->folder, NAME, f->vm); /* which is no error */
    close(fd);
}

/* libvirt's record is gone, or is of another process: the one that runs is found all the same. */
static void test_lost(Fake *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *pid = g_strdup_printf("`kill %d`", (int)f->pid);
    g_autofree char *other = g_strdup_printf(RECORD, (int)getpid());
    gboolean gone;
    int fd;

    (void)data;
    close(open_soon(f));
    g_assert_true(g_file_set_contents(f->path, other, -1, NULL));
    close(open_soon(f));
    g_assert_cmpint(g_unlink(f->path), ==, 0);
    fd = qemu_process_open(f->folder, NAME, f->vm, &gone, &error);
    g_assert_no_error(error);
    g_assert_false(gone);
    g_assert_false(qemu_process_wait(fd, -1, 0, NULL));
    g_assert_true(qemu_process_expect_none(id_random(), NAME, NULL));
    g_assert_false(qemu_process_expect_none(f->vm, NAME, &error));
    g_assert_error(error, US_ERROR, US_ERROR_STUCK);
    g_assert_nonnull(strstr(error->message, pid));
    fake_kill(f);
    g_assert_true(qemu_process_wait(fd, -1, 10000, NULL));
    g_assert_true(qemu_process_expect_none(f->vm, NAME, NULL));
    close(fd);
}

static gboolean is_stopped(Fake *f)
{
    g_autoptr(GError) error = NULL;

    if (qemu_process_expect_awake(f->folder, NAME, f->vm, &error))
        return FALSE;
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
    return TRUE;
}

static void expect_stopped(Fake *f, gboolean stopped)
{
    gint64 deadline_ms = clock_steady_ms() + 10000;

    while (is_stopped(f) != stopped && clock_steady_ms() < deadline_ms)
        g_usleep(1000);
    g_assert_cmpint(is_stopped(f), ==, stopped);
}

static void test_stopped(Fake *f, gconstpointer data)
{
    (void)data;
    close(open_soon(f));
    g_assert_false(is_stopped(f));
    kill(f->pid, SIGSTOP);
    expect_stopped(f, TRUE);
    kill(f->pid, SIGCONT);
    expect_stopped(f, FALSE);
    kill(f->pid, SIGSTOP);
    expect_stopped(f, TRUE);
    /* One that is not there stops nobody. */
    fake_kill(f);
    g_assert_false(is_stopped(f));
}

static void test_odd_file(Fake *f, gconstpointer data)
{
    static const char *const ODD[] = {"",
                                      "x",
                                      "<domstatus/>",
                                      "<domstatus pid='0'/>",
                                      "<domstatus pid='1'/>",
                                      "<domstatus pid='99999999999999999999'/>",
                                      "<domain pid='77'/>",
                                      "<!DOCTYPE domstatus [<!ENTITY a '7'>]><domstatus pid='&a;&a;'"};

    (void)data;
    fake_kill(f);
    for (guint i = 0; i < G_N_ELEMENTS(ODD); i++) {
        g_autoptr(GError) error = NULL;
        gboolean gone;

        g_assert_true(g_file_set_contents(f->path, ODD[i], -1, NULL));
        g_assert_cmpint(qemu_process_open(f->folder, NAME, f->vm, &gone, &error), ==, -1);
        g_assert_error(error, US_ERROR, US_ERROR_IO);
        g_assert_false(gone);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/qemu_process/wait", Fake, NULL, fake_open, test_wait, fake_close);
    g_test_add("/qemu_process/not-it", Fake, NULL, fake_open, test_not_it, fake_close);
    g_test_add("/qemu_process/kill", Fake, NULL, fake_open, test_kill, fake_close);
    g_test_add("/qemu_process/lost", Fake, NULL, fake_open, test_lost, fake_close);
    g_test_add("/qemu_process/stopped", Fake, NULL, fake_open, test_stopped, fake_close);
    g_test_add("/qemu_process/odd-file", Fake, NULL, fake_open, test_odd_file, fake_close);
    return g_test_run();
}
