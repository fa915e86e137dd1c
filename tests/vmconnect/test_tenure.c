/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine does with the guests that hold leases. Policy and clerk are the real ones; leases, guard, libvirt and the start hook's file
 * are played by the test, which narrates what they were told:
 *
 *   lease: held, held enforced, arm, disarm, stopped, runs, let go         guard: keep, keep free (no lease is needed), keep over, with its
 *   file: free, enforced                                                   process, with its taps; release, says stopped, says runs, lend
 *   libvirt: suspend, resume, clock                                        status: fenced, not fenced; left: it may end
 */
#include "hypervisor/turn.h"
#include "orchestrator/votes/leases.h"
#include "vmconnect/base/error.h"
#include "vmconnect/engine.h"
#include "vmconnect/guard/taps.h"
#include "vmconnect/hypervisor/lease_file.h"
#include "vmconnect/peers.h"
#include "vmconnect/tenure.h"
#include "vmconnect/ungate.h"
#include "vmconnect/warden.h"

#include <glib/gstdio.h>
#include <stdatomic.h>
#include <string.h>

#define PATIENCE_MS 20000
#define PIDFD 1000 /* nobody looks into it */
#define ASKED_MAX 8

/* One question to libvirt that was not answered. */
typedef struct {
    HandsDone on_done;
    void *user;
} Question;

typedef struct {
    Engine e;
    char *dir;
    Id vm;
    GString *told;
    /* Leases. */
    LeasesEvents leases;
    void *leases_user;
    LeaseUntil until;
    gint64 until_ms;
    gboolean is_armed;
    gboolean is_stopped;
    /* The guard. */
    WardenEvents guard;
    void *guard_user;
    gboolean guard_is_up;
    gboolean guard_is_away; /* … and is known to be, by now */
    gboolean ungating;
    void (*on_ungated)(void *user);
    void *ungate_user;
    /* The guest. */
    GuestWord word;
    pid_t pid;
    gboolean is_fenced;
    const char *taps[WORD_TAPS_MAX];
    Question asked[ASKED_MAX];
    guint asked_count;
    /* The file. */
    GArray *before; /* what an engine before has left; NULL: nothing is known of this boot */
    const char *file;
    atomic_bool file_fails;
    atomic_uint file_tries;
} World;

static World *w; /* of the test that runs */

static void tell(const char *what)
{
    g_string_append_printf(w->told, "%s%s", w->told->len > 0 ? "; " : "", what);
}

/* --- leases ---------------------------------------------------------------------- */

/* Each is a second longer than the one before. */
static LeaseUntil until_for(gboolean may_start, gboolean enforced)
{
    w->until_ms += 1000;
    return (LeaseUntil){.may_start = may_start,
                        .may_arm = may_start,
                        .enforced = enforced,
                        .until = {w->until_ms, w->until_ms}};
}

Leases *leases_new(uv_loop_t *loop, Voters *voters, const LeasesEvents *events, void *user)
{
    (void)loop;
    (void)voters;
    w->leases = *events;
    w->leases_user = user;
    return (Leases *)w;
}

void leases_close(Leases *l)
{
    (void)l;
}

void leases_hold(Leases *l, Id vm, Reign reign, const Id *voters, guint voter_count, const LeaseTimes *times,
                 gboolean enforced)
{
    (void)l;
    (void)vm;
    (void)reign;
    (void)voters;
    (void)voter_count;
    (void)times;
    tell(enforced ? "held enforced" : "held");
}

void leases_let_go(Leases *l, Id vm)
{
    (void)l;
    (void)vm;
    tell("let go");
}

void leases_stopped(Leases *l, Id vm, gboolean stopped)
{
    (void)l;
    (void)vm;
    if (stopped != w->is_stopped)
        tell(stopped ? "stopped" : "runs");
    w->is_stopped = stopped;
}

void leases_arm(Leases *l, Id vm, gboolean armed)
{
    (void)l;
    (void)vm;
    if (armed != w->is_armed)
        tell(armed ? "arm" : "disarm");
    w->is_armed = armed;
}

void leases_hear(Leases *l, Id voter, const GArray *answers)
{
    (void)l;
    (void)voter;
    (void)answers;
}

gboolean leases_until(const Leases *l, Id vm, LeaseUntil *ret_until)
{
    (void)l;
    (void)vm;
    *ret_until = w->until;
    return TRUE;
}

/* A voter has answered. */
static void hear_until(LeaseUntil until)
{
    w->until = until;
    w->leases.on_until(w->leases_user, w->vm, &w->until);
}

/* --- links ----------------------------------------------------------------------- */

Peers *peers_new(uv_loop_t *loop, Identity *identity)
{
    (void)loop;
    (void)identity;
    return (Peers *)w;
}

