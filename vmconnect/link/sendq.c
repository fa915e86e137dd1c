/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/sendq.h"

#include <string.h>

typedef struct {
    guint8 head[SENDQ_HEAD_MAX];
    gsize head_len;
    const guint8 *data;
    gsize len;
    gsize at; /* of head and data together */
    GDestroyNotify on_sent;
    void *user;
} Item;

static void item_free(Item *item)
{
    if (item->on_sent)
        item->on_sent(item->user);
    g_free(item);
}

void sendq_init(SendQueue *q)
{
    memset(q, 0, sizeof(*q));
    g_queue_init(&q->items);
    q->stage = g_malloc(SENDQ_STAGE_LEN);
}

void sendq_clear(SendQueue *q)
{
    Item *item;

    while ((item = g_queue_pop_head(&q->items)))
        item_free(item);
    g_clear_pointer(&q->stage, g_free);
    q->bytes = q->stage_len = q->stage_at = 0;
}

void sendq_push(SendQueue *q, const guint8 *head, gsize head_len, const guint8 *data, gsize len,
                GDestroyNotify on_sent, void *user)
{
    Item *item = g_new0(Item, 1);

    g_assert(head_len <= SENDQ_HEAD_MAX);
    memcpy(item->head, head, head_len);
    item->head_len = head_len;
    item->data = data;
    item->len = len;
    item->on_sent = on_sent;
    item->user = user;
    q->bytes += head_len + len;
    g_queue_push_tail(&q->items, item);
}

static gsize left_of(const Item *item)
{
    return item->head_len + item->len - item->at;
}

/* Move as much of @item into the stage as fits of the part that starts at @from. */
static void stage_part(SendQueue *q, Item *item, const guint8 *part, gsize from, gsize len)
{
    gsize n;

    if (item->at >= from + len)
        return;
    n = MIN(SENDQ_STAGE_LEN - q->stage_len, from + len - item->at);
    memcpy(q->stage + q->stage_len, part + (item->at - from), n);
    item->at += n;
    q->stage_len += n;
}

static void fill_stage(SendQueue *q)
{
    Item *item;

    while (q->stage_len < SENDQ_STAGE_LEN && (item = g_queue_peek_head(&q->items))) {
        stage_part(q, item, item->head, 0, item->head_len);
        /* What fills records by itself waits for an empty stage. */
        if (item->at >= item->head_len && left_of(item) < SENDQ_STAGE_LEN)
            stage_part(q, item, item->data, item->head_len, item->len);
        if (left_of(item) > 0)
            return;
        /* Out of the queue first: the callback may queue more. */
        g_queue_pop_head(&q->items);
        item_free(item);
    }
}

/* With nothing staged before them, bytes of the first item that fill whole records; 0: none do. */
static gsize direct_bytes(SendQueue *q, const guint8 **ret_data)
{
    const Item *item = g_queue_peek_head(&q->items);

    if (!item || item->at < item->head_len)
        return 0;
    *ret_data = item->data + (item->at - item->head_len);
    return left_of(item) - left_of(item) % SENDQ_STAGE_LEN;
}

gsize sendq_next(SendQueue *q, const guint8 **ret_data)
{
    gsize len;

    if (q->stage_at == q->stage_len) {
        q->stage_at = q->stage_len = 0;
        len = direct_bytes(q, ret_data);
        q->direct = len > 0;
        if (len > 0)
            return len;
        fill_stage(q);
    }
    *ret_data = q->stage + q->stage_at;
    return q->stage_len - q->stage_at;
}

static void sent_directly(SendQueue *q, gsize len)
{
    Item *item = g_queue_peek_head(&q->items);

    g_assert(len <= left_of(item));
    item->at += len;
    if (left_of(item) > 0)
        return;
    g_queue_pop_head(&q->items);
    item_free(item);
}

void sendq_sent(SendQueue *q, gsize len)
{
    g_assert(len <= q->bytes);
    q->bytes -= len;
    if (q->direct) {
        sent_directly(q, len);
        return;
    }
    g_assert(len <= q->stage_len - q->stage_at);
    q->stage_at += len;
}
