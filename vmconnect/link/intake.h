/* SPDX-License-Identifier: Apache-2.0 */
/* intake - puts frames together from what arrives, straight into their buffers.
 *
 * The caller reads into intake_room() and says how much came. A header is
 * shown to @allow before anything is allocated for its payload. Private to this folder. */
#pragma once

#include "vmconnect/link/frame.h"

#include <glib.h>

typedef gboolean (*IntakeAllow)(void *user, FrameHeader head, GError **error);

#define INTAKE_SPARES 16

typedef struct {
    guint8 head[FRAME_HEADER_LEN];
    gsize at;                    /* bytes there, of head and payload together */
    Frame *frame;                /* once the header is there and allowed */
    Frame *spare[INTAKE_SPARES]; /* large ones that were used before */
    guint n_spare;
    IntakeAllow allow;
    void *user;
} Intake;

void intake_init(Intake *intake, IntakeAllow allow, void *user);
void intake_clear(Intake *intake);

/* Where the next bytes go; 1 or more. */
guint8 *intake_room(Intake *intake, gsize *ret_len);

/* @len bytes were put there. *@ret_frame is a whole frame (the caller's) or NULL. FALSE with
 * @error if the frame is not allowed; the intake is then of no more use. */
gboolean intake_put(Intake *intake, gsize len, Frame **ret_frame, GError **error);

/* Frames of one size come by the thousand: a large one that is done with is kept, for one of its size or
 * less. Takes @frame. */
void intake_reuse(Intake *intake, Frame *frame);
void intake_drop_spares(Intake *intake);
