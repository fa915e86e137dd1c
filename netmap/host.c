/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/host.h"

#include <string.h>

static void network_free(gpointer data)
{
    HostNetwork *n = data;

    g_free(n->name);
    g_free(n->bridge);
    g_free(n->over);
    g_ptr_array_unref(n->portgroups);
    g_free(n);
}

static void bridge_free(gpointer data)
{
    HostBridge *b = data;

    g_free(b->name);
    g_free(b);
}

static void offer_free(gpointer data)
{
    HostOffer *o = data;

    g_free(o->arch);
    g_free(o->type);
    g_free(o->emulator);
    g_hash_table_unref(o->machines);
    g_free(o);
}

static void firmware_free(gpointer data)
{
    HostFirmware *f = data;

    g_free(f->loader);
    g_free(f->vars);
    g_free(f);
}

static void neighbour_free(gpointer data)
{
    HostNeighbour *n = data;

    g_free(n->uuid);
    g_free(n->vm);
    g_free(n->mac);
    place_clear(&n->place);
    g_free(n);
}

Host *host_new(const char *id, const char *name)
{
    Host *h = g_new0(Host, 1);

    h->id = g_strdup(id);
    h->name = g_strdup(name);
    h->networks = g_ptr_array_new_with_free_func(network_free);
    h->bridges = g_ptr_array_new_with_free_func(bridge_free);
    h->devices = g_ptr_array_new_with_free_func(g_free);
    h->filters = g_ptr_array_new_with_free_func(g_free);
    h->addresses = g_ptr_array_new_with_free_func(g_free);
    h->offers = g_ptr_array_new_with_free_func(offer_free);
    h->firmware = g_ptr_array_new_with_free_func(firmware_free);
    h->neighbours = g_ptr_array_new_with_free_func(neighbour_free);
    h->models = g_ptr_array_new_with_free_func(g_free);
    h->pages = g_array_new(FALSE, FALSE, sizeof(HostPages));
    return h;
}

void host_free(Host *h)
{
    if (!h)
        return;
    g_free(h->id);
    g_free(h->name);
    g_ptr_array_unref(h->networks);
    g_ptr_array_unref(h->bridges);
    g_ptr_array_unref(h->devices);
    g_ptr_array_unref(h->filters);
    g_ptr_array_unref(h->addresses);
    g_ptr_array_unref(h->offers);
    g_ptr_array_unref(h->firmware);
    g_ptr_array_unref(h->neighbours);
    g_ptr_array_unref(h->models);
    g_array_unref(h->pages);
    g_free(h);
}

/* --- filling in -------------------------------------------------------- */

HostNetwork *host_add_network(Host *h, const char *name, gboolean active, const char *const *portgroups)
{
    HostNetwork *n = g_new0(HostNetwork, 1);

    n->name = g_strdup(name);
    n->active = active;
    n->portgroups = g_ptr_array_new_with_free_func(g_free);
    for (; portgroups && *portgroups; portgroups++)
        g_ptr_array_add(n->portgroups, g_strdup(*portgroups));
    g_ptr_array_add(h->networks, n);
    return n;
}

HostBridge *host_add_bridge(Host *h, const char *name, gboolean ovs)
{
    HostBridge *b = g_new0(HostBridge, 1);

    b->name = g_strdup(name);
    b->ovs = ovs;
    g_ptr_array_add(h->bridges, b);
    return b;
}

void host_add_firmware(Host *h, const char *loader, const char *vars)
{
    HostFirmware *f = g_new0(HostFirmware, 1);

    *f = (HostFirmware){g_strdup(loader), g_strdup(vars)};
    g_ptr_array_add(h->firmware, f);
}

void host_add_neighbour(Host *h, const char *uuid, const char *vm, const char *mac, const Place *place)
{
    HostNeighbour *n = g_new0(HostNeighbour, 1);

    *n = (HostNeighbour){g_strdup(uuid), g_strdup(vm), g_ascii_strdown(mac, -1), place_copy(place)};
    g_ptr_array_add(h->neighbours, n);
}

static void add_machines(HostOffer *offer, const xmlNode *parent)
{
    for (const xmlNode *m = xml_child(parent, "machine"); m; m = xml_next(m)) {
        char *name = xml_text(m);
        char *canonical = xml_attr(m, "canonical");

        g_hash_table_add(offer->machines, name);
        if (canonical)
            g_hash_table_add(offer->machines, canonical);
    }
}

/* A domain type has an emulator and machines of its own only where they differ from the architecture's. */
static void add_offer(Host *h, const xmlNode *arch, const xmlNode *domain)
{
    HostOffer *offer = g_new0(HostOffer, 1);
    const xmlNode *emulator = xml_child(domain, "emulator");

    offer->arch = xml_attr(arch, "name");
    offer->type = xml_attr(domain, "type");
    offer->emulator = xml_text(emulator ? emulator : xml_child(arch, "emulator"));
    offer->machines = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    add_machines(offer, xml_child(domain, "machine") ? domain : arch);
    g_ptr_array_add(h->offers, offer);
}

static guint64 number_of(const xmlNode *node)
{
    g_autofree char *text = xml_text(node);

    return text ? g_ascii_strtoull(text, NULL, 10) : 0;
}

static void add_pages(Host *h, const xmlNode *pages)
{
    g_autofree char *size = xml_attr(pages, "size");
    HostPages p = {size ? g_ascii_strtoull(size, NULL, 10) : 0, number_of(pages)};

    /* The processor's ordinary page is none of them. */
    if (p.kib <= 4)
        return;
    for (guint i = 0; i < h->pages->len; i++) {
        HostPages *known = &g_array_index(h->pages, HostPages, i);

        if (known->kib == p.kib) {
            known->pages += p.pages;
            return;
        }
    }
    g_array_append_val(h->pages, p);
}

