/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/squeeze.h"

#include "vmconnect/base/error.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#define LEVEL 1 /* 0.4 GB/s a core; higher levels cost more than a line that slow gains */
#define LOOK_EACH_MS 1000

struct Squeeze {
    SqueezeMode mode;
    ZSTD_CCtx *zstd;
    gint64 looked_ms; /* when idle was last read */
    guint64 idle;     /* jiffies at that time */
    gboolean spare;   /* half a core was idle before it */
};

Squeeze *squeeze_new(SqueezeMode mode)
{
    Squeeze *s = g_new0(Squeeze, 1);

    s->mode = mode;
    return s;
}

void squeeze_free(Squeeze *s)
{
    if (!s)
        return;
    ZSTD_freeCCtx(s->zstd);
    g_free(s);
}

SqueezeMode squeeze_mode(const char *name)
{
    if (g_str_equal(name, "never"))
        return SQUEEZE_NEVER;
    return g_str_equal(name, "always") ? SQUEEZE_ALWAYS : SQUEEZE_AUTO;
}

void squeeze_set_mode(Squeeze *s, SqueezeMode mode)
{
    s->mode = mode;
}

gboolean squeeze_idle_jiffies(const char *proc_stat, guint64 *ret_jiffies)
{
    guint64 user, nice, system, idle;

    if (sscanf(proc_stat,
               "cpu %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT,
               &user, &nice, &system, &idle) != 4)
        return FALSE;
    *ret_jiffies = idle;
    return TRUE;
}

static void look(Squeeze *s, gint64 now_ms)
{
    g_autofree char *text = NULL;
    gint64 elapsed_ms = now_ms - s->looked_ms;
    guint64 idle;

    if (elapsed_ms < LOOK_EACH_MS && s->looked_ms)
        return;
    if (!g_file_get_contents("/proc/stat", &text, NULL, NULL) || !squeeze_idle_jiffies(text, &idle))
        return;
    /* Jiffies of half a core in that time; a first or a very old look says nothing. */
    s->spare = s->looked_ms && elapsed_ms < 4 * LOOK_EACH_MS &&
               (gint64)(idle - s->idle) * 2000 >= elapsed_ms * sysconf(_SC_CLK_TCK);
    s->looked_ms = now_ms;
    s->idle = idle;
}

gboolean squeeze_wanted(Squeeze *s, gboolean queue_full, gint64 now_ms)
{
    if (s->mode != SQUEEZE_AUTO)
        return s->mode == SQUEEZE_ALWAYS;
    look(s, now_ms);
    return queue_full && s->spare;
}

gsize squeeze_run(Squeeze *s, const guint8 *data, gsize len, guint8 *out)
{
    gsize n;

    if (!s->zstd)
        s->zstd = ZSTD_createCCtx();
    g_assert(s->zstd);
    n = ZSTD_compressCCtx(s->zstd, out, len - len / 8, data, len, LEVEL);
    return ZSTD_isError(n) ? 0 : n; /* the only error possible here: it does not fit */
}

gboolean squeeze_undo(const guint8 *data, gsize data_len, guint8 *out, gsize len, GError **error)
{
    gsize n = ZSTD_decompress(out, len, data, data_len);

    if (!ZSTD_isError(n) && n == len)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "a compressed block does not unfold to its %zu bytes: %s",
                len, ZSTD_isError(n) ? ZSTD_getErrorName(n) : "it is shorter");
    return FALSE;
}
