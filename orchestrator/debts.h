/* SPDX-License-Identifier: Apache-2.0 */
/* debts - what engines that were silent when their scenario was deleted are still to be told.
 *
 * A host that is gone for good must not keep a scenario, and its VMs, for ever; one that comes back after all
 * is told then, before any other scenario has a word with it, that it has no part in those VMs any more. Kept in a row of its
 * own, {"debts": [{"host", "method", "params"}]}, which changes with the deletion and with each answer. Loop
 * thread only. */
#pragma once

#include "orchestrator/hosts.h"
#include "orchestrator/state/database.h"

typedef struct Debts Debts;

/* What is really said to @host today, instead of *@method with @params: new reference. */
typedef json_t *(*DebtsWord)(void *user, const char *host, const char **method, const json_t *params);

/* Borrows both. */
Debts *debts_new(Database *db, Hosts *hosts, DebtsWord word, void *user);
/* After the hosts' calls have ended. */
void debts_free(Debts *d);

/* Is this row, of those of the scenarios, ours? */
gboolean debts_is_document(const json_t *doc);
gboolean debts_load(Debts *d, const json_t *doc, GError **error);
void debts_put(const Debts *d, DatabaseChanges *changes);

void debts_add(Debts *d, const char *host, const char *method, json_t *steal_params);
/* Is there something that @host must be told before anything else? */
gboolean debts_owes(const Debts *d, const char *host);
/* Nothing will ever be told to @host: it is let go. */
void debts_forget(Debts *d, const char *host);

/* Whoever is told: nothing is in the way of other words with @host. */
typedef void (*DebtsPaid)(void *user, const char *host);

/* Tell @host, whose link is up, what is owed to it, one call after the other, unless it is being told already. @paid (may be
 * NULL), possibly before this returns, when it has answered all, or one has failed; not if the link is lost meanwhile. */
void debts_pay(Debts *d, const char *host, DebtsPaid paid, void *user);
/* About once a second: what has failed is tried again after a while. */
void debts_tick(Debts *d);
