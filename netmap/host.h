/* SPDX-License-Identifier: Apache-2.0 */
/* host - what must be known of a host before a definition can be rewritten for it.
 *
 * Inputs only: whoever asks libvirt and the kernel fills them in. What was not filled in is not there:
 * a host without facts takes no VM. */
#pragma once

#include "netmap/place.h"

#include <glib.h>

typedef struct {
    char *name;
    char *bridge; /* that it made for itself; NULL: none */
    char *over;   /* a bridge of the host that it only stands for; NULL: none */
    gboolean active;
    gboolean tags;         /* VLAN tags of an interface have an effect on it */
    GPtrArray *portgroups; /* of char * */
} HostNetwork;

typedef struct {
    char *name;
    gboolean ovs;        /* Open vSwitch: it can tag */
    gboolean of_network; /* a network of libvirt made it */
} HostBridge;

/* One emulator for one kind of guest. */
typedef struct {
    char *arch; /* x86_64 */
    char *type; /* kvm, qemu */
    char *emulator;
    GHashTable *machines; /* set of char *, aliases too */
} HostOffer;

/* A firmware for pflash, with the variable store that a new guest begins with. */
typedef struct {
    char *loader;
    char *vars; /* template */
} HostFirmware;

/* An interface of a VM of this host. */
typedef struct {
    char *uuid; /* of the VM */
    char *vm;   /* its name */
    char *mac;
    Place place;
} HostNeighbour;

typedef struct {
    guint64 kib; /* of one page */
    guint64 pages;
} HostPages;

typedef struct {
    char *id;              /* the same for ever, whatever the host is called; NULL: not known */
    char *name;            /* for people */
    GPtrArray *networks;   /* of HostNetwork * */
    GPtrArray *bridges;    /* of HostBridge * */
    GPtrArray *devices;    /* of char *: other network devices */
    GPtrArray *filters;    /* of char *: libvirt's network filters */
    GPtrArray *addresses;  /* of char *: IP addresses of its own */
    GPtrArray *offers;     /* of HostOffer * */
    GPtrArray *firmware;   /* of HostFirmware * */
    GPtrArray *neighbours; /* of HostNeighbour * */
    GPtrArray *models;     /* of char *: security models, "apparmor" */
    GArray *pages;         /* of HostPages: huge ones */
    guint64 memory_kib;
    guint cpus;
    guint nodes;
    gboolean swtpm;     /* can emulate a TPM */
    gboolean direct_io; /* where replicas lie images can be opened with O_DIRECT */
    /* Is there a file, folder or device of that absolute path? NULL: none is. */
    gboolean (*has_path)(gpointer user, const char *path);
    gpointer user;
} Host;

Host *host_new(const char *id, const char *name);
void host_free(Host *h);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Host, host_free)

/* @portgroups: a list that ends with NULL, or NULL. Borrowed. */
HostNetwork *host_add_network(Host *h, const char *name, gboolean active, const char *const *portgroups);
HostBridge *host_add_bridge(Host *h, const char *name, gboolean ovs);
void host_add_firmware(Host *h, const char *loader, const char *vars);
void host_add_neighbour(Host *h, const char *uuid, const char *vm, const char *mac, const Place *place);

/* Offers, security models, memory, processors and pages from libvirt's capabilities
 * (https://libvirt.org/formatcaps.html). FALSE with @error XML. */
gboolean host_add_capabilities(Host *h, const char *xml, GError **error);
/* A network, with its port groups, from its own XML (https://libvirt.org/formatnetwork.html). */
gboolean host_add_network_xml(Host *h, const char *xml, gboolean active, GError **error);

const HostNetwork *host_find_network(const Host *h, const char *name);
const HostBridge *host_find_bridge(const Host *h, const char *name);
/* What is one wire on this host, as text: a network is its bridge, tags are apart. NULL for a place of none. The caller
 * frees. */
char *host_segment(const Host *h, const Place *place);
gboolean host_same_segment(const Host *h, const Place *a, const Place *b);
gboolean host_has_device(const Host *h, const char *name);
gboolean host_has_path(const Host *h, const char *path);
gboolean host_has_address(const Host *h, const char *address); /* those that mean "any" and loopback, too */
gboolean network_has_portgroup(const HostNetwork *n, const char *name);
/* The offer for such a guest; with @emulator only if there is one with it. NULL: none. */
const HostOffer *host_find_offer(const Host *h, const char *arch, const char *type, const char *emulator);
