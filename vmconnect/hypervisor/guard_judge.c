/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/guard_judge.h"

#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/hypervisor/start_lease.h"
#include "vmconnect/hypervisor/start_lock.h"

#include <string.h>

gboolean guard_asks(const char *operation)
{
    /* `start` comes after `prepare`, when QEMU is about to run: the file may have changed in between. */
    static const char *const ASKED[] = {"prepare", "start", "migrate", "restore", NULL};

    return g_strv_contains(ASKED, operation);
}

/* Measured with libvirt 9.0: a failing `started` has QEMU killed, also of a guest that was started paused or restored, whose saved memory stays.
 * A paused or restored guest has executed nothing by then; any other runs already, for some 50 ms. */
gboolean guard_follows(const char *operation)
{
    return strcmp(operation, "started") == 0;
}

static gboolean refuse_unreadable(const char *name, const GError *why, GError **error)
{
    g_set_error(
        error, US_ERROR, why->code,
        "Understudy does not let '%s' start: whether it may run here cannot be read (%s). Starting it could "
        "make two copies of it run at once. Run `understudy status` on the controller; if the other host is "
        "certainly off and this one's data is the newest, remove that file as root and start it again.",
        name, why->message);
    return FALSE;
}

/* Also where that cannot be told. */
static gboolean names_left_file(const GuardJudge *judge, const Pivot *pivot)
{
    gboolean behind;

    return !judge->definition ||
           !pivot_is_behind(pivot, judge->definition, judge->definition_len, &behind, NULL) || behind;
}

static gboolean judge_active(const GuardJudge *judge, const Guard *g, const char *name, GError **error)
{
    g_autoptr(GError) why = NULL;
    LeaseEntry lease;

    /* First, for the rest of it may be old. */
    if (g->elsewhere) {
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "Understudy does not let '%s' start: " GUARD_COPIED
            ". Restart understudy-engine: it may start once its standby or the controller has said that this "
            "host is the active of scenario '%s', see `understudy status %s`; if the other host is off, as "
            "root `understudy-engine start %s --alone`.",
            name, g->scenario, g->scenario, g->scenario);
        return FALSE;
    }
    if (g->journal_open) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "Understudy does not let '%s' start: a change of scenario '%s' is under way and ends "
                    "with it running "
                    "on one host. Wait for it: `understudy status %s`.",
                    name, g->scenario, g->scenario);
        return FALSE;
    }
    if (g->pivot && names_left_file(judge, g->pivot)) {
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "Understudy does not let '%s' start: it has run with %s as its disk %s, and libvirt could "
            "not save that: the definition names %s still, which hides what was written since. Make "
            "sure that there is room in /etc/libvirt/qemu and that it can be written to; its engine "
            "then puts the definition right, within a minute: `understudy status %s`.",
            name, g->pivot->to, g->pivot->disk, g->pivot->from, g->scenario);
        return FALSE;
    }
    if (permit_check(judge->permit_folder, g->vm, g->reign, judge->boot_id, &why)) {
        /* Should it last, the start is its user's to decide: QEMU itself looks at the images' locks. */
        start_lock_wait(judge->permit_folder, g->vm, START_LOCK_MS);
        /* Last, for waiting takes of it. */
        return start_lease_judge(judge->lease_file, g, name, LEASE_START_MS, &lease, error);
    }
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "Understudy does not let '%s' start: its engine has not yet seen, since this host booted, that '%s' "
        "still "
        "runs here and not on its standby. It will start it by itself; if it does not, see `systemctl status "
        "understudy-engine`, or as root `understudy-engine start %s --alone` if the other host is off.",
        name, g->scenario, g->scenario);
    return FALSE;
}

gboolean guard_judge(const GuardJudge *judge, Id vm, const char *name, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(Guard) g = guard_read(judge->guard_folder, vm, &why);

    if (!g && g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
        return TRUE;
    if (!g)
        return refuse_unreadable(name, why, error);
    if (g->role == GUARD_ACTIVE)
        return judge_active(judge, g, name, error);
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "Understudy does not let '%s' start: this host is a standby of scenario '%s' (term %" G_GUINT64_FORMAT
        "), and the VM runs or may run on another host. To run it here: `understudy switchover %s`; if that "
        "host is off and no controller is there, as root `understudy-engine promote %s --old-is-off`; if it "
        "never comes back and no copy is kept here, or the scenario is not there any more and this is the VM "
        "that you "
        "want, as root `understudy-engine start %s --alone --gone`.",
        name, g->scenario, g->reign.number, g->scenario, g->scenario, g->scenario);
    return FALSE;
}
