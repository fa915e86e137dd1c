/* SPDX-License-Identifier: Apache-2.0 */
/* lease - who may run a scenario's VMs, for one standby that votes: explored by Spin in every order of events.
 *
 * An active keeps its reign's lease while one of two grantors answers (the standby, the controller's voice); the next
 * reign needs the promise of both, is given by a release that names it, or is forced. lease.test says what must hold, which
 * rule each option NO_… leaves out, and which goals (GOAL) must be reachable.
 *
 * What is modelled, and by which abstraction
 * - Time is ticks of real time. Clocks are as wrong as they may be: a holder's is slow, so that LA lasts LA/(1-rho) =
 *   L/(1+rho), a grantor's is fast, so that L lasts L/(1+rho): with the margin both are TICKS, without it a holder's is
 *   longer. Better clocks end a lease earlier (a guest may pause at any time) or a grant later (nobody must act).
 * - A request stays in its slot and is handled never, late, or many times. OLDER adds one that was overtaken. An answer
 *   is handled at once or lost: since a lease counts from the sending, a late one tells nothing more.
 * - A vote, and a release, stay under way until they are lost; both may come twice.
 * - Engines and the controller need not do anything they may do, so one that hangs or is cut off needs no event. The
 *   guard alone must act: within the tick in which a lease ends, unless its host is frozen.
 * - Durable is what a kill leaves; a promise is written before anybody hears of it (in one step with it here).
 * - A fault, FAULTS of them in a run, is: an engine killed and started, a host lost and booted, a host frozen, thawed whenever,
 *   the controller killed and started, with RESTORE from an old copy of its state.
 * - A guest that runs has an effect while its frames pass the kernel's gate, which needs no process to shut.
 * - An operator's word that the other guest is off (FORCE) is true and stays so until the standby has promised, or, if he
 *   asked the standby alone, until the old host has heard; or it is false, and then two run until they meet: claimed is what comes then.
 *
 * Who may do what is in the comment of each step, with the rule's noun. Not modelled: plans and their locks (a guest that
 * is off is off), more standbys (split.pml), the watchdog, progress (nobody is obliged to vote or to answer; what goals reach
 * is possible, not certain), another length of the lease, a second controller, votes in etcd, an engine whose own state is
 * a copy, what is sealed (only that it is refused).
 */
#ifndef TICKS
#define TICKS 2 /* of a lease: 2 tells "sent before the last tick" from "sent now" */
#endif
#ifndef REIGNS
#define REIGNS 2 /* 1 to REIGNS */
#endif
#ifndef ARMS
#define ARMS 1 /* arm numbers in a reign: odd armed, even disarmed */
#endif
#ifndef FAULTS
#define FAULTS 0
#endif
#ifndef FORCE
#define FORCE 0 /* times that somebody forces */
#endif
#ifndef GOAL
#define GOAL 0
#endif

#define ALPHA 0 /* two engines, and */
#define BETA 1
#define VOICE 2 /* the controller's voice */

#define OFF 0 /* a guest */
#define RUNS 1
#define PAUSED 2

#define AWAKE 0 /* a host */
#define FROZEN 1
#define WAKING 2 /* guests run again, the guard has not looked yet */
#define GONE 3   /* off, as somebody has said and sees to */

#ifdef NO_MARGIN
#define HOLD (TICKS + 1)
#else
#define HOLD TICKS
#endif

/* Durable. */
byte promised[3];   /* highest reign promised */
byte owner[3];      /* and whose it is */
byte arm[3];        /* highest arm number of it that was heard */
byte mine[2];       /* reign that this engine took, 0 none */
byte released[2];   /* highest reign that it released or declined */
bool ran[2];        /* its guest may have run in mine */
bool diverged[2];   /* its guest lived on beside a forced reign: its operator decides */

/* Volatile. */
byte grant[3];      /* ticks for which a grant of this party binds it */
byte sitout[3];     /* ticks for which it does not vote, not knowing what it granted before it started */
byte guest[2];
byte host[2];
bool lax[2];        /* disarmed as r grantors know: runs on without a lease */
byte lease[4];      /* ticks left, 2 * engine + (0 by its peer, 1 by the voice) */
bool mute;          /* the voice knows that its state is a copy */
byte heard;         /* engines that have answered it since, as bits */

