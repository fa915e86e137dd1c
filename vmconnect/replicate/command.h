/* SPDX-License-Identifier: Apache-2.0 */
/* command - what the loop asks of a VM's thread, and how the answer comes back.
 *
 * A command goes into the thread's mailbox, is carried out in its turn, and
 * returns to the loop inside a report with result or error filled in. A report
 * without a command is the thread's word about itself, as the JSON that
 * `status` shows. Both belong to whoever has them. */
#pragma once

#include "vmconnect/base/generation.h"
#include "vmconnect/link/link.h"

#include <glib.h>
#include <jansson.h>

/* The worker's (active side) and the keeper's (standby side) verbs. */
#define COMMAND_VERBS(X)                                                                                     \
    X(QUIT)     /* both: end the thread; traces stay, replication goes on at the next start */               \
    X(ROLE)     /* both: params is a new role of the same VM, of a worker's reign */                         \
    X(IDENTITY) /* worker: identity is who it dials as from now on */                                        \
    X(STOP)     /* worker: remove what we left in libvirt; then end */                                       \
    X(COMPARE)  /* worker: is the copy what the disks are? {repair} */                                       \
    X(REVIVE)   /* worker: start who died, or reset who hangs {hangs, by_watchdog, until_ms} */              \
    X(LOCK)     /* worker: a plan holds the VM {plan, deadline_ms}: no cut starts by itself any more */      \
    X(SHUTDOWN) /* worker: shut the guest down {plan, timeout_ms, power_off} */                              \
    X(FINAL)    /* worker: seal the last generation of the guest that is off {plan} */                       \
    X(PARK)     /* worker: keep it off until it is taken back {plan, until_told} */                          \
    X(RELEASE)  /* worker: never run it again in this reign {plan, successor, reign_next} */                 \
    X(UNLOCK)   /* worker: the successor runs; then end {plan} */                                            \
    X(YIELD) /* both: another host was made the active: pause the guest if it lives; a worker ends then */   \
    X(ROLLBACK) /* worker: before the release: start the guest again, go on {plan} */                        \
    X(ATTACH)   /* keeper: link and reign of an active that wants to send; params are its images */          \
    X(POINTS)   /* keeper, worker: the recovery points */                                                    \
    X(PIN)      /* keeper: keep a point whatever retention says, or no longer {point, pinned} */             \
    X(OPEN)     /* keeper, worker: a kept point for reading {point} */                                       \
    X(PROMOTE)  /* keeper: run the VM here {plan, tip, reign_next, scenario, here, from, networks} */        \
    X(LEND)     /* keeper: a point for a test to run from, until it is returned {test, as, point, folder} */ \
    X(RETURN)   /* keeper: {test} */                                                                         \
    X(REST)     /* keeper: its host is about to be restarted, or that is over {rest} */                      \
    X(PURGE)    /* keeper: remove the copy; then end */

typedef enum {
#define X(verb) COMMAND_##verb,
    COMMAND_VERBS(X)
#undef X
} CommandVerb;

typedef struct {
    CommandVerb verb;
    json_t *params;     /* an object, or NULL */
    Link *link;         /* ATTACH only */
    Reign reign;        /* ATTACH only */
    Identity *identity; /* IDENTITY only */
    void *user;         /* the asker's own */
    json_t *result;     /* of the answer; NULL if @error, or if there is nothing to say */
    GError *error;
} Command;

/* Takes @params. */
Command *command_new(CommandVerb verb, json_t *params, void *user);
void command_free(Command *command);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Command, command_free)
const char *command_verb_name(CommandVerb verb);

typedef struct {
    Id vm;
    gboolean standby; /* from a keeper, else from a worker */
    json_t *status;   /* NULL: nothing new */
    Command *done;    /* NULL: none */
    gboolean ended;   /* the thread's last word: it can be joined */
} Report;

void report_free(Report *report);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Report, report_free)
