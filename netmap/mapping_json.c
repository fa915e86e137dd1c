/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/mapping_json.h"

#include "vmconnect/base/error.h"

json_t *mapping_to_json(const Mapping *m)
{
    json_t *doc = json_object();

    for (guint i = 0; i < m->rules->len; i++) {
        g_autofree char *from = mapping_from_text(m->rules->pdata[i]);
        g_autofree char *to = mapping_to_text(m->rules->pdata[i]);

        json_object_set_new(doc, from, json_string(to));
    }
    return doc;
}

static gboolean refuse(GError **error, const char *why)
{
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "map: %s", why);
    return FALSE;
}

static gboolean merge(Mapping *m, const char *from, const json_t *to, gboolean may_unset, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (json_is_null(to) && may_unset)
        mapping_unset(m, from, &why);
    else if (json_is_string(to))
        mapping_set(m, from, json_string_value(to), &why);
    else
        g_set_error(&why, US_ERROR, US_ERROR_USAGE, "'%.64s' is not mapped to a text", from);
    return !why || refuse(error, why->message);
}

gboolean mapping_merge_json(Mapping *m, json_t *doc, gboolean may_unset, GError **error)
{
    const char *from;
    json_t *to;

    if (!json_is_object(doc))
        return refuse(error, "it is an object of places: {\"FROM\": \"TO\"}");
    json_object_foreach(doc, from, to)
    {
        if (!merge(m, from, to, may_unset, error))
            return FALSE;
        if (m->rules->len > MAPPING_MAX_RULES)
            return refuse(error, "more than " G_STRINGIFY(MAPPING_MAX_RULES) " rules");
    }
    return TRUE;
}

Mapping *mapping_from_json(json_t *doc, GError **error)
{
    g_autoptr(Mapping) m = mapping_new();
    g_autoptr(GError) why = NULL;

    if (doc && !mapping_merge_json(m, doc, FALSE, error))
        return NULL;
    if (doc && m->rules->len != json_object_size(doc)) {
        refuse(error, "two rules are about one place: say it once");
        return NULL;
    }
    if (!mapping_check(m, &why)) {
        refuse(error, why->message);
        return NULL;
    }
    return g_steal_pointer(&m);
}
