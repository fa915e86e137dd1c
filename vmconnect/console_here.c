/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/console_here.h"

#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/xml.h"
#include "vmconnect/policy.h"
#include "vmconnect/rehearse/remains.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define CONNECT_MS 10000
#define IDLE_MS 1000
#define END_KEY 0x1d /* Ctrl-] */
#define PIECE_BYTES 4096

/* --- which one -------------------------------------------------------------- */

static gboolean find_vm(const ConsolePlace *place, const char *vm, Id *ret_vm, GError **error)
{
    g_autoptr(Policy) policy = policy_load(place->policy, error);
    g_autoptr(GPtrArray) roles = policy ? policy_standbys(policy) : NULL;

    for (guint i = 0; roles && i < roles->len; i++) {
        const StandbyRole *role = roles->pdata[i];

        if (g_str_equal(role->name, vm) || g_ascii_strcasecmp(ID_TEXT(role->vm), vm) == 0) {
            *ret_vm = role->vm;
            return TRUE;
        }
    }
    if (roles)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "no copy of a VM '%s' is kept on this host", vm);
    return FALSE;
}

/* The caller frees. */
static char *console_of(virDomainPtr dom, const char *vm, GError **error)
{
    char *xml = virDomainGetXMLDesc(dom, 0);
    g_autoptr(xmlDoc) doc = NULL;
    const xmlNode *devices;
    char *path;

    if (!xml) {
        virt_error(error, "cannot read where the console of '%s' is", vm);
        return NULL;
    }
    doc = xml_parse(xml, strlen(xml), "domain", "domain definition", error);
    free(xml);
    if (!doc)
        return NULL;
    devices = xml_child(xmlDocGetRootElement(doc), "devices");
    path = xml_attr(xml_child(xml_child(devices, "serial"), "source"), "path");
    if (!path)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "'%s' has no serial port", vm);
    return path;
}

static char *find_console(const ConsolePlace *place, const char *vm, GError **error)
{
    g_autoptr(Connection) connection = NULL;
    g_autoptr(virDomain) dom = NULL;
    g_autofree char *name = NULL;
    virConnectPtr conn;
    Id id;

    if (!find_vm(place, vm, &id, error))
        return NULL;
    connection = connection_new(place->libvirt_uri, NULL, NULL);
    conn = connection_get(connection, CONNECT_MS, error);
    if (!conn)
        return NULL;
    name = g_strconcat(REMAINS_PREFIX, ID_TEXT(id), NULL);
    dom = virDomainLookupByName(conn, name);
    if (dom)
        return console_of(dom, vm, error);
    g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                "'%s' is not being tested on this host: `understudy test start SCENARIO --manual` has it up",
                vm);
    return NULL;
}

static int dial(const char *path, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) < sizeof(address.sun_path) &&
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    us_error_errno(error, errno, "cannot connect to %s", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* --- to and fro --------------------------------------------------------------- */

static gboolean write_all(int fd, const char *data, gssize len)
{
    while (len > 0) {
        gssize n = write(fd, data, (gsize)len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FALSE;
        data += n;
        len -= n;
    }
    return TRUE;
}

/* FALSE: the input has ended, or asked for the end. */
static gboolean take_input(int fd)
{
    char data[PIECE_BYTES];
    gssize n = read(STDIN_FILENO, data, sizeof(data));
    const char *end = n > 0 ? memchr(data, END_KEY, (gsize)n) : NULL;

    return n > 0 && write_all(fd, data, end ? end - data : n) && !end;
}

static gboolean give_output(int fd)
{
    char data[PIECE_BYTES];
    gssize n = read(fd, data, sizeof(data));

    return n > 0 && write_all(STDOUT_FILENO, data, n);
}

/* Whoever sits at a terminal has ended it; a script wants what is still to come. */
static void relay(int fd, gboolean terminal)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    gboolean open = TRUE;

    while (open || !terminal) {
        int n = poll(fds, open ? 2 : 1, open ? -1 : IDLE_MS);

        if (n == 0 || (n < 0 && errno != EINTR) || (n > 0 && fds[0].revents && !give_output(fd)))
            return;
        if (n > 0 && open && fds[1].revents)
            open = take_input(fd);
    }
}

static void relay_raw(int fd)
{
    struct termios before, raw;
    gboolean terminal = tcgetattr(STDIN_FILENO, &before) == 0;

    if (terminal) {
        raw = before;
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    relay(fd, terminal);
    if (terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

gboolean console_here(const ConsolePlace *place, const char *vm, GError **error)
{
    g_autofree char *path = find_console(place, vm, error);
    int fd = path ? dial(path, error) : -1;

    if (fd < 0)
        return FALSE;
    g_printerr("connected to the serial console of '%s' in its test; Ctrl-] ends this\n", vm);
    relay_raw(fd);
    close(fd);
    return TRUE;
}
