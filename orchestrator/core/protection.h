/* SPDX-License-Identifier: Apache-2.0 */
/* protection - decides what one running scenario should do next.
 *
 * Pure: no clock, socket, thread or file. Time, commands, answers and news come
 * in as an Input; wishes go out as actions, which the controller carries out
 * in order. What must survive a restart is protection_to_json(); everything
 * else is learnt again from the engines.
 *
 * The way of a scenario: run -> verify both hosts -> each standby admits its
 * VMs, then each active is told to protect them -> news move the copies'
 * states. Engines hold their orders durably and go on without us, so a lost
 * link changes what we know, not what they do; when it is back they are told
 * everything again (every call may be repeated). */
#pragma once

#include "orchestrator/core/action.h"
#include "orchestrator/core/news.h"
#include "orchestrator/core/roster.h"
#include "orchestrator/core/scenario.h"
#include "orchestrator/core/states.h"
#include "orchestrator/core/vitals.h"

/* What the operator wants; durable. */
typedef enum { GOAL_STOPPED, GOAL_RUNNING, GOAL_PAUSED } Goal;

/* One VM on one standby. */
typedef struct {
    char *host;
    CopyState state;
    char *why;         /* what hinders, for the operator; NULL: nothing */
    gboolean complete; /* durable: it has been able to take over since it was made */
    gboolean restored; /* its state is a guess after a restart; what replaces it is no event */
    gboolean admitted; /* the standby's engine took it up in this session */
} ProtectionCopy;

/* What a host's disks alone hold of one VM. */
typedef struct {
    char *host;
    gint64 count; /* branches; -1: it has not said */
    gint64 bytes; /* at most so much; -1: not known yet */
    gint64 told;  /* durable: of so many the operator was told */
} ProtectionBranches;

/* A refusal: it counts until the same order goes well, or is not given any more. */
typedef struct {
    char *method;
    char *host;
    char *why;
} ProtectionTrouble;

/* What the active's engine has confirmed in this session. */
typedef enum { TOLD_NOTHING, TOLD_PROTECT, TOLD_PAUSE } ProtectionTold;

/* Is a guest alive? OFF: its user, or we, want it so. */
typedef enum { GUEST_LIFE_UNKNOWN, GUEST_LIFE_ALIVE, GUEST_LIFE_OFF, GUEST_LIFE_SILENT } GuestLife;

const char *guest_life_name(GuestLife life);

/* protection_life.c. Durable is whether it lived or was off when it was heard last, and what of it was told and is not over. */
typedef struct {
    GuestLife state;
    char *why;            /* NULL: nothing to say */
    gboolean presumed;    /* silent since before the controller's start or a plan, and not found so since */
    gboolean revivable;   /* silent, and its host could start it again … */
    gboolean hangs;       /* … or reset it, since it runs on */
    gboolean outside;     /* it is its standby alone that misses it */
    gboolean paused;      /* off as far as anybody is concerned, and yet to be shut down */
    gboolean frozen;      /* its QEMU stands still: nothing can be asked of it but to be killed */
    gboolean lived;       /* when its host's engine last said so or so */
    gboolean mute;        /* its agent did not answer any more, and has not since */
    gint64 unanswered_ms; /* since when a check of its operator's is tried and was never answered; 0: none */
    gboolean unanswered;  /* that was told */
    guint known_answers;  /* more or less, of its checks: another number when others were answered */
    gboolean answers;     /* it did, as long as it was alive: so it will when it is started */
    gboolean proven;      /* its checks have passed since it was started */
    gint64 silent_ms;     /* when it fell silent last; 0: never … */
    gint64 since_ms;      /* … and since when it was missed, as far as is known */
    gint64
        fenced_ms; /* since when its host's engine says that it stands still for want of a lease; 0: it does not */
    gint64 unheard_ms; /* since when nobody hears its host's engine; 0: somebody does */
    gint64 heard_ms;   /* when its host's engine had a word of it last; 0: never */
    gboolean known_boots;
    guint boots;       /* as its host counts them */
    gint64 booted_ms;  /* since it is watched; 0: not */
    guint halts;       /* for want of a lease, as its host counts them, once boots are known */
    guint barks;       /* of its watchdog, as its host counts them, once boots are known */
    gint64 unasked_ms; /* when libvirtd of its host did not answer last, since it is watched; 0: never */
    gint64 unseen_ms;  /* the same of its standby, which saw nothing at all … */
    gint64 deaf_ms;    /* … or did not hear its host */
    gboolean reviving; /* it was asked for, and has not answered yet, nor failed … */
    gboolean revived;  /* … it has been started or reset … */
    gboolean gave_up;  /* … it did not come to life so, and has not since */
    gint64 revived_ms; /* when it was asked for last; 0: never */
    gint64 back_ms;    /* when it lived again after that */
    Id waits_for;      /* a VM that is started before it; nil: it does not wait */
    guint tries;       /* of the one that was asked for */
    guint tried_boots; /* boots when the last of them began */
    gint64 again_ms;   /* the last has failed, and it is tried again then; 0: it has not */
    gint64 rest_ms;    /* until then another is not asked for */
    gint64 first_ms;   /* when the first of those since it lived was asked for */
    gint64 late_ms;    /* given up, and yet to be tried then; 0: not */
    guint64 order;     /* number of the try that was asked for last */
} ProtectionLife;

