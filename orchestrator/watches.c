/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/watches.h"

#include "orchestrator/core/protection.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"

#define CALL_MS 15000
#define AGAIN_MS 10000

/* What one engine shall look after, and what it has been told. */
typedef struct {
    json_t *wanted; /* NULL: not put together yet */
    json_t *told;   /* NULL: nothing that counts */
    gboolean asking;
    gint64 again_at_ms;
} Duty;

struct Watches {
    Hosts *hosts;
    Vitals *vitals;
    GHashTable *duties; /* host -> Duty * */
    gboolean changed;   /* what is wanted is to be put together anew */
    gboolean closed;
};

static void duty_free(gpointer data)
{
    Duty *d = data;

    json_decref(d->wanted);
    json_decref(d->told);
    g_free(d);
}

Watches *watches_new(Hosts *hosts, Vitals *vitals)
{
    Watches *w = g_new0(Watches, 1);

    w->hosts = hosts;
    w->vitals = vitals;
    w->changed = TRUE;
    w->duties = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, duty_free);
    return w;
}

void watches_free(Watches *w)
{
    if (!w)
        return;
    g_hash_table_unref(w->duties);
    g_free(w);
}

void watches_close(Watches *w)
{
    w->closed = TRUE;
}

void watches_changed(Watches *w)
{
    w->changed = TRUE;
}

void watches_forget(Watches *w, const char *host)
{
    Duty *d = g_hash_table_lookup(w->duties, host);

    w->changed = TRUE;
    if (!d)
        return;
    g_clear_pointer(&d->told, json_decref);
    d->again_at_ms = 0;
}

/* --- what is wanted ----------------------------------------------------------- */

static Duty *duty_of(Watches *w, const char *host)
{
    Duty *d = g_hash_table_lookup(w->duties, host);

    if (!d) {
        d = g_new0(Duty, 1);
        g_hash_table_insert(w->duties, g_strdup(host), d);
    }
    if (!d->wanted)
        d->wanted = json_pack("{s:[], s:[]}", "hosts", "guests");
    return d;
}

static json_t *with_times(const Policy *policy, json_t *steal_item)
{
    json_object_set_new(steal_item, "interval_ms", json_integer(policy->probe_interval_ms));
    /* So that what is missed is known before the second probe after it. */
    json_object_set_new(steal_item, "timeout_ms", json_integer(policy_try_ms(policy)));
    return steal_item;
}

static json_t *find_item(const json_t *list, const char *id)
{
    for (gsize i = 0; i < json_array_size(list); i++)
        if (g_strcmp0(json_string_value(json_object_get(json_array_get(list, i), "id")), id) == 0)
            return json_array_get(list, i);
    return NULL;
}

static void want_host(Watches *w, const char *watcher, const RosterHost *host, const Policy *policy)
{
    json_t *hosts = json_object_get(duty_of(w, watcher)->wanted, "hosts");
    json_auto_t *item = with_times(policy, roster_host_full(host));

    json_object_del(item, "name");
    if (!find_item(hosts, ID_TEXT(host->id)))
        json_array_append(hosts, item);
}

static void want_guest(Watches *w, const char *watcher, const ProtectionVm *vm, const Policy *policy,
                       json_t *steal_checks)
{
    if (json_array_size(steal_checks) == 0) {
        json_decref(steal_checks);
        return;
    }
    json_array_append_new(
        json_object_get(duty_of(w, watcher)->wanted, "guests"),
        with_times(policy, json_pack("{s:s, s:I, s:o}", "vm", ID_TEXT(vm->uuid), "reign",
                                     (json_int_t)vm->reign.number, "checks", steal_checks)));
}

/* While a plan runs the host that a VM has come from may be on its way down: what starts after the VM waits for what its new host
 * sees. */
static gboolean is_new_there(const Protection *p, const ProtectionVm *vm)
{
    return !id_is_nil(p->plan) && vm->part == PART_MOVED;
}

static json_t *checks_from(const ScenarioVm *vm, gboolean active, gboolean all)
{
    json_t *list = json_array();

    for (guint i = 0; i < vm->checks->len; i++)
        if (((const CheckSpec *)vm->checks->pdata[i])->from_active == active || (active && all))
            json_array_append_new(list, check_spec_to_json(vm->checks->pdata[i]));
    if (active && vm->checks->len == 0)
        json_array_append_new(list, json_pack("{s:s}", "kind", "agent"));
    return list;
}

/* How an active is looked after, by whoever does, for several scenarios at once: as often as the most eager has it, and for as long as
 * the most patient. */
typedef struct {
    gint64 patience_ms;
    const Policy *eager;
} Expected;

