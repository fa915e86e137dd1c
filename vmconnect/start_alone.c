/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/start_alone.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/definition_file.h"
#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/hypervisor/lifecycle.h"
#include "vmconnect/hypervisor/qemu_process.h"
#include "vmconnect/policy.h"
#include "vmconnect/replicate/bequest.h"

#define CONNECT_MS 10000

/* --- what the files say -------------------------------------------------- */

void alone_vm_free(AloneVm *vm)
{
    if (!vm)
        return;
    guard_free(vm->guard);
    handover_free(vm->plan);
    g_clear_error(&vm->unread);
    g_free(vm);
}

/* A guard that was put back may be older than the role that the engine was given last, which says what it has missed. */
static void catch_up(Guard *guard, const Policy *policy)
{
    const ActiveRole *active = policy_active(policy, guard->vm);
    const StandbyRole *standby = policy_standby(policy, guard->vm);
    Reign reign = active ? active->reign : standby ? standby->reign : (Reign){0};

    if (!guard->elsewhere || reign.number <= guard->reign.number)
        return;
    guard->role = active ? GUARD_ACTIVE : GUARD_STANDBY;
    guard->reign = reign;
    guard->journal_open = FALSE;
}

GPtrArray *alone_look(const AlonePlace *place, GError **error)
{
    g_autoptr(GArray) ids = guard_ids(place->guard_dir, error);
    g_autoptr(Policy) policy = policy_load(place->policy, NULL);
    GPtrArray *all;

    if (!ids)
        return NULL;
    all = g_ptr_array_new_with_free_func((GDestroyNotify)alone_vm_free);
    for (guint i = 0; i < ids->len; i++) {
        AloneVm *vm = g_new0(AloneVm, 1);

        vm->vm = g_array_index(ids, Id, i);
        vm->guard = guard_read(place->guard_dir, vm->vm, &vm->unread);
        if (vm->guard)
            vm->plan = handover_load(place->plan_dir, vm->vm, &vm->unread);
        if (vm->guard && policy)
            catch_up(vm->guard, policy);
        g_ptr_array_add(all, vm);
    }
    return all;
}

static char *scenarios_of(const GPtrArray *all)
{
    g_autoptr(GTree) names = g_tree_new((GCompareFunc)g_strcmp0);
    g_autoptr(GString) list = g_string_new(NULL);

    for (guint i = 0; i < all->len; i++) {
        const AloneVm *vm = all->pdata[i];

        if (vm->guard)
            g_tree_insert(names, vm->guard->scenario, vm->guard->scenario);
    }
    for (GTreeNode *n = g_tree_node_first(names); n; n = g_tree_node_next(n))
        g_string_append_printf(list, "%s'%s'", list->len ? ", " : "", (const char *)g_tree_node_key(n));
    return g_string_free(g_steal_pointer(&list), FALSE);
}

GPtrArray *alone_select(const GPtrArray *all, const char *scenario, GError **error)
{
    g_autoptr(GPtrArray) chosen = g_ptr_array_new();
    g_autofree char *known = NULL;
    guint certain = 0;

    for (guint i = 0; i < all->len; i++) {
        AloneVm *vm = all->pdata[i];

        if (vm->guard && !g_str_equal(vm->guard->scenario, scenario))
            continue;
        certain += vm->guard != NULL;
        g_ptr_array_add(chosen, vm);
    }
    if (certain > 0)
        return g_steal_pointer(&chosen);
    known = scenarios_of(all);
    g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                "no VM of a scenario '%s' is protected on this host; %s%s%s", scenario,
                *known ? "there are " : "none of any is", known,
                chosen->len ? "; some guard files cannot be read" : "");
    return NULL;
}

/* --- who may ------------------------------------------------------------- */

static gboolean refuse_unread(const AloneVm *vm, GError **error)
{
    /* What was written there may have been that the VM is the other host's, which then has the newer data. */
    g_set_error(
        error, US_ERROR, US_ERROR_CORRUPT,
        "whether it may run here cannot be read (%s): the other host may have the newer data. Look there "
        "first; if this host's is the one to go on with, remove the file and start the VM with virsh",
        vm->unread->message);
    return FALSE;
}

static gboolean refuse_standby(const Guard *guard, GError **error)
{
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "this host is a standby of scenario '%s' (term %" G_GUINT64_FORMAT
                "): only a switchover or a promotion may run the VM here, from a recovery point: `understudy "
                "switchover %s --force`, or, without a controller, `understudy-engine promote %s "
                "--old-is-off`. If the other host is gone for good and no copy is kept here, say --gone, and "
                "it runs from the disks that it left here",
                guard->scenario, guard->reign.number, guard->scenario, guard->scenario);
    return FALSE;
}

