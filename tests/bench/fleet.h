/* SPDX-License-Identifier: Apache-2.0 */
/* fleet - what one simulated engine of watch_2000_vms_cpu knows and says: as much as a real one, of guests that are not there.
 *
 * No link, loop or clock: engines.c has those. */
#pragma once

#include "vmconnect/base/generation.h"

#include <glib.h>
#include <jansson.h>

/* A VM of this host, perhaps replicated from it. */
typedef struct {
    Id id;
    char *name;
    gboolean dead;
    guint boots;
    json_t *role; /* the parameters of active.protect; NULL: it is not protected */
    gint64 interval_ms;
    gint64 due_ms; /* its next cycle */
    gint64 cycle_ms;
    gint64 truth_ms; /* its newest sealed instant; 0: none */
    json_t *tip;     /* NULL: none */
    guint64 sequence;
} FleetVm;

/* A copy that it keeps. */
typedef struct {
    Id vm;
    json_t *tip;
} FleetCopy;

/* A host or guest that it looks after. */
typedef struct {
    Id id;
    const char *key;   /* "id" of a host, "vm" of a guest */
    gint64 reign;      /* as it was told; 0: of a host */
    GPtrArray *checks; /* of CheckSpec * */
    gint64 interval_ms;
    gint64 due_ms;
    guint misses;
    gboolean tried;
} FleetSubject;

typedef struct {
    guint number;
    Id id;
    gboolean silent;     /* its machine is gone */
    GPtrArray *vms;      /* of FleetVm * */
    GPtrArray *copies;   /* of FleetCopy * */
    GPtrArray *subjects; /* of FleetSubject *; empty: it was not told */
    GHashTable *papers;  /* scenario -> json_t * */
} FleetHost;

FleetHost *fleet_host_new(guint number, guint n_vms);
void fleet_host_free(FleetHost *h);

FleetVm *fleet_vm(const FleetHost *h, Id vm);
FleetCopy *fleet_copy(const FleetHost *h, Id vm);

/* The standby of the role that @vm has. */
Id fleet_standby_of(const FleetVm *vm);

void fleet_protect(FleetVm *vm, const json_t *params, gint64 now_ms);
void fleet_admit(FleetHost *h, Id vm);
/* FALSE with @error: it says what watch.set may not. */
gboolean fleet_watch(FleetHost *h, const json_t *params, gint64 now_ms, GError **error);

/* A generation is sealed; a new tip, whose standby gets a reference. */
void fleet_seal(FleetVm *vm, gint64 now_ms, gint64 wall_ms);

/* Documents as docs/protocol.md has them. */
json_t *fleet_info(const FleetHost *h, gint64 wall_ms);
json_t *fleet_list(const FleetHost *h);
json_t *fleet_check(const FleetVm *vm);
json_t *fleet_definition(const char *name, Id vm);
json_t *fleet_status(const FleetHost *h, gint64 now_ms);
