/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/netmap/world.h"

#include <string.h>

#define STORE "/var/lib/understudy/images/"

static const char *const OFFICE[] = {"sales", "lab", NULL};

static char *capabilities(void)
{
    char *text = NULL;

    g_assert_true(g_file_get_contents(TEST_DATA "/golden/capabilities.xml", &text, NULL, NULL));
    return text;
}

static gboolean is_on_beta(gpointer user, const char *path)
{
    static const char *const PATHS[] = {
        "/usr/bin/qemu-system-x86_64",
        "/usr/bin/qemu-system-aarch64",
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
        "/usr/share/seabios/bios.bin",
        "/var/lib/libvirt/images",
        "/var/lib/libvirt/images/shared.iso",
        "/sys/bus/pci/devices/0000:81:10.0",
        "/var/log/libvirt/qemu",
        "/run",
        "/srv/shared",
        NULL,
    };

    (void)user;
    return g_strv_contains(PATHS, path);
}

static gboolean is_on_alpha(gpointer user, const char *path)
{
    (void)user;
    (void)path;
    return TRUE;
}

static Host *with_capabilities(Host *h)
{
    g_autofree char *text = capabilities();
    g_autoptr(GError) error = NULL;

    g_assert_true(host_add_capabilities(h, text, &error));
    h->swtpm = h->direct_io = TRUE;
    return h;
}

Host *world_alpha(void)
{
    Host *h = with_capabilities(host_new(ALPHA_ID, "alpha"));

    host_add_network(h, "default", TRUE, NULL);
    host_add_network(h, "office", TRUE, OFFICE);
    host_add_network(h, "dmz", TRUE, NULL);
    host_add_network(h, "storage", TRUE, NULL);
    host_add_network(h, "sriov-pool", TRUE, NULL)->tags = TRUE;
    host_add_bridge(h, "br0", FALSE);
    host_add_bridge(h, "br1", FALSE);
    host_add_bridge(h, "ovsbr0", TRUE);
    g_ptr_array_add(h->devices, g_strdup("eth0"));
    g_ptr_array_add(h->devices, g_strdup("eth1"));
    g_ptr_array_add(h->devices, g_strdup("bond0"));
    g_ptr_array_add(h->filters, g_strdup("clean-traffic"));
    g_ptr_array_add(h->addresses, g_strdup("192.168.10.5"));
    g_ptr_array_add(h->models, g_strdup("selinux"));
    h->has_path = is_on_alpha;
    return h;
}

Host *world_beta(void)
{
    Host *h = with_capabilities(host_new(BETA_ID, "beta"));

    host_add_network(h, "lan", TRUE, NULL);
    host_add_network(h, "corp", TRUE, OFFICE);
    host_add_network(h, "dmz", TRUE, NULL);
    host_add_network(h, "san", TRUE, NULL);
    host_add_network(h, "functions", TRUE, NULL)->tags = TRUE;
    host_add_network(h, "asleep", FALSE, NULL);
    host_add_bridge(h, "lanbr", FALSE);
    host_add_bridge(h, "backbr", FALSE);
    host_add_bridge(h, "ovs0", TRUE);
    g_ptr_array_add(h->devices, g_strdup("ens1"));
    g_ptr_array_add(h->devices, g_strdup("ens2"));
    g_ptr_array_add(h->filters, g_strdup("clean-traffic"));
    host_add_firmware(h, "/usr/share/qemu-efi-aarch64/AAVMF_CODE.fd",
                      "/usr/share/qemu-efi-aarch64/AAVMF_VARS.fd");
    h->has_path = is_on_beta;
    return h;
}

Mapping *world_mapping(void)
{
    static const char *const RULES[][2] = {
        {"default", "lan"},
        {"office", "corp"},
        {"dmz", "dmz"},
        {"storage", "san"},
        {"sriov-pool", "functions"},
        {"bridge:br0", "bridge:lanbr"},
        {"bridge:br1", "bridge:backbr"},
        {"bridge:ovsbr0", "bridge:ovs0"},
        {"bridge:ovsbr0@20", "bridge:ovs0@120"},
        {"direct:eth0", "direct:ens1"},
        {"direct:eth1", "direct:ens2"},
        {"hostdev:0000:04:10.0", "hostdev:0000:81:10.0"},
    };
    Mapping *m = mapping_new();

    for (guint i = 0; i < G_N_ELEMENTS(RULES); i++)
        g_assert_true(mapping_set(m, RULES[i][0], RULES[i][1], NULL));
    return m;
}

static gboolean is_data(const xmlNode *disk)
{
    return !xml_child(disk, "readonly") &&
           (xml_attr_is(disk, "device", "disk") || xml_attr_is(disk, "device", NULL));
}

static void add_disk(WorldDisks *d, const char *uuid, const char *target)
{
    char **chain = g_new0(char *, 3);
    TranslateDisk disk = {g_strdup(target), (const char *const *)chain};

    chain[0] = g_strdup_printf(STORE "%s/top.%s.qcow2", uuid, target);
    chain[1] = g_strdup_printf(STORE "%s/base.%s.qcow2", uuid, target);
    g_ptr_array_add(d->chains, chain);
    g_array_append_val(d->disks, disk);
}

