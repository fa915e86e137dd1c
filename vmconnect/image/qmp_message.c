/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/qmp_message.h"

#include "vmconnect/base/error.h"

#include <string.h>

struct QmpDecoder {
    GByteArray *bytes;
    gsize seen; /* bytes that hold no line end */
    gboolean broken;
};

void qmp_message_free(QmpMessage *message)
{
    if (!message)
        return;
    g_free(message->name);
    g_free(message->text);
    json_decref(message->data);
    g_free(message);
}

QmpDecoder *qmp_decoder_new(void)
{
    QmpDecoder *d = g_new0(QmpDecoder, 1);

    d->bytes = g_byte_array_new();
    return d;
}

void qmp_decoder_free(QmpDecoder *decoder)
{
    if (!decoder)
        return;
    g_byte_array_free(decoder->bytes, TRUE);
    g_free(decoder);
}

void qmp_decoder_feed(QmpDecoder *decoder, const char *data, gsize len)
{
    g_byte_array_append(decoder->bytes, (const guint8 *)data, (guint)len);
}

static QmpMessage *message_new(QmpKind kind, gint64 id)
{
    QmpMessage *m = g_new0(QmpMessage, 1);

    m->kind = kind;
    m->id = id;
    return m;
}

static gint64 id_of(const json_t *doc)
{
    const json_t *id = json_object_get(doc, "id");

    return json_is_integer(id) && json_integer_value(id) >= 0 ? json_integer_value(id) : -1;
}

static QmpMessage *decode_failure(const json_t *doc, const json_t *failure)
{
    const char *class = json_string_value(json_object_get(failure, "class"));
    const char *text = json_string_value(json_object_get(failure, "desc"));
    QmpMessage *m;

    if (!class || !text)
        return NULL;
    m = message_new(QMP_FAILURE, id_of(doc));
    m->name = g_strdup(class);
    m->text = g_strdup(text);
    return m;
}

/* The specification lets a peer add members, so only those that matter are looked at. */
static QmpMessage *decode_object(const json_t *doc)
{
    const char *event = json_string_value(json_object_get(doc, "event"));
    json_t *part;
    QmpMessage *m;

    if (event) {
        m = message_new(QMP_EVENT, -1);
        m->name = g_strdup(event);
        m->data = json_incref(json_object_get(doc, "data"));
        return m;
    }
    if ((part = json_object_get(doc, "error")))
        return decode_failure(doc, part);
    if ((part = json_object_get(doc, "return"))) {
        m = message_new(QMP_REPLY, id_of(doc));
        m->data = json_incref(part);
        return m;
    }
    return json_object_get(doc, "QMP") ? message_new(QMP_GREETING, -1) : NULL;
}

static QmpMessage *decode_line(const char *line, gsize len, GError **error)
{
    json_auto_t *doc = json_parse(line, len, QMP_MAX_LINE, NULL);
    QmpMessage *m = json_is_object(doc) ? decode_object(doc) : NULL;

    if (!m)
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "a line of %zu bytes is no QMP message", len);
    return m;
}

QmpMessage *qmp_decoder_next(QmpDecoder *decoder, GError **error)
{
    GByteArray *bytes = decoder->bytes;
    const guint8 *end = NULL;
    QmpMessage *m;
    gsize len;

    if (!decoder->broken && bytes->len > decoder->seen)
        end = memchr(bytes->data + decoder->seen, '\n', bytes->len - decoder->seen);
    len = end ? (gsize)(end - bytes->data) : bytes->len;
    if (decoder->broken || len > QMP_MAX_LINE) {
        decoder->broken = TRUE;
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL,
                    "the peer does not speak QMP (line of more than %d bytes)", QMP_MAX_LINE);
        return NULL;
    }
    if (!end) {
        decoder->seen = bytes->len;
        return NULL;
    }
    m = decode_line((const char *)bytes->data, len, error);
    decoder->broken = !m;
    decoder->seen = 0;
    g_byte_array_remove_range(bytes, 0, (guint)len + 1);
    return m;
}

char *qmp_message_command(const char *command, json_t *args, gint64 id)
{
    json_auto_t *doc = json_pack("{s:s, s:I}", "execute", command, "id", (json_int_t)id);
    g_autofree char *text = NULL;

    if (args)
        json_object_set_new(doc, "arguments", args);
    text = json_text(doc);
    return g_strconcat(text, "\n", NULL);
}
