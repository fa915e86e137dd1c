/* SPDX-License-Identifier: Apache-2.0 */
/* definition_file - what libvirt will know of a VM after the next boot: its definition's file.
 *
 * libvirt changes the definition that it has in memory whether or not it can save that (it logs what failed, and tells nobody), so what
 * a pivot relies on is read from the file itself. */
#pragma once

#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/hypervisor/pivot.h"
#include "vmconnect/hypervisor/virt_error.h"

/* Has the disk of the running guest left its file? BUSY while a block job of it is under way: it may. */
gboolean definition_file_must_follow(virDomainPtr dom, const Pivot *p, gboolean *ret_must, GError **error);

/* The file does not name what the disk has left, and that is durable; if it does, it is made to name what the disk goes on
 * from. Another choice of its user's stays, and no file is as good. FALSE with @error: it cannot be read, libvirt could not
 * save it; REFUSED: the running guest has gone on to another file again, which is not ours to write down. */
gboolean definition_file_follow(virDomainPtr dom, const Pivot *p, GError **error);

/* The same of the pivot that @guard, in @folder, remembers; which is forgotten then. TRUE if there is none. */
gboolean definition_file_settle(virDomainPtr dom, const char *folder, const Guard *guard, GError **error);
