/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/host.h"

#include "vmconnect/base/error.h"

#include <stdlib.h>

/* libvirt's numbers: major * 1000000 + minor * 1000 + release. */
static char *version_text(unsigned long v)
{
    return g_strdup_printf("%lu.%lu.%lu", v / 1000000, v / 1000 % 1000, v % 1000);
}

static json_t *network_to_json(virNetworkPtr net)
{
    char *bridge = virNetworkGetBridgeName(net); /* NULL: has none */
    json_t *doc = json_pack("{s:s, s:s?, s:b}", "name", virNetworkGetName(net), "bridge", bridge, "active",
                            virNetworkIsActive(net) == 1);

    free(bridge);
    return doc;
}

static json_t *networks_read(virConnectPtr conn, GError **error)
{
    json_t *list = json_array();
    virNetworkPtr *nets = NULL;

    if (virConnectListAllNetworks(conn, &nets, 0) < 0) {
        virt_error(error, "cannot list the networks of this host");
        json_decref(list);
        return NULL;
    }
    for (virNetworkPtr *n = nets; *n; n++) {
        json_array_append_new(list, network_to_json(*n));
        virNetworkFree(*n);
    }
    free(nets);
    return list;
}

/* A one-line file without its newline; "" if it is not there. */
static char *first_line(const char *path)
{
    char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? g_strstrip(text) : g_strdup("");
}

json_t *host_read(virConnectPtr conn, GError **error)
{
    g_autofree char *boot_id = first_line("/proc/sys/kernel/random/boot_id");
    g_autofree char *machine_id = first_line("/etc/machine-id");
    g_autofree char *libvirt = NULL;
    g_autofree char *qemu = NULL;
    unsigned long libvirt_version = 0;
    unsigned long qemu_version = 0;
    json_t *networks;

    if (virConnectGetLibVersion(conn, &libvirt_version) != 0 ||
        virConnectGetVersion(conn, &qemu_version) != 0) {
        virt_error(error, "cannot read the versions of libvirt and QEMU");
        return NULL;
    }
    networks = networks_read(conn, error);
    if (!networks)
        return NULL;
    libvirt = version_text(libvirt_version);
    qemu = version_text(qemu_version);
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "boot_id", boot_id, "machine_id", machine_id, "libvirt",
                     libvirt, "qemu", qemu, "networks", networks);
}
