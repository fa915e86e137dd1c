/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/intake.h"

#include <string.h>

#define SPARE_LEN (32u << 10) /* below it malloc does well */

void intake_init(Intake *intake, IntakeAllow allow, void *user)
{
    memset(intake, 0, sizeof(*intake));
    intake->allow = allow;
    intake->user = user;
}

void intake_clear(Intake *intake)
{
    g_clear_pointer(&intake->frame, frame_free);
    intake_drop_spares(intake);
}

void intake_drop_spares(Intake *intake)
{
    while (intake->n_spare > 0)
        frame_free(intake->spare[--intake->n_spare]);
}

void intake_reuse(Intake *intake, Frame *frame)
{
    if (frame->room >= SPARE_LEN && intake->n_spare < INTAKE_SPARES)
        intake->spare[intake->n_spare++] = frame;
    else
        frame_free(frame);
}

/* The payload of a large frame is mapped and unmapped by malloc each time: not if a spare one fits. */
static Frame *frame_for(Intake *intake, FrameHeader head)
{
    Frame *frame;

    if (head.len < SPARE_LEN || intake->n_spare == 0 || intake->spare[intake->n_spare - 1]->room < head.len)
        return frame_new(head);
    frame = intake->spare[--intake->n_spare];
    frame->head = head;
    return frame;
}

guint8 *intake_room(Intake *intake, gsize *ret_len)
{
    if (!intake->frame) {
        *ret_len = FRAME_HEADER_LEN - intake->at;
        return intake->head + intake->at;
    }
    *ret_len = FRAME_HEADER_LEN + (gsize)intake->frame->head.len - intake->at;
    return intake->frame->payload + (intake->at - FRAME_HEADER_LEN);
}

gboolean intake_put(Intake *intake, gsize len, Frame **ret_frame, GError **error)
{
    gsize room;

    intake_room(intake, &room);
    g_assert(len <= room);
    intake->at += len;
    *ret_frame = NULL;
    if (!intake->frame && intake->at == FRAME_HEADER_LEN) {
        FrameHeader head = frame_header_decode(intake->head);

        if (!intake->allow(intake->user, head, error))
            return FALSE;
        intake->frame = frame_for(intake, head);
    }
    if (intake->frame && intake->at == FRAME_HEADER_LEN + (gsize)intake->frame->head.len) {
        *ret_frame = g_steal_pointer(&intake->frame);
        intake->at = 0;
    }
    return TRUE;
}
