/* SPDX-License-Identifier: Apache-2.0 */
/* id - a UUID: generations, reigns, VMs, plans are named by one.
 *
 * Held as 16 bytes, big-endian as RFC 9562 writes it; the text form is always
 * the 36 lower-case characters. The nil UUID means "none". */
#pragma once

#include <glib.h>

#define ID_TEXT_LEN 36

typedef struct {
    guint8 bytes[16];
} Id;

#define ID_NIL ((Id){{0}})

/* A random (version 4) UUID from the kernel's generator. */
Id id_random(void);

/* FALSE with @error USAGE unless @text is exactly one UUID in its 36-character form (either case). */
gboolean id_parse(const char *text, Id *ret_id, GError **error);

/* Write the text form and a NUL into @buf and return @buf. */
char *id_format(Id id, char buf[static ID_TEXT_LEN + 1]);

/* For messages: the text form in a compound literal that lives as long as the enclosing block. */
#define ID_TEXT(id) id_format((id), (char[ID_TEXT_LEN + 1]){0})

gboolean id_equal(Id a, Id b);
gboolean id_is_nil(Id id);
/* Is it in @ids, an array of Id? */
gboolean id_is_in(Id id, const GArray *ids);

/* For GHashTable with `Id *` keys. */
guint id_hash(gconstpointer id);
gboolean id_equal_func(gconstpointer a, gconstpointer b);
