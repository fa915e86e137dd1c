/* SPDX-License-Identifier: Apache-2.0 */
/* Which VMs root may start here, by what the files say. */
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/hypervisor/lifecycle.h"
#include "vmconnect/hypervisor/qemu_process.h"
#include "vmconnect/policy.h"
#include "vmconnect/start_alone.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PEER "aaaaaaaa-2222-4333-8444-555555555555"

static Guard guard_of(GuardRole role, gboolean journal_open)
{
    return (Guard){.vm = {{1}},
                   .scenario = (char *)"web",
                   .reign = {7, {{2}}},
                   .role = role,
                   .journal_open = journal_open};
}

static void expect_in(const Guard *guard, Reign reign, const HandoverState *plan, const char *refusal)
{
    Handover handover = {.state = plan ? *plan : 0, .reign = reign};
    AloneVm vm = {.guard = (Guard *)guard, .plan = plan ? &handover : NULL};
    g_autoptr(GError) error = NULL;

    g_assert_true(alone_may_start(&vm, FALSE, &error) == !refusal);
    if (!refusal)
        return;
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_assert_nonnull(strstr(error->message, refusal));
}

static void expect(const Guard *guard, const HandoverState *plan, const char *refusal)
{
    expect_in(guard, guard->reign, plan, refusal);
}

static void test_active(void)
{
    const Reign before = {6, {{3}}};
    const Guard active = guard_of(GUARD_ACTIVE, FALSE);
    const Guard open = guard_of(GUARD_ACTIVE, TRUE);
    static const struct {
        HandoverState plan;
        const char *refusal;
    } CASES[] = {
        {HANDOVER_LOCKED, "takes it back by itself"},
        {HANDOVER_SHUT, "takes it back by itself"},
        {HANDOVER_FINAL, "takes it back by itself"},
        {HANDOVER_PARKED, "understudy maintenance finish"},
        {HANDOVER_RELEASED, "has released it"},
        {HANDOVER_UNLOCKED, "has released it"}, /* a guard that was put back */
        {HANDOVER_ROLLED_BACK, NULL},
    };

    expect(&active, NULL, NULL);
    expect(&open, NULL, "not finished");
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++)
        expect(&active, &CASES[i].plan, CASES[i].refusal);
    /* What was given up in a reign before was given back since. */
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++)
        expect_in(&active, before, &CASES[i].plan, NULL);
}

static void test_standby(void)
{
    const Guard standby = guard_of(GUARD_STANDBY, FALSE);
    HandoverState unlocked = HANDOVER_UNLOCKED;

    expect(&standby, NULL, "only a switchover or a promotion");
    expect(&standby, &unlocked, "only a switchover or a promotion");
}