/* What its active's engine last said of its lease. */
typedef enum {
    LEASE_NONE, /* nothing */
    LEASE_FREE, /* it need not hold one */
    LEASE_HELD,
    LEASE_LOST, /* it must, and does not: it stands still */
} LeaseWord;

typedef enum { PART_NONE, PART_MOVING, PART_BLOCKED, PART_MOVED, PART_STAYED, PART_DOWN } PlanPart;

typedef struct {
    Id uuid;
    char *name;
    char *active; /* host that runs it now; durable */
    Reign reign;  /* durable */
    char *rival;  /* host that says it is the active in another reign of the same number; NULL: none does */
    gboolean reverse;    /* durable: away from home, and replicated back from there */
    GPtrArray *copies;   /* ProtectionCopy *, by priority */
    GPtrArray *branches; /* ProtectionBranches *, of hosts that had any */
    News *last;          /* the active engine's last word; NULL: none that counts */
    gint64 heard_at_ms;  /* when that was */
    ProtectionTold told;
    PlanPart part;     /* what the running plan made of it */
    const char *asked; /* method that was called and not answered; NULL: none */
    char *asked_host;
    guint64 order;       /* … and its number */
    gint64 retry_at_ms;  /* after a refusal: not before */
    GPtrArray *troubles; /* ProtectionTrouble *, in the order in which they came */
    char *stayed;        /* why the last plan could not move it, or, PART_BLOCKED, cannot yet; NULL */
    guint owes;          /* ProtectionOwed, durable: calls that must be made once the host answers */
    LeaseWord lease;
    gboolean arm; /* it is to be armed, as its active was told, or will be */
    guint failed; /* of those: which did not go well since retry_at_ms was last reached */
    Id owed_plan; /* durable: whose lock is owed */
    ProtectionLife life;
} ProtectionVm;

typedef enum {
    OWES_STOP = 1 << 0,    /* active.stop */
    OWES_DISMISS = 1 << 1, /* standby.dismiss, to the host that keeps its copy */
    OWES_UNLOCK = 1 << 2,  /* plan.unlock, to the host that was active before */
    OWES_LEAVE = 1 << 3,   /* standby.dismiss, to the active, which may have the role it was promoted from */
    OWES_YIELD = 1 << 4,   /* active.yield, to the host that was active before, and did not release */
} ProtectionOwed;

/* The way home by itself. Only `tries` is durable: a restart of the controller starts the waiting anew. */
typedef struct {
    gboolean whole;     /* every VM that is away has been protected there without a break … */
    gint64 since_ms;    /* … since then */
    gboolean announced; /* the operator was told that it is ahead */
    gboolean asked;     /* decided, and not begun yet */
    guint tries;        /* since the VMs went away, or the operator had a hand in it */
    char *why;          /* why the last try could not be begun; NULL */
} ProtectionHome;

