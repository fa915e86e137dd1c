/* SPDX-License-Identifier: Apache-2.0 */
/* stage - both ends of a bulk link: a standby's thread with a real store, and an active whose disks are images
 * that a storage daemon serves, without libvirt.
 *
 * Each session is a link of its own. Everything asserts: a test reads as what should happen. */
#pragma once

#include "tests/vmconnect/image/lab.h"
#include "tests/vmconnect/link/fixture.h"
#include "vmconnect/capture/cut.h"
#include "vmconnect/replicate/pass.h"
#include "vmconnect/replicate/sender.h"
#include "vmconnect/replicate/stream.h"

typedef struct {
    Lab lab;
    House house;
    Reign reign;
    Id vm;
    Patience patience;
    guint64 sequence;
    GPtrArray *targets; /* of char *: the active's disks; TARGET.qcow2 in the lab's folder */
    gboolean unchanged; /* a cut says that nothing has changed on them, instead of that everything has */

    char *seed; /* a folder with copies for the standby; NULL: none */

    uv_thread_cb
        standby; /* what the standby does with its end of a link, and @stage; as a rule what it should */

    /* The present session: */
    Link *link; /* the standby's end, until its thread has taken it */
    uv_thread_t thread;
    Sender *sender;
    Stream *stream;
    guint64 compared; /* by streams of former sessions */

    /* What the last session's standby says at its end: */
    GPtrArray *files;      /* of StoreFiles *: the tip's */
    GPtrArray *points;     /* of StorePoint *, newest first */
    GPtrArray *changed;    /* of Extents *, one a disk: between the two newest points */
    GError *standby_error; /* why its link was over */
    char *seed_why;        /* what it did not use of the seed */
    char *seed_lost;       /* as Seed has it, also of former sessions */
} Stage;

void stage_init(Stage *stage);
void stage_clear(Stage *stage);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Stage, stage_clear)

/* A new disk of the active, empty. */
void stage_add_disk(Stage *stage, const char *target, guint64 size);

/* qemu-io COMMAND on it ("write -P 1 0 64k", "write -z 64k 64k"), or another size. */
void stage_io(const Stage *stage, const char *target, const char *command);
void stage_resize(const Stage *stage, const char *target, guint64 size);

/* Attach; @version_max of the standby's program (0: as ours). */
void stage_attach(Stage *stage, guint version_max);
/* End the session, with a goodbye or (@cut) without a word. */
void stage_detach(Stage *stage, gboolean cut);

/* All disks as they are now, to be read as a whole, though the standby may have a copy. */
typedef struct {
    Generation *begun;
    Pass *pass;
    StreamLimits limits;
    guint64 break_at;    /* break off when so much is done; 0: never */
    guint64 done_bytes;  /* of the last run … */
    guint64 total_bytes; /* … and what there was to do in it */
    int wake_fd;
} Job;

/* Begin a generation, or (its partial is there) go on with it. */
Job *stage_begin(Stage *stage);
void stage_job_free(Job *job);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Job, stage_job_free)

/* Stream; TRUE if nothing is left. */
gboolean stage_run(Stage *stage, Job *job);
/* The same with a standby of which no good is expected: FALSE with @error if it failed. */
gboolean stage_try(Stage *stage, Job *job, gboolean *ret_all, GError **error);
/* Keep a slice. @guard: as pass_break(). */
void stage_slice(Stage *stage, Job *job, Id guard);
void stage_seal(Stage *stage, Job *job);

/* stream_audit() instead, of @todo; gives up what was begun. TRUE if no limit was reached. */
gboolean stage_audit(Stage *stage, Job *job, GPtrArray *todo, GPtrArray *differing);

/* A whole generation: attach, begin, run, seal, detach. */
void stage_send(Stage *stage, guint64 *ret_sent_bytes, guint64 *ret_compared_bytes);

/* The tip's images read as the active's. */
void stage_expect_equal(const Stage *stage);
