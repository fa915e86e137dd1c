/* SPDX-License-Identifier: Apache-2.0 */
/* obeyed - the newest memory of its controller that this engine has followed.
 *
 * A controller raises its incarnation durably at each start, and far at `accept-copy`. An engine that has followed one obeys none
 * below it: what a copy of the controller's database, put back or started elsewhere, still believes does
 * no harm. A controller's whole machine that is put back to an instant after its last start but one is not noticed. The file names
 * its machine; found on another one it counts for nothing. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

typedef struct {
    Id controller; /* nil: none yet */
    guint64 incarnation;
} Obeyed;

/* No file is none obeyed. FALSE with @error: CORRUPT, IO. */
gboolean obeyed_read(const char *path, Obeyed *ret, GError **error);
/* Durable when it returns TRUE. */
gboolean obeyed_write(const char *path, const Obeyed *obeyed, GError **error);

/* May @controller, as it remembers at @incarnation, command after @known? */
gboolean obeyed_allows(const Obeyed *known, Id controller, guint64 incarnation);
gboolean obeyed_equal(const Obeyed *a, const Obeyed *b);
