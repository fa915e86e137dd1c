/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/network.h"

#include <string.h>

static gboolean refuse(const char *name, const Host *to, const char *why, const char *what, GError **error)
{
    g_set_error(error, NETMAP_ERROR, NETMAP_ERROR_MAPPING,
                "network '%s' cannot be made on %s as it is: it %s '%s' of its host; define it there by hand",
                name, to->name, why, what);
    return FALSE;
}

static gboolean is_taken(const Host *to, const char *bridge)
{
    for (guint i = 0; i < to->networks->len; i++)
        if (g_strcmp0(((const HostNetwork *)to->networks->pdata[i])->bridge, bridge) == 0)
            return TRUE;
    return host_find_bridge(to, bridge) || host_has_device(to, bridge);
}

/* A bridge of the host must be there; one that libvirt makes must not. */
static gboolean fit_bridge(xmlNode *root, const char *name, const Host *to, GError **error)
{
    xmlNode *bridge = xml_child(root, "bridge");
    g_autofree char *device = xml_attr(bridge, "name");

    if (!device)
        return TRUE;
    if (xml_attr_is(xml_child(root, "forward"), "mode", "bridge"))
        return host_find_bridge(to, device) || refuse(name, to, "is the bridge", device, error);
    if (is_taken(to, device))
        xml_remove(bridge);
    return TRUE;
}

/* Where it is routed or translated to is any way out, unless it is said; a pool of devices is those devices. */
static gboolean fit_forward(xmlNode *root, const char *name, const Host *to, GError **error)
{
    xmlNode *forward = xml_child(root, "forward");
    g_autofree char *mode = xml_attr(forward, "mode");
    g_autofree char *dev = xml_attr(forward, "dev");

    if (forward && xml_child(forward, "pf"))
        return refuse(name, to, "is a pool of", "functions", error);
    if (dev && !host_has_device(to, dev)) {
        if (g_strcmp0(mode, "nat") != 0 && g_strcmp0(mode, "route") != 0 && g_strcmp0(mode, "open") != 0)
            return refuse(name, to, "is on the device", dev, error);
        xml_set(forward, "dev", NULL);
        xml_drop(forward, "interface");
    }
    for (const xmlNode *n = xml_child(forward, "interface"); n; n = xml_next(n)) {
        g_autofree char *one = xml_attr(n, "dev");

        if (one && !host_has_device(to, one))
            return refuse(name, to, "is on the device", one, error);
    }
    return !forward || !xml_child(forward, "address") || refuse(name, to, "is a pool of", "devices", error);
}

char *network_for(const char *definition, const char *name, const Host *to, GError **error)
{
    g_autoptr(xmlDoc) doc = xml_read(definition, strlen(definition), "network", error);
    xmlNode *root;

    if (!doc)
        return NULL;
    root = xmlDocGetRootElement(doc);
    xml_set_text(xml_need(root, "name"), name);
    xml_drop(root, "uuid");
    xml_drop(root, "mac");
    if (!fit_bridge(root, name, to, error) || !fit_forward(root, name, to, error))
        return NULL;
    return xml_write(doc);
}
