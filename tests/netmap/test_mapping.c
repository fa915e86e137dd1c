/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/mapping.h"

#include <string.h>

static const char VM[] = "6e6ab37a-3ec0-4a5b-9c65-9a7a4a4d3c11";

static void set(Mapping *m, const char *from, const char *to)
{
    g_autoptr(GError) error = NULL;
    gboolean ok = mapping_set(m, from, to, &error);

    g_assert_no_error(error);
    g_assert_true(ok);
}

static void test_place_texts(void)
{
    static const char *const TEXTS[] = {
        "default",          "office/sales",           "office/sales@7", "lan@4094",
        "bridge:br0",       "bridge:ovs0@20",         "direct:eth1",    "hostdev:0000:04:10.0",
        "network:bridge:x", "a\\,b\\=c\\/d\\@e\\\\f", "日本",
    };

    for (guint i = 0; i < G_N_ELEMENTS(TEXTS); i++) {
        g_auto(Place) p = {0};
        g_auto(Place) copy = {0};
        g_autofree char *text = NULL;

        g_assert_true(place_parse(TEXTS[i], &p, NULL));
        text = place_format(&p);
        g_assert_cmpstr(text, ==, TEXTS[i]);
        copy = place_copy(&p);
        g_assert_true(place_equal(&p, &copy));
    }
}

static void expect_no_place(const char *text, const char *part)
{
    g_auto(Place) p = {0};
    g_autoptr(GError) error = NULL;

    g_assert_false(place_parse(text, &p, &error));
    g_assert_error(error, NETMAP_ERROR, NETMAP_ERROR_MAPPING);
    if (!strstr(error->message, part))
        g_error("%s: %s", text, error->message);
}

static void test_no_places(void)
{
    g_autofree char *lengthy = g_strnfill(PLACE_NAME_MAX + 1, 'x');

    expect_no_place("", "does not name a network");
    expect_no_place("bridge:", "does not name a network");
    expect_no_place("office/", "does not name a network");
    expect_no_place("a\nb", "does not name a network");
    expect_no_place("\xff", "does not name a network");
    expect_no_place(lengthy, "does not name a network");
    expect_no_place("bridge:br0/x", "port group");
    expect_no_place("lan@", "VLAN tag");
    expect_no_place("lan@0", "VLAN tag");
    expect_no_place("lan@4095", "VLAN tag");
    expect_no_place("lan@7x", "VLAN tag");
    expect_no_place("lan@-7", "VLAN tag");
    expect_no_place("hostdev:eth0", "PCI");
    expect_no_place("hostdev:0000:04:20.0", "PCI");
    expect_no_place("hostdev:0000:04:10.8", "PCI");
}

static void expect_rule(const char *from, const char *to)
{
    g_autoptr(Mapping) m = mapping_new();
    g_autofree char *from_text = NULL;
    g_autofree char *to_text = NULL;

    set(m, from, to);
    from_text = mapping_from_text(m->rules->pdata[0]);
    to_text = mapping_to_text(m->rules->pdata[0]);
    g_assert_cmpstr(from_text, ==, from);
    g_assert_cmpstr(to_text, ==, to);
}

static void test_rule_texts(void)
{
    g_autoptr(Mapping) m = mapping_new();
    g_autoptr(GError) error = NULL;

    expect_rule("default", "office");
    expect_rule("default", "office,test=lab");
    expect_rule("default", "office,test=bridge:lab@9,mac=keep");
    expect_rule("mac:52:54:00:12:34:56", ",mac=new");
    expect_rule("mac:52:54:00:12:34:56", "dmz,mac=new");
    expect_rule("a\\,b", "c\\=d,test=e\\,f");
    /* Two spellings of one place are one rule. */
    set(m, "default", "x");
    set(m, "network:default", "y");
    set(m, "mac:52:54:00:AB:00:00", "x");
    set(m, "mac:52:54:00:ab:00:00", "y");
    g_assert_cmpuint(m->rules->len, ==, 2);
    g_assert_true(mapping_unset(m, "default", &error));
    g_assert_false(mapping_unset(m, "default", &error));
    g_assert_no_error(error);
    g_assert_false(mapping_unset(m, "", &error));
    g_assert_error(error, NETMAP_ERROR, NETMAP_ERROR_MAPPING);
}

static void expect_no_rule(const char *from, const char *to, const char *part)
{
    g_autoptr(Mapping) m = mapping_new();
    g_autoptr(GError) error = NULL;

    g_assert_false(mapping_set(m, from, to, &error));
    g_assert_error(error, NETMAP_ERROR, NETMAP_ERROR_MAPPING);
    g_assert_cmpuint(m->rules->len, ==, 0);
    if (!strstr(error->message, part))
        g_error("%s=%s: %s", from, to, error->message);
}

