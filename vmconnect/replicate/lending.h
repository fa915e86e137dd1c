/* SPDX-License-Identifier: Apache-2.0 */
/* lending - recovery points that integrity tests run from, each as long as its test has it.
 *
 * A test's VM has overlays of its own on the disks of a point, which a storage daemon of the loan's offers read-only; the copy goes on
 * underneath, with its merges (store_lease_share()). What the VM has beside its disks, firmware variables and a TPM's state, are copies that
 * are put where it finds them. Used by the thread that has the store open; nothing of it is durable:
 * a test does not outlive its engine. */
#pragma once

#include "vmconnect/store/store.h"

#include <glib.h>
#include <jansson.h>

typedef struct Lending Lending;

/* @nbd_dir: where QEMU may reach sockets. */
Lending *lending_new(const char *nbd_dir, Id vm);
/* Before @store (NULL: it is not open) is closed: nothing is lent any more. */
void lending_clear(Lending *lending, Store *store);
void lending_free(Lending *lending);

/* @params {"vm", "test", "as": UUID of the test's VM, "point": id, or null for the newest, "folder": that VM's own};
 * *@ret_result: {"point": as generation_describe(), "definition", "nvram": path or null, "socket": of the NBD server, "disks":
 * [{"target": also its export's name, "size_bytes"}]}. REFUSED: it runs here, or there is no point yet; NOT_FOUND;
 * CORRUPT: the copy is damaged, which is what a test is for. */
gboolean lending_lend(Lending *lending, Store *store, const json_t *params, json_t **ret_result,
                      GError **error);

/* @params {"vm", "test"}. What was not lent is no error. */
gboolean lending_return(Lending *lending, Store *store, const json_t *params, GError **error);
