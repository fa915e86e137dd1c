/* SPDX-License-Identifier: Apache-2.0 */
/* active_parts - what the files of active.h share.
 *
 * active.c holds the VM and decides what a cycle does, active_reconcile.c finds
 * where to go on from, active_generation.c makes one job of a generation. */
#pragma once

#include "vmconnect/replicate/active.h"

/* What was sent of the unsealed generation counts only with the present link. */
void active_forget_begun(Active *a);

/* Signatures of the images now (GArray of Signature), or NULL if one cannot be read. */
GArray *active_read_signatures(Active *a);

/* Are they now what @before says? FALSE if one of both is NULL. */
gboolean active_same_signatures(Active *a, const GArray *before);

/* Firmware variables and TPM state as they are now, for this standby: as capture_belongings(). */
GPtrArray *active_belongings(Active *a, char **ret_why);

/* Choose the checkpoint to read since, go on with what the standby has of an
 * unsealed generation if that is possible, and delete checkpoints that no way
 * leads from. After each attach, once the standby has named its tip. */
gboolean active_reconcile(Active *a, GError **error);

/* One job: cut, stream, end; then seal, or keep a slice. */
gboolean active_make_generation(Active *a, ActiveOutcome *ret_outcome, GError **error);

/* The standby's newest sealed generation; nil: none. */
Id active_tip(const Active *a);

/* Are the VM's disks, in number, names and sizes, those of @g? */
gboolean active_same_disks(Active *a, const Generation *g);

gboolean active_has_id(const GArray *ids, Id id);

/* A checkpoint looks as if it had lost track. TRUE: it has. FALSE with @error BUSY: it may be the moment,
 * with a disk on its way out or a VM between two states; look again. */
gboolean active_has_lost_track(Active *a, GError **error);

/* Everything is being sent: `status` shows how far it is. */
void active_show_sync(Active *a);
