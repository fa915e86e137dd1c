/* SPDX-License-Identifier: Apache-2.0 */
/* gateway - this host's own way to anywhere: the next hop of its default route, as the kernel has it.
 *
 * Source: proc(5), net/route and net/arp; the columns of net/ipv6_route are those of the kernel's rt6_info_route(): destination, its
 * length, source, its length, next hop, metric, references, uses, flags, device. What cannot be read is not there. */
#pragma once

#include <glib.h>

#define GATEWAY_ROUTES "/proc/net/route"
#define GATEWAY_ROUTES6 "/proc/net/ipv6_route"
#define GATEWAY_NEIGHBOURS "/proc/net/arp"

/* Of IPv4, else of IPv6 ("fe80::1%eth0"), in the text of those files (NULL: none); NULL: there is no default route with a next hop.
 * The caller frees. */
char *gateway_find(const char *routes, const char *routes6);

/* The same, as those files are now; NULL if they cannot be read. */
char *gateway_here(void);

/* Its hardware address was asked for on the line, and nobody has said it: whatever it would say, nothing reaches it. FALSE, too, if it
 * was not asked for, as on a line that has no such addresses, and of IPv6. */
gboolean gateway_is_unresolved(const char *neighbours, const char *address);
