/* SPDX-License-Identifier: Apache-2.0 */
/* roster - the hosts that the controller knows: name, engine's identity, addresses.
 *
 * Kept by the controller, borrowed by every protection and plan. It knows
 * nothing about whether a host answers. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>
#include <jansson.h>

typedef struct {
    char *name;
    Id id;
    char **addresses;    /* "host:port", the preferred one first, NULL at the end */
    json_t *hold;        /* hold.h; NULL: none */
    json_t *told;        /* told.h; NULL: nothing */
    json_t *maintenance; /* maintenance.h; NULL: it is in none */
    gboolean has_fence;  /* the controller can switch it off */
} RosterHost;

typedef struct Roster Roster;

Roster *roster_new(void);
/* Who keeps it: the controller's own identity, by which engines know it. */
void roster_set_controller(Roster *r, Id controller);
Id roster_controller(const Roster *r);
void roster_free(Roster *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Roster, roster_free)

/* Add a host, which nobody holds and of which nothing was told, or replace what is known about it; @addresses is copied. */
void roster_set(Roster *r, const char *name, Id id, const char *const *addresses);
/* Of a host that is there; @addresses is copied. */
void roster_move(Roster *r, const char *name, const char *const *addresses);
/* The same; @hold is referenced, NULL: none any more. */
void roster_hold(Roster *r, const char *name, json_t *hold);
/* The same of what was told of it. */
void roster_tell(Roster *r, const char *name, json_t *told);
/* The same of its maintenance. */
void roster_maintain(Roster *r, const char *name, json_t *maintenance);
/* The same: can it be fenced? */
void roster_fence(Roster *r, const char *name, gboolean has_fence);
void roster_remove(Roster *r, const char *name);
/* Borrowed until the next roster_set() or _remove(); NULL if unknown. */
const RosterHost *roster_find(const Roster *r, const char *name);

/* Addresses of all hosts but @name. New reference. */
json_t *roster_addresses_of_others(const Roster *r, const char *name);

/* {"id"} and {"id", "name", "addresses"}, as control messages name a host. */
json_t *roster_host_brief(const RosterHost *h);
json_t *roster_host_full(const RosterHost *h);
