/* SPDX-License-Identifier: Apache-2.0 */
/* network - a network of libvirt's, defined on another host as it is on this one.
 *
 * https://libvirt.org/formatnetwork.html. Kept: addresses, DHCP, DNS, port groups, what it forwards to. Not kept: UUID and
 * MAC address, which are the host's own, and the bridge's name where that is taken there. */
#pragma once

#include "netmap/host.h"

/* The definition for @to, under @name; the caller frees. NULL with @error XML, or MAPPING: it is made of devices of
 * its host, which the other one does not have. */
char *network_for(const char *definition, const char *name, const Host *to, GError **error);
