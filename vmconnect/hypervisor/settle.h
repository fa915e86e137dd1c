/* SPDX-License-Identifier: Apache-2.0 */
/* settle - has a guest's screen come to rest?
 *
 * Pure: pictures and times are given. A screen rests that shows something, and then the same for a while. A cursor
 * that blinks and a clock that goes on are no change; nor is a small figure that turns, which nothing tells from them:
 * a guest whose screen rests may still be at work. All is compared with the first picture of the rest and not with the
 * one before, so that what changes little by little is a change at last. */
#pragma once

#include "vmconnect/hypervisor/screen.h"

#define SETTLE_MS 10000

/* Share of the pixels that makes a change. A cursor or a desktop's clock is a fifth of that on the smallest screen;
 * another picture, or a full line of text in VGA's text mode, is more. A large clock of hours and minutes is more, too,
 * but leaves its screen at rest for a minute. */
#define SETTLE_CHANGE 0.005

typedef struct {
    gint64 rest_ms;  /* how long it must rest */
    gint64 since_ms; /* when `first` was seen */
    Screen *first;   /* NULL: none yet, or it was blank */
} Settle;

void settle_init(Settle *s, gint64 rest_ms);
void settle_clear(Settle *s);

/* @screen, the caller's, was there at @at_ms of a clock that does not go back. TRUE: it has rested for `rest_ms`, and
 * still does. What comes and goes between two pictures is not seen: one a second will do. */
gboolean settle_add(Settle *s, const Screen *screen, gint64 at_ms);
