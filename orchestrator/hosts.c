/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/hosts.h"

#include "orchestrator/core/hold.h"
#include "orchestrator/core/maintenance.h"
#include "orchestrator/core/scenario.h"
#include "orchestrator/engine_link.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

typedef struct {
    Hosts *hosts;
    char *name;
    EngineLink *link;
} HostEntry;

struct Hosts {
    uv_loop_t *loop;
    Identity *identity;
    guint64 incarnation;
    HostsEvents events;
    void *user;
    Roster *roster;
    GHashTable *by_name; /* char * (the host's own) -> HostEntry * */
    uv_timer_t soon;     /* answers calls to hosts that are not there */
    GQueue *lost;        /* Lost * */
    gboolean closed;
};

static void on_up(void *user)
{
    HostEntry *host = user;

    host->hosts->events.on_up(host->hosts->user, host->name);
}

static void on_down(void *user, const GError *why)
{
    HostEntry *host = user;

    host->hosts->events.on_down(host->hosts->user, host->name, why);
}

static void on_overruled(void *user)
{
    HostEntry *host = user;

    host->hosts->events.on_overruled(host->hosts->user, host->name);
}

static void on_news(void *user, const json_t *status)
{
    HostEntry *host = user;

    host->hosts->events.on_news(host->hosts->user, host->name, status);
}

static void on_renewals(void *user, const json_t *news)
{
    HostEntry *host = user;

    host->hosts->events.on_renewals(host->hosts->user, host->name, news);
}

static void entry_free(gpointer data)
{
    HostEntry *host = data;

    engine_link_close(host->link);
    g_free(host->name);
    g_free(host);
}

/* --- calls to nobody --------------------------------------------------- */

typedef struct {
    char *name;
    RpcAnswerFunc on_answer;
    void *user;
} Lost;

static void answer_lost(Hosts *hosts)
{
    for (guint n = hosts->lost->length; n > 0; n--) {
        Lost *lost = g_queue_pop_head(hosts->lost);
        g_autoptr(GError) error =
            g_error_new(US_ERROR, US_ERROR_UNREACHABLE,
                        "host '%s' is not in this controller's care; understudy host add", lost->name);

        lost->on_answer(lost->user, NULL, error);
        g_free(lost->name);
        g_free(lost);
    }
}

static void on_soon(uv_timer_t *timer)
{
    answer_lost(timer->data);
}

static void call_nobody(Hosts *hosts, const char *name, RpcAnswerFunc on_answer, void *user)
{
    Lost *lost = g_new0(Lost, 1);

    *lost = (Lost){g_strdup(name), on_answer, user};
    g_queue_push_tail(hosts->lost, lost);
    if (!hosts->closed)
        uv_timer_start(&hosts->soon, on_soon, 0, 0);
}

void hosts_call(Hosts *hosts, const char *name, const char *method, const json_t *params, gint64 limit_ms,
                RpcAnswerFunc on_answer, void *user)
{
    HostEntry *host = g_hash_table_lookup(hosts->by_name, name);

    if (host)
        engine_link_call(host->link, method, params, limit_ms, on_answer, user);
    else
        call_nobody(hosts, name, on_answer, user);
}

/* --- who there is ------------------------------------------------------ */

Hosts *hosts_new(uv_loop_t *loop, Identity *identity, guint64 incarnation, const HostsEvents *events,
                 void *user)
{
    Hosts *hosts = g_new0(Hosts, 1);

    hosts->loop = loop;
    hosts->identity = identity_ref(identity);
    hosts->incarnation = incarnation;
    hosts->events = *events;
    hosts->user = user;
    hosts->roster = roster_new();
    roster_set_controller(hosts->roster, identity_peer(identity).id);
    hosts->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, entry_free);
    hosts->lost = g_queue_new();
    uv_timer_init(loop, &hosts->soon);
    hosts->soon.data = hosts;
    return hosts;
}