/* The other host never comes back: what was given up here may start, what a plan still holds not. */
static void test_gone(void)
{
    Guard standby = guard_of(GUARD_STANDBY, FALSE);
    Guard active = guard_of(GUARD_ACTIVE, TRUE);
    Handover released = {.state = HANDOVER_RELEASED, .reign = active.reign};
    Handover locked = {.state = HANDOVER_LOCKED, .reign = active.reign};
    g_autoptr(GError) error = NULL;

    g_assert_true(alone_may_start(&(AloneVm){.guard = &standby}, TRUE, NULL));
    g_assert_true(alone_may_start(&(AloneVm){.guard = &active, .plan = &released}, TRUE, NULL));
    g_assert_false(alone_may_start(&(AloneVm){.guard = &active, .plan = &locked}, TRUE, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
}

typedef struct {
    char *dir;
    char *guard_dir;
    char *plan_dir;
    char *policy;
    AlonePlace place;
} Spot;

static void place_open(Spot *p, gconstpointer data)
{
    (void)data;
    p->dir = g_dir_make_tmp("understudy-XXXXXX", NULL);
    p->guard_dir = g_build_filename(p->dir, "guard", NULL);
    p->plan_dir = g_build_filename(p->dir, "plan", NULL);
    p->policy = g_build_filename(p->dir, "policy.json", NULL);
    p->place = (AlonePlace){"nonsense:///", p->guard_dir, p->plan_dir, p->dir, p->policy, FALSE};
    g_assert_true(durable_mkdir(p->guard_dir, 0700, NULL) && durable_mkdir(p->plan_dir, 0700, NULL));
}

static void place_close(Spot *p, gconstpointer data)
{
    g_autofree char *remove = g_strdup_printf("rm -rf '%s'", p->dir);

    (void)data;
    g_assert_cmpint(system(remove), ==, 0);
    g_free(p->dir);
    g_free(p->guard_dir);
    g_free(p->plan_dir);
    g_free(p->policy);
}

static Id add_guard(const Spot *p, const char *scenario)
{
    Guard guard = guard_of(GUARD_ACTIVE, FALSE);

    guard.vm = id_random();
    guard.scenario = (char *)scenario;
    g_assert_true(guard_write(p->guard_dir, &guard, NULL));
    return guard.vm;
}

static void damage(const char *dir, Id vm)
{
    g_autofree char *path = g_build_filename(dir, ID_TEXT(vm), NULL);

    g_assert_true(g_file_set_contents(path, "?", 1, NULL));
}

static const AloneVm *find(const GPtrArray *list, Id vm)
{
    for (guint i = 0; i < list->len; i++)
        if (id_equal(((const AloneVm *)list->pdata[i])->vm, vm))
            return list->pdata[i];
    return NULL;
}

static void test_unreadable(Spot *p, gconstpointer data)
{
    Id good = add_guard(p, "web");
    Id bad_guard = add_guard(p, "web");
    Id bad_plan = add_guard(p, "web");
    const Id bad[] = {bad_guard, bad_plan};
    g_autoptr(GPtrArray) all = NULL;

    (void)data;
    damage(p->guard_dir, bad_guard);
    damage(p->plan_dir, bad_plan);
    all = alone_look(&p->place, NULL);
    g_assert_cmpuint(all->len, ==, 3);
    g_assert_true(alone_may_start(find(all, good), FALSE, NULL));
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(alone_may_start(find(all, bad[i]), FALSE, &error));
        g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
        g_assert_nonnull(strstr(error->message, ID_TEXT(bad[i])));
        g_assert_nonnull(strstr(error->message, "remove the file"));
    }
}

static void test_select(Spot *p, gconstpointer data)
{
    Id web = add_guard(p, "web");
    Id mail = add_guard(p, "mail");
    Id unknown = add_guard(p, "web");
    g_autoptr(GPtrArray) all = NULL;
    g_autoptr(GPtrArray) chosen = NULL;
    g_autoptr(GError) error = NULL;

    (void)data;
    damage(p->guard_dir, unknown);
    all = alone_look(&p->place, NULL);
    chosen = alone_select(all, "web", NULL);
    g_assert_cmpuint(chosen->len, ==, 2);
    g_assert_true(find(chosen, web) && find(chosen, unknown) && !find(chosen, mail));
    g_assert_null(alone_select(all, "nonsense", &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, "there are 'mail', 'web'; some guard files"));
}

static void test_none(Spot *p, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    (void)data;
    g_assert_false(start_alone(&p->place, "web", &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, "none of any"));
}

/* The same bytes, in another file. */
static void put_back(const Spot *p, Id vm)
{
    g_autofree char *path = g_build_filename(p->guard_dir, ID_TEXT(vm), NULL);
    g_autofree char *text = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(path, &text, &len, NULL));
    g_assert_true(g_file_set_contents(path, text, (gssize)len, NULL));
}

static void give_role(const Spot *p, Id vm, gboolean active, guint64 number)
{
    static const char ACTIVE[] =
        "\"standby\":{\"id\":\"" PEER "\",\"name\":\"beta\",\"addresses\":[\"beta:25000\"]},"
        "\"policy\":{\"interval_ms\":5000,\"scratch_bytes\":1073741824,\"bandwidth_bps\":0,"
        "\"compress\":\"auto\",\"freeze\":\"never\"}}],\"standby\":[]";
    static const char STANDBY[] = "\"name\":\"web1\",\"active\":{\"id\":\"" PEER "\"},\"networks\":{},"
                                  "\"retain\":{\"newest\":24,\"hourly\":0}}],\"active\":[]";
    g_autofree char *text =
        g_strdup_printf("{\"format\":1,\"%s\":[{\"vm\":\"%s\",\"scenario\":\"web\","
                        "\"reign\":{\"number\":%" G_GUINT64_FORMAT ",\"id\":\"" PEER "\"},%s}",
                        active ? "active" : "standby", ID_TEXT(vm), number, active ? ACTIVE : STANDBY);
    g_autoptr(Policy) good = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_true(g_file_set_contents(p->policy, text, -1, NULL));
    good = policy_load(p->policy, &error);
    g_assert_no_error(error);
    g_assert_nonnull(good);
}

