/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/host_facts.h"

#include "vmconnect/hypervisor/inventory.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <jansson.h>
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

#define NET "/sys/class/net"
#define OVS_SOCKET "/run/openvswitch/db.sock"

/* --- places ------------------------------------------------------------ */

static gboolean add_network(virNetworkPtr net, Host *h, GError **error)
{
    char *xml = virNetworkGetXMLDesc(net, 0);
    gboolean ok;

    /* It was removed while we looked. */
    if (!xml)
        return virGetLastErrorCode() == VIR_ERR_NO_NETWORK ||
               virt_error(error, "cannot read the network '%s'", virNetworkGetName(net));
    ok = host_add_network_xml(h, xml, virNetworkIsActive(net) == 1, error);
    free(xml);
    return ok;
}

static gboolean add_networks(virConnectPtr conn, Host *h, GError **error)
{
    virNetworkPtr *nets = NULL;
    gboolean ok = TRUE;

    if (virConnectListAllNetworks(conn, &nets, 0) < 0)
        return virt_error(error, "cannot list the networks of this host");
    for (virNetworkPtr *n = nets; *n; n++) {
        ok = ok && add_network(*n, h, error);
        virNetworkFree(*n);
    }
    free(nets);
    return ok;
}

static gboolean is_of_network(const Host *h, const char *bridge)
{
    for (guint i = 0; i < h->networks->len; i++)
        if (g_strcmp0(((const HostNetwork *)h->networks->pdata[i])->bridge, bridge) == 0)
            return TRUE;
    return FALSE;
}

static void add_kernel_devices(Host *h)
{
    g_autoptr(GDir) dir = g_dir_open(NET, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *bridge = g_build_filename(NET, name, "bridge", NULL);

        if (g_file_test(bridge, G_FILE_TEST_IS_DIR))
            host_add_bridge(h, name, FALSE)->of_network = is_of_network(h, name);
        else if (!g_str_equal(name, "lo"))
            g_ptr_array_add(h->devices, g_strdup(name));
    }
}

/* The kernel does not tell which of its devices is a bridge to Open vSwitch; that itself does. */
static void add_ovs_bridges(Host *h)
{
    static char *ARGV[] = {(char *)"ovs-vsctl", (char *)"--timeout=2", (char *)"list-br", NULL};
    g_autofree char *output = NULL;
    g_auto(GStrv) names = NULL;

    if (!g_file_test(OVS_SOCKET, G_FILE_TEST_EXISTS) ||
        !g_spawn_sync(NULL, ARGV, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &output,
                      NULL, NULL, NULL))
        return;
    names = g_strsplit(output, "\n", -1);
    for (char **name = names; *name; name++)
        if (**name)
            host_add_bridge(h, *name, TRUE);
}

gboolean host_facts_places(virConnectPtr conn, Host *h, GError **error)
{
    if (!add_networks(conn, h, error))
        return FALSE;
    add_kernel_devices(h);
    add_ovs_bridges(h);
    return TRUE;
}

/* --- all else ---------------------------------------------------------- */

static gboolean add_capabilities(virConnectPtr conn, Host *h, GError **error)
{
    char *xml = virConnectGetCapabilities(conn);
    gboolean ok;

    if (!xml)
        return virt_error(error, "cannot read what this host can run");
    ok = host_add_capabilities(h, xml, error);
    free(xml);
    return ok;
}

static gboolean add_filters(virConnectPtr conn, Host *h, GError **error)
{
    virNWFilterPtr *filters = NULL;

    if (virConnectListAllNWFilters(conn, &filters, 0) < 0)
        return virt_error(error, "cannot list the network filters of this host");
    for (virNWFilterPtr *f = filters; *f; f++) {
        g_ptr_array_add(h->filters, g_strdup(virNWFilterGetName(*f)));
        virNWFilterFree(*f);
    }
    free(filters);
    return TRUE;
}

static void add_addresses(Host *h)
{
    struct ifaddrs *list = NULL;
    char text[NI_MAXHOST];

    if (getifaddrs(&list) != 0)
        return;
    for (const struct ifaddrs *a = list; a; a = a->ifa_next) {
        int family = a->ifa_addr ? a->ifa_addr->sa_family : AF_UNSPEC;
        socklen_t len = family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

        if ((family == AF_INET || family == AF_INET6) &&
            getnameinfo(a->ifa_addr, len, text, sizeof(text), NULL, 0, NI_NUMERICHOST) == 0)
            g_ptr_array_add(h->addresses, g_strdup(text));
    }
    freeifaddrs(list);
}

/* QEMU's own descriptors (docs/interop/firmware.json in its sources). */
static void add_firmware(Host *h, const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        json_auto_t *doc = g_str_has_suffix(name, ".json") ? json_load_file(path, 0, NULL) : NULL;
        const char *loader, *vars;

        if (json_unpack(doc, "{s:{s:{s:s}, s:{s:s}}}", "mapping", "executable", "filename", &loader,
                        "nvram-template", "filename", &vars) == 0)
            host_add_firmware(h, loader, vars);
    }
}

static gboolean add_neighbours(virConnectPtr conn, Host *h, GError **error)
{
    g_autoptr(Inventory) inventory = inventory_read(conn, error);

    if (!inventory)
        return FALSE;
    for (guint i = 0; i < inventory->vms->len; i++) {
        const Definition *d = ((const Vm *)inventory->vms->pdata[i])->definition;

        for (guint n = 0; n < d->interfaces->len; n++) {
            const Interface *nic = d->interfaces->pdata[n];

            if (nic->mac)
                host_add_neighbour(h, ID_TEXT(d->uuid), d->name, nic->mac, &nic->place);
        }
    }
    return TRUE;
}

/* Asked of the file system itself: some only fail when a file is opened so. */
static gboolean can_direct_io(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);

    if (fd < 0)
        return FALSE;
    close(fd);
    return TRUE;
}

static gboolean has_program(const char *name)
{
    g_autofree char *path = g_find_program_in_path(name);

    return path != NULL;
}

static gboolean is_there(gpointer user, const char *path)
{
    (void)user;
    return g_file_test(path, G_FILE_TEST_EXISTS);
}

Host *host_facts_read(virConnectPtr conn, const char *id, const char *name, const char *store, GError **error)
{
    g_autoptr(Host) h = host_new(id, name);

    if (!host_facts_places(conn, h, error) || !add_capabilities(conn, h, error) ||
        !add_filters(conn, h, error) || !add_neighbours(conn, h, error))
        return NULL;
    add_addresses(h);
    add_firmware(h, "/etc/qemu/firmware");
    add_firmware(h, "/usr/share/qemu/firmware");
    h->swtpm = has_program("swtpm") && has_program("swtpm_setup");
    h->direct_io = can_direct_io(store);
    h->has_path = is_there;
    return g_steal_pointer(&h);
}

CpuAnswer host_facts_cpu(virConnectPtr conn, const char *definition)
{
    g_auto(CpuQuestion) q = {0};
    int answer;

    if (!translate_cpu_question(definition, &q, NULL) || !q.cpu)
        return CPU_NOT_ASKED;
    answer = virConnectCompareHypervisorCPU(conn, NULL, q.arch, q.machine, q.type, q.cpu, 0);
    if (answer == VIR_CPU_COMPARE_INCOMPATIBLE)
        return CPU_DOES_NOT_FIT;
    return answer == VIR_CPU_COMPARE_ERROR ? CPU_NOT_ASKED : CPU_FITS;
}
