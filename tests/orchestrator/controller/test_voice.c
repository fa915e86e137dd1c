/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's own vote, with its file on a disk and a clerk: engines and scenarios are fakes. alpha runs web1, beta keeps its copy. */
#include "orchestrator/voice.h"

#include "tests/tree.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <string.h>

#define DEADLINE_MS 20000
#define LONG_MS 3600000

static const Id VM = {{7}}, STRANGER = {{8}};
static const Reign FIRST = {1, {{1}}}, NEXT = {3, {{3}}}, RIVAL = {3, {{4}}};

typedef struct {
    uv_loop_t loop;
    uv_timer_t patience;
    char *folder, *path;
    Roster *roster;
    Protection *p;
    Voice *voice;
    guint64 nonce;
    /* What engines were told and asked. */
    char *told;         /* the host that had the last answers … */
    guint answers, len; /* … how many lists came, and how long the last is … */
    LeaseAnswer last;   /* … and its first */
    GString *asked;     /* "beta lease.would election\n" */
    Reign promised;     /* by beta's voice (number 0: nothing) … */
    guint64 arm;        /* … with that arm */
    gboolean waits;     /* what it has promised is not answered … */
    RpcAnswerFunc promises;
    void *promises_user; /* … to these */
    RpcAnswerFunc would;
    void *would_user;
    /* Of the last election. */
    guint ended;
    GError *error;
} Desk;

static Desk *desk; /* of the fakes */

/* --- what is around it ----------------------------------------------------- */

static void take_answers(const char *host, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) answers = renewal_answers_from_json(json_object_get(params, "answers"), &error);

    g_assert_no_error(error);
    g_free(desk->told);
    desk->told = g_strdup(host);
    desk->answers++;
    desk->len = answers->len;
    desk->last = g_array_index(answers, RenewalAnswer, 0).answer;
}

/* beta says what it has promised. */
static void beta_tells(void)
{
    json_auto_t *result =
        json_pack("{s:o, s:I}", "reign", desk->promised.number ? reign_to_json(desk->promised) : json_null(),
                  "arm", (json_int_t)desk->arm);
    RpcAnswerFunc promises = g_steal_pointer(&desk->promises);

    g_assert_nonnull(promises);
    promises(desk->promises_user, result, NULL);
}

void hosts_call(Hosts *hosts, const char *name, const char *method, const json_t *params, gint64 limit_ms,
                RpcAnswerFunc on_answer, void *user)
{
    (void)hosts;
    (void)limit_ms;
    if (g_str_equal(method, "lease.answers")) {
        take_answers(name, params);
        on_answer(user, NULL, NULL);
        return;
    }
    if (g_str_equal(method, "lease.promised")) {
        g_assert_null(desk->promises);
        g_assert_cmpstr(name, ==, "beta");
        desk->promises = on_answer;
        desk->promises_user = user;
        if (!desk->waits)
            beta_tells();
        return;
    }
    g_assert_null(desk->would);
    g_string_append_printf(desk->asked, "%s %s %s\n", name, method,
                           json_string_value(json_object_get(json_object_get(params, "ballot"), "kind")));
    desk->would = on_answer;
    desk->would_user = user;
}

const char *scenarios_of_vm(const Scenarios *s, Id vm)
{
    (void)s;
    return id_equal(vm, VM) ? "web" : NULL;
}

const Protection *scenarios_find(const Scenarios *s, const char *name, GError **error)
{
    (void)s;
    (void)name;
    (void)error;
    return desk->p;
}

/* --- a controller --------------------------------------------------------------- */

static ProtectionVm *web1(void)
{
    return desk->p->vms->pdata[0];
}

static void open_voice(Desk *d, guint64 incarnation)
{
    d->voice = voice_new(&d->loop, d->path, incarnation, NULL, NULL);
}

static void close_voice(Desk *d)
{
    voice_close(d->voice);
    uv_run(&d->loop, UV_RUN_NOWAIT);
    voice_free(g_steal_pointer(&d->voice));
}

static void on_patience(uv_timer_t *timer)
{
    (void)timer;
}

