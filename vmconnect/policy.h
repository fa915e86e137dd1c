/* SPDX-License-Identifier: Apache-2.0 */
/* policy - what this engine was told, durably.
 *
 * An engine decides nothing about who is active, but goes on by its last
 * policy alone when no controller answers, also after a restart. The document
 * is one file, replaced as a whole; a role's JSON is what the controller sent
 * in `active.protect` and `standby.admit`. */
#pragma once

#include "vmconnect/base/generation.h"
#include "vmconnect/base/id.h"
#include "vmconnect/store/retention.h"

#include <glib.h>
#include <jansson.h>

typedef struct {
    gint64 interval_ms;
    guint64 scratch_bytes;
    guint64 bandwidth_bytes_per_s; /* 0: no limit */
    char *compress;                /* "auto", "never", "always" */
    gboolean freeze;               /* freeze file systems around a cut */
} ReplicationSettings;

/* Another may be elected while it is armed: then it must hold a lease (leases.h), from its standby or this controller. */
typedef struct {
    gint64 countdown_ms; /* 0: nobody ever is */
    Id controller;
    gboolean arm; /* it is to be, as soon as it can */
} LeaseSettings;

typedef struct {
    Id vm;
    char *scenario;
    Reign reign;
    Id standby;      /* the standby engine's identity */
    char *host;      /* its name, for people */
    GStrv addresses; /* where to look for it: hints, not identity */
    ReplicationSettings settings;
    LeaseSettings lease;
    gboolean paused;
    gboolean vouched; /* who gave it has heard the standby: that was not made the active meanwhile */
    guint64 serial;   /* of this gift of the role; not stored */
} ActiveRole;

typedef struct {
    Id vm;
    char *scenario;
    char *name; /* the VM's, for people */
    Reign reign;
    Id active;        /* the only engine whose data is taken */
    json_t *networks; /* {"place of the active": "place here"}, a mapping (mapping_json.h) */
    RetentionPolicy retain;
    char *seed;     /* folder on this host with images for the first generation; NULL: none */
    guint64 serial; /* of this gift of the role; not stored */
} StandbyRole;

typedef struct Policy Policy;

/* Read the file at @path; one that is not there is an empty policy. NULL with
 * CORRUPT (not ours to repair: left alone) or UNSUPPORTED (a newer format). */
Policy *policy_load(const char *path, GError **error);
/* The same for the text of a file that is, or is to be, at @path: USAGE, UNSUPPORTED. */
Policy *policy_parse(const char *path, const char *text, gsize len, GError **error);
void policy_free(Policy *policy);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Policy, policy_free)

/* The document to make durable at policy_path(); the caller frees. Writing is
 * not done here, because the loop must not wait for a disk. */
char *policy_text(const Policy *policy);
const char *policy_path(const Policy *policy);

/* Roles by VM; borrowed, NULL if there is none. */
ActiveRole *policy_active(const Policy *policy, Id vm);
StandbyRole *policy_standby(const Policy *policy, Id vm);

/* All roles, in no order; the array is the caller's, the roles are borrowed. */
GPtrArray *policy_actives(const Policy *policy);
GPtrArray *policy_standbys(const Policy *policy);

/* Take or replace a role (ownership goes to @policy); forget one. A role without a serial gets one, above
 * 0, that none had before: who ends a role can see that it was given anew meanwhile. */
void policy_set_active(Policy *policy, ActiveRole *role);
void policy_set_standby(Policy *policy, StandbyRole *role);
void policy_forget_active(Policy *policy, Id vm);
void policy_forget_standby(Policy *policy, Id vm);

/* JSON as in docs/protocol.md. Reading refuses (USAGE) unknown keys, intervals
 * below 250 ms, scratch below 1 MiB, empty names, and what folder.h does not take as a seed. */
ActiveRole *active_role_from_json(const json_t *doc, GError **error);
json_t *active_role_to_json(const ActiveRole *role);
ActiveRole *active_role_copy(const ActiveRole *role); /* with its serial */
void active_role_free(ActiveRole *role);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ActiveRole, active_role_free)
/* The `retain` of a standby: "daily" and "weekly" are there only where they are not 0, as ever before. */
gboolean retain_from_json(const json_t *doc, RetentionPolicy *ret_retain, GError **error);
json_t *retain_to_json(RetentionPolicy retain);
StandbyRole *standby_role_from_json(const json_t *doc, GError **error);
json_t *standby_role_to_json(const StandbyRole *role);
StandbyRole *standby_role_copy(const StandbyRole *role);
void standby_role_free(StandbyRole *role);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StandbyRole, standby_role_free)
