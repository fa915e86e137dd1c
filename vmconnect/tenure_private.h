/* SPDX-License-Identifier: Apache-2.0 */
/* Between the tenure's parts: tenure.c has roles, leases and arming, tenure_guard.c what the guard is told, tenure_halts.c guests that are stopped, go
 * on, or must stand still. */
#pragma once

#include "orchestrator/votes/leases.h"
#include "vmconnect/engine.h"
#include "vmconnect/lease_writer.h"
#include "vmconnect/peers.h"
#include "vmconnect/tenure.h"
#include "vmconnect/ungate.h"
#include "vmconnect/warden.h"

#define TENURE_VOTERS 2 /* its standby and the controller */

/* One VM of which this host is the active. */
typedef struct {
    Tenure *tenure;
    Id vm;
    Reign reign;
    Id voters[TENURE_VOTERS];
    guint64 yields;   /* this gift of the role is being ended: nobody lets its guest go on; 0: none is */
    gboolean dropped; /* it is to have no leases any more, once nothing is enforced */
    gboolean wants_arm;
    LeaseUntil until; /* as the leases have it … */
    LeaseMoment
        former; /* … and as the engine before this one had it, whose leases last as long as they did */
    gboolean readies;  /* held to its lease already, and not armed yet … */
    guint64 in_file;   /* … the change of the file that must be written before it is … */
    gboolean is_kept;  /* … and the guard has confirmed */
    gboolean in_guard; /* the guard was told of it */
    pid_t pid;         /* that it was told, and until when (enforced, until) */
    pid_t ungated;     /* taken out of the kernel's gate since the guard is away */
    LeaseUntil told;
    char taps[WORD_TAPS_MAX][IF_NAMESIZE];
    guint tap_count;
    gint64 taps_at_ms;
    gboolean is_asked;     /* the guard wants it suspended, or did so itself … */
    gboolean is_fenced;    /* … and it does nothing any more … */
    gboolean is_signalled; /* … stopped by a signal … */
    gboolean is_lent;      /* … and libvirt was to suspend it instead … */
    gboolean was_paused;   /* … which was so before: nobody resumes it */
    gint64 fenced_at_ms;   /* … since then */
    guint halts;           /* how often that has ended … */
    gint64 halted_ms;      /* … and how long it had lasted, the last time */
    gboolean resumes;      /* libvirt was asked to have it go on, and has not said that it does */
    gboolean is_late;      /* libvirt may yet do what it was asked to, and nobody waited for */
    guint64 suspends; /* the number of the last asking to suspend it that was not answered; 0: all were */
    /* Who waits for it to stand still; NULL: nobody. */
    void (*on_still)(void *user, const GError *error);
    void *stiller;
    gint64 still_by_ms;
    guint64 still_from; /* whatever was asked before does not count: it may have gone on since */
    guint still_lends;
    char *still_why; /* it does not, yet; NULL: nobody has said */
} Hold;

struct Tenure {
    Engine *engine;
    Leases *leases;
    Peers *peers;
    Warden *warden;
    Ungate *ungate;
    GHashTable *holds; /* Id * (its own) -> Hold * */
    GHashTable *freed; /* set of Id *: let go by this engine, when nothing was enforced */
    GArray *before;    /* LeaseEntry: what the engine before this one enforced; NULL: none since the boot */
    LeaseWriter *file;
    void (*on_left)(void *user); /* NULL: it does not leave */
    void *leaver;
    uv_timer_t leave_timer;
    uv_timer_t still_timer; /* while somebody waits for a guest to stand still */
    guint64 suspends;       /* asked so far */
    gboolean closed;
};

/* NULL: @vm is not held here. */
Hold *hold_find(const Tenure *t, Id vm);
gboolean hold_is_enforced(const Hold *h);
LeaseMoment hold_end(const Hold *h);
gboolean hold_is_yielding(const Hold *h);
/* Nothing stands in the way of what stands still. */
gboolean hold_may_run(const Hold *h);
/* What was stopped, and is another host's, stays so, lease or not. */
gboolean hold_stays(const Hold *h);

/* Who asked, for an answer that may come when a hold is gone. The caller frees. */
typedef struct {
    Tenure *tenure;
    Id id;          /* a VM, or a voter */
    guint64 number; /* of one that is to suspend it */
} Asked;

Asked *tenure_asked(Tenure *t, Id id);

/* --- tenure_guard.c --- */

/* What holds by now, if it does not have that. One that needs no lease, and never did, is none of the guard's. */
void hold_give_to_guard(Hold *h);
/* The guard has it from an engine before this one: it is told what holds by now, also that no lease is needed. */
void hold_know_in_guard(Hold *h);
void hold_leave_guard(Hold *h);
/* Out of the kernel's gate, if it needs no lease and its guard, by whose last word that goes, is away. */
void hold_ungate(Hold *h);
/* A card may have been plugged, or be gone. */
void hold_look_at_taps(Hold *h);

/* --- tenure_halts.c --- */

void halts_on_please_stop(void *user, Id vm);
void halts_on_fenced(void *user, Id vm, Fenced how);
void halts_on_still_timer(uv_timer_t *timer);
void hold_resume(const Hold *h);
/* Whatever its guard has done is undone by that, or nothing was done yet. */
void hold_go_on(Hold *h);
/* Nobody wants it to stand still. */
void hold_forget_stop(Hold *h);
/* Whoever waits for it to stand still is told; @h may be gone then. */
void hold_say_still(Hold *h, const GError *error);
