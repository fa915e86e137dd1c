/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/mapping.h"

#include <string.h>

#define MAC_PREFIX "mac:"
#define MAC_LEN 17

static void rule_free(gpointer data)
{
    MapRule *rule = data;

    if (!rule)
        return;
    g_free(rule->mac);
    for (guint c = 0; c < MAP_COLUMNS; c++)
        place_clear(&rule->places[c]);
    g_free(rule);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MapRule, rule_free)

static MapRule *rule_copy(const MapRule *rule)
{
    MapRule *copy = g_new0(MapRule, 1);

    copy->mac = g_strdup(rule->mac);
    copy->mac_policy = rule->mac_policy;
    for (guint c = 0; c < MAP_COLUMNS; c++)
        copy->places[c] = place_copy(&rule->places[c]);
    return copy;
}

Mapping *mapping_new(void)
{
    Mapping *m = g_new0(Mapping, 1);

    m->rules = g_ptr_array_new_with_free_func(rule_free);
    return m;
}

Mapping *mapping_copy(const Mapping *m)
{
    Mapping *copy = mapping_new();

    for (guint i = 0; i < m->rules->len; i++)
        g_ptr_array_add(copy->rules, rule_copy(m->rules->pdata[i]));
    return copy;
}

static gboolean has_from(const Mapping *m, const Place *from)
{
    for (guint i = 0; i < m->rules->len; i++)
        if (place_equal(&((const MapRule *)m->rules->pdata[i])->places[MAP_MASTER], from))
            return TRUE;
    return FALSE;
}

Mapping *mapping_turn(const Mapping *m)
{
    Mapping *back = mapping_new();

    for (guint i = 0; i < m->rules->len; i++) {
        const MapRule *rule = m->rules->pdata[i];
        const Place *to = &rule->places[MAP_REPLICA];
        MapRule *turned;

        if (rule->mac || !to->kind || has_from(back, to))
            continue;
        turned = g_new0(MapRule, 1);
        turned->places[MAP_MASTER] = place_copy(to);
        turned->places[MAP_REPLICA] = place_copy(&rule->places[MAP_MASTER]);
        g_ptr_array_add(back->rules, turned);
    }
    return back;
}

void mapping_free(Mapping *m)
{
    if (!m)
        return;
    g_ptr_array_unref(m->rules);
    g_free(m);
}

/* --- text -------------------------------------------------------------- */

static gboolean wrong(GError **error, const char *format, const char *text)
{
    g_autofree char *message = g_strdup_printf(format, text); // NOLINT: all formats are ours

    g_set_error_literal(error, NETMAP_ERROR, NETMAP_ERROR_MAPPING, message);
    return FALSE;
}

static gboolean is_mac(const char *text)
{
    if (strlen(text) != MAC_LEN)
        return FALSE;
    for (guint i = 0; i < MAC_LEN; i++)
        if (i % 3 == 2 ? text[i] != ':' : !g_ascii_isxdigit(text[i]))
            return FALSE;
    return TRUE;
}

static gboolean read_from(MapRule *rule, const char *text, GError **error)
{
    const char *mac = text + strlen(MAC_PREFIX);

    if (!g_str_has_prefix(text, MAC_PREFIX))
        return place_parse(text, &rule->places[MAP_MASTER], error);
    if (!is_mac(mac))
        return wrong(error, "'%.80s' is no MAC address: write mac:52:54:00:12:34:56", text);
    rule->mac = g_ascii_strdown(mac, -1);
    return TRUE;
}

gboolean mapping_split(const char *text, char **ret_from, char **ret_to, GError **error)
{
    const char *equals = text;

    while (*equals && *equals != '=')
        equals += *equals == '\\' && equals[1] ? 2 : 1;
    if (*equals != '=' || equals == text)
        return wrong(error, "'%.80s' must be FROM=TO, the master's network first", text);
    *ret_from = g_strndup(text, (gsize)(equals - text));
    *ret_to = g_strdup(equals + 1);
    return TRUE;
}

/* Cut @text at each ',' that no backslash precedes. */
static char **split(const char *text)
{
    g_autoptr(GStrvBuilder) parts = g_strv_builder_new();
    const char *begin = text;

    for (;; text++) {
        if (*text == '\\' && text[1]) {
            text++;
        } else if (*text == ',' || *text == '\0') {
            g_autofree char *part = g_strndup(begin, (gsize)(text - begin));

            g_strv_builder_add(parts, part);
            if (*text == '\0')
                return g_strv_builder_end(parts);
            begin = text + 1;
        }
    }
}

