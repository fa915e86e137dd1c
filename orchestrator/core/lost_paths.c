/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/lost_paths.h"

void lost_paths_init(LostPaths *l)
{
    *l = (LostPaths){.which = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL)};
}

void lost_paths_clear(LostPaths *l)
{
    g_clear_pointer(&l->which, g_hash_table_unref);
}

void lost_paths_recall(LostPaths *l)
{
    l->told = TRUE;
    l->adopt_ms = G_MAXINT64;
}

static gboolean are_told(const LostPaths *l, GHashTable *now)
{
    GHashTableIter it;
    gpointer path;

    g_hash_table_iter_init(&it, now);
    while (g_hash_table_iter_next(&it, &path, NULL))
        if (!g_hash_table_contains(l->which, path))
            return FALSE;
    return TRUE;
}

static void add(LostPaths *l, GHashTable *now)
{
    GHashTableIter it;
    gpointer path;

    g_hash_table_iter_init(&it, now);
    while (g_hash_table_iter_next(&it, &path, NULL))
        g_hash_table_add(l->which, g_strdup(path));
}

LostPathsNews lost_paths_step(LostPaths *l, GHashTable *now, gboolean heard, gint64 patience_ms,
                              gint64 calm_ms, gint64 now_ms)
{
    gboolean lost = now && g_hash_table_size(now) > 0;

    if (l->adopt_ms == G_MAXINT64)
        l->adopt_ms = now_ms + calm_ms;
    if (lost && now_ms < l->adopt_ms)
        add(l, now);
    if (lost ? are_told(l, now) : !l->told || !heard) {
        l->other_ms = 0;
        return LOST_PATHS_AS_TOLD;
    }
    if (l->other_ms == 0)
        l->other_ms = now_ms;
    if (now_ms < l->other_ms + (lost ? patience_ms : calm_ms))
        return LOST_PATHS_UNSURE;
    l->other_ms = 0;
    l->told = lost;
    if (lost)
        add(l, now);
    else
        g_hash_table_remove_all(l->which);
    return lost ? LOST_PATHS_LOST : LOST_PATHS_BACK;
}

char *lost_paths_words(GHashTable *now)
{
    g_autoptr(GList) paths = g_list_sort(g_hash_table_get_keys(now), (GCompareFunc)g_strcmp0);
    GString *text = g_string_new(NULL);

    for (const GList *one = paths; one; one = one->next)
        g_string_append_printf(text, "%s%s (%s)", text->len ? "; " : "", (const char *)one->data,
                               (const char *)g_hash_table_lookup(now, one->data));
    return g_string_free(text, FALSE);
}