static gboolean refuse_released(const AloneVm *vm, GError **error)
{
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "plan %s has released it to its successor, which may have run it since: switch it back with "
                "`understudy switchover %s`",
                ID_TEXT(vm->plan->plan), vm->guard->scenario);
    return FALSE;
}

static gboolean refuse_parked(const AloneVm *vm, GError **error)
{
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "plan %s has parked the VM for the maintenance of this host: `understudy maintenance finish` brings "
        "it back%s; a controller that was built anew does so by itself",
        ID_TEXT(vm->plan->plan),
        vm->plan->until_told ? "" : ", or the engine itself, 10 minutes after a boot");
    return FALSE;
}

/* An engine that runs could release the VM while it runs here; that it takes the VM back needs no other host. */
static gboolean refuse_held(const AloneVm *vm, GError **error)
{
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "plan %s has the VM and has not released it: the engine takes it back by itself at the plan's "
        "deadline or its own start, and starts it if it ran: `systemctl restart understudy-engine`",
        ID_TEXT(vm->plan->plan));
    return FALSE;
}

static gboolean refuse_unfinished(const Guard *guard, GError **error)
{
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "a switchover of scenario '%s' to this host is not finished, and its disks may not be ready: ask "
        "for it again with `understudy switchover %s`",
        guard->scenario, guard->scenario);
    return FALSE;
}

/* A plan of an earlier reign ended with that. */
static gboolean counts(const AloneVm *vm)
{
    return vm->plan && vm->plan->reign.number >= vm->guard->reign.number;
}

/* To its successor; where that was its last step the guard is one that was put back. */
static gboolean was_released(const AloneVm *vm)
{
    return counts(vm) && handover_was_released(vm->plan);
}

/* Given up here, by a release or by a later reign. */
static gboolean is_given_up(const AloneVm *vm)
{
    return vm->guard->role == GUARD_STANDBY || was_released(vm);
}

gboolean alone_may_start(const AloneVm *vm, gboolean gone, GError **error)
{
    if (vm->unread)
        return refuse_unread(vm, error);
    if (gone && is_given_up(vm))
        return TRUE;
    if (vm->guard->role != GUARD_ACTIVE)
        return refuse_standby(vm->guard, error);
    if (was_released(vm))
        return refuse_released(vm, error);
    if (counts(vm) && handover_holds(vm->plan))
        return vm->plan->state == HANDOVER_PARKED ? refuse_parked(vm, error) : refuse_held(vm, error);
    return !vm->guard->journal_open || refuse_unfinished(vm->guard, error);
}

/* --- doing it ------------------------------------------------------------ */

/* It is its user's again. The plan first: what is left of it alone would say that the VM was given up. */
static gboolean end_protection(const AlonePlace *place, const AloneVm *vm, GError **error)
{
    g_autofree char *plan = g_build_filename(place->plan_dir, ID_TEXT(vm->vm), NULL);

    return durable_remove(plan, error) && bequest_remove(place->plan_dir, vm->vm, error) &&
           guard_remove(place->guard_dir, vm->vm, error);
}

/* Without its guard file nobody would know any more that its definition names a file which hides what it has written since. */
static gboolean follow_pivot(const AlonePlace *place, const AloneVm *vm, virDomainPtr dom, GError **error)
{
    if (definition_file_settle(dom, place->guard_dir, vm->guard, error))
        return TRUE;
    g_prefix_error(
        error,
        "nothing was done: from %s, which its definition names still, it would not find what it has "
        "written to %s since; see to it that libvirt can save definitions, and say it again: ",
        vm->guard->pivot->from, vm->guard->pivot->to);
    return FALSE;
}

static gboolean permit(const AlonePlace *place, const AloneVm *vm, virDomainPtr dom, GError **error)
{
    if (is_given_up(vm))
        return follow_pivot(place, vm, dom, error) && end_protection(place, vm, error);
    /* Of files that were copied, or put back, root has said with this that they are right. */
    return (!vm->guard->elsewhere || guard_write(place->guard_dir, vm->guard, error)) &&
           permit_grant(place->permit_dir, vm->vm, vm->guard->reign, error);
}