static gboolean read_option(MapRule *rule, const char *text, GError **error)
{
    if (g_str_has_prefix(text, "test=") && !rule->places[MAP_TEST].kind)
        return place_parse(text + strlen("test="), &rule->places[MAP_TEST], error);
    if (g_str_equal(text, "mac=keep"))
        rule->mac_policy = MAC_KEEP;
    else if (g_str_equal(text, "mac=new"))
        rule->mac_policy = MAC_NEW;
    else
        return wrong(error, "'%.80s' is none of test=PLACE, mac=keep, mac=new", text);
    return TRUE;
}

static gboolean read_to(MapRule *rule, const char *text, GError **error)
{
    g_auto(GStrv) parts = split(text);

    if (*parts[0] && !place_parse(parts[0], &rule->places[MAP_REPLICA], error))
        return FALSE;
    for (char **part = parts + 1; *part; part++)
        if (!read_option(rule, *part, error))
            return FALSE;
    if (rule->places[MAP_REPLICA].kind || rule->places[MAP_TEST].kind || rule->mac_policy)
        return TRUE;
    return wrong(error, "'%s' says nothing: name a network of the replica", text);
}

static gboolean same_from(const MapRule *a, const MapRule *b)
{
    return g_strcmp0(a->mac, b->mac) == 0 && place_equal(&a->places[MAP_MASTER], &b->places[MAP_MASTER]);
}

static gboolean take_out(Mapping *m, const MapRule *like)
{
    for (guint i = 0; i < m->rules->len; i++)
        if (same_from(m->rules->pdata[i], like)) {
            g_ptr_array_remove_index(m->rules, i);
            return TRUE;
        }
    return FALSE;
}

gboolean mapping_set(Mapping *m, const char *from, const char *to, GError **error)
{
    g_autoptr(MapRule) rule = g_new0(MapRule, 1);

    if (!read_from(rule, from, error) || !read_to(rule, to, error))
        return FALSE;
    take_out(m, rule);
    g_ptr_array_add(m->rules, g_steal_pointer(&rule));
    return TRUE;
}

gboolean mapping_unset(Mapping *m, const char *from, GError **error)
{
    g_autoptr(MapRule) rule = g_new0(MapRule, 1);

    return read_from(rule, from, error) && take_out(m, rule);
}

char *mapping_from_text(const MapRule *rule)
{
    return rule->mac ? g_strconcat(MAC_PREFIX, rule->mac, NULL) : place_format(&rule->places[MAP_MASTER]);
}

char *mapping_to_text(const MapRule *rule)
{
    static const char *const POLICY[] = {[MAC_UNSAID] = "", [MAC_KEEP] = ",mac=keep", [MAC_NEW] = ",mac=new"};
    g_autofree char *replica = place_format(&rule->places[MAP_REPLICA]);
    g_autofree char *test = place_format(&rule->places[MAP_TEST]);

    return g_strconcat(replica, *test ? ",test=" : "", test, POLICY[rule->mac_policy], NULL);
}

/* --- the set ----------------------------------------------------------- */

static gboolean check_test(const Mapping *m, const MapRule *rule, GError **error)
{
    const Place *test = &rule->places[MAP_TEST];

    for (guint i = 0; i < m->rules->len; i++) {
        const Place *production = &((const MapRule *)m->rules->pdata[i])->places[MAP_REPLICA];

        if (place_is_within(test, production) || place_is_within(production, test)) {
            g_autofree char *text = place_format(test);

            return wrong(error,
                         "'%s' is to be a test network, and is one of production: a test would meet the "
                         "running VMs there; name another",
                         text);
        }
    }
    return TRUE;
}

/* A function of the host can be in one VM only. */
static gboolean check_function(const Mapping *m, guint at, GError **error)
{
    const Place *place = &((const MapRule *)m->rules->pdata[at])->places[MAP_REPLICA];

    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): no rule of a map is NULL
    for (guint i = 0; place->kind == PLACE_HOSTDEV && i < at; i++)
        if (place_equal(place, &((const MapRule *)m->rules->pdata[i])->places[MAP_REPLICA]))
            return wrong(error, "%s is mapped to twice: one device of a host cannot be in two interfaces",
                         place->name);
    return TRUE;
}

gboolean mapping_check(const Mapping *m, GError **error)
{
    for (guint i = 0; i < m->rules->len; i++)
        if (!check_test(m, m->rules->pdata[i], error) || !check_function(m, i, error))
            return FALSE;
    return TRUE;
}

