/* SPDX-License-Identifier: Apache-2.0 */
/* Another host's domain definition, and a mapping in its first line: rewritten for this host, and what came out taken
 * back. Whatever is accepted is a definition again, in both directions. */
#include "tests/netmap/world.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

/* "FROM=TO" and a newline, if it begins so. */
static const char *take_rule(Mapping *mapping, const char *text)
{
    const char *end = strchr(text, '\n');
    g_autofree char *line = end ? g_strndup(text, (gsize)(end - text)) : NULL;
    g_autofree char *from = NULL;
    g_autofree char *to = NULL;

    if (!end || text[0] == '<' || !mapping_split(line, &from, &to, NULL))
        return text;
    mapping_set(mapping, from, to, NULL);
    return end + 1;
}

static char *translate(const char *definition, const TranslateInput *in)
{
    g_autoptr(GPtrArray) remarks = NULL;
    g_autoptr(GError) error = NULL;
    char *out = translate_definition(definition, in, &remarks, &error);

    g_assert(remarks && (!error || error->domain == NETMAP_ERROR));
    g_assert(!!out == (!error && remarks_errors(remarks) == 0));
    return out;
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(Host) alpha = world_alpha();
    g_autoptr(Host) beta = world_beta();
    g_autoptr(Mapping) mapping = world_mapping();
    const char *definition = take_rule(mapping, text);
    g_autoptr(WorldDisks) disks = world_disks(definition);
    TranslateInput in = world_there(beta, mapping, disks), home = world_back(alpha, mapping, disks);
    g_autofree char *there = translate(definition, &in);
    g_autofree char *back = there ? translate(there, &home) : NULL;

    if (there)
        xmlFreeDoc(xml_read(there, strlen(there), "domain", NULL));
    if (back)
        g_assert(!strstr(back, "<understudy:home"));
    return 0;
}