static void expect(Watches *w, const Protection *p, const ProtectionVm *vm, GHashTable *expected)
{
    const Policy *policy = &p->scenario->policy;
    Expected *e = g_hash_table_lookup(expected, vm->active);

    (void)w;
    if (!protection_keeper(vm))
        return;
    if (!e) {
        e = g_new0(Expected, 1);
        e->eager = policy;
        g_hash_table_insert(expected, vm->active, e);
    }
    e->patience_ms = MAX(e->patience_ms, policy->probe_misses * policy->probe_interval_ms);
    if (policy->probe_interval_ms < e->eager->probe_interval_ms)
        e->eager = policy;
}

static void want_vm(Watches *w, const Protection *p, const ProtectionVm *vm, GHashTable *expected)
{
    const Policy *policy = &p->scenario->policy;
    const ScenarioVm *known = scenario_find_vm(p->scenario, vm->uuid);
    const RosterHost *active = roster_find(hosts_roster(w->hosts), vm->active);
    const char *keeper = protection_keeper(vm);

    want_guest(w, vm->active, vm, policy, checks_from(known, TRUE, is_new_there(p, vm)));
    if (!keeper || !active)
        return;
    want_host(w, keeper, active, ((const Expected *)g_hash_table_lookup(expected, vm->active))->eager);
    if (!is_new_there(p, vm))
        want_guest(w, keeper, vm, policy, checks_from(known, FALSE, FALSE));
}

static void want_nothing(Watches *w)
{
    GHashTableIter it;
    gpointer duty;

    g_hash_table_iter_init(&it, w->duties);
    while (g_hash_table_iter_next(&it, NULL, &duty))
        g_clear_pointer(&((Duty *)duty)->wanted, json_decref);
}

typedef void (*EachVm)(Watches *w, const Protection *p, const ProtectionVm *vm, GHashTable *expected);

static void each_vm(Watches *w, const GPtrArray *protections, GHashTable *expected, EachVm each)
{
    for (guint i = 0; i < protections->len; i++) {
        const Protection *p = protections->pdata[i];

        for (guint k = 0; p->goal != GOAL_STOPPED && k < p->vms->len; k++)
            each(w, p, p->vms->pdata[k], expected);
    }
}

static void want_all(Watches *w, const GPtrArray *protections)
{
    g_autoptr(GPtrArray) names = hosts_names(w->hosts);
    g_autoptr(GHashTable) expected = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);

    each_vm(w, protections, expected, expect);
    each_vm(w, protections, expected, want_vm);
    for (guint i = 0; i < names->len; i++) {
        const Expected *e = g_hash_table_lookup(expected, names->pdata[i]);

        gint64 interval_ms = e ? e->eager->probe_interval_ms : 0;

        /* Rounded up, of those that are told; nobody looks after who is not expected. */
        vitals_expect(w->vitals, names->pdata[i],
                      e ? (guint)MIN((e->patience_ms + interval_ms - 1) / interval_ms, CHECK_MISSES_TOLD) : 0,
                      interval_ms);
    }
}

/* --- telling ------------------------------------------------------------------- */

typedef struct {
    Watches *watches;
    char *host;
    json_t *said;
} Telling;

/* An engine of before cannot; there is no harm in asking it again. */
static void on_told(void *user, const json_t *result, const GError *error)
{
    Telling *t = user;
    Duty *d = t->watches->closed ? NULL : g_hash_table_lookup(t->watches->duties, t->host);

    (void)result;
    if (d) {
        d->asking = FALSE;
        d->again_at_ms = clock_steady_ms() + AGAIN_MS;
        if (!error)
            d->told = json_incref(t->said);
        else
            log_notice("host '%s' does not watch what it should: %s -> it is asked again", t->host,
                       error->message);
    }
    json_decref(t->said);
    g_free(t->host);
    g_free(t);
}

static void tell(Watches *w, const char *host, Duty *d)
{
    Telling *t = g_new0(Telling, 1);

    *t = (Telling){w, g_strdup(host), json_incref(d->wanted)};
    g_clear_pointer(&d->told, json_decref);
    d->asking = TRUE;
    hosts_call(w->hosts, host, "watch.set", d->wanted, CALL_MS, on_told, t);
}

/* Put together anew it is mostly the same. */
static gboolean knows(Duty *d)
{
    if (!d->told || !json_equal(d->told, d->wanted))
        return FALSE;
    json_decref(d->told);
    d->told = json_incref(d->wanted);
    return TRUE;
}

void watches_tick(Watches *w, const GPtrArray *protections)
{
    GHashTableIter it;
    gpointer host, duty;

    if (w->changed) {
        want_nothing(w);
        want_all(w, protections);
        w->changed = FALSE;
    }
    g_hash_table_iter_init(&it, w->duties);
    while (g_hash_table_iter_next(&it, &host, &duty)) {
        Duty *d = duty;

        if (!d->wanted)
            d->wanted = json_pack("{s:[], s:[]}", "hosts", "guests");
        if (!d->asking && hosts_is_up(w->hosts, host) && !knows(d) &&
            (d->told || clock_steady_ms() >= d->again_at_ms))
            tell(w, host, d);
    }
}
