/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/definition_file.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/definition.h"
#include "vmconnect/hypervisor/xml.h"

#include <string.h>
#include <sys/stat.h>

#define FOLDER "/etc/libvirt/qemu"

static char *path_of(virDomainPtr dom)
{
    return g_strdup_printf("%s/%s.xml", FOLDER, virDomainGetName(dom));
}

static gboolean names(const char *xml, const char *target, const char *path, gboolean *ret_names,
                      GError **error)
{
    g_autoptr(Definition) d = definition_parse(xml, strlen(xml), error);
    const Disk *disk = d ? definition_find_disk(d, target) : NULL;

    *ret_names = disk && g_strcmp0(disk->source, path) == 0;
    return d != NULL;
}

static gboolean file_names(virDomainPtr dom, const Pivot *p, gboolean *ret_names, GError **error)
{
    g_autofree char *path = path_of(dom);
    g_autofree char *xml = NULL;
    gsize len;

    return durable_read(path, &xml, &len, error) && names(xml, p->disk, p->from, ret_names, error);
}

static xmlNode *find_disk(xmlDoc *doc, const char *target)
{
    xmlNode *devices = xml_child(xmlDocGetRootElement(doc), "devices");

    for (xmlNode *disk = xml_child(devices, "disk"); disk; disk = xml_next(disk))
        if (xml_attr_is(xml_child(disk, "target"), "dev", target))
            return disk;
    return NULL;
}

/* The chain behind the file is what its header says. */
static void set_source(xmlNode *disk, const Pivot *p)
{
    struct stat st;
    gboolean is_device = stat(p->to, &st) == 0 && S_ISBLK(st.st_mode);

    xml_drop(disk, "source");
    xml_drop(disk, "backingStore");
    xml_set(disk, "type", is_device ? "block" : "file");
    xml_set(xml_need(disk, "driver"), "type", p->format);
    xml_set(xml_add(disk, "source"), is_device ? "dev" : "file", p->to);
}

/* libvirt saves what it is given, also where that is what it had in memory. */
static gboolean save(virDomainPtr dom, const Pivot *p, GError **error)
{
    g_autofree char *xml = virDomainGetXMLDesc(dom, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
    g_autoptr(xmlDoc) doc = NULL;
    virDomainPtr defined;
    gboolean behind;

    if (!xml)
        return virt_error(error, "cannot read the definition");
    if (!names(xml, p->disk, p->from, &behind, error))
        return FALSE;
    if (behind) {
        doc = xml_parse(xml, strlen(xml), "domain", "definition", error);
        if (!doc)
            return FALSE;
        set_source(find_disk(doc, p->disk), p);
        g_free(xml);
        xml = xml_write(doc);
    }
    defined = virDomainDefineXML(virDomainGetConnect(dom), xml);
    if (!defined)
        return virt_error(error, "cannot save the definition");
    virDomainFree(defined);
    return TRUE;
}

gboolean definition_file_must_follow(virDomainPtr dom, const Pivot *p, gboolean *ret_must, GError **error)
{
    g_autofree char *xml = virDomainGetXMLDesc(dom, 0);

    if (!xml)
        return virt_error(error, "cannot read the live definition");
    return names(xml, p->disk, p->to, ret_must, error);
}

gboolean definition_file_follow(virDomainPtr dom, const Pivot *p, GError **error)
{
    g_autofree char *path = path_of(dom);
    gboolean behind;

    if (!file_names(dom, p, &behind, error))
        return FALSE;
    if (behind && (!save(dom, p, error) || !file_names(dom, p, &behind, error)))
        return FALSE;
    if (!behind)
        return durable_sync_file(path, error) && durable_sync_dir(FOLDER, error);
    g_set_error(error, US_ERROR, US_ERROR_IO,
                "libvirt has not saved that disk %s goes on from %s: %s names %s", p->disk, p->to, path,
                p->from);
    return FALSE;
}
