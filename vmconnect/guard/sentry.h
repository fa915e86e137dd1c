/* SPDX-License-Identifier: Apache-2.0 */
/* sentry - the guard's one loop: hears engines, looks at the clocks, acts.
 *
 * One thread and poll(2). What is durable beyond this process, the roll and the kernel's table, is written before an engine is answered. */
#pragma once

#include "vmconnect/guard/watchdog.h"

typedef struct Sentry Sentry;

/* Take over what an earlier guard left in @folder, and listen there. Without such nothing but the socket is made. @steal_watchdog: NULL: none is
 * used; one that cannot be is an error. */
Sentry *sentry_new(const char *folder, Watchdog *steal_watchdog, GError **error);

/* Until SIGTERM or SIGINT, and until engines have freed guests of their leases, 3 s at most; told twice, at once. The roll remains; so does the
 * kernel's table if a guest needs its lease still. A service manager is told as supervisor.h says. */
void sentry_run(Sentry *s);
void sentry_free(Sentry *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Sentry, sentry_free)
