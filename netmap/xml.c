/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/xml.h"

#include <libxml/parser.h>
#include <string.h>

G_DEFINE_QUARK(netmap - error - quark, netmap_error)

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlParserCtxt, xmlFreeParserCtxt)

/* libvirt writes no document type; whoever sends one wants entities. */
static void on_doctype(void *user, const xmlChar *name, const xmlChar *public_id, const xmlChar *system_id)
{
    xmlParserCtxt *ctxt = user;

    (void)name;
    (void)public_id;
    (void)system_id;
    ctxt->_private = (void *)"it has a document type, which no definition needs";
    xmlStopParser(ctxt);
}

static gboolean refuse(GError **error, int line, const char *root, const char *why)
{
    g_autofree char *reason = g_strstrip(g_strndup(why, 200));
    g_autofree char *text = g_utf8_make_valid(reason, -1); /* it may have been cut within a character */

    g_set_error(error, NETMAP_ERROR, NETMAP_ERROR_XML, "line %d: not a <%s> document: %s", MAX(line, 1), root,
                text);
    return FALSE;
}

/* Depth first, without recursion. */
static const xmlNode *after(const xmlNode *node)
{
    if (node->children && node->type == XML_ELEMENT_NODE)
        return node->children;
    while (node && !node->next)
        node = node->parent;
    return node ? node->next : NULL;
}

static gboolean check(const xmlDoc *doc, const char *root, GError **error)
{
    const xmlNode *top = xmlDocGetRootElement(doc);
    guint elements = 0;

    if (!top || top->ns || strcmp((const char *)top->name, root) != 0)
        return refuse(error, top ? top->line : 1, root, "its root is another");
    for (const xmlNode *n = top; n; n = after(n))
        if (n->type == XML_ELEMENT_NODE && ++elements > XML_ELEMENTS_MAX)
            return refuse(error, n->line, root,
                          "more than " G_STRINGIFY(XML_ELEMENTS_MAX) " elements are no definition of a VM");
    return TRUE;
}

/* libxml2 compares each attribute of an element with all the others: a million of them are a quarter of an hour.
 * Between two '<' there is one element's tag at most, and '=' stands nowhere else so often. */
static gboolean check_tags(const char *text, gsize len, const char *root, GError **error)
{
    guint attributes = 0;
    int line = 1;

    for (gsize i = 0; i < len; i++) {
        line += text[i] == '\n';
        if (text[i] == '<')
            attributes = 0;
        else if (text[i] == '=' && ++attributes > XML_ATTRIBUTES_MAX)
            return refuse(
                error, line, root,
                "more than " G_STRINGIFY(XML_ATTRIBUTES_MAX) " attributes belong to no part of a VM");
    }
    return TRUE;
}

xmlDoc *xml_read(const char *text, gsize len, const char *root, GError **error)
{
    g_autoptr(xmlParserCtxt) ctxt = xmlNewParserCtxt();
    g_autoptr(xmlDoc) doc = NULL;

    g_assert(ctxt);
    if (len == 0 || len > XML_BYTES_MAX) {
        refuse(error, 1, root,
               len ? "it is longer than " G_STRINGIFY(XML_BYTES_MAX) " bytes" : "it is empty");
        return NULL;
    }
    if (!check_tags(text, len, root, error))
        return NULL;
    ctxt->sax->internalSubset = on_doctype;
    ctxt->sax->externalSubset = on_doctype;
    /* Whatever it says of itself: check_tags() must have seen the same characters. */
    doc = xmlCtxtReadMemory(ctxt, text, (int)len, NULL, "UTF-8", XML_SAFE_OPTIONS | XML_PARSE_IGNORE_ENC);
    if (ctxt->_private || !doc || doc->intSubset) {
        refuse(error, ctxt->lastError.line, root,
               ctxt->_private            ? ctxt->_private
               : ctxt->lastError.message ? ctxt->lastError.message
                                         : "it cannot be read");
        return NULL;
    }
    return check(doc, root, error) ? g_steal_pointer(&doc) : NULL;
}

static char *take(xmlChar *text)
{
    char *copy = g_strdup((const char *)text);

    /* libxml2's allocator and GLib's need not be the same. */
    if (text)
        xmlFree(text);
    return copy;
}

char *xml_write(xmlDoc *doc)
{
    xmlChar *text = NULL;
    int len;

    xmlDocDumpFormatMemoryEnc(doc, &text, &len, "UTF-8", 1);
    g_assert(text);
    return take(text);
}

gboolean xml_is(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && !node->ns && strcmp((const char *)node->name, name) == 0;
}

static xmlNode *first_named(xmlNode *node, const char *name)
{
    while (node && !xml_is(node, name))
        node = node->next;
    return node;
}

xmlNode *xml_child(const xmlNode *node, const char *name)
{
    return node ? first_named(node->children, name) : NULL;
}

xmlNode *xml_next(const xmlNode *node)
{
    return first_named(node->next, (const char *)node->name);
}

char *xml_attr(const xmlNode *node, const char *name)
{
    return node ? take(xmlGetNoNsProp(node, (const xmlChar *)name)) : NULL;
}

char *xml_text(const xmlNode *node)
{
    return node ? take(xmlNodeGetContent(node)) : NULL;
}

guint64 xml_memory_kib(const xmlNode *memory)
{
    static const struct {
        const char *unit;
        guint64 bytes;
    } UNITS[] = {{"b", 1},           {"bytes", 1},    {"KB", 1000},       {"k", 1024},
                 {"KiB", 1024},      {"MB", 1000000}, {"M", 1024 * 1024}, {"MiB", 1024 * 1024},
                 {"GB", 1000000000}, {"G", 1u << 30}, {"GiB", 1u << 30}};
    g_autofree char *text = xml_text(memory);
    g_autofree char *unit = xml_attr(memory, "unit");
    guint64 number = text ? g_ascii_strtoull(text, NULL, 10) : 0, bytes = 1024;

    for (guint i = 0; unit && i < G_N_ELEMENTS(UNITS); i++)
        if (g_str_equal(UNITS[i].unit, unit))
            bytes = UNITS[i].bytes;
    return number > G_MAXUINT64 / bytes ? G_MAXUINT64 / 1024 : number * bytes / 1024;
}

gboolean xml_attr_is(const xmlNode *node, const char *name, const char *value)
{
    g_autofree char *text = xml_attr(node, name);

    return g_strcmp0(text, value) == 0;
}

void xml_set(xmlNode *node, const char *name, const char *value)
{
    if (value)
        xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value);
    else
        xmlUnsetProp(node, (const xmlChar *)name);
}

void xml_set_text(xmlNode *node, const char *text)
{
    while (node->children)
        xml_remove(node->children);
    xmlAddChild(node, xmlNewDocText(node->doc, (const xmlChar *)text));
}

xmlNode *xml_add(xmlNode *parent, const char *name)
{
    return xmlAddChild(parent, xmlNewDocNode(parent->doc, NULL, (const xmlChar *)name, NULL));
}

xmlNode *xml_need(xmlNode *parent, const char *name)
{
    xmlNode *child = xml_child(parent, name);

    return child ? child : xml_add(parent, name);
}

void xml_remove(xmlNode *node)
{
    xmlUnlinkNode(node);
    xmlFreeNode(node);
}

void xml_drop(xmlNode *parent, const char *name)
{
    xmlNode *child;

    while ((child = xml_child(parent, name)))
        xml_remove(child);
}
