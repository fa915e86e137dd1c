/* SPDX-License-Identifier: Apache-2.0 */
/* The loop's side of integrity tests. The threads of its roles are fakes; the tests' are not, and find no libvirt. */
#include "tests/vmconnect/fake_players.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/fault.h"
#include "vmconnect/base/json.h"
#include "vmconnect/rehearsals.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define VMS 256 /* of one test, at most */
#define KEPT_AT_LEAST 2
#define KEPT_AT_MOST 20
#define HOST "aaaaaaaa-2222-4333-8444-555555555555"

typedef struct {
    uv_loop_t loop;
    char *dir;
    HostPaths paths;
    Policy *policy;
    Roles *roles;
    Clerk *clerk;
    Rehearsals *rehearsals;
    guint answers;
    GError *error; /* of the last answer */
    gboolean closed;
    gboolean quiet;
} World;

static void on_status(void *user, gboolean urgent)
{
    (void)user;
    (void)urgent;
}

static void on_ended(void *user, Id vm, gboolean standby)
{
    (void)user;
    (void)vm;
    (void)standby;
}

static void on_quiet(void *user)
{
    ((World *)user)->quiet = TRUE;
}

static void on_news(void *user)
{
    (void)user;
}

static void on_closed(void *user)
{
    ((World *)user)->closed = TRUE;
}

static void on_answer(void *user, const json_t *result, const GError *error)
{
    World *w = user;

    (void)result;
    w->answers++;
    g_clear_error(&w->error);
    w->error = error ? g_error_copy(error) : NULL;
}

static void set_up(World *w, gconstpointer data)
{
    static const RolesEvents EVENTS = {.on_status = on_status, .on_ended = on_ended, .on_quiet = on_quiet};

    (void)data;
    w->dir = g_dir_make_tmp("rehearsals-XXXXXX", NULL);
    w->paths = (HostPaths){.libvirt_uri = "none:///", .nbd_dir = w->dir, .store_dir = w->dir};
    uv_loop_init(&w->loop);
    w->policy = policy_load("/nowhere/policy", NULL);
    g_assert_nonnull(w->policy);
    w->roles = roles_new(&w->loop, &w->paths, NULL, &EVENTS, w);
    w->clerk = clerk_new(&w->loop);
    w->rehearsals = rehearsals_new(&w->loop, &w->paths, w->dir, 0, w->policy, on_news, w);
    rehearsals_set(w->rehearsals, w->roles, w->clerk);
}

/* Anew, for other paths. */
static void rehearsals_anew(World *w)
{
    rehearsals_free(w->rehearsals);
    w->rehearsals = rehearsals_new(&w->loop, &w->paths, w->dir, 0, w->policy, on_news, w);
    rehearsals_set(w->rehearsals, w->roles, w->clerk);
}

static Id copy_new(World *w)
{
    Id vm = id_random();
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = json_pack("{s:s, s:s, s:s, s:{s:i, s:s}, s:{s:s}, s:{}, s:{s:i, s:i}}", "vm",
                                 ID_TEXT(vm), "scenario", "web", "name", "web1", "reign", "number", 1, "id",
                                 HOST, "active", "id", HOST, "networks", "retain", "newest", 1, "hourly", 1);
    StandbyRole *role = standby_role_from_json(doc, &error);

    g_assert_no_error(error);
    roles_play_standby(w->roles, role);
    policy_set_standby(w->policy, role);
    return vm;
}

/* It waits for what is to be lent. */
static Id test_begin_all(World *w, const Id *vms, guint n)
{
    Id test = id_random();
    json_auto_t *list = json_array();
    json_auto_t *params = json_pack("{s:s, s:s, s:b, s:i, s:i, s:O}", "test", ID_TEXT(test), "scenario",
                                    "web", "manual", FALSE, "limit_ms", 60000, "boot_ms", 1000, "vms", list);

    for (guint i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:s, s:s}", "vm", ID_TEXT(vms[i]), "name", "web1"));
    rehearsals_start(w->rehearsals, params, HOST, on_answer, w);
    while (g_queue_is_empty(&fake_player(vms[n - 1], TRUE)->told))
        uv_run(&w->loop, UV_RUN_ONCE);
    return test;
}

static Id test_begin(World *w, Id vm)
{
    return test_begin_all(w, &vm, 1);
}

static gboolean has_ended(World *w, Id test)
{
    json_auto_t *doc = rehearsals_result(w->rehearsals, test, NULL);

    return !doc || g_str_equal(json_string_value(json_object_get(doc, "state")), "ended");
}

static void lend(Id vm)
{
    fake_player_give(fake_player(vm, TRUE), COMMAND_LEND,
                     json_pack("{s:[], s:s}", "disks", "definition", ""));
}

static void test_run_all(World *w, const Id *vms, guint n, Id test)
{
    for (guint i = 0; i < n; i++)
        lend(vms[i]);
    while (!has_ended(w, test))
        uv_run(&w->loop, UV_RUN_ONCE);
    for (guint i = 0; i < n; i++)
        fake_player_give(fake_player(vms[i], TRUE), COMMAND_RETURN, NULL);
}

static void test_run(World *w, Id vm, Id test)
{
    test_run_all(w, &vm, 1, test);
}

static gboolean is_known(const World *w, Id test)
{
    json_auto_t *doc = rehearsals_result(w->rehearsals, test, NULL);

    return doc != NULL;
}

