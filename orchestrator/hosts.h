/* SPDX-License-Identifier: Apache-2.0 */
/* hosts - the hosts in the controller's care, each with the link to its engine.
 *
 * The roster (core/roster.h) is kept here for all who borrow it. What is durable
 * about a host is hosts_document(); who calls hosts_add() has made it so. */
#pragma once

#include "orchestrator/core/roster.h"
#include "vmconnect/link/rpc.h"

typedef struct Hosts Hosts;

/* As engine_link.h has them, with the host's name. */
typedef struct {
    void (*on_up)(void *user, const char *host);
    void (*on_down)(void *user, const char *host, const GError *why);
    void (*on_overruled)(void *user, const char *host);
    void (*on_news)(void *user, const char *host, const json_t *status);
    void (*on_renewals)(void *user, const char *host, const json_t *news);
} HostsEvents;

/* @identity is referenced; @incarnation is that of the controller's memory. */
Hosts *hosts_new(uv_loop_t *loop, Identity *identity, guint64 incarnation, const HostsEvents *events,
                 void *user);

/* The name is free. Dials at once. */
void hosts_add(Hosts *hosts, const char *name, Id id, const char *const *addresses);
/* Of one that is there: where it is from now on. */
void hosts_move(Hosts *hosts, const char *name, const char *const *addresses);
void hosts_remove(Hosts *hosts, const char *name);
/* Of one that is there: hold.h, referenced; NULL: it is not held any more. */
void hosts_hold(Hosts *hosts, const char *name, json_t *hold);

/* The same of what was told of it (told.h). */
void hosts_tell(Hosts *hosts, const char *name, json_t *told);

/* The same of its maintenance (core/maintenance.h). */
void hosts_maintain(Hosts *hosts, const char *name, json_t *maintenance);

/* The same: can it be fenced (fence.h)? */
void hosts_fence(Hosts *hosts, const char *name, gboolean has_fence);

const Roster *hosts_roster(const Hosts *hosts);
/* Sorted; char *, borrowed. The caller frees the array. */
GPtrArray *hosts_names(const Hosts *hosts);
gboolean hosts_is_up(const Hosts *hosts, const char *name);
/* Somebody lacks a word of it: its whole status is asked for soon. */
void hosts_want_status(Hosts *hosts, const char *name);
/* Its wall clock less ours, as it was when its link came up; FALSE: it never did. */
gboolean hosts_clock_offset(const Hosts *hosts, const char *name, gint64 *ret_ms);
/* The id of the boot that its engine spoke of last; borrowed, NULL: it never did. */
const char *hosts_boot(const Hosts *hosts, const char *name);
/* The host that this engine is, or NULL; borrowed. */
const char *hosts_name_of(const Hosts *hosts, Id id);

/* engine_link_call() by name; a host that is not known is UNREACHABLE, too. */
void hosts_call(Hosts *hosts, const char *name, const char *method, const json_t *params, gint64 limit_ms,
                RpcAnswerFunc on_answer, void *user);

/* {"id", "name", "addresses", "hold", "told", "maintenance"}: what the database keeps, and hosts_load() takes (CORRUPT). Of
 * @host "hold", "told" and "maintenance" may be NULL. */
json_t *hosts_document(const RosterHost *host);
gboolean hosts_load(Hosts *hosts, const json_t *documents, GError **error);

/* For people and `host show`: {"name", "id", "state": "up"|"down", "why", "addresses",
 * "clock_offset_ms", "hold": {"since", "why"} or null} and what the engine says of its host. New reference. */
json_t *hosts_describe(const Hosts *hosts, const char *name);

/* About once a second. */
void hosts_tick(Hosts *hosts);

/* Close every link; no event comes any more. */
void hosts_close(Hosts *hosts);
/* After hosts_close(), when the loop has run dry. */
void hosts_free(Hosts *hosts);
