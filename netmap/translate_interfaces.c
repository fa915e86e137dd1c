/* SPDX-License-Identifier: Apache-2.0 */
/* Each interface is plugged into what its place is mapped to, or named as one that is mapped to nothing. */
#include "netmap/translate_parts.h"

#include <string.h>

typedef struct {
    xmlNode *node;
    char *mac;  /* NULL: libvirt will choose one */
    char *name; /* for people: its MAC address, or which one it is */
    Place place;
} Nic;

static void nic_clear(Nic *nic)
{
    g_free(nic->mac);
    g_free(nic->name);
    place_clear(&nic->place);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Nic, nic_clear)

static Nic nic_of(xmlNode *node, guint number)
{
    Nic nic = {
        .node = node, .mac = xml_attr(xml_child(node, "mac"), "address"), .place = place_of_interface(node)};

    nic.name = nic.mac ? g_strdup(nic.mac) : g_strdup_printf("number %u", number);
    return nic;
}

/* --- plugging in ------------------------------------------------------- */

/* libvirt takes tags where something can act on them. */
static gboolean can_tag(const Host *host, const Place *to)
{
    const HostBridge *bridge = to->kind == PLACE_BRIDGE ? host_find_bridge(host, to->name) : NULL;
    const HostNetwork *network = to->kind == PLACE_NETWORK ? host_find_network(host, to->name) : NULL;

    return to->kind == PLACE_HOSTDEV || (bridge && bridge->ovs) || (network && network->tags);
}

static gboolean is_on_ovs(const xmlNode *node)
{
    return xml_attr_is(xml_child(node, "virtualport"), "type", "openvswitch");
}

static void set_virtualport(Translation *t, xmlNode *node, const Place *to)
{
    const HostBridge *bridge = to->kind == PLACE_BRIDGE ? host_find_bridge(t->in->to, to->name) : NULL;

    if (bridge && bridge->ovs && is_on_ovs(node))
        return;
    xml_drop(node, "virtualport");
    if (bridge && bridge->ovs)
        xml_set(xml_add(node, "virtualport"), "type", "openvswitch");
}

/* The tag that the rule names; else those that it has, if the rule is about its whole network. */
static void set_vlan(Translation *t, const Nic *nic, const Place *to, gboolean keep)
{
    g_autofree char *text = NULL;
    char tag[8];

    /* One tag for all that is there does not say what becomes of those that it has. */
    if (to->vlan && keep && xml_child(nic->node, "vlan") && nic->place.vlan != to->vlan)
        remarks_add(t->remarks, REMARK_VLAN,
                    "interface %s has tags of its own, and the rule gives tag %d to all there", nic->name,
                    to->vlan);
    if (to->vlan || !keep)
        xml_drop(nic->node, "vlan");
    if (to->vlan) {
        g_snprintf(tag, sizeof(tag), "%d", to->vlan);
        xml_set(xml_add(xml_add(nic->node, "vlan"), "tag"), "id", tag);
    }
    text = place_format(to);
    if (xml_child(nic->node, "vlan") && !can_tag(t->in->to, to))
        remarks_add(t->remarks, REMARK_VLAN, "interface %s is tagged, and %s of %s cannot tag", nic->name,
                    text, t->in->to->name);
}

/* A function of the host is its own card; all else is one that QEMU plays. */
static void set_card(Translation *t, const Nic *nic, const Place *to)
{
    gboolean was = nic->place.kind == PLACE_HOSTDEV, is = to->kind == PLACE_HOSTDEV;

    if (was == is)
        return;
    remarks_add(t->remarks, REMARK_CARD, "interface %s is %s at home, and %s on %s", nic->name,
                was ? "a device of the host" : "an emulated card",
                is ? "a device of the host" : "an emulated card", t->in->to->name);
    xml_drop(nic->node, "model");
    xml_drop(nic->node, "driver");
    xml_set(nic->node, "managed", is ? "yes" : NULL);
    if (!is)
        xml_set(xml_add(nic->node, "model"), "type", "virtio");
}

/* Names that libvirt made up for the other host. */
static void drop_made_up_target(xmlNode *node)
{
    static const char *const PREFIXES[] = {"vnet", "vif", "macvtap", "macvlan"};
    xmlNode *target = xml_child(node, "target");
    g_autofree char *dev = xml_attr(target, "dev");

    for (guint i = 0; dev && i < G_N_ELEMENTS(PREFIXES); i++)
        if (g_str_has_prefix(dev, PREFIXES[i])) {
            xml_remove(target);
            return;
        }
}

static void plug(Translation *t, const Nic *nic, const Place *to, gboolean keep_tags)
{
    place_plug(nic->node, to);
    set_card(t, nic, to);
    set_vlan(t, nic, to, keep_tags);
    set_virtualport(t, nic->node, to);
    drop_made_up_target(nic->node);
}

