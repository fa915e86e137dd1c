/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests change what this engine was told, when, and what is left when the disk does not
 * take it. Policy, clerk, guard files and roles are the real ones; threads of VMs and the
 * controller's link are fakes. */
#include "tests/vmconnect/fake_players.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/serve_parts.h"

#include <glib/gstdio.h>
#include <string.h>

/* --- the controller's link ------------------------------------------------ */

struct RpcReply {
    gboolean answered;
    json_t *result;
    GError *error;
};

void rpc_reply(RpcReply *reply, json_t *result)
{
    g_assert_false(reply->answered);
    reply->answered = TRUE;
    reply->result = result;
}

void rpc_reply_error(RpcReply *reply, const GError *error)
{
    g_assert_false(reply->answered);
    reply->answered = TRUE;
    reply->error = g_error_copy(error);
}

static void reply_clear(RpcReply *reply)
{
    json_decref(reply->result);
    g_clear_error(&reply->error);
    *reply = (RpcReply){0};
}

/* --- whose the engine is --------------------------------------------------- */

static guint taken;

/* No VM is being tested. */
void rehearsals_leave(Rehearsals *r, Id vm, const char *why, gint64 limit_ms, void (*done)(void *user),
                      void *user)
{
    (void)r;
    (void)vm;
    (void)why;
    (void)limit_ms;
    done(user);
}

void tenure_review(Tenure *t)
{
    (void)t;
}

void voice_admitted(Voice *v, Id vm)
{
    (void)v;
    (void)vm;
}

static gboolean goes_on; /* a guest that is to stand still */

void tenure_yield(Tenure *t, Id vm, void (*on_still)(void *user, const GError *error), void *user)
{
    g_autoptr(GError) busy = goes_on ? g_error_new(US_ERROR, US_ERROR_BUSY, "it goes on") : NULL;

    (void)t;
    (void)vm;
    on_still(user, busy);
}

void owner_take(Engine *e, Identity *identity)
{
    identity_unref(e->identity);
    e->identity = identity;
    taken++;
}

/* --- the engine ----------------------------------------------------------- */

typedef struct {
    Engine e;
    Visit visit;
    char *dir;
    Id vm;
    gboolean quiet;
} Stage;

static void on_status(void *user, gboolean urgent)
{
    (void)user;
    (void)urgent;
}

static void on_ended(void *user, Id vm, gboolean standby)
{
    serve_play_again(&((Stage *)user)->e, vm, standby);
}

static void on_quiet(void *user)
{
    Stage *s = user;

    s->quiet = TRUE;
    clerk_close(g_steal_pointer(&s->e.clerk));
    roles_free(g_steal_pointer(&s->e.roles));
}

static void on_guest_news(void *user)
{
    (void)user;
}

static void stage_init(Stage *s)
{
    RolesEvents events = {.on_status = on_status, .on_ended = on_ended, .on_quiet = on_quiet};
    HostPaths paths = {0};
    g_autofree char *policy = NULL;

    *s = (Stage){.dir = g_dir_make_tmp("understudy-XXXXXX", NULL), .vm = id_random()};
    policy = g_build_filename(s->dir, "policy.json", NULL);
    s->e.paths.guard = g_build_filename(s->dir, "guard", NULL);
    s->e.paths.plan = g_build_filename(s->dir, "plan", NULL);
    g_assert_cmpint(g_mkdir(s->e.paths.plan, 0700), ==, 0);
    s->e.policy = policy_load(policy, NULL);
    paths.run_dir = s->dir;
    paths.store_dir = s->dir;
    uv_loop_init(&s->e.loop);
    s->e.clerk = clerk_new(&s->e.loop);
    s->e.roles = roles_new(&s->e.loop, &paths, NULL, &events, s);
    s->e.guests = guests_new(&s->e.loop, &GUESTS_USUAL, on_guest_news, s);
    s->visit.engine = &s->e;
}

