/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/cursor.h"

#include <string.h>

Reader reader_init(const guint8 *data, gsize len)
{
    return (Reader){.data = data, .len = len};
}

const guint8 *reader_bytes(Reader *r, gsize n)
{
    const guint8 *p;

    if (r->failed || n > r->len - r->at) {
        r->failed = TRUE;
        return NULL;
    }
    p = r->data + r->at;
    r->at += n;
    return p;
}

/* @n bytes as one number; zero once anything failed. */
static guint64 number(Reader *r, gsize n)
{
    const guint8 *p = reader_bytes(r, n);
    guint64 v = 0;

    for (gsize i = 0; p && i < n; i++)
        v |= (guint64)p[i] << (8 * i);
    return v;
}

guint8 reader_u8(Reader *r)
{
    return (guint8)number(r, 1);
}

guint16 reader_u16(Reader *r)
{
    return (guint16)number(r, 2);
}

guint32 reader_u32(Reader *r)
{
    return (guint32)number(r, 4);
}

guint64 reader_u64(Reader *r)
{
    return number(r, 8);
}

Id reader_id(Reader *r)
{
    Id id = ID_NIL;
    const guint8 *p = reader_bytes(r, sizeof(id.bytes));

    if (p)
        memcpy(id.bytes, p, sizeof(id.bytes));
    return id;
}

const guint8 *reader_block(Reader *r, gsize cap, gsize *ret_len)
{
    gsize len = reader_u32(r);

    *ret_len = 0;
    if (len > cap)
        r->failed = TRUE;
    if (r->failed || !reader_bytes(r, len))
        return NULL;
    *ret_len = len;
    return r->data + r->at - len;
}

const guint8 *reader_rest(Reader *r, gsize *ret_len)
{
    gsize len = r->failed ? 0 : r->len - r->at;

    *ret_len = len;
    return reader_bytes(r, len);
}

gboolean reader_done(const Reader *r)
{
    return !r->failed && r->at == r->len;
}

Writer writer_init(guint8 *data, gsize cap)
{
    return (Writer){.data = data, .cap = cap};
}

void writer_bytes(Writer *w, const void *data, gsize len)
{
    g_assert(len <= w->cap - w->len);
    if (len > 0)
        memcpy(w->data + w->len, data, len);
    w->len += len;
}

static void put(Writer *w, guint64 v, gsize n)
{
    guint8 bytes[8];

    for (gsize i = 0; i < n; i++)
        bytes[i] = (guint8)(v >> (8 * i));
    writer_bytes(w, bytes, n);
}

void writer_u8(Writer *w, guint8 v)
{
    put(w, v, 1);
}

void writer_u16(Writer *w, guint16 v)
{
    put(w, v, 2);
}

void writer_u32(Writer *w, guint32 v)
{
    put(w, v, 4);
}

void writer_u64(Writer *w, guint64 v)
{
    put(w, v, 8);
}

void writer_id(Writer *w, Id id)
{
    writer_bytes(w, id.bytes, sizeof(id.bytes));
}

void writer_block(Writer *w, const void *data, gsize len)
{
    g_assert(len <= G_MAXUINT32);
    writer_u32(w, (guint32)len);
    writer_bytes(w, data, len);
}
