/* SPDX-License-Identifier: Apache-2.0 */
/* plan - a switchover, in good order or by force, or a host's maintenance, as steps that can be read before they run.
 *
 * Each VM is a sub-plan of its own:
 *
 *   lock     -> the active's engine excludes every other start of the guest, and
 *               rolls back by itself at the deadline unless it has released
 *   shutdown -> cutting ends, the guest is asked (agent, then ACPI) to shut down
 *   final    -> the last generation is cut from the stopped VM and sealed
 *   release  -> the active gives the VM up durably: from here only forwards
 *   promote  -> the standby defines and starts it, paused, makes the first
 *               checkpoint, lets it run
 *   unlock   -> the old active's lock comes off
 *
 * For the maintenance of its host a VM is not released, but parked: it stays off, its last generation sealed, until it is called back. That
 * is done by PLAN_CALL_BACK, when the host says that it was booted since, and when one of them could not be parked, since
 * nothing is left down by halves; then all of them are rolled back, in their start order.
 *
 *   lock -> shutdown -> final -> park -> … -> rollback
 *
 * By force, when the active is gone, there is one step, promote, of the newest point that the standby has, and before it, where leases are
 * held, elect: the controller's voice, and the standby's, promise the next reign, which they do once what they have granted to
 * the active has ended, or at once if its host was fenced and neither has heard it since. An election that comes to nothing leaves the VM where it is. The
 * operator knows that the other side is off, and is told what will be lost. The old active is
 * told when it is back that its reign is over (`active.yield`): before the promotion is tried again, if it is back
 * before that has worked. A plan in good order whose active
 * goes under it is gone on with so, by the same operator: PLAN_FORCE.
 *
 * Before release whatever fails is rolled back: the guest runs on where it
 * was. After it the start on the standby is tried again until it works. A VM
 * that could not move does not stop the others, but for those that its scenario's start order names:
 * plan_order.c. Of many VMs PLAN_AT_ONCE are under
 * way at a time; the others wait, running, for one of these to be over.
 *
 * plan_step() is pure, like protection_step(). What an engine did is read from
 * it (its answer, or `plan.state` when an answer is missing or the controller
 * was restarted), never remembered; only the certificate of a release is kept,
 * because it must reach the standby even if the old active dies after giving it.
 *
 * Root may promote the copy while the controller is away. A plan that is taken up again orders nothing before
 * the standby has said what it runs, or PLAN_HEAR_MS have passed, and a VM that runs there already has moved: its
 * old active, which did not give it up, is told to yield.
 *
 * `plan.state` {"plan", "vm"}, asked of the active, answers
 *   {"done": "none"|"lock"|"shutdown"|"final"|"park"|"release"|"unlock"|"rollback",
 *    "doing": null or one of those, "tip": id or null, "certificate": object or null,
 *    "error": null or {"code", "text"}}
 * `done` is the last step of this plan that the engine completed durably,
 * `error` why the one after it ended without. A rollback that ended, by order or
 * by the engine itself at its deadline, is always "done": "rollback"; with an
 * `error` if the guest could not be started again. */
#pragma once

#include "orchestrator/core/action.h"
#include "orchestrator/core/protection.h"

/* Fewer than an engine takes calls at once, so that none waits behind another guest's shutdown. */
#define PLAN_AT_ONCE 16
#define PLAN_HEAR_MS 30000

typedef enum {
    STEP_LOCK,
    STEP_SHUTDOWN,
    STEP_FINAL,
    STEP_RELEASE,
    STEP_PROMOTE,
    STEP_UNLOCK,
    STEP_ROLLBACK,
    STEP_PARK, /* journals count the others */
    STEP_ELECT,
    STEP_COUNT,
} StepKind;

