/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/tail.h"

#include "vmconnect/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ESCAPE 0x1b
#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */
#define INVALID ((gunichar)-1)     /* g_utf8_get_char_validated() */
#define INCOMPLETE ((gunichar)-2)

static gboolean is_between(const char *p, const char *end, char first, char last)
{
    return p < end && *p >= first && *p <= last;
}

/* Behind what the control function ESC @kind has after it. One that is broken off ends there, and a string also ends
 * with its line: nobody hides the rest of the text behind a beginning. What ends a string is itself left to be
 * dropped. */
static const char *skip_function(char kind, const char *p, const char *end)
{
    if (kind == '[') {
        while (is_between(p, end, 0x20, 0x3f))
            p++;
        return is_between(p, end, 0x40, 0x7e) ? p + 1 : p;
    }
    if (strchr("PX]^_", kind))
        while (p < end && !g_ascii_iscntrl(*p))
            p++;
    return p;
}

/* @p: behind the ESC. */
static const char *skip_escape(const char *p, const char *end)
{
    const char *kind = p;

    while (is_between(p, end, 0x20, 0x2f))
        p++;
    return is_between(p, end, 0x30, 0x7e) ? skip_function(*kind, p + 1, end) : p;
}

static gboolean is_shown(gunichar c)
{
    GUnicodeType type = g_unichar_type(c);

    return c == '\t' || c == '\n' || (type != G_UNICODE_CONTROL && type != G_UNICODE_FORMAT);
}

static gboolean is_in_line(const GString *text)
{
    return text->len > 0 && text->str[text->len - 1] != '\n';
}

char *tail_plain(const char *data, gsize len)
{
    GString *text = g_string_sized_new(len);
    const char *end = data + len;
    gboolean returned = FALSE;

    for (const char *p = data; p < end;) {
        /* For a NUL it says INCOMPLETE. */
        gunichar c = *p ? g_utf8_get_char_validated(p, end - p) : 0;

        if (c == INCOMPLETE)
            break;
        p = c == INVALID ? p + 1 : g_utf8_next_char(p);
        if (c == ESCAPE) {
            p = skip_escape(p, end);
        } else if (c >= 0x80 && c < 0xa0) {
            p = skip_function((char)(c - 0x40), p, end); /* one character for ESC and another */
        } else if (c == '\r') {
            returned = TRUE;
        } else if (c == INVALID || is_shown(c)) {
            if (returned && c != '\n' && is_in_line(text))
                g_string_append_c(text, '\n');
            returned = FALSE;
            if (c != INVALID)
                g_string_append_unichar(text, c);
            else if (!g_str_has_suffix(text->str, REPLACEMENT))
                g_string_append(text, REPLACEMENT);
        }
    }
    return g_string_free(text, FALSE);
}

/* Up to @len_bytes from @offset on, fewer if the file ends; -1 with errno. */
static gssize read_from(int fd, char *data, gsize len_bytes, goffset offset)
{
    gsize have = 0;
    gssize got = 1;

    while (have < len_bytes && got > 0) {
        got = pread(fd, data + have, len_bytes - have, offset + (goffset)have);
        if (got > 0)
            have += (gsize)got;
    }
    return got < 0 ? -1 : (gssize)have;
}

static char *read_tail(int fd, const char *path, gsize max_bytes, GError **error)
{
    g_autofree char *data = NULL;
    const char *from;
    struct stat st;
    goffset offset;
    gssize len;

    if (fstat(fd, &st) < 0) {
        us_error_errno(error, errno, "%s", path);
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "%s is no regular file: it is not read", path);
        return NULL;
    }
    offset = MAX(st.st_size - (goffset)max_bytes, 0);
    max_bytes = MIN(max_bytes, (gsize)(st.st_size - offset));
    data = g_malloc(max_bytes + 1);
    len = read_from(fd, data, max_bytes, offset);
    if (len < 0) {
        us_error_errno(error, errno, "%s cannot be read", path);
        return NULL;
    }
    from = offset > 0 ? memchr(data, '\n', (gsize)len) : NULL;
    from = from && from + 1 < data + len ? from + 1 : data;
    return tail_plain(from, (gsize)(data + len - from));
}

char *tail_read(const char *path, gsize max_bytes, GError **error)
{
    /* Not blocking, for a FIFO that nobody writes to. */
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    char *text;

    if (fd < 0) {
        us_error_errno(error, errno, "%s cannot be opened", path);
        return NULL;
    }
    text = read_tail(fd, path, max_bytes, error);
    close(fd);
    return text;
}