static void complete(Mapping *m, PlaceKind kind, const char *from, const char *to)
{
    const Place master = {kind, (char *)from, NULL, 0}, replica = {kind, (char *)to, NULL, 0};
    MapRule *rule = NULL;

    for (guint i = 0; i < m->rules->len && !rule; i++) {
        MapRule *known = m->rules->pdata[i];

        rule = place_equal(&known->places[MAP_MASTER], &master) ? known : NULL;
    }
    if (!rule && m->rules->len < MAPPING_MAX_RULES) {
        rule = g_new0(MapRule, 1);
        rule->places[MAP_MASTER] = place_copy(&master);
        g_ptr_array_add(m->rules, rule);
    }
    if (!rule || rule->places[MAP_REPLICA].kind)
        return;
    rule->places[MAP_REPLICA] = place_copy(&replica);
    /* What its operator has said comes first. */
    if (!mapping_check(m, NULL))
        place_clear(&rule->places[MAP_REPLICA]);
    if (!rule->places[MAP_REPLICA].kind && !rule->places[MAP_TEST].kind && !rule->mac_policy)
        g_ptr_array_remove(m->rules, rule);
}

/* Of those that no network of libvirt made for itself. */
static const char *only_bridge(const Host *host)
{
    const char *name = NULL;

    for (guint i = 0; i < host->bridges->len; i++) {
        const HostBridge *bridge = host->bridges->pdata[i];

        if (name && !bridge->of_network)
            return NULL;
        if (!bridge->of_network)
            name = bridge->name;
    }
    return name;
}

void mapping_complete(Mapping *m, const Host *master, const Host *replica)
{
    if (master->networks->len == 1 && replica->networks->len == 1)
        complete(m, PLACE_NETWORK, ((const HostNetwork *)master->networks->pdata[0])->name,
                 ((const HostNetwork *)replica->networks->pdata[0])->name);
    if (only_bridge(master) && only_bridge(replica))
        complete(m, PLACE_BRIDGE, only_bridge(master), only_bridge(replica));
}

/* --- looking up -------------------------------------------------------- */

char *mapping_new_mac(const char *vm, const char *mac, guint turn)
{
    g_autofree char *text = g_strdup_printf("understudy mac 1/%s/%s/%u", vm, mac, turn);
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    guint8 digest[32];
    gsize len = sizeof(digest);

    g_checksum_update(sum, (const guchar *)text, -1);
    g_checksum_get_digest(sum, digest, &len);
    return g_strdup_printf("52:54:00:%02x:%02x:%02x", digest[0], digest[1], digest[2]);
}

/* A rule's MAC is the master's; elsewhere the interface may have the one that stands for it. */
static gboolean is_of_mac(const MapRule *rule, MapColumn from, const char *vm, const char *mac)
{
    g_autofree char *other = NULL;

    if (!rule->mac || !mac)
        return FALSE;
    if (g_ascii_strcasecmp(rule->mac, mac) == 0)
        return TRUE;
    other = from == MAP_MASTER ? NULL : mapping_new_mac(vm, rule->mac, 0);
    return other && g_ascii_strcasecmp(other, mac) == 0;
}

/* How narrow a rule is that matches; 0: it does not. */
static guint match(const MapRule *rule, MapColumn from, const char *vm, const char *mac, const Place *place)
{
    const Place *of = &rule->places[from];

    if (rule->mac)
        return is_of_mac(rule, from, vm, mac) ? 4 : 0;
    return place_is_within(place, of) ? 1u + (of->portgroup != NULL) + (of->vlan != 0) : 0;
}

MapAnswer mapping_find(const Mapping *m, MapColumn from, MapColumn to, const char *vm, const char *mac,
                       const Place *place)
{
    MapAnswer answer = {.mac = MAC_KEEP};
    guint place_width = 0, mac_width = 0;

    for (guint i = 0; i < m->rules->len; i++) {
        const MapRule *rule = m->rules->pdata[i];
        const Place *said = rule->places[to].kind ? &rule->places[to] : NULL;
        guint width = match(rule, from, vm, mac, place);

        if (width && said && width == place_width && !place_equal(said, answer.place))
            answer.other = said;
        if (said && width > place_width) {
            answer.place = said;
            answer.rule = rule->mac ? NULL : &rule->places[from];
            answer.other = NULL;
            place_width = width;
        }
        if (rule->mac_policy && width > mac_width) {
            answer.mac = rule->mac_policy;
            mac_width = width;
        }
    }
    return answer;
}
