/* SPDX-License-Identifier: Apache-2.0 */
/* xml - documents that somebody else wrote, read with libxml2 and no trust.
 *
 * No network, no file, no entity, no document type: the parser stops at the
 * first sign of one. Lookups take elements without a namespace only, which is
 * all that libvirt has; user metadata cannot pass for a device. */
#pragma once

#include <glib.h>
#include <libxml/tree.h>

/* The parse options every reader of ours uses. */
#define XML_SAFE_OPTIONS (XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOBLANKS)

/* A document whose root is <@root>, xmlFreeDoc() it; NULL with @error USAGE
 * ("@what: …") when it is not one or longer than @max_len. */
xmlDoc *xml_parse(const char *text, gsize len, gsize max_len, const char *root, const char *what,
                  GError **error);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

/* The first child element of that name, the next sibling of the same name; NULL is none and is accepted. */
xmlNode *xml_child(const xmlNode *node, const char *name);
xmlNode *xml_next(const xmlNode *node);

/* An attribute, an element's own text; the caller g_free()s, NULL: not there. */
char *xml_attr(const xmlNode *node, const char *name);
char *xml_text(const xmlNode *node);
