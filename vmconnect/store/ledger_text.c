/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/store/ledger_text.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>
#include <xxhash.h>

#define SUM_LEN 16

/* A model of 64 points of some dozen disks has about 100 KiB. */
#define MAX_LINE (16 * 1024 * 1024)

static void format_sum(const char *json, gsize len, char sum[static SUM_LEN + 1])
{
    g_snprintf(sum, SUM_LEN + 1, "%016" G_GINT64_MODIFIER "x", (guint64)XXH3_64bits(json, len));
}

char *ledger_text_line(const json_t *record)
{
    g_autofree char *json = json_text(record);
    char sum[SUM_LEN + 1];

    format_sum(json, strlen(json), sum);
    return g_strdup_printf("%s %s\n", sum, json);
}

/* One line without its newline. */
static gboolean apply_line(Ledger *ledger, const char *line, gsize len, GError **error)
{
    char sum[SUM_LEN + 1];
    json_auto_t *record = NULL;

    if (len <= SUM_LEN + 1 || line[SUM_LEN] != ' ') {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "it is no record");
        return FALSE;
    }
    format_sum(line + SUM_LEN + 1, len - SUM_LEN - 1, sum);
    if (memcmp(sum, line, SUM_LEN) != 0) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "it does not match its checksum");
        return FALSE;
    }
    record = json_parse(line + SUM_LEN + 1, len - SUM_LEN - 1, MAX_LINE, error);
    if (!record) {
        if (error && *error)
            (*error)->code = US_ERROR_CORRUPT;
        return FALSE;
    }
    return ledger_apply(ledger, record, error);
}

gboolean ledger_text_replay(Ledger *ledger, const char *text, gsize len, gsize *ret_good, GError **error)
{
    const char *end = text + len;
    const char *at = text;
    const char *newline;

    for (guint number = 1; at < end && (newline = memchr(at, '\n', (gsize)(end - at))); number++) {
        if (!apply_line(ledger, at, (gsize)(newline - at), error)) {
            g_prefix_error(error, "line %u: ", number);
            return FALSE;
        }
        at = newline + 1;
    }
    if (at == text) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "it has no whole record");
        return FALSE;
    }
    *ret_good = (gsize)(at - text);
    return TRUE;
}
