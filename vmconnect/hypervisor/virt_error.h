/* SPDX-License-Identifier: Apache-2.0 */
/* virt_error - libvirt's last error of this thread as one of ours. */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

/* virt_error(GError **error, const char *format, ...): set @error to
 * "@format…: libvirt's text". UNREACHABLE when the connection is the cause (the
 * guest may be well), BUSY when another job holds the domain, NOT_FOUND, EXISTS,
 * REFUSED, UNSUPPORTED, DENIED, TIMEOUT, else FAILED. Always FALSE, so that a
 * caller can return it.
 *
 * A macro, because virDomainGetName() and its like forget the last error, and
 * stand among the arguments: it is taken before they are evaluated. */
#define virt_error(error, ...)                                  \
    ({                                                          \
        virErrorPtr virt_error_last = virSaveLastError();       \
        virt_error_take(virt_error_last, (error), __VA_ARGS__); \
    })
gboolean virt_error_take(virErrorPtr last, GError **error, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* libvirt's code of this thread's last error, VIR_ERR_OK if there is none. */
int virt_error_code(void);

/* For g_autoptr: virDomain, virConnect, virNetwork, virStream. */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomain, virDomainFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virConnect, virConnectClose)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virNetwork, virNetworkFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStream, virStreamFree)
