/* SPDX-License-Identifier: Apache-2.0 */
/* The new document begins with what is the test's own; then each child of the <domain> is copied, dropped or refused; at
 * the end all of it is looked through for paths. */
#include "netmap/isolate.h"

#include "netmap/home.h"
#include "netmap/isolate_parts.h"

#include <string.h>

/* More are no VM. */
#define DEVICES_MAX 1024

/* --- what the parts share ----------------------------------------------- */

/* A name that was cut may end within a character. */
G_GNUC_PRINTF(1, 0) static char *vformat(const char *format, va_list args)
{
    g_autofree char *text = g_strdup_vprintf(format, args);

    return g_utf8_make_valid(text, -1);
}

gboolean isolate_refuse(GError **error, const char *format, ...)
{
    g_autofree char *cause = NULL;
    va_list args;

    va_start(args, format);
    cause = vformat(format, args);
    va_end(args);
    g_set_error(error, NETMAP_ERROR, NETMAP_ERROR_UNSUPPORTED,
                "the VM cannot be tested in isolation: %s; take that out of its definition, or the VM out of "
                "the tests",
                cause);
    return FALSE;
}

static gboolean refuse_xml(GError **error, const char *why)
{
    g_set_error(error, NETMAP_ERROR, NETMAP_ERROR_XML, "line 1: %s", why);
    return FALSE;
}

void isolate_leave_out(Isolation *t, const char *format, ...)
{
    g_autofree char *what = NULL;
    va_list args;

    va_start(args, format);
    what = vformat(format, args);
    va_end(args);
    if (!g_ptr_array_find_with_equal_func(t->left_out, what, g_str_equal, NULL))
        g_ptr_array_add(t->left_out, g_steal_pointer(&what));
}

gboolean isolate_allow_path(Isolation *t, const char *path, const char *what, GError **error)
{
    if (!g_path_is_absolute(path))
        return isolate_refuse(error, "its %s is '%.200s', which is no absolute path", what, path);
    g_hash_table_add(t->paths, g_strdup(path));
    return TRUE;
}

/* --- the look at the end ------------------------------------------------ */

/* What only the guest reads. */
static gboolean is_prose(const xmlNode *node)
{
    return xml_is(node, "sysinfo") || xml_is(node, "cmdline");
}

/* A time zone may begin with a colon, and be a file all the same. */
static gboolean check_value(const Isolation *t, const xmlNode *node, const char *value, GError **error)
{
    if (value[strspn(value, " \t\r\n:")] != '/' || g_hash_table_contains(t->paths, value))
        return TRUE;
    return isolate_refuse(error, "its <%s> names %.200s, which is not the test's own", node->name, value);
}

static gboolean check_paths(const Isolation *t, const xmlNode *node, GError **error)
{
    for (const xmlAttr *a = node->properties; a; a = a->next) {
        g_autofree char *value = xml_attr(node, (const char *)a->name);

        if (!check_value(t, node, value, error))
            return FALSE;
    }
    for (const xmlNode *n = node->children; n; n = n->next) {
        if (n->type == XML_ELEMENT_NODE && !is_prose(n) && !check_paths(t, n, error))
            return FALSE;
        if (n->type == XML_TEXT_NODE && !check_value(t, node, (const char *)n->content, error))
            return FALSE;
    }
    return TRUE;
}

/* --- the domain --------------------------------------------------------- */

static void add_text(xmlNode *parent, const char *name, const char *text)
{
    xml_set_text(xml_add(parent, name), text);
}

static void add_mark(Isolation *t)
{
    xmlNode *mark = xml_add(xml_add(t->root, "metadata"), "test");

    xmlSetNs(mark, xmlNewNs(mark, (const xmlChar *)HOME_NAMESPACE, (const xmlChar *)"understudy"));
    xml_set(mark, "vm", t->in->vm);
}

static gboolean isolate_os(Isolation *t, const xmlNode *from, GError **error)
{
    static const char *const FILES[] = {"loader", "kernel", "initrd", "dtb"};
    xmlNode *os = isolate_copy(t->root, from, "domain/os");

    for (const xmlNode *n = xml_child(os, "loader"); n; n = xml_next(n))
        if (xml_attr_is(n, "type", "pflash") && !xml_attr_is(n, "readonly", "yes") && n->children)
            return isolate_refuse(error, "its firmware is a file of the host that it may write to");
    for (guint i = 0; i < G_N_ELEMENTS(FILES); i++)
        for (const xmlNode *n = xml_child(os, FILES[i]); n; n = xml_next(n)) {
            g_autofree char *path = xml_text(n);

            if (*path && !isolate_allow_path(t, path, FILES[i], error))
                return FALSE;
        }
    if (xml_child(from, "acpi"))
        isolate_leave_out(t, "the ACPI table from a file of the host");
    if (t->in->nvram) {
        xmlNode *nvram = xml_add(os, "nvram");
        g_autofree char *format = xml_attr(xml_child(from, "nvram"), "format");

        xml_set_text(nvram, t->in->nvram);
        xml_set(nvram, "format", format);
    }
    return TRUE;
}

