/* SPDX-License-Identifier: Apache-2.0 */
/* sendq - what waits to be sent on a link, packed into full TLS records.
 *
 * Small frames share a record; a large one is never put together in memory: what
 * fills whole records goes from the caller's buffer as it lies there, the rest
 * through one stage of a record's length. Private to this folder. */
#pragma once

#include "vmconnect/link/frame.h"

#include <glib.h>

#define SENDQ_STAGE_LEN 16384 /* the payload of one TLS record */
#define SENDQ_HEAD_MAX 64

typedef struct {
    GQueue items;
    gsize bytes;     /* in items and stage */
    gboolean direct; /* sendq_next() has shown the first item's own bytes */
    guint8 *stage;
    gsize stage_len;
    gsize stage_at;
} SendQueue;

void sendq_init(SendQueue *q);

/* Calls the callbacks of what is left. */
void sendq_clear(SendQueue *q);

/* Queue @head and, borrowed until @on_sent(@user), @len bytes at @data. */
void sendq_push(SendQueue *q, const guint8 *head, gsize head_len, const guint8 *data, gsize len,
                GDestroyNotify on_sent, void *user);

/* What to write next; the same until sendq_sent(). 0 bytes: nothing waits. May call callbacks. */
gsize sendq_next(SendQueue *q, const guint8 **ret_data);
void sendq_sent(SendQueue *q, gsize len);
