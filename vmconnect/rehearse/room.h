/* SPDX-License-Identifier: Apache-2.0 */
/* room - how many tests' VMs this host can bear at a time: by its free memory, by the free space of its disk, and by what its operator
 * allows.
 *
 * A guest that boots has not touched most of its memory yet, so what is free says little while others boot: all that running ones may
 * take is counted. What does not fit waits until others have ended. Any thread. */
#pragma once

#include <glib.h>

typedef struct Room Room;

/* @vms_max: at most so many at a time, 0: as many as fit. */
Room *room_new(guint vms_max);
void room_free(Room *room);

/* What is left over for the host itself of @available_kib of its @total_kib. Pure. */
guint64 room_usable_kib(guint64 available_kib, guint64 total_kib);

/* Take @kib of it, waiting for as long as others have what is missing; *@ret_waited: other tests' VMs had memory that it needed. FALSE with @error: NO_SPACE nobody has, CANCELLED @stop_fd is readable. */
gboolean room_take(Room *room, guint64 kib, int stop_fd, gboolean *ret_waited, GError **error);
void room_give(Room *room, guint64 kib);
/* Somebody waits: who could give should. */
gboolean room_is_wanted(Room *room);

/* What is written in tests leaves enough of @dir's file system to what is replicated into it. FALSE with @error: NO_SPACE, IO. */
gboolean room_expect_space(const char *dir, GError **error);
