/* SPDX-License-Identifier: Apache-2.0 */
/* http_get - one page asked for, and looked at (RFC 9110).
 *
 * Blocking, for a thread aside. Answered is a 2xx or 3xx whose first 64 KiB have the text that was expected. Redirections are not
 * followed, proxies not asked, nothing else than http and https is spoken. A certificate is not judged: the question is whether the server lives,
 * which one that has expired does not end; nothing is sent that would be a secret. */
#pragma once

#include <glib.h>

/* Why it was missed, the caller frees; NULL: it was answered. @expect "": any text will do. @ret_found FALSE: nobody was asked, for its
 * name is not known here at present. */
char *http_get(const char *url, const char *expect, gint64 timeout_ms, gboolean *ret_found);