/* Until a switchover is required; durable. */
typedef struct {
    gboolean runs;
    gboolean over; /* it is, and was told; then … */
    gboolean late; /* … one that fell silent since has a countdown of its own */
    gint64 since_ms;
    gint64 since_wall_ms; /* what of it is durable: a steady clock says nothing after a boot */
    gint64 resumed_ms; /* when a controller that had just started took it up, or a plan last ran; 0: never */
} ProtectionCountdown;

/* The switchover that the controller begins by itself. Nothing of it is durable but the plan, once there is one. */
typedef struct {
    gboolean asked; /* decided, and not begun yet */
    gboolean told;  /* its operator was, that a switchover is required */
    guint tries;    /* since the countdown was over */
    gint64 at_ms;   /* of the last, or when a plan last ran */
} ProtectionTakeover;

/* A host that runs some of the VMs, and whose kernel alone answers. */
typedef struct {
    char *host;
    gint64 since_ms;
    gboolean told; /* durable: it has been so for as long as a countdown */
} ProtectionHang;

typedef struct {
    Scenario *scenario;
    const Roster *roster; /* borrowed */
    const Vitals *vitals; /* borrowed; NULL: nobody watches */
    ScenarioState state;
    Goal goal;
    gboolean verifying;
    gboolean purging; /* by others: no order goes out meanwhile */
    Id plan;          /* nil: none runs */
    gboolean parks;   /* durable: it is for the maintenance of a host */
    json_t *hold;     /* durable: the operator's, of this scenario (hold.h); NULL: none */
    json_t *networks; /* {"from": "to"}: what verification made of the map */
    GPtrArray *vms;   /* ProtectionVm * */
    GHashTable *up;   /* set of host names whose engine answers */
    GHashTable
        *unheard; /* durable set of host names: they must say what they know before anything is ordered */
    GHashTable *heard; /* set of host names: they have, since their link is up */
    GHashTable *met;   /* set of host names: they have since the controller runs */
    gint64
        wait_until_ms; /* just started: who may be the active is told nothing before all were heard, or this */
    ProtectionHome home;
    ProtectionCountdown countdown;
    ProtectionTakeover takeover;
    gboolean rests_on_fence; /* as the last verification says: leases alone do not hold what it has */
    char *unfit;      /* why the last verification says that a switchover would not work; NULL: it would */
    GPtrArray *hangs; /* ProtectionHang * */
    gint64 wall_ms;   /* of the last input */
    gboolean
        resumes; /* what was told before the controller started is still to be taken up, with the first input */
} Protection;

typedef enum {
    INPUT_RUN,
    INPUT_STOP,
    INPUT_PAUSE,
    INPUT_CONTINUE,
    INPUT_HOLD, /* json: the hold */
    INPUT_UNHOLD,
    INPUT_VERIFIED, /* failure (NULL: no errors), networks */
    INPUT_POLICY,   /* scenario: with its new policy, map and start order, checked by scenario_may_become() */
    INPUT_PURGE,    /* its standbys are about to be admitted once more, to delete their copies */
    INPUT_KEEP,     /* that has failed: what was admitted is dismissed again */
    INPUT_HAS_MOVED,  /* host: the roster has other addresses of it */
    INPUT_LINK_BACK,  /* host */
    INPUT_LINK_LOST,  /* host */
    INPUT_NEWS,       /* host, json: its `status` document */
    INPUT_ANSWER,     /* host, method, vm, failure (NULL: done), json: the result */
    INPUT_PLAN_BEGUN, /* plan, host: to where; then INPUT_MOVING for each VM it has */
    INPUT_MOVING,     /* vm: the plan has it */
    INPUT_YIELDED, /* vm, host, why: the state of the guest there; by force, and that host was back before */
    INPUT_MOVED,   /* vm, host, reign, unlocked, reverse, forced */
    INPUT_STAYED,  /* vm, why */
    INPUT_BLOCKED, /* vm, host, why: given up by the one, not yet started by the other */
    INPUT_DOWN,    /* vm, why: neither moved nor running */
    INPUT_GATE_MISSED, /* vm, host, why: those that start after it wait no longer */
    INPUT_PLAN_ENDED,  /* plan, host: to where */
    INPUT_SWITCHBACK,  /* failure (NULL: it was begun): of an ACTION_SWITCHBACK */
    INPUT_TAKEOVER,    /* the same of an ACTION_TAKEOVER */
    INPUT_LOOKED,      /* failure (NULL: no errors): of a verification while it runs */
    INPUT_TICK,
} InputKind;

