/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of frames as a peer may send it: first byte side and purpose, then the stream.
 * What is accepted must be within the table, and decode or be refused; what decodes
 * encodes to the same bytes. */
#include "vmconnect/link/bulk.h"
#include "vmconnect/link/intake.h"
#include "vmconnect/link/order.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

typedef struct {
    Side sender;
    Purpose purpose;
} Wire;

static gboolean allow(void *user, FrameHeader head, GError **error)
{
    const Wire *wire = user;

    return message_check(head, wire->sender, wire->purpose, error);
}

static void check_data(const Frame *frame)
{
    guint8 head[MESSAGE_DATA_HEAD_LEN];
    MessageData d;

    if (!message_decode_data(frame, &d, NULL))
        return;
    g_assert(d.len >= 1 && d.len <= MESSAGE_DATA_MAX && d.offset <= EXTENTS_MAX_OFFSET - d.len);
    message_encode_data_head(&d, head);
    g_assert(memcmp(head + FRAME_HEADER_LEN, frame->payload, MESSAGE_DATA_HEADER_LEN) == 0);
    if (!d.zstd)
        message_verify_data(&d, d.payload, NULL);
}

static void check_same(const Frame *frame, GBytes *bytes)
{
    g_assert(g_bytes_get_size(bytes) == frame->head.len);
    g_assert(memcmp(g_bytes_get_data(bytes, NULL), frame->payload, frame->head.len) == 0);
    g_bytes_unref(bytes);
}

static void check_json(const Frame *frame)
{
    json_auto_t *doc = message_decode_json(frame, NULL);
    g_autoptr(Generation) generation = NULL;
    g_autofree char *why = NULL;
    g_auto(Attach) attach = {0};
    Attached attached;
    Stamp stamp;

    if (!doc)
        return;
    attach_from_json(doc, &attach, NULL);
    if (attached_from_json(doc, &attached, NULL))
        attached_clear(&attached);
    stamp_from_json(doc, &stamp, NULL);
    slow_from_json(doc, &why, NULL);
    generation = generation_from_json(doc, NULL);
    if (generation)
        json_decref(generation_to_json(generation));
}

static void check_frame(const Frame *frame)
{
    MessageRange range;
    MessageHashes hashes;
    guint64 credit;
    g_autoptr(GError) fail = NULL;

    switch (frame->head.type) {
    case MESSAGE_DATA:
        check_data(frame);
        break;
    case MESSAGE_ZERO:
    case MESSAGE_SAME:
        if (message_decode_range(frame, &range, NULL))
            check_same(frame, message_encode_range(range));
        break;
    case MESSAGE_COMPARE:
        if (message_decode_compare(frame, &range, NULL))
            check_same(frame, message_encode_range(range));
        break;
    case MESSAGE_HASHES:
        if (message_decode_hashes(frame, &hashes, NULL))
            check_same(frame, message_encode_hashes(&hashes));
        break;
    case MESSAGE_CREDIT:
        if (message_decode_credit(frame, &credit, NULL))
            check_same(frame, message_encode_credit(credit));
        break;
    case MESSAGE_FAIL:
        fail = message_decode_fail(frame);
        g_assert(fail);
        break;
    default:
        check_json(frame);
    }
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    static const Purpose PURPOSES[] = {PURPOSE_CONTROL, PURPOSE_BULK, PURPOSE_ENROL, PURPOSE_PEER};
    BulkState state = BULK_FRESH;
    Intake intake;
    Wire wire;

    if (len == 0)
        return 0;
    wire =
        (Wire){data[0] & 1 ? SIDE_LISTENER : SIDE_DIALER, PURPOSES[(data[0] >> 1) % G_N_ELEMENTS(PURPOSES)]};
    data++;
    len--;
    intake_init(&intake, allow, &wire);
    while (len > 0) {
        Frame *frame = NULL;
        gsize room;
        guint8 *to = intake_room(&intake, &room);
        gsize n = MIN(room, len);

        memcpy(to, data, n);
        data += n;
        len -= n;
        if (!intake_put(&intake, n, &frame, NULL))
            break;
        if (frame) {
            check_frame(frame);
            bulk_step(&state, frame->head.type, NULL);
        }
        frame_free(frame);
    }
    intake_clear(&intake);
    return 0;
}
