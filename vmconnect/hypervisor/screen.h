/* SPDX-License-Identifier: Apache-2.0 */
/* screen - what is to be seen on a VM's screen: as evidence, and to compare.
 *
 * Pure, but for screen_take(). A picture is made by a guest and its QEMU, and neither is trusted. */
#pragma once

#include "vmconnect/hypervisor/virt_error.h"

#include <glib.h>

#define SCREEN_SIDE_MAX 16384        /* pixels */
#define SCREEN_BYTES_MAX (64U << 20) /* of rgb, and of what comes from libvirt but for its header */

typedef struct {
    guint width;  /* pixels, 1 to SCREEN_SIDE_MAX */
    guint height; /* the same */
    guint8 *rgb;  /* 3 * width * height bytes, rows from the top, without gaps */
} Screen;

void screen_free(Screen *screen);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Screen, screen_free)
Screen *screen_copy(const Screen *screen);

/* The first screen of a VM that runs or is paused. UNSUPPORTED: it has none, or its picture is of a kind that
 * screen_parse() does not read; REFUSED: it is off; NOT_FOUND: it is gone; PROTOCOL. For worker threads: @dom is of
 * the thread's own connection. */
gboolean screen_take(virDomainPtr dom, Screen **ret_screen, GError **error);

/* A picture of MIME type @mime: "image/png" (libvirt 9 with QEMU 7.2) or "image/x-portable-pixmap" (older ones; P6 of
 * 8 bits). NULL with @error: UNSUPPORTED, another type, or too big; PROTOCOL, it is broken. */
Screen *screen_parse(const char *mime, const guint8 *data, gsize len, GError **error);

/* As PNG: equal screens give equal bytes. NULL with @error FAILED. */
GBytes *screen_png(const Screen *screen, GError **error);

/* Share of the pixels, 0 to 1, in which the two differ so that one would notice; 1 if they are not of one size. */
double screen_difference(const Screen *a, const Screen *b);

/* Is there nothing on it: one colour, but for at most something as small as a cursor, or the sentence that QEMU
 * itself writes in the middle of the screen of a guest that uses none? */
gboolean screen_is_blank(const Screen *screen);
