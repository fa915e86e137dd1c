/* SPDX-License-Identifier: Apache-2.0 */
/* fetch - one HTTP request to a guest on the stage, which nobody waits for: it goes on when it is looked at.
 *
 * HTTP/1.0, GET, without TLS, redirections or chunks; the socket stays in the network that the thread was in when it was opened. A guest
 * is trusted with nothing: no more than FETCH_BYTES of its answer are kept. */
#pragma once

#include <glib.h>

#define FETCH_BYTES 65536

typedef struct Fetch Fetch;

/* @address is an IPv4 number. NULL with @error: IO, USAGE. */
Fetch *fetch_open(const char *address, guint16 port, const char *path, int timeout_ms, GError **error);
void fetch_close(Fetch *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fetch, fetch_close)

/* Go on for at most @wait_ms. TRUE: it is over, by its end, its time or its size; fetch_judge() then. */
gboolean fetch_go_on(Fetch *f, int wait_ms);
/* *@ret_says: what came, for people; the caller frees. TRUE if it is as fetch_answer_is_good() has it. */
gboolean fetch_judge(const Fetch *f, const char *expect, char **ret_says);

/* Pure: is that a whole head of a 2xx or 3xx, and does @expect (NULL: anything) stand in what follows it? *@ret_says: its status and how it
 * begins, printable; the caller frees. */
gboolean fetch_answer_is_good(const char *answer, gsize len, const char *expect, char **ret_says);