void peers_set_identity(Peers *peers, Identity *identity)
{
    (void)peers;
    (void)identity;
}

void peers_want(Peers *peers, Id engine, const char *const *addresses)
{
    (void)peers;
    (void)engine;
    (void)addresses;
}

void peers_keep_only(Peers *peers, GHashTable *wanted)
{
    (void)peers;
    (void)wanted;
}

void peers_call(Peers *peers, Id engine, const char *method, const json_t *params, gint64 limit_ms,
                RpcAnswerFunc on_answer, void *user)
{
    (void)peers;
    (void)engine;
    (void)method;
    (void)params;
    (void)limit_ms;
    (void)on_answer;
    (void)user;
    g_assert_not_reached();
}

void peers_close(Peers *peers)
{
    (void)peers;
}

void rpc_news(Rpc *rpc, const json_t *news)
{
    (void)rpc;
    (void)news;
    g_assert_not_reached();
}

Voters *voice_voters(const Voice *v)
{
    (void)v;
    return NULL;
}

void serve_news(Engine *engine)
{
    (void)engine;
}

/* --- the guard ------------------------------------------------------------------- */

Warden *warden_new(uv_loop_t *loop, const char *socket_path, const WardenEvents *events, void *user)
{
    (void)loop;
    (void)socket_path;
    w->guard = *events;
    w->guard_user = user;
    return (Warden *)w;
}

void warden_close(Warden *warden)
{
    (void)warden;
}

gboolean warden_is_up(const Warden *warden)
{
    (void)warden;
    return w->guard_is_up;
}

const char *warden_why_away(const Warden *warden)
{
    (void)warden;
    return w->guard_is_away ? "it does not answer" : NULL;
}

gboolean warden_is_older(const Warden *warden)
{
    (void)warden;
    return FALSE;
}

Ungate *ungate_new(Clerk *clerk, void (*on_idle)(void *user), void *user)
{
    (void)clerk;
    w->on_ungated = on_idle;
    w->ungate_user = user;
    return (Ungate *)w;
}

void ungate_close(Ungate *u)
{
    (void)u;
}

void ungate_free(Ungate *u)
{
    (void)u;
}

void ungate_open(Ungate *u, Id vm, int pidfd, pid_t pid)
{
    (void)u;
    (void)vm;
    (void)pidfd;
    (void)pid;
    w->ungating = TRUE;
    tell("ungate");
}

gboolean ungate_is_busy(const Ungate *u)
{
    (void)u;
    return w->ungating;
}

void warden_keep(Warden *warden, Id vm, Reign reign, int pidfd, const char (*taps)[IF_NAMESIZE], guint n,
                 gboolean is_enforced, LeaseMoment until)
{
    g_autoptr(GString) what = g_string_new(!is_enforced         ? "keep free"
                                           : until.boot_ms == 0 ? "keep over"
                                                                : "keep");

    (void)warden;
    (void)vm;
    (void)reign;
    if (pidfd >= 0)
        g_string_append_printf(what, " process %d", pidfd - PIDFD);
    for (guint i = 0; i < n; i++)
        g_string_append_printf(what, " %s", taps[i]);
    tell(what->str);
}

void warden_release(Warden *warden, Id vm)
{
    (void)warden;
    (void)vm;
    tell("release");
}

void warden_tell(Warden *warden, Id vm, gboolean stopped)
{
    (void)warden;
    (void)vm;
    tell(stopped ? "says stopped" : "says runs");
}

void warden_lend(Warden *warden, Id vm)
{
    (void)warden;
    (void)vm;
    tell("lend");
}

static void hear_kept(const GError *why_not)
{
    w->guard.on_kept(w->guard_user, w->vm, why_not);
}

static void hear_fenced(Fenced how)
{
    w->guard.on_fenced(w->guard_user, w->vm, how);
}

static void hear_please_stop(void)
{
    w->guard.on_please_stop(w->guard_user, w->vm);
}

static void hear_up(gboolean up)
{
    w->guard_is_up = up;
    w->guard.on_up(w->guard_user, up);
}

/* --- the guest ------------------------------------------------------------------- */

guint taps_of_process(pid_t pid, char ret_taps[WORD_TAPS_MAX][IF_NAMESIZE], gboolean *ret_more)
{
    guint n = 0;

    g_assert_cmpint(pid, ==, w->pid);
    while (w->taps[n]) {
        g_strlcpy(ret_taps[n], w->taps[n], IF_NAMESIZE);
        n++;
    }
    *ret_more = FALSE;
    return n;
}

