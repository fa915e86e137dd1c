/* SPDX-License-Identifier: Apache-2.0 */
/* store_internal - what the store_*.c files share, and nobody else uses.
 *
 *   store.c          opening, recovery, the storage daemon, leftovers
 *   store_receive.c  sessions, generations
 *   store_merge.c    the journalled merge
 *   store_read.c     leases, points, definitions, usage
 *   store_promote.c  promotion, and back
 *   store_adopt.c    the disks of a VM that ran here become its copy
 *   store_given.c    what a VM that runs from here was given */
#pragma once

#include "vmconnect/store/chain.h"
#include "vmconnect/store/ledger_file.h"
#include "vmconnect/store/store.h"

/* A merge under way in the storage daemon. Its journal is the ledger's `merge`. */
typedef struct {
    GPtrArray *commits; /* of Commit *, one a disk that has something to copy; NULL: not running */
    GPtrArray *copying; /* those of them that still copy; borrowed */
    gboolean growing;   /* this run only makes a base as large as what goes into it */
    GArray *bases;      /* of int, one a disk of the journal, -1: none; open since before the first copying: a
                           failed writeback is told to each descriptor once, whatever daemon it was of */
    Id bases_of;        /* survivor of the merge that they are of */
    char *given_up;     /* a base could not be made durable: never again by this process, and why; NULL */
    gboolean paused;
    guint written_disks;   /* so many of the journal's have all that was copied on the disk … */
    guint64 written_bytes; /* … and so much of the next one's base */
    gint64 turn_ms;        /* steady clock: pause or go on then */
    gint64 turn_len_ms;    /* how long it copies at a time, and pauses then */
    gint64 retry_ms;       /* steady clock: not before */
} StoreMerge;

struct Store {
    char *dir;
    char *run_dir;
    char *name; /* for messages */
    Id vm;
    RetentionPolicy retain;
    int hurry_fd;
    StoreNotary notary;
    int lock_fd;
    LedgerFile *file;
    StorageDaemon *daemon; /* NULL: started when it is needed */
    GPtrArray *chains;     /* of Chain * */
    Generation *begun;     /* being received, or NULL */
    GPtrArray *leases;     /* of StoreLease * */
    StorePartial *partial; /* what store_partial() gave out, or NULL */
    StoreMerge merge;
};

/* At most so many files in a chain. */
#define DEPTH_FULL 64

/* QEMU's user must get to the files that libvirt gives it; nobody else can list or read them. */
#define STORE_MODE_PROMOTED 0711
#define STORE_MODE_STANDBY 0700

const Ledger *store_ledger(const Store *store);

/* The storage daemon runs and every chain of the ledger is open in it. */
gboolean store_ready(Store *store, GError **error);
/* Bring the chains into line with the ledger, where they are not already. */
gboolean store_sync_chains(Store *store, GError **error);
/* Kill the storage daemon and forget what it had open; what is begun is over. */
void store_drop_daemon(Store *store);

/* The chain that @target's next generation goes on top of, or NULL. */
Chain *store_chain(const Store *store, const char *target);
/* The chain that has @layer as a link, or NULL. */
Chain *store_chain_with(const Store *store, Id layer);

/* An overlay on each chain that has none. */
gboolean store_stage(Store *store, GError **error);

/* The folder is a standby's, images are what the ledger says, leftovers are gone, the daemon runs. */
gboolean store_recover(Store *store, GError **error);

/* Remove files of ours that neither the ledger nor a chain names. */
gboolean store_sweep(Store *store, GError **error);

gboolean store_append(Store *store, json_t *record, GError **error);
void store_forget_partial(Store *store);

/* Is @steady_ms over? */
gboolean store_is_past(gint64 steady_ms);

/* store_receive.c: definition and belongings of @g into the folder, named by @point, whose generation is
 * a copy of @g; and what such a point on the stack holds. */
gboolean store_keep_papers(const Store *store, LedgerPoint *point, const Generation *g, GError **error);
void store_clear_point(LedgerPoint *point);

/* store_merge.c */
gboolean store_merge_pump(Store *store, GError **error);
int store_merge_timeout_ms(const Store *store);
/* Stop copying; the merge begins again later. FALSE with @error if the daemon does not let go. */
gboolean store_merge_stop(Store *store, GError **error);
/* Forget the jobs of a daemon that is gone. */
void store_merge_forget(Store *store);
void store_merge_close_bases(Store *store);
/* With no daemon: finish a merge whose data is durable. */
gboolean store_merge_recover(Store *store, GError **error);
/* How many points retention would give up. */
guint store_merge_backlog(const Store *store);

/* store_promote.c: "<point>.nvram.fd"; the caller frees. What durable_replace() left half done counts, too. */
char *store_nvram_name(Id point);
gboolean store_is_nvram_name(const char *name);

/* store_given.c: what the ledger says, for when it does not any more. */
#define STORE_GIVEN_NAME "given"
#define STORE_GIVEN_NEW "given.new" /* of a crash */
gboolean store_write_given(const Store *store, GError **error);

/* store_read.c */
void store_lease_free(gpointer lease);
/* Does somebody read that point? It must stay then. */
gboolean store_is_shared(const Store *store, Id generation);
/* May somebody have that layer open, by whatever name? */
gboolean store_has_reader(const Store *store, Id layer);
/* The files of @disks (of LedgerDisk *), each from its layer down; of StoreFiles *. */
GPtrArray *store_files_of(const Store *store, const GPtrArray *disks);
