/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include "vmconnect/base/clock.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 60000
#define TOLD_BYTES 4000

static char folder[] = "/var/tmp/understudy-host-XXXXXX";
static pid_t libvirtd;

const char *host_folder(void)
{
    return folder;
}

static void pause_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* Bind a folder of ours over @path. */
static void cover(const char *path, const char *name)
{
    g_autofree char *source = g_build_filename(folder, name, NULL);

    g_assert_cmpint(g_mkdir_with_parents(source, 0755), ==, 0);
    g_assert_cmpint(g_mkdir_with_parents(path, 0755), ==, 0);
    g_assert_cmpint(mount(source, path, NULL, MS_BIND, NULL), ==, 0);
}

static void write_file(const char *path, const char *text)
{
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(ioctl(fd, SIOCSIFFLAGS, &request), ==, 0);
    close(fd);
}

static void furnish(void)
{
    g_autofree char *images = g_build_filename(folder, "images", NULL);
    g_autofree char *scratch = g_build_filename(folder, "scratch", NULL);

    g_assert_cmpint(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), ==, 0);
    g_assert_cmpint(mount("proc", "/proc", "proc", 0, NULL), ==, 0);
    cover("/run", "run");
    cover("/etc/libvirt", "etc");
    cover("/var/lib/libvirt", "lib");
    cover("/var/log/libvirt", "log");
    write_file("/etc/libvirt/qemu.conf", "user=\"root\"\ngroup=\"root\"\nsecurity_driver=\"none\"\n"
                                         "stdio_handler=\"file\"\nnamespaces=[]\n");
    write_file("/etc/libvirt/libvirtd.conf", "auth_unix_rw=\"none\"\nlog_level=3\n");
    g_assert_cmpint(g_mkdir_with_parents(HOST_NBD, 0755), ==, 0);
    g_assert_cmpint(g_mkdir_with_parents(images, 0755), ==, 0);
    g_assert_cmpint(g_mkdir_with_parents(scratch, 0755), ==, 0);
    loopback_up();
}

/* First process of the pid namespace: collects orphans, and takes everything along when it ends. */
static int reap_until(pid_t child)
{
    for (;;) {
        int status;
        pid_t pid = wait(&status);

        if (pid == child)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}

static void be_quiet(void *user, virErrorPtr e)
{
    (void)user;
    (void)e;
}

static int in_namespaces(int (*body)(void))
{
    pid_t child = fork();

    if (child == 0) {
        furnish();
        /* libvirt prints each error, also those that are answers; a libvirtd that a test killed is a broken pipe. */
        virSetErrorFunc(NULL, be_quiet);
        signal(SIGPIPE, SIG_IGN);
        host_start_libvirtd();
        exit(body());
    }
    return reap_until(child);
}

static void remove_folder(void)
{
    const char *const argv[] = {"rm", "-rf", "--one-file-system", folder, NULL};

    host_run(argv);
}

/* The namespaces are the child's: a process that has unshared its own pid namespace cannot fork
 * any more once the first process in it has ended, and somebody must clean up. */
static int in_new_host(int (*body)(void))
{
    pid_t first;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET) != 0) {
        g_print("1..0 # SKIP needs namespaces\n");
        return 0;
    }
    first = fork();
    if (first == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(in_namespaces(body));
    }
    return reap_until(first);
}

int host_main(int argc, char **argv, int (*body)(void))
{
    pid_t child;
    int result;

    g_test_init(&argc, &argv, NULL);
    if (geteuid() != 0) {
        g_print("1..0 # SKIP needs root\n");
        return 0;
    }
    g_assert_nonnull(g_mkdtemp(folder));
    g_assert_cmpint(chmod(folder, 0755), ==, 0);
    fflush(NULL);
    child = fork();
    if (child == 0) {
        result = in_new_host(body);
        fflush(stdout);
        _exit(result); /* a leak checker cannot run in a process that unshared its pid namespace */
    }
    result = reap_until(child);
    remove_folder();
    return result;
}

static void redirect(int fd, const char *path)
{
    int file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    g_assert_cmpint(file, >=, 0);
    g_assert_cmpint(dup2(file, fd), ==, fd);
}

void host_start_libvirtd(void)
{
    gint64 deadline_ms = clock_steady_ms() + PATIENCE_MS;

    libvirtd = fork();
    if (libvirtd == 0) {
        redirect(0, "/dev/null");
        redirect(1, "/dev/null");
        redirect(2, "/var/log/libvirt/libvirtd.log");
        execl("/usr/sbin/libvirtd", "libvirtd", (char *)NULL);
        _exit(127);
    }
    for (;;) {
        virConnectPtr conn = virConnectOpen("qemu:///system");

        if (conn) {
            virConnectClose(conn);
            return;
        }
        g_assert_cmpint(clock_steady_ms(), <, deadline_ms);
        pause_ms(50);
    }
}

void host_kill_libvirtd(void)
{
    kill(libvirtd, SIGKILL);
    waitpid(libvirtd, NULL, 0);
}

pid_t host_libvirtd_pid(void)
{
    return libvirtd;
}

virConnectPtr host_connect(void)
{
    virConnectPtr conn = virConnectOpen("qemu:///system");

    g_assert_nonnull(conn);
    return conn;
}

void host_run(const char *const *argv)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *out = NULL;
    g_autofree char *err = NULL;
    int status;

    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, &status, &error);
    g_assert_no_error(error);
    if (!g_spawn_check_wait_status(status, &error))
        g_error("%s: %s%s%s", argv[0], error->message, out, err);
}