static void looks(const Spot *p, GuardRole role, guint64 number)
{
    g_autoptr(GPtrArray) all = alone_look(&p->place, NULL);
    const AloneVm *vm = all->pdata[0];

    g_assert_cmpuint(all->len, ==, 1);
    g_assert_cmpint(vm->guard->role, ==, role);
    g_assert_cmpuint(vm->guard->reign.number, ==, number);
}

/* What a guard that was put back has missed is in the engine's last role. */
static void test_caught_up(Spot *p, gconstpointer data)
{
    Guard guard = guard_of(GUARD_STANDBY, FALSE);

    (void)data;
    g_assert_true(guard_write(p->guard_dir, &guard, NULL));
    give_role(p, guard.vm, TRUE, 9);
    looks(p, GUARD_STANDBY, 7);
    put_back(p, guard.vm);
    looks(p, GUARD_ACTIVE, 9);
    give_role(p, guard.vm, TRUE, 6);
    looks(p, GUARD_STANDBY, 7);
    guard.role = GUARD_ACTIVE;
    g_assert_true(guard_write(p->guard_dir, &guard, NULL));
    put_back(p, guard.vm);
    give_role(p, guard.vm, FALSE, 9);
    looks(p, GUARD_STANDBY, 9);
    /* Nobody can read it: what the guard says is all there is. */
    g_assert_true(g_file_set_contents(p->policy, "?", -1, NULL));
    looks(p, GUARD_ACTIVE, 7);
}

/* --- with a libvirt of this process ----------------------------------------- */

#define URI "test:///default"
#define TEST_VM "6695eb01-f6a4-8304-79aa-97f2502e193f" /* runs there */

static AlonePlace place_with(const Spot *p, gboolean gone)
{
    AlonePlace place = p->place;

    place.libvirt_uri = URI;
    place.gone = gone;
    return place;
}

static void add_test_vm(const Spot *p, GuardRole role)
{
    Guard guard = guard_of(role, FALSE);

    g_assert_true(id_parse(TEST_VM, &guard.vm, NULL));
    g_assert_true(guard_write(p->guard_dir, &guard, NULL));
}

