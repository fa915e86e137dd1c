/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor - what a daemon tells the service manager that started it, as sd_notify(3) describes: one datagram a word, to NOTIFY_SOCKET.
 *
 * It never blocks: a manager that hangs does not hear it, and what was not heard is not said again. Without one nothing is said. */
#pragma once

#include <glib.h>

typedef struct Supervisor Supervisor;

/* Reads and removes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID: no child of this process is to speak for it. */
Supervisor *supervisor_new(void);
void supervisor_free(Supervisor *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Supervisor, supervisor_free)

/* "READY=1", "STOPPING=1", "WATCHDOG=1". */
void supervisor_say(const Supervisor *s, const char *word);

/* How often WATCHDOG=1 is to be said: twice in the time after which the manager takes this process for hung; 0: never. */
gint64 supervisor_beat_ms(const Supervisor *s);