static void tell_end_of(const char *path)
{
    g_autofree char *text = NULL;
    gsize len;

    if (!g_file_get_contents(path, &text, &len, NULL))
        return;
    g_printerr("# the end of %s:\n%s\n", path, text + (len > TOLD_BYTES ? len - TOLD_BYTES : 0));
}

void host_tell(virConnectPtr conn, const char *name)
{
    g_autofree char *log = g_strdup_printf("/var/log/libvirt/qemu/%s.log", name);
    virDomainPtr dom = virDomainLookupByName(conn, name);
    int state = -1, reason = -1;

    if (dom) {
        virDomainGetState(dom, &state, &reason, 0);
        virDomainFree(dom);
    }
    g_printerr("# '%s' is in state %d for reason %d\n", name, state, reason);
    tell_end_of(log);
    tell_end_of("/var/log/libvirt/libvirtd.log");
}

char *host_image(const char *name, const char *target)
{
    return g_strdup_printf("%s/images/%s-%s.qcow2", folder, name, target);
}

static void add_disk(GString *xml, const char *name, guint at, guint64 size)
{
    const char target[] = {'v', 'd', (char)('a' + at), '\0'};
    g_autofree char *image = host_image(name, target);
    g_autofree char *bytes = g_strdup_printf("%" G_GUINT64_FORMAT, size);
    g_autofree char *escaped = NULL;
    const char *const argv[] = {"qemu-img", "create", "-q", "-f", "qcow2", image, bytes, NULL};

    host_run(argv);
    escaped = g_markup_escape_text(image, -1);
    g_string_append_printf(xml,
                           "<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap' "
                           "error_policy='stop'/><source file='%s'/><target dev='%s' bus='virtio'/></disk>",
                           escaped, target);
}

Id host_define(virConnectPtr conn, const char *name, const guint64 *sizes, guint n)
{
    Id id = id_random();
    g_autoptr(GString) xml = g_string_new(NULL);
    g_autofree char *escaped = g_markup_escape_text(name, -1);
    virDomainPtr dom;

    g_string_append_printf(xml,
                           "<domain type='qemu'><name>%s</name><uuid>%s</uuid><memory unit='MiB'>32</memory>"
                           "<os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>"
                           "<devices><controller type='usb' model='none'/><memballoon model='none'/>",
                           escaped, ID_TEXT(id));
    for (guint i = 0; i < n; i++)
        add_disk(xml, name, i, sizes[i]);
    g_string_append(xml, "</devices></domain>");
    dom = virDomainDefineXML(conn, xml->str);
    g_assert_nonnull(dom);
    virDomainFree(dom);
    return id;
}

virDomainPtr host_domain(virConnectPtr conn, const char *name)
{
    virDomainPtr dom = virDomainLookupByName(conn, name);

    g_assert_nonnull(dom);
    return dom;
}

void host_start(virConnectPtr conn, const char *name)
{
    virDomainPtr dom = host_domain(conn, name);

    if (virDomainCreate(dom) != 0)
        g_error("cannot start %s: %s", name, virGetLastErrorMessage());
    virDomainFree(dom);
}

static void monitor(virConnectPtr conn, const char *name, const char *command, gboolean may_break)
{
    virDomainPtr dom = host_domain(conn, name);
    char *answer = NULL;
    int rc = virDomainQemuMonitorCommand(dom, command, &answer, VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP);

    if (!may_break) {
        g_assert_cmpint(rc, ==, 0);
        if (answer && (strstr(answer, "rror") || strstr(answer, "failed")))
            g_error("%s: %s", command, answer);
    }
    free(answer);
    virDomainFree(dom);
}

void host_io(virConnectPtr conn, const char *name, guint disk, const char *format, ...)
{
    g_autofree char *command = NULL;
    g_autofree char *line = NULL;
    va_list args;

    va_start(args, format);
    command = g_strdup_vprintf(format, args);
    va_end(args);
    line =
        g_strdup_printf("qemu-io -d /machine/peripheral/virtio-disk%u/virtio-backend \"%s\"", disk, command);
    monitor(conn, name, line, FALSE);
}

void host_wait_state(virConnectPtr conn, const char *name, int state)
{
    gint64 deadline_ms = clock_steady_ms() + PATIENCE_MS;
    virDomainPtr dom = host_domain(conn, name);
    int now, reason;

    for (;;) {
        g_assert_cmpint(virDomainGetState(dom, &now, &reason, 0), ==, 0);
        if (now == state)
            break;
        g_assert_cmpint(clock_steady_ms(), <, deadline_ms);
        pause_ms(20);
    }
    virDomainFree(dom);
}

void host_quit(virConnectPtr conn, const char *name)
{
    monitor(conn, name, "quit", TRUE);
}

void host_shut_down(virConnectPtr conn, const char *name)
{
    host_quit(conn, name);
    host_wait_state(conn, name, VIR_DOMAIN_SHUTOFF);
}

void host_kill_qemu(virConnectPtr conn, const char *name)
{
    g_autofree char *path = g_strdup_printf("/run/libvirt/qemu/%s.pid", name);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpint(kill((pid_t)g_ascii_strtoll(text, NULL, 10), SIGKILL), ==, 0);
    host_wait_state(conn, name, VIR_DOMAIN_SHUTOFF);
}