static void stage_end(Stage *s)
{
    g_autofree char *remove = g_strdup_printf("rm -rf '%s'", s->dir);

    s->e.ending = TRUE;
    guests_close(s->e.guests);
    roles_quit(s->e.roles);
    for (int standby = 0; standby < 2; standby++)
        if (fake_player(s->vm, standby))
            fake_player_end(fake_player(s->vm, standby));
    while (!s->quiet)
        uv_run(&s->e.loop, UV_RUN_ONCE);
    uv_run(&s->e.loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&s->e.loop), ==, 0);
    policy_free(s->e.policy);
    g_free(s->e.paths.guard);
    g_free(s->e.paths.plan);
    g_assert_cmpint(system(remove), ==, 0);
    g_free(s->dir);
}

static void wait_for(Stage *s, const RpcReply *reply)
{
    while (!reply->answered)
        uv_run(&s->e.loop, UV_RUN_ONCE);
}

/* What the file says now. */
static Policy *on_disk(const Stage *s)
{
    Policy *policy = policy_load(policy_path(s->e.policy), NULL);

    g_assert_nonnull(policy);
    return policy;
}

/* --- requests ------------------------------------------------------------- */

static const Id REIGN_ID = {{1}};

static void protect(Stage *s, RpcReply *reply, guint64 reign)
{
    json_auto_t *params =
        json_pack("{s:s, s:s, s:o, s:{s:s, s:s, s:[s]}, s:{s:i, s:i, s:i, s:s, s:s}}", "vm", ID_TEXT(s->vm),
                  "scenario", "web", "reign", reign_to_json((Reign){reign, REIGN_ID}), "standby", "id",
                  ID_TEXT(REIGN_ID), "name", "beta", "addresses", "10.0.0.2:25000", "policy", "interval_ms",
                  5000, "scratch_bytes", 1 << 20, "bandwidth_bps", 0, "compress", "auto", "freeze", "never");

    serve_active_protect(&s->visit, reply, params);
}

static void admit(Stage *s, RpcReply *reply, guint64 reign)
{
    json_auto_t *params =
        json_pack("{s:s, s:s, s:s, s:o, s:{s:s}, s:{}, s:{s:i, s:i}}", "vm", ID_TEXT(s->vm), "scenario",
                  "web", "name", "web1", "reign", reign_to_json((Reign){reign, REIGN_ID}), "active", "id",
                  ID_TEXT(REIGN_ID), "networks", "retain", "newest", 24, "hourly", 24);

    serve_standby_admit(&s->visit, reply, params);
}

static void ask(Stage *s, RpcReply *reply, void (*method)(void *, RpcReply *, const json_t *))
{
    json_auto_t *params = json_pack("{s:s}", "vm", ID_TEXT(s->vm));

    method(&s->visit, reply, params);
}

/* --- order ---------------------------------------------------------------- */

static void test_stop_behind_protect(void)
{
    Stage s;
    RpcReply first = {0};
    RpcReply second = {0};

    stage_init(&s);
    protect(&s, &first, 1);
    ask(&s, &second, serve_active_stop);
    wait_for(&s, &first);
    g_assert_no_error(first.error);
    while (!fake_player(s.vm, FALSE) || g_queue_is_empty(&fake_player(s.vm, FALSE)->told))
        uv_run(&s.e.loop, UV_RUN_ONCE);
    g_assert_false(second.answered);
    fake_player_answer(fake_player(s.vm, FALSE), COMMAND_STOP, NULL);
    fake_player_end(fake_player(s.vm, FALSE));
    wait_for(&s, &second);
    g_assert_no_error(second.error);
    g_assert_null(fake_player(s.vm, FALSE));
    g_assert_null(policy_active(s.e.policy, s.vm));
    stage_end(&s);
    reply_clear(&first);
    reply_clear(&second);
}

static void test_dismiss_behind_admit(void)
{
    Stage s;
    RpcReply first = {0};
    RpcReply second = {0};

    stage_init(&s);
    admit(&s, &first, 1);
    ask(&s, &second, serve_standby_dismiss);
    while (!fake_player(s.vm, TRUE) || g_queue_is_empty(&fake_player(s.vm, TRUE)->told))
        uv_run(&s.e.loop, UV_RUN_ONCE);
    fake_player_answer(fake_player(s.vm, TRUE), COMMAND_QUIT, NULL);
    fake_player_end(fake_player(s.vm, TRUE));
    wait_for(&s, &second);
    g_assert_no_error(second.error);
    g_assert_null(policy_standby(s.e.policy, s.vm));
    stage_end(&s);
    reply_clear(&first);
    reply_clear(&second);
}

