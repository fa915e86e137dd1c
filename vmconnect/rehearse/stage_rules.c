/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of the bridges' network, and what they have counted. No packet is parsed by code of ours: what guests say is what nft puts into its
 * sets. Each set has an end (`size`), for a guest can say as much as it likes; what no longer fits in is only not noted. */
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/rehearse/stage_private.h"

#include <string.h>

#define NFT_MS 10000
#define LIST_BYTES (16 << 20) /* some hundred cards that have said as many addresses as are heard */
#define RULES_BYTES 1024
#define ADDRESSES_MAX \
    256 /* that one guest may say are its own, and be heard: of another's place in the list it takes none */

/* Frames with a VLAN tag are what could mean another network to who sees them, so no tag passes, not even that of network 0. A guest's MAC is
 * checked where its frames come in; which ports a frame may go between, where it is forwarded; and once more where it goes out. `inside` and
 * `outside` are the bridges' own network stack, which neither hears nor says anything. */
static const char RULES[] = "table bridge stage {\n"
                            "  counter unplugged { }\n"
                            "  counter leaked { }\n"
                            "  set plugged { type ifname . ether_addr; counter; }\n"
                            "  set tagged { type ifname; size 1024; flags dynamic; }\n"
                            "  set spoofed { type ifname; size 1024; flags dynamic; }\n"
                            "  set dhcp_answers { type ifname; size 1024; flags dynamic; }\n"
                            "  set seen_arp { type ifname; size 1024; flags dynamic; }\n"
                            "  set seen_dhcp { type ifname; size 1024; flags dynamic; }\n"
                            "  set seen_nd { type ifname; size 1024; flags dynamic; }\n"
                            "  set seen_ip { type ifname; size 1024; flags dynamic; }\n"
                            "  chain note {\n"
                            "    ether type arp add @seen_arp { iifname }\n"
                            "    udp sport 68 udp dport 67 add @seen_dhcp { iifname }\n"
                            "    udp sport 67 udp dport 68 add @dhcp_answers { iifname counter }\n"
                            "    icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } "
                            "add @seen_nd { iifname }\n"
                            "    ip saddr != 0.0.0.0 add @seen_ip { iifname }\n"
                            "    accept\n"
                            "  }\n"
                            "  chain from_port {\n"
                            "    type filter hook prerouting priority -200; policy drop;\n"
                            "    ether type { 8021q, 8021ad } add @tagged { iifname counter } drop\n"
                            "    iifname . ether saddr @plugged goto note\n"
                            "    add @spoofed { iifname counter } drop\n"
                            "  }\n"
                            "  chain between {\n"
                            "    type filter hook forward priority -200; policy drop;\n"
                            "    counter name unplugged\n"
                            "  }\n"
                            "  chain to_port {\n"
                            "    type filter hook postrouting priority 0; policy drop;\n"
                            "    counter name leaked\n"
                            "  }\n"
                            "  chain inside { type filter hook input priority -200; policy drop; }\n"
                            "  chain outside { type filter hook output priority -200; policy drop; }\n"
                            "}\n";

static gboolean apply(const Stage *s, const char *rules, GError **error)
{
    const char *argv[] = {"nft", rules, NULL};
    ProcessSpec spec = {.argv = argv, .net_fd = s->bridges_fd, .die_with_thread = TRUE};

    return process_run_spec(&spec, NFT_MS, -1, 0, NULL, error);
}

gboolean stage_rules_begin(const Stage *s, GError **error)
{
    return apply(s, RULES, error);
}

/* Before the counters at the ends of their chains. */
gboolean stage_rules_add_place(const Stage *s, const StagePlace *place, GError **error)
{
    g_autofree char *port = g_strdup_printf("p%u", place->number), *mac = stage_mac(place, 1);
    char rules[RULES_BYTES];

    g_snprintf(rules, sizeof(rules),
               "add set bridge stage ports_%u { type ifname; }\n"
               "insert rule bridge stage between iifname @ports_%u oifname @ports_%u accept\n"
               "insert rule bridge stage to_port oifname @ports_%u accept\n"
               "add element bridge stage ports_%u { %s }\n"
               "add element bridge stage plugged { %s . %s }\n",
               place->number, place->number, place->number, place->number, place->number, port, port, mac);
    return apply(s, rules, error);
}

static gboolean change_port(const Stage *s, const char *verb, const StagePlace *place, const char *port,
                            const char *mac, GError **error)
{
    g_autofree char *rules = g_strdup_printf("%s element bridge stage ports_%u { \"%s\" }\n"
                                             "%s element bridge stage plugged { \"%s\" . %s }\n",
                                             verb, place->number, port, verb, port, mac);

    return apply(s, rules, error);
}

/* The caller frees. Names of sets have no dashes. */
static char *addresses_set(const char *port)
{
    return g_strdelimit(g_strconcat("said_", port, NULL), "-", '_');
}

gboolean stage_rules_plug(const Stage *s, const StagePlace *place, const char *port, const char *mac,
                          GError **error)
{
    g_autofree char *set = addresses_set(port);
    g_autofree char *rules = g_strdup_printf(
        "add set bridge stage %s { type ipv4_addr; size %u; flags dynamic; }\n"
        "insert rule bridge stage note iifname \"%s\" arp saddr ip != 0.0.0.0 add @%s { arp saddr ip }\n",
        set, ADDRESSES_MAX, port, set);

    return apply(s, rules, error) && change_port(s, "add", place, port, mac, error);
}

