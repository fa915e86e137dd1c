/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest runs on: kind of machine, processor, memory, firmware, emulator. A machine type is never
 * replaced by another: guests find their devices by it. */
#include "netmap/translate_parts.h"

#include <string.h>

/* --- machine and emulator ---------------------------------------------- */

static void look_at_offer(Translation *t, const char *type, const char *arch, const char *machine,
                          const HostOffer *offer)
{
    const char *host = t->in->to->name;

    if (!offer)
        remarks_add(t->remarks, REMARK_DOMAIN_TYPE, "the VM is of type %s for %s, which %s cannot run",
                    type ? type : "?", arch ? arch : "?", host);
    else if (machine && !g_hash_table_contains(offer->machines, machine))
        remarks_add(t->remarks, REMARK_MACHINE,
                    "the VM is a machine '%s', which the QEMU of %s does not offer", machine, host);
}

static void set_emulator(Translation *t, const HostOffer *offer)
{
    xmlNode *emulator = xml_child(t->devices, "emulator");
    g_autofree char *path = xml_text(emulator);

    if (!path || !offer || host_has_path(t->in->to, path))
        return;
    remarks_add(t->remarks, REMARK_EMULATOR, "the VM runs with %s, which %s does not have: it takes %s", path,
                t->in->to->name, offer->emulator);
    home_keep_child(&t->home, t->devices, "emulator");
    xml_set_text(emulator, offer->emulator);
}

static void translate_offer(Translation *t)
{
    const xmlNode *os_type = xml_child(xml_child(t->root, "os"), "type");
    g_autofree char *type = xml_attr(t->root, "type");
    g_autofree char *arch = xml_attr(os_type, "arch");
    g_autofree char *machine = xml_attr(os_type, "machine");
    g_autofree char *emulator = xml_text(xml_child(t->devices, "emulator"));
    const HostOffer *offer = host_find_offer(t->in->to, arch, type, emulator);

    if (!offer)
        offer = host_find_offer(t->in->to, arch, type, NULL);
    look_at_offer(t, type, arch, machine, offer);
    set_emulator(t, offer);
}

/* --- processor and memory ---------------------------------------------- */

static void look_at_cpu(Translation *t)
{
    const xmlNode *cpu = xml_child(t->root, "cpu");
    g_autofree char *model = xml_text(xml_child(cpu, "model"));

    if (t->in->cpu == CPU_DOES_NOT_FIT)
        remarks_add(t->remarks, REMARK_CPU,
                    "the VM has a CPU '%s', or features of it, that %s does not offer", model ? model : "?",
                    t->in->to->name);
}

static void look_at_memory(Translation *t)
{
    guint64 need = xml_memory_kib(xml_child(t->root, "memory"));

    if (t->in->to->memory_kib && need > t->in->to->memory_kib)
        remarks_add(t->remarks, REMARK_MEMORY,
                    "the VM has %" G_GUINT64_FORMAT " MiB of memory, %s has %" G_GUINT64_FORMAT " altogether",
                    need / 1024, t->in->to->name, t->in->to->memory_kib / 1024);
}

/* Of the size that is asked for, or of any. */
static guint64 pages_kib(const Host *host, guint64 page_kib)
{
    guint64 sum = 0;

    for (guint i = 0; i < host->pages->len; i++) {
        const HostPages *p = &g_array_index(host->pages, HostPages, i);

        if (!page_kib || p->kib == page_kib)
            sum += p->kib * p->pages;
    }
    return sum;
}

static void look_at_pages(Translation *t)
{
    const xmlNode *pages = xml_child(xml_child(t->root, "memoryBacking"), "hugepages");
    const xmlNode *page = xml_child(pages, "page");
    g_autofree char *size = xml_attr(page, "size");
    g_autofree char *unit = xml_attr(page, "unit");
    guint64 page_kib = size ? g_ascii_strtoull(size, NULL, 10) : 0;

    if (!pages)
        return;
    if (g_strcmp0(unit, "M") == 0 || g_strcmp0(unit, "MiB") == 0)
        page_kib *= 1024;
    if (g_strcmp0(unit, "G") == 0 || g_strcmp0(unit, "GiB") == 0)
        page_kib *= 1024 * 1024;
    if (pages_kib(t->in->to, page_kib) < xml_memory_kib(xml_child(t->root, "memory")))
        remarks_add(t->remarks, REMARK_PAGES,
                    "the VM's memory lies in huge pages, of which %s has %" G_GUINT64_FORMAT " MiB reserved",
                    t->in->to->name, pages_kib(t->in->to, page_kib) / 1024);
}

static void look_at_cpus(Translation *t)
{
    g_autofree char *text = xml_text(xml_child(t->root, "vcpu"));
    guint64 vcpus = text ? g_ascii_strtoull(text, NULL, 10) : 0;

    if (t->in->to->cpus && vcpus > t->in->to->cpus)
        remarks_add(t->remarks, REMARK_CPUS, "the VM has %" G_GUINT64_FORMAT " processors, %s has %u", vcpus,
                    t->in->to->name, t->in->to->cpus);
}

/* --- pinning ----------------------------------------------------------- */

