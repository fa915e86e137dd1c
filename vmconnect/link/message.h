/* SPDX-License-Identifier: Apache-2.0 */
/* message - every message of the protocol, in one list.
 *
 * The list says who may send what on which kind of link and how long it may
 * be; a link refuses the rest before it allocates anything. docs/protocol.md
 * draws who says what when (a test compares its table with this list);
 * bulk.h holds the bodies of the bulk messages, order.h their order. */
#pragma once

#include "vmconnect/link/frame.h"

#include <glib.h>
#include <jansson.h>

/* What a link was dialled for. One connection has one purpose for its whole life. */
typedef enum {
    PURPOSE_CONTROL = 1, /* a controller asks, an engine answers */
    PURPOSE_BULK = 2,    /* the active's engine streams one VM to a standby's */
    PURPOSE_ENROL = 4,   /* a controller takes an engine without owner into its care */
    PURPOSE_BEAT = 8,    /* an engine wants to know whether another one lives; nothing is said on it */
    PURPOSE_PEER = 16,   /* an active's engine asks a standby's, an engine answers */
} Purpose;

const char *purpose_name(Purpose purpose);
gboolean purpose_from_name(const char *name, Purpose *ret_purpose);

typedef enum {
    SIDE_DIALER = 1,
    SIDE_LISTENER = 2,
} Side;

#define MESSAGE_JSON_MAX (8u << 20)   /* a domain's definition may be megabytes */
#define MESSAGE_SMALL_MAX (64u << 10) /* all that a stranger may make us allocate */
#define MESSAGE_DATA_MAX (1u << 20)   /* bytes of one disk in one DATA frame */
#define MESSAGE_DATA_HEADER_LEN 24
#define MESSAGE_BLOCK (64u << 10)        /* bytes that one hash of HASHES stands for */
#define MESSAGE_HASH_LEN 16              /* a GMAC */
#define MESSAGE_HASHES_MAX 1024          /* of one frame */
#define MESSAGE_COMPARE_MAX (1ull << 30) /* bytes of one COMPARE */
#define MESSAGE_COMPARES_MAX 32          /* that have no answer yet */
#define MESSAGE_PURPOSE_ANY (PURPOSE_CONTROL | PURPOSE_BULK | PURPOSE_ENROL | PURPOSE_BEAT | PURPOSE_PEER)
#define MESSAGE_PURPOSE_ASK (PURPOSE_CONTROL | PURPOSE_PEER)
#define MESSAGE_SIDE_BOTH (SIDE_DIALER | SIDE_LISTENER)

#define MESSAGE_FLAG_ZSTD 1u /* DATA: the payload is one zstd frame */

