/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/outside.h"

#include "vmconnect/link/dial.h"
#include "vmconnect/probe/gateway.h"

#include <netdb.h>
#include <netinet/in.h>

static gboolean is_link_local(const struct sockaddr *a)
{
    return a->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static void add(GPtrArray *all, const struct addrinfo *a)
{
    char text[NI_MAXHOST];

    if (!is_link_local(a->ai_addr) &&
        getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) == 0 &&
        !g_ptr_array_find_with_equal_func(all, text, g_str_equal, NULL))
        g_ptr_array_add(all, g_strdup(text));
}

/* getaddrinfo(3)'s word on @host. */
static int add_host(GPtrArray *all, const char *host, int flags)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags}, *found = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &found);

    for (const struct addrinfo *a = rc == 0 ? found : NULL; a; a = a->ai_next)
        add(all, a);
    if (rc == 0)
        freeaddrinfo(found);
    return rc;
}

GPtrArray *outside_addresses(const GPtrArray *hosts)
{
    GPtrArray *all = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *gateway = gateway_here();
    gboolean resolves = TRUE;

    add_host(all, "192.0.2.1", AI_NUMERICHOST);
    add_host(all, "2001:db8::1", AI_NUMERICHOST);
    if (gateway)
        add_host(all, gateway, AI_NUMERICHOST);
    for (guint i = 0; i < hosts->len; i++) {
        g_autofree char *host = NULL;
        guint16 port;

        if (!dial_parse(hosts->pdata[i], 0, &host, &port, NULL) || add_host(all, host, AI_NUMERICHOST) == 0)
            continue;
        if (resolves)
            resolves = add_host(all, host, 0) != EAI_AGAIN;
    }
    g_ptr_array_add(all, NULL);
    return all;
}
