/* SPDX-License-Identifier: Apache-2.0 */
/* scenarios - the protections that live: each with its row in the database and the
 * actions that it has decided on and that are not carried out yet.
 *
 * Every input goes through scenarios_step(); what core/protection.c wants done about it
 * is carried out here in its order: nothing behind an ACTION_PERSIST begins before the
 * database says that it is durable. A database that has no room is asked again
 * until it has; one that is lost ends the controller, which reads at its next start what
 * is true. Loop thread only. */
#pragma once

#include "orchestrator/core/protection.h"
#include "orchestrator/events.h"
#include "orchestrator/hosts.h"
#include "orchestrator/state/database.h"

typedef struct Scenarios Scenarios;

/* What was asked for is done and durable, or why not. */
typedef void (*ScenariosDone)(void *user, const GError *error);

typedef struct {
    /* @params with who commands, for calls of plans; new reference. */
    json_t *(*sign)(void *user, const json_t *params);
    /* Look whether the VMs of @p could be started at home, and begin the plan that `understudy switchback` begins. @done
     * once, possibly before this returns: it is begun, or why nothing is. */
    void (*switch_back)(void *user, const Protection *p, ScenariosDone done, void *done_user);
    /* The same of the VMs whose host or guest is silent: with the votes alone, if their active's engine is. */
    void (*take_over)(void *user, const Protection *p, ScenariosDone done, void *done_user);
    /* The database is lost to this process. */
    void (*on_lost)(void *user, const GError *error);
} ScenariosEvents;

/* All borrowed. */
Scenarios *scenarios_new(Database *db, Hosts *hosts, Events *events, const ScenariosEvents *duties,
                         void *user);

/* What the database had at the start. CORRUPT. */
gboolean scenarios_load(Scenarios *s, const json_t *documents, GError **error);

/* Of all hosts, at most once each at a time. */
void scenarios_host_is_up(Scenarios *s, const char *host);
void scenarios_host_is_down(Scenarios *s, const char *host);
/* The roster has other addresses of it. */
void scenarios_host_has_moved(Scenarios *s, const char *host);
/* It was let go. */
void scenarios_host_is_gone(Scenarios *s, const char *host);
void scenarios_news(Scenarios *s, const char *host, const json_t *status);
void scenarios_tick(Scenarios *s);

/* Take up a scenario that another controller had, by @document, the row that an engine has kept for it; its plan, if one
 * ran, is over. @done when it is durable. NOT_FOUND for a host that is not there by its name, EXISTS for a
 * scenario or a VM that is there, USAGE for what is no such document. */
gboolean scenarios_recover(Scenarios *s, const json_t *document, ScenariosDone done, void *user,
                           GError **error);

/* Of all hosts; borrowed. */
const Vitals *scenarios_vitals(const Scenarios *s);
/* NULL with @error NOT_FOUND. Borrowed. */
const Protection *scenarios_find(const Scenarios *s, const char *name, GError **error);
/* By name: Protection *, borrowed; the caller frees the array. */
GPtrArray *scenarios_list(const Scenarios *s);
/* One that has this host, or NULL. */
const char *scenarios_using(const Scenarios *s, const char *host);
/* The one that has this VM, or NULL. */
const char *scenarios_of_vm(const Scenarios *s, Id vm);

/* Give an input to a scenario. FALSE with @error, and nothing is done: NOT_FOUND, or what
 * protection_step() refuses. @done (may be NULL) is called once, when all that this
 * input wanted kept is durable; possibly before this returns. @in->now_ms is filled in here. */
gboolean scenarios_step(Scenarios *s, const char *name, Input in, ScenariosDone done, void *user,
                        GError **error);

/* INPUT_RUN, and @done only when verification has let it pass and that is durable, or VERIFY. */
gboolean scenarios_run(Scenarios *s, const char *name, ScenariosDone done, void *user, GError **error);

/* INPUT_STOP, and @done when it is durable and the engines that are there have done their part,
 * or have taken long over it. */
gboolean scenarios_stop(Scenarios *s, const char *name, ScenariosDone done, void *user, GError **error);

/* The scenario is checked in itself; here beside the others and the hosts. */
gboolean scenarios_create(Scenarios *s, const Scenario *scenario, ScenariosDone done, void *user,
                          GError **error);
/* Properties or the map changed: durable first, then engines are told. */
gboolean scenarios_set(Scenarios *s, const Scenario *to, ScenariosDone done, void *user, GError **error);

typedef enum {
    SCENARIOS_DELETE,
    SCENARIOS_DELETE_PURGE, /* its copies, too */
    SCENARIOS_DELETE_FORCE, /* what engines are owed that do not answer is left as a debt */
} ScenariosDelete;

/* A scenario that is to be deleted takes no commands any more: first this, after @done (possibly
 * before this returns) what must be cleared away, then scenarios_delete() or scenarios_keep().
 * To be purged the standby's roles are about to be taken up again: they are dismissed if it comes to
 * nothing. REFUSED while it is not stopped, or an engine has not confirmed that; UNREACHABLE if it is to be purged and the standby is silent. */
gboolean scenarios_begin_delete(Scenarios *s, const char *name, ScenariosDelete how, ScenariosDone done,
                                void *user, GError **error);
void scenarios_keep(Scenarios *s, const char *name);
void scenarios_delete(Scenarios *s, const char *name, ScenariosDone done, void *user);

/* After the database's close; who still waits is told CANCELLED. */
void scenarios_free(Scenarios *s);
/* From now on nothing is carried out any more. */
void scenarios_close(Scenarios *s);
