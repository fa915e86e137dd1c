/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 at every named stopping point of a standby's life. A child lives it, and is killed where
 * it stops; the storage daemon dies with it. The parent opens the store: the tip is
 * what was last acknowledged or one newer, every kept point reads as it was sealed, no
 * leftover remains, and it goes on. */
#include "rig.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CUTS 6

/* Shared with the child. */
typedef struct {
    guint64 acknowledged;
    gboolean promoted;
} Word;

typedef void (*Life)(Rig *rig, Word *word);

static void live_cutting(Rig *rig, Word *word)
{
    rig_open(rig);
    for (guint i = 0; i < CUTS; i++) {
        rig_cut(rig);
        word->acknowledged = rig->sequence;
        rig_settle(rig, 20000);
    }
}

static Extents *first_half(void)
{
    Extents *half = extents_new();

    extents_add(half, 0, RIG_DISK / 2);
    return half;
}

static void record_slice(Rig *rig, const Extents *has)
{
    StoreProgress progress[2];
    GError *error = NULL;

    for (guint i = 0; i < rig->disks->len; i++) {
        const RigDisk *disk = rig->disks->pdata[i];

        progress[i] = (StoreProgress){.target = disk->target, .has = has, .changed = has};
    }
    store_slice(rig->store, rig->session, (StorePass){.since = ID_NIL, .guard = rig->options.vm}, progress,
                rig->disks->len, &error);
    g_assert_no_error(error);
}

/* One generation in two slices. */
static void cut_in_slices(Rig *rig)
{
    g_autoptr(Generation) g = rig_generation(rig);
    g_autoptr(Extents) half = first_half();
    GError *error = NULL;

    for (guint i = 0; i < rig->disks->len; i++)
        rig_scribble(rig, i, 5);
    rig_begin(rig, g, &error);
    g_assert_no_error(error);
    rig_write_part(rig, half, NULL, &error);
    g_assert_no_error(error);
    record_slice(rig, half);
    rig_write_part(rig, NULL, half, &error);
    g_assert_no_error(error);
    rig_seal(rig, g, &error);
    g_assert_no_error(error);
}

static void live_slicing(Rig *rig, Word *word)
{
    rig_open(rig);
    for (guint i = 0; i < CUTS; i++) {
        cut_in_slices(rig);
        word->acknowledged = rig->sequence;
        rig_settle(rig, 20000);
    }
}

static void live_promoting(Rig *rig, Word *word)
{
    g_autoptr(GPtrArray) files = NULL;
    GError *error = NULL;

    live_cutting(rig, word);
    store_promote(rig->store, ID_NIL, clock_steady_ms() + 5000, &files, &error);
    g_assert_no_error(error);
    word->promoted = TRUE;
}

static const struct {
    const char *at;
    Life life;
} POINTS[] = {
    {"durable.before_rename", live_cutting},   {"ledger.before_sync", live_cutting},
    {"ledger.before_sync:2", live_cutting},    {"ledger.before_sync:5", live_cutting},
    {"seal.after_flush", live_cutting},        {"seal.after_flush:4", live_cutting},
    {"seal.after_fsync:1", live_cutting},      {"seal.after_fsync:4", live_cutting},
    {"seal.before_ledger:4", live_cutting},    {"seal.after_ledger", live_cutting},
    {"seal.after_ledger:5", live_cutting},     {"merge.withdrawn", live_cutting},
    {"merge.withdrawn:3", live_cutting},       {"merge.copying", live_cutting},
    {"merge.copying:3", live_cutting},         {"merge.copied", live_cutting},
    {"merge.copied:2", live_cutting},          {"merge.flushed", live_cutting},
    {"merge.flushed:3", live_cutting},         {"merge.switching", live_cutting},
    {"merge.switching:3", live_cutting},       {"merge.switched", live_cutting},
    {"merge.switched:2", live_cutting},        {"merge.unlinked", live_cutting},
    {"merge.unlinked:3", live_cutting},        {"slice.after_fsync", live_slicing},
    {"slice.after_fsync:3", live_slicing},     {"slice.after_ledger", live_slicing},
    {"slice.after_ledger:4", live_slicing},    {"promote.released", live_promoting},
    {"promote.before_ledger", live_promoting}, {"promote.after_ledger", live_promoting},
};

static pid_t start(Rig *rig, const char *at, Life life, Word *word)
{
    pid_t pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid > 0)
        return pid;
    g_setenv("UNDERSTUDY_STOP_AT", at, TRUE);
    life(rig, word);
    _exit(0);
}