/* Everything is borrowed, except in an ACTION_TELL, which owns host and why. */
struct Input {
    InputKind kind;
    gint64 now_ms;  /* steady */
    gint64 wall_ms; /* for what outlives a restart */
    char *host;
    const char *method;
    Id vm;
    Id plan;
    Reign reign;
    gboolean unlocked;
    gboolean reverse;
    gboolean forced;
    gboolean rests_on_fence; /* INPUT_VERIFIED, _LOOKED: verify_rests_on_fence() */
    gboolean parks;          /* INPUT_PLAN_BEGUN: no switchover, but the maintenance of a host */
    guint64 order;           /* of the call that is answered; 0: of the last */
    char *why;
    const GError *failure;
    const json_t *json;
    const json_t *networks;
    const Scenario *scenario;
};

/* A stopped protection; every VM at home in reign {1, @reign_id}. @roster is
 * borrowed for its life, the scenario copied. */
Protection *protection_new(const Scenario *scenario, const Roster *roster, Id reign_id);
void protection_free(Protection *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Protection, protection_free)

/* What must be durable, and back. Reading refuses (CORRUPT) what does not fit the
 * scenario. After reading every link counts as down until INPUT_LINK_BACK. */
json_t *protection_to_json(const Protection *p);
Protection *protection_from_json(const json_t *doc, const Scenario *scenario, const Roster *roster,
                                 GError **error);

/* Of such a document: what it says of checks that were answered, to who needs it. */
void protection_recall_answers(const json_t *doc, Vitals *vitals);

/* What @p says comes from elsewhere, and may be old: nothing is ordered before every host of it was heard. */
void protection_doubt(Protection *p);
/* Its own hold, and those of its hosts: an array of hold_describe(). New reference. */
json_t *protection_holds(const Protection *p);
/* Is a host of it about to be restarted by its operator, or its plan for that? */
gboolean protection_is_maintained(const Protection *p);
/* By either of the two. */
gboolean protection_is_held(const Protection *p);
/* Those that are still missing: an array of names. New reference. */
json_t *protection_unheard(const Protection *p);
/* FALSE with @error REFUSED if there are some. */
gboolean protection_is_sure(const Protection *p, GError **error);

/* Advance @p by one input and append to @out what must be done now, in order.
 * FALSE with @error set, and @p unchanged, if the input is impossible here:
 * REFUSED or EXISTS for a command (the sentence is for the operator), PROTOCOL
 * for news that no engine of ours sends. @in stays the caller's. */
gboolean protection_step(Protection *p, const Input *in, ActionList *out, GError **error);

/* What came in, in a few words: the left half of a log line, `condition -> decision`.
 * @vm_name may be NULL where the input is about no VM. The caller frees. */
char *input_words(const Input *in, const char *vm_name);

/* --- leases (protection_lease.c) --- */

