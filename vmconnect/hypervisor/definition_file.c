/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/definition_file.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/definition.h"
#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/hypervisor/xml.h"

#include <string.h>
#include <sys/stat.h>

#define FOLDER "/etc/libvirt/qemu"

static char *path_of(virDomainPtr dom)
{
    return g_strdup_printf("%s/%s.xml", FOLDER, virDomainGetName(dom));
}

/* No file: it was undefined while it runs, and nothing starts from it. */
static gboolean file_is_behind(virDomainPtr dom, const Pivot *p, gboolean *ret_behind, GError **error)
{
    g_autofree char *path = path_of(dom);
    g_autofree char *xml = NULL;
    g_autoptr(GError) why = NULL;
    gsize len;

    *ret_behind = FALSE;
    if (durable_read(path, &xml, &len, &why))
        return pivot_is_behind(p, xml, len, ret_behind, error);
    if (g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

/* The chain behind the file is what its header says; what else its user has said of the source stays. */
static void set_source(xmlNode *disk, const Pivot *p)
{
    xmlNode *source = xml_need(disk, "source");
    struct stat st;
    gboolean is_device = stat(p->to, &st) == 0 && S_ISBLK(st.st_mode);

    xml_drop(disk, "backingStore");
    xml_drop(source, "slices");
    xml_set(disk, "type", is_device ? "block" : "file");
    xml_set(xml_need(disk, "driver"), "type", p->format);
    xml_set(source, "file", is_device ? NULL : p->to);
    xml_set(source, "dev", is_device ? p->to : NULL);
}

/* Only what the running guest has, too. */
static gboolean expect_live(virDomainPtr dom, const Pivot *p, GError **error)
{
    g_autofree char *xml = virDomainIsActive(dom) == 1 ? vm_definition_text(dom, 0, error) : g_strdup("");
    g_autoptr(Definition) d = xml && *xml ? definition_parse(xml, strlen(xml), error) : NULL;
    const Disk *disk = d ? definition_find_disk(d, p->disk) : NULL;

    if (!xml || (*xml && !d))
        return FALSE;
    if (!disk || g_strcmp0(disk->source, p->to) == 0)
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "disk %s of the running guest is %s since: `virsh edit %s`, and put that into the definition in "
        "place of %s",
        p->disk, disk->source, virDomainGetName(dom), p->from);
    return FALSE;
}

static char *put_right(virDomainPtr dom, const char *xml, const Pivot *p, GError **error)
{
    g_autoptr(xmlDoc) doc = NULL;

    if (!expect_live(dom, p, error))
        return NULL;
    doc = xml_parse(xml, strlen(xml), "domain", "definition", error);
    if (!doc)
        return NULL;
    set_source(pivot_find_left(p, doc), p);
    return xml_write(doc);
}

/* libvirt saves what it is given, also where that is what it had in memory. */
static gboolean save(virDomainPtr dom, const Pivot *p, GError **error)
{
    g_autofree char *xml = vm_definition_text(dom, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE, error);
    virDomainPtr defined;
    gboolean behind;

    if (!xml || !pivot_is_behind(p, xml, strlen(xml), &behind, error))
        return FALSE;
    if (behind) {
        char *right = put_right(dom, xml, p, error);

        if (!right)
            return FALSE;
        g_free(xml);
        xml = right;
    }
    defined = virDomainDefineXML(virDomainGetConnect(dom), xml);
    if (!defined)
        return virt_error(error, "cannot save the definition");
    virDomainFree(defined);
    return TRUE;
}

gboolean definition_file_must_follow(virDomainPtr dom, const Pivot *p, gboolean *ret_must, GError **error)
{
    g_autofree char *xml = vm_definition_text(dom, 0, error);
    g_autoptr(Definition) d = xml ? definition_parse(xml, strlen(xml), error) : NULL;
    const Disk *disk = d ? definition_find_disk(d, p->disk) : NULL;

    *ret_must = disk && g_strcmp0(disk->source, p->from) != 0;
    if (!d || !disk || !disk->has_mirror)
        return d != NULL;
    g_set_error(error, US_ERROR, US_ERROR_BUSY, "a block job of disk %s is under way", p->disk);
    return FALSE;
}

gboolean definition_file_follow(virDomainPtr dom, const Pivot *p, GError **error)
{
    g_autofree char *path = path_of(dom);
    gboolean behind;

    if (!file_is_behind(dom, p, &behind, error))
        return FALSE;
    if (behind && (!save(dom, p, error) || !file_is_behind(dom, p, &behind, error)))
        return FALSE;
    if (!behind)
        return (!g_file_test(path, G_FILE_TEST_EXISTS) || durable_sync_file(path, error)) &&
               durable_sync_dir(FOLDER, error);
    g_set_error(error, US_ERROR, US_ERROR_IO,
                "libvirt has not saved that disk %s goes on from %s: %s names %s", p->disk, p->to, path,
                p->from);
    return FALSE;
}

gboolean definition_file_settle(virDomainPtr dom, const char *folder, const Guard *guard, GError **error)
{
    return !guard->pivot ||
           (definition_file_follow(dom, guard->pivot, error) && guard_set_pivot(folder, guard, NULL, error));
}