/* The guest stands still before, and what it does after is as wanted; its guard file goes with its protection. */
static void start_paused(const Spot *p, GuardRole role, gboolean gone, VmState wanted)
{
    AlonePlace place = place_with(p, gone);
    g_autoptr(Connection) connection = connection_new(URI, NULL, NULL);
    virConnectPtr conn = connection_get(connection, 5000, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(virDomain) dom = NULL;
    g_autoptr(Guard) guard = NULL;
    VmState state;
    Id vm;

    add_test_vm(p, role);
    g_assert_true(id_parse(TEST_VM, &vm, NULL));
    dom = vm_lookup(conn, vm, NULL);
    g_assert_true(lifecycle_suspend(conn, vm, NULL));
    g_assert_true(start_alone(&place, "web", &error) == (wanted == VM_STATE_RUNNING));
    g_assert_true(vm_state_read(dom, &state, NULL, NULL));
    g_assert_cmpint(state, ==, wanted);
    guard = guard_read(p->guard_dir, vm, NULL);
    g_assert_true((guard == NULL) == (wanted == VM_STATE_RUNNING));
    if (error)
        g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
}

static void test_paused_given_up(Spot *p, gconstpointer data)
{
    (void)data;
    start_paused(p, GUARD_STANDBY, TRUE, VM_STATE_RUNNING);
}

/* Root says that it is right, and whoever runs is left alone. */
static void test_put_back(Spot *p, gconstpointer data)
{
    AlonePlace place = place_with(p, FALSE);
    g_autofree char *permit = g_build_filename(p->dir, TEST_VM, NULL);
    g_autoptr(Guard) copied = NULL, bound = NULL;
    Id vm;

    (void)data;
    add_test_vm(p, GUARD_ACTIVE);
    g_assert_true(id_parse(TEST_VM, &vm, NULL));
    put_back(p, vm);
    copied = guard_read(p->guard_dir, vm, NULL);
    g_assert_true(copied->elsewhere);
    g_assert_true(start_alone(&place, "web", NULL));
    bound = guard_read(p->guard_dir, vm, NULL);
    g_assert_true(!bound->elsewhere && reign_equal(bound->reign, copied->reign));
    g_assert_true(g_file_test(permit, G_FILE_TEST_EXISTS));
}

/* It may be in the middle of a promotion. */
static void test_paused_active(Spot *p, gconstpointer data)
{
    (void)data;
    start_paused(p, GUARD_ACTIVE, TRUE, VM_STATE_PAUSED);
}

/* Its process, to who looks for it: one that has its command line. */
static pid_t begin_qemu(void)
{
    int hold[2];
    pid_t pid;

    g_assert_cmpint(pipe(hold), ==, 0);
    pid = fork();
    if (pid == 0) {
        dup2(hold[0], 0);
        execlp("sh", "sh", "-c", "read x", "-name", "guest=test", "-uuid", TEST_VM, NULL);
        _exit(127);
    }
    return pid;
}

/* Whom its guard has stopped does not run, whatever libvirt says. */
static void test_stopped(Spot *p, gconstpointer data)
{
    AlonePlace place = place_with(p, TRUE);
    g_autoptr(GError) error = NULL;
    g_autoptr(Guard) guard = NULL;
    pid_t pid = begin_qemu();
    int pidfd;
    Id vm;

    (void)data;
    add_test_vm(p, GUARD_STANDBY);
    g_assert_true(id_parse(TEST_VM, &vm, NULL));
    while ((pidfd = qemu_process_open(QEMU_PROCESS_FOLDER, "test", vm, &(gboolean){FALSE}, NULL)) < 0)
        g_usleep(1000);
    close(pidfd);
    kill(pid, SIGSTOP);
    waitpid(pid, NULL, WUNTRACED);
    g_assert_false(start_alone(&place, "web", &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    guard = guard_read(p->guard_dir, vm, NULL);
    g_assert_nonnull(guard);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* It says what it says, and libvirt nothing beside. */
static void test_quiet(Spot *p, gconstpointer data)
{
    AlonePlace place = place_with(p, FALSE);

    (void)data;
    if (g_test_subprocess()) {
        add_guard(p, "web");
        add_test_vm(p, GUARD_ACTIVE);
        g_assert_false(start_alone(&place, "web", NULL));
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stdout("*test: running*");
    g_test_trap_assert_stderr("*: not started: *");
    g_test_trap_assert_stderr_unmatched("*libvirt:*");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/alone/active", test_active);
    g_test_add_func("/alone/standby", test_standby);
    g_test_add_func("/alone/gone", test_gone);
    g_test_add("/alone/unreadable", Spot, NULL, place_open, test_unreadable, place_close);
    g_test_add("/alone/select", Spot, NULL, place_open, test_select, place_close);
    g_test_add("/alone/none", Spot, NULL, place_open, test_none, place_close);
    g_test_add("/alone/paused-given-up", Spot, NULL, place_open, test_paused_given_up, place_close);
    g_test_add("/alone/caught-up", Spot, NULL, place_open, test_caught_up, place_close);
    g_test_add("/alone/put-back", Spot, NULL, place_open, test_put_back, place_close);
    g_test_add("/alone/paused-active", Spot, NULL, place_open, test_paused_active, place_close);
    g_test_add("/alone/stopped", Spot, NULL, place_open, test_stopped, place_close);
    g_test_add("/alone/quiet", Spot, NULL, place_open, test_quiet, place_close);
    return g_test_run();
}
