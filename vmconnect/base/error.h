/* SPDX-License-Identifier: Apache-2.0 */
/* error - the one error domain of the project.
 *
 * Codes say what the caller can do about it, not where it happened; the
 * message says cause, consequence for protection, next step. The command
 * line's exit codes and the API's HTTP statuses are both derived from these
 * codes, by the two tables in error.c and nowhere else. */
#pragma once

#include <glib.h>

/*    code          name on the wire  exit  HTTP */
#define US_ERROR_CODES(X)                                                                     \
    X(FAILED, "failed", 1, 500)           /* it was tried and did not work */                 \
    X(USAGE, "usage", 2, 400)             /* the request itself is wrong */                   \
    X(VERIFY, "verify", 3, 422)           /* verification found errors */                     \
    X(REFUSED, "refused", 4, 409)         /* would be unsafe in this state */                 \
    X(OVERTAKEN, "overtaken", 4, 409)     /* a higher reign is known: this one is over */     \
    X(UNREACHABLE, "unreachable", 5, 502) /* host, libvirtd or controller does not answer */  \
    X(DENIED, "denied", 6, 403)           /* not allowed: certificate, token, owner */        \
    X(TIMEOUT, "timeout", 7, 504)         /* a deadline passed */                             \
    X(NOT_FOUND, "not-found", 1, 404)     /* no such thing */                                 \
    X(EXISTS, "exists", 4, 409)           /* there already */                                 \
    X(BUSY, "busy", 4, 409)               /* somebody else's job or lock; try again later */  \
    X(CANCELLED, "cancelled", 1, 409)     /* given up on request */                           \
    X(UNSUPPORTED, "unsupported", 4, 422) /* this disk, device or version cannot do it */     \
    X(PROTOCOL, "protocol", 1, 502)       /* the peer broke the protocol */                   \
    X(CORRUPT, "corrupt", 1, 500)         /* a file of ours is not what we wrote */           \
    X(IO, "io", 1, 500)                   /* the file system or a socket failed */            \
    X(NO_SPACE, "no-space", 1, 507)       /* a file system is full */                         \
    X(TRACKING_LOST, "tracking-lost", 1,                                                      \
      500)                    /* what changed is not known any more: send everything again */ \
    X(STUCK, "stuck", 1, 500) /* libvirt lost a job or a VM */

typedef enum {
#define X(code, wire, exit, http) US_ERROR_##code,
    US_ERROR_CODES(X)
#undef X
} UsError;

#define US_ERROR (us_error_quark())
GQuark us_error_quark(void);

/* The name of @code on the wire and in JSON; the reverse answers FAILED for a
 * name that this version does not know, so that a newer peer's error stays an error. */
const char *us_error_name(UsError code);
UsError us_error_from_name(const char *name);

/* Exit code of the command line and HTTP status for any GError; a foreign
 * domain counts as FAILED. */
int us_error_exit(const GError *error);
int us_error_http(const GError *error);

/* May it be otherwise in a moment: UNREACHABLE, TIMEOUT, BUSY, CANCELLED? FALSE for NULL. */
gboolean us_error_may_pass(const GError *error);

/* Set @error from errno: NO_SPACE for ENOSPC and EDQUOT, NOT_FOUND for ENOENT,
 * DENIED for EACCES and EPERM, IO otherwise. The text is "@format…: strerror".
 * Always FALSE, so that a caller can return it. */
gboolean us_error_errno(GError **error, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);
