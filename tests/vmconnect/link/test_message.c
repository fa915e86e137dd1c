/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes on the wire: golden, round trip, and what is refused. */
#include "vmconnect/base/error.h"
#include "vmconnect/link/bulk.h"
#include "vmconnect/link/cursor.h"
#include "vmconnect/link/hello.h"
#include "vmconnect/link/intake.h"
#include "vmconnect/link/order.h"
#include "vmconnect/link/sendq.h"

#include <string.h>

static void assert_bytes(const guint8 *data, gsize len, const char *hex)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (gsize i = 0; i < len; i++)
        g_string_append_printf(text, "%02x", data[i]);
    g_assert_cmpstr(text->str, ==, hex);
}

static Frame *frame_of(MessageType type, guint16 flags, GBytes *payload)
{
    gsize len;
    const guint8 *data = g_bytes_get_data(payload, &len);
    Frame *frame = frame_new((FrameHeader){type, flags, (guint32)len, 0});

    if (len > 0)
        memcpy(frame->payload, data, len);
    return frame;
}

static Frame *frame_json(MessageType type, json_t *doc)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) payload = message_encode_json(type, doc, &error);

    g_assert_no_error(error);
    json_decref(doc);
    return frame_of(type, 0, payload);
}

static Id test_id(guint8 n)
{
    Id id = {{n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

    return id;
}

/* --- cursor and frame ------------------------------------------------------ */

static void test_cursor_round_trip(void)
{
    guint8 buf[14];
    Writer w = writer_init(buf, sizeof(buf));
    Reader r;

    writer_u16(&w, 0x0201);
    writer_u32(&w, 0x06050403);
    writer_u64(&w, 0x0e0d0c0b0a090807);
    assert_bytes(buf, w.len, "0102030405060708090a0b0c0d0e");
    r = reader_init(buf, w.len);
    g_assert_cmphex(reader_u16(&r), ==, 0x0201);
    g_assert_cmphex(reader_u32(&r), ==, 0x06050403);
    g_assert_false(reader_done(&r));
    g_assert_cmphex(reader_u64(&r), ==, 0x0e0d0c0b0a090807);
    g_assert_true(reader_done(&r));
}

static void test_cursor_remembers_failure(void)
{
    static const guint8 SHORT[] = {0xff, 0xff, 0xff};
    Reader r = reader_init(SHORT, sizeof(SHORT));
    gsize len = 1;

    g_assert_cmpuint(reader_u32(&r), ==, 0);
    /* There would be two bytes, but a decoder that failed must not come to again. */
    g_assert_cmpuint(reader_u16(&r), ==, 0);
    g_assert_null(reader_rest(&r, &len));
    g_assert_cmpuint(len, ==, 0);
    g_assert_false(reader_done(&r));
}

static void test_frame_golden(void)
{
    FrameHeader head = {MESSAGE_DATA, MESSAGE_FLAG_ZSTD, 0x01020304, 0x1112131415161718};
    guint8 buf[FRAME_HEADER_LEN];
    FrameHeader back;

    frame_header_encode(head, buf);
    assert_bytes(buf, sizeof(buf), "33000100040302011817161514131211");
    back = frame_header_decode(buf);
    g_assert_cmpuint(back.type, ==, head.type);
    g_assert_cmpuint(back.flags, ==, head.flags);
    g_assert_cmpuint(back.len, ==, head.len);
    g_assert_cmpuint(back.id, ==, head.id);
}

/* --- the list ---------------------------------------------------------------- */

static void test_rules_are_sound(void)
{
    guint n;
    const MessageRule *rules = message_rules(&n);

    for (guint i = 0; i < n; i++) {
        g_assert_true(message_rule(rules[i].type) == &rules[i]); /* each code once */
        g_assert_cmpuint(rules[i].senders, !=, 0);
        g_assert_cmpuint(rules[i].purposes, !=, 0);
        /* What a stranger may send must be small. */
        if (rules[i].purposes & PURPOSE_ENROL)
            g_assert_cmpuint(rules[i].cap, <=, MESSAGE_SMALL_MAX);
        g_assert_cmpstr(message_name(rules[i].type), ==, rules[i].name);
    }
    g_assert_cmpstr(message_name(9999), ==, "unknown");
}

static void refused(FrameHeader head, Side sender, Purpose purpose, const char *text)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(message_check(head, sender, purpose, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    g_assert_cmpstr(error->message, ==, text);
}

static void test_check(void)
{
    FrameHeader head = {MESSAGE_DATA, MESSAGE_FLAG_ZSTD, MESSAGE_DATA_FRAME_MAX, 0};

    g_assert_true(message_check(head, SIDE_DIALER, PURPOSE_BULK, NULL));
    refused((FrameHeader){9999, 0, 0, 0}, SIDE_DIALER, PURPOSE_BULK, "message type 9999 is unknown");
    refused(head, SIDE_LISTENER, PURPOSE_BULK, "DATA may not come from the side that listens");
    refused(head, SIDE_DIALER, PURPOSE_CONTROL, "DATA does not belong on a link for control");
    head.flags = 3;
    refused(head, SIDE_DIALER, PURPOSE_BULK, "DATA carries unknown flags 0x2");
    head.flags = 0;
    head.len++;
    refused(head, SIDE_DIALER, PURPOSE_BULK, "DATA of 1048601 bytes is longer than the 1048600 allowed");
    refused((FrameHeader){MESSAGE_PING, 0, 1, 0}, SIDE_DIALER, PURPOSE_BULK,
            "PING of 1 bytes is longer than the 0 allowed");
}

/* Between peers there are questions and answers, and nothing else. */
static void test_check_peer(void)
{
    guint n;
    const MessageRule *rules = message_rules(&n);

    g_assert_true(message_check((FrameHeader){MESSAGE_REQUEST, 0, 2, 1}, SIDE_DIALER, PURPOSE_PEER, NULL));
    g_assert_true(message_check((FrameHeader){MESSAGE_ANSWER, 0, 2, 1}, SIDE_LISTENER, PURPOSE_PEER, NULL));
    refused((FrameHeader){MESSAGE_REQUEST, 0, 2, 1}, SIDE_LISTENER, PURPOSE_PEER,
            "REQUEST may not come from the side that listens");
    refused((FrameHeader){MESSAGE_NEWS, 0, 2, 0}, SIDE_LISTENER, PURPOSE_PEER,
            "NEWS does not belong on a link for peer");
    for (guint i = 0; i < n; i++)
        if (rules[i].purposes & PURPOSE_PEER && rules[i].purposes != MESSAGE_PURPOSE_ANY)
            g_assert_true(rules[i].type == MESSAGE_REQUEST || rules[i].type == MESSAGE_ANSWER);
}

/* "any", or the names of the purposes; the caller frees. */
static char *purposes_text(guint16 purposes)
{
    g_autoptr(GString) text = g_string_new(NULL);

    if (purposes == MESSAGE_PURPOSE_ANY)
        return g_strdup("any");
    for (guint bit = 1; bit <= purposes; bit <<= 1)
        if (purposes & bit)
            g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "", purpose_name((Purpose)bit));
    return g_strdup(text->str);
}

static void test_document_lists_messages(void)
{
    g_autofree char *path = g_build_filename(TEST_DATA, "../../../docs/protocol.md", NULL);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    guint n, rows = 0;
    const MessageRule *rules = message_rules(&n);

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i]; i++)
        rows += g_str_has_prefix(lines[i], "| `") && strstr(lines[i], " | binary |") ? 1 : 0;
    for (guint i = 0; i < n; i++) {
        const MessageRule *m = &rules[i];
        const char *who = m->senders == MESSAGE_SIDE_BOTH ? "both"
                          : m->senders == SIDE_DIALER     ? "dialer"
                                                          : "listener";
        g_autofree char *where = purposes_text(m->purposes);
        g_autofree char *row = g_strdup_printf("| `%s` | %u | %s | %s | %u | %s |", m->name, m->type, where,
                                               who, m->cap, m->body);

        if (!strstr(text, row))
            g_error("docs/protocol.md lacks the row: %s", row);
    }
    /* Nor does it list a binary message that is none. */
    g_assert_cmpuint(rows, ==, 6);
}