WorldDisks *world_disks(const char *definition)
{
    g_autoptr(xmlDoc) doc = xml_read(definition, strlen(definition), "domain", NULL);
    WorldDisks *d = g_new0(WorldDisks, 1);
    const xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
    g_autofree char *uuid = xml_text(xml_child(root, "uuid"));

    d->disks = g_array_new(FALSE, FALSE, sizeof(TranslateDisk));
    d->chains = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
    for (const xmlNode *n = xml_child(xml_child(root, "devices"), "disk"); n; n = xml_next(n)) {
        g_autofree char *target = xml_attr(xml_child(n, "target"), "dev");

        if (target && is_data(n))
            add_disk(d, uuid ? uuid : "none", target);
    }
    if (xml_child(xml_child(root, "os"), "nvram"))
        d->nvram = g_strdup_printf(STORE "%s/vars.fd", uuid ? uuid : "none");
    return d;
}

void world_disks_free(WorldDisks *d)
{
    for (guint i = 0; d && i < d->disks->len; i++)
        g_free((char *)g_array_index(d->disks, TranslateDisk, i).target);
    if (!d)
        return;
    g_array_unref(d->disks);
    g_ptr_array_unref(d->chains);
    g_free(d->nvram);
    g_free(d);
}

TranslateInput world_there(const Host *beta, const Mapping *mapping, const WorldDisks *d)
{
    return (TranslateInput){.from = ALPHA_ID,
                            .to = beta,
                            .mapping = mapping,
                            .from_column = MAP_MASTER,
                            .to_column = MAP_REPLICA,
                            .disks = (const TranslateDisk *)(void *)d->disks->data,
                            .n_disks = d->disks->len,
                            .nvram = d->nvram};
}

TranslateInput world_back(const Host *alpha, const Mapping *mapping, const WorldDisks *d)
{
    TranslateInput in = world_there(alpha, mapping, d);

    in.from = BETA_ID;
    in.from_column = MAP_REPLICA;
    in.to_column = MAP_MASTER;
    in.nvram = NULL;
    return in;
}

IsolateInput world_isolation(void)
{
    return (IsolateInput){.name = "understudy-test-1",
                          .uuid = TEST_ID,
                          .vm = VM_ID,
                          .folder = "/var/lib/understudy/images",
                          .backing = "/run/understudy/test/1/nbd.sock",
                          .tap_prefix = "us1n",
                          .graphics = "/run/understudy/test/1/vnc",
                          .console = "/run/understudy/test/1/console",
                          .console_log = "/run/understudy/test/1/console.log",
                          .nvram = NULL};
}

/* --- golden definitions --------------------------------------------------- */

static int by_text(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static gboolean is_of_the_image(const xmlNode *node)
{
    static const char *const TAGS[] = {"source", "driver", "backingStore", NULL};

    return xml_is(node->parent, "disk") && g_strv_contains(TAGS, (const char *)node->name);
}

static void write_attributes(GString *text, const xmlNode *node)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);

    for (const xmlAttr *a = node->properties; a; a = a->next) {
        g_autofree char *value = xml_attr(node, (const char *)a->name);

        if (xml_is(node, "disk") && g_str_equal((const char *)a->name, "type"))
            continue;
        g_ptr_array_add(list, g_strdup_printf(" %s='%s'", a->name, value));
    }
    g_ptr_array_sort(list, by_text);
    for (guint i = 0; i < list->len; i++)
        g_string_append(text, list->pdata[i]);
}

/* Without order, and without what the images' own chain is. */
static char *canonical(const xmlNode *node)
{
    GString *text = g_string_new(NULL);
    g_autoptr(GPtrArray) children = g_ptr_array_new_with_free_func(g_free);

    if (node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE)
        return g_string_free(g_string_append(text, (const char *)node->content), FALSE);
    g_string_append_printf(text, "<%s%s%s", node->ns ? (const char *)node->ns->href : "", node->ns ? ":" : "",
                           node->name);
    write_attributes(text, node);
    g_string_append_c(text, '>');
    for (const xmlNode *n = node->children; n; n = n->next)
        if (n->type != XML_ELEMENT_NODE || !is_of_the_image(n))
            g_ptr_array_add(children, canonical(n));
    g_ptr_array_sort(children, by_text);
    for (guint i = 0; i < children->len; i++)
        g_string_append_printf(text, "%s\n", (char *)children->pdata[i]);
    return g_string_free(text, FALSE);
}

static char *canonical_text(const char *definition)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(xmlDoc) doc = xml_read(definition, strlen(definition), "domain", &error);

    g_assert_no_error(error);
    return canonical(xmlDocGetRootElement(doc));
}

void world_expect_same(const char *got, const char *wanted)
{
    g_autofree char *one = canonical_text(got);
    g_autofree char *other = canonical_text(wanted);
    g_auto(GStrv) a = g_strsplit(one, "\n", -1);
    g_auto(GStrv) b = g_strsplit(other, "\n", -1);

    for (guint i = 0; a[i] && b[i]; i++)
        g_assert_cmpstr(a[i], ==, b[i]);
    g_assert_cmpstr(one, ==, other);
}

GPtrArray *world_golden(void)
{
    static const char END[] = ".in.xml";
    g_autoptr(GDir) dir = g_dir_open(TEST_DATA "/golden", 0, NULL);
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    const char *file;

    while (dir && (file = g_dir_read_name(dir)))
        if (g_str_has_suffix(file, END))
            g_ptr_array_add(names, g_strndup(file, strlen(file) - strlen(END)));
    g_ptr_array_sort(names, by_text);
    return names;
}

char *world_read(const char *name, const char *end)
{
    g_autofree char *path = g_strconcat(TEST_DATA "/golden/", name, end, NULL);
    char *text = NULL;

    g_file_get_contents(path, &text, NULL, NULL);
    return text;
}
