/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/cli/keepsake.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"

#include <string.h>

static const char *text_of(const json_t *doc, const char *key)
{
    return json_string_value(json_object_get(doc, key));
}

gboolean keepsake_collect(Cli *cli, const json_t *test, json_t *evidence, GError **error)
{
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(test, "vms"), i, vm)
    {
        const char *id = text_of(vm, "vm") ?: "";
        json_auto_t *query = json_pack("{s:s}", "vm", id);
        g_autoptr(GError) why = NULL;
        json_t *seen = cli_call(cli, "test.evidence", text_of(test, "test"), query, NULL, &why);

        if (!seen && !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&why));
            return FALSE;
        }
        if (seen)
            json_object_set_new(evidence, id, seen);
    }
    return TRUE;
}

gboolean keepsake_write(Cli *cli, const json_t *doc, const char *html, GError **error)
{
    const char *path = cli_option(cli, "html");

    if (!durable_replace(path, html, strlen(html), 0600, error))
        return FALSE;
    cli_show(cli, doc, g_strdup_printf("written: %s\n", path));
    return TRUE;
}
