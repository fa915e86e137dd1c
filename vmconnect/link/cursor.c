/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/cursor.h"

Reader reader_init(const guint8 *data, gsize len)
{
    return (Reader){.data = data, .len = len};
}

/* @n bytes, borrowed from the buffer; NULL if they are not there. */
static const guint8 *bytes(Reader *r, gsize n)
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
    const guint8 *p = bytes(r, n);
    guint64 v = 0;

    for (gsize i = 0; p && i < n; i++)
        v |= (guint64)p[i] << (8 * i);
    return v;
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

const guint8 *reader_rest(Reader *r, gsize *ret_len)
{
    gsize len = r->failed ? 0 : r->len - r->at;

    *ret_len = len;
    return bytes(r, len);
}

gboolean reader_done(const Reader *r)
{
    return !r->failed && r->at == r->len;
}

Writer writer_init(guint8 *data, gsize cap)
{
    return (Writer){.data = data, .cap = cap};
}

static void put(Writer *w, guint64 v, gsize n)
{
    g_assert(n <= w->cap - w->len);
    for (gsize i = 0; i < n; i++)
        w->data[w->len++] = (guint8)(v >> (8 * i));
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
