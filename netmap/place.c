/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/place.h"

#include <stdio.h>
#include <string.h>

#define VLAN_MAX 4094

static const struct {
    const char *prefix;
    const char *type;      /* of an <interface> */
    const char *attribute; /* of its <source> */
} KINDS[] = {
    [PLACE_NETWORK] = {"network:", "network", "network"},
    [PLACE_BRIDGE] = {"bridge:", "bridge", "bridge"},
    [PLACE_DIRECT] = {"direct:", "direct", "dev"},
    [PLACE_HOSTDEV] = {"hostdev:", "hostdev", NULL},
};

void place_clear(Place *p)
{
    g_clear_pointer(&p->name, g_free);
    g_clear_pointer(&p->portgroup, g_free);
    *p = (Place){0};
}

static Place steal(Place *p)
{
    Place stolen = *p;

    *p = (Place){0};
    return stolen;
}

Place place_copy(const Place *p)
{
    return (Place){p->kind, g_strdup(p->name), g_strdup(p->portgroup), p->vlan};
}

gboolean place_equal(const Place *a, const Place *b)
{
    return a->kind == b->kind && a->vlan == b->vlan && g_strcmp0(a->name, b->name) == 0 &&
           g_strcmp0(a->portgroup, b->portgroup) == 0;
}

gboolean place_is_within(const Place *p, const Place *rule)
{
    return p->kind != PLACE_NONE && p->kind == rule->kind && g_strcmp0(p->name, rule->name) == 0 &&
           (!rule->portgroup || g_strcmp0(p->portgroup, rule->portgroup) == 0) &&
           (!rule->vlan || p->vlan == rule->vlan);
}

/* --- text -------------------------------------------------------------- */

static gboolean wrong(const char *text, const char *why, GError **error)
{
    g_set_error(error, NETMAP_ERROR, NETMAP_ERROR_MAPPING, "'%.80s' %s", text, why);
    return FALSE;
}

/* Up to the first of @ends that no backslash precedes; @ret_end is where. */
static char *read_part(const char *text, const char *ends, const char **ret_end)
{
    GString *part = g_string_new(NULL);

    while (*text && !strchr(ends, *text)) {
        if (*text == '\\' && text[1])
            text++;
        g_string_append_c(part, *text++);
    }
    *ret_end = text;
    return g_string_free(part, FALSE);
}

static gboolean read_vlan(const char *text, int *ret_vlan)
{
    char *end = NULL;
    guint64 vlan = g_ascii_isdigit(text[0]) ? g_ascii_strtoull(text, &end, 10) : 0;

    if (!end || *end || vlan < 1 || vlan > VLAN_MAX)
        return FALSE;
    *ret_vlan = (int)vlan;
    return TRUE;
}

static gboolean is_name(const char *name)
{
    gsize len = strlen(name);

    if (len == 0 || len > PLACE_NAME_MAX || !g_utf8_validate(name, (gssize)len, NULL))
        return FALSE;
    for (gsize i = 0; i < len; i++)
        if (g_ascii_iscntrl(name[i]))
            return FALSE;
    return TRUE;
}

static PlaceKind kind_of(const char **text)
{
    for (PlaceKind kind = PLACE_NETWORK; kind < G_N_ELEMENTS(KINDS); kind++)
        if (g_str_has_prefix(*text, KINDS[kind].prefix)) {
            *text += strlen(KINDS[kind].prefix);
            return kind;
        }
    return PLACE_NETWORK;
}

/* In the one way that libvirt's addresses are written here, too; FALSE, and *@name unchanged, if it is none. */
static gboolean normalise_pci(char **name)
{
    guint domain, bus, slot, function;
    int len = 0;

    if (strspn(*name, "0123456789abcdefABCDEF:.") != strlen(*name) ||
        sscanf(*name, "%4x:%2x:%2x.%1x%n", &domain, &bus, &slot, &function, &len) != 4 || // NOLINT
        (*name)[len] != '\0' || slot > 31 || function > 7)
        return FALSE;
    g_free(*name);
    *name = g_strdup_printf("%04x:%02x:%02x.%x", domain, bus, slot, function);
    return TRUE;
}

gboolean place_parse(const char *text, Place *ret_place, GError **error)
{
    g_auto(Place) p = {0};
    const char *rest = text;

    p.kind = kind_of(&rest);
    p.name = read_part(rest, "/@", &rest);
    if (*rest == '/')
        p.portgroup = read_part(rest + 1, "@", &rest);
    if (!is_name(p.name) || (p.portgroup && !is_name(p.portgroup)))
        return wrong(
            text,
            "does not name a network: write NETWORK, NETWORK/PORTGROUP, bridge:NAME, direct:DEVICE or "
            "hostdev:PCI-ADDRESS",
            error);
    if (p.portgroup && p.kind != PLACE_NETWORK)
        return wrong(text, "has a port group, which only a network of libvirt has", error);
    if (p.kind == PLACE_HOSTDEV && !normalise_pci(&p.name))
        return wrong(text, "does not name a PCI function such as hostdev:0000:04:10.0", error);
    if (*rest == '@' && !read_vlan(rest + 1, &p.vlan))
        return wrong(text, "has no VLAN tag of 1 to 4094 after the '@'", error);
    *ret_place = steal(&p);
    return TRUE;
}

