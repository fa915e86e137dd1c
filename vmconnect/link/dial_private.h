/* SPDX-License-Identifier: Apache-2.0 */
/* dial_private - what dialling on the loop (dial.c) and in a worker (dial_worker.c) share
 * (dial_address.c). Both do the same: look up the next address; for each socket address it has, set out
 * (a link takes a socket that is still connecting) and see whether the link opens; the first
 * that does is handed over; after the last the most telling error is reported. Private to this folder. */
#pragma once

#include "vmconnect/link/dial.h"

#include <netdb.h>

extern const struct addrinfo DIAL_HINTS;

/* A link that is on its way to @to; NULL with @error if there is not even a way. */
Link *dial_set_out(const struct addrinfo *to, const char *address, const LinkSettings *settings,
                   gint64 until_ms, GError **error);

/* When one of @n attempts that are left has had its share of the time. */
gint64 dial_share_end(gint64 deadline_ms, guint n);

guint dial_count(const struct addrinfo *list);

/* Keep the more telling of the two in *@best; takes @error. */
void dial_keep_telling(GError **best, GError *error);

GError *dial_nothing_to_try(void);
GError *dial_too_late(void);
GError *dial_unknown_host(const char *address, const char *why);
