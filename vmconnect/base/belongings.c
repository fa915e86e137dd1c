/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/belongings.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>
#include <zstd.h>

#define DIGEST_LEN 64
#define TPM_NAME_MAX 64
#define LEVEL 1
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

void belonging_free(Belonging *b)
{
    if (!b)
        return;
    g_free(b->name);
    g_free(b->digest);
    g_clear_pointer(&b->packed, g_bytes_unref);
    g_free(b);
}

GPtrArray *belongings_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)belonging_free);
}

static Belonging *describe(const char *name, guint64 size_bytes, const char *digest)
{
    Belonging *b = g_new0(Belonging, 1);

    b->name = g_strdup(name);
    b->size_bytes = size_bytes;
    b->digest = g_strdup(digest);
    return b;
}

Belonging *belonging_copy(const Belonging *b)
{
    Belonging *copy = describe(b->name, b->size_bytes, b->digest);

    copy->packed = b->packed ? g_bytes_ref(b->packed) : NULL;
    return copy;
}

GPtrArray *belongings_copy(const GPtrArray *set)
{
    GPtrArray *copy = belongings_new();

    for (guint i = 0; i < set->len; i++)
        g_ptr_array_add(copy, belonging_copy(set->pdata[i]));
    return copy;
}

/* They become file names: nothing hidden, nothing temporary, no other folder. */
static gboolean is_tpm_name(const char *name)
{
    const char *file = g_str_has_prefix(name, "tpm2/")     ? name + strlen("tpm2/")
                       : g_str_has_prefix(name, "tpm1.2/") ? name + strlen("tpm1.2/")
                                                           : "";
    gsize len = strspn(file, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return len > 0 && len <= TPM_NAME_MAX && file[len] == '\0' && *file != '.' &&
           !g_str_has_prefix(file, "TMP");
}

guint64 belonging_max_bytes(const char *name)
{
    if (g_str_equal(name, BELONGINGS_NVRAM))
        return BELONGINGS_NVRAM_MAX;
    return is_tpm_name(name) ? BELONGINGS_TPM_MAX : 0;
}

/* --- packing ----------------------------------------------------------- */

static GBytes *pack(const void *data, gsize len)
{
    gsize room = ZSTD_compressBound(len);
    guint8 *out = g_malloc(room);
    gsize n = ZSTD_compress(out, room, data, len, LEVEL);

    g_assert(!ZSTD_isError(n));
    return g_bytes_new_take(g_realloc(out, n), n);
}

Belonging *belonging_new(const char *name, const void *data, gsize len)
{
    g_autofree char *digest = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, len);
    Belonging *b = describe(name, len, digest);

    g_assert(len <= belonging_max_bytes(name));
    b->packed = pack(data, len);
    return b;
}

GBytes *belonging_unpack(const Belonging *b, GError **error)
{
    g_autofree guint8 *data = g_malloc(MAX(b->size_bytes, 1));
    g_autofree char *digest = NULL;
    gsize len = b->size_bytes;
    gsize packed_len, n;
    const void *packed;

    g_assert(b->packed);
    packed = g_bytes_get_data(b->packed, &packed_len);
    n = ZSTD_decompress(data, len, packed, packed_len);
    if (!ZSTD_isError(n) && n == len) {
        digest = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, len);
        if (g_str_equal(digest, b->digest))
            return g_bytes_new_take(g_steal_pointer(&data), len);
    }
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "%s is not what its digest says", b->name);
    return NULL;
}

/* --- sets -------------------------------------------------------------- */

const Belonging *belongings_find(const GPtrArray *set, const char *name)
{
    for (guint i = 0; i < set->len; i++) {
        const Belonging *b = set->pdata[i];

        if (g_str_equal(b->name, name))
            return b;
    }
    return NULL;
}

gboolean belongings_has_digest(const GPtrArray *set, const char *digest)
{
    for (guint i = 0; set && i < set->len; i++)
        if (g_str_equal(((const Belonging *)set->pdata[i])->digest, digest))
            return TRUE;
    return FALSE;
}

