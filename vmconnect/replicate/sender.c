/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/sender.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/link/link_wait.h"
#include "vmconnect/link/order.h"

#include <string.h>

#define ANSWER_MS 300000 /* a seal waits for the standby's disk … */
#define HURRY_MS 5000    /* … but not while there is something else to be done */
#define PING_MS 2000     /* to the peer's kernel: a line that is cut is noticed by TCP's own time-out … */
#define QUEUE_BYTES (1u << 20) /* more in our queue only makes the link's answer late */
#define QUEUE_FULL (QUEUE_BYTES / 2)

struct Sender {
    Link *link;
    const Patience *patience;
    BulkState state;
    Position *position;
    guint64 credit;
    Pacer pacer;
    Squeeze *squeeze;
    char *slow;
    guint64 payload_bytes;
    SenderHashes on_hashes;
    void *hashes_user;
};

/* --- frames ------------------------------------------------------------ */

static gboolean say(Sender *s, MessageType type, json_t *doc, GError **error)
{
    json_auto_t *owned = doc;

    return bulk_step(&s->state, type, error) && link_send_json(s->link, type, 0, owned, error);
}

static gboolean take_credit(Sender *s, const Frame *frame, GError **error)
{
    guint64 more;

    if (!message_decode_credit(frame, &more, error))
        return FALSE;
    if (!g_uint64_checked_add(&s->credit, s->credit, more)) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL,
                    "the standby gave more credit than there are numbers");
        return FALSE;
    }
    return TRUE;
}

static gboolean take_slow(Sender *s, const Frame *frame, GError **error)
{
    json_auto_t *doc = message_decode_json(frame, error);
    g_autofree char *why = NULL;

    if (!doc || !slow_from_json(doc, &why, error))
        return FALSE;
    g_free(s->slow);
    s->slow = g_steal_pointer(&why);
    return TRUE;
}

static gboolean take_hashes(Sender *s, const Frame *frame, GError **error)
{
    MessageHashes hashes;

    return message_decode_hashes(frame, &hashes, error) &&
           (!s->on_hashes || s->on_hashes(s->hashes_user, &hashes, error));
}

/* What may come at any time. */
static gboolean take_aside(Sender *s, const Frame *frame, GError **error)
{
    if (!bulk_step(&s->state, frame->head.type, error))
        return FALSE;
    if (frame->head.type == MESSAGE_CREDIT)
        return take_credit(s, frame, error);
    if (frame->head.type == MESSAGE_SLOW)
        return take_slow(s, frame, error);
    if (frame->head.type == MESSAGE_HASHES)
        return take_hashes(s, frame, error);
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "the standby said %s unasked",
                message_name(frame->head.type));
    return FALSE;
}

typedef struct {
    gint64 deadline_ms;
    int wake_fd;
} Wait;

static Wait wait_start(const Sender *s)
{
    gint64 deadline_ms = clock_steady_ms() + ANSWER_MS;
    gint64 give_up_ms = s->patience->give_up_ms;

    return (Wait){give_up_ms ? MIN(deadline_ms, give_up_ms) : deadline_ms, s->patience->wake_fd};
}

/* Woken: what is nearly done is worth a moment, since else it is sent again. */
static void wait_hurry(Wait *wait)
{
    gint64 hurried_ms = clock_steady_ms() + HURRY_MS;

    wait->deadline_ms = MIN(wait->deadline_ms, hurried_ms);
    wait->wake_fd = -1;
}

/* Wait for the answer @type; its document, or NULL with @error. */
static json_t *await(Sender *s, MessageType type, GError **error)
{
    Wait wait = wait_start(s);

    for (;;) {
        g_autoptr(GError) why = NULL;
        g_autoptr(Frame) frame = link_wait(s->link, wait.deadline_ms, wait.wake_fd, &why);

        if (!frame && !why) {
            wait_hurry(&wait);
            continue;
        }
        if (!frame) {
            g_propagate_error(error, g_steal_pointer(&why));
            return NULL;
        }
        if (frame->head.type == type)
            return bulk_step(&s->state, type, error) ? message_decode_json(frame, error) : NULL;
        if (!take_aside(s, frame, error))
            return NULL;
    }
}

/* --- attach ------------------------------------------------------------ */

static gboolean take_attached(Sender *s, json_t *doc, GError **error)
{
    Attached attached = {0};
    gboolean ok = attached_from_json(doc, &attached, error);

    if (ok) {
        s->credit = attached.credit_bytes;
        s->position = position_from_json(attached.position, error);
    }
    attached_clear(&attached);
    return s->position != NULL;
}