static void make_protection(Desk *d)
{
    static const char *const NOBODY[] = {"127.0.0.1:1", NULL};
    g_autoptr(Scenario) s = scenario_new("web", "alpha");

    d->roster = roster_new();
    roster_set(d->roster, "alpha", (Id){{0x0a}}, NOBODY);
    roster_set(d->roster, "beta", (Id){{0x0b}}, NOBODY);
    scenario_add_replica(s, "beta");
    scenario_add_vm(s, VM, "web1");
    s->policy.switchover = SWITCHOVER_AUTO;
    d->p = protection_new(s, d->roster, FIRST.id);
    d->p->goal = GOAL_RUNNING;
}

static Desk *desk_new(void)
{
    Desk *d = g_new0(Desk, 1);

    desk = d;
    g_assert_cmpint(uv_loop_init(&d->loop), ==, 0);
    uv_timer_init(&d->loop, &d->patience);
    uv_timer_start(&d->patience, on_patience, 1, 1);
    d->folder = g_dir_make_tmp("understudy-voice-XXXXXX", NULL);
    d->path = g_build_filename(d->folder, "votes", NULL);
    d->asked = g_string_new(NULL);
    d->nonce = (guint64)7 << 32;
    make_protection(d);
    open_voice(d, 65537);
    return d;
}

static void desk_free(Desk *d)
{
    if (d->voice)
        close_voice(d);
    uv_close((uv_handle_t *)&d->patience, NULL);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&d->loop), ==, 0);
    protection_free(d->p);
    roster_free(d->roster);
    tree_remove(d->folder);
    g_string_free(d->asked, TRUE);
    g_free(d->told);
    g_free(d->folder);
    g_free(d->path);
    g_clear_error(&d->error);
    g_free(d);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Desk, desk_free)

/* So many of the answers, or ends of elections. */
static void wait_for(Desk *d, const guint *count, guint wanted)
{
    gint64 end_ms = clock_steady_ms() + DEADLINE_MS;

    while (*count < wanted) {
        g_assert_cmpint(clock_steady_ms(), <, end_ms);
        uv_run(&d->loop, UV_RUN_ONCE);
    }
}

/* Was beta heard, and so both, since the controller runs? */
static void hear_beta(Desk *d, gboolean heard)
{
    if (heard)
        g_hash_table_add(d->p->met, g_strdup("beta"));
    else
        g_hash_table_remove(d->p->met, "beta");
}

static void ask_of(Desk *d, const char *host, Id vm, LeaseRenewal renewal)
{
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(Renewal));
    json_auto_t *news = NULL;
    Renewal one = {vm, renewal};

    one.renewal.nonce = ++d->nonce;
    g_array_append_val(list, one);
    news = json_pack("{s:o}", "renewals", renewals_to_json(list));
    voice_hear(d->voice, host, news);
}

/* What is answered to @host, which wants to be renewed for so long. */
static LeaseVerdict renew_as(Desk *d, const char *host, Reign reign, gint64 grant_ms)
{
    guint before = d->answers;

    ask_of(d, host, VM, (LeaseRenewal){.reign = reign, .arm = 1, .grant_ms = grant_ms});
    wait_for(d, &d->answers, before + 1);
    g_assert_cmpstr(d->told, ==, host);
    g_assert_cmpuint(d->len, ==, 1);
    g_assert_cmpuint(d->last.nonce, ==, d->nonce);
    return d->last.verdict;
}

static LeaseVerdict renew(Desk *d, Reign reign)
{
    return renew_as(d, "alpha", reign, 1);
}

/* Nobody is answered, however long one waits for who was asked before. */
static void expect_no_answer(Desk *d, const char *host, Id vm)
{
    guint before = d->answers;

    ask_of(d, host, vm, (LeaseRenewal){.reign = FIRST, .arm = 1, .grant_ms = 1});
    for (guint i = 0; i < 20; i++)
        uv_run(&d->loop, UV_RUN_ONCE);
    g_assert_cmpuint(d->answers, ==, before);
}

static void on_elected(void *user, const json_t *result, const GError *error)
{
    Desk *d = user;

    g_assert_true(!result == !!error);
    d->ended++;
    g_clear_error(&d->error);
    d->error = error ? g_error_copy(error) : NULL;
}

