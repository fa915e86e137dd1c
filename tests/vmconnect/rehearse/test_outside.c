/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a test's guests must not reach: in a network of the test's own, with a gateway of its own. */
#include "vmconnect/rehearse/outside.h"
#include "vmconnect/rehearse/stage_private.h"

#include <unistd.h>

static gboolean has(const GPtrArray *all, const char *text)
{
    guint n = 0;

    for (guint i = 0; i < all->len - 1; i++)
        n += g_str_equal(all->pdata[i], text);
    g_assert_cmpuint(n, <=, 1);
    return n == 1;
}

static GPtrArray *ask(const char *const *texts)
{
    g_autoptr(GPtrArray) hosts = g_ptr_array_new();
    GPtrArray *all;

    for (; *texts; texts++)
        g_ptr_array_add(hosts, (gpointer)*texts);
    all = outside_addresses(hosts);
    g_assert_null(all->pdata[all->len - 1]);
    return all;
}

static void test_hosts(void)
{
    static const char *const HOSTS[] = {
        "10.1.1.1:25000",
        "10.1.1.1",
        "[2001:db8:1::7]:25000",
        "2001:db8:1::7",
        "localhost:25000",
        "fe80::1",
        "",
        "no-such-host.invalid",
        NULL,
    };
    g_autoptr(GPtrArray) all = ask(HOSTS);

    g_assert_true(has(all, "192.0.2.1"));
    g_assert_true(has(all, "2001:db8::1"));
    g_assert_true(has(all, "10.1.1.1"));
    g_assert_true(has(all, "2001:db8:1::7"));
    g_assert_true(has(all, "127.0.0.1") || has(all, "::1"));
    g_assert_false(has(all, "fe80::1"));
}

static void test_gateway(void)
{
    static const char *const NOBODY[] = {NULL};
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) all = NULL;
    int net;

    if (geteuid() != 0) {
        g_test_skip("needs root, for a network of its own");
        return;
    }
    net = stage_net_new(TRUE, &error);
    g_assert_no_error(error);
    g_assert_true(stage_ip(net,
                           "link add wire type veth peer name end\n"
                           "link set wire up\nlink set end up\n"
                           "addr add 10.9.9.2/24 dev wire\nroute add default via 10.9.9.1\n",
                           &error));
    all = ask(NOBODY);
    g_assert_true(has(all, "10.9.9.1"));
    close(net);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/outside/hosts", test_hosts);
    g_test_add_func("/outside/gateway", test_gateway);
    return g_test_run();
}
