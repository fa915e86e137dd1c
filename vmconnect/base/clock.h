/* SPDX-License-Identifier: Apache-2.0 */
/* clock - the two times there are.
 *
 * Steady: milliseconds that never jump and go on through a suspend
 * (CLOCK_BOOTTIME); everything that is compared uses it. It means nothing on
 * another host or after a reboot. Wall: milliseconds since 1970 UTC, for people only. */
#pragma once

#include <glib.h>

#define CLOCK_TEXT_LEN 24

gint64 clock_steady_ms(void);
gint64 clock_wall_ms(void);

/* What is left until @deadline_ms, a steady time, as poll(2) takes it: 0 when it is over, never -1, which is for ever.
 * (MAX() and CLAMP() read a clock that they are given twice, and the second time it is later.) */
int clock_left_ms(gint64 deadline_ms);

/* The shorter of two waits as poll(2) takes them: -1 is for ever. */
int clock_shorter_ms(int a_ms, int b_ms);

/* RFC 3339, UTC, milliseconds: 2026-11-21T22:16:54.123Z. Returns @buf. */
char *clock_format(gint64 wall_ms, char buf[static CLOCK_TEXT_LEN + 1]);

/* The reverse; FALSE with @error USAGE for anything but that form, and for times before 1970. */
gboolean clock_parse(const char *text, gint64 *ret_wall_ms, GError **error);
