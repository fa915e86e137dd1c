/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: BEGIN opens the overlays; DATA and ZERO become writes in flight to
 * the storage daemon, each giving its credit back when it is done; COMPARE is answered by
 * the hasher, of a first generation with a seed after the sower; SLICE and SEAL wait for the writes, and are
 * answered when the store says durable.
 *
 * Any failure ends the link with the reason: the active drops its cut, attaches
 * again, and is told where the store really stands. */
#include "vmconnect/replicate/receiver.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/image/nbd.h"
#include "vmconnect/link/bulk.h"
#include "vmconnect/link/link_wait.h"
#include "vmconnect/link/order.h"
#include "vmconnect/replicate/digest.h"
#include "vmconnect/replicate/position.h"
#include "vmconnect/replicate/squeeze.h"

#define DRAIN_MS 60000
#define CREDIT_STEP (RECEIVER_CREDIT / 8) /* given back in pieces of this size */
#define HASHES_QUEUED (64u << 10)         /* and more are not needed yet */
#define START_STEP \
    (32u << 20) /* so much written, and the disk is told to begin: the flush of a slice waits less */

struct Receiver {
    Link *link;
    Store *store; /* borrowed */
    BulkState state;
    guint64 session;
    Reign reign;
    Generation *begun;  /* NULL: none */
    Pass *pass;         /* what came in this pass */
    GPtrArray *changed; /* of Extents *, per disk: what came in all passes */
    gboolean resumed;   /* the overlays may hold more than that */
    Hasher *hasher;     /* NULL: nothing was compared since the last slice */
    Seed *seed;         /* NULL: none, or it is needed no more */
    Sower *sower;       /* what is compared goes through it first; NULL: it does not */
    guint64 in_flight;  /* bytes of blocks being written */
    guint64 credit_owed;
    guint64 written; /* bytes that the storage daemon has, at most, since the disk was told to begin */
    GError *failed;  /* a write failed */
    char *slow;
};

/* --- state ------------------------------------------------------------- */

static void forget_comparison(Receiver *r)
{
    g_clear_pointer(&r->sower, sower_free);
    g_clear_pointer(&r->hasher, hasher_free);
}

static void forget_begun(Receiver *r)
{
    forget_comparison(r);
    g_clear_pointer(&r->begun, generation_free);
    g_clear_pointer(&r->pass, pass_free);
    g_clear_pointer(&r->changed, g_ptr_array_unref);
}

static Pass *pass_of_partial(const StorePartial *partial)
{
    Pass *pass = pass_new(partial->pass.since, partial->generation->disks->len);

    pass->guard = partial->pass.guard;
    for (guint i = 0; i < partial->n_disks; i++)
        extents_add_all(pass->has->pdata[i], partial->disks[i].has);
    return pass;
}

/* What was lost or damaged here is not claimed: the active sends it again. */
static void drop_damaged(Store *store, GPtrArray *belongings)
{
    for (guint i = belongings->len; i-- > 0;) {
        g_autoptr(GBytes) file = store_belonging(store, belongings->pdata[i], NULL);

        if (!file)
            g_ptr_array_remove_index(belongings, i);
    }
}

static Position *position_of_store(Store *store, const Seed *seed)
{
    Position *position = position_new();
    const Generation *tip = store_tip(store);
    const StorePartial *partial = store_partial(store);
    g_autoptr(GArray) ancestors = store_ancestors(store, POSITION_ANCESTORS_MAX);

    position->tip = tip ? generation_copy(tip) : NULL;
    if (tip)
        drop_damaged(store, position->tip->belongings);
    g_array_append_vals(position->ancestors, ancestors->data, ancestors->len);
    if (partial)
        position_set_partial(position, generation_copy(partial->generation), pass_of_partial(partial));
    if (seed) {
        position->seed = json_deep_copy(seed_sizes(seed));
        position->seed_why = g_strdup(seed_why(seed));
    }
    return position;
}