/* The copy's own thread says whether a point is kept, and gets all that was said of it. */
static void test_pin(void)
{
    Stage s;
    RpcReply replies[3] = {0};
    json_auto_t *params = NULL;
    const Command *told;

    stage_init(&s);
    params = json_pack("{s:s, s:s, s:b}", "vm", ID_TEXT(s.vm), "point", ID_TEXT(REIGN_ID), "pinned", 1);
    serve_standby_pin(&s.visit, &replies[0], params);
    g_assert_error(replies[0].error, US_ERROR, US_ERROR_NOT_FOUND);
    admit(&s, &replies[1], 1);
    wait_for(&s, &replies[1]);
    serve_standby_pin(&s.visit, &replies[2], params);
    g_assert_false(replies[2].answered);
    told = g_queue_peek_tail(&fake_player(s.vm, TRUE)->told);
    g_assert_true(json_equal(told->params, params));
    fake_player_answer(fake_player(s.vm, TRUE), COMMAND_PIN, g_error_new(US_ERROR, US_ERROR_REFUSED, "full"));
    wait_for(&s, &replies[2]);
    g_assert_error(replies[2].error, US_ERROR, US_ERROR_REFUSED);
    stage_end(&s);
    for (int i = 0; i < 3; i++)
        reply_clear(&replies[i]);
}

/* The role that ends is the one that was there, not the one given anew meanwhile. */
static void test_protect_behind_stop(void)
{
    Stage s;
    RpcReply replies[3] = {0};
    guint before;

    stage_init(&s);
    protect(&s, &replies[0], 1);
    wait_for(&s, &replies[0]);
    before = fake_players_started();
    ask(&s, &replies[1], serve_active_stop);
    protect(&s, &replies[2], 2);
    wait_for(&s, &replies[2]);
    fake_player_answer(fake_player(s.vm, FALSE), COMMAND_STOP, NULL);
    fake_player_end(fake_player(s.vm, FALSE));
    wait_for(&s, &replies[1]);
    while (fake_players_started() == before)
        uv_run(&s.e.loop, UV_RUN_ONCE);
    g_assert_nonnull(policy_active(s.e.policy, s.vm));
    g_assert_cmpuint(fake_player(s.vm, FALSE)->role->reign.number, ==, 2);
    stage_end(&s);
    for (int i = 0; i < 3; i++)
        reply_clear(&replies[i]);
}

/* The start hook refuses before the thread is asked, and the role goes last; what became of the guest is the answer. */
static void test_yield(void)
{
    Stage s;
    RpcReply replies[4] = {0};
    json_auto_t *params = NULL;
    g_autoptr(Guard) guard = NULL;

    stage_init(&s);
    params = json_pack("{s:s, s:o}", "vm", ID_TEXT(s.vm), "reign", reign_to_json((Reign){2, REIGN_ID}));
    serve_active_yield(&s.visit, &replies[0], params);
    wait_for(&s, &replies[0]);
    g_assert_error(replies[0].error, US_ERROR, US_ERROR_NOT_FOUND);
    protect(&s, &replies[1], 1);
    wait_for(&s, &replies[1]);
    admit(&s, &replies[2], 2);
    wait_for(&s, &replies[2]);
    g_assert_error(replies[2].error, US_ERROR, US_ERROR_REFUSED);
    serve_active_yield(&s.visit, &replies[3], params);
    while (g_queue_is_empty(&fake_player(s.vm, FALSE)->told))
        uv_run(&s.e.loop, UV_RUN_ONCE);
    guard = guard_read(s.e.paths.guard, s.vm, NULL);
    g_assert_nonnull(guard);
    g_assert_cmpint(guard->role, ==, GUARD_STANDBY);
    g_assert_cmpuint(guard->reign.number, ==, 2);
    g_assert_nonnull(policy_active(s.e.policy, s.vm));
    fake_player_answer(fake_player(s.vm, FALSE), COMMAND_YIELD, NULL);
    fake_player_end(fake_player(s.vm, FALSE));
    wait_for(&s, &replies[3]);
    g_assert_no_error(replies[3].error);
    g_assert_null(policy_active(s.e.policy, s.vm));
    stage_end(&s);
    for (int i = 0; i < 4; i++)
        reply_clear(&replies[i]);
}

