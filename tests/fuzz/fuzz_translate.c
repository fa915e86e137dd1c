/* SPDX-License-Identifier: Apache-2.0 */
/* Another host's domain definition, rewritten for this one. What came out is taken again, and is
 * final: nothing is left to rewrite. */
#include "netmap/translate.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static const char *const CHAIN[] = {"/s/top.qcow2", "/s/base & <odd>.qcow2", NULL};
static const TranslateDisk DISK = {"vda", CHAIN};

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GHashTable) networks = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GError) error = NULL;
    g_autofree char *once = NULL;
    g_autofree char *twice = NULL;

    g_hash_table_insert(networks, (char *)"default", (char *)"prod");
    g_hash_table_insert(networks, (char *)"prod", (char *)"prod");
    once = translate_definition(text, &DISK, 1, networks, &error);
    if (!once) {
        g_assert(error && error->domain == NETMAP_ERROR);
        return 0;
    }
    twice = translate_definition(once, &DISK, 1, networks, &error);
    g_assert(twice && strcmp(once, twice) == 0);
    return 0;
}