void hosts_add(Hosts *hosts, const char *name, Id id, const char *const *addresses)
{
    EngineLinkEvents events = {on_up, on_down, on_overruled, on_news, on_renewals};
    HostEntry *host = g_new0(HostEntry, 1);

    g_assert(!roster_find(hosts->roster, name));
    roster_set(hosts->roster, name, id, addresses);
    host->hosts = hosts;
    host->name = g_strdup(name);
    host->link =
        engine_link_new(hosts->loop, hosts->identity, hosts->incarnation, id, addresses, &events, host);
    g_hash_table_insert(hosts->by_name, host->name, host);
}

void hosts_move(Hosts *hosts, const char *name, const char *const *addresses)
{
    const HostEntry *host = g_hash_table_lookup(hosts->by_name, name);

    roster_move(hosts->roster, name, addresses);
    engine_link_move(host->link, addresses);
}

void hosts_remove(Hosts *hosts, const char *name)
{
    g_hash_table_remove(hosts->by_name, name);
    roster_remove(hosts->roster, name);
}

void hosts_hold(Hosts *hosts, const char *name, json_t *hold)
{
    roster_hold(hosts->roster, name, hold);
}

void hosts_tell(Hosts *hosts, const char *name, json_t *told)
{
    roster_tell(hosts->roster, name, told);
}

void hosts_maintain(Hosts *hosts, const char *name, json_t *maintenance)
{
    roster_maintain(hosts->roster, name, maintenance);
}

void hosts_fence(Hosts *hosts, const char *name, gboolean has_fence)
{
    roster_fence(hosts->roster, name, has_fence);
}

const Roster *hosts_roster(const Hosts *hosts)
{
    return hosts->roster;
}

static int by_text(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(*(char *const *)a, *(char *const *)b);
}

GPtrArray *hosts_names(const Hosts *hosts)
{
    GPtrArray *names = g_ptr_array_new();
    GHashTableIter iter;
    gpointer name;

    g_hash_table_iter_init(&iter, hosts->by_name);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        g_ptr_array_add(names, name);
    g_ptr_array_sort(names, by_text);
    return names;
}

gboolean hosts_is_up(const Hosts *hosts, const char *name)
{
    const HostEntry *host = g_hash_table_lookup(hosts->by_name, name);

    return host && engine_link_is_up(host->link);
}

void hosts_want_status(Hosts *hosts, const char *name)
{
    const HostEntry *host = g_hash_table_lookup(hosts->by_name, name);

    if (host)
        engine_link_want_status(host->link);
}

gboolean hosts_clock_offset(const Hosts *hosts, const char *name, gint64 *ret_ms)
{
    const HostEntry *host = g_hash_table_lookup(hosts->by_name, name);

    if (!host || !engine_link_info(host->link))
        return FALSE;
    *ret_ms = engine_link_clock_offset_ms(host->link);
    return TRUE;
}

const char *hosts_boot(const Hosts *hosts, const char *name)
{
    const HostEntry *host = g_hash_table_lookup(hosts->by_name, name);

    return host ? json_string_value(json_object_get(engine_link_info(host->link), "boot_id")) : NULL;
}

const char *hosts_name_of(const Hosts *hosts, Id id)
{
    GHashTableIter iter;
    gpointer name;

    g_hash_table_iter_init(&iter, hosts->by_name);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        if (id_equal(roster_find(hosts->roster, name)->id, id))
            return name;
    return NULL;
}

/* --- documents --------------------------------------------------------- */

json_t *hosts_document(const RosterHost *host)
{
    json_t *doc = roster_host_full(host);

    if (host->hold)
        json_object_set(doc, "hold", host->hold);
    if (host->told)
        json_object_set(doc, "told", host->told);
    if (host->maintenance)
        json_object_set(doc, "maintenance", host->maintenance);
    return doc;
}

