/* SPDX-License-Identifier: Apache-2.0 */
/* disk_size - what a disk measures for its guest, from the image itself.
 *
 * Never through libvirt: virDomainGetBlockInfo() sends QEMU a query-named-block-nodes. A hung QEMU would
 * hold up who asks, and QEMU 7.2 dies of that query (qcow2_get_specific_info(): assertion) if another
 * program's backup or snapshot is just creating its qcow2 file. QEMU writes a resized image's new size into the
 * header before it tells anybody. */
#pragma once

#include "vmconnect/hypervisor/definition.h"

/* Bytes; 0 if the disk is no local file or block device, or cannot be read. */
guint64 disk_size_read(const Disk *disk);