/* --- is it there? ------------------------------------------------------ */

static void look_at_network(Translation *t, const Nic *nic, const Place *to)
{
    const HostNetwork *network = host_find_network(t->in->to, to->name);

    if (!network || !network->active)
        remarks_add(t->remarks, REMARK_NETWORK, "interface %s would be on network '%s', which %s %s",
                    nic->name, to->name, t->in->to->name, network ? "has not started" : "does not have");
    else if (to->portgroup && !network_has_portgroup(network, to->portgroup))
        remarks_add(t->remarks, REMARK_PORTGROUP,
                    "interface %s would be in port group '%s', which network '%s' of %s "
                    "does not have",
                    nic->name, to->portgroup, to->name, t->in->to->name);
}

static gboolean has_pci_device(const Host *host, const char *address)
{
    g_autofree char *path = g_strconcat("/sys/bus/pci/devices/", address, NULL);

    return host_has_path(host, path);
}

static void look_if_there(Translation *t, const Nic *nic, const Place *to)
{
    const Host *host = t->in->to;
    const char *what = NULL;

    if (to->kind == PLACE_NETWORK)
        look_at_network(t, nic, to);
    else if (to->kind == PLACE_BRIDGE && !host_find_bridge(host, to->name))
        what = "bridge";
    else if (to->kind == PLACE_DIRECT && !host_has_device(host, to->name))
        what = "network device";
    else if (to->kind == PLACE_HOSTDEV && !has_pci_device(host, to->name))
        what = "PCI device";
    if (what)
        remarks_add(t->remarks, REMARK_NETWORK, "interface %s would be on %s '%s', which %s does not have",
                    nic->name, what, to->name, host->name);
}

/* libvirt has filters where its host switches; elsewhere it drops them without a word. */
static void look_at_filter(Translation *t, const Nic *nic)
{
    g_autofree char *filter = xml_attr(xml_child(nic->node, "filterref"), "filter");

    if (!filter)
        return;
    if (xml_attr_is(nic->node, "type", "direct") || xml_attr_is(nic->node, "type", "hostdev"))
        remarks_add(t->remarks, REMARK_FILTER_LOST,
                    "interface %s has the filter '%s', which has no effect on a device of %s", nic->name,
                    filter, t->in->to->name);
    else if (!g_ptr_array_find_with_equal_func(t->in->to->filters, filter, g_str_equal, NULL))
        remarks_add(t->remarks, REMARK_FILTER, "interface %s has the filter '%s', which %s does not have",
                    nic->name, filter, t->in->to->name);
}

static void look_at_function(Translation *t, const Nic *nic, const Place *to)
{
    if (to->kind == PLACE_HOSTDEV && !g_hash_table_add(t->functions, g_strdup(to->name)))
        remarks_add(t->remarks, REMARK_FUNCTION,
                    "interface %s would have the device %s of %s, which another has already", nic->name,
                    to->name, t->in->to->name);
}

/* --- addresses --------------------------------------------------------- */

/* A VM is no neighbour of its own. */
static gboolean is_neighbour(const Translation *t, const HostNeighbour *n, const char *mac)
{
    return g_ascii_strcasecmp(n->mac, mac) == 0 && g_ascii_strcasecmp(n->uuid, t->vm) != 0;
}

static gboolean is_in_use(const Translation *t, const xmlNode *self, const char *mac)
{
    EACH_CHILD(t->devices, "interface", node)
    if (node != self && xml_attr_is(xml_child(node, "mac"), "address", mac))
        return TRUE;
    for (guint i = 0; i < t->in->to->neighbours->len; i++)
        if (is_neighbour(t, t->in->to->neighbours->pdata[i], mac))
            return TRUE;
    return FALSE;
}

static void give_new_mac(Translation *t, Nic *nic)
{
    char *mac = NULL;

    for (guint turn = 0; !mac || is_in_use(t, nic->node, mac); turn++) {
        g_free(mac);
        mac = mapping_new_mac(t->vm, nic->mac, turn);
    }
    xml_set(xml_need(nic->node, "mac"), "address", mac);
    g_free(nic->mac);
    nic->mac = mac;
}

/* Two with one address on one segment: another VM of the host, or another interface of this one. */
static void look_at_mac(Translation *t, const Nic *nic, const Place *to)
{
    const char *other = NULL;

    for (guint i = 0; nic->mac && i < t->in->to->neighbours->len; i++) {
        const HostNeighbour *n = t->in->to->neighbours->pdata[i];

        if (is_neighbour(t, n, nic->mac) && host_same_segment(t->in->to, &n->place, to))
            other = n->vm;
    }
    if (other)
        remarks_add(t->remarks, REMARK_MAC,
                    "interface %s would be on '%s' of %s beside VM '%s', which has the same "
                    "MAC address",
                    nic->name, to->name, t->in->to->name, other);
}