static void stand(Desk *d, Id vm, BallotKind kind, Reign next)
{
    const Ballot ballot = {kind, FIRST, next};

    voice_elect(d->voice, "beta", vm, &ballot, on_elected, d);
}

/* beta has its say: a verdict, or it does not answer. */
static void beta_says(Desk *d, const char *verdict)
{
    g_autoptr(GError) silent =
        verdict ? NULL : g_error_new_literal(US_ERROR, US_ERROR_UNREACHABLE, "beta is silent");
    json_auto_t *result = verdict ? json_pack("{s:s}", "verdict", verdict) : NULL;
    RpcAnswerFunc would = g_steal_pointer(&d->would);

    g_assert_nonnull(would);
    would(d->would_user, result, silent);
}

/* All of an election. */
static void elect(Desk *d, Id vm, BallotKind kind, Reign next, const char *verdict)
{
    guint before = d->ended;

    stand(d, vm, kind, next);
    beta_says(d, verdict);
    wait_for(d, &d->ended, before + 1);
}

/* Until what was granted, or sat out, is over: a millisecond or two. */
static void elect_in_a_while(Desk *d, BallotKind kind, Reign next)
{
    gint64 end_ms = clock_steady_ms() + DEADLINE_MS;

    do {
        g_assert_cmpint(clock_steady_ms(), <, end_ms);
        elect(d, VM, kind, next, "given");
    } while (g_error_matches(d->error, US_ERROR, US_ERROR_BUSY));
}

static void speak(Desk *d)
{
    hear_beta(d, TRUE);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_GRANTED);
}

/* --- renewing ----------------------------------------------------------------- */

/* What was forgotten may bind somebody: nobody is renewed before the active, in the reign that is known here, and its standby were heard. */
static void test_mute(void)
{
    g_autoptr(Desk) d = desk_new();

    g_assert_cmpint(renew(d, FIRST), ==, LEASE_NOT_GRANTED);
    hear_beta(d, TRUE);
    g_assert_cmpint(renew(d, NEXT), ==, LEASE_NOT_GRANTED);
    g_assert_cmpint(renew_as(d, "beta", FIRST, 1), ==, LEASE_NOT_GRANTED);
    web1()->rival = g_strdup("beta");
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_NOT_GRANTED);
    g_clear_pointer(&web1()->rival, g_free);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_GRANTED);
    g_assert_cmpuint(d->last.incarnation, ==, 65537);
    g_assert_cmpuint(d->last.arm, ==, 1);
    /* Who has spoken once does not fall silent with a link. */
    hear_beta(d, FALSE);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_GRANTED);
}

/* The standby may have heard this voice promise another reign, which itself has forgotten: what that has promised counts, if it is higher. */
static void test_forgotten(void)
{
    static const struct {
        Reign promised;
        guint64 arm;
        LeaseVerdict then;
        guint64 arm_then;
    } CASES[] = {
        {{0}, 0, LEASE_GRANTED, 1},        {{1, {{1}}}, 0, LEASE_GRANTED, 1},
        {{1, {{1}}}, 5, LEASE_GRANTED, 5}, {{1, {{9}}}, 1, LEASE_CONFLICT, 1},
        {{3, {{3}}}, 0, LEASE_HIGHER, 0},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autoptr(Desk) d = desk_new();

        d->promised = CASES[i].promised;
        d->arm = CASES[i].arm;
        hear_beta(d, TRUE);
        g_assert_cmpint(renew(d, FIRST), ==, CASES[i].then);
        g_assert_cmpuint(d->last.arm, ==, CASES[i].arm_then);
        if (CASES[i].then != LEASE_HIGHER)
            continue;
        g_assert_true(reign_equal(d->last.reign, NEXT));
        web1()->reign = NEXT;
        g_assert_cmpint(renew(d, NEXT), ==, LEASE_GRANTED);
    }
}

/* The arm of a reign before is not this one's, and does not confirm that this one was disarmed. */
static void test_former_arm(void)
{
    g_autoptr(Desk) d = desk_new();

    web1()->reign = NEXT;
    d->promised = FIRST;
    d->arm = 7;
    hear_beta(d, TRUE);
    g_assert_cmpint(renew(d, NEXT), ==, LEASE_GRANTED);
    g_assert_cmpuint(d->last.arm, ==, 1);
}

