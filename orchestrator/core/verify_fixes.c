/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/verify_fixes.h"

#include "netmap/mapping_json.h"
#include "orchestrator/core/verify_facts.h"

#include <string.h>

typedef struct {
    const VerifyFacts *facts;
    const HostFacts *host; /* the replica that is prepared */
    Host *master;
    Host *replica;
    GPtrArray *fixes;
} Preparing;

static void fix_free(gpointer data)
{
    Fix *fix = data;

    g_free(fix->text);
    g_free(fix->host);
    g_free(fix->network);
    g_free(fix->like);
    g_free(fix->map);
    g_free(fix->to);
    g_free(fix);
}

static gboolean has_fix(const Preparing *p, const char *network, gboolean mapped)
{
    for (guint i = 0; i < p->fixes->len; i++) {
        const Fix *fix = p->fixes->pdata[i];

        if (g_strcmp0(fix->network, network) == 0 && (fix->map != NULL) == mapped)
            return TRUE;
    }
    return FALSE;
}

/* @network shall be there and run, defined as the master's @like if it is not; @map (NULL: none) gets a rule. */
static void add_network(Preparing *p, const char *network, const char *like, const char *map)
{
    const HostNetwork *there = host_find_network(p->replica, network);
    const char *host = p->host->host, *master = p->facts->scenario->master;
    Fix *fix;

    if (has_fix(p, network, map != NULL) || (!there && !(like && host_find_network(p->master, like))) ||
        (there && there->active && !map))
        return;
    fix = g_new0(Fix, 1);
    fix->host = there && there->active ? NULL : g_strdup(host);
    fix->network = g_strdup(network);
    fix->like = there ? NULL : g_strdup(like);
    if (map) {
        const Place place = {.kind = PLACE_NETWORK, .name = (char *)map};
        const Place to = {.kind = PLACE_NETWORK, .name = (char *)network};

        fix->map = place_format(&place);
        fix->to = place_format(&to);
    }
    if (!there)
        fix->text = g_strdup_printf("define network '%s' on %s as %s has '%s', and start it%s", network, host,
                                    master, like, map ? "; map the one to the other" : "");
    else if (!there->active)
        fix->text = g_strdup_printf("start network '%s' on %s, now and whenever %s starts%s", network, host,
                                    host, map ? "; map it" : "");
    else
        fix->text = g_strdup_printf("map '%s' of %s to '%s' of %s", map, master, network, host);
    g_ptr_array_add(p->fixes, fix);
}

static void fix_rule(Preparing *p, const MapRule *rule)
{
    const Place *from = &rule->places[MAP_MASTER], *to = &rule->places[MAP_REPLICA];

    if (to->kind == PLACE_NETWORK)
        add_network(p, to->name, from->kind == PLACE_NETWORK ? from->name : NULL, NULL);
}

/* An interface on a network that no rule is about: on one of the same name, if its operator says yes to that. */
static void fix_interface(Preparing *p, Id vm, const xmlNode *nic)
{
    g_auto(Place) place = place_of_interface(nic);
    g_autofree char *mac = xml_attr(xml_child(nic, "mac"), "address");
    MapAnswer answer;

    if (place.kind != PLACE_NETWORK)
        return;
    answer = mapping_find(p->facts->mapping, MAP_MASTER, MAP_REPLICA, ID_TEXT(vm), mac, &place);
    if (!answer.place)
        add_network(p, place.name, place.name, place.name);
}

/* As they will be at its next start: that is what the replica gets. */
static void fix_interfaces(Preparing *p, const Fact *check)
{
    const char *text = fact_text(check->said, "definition");
    g_autoptr(xmlDoc) doc = xml_read(text, strlen(text), "domain", NULL);
    const xmlNode *devices = doc ? xml_child(xmlDocGetRootElement(doc), "devices") : NULL;

    for (const xmlNode *nic = xml_child(devices, "interface"); nic; nic = xml_next(nic))
        fix_interface(p, check->vm, nic);
}

static void fix_networks(Preparing *p)
{
    const Mapping *mapping = p->facts->mapping;

    for (guint i = 0; i < mapping->rules->len; i++)
        fix_rule(p, mapping->rules->pdata[i]);
    for (guint v = 0; v < p->facts->checks->len; v++)
        fix_interfaces(p, p->facts->checks->pdata[v]);
}

/* A trial of the host spoke of the rights of what we made there. */
static void fix_folders(GPtrArray *fixes, const HostFacts *h, const GPtrArray *findings)
{
    for (guint i = 0; i < findings->len; i++) {
        const Finding *one = findings->pdata[i];
        Fix *fix;

        if (!one->host || !g_str_equal(one->host, h->host) || !g_str_has_prefix(one->id, "trial-"))
            continue;
        fix = g_new0(Fix, 1);
        fix->host = g_strdup(h->host);
        fix->folders = TRUE;
        fix->text =
            g_strdup_printf("give understudy's own folders on %s their owners and modes again", h->host);
        g_ptr_array_add(fixes, fix);
        return;
    }
}

GPtrArray *verify_fixes(const VerifyFacts *f, const GPtrArray *findings)
{
    GPtrArray *fixes = g_ptr_array_new_with_free_func(fix_free);
    g_autoptr(Host) master = facts_places(f->hosts->pdata[0]);
    const HostFacts *source = f->hosts->pdata[0];

    for (guint i = 0; i < f->hosts->len; i++)
        fix_folders(fixes, f->hosts->pdata[i], findings);
    for (guint i = 1; i < f->hosts->len && source->info->said; i++) {
        const HostFacts *h = f->hosts->pdata[i];
        g_autoptr(Host) replica = facts_places(h);
        Preparing p = {f, h, master, replica, fixes};

        if (h->info->said)
            fix_networks(&p);
    }
    return fixes;
}

json_t *verify_fixes_to_json(const GPtrArray *fixes)
{
    json_t *list = json_array();

    for (guint i = 0; i < fixes->len; i++) {
        const Fix *fix = fixes->pdata[i];

        json_array_append_new(list, json_pack("{s:s?, s:s}", "host", fix->host, "what", fix->text));
    }
    return list;
}
