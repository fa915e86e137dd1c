/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/message.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/link/bulk.h"

#include <string.h>

static const MessageRule RULES[] = {
#define X(name, code, purpose, sender, cap, flags, body) {#name, code, purpose, sender, flags, cap, body},
    MESSAGES(X)
#undef X
};

static const struct {
    Purpose purpose;
    const char *name;
} PURPOSES[] = {{PURPOSE_CONTROL, "control"},
                {PURPOSE_BULK, "bulk"},
                {PURPOSE_ENROL, "enrol"},
                {PURPOSE_BEAT, "beat"},
                {PURPOSE_PEER, "peer"}};

const char *purpose_name(Purpose purpose)
{
    for (guint i = 0; i < G_N_ELEMENTS(PURPOSES); i++)
        if (PURPOSES[i].purpose == purpose)
            return PURPOSES[i].name;
    g_assert_not_reached();
}

gboolean purpose_from_name(const char *name, Purpose *ret_purpose)
{
    for (guint i = 0; i < G_N_ELEMENTS(PURPOSES); i++)
        if (strcmp(PURPOSES[i].name, name) == 0) {
            *ret_purpose = PURPOSES[i].purpose;
            return TRUE;
        }
    return FALSE;
}

const MessageRule *message_rules(guint *ret_n)
{
    *ret_n = G_N_ELEMENTS(RULES);
    return RULES;
}

const MessageRule *message_rule(guint16 type)
{
    for (guint i = 0; i < G_N_ELEMENTS(RULES); i++)
        if (RULES[i].type == type)
            return &RULES[i];
    return NULL;
}

const char *message_name(guint16 type)
{
    const MessageRule *rule = message_rule(type);

    return rule ? rule->name : "unknown";
}

gboolean message_check(FrameHeader head, Side sender, Purpose purpose, GError **error)
{
    const MessageRule *rule = message_rule(head.type);

    if (!rule)
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "message type %u is unknown", head.type);
    else if (!(rule->senders & sender))
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "%s may not come from the side that %s", rule->name,
                    sender == SIDE_DIALER ? "dialled" : "listens");
    else if (!(rule->purposes & purpose))
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "%s does not belong on a link for %s", rule->name,
                    purpose_name(purpose));
    else if (head.flags & ~rule->flags)
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "%s carries unknown flags 0x%x", rule->name,
                    head.flags & ~rule->flags);
    else if (head.len > rule->cap)
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "%s of %u bytes is longer than the %u allowed",
                    rule->name, head.len, rule->cap);
    else
        return TRUE;
    return FALSE;
}

gboolean message_blame(GError **error)
{
    if (error && *error && g_error_matches(*error, US_ERROR, US_ERROR_USAGE))
        (*error)->code = US_ERROR_PROTOCOL;
    return FALSE;
}

GBytes *message_encode_json(MessageType type, const json_t *doc, GError **error)
{
    const MessageRule *rule = message_rule(type);
    char *text = json_text(doc);
    gsize len = strlen(text);

    g_assert(rule && json_is_object(doc));
    if (len > rule->cap) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "%s of %zu bytes cannot be sent: the protocol allows %u; make the definition smaller",
                    rule->name, len, rule->cap);
        g_free(text);
        return NULL;
    }
    return g_bytes_new_take(text, len);
}

json_t *message_decode_json(const Frame *frame, GError **error)
{
    const char *name = message_name(frame->head.type);
    json_t *doc = json_parse((const char *)frame->payload, frame->head.len, MESSAGE_JSON_MAX, error);

    if (doc && !json_is_object(doc)) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "the document is not an object");
        json_decref(doc);
        doc = NULL;
    }
    if (!doc) {
        g_prefix_error(error, "%s: ", name);
        message_blame(error);
    }
    return doc;
}

/* Cut so that the worst escaping of JSON still fits into FAIL. */
#define FAIL_TEXT_MAX 8192

GBytes *message_encode_fail(const GError *error)
{
    g_autoptr(GError) fit = g_error_copy(error);
    g_autoptr(GError) unfit = NULL;
    json_auto_t *doc = NULL;
    GBytes *payload;

    if (strlen(fit->message) > FAIL_TEXT_MAX)
        fit->message[FAIL_TEXT_MAX] = '\0';
    doc = json_from_error(fit);
    payload = message_encode_json(MESSAGE_FAIL, doc, &unfit);
    g_assert_no_error(unfit);
    return payload;
}

GError *message_decode_fail(const Frame *frame)
{
    GError *error = NULL;
    json_auto_t *doc = message_decode_json(frame, &error);

    if (doc)
        error = json_to_error(doc);
    /* It ends up in logs and on terminals, and whoever reached the port may have written it. */
    for (char *p = error->message; *p; p++)
        if (g_ascii_iscntrl(*p))
            *p = ' ';
    return error;
}