/* Under way. */
#ifdef OLDER
#define SLOTS 6                /* 4 + engine: one that a newer has overtaken, on the way to the peer (OLDER 0) or the voice (1) */
#define NEWER(o) (2 * ((o) - 4) + OLDER)
#define HOLD_OF(x) (x < 4 -> x : NEWER(x))
#else
#define SLOTS 4 /* as leases */
#define HOLD_OF(x) x
#endif
bool request[SLOTS];
byte asks_reign[SLOTS];
byte asks_arm[SLOTS];
byte asks_left[SLOTS];   /* of the lease that an answer would give */
bool asks_fenced[SLOTS]; /* its sender stands still, and means to */
#ifdef NO_SENDING_TIME
bool answered[4];        /* and the answer is not there yet */
#endif
byte vote[2];            /* the voice's vote for this engine as active of that reign, 0 none */
bool sworn[2];           /* with somebody's word that the other guest is off */
byte given[2];           /* reign that this engine releases to its peer, 0 none */
bool declined[2];        /* in which it never ran anything */

/* Bounds, and what is only there to be claimed about. */
byte faults;
byte forces;
byte top;                /* highest reign whose guest has run */
byte king[REIGNS + 1];   /* who took that reign, + 1 */
bool forced[REIGNS + 1]; /* as all who hear of the reign know */
bool barred[2];          /* somebody sees to it that this guest stays off until its engine has heard */
#if GOAL > 0
bool stood, went_on, decided_against, was_sworn;
#define SEEN(what) what = true
#else
#define SEEN(what) skip
#endif
byte wronged[2];         /* somebody said so wrongly of the reign forced then, which this engine has not met, nor a later one */

#define PEER(i) (1 - (i))
#define ODD(n) (((n) & 1) == 1)
#define LIVES(i) (host[i] == AWAKE || host[i] == WAKING)
#define OWNS(i) (mine[i] > 0 && promised[i] == mine[i] && owner[i] == i && released[i] < mine[i])
#define HOLDS(i) (lease[2 * (i)] > 0 || lease[2 * (i) + 1] > 0)
#ifdef NO_CONFIRMED_DISARM
#define ENFORCES(i) (ODD(arm[i]))
#else
#define ENFORCES(i) (ODD(arm[i]) || !lax[i])
#endif
#ifdef NO_GATE
#define EFFECT(i) (guest[i] == RUNS && LIVES(i))
#else
#define EFFECT(i) (guest[i] == RUNS && LIVES(i) && (!ENFORCES(i) || HOLDS(i)))
#endif
#ifdef NO_GUARD
#define GUARDED(i) false
#else
#define GUARDED(i) (guest[i] == RUNS && LIVES(i) && ENFORCES(i) && !HOLDS(i))
#endif
#ifdef NO_SITOUT
#define SITOUT 0
#else
#define SITOUT TICKS
#endif
#ifdef NO_MUTE
#define SPEAKS true
#else
#define SPEAKS (!mute)
#endif
#ifdef NO_LEASE_TO_ARM
#define LEASE_TO_ARM(i) true
#else
#define LEASE_TO_ARM(i) HOLDS(i)
#endif
#define FREE(p) (grant[p] == 0 && sitout[p] == 0)
/* Whether somebody who forces without a word asks if the reign is armed: only then its active stops for want of a lease. */
#ifdef NO_ARM_OF_VOICE
#define VOICE_ARMED (ODD(arm[VOICE]) || forces < FORCE)
#define MAY_BE_ELECTED ODD(arm_was)
#else
#define VOICE_ARMED ODD(arm[VOICE])
#define MAY_BE_ELECTED true
#endif
#ifdef NO_ARM_OF_STANDBY
#define STANDBY_ARMED(i) (ODD(arm[i]) || forced[vote[i]])
#else
#define STANDBY_ARMED(i) ODD(arm[i])
#endif
#ifdef NO_OWN_EXPIRY
#define VOICE_FREE true
#else
#define VOICE_FREE FREE(VOICE)
#endif