static gboolean say(Receiver *r, MessageType type, json_t *doc, GError **error)
{
    json_auto_t *owned = doc;

    return bulk_step(&r->state, type, error) && link_send_json(r->link, type, 0, owned, error);
}

static gboolean say_attached(Receiver *r, GError **error)
{
    g_autoptr(Position) position = position_of_store(r->store, r->seed);
    json_auto_t *doc = position_to_json(position);
    Attached attached = {.session = r->session, .credit_bytes = RECEIVER_CREDIT, .position = doc};

    return say(r, MESSAGE_ATTACHED, attached_to_json(&attached), error);
}

Receiver *receiver_new(Link *link, Store *store, Reign reign, Seed *seed, GError **error)
{
    Receiver *r = g_new0(Receiver, 1);
    g_autoptr(GError) why = NULL;

    r->link = link;
    r->store = store;
    r->reign = reign;
    r->seed = seed;
    r->state = BULK_ATTACHING;
    r->session = store_session(store) + 1;
    if (store_attach(store, reign, r->session, &why) && say_attached(r, &why))
        return r;
    receiver_close(r, why);
    g_propagate_error(error, g_steal_pointer(&why));
    return NULL;
}

static NbdDisk *disk_of(const Receiver *r, guint index)
{
    const GenerationDisk *disk = r->begun->disks->pdata[index];

    return store_disk(r->store, disk->target);
}

static guint disk_count(const Receiver *r)
{
    return r->begun ? r->begun->disks->len : 0;
}

gboolean receiver_is_stranded(const Receiver *r)
{
    for (guint i = 0; i < disk_count(r); i++)
        if (!disk_of(r, i))
            return TRUE;
    return FALSE;
}

static void wait_for_writes(Receiver *r)
{
    for (guint i = 0; i < disk_count(r); i++)
        if (disk_of(r, i))
            nbd_disk_drain(disk_of(r, i), DRAIN_MS, NULL);
}

void receiver_free(Receiver *r)
{
    if (!r)
        return;
    /* Writes in flight call back into us. */
    wait_for_writes(r);
    link_free(r->link);
    forget_begun(r);
    seed_close(r->seed);
    g_clear_error(&r->failed);
    g_free(r->slow);
    g_free(r);
}

void receiver_close(Receiver *r, const GError *why)
{
    link_wait_close(g_steal_pointer(&r->link), why);
    receiver_free(r);
}

Reign receiver_reign(const Receiver *r)
{
    return r->reign;
}

gint64 receiver_heard_ms(const Receiver *r)
{
    return link_heard_ms(r->link);
}

const char *receiver_seed_why(const Receiver *r)
{
    return r->seed ? seed_why(r->seed) : NULL;
}

const char *receiver_seed_lost(const Receiver *r)
{
    return r->seed ? seed_lost(r->seed) : NULL;
}

const char *receiver_slow(const Receiver *r)
{
    return r->slow;
}

/* --- blocks ------------------------------------------------------------ */

typedef struct {
    Receiver *receiver;
    Frame *frame;  /* holds the payload, unless it was unfolded */
    guint8 *plain; /* owned; NULL: the frame's own payload */
    guint64 len;
} Block;

static void on_written(void *user, const GError *error)
{
    Block *b = user;
    Receiver *r = b->receiver;

    if (error && !r->failed)
        r->failed = g_error_copy(error);
    r->in_flight -= b->len;
    r->credit_owed += b->len;
    r->written += b->len;
    if (r->link)
        link_reuse(r->link, b->frame);
    else
        frame_free(b->frame);
    g_free(b->plain);
    g_free(b);
}

static gboolean give_credit(Receiver *r, GError **error)
{
    g_autoptr(GBytes) payload = NULL;

    if (r->credit_owed < CREDIT_STEP)
        return TRUE;
    payload = message_encode_credit(r->credit_owed);
    r->credit_owed = 0;
    return bulk_step(&r->state, MESSAGE_CREDIT, error) &&
           link_send(r->link, MESSAGE_CREDIT, 0, payload, error);
}