/* clang-format off */
/*    name               code  purpose              sender             longest payload            flags              body */
#define MESSAGES(X)                                                                                                            \
    X(HELLO,             1,    MESSAGE_PURPOSE_ANY, SIDE_DIALER,       4096,                      0,                 "JSON")   \
    X(WELCOME,           2,    MESSAGE_PURPOSE_ANY, SIDE_LISTENER,     4096,                      0,                 "JSON")   \
    X(FAIL,              3,    MESSAGE_PURPOSE_ANY, MESSAGE_SIDE_BOTH, MESSAGE_SMALL_MAX,         0,                 "JSON")   \
    X(BYE,               4,    MESSAGE_PURPOSE_ANY, MESSAGE_SIDE_BOTH, 0,                         0,                 "empty")  \
    X(PING,              5,    MESSAGE_PURPOSE_ANY, MESSAGE_SIDE_BOTH, 0,                         0,                 "empty")  \
    X(PONG,              6,    MESSAGE_PURPOSE_ANY, MESSAGE_SIDE_BOTH, 0,                         0,                 "empty")  \
    X(ENROL,             16,   PURPOSE_ENROL,       SIDE_DIALER,       MESSAGE_SMALL_MAX,         0,                 "JSON")   \
    X(ENROL_PROOF,       17,   PURPOSE_ENROL,       SIDE_LISTENER,     MESSAGE_SMALL_MAX,         0,                 "JSON")   \
    X(ENROL_CERTIFICATE, 18,   PURPOSE_ENROL,       SIDE_DIALER,       MESSAGE_SMALL_MAX,         0,                 "JSON")   \
    X(ENROLLED,          19,   PURPOSE_ENROL,       SIDE_LISTENER,     MESSAGE_SMALL_MAX,         0,                 "JSON")   \
    X(REQUEST,           32,   MESSAGE_PURPOSE_ASK, SIDE_DIALER,       MESSAGE_JSON_MAX,          0,                 "JSON")   \
    X(ANSWER,            33,   MESSAGE_PURPOSE_ASK, SIDE_LISTENER,     MESSAGE_JSON_MAX,          0,                 "JSON")   \
    X(NEWS,              34,   PURPOSE_CONTROL,     SIDE_LISTENER,     MESSAGE_JSON_MAX,          0,                 "JSON")   \
    X(ATTACH,            48,   PURPOSE_BULK,        SIDE_DIALER,       MESSAGE_SMALL_MAX,         0,                 "JSON")   \
    X(ATTACHED,          49,   PURPOSE_BULK,        SIDE_LISTENER,     MESSAGE_JSON_MAX,          0,                 "JSON")   \
    X(BEGIN,             50,   PURPOSE_BULK,        SIDE_DIALER,       MESSAGE_JSON_MAX,          0,                 "JSON")   \
    X(DATA,              51,   PURPOSE_BULK,        SIDE_DIALER,       MESSAGE_DATA_FRAME_MAX,    MESSAGE_FLAG_ZSTD, "binary") \
    X(ZERO,              52,   PURPOSE_BULK,        SIDE_DIALER,       MESSAGE_RANGE_LEN,         0,                 "binary") \
    X(CREDIT,            53,   PURPOSE_BULK,        SIDE_LISTENER,     8,                         0,                 "binary") \
    X(SLICE,             54,   PURPOSE_BULK,        SIDE_DIALER,       MESSAGE_JSON_MAX,          0,                 "JSON")   \
    X(SLICE_KEPT,        55,   PURPOSE_BULK,        SIDE_LISTENER,     MESSAGE_SMALL_MAX,         0,                 "JSON")   \
    X(SEAL,              57,   PURPOSE_BULK,        SIDE_DIALER,       MESSAGE_JSON_MAX,          0,                 "JSON")   \
    X(SEALED,            58,   PURPOSE_BULK,        SIDE_LISTENER,     MESSAGE_SMALL_MAX,         0,                 "JSON")   \
    X(CONFIRM,           59,   PURPOSE_BULK,        SIDE_DIALER,       MESSAGE_SMALL_MAX,         0,                 "JSON")   \
    X(CONFIRMED,         60,   PURPOSE_BULK,        SIDE_LISTENER,     MESSAGE_SMALL_MAX,         0,                 "JSON")   \
    X(DISCARD,           61,   PURPOSE_BULK,        SIDE_DIALER,       MESSAGE_SMALL_MAX,         0,                 "JSON")   \
    X(DISCARDED,         62,   PURPOSE_BULK,        SIDE_LISTENER,     MESSAGE_SMALL_MAX,         0,                 "JSON")   \
    X(SLOW,              63,   PURPOSE_BULK,        SIDE_LISTENER,     MESSAGE_SMALL_MAX,         0,                 "JSON")   \
    X(COMPARE,           64,   PURPOSE_BULK,        SIDE_DIALER,       MESSAGE_RANGE_LEN,         0,                 "binary") \
    X(HASHES,            65,   PURPOSE_BULK,        SIDE_LISTENER,     MESSAGE_HASHES_FRAME_MAX,  0,                 "binary") \
    X(SAME,              66,   PURPOSE_BULK,        SIDE_DIALER,       MESSAGE_RANGE_LEN,         0,                 "binary")
/* clang-format on */

#define MESSAGE_DATA_FRAME_MAX (MESSAGE_DATA_HEADER_LEN + MESSAGE_DATA_MAX)
#define MESSAGE_RANGE_LEN 18
#define MESSAGE_HASHES_FRAME_MAX (MESSAGE_RANGE_LEN + MESSAGE_HASHES_MAX * MESSAGE_HASH_LEN)

typedef enum {
#define X(name, code, purpose, sender, cap, flags, body) MESSAGE_##name = (code),
    MESSAGES(X)
#undef X
} MessageType;

typedef struct {
    const char *name;
    guint16 type;
    guint16 purposes;
    guint16 senders;
    guint16 flags;
    guint32 cap;
    const char *body;
} MessageRule;

/* The list as data; NULL for a type that this version does not know. */
const MessageRule *message_rule(guint16 type);
const MessageRule *message_rules(guint *ret_n);

/* The name for messages and logs; an unknown type is "unknown". */
const char *message_name(guint16 type);

/* May @sender say this on a link of @purpose? PROTOCOL otherwise: unknown type,
 * wrong side or purpose, unknown flags, too long. Nothing was allocated yet. */
gboolean message_check(FrameHeader head, Side sender, Purpose purpose, GError **error);

/* The payload of a JSON message as one line; NULL with @error REFUSED if it is
 * longer than @type allows. */
GBytes *message_encode_json(MessageType type, const json_t *doc, GError **error);

/* The document of a JSON frame, an object; new reference; NULL with @error PROTOCOL. */
json_t *message_decode_json(const Frame *frame, GError **error);

/* FAIL: the sender gives up this connection; always its last frame. */
GBytes *message_encode_fail(const GError *error);
GError *message_decode_fail(const Frame *frame);

/* What was read came from the peer: turn a USAGE of json_read() and the like into PROTOCOL.
 * Always FALSE, so that a decoder can return it. */
gboolean message_blame(GError **error);