/* libvirt wants the UUID that the guest reads there to be the domain's. */
static void isolate_sysinfo(Isolation *t, const xmlNode *from)
{
    xmlNode *sysinfo;

    if (!xml_attr_is(from, "type", "smbios")) {
        isolate_leave_out(t, "what its firmware is told by <sysinfo>");
        return;
    }
    sysinfo = isolate_copy(t->root, from, "domain/sysinfo");
    for (xmlNode *n = xml_child(xml_child(sysinfo, "system"), "entry"); n; n = xml_next(n))
        if (xml_attr_is(n, "name", "uuid"))
            xml_set_text(n, t->in->uuid);
}

/* The host's affair, or replaced. */
static gboolean is_dropped(const char *name)
{
    static const char *const NAMES[] = {
        "name",        "uuid",      "genid",    "title",          "description",     "metadata",
        "on_poweroff", "on_reboot", "on_crash", "on_lockfailure", "seclabel",        "resource",
        "memtune",     "numatune",  "cputune",  "perf",           "memoryBacking",   "blkiotune",
        "idmap",       "keywrap",   "devices",  "throttlegroups", "defaultiothread", NULL};

    return g_strv_contains(NAMES, name);
}

static gboolean isolate_child(Isolation *t, const xmlNode *n, GError **error)
{
    const char *name = (const char *)n->name;
    g_autofree char *path = g_strconcat("domain/", name, NULL);

    if (n->ns)
        return isolate_refuse(error, "it is not known what its <%.80s:%.80s> may reach",
                              n->ns->prefix ? (const char *)n->ns->prefix : "", name);
    if (!isolate_knows(path) && !is_dropped(name))
        return isolate_refuse(error, "it is not known what its <%.80s> may reach", name);
    if (!xml_is(n, "sysinfo") && xml_child(n->parent, name) != n)
        return refuse_xml(error, "a domain that has something twice");
    if (g_str_equal(name, "os"))
        return isolate_os(t, n, error);
    if (g_str_equal(name, "sysinfo"))
        isolate_sysinfo(t, n);
    else if (isolate_knows(path))
        isolate_copy(t->root, n, path);
    return TRUE;
}

static gboolean isolate_domain(Isolation *t, const xmlNode *from, GError **error)
{
    g_autofree char *type = xml_attr(from, "type");

    if (g_strcmp0(type, "kvm") != 0 && g_strcmp0(type, "qemu") != 0)
        return isolate_refuse(error, "it is of type '%.80s'", type ? type : "?");
    xml_set(t->root, "type", type);
    add_text(t->root, "name", t->in->name);
    add_text(t->root, "uuid", t->in->uuid);
    /* An empty one libvirt fills: the guest must see that it is another generation. */
    if (xml_child(from, "genid"))
        xml_add(t->root, "genid");
    add_mark(t);
    for (const xmlNode *n = from->children; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && !isolate_child(t, n, error))
            return FALSE;
    add_text(t->root, "on_poweroff", "destroy");
    add_text(t->root, "on_reboot", "restart");
    add_text(t->root, "on_crash", "destroy");
    t->devices = xml_add(t->root, "devices");
    return isolate_devices(t, xml_child(from, "devices"), error) && check_paths(t, t->root, error);
}

/* --- in and out --------------------------------------------------------- */

static const char *odd_about(const xmlNode *root)
{
    const xmlNode *devices = xml_child(root, "devices");

    if (!devices || !xml_child(root, "os"))
        return "a domain without <devices> or <os>";
    return xmlChildElementCount((xmlNode *)devices) > DEVICES_MAX
               ? "a domain with more than " G_STRINGIFY(DEVICES_MAX) " devices"
               : NULL;
}

static xmlDoc *read_domain(const char *definition, GError **error)
{
    g_autoptr(xmlDoc) doc = xml_read(definition, strlen(definition), "domain", error);
    const char *odd = doc ? odd_about(xmlDocGetRootElement(doc)) : NULL;

    if (odd) {
        refuse_xml(error, odd);
        return NULL;
    }
    return g_steal_pointer(&doc);
}

