/* SPDX-License-Identifier: Apache-2.0 */
/* bulk - the bodies of the messages between an active and a standby.
 *
 * Encoder and decoder side by side. Decoders check shape and range (PROTOCOL);
 * whether it makes sense here and now is order.h's and the receiver's. */
#pragma once

#include "vmconnect/base/extents.h"
#include "vmconnect/base/generation.h"
#include "vmconnect/link/message.h"

#include <glib.h>
#include <jansson.h>

#define ATTACH_SCENARIO_MAX 64 /* bytes of a scenario's name */

/* ATTACH: an active presents itself. */
typedef struct {
    Id vm;
    char *scenario;
    Reign reign;
    Id standby; /* whom the active means to talk to */
    /* {TARGET: name of its image's file, without folder, or ""}, of all disks; NULL: not told. Since
     * HELLO_VERSION_COMPARE. */
    json_t *images;
} Attach;

json_t *attach_to_json(const Attach *attach);
/* Are these images of disks, as Attach has them, or NULL? Their names become parts of paths. */
gboolean attach_are_images(const json_t *images);

/* ret->scenario is the caller's, and ret->images a reference. */
gboolean attach_from_json(const json_t *doc, Attach *ret_attach, GError **error);
void attach_clear(Attach *attach);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Attach, attach_clear)

/* ATTACHED: what the standby has, durably. It has ended or discarded everything
 * of older sessions of this VM before it says so. */
typedef struct {
    guint64 session;      /* the standby's count, for its log */
    guint64 credit_bytes; /* payload that may be under way */
    json_t *position;     /* an object: replicate's document */
} Attached;

json_t *attached_to_json(const Attached *attached);
/* ret->position is a reference of the caller's. */
gboolean attached_from_json(const json_t *doc, Attached *ret_attached, GError **error);
void attached_clear(Attached *attached);

/* SEALED {generation, sealed_at}, CONFIRM and CONFIRMED {generation, at}: a
 * generation and a wall-clock instant, for people. */
typedef struct {
    Id generation;
    gint64 at_ms;
} Stamp;

json_t *stamp_to_json(Stamp stamp);
gboolean stamp_from_json(const json_t *doc, Stamp *ret_stamp, GError **error);

/* SLOW {why}: stop cutting for a while; NULL: go on. The caller frees. */
json_t *slow_to_json(const char *why);
gboolean slow_from_json(const json_t *doc, char **ret_why, GError **error);

/* BEGIN carries generation_to_json(), SEAL generation_to_json_packed(); SLICE, SLICE_KEPT, DISCARD and
 * DISCARDED an object whose keys belong to replicate. */

/* DATA: bytes of one disk.
 *   0 u64 offset   8 u64 XXH3-64 of the uncompressed bytes
 *  16 u32 len (uncompressed, 1 … 1 MiB)   20 u16 disk   22 u16 zero   24 payload */
typedef struct {
    guint64 offset;
    guint64 checksum;
    guint32 len;
    guint16 disk; /* index into the generation's disks */
    gboolean zstd;
    const guint8 *payload; /* borrowed */
    gsize payload_len;     /* == len unless zstd, then less */
} MessageData;

/* The frame's head without the payload: FRAME_HEADER_LEN + MESSAGE_DATA_HEADER_LEN bytes. */
#define MESSAGE_DATA_HEAD_LEN (FRAME_HEADER_LEN + MESSAGE_DATA_HEADER_LEN)
void message_encode_data_head(const MessageData *data, guint8 out[static MESSAGE_DATA_HEAD_LEN]);

/* ret->payload borrows from @frame. Checks shape and range, not the checksum. */
gboolean message_decode_data(const Frame *frame, MessageData *ret_data, GError **error);

guint64 message_checksum(const guint8 *data, gsize len);

/* @plain: data->len uncompressed bytes. CORRUPT if they are not what was sent. */
gboolean message_verify_data(const MessageData *data, const guint8 *plain, GError **error);

/* u64 offset, u64 len (1 or more), u16 disk: the body of
 * ZERO: reads as zeros;
 * COMPARE: hash what lies there, begun at a whole block, at most MESSAGE_COMPARE_MAX;
 * SAME: what lies there is what would be sent. */
typedef struct {
    guint64 offset;
    guint64 len;
    guint16 disk;
} MessageRange;

GBytes *message_encode_range(MessageRange range);
gboolean message_decode_range(const Frame *frame, MessageRange *ret_range, GError **error);
gboolean message_decode_compare(const Frame *frame, MessageRange *ret_range, GError **error);

/* HASHES: the range as above, begun at a whole block; then for each block of it, of which the last may be shorter,
 * its hash, as digest.h has it; or nothing more: all of it reads as zeros. */
typedef struct {
    MessageRange range;
    const guint8 *hashes; /* borrowed, MESSAGE_HASH_LEN each; NULL: a hole */
} MessageHashes;

/* How many blocks a range has that begins at a whole one. */
guint64 message_blocks(guint64 len);

GBytes *message_encode_hashes(const MessageHashes *hashes);
/* ret->hashes borrows from @frame. */
gboolean message_decode_hashes(const Frame *frame, MessageHashes *ret_hashes, GError **error);

/* CREDIT: u64 more bytes of DATA payload may be sent. */
GBytes *message_encode_credit(guint64 bytes);
gboolean message_decode_credit(const Frame *frame, guint64 *ret_bytes, GError **error);
