/* SPDX-License-Identifier: Apache-2.0 */
/* virt_error - libvirt's last error of this thread as one of ours. */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

/* Set @error to "@format…: libvirt's text". UNREACHABLE when the connection is
 * the cause (the guest may be well), BUSY when another job holds the domain,
 * NOT_FOUND, EXISTS, REFUSED, UNSUPPORTED, DENIED, TIMEOUT, else FAILED.
 * Always FALSE, so that a caller can return it. */
gboolean virt_error(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* libvirt's code of this thread's last error, VIR_ERR_OK if there is none. */
int virt_error_code(void);

/* For g_autoptr: virDomain, virConnect, virNetwork. */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomain, virDomainFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virConnect, virConnectClose)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virNetwork, virNetworkFree)
