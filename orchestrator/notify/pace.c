/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/notify/pace.h"

void pace_init(Pace *p, const PaceSettings *settings, guint rate)
{
    *p = (Pace){.settings = *settings, .rate = rate, .sent = g_array_new(FALSE, FALSE, sizeof(gint64))};
}

void pace_clear(Pace *p)
{
    g_clear_pointer(&p->sent, g_array_unref);
}

static gint64 sent_at(const Pace *p, guint i)
{
    return g_array_index(p->sent, gint64, i);
}

static void forget(Pace *p, gint64 now_ms)
{
    guint old = 0;

    while (old < p->sent->len && sent_at(p, old) <= now_ms - p->settings.window_ms)
        old++;
    if (old > 0)
        g_array_remove_range(p->sent, 0, old);
}

guint pace_allowed(Pace *p, gint64 now_ms)
{
    forget(p, now_ms);
    if (p->rate == 0)
        return G_MAXUINT;
    return p->sent->len < p->rate ? p->rate - p->sent->len : 0;
}

gint64 pace_free_ms(Pace *p, gint64 now_ms)
{
    if (pace_allowed(p, now_ms) > 0)
        return now_ms;
    return sent_at(p, p->sent->len - p->rate) + p->settings.window_ms;
}

void pace_sent(Pace *p, gint64 now_ms)
{
    p->failing = FALSE;
    p->pause_ms = 0;
    p->next_try_ms = now_ms;
    if (p->rate > 0)
        g_array_append_val(p->sent, now_ms);
}

void pace_failed(Pace *p, gint64 now_ms)
{
    if (!p->failing)
        p->failing_since_ms = now_ms;
    p->failing = TRUE;
    p->pause_ms =
        p->pause_ms == 0 ? p->settings.first_pause_ms : MIN(2 * p->pause_ms, p->settings.longest_pause_ms);
    p->next_try_ms = now_ms + p->pause_ms;
}

void pace_retry(Pace *p)
{
    p->next_try_ms = G_MININT64;
}

gboolean pace_is_long(const Pace *p, gint64 now_ms)
{
    return p->failing && now_ms - p->failing_since_ms >= p->settings.long_ms;
}

json_t *pace_to_json(const Pace *p, gint64 now_ms, gint64 wall_ms)
{
    json_t *sent = json_array();
    json_t *since = p->failing ? json_integer(wall_ms - (now_ms - p->failing_since_ms)) : json_null();

    for (guint i = 0; i < p->sent->len; i++)
        json_array_append_new(sent, json_integer(wall_ms - (now_ms - sent_at(p, i))));
    return json_pack("{s:o, s:o}", "sent", sent, "failing_since", since);
}

void pace_from_json(Pace *p, const json_t *doc, gint64 now_ms, gint64 wall_ms)
{
    const json_t *since = json_object_get(doc, "failing_since");
    json_t *one;
    gsize i;

    json_array_foreach(json_object_get(doc, "sent"), i, one)
    {
        gint64 ago_ms = wall_ms - json_integer_value(one);
        gint64 at_ms = now_ms - ago_ms;

        /* One from the future was written before the clock was set back: nobody knows when. */
        if (p->rate > 0 && ago_ms >= 0 && ago_ms < p->settings.window_ms)
            g_array_append_val(p->sent, at_ms);
    }
    if (json_is_integer(since)) {
        gint64 ago_ms = wall_ms - json_integer_value(since);

        p->failing = TRUE;
        p->failing_since_ms = now_ms - MAX(ago_ms, 0);
    }
}