/* The highest number in "0-3,^2,8"; -1: none. */
static int highest(const char *set)
{
    g_auto(GStrv) parts = g_strsplit_set(set, ",-^ ", -1);
    int most = -1;

    for (char **part = parts; *part; part++)
        if (g_ascii_isdigit(**part))
            most = MAX(most, (int)MIN(g_ascii_strtoull(*part, NULL, 10), 1u << 20));
    return most;
}

static gboolean pins_beyond(const xmlNode *parent, const char *attribute, guint limit)
{
    for (const xmlNode *n = parent ? parent->children : NULL; n; n = n->next) {
        g_autofree char *set = n->type == XML_ELEMENT_NODE ? xml_attr(n, attribute) : NULL;

        if (set && highest(set) >= (int)limit)
            return TRUE;
    }
    return FALSE;
}

static void unpin_children(Translation *t, xmlNode *parent, const char *attribute)
{
    for (xmlNode *n = parent->children, *next; n; n = next) {
        next = n->next;
        if (n->type == XML_ELEMENT_NODE && xmlHasProp(n, (const xmlChar *)attribute))
            home_keep_removed(&t->home, n);
    }
}

/* Pins to processors and nodes that the host does not have would keep the VM from starting. */
static void look_at_pinning(Translation *t)
{
    xmlNode *tune = xml_child(t->root, "cputune"), *numa = xml_child(t->root, "numatune");
    xmlNode *vcpu = xml_child(t->root, "vcpu");
    g_autofree char *set = xml_attr(vcpu, "cpuset");
    const Host *host = t->in->to;
    gboolean cpus =
        host->cpus && (pins_beyond(tune, "cpuset", host->cpus) || (set && highest(set) >= (int)host->cpus));
    gboolean nodes = host->nodes && pins_beyond(numa, "nodeset", host->nodes);

    if (!cpus && !nodes)
        return;
    remarks_add(t->remarks, REMARK_PINNING, "the VM is pinned to %s that %s does not have",
                cpus ? "processors" : "memory nodes", host->name);
    if (cpus && set) {
        home_keep_attr(&t->home, vcpu, "cpuset");
        xml_set(vcpu, "cpuset", NULL);
    }
    if (cpus && tune)
        unpin_children(t, tune, "cpuset");
    if (nodes)
        home_keep_removed(&t->home, numa);
}

/* --- firmware ---------------------------------------------------------- */

static const HostFirmware *find_firmware(const Host *host, const char *loader)
{
    g_autofree char *name = g_path_get_basename(loader);

    for (guint i = 0; i < host->firmware->len; i++) {
        const HostFirmware *f = host->firmware->pdata[i];
        g_autofree char *its = g_path_get_basename(f->loader);

        if (g_str_equal(its, name))
            return f;
    }
    return NULL;
}

/* The same build under another path, or none: its variables are laid out for it. */
static void translate_loader(Translation *t, xmlNode *os)
{
    xmlNode *loader = xml_child(os, "loader"), *nvram = xml_child(os, "nvram");
    g_autofree char *path = xml_text(loader);
    const HostFirmware *same;

    if (!path || !*path || host_has_path(t->in->to, path))
        return;
    same = find_firmware(t->in->to, path);
    if (!same) {
        remarks_add(t->remarks, REMARK_FIRMWARE, "the VM boots with the firmware %s, which %s does not have",
                    path, t->in->to->name);
        return;
    }
    home_keep_child(&t->home, os, "loader");
    xml_set_text(loader, same->loader);
    if (nvram && xmlHasProp(nvram, (const xmlChar *)"template")) {
        home_keep_child(&t->home, os, "nvram");
        xml_set(nvram, "template", same->vars);
    }
}

/* libvirt 8.5 and newer may say <source file='…'/> instead of the path itself; and nothing at all where the choice of
 * firmware is its own. */
static void translate_nvram(Translation *t, xmlNode *os)
{
    xmlNode *nvram = xml_child(os, "nvram");
    xmlNode *source = xml_child(nvram, "source");
    g_autofree char *path = source ? xml_attr(source, "file") : xml_text(nvram);
    const char *to = t->in->nvram;

    if ((!nvram && !to) || (source && !path) || (t->home.arrived && !to) ||
        g_strcmp0(path, to ? to : "") == 0)
        return;
    home_keep_child(&t->home, os, "nvram");
    if (!nvram)
        nvram = xml_add(os, "nvram");
    if (source && to)
        xml_set(source, "file", to);
    else
        xml_set_text(nvram, to ? to : "");
    if (!to)
        xml_set(nvram, "type", NULL);
}

static void look_at_boot_files(Translation *t, const xmlNode *os)
{
    static const char *const NAMES[] = {"kernel", "initrd", "dtb"};

    for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++) {
        g_autofree char *path = xml_text(xml_child(os, NAMES[i]));

        if (path && !host_has_path(t->in->to, path))
            remarks_add(t->remarks, REMARK_BOOT_FILE,
                        "the VM boots from the host's file %s (%s), which %s does not have", path, NAMES[i],
                        t->in->to->name);
    }
}

void translate_machine(Translation *t)
{
    xmlNode *os = xml_child(t->root, "os");

    translate_offer(t);
    look_at_cpu(t);
    look_at_memory(t);
    look_at_pages(t);
    look_at_cpus(t);
    look_at_pinning(t);
    if (!os)
        return;
    translate_loader(t, os);
    translate_nvram(t, os);
    look_at_boot_files(t, os);
}