static void dismiss(Stage *s, RpcReply *reply)
{
    ask(s, reply, serve_standby_dismiss);
    while (g_queue_is_empty(&fake_player(s->vm, TRUE)->told))
        uv_run(&s->e.loop, UV_RUN_ONCE);
    fake_player_answer(fake_player(s->vm, TRUE), COMMAND_QUIT, NULL);
    fake_player_end(fake_player(s->vm, TRUE));
    wait_for(s, reply);
}

/* Root goes on with what runs here, and the role that is still there is not given anew by a controller that says again
 * what it said before; it is when it was let go. */
static void test_admit_after_the_end(void)
{
    Stage s;
    RpcReply replies[4] = {0};

    stage_init(&s);
    admit(&s, &replies[0], 2);
    wait_for(&s, &replies[0]);
    g_assert_no_error(replies[0].error);
    g_assert_true(guard_remove(s.e.paths.guard, s.vm, NULL));
    admit(&s, &replies[1], 2);
    wait_for(&s, &replies[1]);
    g_assert_error(replies[1].error, US_ERROR, US_ERROR_REFUSED);
    g_assert_nonnull(strstr(replies[1].error->message, GUARD_ENDED));
    g_assert_null(guard_read(s.e.paths.guard, s.vm, NULL));
    dismiss(&s, &replies[2]);
    g_assert_no_error(replies[2].error);
    admit(&s, &replies[3], 2);
    wait_for(&s, &replies[3]);
    g_assert_no_error(replies[3].error);
    stage_end(&s);
    for (int i = 0; i < 4; i++)
        reply_clear(&replies[i]);
}

/* Nothing of it ends while its guest may go on. */
static void test_yield_of_one_that_goes_on(void)
{
    Stage s;
    RpcReply replies[2] = {0};
    json_auto_t *params = NULL;

    stage_init(&s);
    params = json_pack("{s:s, s:o}", "vm", ID_TEXT(s.vm), "reign", reign_to_json((Reign){2, REIGN_ID}));
    protect(&s, &replies[0], 1);
    wait_for(&s, &replies[0]);
    goes_on = TRUE;
    serve_active_yield(&s.visit, &replies[1], params);
    wait_for(&s, &replies[1]);
    goes_on = FALSE;
    g_assert_error(replies[1].error, US_ERROR, US_ERROR_BUSY);
    g_assert_true(g_queue_is_empty(&fake_player(s.vm, FALSE)->told));
    g_assert_nonnull(policy_active(s.e.policy, s.vm));
    stage_end(&s);
    for (int i = 0; i < 2; i++)
        reply_clear(&replies[i]);
}

/* A VM that was promoted here, and never replicated from here: the keeper is told, the copy's role goes on, and what ran
 * here in that reign is left to it before the guard says that it is over. */
