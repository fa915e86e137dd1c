/* SPDX-License-Identifier: Apache-2.0 */
#include "lease_sim.h"

#include "candidate.h"
#include "orchestrator/core/lease/holder.h"

#include <string.h>

#define END_US ((gint64)120 * 1000000)
#define COUNTDOWN_MS 15000
#define MESSAGES_MAX 256
#define PARTIES 3

enum { ALPHA, BETA, CONTROLLER };

static const char *const NAMES[] = {"as written",
                                    "no margin",
                                    "lease from receipt",
                                    "no sit-out",
                                    "vote forgotten",
                                    "voted still renews",
                                    "votes within its grant",
                                    "one promise",
                                    "nobody stops",
                                    "no gate",
                                    "starts unasked",
                                    "starts late",
                                    "early disarm",
                                    "no arm number",
                                    "fenced late",
                                    "fenced keeps",
                                    "release forgotten",
                                    "copy speaks",
                                    "no incarnation",
                                    "force at once"};

const char *sim_mutation_name(SimMutation mutation)
{
    return NAMES[mutation];
}

/* --- chance ------------------------------------------------------------------ */

typedef struct {
    guint64 state;
} Chance;

static guint64 draw(Chance *c)
{
    c->state ^= c->state >> 12;
    c->state ^= c->state << 25;
    c->state ^= c->state >> 27;
    return c->state * 2685821657736338717ULL;
}

static gint64 between(Chance *c, gint64 low, gint64 high)
{
    return low + (gint64)(draw(c) % (guint64)(high - low + 1));
}

static gboolean in(Chance *c, guint times)
{
    return draw(c) % times == 0;
}

/* --- what there is ----------------------------------------------------------- */

/* A reading, and how fast it goes: in parts of a thousand of real time. */
typedef struct {
    gint64 us;
    gint64 permille;
} Clock;

typedef enum { RENEW, GRANT, ASK_VOTE, VOTE, RELEASE, HELLO, HELLO_ANSWER } Kind;

typedef struct {
    gint64 at_us;
    int from, to;
    Kind kind;
    LeaseRenewal renewal;
    LeaseAnswer answer;
    Ballot ballot;
    VoteVerdict verdict;
    guint64 incarnation;
    Reign reign; /* of an engine that answers a copy, with its arm … */
    guint64 arm;
    guint64 heard; /* … and the incarnation that it had heard before */
} Message;

typedef enum { GUEST_NONE, GUEST_RUNS, GUEST_STOPPED } Guest;

typedef struct {
    Clock boot, raw;
    gint64 changed_us;
    gboolean host_down, frozen, down; /* the host; all that runs there; its process */
    gint64 thaw_us, back_us;

    /* durable */
    VoterRecord record;
    VoterRecord forgotten; /* as it was before the last promise */
    guint64 incarnation;
    guint64 heard_incarnation; /* an engine's, of the controller: lower ones are void */
    Reign mine;
    guint64 arm;
    Reign released; /* given away for good; number 0: none */

    /* the process's */
    Voter voter;
    Voter before; /* as it was before it promised */
    Holder holder;
    gboolean holds;
    Candidate candidate;
    gboolean stands;
    gint64 ask_us, stand_us;
    gboolean fenced;
    gboolean decided;        /* to start its guest, a while ago */
    guint64 proposed;        /* a copy: the incarnation that it wants to speak in … */
    gboolean heard[PARTIES]; /* … and who has heard of that */
    Reign highest;
    guint64 highest_arm;

    /* what outlives the process, on its host */
    Guest guest;
    Reign guest_reign;
    gboolean kept; /* by a deadline … */
    LeaseMoment until;
} Party;

typedef struct {
    Chance chance;
    SimMutation mutation;
    SimResult *result;
    gint64 now_us;
    LeaseTimes times;
    Party parties[PARTIES];
    gboolean cut[PARTIES][PARTIES];
    Message messages[MESSAGES_MAX];
    guint message_count;
    Reign highest_run;
    guint64 ids;
    VoterRecord copy; /* of the controller, to be put back */
    guint64 copy_incarnation;
    Reign forcing; /* the controller is about to; number 0: not */
    gboolean certified;
    gint64 chance_us; /* when something happens again */
    guint32 processes;
    gboolean told;
} Sim;