/* It is asked once at a time; and what is said then counts only if all is as it was when it was asked. */
static void test_late_word(void)
{
    g_autoptr(Desk) d = desk_new();

    d->waits = TRUE;
    hear_beta(d, TRUE);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_NOT_GRANTED);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_NOT_GRANTED);
    web1()->reign = NEXT;
    beta_tells();
    web1()->reign = FIRST;
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_NOT_GRANTED);
    protection_doubt(d->p);
    beta_tells();
    g_hash_table_remove_all(d->p->unheard);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_NOT_GRANTED);
    beta_tells();
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_GRANTED);
    g_assert_null(d->promises);
}

/* Of what it has no part in it says nothing, nor to who asks oddly. */
static void test_not_answered(void)
{
    g_autoptr(Desk) d = desk_new();
    json_auto_t *odd = json_pack("{s:[{s:s}]}", "renewals", "vm", "x");
    json_auto_t *nothing = json_object();

    hear_beta(d, TRUE);
    expect_no_answer(d, "alpha", STRANGER);
    voice_hear(d->voice, "alpha", odd);
    voice_hear(d->voice, "alpha", nothing);
    g_assert_cmpuint(d->answers, ==, 0);
    /* Who may know of another reign has not been heard: nobody knows who rules. */
    protection_doubt(d->p);
    expect_no_answer(d, "alpha", VM);
    g_hash_table_remove_all(d->p->unheard);
    hear_beta(d, FALSE);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_NOT_GRANTED);
    hear_beta(d, TRUE);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_GRANTED);
    /* A host that had a part in it once is back, with a reign of that time. */
    ask_of(d, "gamma", VM, (LeaseRenewal){.reign = NEXT, .arm = 1, .grant_ms = 1});
    expect_no_answer(d, "gamma", VM);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_GRANTED);
}

/* Whom his operator switches over is not renewed, unless he holds a lease still, or somebody has promised something. */
static void test_by_hand(void)
{
    g_autoptr(Desk) d = desk_new();

    hear_beta(d, TRUE);
    d->p->scenario->policy.switchover = SWITCHOVER_MANUAL;
    expect_no_answer(d, "alpha", VM);
    web1()->lease = LEASE_HELD;
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_GRANTED);
    web1()->lease = LEASE_NONE;
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_GRANTED);
}

/* A reign that was made without votes is in the database: who rules in the one before has none. */
static void test_known_reign(void)
{
    g_autoptr(Desk) d = desk_new();

    speak(d);
    web1()->reign = NEXT;
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_HIGHER);
    g_assert_true(reign_equal(d->last.reign, NEXT));
    g_assert_cmpint(renew(d, RIVAL), ==, LEASE_CONFLICT);
    g_assert_cmpint(renew(d, NEXT), ==, LEASE_GRANTED);
}

/* --- electing ------------------------------------------------------------------- */

/* The standby is asked first, and until it has said yes nothing is promised; then it is, and for good. */
static void test_elects(void)
{
    g_autoptr(Desk) d = desk_new();

    g_assert_cmpuint(voice_promised(d->voice, d->p), ==, 0);
    speak(d);
    g_assert_cmpuint(voice_promised(d->voice, d->p), ==, FIRST.number);
    stand(d, VM, BALLOT_ELECTION, NEXT);
    g_assert_cmpstr(d->asked->str, ==, "beta lease.would election\n");
    g_assert_cmpuint(d->ended, ==, 0);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_GRANTED);
    beta_says(d, "keeps");
    g_assert_cmpuint(d->ended, ==, 1);
    g_assert_error(d->error, US_ERROR, US_ERROR_BUSY);
    g_assert_true(g_str_has_prefix(d->error->message, "beta has granted"));
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_GRANTED);

    elect_in_a_while(d, BALLOT_ELECTION, NEXT);
    g_assert_no_error(d->error);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_HIGHER);
    g_assert_true(reign_equal(d->last.reign, NEXT));
    /* It is asked again, and nobody else has it: who tries again takes a higher number. */
    elect(d, VM, BALLOT_ELECTION, NEXT, "given");
    g_assert_no_error(d->error);
    elect(d, VM, BALLOT_ELECTION, RIVAL, "given");
    g_assert_error(d->error, US_ERROR, US_ERROR_OVERTAKEN);
    g_assert_true(g_str_has_prefix(d->error->message, "the controller has promised another reign"));
    elect(d, VM, BALLOT_CERTIFIED, RIVAL, "given");
    g_assert_error(d->error, US_ERROR, US_ERROR_OVERTAKEN);
    g_assert_cmpuint(voice_promised(d->voice, d->p), ==, NEXT.number);
    elect(d, VM, BALLOT_CERTIFIED, (Reign){NEXT.number + 1, RIVAL.id}, "given");
    g_assert_no_error(d->error);
    g_assert_cmpuint(voice_promised(d->voice, d->p), ==, NEXT.number + 1);
}

