/* SPDX-License-Identifier: Apache-2.0 */
/* ladder - what is to be done with a guest whose lease ends.
 *
 * Pure: the clocks are read by the caller, and what is to be done is done by it. One step at a time, each with its time before the end:
 * the engine is asked to suspend the guest, its process is stopped, it is killed. Only the effect counts: libvirt's event that it has stopped, which
 * the engine tells, or every thread standing still. A guest that was stopped and goes on without a lease is stopped again; one whose
 * lease is back may go on.
 *
 * What was stopped by a signal hangs whoever asks libvirt for it. Its engine may have it go on behind the shut gate (is_to_lend), for as long as libvirt
 * needs to suspend it; if it has not by then, it is stopped again.
 *
 * Who looks late, because all of the host stood still, still stops first, and kills only what does not stop: by then its frames are
 * held by the kernel (shutter.h), and a stopped guest keeps its memory. */
#pragma once

#include "orchestrator/core/lease/lease.h"
#include "vmconnect/guard/word.h"

#include <glib.h>

#define LADDER_ASK_MS LEASE_STOP_MS /* before the end */
#define LADDER_STOP_MS 1000
#define LADDER_KILL_MS 600
#define LADDER_SHUT_MS 200  /* the kernel lets no more frames in */
#define LADDER_LENT_MS 2000 /* that libvirt has to suspend what was stopped by a signal */
#define LADDER_GRACE_MS 100 /* that a stopped process has in any case; it takes less than 1 */

typedef enum {
    LADDER_NOTHING,
    LADDER_ASK,
    LADDER_STOP,
    LADDER_KILL,
    LADDER_CONT,
    LADDER_TELL,
    LADDER_FREE,
    LADDER_LEND
} LadderAct;

/*    state     fenced         in the log */
#define LADDER_STATES(X)                          \
    X(RUNS, FENCED_NOT, "runs")                   \
    X(ASKED, FENCED_NOT, "asked to stop")         \
    X(HALTED, FENCED_NOT, "sent SIGSTOP")         \
    X(KILLED, FENCED_KILLED, "sent SIGKILL")      \
    X(PAUSED, FENCED_ASKED, "fenced")             \
    X(STOPPED, FENCED_STOPPED, "fenced, stopped") \
    X(LENT, FENCED_NOT, "goes on behind the shut gate, to be suspended")

typedef enum {
#define X(state, how, text) LADDER_##state,
    LADDER_STATES(X)
#undef X
        LADDER_STATE_COUNT
} LadderState;

/*    from    to       what is to be done  why this edge is taken */
#define LADDER_EDGES(X)                                                    \
    X(RUNS, ASKED, ASK, "its engine is to suspend it")                     \
    X(ASKED, PAUSED, TELL, "libvirt has stopped it")                       \
    X(ASKED, HALTED, STOP, "nobody said that it has stopped")              \
    X(HALTED, STOPPED, TELL, "every thread of it stands still")            \
    X(HALTED, KILLED, KILL, "not every thread stands still")               \
    X(PAUSED, HALTED, STOP, "it was resumed without a lease")              \
    X(STOPPED, HALTED, STOP, "somebody let it go on without a lease")      \
    X(ASKED, RUNS, FREE, "its lease was renewed")                          \
    X(PAUSED, RUNS, FREE, "its lease is back; libvirt may resume it")      \
    X(HALTED, RUNS, CONT, "its lease is back")                             \
    X(STOPPED, RUNS, CONT, "its lease is back")                            \
    X(STOPPED, LENT, LEND, "libvirt can suspend it only while it goes on") \
    X(LENT, PAUSED, TELL, "libvirt has stopped it")                        \
    X(LENT, HALTED, STOP, "nobody has suspended it in time")               \
    X(LENT, RUNS, FREE, "its lease is back")

typedef struct {
    LadderState state;
    gboolean is_enforced; /* FALSE: no end */
    LeaseMoment until;
    gint64 halted_ms; /* CLOCK_BOOTTIME: when the last SIGSTOP was sent */
    gboolean
        is_to_lend; /* it may go on for LADDER_LENT_MS, to be suspended by libvirt, once its gate is shut … */
    gint64 lent_ms; /* CLOCK_BOOTTIME: … and did so then */
} Ladder;

/* What is seen of a guest. */
typedef struct {
    LeaseMoment now;
    gboolean said_stopped; /* libvirt's last event, as the engine tells it … */
    gboolean is_busy;      /* … and yet it computes; asked only when fenced so */
    gboolean is_still;     /* every thread is stopped; asked only when one was sent SIGSTOP */
} LadderSight;

/* Advance by at most one edge. Call until NOTHING: one edge may lead to the next. *@ret_why: the edge's. */
LadderAct ladder_step(Ladder *l, const LadderSight *sight, const char **ret_why);

/* The same as a sentence: where it is stopped, with what its lease has left, or since when it is over. The caller frees. */
char *ladder_reason(const Ladder *l, LeaseMoment now, LadderAct act, const char *why);

/* When to look again, at the latest: milliseconds on whichever clock is ahead; -1: not before somebody says something. */
gint64 ladder_wait_ms(const Ladder *l, LeaseMoment now);

/* What is left for its frames; 0: none may pass. Not to be asked while it is not enforced. */
gint64 ladder_open_ms(const Ladder *l, LeaseMoment now);

const char *ladder_state_text(LadderState state);
const char *ladder_state_name(LadderState state);
/* FALSE: there is none of that name. */
gboolean ladder_state_parse(const char *name, LadderState *ret_state);
Fenced ladder_fenced(LadderState state);
