/* SPDX-License-Identifier: Apache-2.0 */
/* Where this host's default route leads, from what the kernel says, and whether anybody is there. */
#include "vmconnect/probe/gateway.h"

#define HEAD "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
#define DEFAULT "eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
#define LOCAL "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
#define TUNNEL "wg0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n"
#define HALF "tun0\t00000000\t0100080A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n"
#define ZERO "00000000000000000000000000000000"
#define ROUTE6(prefix, hop, flags) \
    ZERO " " prefix " " ZERO " 00 " hop " 00000400 00000003 00000000 " flags "     eth0\n"
#define NEIGHBOURS "IP address       HW type     Flags       HW address            Mask     Device\n"

static void assert_leads(const char *routes, const char *routes6, const char *to)
{
    g_autofree char *found = gateway_find(routes, routes6);

    g_assert_cmpstr(found, ==, to);
}

static void test_find(void)
{
    assert_leads(HEAD LOCAL DEFAULT, NULL, "10.0.2.1");
    assert_leads(HEAD DEFAULT, ROUTE6("00", "fd000000000000000000000000000001", "00000003"), "10.0.2.1");
    assert_leads(HEAD LOCAL TUNNEL, NULL, NULL);
    assert_leads(HEAD HALF DEFAULT, NULL, "10.0.2.1");
    assert_leads(HEAD HALF LOCAL, NULL, NULL);
    assert_leads(HEAD "eth0\t00000000\t0102000A\t0003\t0\t0\t0", NULL, NULL);
    assert_leads(NULL, NULL, NULL);
    assert_leads("", "", NULL);
    assert_leads("eth0\n\n\t\t\t\t\t\t", "what is this", NULL);
}

static void test_find6(void)
{
    assert_leads(HEAD LOCAL, ROUTE6("00", "fd000000000000000000000000000001", "00000003"), "fd00::1");
    assert_leads(NULL, ROUTE6("00", "fe800000000000000000000000000001", "00450003"), "fe80::1%eth0");
    /* One that rejects, one of a prefix, and what is no address. */
    assert_leads(NULL, ROUTE6("00", ZERO, "00200200"), NULL);
    assert_leads(NULL, ROUTE6("40", "fd000000000000000000000000000001", "00000003"), NULL);
    assert_leads(NULL, ROUTE6("00", "fd00000000000000000000000000000", "00000003"), NULL);
    assert_leads(NULL, ROUTE6("00", "xx000000000000000000000000000001", "00000003"), NULL);
}

static void test_neighbours(void)
{
    const char *none =
        NEIGHBOURS "10.0.2.1         0x1         0x0         00:00:00:00:00:00     *        eth0\n";
    const char *known =
        NEIGHBOURS "10.0.2.11        0x1         0x0         00:00:00:00:00:00     *        eth0\n"
                   "10.0.2.1         0x1         0x2         02:fc:00:00:00:05     *        eth0\n";

    g_assert_true(gateway_is_unresolved(none, "10.0.2.1"));
    g_assert_false(gateway_is_unresolved(known, "10.0.2.1"));
    g_assert_true(gateway_is_unresolved(known, "10.0.2.11"));
    g_assert_false(gateway_is_unresolved(NEIGHBOURS, "10.0.2.1"));
    g_assert_false(gateway_is_unresolved(NULL, "10.0.2.1"));
    g_assert_false(gateway_is_unresolved("10.0.2.1", "10.0.2.1"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gateway/find", test_find);
    g_test_add_func("/gateway/find6", test_find6);
    g_test_add_func("/gateway/neighbours", test_neighbours);
    return g_test_run();
}