/* A step as people see it before it is run. */
typedef struct {
    const char *method;  /* plan.lock, … */
    const char *text;    /* what it does */
    const char *gate;    /* what it waits for */
    const char *undo;    /* what takes it back */
    gboolean on_standby; /* on which engine */
    gint64 expected_ms;  /* usual duration */
    gint64 limit_ms;     /* longest */
} PlanStep;

/* Where a sub-plan is. */
/* clang-format off */
#define MOVE_STATES(X)                                                                                       \
    X(WAITING,       "waiting")                                                                              \
    X(READING,       "reading")       /* an answer is missing: the engines are asked what they did */         \
    X(LOCKING,       "locking")                                                                              \
    X(SHUTTING_DOWN, "shutting-down")                                                                        \
    X(FINISHING,     "finishing")                                                                            \
    X(PARKING,       "parking")                                                                              \
    X(PARKED,        "parked")        /* off, until it is called back, and then until it is its turn */       \
    X(RELEASING,     "releasing")                                                                            \
    X(HELD,          "held")          /* released; those that it starts after are not there yet */            \
    X(ELECTING,      "electing")      /* by force: the voters are asked for the next reign */                 \
    X(PROMOTING,     "promoting")                                                                            \
    X(BLOCKED,       "blocked")       /* released, and the standby could not start it; tried again */         \
    X(UNLOCKING,     "unlocking")                                                                            \
    X(ROLLING_BACK,  "rolling-back")                                                                         \
    X(MOVED,         "moved")         /* end: runs on the standby */                                          \
    X(STAYED,        "stayed")        /* end: runs where it was */                                            \
    X(DOWN,          "down")          /* end: neither; an operator must start it */
/* clang-format on */

typedef enum {
#define X(state, json) MOVE_##state,
    MOVE_STATES(X)
#undef X
} MoveState;

/* One VM's sub-plan. */
typedef struct {
    Id vm;
    char *name;
    Reign reign; /* now */
    MoveState state;
    char *why;        /* why it is rolled back, blocked, stayed or down; NULL */
    guint done;       /* steps completed, as far as the engines said */
    gboolean rolling; /* it is decided to roll back, as soon as the engine says that it is not released */
    gboolean begun;   /* an intention of it is in the journal, or about to be */
    gboolean was_off; /* when it was planned, as far as was known, by its user's will … */
    gboolean died;    /* … or not: it is to be started where it comes to */
    gboolean elected; /* the voters have promised it, or are bound to */
    gint64 elect_until_ms; /* ELECTING: so long what they have granted may last */
    gboolean yielded;      /* by force: its old active, which is back, has ended its part */
    gboolean asked;        /* a call is under way */
    gint64 next_at_ms;     /* READING, BLOCKED: when to ask again */
    Id tip; /* of the final generation, once known; by force: the point to go on from, nil: the newest */
    gint64
        lose_ms; /* by force, from the newest: so much is lost, as far as was known when it was planned; -1: not known */
    Reign by_hand; /* the standby was promoted by root meanwhile, in this one; number 0: not that we know */
    json_t *certificate;  /* of the release, once known */
    gint64 asked_at_ms;   /* when it was asked to shut down; 0: not yet, or not seen */
    gint64 off_at_ms;     /* when the guest was off; 0: not yet, or not seen */
    gint64 running_at_ms; /* when it ran on the standby; 0: not yet, or not seen */

    /* The start order; not in the journal, plan_order() gives it. */
    GPtrArray *before;  /* Move *, borrowed: that it starts after, and is shut down before */
    GPtrArray *behind;  /* Move *, borrowed: that start after it */
    Gate gate;          /* what they wait for */
    gboolean need_all;  /* of its checks */
    gboolean is_off;    /* it was left off on the standby … */
    gboolean is_on;     /* … or that says that it runs it, before it was asked to */
    gboolean open;      /* nobody waits for it, any more */
    gint64 there_ms;    /* since when it runs there, or was seen to; 0: not yet */
    gint64 answered_ms; /* when its probe was answered there; 0: not yet */
    gint64 stuck_ms;    /* since when it does not go on; 0: it does */
} Move;