static gboolean check_range(const Receiver *r, guint disk, guint64 offset, guint64 len, GError **error)
{
    if (disk < disk_count(r)) {
        const GenerationDisk *d = r->begun->disks->pdata[disk];

        if (len <= d->size_bytes && offset <= d->size_bytes - len)
            return TRUE;
    }
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL,
                "a block at %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                " bytes is not on disk %u of this generation",
                offset, len, disk);
    return FALSE;
}

static void note(Receiver *r, guint disk, guint64 offset, guint64 len)
{
    pass_add(r->pass, disk, offset, len);
    extents_add(r->changed->pdata[disk], offset, len);
}

/* The block's plain bytes: in the frame, or unfolded beside it. */
static const guint8 *unfold(const MessageData *data, Block *b, GError **error)
{
    const guint8 *plain = data->payload;

    if (data->zstd) {
        b->plain = g_malloc(data->len);
        if (!squeeze_undo(data->payload, data->payload_len, b->plain, data->len, error))
            return NULL;
        plain = b->plain;
    }
    return message_verify_data(data, plain, error) ? plain : NULL;
}

static gboolean take_data(Receiver *r, Frame *frame, GError **error)
{
    MessageData data;
    const guint8 *plain;
    Block *b;

    if (!message_decode_data(frame, &data, error) || !check_range(r, data.disk, data.offset, data.len, error))
        return FALSE;
    if (r->in_flight + data.len > RECEIVER_CREDIT) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "the active sends more than its credit");
        return FALSE;
    }
    b = g_new0(Block, 1);
    *b = (Block){.receiver = r, .len = data.len};
    plain = unfold(&data, b, error);
    if (!plain ||
        !nbd_disk_write(disk_of(r, data.disk), plain, data.offset, data.len, on_written, b, error)) {
        g_free(b->plain);
        g_free(b);
        return FALSE;
    }
    b->frame = g_steal_pointer(&frame);
    r->in_flight += data.len;
    note(r, data.disk, data.offset, data.len);
    return TRUE;
}

static void on_zeroed(void *user, const GError *error)
{
    Receiver *r = user;

    if (error && !r->failed)
        r->failed = g_error_copy(error);
}

static gboolean take_zero(Receiver *r, const Frame *frame, GError **error)
{
    MessageRange zero;

    if (!message_decode_range(frame, &zero, error) ||
        !check_range(r, zero.disk, zero.offset, zero.len, error) ||
        !nbd_disk_zero(disk_of(r, zero.disk), zero.offset, zero.len, on_zeroed, r, error))
        return FALSE;
    note(r, zero.disk, zero.offset, zero.len);
    return TRUE;
}

/* --- comparison -------------------------------------------------------- */

/* In the first pass of a first generation: what came later is newer than any seed. */
static gboolean sows(const Receiver *r)
{
    return r->seed && id_is_nil(r->begun->parent) && id_is_nil(r->pass->since);
}

/* A resumed overlay may have blocks that were sent after its last slice: equal to the active's now, but not
 * to the tip's, they have changed although nobody sends them again. So it is with what the sower lays. */
static gboolean begin_comparison(Receiver *r, GError **error)
{
    guint8 key[DIGEST_KEY_LEN];

    if (receiver_seed_lost(r)) {
        g_set_error_literal(error, US_ERROR, US_ERROR_UNREACHABLE, receiver_seed_lost(r));
        return FALSE;
    }
    link_binding(r->link, LINK_BINDING_COMPARE, key);
    if (sows(r))
        r->sower = sower_new(r->store, r->begun, r->seed);
    r->hasher = hasher_new(r->store, r->begun, key, r->resumed || r->sower ? r->changed : NULL);
    return TRUE;
}

