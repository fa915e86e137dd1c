/* SPDX-License-Identifier: Apache-2.0 */
/* line - somebody else's words made one line that can do no harm: in a header, a log, a mail.
 *
 * Names come from guests, and causes from servers: both may hold line breaks, controls, what turns the direction
 * of writing, and what is no UTF-8. */
#pragma once

#include <glib.h>

/* @text in valid UTF-8, each control character a space, each invisible one a `?`; of at most @max_bytes, the last of
 * them `…` if it was longer. The caller frees. */
char *line_of(const char *text, gsize max_bytes);