typedef struct {
    Id id;
    char *scenario;
    char *from;
    char *to;
    Id to_id;            /* engine's identity */
    Reign next;          /* of the VMs that move */
    gboolean power_off;  /* a guest that does not shut down is switched off */
    gboolean reverse;    /* what moves away from home is replicated back at once */
    gboolean forced;     /* the old active has no part in it, or none any more … */
    gboolean old_is_off; /* … and the operator certified that it is off, or … */
    gboolean fenced;     /* … a fence has made it so, which counts while nobody has heard it since … */
    gint64 sure_ms;      /* … then (steady); PLAN_SURE_LONG_AGO: nobody knows any more when … */
    Id sure_boot;        /* … by the clock of this boot of the controller's machine */
    gboolean elected;    /* … or nobody wants it but the voters, by themselves */
    gint64 votes_ms;     /* by force: they are asked, for so long at most; 0: there are no leases */
    gboolean parks;      /* its VMs are to come back on @from: they are parked there … */
    gboolean alone;      /* … without a last generation, since @to is away … */
    gboolean until_told; /* … and a boot of it alone does not call them back … */
    gboolean called;     /* … that was done */
    Id point;            /* go on from this one instead of the newest; nil: the newest */
    gint64 shutdown_timeout_ms;
    gint64 start_timeout_ms;
    gint64 deadline_ms;   /* from its lock on, the active waits that long for the release */
    GPtrArray *moves;     /* Move * */
    const Vitals *vitals; /* borrowed; NULL: no probe is answered */
    gboolean ended;
    gboolean journal_lost; /* nothing can be recorded any more: what is not released is rolled back */
    gboolean from_up, to_up;
    gint64 wait_until_ms; /* taken up again: until then it waits for @to to say what it runs; 0: it has */
    gint64 now_ms;        /* steady, as of the last event */
} Plan;

#define PLAN_SURE_LONG_AGO G_MININT64

typedef struct {
    Id id;          /* of the plan, fresh */
    Id reign;       /* of the next reign, fresh */
    const char *to; /* NULL: the first replica, or … */
    gboolean home;  /* … the master */
    const Id *vms;  /* NULL: all that are not there yet */
    guint vm_count;
    gboolean power_off;
    int reverse; /* TRUE, FALSE, PLAN_REVERSE_BY_POLICY */
    gboolean force;
    gboolean old_is_off;
    gboolean fenced;     /* the same, by a fence that has made it so at … */
    gint64 sure_ms;      /* … (steady) … */
    Id sure_boot;        /* … in this boot of the controller's machine */
    gboolean elected;    /* by force, and by the votes alone: nobody's word */
    gint64 now_ms;       /* steady */
    Id point;            /* of the one VM that is moved; nil: the newest */
    const Plan *running; /* the scenario's, borrowed; NULL: none */
    guint64
        promised; /* the highest reign of its VMs that the controller has promised, perhaps in vain; 0: none */
} PlanOptions;

typedef struct {
    Id id;            /* of the plan, fresh */
    Id reign;         /* should it be gone on with by force, fresh */
    const char *host; /* whose maintenance it is */
    gboolean power_off;
    gboolean patient; /* a guest that does not shut down is waited for, for up to PLAN_PATIENCE_MS */
    gboolean until_told;
    gboolean alone; /* their standby is away, and need not be there */
} ParkOptions;

#define PLAN_PATIENCE_MS (24 * 3600 * 1000)

#define PLAN_REVERSE_BY_POLICY (-1)

/* Build a switchover. NULL with @error REFUSED (state, VM without a complete copy,
 * owed calls), NOT_FOUND (host, VM), BUSY (a plan runs) or UNREACHABLE (an engine
 * that is needed does not answer).
 * By force, with one running: what it is to become, under its own id; for PLAN_FORCE. */