/* What has come, the active does not say again: a seed, which may be older, must not be laid over it. */
static gboolean is_untouched(const Receiver *r, MessageRange range)
{
    return !extents_overlaps(r->pass->has->pdata[range.disk], range.offset, range.len);
}

static gboolean take_compare(Receiver *r, const Frame *frame, GError **error)
{
    MessageRange range;

    if (!message_decode_compare(frame, &range, error) ||
        !check_range(r, range.disk, range.offset, range.len, error))
        return FALSE;
    if (!r->hasher && !begin_comparison(r, error))
        return FALSE;
    return r->sower ? sower_ask(r->sower, range, is_untouched(r, range), error)
                    : hasher_ask(r->hasher, range, error);
}

static gboolean sow(Receiver *r, const struct pollfd *fds, GError **error)
{
    MessageRange range;

    if (!r->sower)
        return TRUE;
    if (!sower_pump(r->sower, fds, error))
        return FALSE;
    while (sower_take(r->sower, &range)) {
        r->written += range.len;
        if (!hasher_ask(r->hasher, range, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean take_same(Receiver *r, const Frame *frame, GError **error)
{
    MessageRange range;

    if (!message_decode_range(frame, &range, error) ||
        !check_range(r, range.disk, range.offset, range.len, error))
        return FALSE;
    pass_add(r->pass, range.disk, range.offset, range.len);
    return TRUE;
}

/* @fds: the hasher's, then the sower's; NULL: none were asked for. */
static gboolean give_hashes(Receiver *r, const struct pollfd *fds, GError **error)
{
    MessageHashes hashes;

    if (!r->hasher)
        return TRUE;
    if (!sow(r, fds ? fds + HASHER_POLL : NULL, error) || !hasher_pump(r->hasher, fds, error))
        return FALSE;
    while (link_queued_bytes(r->link) < HASHES_QUEUED && hasher_take(r->hasher, &hashes)) {
        g_autoptr(GBytes) payload = message_encode_hashes(&hashes);

        if (!bulk_step(&r->state, MESSAGE_HASHES, error) ||
            !link_send(r->link, MESSAGE_HASHES, 0, payload, error))
            return FALSE;
    }
    return TRUE;
}

/* --- the steps --------------------------------------------------------- */

/* The active does not wait for what was not compared by now. */
static gboolean drain(Receiver *r, GError **error)
{
    for (guint i = 0; i < disk_count(r); i++)
        if (!nbd_disk_drain(disk_of(r, i), DRAIN_MS, error))
            return FALSE;
    forget_comparison(r);
    if (!r->failed)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&r->failed));
    return FALSE;
}

static Generation *decode_generation(Receiver *r, const Frame *frame, GError **error)
{
    json_auto_t *doc = message_decode_json(frame, error);
    g_autoptr(Generation) g = doc ? generation_from_json(doc, error) : NULL;

    if (g && !reign_equal(g->reign, r->reign)) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "a generation of another reign than the link's");
        return NULL;
    }
    return g_steal_pointer(&g);
}

static gboolean take_begin(Receiver *r, const Frame *frame, GError **error)
{
    g_autoptr(Generation) g = decode_generation(r, frame, error);
    const StorePartial *partial;

    if (!g)
        return FALSE;
    if (g->disks->len > RECEIVER_DISKS_MAX) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "a VM of %u disks is not supported",
                    g->disks->len);
        return FALSE;
    }
    if (!store_begin(r->store, r->session, g, error))
        return FALSE;
    forget_begun(r);
    partial = store_partial(r->store);
    if (partial && !id_equal(partial->generation->id, g->id))
        partial = NULL;
    r->begun = g_steal_pointer(&g);
    r->resumed = partial != NULL;
    r->pass = partial ? pass_of_partial(partial) : pass_new(r->begun->since, r->begun->disks->len);
    r->changed = g_ptr_array_new_with_free_func((GDestroyNotify)extents_free);
    for (guint i = 0; i < r->begun->disks->len; i++)
        g_ptr_array_add(r->changed, partial ? extents_copy(partial->disks[i].changed) : extents_new());
    return TRUE;
}

