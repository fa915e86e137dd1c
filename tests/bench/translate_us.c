/* SPDX-License-Identifier: Apache-2.0 */
/* translate_us - what one definition costs: the golden ones in turn, until 10,000 were rewritten.
 *
 *   translate_us [DEFINITIONS]    {"translate_us", "parse_us", "definitions", "grown_bytes"} on standard output
 *
 * parse_us is libxml2's own part of it: the same texts read and written again. grown_bytes is what the heap holds
 * more after the second half than after the first. */
#include "tests/netmap/world.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static GPtrArray *definitions(void)
{
    g_autoptr(GPtrArray) names = world_golden();
    GPtrArray *list = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < names->len; i++)
        g_ptr_array_add(list, world_read(names->pdata[i], ".in.xml"));
    g_assert(list->len > 0);
    return list;
}

static void translate(const char *definition, const Host *beta, const Mapping *mapping)
{
    g_autoptr(WorldDisks) disks = world_disks(definition);
    TranslateInput in = world_there(beta, mapping, disks);
    g_autoptr(GPtrArray) remarks = NULL;

    g_free(translate_definition(definition, &in, &remarks, NULL));
}

static void only_parse(const char *definition)
{
    g_autoptr(xmlDoc) doc = xml_read(definition, strlen(definition), "domain", NULL);

    g_free(xml_write(doc));
}

/* @translating: else libxml2 alone. Microseconds for one. */
static double run(const GPtrArray *list, guint count, gboolean translating, const Host *beta,
                  const Mapping *mapping)
{
    gint64 began_us = g_get_monotonic_time();

    for (guint i = 0; i < count; i++) {
        if (translating)
            translate(list->pdata[i % list->len], beta, mapping);
        else
            only_parse(list->pdata[i % list->len]);
    }
    return (double)(g_get_monotonic_time() - began_us) / count;
}

int main(int argc, char **argv)
{
    guint count = argc > 1 ? (guint)atoi(argv[1]) : 10000;
    g_autoptr(GPtrArray) list = definitions();
    g_autoptr(Host) beta = world_beta();
    g_autoptr(Mapping) mapping = world_mapping();
    double first_us = run(list, count / 2, TRUE, beta, mapping);
    size_t before = mallinfo2().uordblks;
    double second_us = run(list, count / 2, TRUE, beta, mapping);
    size_t after = mallinfo2().uordblks;

    printf("{\"translate_us\": %.1f, \"parse_us\": %.1f, \"definitions\": %u, \"grown_bytes\": %ld}\n",
           (first_us + second_us) / 2, run(list, count / 2, FALSE, beta, mapping), count,
           (long)after - (long)before);
    return 0;
}