static gboolean load_one(Hosts *hosts, const json_t *doc, GError **error)
{
    const char *id_text, *name;
    json_t *list, *doc_hold = NULL, *told = NULL, *maintenance = NULL;
    json_auto_t *hold = NULL;
    g_autoptr(GPtrArray) addresses = g_ptr_array_new();
    Id id;

    if (!json_read(doc, "host", error, "{s:s, s:s, s:o, s?o, s?o, s?o}", "id", &id_text, "name", &name,
                   "addresses", &list, "hold", &doc_hold, "told", &told, "maintenance", &maintenance) ||
        !id_parse(id_text, &id, error) || !scenario_name_check("host", name, error) ||
        !hold_read(doc_hold, &hold, error) || !maintenance_check(maintenance, error))
        return FALSE;
    for (gsize i = 0; i < json_array_size(list); i++)
        if (json_is_string(json_array_get(list, i)))
            g_ptr_array_add(addresses, (char *)json_string_value(json_array_get(list, i)));
    g_ptr_array_add(addresses, NULL);
    hosts_add(hosts, name, id, (const char *const *)addresses->pdata);
    hosts_hold(hosts, name, hold);
    hosts_tell(hosts, name, told);
    hosts_maintain(hosts, name, maintenance);
    return TRUE;
}

gboolean hosts_load(Hosts *hosts, const json_t *documents, GError **error)
{
    for (gsize i = 0; i < json_array_size(documents); i++) {
        g_autoptr(GError) why = NULL;

        if (!load_one(hosts, json_array_get(documents, i), &why)) {
            g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "the database has an unsound host: %s",
                        why->message);
            return FALSE;
        }
    }
    return TRUE;
}

json_t *hosts_describe(const Hosts *hosts, const char *name)
{
    const HostEntry *host = g_hash_table_lookup(hosts->by_name, name);
    gboolean up = engine_link_is_up(host->link);
    const json_t *info = engine_link_info(host->link);
    json_t *doc = json_object();
    const RosterHost *known = roster_find(hosts->roster, name);
    json_auto_t *full = roster_host_full(known);

    json_object_set_new(doc, "name", json_string(name));
    json_object_set_new(doc, "state", json_string(up ? "up" : "down"));
    json_object_set_new(doc, "why",
                        engine_link_why(host->link) ? json_string(engine_link_why(host->link)) : json_null());
    json_object_update_missing(doc, full);
    json_object_set_new(doc, "hold", known->hold ? json_incref(known->hold) : json_null());
    json_object_set_new(doc, "clock_offset_ms",
                        info ? json_integer(engine_link_clock_offset_ms(host->link)) : json_null());
    if (info)
        json_object_update_missing(doc, (json_t *)info);
    json_object_del(doc, "wall_ms"); /* of long ago by now */
    return doc;
}

void hosts_tick(Hosts *hosts)
{
    g_autoptr(GPtrArray) names = hosts_names(hosts);

    for (guint i = 0; i < names->len; i++)
        engine_link_tick(((HostEntry *)g_hash_table_lookup(hosts->by_name, names->pdata[i]))->link);
}

static void on_soon_closed(uv_handle_t *timer)
{
    answer_lost(timer->data);
}

void hosts_close(Hosts *hosts)
{
    g_autoptr(GPtrArray) names = hosts_names(hosts);

    for (guint i = 0; i < names->len; i++) {
        HostEntry *host = g_hash_table_lookup(hosts->by_name, names->pdata[i]);

        /* Who is told that an answer is lost may ask again: this host is not there any more. Names in the
         * roster stay for who still has them. */
        g_hash_table_steal(hosts->by_name, host->name);
        engine_link_close(g_steal_pointer(&host->link));
        g_free(host->name);
        g_free(host);
    }
    hosts->closed = TRUE;
    uv_close((uv_handle_t *)&hosts->soon, on_soon_closed);
}

void hosts_free(Hosts *hosts)
{
    if (!hosts)
        return;
    g_assert(hosts->closed && g_queue_is_empty(hosts->lost));
    g_queue_free(hosts->lost);
    g_hash_table_destroy(hosts->by_name);
    roster_free(hosts->roster);
    identity_unref(hosts->identity);
    g_free(hosts);
}
