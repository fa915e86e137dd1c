/* SPDX-License-Identifier: Apache-2.0 */
/* http_get - one page asked for, and looked at (RFC 9110).
 *
 * By who waits for it, a thread aside, or by who has other things to do and looks at it now and then. Answered is a 2xx or 3xx whose first 64 KiB
 * have the text that was expected. Redirections are not followed, proxies not asked, nothing else than http and https is spoken. A certificate is
 * not judged: the question is whether the server lives, which one that has expired does not end; nothing is sent that would be a
 * secret. A server is trusted with nothing: no more is kept of what it says, and neither its head nor its handshake may go on for ever.
 *
 * A connection is made in the network that the thread was in at http_get_new(), or not at all. The program ignores SIGPIPE. */
#pragma once

#include <glib.h>

#define HTTP_GET_BYTES (64u << 10)

typedef struct HttpGet HttpGet;

/* Nothing is sent yet. */
HttpGet *http_get_new(const char *url, gint64 timeout_ms);
void http_get_free(HttpGet *g);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HttpGet, http_get_free)

/* Go on for at most @wait_ms. TRUE: it is over, by its end, its time or its size. */
gboolean http_get_go_on(HttpGet *g, int wait_ms);
/* Is it answered, by what has come? @expect "": any text will do. *@ret_says: what came, or did not, for people; the caller frees. */
gboolean http_get_judge(const HttpGet *g, const char *expect, char **ret_says);

/* All of it at once: why it was missed, without a word of the page's own, the caller frees; NULL: it was answered. *@ret_found FALSE: nobody was asked, for its
 * name is not known here at present. */
char *http_get(const char *url, const char *expect, gint64 timeout_ms, gboolean *ret_found);