gboolean protection_is_automatic(const Protection *p);
/* It is automatic, or was when its actives were heard last: whoever takes over has to be elected. */
gboolean protection_has_leases(const Protection *p);
/* Why nobody else is elected for it at present; borrowed, NULL: it is armed, or will be in a moment. */
const char *protection_unarmed(const Protection *p, const ProtectionVm *vm);
/* Why it would not be taken over by itself, by votes or by a fence, at present; likewise. */
const char *protection_unattended(const Protection *p, const ProtectionVm *vm);
/* isolation=run: nothing but a fence makes certain that nobody runs it any more. */
gboolean protection_is_fenced_only(const Protection *p);
/* The name of a VM whose active is @host and of which it is not known that it does not live; NULL: there is none. Borrowed. */
const char *protection_may_live_on(const Protection *p, const char *host);
/* Does what was asked for with ACTION_TAKEOVER still stand? */
gboolean protection_wants_takeover(const Protection *p);
/* Id of each VM that is to be moved, into @vms, of one host's. *@ret_gone: its active's engine does not answer, so that nobody can be asked for a
 * release; *@ret_hangs: a guest may have to be switched off. */
void protection_to_take_over(const Protection *p, GArray *vms, gboolean *ret_gone, gboolean *ret_hangs);

/* Has its standby been heard since the controller runs, and nobody contradicted? */
gboolean protection_vouches(const Protection *p, const ProtectionVm *vm);
ProtectionVm *protection_find(const Protection *p, Id vm);
/* The map that the standbys go by; NULL: it was not run. */
const json_t *protection_networks(const Protection *p);
/* … as the VM's standby was told it: from the places of the host that runs it. New reference. */
json_t *protection_networks_of(const Protection *p, const ProtectionVm *vm);
gboolean protection_is_up(const Protection *p, const char *host);
/* Does it wait for a word of @host, which is up, that only a whole status is sure to have? */
gboolean protection_lacks_word(const Protection *p, const char *host);

/* Where changes of the policy stand now. */
PolicyMoment protection_moment(const Protection *p);

/* Is some call still owed to an engine? Such a scenario must not be forgotten. */
gboolean protection_owes(const Protection *p);
/* Each of them in its order; takes @params. */
typedef void (*ProtectionOwedFunc)(void *user, const char *host, const char *method, json_t *params);
void protection_each_owed(const Protection *p, ProtectionOwedFunc each, void *user);
/* [{"host", "why"}] of those of one VM, "why" null while nothing is known to hinder it. New reference. */
json_t *protection_owed(const Protection *p, const ProtectionVm *vm);
/* The host that keeps the VM's copy by our order, wherever it runs. */
const char *protection_keeper(const ProtectionVm *vm);

/* The newest sealed instant's age on this copy at @now_ms; -1: nothing is sealed,
 * or no word yet. The active engine's own figure plus the time since it was said. */
gint64 protection_lag_ms(const ProtectionVm *vm, const char *standby, gint64 now_ms);
/* …and the age from which it counts as lagging: 3 intervals + 5 s. */
gint64 protection_lag_limit_ms(const Policy *policy);

/* With switchback=auto, how long until the VMs are moved home if nothing comes between; -1: nothing is ahead. */
gint64 protection_switchback_left_ms(const Protection *p, gint64 now_ms);
/* How long a silent guest has still to answer before a switchover is required; 0: it is; -1: all are well, or a
 * plan runs. */
gint64 protection_countdown_left_ms(const Protection *p, gint64 now_ms);
/* When it is: what its operator is to type, or to do; NULL while a plan runs. The caller frees. */
char *protection_way_out(const Protection *p);
/* The same of a VM whose QEMU stands still, which cannot be moved as it is. */
char *protection_frozen_text(const Protection *p, const ProtectionVm *vm);
/* Does an ACTION_SWITCHBACK still count? A command may have overtaken it. */
gboolean protection_wants_home(const Protection *p);

/* The state of the best of the copies. */
CopyState protection_vm_state(const ProtectionVm *vm);

/* Highest reign of its VMs; the host that runs them all, or NULL while they are apart. */
guint64 protection_term(const Protection *p);
const char *protection_active(const Protection *p);

/* A VM that another host than the master runs, or NULL: it is not on the way that is verified, from the
 * master to its replica. */
const ProtectionVm *protection_away(const Protection *p);
