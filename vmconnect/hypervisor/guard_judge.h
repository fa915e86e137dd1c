/* SPDX-License-Identifier: Apache-2.0 */
/* guard_judge - the start hook's decision, in a function that a test can ask.
 *
 * Reads at most three files and never libvirt, which is waiting for it. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

typedef struct {
    const char *guard_folder;  /* GUARD_FOLDER */
    const char *permit_folder; /* PERMIT_FOLDER */
    const char *lease_file;    /* LEASE_FILE */
    Id boot_id;
    const char *definition; /* what shall be started, … */
    gsize definition_len;   /* … or the beginning of it */
} GuardJudge;

/* Of a VM of an integrity test its engine leaves a file here, named by its UUID, while it starts it. */
#define TEST_PERMIT_FOLDER "/run/understudy/engine/test"

/* May @vm start here now? FALSE with the sentence for whoever tried in @error:
 * REFUSED (standby, journal open, a file that a disk has left, no permit, no lease that lasts LEASE_START_MS where it needs one), CORRUPT,
 * UNSUPPORTED, IO. An unprotected VM may. */
gboolean guard_judge(const GuardJudge *judge, Id vm, const char *name, GError **error);

/* Is @operation of libvirt's qemu hook one that comes before a guest's first
 * write and may still be refused? Never `reconnect`: refusing that one kills a
 * running guest. */
gboolean guard_asks(const char *operation);

/* Is it the one at which QEMU runs, and is ended if the hook fails? */
gboolean guard_follows(const char *operation);