static gboolean take_slice(Receiver *r, const Frame *frame, GError **error)
{
    json_auto_t *doc = message_decode_json(frame, error);
    g_autofree StoreProgress *progress = NULL;
    json_t *since, *guard;
    StorePass pass;

    if (!doc || !json_read(doc, "slice", error, "{s:o, s:o}", "since", &since, "guard", &guard) ||
        !json_to_id(since, &pass.since, error) || !json_to_id(guard, &pass.guard, error) || !drain(r, error))
        return FALSE;
    if (!id_equal(pass.since, r->pass->since)) {
        pass_free(r->pass);
        r->pass = pass_new(pass.since, r->begun->disks->len);
    }
    r->pass->guard = pass.guard;
    progress = g_new0(StoreProgress, MAX(r->begun->disks->len, 1));
    for (guint i = 0; i < r->begun->disks->len; i++) {
        const GenerationDisk *disk = r->begun->disks->pdata[i];

        progress[i] = (StoreProgress){disk->target, r->pass->has->pdata[i], r->changed->pdata[i]};
    }
    return store_slice(r->store, r->session, pass, progress, r->begun->disks->len, error) &&
           say(r, MESSAGE_SLICE_KEPT, json_object(), error);
}

static gboolean take_seal(Receiver *r, const Frame *frame, GError **error)
{
    g_autoptr(Generation) g = decode_generation(r, frame, error);
    g_autofree StoreExtents *changed = NULL;
    Stamp stamp;

    if (!g || !drain(r, error))
        return FALSE;
    changed = g_new0(StoreExtents, MAX(r->begun->disks->len, 1));
    for (guint i = 0; i < r->begun->disks->len; i++) {
        const GenerationDisk *disk = r->begun->disks->pdata[i];

        changed[i] = (StoreExtents){disk->target, r->changed->pdata[i]};
    }
    if (!store_seal(r->store, r->session, g, changed, r->begun->disks->len, error))
        return FALSE;
    forget_begun(r);
    g_clear_pointer(&r->seed, seed_close);
    link_drop_spares(r->link);
    stamp = (Stamp){g->id, store_tip(r->store)->sealed_at_ms};
    return say(r, MESSAGE_SEALED, stamp_to_json(stamp), error);
}

static gboolean take_confirm(Receiver *r, const Frame *frame, GError **error)
{
    json_auto_t *doc = message_decode_json(frame, error);
    Stamp stamp;

    return doc && stamp_from_json(doc, &stamp, error) &&
           store_confirm(r->store, r->session, stamp.generation, stamp.at_ms, error) &&
           say(r, MESSAGE_CONFIRMED, stamp_to_json(stamp), error);
}

static gboolean take_discard(Receiver *r, GError **error)
{
    if (!drain(r, error))
        return FALSE;
    forget_begun(r);
    return store_discard(r->store, error) && say(r, MESSAGE_DISCARDED, json_object(), error);
}

/* @frame is taken only by DATA; *@frame is NULL then. */
static gboolean take(Receiver *r, Frame **frame, GError **error)
{
    if (!bulk_step(&r->state, (*frame)->head.type, error))
        return FALSE;
    switch ((*frame)->head.type) {
    case MESSAGE_BEGIN:
        return take_begin(r, *frame, error);
    case MESSAGE_DATA:
        return take_data(r, *frame, error) && (*frame = NULL, TRUE);
    case MESSAGE_ZERO:
        return take_zero(r, *frame, error);
    case MESSAGE_COMPARE:
        return take_compare(r, *frame, error);
    case MESSAGE_SAME:
        return take_same(r, *frame, error);
    case MESSAGE_SLICE:
        return take_slice(r, *frame, error);
    case MESSAGE_SEAL:
        return take_seal(r, *frame, error);
    case MESSAGE_CONFIRM:
        return take_confirm(r, *frame, error);
    case MESSAGE_DISCARD:
        return take_discard(r, error);
    default:
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "the active said %s, which is ours to say",
                    message_name((*frame)->head.type));
        return FALSE;
    }
}

