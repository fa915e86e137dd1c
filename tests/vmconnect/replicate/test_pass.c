/* SPDX-License-Identifier: Apache-2.0 */
/* The proof of pass.h, played: a guest that writes at random, jobs that are cut
 * short at random, and an overlay that must be the disk at the sealing instant. */
#include "vmconnect/replicate/pass.h"

#include <string.h>

#define BLOCKS 64

/* A disk, and for each checkpoint what was written since. */
typedef struct {
    int disk[BLOCKS];
    int parent[BLOCKS]; /* what the standby's tip holds */
    int overlay[BLOCKS];
    gboolean in_overlay[BLOCKS];
    GHashTable *dirty; /* Id -> Extents */
    int clock;
} World;

static void world_checkpoint(World *w, Id id)
{
    g_hash_table_insert(w->dirty, g_memdup2(&id, sizeof(id)), extents_new());
}

static void world_guest_writes(World *w)
{
    int n = g_test_rand_int_range(0, 12);
    GHashTableIter it;
    gpointer set;

    for (int i = 0; i < n; i++) {
        int block = g_test_rand_int_range(0, BLOCKS);

        w->disk[block] = ++w->clock;
        g_hash_table_iter_init(&it, w->dirty);
        while (g_hash_table_iter_next(&it, NULL, &set))
            extents_add(set, (guint64)block, 1);
    }
}

/* A job: at its instant the disk stands still for the reader. Reads at most
 * @budget blocks; TRUE if that was all. */
static gboolean world_job(World *w, Pass *pass, int budget)
{
    g_autoptr(Extents) all = extents_new();
    g_autoptr(Extents) todo = NULL;
    int snapshot[BLOCKS];

    extents_add(all, 0, BLOCKS);
    todo = pass_todo(pass, 0, id_is_nil(pass->since) ? all : g_hash_table_lookup(w->dirty, &pass->since));
    memcpy(snapshot, w->disk, sizeof(snapshot));
    for (guint i = 0; i < extents_count(todo); i++) {
        Extent e = extents_at(todo, i);

        for (guint64 b = e.offset; b < e.offset + e.len; b++) {
            if (budget-- == 0)
                return FALSE;
            if (g_test_rand_int_range(0, 4) == 0)
                world_guest_writes(w);
            w->overlay[b] = snapshot[b];
            w->in_overlay[b] = TRUE;
            pass_add(pass, 0, b, 1);
        }
    }
    return TRUE;
}

static void expect_sealed(const World *w, const int instant[BLOCKS])
{
    for (int b = 0; b < BLOCKS; b++)
        g_assert_cmpint(w->in_overlay[b] ? w->overlay[b] : w->parent[b], ==, instant[b]);
}

/* One generation from checkpoint @since (nil: everything), cut short at random. */
static Id world_generation(World *w, Id since)
{
    g_autoptr(Pass) pass = pass_new(since, 1);

    memset(w->in_overlay, 0, sizeof(w->in_overlay));
    for (int job = 0;; job++) {
        int budget = job > 40 ? BLOCKS : g_test_rand_int_range(0, BLOCKS);
        gboolean first = pass_is_first_job(pass);
        Id id = id_random();
        int instant[BLOCKS];
        gboolean all;

        world_guest_writes(w);
        if (first)
            world_checkpoint(w, id);
        memcpy(instant, w->disk, sizeof(instant));
        all = world_job(w, pass, budget);
        if (all && first) {
            expect_sealed(w, instant);
            memcpy(w->parent, instant, sizeof(instant));
            return id;
        }
        if (!all)
            pass_break(pass, first ? id : ID_NIL);
        else
            pass_next(pass);
    }
}

static void test_passes_end_in_the_instant(void)
{
    for (int round = 0; round < 300; round++) {
        World w = {0};
        Id since = ID_NIL;

        w.dirty = g_hash_table_new_full(id_hash, id_equal_func, g_free, (GDestroyNotify)extents_free);
        for (int n = 0; n < 4; n++)
            since = world_generation(&w, since);
        g_hash_table_destroy(w.dirty);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/replicate/pass/ends-in-the-instant", test_passes_end_in_the_instant);
    return g_test_run();
}
