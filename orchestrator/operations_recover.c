/* SPDX-License-Identifier: Apache-2.0 */
/* A controller that was lost with its database is built anew from what an engine keeps (scenario_papers.c). */
#include "orchestrator/operations.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"

#define ASK_MS 30000

typedef struct {
    Controller *c;
    ApiCall *call;
    char *host;
    json_t *names;  /* those that are still to be asked for, last first */
    char *name;     /* the one that is asked for */
    json_t *newest; /* its newest document so far */
    json_t *others; /* its other hosts that are still to be asked, last first */
    char *asked;    /* of whom that is now */
    json_t *list;   /* {"name", "why"}: what became of the others */
} Recovery;

static void next(Recovery *r);

static void recovery_free(Recovery *r)
{
    g_free(r->host);
    g_free(r->name);
    g_free(r->asked);
    json_decref(r->names);
    json_decref(r->newest);
    json_decref(r->others);
    json_decref(r->list);
    g_free(r);
}

static void note(Recovery *r, const GError *error)
{
    if (error)
        log_warning("scenario '%s' is not recovered from %s: %s", r->name, r->host, error->message);
    else
        log_notice("scenario '%s' is recovered from %s", r->name, r->host);
    json_array_append_new(r->list,
                          json_pack("{s:s, s:s?}", "name", r->name, "why", error ? error->message : NULL));
    next(r);
}

static void on_recovered(void *user, const GError *error)
{
    note(user, error);
}

static json_int_t row_of(const json_t *document)
{
    return json_integer_value(json_object_get(document, "row"));
}

static void ask_others(Recovery *r);

/* One that is there and keeps nothing of a scenario that it has a part in was told to forget it. */
static void on_other(void *user, const json_t *result, const GError *error)
{
    Recovery *r = user;
    json_t *document = json_object_get(result, "document");
    g_autoptr(GError) why = NULL;

    if (error && g_error_matches(error, US_ERROR, US_ERROR_NOT_FOUND)) {
        why = g_error_new(
            US_ERROR, US_ERROR_REFUSED,
            "%s, which has a part in it, keeps nothing of it: it was deleted while %s was away; if that "
            "host was set up anew instead, stop its engine and recover once more",
            r->asked, r->host);
        note(r, why);
        return;
    }
    if (!error && row_of(document) > row_of(r->newest)) {
        json_decref(r->newest);
        r->newest = json_incref(document);
    }
    ask_others(r);
}

static gboolean is_there(const Recovery *r, const char *host)
{
    return !g_str_equal(host, r->host) && roster_find(hosts_roster(r->c->hosts), host) &&
           hosts_is_up(r->c->hosts, host);
}

/* Each host that is up; the newest document is taken when all have answered. */
static void ask_others(Recovery *r)
{
    g_autoptr(GError) why = NULL;

    while (json_array_size(r->others) > 0) {
        gsize last = json_array_size(r->others) - 1;
        const char *host = json_string_value(json_array_get(r->others, last));
        json_auto_t *params = json_pack("{s:s}", "scenario", r->name);
        gboolean there = host && is_there(r, host);

        g_free(r->asked);
        r->asked = g_strdup(host);
        json_array_remove(r->others, last);
        if (there) {
            hosts_call(r->c->hosts, r->asked, "scenario.kept", params, ASK_MS, on_other, r);
            return;
        }
    }
    if (!scenarios_recover(r->c->scenarios, r->newest, on_recovered, r, &why))
        note(r, why);
}

static void on_document(void *user, const json_t *result, const GError *error)
{
    Recovery *r = user;
    json_t *scenario;

    if (error) {
        note(r, error);
        return;
    }
    json_decref(r->newest);
    r->newest = json_incref(json_object_get(result, "document"));
    scenario = json_object_get(r->newest, "scenario");
    json_decref(r->others);
    r->others = json_array();
    json_array_extend(r->others, json_object_get(scenario, "replicas"));
    json_array_append(r->others, json_object_get(scenario, "master"));
    ask_others(r);
}

static void next(Recovery *r)
{
    gsize left = json_array_size(r->names);
    json_auto_t *params = NULL;

    if (left == 0) {
        api_call_answer(r->call, json_pack("{s:O}", "scenarios", r->list));
        recovery_free(r);
        return;
    }
    g_free(r->name);
    r->name = g_strdup(json_string_value(json_array_get(r->names, left - 1)));
    json_array_remove(r->names, left - 1);
    params = json_pack("{s:s}", "scenario", r->name ? r->name : "");
    hosts_call(r->c->hosts, r->host, "scenario.kept", params, ASK_MS, on_document, r);
}

static void on_names(void *user, const json_t *result, const GError *error)
{
    Recovery *r = user;

    if (error) {
        api_call_fail(r->call, error);
        recovery_free(r);
        return;
    }
    r->names = json_deep_copy(json_object_get(result, "scenarios"));
    next(r);
}

static void host_recover(ApiCall *call, void *user)
{
    Controller *c = user;
    const char *host = api_call_parameter(call, "host");
    g_autoptr(GError) error = NULL;
    json_auto_t *nothing = json_object();
    Recovery *r;

    if (!roster_find(hosts_roster(c->hosts), host)) {
        error = g_error_new(
            US_ERROR, US_ERROR_NOT_FOUND,
            "there is no host '%s': nothing can be recovered from it; add every host of the former "
            "controller by its former name first, with understudy host add",
            host);
        api_call_fail(call, error);
        return;
    }
    r = g_new0(Recovery, 1);
    *r = (Recovery){.c = c, .call = call, .host = g_strdup(host), .list = json_array()};
    hosts_call(c->hosts, host, "scenario.kept", nothing, ASK_MS, on_names, r);
}

const Operation OPERATIONS_RECOVER[] = {
    {"host.recover", host_recover},
    {NULL, NULL},
};
