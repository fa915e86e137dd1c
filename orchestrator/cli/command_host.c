/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/page.h"
#include "orchestrator/core/scenario.h"
#include "vmconnect/base/error.h"

#define DEFAULT_PORT "25000"

/* HOST, HOST:PORT, [ADDR], [ADDR]:PORT, ADDR6 to host:port. */
static char *with_port(const char *address)
{
    const char *colon = strrchr(address, ':');

    if (address[0] == '[')
        return address[strlen(address) - 1] == ']' ? g_strconcat(address, ":" DEFAULT_PORT, NULL)
                                                   : g_strdup(address);
    if (colon && strchr(address, ':') != colon)
        return g_strdup_printf("[%s]:%s", address, DEFAULT_PORT);
    return colon ? g_strdup(address) : g_strconcat(address, ":" DEFAULT_PORT, NULL);
}

static json_t *addresses(const Cli *cli)
{
    json_t *list = json_array();
    g_autofree char *first = with_port(cli_option(cli, "address"));

    json_array_append_new(list, json_string(first));
    for (const char *const *via = cli_options(cli, "via"); *via; via++) {
        g_autofree char *path = with_port(*via);

        json_array_append_new(list, json_string(path));
    }
    return list;
}

gboolean command_host_add(Cli *cli, GError **error)
{
    const char *name = cli_argument(cli, 0);
    g_autofree char *token = NULL;
    json_auto_t *body = NULL;
    json_auto_t *host = NULL;

    if (!scenario_name_check("host", name, error))
        return FALSE;
    if (!cli_option(cli, "address") || !cli_option(cli, "token")) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "host add needs --address HOST and --token: the token is in /run/understudy/engine/token "
                    "on that host");
        return FALSE;
    }
    token = cli_token(cli_option(cli, "token"), error);
    if (!token)
        return FALSE;
    body = json_pack("{s:s, s:o, s:s}", "name", name, "addresses", addresses(cli), "token", token);
    host = cli_call(cli, "host.add", NULL, NULL, body, error);
    if (!host)
        return FALSE;
    cli_show(cli, host, g_strdup_printf("host '%s' is in the controller's care\n", name));
    return TRUE;
}

gboolean command_host_set(Cli *cli, GError **error)
{
    const char *name = cli_argument(cli, 0);
    json_auto_t *body = NULL;
    json_auto_t *host = NULL;

    if (!cli_option(cli, "address")) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "host set needs --address HOST, and --via again for each further path");
        return FALSE;
    }
    body = json_pack("{s:o}", "addresses", addresses(cli));
    host = cli_call(cli, "host.set", name, NULL, body, error);
    if (!host)
        return FALSE;
    cli_show(cli, host, g_strdup_printf("host '%s' is reached there from now on\n", name));
    return TRUE;
}

gboolean command_host_list(Cli *cli, GError **error)
{
    static const char *const TITLES[] = {"NAME", "STATE", "ADDRESSES", "VERSION", ">FREE", NULL};
    json_auto_t *doc = cli_call(cli, "host.list", NULL, NULL, NULL, error);
    g_autoptr(Page) page = page_new(TITLES);
    json_t *host;
    gsize i;

    if (!doc)
        return FALSE;
    json_array_foreach(json_object_get(doc, "hosts"), i, host)
    {
        page_value(page, host, "name");
        page_value(page, host, "state");
        page_value(page, host, "addresses");
        page_value(page, host, "version");
        page_bytes(page, json_object_get(host, "store"), "free_bytes");
    }
    cli_show(cli, doc, page_text(page, 0));
    return TRUE;
}

gboolean command_host_show(Cli *cli, GError **error)
{
    json_auto_t *host = cli_call(cli, "host.show", cli_argument(cli, 0), NULL, NULL, error);

    if (!host)
        return FALSE;
    cli_show(cli, host, page_of(host));
    return TRUE;
}

