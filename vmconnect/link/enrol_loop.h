/* SPDX-License-Identifier: Apache-2.0 */
/* enrol_loop - enrolment on a loop; what must be durable is stored in libuv's pool. */
#pragma once

#include "vmconnect/link/enrol.h"
#include "vmconnect/link/link.h"

#include <glib.h>
#include <uv.h>

/* --- the engine's side: one EnrolDesk for the whole engine --- */

typedef struct EnrolDesk EnrolDesk;

typedef struct {
    /* The engine has an owner: use @identity (a reference of the callee's) from now on. */
    void (*on_owned)(void *user, Identity *identity);
    /* A proof was wrong; @left more and the token ends. For the log. */
    void (*on_wrong)(void *user, const char *from, guint left);
} EnrolDeskEvents;

/* @path: the token's file in the state folder; @print_path: where root reads the token's text
 * (/run/understudy/engine/token). Loads the token, or makes a new one if none is live (blocks on the
 * disk: call it at start). */
EnrolDesk *enrol_desk_new(uv_loop_t *loop, Identity *identity, const char *path, const char *print_path,
                          const EnrolDeskEvents *events, void *user, GError **error);

/* A stranger's link from the listener; taken. */
void enrol_desk_take(EnrolDesk *desk, Link *link);

/* Is the token still good? The listener lets strangers in only then. */
gboolean enrol_desk_live(const EnrolDesk *desk);

/* End all that is under way. Not inside its callbacks' stores; NULL is accepted. */
void enrol_desk_close(EnrolDesk *desk);

/* Make and store a fresh token for @identity, which has no owner (REFUSED); prints it too. For `understudy-engine
 * token`. The caller frees *ret_text. Blocks on the disk. */
gboolean enrol_token_renew(const Identity *identity, const char *path, const char *print_path,
                           char **ret_text, GError **error);

/* --- the controller's side --- */

typedef struct EnrolHost EnrolHost;
typedef void (*EnrolHostFunc)(void *user, const Id *engine, const GError *error);

/* Dial @addresses, enrol with @token, @on_done once, never before this returns. The EnrolHost is gone then. */
EnrolHost *enrol_host(uv_loop_t *loop, const char *const *addresses, Identity *identity, const Token *token,
                      gint64 timeout_ms, EnrolSignFunc sign, EnrolHostFunc on_done, void *user);

/* @on_done will not be called. NULL is accepted. */
void enrol_host_cancel(EnrolHost *host);
