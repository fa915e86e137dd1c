/* SPDX-License-Identifier: Apache-2.0 */
/* route - which way frames to an address leave this host, as the kernel would send them now.
 *
 * Source: rtnetlink(7), RTM_GETROUTE of one destination. Nothing is sent to anybody. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <net/if.h>
#include <netinet/in.h>

typedef struct {
    gboolean local;                 /* it is an address of this host */
    char gateway[INET6_ADDRSTRLEN]; /* the next hop; "": it is on the line itself */
    char device[IF_NAMESIZE];       /* that it leaves by; "": not said */
} Route;

/* To a numeric address; of a name, to what it stands for first, which may hang as long as its server does. FALSE with @error
 * UNREACHABLE: there is none, or no such name. */
gboolean route_find(const char *host, Route *ret_route, GError **error);

/* {"local", "gateway": text or null, "device"}; new reference. */
json_t *route_to_json(const Route *r);

/* The answer of the kernel, @len bytes from its header on; pure. */
gboolean route_read(const void *answer, gsize len, Route *ret_route, GError **error);