int guests_process(const Guests *guests, Id vm, pid_t *ret_pid)
{
    (void)guests;
    (void)vm;
    if (w->pid == 0)
        return -1;
    *ret_pid = w->pid;
    return PIDFD + w->pid;
}

GuestWord guests_word(const Guests *guests, Id vm)
{
    (void)guests;
    (void)vm;
    return w->word;
}

void guests_set_fenced(Guests *guests, Id vm, gboolean fenced)
{
    (void)guests;
    (void)vm;
    if (fenced != w->is_fenced)
        tell(fenced ? "fenced" : "not fenced");
    w->is_fenced = fenced;
}

static void ask(const char *what, HandsDone on_done, void *user)
{
    g_assert_cmpuint(w->asked_count, <, ASKED_MAX);
    tell(what);
    w->asked[w->asked_count++] = (Question){on_done, user};
}

void hands_suspend(Hands *hands, Id vm, HandsDone on_done, void *user)
{
    (void)hands;
    (void)vm;
    ask("suspend", on_done, user);
}

void hands_resume(Hands *hands, Id vm, HandsDone on_done, void *user)
{
    (void)hands;
    (void)vm;
    ask("resume", on_done, user);
}

void hands_set_clock(Hands *hands, Id vm, HandsDone on_done, void *user)
{
    (void)hands;
    (void)vm;
    ask("clock", on_done, user);
}

/* libvirt answers what it was asked first. */
static void answer(const GError *error)
{
    Question q = w->asked[0];

    g_assert_cmpuint(w->asked_count, >, 0);
    memmove(w->asked, w->asked + 1, --w->asked_count * sizeof(Question));
    q.on_done(q.user, NULL, error);
}

static void hear_lifecycle(int event)
{
    EarEvent said = {.kind = EAR_LIFECYCLE, .vm = w->vm, .name = "web1", .event = event};

    if (event == VIR_DOMAIN_EVENT_SUSPENDED)
        w->word = GUEST_PAUSED;
    if (event == VIR_DOMAIN_EVENT_RESUMED)
        w->word = GUEST_ALIVE;
    tenure_hear(w->e.tenure, &said);
}

/* --- the file -------------------------------------------------------------------- */

GArray *lease_file_read(const char *path, GError **error)
{
    (void)path;
    (void)error;
    return w->before ? g_array_ref(w->before) : NULL;
}

char *lease_file_text(const GArray *entries)
{
    const char *said = entries->len > 0 ? "file enforced" : "file free";

    /* How often the same is written is nobody's matter. */
    if (said != w->file)
        tell(said);
    w->file = said;
    return g_strdup("");
}

gboolean lease_file_write(const char *path, const char *text, GError **error)
{
    (void)path;
    (void)text;
    atomic_fetch_add(&w->file_tries, 1);
    if (!atomic_load(&w->file_fails))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_IO, "there is no room");
    return FALSE;
}

/* --- the stage ------------------------------------------------------------------- */

static void nothing(void *data)
{
    (void)data;
}

static void set(void *data)
{
    *(gboolean *)data = TRUE;
}

/* Whatever the clerk was given is done, and what that led to. */
static void settle(void)
{
    for (guint i = 0; i < 4; i++) {
        gboolean done = FALSE;

        clerk_submit(w->e.clerk, nothing, set, &done);
        g_assert_true(turn_until(&w->e.loop, turn_is_set, &done, PATIENCE_MS));
    }
}

/* All that was told since, in its order. */
#define expect(what)                               \
    do {                                           \
        settle();                                  \
        g_assert_cmpstr(w->told->str, ==, (what)); \
        g_string_truncate(w->told, 0);             \
    } while (0)

/* The controller gives the role of its active, anew. */
static void give(guint64 reign, gboolean arm, gint64 countdown_ms)
{
    ActiveRole *role = g_new0(ActiveRole, 1);

    role->vm = w->vm;
    role->scenario = g_strdup("web");
    role->reign = (Reign){reign, {{1}}};
    role->standby = (Id){{2}};
    role->host = g_strdup("beta");
    role->addresses = g_new0(char *, 1);
    role->settings.compress = g_strdup("auto");
    role->lease = (LeaseSettings){countdown_ms, {{3}}, arm};
    policy_set_active(w->e.policy, role);
    tenure_review(w->e.tenure);
}

#define COUNTDOWN_MS 12000

static void world_init(World *world)
{
    g_autofree char *policy = NULL;

    w = world;
    *w = (World){.vm = id_random(), .guard_is_up = TRUE, .word = GUEST_ALIVE, .pid = 1, .taps = {"vnet0"}};
    w->dir = g_dir_make_tmp("understudy-XXXXXX", NULL);
    w->told = g_string_new(NULL);
    policy = g_build_filename(w->dir, "policy.json", NULL);
    w->e.policy = policy_load(policy, NULL);
    w->e.visits = g_ptr_array_new();
    w->before = g_array_new(FALSE, FALSE, sizeof(LeaseEntry));
    uv_loop_init(&w->e.loop);
    w->e.clerk = clerk_new(&w->e.loop);
}

