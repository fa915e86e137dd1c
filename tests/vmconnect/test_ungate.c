/* SPDX-License-Identifier: Apache-2.0 */
/* With the kernel's own taps and nftables, in a network namespace of this test; this process is in QEMU's place. Whether frames pass is the lab's to
 * show. */
#include "hypervisor/turn.h"
#include "vmconnect/guard/shutter.h"
#include "vmconnect/ungate.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define OTHERS 4711 /* an interface of nobody here */

static int open_tap(const char *name)
{
    struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_strlcpy(r.ifr_name, name, IFNAMSIZ);
    g_assert_cmpint(ioctl(fd, TUNSETIFF, &r), ==, 0);
    return fd;
}

static int pidfd_of(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

/* As the guard has laid it: a lease that is over, of this process and of another's tap. */
static Shutter *lay(const char *tap)
{
    g_autoptr(Shutter) s = shutter_new(NULL);
    ShutterTap taps[] = {{if_nametoindex(tap), 0}, {OTHERS, 0}};

    g_assert_true(shutter_make(s, taps, G_N_ELEMENTS(taps), NULL));
    return g_steal_pointer(&s);
}

/* Only the other's is kept; a tap is said by its name. */
static gboolean is_out(const char *tap)
{
    g_autofree char *said = NULL;

    g_assert_true(
        g_spawn_command_line_sync("nft list set bridge " SHUTTER_TABLE " kept", &said, NULL, NULL, NULL));
    return strstr(said, G_STRINGIFY(OTHERS)) && !strstr(said, tap);
}

static void test_process(void)
{
    int tap = open_tap("vnet7"), self = pidfd_of(getpid());
    g_autoptr(GError) error = NULL;
    Shutter *s;

    g_assert_true(ungate_process(self, getpid(), &error)); /* there is no gate */
    g_assert_no_error(error);
    s = lay("vnet7");
    g_assert_false(is_out("vnet7"));
    g_assert_true(ungate_process(self, getpid(), &error));
    g_assert_no_error(error);
    g_assert_true(is_out("vnet7"));
    g_assert_true(ungate_process(self, getpid(), &error)); /* it was not kept */
    g_assert_no_error(error);
    shutter_free(s);
    close(self);
    close(tap);
}

/* Its number may be another's by then: here it is this process's, whose taps are left. */
static void test_ended(void)
{
    int tap = open_tap("vnet8"), fd;
    g_autoptr(GError) error = NULL;
    Shutter *s = lay("vnet8");
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    fd = pidfd_of(pid);
    waitpid(pid, NULL, 0);
    g_assert_true(ungate_process(fd, getpid(), &error));
    g_assert_no_error(error);
    g_assert_false(is_out("vnet8"));
    shutter_free(s);
    close(fd);
    close(tap);
}

static void on_idle(void *user)
{
    *(gboolean *)user = TRUE;
}

static void test_soon(void)
{
    int tap = open_tap("vnet9"), self = pidfd_of(getpid());
    gboolean idle = FALSE;
    uv_loop_t loop;
    Clerk *clerk;
    Ungate *u;
    Shutter *s = lay("vnet9");

    uv_loop_init(&loop);
    clerk = clerk_new(&loop);
    u = ungate_new(clerk, on_idle, &idle);
    g_assert_false(ungate_is_busy(u));
    ungate_open(u, id_random(), self, getpid());
    g_assert_true(ungate_is_busy(u));
    close(self); /* it has one of its own */
    g_assert_true(turn_until(&loop, turn_is_set, &idle, PATIENCE_MS));
    g_assert_false(ungate_is_busy(u));
    g_assert_true(is_out("vnet9"));
    /* Closed meanwhile: what was begun is done, and not told. */
    idle = FALSE;
    self = pidfd_of(getpid());
    ungate_open(u, id_random(), self, getpid());
    close(self);
    ungate_close(u);
    clerk_close(clerk);
    g_assert_false(idle);
    ungate_free(u);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    shutter_free(s);
    close(tap);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (unshare(CLONE_NEWNET) != 0 || access("/dev/net/tun", R_OK | W_OK) != 0) {
        g_print("1..0 # SKIP it takes root and /dev/net/tun to have taps of one's own\n");
        return 0;
    }
    g_test_add_func("/ungate/process", test_process);
    g_test_add_func("/ungate/ended", test_ended);
    g_test_add_func("/ungate/soon", test_soon);
    return g_test_run();
}