gboolean belongings_equal(const GPtrArray *a, const GPtrArray *b)
{
    if (a->len != b->len)
        return FALSE;
    for (guint i = 0; i < a->len; i++) {
        const Belonging *x = a->pdata[i];
        const Belonging *y = b->pdata[i];

        if (!g_str_equal(x->name, y->name) || !g_str_equal(x->digest, y->digest))
            return FALSE;
    }
    return TRUE;
}

/* --- JSON -------------------------------------------------------------- */

static json_t *to_json(const Belonging *b)
{
    return json_pack("{s:s, s:I, s:s}", "name", b->name, "size_bytes", (json_int_t)b->size_bytes, "sha256",
                     b->digest);
}

json_t *belongings_to_json(const GPtrArray *set)
{
    json_t *list = json_array();

    for (guint i = 0; i < set->len; i++)
        json_array_append_new(list, to_json(set->pdata[i]));
    return list;
}

json_t *belongings_to_json_packed(const GPtrArray *set, const GPtrArray *known)
{
    json_t *list = json_array();

    for (guint i = 0; i < set->len; i++) {
        const Belonging *b = set->pdata[i];
        json_t *doc = to_json(b);

        if (b->packed && !belongings_has_digest(known, b->digest)) {
            gsize len;
            const guchar *data = g_bytes_get_data(b->packed, &len);
            g_autofree char *text = g_base64_encode(data, len);

            json_object_set_new(doc, "zstd", json_string(text));
        }
        json_array_append_new(list, doc);
    }
    return list;
}

static gboolean malformed(GError **error)
{
    g_set_error(error, US_ERROR, US_ERROR_USAGE,
                "firmware variables or TPM state are named, sized or sorted wrongly");
    return FALSE;
}

static gboolean is_digest(const char *text)
{
    return strlen(text) == DIGEST_LEN && strspn(text, "0123456789abcdef") == DIGEST_LEN;
}

/* @room: what is left of the set's compressed bytes. */
static gboolean read_packed(Belonging *b, const json_t *zstd, gsize *room, GError **error)
{
    gsize text_len = json_string_length(zstd);
    guchar *data;
    gsize len;

    if (!zstd)
        return TRUE;
    if (!json_is_string(zstd) || text_len == 0 || text_len > BASE64_LEN(*room))
        return malformed(error);
    data = g_base64_decode(json_string_value(zstd), &len);
    b->packed = g_bytes_new_take(data, len);
    *room -= MIN(*room, len);
    return len > 0 || malformed(error);
}

static Belonging *read_one(const json_t *doc, gsize *room, GError **error)
{
    g_autoptr(Belonging) b = NULL;
    const char *name, *digest;
    json_t *zstd = NULL;
    json_int_t size;

    if (!json_read(doc, "belonging", error, "{s:s, s:I, s:s, s?o}", "name", &name, "size_bytes", &size,
                   "sha256", &digest, "zstd", &zstd))
        return NULL;
    if (belonging_max_bytes(name) == 0 || size < 0 || (guint64)size > belonging_max_bytes(name) ||
        !is_digest(digest)) {
        malformed(error);
        return NULL;
    }
    b = describe(name, (guint64)size, digest);
    return read_packed(b, zstd, room, error) ? g_steal_pointer(&b) : NULL;
}

GPtrArray *belongings_from_json(const json_t *doc, GError **error)
{
    g_autoptr(GPtrArray) set = belongings_new();
    gsize room = BELONGINGS_PACKED_MAX;

    if (!json_is_array(doc) || json_array_size(doc) > BELONGINGS_MAX) {
        malformed(error);
        return NULL;
    }
    for (gsize i = 0; i < json_array_size(doc); i++) {
        Belonging *b = read_one(json_array_get(doc, i), &room, error);
        const Belonging *before = i ? set->pdata[i - 1] : NULL;

        if (!b)
            return NULL;
        g_ptr_array_add(set, b);
        if (before && strcmp(before->name, b->name) >= 0) {
            malformed(error);
            return NULL;
        }
    }
    return g_steal_pointer(&set);
}