static void begin(void)
{
    w->e.tenure = tenure_new(&w->e);
    tenure_begin(w->e.tenure);
    expect("file free");
}

static void world_clear(void)
{
    g_autofree char *remove = g_strdup_printf("rm -rf '%s'", w->dir);

    tenure_close(w->e.tenure);
    while (w->asked_count > 0)
        answer(NULL);
    clerk_close(w->e.clerk);
    uv_run(&w->e.loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&w->e.loop), ==, 0);
    tenure_free(w->e.tenure);
    policy_free(w->e.policy);
    g_ptr_array_unref(w->e.visits);
    g_clear_pointer(&w->before, g_array_unref);
    g_string_free(w->told, TRUE);
    g_assert_cmpint(system(remove), ==, 0);
    g_free(w->dir);
    w = NULL;
}

/* Its guest runs, and is held to its lease. */
static void begin_armed(World *world)
{
    world_init(world);
    begin();
    give(1, TRUE, COUNTDOWN_MS);
    expect("held");
    hear_until(until_for(TRUE, FALSE));
    expect("file enforced; keep process 1 vnet0");
    hear_kept(NULL);
    expect("arm");
    hear_until(until_for(TRUE, TRUE));
    expect("keep vnet0");
    hear_kept(NULL);
}

/* Nobody answers any more, and its guard has it stopped by libvirt. */
static void stop_by_libvirt(void)
{
    w->until = until_for(FALSE, TRUE);
    hear_please_stop();
    expect("suspend");
    answer(NULL);
    hear_lifecycle(VIR_DOMAIN_EVENT_SUSPENDED);
    expect("says stopped; says stopped");
    hear_fenced(FENCED_ASKED);
    expect("fenced; stopped");
}

/* A voter answers again, and the guard has that. */
static void get_lease_back(void)
{
    hear_until(until_for(TRUE, TRUE));
    expect("keep vnet0");
    hear_kept(NULL);
}

/* --- arming ---------------------------------------------------------------------- */

/* Its guard and the start hook's file have it before anybody may vote, whichever is the last. */
static void test_held_before_armed(void)
{
    World world;

    world_init(&world);
    begin();
    give(1, TRUE, COUNTDOWN_MS);
    expect("held");
    hear_until(until_for(TRUE, FALSE));
    expect("file enforced; keep process 1 vnet0");
    hear_until(until_for(TRUE, FALSE));
    expect("keep vnet0");
    hear_kept(NULL);
    expect("arm");
    world_clear();

    world_init(&world);
    begin();
    give(1, TRUE, COUNTDOWN_MS);
    expect("held");
    atomic_store(&w->file_fails, TRUE);
    hear_until(until_for(TRUE, FALSE));
    hear_kept(NULL);
    settle();
    g_assert_false(w->is_armed);
    atomic_store(&w->file_fails, FALSE);
    hear_until(until_for(TRUE, FALSE));
    hear_kept(NULL);
    settle();
    g_assert_true(w->is_armed);
    world_clear();
}

static gboolean is_armed(void *user)
{
    (void)user;
    return w->is_armed;
}

/* It is tried again, but not at once and not for ever at once: there may be no room for long. */
static void test_file_fails(void)
{
    World world;

    world_init(&world);
    w->word = GUEST_OFF;
    w->pid = 0;
    begin();
    give(1, TRUE, COUNTDOWN_MS);
    expect("held");
    atomic_store(&w->file_fails, TRUE);
    hear_until(until_for(TRUE, FALSE));
    for (guint i = 0; i < 25; i++)
        settle();
    g_assert_cmpuint(atomic_load(&w->file_tries), <, 50);
    atomic_store(&w->file_fails, FALSE);
    g_assert_true(turn_until(&w->e.loop, is_armed, NULL, PATIENCE_MS));
    world_clear();
}

/* Its guest is off: nobody need have it but the file. */
static void test_armed_while_off(void)
{
    World world;

    world_init(&world);
    w->word = GUEST_OFF;
    w->pid = 0;
    begin();
    give(1, TRUE, COUNTDOWN_MS);
    expect("held");
    hear_until(until_for(TRUE, FALSE));
    expect("file enforced; arm");
    /* It is started. */
    w->pid = 2;
    w->word = GUEST_ALIVE;
    hear_lifecycle(VIR_DOMAIN_EVENT_STARTED);
    expect("keep process 2 vnet0");
    world_clear();
}