/* Whatever the standby says but yes. */
static void test_standby_says_no(void)
{
    static const struct {
        const char *verdict;
        int code;
    } SAID[] = {
        {"keeps", US_ERROR_BUSY},
        {"sits", US_ERROR_BUSY},
        {"mute", US_ERROR_REFUSED},
        {"disarmed", US_ERROR_REFUSED},
        {"other reign", US_ERROR_OVERTAKEN},
        {NULL, US_ERROR_UNREACHABLE},
        {"perhaps", US_ERROR_PROTOCOL},
    };
    g_autoptr(Desk) d = desk_new();

    speak(d);
    for (guint i = 0; i < G_N_ELEMENTS(SAID); i++) {
        elect(d, VM, BALLOT_ELECTION, NEXT, SAID[i].verdict);
        g_test_message("%s: %s", SAID[i].verdict, d->error ? d->error->message : "given");
        g_assert_nonnull(d->error);
        if (SAID[i].code != US_ERROR_PROTOCOL)
            g_assert_error(d->error, US_ERROR, SAID[i].code);
        g_assert_cmpint(renew(d, FIRST), ==, LEASE_GRANTED);
    }
}

/* What it has granted itself is waited for, and nobody is elected past one that is not armed. */
static void test_own_grant(void)
{
    g_autoptr(Desk) d = desk_new();

    hear_beta(d, TRUE);
    g_assert_cmpint(renew_as(d, "alpha", FIRST, LONG_MS), ==, LEASE_GRANTED);
    elect(d, VM, BALLOT_ELECTION, NEXT, "given");
    g_assert_error(d->error, US_ERROR, US_ERROR_BUSY);
    g_assert_cmpint(renew_as(d, "alpha", FIRST, LONG_MS), ==, LEASE_GRANTED);
    /* Who certifies that it is off does not wait. */
    elect(d, VM, BALLOT_CERTIFIED, NEXT, "given");
    g_assert_no_error(d->error);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_HIGHER);
}

/* Where an operator wants it, nobody is renewed any more: what is granted ends. Nor is one that an election wants. */
static void test_force_closes(void)
{
    static const struct {
        BallotKind kind;
        LeaseVerdict then;
    } KINDS[] = {{BALLOT_ELECTION, LEASE_GRANTED},
                 {BALLOT_CERTIFIED, LEASE_GRANTED},
                 {BALLOT_FORCE, LEASE_NOT_GRANTED}};

    for (guint i = 0; i < G_N_ELEMENTS(KINDS); i++) {
        g_autoptr(Desk) d = desk_new();

        speak(d);
        elect(d, VM, KINDS[i].kind, NEXT, "keeps");
        g_assert_cmpint(renew(d, FIRST), ==, KINDS[i].then);
    }
}