/* Whoever means to switch one off has its agent for that. */
gboolean command_fence(Cli *cli, GError **error)
{
    const char *name = cli_argument(cli, 0), *power;
    json_auto_t *doc = NULL;

    if (!cli_flag(cli, "status")) {
        g_set_error(
            error, US_ERROR, US_ERROR_USAGE,
            "fence needs --status: nobody but the controller fences, and by itself; nothing was done");
        return FALSE;
    }
    doc = cli_call(cli, "host.fence", name, NULL, NULL, error);
    if (!doc)
        return FALSE;
    power = json_string_value(json_object_get(doc, "power"));
    cli_show(cli, doc,
             g_strdup_printf("the fence of '%s' answers: it is %s\n", name, power ? power : "not known"));
    return TRUE;
}

gboolean command_host_remove(Cli *cli, GError **error)
{
    const char *name = cli_argument(cli, 0);
    g_autofree char *question = g_strdup_printf("Let host '%s' go?", name);
    json_auto_t *doc =
        cli_confirm(cli, question, error) ? cli_call(cli, "host.remove", name, NULL, NULL, error) : NULL;

    if (!doc)
        return FALSE;
    cli_show(
        cli, doc,
        json_is_false(json_object_get(doc, "disowned"))
            ? g_strdup_printf("host '%s' is gone; its engine was not reached and keeps its owner until root "
                              "says 'understudy-engine disown' there\n",
                              name)
            : g_strdup_printf("host '%s' is gone; its engine can get another owner\n", name));
    return TRUE;
}

/* Each in one word or two, with what stands in the way of the first that has something. */
static char *disks_of(const json_t *vm, guint64 *ret_bytes, const char **ret_problem)
{
    GString *text = g_string_new(NULL);
    json_t *disk;
    gsize i;

    json_array_foreach(json_object_get(vm, "disks"), i, disk)
    {
        const char *target = json_string_value(json_object_get(disk, "target"));
        const char *format = json_string_value(json_object_get(disk, "format"));

        *ret_bytes += (guint64)json_integer_value(json_object_get(disk, "size_bytes"));
        if (!*ret_problem)
            *ret_problem = json_string_value(json_object_get(disk, "problem"));
        g_string_append_printf(text, "%s%s:%s", i ? " " : "", target ? target : "?", format ? format : "?");
    }
    return g_string_free(text, FALSE);
}

/* What each is plugged into; one that is in no place is told by its type. */
static char *networks_of(const json_t *vm)
{
    GString *text = g_string_new(NULL);
    json_t *nic;
    gsize i;

    json_array_foreach(json_object_get(vm, "interfaces"), i, nic)
    {
        const char *place = json_string_value(json_object_get(nic, "place"));
        const char *type = json_string_value(json_object_get(nic, "type"));

        g_string_append_printf(text, "%s%s", i ? " " : "", place && *place ? place : type ? type : "?");
    }
    return g_string_free(text, FALSE);
}

static void vm_row(Page *page, const json_t *vm)
{
    guint64 bytes = 0;
    const char *problem = NULL;
    g_autofree char *disks = disks_of(vm, &bytes, &problem);
    g_autofree char *networks = networks_of(vm);
    json_auto_t *sum = json_pack("{s:I}", "bytes", (json_int_t)bytes);

    page_value(page, vm, "name");
    page_value(page, vm, "uuid");
    page_value(page, vm, "state");
    page_value(page, vm, "guest_name");
    page_cell(page, disks);
    page_bytes(page, sum, "bytes");
    page_cell(page, networks);
    page_value(page, vm, "scenario");
    page_cell(page, problem);
}

gboolean command_vm_list(Cli *cli, GError **error)
{
    static const char *const TITLES[] = {"NAME",  "UUID",     "STATE",    "GUEST",   "DISKS",
                                         ">SIZE", "NETWORKS", "SCENARIO", "PROBLEM", NULL};
    json_auto_t *doc = cli_call(cli, "vm.list", cli_argument(cli, 0), NULL, NULL, error);
    g_autoptr(Page) page = page_new(TITLES);
    json_t *vm;
    gsize i;

    if (!doc)
        return FALSE;
    json_array_foreach(json_object_get(doc, "vms"), i, vm) vm_row(page, vm);
    cli_show(cli, doc, page_text(page, 0));
    return TRUE;
}
