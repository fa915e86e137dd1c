/* SPDX-License-Identifier: Apache-2.0 */
/* split - votes of two voting standbys, which may go to different candidates: what lease.pml cannot say with one.
 *
 * Of three grantors (two standbys, the controller's voice) two keep an active's lease, and two make the next reign; the
 * candidate is one of those two. A voter that has promised a reign whose owner it has not heard keeps what it knew of the
 * older one, its base, and may promise a higher number to somebody else: else one lost candidate would bar a takeover.
 *
 * What is modelled, and by which abstraction, beyond lease.pml's
 * - A request and its answer are one step; what was sent before gives less of a lease, and one that is late or whose answer
 *   is lost gives none but binds its grantor. That requests overtake each other is lease.pml's.
 * - A vote is heard or lost; a candidate may act on it at any later time, so that a late one is no other.
 * - A guest that runs has an effect, and pauses in the tick in which its lease ends: gate, guard and thaw are lease.pml's.
 * - Everybody may become a candidate, with any higher number.
 * - A release names a candidate, and lifts for its number what binds voters: their grants, and that the reign be armed.
 * - A fault is a party killed and started, or a host lost and booted.
 * Not modelled: force, decline, copies of a voter's state, more than two standbys.
 */
#ifndef TICKS
#define TICKS 1
#endif
#ifndef REIGNS
#define REIGNS 3
#endif
#ifndef ARMS
#define ARMS 1
#endif
#ifndef FAULTS
#define FAULTS 0
#endif
#ifndef KEEP
#define KEEP 2 /* grantors that keep a lease: r = n' + 1 - p */
#endif
#ifndef MAKE
#define MAKE 2 /* promises that make a reign: p */
#endif
#ifndef GOAL
#define GOAL 0
#endif

#define ENGINES 3
#define VOICE 3
#define PARTIES 4

/* Durable. */
byte promised[PARTIES]; /* highest reign promised, */
byte whose[PARTIES];    /* and to whom */
byte base[PARTIES];     /* highest reign whose owner was heard, or which is its own */
byte arm[PARTIES];      /* highest arm number of base */
byte mine[ENGINES];     /* reign that this engine took */
byte released[ENGINES]; /* highest reign that it released */

/* Volatile. */
byte grant[PARTIES];
byte sitout[PARTIES];
bool runs[ENGINES];
byte lease[ENGINES * PARTIES]; /* 4 * engine + grantor: ticks left */
byte confirmed[ENGINES];       /* grantors that know the even arm number, as bits */
byte number[ENGINES];          /* that it is a candidate for, 0 none; */
byte votes[ENGINES];           /* who has promised it, as bits */
byte named[ENGINES];           /* reign that a release names it for, 0 none */

byte faults;
byte top;
byte king[REIGNS + 1];  /* who took that reign, + 1 */
#if GOAL == 1
bool elected_by_voice;  /* engine 2 has taken reign 3, with the voice's vote alone beside its own */
#endif

#define ODD(n) (((n) & 1) == 1)
#define BIT(bits, p) (((bits) >> (p)) & 1)
#define COUNT(bits) (BIT(bits, 0) + BIT(bits, 1) + BIT(bits, 2) + BIT(bits, 3))
#define HELD(i, p) (lease[4 * (i) + (p)] > 0 -> 1 : 0)
#define HOLDS(i) (HELD(i, 0) + HELD(i, 1) + HELD(i, 2) + HELD(i, 3) >= KEEP)
#define OWNS(i) (mine[i] > 0 && promised[i] == mine[i] && whose[i] == i && released[i] < mine[i])
#ifdef NO_ENOUGH_CONFIRMED
#define ENFORCES(i) (ODD(arm[i]) || COUNT(confirmed[i]) < KEEP - 1)
#else
#define ENFORCES(i) (ODD(arm[i]) || COUNT(confirmed[i]) < KEEP)
#endif
#define FREE(p) (grant[p] == 0 && sitout[p] == 0)
#ifdef NO_SITOUT
#define SITOUT 0
#else
#define SITOUT TICKS
#endif
#define CLAIM(number, what) assert(number == 0 || (what))

