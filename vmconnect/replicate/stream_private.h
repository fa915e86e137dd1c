/* SPDX-License-Identifier: Apache-2.0 */
/* stream_private - what stream.c and stream_compare.c share. For nobody else. */
#pragma once

#include "vmconnect/replicate/stream.h"

#define STREAM_BLOCKS 16 /* reads in flight; 4 MiB a VM */

typedef enum { BLOCK_FREE, BLOCK_READING, BLOCK_READ, BLOCK_SENDING } BlockState;

typedef struct {
    Stream *stream;
    BlockState state;
    guint64 offset;
    gsize len;
    guint8 *data;
} Block;

typedef struct Comparison Comparison;

struct Stream {
    Block blocks[STREAM_BLOCKS];
    Comparison *comparison;
    guint64 compared_bytes; /* by all runs */
    /* For the length of one run: */
    Cut *cut;
    Sender *sender;
    Pass *pass;
    GPtrArray
        *differing; /* of Extents *, one a disk: what differs is noted here and not sent; NULL: it is sent */
    const StreamLimits *limits;
    StreamProgress on_progress;
    void *user;
    guint disk;
    guint64 done_bytes;
    guint64 total_bytes;
    gint64 woken_ms; /* steady: when the wake was seen; 0: not yet */
    gboolean broken; /* a limit was reached */
    GError *failed;  /* a read failed */
};

/* The standby has this range of the present disk now. */
void stream_handled(Stream *st, guint64 offset, guint64 len);

/* Until something moves: the image's export, the link, a letter, or a limit; at most @wait_ms (-1: none). */
gboolean stream_turn(Stream *st, int wait_ms, GError **error);

/* stream_compare.c: ranges of a disk of which the standby has a copy. */
Comparison *comparison_new(Stream *st);
/* As the stream's blocks: the sender borrows them. NULL is accepted. */
void comparison_free(Comparison *c);

/* Of @window compare and send (or note) what differs, until all is done or the stream is broken off. @data is what is not
 * known to read as zeros here. Both consist of whole blocks (MESSAGE_BLOCK), but for the end of the disk. */
gboolean comparison_run(Comparison *c, const Extents *window, const Extents *data, GError **error);

/* The run is over, and no read is in flight: what was not sent is forgotten. */
void comparison_drop(Comparison *c);