static void test_no_rules(void)
{
    expect_no_rule("default", "", "says nothing");
    expect_no_rule("default", "x,", "none of test=");
    expect_no_rule("default", "x,mac=old", "none of test=");
    expect_no_rule("default", "x,test=a,test=b", "none of test=");
    expect_no_rule("default", "x,test=", "does not name");
    expect_no_rule("mac:52:54:00:12:34", "x", "no MAC address");
    expect_no_rule("mac:52:54:00:12:34:5g", "x", "no MAC address");
    expect_no_rule("mac:525400123456", "x", "no MAC address");
}

static void expect_bad_set(const char *const rules[][2], const char *part)
{
    g_autoptr(Mapping) m = mapping_new();
    g_autoptr(GError) error = NULL;

    for (guint i = 0; rules[i][0]; i++)
        set(m, rules[i][0], rules[i][1]);
    g_assert_false(mapping_check(m, &error));
    g_assert_error(error, NETMAP_ERROR, NETMAP_ERROR_MAPPING);
    if (!strstr(error->message, part))
        g_error("%s", error->message);
}

static void test_sets(void)
{
    static const char *const TEST_IS_PRODUCTION[][2] = {{"a", "x"}, {"b", "y,test=x"}, {NULL}};
    static const char *const TEST_IN_PRODUCTION[][2] = {{"a", "x"}, {"b", "y,test=x/group"}, {NULL}};
    static const char *const ONE_DEVICE[][2] = {
        {"a", "hostdev:0000:04:10.0"}, {"b", "hostdev:0000:04:10.0"}, {NULL}};
    g_autoptr(Mapping) m = mapping_new();

    expect_bad_set(TEST_IS_PRODUCTION, "'x' is to be a test network");
    expect_bad_set(TEST_IN_PRODUCTION, "is to be a test network");
    expect_bad_set(ONE_DEVICE, "mapped to twice");
    set(m, "a", "x,test=t");
    set(m, "b", "x,test=t");
    g_assert_true(mapping_check(m, NULL));
}

static void expect_found(const Mapping *m, MapColumn from, MapColumn to, const char *mac, const char *place,
                         const char *wanted)
{
    g_auto(Place) p = {0};
    g_autofree char *got = NULL;
    MapAnswer answer;

    g_assert_true(place_parse(place, &p, NULL));
    answer = mapping_find(m, from, to, VM, mac, &p);
    g_assert_null(answer.other);
    got = answer.place ? place_format(answer.place) : g_strdup("-");
    g_assert_cmpstr(got, ==, wanted);
}

static void test_finds(void)
{
    static const char MAC[] = "52:54:00:12:34:56";
    g_autoptr(Mapping) m = mapping_new();
    g_auto(Place) p = {0};
    MapAnswer answer;

    set(m, "bridge:ovs", "bridge:sw");
    set(m, "bridge:ovs@20", "lan");
    set(m, "office", "corp,test=iso");
    set(m, "office/sales", "shop");
    set(m, "mac:52:54:00:12:34:56", "dmz");
    set(m, "mac:52:54:00:12:34:57", ",mac=new");
    expect_found(m, MAP_MASTER, MAP_REPLICA, NULL, "bridge:ovs", "bridge:sw");
    expect_found(m, MAP_MASTER, MAP_REPLICA, NULL, "bridge:ovs@21", "bridge:sw");
    expect_found(m, MAP_MASTER, MAP_REPLICA, NULL, "bridge:ovs@20", "lan");
    expect_found(m, MAP_MASTER, MAP_REPLICA, NULL, "office", "corp");
    expect_found(m, MAP_MASTER, MAP_REPLICA, NULL, "office/lab", "corp");
    expect_found(m, MAP_MASTER, MAP_REPLICA, NULL, "office/sales", "shop");
    expect_found(m, MAP_MASTER, MAP_REPLICA, MAC, "office/sales", "dmz");
    expect_found(m, MAP_MASTER, MAP_REPLICA, "52:54:00:12:34:57", "office", "corp");
    expect_found(m, MAP_MASTER, MAP_REPLICA, NULL, "other", "-");
    expect_found(m, MAP_MASTER, MAP_TEST, NULL, "office", "iso");
    expect_found(m, MAP_MASTER, MAP_TEST, NULL, "bridge:ovs", "-");
    expect_found(m, MAP_REPLICA, MAP_MASTER, NULL, "corp", "office");
    expect_found(m, MAP_REPLICA, MAP_MASTER, NULL, "lan", "bridge:ovs@20");
    expect_found(m, MAP_REPLICA, MAP_MASTER, NULL, "dmz", "-");
    place_parse("office", &p, NULL);
    answer = mapping_find(m, MAP_MASTER, MAP_REPLICA, VM, "52:54:00:12:34:57", &p);
    g_assert_cmpint(answer.mac, ==, MAC_NEW);
    answer = mapping_find(m, MAP_MASTER, MAP_REPLICA, VM, MAC, &p);
    g_assert_cmpint(answer.mac, ==, MAC_KEEP);
}