/* A lease is not enough for that. */
static void test_not_armed_by_few(void)
{
    LeaseUntil few;
    World world;

    world_init(&world);
    begin();
    give(1, TRUE, COUNTDOWN_MS);
    expect("held");
    few = until_for(TRUE, FALSE);
    few.may_arm = FALSE;
    hear_until(few);
    expect("");
    hear_until(until_for(TRUE, FALSE));
    expect("file enforced; keep process 1 vnet0");
    world_clear();
}

static void test_not_armed_without_guard(void)
{
    World world;

    world_init(&world);
    w->guard_is_up = FALSE;
    w->word = GUEST_OFF;
    w->pid = 0;
    begin();
    give(1, TRUE, COUNTDOWN_MS);
    hear_until(until_for(TRUE, FALSE));
    expect("held");
    hear_up(TRUE);
    expect("file enforced; arm");
    hear_until(until_for(TRUE, TRUE));
    expect("");
    hear_up(FALSE);
    expect("disarm");
    world_clear();
}

/* What the guard did not take is said to it anew, all of it. */
/* Out of the kernel's gate only once nothing is enforced and its guard is away; nobody is held anew while that is under way. */
static void test_ungated(void)
{
    World world;

    begin_armed(&world);
    w->guard_is_away = TRUE;
    hear_up(FALSE);
    expect("disarm");
    hear_until(until_for(TRUE, FALSE));
    expect("file free; keep free vnet0; ungate");
    hear_until(until_for(TRUE, FALSE));
    expect("keep free vnet0"); /* and it is not taken out of it twice */
    w->guard_is_away = FALSE;
    hear_up(TRUE);
    expect("");
    w->ungating = FALSE;
    w->on_ungated(w->ungate_user);
    expect("file enforced; keep vnet0");
    world_clear();
}

static void test_refused_keep(void)
{
    g_autoptr(GError) refused = g_error_new(US_ERROR, US_ERROR_REFUSED, "there is no interface 'vnet0'");
    World world;

    world_init(&world);
    begin();
    give(1, TRUE, COUNTDOWN_MS);
    expect("held");
    hear_until(until_for(TRUE, FALSE));
    expect("file enforced; keep process 1 vnet0");
    hear_kept(refused);
    expect("");
    hear_until(until_for(TRUE, FALSE));
    expect("keep process 1 vnet0");
    hear_kept(NULL);
    expect("arm");
    world_clear();
}

/* A card that is plugged is held from then on, as is one that was while libvirtd was away. */
static void test_plugged(void)
{
    EarEvent plugged = {.kind = EAR_DEVICE, .event = 1}, again = {.kind = EAR_RESYNC};
    World world;

    begin_armed(&world);
    plugged.vm = w->vm;
    w->taps[1] = "vnet1";
    tenure_hear(w->e.tenure, &plugged);
    expect("keep vnet0 vnet1");
    hear_kept(NULL);
    /* A disk. */
    tenure_hear(w->e.tenure, &plugged);
    tenure_hear(w->e.tenure, &again);
    expect("");
    w->taps[0] = "vnet1";
    w->taps[1] = NULL;
    tenure_hear(w->e.tenure, &plugged);
    expect("keep vnet1");
    hear_kept(NULL);
    w->taps[0] = "vnet2";
    tenure_hear(w->e.tenure, &again);
    expect("keep vnet2");
    world_clear();

    /* One that is none of the guard's stays so. */
    world_init(&world);
    begin();
    give(1, FALSE, COUNTDOWN_MS);
    hear_until(until_for(TRUE, FALSE));
    w->taps[1] = "vnet1";
    plugged.vm = w->vm;
    tenure_hear(w->e.tenure, &plugged);
    expect("held");
    world_clear();
}

/* --- guests that were stopped ---------------------------------------------------- */

static void test_goes_on(void)
{
    World world;

    begin_armed(&world);
    stop_by_libvirt();
    /* A guard that has come anew has it, too. */
    hear_kept(NULL);
    expect("");
    hear_until(until_for(FALSE, TRUE));
    expect("keep vnet0");
    hear_kept(NULL);
    expect("");
    get_lease_back();
    expect("resume; runs; not fenced");
    answer(NULL);
    hear_lifecycle(VIR_DOMAIN_EVENT_RESUMED);
    expect("clock; says runs");
    answer(NULL);
    /* And once more. */
    stop_by_libvirt();
    world_clear();
}

/* Its user had paused it before. */
static void test_was_paused(void)
{
    World world;

    begin_armed(&world);
    hear_lifecycle(VIR_DOMAIN_EVENT_SUSPENDED);
    expect("says stopped");
    stop_by_libvirt();
    get_lease_back();
    expect("runs; not fenced");
    world_clear();
}