/* Of what nothing was ever promised, whoever forces need not ask for this vote; who is elected has it not. */
static void test_unknown(void)
{
    g_autoptr(Desk) d = desk_new();

    /* Its file may have been lost, and what it says of this VM with it: only who is sure that the active is off goes on. */
    elect(d, STRANGER, BALLOT_FORCE, NEXT, "given");
    g_assert_error(d->error, US_ERROR, US_ERROR_REFUSED);
    g_assert_true(g_str_has_prefix(d->error->message, "the controller has lost what it promised"));
    speak(d);
    close_voice(d);
    open_voice(d, 65537);
    g_string_truncate(d->asked, 0);
    elect(d, STRANGER, BALLOT_FORCE, NEXT, "given");
    g_assert_no_error(d->error);
    elect(d, STRANGER, BALLOT_CERTIFIED, NEXT, "given");
    g_assert_no_error(d->error);
    elect(d, STRANGER, BALLOT_FORCE, NEXT, "keeps");
    g_assert_error(d->error, US_ERROR, US_ERROR_BUSY);
    elect(d, STRANGER, BALLOT_ELECTION, NEXT, "given");
    g_assert_error(d->error, US_ERROR, US_ERROR_REFUSED);
    g_assert_true(g_str_has_prefix(d->error->message, "the controller has lost what it promised"));
    g_assert_cmpstr(d->asked->str, ==,
                    "beta lease.would force\n"
                    "beta lease.would certified\n"
                    "beta lease.would force\n"
                    "beta lease.would election\n");
}

/* --- another process -------------------------------------------------------------- */

/* Its file is its memory: it votes without having heard anybody, when it has let pass what it may have granted; and keeps its promise. */
static void test_restart(void)
{
    g_autoptr(Desk) d = desk_new();

    speak(d);
    close_voice(d);
    hear_beta(d, FALSE);
    open_voice(d, 65537);
    elect_in_a_while(d, BALLOT_ELECTION, NEXT);
    g_assert_no_error(d->error);
    close_voice(d);
    open_voice(d, 65537);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_HIGHER);
    elect(d, VM, BALLOT_ELECTION, NEXT, "given");
    g_assert_no_error(d->error);
    elect(d, VM, BALLOT_FORCE, RIVAL, "given");
    g_assert_error(d->error, US_ERROR, US_ERROR_OVERTAKEN);
}

static void test_sits(void)
{
    g_autoptr(Desk) d = desk_new();

    hear_beta(d, TRUE);
    g_assert_cmpint(renew_as(d, "alpha", FIRST, LONG_MS), ==, LEASE_GRANTED);
    close_voice(d);
    open_voice(d, 65537);
    elect(d, VM, BALLOT_ELECTION, NEXT, "given");
    g_assert_error(d->error, US_ERROR, US_ERROR_BUSY);
    g_assert_true(g_str_has_prefix(d->error->message, "the controller has just started"));
    /* It renews all the same. */
    g_assert_cmpint(renew_as(d, "alpha", FIRST, LONG_MS), ==, LEASE_GRANTED);
}

/* One that was put back may have forgotten: it is mute, to an election and to who wants to be renewed, until both were heard, and then in a memory of its
 * own. */
static void test_copy(void)
{
    g_autoptr(Desk) d = desk_new();
    g_autofree char *text = NULL;
    gsize len;

    speak(d);
    close_voice(d);
    g_assert_true(g_file_get_contents(d->path, &text, &len, NULL));
    g_free(d->path);
    d->path = g_build_filename(d->folder, "put-back", NULL);
    g_assert_true(g_file_set_contents(d->path, text, (gssize)len, NULL));
    hear_beta(d, FALSE);
    open_voice(d, 131073);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_NOT_GRANTED);
    elect(d, VM, BALLOT_ELECTION, NEXT, "given");
    g_assert_error(d->error, US_ERROR, US_ERROR_REFUSED);
    elect(d, VM, BALLOT_FORCE, NEXT, "given");
    g_assert_error(d->error, US_ERROR, US_ERROR_REFUSED);
    close_voice(d);
    /* Nor is it less of a copy for having been written since. */
    open_voice(d, 131073);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_NOT_GRANTED);
    speak(d);
    g_assert_cmpuint(d->last.incarnation, ==, 131073);
    elect_in_a_while(d, BALLOT_ELECTION, NEXT);
    g_assert_no_error(d->error);
}

/* One that was put back has forgotten a vote that a plan of the journal stands on, and that the standby has not followed yet: it keeps the active that
 * it voted against no more, whoever was heard. */