static void tear_down(World *w, gconstpointer data)
{
    g_autoptr(GPtrArray) copies = policy_standbys(w->policy);

    (void)data;
    rehearsals_close(w->rehearsals, on_closed, w);
    g_assert_true(w->closed);
    roles_quit(w->roles);
    for (guint i = 0; i < copies->len; i++)
        fake_player_end(fake_player(((StandbyRole *)copies->pdata[i])->vm, TRUE));
    while (!w->quiet)
        uv_run(&w->loop, UV_RUN_ONCE);
    roles_free(w->roles);
    clerk_close(w->clerk);
    rehearsals_free(w->rehearsals);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&w->loop), ==, 0);
    policy_free(w->policy);
    g_clear_error(&w->error);
    /* Nothing of any test is left. */
    g_assert_cmpint(g_rmdir(w->dir), ==, 0);
    g_free(w->dir);
}

/* Who asked for the one that was begun first and ended last finds its result; what has no room goes in the order of the ends. */
static void test_keeps_what_ended_last(World *w, gconstpointer data)
{
    Id slow_vm = copy_new(w), vms[VMS], first, slow;
    guint runs = 1;

    (void)data;
    for (guint i = 0; i < VMS; i++)
        vms[i] = copy_new(w);
    slow = test_begin(w, slow_vm);
    first = test_begin_all(w, vms, VMS);
    test_run_all(w, vms, VMS, first);
    for (Id test, second = {0}; is_known(w, first); runs++) {
        g_assert_cmpuint(runs, <, KEPT_AT_MOST);
        test = test_begin_all(w, vms, VMS);
        test_run_all(w, vms, VMS, test);
        second = runs == 1 ? test : second;
        g_assert_true(is_known(w, second));
    }
    g_assert_cmpuint(runs, >, KEPT_AT_LEAST);
    test_run(w, slow_vm, slow);
    g_assert_true(is_known(w, slow));
}

/* Somebody needed its VM before it could begin: nothing says that it failed. */
static void test_stopped_before_it_began(World *w, gconstpointer data)
{
    Id vm = copy_new(w), test = test_begin(w, vm);

    (void)data;
    rehearsals_stop(w->rehearsals, test, "its VM is promoted");
    lend(vm);
    while (w->answers == 0)
        uv_run(&w->loop, UV_RUN_ONCE);
    g_assert_error(w->error, US_ERROR, US_ERROR_BUSY);
    g_assert_nonnull(strstr(w->error->message, "its VM is promoted"));
    g_assert_false(is_known(w, test));
    fake_player_give(fake_player(vm, TRUE), COMMAND_RETURN, NULL);
}

/* Whoever asked hears why, and nothing is left of it. */
static void test_no_thread(World *w, gconstpointer data)
{
    Id vm = copy_new(w), test = test_begin(w, vm);

    (void)data;
    lend(vm);
    fault_arm(1, EAGAIN);
    while (w->answers == 0)
        uv_run(&w->loop, UV_RUN_ONCE);
    g_assert_true(fault_was_met());
    g_assert_error(w->error, US_ERROR, US_ERROR_IO);
    g_assert_nonnull(strstr(w->error->message, "threads"));
    g_assert_false(is_known(w, test));
    /* It can be tested again. */
    fake_player_give(fake_player(vm, TRUE), COMMAND_RETURN, NULL);
    test_run(w, vm, test_begin(w, vm));
}

/* A libvirtd that hangs: its socket is there, and nobody reads from it. */
static int mute_new(struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(bind(fd, (struct sockaddr *)address, sizeof(*address)), ==, 0);
    g_assert_cmpint(listen(fd, 8), ==, 0);
    return fd;
}

static void on_done(void *user)
{
    *(gboolean *)user = TRUE;
}

/* Who wants the copy waits so long and no longer, and finds it unused. */
static void test_leaves_a_test_that_hangs(World *w, gconstpointer data)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *uri = NULL;
    json_auto_t *doc = NULL;
    Id vm = copy_new(w), test;
    gboolean done = FALSE;
    int fd;

    (void)data;
    g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/mute", w->dir);
    uri = g_strdup_printf("qemu+unix:///system?socket=%s", address.sun_path);
    w->paths.libvirt_uri = uri;
    fd = mute_new(&address);
    rehearsals_anew(w);
    test = test_begin(w, vm);
    lend(vm);
    while (w->answers == 0)
        uv_run(&w->loop, UV_RUN_ONCE);
    g_assert_no_error(w->error);
    rehearsals_leave(w->rehearsals, vm, "it is wanted", 100, on_done, &done);
    while (!done)
        uv_run(&w->loop, UV_RUN_ONCE);
    g_assert_false(has_ended(w, test));
    g_assert_false(g_queue_is_empty(&fake_player(vm, TRUE)->told));
    fake_player_give(fake_player(vm, TRUE), COMMAND_RETURN, NULL);

    close(fd);
    g_unlink(address.sun_path);
    while (!has_ended(w, test))
        uv_run(&w->loop, UV_RUN_ONCE);
    g_assert_true(g_queue_is_empty(&fake_player(vm, TRUE)->told));
    doc = rehearsals_result(w->rehearsals, test, NULL);
    g_assert_cmpstr(json_string_value(json_object_get(doc, "verdict")), ==, "stopped");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/rehearsals/keeps-what-ended-last", World, NULL, set_up, test_keeps_what_ended_last,
               tear_down);
    g_test_add("/rehearsals/stopped-before-it-began", World, NULL, set_up, test_stopped_before_it_began,
               tear_down);
    g_test_add("/rehearsals/no-thread", World, NULL, set_up, test_no_thread, tear_down);
    g_test_add("/rehearsals/leaves-a-test-that-hangs", World, NULL, set_up, test_leaves_a_test_that_hangs,
               tear_down);
    return g_test_run();
}
