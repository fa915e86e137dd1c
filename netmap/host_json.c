/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/host_json.h"

static json_t *network_to_json(const HostNetwork *n)
{
    json_t *groups = json_array();

    for (guint i = 0; i < n->portgroups->len; i++)
        json_array_append_new(groups, json_string(n->portgroups->pdata[i]));
    return json_pack("{s:s, s:b, s:s?, s:s?, s:o}", "name", n->name, "active", n->active, "bridge", n->bridge,
                     "over", n->over, "portgroups", groups);
}

json_t *host_places_to_json(const Host *h)
{
    json_t *networks = json_array(), *bridges = json_array();

    for (guint i = 0; i < h->networks->len; i++)
        json_array_append_new(networks, network_to_json(h->networks->pdata[i]));
    for (guint i = 0; i < h->bridges->len; i++) {
        const HostBridge *b = h->bridges->pdata[i];

        json_array_append_new(bridges, json_pack("{s:s, s:b, s:b}", "name", b->name, "ovs", b->ovs,
                                                 "of_network", b->of_network));
    }
    return json_pack("{s:o, s:o}", "networks", networks, "bridges", bridges);
}

static gboolean read_network(json_t *doc, Host *h)
{
    const char *name;
    json_t *groups, *group;
    gboolean active;
    HostNetwork *n;
    gsize i;

    if (json_unpack(doc, "{s:s, s:b, s:o}", "name", &name, "active", &active, "portgroups", &groups) != 0)
        return FALSE;
    n = host_add_network(h, name, active, NULL);
    n->bridge = g_strdup(json_string_value(json_object_get(doc, "bridge")));
    n->over = g_strdup(json_string_value(json_object_get(doc, "over")));
    json_array_foreach(groups, i, group)
    {
        if (!json_is_string(group))
            return FALSE;
        g_ptr_array_add(n->portgroups, g_strdup(json_string_value(group)));
    }
    return json_is_array(groups);
}

static gboolean read_bridge(json_t *doc, Host *h)
{
    gboolean ovs, of_network;
    const char *name;

    if (json_unpack(doc, "{s:s, s:b, s:b}", "name", &name, "ovs", &ovs, "of_network", &of_network) != 0)
        return FALSE;
    host_add_bridge(h, name, ovs)->of_network = of_network;
    return TRUE;
}

gboolean host_places_from_json(const json_t *doc, Host *h)
{
    json_t *networks = json_object_get(doc, "networks"), *bridges = json_object_get(doc, "bridges");
    json_t *one;
    gsize i;

    json_array_foreach(networks, i, one)
    {
        if (!read_network(one, h))
            return FALSE;
    }
    json_array_foreach(bridges, i, one)
    {
        if (!read_bridge(one, h))
            return FALSE;
    }
    return json_is_array(networks) && json_is_array(bridges);
}
