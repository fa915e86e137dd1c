/* SPDX-License-Identifier: Apache-2.0 */
/* Channels, by which people are told. What is secret of one comes in here and never goes out again. */
#include "orchestrator/operations.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

static void on_list(void *user, json_t *doc, const GError *error)
{
    if (error)
        api_call_fail(user, error);
    else
        api_call_answer(user, doc);
}

static void notify_list(ApiCall *call, void *user)
{
    notifier_describe(((Controller *)user)->notifier, NULL, on_list, call);
}

static void on_one(void *user, json_t *doc, const GError *error)
{
    ApiCall *call = user;
    json_auto_t *all = doc;

    if (error)
        api_call_fail(call, error);
    else
        api_call_answer(call, json_incref(json_array_get(json_object_get(all, "channels"), 0)));
}

static void notify_show(ApiCall *call, void *user)
{
    notifier_describe(((Controller *)user)->notifier, api_call_parameter(call, "channel"), on_one, call);
}

/* One that is misspelt would never have anything to tell. */
static gboolean check_scenarios(const Controller *c, const Channel *channel, GError **error)
{
    for (char **name = channel->scenarios; name && *name; name++)
        if (!scenarios_find(c->scenarios, *name, error))
            return FALSE;
    return TRUE;
}

static void notify_add(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    g_autoptr(Channel) channel = channel_from_json(api_call_body(call), &error);

    if (!channel || !check_scenarios(c, channel, &error)) {
        api_call_fail(call, error);
        return;
    }
    notifier_add(c->notifier, g_steal_pointer(&channel), operation_done, call);
}

static void notify_remove(ApiCall *call, void *user)
{
    notifier_remove(((Controller *)user)->notifier, api_call_parameter(call, "channel"), operation_done,
                    call);
}

typedef struct {
    ApiCall *call;
    gint64 begun_ms;
} Testing;

static void on_tested(void *user, const GError *error)
{
    Testing *t = user;

    if (error)
        api_call_fail(t->call, error);
    else
        api_call_answer(t->call,
                        json_pack("{s:I}", "took_ms", (json_int_t)(clock_steady_ms() - t->begun_ms)));
    g_free(t);
}

static void notify_test(ApiCall *call, void *user)
{
    Testing *t = g_new0(Testing, 1);

    *t = (Testing){call, clock_steady_ms()};
    notifier_test(((Controller *)user)->notifier, api_call_parameter(call, "channel"), on_tested, t);
}

const Operation OPERATIONS_NOTIFY[] = {
    {"notify.list", notify_list},     {"notify.add", notify_add},   {"notify.show", notify_show},
    {"notify.remove", notify_remove}, {"notify.test", notify_test}, {NULL, NULL},
};