static void test_document_draws_order(void)
{
#define X(from, message, to) {#from, #message, #to},
    static const char *const EDGES[][3] = {BULK_EDGES(X)};
#undef X
    g_autofree char *path = g_build_filename(TEST_DATA, "../../../docs/protocol.md", NULL);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    for (guint i = 0; i < G_N_ELEMENTS(EDGES); i++) {
        g_autofree char *row = g_strdup_printf("    %s --> %s: %s\n", EDGES[i][0], EDGES[i][2], EDGES[i][1]);

        if (!strstr(text, row))
            g_error("docs/protocol.md lacks the edge: %s", row);
    }
}

/* --- JSON bodies ---------------------------------------------------------------- */

static void test_json_limits(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *big = g_strnfill(5000, 'x');
    json_auto_t *doc = json_pack("{s:s}", "x", big);

    g_assert_null(message_encode_json(MESSAGE_HELLO, doc, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
}

static void refuse_json(const char *text)
{
    g_autoptr(GBytes) payload = g_bytes_new(text, strlen(text));
    g_autoptr(Frame) frame = frame_of(MESSAGE_ATTACH, 0, payload);
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = message_decode_json(frame, &error);
    Attach attach;

    if (doc)
        g_assert_false(attach_from_json(doc, &attach, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
}

static void test_json_hostile(void)
{
    refuse_json("");
    refuse_json("[]");
    refuse_json("7");
    refuse_json("{");
    refuse_json("{\"vm\": 1}");
    refuse_json("{\"vm\": \"x\", \"vm\": \"y\"}");
    refuse_json("{\"a\\u0000b\": 1}");
}

static void test_attach_round_trip(void)
{
    char name[] = "web \"and\" more";
    Attach a = {test_id(1), name, {7, test_id(3)}, test_id(4)};
    g_autoptr(Frame) frame = frame_json(MESSAGE_ATTACH, attach_to_json(&a));
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = message_decode_json(frame, &error);
    g_autofree char *long_name = g_strnfill(ATTACH_SCENARIO_MAX + 1, 'x');
    g_auto(Attach) b = {0};
    Attach none;

    g_assert_no_error(error);
    g_assert_true(attach_from_json(doc, &b, &error));
    g_assert_no_error(error);
    g_assert_true(id_equal(a.vm, b.vm) && id_equal(a.standby, b.standby));
    g_assert_cmpstr(a.scenario, ==, b.scenario);
    g_assert_true(reign_equal(a.reign, b.reign));
    /* A peer of before does not know the word. */
    g_assert_null(json_object_get(doc, "images"));
    g_assert_null(b.images);
    json_object_set_new(doc, "scenario", json_string(long_name));
    g_assert_false(attach_from_json(doc, &none, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    g_clear_error(&error);
    json_object_set_new(doc, "scenario", json_string("web"));
    json_object_set_new(doc, "extra", json_integer(1));
    g_assert_false(attach_from_json(doc, &none, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
}

static void test_attach_images(void)
{
    char name[] = "web";
    json_auto_t *images = json_pack("{s:s, s:s}", "vda", "web 1.qcow2", "sda", "");
    Attach a = {test_id(1), name, {7, test_id(3)}, test_id(4), images};
    json_auto_t *doc = attach_to_json(&a);
    g_autofree char *long_name = g_strnfill(256, 'x');
    const struct {
        const char *target;
        const char *file;
    } BAD[] = {{"vda", "../web1"}, {"vda", "/etc/shadow"}, {"vda", ".."}, {"vda", "."},
               {"vda", long_name}, {"../vda", "web1"},     {"", "web1"}};
    g_auto(Attach) b = {0};
    Attach none;

    g_assert_true(attach_from_json(doc, &b, NULL));
    g_assert_true(json_equal(b.images, images));
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        json_object_set_new(doc, "images", json_pack("{s:s}", BAD[i].target, BAD[i].file));
        g_assert_false(attach_from_json(doc, &none, NULL));
    }
    json_object_set_new(doc, "images", json_pack("{s:i}", "vda", 1));
    g_assert_false(attach_from_json(doc, &none, NULL));
    json_object_set_new(doc, "images", json_array());
    g_assert_false(attach_from_json(doc, &none, NULL));
}

static void test_attached_round_trip(void)
{
    json_auto_t *position = json_pack("{s:n}", "tip");
    Attached a = {9, 64 << 20, position};
    json_auto_t *doc = attached_to_json(&a);
    g_autoptr(GError) error = NULL;
    Attached b;

    g_assert_true(attached_from_json(doc, &b, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(b.session, ==, 9);
    g_assert_cmpuint(b.credit_bytes, ==, 64 << 20);
    g_assert_true(json_equal(b.position, position));
    attached_clear(&b);
    json_object_set_new(doc, "credit_bytes", json_integer(-1));
    g_assert_false(attached_from_json(doc, &b, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    g_clear_error(&error);
    json_object_set_new(doc, "credit_bytes", json_integer(1));
    json_object_set_new(doc, "position", json_integer(1));
    g_assert_false(attached_from_json(doc, &b, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
}

static void test_stamp_and_slow(void)
{
    json_auto_t *stamp = stamp_to_json((Stamp){test_id(6), 1795299414123});
    json_auto_t *slow = slow_to_json("48 files in the chain");
    json_auto_t *go = slow_to_json(NULL);
    json_auto_t *bad = json_pack("{s:i}", "why", 1);
    g_autofree char *why = NULL;
    char *none = NULL;
    Stamp s;

    g_assert_true(stamp_from_json(stamp, &s, NULL));
    g_assert_true(id_equal(s.generation, test_id(6)));
    g_assert_cmpint(s.at_ms, ==, 1795299414123);
    g_assert_true(slow_from_json(slow, &why, NULL));
    g_assert_cmpstr(why, ==, "48 files in the chain");
    g_assert_true(slow_from_json(go, &none, NULL));
    g_assert_null(none);
    g_assert_false(slow_from_json(bad, &none, NULL));
    g_assert_false(stamp_from_json(bad, &s, NULL));
}

static void test_fail_round_trip(void)
{
    g_autoptr(GError) small = g_error_new(US_ERROR, US_ERROR_NO_SPACE, "the store is full: \"/x\"\nroot: ok");
    g_autofree char *filler = g_strnfill(100000, '\001');
    g_autoptr(GError) large = g_error_new_literal(US_ERROR, US_ERROR_FAILED, filler);
    g_autoptr(GBytes) small_bytes = message_encode_fail(small);
    g_autoptr(GBytes) large_bytes = message_encode_fail(large);
    g_autoptr(Frame) frame = frame_of(MESSAGE_FAIL, 0, small_bytes);
    g_autoptr(GError) back = message_decode_fail(frame);
    g_autoptr(GError) junk = NULL;

    g_assert_error(back, US_ERROR, US_ERROR_NO_SPACE);
    /* One line, whatever was sent. */
    g_assert_cmpstr(back->message, ==, "the store is full: \"/x\" root: ok");
    g_assert_cmpuint(g_bytes_get_size(large_bytes), <=, MESSAGE_SMALL_MAX);
    frame->payload[0] = 'x';
    junk = message_decode_fail(frame);
    g_assert_error(junk, US_ERROR, US_ERROR_PROTOCOL);
}

/* --- binary bodies ------------------------------------------------------------------ */

static Frame *data_frame(const MessageData *d)
{
    guint8 head[MESSAGE_DATA_HEAD_LEN];
    FrameHeader header;
    Frame *frame;

    message_encode_data_head(d, head);
    header = frame_header_decode(head);
    frame = frame_new(header);
    memcpy(frame->payload, head + FRAME_HEADER_LEN, MESSAGE_DATA_HEADER_LEN);
    memcpy(frame->payload + MESSAGE_DATA_HEADER_LEN, d->payload, d->payload_len);
    return frame;
}

static void test_data_golden(void)
{
    static const guint8 BYTES[] = "abcd";
    MessageData d = {0x1122334455667788, message_checksum(BYTES, 4), 4, 2, FALSE, BYTES, 4};
    g_autoptr(Frame) frame = data_frame(&d);
    g_autoptr(GError) error = NULL;
    guint8 head[MESSAGE_DATA_HEAD_LEN];
    MessageData back;

    message_encode_data_head(&d, head);
    assert_bytes(head, sizeof(head),
                 "33000000"
                 "1c000000"
                 "0000000000000000"
                 "8877665544332211"
                 "9098a8536fa99764"
                 "04000000"
                 "0200"
                 "0000");
    g_assert_true(message_decode_data(frame, &back, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(back.offset, ==, d.offset);
    g_assert_cmpuint(back.len, ==, 4);
    g_assert_cmpuint(back.disk, ==, 2);
    g_assert_false(back.zstd);
    g_assert_cmpmem(back.payload, back.payload_len, "abcd", 4);
    g_assert_true(message_verify_data(&back, back.payload, &error));
    g_assert_false(message_verify_data(&back, (const guint8 *)"abce", &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    g_assert_cmpstr(
        error->message, ==,
        "4 bytes of disk 2 at offset 1234605616436508552 are not what was sent; the generation is "
        "discarded and sent again");
}

static void refuse_data(const Frame *frame)
{
    g_autoptr(GError) error = NULL;
    MessageData d;

    g_assert_false(message_decode_data(frame, &d, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
}

static void test_data_hostile(void)
{
    static const guint8 BYTES[8] = {0};
    MessageData d = {0, 0, 8, 0, FALSE, BYTES, 8};
    g_autoptr(Frame) frame = data_frame(&d);
    guint8 good[MESSAGE_DATA_HEADER_LEN];
    MessageData back;

    memcpy(good, frame->payload, sizeof(good));
    g_assert_true(message_decode_data(frame, &back, NULL));
    for (guint len = 0; len < frame->head.len; len++) {
        Frame cut = *frame;

        cut.head.len = len;
        refuse_data(&cut);
    }
    frame->payload[16] = 9; /* says more than comes */
    refuse_data(frame);
    frame->payload[16] = 0; /* nothing */
    refuse_data(frame);
    memcpy(frame->payload, good, sizeof(good));
    frame->payload[22] = 1; /* the spare bytes */
    refuse_data(frame);
    memcpy(frame->payload, good, sizeof(good));
    memset(frame->payload, 0xff, 8); /* past the end of any disk */
    refuse_data(frame);
    memcpy(frame->payload, good, sizeof(good));
    memset(frame->payload + 16, 0xff, 4); /* 4 GiB uncompressed */
    frame->head.flags = MESSAGE_FLAG_ZSTD;
    refuse_data(frame);
    memcpy(frame->payload, good, sizeof(good));
    refuse_data(frame); /* compressed, and not smaller */
}

static void refuse_range(const Frame *frame, const char *text)
{
    g_autoptr(GError) error = NULL;
    MessageRange range;

    g_assert_false(message_decode_range(frame, &range, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    g_assert_cmpstr(error->message, ==, text);
}

static void test_range_round_trip(void)
{
    static const MessageType SAID[] = {MESSAGE_ZERO, MESSAGE_COMPARE, MESSAGE_SAME};
    MessageRange range = {4096, (guint64)1 << 40, 3};

    for (guint i = 0; i < G_N_ELEMENTS(SAID); i++) {
        g_autoptr(GBytes) bytes = message_encode_range(range);
        g_autoptr(Frame) frame = frame_of(SAID[i], 0, bytes);
        g_autofree char *malformed = g_strdup_printf("a %s frame is malformed", message_name(SAID[i]));
        MessageRange back;

        assert_bytes(frame->payload, frame->head.len, "001000000000000000000000000100000300");
        g_assert_true(message_decode_range(frame, &back, NULL));
        g_assert_cmpuint(back.offset, ==, range.offset);
        g_assert_cmpuint(back.len, ==, range.len);
        g_assert_cmpuint(back.disk, ==, range.disk);
        memset(frame->payload + 8, 0, 8);
        refuse_range(frame, malformed);
        memset(frame->payload, 0xff, 16);
        refuse_range(frame, malformed);
        frame->head.len--;
        refuse_range(frame, malformed);
    }
}

static void try_compare(guint64 offset, guint64 len, gboolean good)
{
    g_autoptr(GBytes) bytes = message_encode_range((MessageRange){offset, len, 1});
    g_autoptr(Frame) frame = frame_of(MESSAGE_COMPARE, 0, bytes);
    g_autoptr(GError) error = NULL;
    MessageRange range;

    g_assert_cmpint(message_decode_compare(frame, &range, &error), ==, good);
    if (!good)
        g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
}

static void test_compare_limits(void)
{
    try_compare(0, 1, TRUE);
    try_compare(3 * MESSAGE_BLOCK, MESSAGE_COMPARE_MAX, TRUE);
    try_compare(0, MESSAGE_COMPARE_MAX + 1, FALSE);
    try_compare(512, 512, FALSE); /* within a block */
}

static Frame *hashes_frame(MessageRange range, const guint8 *hashes)
{
    MessageHashes h = {range, hashes};
    g_autoptr(GBytes) bytes = message_encode_hashes(&h);

    return frame_of(MESSAGE_HASHES, 0, bytes);
}

static void refuse_hashes(const Frame *frame)
{
    g_autoptr(GError) error = NULL;
    MessageHashes h;

    g_assert_false(message_decode_hashes(frame, &h, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    g_assert_cmpstr(error->message, ==, "a HASHES frame is malformed");
}

static void test_hashes_golden(void)
{
    static const guint8 TWO[] = "0123456789abcdefghijklmnopqrstuv";
    g_autoptr(Frame) frame = hashes_frame((MessageRange){1 << 20, MESSAGE_BLOCK + 512, 2}, TWO);
    g_autoptr(Frame) hole = hashes_frame((MessageRange){1 << 20, (guint64)1 << 40, 2}, NULL);
    MessageHashes back;

    assert_bytes(frame->payload, frame->head.len,
                 "0000100000000000"
                 "0002010000000000"
                 "0200"
                 "30313233343536373839616263646566"
                 "6768696a6b6c6d6e6f70717273747576");
    g_assert_true(message_decode_hashes(frame, &back, NULL));
    g_assert_cmpuint(back.range.offset, ==, 1 << 20);
    g_assert_cmpuint(back.range.len, ==, MESSAGE_BLOCK + 512);
    g_assert_cmpuint(back.range.disk, ==, 2);
    g_assert_cmpmem(back.hashes, 2 * MESSAGE_HASH_LEN, TWO, 2 * MESSAGE_HASH_LEN);
    assert_bytes(hole->payload, hole->head.len, "000010000000000000000000000100000200");
    g_assert_true(message_decode_hashes(hole, &back, NULL));
    g_assert_null(back.hashes);
    g_assert_cmpuint(back.range.len, ==, (guint64)1 << 40);
}

static void test_hashes_hostile(void)
{
    static const guint8 TWO[2 * MESSAGE_HASH_LEN] = {7};
    g_autoptr(Frame) frame = hashes_frame((MessageRange){0, MESSAGE_BLOCK + 1, 0}, TWO);

    for (guint len = 0; len < frame->head.len; len++) {
        Frame cut = *frame;

        cut.head.len = len;
        if (len != MESSAGE_RANGE_LEN) /* that one is a hole */
            refuse_hashes(&cut);
    }
    frame->payload[8] = 0; /* of one block, and two hashes */
    refuse_hashes(frame);
    frame->payload[8] = 1;
    frame->payload[0] = 1; /* from the middle of a block on */
    refuse_hashes(frame);
    memset(frame->payload, 0xff, 8); /* past the end of any disk */
    refuse_hashes(frame);
    memset(frame->payload, 0, 16); /* of nothing */
    refuse_hashes(frame);
}

static void test_credit_round_trip(void)
{
    g_autoptr(GBytes) bytes = message_encode_credit(1 << 20);
    g_autoptr(Frame) frame = frame_of(MESSAGE_CREDIT, 0, bytes);
    guint64 back;

    g_assert_true(message_decode_credit(frame, &back, NULL));
    g_assert_cmpuint(back, ==, 1 << 20);
    memset(frame->payload, 0xff, 8);
    g_assert_false(message_decode_credit(frame, &back, NULL));
    memset(frame->payload, 0, 8);
    g_assert_false(message_decode_credit(frame, &back, NULL));
}

/* --- order ---------------------------------------------------------------------------- */

static void test_order_of_a_generation(void)
{
    static const guint16 SAID[] = {MESSAGE_ATTACH,     MESSAGE_ATTACHED, MESSAGE_CONFIRM, MESSAGE_CONFIRMED,
                                   MESSAGE_BEGIN,      MESSAGE_DATA,     MESSAGE_CREDIT,  MESSAGE_SLICE,
                                   MESSAGE_SLICE_KEPT, MESSAGE_ZERO,     MESSAGE_COMPARE, MESSAGE_HASHES,
                                   MESSAGE_SAME,       MESSAGE_SEAL,     MESSAGE_SLOW,    MESSAGE_SEALED,
                                   MESSAGE_BEGIN,      MESSAGE_COMPARE,  MESSAGE_DISCARD, MESSAGE_CREDIT,
                                   MESSAGE_HASHES,     MESSAGE_DISCARDED};
    BulkState state = BULK_FRESH;

    for (guint i = 0; i < G_N_ELEMENTS(SAID); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_true(bulk_step(&state, SAID[i], &error));
        g_assert_no_error(error);
    }
    g_assert_cmpint(state, ==, BULK_IDLE);
}

static void test_order_refuses(void)
{
    static const struct {
        BulkState in;
        guint16 type;
    } BAD[] = {{BULK_FRESH, MESSAGE_BEGIN},  {BULK_FRESH, MESSAGE_DATA},    {BULK_ATTACHING, MESSAGE_ATTACH},
               {BULK_IDLE, MESSAGE_DATA},    {BULK_IDLE, MESSAGE_SEAL},     {BULK_RECEIVING, MESSAGE_BEGIN},
               {BULK_SEALING, MESSAGE_DATA}, {BULK_SEALING, MESSAGE_SEAL},  {BULK_IDLE, MESSAGE_SEALED},
               {BULK_IDLE, MESSAGE_ATTACH},  {BULK_RECEIVING, 999},         {BULK_IDLE, MESSAGE_COMPARE},
               {BULK_SEALING, MESSAGE_SAME}, {BULK_SEALING, MESSAGE_HASHES}};

    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(GError) error = NULL;
        BulkState state = BAD[i].in;

        g_assert_false(bulk_step(&state, BAD[i].type, &error));
        g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
        g_assert_cmpint(state, ==, BAD[i].in);
    }
    g_autoptr(GError) error = NULL;
    BulkState state = BULK_IDLE;

    bulk_step(&state, MESSAGE_SEAL, &error);
    g_assert_cmpstr(error->message, ==, "SEAL may not come while the session is IDLE");
}

/* --- hello ------------------------------------------------------------------------------ */

static Hello hello(guint min, guint max, Purpose purpose, Role role)
{
    return (Hello){min, max, HELLO_FEATURES | 1u << 7, purpose, role, test_id(1), "1.2.3"};
}

static void test_hello_round_trip(void)
{
    Hello a = hello(1, 4, PURPOSE_BULK, ROLE_ENGINE);
    json_auto_t *doc = hello_to_json(&a);
    g_autofree char *text = json_dumps(doc, JSON_COMPACT);
    g_autoptr(GError) error = NULL;
    Hello b;

    g_assert_cmpstr(
        text, ==,
        "{\"program\":\"1.2.3\",\"versions\":[1,4],\"features\":129,\"purpose\":\"bulk\",\"role\":"
        "\"engine\",\"id\":\"01010203-0405-0607-0809-0a0b0c0d0e0f\"}");
    /* A later version may say more: this one must still understand. */
    json_object_set_new(doc, "later", json_integer(1));
    g_assert_true(hello_from_json(doc, &b, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(b.version_max, ==, 4);
    g_assert_cmpuint(b.features, ==, 129);
    g_assert_cmpstr(b.program, ==, "1.2.3");
    json_object_set_new(doc, "purpose", json_string("spy"));
    g_assert_false(hello_from_json(doc, &b, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    g_clear_error(&error);
    json_object_set_new(doc, "purpose", json_string("bulk"));
    json_object_set_new(doc, "versions", json_pack("[ii]", 3, 2));
    g_assert_false(hello_from_json(doc, &b, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
}

static void test_hello_agree(void)
{
    Hello mine = hello(2, 5, 0, ROLE_ENGINE);
    Hello theirs = hello(1, 3, PURPOSE_CONTROL, ROLE_CONTROLLER);
    Hello welcome;
    g_autoptr(GError) error = NULL;

    theirs.features = 1u << 7 | 1u << 9;
    g_assert_true(hello_agree(&mine, &theirs, &welcome, &error));
    g_assert_cmpuint(welcome.version_min, ==, 3);
    g_assert_cmpuint(welcome.version_max, ==, 3);
    g_assert_cmpuint(welcome.features, ==, 1u << 7);
    g_assert_true(hello_accept(&theirs, &welcome, &error));
    welcome.version_min = welcome.version_max = 4;
    g_assert_false(hello_accept(&theirs, &welcome, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
}

static void test_hello_refuses(void)
{
    Hello mine = hello(1, 1, 0, ROLE_ENGINE);
    Hello newer = hello(2, 3, PURPOSE_CONTROL, ROLE_CONTROLLER);
    Hello spy = hello(1, 1, PURPOSE_BULK, ROLE_CONTROLLER);
    Hello welcome;
    g_autoptr(GError) error = NULL;

    g_assert_false(hello_agree(&mine, &newer, &welcome, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNSUPPORTED);
    g_assert_cmpstr(
        error->message, ==,
        "no common protocol version: the engine (program 1.2.3) speaks 1 to 1, the controller (program "
        "1.2.3) 2 to 3; upgrade the engine");
    g_clear_error(&error);
    g_assert_false(hello_agree(&mine, &spy, &welcome, &error));
    g_assert_error(error, US_ERROR, US_ERROR_DENIED);
    g_assert_cmpstr(error->message, ==, "a link for bulk may not be opened by the role controller");
    g_clear_error(&error);
    spy.purpose = PURPOSE_PEER;
    g_assert_false(hello_agree(&mine, &spy, &welcome, &error));
    g_assert_error(error, US_ERROR, US_ERROR_DENIED);
    g_assert_cmpstr(error->message, ==, "a link for peer may not be opened by the role controller");
    spy.role = ROLE_ENGINE;
    g_assert_true(hello_agree(&mine, &spy, &welcome, NULL));
}

/* --- sending and receiving in pieces ------------------------------------------------------ */

static gboolean allow_all(void *user, FrameHeader head, GError **error)
{
    (void)user;
    (void)head;
    (void)error;
    return TRUE;
}

static void count_call(void *user)
{
    (*(guint *)user)++;
}

/* What goes into a send queue comes out of an intake, however the bytes are cut. */
static void test_queue_to_intake(void)
{
    g_autofree guint8 *body = g_malloc(50000);
    SendQueue q;
    Intake in;
    guint sent = 0;
    guint frames = 0;

    for (guint i = 0; i < 50000; i++)
        body[i] = (guint8)(i * 7);
    sendq_init(&q);
    intake_init(&in, allow_all, NULL);
    for (guint i = 0; i < 20; i++) {
        guint32 len = i % 3 == 0 ? 0 : i * 2500;
        guint8 head[FRAME_HEADER_LEN];

        frame_header_encode((FrameHeader){MESSAGE_DATA, 0, len, i}, head);
        sendq_push(&q, head, sizeof(head), body, len, count_call, &sent);
    }
    for (guint step = 1;; step = step % 977 + 13) {
        const guint8 *out;
        gsize there = sendq_next(&q, &out);
        gsize n = MIN(there, step);
        gsize room;
        guint8 *to = intake_room(&in, &room);
        Frame *frame;

        if (there == 0)
            break;
        n = MIN(n, room);
        memcpy(to, out, n);
        sendq_sent(&q, n);
        g_assert_true(intake_put(&in, n, &frame, NULL));
        if (!frame)
            continue;
        g_assert_cmpuint(frame->head.id, ==, frames);
        if (frame->head.len)
            g_assert_cmpmem(frame->payload, frame->head.len, body, frame->head.len);
        frame_free(frame);
        frames++;
    }
    g_assert_cmpuint(frames, ==, 20);
    g_assert_cmpuint(sent, ==, 20);
    g_assert_cmpuint(q.bytes, ==, 0);
    sendq_clear(&q);
    intake_clear(&in);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/link/cursor/round-trip", test_cursor_round_trip);
    g_test_add_func("/link/cursor/failure", test_cursor_remembers_failure);
    g_test_add_func("/link/frame/golden", test_frame_golden);
    g_test_add_func("/link/message/rules", test_rules_are_sound);
    g_test_add_func("/link/message/check", test_check);
    g_test_add_func("/link/message/check/peer", test_check_peer);
    g_test_add_func("/link/message/document", test_document_lists_messages);
    g_test_add_func("/link/message/document-order", test_document_draws_order);
    g_test_add_func("/link/message/json-limits", test_json_limits);
    g_test_add_func("/link/message/json-hostile", test_json_hostile);
    g_test_add_func("/link/bulk/attach", test_attach_round_trip);
    g_test_add_func("/link/bulk/attach-images", test_attach_images);
    g_test_add_func("/link/bulk/attached", test_attached_round_trip);
    g_test_add_func("/link/bulk/stamp-slow", test_stamp_and_slow);
    g_test_add_func("/link/bulk/fail", test_fail_round_trip);
    g_test_add_func("/link/bulk/data-golden", test_data_golden);
    g_test_add_func("/link/bulk/data-hostile", test_data_hostile);
    g_test_add_func("/link/bulk/range", test_range_round_trip);
    g_test_add_func("/link/bulk/compare", test_compare_limits);
    g_test_add_func("/link/bulk/hashes-golden", test_hashes_golden);
    g_test_add_func("/link/bulk/hashes-hostile", test_hashes_hostile);
    g_test_add_func("/link/bulk/credit", test_credit_round_trip);
    g_test_add_func("/link/order/generation", test_order_of_a_generation);
    g_test_add_func("/link/order/refuses", test_order_refuses);
    g_test_add_func("/link/hello/round-trip", test_hello_round_trip);
    g_test_add_func("/link/hello/agree", test_hello_agree);
    g_test_add_func("/link/hello/refuses", test_hello_refuses);
    g_test_add_func("/link/queue-to-intake", test_queue_to_intake);
    return g_test_run();
}