/* It was paused by its guard's word only, and is asked to stop again before libvirt has had it go on: its user had no part in it. */
static void test_stopped_while_it_resumes(void)
{
    World world;

    begin_armed(&world);
    stop_by_libvirt();
    get_lease_back();
    expect("resume; runs; not fenced");
    hear_please_stop();
    expect("suspend");
    get_lease_back();
    expect("resume");
    world_clear();
}

static void test_over(void)
{
    LeaseUntil over = {.is_over = TRUE};
    World world;

    /* It needs no lease any more, and yet never runs again in this reign. */
    begin_armed(&world);
    stop_by_libvirt();
    hear_until(over);
    expect("file free; keep over vnet0");
    hear_kept(NULL);
    expect("");
    /* Nor when it is to have no leases any more. */
    give(1, FALSE, 0);
    expect("release; let go");
    world_clear();
}

static void on_still(void *user, const GError *error)
{
    g_autofree char *what =
        error ? g_strconcat("goes on: ", us_error_name((UsError)error->code), NULL) : NULL;

    (void)user;
    tell(what ? what : "still");
}

static void yield(void)
{
    tenure_yield(w->e.tenure, w->vm, on_still, NULL);
}

/* A guest that its role's end finds stopped stays so, until the role is given anew. */
static void test_yield(void)
{
    World world;

    begin_armed(&world);
    stop_by_libvirt();
    yield();
    expect("suspend");
    answer(NULL);
    expect("says stopped; still");
    hear_until(until_for(TRUE, TRUE));
    expect("keep over vnet0");
    hear_kept(NULL);
    expect("");
    give(1, TRUE, COUNTDOWN_MS);
    expect("held; keep vnet0");
    hear_kept(NULL);
    expect("resume; runs; not fenced");
    world_clear();
}

/* Whatever was asked before may be undone by what was asked since. */
static void test_yield_while_it_resumes(void)
{
    World world;

    begin_armed(&world);
    hear_please_stop();
    expect("suspend");
    get_lease_back();
    expect("resume");
    yield();
    expect("suspend");
    answer(NULL);
    answer(NULL);
    expect("says stopped; clock");
    answer(NULL);
    expect("says stopped; still");
    world_clear();
}

/* libvirt did not suspend it, and its guard has stopped its QEMU: libvirt would hang on that. */
static void stop_by_signal(void)
{
    g_autoptr(GError) late = g_error_new(US_ERROR, US_ERROR_TIMEOUT, "libvirt has not answered");

    w->until = until_for(FALSE, TRUE);
    hear_please_stop();
    expect("suspend");
    answer(late);
    hear_fenced(FENCED_STOPPED);
    expect("lend; fenced; stopped");
    hear_please_stop();
    expect("suspend");
    answer(late);
    hear_fenced(FENCED_STOPPED);
    expect("");
}

static gboolean is_asked(void *user)
{
    (void)user;
    return w->asked_count > 0;
}

/* It is lent until libvirt has suspended it, and nobody takes it to stand still before. */
static void test_yield_signalled(void)
{
    g_autoptr(GError) stopped = g_error_new(US_ERROR, US_ERROR_BUSY, "its QEMU was stopped by a signal");
    World world;

    begin_armed(&world);
    stop_by_signal();
    yield();
    expect("lend; suspend");
    answer(stopped);
    expect("");
    hear_please_stop();
    expect("suspend");
    hear_fenced(FENCED_STOPPED);
    expect("lend");
    answer(stopped);
    /* Its guard, which may be another by now, says nothing: it is tried all the same. */
    g_assert_true(turn_until(&w->e.loop, is_asked, NULL, PATIENCE_MS));
    answer(stopped);
    hear_please_stop();
    expect("suspend; suspend");
    answer(NULL);
    expect("says stopped; still");
    /* Also while nobody waits. */
    hear_fenced(FENCED_STOPPED);
    expect("lend");
    world_clear();
}

/* Not for ever: it is behind its gate all the while, but computes. */
static void test_yield_lends(void)
{
    World world;
    guint lent = 0;

    begin_armed(&world);
    stop_by_signal();
    yield();
    for (guint i = 0; i < 20; i++)
        hear_fenced(FENCED_STOPPED);
    for (const char *at = w->told->str; (at = strstr(at, "lend")); at++)
        lent++;
    g_assert_cmpuint(lent, <, 10);
    g_assert_cmpuint(lent, >, 3);
    world_clear();
}

