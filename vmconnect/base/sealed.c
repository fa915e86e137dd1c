/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/sealed.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUM_LEN 64
#define LINE_SUM_LEN 16

char *sealed_text(const char *kind, int format, json_t *body)
{
    g_autofree char *text = json_text(body);
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, line, -1);

    json_decref(body);
    return g_strdup_printf("understudy-%s %d %s\n%s", kind, format, sum, line);
}

gboolean sealed_corrupt(GError **error, const char *why)
{
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "not what was written: %s", why);
    return FALSE;
}

/* FALSE with @error. */
static gboolean read_all(int fd, const char *path, gsize max_len, GString *text, GError **error)
{
    char part[4096];
    gssize n;

    while ((n = read(fd, part, sizeof(part))) > 0) {
        g_string_append_len(text, part, n);
        if (text->len > max_len)
            return sealed_corrupt(error, "too long");
    }
    return n == 0 || us_error_errno(error, errno, "cannot read %s", path);
}

char *sealed_read(const char *path, gsize max_len, gsize *ret_len, char **ret_place, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    g_autoptr(GString) text = g_string_new(NULL);
    gboolean ok;

    if (fd < 0) {
        us_error_errno(error, errno, "cannot read %s", path);
        return NULL;
    }
    ok = read_all(fd, path, max_len, text, error) &&
         (!ret_place || (*ret_place = place_of(fd, "", error)) != NULL);
    close(fd);
    if (!ok)
        return NULL;
    *ret_len = text->len;
    return g_string_free(g_steal_pointer(&text), FALSE);
}

json_t *sealed_parse(const char *kind, gulong newest, const char *text, gsize len, gsize max_len,
                     GError **error)
{
    g_autofree char *prefix = g_strdup_printf("understudy-%s ", kind);
    g_autofree char *sum = NULL;
    const char *end = memchr(text, '\n', len);
    const char *p = text + strlen(prefix);
    char *after = NULL;
    const char *body;
    gulong format;

    if (!end || !g_str_has_prefix(text, prefix)) {
        sealed_corrupt(error, "no format line");
        return NULL;
    }
    format = g_ascii_isdigit(*p) ? strtoul(p, &after, 10) : 0;
    if (format > newest) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "format %lu is newer than this version knows",
                    format);
        return NULL;
    }
    if (format == 0 || *after != ' ' || end - (after + 1) != SUM_LEN) {
        sealed_corrupt(error, "a damaged format line");
        return NULL;
    }
    body = end + 1;
    sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)body, len - (gsize)(body - text));
    if (strncmp(sum, after + 1, SUM_LEN) != 0) {
        sealed_corrupt(error, "its checksum is wrong");
        return NULL;
    }
    return json_parse(body, len - (gsize)(body - text), max_len, error);
}

char *sealed_line(const json_t *record)
{
    g_autofree char *text = json_text(record);
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);

    return g_strdup_printf("%.*s %s\n", LINE_SUM_LEN, sum, text);
}

gboolean sealed_line_is_whole(const char *line, gsize len)
{
    const gsize head = LINE_SUM_LEN + 1;
    g_autofree char *sum = NULL;

    if (len <= head || line[LINE_SUM_LEN] != ' ')
        return FALSE;
    sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, line + head, (gssize)(len - head));
    return memcmp(sum, line, LINE_SUM_LEN) == 0;
}

json_t *sealed_line_parse(const char *line, gsize len, gsize max_len)
{
    const gsize head = LINE_SUM_LEN + 1;

    return sealed_line_is_whole(line, len) ? json_parse(line + head, len - head, max_len, NULL) : NULL;
}
