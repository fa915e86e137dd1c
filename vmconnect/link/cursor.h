/* SPDX-License-Identifier: Apache-2.0 */
/* cursor - reading and writing numbers in a byte buffer.
 *
 * Owns every bounds check of the protocol and remembers failure: after the
 * first read past the end all reads answer zero, so a decoder runs straight
 * down and asks reader_done() once. All integers are little-endian. */
#pragma once

#include <glib.h>

typedef struct {
    const guint8 *data;
    gsize len;
    gsize at;
    gboolean failed;
} Reader;

Reader reader_init(const guint8 *data, gsize len);
guint16 reader_u16(Reader *r);
guint32 reader_u32(Reader *r);
guint64 reader_u64(Reader *r);

/* All that is left, borrowed. */
const guint8 *reader_rest(Reader *r, gsize *ret_len);

/* Everything was there and nothing is left over. */
gboolean reader_done(const Reader *r);

/* Writes into a buffer of fixed size; writing past it is our own mistake (assert). */
typedef struct {
    guint8 *data;
    gsize cap;
    gsize len;
} Writer;

Writer writer_init(guint8 *data, gsize cap);
void writer_u16(Writer *w, guint16 v);
void writer_u32(Writer *w, guint32 v);
void writer_u64(Writer *w, guint64 v);