static void test_two_from_one(void)
{
    g_autoptr(Mapping) m = mapping_new();
    g_auto(Place) p = {0};
    MapAnswer answer;

    set(m, "a", "x");
    set(m, "b", "x");
    place_parse("x", &p, NULL);
    answer = mapping_find(m, MAP_REPLICA, MAP_MASTER, VM, NULL, &p);
    g_assert_cmpstr(answer.place->name, ==, "a");
    g_assert_cmpstr(answer.other->name, ==, "b");
}

/* One network on each side maps by itself; with two of them it does not. */
/* Places alone, and each to one: what only the way there says is not said back. */
static void test_turned(void)
{
    static const char *const RULES[][2] = {
        {"default", "office,test=lab"},           {"dmz", "office"},
        {"bridge:br0", "bridge:ovs0@20,mac=new"}, {"mac:52:54:00:12:34:56", "dmz,mac=new"},
        {"mac:52:54:00:12:34:57", ",mac=new"},
    };
    static const char *const BACK[][2] = {{"office", "default"}, {"bridge:ovs0@20", "bridge:br0"}};
    g_autoptr(Mapping) m = mapping_new();
    g_autoptr(Mapping) back = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(RULES); i++)
        g_assert_true(mapping_set(m, RULES[i][0], RULES[i][1], NULL));
    back = mapping_turn(m);
    g_assert_cmpuint(back->rules->len, ==, G_N_ELEMENTS(BACK));
    for (guint i = 0; i < back->rules->len; i++) {
        g_autofree char *from = mapping_from_text(back->rules->pdata[i]);
        g_autofree char *to = mapping_to_text(back->rules->pdata[i]);

        g_assert_cmpstr(from, ==, BACK[i][0]);
        g_assert_cmpstr(to, ==, BACK[i][1]);
    }
}

static void test_completes(void)
{
    g_autoptr(Host) one = host_new(NULL, "one");
    g_autoptr(Host) other = host_new(NULL, "other");
    g_autoptr(Mapping) m = mapping_new();

    host_add_network(one, "default", TRUE, NULL);
    host_add_network(other, "lan", TRUE, NULL);
    host_add_bridge(one, "br0", FALSE);
    host_add_bridge(other, "xbr0", FALSE);
    host_add_bridge(other, "xbr1", FALSE);
    set(m, "default", ",mac=new");
    mapping_complete(m, one, other);
    g_assert_cmpuint(m->rules->len, ==, 1);
    expect_found(m, MAP_MASTER, MAP_REPLICA, NULL, "default", "lan");
    set(m, "default", "dmz");
    mapping_complete(m, one, other);
    expect_found(m, MAP_MASTER, MAP_REPLICA, NULL, "default", "dmz");
    g_assert_true(mapping_unset(m, "default", NULL));
    host_add_network(other, "lan2", TRUE, NULL);
    mapping_complete(m, one, other);
    g_assert_cmpuint(m->rules->len, ==, 0);
}

static void test_new_macs(void)
{
    g_autofree char *one = mapping_new_mac(VM, "52:54:00:12:34:56", 0);
    g_autofree char *again = mapping_new_mac(VM, "52:54:00:12:34:56", 0);
    g_autofree char *turn = mapping_new_mac(VM, "52:54:00:12:34:56", 1);
    g_autofree char *other = mapping_new_mac(VM, "52:54:00:12:34:57", 0);

    g_assert_cmpstr(one, ==, again);
    g_assert_cmpstr(one, !=, turn);
    g_assert_cmpstr(one, !=, other);
    g_assert_true(g_regex_match_simple("^52:54:00(:[0-9a-f]{2}){3}$", one, 0, 0));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/netmap/place/texts", test_place_texts);
    g_test_add_func("/netmap/place/refuses", test_no_places);
    g_test_add_func("/netmap/mapping/texts", test_rule_texts);
    g_test_add_func("/netmap/mapping/refuses", test_no_rules);
    g_test_add_func("/netmap/mapping/sets", test_sets);
    g_test_add_func("/netmap/mapping/finds", test_finds);
    g_test_add_func("/netmap/mapping/two-from-one", test_two_from_one);
    g_test_add_func("/netmap/mapping/turned", test_turned);
    g_test_add_func("/netmap/mapping/completes", test_completes);
    g_test_add_func("/netmap/mapping/new-macs", test_new_macs);
    return g_test_run();
}
