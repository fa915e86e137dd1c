/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/subnet.h"

#include "netmap/xml.h"

#include <arpa/inet.h>
#include <string.h>

#define IPV4_BITS 32

static void host_free(gpointer data)
{
    SubnetHost *host = data;

    g_free(host->mac);
    g_free(host->address);
    g_free(host);
}

void subnet_clear(Subnet *s)
{
    g_clear_pointer(&s->address, g_free);
    g_clear_pointer(&s->dhcp_first, g_free);
    g_clear_pointer(&s->dhcp_last, g_free);
    g_clear_pointer(&s->hosts, g_ptr_array_unref);
    s->prefix = 0;
}

/* 0: neither is said, or not so that it is one. */
static guint prefix_of(const xmlNode *ip)
{
    g_autofree char *prefix = xml_attr(ip, "prefix");
    g_autofree char *mask = xml_attr(ip, "netmask");
    guint64 bits = 0;
    struct in_addr addr;

    if (prefix && g_ascii_string_to_unsigned(prefix, 10, 1, IPV4_BITS, &bits, NULL))
        return (guint)bits;
    if (mask && inet_pton(AF_INET, mask, &addr) == 1)
        return (guint)__builtin_popcount(addr.s_addr);
    return 0;
}

static gboolean is_ipv4(const char *text)
{
    struct in_addr addr;

    return text && inet_pton(AF_INET, text, &addr) == 1;
}

/* They become words of a command. */
static gboolean is_mac(const char *text)
{
    static const char SHAPE[] = "xx:xx:xx:xx:xx:xx";

    if (!text || strlen(text) != strlen(SHAPE))
        return FALSE;
    for (gsize i = 0; SHAPE[i]; i++)
        if (SHAPE[i] == ':' ? text[i] != ':' : !g_ascii_isxdigit(text[i]))
            return FALSE;
    return TRUE;
}

/* One that has a name alone is given an address of the range. */
static void take_hosts(const xmlNode *dhcp, Subnet *s)
{
    for (const xmlNode *n = xml_child(dhcp, "host"); n; n = xml_next(n)) {
        g_autofree char *mac = xml_attr(n, "mac"), *address = xml_attr(n, "ip");
        SubnetHost *host;

        if (!is_mac(mac) || !is_ipv4(address))
            continue;
        if (!s->hosts)
            s->hosts = g_ptr_array_new_with_free_func(host_free);
        host = g_new0(SubnetHost, 1);
        *host = (SubnetHost){.mac = g_steal_pointer(&mac), .address = g_steal_pointer(&address)};
        g_ptr_array_add(s->hosts, host);
    }
}

static void take(const xmlNode *ip, Subnet *s)
{
    const xmlNode *dhcp = xml_child(ip, "dhcp"), *range = xml_child(dhcp, "range");
    g_autofree char *first = xml_attr(range, "start");
    g_autofree char *last = xml_attr(range, "end");

    s->address = xml_attr(ip, "address");
    s->prefix = prefix_of(ip);
    if (is_ipv4(first) && is_ipv4(last)) {
        s->dhcp_first = g_steal_pointer(&first);
        s->dhcp_last = g_steal_pointer(&last);
    }
    take_hosts(dhcp, s);
}

gboolean subnet_parse(const char *definition, Subnet *ret_subnet, GError **error)
{
    g_autoptr(xmlDoc) doc = xml_read(definition, strlen(definition), "network", error);

    if (!doc)
        return FALSE;
    *ret_subnet = (Subnet){0};
    for (const xmlNode *ip = xml_child(xmlDocGetRootElement(doc), "ip"); ip; ip = xml_next(ip)) {
        g_autofree char *address = xml_attr(ip, "address");

        if (is_ipv4(address) && prefix_of(ip) > 0) {
            take(ip, ret_subnet);
            break;
        }
    }
    return TRUE;
}