inline forget_candidature(i) { number[i] = 0; votes[i] = 0 }

inline forget_leases(i) {
  lease[4 * i] = 0; lease[4 * i + 1] = 0; lease[4 * i + 2] = 0; lease[4 * i + 3] = 0; confirmed[i] = 0
}

/* A party hears the owner of a reign that is at least what it has promised. What it promised to others is over, its own guest, too. */
inline hears(p, t, owner, n) {
  CLAIM(4, t >= promised[p]);
  promised[p] = t; whose[p] = owner;
  base[p] = t; arm[p] = n;
  if
  :: p < VOICE ->
     runs[p] = false; forget_leases(p);
     if
     :: number[p] <= t -> forget_candidature(p)
     :: else
     fi;
     if
     :: named[p] <= t -> named[p] = 0
     :: else
     fi
  :: else
  fi
}

/* Grantor g handles what i sent, while it was what it is. */
inline renew(i, g) {
  if
  :: promised[g] > mine[i] || (promised[g] == mine[i] && whose[g] != i) ->
#ifdef NO_REFUSAL_WHILE_PENDING
     if
     :: base[g] == mine[i] -> lease[4 * i + g] = TICKS; grant[g] = TICKS
     :: else
     fi;
#endif
     /* Only of a reign whose owner was heard: what is pending stops nobody. */
     if
     :: base[g] > mine[i] && base[g] >= promised[i] && king[base[g]] != i + 1 -> hears(i, base[g], king[base[g]] - 1, 0)
     :: true
     fi
  :: else ->
     if
#ifdef NO_NEW_BASE
     :: base[g] < mine[i] -> promised[g] = mine[i]; whose[g] = i; confirmed[i] = confirmed[i] | (1 << g)
#else
     :: base[g] < mine[i] -> hears(g, mine[i], i, arm[i])
#endif
     :: base[g] == mine[i] && arm[i] > arm[g] -> arm[g] = arm[i]
     :: else
     fi;
     grant[g] = TICKS;
     if
     :: true ->
        if
        :: lease[4 * i + g] = TICKS
#if TICKS > 1
        :: lease[4 * i + g] < TICKS - 1 -> lease[4 * i + g] = TICKS - 1
#endif
        fi;
        if
        :: arm[g] == arm[i] && !ODD(arm[i]) -> confirmed[i] = confirmed[i] | (1 << g)
        :: else
        fi
     :: true /* late, or the answer is lost */
     fi
  fi
}

#define BOUND(g, i) (!(ODD(arm[g]) && FREE(g)) && named[i] != number[i])

/* Voter g is asked by candidate i. It need not know what the other's base is: each answers for its own. */
#ifdef NO_ONE_VOTE
#define HIGHER(g, i) (number[i] >= promised[g])
#else
#define HIGHER(g, i) (number[i] > promised[g])
#endif
#ifdef NO_PROMISE_TO_RELEASE
#define NEEDS(i) (named[i] == number[i] -> 0 : MAKE - 1)
#else
#define NEEDS(i) (MAKE - 1)
#endif
#ifdef NO_OWNER_APART
#define OWNER(g) false
#else
#define OWNER(g) (king[base[g]] == g + 1)
#endif
#ifdef ONLY_ONE_PENDING
#define MAY_PEND(g) (promised[g] == base[g])
#else
#define MAY_PEND(g) true
#endif
#define VOTES(g, i) (number[i] > 0 && HIGHER(g, i) && !OWNER(g) && king[base[g]] != i + 1 && !BOUND(g, i) && MAY_PEND(g))

inline votes_for(g, i) {
  CLAIM(4, number[i] >= promised[g]);
  promised[g] = number[i]; whose[g] = i;
  if
  :: votes[i] = votes[i] | (1 << g)
  :: true /* lost */
  fi
}