static void nic_free(gpointer data)
{
    IsolatedNic *nic = data;

    g_free(nic->tap);
    g_free(nic->mac);
    g_free(nic->place);
    g_free(nic);
}

static void allow_own(Isolation *t)
{
    const char *const OWN[] = {t->in->graphics, t->in->console, t->in->console_log, t->in->nvram};

    for (guint i = 0; i < G_N_ELEMENTS(OWN); i++) {
        g_assert(!OWN[i] || g_path_is_absolute(OWN[i]));
        if (OWN[i])
            g_hash_table_add(t->paths, g_strdup(OWN[i]));
    }
}

char *isolate_definition(const char *definition, const IsolateInput *in, GPtrArray **ret_nics,
                         GPtrArray **ret_left_out, GError **error)
{
    g_autoptr(xmlDoc) from = read_domain(definition, error);
    g_autoptr(xmlDoc) to = xmlNewDoc((const xmlChar *)"1.0");
    g_autoptr(GHashTable) paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) nics = g_ptr_array_new_with_free_func(nic_free);
    g_autoptr(GPtrArray) left_out = g_ptr_array_new_with_free_func(g_free);
    Isolation t = {.in = in, .paths = paths, .nics = nics, .left_out = left_out};

    g_assert(in->name && in->uuid && in->vm && in->tap_prefix);
    g_assert(g_path_is_absolute(in->folder) && !g_str_has_suffix(in->folder, "/"));
    if (!from)
        return NULL;
    allow_own(&t);
    t.root = xmlNewDocNode(to, NULL, (const xmlChar *)"domain", NULL);
    xmlDocSetRootElement(to, t.root);
    if (!isolate_domain(&t, xmlDocGetRootElement(from), error))
        return NULL;
    *ret_nics = g_steal_pointer(&nics);
    *ret_left_out = g_steal_pointer(&left_out);
    return xml_write(to);
}

/* --- what is attached later ---------------------------------------------- */

static gboolean is_of_test(const xmlNode *interface, const GPtrArray *nics)
{
    for (guint i = 0; i < nics->len; i++)
        if (xml_attr_is(xml_child(interface, "target"), "dev", ((const IsolatedNic *)nics->pdata[i])->tap))
            return TRUE;
    return FALSE;
}

char *isolate_foreign_card(const char *definition, const GPtrArray *nics)
{
    g_autoptr(xmlDoc) doc = xml_read(definition, strlen(definition), "domain", NULL);
    const xmlNode *devices = doc ? xml_child(xmlDocGetRootElement(doc), "devices") : NULL;

    for (const xmlNode *n = xml_child(devices, "interface"); n; n = xml_next(n))
        if (!is_of_test(n, nics)) {
            g_autofree char *mac = xml_attr(xml_child(n, "mac"), "address");

            return g_strdup_printf("interface %.80s", mac ? mac : "?");
        }
    return devices && xml_child(devices, "hostdev") ? g_strdup("a device of the host") : NULL;
}

/* --- the mark ----------------------------------------------------------- */

static gboolean is_mark(const xmlNode *node)
{
    return node->type == XML_ELEMENT_NODE && node->ns &&
           strcmp((const char *)node->ns->href, HOME_NAMESPACE) == 0 &&
           strcmp((const char *)node->name, "test") == 0;
}

gboolean isolate_is_marked(const char *definition, gsize len, char **ret_vm)
{
    /* The start hook asks, and a definition of megabytes takes long to read. */
    gboolean named = memmem(definition, len, HOME_NAMESPACE, strlen(HOME_NAMESPACE)) != NULL;
    g_autoptr(xmlDoc) doc = named ? xml_read(definition, len, "domain", NULL) : NULL;
    const xmlNode *metadata = doc ? xml_child(xmlDocGetRootElement(doc), "metadata") : NULL;
    g_autofree char *vm = NULL;

    if (!metadata || xml_next(metadata))
        return FALSE;
    for (const xmlNode *n = metadata->children; n; n = n->next) {
        if (!is_mark(n))
            continue;
        if (vm)
            return FALSE;
        vm = xml_attr(n, "vm");
        if (!vm || !g_uuid_string_is_valid(vm))
            return FALSE;
    }
    if (!vm)
        return FALSE;
    if (ret_vm)
        *ret_vm = g_steal_pointer(&vm);
    return TRUE;
}
