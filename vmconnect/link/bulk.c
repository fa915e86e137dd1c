/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/bulk.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/link/cursor.h"

#include <string.h>
#include <xxhash.h>

static gboolean malformed(GError **error, const char *what)
{
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "a %s frame is malformed", what);
    return FALSE;
}

/* An Id that may be null. */
static json_t *id_or_null(Id id)
{
    return id_is_nil(id) ? json_null() : json_string(ID_TEXT(id));
}

static gboolean id_from_json(const json_t *doc, Id *ret_id, GError **error)
{
    *ret_id = ID_NIL;
    if (json_is_null(doc))
        return TRUE;
    return id_parse(json_is_string(doc) ? json_string_value(doc) : "", ret_id, error);
}

json_t *attach_to_json(const Attach *attach)
{
    return json_pack("{s:s, s:s, s:o, s:s, s:I}", "vm", ID_TEXT(attach->vm), "scenario",
                     ID_TEXT(attach->scenario), "reign", reign_to_json(attach->reign), "standby",
                     ID_TEXT(attach->standby), "session", (json_int_t)attach->session);
}

gboolean attach_from_json(const json_t *doc, Attach *ret_attach, GError **error)
{
    const char *vm, *scenario, *standby;
    json_t *reign;
    json_int_t session;
    Attach a;

    if (!json_read(doc, "ATTACH", error, "{s:s, s:s, s:o, s:s, s:I}", "vm", &vm, "scenario", &scenario,
                   "reign", &reign, "standby", &standby, "session", &session) ||
        !id_parse(vm, &a.vm, error) || !id_parse(scenario, &a.scenario, error) ||
        !id_parse(standby, &a.standby, error) || !reign_from_json(reign, &a.reign, error))
        return message_blame(error);
    if (session < 1)
        return malformed(error, "ATTACH");
    a.session = (guint64)session;
    *ret_attach = a;
    return TRUE;
}

json_t *attached_to_json(const Attached *attached)
{
    json_t *partial = attached->partial ? json_incref(attached->partial) : json_null();

    return json_pack("{s:I, s:o, s:o, s:I}", "session", (json_int_t)attached->session, "tip",
                     id_or_null(attached->tip), "partial", partial, "credit_bytes",
                     (json_int_t)attached->credit_bytes);
}

gboolean attached_from_json(const json_t *doc, Attached *ret_attached, GError **error)
{
    json_t *tip, *partial;
    json_int_t session, credit;
    Attached a;

    if (!json_read(doc, "ATTACHED", error, "{s:I, s:o, s:o, s:I}", "session", &session, "tip", &tip,
                   "partial", &partial, "credit_bytes", &credit) ||
        !id_from_json(tip, &a.tip, error))
        return message_blame(error);
    if (session < 1 || credit < 0 || !(json_is_null(partial) || json_is_object(partial)))
        return malformed(error, "ATTACHED");
    a.session = (guint64)session;
    a.credit_bytes = (guint64)credit;
    a.partial = json_is_null(partial) ? NULL : json_incref(partial);
    *ret_attached = a;
    return TRUE;
}

void attached_clear(Attached *attached)
{
    json_decref(attached->partial);
    attached->partial = NULL;
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

GBytes *message_encode_zero(MessageZero zero)
{
    guint8 buf[MESSAGE_ZERO_LEN];
    Writer w = writer_init(buf, sizeof(buf));

    g_assert(is_range(zero.offset, zero.len));
    writer_u64(&w, zero.offset);
    writer_u64(&w, zero.len);
    writer_u16(&w, zero.disk);
    return g_bytes_new(buf, w.len);
}

gboolean message_decode_zero(const Frame *frame, MessageZero *ret_zero, GError **error)
{
    Reader r = reader_init(frame->payload, frame->head.len);
    MessageZero z;

    z.offset = reader_u64(&r);
    z.len = reader_u64(&r);
    z.disk = reader_u16(&r);
    if (!reader_done(&r) || !is_range(z.offset, z.len))
        return malformed(error, "ZERO");
    *ret_zero = z;
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

GBytes *message_encode_extents(guint16 disk, const Extents *set, guint *from)
{
    g_autoptr(Extents) part = extents_new();
    g_autoptr(GBytes) body = NULL;
    guint end = MIN(extents_count(set), *from + MESSAGE_EXTENTS_MAX);
    guint8 *out;
    Writer w;

    g_assert(*from < extents_count(set));
    for (; *from < end; (*from)++)
        extents_add(part, extents_at(set, *from).offset, extents_at(set, *from).len);
    body = extents_encode(part);
    out = g_malloc(2 + g_bytes_get_size(body));
    w = writer_init(out, 2 + g_bytes_get_size(body));
    writer_u16(&w, disk);
    writer_bytes(&w, g_bytes_get_data(body, NULL), g_bytes_get_size(body));
    return g_bytes_new_take(out, w.len);
}

Extents *message_decode_extents(const Frame *frame, guint16 *ret_disk, GError **error)
{
    Reader r = reader_init(frame->payload, frame->head.len);
    guint16 disk = reader_u16(&r);
    gsize len;
    const guint8 *body = reader_rest(&r, &len);
    Extents *set;

    if (!reader_done(&r)) {
        malformed(error, "EXTENTS");
        return NULL;
    }
    set = extents_decode(body, len, error);
    if (set)
        *ret_disk = disk;
    return set;
}
