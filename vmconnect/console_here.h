/* SPDX-License-Identifier: Apache-2.0 */
/* console_here - what `understudy-engine console VM` does: the serial console of a VM that a test of this host has up.
 *
 * What is typed goes there, what it says comes back; Ctrl-] ends it, as virsh has it. Without a terminal it goes on until its input has ended
 * and the guest has said nothing for a second. What is done there is thrown away with the test. */
#pragma once

#include <glib.h>

typedef struct {
    const char *libvirt_uri;
    const char *policy; /* file */
} ConsolePlace;

/* @vm: name or UUID of the VM that is tested. NOT_FOUND: no copy of it is kept here, or it is not being tested, or has no serial port;
 * BUSY or UNREACHABLE: QEMU serves one at a time. */
gboolean console_here(const ConsolePlace *place, const char *vm, GError **error);
