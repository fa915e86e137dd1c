/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/frame.h"

#include "vmconnect/link/cursor.h"

void frame_header_encode(FrameHeader head, guint8 out[static FRAME_HEADER_LEN])
{
    Writer w = writer_init(out, FRAME_HEADER_LEN);

    writer_u16(&w, head.type);
    writer_u16(&w, head.flags);
    writer_u32(&w, head.len);
    writer_u64(&w, head.id);
    g_assert(w.len == FRAME_HEADER_LEN);
}

FrameHeader frame_header_decode(const guint8 in[static FRAME_HEADER_LEN])
{
    Reader r = reader_init(in, FRAME_HEADER_LEN);
    FrameHeader head;

    head.type = reader_u16(&r);
    head.flags = reader_u16(&r);
    head.len = reader_u32(&r);
    head.id = reader_u64(&r);
    g_assert(reader_done(&r));
    return head;
}

Frame *frame_new(FrameHeader head)
{
    Frame *frame = g_new0(Frame, 1);

    frame->head = head;
    frame->payload = head.len ? g_malloc(head.len) : NULL;
    frame->room = head.len;
    return frame;
}

void frame_free(Frame *frame)
{
    if (!frame)
        return;
    g_free(frame->payload);
    g_free(frame);
}
