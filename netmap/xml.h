/* SPDX-License-Identifier: Apache-2.0 */
/* xml - documents that somebody else wrote, read and changed with libxml2 and no trust.
 *
 * No network, no file, no entity, no document type: the parser stops at the
 * first sign of one. Depth is bounded by libxml2, elements by XML_ELEMENTS_MAX, attributes of one by
 * XML_ATTRIBUTES_MAX. All text is UTF-8. Lookups take elements without a namespace only, which is all
 * that libvirt has; user metadata cannot pass for a device.
 *
 * Strings given back are the caller's to g_free(); NULL as a node has no children, attributes or text. */
#pragma once

#include <glib.h>
#include <libxml/tree.h>

/* The parse options every reader of ours uses. */
#define XML_SAFE_OPTIONS (XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOBLANKS)

#define NETMAP_ERROR (netmap_error_quark())
GQuark netmap_error_quark(void);

typedef enum {
    NETMAP_ERROR_XML,         /* not such a document, too large, with a document type: with the line */
    NETMAP_ERROR_MAPPING,     /* a rule, or the set of them, makes no sense */
    NETMAP_ERROR_UNSUPPORTED, /* a sound definition, of which that cannot be made what was asked for */
} NetmapError;

/* libvirt itself refuses strings over 4 MiB; a definition in our files may have grown a little. */
#define XML_BYTES_MAX (8u << 20)
/* A domain of 64 disks and 32 interfaces has some 1,500. */
#define XML_ELEMENTS_MAX 32768
#define XML_ATTRIBUTES_MAX 4096

/* A document whose root is <@root>, xmlFreeDoc() it; NULL with @error XML: line and reason. White
 * space between elements is dropped. */
xmlDoc *xml_read(const char *text, gsize len, const char *root, GError **error);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

/* The document as text, indented. */
char *xml_write(xmlDoc *doc);

/* The first child element of that name; the next sibling of the same name. */
xmlNode *xml_child(const xmlNode *node, const char *name);
xmlNode *xml_next(const xmlNode *node);
gboolean xml_is(const xmlNode *node, const char *name);

/* An attribute; an element's text. NULL: not there. */
char *xml_attr(const xmlNode *node, const char *name);
char *xml_text(const xmlNode *node);
/* What <memory> says, in whichever unit of libvirt's; 0: nothing. */
guint64 xml_memory_kib(const xmlNode *memory);
/* Has the attribute that value? */
gboolean xml_attr_is(const xmlNode *node, const char *name, const char *value);

/* Give an attribute, or take it away with NULL. */
void xml_set(xmlNode *node, const char *name, const char *value);
void xml_set_text(xmlNode *node, const char *text);
/* A new last child. */
xmlNode *xml_add(xmlNode *parent, const char *name);
/* The child of that name, made if it is not there. */
xmlNode *xml_need(xmlNode *parent, const char *name);
void xml_remove(xmlNode *node);
/* Remove all children of that name: of what stands there twice it is libvirt's choice which one counts. */
void xml_drop(xmlNode *parent, const char *name);
