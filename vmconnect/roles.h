/* SPDX-License-Identifier: Apache-2.0 */
/* roles - the threads that play this engine's roles, one worker or keeper per VM.
 *
 * Owned by the loop. It starts and ends threads as the policy says, carries
 * commands to them and answers back, and remembers what each last said of itself. */
#pragma once

#include "vmconnect/policy.h"
#include "vmconnect/replicate/keeper.h"
#include "vmconnect/replicate/worker.h"

#include <glib.h>
#include <uv.h>

typedef struct {
    /* A thread said something new about itself. @urgent: an answer follows, and must not be there first. */
    void (*on_status)(void *user, gboolean urgent);
    /* The thread of @vm's active or standby side has ended by itself, not by roles_quit(). It may
     * have been given a role meanwhile: play it again if there is one. */
    void (*on_ended)(void *user, Id vm, gboolean standby);
    /* The last thread has ended (after roles_quit()). */
    void (*on_quiet)(void *user);
} RolesEvents;

typedef struct Roles Roles;

/* @paths' strings outlive it. */
Roles *roles_new(uv_loop_t *loop, const HostPaths *paths, Rescuer *rescuer, const RolesEvents *events,
                 void *user);
void roles_free(Roles *roles); /* after on_quiet */

/* Play a role: start its thread, or tell the one there is. @role is taken. */
void roles_play_active(Roles *roles, ActiveRole *role, Identity *identity);
void roles_play_standby(Roles *roles, const StandbyRole *role);

/* Workers dial as @identity from now on: this engine has another owner. */
void roles_set_identity(Roles *roles, Identity *identity);

/* Has the keeper of @vm said that its copy was promoted, so that the VM runs from it here? */
gboolean roles_is_promoted(const Roles *roles, Id vm);
/* … and is it through with that? In which reign; number 0: no. */
Reign roles_promoted_reign(const Roles *roles, Id vm);

/* The answer to a command: @result borrowed, or @error. Called once, also when the thread ends first (CANCELLED). */
typedef void (*RolesAnswer)(void *user, const json_t *result, const GError *error);

/* Takes @params. NOT_FOUND if no thread plays that side of @vm. */
void roles_tell_active(Roles *roles, Id vm, CommandVerb verb, json_t *params, RolesAnswer on_answer,
                       void *user);
void roles_tell_standby(Roles *roles, Id vm, CommandVerb verb, json_t *params, RolesAnswer on_answer,
                        void *user);

/* Give a link of an active to the keeper of @vm; the peer is told if there is none. Takes @link and @images (as
 * Attach has them). */
void roles_attach(Roles *roles, Id vm, Link *link, Reign reign, json_t *images);

/* {"active": […], "standby": […]}: what each thread last said, with lag_ms as of now. New reference. */
json_t *roles_status(const Roles *roles, gint64 now_ms);

/* The rescuer had to end a job of ours on @vm: status counts it. */
void roles_rescued(Roles *roles, Id vm, const char *why);

/* What @plan has come to on the active's side, as docs/protocol.md has `plan.state`; NULL if no
 * worker plays @vm, or it has not spoken yet. Answered at once, also while a step is under way. New reference. */
json_t *roles_plan_state(const Roles *roles, Id vm, const char *plan);

/* End all threads; traces stay. */
void roles_quit(Roles *roles);