/* The number is said again by what failed: lease.test wants each missing rule caught by the claim that it is there for. */
#define CLAIM(number, what) assert(number == 0 || (what))

inline forget_request(x) {
  request[x] = false; asks_reign[x] = 0; asks_arm[x] = 0; asks_left[x] = 0; asks_fenced[x] = false
}

inline forget_requests(i) {
  forget_request(2 * i);
  forget_request(2 * i + 1);
#ifdef OLDER
  forget_request(4 + i);
#endif
}

/* A durable promise. What the party sent for an older reign of its own is worth nothing any more. */
inline promises(p, t, whose, n) {
  CLAIM(4, t >= promised[p]);
  promised[p] = t; owner[p] = whose; arm[p] = n;
  if
  :: p < VOICE -> forget_requests(p); lease[2 * p] = 0; lease[2 * p + 1] = 0; lax[p] = false
  :: else
  fi
}

inline is_righted(i, t) {
  wronged[i] = (wronged[i] > t -> wronged[i] : 0)
}

/* A guest that is there belongs to an older reign: it may be that of the new one only if nothing ran between. */
inline takes(i, t) {
  CLAIM(2, king[t] == 0 || king[t] == i + 1);
  CLAIM(1, guest[i] == OFF || top <= mine[i]);
  king[t] = i + 1; is_righted(i, t);
  promises(i, t, i, 0);
  mine[i] = t; ran[i] = (guest[i] == RUNS); lax[i] = true;
  if
  :: vote[i] <= t -> vote[i] = 0; sworn[i] = false
  :: else
  fi;
  if
  :: guest[i] == RUNS -> top = t; SEEN(went_on)
  :: else
  fi
}

/* A party hears of a higher reign, which is not its own. The guest that it may have ends first; beside a forced reign it
 * stands still, since perhaps it is the one that people work with. */
inline meets(p, t, whose, n) {
  if
  :: p < VOICE ->
     if
     :: guest[p] != OFF && (forced[t] || diverged[p]) ->
#ifdef NO_STANDSTILL
        skip
#elif defined(NO_MERCY)
        guest[p] = OFF; diverged[p] = true
#else
        guest[p] = PAUSED; diverged[p] = true
#endif
     :: else -> guest[p] = OFF
     fi;
     is_righted(p, t); barred[p] = false;
     if
     :: vote[p] <= t -> vote[p] = 0; sworn[p] = false
     :: else
     fi
  :: else
  fi;
  promises(p, t, whose, n)
}

/* The grantor handles a request of engine i: it grants, or says which reign is higher, which the sender may believe. */
inline handles(j, i, x) {
  if
  :: asks_reign[x] < promised[j] || (asks_reign[x] == promised[j] && owner[j] != i) ->
#ifdef NO_SEAL_REFUSED
     CLAIM(6, asks_reign[x] >= promised[j]); /* data came with it, and was sealed */
#endif
     if
#ifdef NO_REFUSAL_AFTER_VOTE
     :: LIVES(i) && OWNS(i) && asks_reign[x] == mine[i] && asks_left[x] > lease[HOLD_OF(x)] -> lease[HOLD_OF(x)] = asks_left[x]
#endif
     :: LIVES(i) && promised[j] > promised[i] && owner[j] != i -> meets(i, promised[j], owner[j], 0)
     :: true
     fi
  :: else ->
     if
     :: asks_reign[x] > promised[j] -> meets(j, asks_reign[x], i, asks_arm[x])
#ifdef NO_ARM_NUMBER
     :: else -> arm[j] = asks_arm[x]
#else
     :: asks_reign[x] == promised[j] && asks_arm[x] > arm[j] -> arm[j] = asks_arm[x]
     :: else
#endif
     fi;
     if
     :: asks_fenced[x] -> grant[j] = 0
     :: else -> grant[j] = TICKS
     fi;
#if defined(OLDER) && !defined(NO_ORDER)
     if
     :: x == NEWER(4 + i) && asks_fenced[4 + i] -> forget_request(4 + i) /* older than what was handled: not obeyed */
     :: else
     fi;
#endif
     if
     :: LIVES(i) && OWNS(i) && asks_reign[x] == mine[i] && !asks_fenced[x] && asks_left[x] > 0 ->
#ifdef NO_SENDING_TIME
        answered[HOLD_OF(x)] = true;
#else
        if
        :: asks_left[x] > lease[HOLD_OF(x)] -> lease[HOLD_OF(x)] = asks_left[x]
        :: else
        fi;
#endif
        if
        :: arm[j] == arm[i] && !ODD(arm[i]) -> lax[i] = true
        :: else
        fi
     :: true
     fi
  fi;
  if
  :: forget_request(x)
  :: true
  fi
}

