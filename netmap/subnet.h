/* SPDX-License-Identifier: Apache-2.0 */
/* subnet - the IPv4 addresses of a network of libvirt's, by its definition, and who finds them there.
 *
 * https://libvirt.org/formatnetwork.html#addressing. Pure. */
#pragma once

#include <glib.h>

typedef struct {
    char *mac;
    char *address; /* IPv4: what DHCP gives to that card, and to no other */
} SubnetHost;

typedef struct {
    char *address; /* of the host on it; NULL: it has none, as one that is only a bridge */
    guint prefix;
    char *dhcp_first; /* of the first range; NULL: libvirt gives none out */
    char *dhcp_last;
    GPtrArray *hosts; /* of SubnetHost *; NULL: none */
} Subnet;

void subnet_clear(Subnet *s);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Subnet, subnet_clear)

/* Of the first IPv4 address that @definition has. FALSE with @error XML: it is no network's. */
gboolean subnet_parse(const char *definition, Subnet *ret_subnet, GError **error);
