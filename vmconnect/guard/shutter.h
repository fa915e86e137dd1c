/* SPDX-License-Identifier: Apache-2.0 */
/* shutter - the kernel lets a guest's frames in only while its lease lives.
 *
 * A table of nftables of our own, family bridge: a frame that a bridge takes from a tap that is kept passes while the tap is an element of a set
 * whose elements end by themselves. So it holds while this process, or all of the host's processes, stand still, and in the moment in which they go on.
 * Taps are known by their interface's index, which no later interface is given: a name may become somebody else's. Frames from other taps, and
 * those towards a guest, are not looked at.
 *
 * The kernel counts an element's time in jiffies, which follow CLOCK_MONOTONIC: that may be slewed by up to a tenth, and stands still in a
 * suspend. So an element lives for nine tenths of what is left, and is laid again when half of that is over: with a guard that runs it ends
 * when it should, with one that does not, earlier, never later. Against a suspend of the host there is no help here.
 *
 * Renewed by deleting and adding in one transaction, for adding what is there prolongs nothing; frames see the old one or the new one. */
#pragma once

#include <glib.h>

#define SHUTTER_TABLE "understudy_guard"

typedef struct Shutter Shutter;

#define SHUTTER_ENDLESS (-1)

typedef struct {
    guint index;    /* of the interface */
    gint64 open_ms; /* how long its frames pass from now on; 0: not at all; SHUTTER_ENDLESS */
} ShutterTap;

/* Touches nothing of the kernel's. */
Shutter *shutter_new(GError **error);
void shutter_free(Shutter *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Shutter, shutter_free)

/* Is our table there? */
gboolean shutter_stands(Shutter *s);

/* The table, anew and with these taps, in one transaction. */
gboolean shutter_make(Shutter *s, const ShutterTap *taps, guint n, GError **error);

/* In a table that stands: keep these taps as well, or otherwise than before; all of them or none. */
gboolean shutter_lay(Shutter *s, const ShutterTap *taps, guint n, GError **error);

/* Look at these no more, whether they were kept or not; only their indices are read. */
gboolean shutter_release(Shutter *s, const ShutterTap *taps, guint n, GError **error);

/* Remove the table, unless it keeps any tap. */
gboolean shutter_end(Shutter *s, GError **error);

/* So long an element is to live whose tap may be open for @open_ms. */
gint64 shutter_life_ms(gint64 open_ms);
