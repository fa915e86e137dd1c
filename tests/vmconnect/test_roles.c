/* SPDX-License-Identifier: Apache-2.0 */
/* The loop's side of the threads, which are fakes here. */
#include "tests/vmconnect/fake_players.h"
#include "vmconnect/base/error.h"
#include "vmconnect/roles.h"

#include <stdlib.h>

typedef struct {
    uv_loop_t loop;
    Roles *roles;
    Id vm;
    guint statuses;
    guint urgent; /* of these */
    guint ended;
    gboolean quiet;
} Stage;

static void on_status(void *user, gboolean urgent)
{
    Stage *s = user;

    s->urgent += urgent;
    /* Nobody is there any more who could be asked for a status. */
    g_assert_false(s->quiet);
    s->statuses++;
}

static void on_ended(void *user, Id vm, gboolean standby)
{
    Stage *s = user;

    (void)standby;
    g_assert_true(id_equal(vm, s->vm));
    s->ended++;
}

static void on_quiet(void *user)
{
    Stage *s = user;

    s->quiet = TRUE;
    roles_free(g_steal_pointer(&s->roles));
}

static void stage_init(Stage *s)
{
    static const HostPaths PATHS = {.run_dir = "/proc/none", .store_dir = "/proc/none"};
    RolesEvents events = {.on_status = on_status, .on_ended = on_ended, .on_quiet = on_quiet};

    *s = (Stage){.vm = id_random()};
    uv_loop_init(&s->loop);
    s->roles = roles_new(&s->loop, &PATHS, NULL, &events, s);
}

static void stage_end(Stage *s)
{
    g_assert_true(s->quiet);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&s->loop), ==, 0);
}

static void run_once(Stage *s)
{
    uv_run(&s->loop, UV_RUN_ONCE);
}

static void play_standby(Stage *s)
{
    StandbyRole role = {.vm = s->vm, .retain = {.newest = 1}};

    roles_play_standby(s->roles, &role);
}

static void test_the_end_is_the_last_word(void)
{
    Stage s;

    stage_init(&s);
    play_standby(&s);
    roles_quit(s.roles);
    fake_player_answer(fake_player(s.vm, TRUE), COMMAND_QUIT, NULL);
    fake_player_end(fake_player(s.vm, TRUE));
    while (!s.quiet)
        run_once(&s);
    /* Before the answer to QUIT, and at the end. */
    g_assert_cmpuint(s.statuses, ==, 2);
    g_assert_cmpuint(s.urgent, ==, 1);
    g_assert_cmpuint(s.ended, ==, 0);
    stage_end(&s);
}

static void test_nobody_plays(void)
{
    Stage s;

    stage_init(&s);
    roles_quit(s.roles);
    stage_end(&s);
}

static void take_error(void *user, const json_t *result, const GError *error)
{
    g_assert_null(result);
    *(GError **)user = g_error_copy(error);
}

/* Who ended by itself may be played again, and still owes an answer to whoever had asked. */
static void test_ends_by_itself(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) nobody = NULL;
    Stage s;

    stage_init(&s);
    play_standby(&s);
    roles_tell_standby(s.roles, s.vm, COMMAND_POINTS, NULL, take_error, &error);
    fake_player_end(fake_player(s.vm, TRUE));
    while (!s.ended)
        run_once(&s);
    g_assert_error(error, US_ERROR, US_ERROR_CANCELLED);
    g_assert_null(fake_player(s.vm, TRUE));
    roles_tell_standby(s.roles, s.vm, COMMAND_POINTS, NULL, take_error, &nobody);
    g_assert_error(nobody, US_ERROR, US_ERROR_NOT_FOUND);
    roles_quit(s.roles);
    stage_end(&s);
}

static ActiveRole *role_of(Id vm)
{
    ActiveRole *role = g_new0(ActiveRole, 1);

    role->vm = vm;
    return role;
}

/* Workers that run already get it too, without a restart. */
static void test_another_owner(void)
{
    g_autofree char *dir = g_dir_make_tmp("understudy-XXXXXX", NULL);
    g_autofree char *remove = g_strdup_printf("rm -rf '%s'", dir);
    g_autoptr(Identity) identity = identity_open(dir, ROLE_ENGINE, NULL);
    FakePlayer *player;
    Command *command;
    Stage s;

    stage_init(&s);
    roles_play_active(s.roles, role_of(s.vm), NULL);
    roles_set_identity(s.roles, identity);
    player = fake_player(s.vm, FALSE);
    command = g_queue_peek_head(&player->told);
    g_assert_nonnull(command);
    g_assert_cmpint(command->verb, ==, COMMAND_IDENTITY);
    g_assert_true(command->identity == identity);
    fake_player_answer(player, COMMAND_IDENTITY, NULL);
    roles_quit(s.roles);
    fake_player_end(player);
    while (!s.quiet)
        run_once(&s);
    stage_end(&s);
    g_assert_cmpint(system(remove), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/roles/the-end-is-the-last-word", test_the_end_is_the_last_word);
    g_test_add_func("/roles/nobody-plays", test_nobody_plays);
    g_test_add_func("/roles/ends-by-itself", test_ends_by_itself);
    g_test_add_func("/roles/another-owner", test_another_owner);
    return g_test_run();
}