inline is_lost(p) {
  grant[p] = 0; sitout[p] = SITOUT;
#ifdef NO_DURABLE_VOTE
  if
  :: promised[p] > base[p] -> promised[p] = base[p]; whose[p] = king[base[p]] - 1
  :: else
  fi
#endif
}

proctype engine(byte i) {
  byte t;

end:
  do
  /* Renew and grant. */
  :: atomic { OWNS(i) && i != 0 -> renew(i, 0) }
  :: atomic { OWNS(i) && i != 1 -> renew(i, 1) }
  :: atomic { OWNS(i) && i != 2 -> renew(i, 2) }
  :: atomic { OWNS(i) -> renew(i, VOICE) }
  /* Run. */
  :: atomic { OWNS(i) && !runs[i] && HOLDS(i) -> CLAIM(1, mine[i] >= top); runs[i] = true; top = mine[i] }
  /* Arm and disarm. */
  :: atomic { OWNS(i) && runs[i] && !ODD(arm[i]) && arm[i] < ARMS && !ENFORCES(i) && HOLDS(i) -> arm[i]++; confirmed[i] = 0 }
  :: atomic { OWNS(i) && ODD(arm[i]) && arm[i] < ARMS -> arm[i]++; confirmed[i] = 0 }
  /* Elect: stand for a number, collect votes, promise last. */
  :: atomic { !OWNS(i) && king[base[i]] != i + 1 && ODD(arm[i]) && FREE(i) && promised[i] < REIGNS ->
     t = promised[i] + 1;
     do
     :: t < REIGNS -> t++
     :: break
     od;
     number[i] = t; votes[i] = 0; t = 0 }
  :: atomic { !OWNS(i) && named[i] > promised[i] && number[i] != named[i] -> number[i] = named[i]; votes[i] = 0 }
  :: atomic { number[i] > promised[i] && COUNT(votes[i]) >= NEEDS(i) && !BOUND(i, i) ->
     t = number[i];
#if GOAL == 1
     elected_by_voice = (i == 2 && t == 3 && votes[i] == (1 << VOICE));
#endif
     CLAIM(2, king[t] == 0 || king[t] == i + 1);
     king[t] = i + 1;
     hears(i, t, i, 0);
     mine[i] = t;
#ifdef NO_START_BY_ANSWERS
     CLAIM(1, t >= top); runs[i] = true; top = t; confirmed[i] = 15;
#endif
     t = 0 }
  :: atomic { number[i] > 0 -> forget_candidature(i) }
  /* Release to one of the others. */
  :: atomic { OWNS(i) && mine[i] < REIGNS ->
     t = mine[i] + 1; runs[i] = false; released[i] = mine[i]; promised[i] = t; forget_leases(i);
     if
     :: i != 0 -> named[0] = t; whose[i] = 0
     :: i != 1 -> named[1] = t; whose[i] = 1
     :: i != 2 -> named[2] = t; whose[i] = 2
     fi;
     t = 0 }
  :: atomic { faults < FAULTS -> faults++; is_lost(i); forget_candidature(i) }
  :: atomic { faults < FAULTS -> faults++; is_lost(i); forget_candidature(i); runs[i] = false; forget_leases(i) }
  od
}

