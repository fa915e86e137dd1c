/* SPDX-License-Identifier: Apache-2.0 */
/* A definition becomes that of a test's VM, and this one once more: it bears the mark, nothing more is left out of it,
 * and it has the same interfaces. */
#include "tests/netmap/world.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static char *isolate(const char *definition, GPtrArray **ret_nics, GPtrArray **ret_left_out)
{
    IsolateInput in = world_isolation();
    g_autoptr(GError) error = NULL;
    char *out = isolate_definition(definition, &in, ret_nics, ret_left_out, &error);

    g_assert(!out == !!error && !out == !*ret_nics && !out == !*ret_left_out);
    g_assert(!error || (error->domain == NETMAP_ERROR && g_utf8_validate(error->message, -1, NULL)));
    return out;
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GPtrArray) nics = NULL;
    g_autoptr(GPtrArray) left_out = NULL;
    g_autoptr(GPtrArray) same_nics = NULL;
    g_autoptr(GPtrArray) nothing = NULL;
    g_autofree char *vm = NULL;
    g_autofree char *out = NULL;
    g_autofree char *again = NULL;

    if (isolate_is_marked((const char *)data, size, &vm))
        g_assert(g_uuid_string_is_valid(vm));
    out = isolate(text, &nics, &left_out);
    if (!out)
        return 0;
    g_assert(isolate_is_marked(out, strlen(out), NULL));
    again = isolate(out, &same_nics, &nothing);
    g_assert(again && nothing->len == 0 && same_nics->len == nics->len);
    return 0;
}
