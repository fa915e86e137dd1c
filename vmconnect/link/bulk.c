/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/bulk.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/link/cursor.h"

#include <limits.h>
#include <string.h>
#include <xxhash.h>

static gboolean malformed(GError **error, const char *what)
{
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "a %s frame is malformed", what);
    return FALSE;
}

json_t *attach_to_json(const Attach *attach)
{
    return json_pack("{s:s, s:s, s:o, s:s, s:O*}", "vm", ID_TEXT(attach->vm), "scenario", attach->scenario,
                     "reign", reign_to_json(attach->reign), "standby", ID_TEXT(attach->standby), "images",
                     attach->images);
}

static gboolean is_file_name(const char *name)
{
    return name && strlen(name) <= NAME_MAX && !strchr(name, '/') && !g_str_equal(name, ".") &&
           !g_str_equal(name, "..");
}

/* They become parts of paths. */
gboolean attach_are_images(const json_t *images)
{
    const char *target;
    json_t *name;

    json_object_foreach((json_t *)images, target, name)
    {
        if (!generation_is_target(target) || !is_file_name(json_string_value(name)))
            return FALSE;
    }
    return !images || json_is_object(images);
}

gboolean attach_from_json(const json_t *doc, Attach *ret_attach, GError **error)
{
    const char *vm, *scenario, *standby;
    json_t *reign, *images = NULL;
    Attach a = {0};

    if (!json_read(doc, "ATTACH", NULL, "{s:s, s:s, s:o, s:s, s?o}", "vm", &vm, "scenario", &scenario,
                   "reign", &reign, "standby", &standby, "images", &images) ||
        !id_parse(vm, &a.vm, NULL) || !id_parse(standby, &a.standby, NULL) ||
        !reign_from_json(reign, &a.reign, NULL) || !*scenario || strlen(scenario) > ATTACH_SCENARIO_MAX ||
        !attach_are_images(images))
        return malformed(error, "ATTACH");
    a.scenario = g_strdup(scenario);
    a.images = json_incref(images);
    *ret_attach = a;
    return TRUE;
}

void attach_clear(Attach *attach)
{
    g_clear_pointer(&attach->scenario, g_free);
    g_clear_pointer(&attach->images, json_decref);
}

json_t *attached_to_json(const Attached *attached)
{
    return json_pack("{s:I, s:I, s:O}", "session", (json_int_t)attached->session, "credit_bytes",
                     (json_int_t)attached->credit_bytes, "position", attached->position);
}

gboolean attached_from_json(const json_t *doc, Attached *ret_attached, GError **error)
{
    json_int_t session, credit;
    json_t *position;

    if (!json_read(doc, "ATTACHED", NULL, "{s:I, s:I, s:o}", "session", &session, "credit_bytes", &credit,
                   "position", &position) ||
        session < 1 || credit < 0 || !json_is_object(position))
        return malformed(error, "ATTACHED");
    *ret_attached = (Attached){(guint64)session, (guint64)credit, json_incref(position)};
    return TRUE;
}

void attached_clear(Attached *attached)
{
    json_decref(attached->position);
    attached->position = NULL;
}

json_t *stamp_to_json(Stamp stamp)
{
    return json_pack("{s:s, s:I}", "generation", ID_TEXT(stamp.generation), "at_ms", (json_int_t)stamp.at_ms);
}

gboolean stamp_from_json(const json_t *doc, Stamp *ret_stamp, GError **error)
{
    const char *generation;
    json_int_t at_ms;
    Stamp s;

    if (!json_read(doc, "stamp", error, "{s:s, s:I}", "generation", &generation, "at_ms", &at_ms) ||
        !id_parse(generation, &s.generation, error))
        return message_blame(error);
    s.at_ms = at_ms;
    *ret_stamp = s;
    return TRUE;
}

json_t *slow_to_json(const char *why)
{
    return json_pack("{s:s?}", "why", why);
}

gboolean slow_from_json(const json_t *doc, char **ret_why, GError **error)
{
    json_t *why;

    if (!json_read(doc, "SLOW", error, "{s:o}", "why", &why))
        return message_blame(error);
    if (!json_is_null(why) && !json_is_string(why))
        return malformed(error, "SLOW");
    *ret_why = g_strdup(json_string_value(why));
    return TRUE;
}

/* Is [offset, offset + len) a range of bytes that a disk can have? */
static gboolean is_range(guint64 offset, guint64 len)
{
    return len > 0 && len <= EXTENTS_MAX_OFFSET && offset <= EXTENTS_MAX_OFFSET - len;
}

void message_encode_data_head(const MessageData *data, guint8 out[static MESSAGE_DATA_HEAD_LEN])
{
    FrameHeader head = {MESSAGE_DATA, data->zstd ? MESSAGE_FLAG_ZSTD : 0,
                        (guint32)(MESSAGE_DATA_HEADER_LEN + data->payload_len), 0};
    Writer w = writer_init(out + FRAME_HEADER_LEN, MESSAGE_DATA_HEADER_LEN);

    g_assert(data->len > 0 && data->len <= MESSAGE_DATA_MAX && is_range(data->offset, data->len));
    g_assert(data->zstd ? data->payload_len < data->len : data->payload_len == data->len);
    frame_header_encode(head, out);
    writer_u64(&w, data->offset);
    writer_u64(&w, data->checksum);
    writer_u32(&w, data->len);
    writer_u16(&w, data->disk);
    writer_u16(&w, 0);
}

