/* SPDX-License-Identifier: Apache-2.0 */
/* rig - a store with a real storage daemon, and an active whose disks are kept in memory.
 *
 * Every sealed generation's content is remembered, so that each kept point can be
 * compared byte by byte, through a chain opened as the store says (never by headers). */
#pragma once

#include "vmconnect/store/store.h"

#define RIG_DISK (4 * 1024 * (gsize)1024)
#define RIG_BLOCK 65536
#define RIG_SEED 4711

typedef struct {
    char *target;
    guint64 size;
    guint8 *data;
    Extents *changed; /* since the last seal */
} RigDisk;

typedef struct {
    Generation *generation;
    GPtrArray *contents; /* of GBytes *, as the generation's disks */
} RigPoint;

typedef struct {
    char *root;
    char *dir;
    StoreOptions options;
    Store *store;
    Reign reign;
    guint64 session;
    guint64 sequence;
    Id begun;
    GPtrArray *disks;  /* of RigDisk * */
    GPtrArray *points; /* of RigPoint *, oldest first; all ever sealed */
    GRand *rand;
} Rig;

/* Generations have ids and contents that follow from a seed: a process that forked off can be killed, and
 * its parent still knows what each generation it may have sealed must read as. */

/* A folder, @n_disks disks (vda, vdb …) and no store yet. Retention keeps everything. */
Rig *rig_new(guint n_disks);
/* Close the store, remove the folder. */
void rig_free(Rig *rig);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Rig, rig_free)

/* The folder is a tmpfs of that size. FALSE if this process may not mount. */
gboolean rig_mount(Rig *rig, const char *size);
gboolean rig_remount(Rig *rig, const char *how);

/* Open the store and attach a new session; asserts that both work. */
void rig_open(Rig *rig);
void rig_close(Rig *rig);

/* A disk of the active that it did not have. */
void rig_add_disk(Rig *rig, const char *target, guint64 size);
void rig_remove_disk(Rig *rig, const char *target);
void rig_resize_disk(Rig *rig, const char *target, guint64 size);

/* The guest writes: @n random blocks of disk @index, one in four of them zeros. */
void rig_scribble(Rig *rig, guint index, guint n);

/* The next generation, on the store's tip; the caller frees. */
Generation *rig_generation(Rig *rig);
gboolean rig_begin(Rig *rig, const Generation *g, GError **error);
/* Write what changed. FALSE with @error if a write fails. */
gboolean rig_write(Rig *rig, GError **error);
gboolean rig_seal(Rig *rig, const Generation *g, GError **error);
/* Scribble, begin, write, seal: all of it must work. */
void rig_cut(Rig *rig);

/* What rig_cut() would do, without a store. */
void rig_imagine_cut(Rig *rig);
/* Go on from what the store has as its tip, which must be known. Returns its number, 0 for none. */
guint64 rig_rewind(Rig *rig);
/* Only some of what has changed is written, or all but that. */
gboolean rig_write_part(Rig *rig, const Extents *only, const Extents *but, GError **error);

/* Call store_pump() until there is nothing to do; fails after @deadline_ms. */
void rig_settle(Rig *rig, guint deadline_ms);

/* kill -9 the storage daemon, and wait for its end. */
void rig_kill_daemon(Rig *rig);

/* How many files there are whose names end so. */
guint rig_count_files(const Rig *rig, const char *suffix);

/* Every point the store keeps reads as it was sealed; qemu-img check finds nothing wrong. */
void rig_check_points(Rig *rig);
/* What qemu-img reads from @source is just that. */
void rig_check_source(const char *source, GBytes *expected);
/* The same for files from a lease or promotion. */
void rig_check_files(const GPtrArray *files, const RigPoint *point);
const RigPoint *rig_find_point(const Rig *rig, Id id);