/* One renewal. Fenced says: my guests stand still, and no answer to what I sent before will make them run. */
inline sends(i, x, fenced) {
#ifdef OLDER
  if
  :: request[x] && x == NEWER(4 + i) -> request[4 + i] = true; asks_reign[4 + i] = asks_reign[x]; asks_arm[4 + i] = asks_arm[x];
     asks_fenced[4 + i] = asks_fenced[x]; asks_left[4 + i] = asks_left[x]
  :: true
  fi;
#ifndef NO_OLD_ANSWER_IGNORED
  if
  :: fenced && x == NEWER(4 + i) -> asks_left[4 + i] = 0
  :: else
  fi;
#endif
#endif
  request[x] = true; asks_reign[x] = mine[i]; asks_arm[x] = arm[i]; asks_left[x] = (fenced -> 0 : HOLD); asks_fenced[x] = fenced
}

/* What a process of the engine knew: what is under way stays so, its answers are for nobody. */
inline restarts(i) {
  grant[i] = 0; sitout[i] = SITOUT; asks_left[2 * i] = 0; asks_left[2 * i + 1] = 0
#ifdef OLDER
  ; asks_left[4 + i] = 0
#endif
}

/* The whole host; it may be on again at once. */
inline goes_off(i) {
  restarts(i);
  guest[i] = OFF; diverged[i] = false; lease[2 * i] = 0; lease[2 * i + 1] = 0; lax[i] = false; host[i] = AWAKE
}

