/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/subnet.h"

#include "netmap/xml.h"

static void expect(const char *inside, const char *address, guint prefix, const char *first, const char *last)
{
    g_autofree char *xml = g_strdup_printf("<network><name>n</name>%s</network>", inside);
    g_autoptr(GError) error = NULL;
    g_auto(Subnet) s = {0};

    g_assert_true(subnet_parse(xml, &s, &error));
    g_assert_cmpstr(s.address, ==, address);
    g_assert_cmpuint(s.prefix, ==, prefix);
    g_assert_cmpstr(s.dhcp_first, ==, first);
    g_assert_cmpstr(s.dhcp_last, ==, last);
}

static void test_parse(void)
{
    expect("<ip address='192.168.122.1' netmask='255.255.255.0'><dhcp><range start='192.168.122.2' "
           "end='192.168.122.254'/><host mac='52:54:00:00:00:01' ip='192.168.122.9'/></dhcp></ip>",
           "192.168.122.1", 24, "192.168.122.2", "192.168.122.254");
    expect("<ip address='10.1.0.1' prefix='20'/>", "10.1.0.1", 20, NULL, NULL);
    /* The first of its IPv4 addresses, whatever comes before it. */
    expect("<ip family='ipv6' address='2001:db8::1' prefix='64'><dhcp><range start='2001:db8::2' "
           "end='2001:db8::9'/></dhcp></ip><ip address='10.2.0.1' netmask='255.255.0.0'/>",
           "10.2.0.1", 16, NULL, NULL);
    expect("<bridge name='br0'/><forward mode='bridge'/>", NULL, 0, NULL, NULL);
    expect("", NULL, 0, NULL, NULL);
}

static void expect_hosts(const char *hosts, const char *expected)
{
    g_autofree char *xml =
        g_strdup_printf("<network><ip address='10.1.0.1' prefix='24'><dhcp>%s</dhcp></ip></network>", hosts);
    g_autoptr(GString) found = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    g_auto(Subnet) s = {0};

    g_assert_true(subnet_parse(xml, &s, &error));
    for (guint i = 0; s.hosts && i < s.hosts->len; i++) {
        const SubnetHost *host = s.hosts->pdata[i];

        g_string_append_printf(found, "%s=%s;", host->mac, host->address);
    }
    g_assert_cmpstr(found->str, ==, expected);
}

static void test_hosts(void)
{
    expect_hosts("<host mac='52:54:00:00:00:01' name='db1' ip='10.1.0.9'/>"
                 "<host mac='52:54:00:00:00:02' ip='10.1.0.10'><lease expiry='1'/></host>",
                 "52:54:00:00:00:01=10.1.0.9;52:54:00:00:00:02=10.1.0.10;");
    expect_hosts("<host name='db1' ip='10.1.0.9'/><host mac='52:54:00:00:00:01' name='db1'/>", "");
    expect_hosts("<host mac='52:54:00:00:00:01,set:x' ip='10.1.0.9'/>"
                 "<host mac='52:54:00:00:00:0g' ip='10.1.0.9'/>"
                 "<host mac='52-54-00-00-00-01' ip='10.1.0.9'/>"
                 "<host mac='52:54:00:00:00:01' ip='10.1.0.9,ignore'/>"
                 "<host mac='' ip=''/><host/>",
                 "");
    expect_hosts("", "");
}

static void test_hostile(void)
{
    g_autoptr(GError) error = NULL;
    Subnet s = {0};

    expect("<ip address='10.1.0.1' prefix='33'/>", NULL, 0, NULL, NULL);
    expect("<ip address='10.1.0.1' prefix='-1'/>", NULL, 0, NULL, NULL);
    expect("<ip address='10.1.0.1'/>", NULL, 0, NULL, NULL);
    expect("<ip address='; rm -rf /' prefix='24'/>", NULL, 0, NULL, NULL);
    expect("<ip address='10.1.0.1' prefix='24'><dhcp><range start='x' end='10.1.0.9'/></dhcp></ip>",
           "10.1.0.1", 24, NULL, NULL);
    g_assert_false(subnet_parse("<domain/>", &s, &error));
    g_assert_error(error, NETMAP_ERROR, NETMAP_ERROR_XML);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/subnet/parse", test_parse);
    g_test_add_func("/subnet/hosts", test_hosts);
    g_test_add_func("/subnet/hostile", test_hostile);
    return g_test_run();
}
