/* SPDX-License-Identifier: Apache-2.0 */
/* A host is about to be restarted. */
#include "orchestrator/operations.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

typedef struct {
    Controller *c;
    ApiCall *call;
} Starting;

/* Tests of copies that it keeps give way at once; where its plans park, they are ended by those. */
static void on_started(void *user, const json_t *doc, const GError *error)
{
    g_autofree Starting *s = user;

    for (gsize i = 0; !error && !s->c->ending && i < maintenance_len(doc); i++)
        rehearsals_end(s->c->rehearsals, maintenance_scenario(doc, i));
    operation_answered(s->call, doc, error);
}

static gboolean read_wish(const json_t *body, MaintenanceWish *ret_wish, gboolean *ret_preview,
                          GError **error)
{
    int until_finish = FALSE, power_off = FALSE, patient = FALSE, move = FALSE, preview = FALSE;
    const char *without = NULL;
    json_t *then = NULL;

    if (!json_read(body, "maintenance", error, "{s?b, s?b, s?b, s?b, s?b, s?s, s?o}", "preview", &preview,
                   "until_finish", &until_finish, "power_off", &power_off, "patient", &patient, "move", &move,
                   "without", &without, "then", &then))
        return FALSE;
    if (then && !json_is_array(then)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "\"then\" must be an array of hosts");
        return FALSE;
    }
    if (power_off && patient) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "a guest that does not shut down is either switched off or waited for, not both");
        return FALSE;
    }
    if (move && patient) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "a guest that is to be moved is waited for no longer than its shutdown_timeout: patience "
                    "is for those "
                    "that are shut down where they run");
        return FALSE;
    }
    if (without && (move || then)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "to a host that is away nothing can be moved, and of several in turn each waits until "
                    "all is protected");
        return FALSE;
    }
    *ret_wish = (MaintenanceWish){until_finish, power_off, patient, move, without, then};
    *ret_preview = preview;
    return TRUE;
}

static void maintenance_start(ApiCall *call, void *user)
{
    Controller *c = user;
    const char *host = api_call_parameter(call, "host");
    g_autoptr(GError) error = NULL;
    MaintenanceWish wish;
    gboolean preview;
    json_t *doc;
    Starting *s;

    if (!read_wish(api_call_body(call), &wish, &preview, &error)) {
        api_call_fail(call, error);
        return;
    }
    if (preview) {
        doc = maintenances_preview(c->maintenances, host, &wish, &error);
        if (doc)
            api_call_answer(call, doc);
        else
            api_call_fail(call, error);
        return;
    }
    s = g_new0(Starting, 1);
    *s = (Starting){c, call};
    if (maintenances_start(c->maintenances, host, &wish, on_started, s, &error))
        return;
    api_call_fail(call, error);
    g_free(s);
}

static void maintenance_finish_call(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;

    if (!json_read(api_call_body(call), "request", &error, "{}") ||
        !maintenances_finish(c->maintenances, api_call_parameter(call, "host"), operation_answered, call,
                             &error))
        api_call_fail(call, error);
}

static void maintenance_show(ApiCall *call, void *user)
{
    g_autoptr(GError) error = NULL;
    json_t *doc =
        maintenances_find(((Controller *)user)->maintenances, api_call_parameter(call, "host"), &error);

    if (doc)
        api_call_answer(call, json_incref(doc));
    else
        api_call_fail(call, error);
}

static void maintenance_list(ApiCall *call, void *user)
{
    api_call_answer(call, maintenances_list(((Controller *)user)->maintenances));
}

const Operation OPERATIONS_MAINTENANCE[] = {
    {"maintenance.start", maintenance_start},
    {"maintenance.finish", maintenance_finish_call},
    {"maintenance.show", maintenance_show},
    {"maintenance.list", maintenance_list},
    {NULL, NULL},
};
