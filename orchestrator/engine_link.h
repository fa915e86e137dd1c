/* SPDX-License-Identifier: Apache-2.0 */
/* engine_link - the controller's link to one engine: dialled, dialled again, asked.
 *
 * A standing link that lives as long as the host is known. It is up when the engine obeys this controller. While
 * it is, the engine's status comes as news, first all of it, then what has changed; now and then it is
 * asked for all of it. Loop thread only. */
#pragma once

#include "vmconnect/link/standing.h"

typedef struct EngineLink EngineLink;

typedef struct {
    void (*on_up)(void *user);
    /* @why: what ended it. Calls that were open have been answered. */
    void (*on_down)(void *user, const GError *why);
    /* It obeys another controller of this identity, whose memory is newer. Once, until it is up again. */
    void (*on_overruled)(void *user);
    /* @status: the engine's `status` document, pushed or asked for, or what has changed of it (news_is_part()). */
    void (*on_news)(void *user, const json_t *status);
    /* It is the active of VMs whose leases it asks for: {"renewals": […]} (renewal.h). */
    void (*on_renewals)(void *user, const json_t *news);
} EngineLinkEvents;

/* Dials at once. @identity is referenced, @addresses copied; @incarnation is our memory's. */
EngineLink *engine_link_new(uv_loop_t *loop, Identity *identity, guint64 incarnation, Id engine,
                            const char *const *addresses, const EngineLinkEvents *events, void *user);

gboolean engine_link_is_up(const EngineLink *link);
/* Why it is not up; borrowed, NULL while it is, or before the first attempt has ended. */
const char *engine_link_why(const EngineLink *link);
/* Its last answer to host.info; borrowed, NULL if there was none. */
const json_t *engine_link_info(const EngineLink *link);
/* Its wall clock less ours, as of that answer. */
gint64 engine_link_clock_offset_ms(const EngineLink *link);

/* Ask. @params stays the caller's; @on_answer is called once, never before this
 * returns, also if the link is down (UNREACHABLE) or closed (CANCELLED). */
void engine_link_call(EngineLink *link, const char *method, const json_t *params, gint64 limit_ms,
                      RpcAnswerFunc on_answer, void *user);

/* Dialled at @addresses from now on: at once, unless it is up. */
void engine_link_move(EngineLink *link, const char *const *addresses);

/* Somebody lacks a word that only a whole status is sure to have: it is asked for soon. */
void engine_link_want_status(EngineLink *link);

/* About once a second. */
void engine_link_tick(EngineLink *link);

/* No event comes any more; open calls are answered CANCELLED. The link frees itself when the
 * loop is through with it. NULL is accepted. */
void engine_link_close(EngineLink *link);