static void test_yield_of_promoted(void)
{
    Stage s;
    RpcReply replies[2] = {0};
    json_auto_t *params = NULL;
    Guard active = {.scenario = (char *)"web", .reign = {2, REIGN_ID}, .role = GUARD_ACTIVE};
    g_autoptr(Guard) guard = NULL;
    g_autoptr(Bequest) left = NULL;

    stage_init(&s);
    params = json_pack("{s:s, s:o}", "vm", ID_TEXT(s.vm), "reign", reign_to_json((Reign){4, REIGN_ID}));
    admit(&s, &replies[0], 1);
    wait_for(&s, &replies[0]);
    active.vm = s.vm;
    g_assert_true(guard_write(s.e.paths.guard, &active, NULL));
    serve_active_yield(&s.visit, &replies[1], params);
    while (g_queue_is_empty(&fake_player(s.vm, TRUE)->told))
        uv_run(&s.e.loop, UV_RUN_ONCE);
    guard = guard_read(s.e.paths.guard, s.vm, NULL);
    g_assert_nonnull(guard);
    g_assert_cmpint(guard->role, ==, GUARD_STANDBY);
    g_assert_cmpuint(guard->reign.number, ==, 4);
    left = bequest_read(s.e.paths.plan, s.vm, NULL);
    g_assert_nonnull(left);
    g_assert_false(left->exact);
    g_assert_cmpuint(left->generation->reign.number, ==, 2);
    fake_player_answer(fake_player(s.vm, TRUE), COMMAND_YIELD, NULL);
    wait_for(&s, &replies[1]);
    g_assert_no_error(replies[1].error);
    g_assert_nonnull(policy_standby(s.e.policy, s.vm));
    stage_end(&s);
    for (int i = 0; i < 2; i++)
        reply_clear(&replies[i]);
}

static void write_guard(const Stage *s, guint64 reign, gboolean journal_open)
{
    Guard guard = {.vm = s->vm,
                   .scenario = (char *)"web",
                   .reign = {reign, REIGN_ID},
                   .role = GUARD_ACTIVE,
                   .journal_open = journal_open};

    g_assert_true(guard_write(s->e.paths.guard, &guard, NULL));
}

/* A copy becomes the active by its promotion, of which the guard knows; then its keeper has had its part. */
static void test_protect_what_was_promoted(void)
{
    Stage s;
    RpcReply replies[4] = {0};

    stage_init(&s);
    admit(&s, &replies[0], 1);
    wait_for(&s, &replies[0]);
    protect(&s, &replies[1], 2);
    wait_for(&s, &replies[1]);
    g_assert_error(replies[1].error, US_ERROR, US_ERROR_REFUSED);
    write_guard(&s, 2, TRUE);
    protect(&s, &replies[2], 2);
    wait_for(&s, &replies[2]);
    g_assert_error(replies[2].error, US_ERROR, US_ERROR_REFUSED);
    g_assert_nonnull(policy_standby(s.e.policy, s.vm));
    write_guard(&s, 2, FALSE);
    protect(&s, &replies[3], 2);
    while (g_queue_is_empty(&fake_player(s.vm, TRUE)->told))
        uv_run(&s.e.loop, UV_RUN_ONCE);
    g_assert_false(replies[3].answered);
    g_assert_null(policy_standby(s.e.policy, s.vm));
    fake_player_answer(fake_player(s.vm, TRUE), COMMAND_QUIT, NULL);
    fake_player_end(fake_player(s.vm, TRUE));
    wait_for(&s, &replies[3]);
    g_assert_no_error(replies[3].error);
    g_assert_nonnull(fake_player(s.vm, FALSE));
    stage_end(&s);
    for (int i = 0; i < 4; i++)
        reply_clear(&replies[i]);
}

/* The engine ends while requests wait: each is answered, nothing is played. */
static void test_end(void)
{
    Stage s;
    RpcReply replies[3] = {0};

    stage_init(&s);
    for (int i = 0; i < 3; i++)
        protect(&s, &replies[i], 1);
    stage_end(&s);
    for (int i = 0; i < 3; i++) {
        g_assert_true(replies[i].answered);
        g_assert_error(replies[i].error, US_ERROR, US_ERROR_CANCELLED);
        reply_clear(&replies[i]);
    }
}

/* --- a disk that does not take it ----------------------------------------- */

/* In the way of PATH.new, which durable_replace() makes. */
static char *block(const char *path)
{
    char *way = g_strconcat(path, ".new", NULL);

    g_assert_cmpint(g_mkdir_with_parents(way, 0700), ==, 0);
    return way;
}

