/* SPDX-License-Identifier: Apache-2.0 */
/* frame - the unit of everything that travels on a link: a header and a payload.
 *
 *   0  u16  type     a message of message.h
 *   2  u16  flags    bits of that message; unknown ones are refused
 *   4  u32  len      bytes of payload that follow
 *   8  u64  id       pairs an answer with its question; 0 where there is none
 *
 * Little-endian. What a payload means and how long it may be is message.h's. */
#pragma once

#include <glib.h>

#define FRAME_HEADER_LEN 16

typedef struct {
    guint16 type;
    guint16 flags;
    guint32 len;
    guint64 id;
} FrameHeader;

void frame_header_encode(FrameHeader head, guint8 out[static FRAME_HEADER_LEN]);

/* Any 16 bytes are a header; message_check() says whether it may be here. */
FrameHeader frame_header_decode(const guint8 in[static FRAME_HEADER_LEN]);

typedef struct {
    FrameHeader head;
    guint8 *payload; /* head.len bytes; NULL for none */
    gsize room;      /* allocated for it */
} Frame;

/* A frame with room for head.len bytes, which the caller has checked. */
Frame *frame_new(FrameHeader head);
void frame_free(Frame *frame);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Frame, frame_free)
