/* SPDX-License-Identifier: Apache-2.0 */
/* file_systems - are the file systems on a VM's disks clean?
 *
 * Every disk is looked at, and every partition of it, by the distribution's own checkers, which are given a file that a storage daemon makes of it
 * (FUSE). They see a throw-away overlay: nothing is written to the disks, and no guest's file system is ever mounted. What is found is what
 * the guest would find at its next start, after its journal was replayed.
 *
 * Everything on the disks is hostile: whoever reads it is confined (sandbox.h), and bounded.
 *
 * For one worker thread: blocking, and what it starts dies with the thread. */
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct {
    const char *target; /* "vda": also what it is offered as, … */
    guint64 size_bytes; /* a multiple of 512 */
    const char *socket; /* … by the NBD server at this Unix socket */
} FileSystemsDisk;

/* @folder is private to this call: 0700, empty, with a name of at most 90 bytes; it stays the caller's, and is empty again afterwards. It must be able to
 * take what checkers write (journals, mostly).
 *
 * New reference: [{"target": "vda", "opens": true, "why": null, "parts": [{"number": 1, "offset_bytes": 1048576, "size_bytes": 1,
 * "kind": "ext4", "state": "clean", "text": null}]}]. A disk that does not open says why. A part's "number" is its partition's, 0 for the
 * whole disk; its "kind" libblkid's name of a file system, or of a partition table that is not in order, or null; its "state" "clean", "damaged", or
 * "unknown" (nobody has looked, or can tell); its "text" a sentence, maybe with the guest's words, or null.
 *
 * NULL with @error: UNSUPPORTED (no storage daemon, no FUSE, no confinement here), CANCELLED, TIMEOUT (@deadline_ms, of
 * clock_steady_ms(); also for one checker that does not end), NO_SPACE in @folder, UNREACHABLE (the storage daemon died), IO. */
json_t *file_systems_check(const FileSystemsDisk *disks, guint n, const char *folder, gint64 deadline_ms,
                           int cancel_fd, GError **error);

/* Take away what a process that was killed in file_systems_check() has left in @folder, a mount of a dead daemon among it, which
 * must be gone before the folder can be. Only mounts below @folder and files of ours are touched. */
gboolean file_systems_tidy(const char *folder, GError **error);
