/* SPDX-License-Identifier: Apache-2.0 */
/* A replicated disk gets the chain of files that its copy has; another one must be there already. */
#include "netmap/translate_parts.h"

static void add_backing(xmlNode *parent, const TranslateDisk *chain)
{
    for (guint i = 1; chain->files[i]; i++) {
        parent = xml_add(parent, "backingStore");
        xml_set(parent, "type", "file");
        xml_set(xml_add(parent, "format"), "type", chain->formats ? chain->formats[i] : "qcow2");
        xml_set(xml_add(parent, "source"), "file", chain->files[i]);
    }
    xml_add(parent, "backingStore"); /* empty: the chain ends here, libvirt does not look */
}

/* QEMU opens with O_DIRECT what is cached nowhere. */
static gboolean wants_direct_io(const xmlNode *driver)
{
    return xml_attr_is(driver, "cache", "none") || xml_attr_is(driver, "cache", "directsync") ||
           xml_attr_is(driver, "io", "native");
}

static void point_to_chain(Translation *t, xmlNode *disk, const TranslateDisk *chain)
{
    xmlNode *driver = xml_need(disk, "driver");

    if (!t->in->to->direct_io && wants_direct_io(driver))
        remarks_add(t->remarks, REMARK_DIRECT_IO,
                    "disk %s bypasses the page cache, which the store of %s cannot", chain->target,
                    t->in->to->name);
    xml_set(disk, "type", "file");
    xml_set(driver, "name", "qemu");
    xml_set(driver, "type", "qcow2");
    xml_drop(disk, "source");
    xml_drop(disk, "auth");
    xml_drop(disk, "backingStore");
    xml_drop(disk, "mirror");
    xml_set(xml_add(disk, "source"), "file", chain->files[0]);
    add_backing(disk, chain);
}

static const TranslateDisk *find(const TranslateInput *in, const char *target)
{
    for (guint i = 0; target && i < in->n_disks; i++)
        if (g_str_equal(in->disks[i].target, target))
            return &in->disks[i];
    return NULL;
}

static char *local_source(const xmlNode *disk)
{
    const xmlNode *source = xml_child(disk, "source");
    char *path = xml_attr(source, "file");

    return path ? path : xml_attr(source, "dev");
}

/* Its user opens the drive again at home; meanwhile it is empty, as after an eject. */
static void eject(Translation *t, xmlNode *disk, const char *target, const char *path)
{
    remarks_add(t->remarks, REMARK_MEDIA, "the medium in drive %s, %s, is not on %s", target ? target : "?",
                path ? path : "from a network", t->in->to->name);
    home_keep_attr(&t->home, disk, "type");
    home_keep_child(&t->home, disk, "source");
    if (xml_child(disk, "backingStore"))
        home_keep_child(&t->home, disk, "backingStore");
    xml_set(disk, "type", "file");
    xml_drop(disk, "source");
    xml_drop(disk, "backingStore");
}

static void look_at_other(Translation *t, xmlNode *disk, const char *target)
{
    gboolean drive = xml_attr_is(disk, "device", "cdrom") || xml_attr_is(disk, "device", "floppy");
    g_autofree char *path = local_source(disk);

    if (!xml_child(disk, "source") || (path && host_has_path(t->in->to, path)))
        return;
    if (drive)
        eject(t, disk, target, path);
    else if (!path && !xml_attr_is(disk, "type", "network"))
        remarks_add(t->remarks, REMARK_DISK_ELSEWHERE,
                    "disk %s is not replicated, and whether its image is on %s cannot be seen",
                    target ? target : "?", t->in->to->name);
    else if (path)
        remarks_add(t->remarks, REMARK_DISK_ELSEWHERE,
                    "disk %s is not replicated, and its image %s is not on %s", target ? target : "?", path,
                    t->in->to->name);
}

void translate_disks(Translation *t)
{
    g_autofree gboolean *seen = g_new0(gboolean, MAX(t->in->n_disks, 1));

    EACH_CHILD(t->devices, "disk", disk)
    {
        g_autofree char *target = xml_attr(xml_child(disk, "target"), "dev");
        const TranslateDisk *chain = find(t->in, target);

        if (chain) {
            point_to_chain(t, disk, chain);
            seen[chain - t->in->disks] = TRUE;
        } else {
            look_at_other(t, disk, target);
        }
    }
    for (guint i = 0; i < t->in->n_disks; i++)
        if (!seen[i])
            remarks_add(t->remarks, REMARK_DISK_UNKNOWN, "disk %s is replicated, but not in the definition",
                        t->in->disks[i].target);
}