static void look_at_twins(Translation *t)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    EACH_CHILD(t->devices, "interface", node)
    {
        g_autofree char *mac = xml_attr(xml_child(node, "mac"), "address");
        g_auto(Place) place = place_of_interface(node);
        g_autofree char *segment = host_segment(t->in->to, &place);
        g_autofree char *lower = mac ? g_ascii_strdown(mac, -1) : NULL;
        char *key = lower && segment ? g_strconcat(segment, " ", lower, NULL) : NULL;

        if (key && !g_hash_table_add(seen, key))
            remarks_add(t->remarks, REMARK_MAC, "two interfaces with MAC address %s would be on '%s' of %s",
                        mac, place.name, t->in->to->name);
    }
}

/* --- one --------------------------------------------------------------- */

static void say_unmapped(Translation *t, const Nic *nic)
{
    g_autofree char *place = place_format(&nic->place);
    gboolean namesake = nic->place.kind == PLACE_NETWORK && host_find_network(t->in->to, nic->place.name);
    g_autofree char *hint =
        namesake ? g_strdup_printf("; it has a network of the same name: if that is the one, --map %s=%s",
                                   place, place)
                 : g_strdup("");

    remarks_add(t->remarks, REMARK_UNMAPPED, "interface %s is on '%s', which is mapped to nothing of %s%s",
                nic->name, place, t->in->to->name, hint);
}

static void say_ambiguous(Translation *t, const Nic *nic, const MapAnswer *answer)
{
    g_autofree char *place = place_format(&nic->place);
    g_autofree char *one = place_format(answer->place);
    g_autofree char *other = place_format(answer->other);

    remarks_add(t->remarks, REMARK_AMBIGUOUS,
                "interface %s is on '%s', which stands for '%s' and for '%s' of %s", nic->name, place, one,
                other, t->in->to->name);
}

/* It is in no place that could be mapped. A user's own tunnel needs nothing of the host. */
static void take_as_is(Translation *t, const Nic *nic)
{
    g_autofree char *type = xml_attr(nic->node, "type");

    if (g_strcmp0(type, "user") != 0)
        remarks_add(t->remarks, REMARK_AS_IS, "interface %s is of type %s", nic->name, type ? type : "?");
}

static void move(Translation *t, Nic *nic, const MapAnswer *answer)
{
    /* A rule about a tag says all; one about its network, or about the interface, where it is plugged in. */
    gboolean wide = !answer->rule || !answer->rule->vlan;
    gboolean card = (nic->place.kind == PLACE_HOSTDEV) != (answer->place->kind == PLACE_HOSTDEV);
    xmlNode *kept = home_keep_interface(&t->home, nic->node, card);
    gboolean new_mac =
        answer->mac == MAC_NEW && t->in->from_column == MAP_MASTER && t->in->to_column == MAP_REPLICA;
    g_auto(Place) to = place_copy(answer->place);
    g_auto(Place) there = {0};
    g_autofree char *text = NULL;

    /* The group of a network that is mapped as a whole is looked for there by its name. */
    if (to.kind == PLACE_NETWORK && nic->place.kind == PLACE_NETWORK && !to.portgroup && answer->rule &&
        !answer->rule->portgroup)
        to.portgroup = g_strdup(nic->place.portgroup);
    plug(t, nic, &to, wide);
    if (new_mac && nic->mac)
        give_new_mac(t, nic);
    there = place_of_interface(nic->node);
    text = place_format(&there);
    home_kept_in_place(kept, nic->node, text);
    look_if_there(t, nic, &to);
    look_at_function(t, nic, &to);
    look_at_mac(t, nic, &to);
}

static void translate_interface(Translation *t, Nic *nic)
{
    const TranslateInput *in = t->in;
    MapAnswer answer =
        mapping_find(in->mapping, in->from_column, in->to_column, t->vm, nic->mac, &nic->place);

    if (home_has_restored(&t->home, nic->node)) {
        look_if_there(t, nic, &nic->place);
        look_at_mac(t, nic, &nic->place);
    } else if (answer.other) {
        say_ambiguous(t, nic, &answer);
    } else if (answer.place) {
        move(t, nic, &answer);
    } else if (nic->place.kind != PLACE_NONE) {
        say_unmapped(t, nic);
    } else {
        take_as_is(t, nic);
    }
    look_at_filter(t, nic);
}

void translate_interfaces(Translation *t)
{
    guint number = 0;

    EACH_CHILD(t->devices, "interface", node)
    {
        g_auto(Nic) nic = nic_of(node, ++number);

        translate_interface(t, &nic);
    }
    look_at_twins(t);
}
