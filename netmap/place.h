/* SPDX-License-Identifier: Apache-2.0 */
/* place - what an interface is plugged into on one host.
 *
 * As text, which is the same on the command line, in a scenario and over the wire:
 *
 *   default            the libvirt network of that name   (network:default says the same)
 *   office/sales       its port group
 *   bridge:br0         a bridge of the host, Linux or Open vSwitch
 *   bridge:ovs0@20     … with one VLAN tag
 *   direct:eth1        a device of the host, by macvtap
 *   hostdev:0000:04:10.0   a function of the host's, passed through
 *
 * A backslash takes the meaning from a , = / @ or \ that follows it. */
#pragma once

#include "netmap/xml.h"

#include <glib.h>

typedef enum { PLACE_NONE, PLACE_NETWORK, PLACE_BRIDGE, PLACE_DIRECT, PLACE_HOSTDEV } PlaceKind;

typedef struct {
    PlaceKind kind;
    char *name;      /* of the network, the bridge, the device; a PCI address */
    char *portgroup; /* NULL: the network's own */
    int vlan;        /* 1 to 4094; 0: none is said */
} Place;

#define PLACE_NAME_MAX 255

void place_clear(Place *p);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Place, place_clear)
Place place_copy(const Place *p);
gboolean place_equal(const Place *a, const Place *b);

/* MAPPING with what is wrong; @ret_place only on success. */
gboolean place_parse(const char *text, Place *ret_place, GError **error);
/* The shortest text that place_parse() reads so; "" for PLACE_NONE. The caller frees. */
char *place_format(const Place *p);

/* Where an <interface> is; kind NONE for what is plugged into nothing of the host (user, vhostuser, …).
 * The tag is said if it is one, and not a trunk. */
Place place_of_interface(const xmlNode *interface);
/* Put it there: type and source of the <interface>. How a device is shared (macvtap's mode) stays; tags are not
 * touched. */
void place_plug(xmlNode *interface, const Place *to);
/* "0000:04:10.0" of an <address type='pci'>, or NULL. The caller frees. */
char *place_pci_address(const xmlNode *address);
/* The other way round. */
void place_set_pci_address(xmlNode *address, const char *text);

/* Does what is plugged into @p belong to @rule? A rule without a port group or a tag takes all of its network. */
gboolean place_is_within(const Place *p, const Place *rule);
