/* SPDX-License-Identifier: Apache-2.0 */
/* Branches: what a host's disks held when another had become the active. They are points that nobody received. */
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/page.h"

gboolean command_branch_list(Cli *cli, GError **error)
{
    static const char *const TITLES[] = {"VM", "HOST", "BRANCH", "FOUND AT", ">TERM", "OPEN", "KEPT", NULL};
    static const char *const KEYS[] = {"vm", "host", "id", "cut_at", "term", "open", "pinned"};
    json_auto_t *found = cli_call(cli, "scenario.points", cli_argument(cli, 0), NULL, NULL, error);
    json_auto_t *doc = json_pack("{s:[]}", "branches");
    g_autoptr(Page) page = page_new(TITLES);
    json_t *point;
    gsize i;

    if (!found)
        return FALSE;
    json_array_foreach(json_object_get(found, "points"), i, point)
    {
        if (!json_is_true(json_object_get(point, "branch")))
            continue;
        json_array_append(json_object_get(doc, "branches"), point);
        for (guint k = 0; k < G_N_ELEMENTS(KEYS); k++)
            page_value(page, point, KEYS[k]);
    }
    cli_show(cli, doc, page_text(page, 0));
    return TRUE;
}

static char *opened_text(const json_t *doc)
{
    GString *out = g_string_new(NULL);
    json_t *point;
    json_t *disk;
    gsize i;
    gsize k;

    json_array_foreach(json_object_get(doc, "points"), i, point)
        json_array_foreach(json_object_get(point, "disks"), k, disk)
    {
        g_autofree char *line =
            g_strdup_printf("%s on %s, read-only: %s", json_string_value(json_object_get(disk, "target")),
                            json_string_value(json_object_get(point, "host")),
                            json_string_value(json_object_get(disk, "uri")));
        g_autofree char *clean = page_clean(line);

        g_string_append_printf(out, "%s\n", clean);
    }
    g_string_append(out, "as root there: nbdinfo URI, nbdcopy URI FILE, qemu-img convert URI FILE\n");
    return g_string_free(out, FALSE);
}

gboolean command_branch_open(Cli *cli, GError **error)
{
    json_auto_t *doc = cli_call(cli, "point.open", cli_argument(cli, 0), NULL, NULL, error);

    if (doc)
        cli_show(cli, doc, opened_text(doc));
    return doc != NULL;
}

gboolean command_branch_release(Cli *cli, GError **error)
{
    json_auto_t *body = json_pack("{s:b}", "branch", 1);
    g_autofree char *question =
        g_strdup_printf("Let branch %s go? What only it holds is lost when its disks are "
                        "merged.",
                        cli_argument(cli, 0));
    json_auto_t *doc = cli_confirm(cli, question, error)
                           ? cli_call(cli, "point.release", cli_argument(cli, 0), NULL, body, error)
                           : NULL;

    if (doc)
        cli_show(cli, doc, g_strdup("it is kept no longer\n"));
    return doc != NULL;
}
