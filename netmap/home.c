/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/home.h"

#include "netmap/place.h"

#include <string.h>

/* --- which element ----------------------------------------------------- */

/* What tells one device from others of its tag, for the guest or for its user. */
static char *key_of(const xmlNode *element)
{
    static const struct {
        const char *tag;
        const char *child; /* NULL: the element itself */
        const char *attribute;
    } KEYS[] = {
        {"disk", "target", "dev"},     {"interface", "mac", "address"}, {"filesystem", "target", "dir"},
        {"serial", "target", "port"},  {"console", "target", "port"},   {"parallel", "target", "port"},
        {"channel", "target", "name"}, {"graphics", NULL, "type"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(KEYS); i++)
        if (xml_is(element, KEYS[i].tag))
            return xml_attr(KEYS[i].child ? xml_child(element, KEYS[i].child) : element, KEYS[i].attribute);
    return NULL;
}

/* "devices/disk", from below the root; "" for the root itself. */
static char *path_of(const Home *h, const xmlNode *element)
{
    GString *path = g_string_new(NULL);

    for (const xmlNode *n = element; n && n != h->root; n = n->parent) {
        g_string_prepend(path, (const char *)n->name);
        if (n->parent != h->root)
            g_string_prepend_c(path, '/');
    }
    return g_string_free(path, FALSE);
}

/* The only one with that key: of several it is not known which. */
static xmlNode *find_keyed(xmlNode *first, const char *key)
{
    xmlNode *found = NULL;

    for (xmlNode *n = first; n; n = xml_next(n)) {
        g_autofree char *its = key_of(n);

        if (g_strcmp0(its, key) == 0 && found)
            return NULL;
        if (g_strcmp0(its, key) == 0)
            found = n;
    }
    return found;
}

static xmlNode *find(const Home *h, const char *path, const char *key)
{
    g_auto(GStrv) tags = g_strsplit(path, "/", 8);
    xmlNode *node = h->root;

    for (char **tag = tags; node && *tag; tag++)
        node = tag[1] ? xml_child(node, *tag) : find_keyed(xml_child(node, *tag), key);
    return node;
}

/* --- keeping ----------------------------------------------------------- */

/* All that is ever kept of a device. A home that somebody wrote by hand takes nothing else away. */
static gboolean is_keepable(const char *child, const char *attribute)
{
    static const char *const CHILDREN[] = {"backingStore", "emulator", "listen", "loader", "log",
                                           "nvram",        "protocol", "source", NULL};
    static const char *const ATTRIBUTES[] = {"cpuset", "listen", "type", NULL};

    return (!child || g_strv_contains(CHILDREN, child)) &&
           (!attribute || g_strv_contains(ATTRIBUTES, attribute));
}

static gboolean is_ours(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && node->ns &&
           strcmp((const char *)node->ns->href, HOME_NAMESPACE) == 0 &&
           strcmp((const char *)node->name, name) == 0;
}

static xmlNode *find_home(const xmlNode *metadata)
{
    for (xmlNode *n = metadata ? metadata->children : NULL; n; n = n->next)
        if (is_ours(n, "home"))
            return n;
    return NULL;
}

static gboolean is_same(const Home *h, xmlNode *kept, const char *in, const char *key, const char *kind,
                        const char *what)
{
    return xml_attr_is(kept, "host", h->from) && xml_attr_is(kept, "in", in) &&
           xml_attr_is(kept, "key", key) && xml_attr_is(kept, kind, what);
}

/* A new entry; NULL if nothing is kept, or that is already. */
static xmlNode *entry(Home *h, const xmlNode *element, const char *kind, const char *what)
{
    g_autofree char *in = path_of(h, element);
    g_autofree char *key = key_of(element);
    xmlNode *one;

    if (!h->kept)
        return NULL;
    for (one = h->kept->children; one; one = one->next)
        if (kind && is_same(h, one, in, key, kind, what))
            return NULL;
    one = xmlNewChild(h->kept, h->kept->ns, (const xmlChar *)"kept", NULL);
    xml_set(one, "host", h->from);
    xml_set(one, "in", in);
    xml_set(one, "key", key);
    if (kind)
        xml_set(one, kind, what);
    return one;
}

void home_keep_attr(Home *h, const xmlNode *element, const char *name)
{
    xmlNode *one = entry(h, element, "attribute", name);
    g_autofree char *value = xml_attr(element, name);

    g_assert(is_keepable(NULL, name));
    if (one)
        xml_set(one, "value", value);
}

void home_keep_child(Home *h, const xmlNode *element, const char *name)
{
    xmlNode *one = entry(h, element, "name", name);

    g_assert(is_keepable(name, NULL));
    for (xmlNode *n = one ? xml_child(element, name) : NULL; n; n = xml_next(n))
        xmlAddChild(one, xmlDocCopyNode(n, one->doc, 1));
}

void home_keep_removed(Home *h, xmlNode *element)
{
    xmlNode *one = entry(h, element->parent, NULL, NULL);

    if (!one) {
        xml_remove(element);
        return;
    }
    xmlUnlinkNode(element);
    xmlAddChild(one, element);
}

static const char *const WHERE[] = {"mac", "source", "virtualport", "vlan", "target", NULL};
static const char *const CARD[] = {"model", "driver", NULL};

static void copy_children(xmlNode *entry, const xmlNode *element, const char *const *names)
{
    for (; *names; names++)
        for (xmlNode *n = xml_child(element, *names); n; n = xml_next(n))
            xmlAddChild(entry, xmlDocCopyNode(n, entry->doc, 1));
}

xmlNode *home_keep_interface(Home *h, const xmlNode *interface, gboolean card)
{
    g_autofree char *type = xml_attr(interface, "type");
    g_autofree char *managed = xml_attr(interface, "managed");
    xmlNode *one = entry(h, interface, "type", type);

    if (!one)
        return NULL;
    xml_set(one, "managed", managed);
    xml_set(one, "card", card ? "yes" : NULL);
    copy_children(one, interface, WHERE);
    if (card)
        copy_children(one, interface, CARD);
    return one;
}

void home_kept_in_place(xmlNode *entry, const xmlNode *interface, const char *place)
{
    g_autofree char *mac = key_of(interface);

    if (!entry)
        return;
    xml_set(entry, "key", mac);
    xml_set(entry, "place", place);
}

/* --- putting back ------------------------------------------------------ */

static void restore_children(xmlNode *element, const xmlNode *kept, const char *name)
{
    xmlNode *before = xml_child(element, name);

    while (before && xml_is(before, name))
        before = before->next;
    xml_drop(element, name);
    for (xmlNode *n = kept->children; n; n = n->next) {
        xmlNode *copy = xml_is(n, name) ? xmlDocCopyNode(n, element->doc, 1) : NULL;

        if (copy && before)
            xmlAddPrevSibling(before, copy);
        else if (copy)
            xmlAddChild(element, copy);
    }
}

static void restore_attr(xmlNode *element, const xmlNode *kept, const char *from, const char *name)
{
    g_autofree char *value = xml_attr(kept, from);

    xml_set(element, name, value);
}

static void restore_interface(Home *h, const xmlNode *kept, const char *place, xmlNode *interface)
{
    g_auto(Place) now = place_of_interface(interface);
    g_autofree char *text = place_format(&now);

    /* Its user plugged it in elsewhere: its address is its own all the same. */
    if (!g_str_equal(text, place)) {
        restore_children(interface, kept, "mac");
        return;
    }
    restore_attr(interface, kept, "type", "type");
    restore_attr(interface, kept, "managed", "managed");
    for (const char *const *name = WHERE; *name; name++)
        restore_children(interface, kept, *name);
    for (const char *const *name = CARD; *name && xml_attr_is(kept, "card", "yes"); name++)
        restore_children(interface, kept, *name);
    g_hash_table_add(h->restored, interface);
}

static gboolean same_slot(const xmlNode *a, const xmlNode *b)
{
    g_autofree char *one = place_pci_address(a);
    g_autofree char *other = place_pci_address(b);

    return one && g_strcmp0(one, other) == 0;
}

/* Its slot may have been given to another device meanwhile: libvirt finds it a new one. */
static void restore_removed(Home *h, xmlNode *parent, const xmlNode *kept)
{
    for (xmlNode *n = kept->children; n; n = n->next) {
        xmlNode *copy = xmlDocCopyNode(n, parent->doc, 1);
        xmlNode *address = xml_child(copy, "address");
        gboolean taken = FALSE;

        for (xmlNode *other = parent->children; address && other && !taken; other = other->next)
            taken = same_slot(address, xml_child(other, "address"));
        if (taken)
            xml_remove(address);
        xmlAddChild(parent, copy);
        g_hash_table_add(h->restored, copy);
    }
}

static void restore(Home *h, const xmlNode *kept)
{
    g_autofree char *in = xml_attr(kept, "in");
    g_autofree char *key = xml_attr(kept, "key");
    g_autofree char *name = xml_attr(kept, "name");
    g_autofree char *attribute = xml_attr(kept, "attribute");
    g_autofree char *place = xml_attr(kept, "place");
    xmlNode *element = in && is_ours(kept, "kept") ? find(h, in, key) : NULL;

    /* libvirt drops it when it has lost all it held. */
    if (!element && g_strcmp0(in, "cputune") == 0 && is_ours(kept, "kept"))
        element = xml_add(h->root, in);
    if (!element || !is_keepable(name, attribute))
        return;
    if (place && xml_is(element, "interface"))
        restore_interface(h, kept, place, element);
    else if (place)
        return;
    else if (attribute)
        restore_attr(element, kept, "value", attribute);
    else if (name)
        restore_children(element, kept, name);
    else
        restore_removed(h, element, kept);
    if (!place && (name || attribute))
        g_hash_table_add(h->restored, element);
}

/* --- the whole --------------------------------------------------------- */

static xmlNode *make_home(Home *h)
{
    xmlNode *home = xmlAddChild(xml_need(h->root, "metadata"),
                                xmlNewDocNode(h->root->doc, NULL, (const xmlChar *)"home", NULL));

    xmlSetNs(home, xmlNewNs(home, (const xmlChar *)HOME_NAMESPACE, (const xmlChar *)"understudy"));
    return home;
}

static void remove_if_empty(xmlNode *node)
{
    if (node && !node->children)
        xml_remove(node);
}

/* What is of @host is put back, and not kept any longer; what is of others stays. */
static void arrive(Home *h, xmlNode *home, const char *host)
{
    for (xmlNode *kept = home->children, *next; kept; kept = next) {
        next = kept->next;
        if (!is_ours(kept, "kept") || !xml_attr_is(kept, "host", host))
            continue;
        restore(h, kept);
        xml_remove(kept);
        h->arrived = TRUE;
    }
}

void home_open(Home *h, xmlNode *root, const char *from, const char *to)
{
    xmlNode *home = find_home(xml_child(root, "metadata"));

    *h = (Home){.root = root, .from = from, .restored = g_hash_table_new(NULL, NULL)};
    if (home && to)
        arrive(h, home, to);
    /* At home nothing is kept of where it was away. */
    if (from && !h->arrived)
        h->kept = home ? home : make_home(h);
    else if (home)
        remove_if_empty(home);
    remove_if_empty(xml_child(root, "metadata"));
}

void home_close(Home *h)
{
    xmlNode *metadata = h->kept ? h->kept->parent : NULL;

    remove_if_empty(h->kept);
    remove_if_empty(metadata);
    h->kept = NULL;
    g_clear_pointer(&h->restored, g_hash_table_unref);
}

gboolean home_has_restored(const Home *h, const xmlNode *device)
{
    return g_hash_table_contains(h->restored, device);
}