static const char *const WHO[] = {"alpha", "beta", "controller"};

/* For who looks into one seed: UNDERSTUDY_LEASE_TOLD=1. */
static void say(const Sim *s, int i, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void say(const Sim *s, int i, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list arguments;

    if (!s->told)
        return;
    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_printerr("%9.3f %s: %s\n", (double)s->now_us / 1e6, WHO[i], text);
}

static int place_in(const Sim *s, const Party *p)
{
    return (int)(p - s->parties);
}

static void turn_clocks(Sim *s, Party *p)
{
    gint64 passed_us = s->now_us - p->changed_us;

    p->boot.us += passed_us * p->boot.permille / 1000;
    p->raw.us += passed_us * p->raw.permille / 1000;
    p->changed_us = s->now_us;
}

static LeaseMoment clock_of(Sim *s, Party *p)
{
    turn_clocks(s, p);
    return (LeaseMoment){p->boot.us / 1000, p->raw.us / 1000};
}

/* One of the two may be slewed by as much as eight parts of a hundred; the other is within one. */
static void set_clocks(Sim *s, Party *p)
{
    static const gint64 EDGES[] = {990, 1000, 1010};

    turn_clocks(s, p);
    p->raw.permille = EDGES[between(&s->chance, 0, 2)];
    p->boot.permille = in(&s->chance, 4) ? (in(&s->chance, 2) ? 920 : 1083) : p->raw.permille;
}

static Reign new_reign(Sim *s, guint64 number)
{
    Reign reign = {.number = number};

    s->ids++;
    memcpy(reign.id.bytes, &s->ids, sizeof(s->ids));
    return reign;
}

static int other_engine(int i)
{
    return i == ALPHA ? BETA : ALPHA;
}

/* The places of an active's voters. */
static int voter_at(int active, guint place)
{
    return place == 0 ? other_engine(active) : CONTROLLER;
}

static guint place_of(int active, int voter)
{
    return voter == other_engine(active) ? 0 : 1;
}

static gboolean acts(const Party *p)
{
    return !p->host_down && !p->frozen && !p->down;
}

static void wrong(Sim *s, const char *what)
{
    if (!s->result->violation)
        s->result->violation = g_strdup_printf("at %.3f s: %s", (double)s->now_us / 1e6, what);
}

static void put(Sim *s, Message m)
{
    int copies = in(&s->chance, 12) ? 0 : in(&s->chance, 12) ? 2 : 1;

    while (copies-- > 0 && s->message_count < MESSAGES_MAX) {
        gint64 delay_us =
            in(&s->chance, 8) ? between(&s->chance, 1000, 20000000) : between(&s->chance, 500, 30000);

        m.at_us = s->now_us + delay_us;
        s->messages[s->message_count++] = m;
    }
}

/* --- what a host does by itself ---------------------------------------------- */

static gboolean gate_is_open(Sim *s, Party *p)
{
    if (s->mutation == SIM_NO_GATE || s->mutation == SIM_NO_STOP || s->mutation == SIM_STARTS_LATE ||
        s->mutation == SIM_STARTS_UNASKED)
        return TRUE;
    return !p->kept || lease_left_ms(p->until, clock_of(s, p)) > 0;
}

static gboolean has_effect(Sim *s, Party *p)
{
    return p->guest == GUEST_RUNS && !p->host_down && !p->frozen && gate_is_open(s, p);
}

/* The guard, as long as its host is not frozen. */
static void guard(Sim *s, Party *p)
{
    if (p->guest != GUEST_RUNS || p->host_down || p->frozen || !p->kept || s->mutation == SIM_NO_STOP ||
        lease_left_ms(p->until, clock_of(s, p)) > 0)
        return;
    say(s, place_in(s, p), "guest of %" G_GUINT64_FORMAT " stopped", p->guest_reign.number);
    p->guest = GUEST_STOPPED;
    p->fenced = TRUE;
    s->result->stopped++;
}

static void check(Sim *s)
{
    for (int i = ALPHA; i <= BETA; i++) {
        Party *p = &s->parties[i];

        if (!has_effect(s, p))
            continue;
        if (p->guest_reign.number > s->highest_run.number)
            s->highest_run = p->guest_reign;
        else if (!reign_equal(p->guest_reign, s->highest_run))
            wrong(s, i == ALPHA ? "alpha's guest runs, and one of a higher reign has run"
                                : "beta's guest runs, and one of a higher reign has run");
    }
}

/* --- the process ------------------------------------------------------------- */

/* TRUE: what it has changed is durable, and may be told. */
static void keep(Sim *s, Party *p)
{
    if (p->voter.record.promised.number < p->record.promised.number)
        wrong(s, "a promise fell");
    if (!reign_equal(p->voter.record.promised, p->record.promised)) {
        say(s, place_in(s, p), "promises %" G_GUINT64_FORMAT, p->voter.record.promised.number);
        p->forgotten = p->record;
    }
    if (p->voter.record.arm != p->record.arm)
        say(s, place_in(s, p), "arm %" G_GUINT64_FORMAT, p->voter.record.arm);
    p->record = p->voter.record;
}

static void tell_guard(Sim *s, Party *p)
{
    LeaseMoment now = clock_of(s, p);
    LeaseMoment until;

    if (p->guest == GUEST_NONE || !p->holds || !reign_equal(p->guest_reign, p->mine))
        return;
    if (p->holder.higher.number > 0 || p->holder.rival) {
        p->kept = TRUE;
        p->until = now;
        guard(s, p);
    } else if (!p->holder.enforces) {
        p->kept = FALSE;
    } else {
        until = lease_moment_after(now, MAX(holder_left_ms(&p->holder, now), 0));
        /* What a former process has said holds still. */
        p->until = p->kept ? lease_moment_later(p->until, until) : until;
        p->kept = TRUE;
    }
}

static gboolean may_start(Sim *s, Party *p)
{
    return p->holds && p->released.number == 0 && reign_equal(p->voter.record.promised, p->mine) &&
           holder_may_start(&p->holder, clock_of(s, p));
}

static void start_guest(Sim *s, Party *p)
{
    LeaseMoment now = clock_of(s, p);

    if (p->guest == GUEST_STOPPED && reign_equal(p->guest_reign, p->mine))
        s->result->resumed++;
    say(s, place_in(s, p), "guest of %" G_GUINT64_FORMAT " starts%s", p->mine.number,
        p->holder.enforces ? ", kept" : "");
    p->guest = GUEST_RUNS;
    p->guest_reign = p->mine;
    p->fenced = FALSE;
    p->kept = p->holder.enforces;
    p->until = lease_moment_after(now, MAX(holder_left_ms(&p->holder, now), 0));
}

static void look_at_guest(Sim *s, Party *p)
{
    if (p->decided) {
        p->decided = FALSE;
        start_guest(s, p);
        return;
    }
    if (!p->holds || !may_start(s, p) || (p->guest == GUEST_RUNS && reign_equal(p->guest_reign, p->mine)))
        return;
    if (s->mutation == SIM_STARTS_LATE && in(&s->chance, 4)) {
        p->decided = TRUE; /* … and its engine hangs */
        p->frozen = TRUE;
        p->thaw_us = s->now_us + between(&s->chance, 1000000, 25000000);
        return;
    }
    start_guest(s, p);
}

static void hold(Sim *s, Party *p, gboolean enforces)
{
    holder_start(&p->holder, p->mine, p->arm, enforces, lease_quorum(2), ++s->processes);
    p->holds = TRUE;
    p->ask_us = s->now_us;
}

static void become_active(Sim *s, Party *p, Reign reign)
{
    say(s, place_in(s, p), "is the active of %" G_GUINT64_FORMAT, reign.number);
    p->mine = reign;
    p->arm = 0;
    p->released = (Reign){0};
    p->stands = FALSE;
    hold(s, p, FALSE);
}

/* Two copies of one memory do not propose the same. */
static guint64 next_incarnation(Sim *s, guint64 last)
{
    return ((last >> 16) + 1) << 16 | (guint64)between(&s->chance, 0, 0xffff);
}

static void begin_process(Sim *s, int i)
{
    Party *p = &s->parties[i];
    VoterRecord record = p->record;
    gboolean copy = p->voter.mute && i == CONTROLLER && s->mutation != SIM_COPY_SPEAKS;

    if (s->mutation == SIM_VOTE_FORGOTTEN && in(&s->chance, 2))
        record = p->record = p->forgotten;
    if (s->mutation == SIM_NO_SITOUT)
        record.cap_ms = 0;
    say(s, i, "process begins%s", copy ? ", a copy" : "");
    p->down = FALSE;
    p->stands = p->holds = p->decided = FALSE;
    memset(&p->candidate, 0, sizeof(p->candidate));
    memset(p->heard, 0, sizeof(p->heard));
    p->highest = (Reign){0};
    p->proposed = next_incarnation(s, p->incarnation);
    p->candidate.incarnations[1] = p->heard_incarnation;
    voter_start(&p->voter, &record, p->incarnation, copy, clock_of(s, p));
    p->before = p->voter;
    if (i != CONTROLLER && p->mine.number > 0 && p->released.number == 0)
        hold(s, p, p->kept || p->guest == GUEST_NONE);
}

static LeaseRenewal ask(Sim *s, Party *p, guint place)
{
    HolderVoter *v = &p->holder.voters[place], before = *v;
    LeaseRenewal asked = holder_ask(&p->holder, place, p->fenced, &s->times, clock_of(s, p));

    if (s->mutation == SIM_FENCED_KEEPS && asked.fenced) {
        *v = before;
        v->hears = FALSE;
        v->nonces[v->next] = asked.nonce;
        v->ends[v->next] = lease_moment_after(clock_of(s, p), s->times.lease_ms);
        v->next = (v->next + 1) % HOLDER_ASKED;
    }
    return asked;
}

static void ask_to_be_renewed(Sim *s, int i)
{
    Party *p = &s->parties[i];

    for (guint place = 0; place < 2; place++)
        put(s, (Message){.from = i, .to = voter_at(i, place), .kind = RENEW, .renewal = ask(s, p, place)});
    p->ask_us = s->now_us + s->times.renew_ms * 1000;
}

static void stand(Sim *s, int i)
{
    Party *p = &s->parties[i];
    const Ballot ballot = {BALLOT_ELECTION, p->voter.record.promised,
                           new_reign(s, p->voter.record.promised.number + 1)};

    p->stand_us = s->now_us + between(&s->chance, 300000, 3000000);
    if (s->mutation == SIM_VOTES_IN_GRANT)
        p->voter.granted = p->voter.last = clock_of(s, p);
    if (p->holds || p->guest == GUEST_RUNS ||
        voter_would_vote(&p->voter, &ballot, clock_of(s, p)) != VOTE_GIVEN)
        return;
    /* The same one again: the controller repeats its vote to it. */
    if (!p->stands || !reign_equal(p->candidate.ballot.parent, ballot.parent))
        candidate_stand(&p->candidate, &ballot, lease_quorum(s->mutation == SIM_ONE_PROMISE ? 1 : 2));
    p->stands = TRUE;
    put(s, (Message){.from = i, .to = CONTROLLER, .kind = ASK_VOTE, .ballot = p->candidate.ballot});
}

static void try_to_win(Sim *s, Party *p)
{
    VoteVerdict own;

    if (!p->stands || !candidate_has_others(&p->candidate))
        return;
    if (s->mutation == SIM_VOTES_IN_GRANT)
        p->voter.granted = p->voter.last = clock_of(s, p);
    (void)voter_vote(&p->voter, &p->candidate.ballot, clock_of(s, p), &own);
    if (own != VOTE_GIVEN || p->holds)
        return;
    keep(s, p);
    s->result->takeovers++;
    become_active(s, p, p->candidate.ballot.next);
}

/* Its guest is off, and it gives the reign to the other. */
static void release(Sim *s, int i, guint *count)
{
    Party *p = &s->parties[i];
    const Ballot ballot = {BALLOT_RELEASE, p->mine, new_reign(s, p->mine.number + 1)};
    VoteVerdict own;

    if (!p->holds || p->released.number > 0)
        return;
    (void)voter_vote(&p->voter, &ballot, clock_of(s, p), &own);
    if (own != VOTE_GIVEN)
        return;
    say(s, i, "releases %" G_GUINT64_FORMAT, p->mine.number);
    p->guest = GUEST_NONE;
    p->kept = FALSE;
    p->holds = FALSE;
    if (s->mutation != SIM_RELEASE_FORGOTTEN) {
        p->released = p->mine;
        keep(s, p);
    }
    (*count)++;
    put(s, (Message){.from = i, .to = other_engine(i), .kind = RELEASE, .ballot = ballot});
}

static void take_release(Sim *s, Party *p, const Ballot *ballot)
{
    gboolean runs_on = p->guest == GUEST_RUNS && p->holds && reign_equal(p->guest_reign, p->mine);
    VoteVerdict own;

    if (p->mine.number >= ballot->next.number)
        return;
    (void)voter_vote(&p->voter, ballot, clock_of(s, p), &own);
    if (own != VOTE_GIVEN)
        return;
    keep(s, p);
    become_active(s, p, ballot->next);
    /* What was declined goes on as it is, if it ran, in the reign that was given back. */
    if (runs_on && has_effect(s, p)) {
        p->guest_reign = p->mine;
        p->kept = FALSE;
        p->fenced = FALSE;
    } else if (p->guest == GUEST_RUNS) {
        p->guest = GUEST_STOPPED;
    }
}

static void answer_renewal(Sim *s, const Message *m)
{
    Party *p = &s->parties[m->to];
    const VoterSight sight = {.now = clock_of(s, p)};
    Voter *v = s->mutation == SIM_VOTED_STILL_RENEWS && !reign_equal(p->before.record.promised, (Reign){0}) &&
                       reign_equal(m->renewal.reign, p->before.record.promised)
                   ? &p->before
                   : &p->voter;
    Message back = {.from = m->to, .to = m->from, .kind = GRANT};

    if (s->mutation == SIM_NO_ARM_NUMBER && reign_equal(m->renewal.reign, v->record.promised))
        v->record.arm = m->renewal.arm;
    if (s->mutation == SIM_FENCED_LATE && m->renewal.fenced &&
        reign_equal(m->renewal.reign, v->record.promised))
        v->granted = v->last = sight.now;
    /* It obeys a higher reign: what it ran, or wanted to run, is over. */
    if (m->renewal.reign.number > v->record.promised.number && p->guest == GUEST_RUNS)
        p->guest = GUEST_STOPPED;
    (void)voter_renew(v, &m->renewal, &sight, &back.answer);
    if (v == &p->voter)
        keep(s, p);
    if (p->holds && p->voter.record.promised.number > p->mine.number) {
        p->holds = FALSE;
        p->guest = GUEST_NONE;
    }
    put(s, back);
}

static void copy_memory(Sim *s)
{
    s->copy = s->parties[CONTROLLER].record;
    s->copy_incarnation = s->parties[CONTROLLER].incarnation;
}

/* What it has promised since the copy was made it has forgotten. */
static void put_back(Sim *s)
{
    Party *c = &s->parties[CONTROLLER];

    if (c->down)
        return;
    say(s, CONTROLLER, "is put back");
    c->record = c->forgotten = s->copy;
    c->incarnation = s->copy_incarnation;
    c->down = TRUE;
    c->voter.mute = TRUE;
    s->forcing = (Reign){0};
    c->back_us = s->now_us + between(&s->chance, 10000, 5000000);
}

static void answer_vote(Sim *s, const Message *m)
{
    Party *p = &s->parties[m->to];
    Message back = {.from = m->to, .to = m->from, .kind = VOTE, .ballot = m->ballot};
    Voter before = p->voter;

    if (s->mutation == SIM_VOTES_IN_GRANT)
        p->voter.granted = p->voter.last = clock_of(s, p);
    if (voter_vote(&p->voter, &m->ballot, clock_of(s, p), &back.verdict))
        p->before = before;
    keep(s, p);
    back.incarnation = p->incarnation;
    put(s, back);
    if (back.verdict == VOTE_GIVEN && in(&s->chance, 6))
        put_back(s);
}

/* Every engine's word has come: it may speak again. */
static void hear_engine(Sim *s, const Message *m)
{
    Party *c = &s->parties[CONTROLLER];

    if (!c->voter.mute || m->incarnation != c->proposed)
        return;
    if (m->heard > c->proposed) {
        c->proposed = next_incarnation(s, m->heard);
        memset(c->heard, 0, sizeof(c->heard));
        return;
    }
    c->heard[m->from] = TRUE;
    if (m->reign.number > c->highest.number ||
        (m->reign.number == c->highest.number && m->arm > c->highest_arm)) {
        c->highest = m->reign;
        c->highest_arm = m->arm;
    }
    if (!c->heard[ALPHA] || !c->heard[BETA])
        return;
    c->incarnation = c->proposed;
    (void)voter_speak(&c->voter, c->highest, c->highest_arm, s->times.grant_ms, c->incarnation,
                      clock_of(s, c));
    keep(s, c);
    s->result->restored++;
}

static void answer_copy(Sim *s, const Message *m)
{
    Party *p = &s->parties[m->to];
    guint64 heard = p->heard_incarnation;

    if (s->mutation != SIM_NO_INCARNATION) {
        p->heard_incarnation = MAX(p->heard_incarnation, m->incarnation);
        candidate_void(&p->candidate, 1, p->heard_incarnation);
    }
    put(s, (Message){.from = m->to,
                     .to = CONTROLLER,
                     .kind = HELLO_ANSWER,
                     .incarnation = m->incarnation,
                     .heard = heard,
                     .reign = p->record.promised,
                     .arm = p->holds ? p->arm : p->record.arm});
}

/* Whenever somebody says anything to it. */
static void greet(Sim *s)
{
    const Party *c = &s->parties[CONTROLLER];

    for (int i = ALPHA; c->voter.mute && i <= BETA; i++)
        put(s, (Message){.from = CONTROLLER, .to = i, .kind = HELLO, .incarnation = c->proposed});
}

static void deliver(Sim *s, const Message *m)
{
    Party *p = &s->parties[m->to];

    if (m->to == CONTROLLER && m->kind != HELLO_ANSWER)
        greet(s);
    switch (m->kind) {
    case RENEW:
        answer_renewal(s, m);
        break;
    case GRANT:
        if (!p->holds)
            break;
        if (s->mutation == SIM_FROM_RECEIPT)
            for (guint i = 0; i < HOLDER_ASKED; i++)
                p->holder.voters[place_of(m->to, m->from)].ends[i] =
                    lease_moment_after(clock_of(s, p), s->times.lease_ms);
        holder_hear(&p->holder, place_of(m->to, m->from), &m->answer);
        tell_guard(s, p);
        look_at_guest(s, p);
        break;
    case ASK_VOTE:
        answer_vote(s, m);
        break;
    case VOTE:
        candidate_hear(&p->candidate, 1, &m->ballot, m->verdict, m->incarnation);
        try_to_win(s, p);
        break;
    case RELEASE:
        take_release(s, p, &m->ballot);
        break;
    case HELLO:
        answer_copy(s, m);
        break;
    case HELLO_ANSWER:
        hear_engine(s, m);
        break;
    }
}

/* --- chance strikes ---------------------------------------------------------- */

static void crash_host(Sim *s, Party *p)
{
    p->host_down = p->down = TRUE;
    p->frozen = FALSE;
    p->guest = GUEST_NONE;
    p->kept = FALSE;
    p->fenced = FALSE;
    p->back_us = s->now_us + between(&s->chance, 1000000, 60000000);
    say(s, place_in(s, p), "host is down");
}

static void change_arm(Sim *s, Party *p)
{
    gboolean changed = lease_is_armed(p->arm) ? holder_disarm(&p->holder) : holder_arm(&p->holder);

    if (!changed)
        return;
    p->arm = p->holder.arm;
    say(s, place_in(s, p), "own arm %" G_GUINT64_FORMAT, p->arm);
    if (lease_is_armed(p->arm))
        s->result->armed_again += p->mine.number > 1 ? 1 : 0;
    else if (s->mutation == SIM_EARLY_DISARM)
        p->holder.enforces = FALSE;
    tell_guard(s, p);
    ask_to_be_renewed(s, p == &s->parties[ALPHA] ? ALPHA : BETA);
}

/* The operator's way, by the controller. Who says that the old one is off is right. */
static void force(Sim *s)
{
    Party *c = &s->parties[CONTROLLER];
    int to = c->record.promised.number % 2 ? BETA : ALPHA;
    int from = other_engine(to);

    if (s->forcing.number > 0 || !acts(c) || c->voter.mute)
        return;
    s->certified = s->parties[from].host_down || s->mutation == SIM_FORCE_AT_ONCE;
    s->forcing = new_reign(s, c->record.promised.number + 2);
    c->voter.closed = lease_moment_after(clock_of(s, c), END_US / 1000);
    say(s, CONTROLLER, "forces%s", s->certified ? ", certified" : "");
}

static void go_on_forcing(Sim *s)
{
    Party *c = &s->parties[CONTROLLER];
    const Ballot ballot = {s->certified ? BALLOT_CERTIFIED : BALLOT_FORCE, c->record.promised, s->forcing};
    VoteVerdict verdict;

    if (s->forcing.number == 0 || !acts(c))
        return;
    for (int i = ALPHA; i <= BETA; i++) {
        Party *p = &s->parties[i];
        gboolean other_is_off = s->parties[other_engine(i)].host_down;

        /* The certificate is of now. */
        if (!acts(p) || p->holds || p->guest == GUEST_RUNS ||
            (s->certified && !other_is_off && s->mutation != SIM_FORCE_AT_ONCE) ||
            voter_would_vote(&p->voter, &ballot, clock_of(s, p)) != VOTE_GIVEN ||
            voter_would_vote(&c->voter, &ballot, clock_of(s, c)) != VOTE_GIVEN)
            continue;
        /* Where nothing was armed the old one runs on, as long as it hears of nothing: that is what its operator was told. */
        if (!s->certified && !(lease_is_armed(c->record.arm) && lease_is_armed(p->record.arm)))
            continue;
        (void)voter_vote(&c->voter, &ballot, clock_of(s, c), &verdict);
        keep(s, c);
        (void)voter_vote(&p->voter, &ballot, clock_of(s, p), &verdict);
        keep(s, p);
        s->result->forced++;
        say(s, i, "by force%s", s->certified ? ", certified" : "");
        become_active(s, p, ballot.next);
        s->forcing = (Reign){0};
        return;
    }
}

static void strike_engine(Sim *s, int i)
{
    Party *p = &s->parties[i];

    switch (between(&s->chance, 0, 7)) {
    case 0:
        say(s, i, "process ends");
        p->down = TRUE;
        p->back_us = s->now_us + between(&s->chance, 10000, 9000000);
        break;
    case 1:
    case 2:
        p->frozen = TRUE;
        p->thaw_us = s->now_us + between(&s->chance, 100000, 30000000);
        say(s, i, "frozen until %.3f", (double)p->thaw_us / 1e6);
        break;
    case 3:
        crash_host(s, p);
        break;
    case 4:
        if (acts(p) && p->holds)
            change_arm(s, p);
        break;
    case 5:
        if (acts(p) && p->holds && p->guest == GUEST_RUNS && reign_equal(p->guest_reign, p->mine))
            release(s, i, &s->result->handovers);
        break;
    case 6:
        /* Elected, and not begun yet: the old active is back, and gets it. */
        if (acts(p) && p->holds && p->guest != GUEST_RUNS)
            release(s, i, &s->result->declined);
        break;
    default:
        set_clocks(s, p);
        break;
    }
}

static void strike_controller(Sim *s)
{
    Party *c = &s->parties[CONTROLLER];

    switch (between(&s->chance, 0, 5)) {
    case 0:
    case 1:
        c->down = TRUE;
        c->back_us = s->now_us + between(&s->chance, 10000, 12000000);
        break;
    case 2:
        copy_memory(s);
        break;
    case 3:
        put_back(s);
        break;
    case 4:
        if (in(&s->chance, 3))
            force(s);
        break;
    default:
        set_clocks(s, c);
        break;
    }
}

static void strike(Sim *s)
{
    int a = (int)between(&s->chance, 0, PARTIES - 1), b = (int)between(&s->chance, 0, PARTIES - 1);
    gboolean cut = in(&s->chance, 2);

    s->chance_us = s->now_us + between(&s->chance, 50000, 4000000);
    if (in(&s->chance, 2)) {
        s->cut[a][b] = cut;
        if (in(&s->chance, 2))
            s->cut[b][a] = cut;
    } else if (a == CONTROLLER) {
        strike_controller(s);
    } else {
        strike_engine(s, a);
    }
}

/* --- time -------------------------------------------------------------------- */

static gint64 sooner(gint64 a_us, gint64 b_us)
{
    return a_us < b_us ? a_us : b_us;
}

/* No clock goes faster than the fastest, so that the moment is never missed; it is come nearer to in steps. */
static gint64 deadline_of(Sim *s, Party *p)
{
    gint64 left_ms = lease_left_ms(p->until, clock_of(s, p));

    if (!p->kept || p->guest != GUEST_RUNS || p->host_down || p->frozen || left_ms <= 0)
        return G_MAXINT64;
    return s->now_us + MAX(left_ms * 1000 * 1000 / 1083, 500);
}

static gint64 next_event(Sim *s)
{
    gint64 next_us = s->chance_us;

    for (guint i = 0; i < s->message_count; i++)
        next_us = sooner(next_us, s->messages[i].at_us);
    for (int i = 0; i < PARTIES; i++) {
        Party *p = &s->parties[i];

        if (p->frozen)
            next_us = sooner(next_us, p->thaw_us);
        else if (p->down)
            next_us = sooner(next_us, p->back_us);
        else if (i != CONTROLLER)
            next_us = sooner(next_us, p->holds ? p->ask_us : p->stand_us);
        next_us = sooner(next_us, deadline_of(s, p));
    }
    return MAX(next_us, s->now_us);
}

/* A thawed host runs its guest before any of its processes. */
static void pass_party(Sim *s, int i)
{
    Party *p = &s->parties[i];

    if (p->frozen && s->now_us >= p->thaw_us) {
        p->frozen = FALSE;
        check(s);
    }
    guard(s, p);
    if (p->down && !p->frozen && s->now_us >= p->back_us) {
        if (p->host_down && s->mutation == SIM_STARTS_UNASKED && p->mine.number > 0) {
            p->guest = GUEST_RUNS;
            p->guest_reign = p->mine;
        }
        p->host_down = FALSE;
        begin_process(s, i);
    }
    if (!acts(p) || i == CONTROLLER)
        return;
    if (p->decided)
        look_at_guest(s, p);
    if (p->holds && s->now_us >= p->ask_us) {
        tell_guard(s, p);
        ask_to_be_renewed(s, i);
    }
    if (!p->holds && s->now_us >= p->stand_us)
        stand(s, i);
}

static void pass_messages(Sim *s)
{
    for (guint i = 0; i < s->message_count;) {
        Message m = s->messages[i];
        Party *to = &s->parties[m.to];

        /* What comes to a frozen host waits there. */
        if (m.at_us > s->now_us || to->frozen) {
            if (m.at_us <= s->now_us)
                s->messages[i].at_us = to->thaw_us;
            i++;
            continue;
        }
        s->messages[i] = s->messages[--s->message_count];
        if (!s->cut[m.from][m.to] && acts(to))
            deliver(s, &m);
    }
}

static void begin(Sim *s)
{
    const Reign first = new_reign(s, 1);

    for (int i = 0; i < PARTIES; i++) {
        Party *p = &s->parties[i];

        p->boot.us = between(&s->chance, 0, 1000000000);
        p->raw.us = between(&s->chance, 0, p->boot.us);
        set_clocks(s, p);
        p->record = p->forgotten = (VoterRecord){first, 0, s->times.grant_ms};
        p->incarnation = 1 << 16;
        if (i == ALPHA)
            p->mine = first;
        begin_process(s, i);
        p->stand_us = between(&s->chance, 0, 3000000);
    }
    copy_memory(s);
    if (!in(&s->chance, 4))
        change_arm(s, &s->parties[ALPHA]);
}

void sim_run(guint64 seed, SimMutation mutation, SimResult *result)
{
    Sim s = {.chance = {(seed + 1) * 0x9E3779B97F4A7C15ULL},
             .mutation = mutation,
             .result = result,
             .told = g_getenv("UNDERSTUDY_LEASE_TOLD") != NULL};

    for (int i = 0; i < 8; i++)
        (void)draw(&s.chance);
    g_assert_true(lease_times(COUNTDOWN_MS, &s.times, NULL));
    if (mutation == SIM_NO_MARGIN)
        s.times.lease_ms = s.times.grant_ms;
    begin(&s);
    while (s.now_us < END_US && !result->violation) {
        s.now_us = next_event(&s);
        result->events++;
        for (int i = 0; i < PARTIES; i++)
            pass_party(&s, i);
        check(&s);
        pass_messages(&s);
        go_on_forcing(&s);
        check(&s);
        if (s.now_us >= s.chance_us)
            strike(&s);
        check(&s);
    }
}
