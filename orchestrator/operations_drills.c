/* SPDX-License-Identifier: Apache-2.0 */
/* Drills of whole hosts: begin one, end it, and what came of those that were. */
#include "orchestrator/operations.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

static void drill_start(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    const char *host;

    if (!json_read(api_call_body(call), "request", &error, "{s:s}", "host", &host) ||
        !operation_expect_host(c, host, &error) ||
        !drills_start(c->drills, host, operation_answered, call, &error))
        api_call_fail(call, error);
}

static gboolean read_id(ApiCall *call, Id *ret_id, GError **error)
{
    return id_parse(api_call_parameter(call, "drill"), ret_id, error);
}

static void drill_stop(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    Id id;

    if (json_read(api_call_body(call), "request", &error, "{}") && read_id(call, &id, &error) &&
        drills_stop(c->drills, id, &error))
        api_call_answer(call, json_pack("{s:s}", "drill", ID_TEXT(id)));
    else
        api_call_fail(call, error);
}

static void drill_list(ApiCall *call, void *user)
{
    drills_list(((Controller *)user)->drills, operation_answered, call);
}

static void drill_show(ApiCall *call, void *user)
{
    g_autoptr(GError) error = NULL;
    Id id;

    if (read_id(call, &id, &error))
        drills_show(((Controller *)user)->drills, id, operation_answered, call);
    else
        api_call_fail(call, error);
}

const Operation OPERATIONS_DRILLS[] = {
    {"drill.start", drill_start},
    {"drill.stop", drill_stop},
    {"drill.list", drill_list},
    {"drill.show", drill_show},
    {NULL, NULL},
};
