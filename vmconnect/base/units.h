/* SPDX-License-Identifier: Apache-2.0 */
/* units - durations, sizes and rates as people write them.
 *
 * Durations: `250ms 5s 3m 2h 1d`; a bare number is refused, because nobody
 * agrees on its unit. Sizes: bytes, or KiB MiB GiB TiB, with K M G T the same.
 * Rates: as tc(8) writes them, `100mbit` (bits, powers of 1000) or `10mbps`
 * (bytes, powers of 1000); 0 means no limit. A fraction is refused. */
#pragma once

#include <glib.h>

/* All three: FALSE with @error USAGE, naming the text and the accepted forms. */
gboolean units_parse_duration(const char *text, gint64 *ret_ms, GError **error);
gboolean units_parse_size(const char *text, guint64 *ret_bytes, GError **error);
gboolean units_parse_rate(const char *text, guint64 *ret_bytes_per_s, GError **error);

/* Text that the parser above reads back to the same value, in the largest unit
 * that divides it. The caller frees. */
char *units_format_duration(gint64 ms);
char *units_format_size(guint64 bytes);
char *units_format_rate(guint64 bytes_per_s);

/* For people: three digits and a unit, `1.43 GiB`, `12 s`. The caller frees. */
char *units_human_size(guint64 bytes);
char *units_human_duration(gint64 ms);
