/* SPDX-License-Identifier: Apache-2.0 */
/* mapping - which place of one host stands for which of the other, as a table of three columns.
 *
 * A rule is about all interfaces in a place of the master, or about one interface, by its MAC
 * address. It is read in both directions, so a switchback lands where the switchover came from.
 * As text, FROM=TO:
 *
 *   default=office                        what is on network default is on office there
 *   bridge:br0=bridge:ovs0@20,test=lab    … and in an integrity test on network lab
 *   mac:52:54:00:12:34:56=dmz,mac=new     one interface, with another MAC address there
 *   mac:52:54:00:12:34:57=,mac=new        only that; the place follows from a wider rule
 *
 * A narrower rule comes before a wider one: the interface's own, then one with a tag or a port
 * group, then that of the whole network. */
#pragma once

#include "netmap/host.h"
#include "netmap/place.h"

#include <glib.h>

#define MAPPING_MAX_RULES 256

typedef enum { MAP_MASTER, MAP_REPLICA, MAP_TEST, MAP_COLUMNS } MapColumn;

typedef enum { MAC_UNSAID, MAC_KEEP, MAC_NEW } MacPolicy;

typedef struct {
    char *mac;                 /* lower case; NULL: the rule is about a place */
    Place places[MAP_COLUMNS]; /* kind NONE: not said; with @mac the master's is none */
    MacPolicy mac_policy;
} MapRule;

typedef struct {
    GPtrArray *rules; /* of MapRule * */
} Mapping;

Mapping *mapping_new(void);
Mapping *mapping_copy(const Mapping *m);
/* The map of the way back: of places alone, since the definition remembers of each interface where it was, and its address. Of two
 * places that were mapped to one the first is taken. */
Mapping *mapping_turn(const Mapping *m);
void mapping_free(Mapping *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Mapping, mapping_free)

/* Put a rule in; one of the same FROM is replaced. MAPPING, and @m unchanged, if a text makes no sense. */
gboolean mapping_set(Mapping *m, const char *from, const char *to, GError **error);
/* FROM and TO of "FROM=TO", which the caller frees. MAPPING if there is no '='. */
gboolean mapping_split(const char *text, char **ret_from, char **ret_to, GError **error);
/* Take it out. FALSE without @error if there is none; MAPPING if @from makes no sense. */
gboolean mapping_unset(Mapping *m, const char *from, GError **error);
/* The two texts of a rule. The caller frees. */
char *mapping_from_text(const MapRule *rule);
char *mapping_to_text(const MapRule *rule);

/* Do the rules go together? MAPPING: a test that would be in production, one function of a host for two. */
gboolean mapping_check(const Mapping *m, GError **error);

/* One network of libvirt on each side maps by itself, and so does one bridge: rules for them, where there are none. */
void mapping_complete(Mapping *m, const Host *master, const Host *replica);

typedef struct {
    const Place *place; /* borrowed; NULL: none is said */
    const Place *rule;  /* the place that the rule is about; NULL: it is about the interface itself */
    const Place *other; /* another rule says this instead, just as narrow; NULL: there is none */
    MacPolicy mac;      /* KEEP or NEW */
} MapAnswer;

/* Where in column @to an interface is that has @mac (NULL: none) and is in @place of column @from.
 * @vm: of the VM, which new MAC addresses depend on. */
MapAnswer mapping_find(const Mapping *m, MapColumn from, MapColumn to, const char *vm, const char *mac,
                       const Place *place);

/* The MAC address that stands for @mac with MAC_NEW: always the same one for an interface of a VM,
 * locally administered. @turn: 0, and more if that one is taken. The caller frees. */
char *mapping_new_mac(const char *vm, const char *mac, guint turn);
