/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that stand for something of the host: kept where the other host has the same, else left
 * at home or made harmless, with a warning that names the device and the effect. */
#include "netmap/translate_parts.h"

#include <string.h>

/* --- devices of the host ------------------------------------------------ */

static char *describe_hostdev(const xmlNode *dev)
{
    const xmlNode *source = xml_child(dev, "source");
    g_autofree char *type = xml_attr(dev, "type");
    g_autofree char *pci = place_pci_address(xml_child(source, "address"));
    g_autofree char *vendor = xml_attr(xml_child(source, "vendor"), "id");
    g_autofree char *product = xml_attr(xml_child(source, "product"), "id");

    if (vendor && product)
        return g_strdup_printf("%s device %s:%s", type ? type : "host", vendor, product);
    if (pci && g_strcmp0(type, "pci") == 0)
        return g_strdup_printf("PCI device %s", pci);
    return g_strdup_printf("%s device", type ? type : "host");
}

/* A PCI function that is mapped to one of the other host. */
static gboolean move_function(Translation *t, xmlNode *dev)
{
    xmlNode *source = xml_child(dev, "source");
    xmlNode *address = xml_child(source, "address");
    Place place = {.kind = PLACE_HOSTDEV, .name = place_pci_address(address)};
    MapAnswer answer = {0};
    g_autofree char *path = NULL;

    if (place.name && xml_attr_is(dev, "type", "pci"))
        answer = mapping_find(t->in->mapping, t->in->from_column, t->in->to_column, t->vm, NULL, &place);
    place_clear(&place);
    if (!answer.place || answer.place->kind != PLACE_HOSTDEV)
        return FALSE;
    path = g_strconcat("/sys/bus/pci/devices/", answer.place->name, NULL);
    if (!host_has_path(t->in->to, path))
        remarks_add(t->remarks, REMARK_NETWORK, "a passed through device would be %s, which %s does not have",
                    answer.place->name, t->in->to->name);
    place_set_pci_address(address, answer.place->name);
    return TRUE;
}

static void leave(Translation *t, xmlNode *device, RemarkKind kind, const char *what)
{
    remarks_add(t->remarks, kind, "%s stays on its host", what);
    home_keep_removed(&t->home, device);
}

static void translate_hostdevs(Translation *t)
{
    EACH_CHILD(t->devices, "hostdev", dev)
    {
        g_autofree char *what = describe_hostdev(dev);

        if (!home_has_restored(&t->home, dev) && !move_function(t, dev))
            leave(t, dev, REMARK_HOSTDEV, what);
    }
}

static void translate_tpms(Translation *t)
{
    EACH_CHILD(t->devices, "tpm", tpm)
    {
        const xmlNode *backend = xml_child(tpm, "backend");
        g_autofree char *secret = xml_attr(xml_child(backend, "encryption"), "secret");

        if (home_has_restored(&t->home, tpm))
            continue;
        if (!xml_attr_is(backend, "type", "emulator"))
            leave(t, tpm, REMARK_HOSTDEV, "the TPM, a chip of the host,");
        else if (!t->in->to->swtpm)
            remarks_add(t->remarks, REMARK_TPM, "the VM has an emulated TPM, which %s cannot emulate",
                        t->in->to->name);
        else if (secret)
            remarks_add(t->remarks, REMARK_SECRET, "the TPM's state is encrypted with the secret %s", secret);
    }
}

static void look_at_memory_devices(Translation *t)
{
    EACH_CHILD(t->devices, "memory", memory)
    if (xml_attr_is(memory, "model", "nvdimm") || xml_attr_is(memory, "model", "virtio-pmem"))
        remarks_add(t->remarks, REMARK_NVDIMM, "the VM has a memory device that outlives it");
}

/* --- screens ------------------------------------------------------------ */

static const char *mapped_network(Translation *t, const char *network)
{
    const Place place = {.kind = PLACE_NETWORK, .name = (char *)network};
    MapAnswer answer =
        mapping_find(t->in->mapping, t->in->from_column, t->in->to_column, t->vm, NULL, &place);

    return answer.place && !answer.other && answer.place->kind == PLACE_NETWORK ? answer.place->name : NULL;
}

static void listen_on_loopback(xmlNode *graphics, xmlNode *listen)
{
    xml_set(graphics, "listen", "127.0.0.1");
    if (!listen)
        return;
    xml_set(listen, "type", "address");
    xml_set(listen, "address", "127.0.0.1");
    xml_set(listen, "network", NULL);
}

/* Returns what it listens on if the host has no such thing. */
static char *foreign_listen(Translation *t, const xmlNode *graphics, const xmlNode *listen)
{
    g_autofree char *network = xml_attr(listen, "network");
    g_autofree char *address = xml_attr(listen ? listen : graphics, listen ? "address" : "listen");

    if (network && !mapped_network(t, network))
        return g_strdup_printf("network '%s'", network);
    if (!network && address && !host_has_address(t->in->to, address))
        return g_steal_pointer(&address);
    return NULL;
}