static void kill_where_it_stops(pid_t pid)
{
    int status;

    g_assert_cmpint(waitpid(pid, &status, WUNTRACED), ==, pid);
    if (!WIFSTOPPED(status))
        g_error("the child never got there (status %d)", status);
    kill(pid, SIGKILL);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status));
}

/* The unsealed generation goes on: nothing of its first half is written again. */
static void finish_partial(Rig *rig)
{
    const StorePartial *partial = store_partial(rig->store);
    g_autoptr(Generation) g = NULL;
    g_autoptr(Extents) has = NULL;
    GError *error = NULL;

    if (!partial)
        return;
    g_assert_true(id_equal(partial->pass.guard, rig->options.vm));
    g_assert_cmpuint(partial->n_disks, ==, rig->disks->len);
    has = extents_copy(partial->disks[0].has);
    g = rig_generation(rig);
    g_assert_true(id_equal(partial->generation->id, g->id));
    for (guint i = 0; i < rig->disks->len; i++)
        rig_scribble(rig, i, 5);
    rig_begin(rig, g, &error);
    g_assert_no_error(error);
    rig_write_part(rig, NULL, has, &error);
    g_assert_no_error(error);
    rig_seal(rig, g, &error);
    g_assert_no_error(error);
}

/* The random numbers that made the first @n generations are used up. */
static void replay_rand(Rig *rig, guint64 n)
{
    g_rand_set_seed(rig->rand, RIG_SEED);
    for (guint64 i = 0; i < n; i++)
        for (guint d = 0; d < rig->disks->len; d++)
            rig_scribble(rig, d, 5);
}

static void check_promoted(Rig *rig)
{
    g_autoptr(GPtrArray) files = NULL;
    GError *error = NULL;
    Id id = store_promoted(rig->store);

    store_promote(rig->store, ID_NIL, clock_steady_ms() + 5000, &files, &error);
    g_assert_no_error(error);
    rig_check_files(files, rig_find_point(rig, id));
    store_demote(rig->store, &error);
    g_assert_no_error(error);
    rig_close(rig);
}

static void check_survivor(Rig *rig, const Word *word)
{
    GError *error = NULL;
    guint64 tip;

    rig->store = store_open(&rig->options, &error);
    g_assert_no_error(error);
    if (word->promoted || !id_is_nil(store_promoted(rig->store)))
        check_promoted(rig);
    rig_close(rig);
    rig_open(rig);
    tip = store_tip(rig->store) ? store_tip(rig->store)->sequence : 0;
    g_assert_cmpuint(tip, >=, word->acknowledged);
    g_assert_cmpuint(tip, <=, word->acknowledged + 1);
    rig_check_points(rig);
    replay_rand(rig, tip);
    rig_rewind(rig);
    finish_partial(rig);
    for (guint i = 0; i < 3; i++) {
        rig_cut(rig);
        rig_settle(rig, 20000);
    }
    rig_check_points(rig);
    /* Two points and a staged overlay per disk, nothing else. */
    g_assert_cmpuint(rig_count_files(rig, ".qcow2"), ==, 3 * rig->disks->len);
}

static void test_point(gconstpointer user)
{
    guint i = GPOINTER_TO_UINT(user);
    g_autoptr(Rig) rig = rig_new(2);
    Word *word = mmap(NULL, sizeof(*word), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid;

    rig->options.retain = (RetentionPolicy){.newest = 2};
    pid = start(rig, POINTS[i].at, POINTS[i].life, word);
    for (guint k = 0; k < CUTS; k++)
        rig_imagine_cut(rig);
    kill_where_it_stops(pid);
    check_survivor(rig, word);
    munmap(word, sizeof(*word));
}

/* Without --long a third of the walk, another one for each commit (docs/testing.md). */
static gboolean is_sampled(guint i)
{
    const char *sample = g_getenv("UNDERSTUDY_SAMPLE");

    return !sample || g_strcmp0(g_getenv("UNDERSTUDY_LONG"), "1") == 0 || (i + g_str_hash(sample)) % 3 == 0;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#ifdef UNDERSTUDY_STOP_POINTS
    for (guint i = 0; i < G_N_ELEMENTS(POINTS); i++) {
        g_autofree char *path = g_strdup_printf("/store-kill/%s", POINTS[i].at);

        if (is_sampled(i))
            g_test_add_data_func(path, GUINT_TO_POINTER(i), test_point);
    }
#else
    (void)POINTS;
    (void)test_point;
    (void)is_sampled;
#endif
    return g_test_run();
}