static void write_part(GString *text, const char *part)
{
    for (; *part; part++) {
        if (strchr("\\,=/@", *part))
            g_string_append_c(text, '\\');
        g_string_append_c(text, *part);
    }
}

char *place_format(const Place *p)
{
    GString *text = g_string_new(NULL);
    const char *name = p->name;

    if (p->kind == PLACE_NONE)
        return g_string_free(text, FALSE);
    /* A network may be called "bridge:x". */
    if (p->kind != PLACE_NETWORK || kind_of(&name) != PLACE_NETWORK || name != p->name)
        g_string_append(text, KINDS[p->kind].prefix);
    write_part(text, p->name);
    if (p->portgroup) {
        g_string_append_c(text, '/');
        write_part(text, p->portgroup);
    }
    if (p->vlan)
        g_string_append_printf(text, "@%d", p->vlan);
    return g_string_free(text, FALSE);
}

/* --- an interface ------------------------------------------------------ */

static const char *const PARTS[] = {"domain", "bus", "slot", "function"};

char *place_pci_address(const xmlNode *address)
{
    guint value[G_N_ELEMENTS(PARTS)];

    if (address && !xml_attr_is(address, "type", "pci") &&
        xmlHasProp((xmlNode *)address, (const xmlChar *)"type"))
        return NULL;
    for (guint i = 0; i < G_N_ELEMENTS(PARTS); i++) {
        g_autofree char *text = xml_attr(address, PARTS[i]);

        value[i] = text ? (guint)g_ascii_strtoull(text, NULL, 0) : 0;
        if (!text && i > 0)
            return NULL;
    }
    return g_strdup_printf("%04x:%02x:%02x.%x", value[0] & 0xffff, value[1] & 0xff, value[2] & 0x1f,
                           value[3] & 7);
}

void place_set_pci_address(xmlNode *address, const char *text)
{
    g_auto(GStrv) parts = g_strsplit_set(text, ":.", (int)G_N_ELEMENTS(PARTS));

    for (guint i = 0; i < G_N_ELEMENTS(PARTS) && parts[i]; i++) {
        g_autofree char *value = g_strconcat("0x", parts[i], NULL);

        xml_set(address, PARTS[i], value);
    }
}

static int vlan_of(const xmlNode *interface)
{
    const xmlNode *vlan = xml_child(interface, "vlan");
    const xmlNode *tag = xml_child(vlan, "tag");
    g_autofree char *id = xml_attr(tag, "id");
    int value = 0;

    if (!id || xml_attr_is(vlan, "trunk", "yes") || xml_next(tag) || !read_vlan(id, &value))
        return 0;
    return value;
}

Place place_of_interface(const xmlNode *interface)
{
    g_autofree char *type = xml_attr(interface, "type");
    const xmlNode *source = xml_child(interface, "source");
    Place p = {0};

    for (PlaceKind kind = PLACE_NETWORK; kind < G_N_ELEMENTS(KINDS) && !p.kind; kind++)
        if (g_strcmp0(KINDS[kind].type, type) == 0)
            p.kind = kind;
    if (p.kind == PLACE_HOSTDEV)
        p.name = place_pci_address(xml_child(source, "address"));
    else if (p.kind != PLACE_NONE)
        p.name = xml_attr(source, KINDS[p.kind].attribute);
    if (!p.name) {
        p.kind = PLACE_NONE;
        return p;
    }
    if (p.kind == PLACE_NETWORK)
        p.portgroup = xml_attr(source, "portgroup");
    p.vlan = vlan_of(interface);
    return p;
}

void place_plug(xmlNode *interface, const Place *to)
{
    g_autofree char *mode = xml_attr(xml_child(interface, "source"), "mode");
    xmlNode *source;

    g_assert(to->kind != PLACE_NONE);
    xml_set(interface, "type", KINDS[to->kind].type);
    xml_drop(interface, "source");
    source = xml_add(interface, "source");
    if (to->kind == PLACE_HOSTDEV) {
        xmlNode *address = xml_add(source, "address");

        xml_set(address, "type", "pci");
        place_set_pci_address(address, to->name);
        return;
    }
    xml_set(source, KINDS[to->kind].attribute, to->name);
    xml_set(source, "portgroup", to->portgroup);
    if (to->kind == PLACE_DIRECT)
        xml_set(source, "mode", mode ? mode : "bridge");
}