gboolean message_decode_data(const Frame *frame, MessageData *ret_data, GError **error)
{
    Reader r = reader_init(frame->payload, frame->head.len);
    MessageData d = {.zstd = (frame->head.flags & MESSAGE_FLAG_ZSTD) != 0};
    guint16 spare;

    d.offset = reader_u64(&r);
    d.checksum = reader_u64(&r);
    d.len = reader_u32(&r);
    d.disk = reader_u16(&r);
    spare = reader_u16(&r);
    d.payload = reader_rest(&r, &d.payload_len);
    if (!reader_done(&r) || spare != 0 || d.len > MESSAGE_DATA_MAX || !is_range(d.offset, d.len))
        return malformed(error, "DATA");
    if (d.zstd ? d.payload_len == 0 || d.payload_len >= d.len : d.payload_len != d.len)
        return malformed(error, "DATA");
    *ret_data = d;
    return TRUE;
}

guint64 message_checksum(const guint8 *data, gsize len)
{
    return XXH3_64bits(data, len);
}

gboolean message_verify_data(const MessageData *data, const guint8 *plain, GError **error)
{
    if (message_checksum(plain, data->len) == data->checksum)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT,
                "%u bytes of disk %u at offset %" G_GUINT64_FORMAT
                " are not what was sent; the generation is discarded and sent again",
                data->len, data->disk, data->offset);
    return FALSE;
}

static void write_range(Writer *w, MessageRange range)
{
    g_assert(is_range(range.offset, range.len));
    writer_u64(w, range.offset);
    writer_u64(w, range.len);
    writer_u16(w, range.disk);
}

static gboolean read_range(Reader *r, MessageRange *ret_range)
{
    ret_range->offset = reader_u64(r);
    ret_range->len = reader_u64(r);
    ret_range->disk = reader_u16(r);
    return !r->failed && is_range(ret_range->offset, ret_range->len);
}

GBytes *message_encode_range(MessageRange range)
{
    guint8 buf[MESSAGE_RANGE_LEN];
    Writer w = writer_init(buf, sizeof(buf));

    write_range(&w, range);
    return g_bytes_new(buf, w.len);
}

gboolean message_decode_range(const Frame *frame, MessageRange *ret_range, GError **error)
{
    Reader r = reader_init(frame->payload, frame->head.len);
    MessageRange range;

    if (!read_range(&r, &range) || !reader_done(&r))
        return malformed(error, message_name(frame->head.type));
    *ret_range = range;
    return TRUE;
}

gboolean message_decode_compare(const Frame *frame, MessageRange *ret_range, GError **error)
{
    MessageRange range;

    if (!message_decode_range(frame, &range, error))
        return FALSE;
    if (range.offset % MESSAGE_BLOCK != 0 || range.len > MESSAGE_COMPARE_MAX)
        return malformed(error, "COMPARE");
    *ret_range = range;
    return TRUE;
}

guint64 message_blocks(guint64 len)
{
    return (len + MESSAGE_BLOCK - 1) / MESSAGE_BLOCK;
}

GBytes *message_encode_hashes(const MessageHashes *hashes)
{
    gsize n = hashes->hashes ? message_blocks(hashes->range.len) * MESSAGE_HASH_LEN : 0;
    guint8 buf[MESSAGE_HASHES_FRAME_MAX];
    Writer w = writer_init(buf, sizeof(buf));

    g_assert(hashes->range.offset % MESSAGE_BLOCK == 0 && n <= MESSAGE_HASHES_MAX * MESSAGE_HASH_LEN);
    write_range(&w, hashes->range);
    if (n > 0)
        memcpy(buf + w.len, hashes->hashes, n);
    return g_bytes_new(buf, w.len + n);
}

gboolean message_decode_hashes(const Frame *frame, MessageHashes *ret_hashes, GError **error)
{
    Reader r = reader_init(frame->payload, frame->head.len);
    MessageHashes h = {0};
    gsize len;

    if (!read_range(&r, &h.range) || h.range.offset % MESSAGE_BLOCK != 0)
        return malformed(error, "HASHES");
    h.hashes = reader_rest(&r, &len);
    if (len == 0)
        h.hashes = NULL;
    else if (len % MESSAGE_HASH_LEN != 0 || len / MESSAGE_HASH_LEN != message_blocks(h.range.len))
        return malformed(error, "HASHES");
    *ret_hashes = h;
    return TRUE;
}

GBytes *message_encode_credit(guint64 bytes)
{
    guint8 buf[8];
    Writer w = writer_init(buf, sizeof(buf));

    writer_u64(&w, bytes);
    return g_bytes_new(buf, w.len);
}

gboolean message_decode_credit(const Frame *frame, guint64 *ret_bytes, GError **error)
{
    Reader r = reader_init(frame->payload, frame->head.len);
    guint64 bytes = reader_u64(&r);

    /* The sum of all credits stays far from overflowing. */
    if (!reader_done(&r) || bytes == 0 || bytes > G_MAXUINT32)
        return malformed(error, "CREDIT");
    *ret_bytes = bytes;
    return TRUE;
}
