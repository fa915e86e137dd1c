/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of a way, in a network of our own; and what it never says. */
#include "tests/vmconnect/probe/alone.h"
#include "vmconnect/base/error.h"
#include "vmconnect/probe/route.h"

#include <linux/rtnetlink.h>

static gboolean is_alone;

static void run(const char *command)
{
    int status = -1;

    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, &status, NULL));
    g_assert_true(g_spawn_check_wait_status(status, NULL));
}

static void assert_leads(const char *to, gboolean local, const char *gateway, const char *device)
{
    g_autoptr(GError) error = NULL;
    Route r;

    g_assert_true(route_find(to, &r, &error));
    g_assert_no_error(error);
    g_assert_cmpint(r.local, ==, local);
    g_assert_cmpstr(r.gateway, ==, gateway);
    g_assert_cmpstr(r.device, ==, device);
}

static void assert_none(const char *to)
{
    g_autoptr(GError) error = NULL;
    Route r;

    g_assert_false(route_find(to, &r, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
    g_assert_true(g_str_has_prefix(error->message, to));
}

static void test_ways(void)
{
    if (!is_alone) {
        g_test_skip("only root has a network of its own");
        return;
    }
    assert_none("10.9.0.2");
    run("ip link add lan0 type veth peer name lan1");
    run("ip link add wan0 type veth peer name wan1");
    run("ip address add 10.9.0.1/24 dev lan0");
    run("ip address add 10.8.0.1/24 dev wan0");
    run("ip -6 address add fd09::1/64 dev lan0 nodad");
    run("ip link set lan0 up");
    run("ip link set lan1 up");
    run("ip link set wan0 up");
    run("ip link set wan1 up");
    run("ip route add 10.20.0.0/16 via 10.9.0.254");
    run("ip route add 10.30.0.0/16 via inet6 fd09::fe dev lan0");
    run("ip route add default via 10.8.0.254");
    run("ip -6 route add fd20::/64 via fd09::fe");
    run("ip route add blackhole 10.40.0.0/16");
    assert_leads("10.9.0.1", TRUE, "", "lo");
    assert_leads("127.0.0.1", TRUE, "", "lo");
    assert_leads("10.9.0.2", FALSE, "", "lan0");
    assert_leads("10.20.0.2", FALSE, "10.9.0.254", "lan0");
    assert_leads("10.30.0.2", FALSE, "fd09::fe", "lan0");
    assert_leads("192.0.2.1", FALSE, "10.8.0.254", "wan0");
    assert_leads("fd09::2", FALSE, "", "lan0");
    assert_leads("fd20::2", FALSE, "fd09::fe", "lan0");
    assert_none("10.40.0.2");
    assert_none("fd40::2");
}

/* Cut off anywhere it is an answer or none, and nothing behind it is read. */
static void test_short_answers(void)
{
    struct {
        struct nlmsghdr header;
        struct rtmsg route;
        struct rtattr gateway;
        guint8 address[4];
    } whole = {.header = {.nlmsg_len = sizeof(whole), .nlmsg_type = RTM_NEWROUTE},
               .route = {.rtm_family = AF_INET, .rtm_type = RTN_UNICAST},
               .gateway = {RTA_LENGTH(4), RTA_GATEWAY},
               .address = {10, 0, 0, 1}};
    Route r;

    g_assert_true(route_read(&whole, sizeof(whole), &r, NULL));
    g_assert_cmpstr(r.gateway, ==, "10.0.0.1");
    for (gsize len = 0; len < sizeof(whole); len++) {
        g_autofree void *part = g_memdup2(&whole, len);

        g_assert_false(route_read(part, len, &r, NULL));
    }
    for (guint32 len = 0; len < sizeof(whole); len++) {
        whole.header.nlmsg_len = len;
        if (route_read(&whole, sizeof(whole), &r, NULL))
            g_assert_cmpstr(r.gateway, ==, "");
    }
    whole.header.nlmsg_len = sizeof(whole);
    whole.gateway.rta_len = 6;
    g_assert_true(route_read(&whole, sizeof(whole), &r, NULL));
    g_assert_cmpstr(r.gateway, ==, "");
    whole.header.nlmsg_type = NLMSG_DONE;
    g_assert_false(route_read(&whole, sizeof(whole), &r, NULL));
}

int main(int argc, char **argv)
{
    is_alone = alone();
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/route/ways", test_ways);
    g_test_add_func("/route/short-answers", test_short_answers);
    return g_test_run();
}