/* Nobody has stopped it by a word that is known; its guard was not heard of it yet, or has died. */
static void test_yield_unknown(void)
{
    g_autoptr(GError) stopped = g_error_new(US_ERROR, US_ERROR_BUSY, "its QEMU was stopped by a signal");
    World world;

    world_init(&world);
    begin();
    give(1, FALSE, COUNTDOWN_MS);
    expect("held");
    yield();
    expect("still");
    hear_up(FALSE);
    yield();
    expect("suspend");
    answer(stopped);
    expect("lend");
    w->guard_is_up = TRUE;
    hear_fenced(FENCED_STOPPED);
    expect("lend; fenced; stopped; keep over process 1 vnet0");
    hear_please_stop();
    expect("suspend");
    answer(NULL);
    expect("says stopped; still");
    world_clear();
}

static void test_yield_given_up(void)
{
    World world;

    /* The role is given anew. */
    begin_armed(&world);
    yield();
    give(1, TRUE, COUNTDOWN_MS);
    expect("suspend; held");
    answer(NULL);
    expect("says stopped; goes on: overtaken");
    /* Whoever has asked asks again. */
    yield();
    yield();
    expect("suspend; goes on: cancelled; suspend");
    /* The role ends by itself. */
    policy_forget_active(w->e.policy, w->vm);
    tenure_review(w->e.tenure);
    expect("goes on: cancelled; release; let go; file free");
    world_clear();

    /* The engine ends. */
    begin_armed(&world);
    yield();
    expect("suspend");
    tenure_close(w->e.tenure);
    expect("goes on: cancelled");
    world_clear();
}

/* libvirt hung when it was asked, and does it when the lease is back. */
static void test_stopped_late(void)
{
    g_autoptr(GError) late = g_error_new(US_ERROR, US_ERROR_TIMEOUT, "libvirt has not answered");
    g_autoptr(GError) stopped = g_error_new(US_ERROR, US_ERROR_BUSY, "its QEMU was stopped by a signal");
    World world;

    begin_armed(&world);
    hear_please_stop();
    expect("suspend");
    answer(late);
    get_lease_back();
    expect("resume");
    answer(NULL);
    expect("clock");
    hear_lifecycle(VIR_DOMAIN_EVENT_SUSPENDED);
    expect("says stopped; resume");
    /* Once: the next one is its user's. */
    hear_lifecycle(VIR_DOMAIN_EVENT_RESUMED);
    hear_lifecycle(VIR_DOMAIN_EVENT_SUSPENDED);
    expect("says runs; says stopped");
    world_clear();

    /* It was not asked at all. */
    begin_armed(&world);
    hear_please_stop();
    expect("suspend");
    answer(stopped);
    get_lease_back();
    expect("resume");
    answer(NULL);
    hear_lifecycle(VIR_DOMAIN_EVENT_RESUMED);
    expect("clock; says runs");
    hear_lifecycle(VIR_DOMAIN_EVENT_SUSPENDED);
    expect("says stopped");
    world_clear();
}

/* The guard of an engine before this one has stopped it, or is about to, and nothing is enforced by now. */
static void test_stopped_before(void)
{
    World world;

    world_init(&world);
    begin();
    give(1, FALSE, COUNTDOWN_MS);
    hear_until(until_for(TRUE, FALSE));
    expect("held");
    hear_fenced(FENCED_ASKED);
    expect("fenced; stopped; keep free process 1 vnet0");
    hear_kept(NULL);
    expect("resume; runs; not fenced");
    world_clear();

    world_init(&world);
    begin();
    give(1, FALSE, COUNTDOWN_MS);
    hear_until(until_for(TRUE, FALSE));
    expect("held");
    hear_please_stop();
    expect("suspend; keep free process 1 vnet0");
    hear_kept(NULL);
    expect("resume");
    world_clear();
}

/* Its process ends: what follows is another guest. */
static void test_gone(void)
{
    World world;

    begin_armed(&world);
    stop_by_libvirt();
    w->guard.on_gone(w->guard_user, w->vm);
    w->pid = 2;
    hear_lifecycle(VIR_DOMAIN_EVENT_STARTED);
    expect("runs; keep process 2 vnet0; not fenced");
    hear_kept(NULL);
    get_lease_back();
    expect("");
    world_clear();

    /* One that needs no lease is none of the guard's any more. */
    world_init(&world);
    begin();
    give(1, FALSE, COUNTDOWN_MS);
    hear_until(until_for(TRUE, FALSE));
    hear_fenced(FENCED_ASKED);
    expect("held; fenced; stopped; keep free process 1 vnet0");
    w->guard.on_gone(w->guard_user, w->vm);
    w->pid = 2;
    hear_lifecycle(VIR_DOMAIN_EVENT_STARTED);
    expect("runs; not fenced");
    world_clear();
}