/* --- the chain's length ------------------------------------------------ */

static gboolean tell_room(Receiver *r, GError **error)
{
    g_autofree char *why = NULL;

    store_room(r->store, &why);
    if (g_strcmp0(why, r->slow) == 0)
        return TRUE;
    g_free(r->slow);
    r->slow = g_strdup(why);
    return say(r, MESSAGE_SLOW, slow_to_json(why), error);
}

/* --- turning ----------------------------------------------------------- */

static guint prepare_comparison(Receiver *r, struct pollfd fds[static HASHER_POLL + SOWER_POLL],
                                int *ret_timeout_ms)
{
    if (!r->hasher)
        return 0;
    if (hasher_prepare(r->hasher, fds))
        *ret_timeout_ms = 0;
    for (guint i = 0; i < SOWER_POLL; i++)
        fds[HASHER_POLL + i] = (struct pollfd){.fd = -1};
    if (r->sower && sower_prepare(r->sower, fds + HASHER_POLL))
        *ret_timeout_ms = 0;
    return HASHER_POLL + SOWER_POLL;
}

guint receiver_prepare(Receiver *r, struct pollfd fds[static RECEIVER_POLL_MAX], int *ret_timeout_ms)
{
    fds[0] = (struct pollfd){.fd = link_fd(r->link), .events = link_events(r->link)};
    *ret_timeout_ms = link_timeout_ms(r->link);
    for (guint i = 0; i < disk_count(r); i++)
        if (nbd_disk_prepare(disk_of(r, i), &fds[1 + i]))
            *ret_timeout_ms = 0;
    return 1 + disk_count(r) + prepare_comparison(r, &fds[1 + disk_count(r)], ret_timeout_ms);
}

static gboolean has_room(const Receiver *r)
{
    for (guint i = 0; i < disk_count(r); i++)
        if (!nbd_disk_has_room(disk_of(r, i)))
            return FALSE;
    return TRUE;
}

static gboolean take_all(Receiver *r, GError **error)
{
    Frame *next;

    /* Frames wait in the link while a disk has no room; the link stops reading. */
    while (has_room(r) && (next = link_take(r->link))) {
        gboolean ok = take(r, &next, error);

        frame_free(next);
        if (!ok)
            return FALSE;
    }
    return TRUE;
}

static void start_writing(Receiver *r)
{
    if (r->written < START_STEP)
        return;
    r->written = 0;
    store_start_writing(r->store);
}

static gboolean pump(Receiver *r, const struct pollfd *fds, guint n, GError **error)
{
    const struct pollfd *comparison_fds = n > 1 + disk_count(r) ? &fds[1 + disk_count(r)] : NULL;
    g_autoptr(GError) over = NULL;
    gboolean alive;

    for (guint i = 1; i < n && i <= disk_count(r); i++)
        if (!nbd_disk_pump(disk_of(r, i - 1), fds[i].revents, error))
            return FALSE;
    if (r->failed) {
        g_propagate_error(error, g_steal_pointer(&r->failed));
        return FALSE;
    }
    alive = link_pump(r->link, fds[0].revents, &over);
    if (!take_all(r, error) ||
        (alive && (!give_credit(r, error) || !give_hashes(r, comparison_fds, error) || !tell_room(r, error))))
        return FALSE;
    start_writing(r);
    if (!alive)
        g_propagate_error(error, g_steal_pointer(&over));
    return alive;
}

gboolean receiver_pump(Receiver *r, const struct pollfd *fds, guint n, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (pump(r, fds, n, &why))
        return TRUE;
    if (r->link && link_state(r->link) == LINK_OPEN)
        link_wait_close(g_steal_pointer(&r->link), why);
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}