proctype ballot() {
end:
  do
  :: atomic { VOTES(1, 0) -> votes_for(1, 0) }
  :: atomic { VOTES(2, 0) -> votes_for(2, 0) }
  :: atomic { VOTES(VOICE, 0) -> votes_for(VOICE, 0) }
  :: atomic { VOTES(0, 1) -> votes_for(0, 1) }
  :: atomic { VOTES(2, 1) -> votes_for(2, 1) }
  :: atomic { VOTES(VOICE, 1) -> votes_for(VOICE, 1) }
  :: atomic { VOTES(0, 2) -> votes_for(0, 2) }
  :: atomic { VOTES(1, 2) -> votes_for(1, 2) }
  :: atomic { VOTES(VOICE, 2) -> votes_for(VOICE, 2) }
  :: atomic { faults < FAULTS -> faults++; is_lost(VOICE) }
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
     :: i < PARTIES -> LESS(grant[i]); LESS(sitout[i]); i++
     :: else -> break
     od;
     i = 0;
     do
     :: i < ENGINES * PARTIES -> LESS(lease[i]); i++
     :: else -> break
     od;
     i = 0;
     do
     :: i < ENGINES ->
        if
        :: runs[i] && ENFORCES(i) && !HOLDS(i) -> runs[i] = false
        :: else
        fi;
        i++
     :: else -> break
     od;
     i = 0 }
  od
}

#define ARMED_AT(p, i) (base[p] == mine[i] && ODD(arm[p]) && p != i -> 1 : 0)
#define ARMED(i) (ARMED_AT(0, i) + ARMED_AT(1, i) + ARMED_AT(2, i) + ARMED_AT(3, i) >= MAKE)
#define LOWER(i) (runs[i] && mine[i] < top)

proctype claims() {
end:
  do
  :: atomic { LOWER(0) || LOWER(1) || LOWER(2) -> CLAIM(1, false) }
  :: atomic { (runs[0] && runs[1]) || (runs[0] && runs[2]) || (runs[1] && runs[2]) -> CLAIM(1, false) }
  :: atomic { (runs[0] && ARMED(0) && !ENFORCES(0)) || (runs[1] && ARMED(1) && !ENFORCES(1)) || (runs[2] && ARMED(2) && !ENFORCES(2)) -> CLAIM(3, false) }
  :: atomic { (runs[0] && released[0] >= mine[0]) || (runs[1] && released[1] >= mine[1]) || (runs[2] && released[2] >= mine[2]) -> CLAIM(7, false) }
#if GOAL == 1 /* votes were split: the voice voted for one who is not heard of again, then for the other, who takes the reign */
  :: atomic { BIT(votes[1], VOICE) && number[1] == 2 && promised[1] == 1 && whose[VOICE] == 2 && elected_by_voice -> CLAIM(99, false) }
#elif GOAL == 2 /* both take what they were voted for; the higher one runs */
  :: atomic { mine[1] == 2 && mine[2] == 3 && runs[2] && top == 3 && released[0] == 0 && released[1] == 0 && base[0] < 3 -> CLAIM(99, false) }
#elif GOAL == 3 /* an active goes on under a vote that is pending */
  :: atomic { runs[0] && mine[0] == 1 && HOLDS(0) && promised[VOICE] == 2 && grant[VOICE] == 0 && lease[VOICE] == 0 -> CLAIM(99, false) }
#elif GOAL == 4 /* released, with the promise of another standby */
  :: atomic { released[0] == 1 && mine[1] == 2 && runs[1] && promised[VOICE] == 1 -> CLAIM(99, false) }
#elif GOAL == 5 /* taken over and armed again */
  :: atomic { mine[1] == 2 && released[0] == 0 && runs[1] && ARMED(1) -> CLAIM(99, false) }
#endif
  od
}

init {
  d_step { /* reign 1 is engine 0's, armed, and all know */
    promised[0] = 1; promised[1] = 1; promised[2] = 1; promised[3] = 1;
    base[0] = 1; base[1] = 1; base[2] = 1; base[3] = 1;
    arm[0] = 1; arm[1] = 1; arm[2] = 1; arm[3] = 1;
    mine[0] = 1; runs[0] = true; top = 1; king[1] = 1;
    lease[1] = TICKS; lease[2] = TICKS; lease[3] = TICKS;
    grant[1] = TICKS; grant[2] = TICKS; grant[3] = TICKS
  };
  atomic { run engine(0); run engine(1); run engine(2); run ballot(); run time(); run claims() }
}