Plan *plan_switchover(const Protection *p, const PlanOptions *options, GError **error);
/* Park all VMs that run on a host. NULL with @error as plan_switchover(); NOT_FOUND: none does. */
Plan *plan_park(const Protection *p, const ParkOptions *options, GError **error);
/* Are all of its VMs parked, and not called back? */
gboolean plan_is_parked(const Plan *plan);
/* Take the start order from @p's scenario, for plans that plan_switchover() has not made. */
void plan_order(Plan *plan, const Protection *p);
/* A plan that an engine says it is in and that @p does not know, to be gone on with or rolled back; NULL if there is none,
 * or not all that it needs answer. For runner_take_up(). */
Plan *plan_orphan(const Protection *p);
void plan_free(Plan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Plan, plan_free)

/* The steps of one VM, with the plan's times, in order, and after them the
 * rollback. @ret_steps has room for STEP_COUNT; the strings are static. */
void plan_steps(const Plan *plan, PlanStep ret_steps[static STEP_COUNT]);

/* For people and `plan show`: {"id", "scenario", "from", "to", "ended", "deadline_ms",
 * "vms": [{"vm", "name", "state", "why", "after": [{"vm", "name", "until"}], "down_ms", "steps": [{"method", "host", "text", "gate",
 * "undo", "expected_ms", "limit_ms", "state": "done"|"doing"|"todo"|"undone"}]}]}.
 * "after" are those that it starts after, each "until" its gate is met, in words, and that it is shut down before. "why" of one
 * that waits for others says for whom and what. "down_ms" is from the guest being off to its running on the standby, null until then. */
json_t *plan_to_json(const Plan *plan);
/* The same as text, before or after it is run. The caller frees. */
char *plan_text(const Plan *plan);

/* From the records of an ACTION_PERSIST, in order, as the journal has them. A plan
 * that has not ended is to be taken up with PLAN_RESUME if plan_goes_on(). CORRUPT. */
Plan *plan_from_records(const json_t *records, GError **error);

/* Of one that is to be taken up: what a fence made certain in another boot than @now was so at a time that nobody knows any more. */
void plan_forget_boot(Plan *plan, Id now);

/* Has it more to do? Its protection keeps which plan it is in, durable before the plan's first
 * record and until after its last news: one that @p (NULL: the scenario is gone) does not name is
 * over, even if the journal could not take its end. */
gboolean plan_goes_on(const Plan *plan, const Protection *p);
/* Of a plan that does not: how its VMs ended is what @p knows of them. */
void plan_conclude(Plan *plan, const Protection *p);

typedef enum {
    PLAN_BEGIN,        /* run it for the first time */
    PLAN_RESUME,       /* after a restart of the controller */
    PLAN_ANSWER,       /* host, method, vm, failure or result */
    PLAN_LINK_BACK,    /* host */
    PLAN_LINK_LOST,    /* host */
    PLAN_NEWS,         /* host, result: its `status` document */
    PLAN_CALL_BACK,    /* what is parked, or on its way there, comes back */
    PLAN_FORCE,        /* forced; its active's link is down */
    PLAN_JOURNAL_LOST, /* an ACTION_PERSIST could not be done; calls behind it were not made */
    PLAN_TICK,
} PlanEventKind;

typedef struct {
    PlanEventKind kind;
    gint64 now_ms; /* steady */
    const char *host;
    const char *method;
    Id vm;
    const GError *failure;
    const json_t *result;
    const Plan *forced;
} PlanEvent;

/* Advance @plan by one event and append to @out what must be done now, in order.
 * An answer that nobody waits for is ignored. */
void plan_step(Plan *plan, const PlanEvent *ev, ActionList *out);

const StateMachine *move_machine(void);
const char *move_state_name(MoveState state);
gboolean move_is_over(const Move *m);
Move *plan_find(const Plan *plan, Id vm);