static void add_cell(Host *h, const xmlNode *cell)
{
    const xmlNode *cpus = xml_child(cell, "cpus");

    h->nodes++;
    h->memory_kib += number_of(xml_child(cell, "memory"));
    for (const xmlNode *p = xml_child(cell, "pages"); p; p = xml_next(p))
        add_pages(h, p);
    for (const xmlNode *cpu = xml_child(cpus, "cpu"); cpu; cpu = xml_next(cpu))
        h->cpus++;
}

gboolean host_add_capabilities(Host *h, const char *xml, GError **error)
{
    g_autoptr(xmlDoc) doc = xml_read(xml, strlen(xml), "capabilities", error);
    const xmlNode *root, *host;

    if (!doc)
        return FALSE;
    root = xmlDocGetRootElement(doc);
    host = xml_child(root, "host");
    for (const xmlNode *m = xml_child(host, "secmodel"); m; m = xml_next(m))
        if (xml_child(m, "model"))
            g_ptr_array_add(h->models, xml_text(xml_child(m, "model")));
    for (const xmlNode *c = xml_child(xml_child(xml_child(host, "topology"), "cells"), "cell"); c;
         c = xml_next(c))
        add_cell(h, c);
    for (const xmlNode *guest = xml_child(root, "guest"); guest; guest = xml_next(guest)) {
        const xmlNode *arch = xml_child(guest, "arch");

        for (const xmlNode *d = xml_child(arch, "domain"); d; d = xml_next(d))
            add_offer(h, arch, d);
    }
    return TRUE;
}

gboolean host_add_network_xml(Host *h, const char *xml, gboolean active, GError **error)
{
    g_autoptr(xmlDoc) doc = xml_read(xml, strlen(xml), "network", error);
    g_autoptr(GPtrArray) portgroups = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *name = NULL;
    HostNetwork *network;
    const xmlNode *root;

    if (!doc)
        return FALSE;
    root = xmlDocGetRootElement(doc);
    name = xml_text(xml_child(root, "name"));
    for (const xmlNode *p = xml_child(root, "portgroup"); p; p = xml_next(p)) {
        char *group = xml_attr(p, "name");

        if (group)
            g_ptr_array_add(portgroups, group);
    }
    g_ptr_array_add(portgroups, NULL);
    network = host_add_network(h, name ? name : "", active, (const char *const *)portgroups->pdata);
    network->tags = xml_attr_is(xml_child(root, "virtualport"), "type", "openvswitch") ||
                    xml_attr_is(xml_child(root, "forward"), "mode", "hostdev");
    *(xml_attr_is(xml_child(root, "forward"), "mode", "bridge") ? &network->over : &network->bridge) =
        xml_attr(xml_child(root, "bridge"), "name");
    return TRUE;
}

/* --- asking ------------------------------------------------------------ */

static gboolean holds(const GPtrArray *texts, const char *text)
{
    return g_ptr_array_find_with_equal_func((GPtrArray *)texts, text, g_str_equal, NULL);
}

const HostNetwork *host_find_network(const Host *h, const char *name)
{
    for (guint i = 0; i < h->networks->len; i++) {
        const HostNetwork *n = h->networks->pdata[i];

        if (g_str_equal(n->name, name))
            return n;
    }
    return NULL;
}

const HostBridge *host_find_bridge(const Host *h, const char *name)
{
    for (guint i = 0; i < h->bridges->len; i++) {
        const HostBridge *b = h->bridges->pdata[i];

        if (g_str_equal(b->name, name))
            return b;
    }
    return NULL;
}

char *host_segment(const Host *h, const Place *place)
{
    const HostNetwork *n = place->kind == PLACE_NETWORK ? host_find_network(h, place->name) : NULL;
    const char *bridge = place->kind == PLACE_BRIDGE ? place->name
                         : n                         ? (n->over ? n->over : n->bridge)
                                                     : NULL;

    if (place->kind == PLACE_NONE)
        return NULL;
    return bridge ? g_strdup_printf("bridge %s@%d", bridge, place->vlan)
                  : g_strdup_printf("%d %s@%d", place->kind, place->name, place->vlan);
}

gboolean host_same_segment(const Host *h, const Place *a, const Place *b)
{
    g_autofree char *one = host_segment(h, a);
    g_autofree char *other = host_segment(h, b);

    return one && g_strcmp0(one, other) == 0;
}

gboolean host_has_device(const Host *h, const char *name)
{
    return holds(h->devices, name);
}

gboolean network_has_portgroup(const HostNetwork *n, const char *name)
{
    return holds(n->portgroups, name);
}

gboolean host_has_path(const Host *h, const char *path)
{
    return h->has_path && h->has_path(h->user, path);
}

gboolean host_has_address(const Host *h, const char *address)
{
    static const char *const ALWAYS[] = {"0.0.0.0", "::", "127.0.0.1", "::1", "localhost", "", NULL};

    return g_strv_contains(ALWAYS, address) || holds(h->addresses, address);
}

const HostOffer *host_find_offer(const Host *h, const char *arch, const char *type, const char *emulator)
{
    for (guint i = 0; i < h->offers->len; i++) {
        const HostOffer *o = h->offers->pdata[i];

        if (g_strcmp0(o->arch, arch) == 0 && g_strcmp0(o->type, type) == 0 &&
            (!emulator || g_strcmp0(o->emulator, emulator) == 0))
            return o;
    }
    return NULL;
}
