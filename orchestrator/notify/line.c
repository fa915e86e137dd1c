/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/notify/line.h"

#include <string.h>

#define ELLIPSIS "…"

static gboolean is_break(gunichar c)
{
    GUnicodeType type = g_unichar_type(c);

    return g_unichar_iscntrl(c) || type == G_UNICODE_LINE_SEPARATOR || type == G_UNICODE_PARAGRAPH_SEPARATOR;
}

char *line_of(const char *text, gsize max_bytes)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *line = g_string_new(NULL);

    g_assert(max_bytes >= strlen(ELLIPSIS));
    for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        if (is_break(c))
            c = ' ';
        else if (g_unichar_type(c) == G_UNICODE_FORMAT)
            c = '?';
        g_string_append_unichar(line, c);
        if (line->len > max_bytes)
            break;
    }
    if (line->len > max_bytes) {
        const char *end = line->str + max_bytes - strlen(ELLIPSIS) + 1;

        g_string_truncate(line, (gsize)(g_utf8_find_prev_char(line->str, end) - line->str));
        g_string_append(line, ELLIPSIS);
    }
    return g_string_free(line, FALSE);
}