gboolean stage_rules_unplug(const Stage *s, const StagePlace *place, const char *port, const char *mac,
                            GError **error)
{
    return change_port(s, "delete", place, port, mac, error);
}

/* --- what they have counted ------------------------------------------------ */

json_t *stage_rules_list(const Stage *s, GError **error)
{
    const char *argv[] = {"nft", "-j", "list", "table", "bridge", "stage", NULL};
    ProcessSpec spec = {.argv = argv, .net_fd = s->bridges_fd, .die_with_thread = TRUE};
    g_autofree char *text = NULL;
    json_auto_t *doc = NULL;

    if (!process_run_spec(&spec, NFT_MS, -1, LIST_BYTES, &text, error))
        return NULL;
    doc = json_parse(text, strlen(text), LIST_BYTES, error);
    if (!doc)
        return NULL;
    return json_incref(json_object_get(doc, "nftables"));
}

/* {"counter": {"name": …}}, {"set": {"name": …}}. Borrowed; NULL: there is none. */
static const json_t *find(const json_t *list, const char *kind, const char *name)
{
    const json_t *one;
    gsize i;

    json_array_foreach(list, i, one)
    {
        const json_t *thing = json_object_get(one, kind);

        if (g_strcmp0(json_string_value(json_object_get(thing, "name")), name) == 0)
            return thing;
    }
    return NULL;
}

json_int_t stage_rules_count(const json_t *list, const char *counter)
{
    return json_integer_value(json_object_get(find(list, "counter", counter), "packets"));
}

/* An element is its value, or {"elem": {"val": …, "counter": …}}; a value is a text, or {"concat": [text…]}. */
static const json_t *value_of(const json_t *element)
{
    const json_t *elem = json_object_get(element, "elem");

    return elem ? json_object_get(elem, "val") : element;
}

static gboolean is_of_port(const json_t *element, const char *port)
{
    const json_t *value = value_of(element);
    const json_t *parts = json_object_get(value, "concat");

    return g_strcmp0(json_string_value(parts ? json_array_get(parts, 0) : value), port) == 0;
}

/* Summed up, since a port may have several elements; @port NULL: of all. @what: "packets", "bytes". @ret_present may be NULL. */
static json_int_t sum(const json_t *list, const char *set, const char *port, const char *what,
                      gboolean *ret_present)
{
    const json_t *elements = json_object_get(find(list, "set", set), "elem"), *element;
    gboolean present = FALSE;
    json_int_t n = 0;
    gsize i;

    json_array_foreach(elements, i, element)
    {
        const json_t *counter = json_object_get(json_object_get(element, "elem"), "counter");

        if (port && !is_of_port(element, port))
            continue;
        present = TRUE;
        n += json_integer_value(json_object_get(counter, what));
    }
    if (ret_present)
        *ret_present = present;
    return n;
}

json_int_t stage_rules_frames(const json_t *list, const char *set, const char *port)
{
    return sum(list, set, port, "packets", NULL);
}

static gboolean is_in(const json_t *list, const char *set, const char *port)
{
    gboolean present;

    sum(list, set, port, "packets", &present);
    return present;
}

static json_t *tap_counters(const json_t *list, const StageTap *t)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:{s:I, s:I}, s:I}", "tap", t->tap, "place", t->place->place,
                     "frames", stage_rules_frames(list, "plugged", t->tap), "bytes",
                     sum(list, "plugged", t->tap, "bytes", NULL), "dropped", "tagged",
                     stage_rules_frames(list, "tagged", t->tap), "spoofed",
                     stage_rules_frames(list, "spoofed", t->tap), "dhcp_answers",
                     stage_rules_frames(list, "dhcp_answers", t->tap));
}

json_t *stage_counters(Stage *s, GError **error)
{
    json_auto_t *list = stage_rules_list(s, error), *taps = json_array();

    if (!list)
        return NULL;
    for (guint i = 0; i < s->taps->len; i++)
        json_array_append_new(taps, tap_counters(list, s->taps->pdata[i]));
    return json_pack("{s:O, s:I, s:I}", "taps", taps, "unplugged", stage_rules_count(list, "unplugged"),
                     "leaked", stage_rules_count(list, "leaked"));
}

static json_t *addresses_of(const json_t *list, const char *port)
{
    g_autofree char *set = addresses_set(port);
    const json_t *elements = json_object_get(find(list, "set", set), "elem"), *element;
    json_t *found = json_array();
    gsize i;

    json_array_foreach(elements, i, element) json_array_append(found, (json_t *)value_of(element));
    return found;
}

static json_t *tap_seen(const json_t *list, const StageTap *t)
{
    return json_pack("{s:s, s:s, s:b, s:b, s:b, s:b, s:o}", "tap", t->tap, "place", t->place->place, "arp",
                     is_in(list, "seen_arp", t->tap), "dhcp", is_in(list, "seen_dhcp", t->tap), "nd",
                     is_in(list, "seen_nd", t->tap), "ip", is_in(list, "seen_ip", t->tap), "addresses",
                     addresses_of(list, t->tap));
}

json_t *stage_seen(Stage *s, GError **error)
{
    json_auto_t *list = stage_rules_list(s, error), *seen = json_array();

    if (!list)
        return NULL;
    for (guint i = 0; i < s->taps->len; i++)
        json_array_append_new(seen, tap_seen(list, s->taps->pdata[i]));
    return g_steal_pointer(&seen);
}
