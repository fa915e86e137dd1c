/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/roster.h"

struct Roster {
    Id controller;
    GHashTable *hosts; /* name -> RosterHost */
};

static void host_free(gpointer p)
{
    RosterHost *h = p;

    g_free(h->name);
    g_strfreev(h->addresses);
    json_decref(h->hold);
    json_decref(h->told);
    json_decref(h->maintenance);
    g_free(h);
}

Roster *roster_new(void)
{
    Roster *r = g_new0(Roster, 1);

    r->hosts = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, host_free);
    return r;
}

void roster_set_controller(Roster *r, Id controller)
{
    r->controller = controller;
}

Id roster_controller(const Roster *r)
{
    return r->controller;
}

void roster_free(Roster *r)
{
    if (!r)
        return;
    g_hash_table_destroy(r->hosts);
    g_free(r);
}

void roster_set(Roster *r, const char *name, Id id, const char *const *addresses)
{
    RosterHost *h = g_new0(RosterHost, 1);

    h->name = g_strdup(name);
    h->id = id;
    h->addresses = g_strdupv((char **)addresses);
    /* The key lives in the value: replace, so that both are the new one's. */
    g_hash_table_replace(r->hosts, h->name, h);
}

void roster_hold(Roster *r, const char *name, json_t *hold)
{
    RosterHost *h = g_hash_table_lookup(r->hosts, name);

    g_assert(h);
    json_decref(h->hold);
    h->hold = json_incref(hold);
}

void roster_tell(Roster *r, const char *name, json_t *told)
{
    RosterHost *h = g_hash_table_lookup(r->hosts, name);

    g_assert(h);
    json_decref(h->told);
    h->told = json_incref(told);
}

void roster_maintain(Roster *r, const char *name, json_t *maintenance)
{
    RosterHost *h = g_hash_table_lookup(r->hosts, name);

    g_assert(h);
    json_decref(h->maintenance);
    h->maintenance = json_incref(maintenance);
}

void roster_fence(Roster *r, const char *name, gboolean has_fence)
{
    RosterHost *h = g_hash_table_lookup(r->hosts, name);

    g_assert(h);
    h->has_fence = has_fence;
}

void roster_move(Roster *r, const char *name, const char *const *addresses)
{
    RosterHost *h = g_hash_table_lookup(r->hosts, name);

    g_assert(h);
    g_strfreev(h->addresses);
    h->addresses = g_strdupv((char **)addresses);
}

void roster_remove(Roster *r, const char *name)
{
    g_hash_table_remove(r->hosts, name);
}

const RosterHost *roster_find(const Roster *r, const char *name)
{
    return g_hash_table_lookup(r->hosts, name);
}

json_t *roster_addresses_of_others(const Roster *r, const char *name)
{
    json_t *list = json_array();
    GHashTableIter iter;
    gpointer host;

    g_hash_table_iter_init(&iter, r->hosts);
    while (g_hash_table_iter_next(&iter, NULL, &host)) {
        const RosterHost *h = host;

        for (guint i = 0; !g_str_equal(h->name, name) && h->addresses[i]; i++)
            json_array_append_new(list, json_string(h->addresses[i]));
    }
    return list;
}

json_t *roster_host_brief(const RosterHost *h)
{
    return json_pack("{s:s}", "id", ID_TEXT(h->id));
}

json_t *roster_host_full(const RosterHost *h)
{
    json_t *addresses = json_array();

    for (guint i = 0; h->addresses[i]; i++)
        json_array_append_new(addresses, json_string(h->addresses[i]));
    return json_pack("{s:s, s:s, s:o}", "id", ID_TEXT(h->id), "name", h->name, "addresses", addresses);
}
