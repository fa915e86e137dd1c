/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/qcow2_header.h"

#include "vmconnect/base/error.h"

#include <string.h>

#define MAGIC 0x514649fbu /* "QFI\xfb" */

/* Bits of the features that a reader must know; of version 3. */
#define CORRUPT (1u << 1)
#define DATA_FILE (1u << 2)

enum { AT_MAGIC = 0, AT_VERSION = 4, AT_BACKING = 8, AT_SIZE = 24, AT_CRYPT = 32, AT_INCOMPATIBLE = 72 };
G_STATIC_ASSERT(AT_INCOMPATIBLE + 8 == QCOW2_HEADER_LEN);

static guint32 u32_at(const guint8 *data, gsize at)
{
    guint32 n;

    memcpy(&n, data + at, sizeof(n));
    return GUINT32_FROM_BE(n);
}

static guint64 u64_at(const guint8 *data, gsize at)
{
    return (guint64)u32_at(data, at) << 32 | u32_at(data, at + 4);
}

gboolean qcow2_header_decode(const guint8 *data, gsize len, Qcow2Header *ret_header, GError **error)
{
    guint32 version;
    guint64 features;

    if (len < QCOW2_HEADER_LEN || u32_at(data, AT_MAGIC) != MAGIC) {
        g_set_error_literal(error, US_ERROR, US_ERROR_CORRUPT, "it is not a qcow2 image");
        return FALSE;
    }
    version = u32_at(data, AT_VERSION);
    if (version != 2 && version != 3) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT,
                    "it is a qcow2 image of version %u, which is not known", version);
        return FALSE;
    }
    features = version == 3 ? u64_at(data, AT_INCOMPATIBLE) : 0;
    *ret_header = (Qcow2Header){.size_bytes = u64_at(data, AT_SIZE),
                                .has_backing = u64_at(data, AT_BACKING) != 0,
                                .has_data_file = (features & DATA_FILE) != 0,
                                .encrypted = u32_at(data, AT_CRYPT) != 0,
                                .corrupt = (features & CORRUPT) != 0};
    return TRUE;
}