proctype engine(byte i) {
  byte t; /* an inline's parameters are text: what changes on the way must not be one */
#ifdef NO_LATE_CHECK
  bool decided = false;
#endif

end:
  do
  /* Renew: the owner, whenever. */
  :: atomic { LIVES(i) && OWNS(i) -> sends(i, 2 * i, false) }
  :: atomic { LIVES(i) && OWNS(i) -> sends(i, 2 * i + 1, false) }
#ifdef FENCED
  :: atomic { LIVES(i) && OWNS(i) && guest[i] != RUNS && lease[2 * i] == 0 && lease[2 * i + 1] == 0 -> sends(i, 2 * i, true) }
  :: atomic { LIVES(i) && OWNS(i) && guest[i] != RUNS && lease[2 * i] == 0 && lease[2 * i + 1] == 0 -> sends(i, 2 * i + 1, true) }
#endif
#ifdef NO_SENDING_TIME
  :: atomic { answered[2 * i] && LIVES(i) -> answered[2 * i] = false; lease[2 * i] = HOLD }
  :: atomic { answered[2 * i + 1] && LIVES(i) -> answered[2 * i + 1] = false; lease[2 * i + 1] = HOLD }
#endif
  /* Grant: who is asked. */
  :: atomic { request[2 * i] && LIVES(PEER(i)) -> handles(PEER(i), i, 2 * i) }
  :: atomic { request[2 * i + 1] && SPEAKS -> handles(VOICE, i, 2 * i + 1) }
#ifdef OLDER
#if OLDER == 0
  :: atomic { request[4 + i] && LIVES(PEER(i)) -> handles(PEER(i), i, 4 + i) }
#else
  :: atomic { request[4 + i] && SPEAKS -> handles(VOICE, i, 4 + i) }
#endif
#endif

  /* Run: start or resume, with a lease at that moment, by the owner. Pause: anybody, at any time. */
#ifdef NO_LATE_CHECK
  :: atomic { LIVES(i) && OWNS(i) && guest[i] != RUNS && HOLDS(i) && !barred[i] -> decided = true }
  :: atomic { LIVES(i) && decided -> decided = false; guest[i] = RUNS; ran[i] = true; top = (mine[i] > top -> mine[i] : top) }
#else
  :: atomic { LIVES(i) && OWNS(i) && guest[i] != RUNS && HOLDS(i) && !barred[i] ->
     guest[i] = RUNS; ran[i] = true; CLAIM(1, mine[i] >= top || wronged[i] > 0); top = mine[i] }
#endif
  :: atomic { LIVES(i) && guest[i] == RUNS -> guest[i] = PAUSED }
  /* The guard's first act after a thaw, perhaps not the first of all. */
  :: atomic { host[i] == WAKING ->
     host[i] = AWAKE;
     if
     :: GUARDED(i) -> guest[i] = PAUSED
     :: else
     fi }

  /* Arm: the owner, who enforces from then on. Disarm: he goes on enforcing until an answer has that number. */
  :: atomic { LIVES(i) && OWNS(i) && guest[i] == RUNS && !ODD(arm[i]) && arm[i] < ARMS && lax[i] && LEASE_TO_ARM(i) ->
     arm[i] = arm[i] + 1; lax[i] = false }
  :: atomic { LIVES(i) && OWNS(i) && ODD(arm[i]) && arm[i] < ARMS -> arm[i] = arm[i] + 1; lax[i] = false }

  /* Elect: the standby, with the voice's vote, promises last, and is the next active. */
  :: atomic { LIVES(i) && vote[i] == promised[i] + 1 && owner[i] != i && guest[i] == OFF && FREE(i) && STANDBY_ARMED(i) ->
     t = vote[i]; takes(i, t); t = 0 }
#ifdef NO_FOREIGN_VOTE
  :: atomic { LIVES(i) && owner[i] != i && promised[i] < REIGNS && guest[i] == OFF && FREE(i) && ODD(arm[i]) ->
     t = promised[i] + 1; takes(i, t); t = 0 }
#endif

  /* Release: the owner, whose guest is off, to its peer. Decline: the same of a reign in which it never ran, or which it
   * only has a vote for; then the old active, if it lives, goes on. */
  :: atomic { LIVES(i) && OWNS(i) && guest[i] == RUNS && mine[i] < REIGNS -> guest[i] = OFF }
  :: atomic { LIVES(i) && OWNS(i) && guest[i] == OFF && mine[i] < REIGNS ->
     given[i] = mine[i];
#ifdef NO_DECLINE_APART
     declined[i] = true;
#else
     declined[i] = !ran[i];
#endif
#ifndef NO_DURABLE_RELEASE
     released[i] = mine[i]; promises(i, mine[i] + 1, PEER(i), 0);
#endif
     skip }
  :: atomic { LIVES(i) && vote[i] == promised[i] + 1 && owner[i] != i && guest[i] == OFF && !sworn[i] && vote[i] < REIGNS ->
     given[i] = vote[i]; declined[i] = true;
#ifndef NO_DURABLE_DECLINE
     released[i] = vote[i]; promises(i, vote[i] + 1, PEER(i), 0); vote[i] = 0;
#endif
     skip }
  :: atomic { given[i] > 0 && LIVES(PEER(i)) ->
     if
     :: promised[PEER(i)] <= given[i] && !diverged[PEER(i)] ->
        if
        :: !declined[i] -> guest[PEER(i)] = OFF
        :: else
        fi;
        grant[PEER(i)] = 0;
        takes(PEER(i), given[i] + 1)
     :: else
     fi;
     if
     :: given[i] = 0; declined[i] = false
     :: true
     fi }

  /* Fate. */
  :: atomic { vote[i] > 0 -> vote[i] = 0; sworn[i] = false }
  :: atomic { faults < FAULTS && LIVES(i) -> faults++; restarts(i);
#ifdef NO_DURABLE_TAKING
     if
     :: mine[i] > 1 -> promised[i] = mine[i] - 1; owner[i] = PEER(i); arm[i] = 1; mine[i] = 0
     :: else
     fi;
#endif
     skip }
  :: atomic { faults < FAULTS && host[i] != GONE -> faults++; goes_off(i);
#ifdef NO_DURABLE_RAN
     ran[i] = false;
#endif
#ifdef NO_START_HOOK
     if
     :: mine[i] > 0 -> guest[i] = RUNS
     :: true
     fi;
#endif
     skip }
#ifndef NEVER_FROZEN
  :: atomic { faults < FAULTS && LIVES(i) -> faults++; host[i] = FROZEN }
  :: atomic { host[i] == FROZEN -> host[i] = WAKING }
#endif

  /* Rejoin: an engine answers a voice that knows it is a copy, and forgets what an earlier incarnation has voted. */
#ifdef RESTORE
  :: atomic { mute && LIVES(i) ->
     heard = heard | (1 << i);
     if
     :: promised[i] > promised[VOICE] -> promises(VOICE, promised[i], owner[i], arm[i])
     :: promised[i] == promised[VOICE] && arm[i] > arm[VOICE] -> arm[VOICE] = arm[i]
     :: else
     fi;
#ifndef NO_INCARNATION
     vote[i] = 0; sworn[i] = false;
#endif
     if
     :: heard == 3 -> mute = false; heard = 0; sitout[VOICE] = TICKS
     :: else
     fi }
#endif

#if FORCE > 0
  /* Force, on the standby alone: the other host stays off until it has heard. Leaps by two: the next number may be
   * somebody's whom this engine has not heard of. */
#ifdef NO_LEAP
#define LEAP 1
#else
#define LEAP 2
#endif
  :: atomic { LIVES(i) && forces < FORCE && promised[i] + LEAP <= REIGNS && guest[i] != RUNS && !diverged[i] ->
     goes_off(PEER(i));
     forces++; t = promised[i] + LEAP; forced[t] = true; guest[i] = OFF;
#ifndef NO_LASTING_WORD
     barred[PEER(i)] = true;
#endif
     takes(i, t);
     CLAIM(1, t >= top); guest[i] = RUNS; ran[i] = true; top = t; t = 0 }
  /* Force, with the voice's promise first, and a word instead of the wait. */
  :: atomic { LIVES(i) && sworn[i] && vote[i] > promised[i] && owner[i] != i && guest[i] == OFF ->
     t = vote[i]; takes(i, t); t = 0;
     if
     :: host[PEER(i)] == GONE -> host[PEER(i)] = AWAKE
     :: else
     fi;
     SEEN(was_sworn) }
  /* The operator of a guest that lived on decides against it. */
  :: atomic { diverged[i] && guest[i] == PAUSED -> diverged[i] = false; guest[i] = OFF; SEEN(decided_against) }
#endif
  od
}

