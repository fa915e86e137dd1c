/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/id.h"

#include "vmconnect/base/error.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static void random_bytes(guint8 *buf, gsize len)
{
    /* At most 256 bytes after start-up never blocks and is never short (getrandom(2)). */
    gssize n = getrandom(buf, len, 0);

    g_assert(n == (gssize)len);
}

Id id_random(void)
{
    Id id;

    random_bytes(id.bytes, sizeof(id.bytes));
    id.bytes[6] = (id.bytes[6] & 0x0f) | 0x40;
    id.bytes[8] = (id.bytes[8] & 0x3f) | 0x80;
    return id;
}

static gboolean is_dash(int i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

gboolean id_parse(const char *text, Id *ret_id, GError **error)
{
    Id id;
    int n = 0;

    if (strnlen(text, ID_TEXT_LEN + 1) != ID_TEXT_LEN)
        goto bad;
    for (int i = 0; i < ID_TEXT_LEN;) {
        if (is_dash(i)) {
            if (text[i++] != '-')
                goto bad;
            continue;
        }
        if (!g_ascii_isxdigit(text[i]) || !g_ascii_isxdigit(text[i + 1]))
            goto bad;
        id.bytes[n++] = g_ascii_xdigit_value(text[i]) << 4 | g_ascii_xdigit_value(text[i + 1]);
        i += 2;
    }
    g_assert(n == 16);
    *ret_id = id;
    return TRUE;
bad:
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%.64s' is not a UUID", text);
    return FALSE;
}

char *id_format(Id id, char buf[static ID_TEXT_LEN + 1])
{
    char *p = buf;

    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        p += sprintf(p, "%02x", id.bytes[i]);
    }
    return buf;
}

gboolean id_equal(Id a, Id b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

gboolean id_is_nil(Id id)
{
    return id_equal(id, ID_NIL);
}

gboolean id_is_in(Id id, const GArray *ids)
{
    for (guint i = 0; i < ids->len; i++)
        if (id_equal(g_array_index(ids, Id, i), id))
            return TRUE;
    return FALSE;
}

guint id_hash(gconstpointer id)
{
    guint h;

    memcpy(&h, ((const Id *)id)->bytes, sizeof(h));
    return h;
}

gboolean id_equal_func(gconstpointer a, gconstpointer b)
{
    return id_equal(*(const Id *)a, *(const Id *)b);
}
