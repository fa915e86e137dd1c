/* SPDX-License-Identifier: Apache-2.0 */
/* guard_file - who may start a protected VM here, durably: what the start hook reads.
 *
 * For each protected VM one small file says scenario, reign, role, from which file it must not be started, and which file on which machine
 * it is itself (place.h): one that was copied, or put back from a backup, may have forgotten promises, and is told from the one that was
 * written; not so if the whole disk was put back. Beside it, in
 * /run, the engine leaves a permit bound to this boot: "I have looked since
 * this host came up, and this VM is ours to run". With the role active and a
 * permit users start and stop their VM as ever, also while the engine is down;
 * after a boot nothing starts before the engine has looked.
 *
 * To stop being active: guard_write() with standby (or the journal open) first,
 * permit_remove() second. Every state in between refuses. */
#pragma once

#include "vmconnect/base/generation.h"
#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/pivot.h"

#include <glib.h>

#define GUARD_FOLDER "/var/lib/understudy/engine/guard"
#define PERMIT_FOLDER "/run/understudy/engine/permit"
#define GUARD_MAX_BYTES 16384
/* What it means that a VM of which this host has a standby's role has no guard file. */
#define GUARD_ENDED                                                                      \
    "root has ended this VM's protection on this host, and goes on with what runs here " \
    "(`understudy-engine start --alone --gone`)"
/* What it means that a guard is from elsewhere. */
#define GUARD_COPIED                                                                \
    "this VM's guard file here was copied or put back from a backup, and may lack " \
    "what this host has promised since"

typedef enum { GUARD_ACTIVE, GUARD_STANDBY } GuardRole;

typedef struct {
    Id vm;
    char *scenario;
    Reign reign;
    GuardRole role;
    gboolean journal_open; /* a risky change is under way: no start may come between */
    gboolean autostart;    /* what the user had; libvirt's own is off while protected */
    Pivot
        *pivot; /* it goes on from a file that its definition does not name: no start before it does; NULL */
    gboolean
        elsewhere; /* as read: not in the file that this was written in. What it promised binds, what it allows does not */
} Guard;

void guard_free(Guard *g);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Guard, guard_free)

/* Text with a format line and a SHA-256 of the rest, so that a torn or damaged
 * file is CORRUPT, and a newer format UNSUPPORTED, never something else. @place is
 * that of the file it lies in. */
char *guard_encode(const Guard *g, const char *place);
Guard *guard_decode(const char *text, gsize len, const char *place, GError **error);

/* @folder: GUARD_FOLDER outside tests. Durable when it returns. The pivot stays what the file there says; from elsewhere it is no longer.
 * Of one of an older format a copy is kept beside it, NAME.format1. */
gboolean guard_write(const char *folder, const Guard *g, GError **error);
gboolean guard_remove(const char *folder, Id vm, GError **error);
/* @seen with this pivot, or without any (NULL), and from elsewhere if it was. OVERTAKEN: role or reign have changed since it was read. */
gboolean guard_set_pivot(const char *folder, const Guard *seen, const Pivot *pivot, GError **error);
/* Between these two nobody in this process writes or removes the guard of @vm: what was read of it is true until what stands on it is
 * done. For as long as a durable write takes, not longer; nothing that writes a guard may be called. */
void guard_hold(Id vm);
void guard_let_go(Id vm);
/* NOT_FOUND: unprotected. CORRUPT also when the file speaks of another VM. */
Guard *guard_read(const char *folder, Id vm, GError **error);
/* REFUSED, with @so as the consequence, if it is from elsewhere. */
gboolean guard_expect_own(const Guard *g, const char *so, GError **error);
/* All of them, of Guard *; a file that cannot be read is an error of the whole. */
GPtrArray *guard_list(const char *folder, GError **error);
/* The VMs that have a file, readable or not: of Id. */
GArray *guard_ids(const char *folder, GError **error);
/* Is any VM protected here? TRUE when in doubt. */
gboolean guard_any(const char *folder);

/* @folder: PERMIT_FOLDER outside tests; @boot_id of machine_boot_id(). */
gboolean permit_write(const char *folder, Id vm, Reign reign, Id boot_id, GError **error);
/* The same, of the boot that this is. */
gboolean permit_grant(const char *folder, Id vm, Reign reign, GError **error);
gboolean permit_remove(const char *folder, Id vm, GError **error);
/* TRUE: there is one, of this VM, reign and boot. FALSE with @error; NOT_FOUND: none. */
gboolean permit_check(const char *folder, Id vm, Reign reign, Id boot_id, GError **error);