static void test_forgets_for_a_plan(void)
{
    g_autoptr(Desk) d = desk_new();
    g_autofree char *text = NULL;
    gsize len;

    speak(d);
    g_assert_true(g_file_get_contents(d->path, &text, &len, NULL));
    elect_in_a_while(d, BALLOT_ELECTION, NEXT);
    g_assert_no_error(d->error);
    close_voice(d);
    g_assert_true(g_file_set_contents(d->path, text, (gssize)len, NULL));
    open_voice(d, 65537);
    d->p->plan = (Id){{9}};
    d->promised = FIRST;
    d->arm = 1;
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_NOT_GRANTED);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_NOT_GRANTED);
    d->p->plan = ID_NIL;
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_GRANTED);
}

/* A controller that was killed after its vote, and does not know of it, asks again: by then the active may be back, and have the standby's lease. What is
 * promised is promised: this voice keeps it no more, and it must not be left with nobody. */
static void test_promised_is_promised(void)
{
    g_autoptr(Desk) d = desk_new();

    speak(d);
    elect_in_a_while(d, BALLOT_ELECTION, NEXT);
    g_assert_no_error(d->error);
    close_voice(d);
    open_voice(d, 65537);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_HIGHER);
    elect(d, VM, BALLOT_ELECTION, NEXT, "keeps");
    g_assert_no_error(d->error);
    elect(d, VM, BALLOT_ELECTION, NEXT, NULL);
    g_assert_no_error(d->error);
    elect(d, VM, BALLOT_ELECTION, RIVAL, "keeps");
    g_assert_error(d->error, US_ERROR, US_ERROR_BUSY);
}

/* A controller that ends answers who waits, and nobody after that. */
static void test_closes(void)
{
    g_autoptr(Desk) d = desk_new();
    guint before;

    speak(d);
    stand(d, VM, BALLOT_CERTIFIED, NEXT);
    voice_close(d->voice);
    before = d->answers;
    ask_of(d, "alpha", VM, (LeaseRenewal){.reign = FIRST, .arm = 3, .grant_ms = LONG_MS});
    for (guint i = 0; i < 20; i++)
        uv_run(&d->loop, UV_RUN_ONCE);
    g_assert_cmpuint(d->answers, ==, before);
    beta_says(d, "given");
    g_assert_cmpuint(d->ended, ==, 1);
    g_assert_error(d->error, US_ERROR, US_ERROR_BUSY);
    uv_run(&d->loop, UV_RUN_NOWAIT);
    voice_free(g_steal_pointer(&d->voice));
}

/* What a standby says to one that has ended makes it speak no more. */
static void test_closes_unspoken(void)
{
    g_autoptr(Desk) d = desk_new();

    d->waits = TRUE;
    hear_beta(d, TRUE);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_NOT_GRANTED);
    voice_close(d->voice);
    beta_tells();
    uv_run(&d->loop, UV_RUN_NOWAIT);
    voice_free(g_steal_pointer(&d->voice));
    open_voice(d, 65537);
    g_assert_cmpint(renew(d, FIRST), ==, LEASE_NOT_GRANTED);
    beta_tells();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/voice/mute", test_mute);
    g_test_add_func("/voice/forgotten", test_forgotten);
    g_test_add_func("/voice/former-arm", test_former_arm);
    g_test_add_func("/voice/late-word", test_late_word);
    g_test_add_func("/voice/not-answered", test_not_answered);
    g_test_add_func("/voice/by-hand", test_by_hand);
    g_test_add_func("/voice/known-reign", test_known_reign);
    g_test_add_func("/voice/elects", test_elects);
    g_test_add_func("/voice/standby-says-no", test_standby_says_no);
    g_test_add_func("/voice/own-grant", test_own_grant);
    g_test_add_func("/voice/force-closes", test_force_closes);
    g_test_add_func("/voice/unknown", test_unknown);
    g_test_add_func("/voice/restart", test_restart);
    g_test_add_func("/voice/sits", test_sits);
    g_test_add_func("/voice/copy", test_copy);
    g_test_add_func("/voice/forgets-for-a-plan", test_forgets_for_a_plan);
    g_test_add_func("/voice/promised-is-promised", test_promised_is_promised);
    g_test_add_func("/voice/closes", test_closes);
    g_test_add_func("/voice/closes-unspoken", test_closes_unspoken);
    return g_test_run();
}