Sender *sender_attach(Link *link, const Attach *attach, const Patience *patience, GError **error)
{
    g_autoptr(Sender) s = g_new0(Sender, 1);
    json_auto_t *doc = NULL;
    Attach said = *attach;

    s->link = link;
    s->patience = patience;
    s->squeeze = squeeze_new(SQUEEZE_AUTO);
    /* … while the peer itself may be busy with its disk for as long as an answer may take. */
    link_set_heartbeat(link, PING_MS, ANSWER_MS);
    /* A peer of before knows nothing of them. */
    if (!sender_compares(s))
        said.images = NULL;
    if (!say(s, MESSAGE_ATTACH, attach_to_json(&said), error))
        return NULL;
    doc = await(s, MESSAGE_ATTACHED, error);
    if (!doc || !take_attached(s, doc, error))
        return NULL;
    return g_steal_pointer(&s);
}

void sender_free(Sender *s)
{
    if (!s)
        return;
    link_free(s->link);
    position_free(s->position);
    squeeze_free(s->squeeze);
    g_free(s->slow);
    g_free(s);
}

void sender_close(Sender *s)
{
    link_wait_close(g_steal_pointer(&s->link), NULL);
    sender_free(s);
}

const Position *sender_position(const Sender *s)
{
    return s->position;
}

const char *sender_slow(const Sender *s)
{
    return s->slow;
}

guint64 sender_payload_bytes(const Sender *s)
{
    return s->payload_bytes;
}

void sender_set_limits(Sender *s, guint64 bandwidth_bytes_per_s, SqueezeMode squeeze)
{
    pacer_set(&s->pacer, bandwidth_bytes_per_s, clock_steady_ms());
    squeeze_set_mode(s->squeeze, squeeze);
}

/* --- data -------------------------------------------------------------- */

gboolean sender_begin(Sender *s, const Generation *g, GError **error)
{
    return say(s, MESSAGE_BEGIN, generation_to_json(g), error);
}

gboolean sender_has_room(Sender *s, gsize len, int *ret_wait_ms)
{
    gint64 wait_ms = pacer_wait_ms(&s->pacer, clock_steady_ms());

    *ret_wait_ms = -1;
    if (s->credit < len || link_queued_bytes(s->link) > QUEUE_BYTES)
        return FALSE;
    *ret_wait_ms = (int)wait_ms;
    return wait_ms == 0;
}

