/* SPDX-License-Identifier: Apache-2.0 */
/* Is each copy what its VM's disks are? */
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/page.h"
#include "orchestrator/cli/progress.h"
#include "vmconnect/base/error.h"

/* What differs, range by range as far as it is told, then the table. */
static char *compared_text(const json_t *list)
{
    static const char *const TITLES[] = {"VM",         "COPY ON", ">DISKS", ">COMPARED",
                                         ">DIFFERENT", "RESULT",  NULL};
    static const char *const RANGES[] = {"VM", "DISK", ">OFFSET", ">BYTES", NULL};
    g_autoptr(Page) page = page_new(TITLES);
    g_autoptr(Page) ranges = page_new(RANGES);
    gboolean any = FALSE;
    json_t *vm, *range;
    gsize i, k;

    json_array_foreach(list, i, vm)
    {
        const json_t *compare = json_object_get(vm, "compare");

        page_value(page, vm, "name");
        page_value(page, vm, "host");
        page_bytes(page, compare, "total_bytes");
        page_bytes(page, compare, "compared_bytes");
        page_bytes(page, compare, "different_bytes");
        page_value(page, compare, "state");
        json_array_foreach(json_object_get(compare, "ranges"), k, range)
        {
            any = TRUE;
            page_value(ranges, vm, "name");
            page_value(ranges, range, "disk");
            page_value(ranges, range, "offset");
            page_value(ranges, range, "len");
        }
    }
    if (any) {
        g_autofree char *table = page_text(page, 0);
        g_autofree char *where = page_text(ranges, 0);

        return g_strdup_printf("%s\nWhat differs begins with\n%s", table, where);
    }
    return page_text(page, 0);
}

/* Every copy is what its disks are, by now? */
static gboolean all_well(const json_t *list, GError **error)
{
    json_t *vm;
    gsize i;

    json_array_foreach(list, i, vm)
    {
        const json_t *compare = json_object_get(vm, "compare");
        const char *state = json_string_value(json_object_get(compare, "state"));
        const char *name = json_string_value(json_object_get(vm, "name"));

        if (g_strcmp0(state, "equal") == 0 || g_strcmp0(state, "repaired") == 0)
            continue;
        if (g_strcmp0(state, "different") == 0)
            g_set_error(error, US_ERROR, US_ERROR_FAILED,
                        "the copy of '%s' differs from its disks: --repair has what differs sent", name);
        else
            g_set_error(error, US_ERROR, US_ERROR_FAILED, "the copy of '%s' could not be compared: %s", name,
                        json_string_value(json_object_get(compare, "why")));
        return FALSE;
    }
    return TRUE;
}

gboolean command_compare(Cli *cli, GError **error)
{
    const char *name = cli_argument(cli, 0);
    json_auto_t *body = json_pack("{s:b}", "repair", cli_flag(cli, "repair"));
    json_auto_t *begun = cli_call(cli, "scenario.compare", name, NULL, body, error);
    json_auto_t *done = NULL;

    if (!begun)
        return FALSE;
    if (!cli->wait) {
        cli_show(cli, begun,
                 g_strdup_printf("the comparison was started; understudy compare %s --wait goes on with it\n",
                                 name));
        return TRUE;
    }
    done = progress_wait_compared(cli, name, json_object_get(begun, "vms"), error);
    if (!done)
        return FALSE;
    cli_show(cli, done, compared_text(json_object_get(done, "vms")));
    return all_well(json_object_get(done, "vms"), error);
}