proctype voice() {
  byte i;
  byte t;
#ifdef NO_ARM_OF_VOICE
  byte arm_was;
#endif

end:
  do
  /* Vote: armed, and no grant of its own binds it. Forced is the same at an operator's wish. */
  :: atomic { SPEAKS && promised[VOICE] < REIGNS && VOICE_ARMED && VOICE_FREE ->
     i = PEER(owner[VOICE]);
#ifdef NO_ARM_OF_VOICE
     arm_was = arm[VOICE];
#endif
     promises(VOICE, promised[VOICE] + 1, i, 0);
     vote[i] = promised[VOICE]; sworn[i] = false;
#if FORCE > 0
     if
     :: forces < FORCE -> forces++; forced[promised[VOICE]] = true
     :: MAY_BE_ELECTED -> skip
     fi;
#endif
     i = 0 }
  /* A vote is said again. */
  :: atomic { SPEAKS && vote[owner[VOICE]] == 0 && promised[owner[VOICE]] < promised[VOICE] -> vote[owner[VOICE]] = promised[VOICE] }
#if FORCE > 0
  /* Force with somebody's word, given while the standby is there to say what it has promised. */
  :: atomic { SPEAKS && forces < FORCE && LIVES(PEER(owner[VOICE])) && owner[PEER(owner[VOICE])] != PEER(owner[VOICE]) ->
     i = PEER(owner[VOICE]);
     t = 1 + (promised[i] > promised[VOICE] -> promised[i] : promised[VOICE]);
     if
#ifdef NO_WAIT
     :: t <= REIGNS -> skip
#else
#ifdef NO_HOST_OFF
     :: t <= REIGNS && guest[PEER(i)] == OFF -> skip /* of the guest alone */
#else
     :: t <= REIGNS && host[PEER(i)] != GONE ->
        goes_off(PEER(i));
#ifndef NO_WORD_UNTIL_PROMISED
        host[PEER(i)] = GONE
#endif
#endif
     :: t <= REIGNS -> wronged[PEER(i)] = t
#endif
     :: else -> t = 0
     fi;
     if
     :: t > 0 -> forces++; forced[t] = true; promises(VOICE, t, i, 0); vote[i] = t; sworn[i] = true
     :: else
     fi;
     i = 0; t = 0 }
#endif
  /* Fate. */
  :: atomic { faults < FAULTS -> faults++; grant[VOICE] = 0; sitout[VOICE] = SITOUT;
#ifdef NO_DURABLE_VOTE
     if
     :: promised[VOICE] > 1 -> promised[VOICE] = promised[VOICE] - 1; arm[VOICE] = 1; owner[VOICE] = PEER(owner[VOICE])
     :: else
     fi;
#endif
     skip }
#ifdef RESTORE
  :: atomic { faults < FAULTS -> faults++; grant[VOICE] = 0; sitout[VOICE] = TICKS; promised[VOICE] = 1; owner[VOICE] = ALPHA; arm[VOICE] = 1;
     mute = true; heard = 0 }
#endif
  od
}

