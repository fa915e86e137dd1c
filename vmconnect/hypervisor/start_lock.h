/* SPDX-License-Identifier: Apache-2.0 */
/* start_lock - a VM that is off is not started while its images are written to.
 *
 * What changed since an instant is recorded in the images of a stopped VM by us, who lock them
 * for some 10 ms each: a start in that moment would fail. The writer holds this lock, the start
 * hook waits for it. libvirt calls a VM active before it asks the hook, so a
 * writer that has the lock and sees the VM inactive is sure that no start is under way.
 *
 * The hook also leaves a mark, before QEMU touches an image: what is changed in one of a VM that is off, its own
 * QEMU may have done if it was started since. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

/* What a start waits at most; a writer is through long before. */
#define START_LOCK_MS 2000

/* @folder: PERMIT_FOLDER outside tests. A descriptor that has the lock until it is closed; -1 with @error
 * BUSY: a start is under way, NOT_FOUND: no such folder, IO. */
int start_lock_hold(const char *folder, Id vm, GError **error);

/* A start of @vm: leave the mark, then wait until nobody holds it, at most @timeout_ms; TRUE: nobody does. */
gboolean start_lock_wait(const char *folder, Id vm, gint64 timeout_ms);

/* The newest mark; two that differ have a start in between. */
gint64 start_lock_mark(const char *folder, Id vm);
