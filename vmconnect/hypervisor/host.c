/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/host.h"

#include "netmap/host_json.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/machine.h"
#include "vmconnect/base/outer.h"
#include "vmconnect/hypervisor/host_facts.h"

#include <stdlib.h>

/* libvirt's numbers: major * 1000000 + minor * 1000 + release. */
static char *version_text(unsigned long v)
{
    return g_strdup_printf("%lu.%lu.%lu", v / 1000000, v / 1000 % 1000, v % 1000);
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
    g_autofree char *machine = machine_id();
    g_autofree char *system_uuid = machine_system_uuid();
    g_autofree char *clock_source =
        first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    g_autofree char *libvirt = NULL;
    g_autofree char *qemu = NULL;
    unsigned long libvirt_version = 0;
    unsigned long qemu_version = 0;
    g_autoptr(Host) places = host_new(NULL, NULL);
    json_t *doc;

    if (virConnectGetLibVersion(conn, &libvirt_version) != 0 ||
        virConnectGetVersion(conn, &qemu_version) != 0) {
        virt_error(error, "cannot read the versions of libvirt and QEMU");
        return NULL;
    }
    if (!host_facts_places(conn, places, error))
        return NULL;
    libvirt = version_text(libvirt_version);
    qemu = version_text(qemu_version);
    doc = host_places_to_json(places);
    json_object_set_new(doc, "boot_id", json_string(boot_id));
    json_object_set_new(doc, "machine_id", json_string(machine));
    json_object_set_new(doc, "system_uuid", json_string(system_uuid));
    json_object_set_new(doc, "outer", json_string(outer_here()));
    json_object_set_new(doc, "libvirt", json_string(libvirt));
    json_object_set_new(doc, "qemu", json_string(qemu));
    json_object_set_new(doc, "clock_source", json_string(clock_source));
    return doc;
}