#define LESS(x) x = (x > 0 -> x - 1 : 0)

proctype time() {
  byte i;

end:
  do
  :: d_step { true ->
     i = 0;
     do
     :: i < 3 -> LESS(grant[i]); LESS(sitout[i]); i++
     :: else -> break
     od;
     i = 0;
     do
     :: i < 4 -> LESS(lease[i]); i++
     :: else -> break
     od;
     i = 0;
     do
     :: i < SLOTS -> LESS(asks_left[i]); i++
     :: else -> break
     od;
     i = 0;
     do
     :: i < 2 ->
        if
        :: GUARDED(i) && host[i] == AWAKE -> guest[i] = PAUSED; SEEN(stood)
        :: else
        fi;
        i++
     :: else -> break
     od;
     i = 0 }
  od
}

#define LOWER(i) (EFFECT(i) && mine[i] < top && 0 == wronged[i])
#define ARMED_AT(p, i) (promised[p] == mine[i] && owner[p] == i && ODD(arm[p]))

proctype claims() {
end:
  do
  /* Nothing of a lower reign's guest has an effect once a higher one's has run; no two at once. */
  :: atomic { LOWER(ALPHA) || LOWER(BETA) -> CLAIM(1, false) }
  :: atomic { EFFECT(ALPHA) && EFFECT(BETA) && 0 == wronged[ALPHA] && 0 == wronged[BETA] -> CLAIM(1, false) }
  /* Whom both believe to be armed enforces. */
  :: atomic { OWNS(ALPHA) && ARMED_AT(BETA, ALPHA) && ARMED_AT(VOICE, ALPHA) && !ENFORCES(ALPHA) -> CLAIM(3, false) }
  :: atomic { OWNS(BETA) && ARMED_AT(ALPHA, BETA) && ARMED_AT(VOICE, BETA) && !ENFORCES(BETA) -> CLAIM(3, false) }
  /* Who enforces has a lease, or stands still. */
#ifndef GATE_ALONE
  :: atomic { guest[ALPHA] == RUNS && host[ALPHA] == AWAKE && ENFORCES(ALPHA) && !HOLDS(ALPHA) -> CLAIM(5, false) }
  :: atomic { guest[BETA] == RUNS && host[BETA] == AWAKE && ENFORCES(BETA) && !HOLDS(BETA) -> CLAIM(5, false) }
#endif
  /* What was released never runs. */
  :: atomic { guest[ALPHA] == RUNS && released[ALPHA] >= mine[ALPHA] -> CLAIM(7, false) }
  :: atomic { guest[BETA] == RUNS && released[BETA] >= mine[BETA] -> CLAIM(7, false) }
  /* A guest that met a forced reign waits for its operator. */
  :: atomic { (diverged[ALPHA] && guest[ALPHA] != PAUSED) || (diverged[BETA] && guest[BETA] != PAUSED) -> CLAIM(25, false) }

#if GOAL == 1 /* taken over */
  :: atomic { mine[BETA] == 2 && guest[BETA] == RUNS && released[ALPHA] == 0 -> CLAIM(99, false) }
#elif GOAL == 2 /* handed over */
  :: atomic { released[ALPHA] == 1 && guest[BETA] == RUNS -> CLAIM(99, false) }
#elif GOAL == 3 /* stood still for want of a lease, goes on in the same reign */
  :: atomic { stood && guest[ALPHA] == RUNS && OWNS(ALPHA) && mine[ALPHA] == 1 -> CLAIM(99, false) }
#elif GOAL == 4 /* disarmed, it runs on with nobody */
  :: atomic { EFFECT(ALPHA) && !HOLDS(ALPHA) && mine[ALPHA] == 1 -> CLAIM(99, false) }
#elif GOAL == 5 /* taken over, the old active is the new standby, armed again */
  :: atomic { mine[BETA] == 2 && released[ALPHA] == 0 && guest[BETA] == RUNS && ARMED_AT(ALPHA, BETA) && ARMED_AT(VOICE, BETA) -> CLAIM(99, false) }
#elif GOAL == 6 /* there and back */
  :: atomic { released[ALPHA] == 1 && released[BETA] == 2 && ran[BETA] && mine[ALPHA] == 3 && guest[ALPHA] == RUNS -> CLAIM(99, false) }
#elif GOAL == 7 /* a vote is declined while the old active still runs, which goes on without a break */
  :: atomic { went_on -> CLAIM(99, false) }
#elif GOAL == 8 /* a reign is declined that was taken, and never ran: the old active goes on */
  :: atomic { mine[BETA] == 2 && !ran[BETA] && released[BETA] == 2 && mine[ALPHA] == 3 && guest[ALPHA] == RUNS -> CLAIM(99, false) }
#elif GOAL == 9 /* forced on somebody's wrong word: two run, */
  :: atomic { EFFECT(ALPHA) && EFFECT(BETA) && wronged[ALPHA] > 0 -> CLAIM(99, false) }
#elif GOAL == 10 /* and healed: the old guest stands still, the other runs */
  :: atomic { diverged[ALPHA] && guest[ALPHA] == PAUSED && EFFECT(BETA) -> CLAIM(99, false) }
#elif GOAL == 11 /* healed, decided, and armed again */
  :: atomic { forced[mine[BETA]] && decided_against && !diverged[ALPHA] && EFFECT(BETA) && ARMED_AT(ALPHA, BETA) && ARMED_AT(VOICE, BETA) -> CLAIM(99, false) }
#elif GOAL == 12 /* forced on the standby alone, the old host has come back since, and heard */
  :: atomic { mine[BETA] == 3 && forced[3] && EFFECT(BETA) && promised[ALPHA] == 3 -> CLAIM(99, false) }
#elif GOAL == 13 /* forced after a wait, without anybody's word */
  :: atomic { mine[BETA] == 2 && forced[2] && EFFECT(BETA) && !was_sworn -> CLAIM(99, false) }
#endif
  od
}

init {
  d_step { /* reign 1 is alpha's, armed, and all know */
    promised[ALPHA] = 1; promised[BETA] = 1; promised[VOICE] = 1; arm[ALPHA] = 1; arm[BETA] = 1; arm[VOICE] = 1;
    mine[ALPHA] = 1; ran[ALPHA] = true; guest[ALPHA] = RUNS; top = 1; king[1] = ALPHA + 1;
    lease[0] = HOLD; lease[1] = HOLD; grant[BETA] = TICKS; grant[VOICE] = TICKS
  };
  atomic { run engine(ALPHA); run engine(BETA); run voice(); run time(); run claims() }
}