static void test_admit_again_after_failure(void)
{
    Stage s;
    RpcReply reply = {0};
    g_autofree char *guard_path = NULL;
    g_autofree char *way = NULL;
    g_autoptr(Guard) guard = NULL;

    stage_init(&s);
    guard_path = g_build_filename(s.e.paths.guard, ID_TEXT(s.vm), NULL);
    way = block(guard_path);
    admit(&s, &reply, 1);
    wait_for(&s, &reply);
    g_assert_nonnull(reply.error);
    g_assert_null(policy_standby(s.e.policy, s.vm));
    g_assert_null(fake_player(s.vm, TRUE));
    reply_clear(&reply);

    g_assert_cmpint(g_rmdir(way), ==, 0);
    admit(&s, &reply, 1);
    wait_for(&s, &reply);
    g_assert_no_error(reply.error);
    g_assert_nonnull(fake_player(s.vm, TRUE));
    guard = guard_read(s.e.paths.guard, s.vm, NULL);
    g_assert_nonnull(guard);
    g_assert_cmpint(guard->role, ==, GUARD_STANDBY);
    stage_end(&s);
    reply_clear(&reply);
}

/* The guard of a copy that was promoted here must not say standby again. */
static void test_admit_keeps_guard(void)
{
    Stage s;
    RpcReply reply = {0};
    g_autoptr(Guard) guard = NULL;
    Guard before = {.scenario = (char *)"web", .reign = {1, REIGN_ID}, .role = GUARD_ACTIVE};

    stage_init(&s);
    before.vm = s.vm;
    g_assert_true(guard_write(s.e.paths.guard, &before, NULL));
    admit(&s, &reply, 1);
    wait_for(&s, &reply);
    guard = guard_read(s.e.paths.guard, s.vm, NULL);
    g_assert_cmpint(guard->role, ==, GUARD_ACTIVE);
    stage_end(&s);
    reply_clear(&reply);
}

/* What a standby's guard may have forgotten is vouched for by who admits the copy anew. */
static void test_admit_vouches(void)
{
    static const GuardRole ROLES[] = {GUARD_STANDBY, GUARD_ACTIVE};

    for (guint i = 0; i < G_N_ELEMENTS(ROLES); i++) {
        Stage s;
        RpcReply reply = {0};
        g_autofree char *path = NULL, *text = NULL;
        g_autoptr(Guard) guard = NULL;
        Guard before = {.scenario = (char *)"web", .reign = {1, REIGN_ID}, .role = ROLES[i]};
        gsize len;

        stage_init(&s);
        before.vm = s.vm;
        before.autostart = TRUE;
        g_assert_true(guard_write(s.e.paths.guard, &before, NULL));
        path = g_build_filename(s.e.paths.guard, ID_TEXT(s.vm), NULL);
        g_assert_true(g_file_get_contents(path, &text, &len, NULL));
        g_assert_true(g_file_set_contents(path, text, (gssize)len, NULL));
        admit(&s, &reply, 1);
        wait_for(&s, &reply);
        guard = guard_read(s.e.paths.guard, s.vm, NULL);
        g_assert_true(guard->role == ROLES[i] && guard->autostart);
        g_assert_true(guard->elsewhere == (ROLES[i] == GUARD_ACTIVE));
        stage_end(&s);
        reply_clear(&reply);
    }
}

static void expect_same_as_disk(const Stage *s)
{
    g_autoptr(Policy) disk = on_disk(s);
    g_autofree char *there = policy_text(disk);
    g_autofree char *here = policy_text(s->e.policy);

    g_assert_cmpstr(here, ==, there);
}

static void test_memory_is_as_the_disk(void)
{
    Stage s;
    RpcReply reply = {0};

    stage_init(&s);
    protect(&s, &reply, 1);
    wait_for(&s, &reply);
    reply_clear(&reply);
    g_free(block(policy_path(s.e.policy)));

    protect(&s, &reply, 2);
    wait_for(&s, &reply);
    g_assert_nonnull(reply.error);
    reply_clear(&reply);
    expect_same_as_disk(&s);

    ask(&s, &reply, serve_active_pause);
    wait_for(&s, &reply);
    g_assert_nonnull(reply.error);
    reply_clear(&reply);
    expect_same_as_disk(&s);
    stage_end(&s);
}

