/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/cli/order.h"

#include "orchestrator/cli/page.h"

static const char *text_of(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));

    return text ? text : "-";
}

/* Of what is gone on with by force nothing is shut down. */
static void append_line(GString *out, const json_t *plan, const json_t *vm)
{
    const json_t *after = json_object_get(vm, "after");
    g_autoptr(GString) names = g_string_new(NULL);
    g_autoptr(GString) gates = g_string_new(NULL);
    g_autofree char *line = NULL;
    g_autofree char *clean = NULL;

    for (gsize i = 0; i < json_array_size(after); i++) {
        const json_t *other = json_array_get(after, i);

        g_string_append_printf(names, "%s'%s'", i ? ", " : "", text_of(other, "name"));
        g_string_append_printf(gates, "%s'%s' %s", i ? " and " : "", text_of(other, "name"),
                               text_of(other, "until"));
    }
    line = json_is_true(json_object_get(plan, "forced"))
               ? g_strdup_printf("'%s' is started when %s", text_of(vm, "name"), gates->str)
               : g_strdup_printf("'%s' is shut down before %s, and started when %s", text_of(vm, "name"),
                                 names->str, gates->str);
    clean = page_clean(line);
    g_string_append_printf(out, "%s\n", clean);
}

char *order_text(const json_t *plan)
{
    GString *out = g_string_new(NULL);
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(plan, "vms"), i, vm)
    {
        if (json_array_size(json_object_get(vm, "after")) > 0)
            append_line(out, plan, vm);
    }
    return g_string_free(out, FALSE);
}