/* --- without leases -------------------------------------------------------------- */

/* It is to have none: whoever may vote hears that before its guest may run without. */
static void test_drop(void)
{
    World world;

    begin_armed(&world);
    give(1, FALSE, 0);
    expect("disarm");
    hear_until(until_for(TRUE, TRUE));
    expect("keep vnet0");
    hear_until(until_for(TRUE, FALSE));
    expect("release; let go; file free");
    world_clear();
}

/* What nothing was enforced of when it was let go needs no lease when it is held again, though nobody knows what an engine before has left. */
static void test_held_again(void)
{
    World world;

    world_init(&world);
    g_clear_pointer(&w->before, g_array_unref);
    begin();
    give(1, FALSE, COUNTDOWN_MS);
    expect("held enforced");
    hear_until(until_for(TRUE, FALSE));
    give(1, FALSE, 0);
    expect("let go");
    give(1, FALSE, COUNTDOWN_MS);
    expect("held");
    world_clear();
}

/* A guard does not let go of what it has stopped: that goes on first. */
static void test_drop_while_stopped(void)
{
    World world;

    begin_armed(&world);
    stop_by_libvirt();
    give(1, FALSE, 0);
    expect("disarm");
    hear_until((LeaseUntil){0});
    expect("keep free vnet0");
    hear_kept(NULL);
    expect("resume; runs; not fenced; release; let go; file free");
    world_clear();
}

/* The role is another's: nothing is left to be confirmed. */
static void test_role_ends(void)
{
    World world;

    begin_armed(&world);
    policy_forget_active(w->e.policy, w->vm);
    tenure_review(w->e.tenure);
    expect("release; let go; file free");
    world_clear();
}

static void on_left(void *user)
{
    (void)user;
    tell("left");
}

static void test_leave(void)
{
    World world;

    begin_armed(&world);
    tenure_leave(w->e.tenure, on_left, NULL);
    expect("disarm");
    hear_until(until_for(TRUE, FALSE));
    expect("file free; keep free vnet0");
    hear_kept(NULL);
    expect("left");
    world_clear();
}

/* --- by the file that an engine before has left ---------------------------------- */

static void test_former(void)
{
    World world;
    LeaseEntry left;

    world_init(&world);
    left = (LeaseEntry){w->vm, {1, {{1}}}, {9000, 9000}};
    g_array_append_val(w->before, left);
    begin();
    give(1, TRUE, COUNTDOWN_MS);
    expect("held enforced");
    world_clear();

    /* Nothing is known of this boot. */
    world_init(&world);
    g_clear_pointer(&w->before, g_array_unref);
    begin();
    give(1, TRUE, COUNTDOWN_MS);
    expect("held enforced");
    world_clear();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tenure/held-before-armed", test_held_before_armed);
    g_test_add_func("/tenure/file-fails", test_file_fails);
    g_test_add_func("/tenure/armed-while-off", test_armed_while_off);
    g_test_add_func("/tenure/not-armed-without-guard", test_not_armed_without_guard);
    g_test_add_func("/tenure/not-armed-by-few", test_not_armed_by_few);
    g_test_add_func("/tenure/ungated", test_ungated);
    g_test_add_func("/tenure/refused-keep", test_refused_keep);
    g_test_add_func("/tenure/plugged", test_plugged);
    g_test_add_func("/tenure/goes-on", test_goes_on);
    g_test_add_func("/tenure/was-paused", test_was_paused);
    g_test_add_func("/tenure/stopped-while-it-resumes", test_stopped_while_it_resumes);
    g_test_add_func("/tenure/over", test_over);
    g_test_add_func("/tenure/yield", test_yield);
    g_test_add_func("/tenure/yield-while-it-resumes", test_yield_while_it_resumes);
    g_test_add_func("/tenure/yield-signalled", test_yield_signalled);
    g_test_add_func("/tenure/yield-lends", test_yield_lends);
    g_test_add_func("/tenure/yield-unknown", test_yield_unknown);
    g_test_add_func("/tenure/yield-given-up", test_yield_given_up);
    g_test_add_func("/tenure/stopped-late", test_stopped_late);
    g_test_add_func("/tenure/stopped-before", test_stopped_before);
    g_test_add_func("/tenure/gone", test_gone);
    g_test_add_func("/tenure/drop", test_drop);
    g_test_add_func("/tenure/held-again", test_held_again);
    g_test_add_func("/tenure/drop-while-stopped", test_drop_while_stopped);
    g_test_add_func("/tenure/role-ends", test_role_ends);
    g_test_add_func("/tenure/leave", test_leave);
    g_test_add_func("/tenure/former", test_former);
    return g_test_run();
}