/* --- let go --------------------------------------------------------------- */

static void set_token_paths(Stage *s)
{
    g_autofree char *identity = g_build_filename(s->dir, "identity", NULL);

    s->e.identity = identity_open(identity, ROLE_ENGINE, NULL);
    s->e.paths.token_file = g_build_filename(s->dir, "token.json", NULL);
    s->e.paths.token_print = g_build_filename(s->dir, "token", NULL);
}

static void clear_token_paths(Stage *s)
{
    g_clear_pointer(&s->e.identity, identity_unref);
    g_free(s->e.paths.token_file);
    g_free(s->e.paths.token_print);
}

/* A copy keeps the owner; one that the VM runs on does not. */
static void test_disown(void)
{
    Stage s;
    RpcReply reply = {0};

    stage_init(&s);
    set_token_paths(&s);
    admit(&s, &reply, 1);
    wait_for(&s, &reply);
    reply_clear(&reply);
    serve_host_disown(&s.visit, &reply, NULL);
    g_assert_error(reply.error, US_ERROR, US_ERROR_REFUSED);
    reply_clear(&reply);

    fake_player_say(fake_player(s.vm, TRUE), "promoted");
    while (!roles_is_promoted(s.e.roles, s.vm))
        uv_run(&s.e.loop, UV_RUN_ONCE);
    serve_host_disown(&s.visit, &reply, NULL);
    wait_for(&s, &reply);
    g_assert_no_error(reply.error);
    g_assert_cmpuint(taken, ==, 1);
    stage_end(&s);
    clear_token_paths(&s);
    reply_clear(&reply);
}

static void say(const Stage *s, int event, int detail)
{
    EarEvent said = {.kind = EAR_LIFECYCLE, .vm = s->vm, .name = "web1", .event = event, .detail = detail};

    guests_hear(s->e.guests, &said);
}

/* A guest that runs here and that nothing guards is no copy's: root has let it go on, or it is another one. */
static void test_admit_beside_a_guest(void)
{
    Stage s;
    RpcReply replies[2] = {0};

    stage_init(&s);
    say(&s, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
    admit(&s, &replies[0], 1);
    wait_for(&s, &replies[0]);
    g_assert_error(replies[0].error, US_ERROR, US_ERROR_REFUSED);
    g_assert_nonnull(strstr(replies[0].error->message, "runs on this host"));
    g_assert_null(policy_standby(s.e.policy, s.vm));
    say(&s, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_DESTROYED);
    admit(&s, &replies[1], 1);
    wait_for(&s, &replies[1]);
    g_assert_no_error(replies[1].error);
    stage_end(&s);
    for (int i = 0; i < 2; i++)
        reply_clear(&replies[i]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/serve/admit-beside-a-guest", test_admit_beside_a_guest);
    g_test_add_func("/serve/stop-behind-protect", test_stop_behind_protect);
    g_test_add_func("/serve/dismiss-behind-admit", test_dismiss_behind_admit);
    g_test_add_func("/serve/protect-behind-stop", test_protect_behind_stop);
    g_test_add_func("/serve/pin", test_pin);
    g_test_add_func("/serve/yield", test_yield);
    g_test_add_func("/serve/yield-of-one-that-goes-on", test_yield_of_one_that_goes_on);
    g_test_add_func("/serve/admit-after-the-end", test_admit_after_the_end);
    g_test_add_func("/serve/yield/promoted", test_yield_of_promoted);
    g_test_add_func("/serve/protect-what-was-promoted", test_protect_what_was_promoted);
    g_test_add_func("/serve/end", test_end);
    g_test_add_func("/serve/admit-again-after-failure", test_admit_again_after_failure);
    g_test_add_func("/serve/admit-keeps-guard", test_admit_keeps_guard);
    g_test_add_func("/serve/admit-vouches", test_admit_vouches);
    g_test_add_func("/serve/memory-is-as-the-disk", test_memory_is_as_the_disk);
    g_test_add_func("/serve/disown", test_disown);
    return g_test_run();
}