/* From a state to a guest that runs. */
typedef struct {
    const char *done;
    const char *verb; /* virsh's; NULL: nothing has to be done */
    gboolean (*call)(virConnectPtr conn, Id vm, GError **error);
} Way;

/* A guest that its guard has stopped by a signal runs, to libvirt. */
static gboolean expect_no_stop(const AloneVm *vm, virDomainPtr dom, GError **error)
{
    pid_t pid = qemu_process_stopped(QEMU_PROCESS_FOLDER, virDomainGetName(dom), vm->vm);

    if (pid == 0)
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "its QEMU, process %d, was stopped by a signal, as understudy-guard does it with a guest whose "
        "lease is over: with understudy-engine started it goes on when its standby or the controller "
        "answers; if neither ever will, end it with `virsh destroy %s`, boot this host, and say it again",
        (int)pid, virDomainGetName(dom));
    return FALSE;
}

/* A guest of a VM that was given up stands still because it was told to yield. Why another one does, this cannot know: at
 * the end of a promotion one is paused until its first checkpoint stands. */
static const Way *find_way(const AloneVm *vm, virDomainPtr dom, GError **error)
{
    static const Way START = {"started", "start", lifecycle_start};
    static const Way RESUME = {"resumed", "resume", lifecycle_resume};
    static const Way NONE = {"running", NULL, NULL};
    VmState state;

    if (!vm_state_read(dom, &state, NULL, error))
        return NULL;
    if (state == VM_STATE_OFF || state == VM_STATE_CRASHED)
        return &START;
    if (state == VM_STATE_RUNNING)
        return expect_no_stop(vm, dom, error) ? &NONE : NULL;
    if (state == VM_STATE_PAUSED && is_given_up(vm))
        return &RESUME;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "it is %s here, and is left so: look at it with `virsh domstate %s --reason`; `virsh %s %s` "
                "lets it run on",
                vm_state_name(state), virDomainGetName(dom),
                state == VM_STATE_SUSPENDED ? "dompmwakeup" : "resume", virDomainGetName(dom));
    return NULL;
}

static gboolean start(const AlonePlace *place, virConnectPtr conn, const AloneVm *vm, virDomainPtr dom,
                      const char **ret_done, GError **error)
{
    const Way *way = find_way(vm, dom, error);

    if (!way || !permit(place, vm, dom, error))
        return FALSE;
    *ret_done = way->done;
    if (!way->call || way->call(conn, vm->vm, error))
        return TRUE;
    g_prefix_error(error, "it may run now, `virsh %s %s` does it again: ", way->verb, virDomainGetName(dom));
    return FALSE;
}

/* Judged before libvirt is asked: a refusal needs no libvirtd. */
static gboolean try(const AlonePlace *place, Connection *connection, const AloneVm *vm, GError **error)
{
    virConnectPtr conn = NULL;
    g_autoptr(virDomain) dom = NULL;
    g_autoptr(GError) why = NULL;
    const char *done;

    if (alone_may_start(vm, place->gone, &why))
        conn = connection_get(connection, CONNECT_MS, &why);
    if (conn)
        dom = vm_lookup(conn, vm->vm, &why);
    if (conn && !dom && is_given_up(vm))
        g_prefix_error(
            &why,
            "what it left here has become a copy, which `understudy-engine promote %s --old-is-off` runs, or "
            "says how: ",
            vm->guard->scenario);
    if (dom && start(place, conn, vm, dom, &done, &why)) {
        g_print("%s: %s\n", virDomainGetName(dom), done);
        return TRUE;
    }
    g_printerr("%s: not started: %s\n", dom ? virDomainGetName(dom) : ID_TEXT(vm->vm), why->message);
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

gboolean start_alone(const AlonePlace *place, const char *scenario, GError **error)
{
    g_autoptr(GPtrArray) all = alone_look(place, error);
    g_autoptr(GPtrArray) chosen = all ? alone_select(all, scenario, error) : NULL;
    g_autoptr(Connection) connection = NULL;
    g_autoptr(GError) first = NULL;
    guint failed = 0;

    if (!chosen)
        return FALSE;
    connection = connection_new(place->libvirt_uri, NULL, NULL);
    for (guint i = 0; i < chosen->len; i++)
        if (!try(place, connection, chosen->pdata[i], first ? NULL : &first))
            failed++;
    if (!first)
        return TRUE;
    g_set_error(error, US_ERROR, first->code, "%u of %u VMs of scenario '%s' were not started, as said above",
                failed, chosen->len, scenario);
    return FALSE;
}
