/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/xml.h"

#include "vmconnect/base/error.h"

#include <libxml/parser.h>
#include <string.h>

/* libvirt writes no document type; whoever sends one wants entities. */
static void on_doctype(void *user, const xmlChar *name, const xmlChar *public_id, const xmlChar *system_id)
{
    (void)name;
    (void)public_id;
    (void)system_id;
    xmlStopParser(user);
}

static xmlDoc *parse(const char *text, gsize len)
{
    xmlParserCtxt *ctxt = xmlNewParserCtxt();
    xmlDoc *doc;

    g_assert(ctxt);
    ctxt->sax->internalSubset = on_doctype;
    ctxt->sax->externalSubset = on_doctype;
    doc = xmlCtxtReadMemory(ctxt, text, (int)len, NULL, NULL, XML_SAFE_OPTIONS);
    xmlFreeParserCtxt(ctxt);
    return doc;
}

xmlDoc *xml_parse(const char *text, gsize len, gsize max_len, const char *root, const char *what,
                  GError **error)
{
    g_autoptr(xmlDoc) doc = NULL;
    const xmlNode *top;

    g_assert(max_len <= G_MAXINT);
    if (len > max_len) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s: %zu bytes are more than the %zu allowed", what, len,
                    max_len);
        return NULL;
    }
    doc = len ? parse(text, len) : NULL;
    top = doc ? xmlDocGetRootElement(doc) : NULL;
    if (!top || doc->intSubset || top->ns || strcmp((const char *)top->name, root) != 0) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "%s: not an XML document with the root <%s> and no document type", what, root);
        return NULL;
    }
    return g_steal_pointer(&doc);
}

static xmlNode *first_named(xmlNode *node, const char *name)
{
    for (; node; node = node->next)
        if (node->type == XML_ELEMENT_NODE && !node->ns && strcmp((const char *)node->name, name) == 0)
            return node;
    return NULL;
}

xmlNode *xml_child(const xmlNode *node, const char *name)
{
    return node ? first_named(node->children, name) : NULL;
}

xmlNode *xml_next(const xmlNode *node)
{
    return first_named(node->next, (const char *)node->name);
}

static char *take(xmlChar *text)
{
    char *copy = g_strdup((const char *)text);

    /* libxml2's allocator and GLib's need not be the same. */
    if (text)
        xmlFree(text);
    return copy;
}

char *xml_attr(const xmlNode *node, const char *name)
{
    return node ? take(xmlGetNoNsProp(node, (const xmlChar *)name)) : NULL;
}

char *xml_text(const xmlNode *node)
{
    return node ? take(xmlNodeGetContent(node)) : NULL;
}
