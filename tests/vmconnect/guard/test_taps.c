/* SPDX-License-Identifier: Apache-2.0 */
/* With the kernel's own taps, in a network namespace of this test; this process is in QEMU's place. */
#include "vmconnect/guard/taps.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char taps[WORD_TAPS_MAX][IF_NAMESIZE];

static guint look(gboolean want_more)
{
    gboolean more;
    guint n;

    memset(taps, 'x', sizeof(taps));
    n = taps_of_process(getpid(), taps, &more);
    g_assert_cmpint(more, ==, want_more);
    return n;
}

static int open_tap(const char *name, short flags)
{
    struct ifreq r = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags)};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_strlcpy(r.ifr_name, name, IFNAMSIZ);
    g_assert_cmpint(ioctl(fd, TUNSETIFF, &r), ==, 0);
    return fd;
}

/* As somebody may who is root; a tap that is up refuses it in older kernels. */
static void rename_tap(const char *from, const char *to)
{
    struct ifreq r = {0};
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    g_strlcpy(r.ifr_name, from, IFNAMSIZ);
    g_strlcpy(r.ifr_newname, to, IFNAMSIZ);
    g_assert_cmpint(ioctl(s, SIOCSIFNAME, &r), ==, 0);
    close(s);
}

static gboolean has_taps(void)
{
    if (geteuid() == 0 && access("/dev/net/tun", R_OK | W_OK) == 0)
        return TRUE;
    g_test_skip("it takes root and /dev/net/tun to have taps of one's own");
    return FALSE;
}

static void test_none(void)
{
    gboolean more = FALSE;

    g_assert_cmpuint(look(FALSE), ==, 0);
    /* No such process: nothing can be said of it. */
    g_assert_cmpuint(taps_of_process(G_MAXINT, taps, &more), ==, 0);
    g_assert_true(more);
}

static void test_names(void)
{
    int b, a, other, off, unattached;
    struct ifreq detach = {.ifr_flags = IFF_DETACH_QUEUE};

    if (!has_taps())
        return;
    b = open_tap("vnet10", IFF_MULTI_QUEUE);
    a = open_tap("a-name-of-15-by", 0);
    other = open_tap("vnet10", IFF_MULTI_QUEUE); /* another queue of the same */
    off = open_tap("vnet10", IFF_MULTI_QUEUE);
    g_assert_cmpint(ioctl(off, TUNSETQUEUE, &detach), ==, 0); /* and one that the guest does not use */
    unattached = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    g_assert_cmpuint(look(FALSE), ==, 2);
    g_assert_cmpstr(taps[0], ==, "a-name-of-15-by");
    g_assert_cmpstr(taps[1], ==, "vnet10");
    rename_tap("vnet10", "Zvnet");
    g_assert_cmpuint(look(FALSE), ==, 2);
    g_assert_cmpstr(taps[0], ==, "Zvnet");
    g_assert_cmpstr(taps[1], ==, "a-name-of-15-by");
    close(a);
    close(b);
    g_assert_cmpuint(look(FALSE), ==, 1);
    g_assert_cmpstr(taps[0], ==, "Zvnet");
    close(other);
    g_assert_cmpuint(look(FALSE), ==, 1);
    close(off);
    close(unattached);
    g_assert_cmpuint(look(FALSE), ==, 0);
}

static void test_many(void)
{
    int fds[WORD_TAPS_MAX + 1];

    if (!has_taps())
        return;
    for (guint i = 0; i <= WORD_TAPS_MAX; i++) {
        g_autofree char *name = g_strdup_printf("many%02u", WORD_TAPS_MAX - i);

        fds[i] = open_tap(name, 0);
        g_assert_cmpuint(look(i == WORD_TAPS_MAX), ==, MIN(i + 1, WORD_TAPS_MAX));
    }
    g_assert_cmpstr(taps[0], ==, "many01");
    g_assert_cmpstr(taps[WORD_TAPS_MAX - 1], ==, "many16");
    for (guint i = 0; i <= WORD_TAPS_MAX; i++)
        close(fds[i]);
}

/* It was moved: what it is called is what it is called there. */
static void test_moved(void)
{
    int fd, here;

    if (!has_taps())
        return;
    fd = open_tap("moved", 0);
    here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(unshare(CLONE_NEWNET), ==, 0);
    g_assert_cmpuint(look(FALSE), ==, 1);
    g_assert_cmpstr(taps[0], ==, "moved");
    g_assert_cmpuint(if_nametoindex("moved"), ==, 0);
    g_assert_cmpint(setns(here, CLONE_NEWNET), ==, 0);
    close(here);
    close(fd);
}

/* Descriptors come and go while they are read. */
static void test_race(void)
{
    pid_t churn = fork();
    gboolean more;

    if (churn == 0) {
        alarm(60);
        for (;;) {
            for (int i = 0; i < 64; i++)
                dup2(0, 100 + i);
            for (int i = 0; i < 64; i++)
                close(100 + i);
        }
    }
    for (guint i = 0; i < 500; i++) {
        g_assert_cmpuint(taps_of_process(churn, taps, &more), ==, 0);
        g_assert_false(more);
    }
    kill(churn, SIGKILL);
    waitpid(churn, NULL, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (geteuid() == 0)
        g_assert_cmpint(unshare(CLONE_NEWNET), ==, 0);
    g_test_add_func("/taps/none", test_none);
    g_test_add_func("/taps/names", test_names);
    g_test_add_func("/taps/many", test_many);
    g_test_add_func("/taps/moved", test_moved);
    g_test_add_func("/taps/race", test_race);
    return g_test_run();
}
