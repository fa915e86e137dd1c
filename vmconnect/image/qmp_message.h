/* SPDX-License-Identifier: Apache-2.0 */
/* qmp_message - the bytes of QEMU's machine protocol, cut into messages.
 *
 * Pure: no socket. One message is one line of JSON (docs/interop/qmp-spec of
 * QEMU); a line of more than QMP_MAX_LINE bytes, or one that is no QMP message,
 * is PROTOCOL, and the decoder then answers nothing else any more. */
#pragma once

#include "vmconnect/base/json.h"

#include <glib.h>

/* The longest honest reply, query-named-block-nodes of some 200 nodes, has about 400 KiB. */
#define QMP_MAX_LINE (4 * 1024 * 1024)

typedef enum {
    QMP_GREETING,
    QMP_REPLY,   /* id, data */
    QMP_FAILURE, /* id, name (error class), text */
    QMP_EVENT,   /* name, data (may be NULL) */
} QmpKind;

typedef struct {
    QmpKind kind;
    gint64 id; /* -1 where the peer gave none (a command that it could not even parse) */
    char *name;
    char *text;
    json_t *data;
} QmpMessage;

void qmp_message_free(QmpMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpMessage, qmp_message_free)

typedef struct QmpDecoder QmpDecoder;

QmpDecoder *qmp_decoder_new(void);
void qmp_decoder_free(QmpDecoder *decoder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpDecoder, qmp_decoder_free)

/* Append what was received; copied. */
void qmp_decoder_feed(QmpDecoder *decoder, const char *data, gsize len);

/* The next whole message, or NULL: without @error more bytes are needed, with
 * @error PROTOCOL the peer is not to be talked to any more. */
QmpMessage *qmp_decoder_next(QmpDecoder *decoder, GError **error);

/* One command as a line to send. @args is stolen and may be NULL. The caller frees. */
char *qmp_message_command(const char *command, json_t *args, gint64 id);
