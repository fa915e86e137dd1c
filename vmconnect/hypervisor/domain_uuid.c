/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/domain_uuid.h"

#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/xml.h"

#include <libxml/xmlreader.h>
#include <string.h>

static gboolean is_element(xmlTextReader *r, int depth, const char *name)
{
    return xmlTextReaderNodeType(r) == XML_READER_TYPE_ELEMENT && xmlTextReaderDepth(r) == depth &&
           !xmlTextReaderConstNamespaceUri(r) && strcmp((const char *)xmlTextReaderConstName(r), name) == 0;
}

/* The text of the element the reader stands on; libxml2's, or NULL. */
static const char *text_within(xmlTextReader *r)
{
    if (xmlTextReaderIsEmptyElement(r) || xmlTextReaderRead(r) != 1 ||
        xmlTextReaderNodeType(r) != XML_READER_TYPE_TEXT)
        return NULL;
    return (const char *)xmlTextReaderConstValue(r);
}

/* TRUE: *ret_text is the first <uuid> under a <domain> root. */
static gboolean find(xmlTextReader *r, const char **ret_text)
{
    gboolean in_domain = FALSE;

    while (xmlTextReaderRead(r) == 1) {
        if (xmlTextReaderNodeType(r) == XML_READER_TYPE_DOCUMENT_TYPE)
            return FALSE;
        if (xmlTextReaderDepth(r) == 0 && xmlTextReaderNodeType(r) == XML_READER_TYPE_ELEMENT)
            in_domain = is_element(r, 0, "domain");
        else if (in_domain && is_element(r, 1, "uuid"))
            return (*ret_text = text_within(r)) != NULL;
    }
    return FALSE;
}

/* Frees @r. */
static gboolean read_uuid(xmlTextReader *r, Id *ret_id, GError **error)
{
    const char *text = NULL;
    gboolean ok = FALSE;

    if (r && find(r, &text)) {
        g_autofree char *copy = g_strstrip(g_strdup(text));

        ok = id_parse(copy, ret_id, error);
    } else {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "no domain definition with a UUID was given");
    }
    if (r)
        xmlFreeTextReader(r);
    return ok;
}

gboolean domain_uuid_parse(const char *xml, gsize len, Id *ret_id, GError **error)
{
    return read_uuid(
        len > 0 && len <= G_MAXINT ? xmlReaderForMemory(xml, (int)len, NULL, NULL, XML_SAFE_OPTIONS) : NULL,
        ret_id, error);
}