static gboolean is_zero(const guint8 *data, gsize len)
{
    return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

/* A compressed copy of a block, and whose original is free at once. */
static gboolean send_squeezed(Sender *s, MessageData *frame, guint8 *copy, gsize n, GError **error)
{
    frame->payload = copy;
    frame->payload_len = n;
    frame->zstd = TRUE;
    if (link_send_data(s->link, frame, g_free, copy, error))
        return TRUE;
    g_free(copy);
    return FALSE;
}

gboolean sender_data(Sender *s, guint disk, guint64 offset, const guint8 *data, gsize len,
                     GDestroyNotify on_sent, void *user, GError **error)
{
    MessageData frame = {
        .offset = offset, .len = (guint32)len, .disk = (guint16)disk, .payload = data, .payload_len = len};
    g_autofree guint8 *copy = NULL;
    gsize n = 0;

    g_assert(len > 0 && len <= SENDER_BLOCK_MAX && s->credit >= len);
    if (is_zero(data, len)) {
        if (!sender_zero(s, disk, offset, len, error))
            return FALSE;
        on_sent(user);
        return TRUE;
    }
    frame.checksum = message_checksum(data, len);
    if (squeeze_wanted(s->squeeze, link_queued_bytes(s->link) > QUEUE_FULL, clock_steady_ms())) {
        copy = g_malloc(len);
        n = squeeze_run(s->squeeze, data, len, copy);
    }
    if (!bulk_step(&s->state, MESSAGE_DATA, error))
        return FALSE;
    if (n > 0) {
        if (!send_squeezed(s, &frame, g_steal_pointer(&copy), n, error))
            return FALSE;
        on_sent(user);
    } else if (!link_send_data(s->link, &frame, on_sent, user, error)) {
        return FALSE;
    }
    /* Credit is the standby's buffer space: the block as it will lie there. */
    s->credit -= len;
    s->payload_bytes += frame.payload_len;
    pacer_spend(&s->pacer, frame.payload_len);
    return TRUE;
}

static gboolean say_range(Sender *s, MessageType type, MessageRange range, GError **error)
{
    g_autoptr(GBytes) payload = message_encode_range(range);

    return bulk_step(&s->state, type, error) && link_send(s->link, type, 0, payload, error);
}

gboolean sender_zero(Sender *s, guint disk, guint64 offset, guint64 len, GError **error)
{
    return say_range(s, MESSAGE_ZERO, (MessageRange){offset, len, (guint16)disk}, error);
}

/* --- comparison -------------------------------------------------------- */

gboolean sender_compares(const Sender *s)
{
    return link_hello(s->link)->version_max >= HELLO_VERSION_COMPARE;
}

void sender_set_hashes(Sender *s, SenderHashes on_hashes, void *user)
{
    s->on_hashes = on_hashes;
    s->hashes_user = user;
}

void sender_digest_key(const Sender *s, guint8 out[static DIGEST_KEY_LEN])
{
    link_binding(s->link, LINK_BINDING_COMPARE, out);
}

gboolean sender_compare(Sender *s, guint disk, guint64 offset, guint64 len, GError **error)
{
    return say_range(s, MESSAGE_COMPARE, (MessageRange){offset, len, (guint16)disk}, error);
}

gboolean sender_same(Sender *s, guint disk, guint64 offset, guint64 len, GError **error)
{
    return say_range(s, MESSAGE_SAME, (MessageRange){offset, len, (guint16)disk}, error);
}

/* --- waiting ----------------------------------------------------------- */

void sender_prepare(Sender *s, struct pollfd *pfd, int *ret_timeout_ms)
{
    *pfd = (struct pollfd){.fd = link_fd(s->link), .events = link_events(s->link)};
    *ret_timeout_ms = link_timeout_ms(s->link);
}

gboolean sender_pump(Sender *s, short revents, GError **error)
{
    g_autoptr(GError) over = NULL;
    gboolean alive = link_pump(s->link, revents, &over);
    Frame *next;

    /* Frames that came before the end say more than the end does. */
    while ((next = link_take(s->link))) {
        g_autoptr(Frame) frame = next;

        if (!take_aside(s, frame, error))
            return FALSE;
    }
    if (!alive)
        g_propagate_error(error, g_steal_pointer(&over));
    return alive;
}

/* --- what is answered -------------------------------------------------- */

/* As far as the socket takes it now; the rest goes while the answer is waited for. */
static gboolean say_now(Sender *s, MessageType type, json_t *doc, GError **error)
{
    return say(s, type, doc, error) && link_pump(s->link, POLLOUT, error);
}

gboolean sender_slice(Sender *s, const Pass *pass, GError **error)
{
    return say_now(
        s, MESSAGE_SLICE,
        json_pack("{s:o, s:o}", "since", json_from_id(pass->since), "guard", json_from_id(pass->guard)),
        error);
}

gboolean sender_sliced(Sender *s, GError **error)
{
    json_auto_t *answer = await(s, MESSAGE_SLICE_KEPT, error);

    return answer != NULL;
}

/* The tip is now @g; what it stood on is its newest ancestor. */
static void advance(Sender *s, const Generation *g)
{
    Position *p = s->position;

    if (p->tip && !reign_equal(p->tip->reign, g->reign))
        g_array_set_size(p->ancestors, 0);
    else if (p->tip)
        g_array_prepend_val(p->ancestors, p->tip->id);
    if (p->ancestors->len > POSITION_ANCESTORS_MAX)
        g_array_set_size(p->ancestors, POSITION_ANCESTORS_MAX);
    generation_free(p->tip);
    p->tip = generation_copy(g);
    g_clear_pointer(&p->tip->definition, g_free);
}

static gboolean stamped(const json_t *answer, Id id, Stamp *ret_stamp, GError **error)
{
    if (!stamp_from_json(answer, ret_stamp, error))
        return FALSE;
    if (id_equal(ret_stamp->generation, id))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "the standby answered for generation %s, not for %s",
                ID_TEXT(ret_stamp->generation), ID_TEXT(id));
    return FALSE;
}

gboolean sender_seal(Sender *s, const Generation *g, GError **error)
{
    const Generation *tip = s->position->tip;

    return say_now(s, MESSAGE_SEAL, generation_to_json_packed(g, tip ? tip->belongings : NULL), error);
}

gboolean sender_sealed(Sender *s, Generation *g, GError **error)
{
    json_auto_t *answer = await(s, MESSAGE_SEALED, error);
    Stamp stamp;

    if (!answer || !stamped(answer, g->id, &stamp, error))
        return FALSE;
    g->sealed_at_ms = stamp.at_ms;
    advance(s, g);
    return TRUE;
}

gboolean sender_confirm(Sender *s, gint64 at_ms, GError **error)
{
    json_auto_t *answer = NULL;
    Stamp stamp = {s->position->tip->id, at_ms};

    if (!say(s, MESSAGE_CONFIRM, stamp_to_json(stamp), error))
        return FALSE;
    answer = await(s, MESSAGE_CONFIRMED, error);
    return answer && stamped(answer, stamp.generation, &stamp, error);
}

gboolean sender_discard(Sender *s, GError **error)
{
    json_auto_t *answer = NULL;

    if (!say(s, MESSAGE_DISCARD, json_object(), error))
        return FALSE;
    answer = await(s, MESSAGE_DISCARDED, error);
    return answer != NULL;
}
