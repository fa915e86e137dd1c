/* SPDX-License-Identifier: Apache-2.0 */
/* gather - the belongings of a VM of this host, read from where libvirt has them.
 *
 * They cannot be cut with the disks: whoever needs them of an instant looks before and
 * after it, and has them if both looks are equal. A look is cheap: a file whose signature
 * (device, inode, size, mtime, ctime) is that of the look before is not read again,
 * unless it was written so shortly before that a later write may bear the same time.
 *
 * What cannot be had does not stand in the way of the disks: it is left out, and said. */
#pragma once

#include "vmconnect/base/belongings.h"
#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/definition.h"
#include "vmconnect/image/signature.h"

#include <glib.h>

/* libvirt's folder for the state of emulated TPMs: in it one for each VM, by its UUID. */
#define GATHER_TPM_DIR "/var/lib/libvirt/swtpm"

/* What was read, for one VM; used by one thread. */
typedef struct Gather Gather;

/* @tpm_dir: GATHER_TPM_DIR, but in tests. */
Gather *gather_new(const char *tpm_dir);
void gather_free(Gather *g);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Gather, gather_free)

/* Does @s, read at @now_ns (wall clock), stand for what is in the file? Stamps are as coarse as the kernel's
 * tick, on some file systems a second or two: what was written shortly before it was read may be
 * written again under the same stamps. */
gboolean gather_is_settled(const Signature *s, gint64 now_ns);

/* The belongings (of Belonging *, with their bytes) that the VM of definition @d, live or inactive, has at
 * present. A store that its first start has yet to make is none. *@ret_why (NULL: nothing is missing)
 * is a sentence about what had to be left out, with cause and consequence; the caller frees both. */
GPtrArray *gather_look(Gather *g, const Definition *d, char **ret_why);
