/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/network.h"
#include "tests/netmap/world.h"

#include <string.h>

#define NAT                                                                                               \
    "<network><name>office</name><uuid>6e6ab37a-3ec0-4a5b-9c65-9a7a4a4d3c11</uuid><forward mode='nat' "   \
    "dev='eth0'>"                                                                                         \
    "<interface dev='eth0'/></forward><bridge name='virbr7' stp='on'/><mac address='52:54:00:00:00:09'/>" \
    "<ip address='192.0.2.1' netmask='255.255.255.0'><dhcp><range start='192.0.2.2' "                     \
    "end='192.0.2.99'/></dhcp></ip>"                                                                      \
    "<portgroup name='sales'><bandwidth><inbound average='1000'/></bandwidth></portgroup></network>"

static void test_made(void)
{
    g_autoptr(Host) beta = world_beta();
    g_autoptr(GError) error = NULL;
    g_autofree char *out = network_for(NAT, "corp2", beta, &error);

    g_assert_no_error(error);
    g_assert_nonnull(strstr(out, "<name>corp2</name>"));
    g_assert_nonnull(strstr(out, "<forward mode=\"nat\"/>"));
    g_assert_nonnull(strstr(out, "<bridge name=\"virbr7\""));
    g_assert_nonnull(strstr(out, "<range start=\"192.0.2.2\""));
    g_assert_nonnull(strstr(out, "<portgroup name=\"sales\">"));
    g_assert_null(strstr(out, "uuid"));
    g_assert_null(strstr(out, "52:54"));
}

/* libvirt finds another name for its bridge. */
static void test_bridge_taken(void)
{
    g_autoptr(Host) beta = world_beta();
    g_autofree char *out = NULL;

    host_add_network(beta, "other", TRUE, NULL)->bridge = g_strdup("virbr7");
    out = network_for(NAT, "office", beta, NULL);
    g_assert_nonnull(out);
    g_assert_null(strstr(out, "bridge"));
}

static void expect_refused(const char *inner, const char *part)
{
    g_autoptr(Host) beta = world_beta();
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf("<network><name>x</name>%s</network>", inner);

    g_assert_null(network_for(text, "x", beta, &error));
    g_assert_error(error, NETMAP_ERROR, NETMAP_ERROR_MAPPING);
    if (!strstr(error->message, part))
        g_error("%s", error->message);
}

static void test_refused(void)
{
    g_autoptr(Host) beta = world_beta();
    g_autoptr(GError) error = NULL;

    expect_refused("<forward mode='bridge'/><bridge name='br0'/>", "is the bridge 'br0'");
    expect_refused("<forward mode='passthrough' dev='eth0'/>", "is on the device 'eth0'");
    expect_refused("<forward mode='bridge'><interface dev='eth0'/></forward>", "is on the device 'eth0'");
    expect_refused("<forward mode='hostdev'><pf dev='eth0'/></forward>", "is a pool of 'functions'");
    expect_refused("<forward mode='hostdev'><address type='pci'/></forward>", "is a pool of 'devices'");
    g_assert_null(network_for("<domain/>", "x", beta, &error));
    g_assert_error(error, NETMAP_ERROR, NETMAP_ERROR_XML);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/netmap/network/made", test_made);
    g_test_add_func("/netmap/network/bridge-taken", test_bridge_taken);
    g_test_add_func("/netmap/network/refused", test_refused);
    return g_test_run();
}