static void translate_graphics(Translation *t, xmlNode *graphics)
{
    xmlNode *listen = xml_child(graphics, "listen");
    g_autofree char *network = xml_attr(listen, "network");
    g_autofree char *foreign = foreign_listen(t, graphics, listen);
    g_autofree char *type = xml_attr(graphics, "type");

    if ((!foreign && !network) || home_has_restored(&t->home, graphics))
        return;
    home_keep_attr(&t->home, graphics, "listen");
    home_keep_child(&t->home, graphics, "listen");
    if (foreign) {
        remarks_add(t->remarks, REMARK_LISTEN, "the %s screen listens on %s, which %s does not have",
                    type ? type : "?", foreign, t->in->to->name);
        listen_on_loopback(graphics, listen);
    } else {
        /* libvirt finds the network's address on this host. */
        xml_set(listen, "network", mapped_network(t, network));
        xml_set(listen, "address", NULL);
        xml_set(graphics, "listen", NULL);
    }
}

/* --- consoles ----------------------------------------------------------- */

static gboolean has_folder_of(const Host *host, const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);

    return host_has_path(host, folder);
}

/* Its type is kept as an attribute and its source as a child; a console of the host's own takes their place. */
static void detach_console(Translation *t, xmlNode *console, const char *type)
{
    home_keep_attr(&t->home, console, "type");
    home_keep_child(&t->home, console, "source");
    home_keep_child(&t->home, console, "protocol");
    xml_set(console, "type", type);
    xml_drop(console, "source");
    xml_drop(console, "protocol");
}

static void translate_console(Translation *t, xmlNode *console)
{
    const xmlNode *source = xml_child(console, "source");
    g_autofree char *type = xml_attr(console, "type");
    g_autofree char *path = g_strcmp0(type, "pty") == 0 ? NULL : xml_attr(source, "path");
    g_autofree char *log = xml_attr(xml_child(console, "log"), "file");
    g_autofree char *address = xml_attr_is(source, "mode", "bind") ? xml_attr(source, "host") : NULL;
    gboolean device = g_strcmp0(type, "dev") == 0;

    if ((path && !(device ? host_has_path(t->in->to, path) : has_folder_of(t->in->to, path))) ||
        (address && !host_has_address(t->in->to, address))) {
        remarks_add(t->remarks, REMARK_CONSOLE, "%s writes to %s, for which %s has no place", console->name,
                    path ? path : address, t->in->to->name);
        detach_console(t, console, xml_is(console, "channel") ? "null" : "pty");
    }
    if (log && !has_folder_of(t->in->to, log)) {
        remarks_add(t->remarks, REMARK_CONSOLE, "%s is logged in %s, for which %s has no place",
                    console->name, log, t->in->to->name);
        home_keep_child(&t->home, console, "log");
        xml_drop(console, "log");
    }
}

static void translate_consoles(Translation *t)
{
    static const char *const TAGS[] = {"serial", "parallel", "console", "channel"};

    for (guint i = 0; i < G_N_ELEMENTS(TAGS); i++)
        EACH_CHILD(t->devices, TAGS[i], console)
    translate_console(t, console);
}

/* --- folders, labels, and what is taken as it is ------------------------- */

static void translate_folders(Translation *t)
{
    EACH_CHILD(t->devices, "filesystem", share)
    {
        g_autofree char *dir = xml_attr(xml_child(share, "source"), "dir");
        g_autofree char *name = xml_attr(xml_child(share, "target"), "dir");
        g_autofree char *what =
            g_strdup_printf("the shared folder '%s' (%s)", name ? name : "", dir ? dir : "of no path");

        if (home_has_restored(&t->home, share))
            continue;
        if (dir && host_has_path(t->in->to, dir))
            remarks_add(t->remarks, REMARK_FOLDER, "%s is the guest's, too; on %s it is that host's own",
                        what, t->in->to->name);
        else
            leave(t, share, REMARK_FOLDER, what);
    }
}

static void translate_labels(Translation *t)
{
    EACH_CHILD(t->root, "seclabel", label)
    {
        g_autofree char *model = xml_attr(label, "model");

        if (!model || g_str_equal(model, "dac") || g_str_equal(model, "none") ||
            g_ptr_array_find_with_equal_func(t->in->to->models, model, g_str_equal, NULL))
            continue;
        remarks_add(t->remarks, REMARK_LABEL, "the VM has a label for %s, which %s does not use", model,
                    t->in->to->name);
        home_keep_removed(&t->home, label);
    }
}

static gboolean has_command_line(const xmlNode *root)
{
    for (const xmlNode *n = root->children; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && n->ns && strcmp((const char *)n->name, "commandline") == 0)
            return TRUE;
    return FALSE;
}

void translate_devices(Translation *t)
{
    translate_hostdevs(t);
    translate_tpms(t);
    look_at_memory_devices(t);
    EACH_CHILD(t->devices, "graphics", graphics)
    translate_graphics(t, graphics);
    translate_consoles(t);
    translate_folders(t);
    translate_labels(t);
    if (has_command_line(t->root))
        remarks_add(t->remarks, REMARK_COMMAND_LINE, "the VM has arguments for QEMU itself");
    if (xml_child(t->root, "launchSecurity"))
        remarks_add(t->remarks, REMARK_SEALED, "the VM's memory is encrypted by the processor");
}
