/* SPDX-License-Identifier: Apache-2.0 */
/* shutdown_guest(): hold QEMU's pidfd, ask the guest, wait on the pidfd, then
 * bring libvirt to the same knowledge. Failures leave the guest as it was. */
#include "vmconnect/hypervisor/shutdown.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/agent.h"
#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/hypervisor/job.h"
#include "vmconnect/hypervisor/qemu_process.h"

#include <poll.h>
#include <unistd.h>

#define PING_MS 2000
#define ACPI_EVERY_MS 15000
#define EXIT_AFTER_KILL_MS 30000
#define NOTICE_MS 5000
#define JOB_END_MS 5000
#define LOOK_AGAIN_MS 20

const char *shutdown_how_name(ShutdownHow how)
{
    static const char *const NAMES[] = {"was off", "by its agent", "by ACPI", "powered off"};

    return NAMES[how];
}

/* A VM and the process that runs it. */
typedef struct {
    Id id;
    virDomainPtr dom;
    int pidfd;     /* -1: none is known to run */
    gboolean gone; /* and that is proved */
} Target;

static void target_clear(Target *t)
{
    if (t->dom)
        virDomainFree(t->dom);
    if (t->pidfd >= 0)
        close(t->pidfd);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Target, target_clear)

static gboolean look_for_process(Target *t, GError **error)
{
    g_autoptr(GError) why = NULL;

    t->pidfd = qemu_process_open(QEMU_PROCESS_FOLDER, virDomainGetName(t->dom), t->id, &t->gone, &why);
    if (t->pidfd >= 0 || g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

static gboolean target_open(Target *t, virConnectPtr conn, Id vm, GError **error)
{
    t->id = vm;
    t->dom = vm_lookup(conn, vm, error);
    return t->dom && look_for_process(t, error);
}

static gboolean is_off(virDomainPtr dom, gboolean *ret_off, GError **error)
{
    VmState state;

    if (!vm_state_read(dom, &state, NULL, error))
        return FALSE;
    *ret_off = state == VM_STATE_OFF || state == VM_STATE_CRASHED;
    return TRUE;
}

/* TRUE once libvirt says it is off; FALSE without @error: not within the patience. */
static gboolean wait_off(virDomainPtr dom, gint64 patience_ms, GError **error)
{
    gint64 deadline_ms = clock_steady_ms() + patience_ms;
    gboolean off = FALSE;

    while (is_off(dom, &off, error) && !off && clock_steady_ms() < deadline_ms)
        poll(NULL, 0, LOOK_AGAIN_MS);
    return off;
}

/* QEMU has exited: bring libvirt to see it. It is made to only where the death
 * of its process is proved anew: a destroy must never meet a guest that runs. */
static gboolean make_libvirt_notice(Target *t, gint64 patience_ms, GError **error)
{
    g_auto(Target) now = {.id = t->id, .dom = t->dom, .pidfd = -1};
    g_autoptr(GError) why = NULL;
    const char *name = virDomainGetName(t->dom);

    virDomainRef(t->dom);
    if (wait_off(t->dom, patience_ms, &why))
        return TRUE;
    if (why || !look_for_process(&now, &why)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (now.pidfd >= 0) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "'%s' was started again by somebody as soon as it was off", name);
        return FALSE;
    }
    if (now.gone)
        virDomainDestroy(t->dom);
    if (wait_off(t->dom, NOTICE_MS, &why))
        return TRUE;
    if (why)
        g_propagate_error(error, g_steal_pointer(&why));
    else
        g_set_error(error, US_ERROR, US_ERROR_FAILED,
                    "libvirt says that '%s' runs, and its process is not to be found; see `virsh domstate`",
                    name);
    return FALSE;
}

static gboolean fail_paused(virDomainPtr dom, GError **error)
{
    VmState state;

    if (!vm_state_read(dom, &state, NULL, error))
        return TRUE;
    if (state != VM_STATE_PAUSED)
        return FALSE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "'%s' is paused: it cannot shut itself down; resume it first", virDomainGetName(dom));
    return TRUE;
}

/* Wait for the exit until @until_ms; FALSE without @error: time to do something. */
static gboolean wait_until(int pidfd, int cancel_fd, gint64 until_ms, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (qemu_process_wait(pidfd, cancel_fd, clock_left_ms(until_ms), &why))
        return TRUE;
    if (!g_error_matches(why, US_ERROR, US_ERROR_TIMEOUT))
        g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

/* TRUE: QEMU has exited. */
static gboolean ask_and_wait(virDomainPtr dom, int pidfd, const ShutdownRules *rules, ShutdownHow *ret_how,
                             GError **error)
{
    gint64 deadline_ms = clock_steady_ms() + rules->timeout_ms;
    g_autoptr(GError) why = NULL;

    *ret_how = SHUTDOWN_BY_ACPI;
    if (agent_ping(dom, MIN(PING_MS, rules->timeout_ms), NULL)) {
        /* A guest that is gone before its agent could answer makes an error of it. */
        int rc = virDomainShutdownFlags(dom, VIR_DOMAIN_SHUTDOWN_GUEST_AGENT);

        *ret_how = SHUTDOWN_BY_AGENT;
        if (wait_until(pidfd, rules->cancel_fd, rc == 0 ? deadline_ms - rules->timeout_ms * 2 / 3 : 0, &why))
            return TRUE;
    }
    while (!why && clock_steady_ms() < deadline_ms) {
        gint64 next_ms;

        /* It may fail because the guest is just going; the pidfd decides. */
        if (virDomainShutdownFlags(dom, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) == 0)
            *ret_how = SHUTDOWN_BY_ACPI;
        next_ms = clock_steady_ms() + ACPI_EVERY_MS;
        if (wait_until(pidfd, rules->cancel_fd, MIN(deadline_ms, next_ms), &why))
            return TRUE;
    }
    if (why)
        g_propagate_error(error, g_steal_pointer(&why));
    else
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "'%s' has not shut down within %" G_GINT64_FORMAT
                    " s and runs on; shut it down from within, or "
                    "allow --power-off",
                    virDomainGetName(dom), rules->timeout_ms / 1000);
    return FALSE;
}

static gboolean force(Target *t, GError **error)
{
    g_autoptr(GError) why = NULL;
    int rc = virDomainDestroy(t->dom);

    if (rc != 0)
        virt_error(&why, "cannot power '%s' off", virDomainGetName(t->dom));
    if (qemu_process_wait(t->pidfd, -1, rc == 0 ? EXIT_AFTER_KILL_MS : 0, NULL))
        return make_libvirt_notice(t, NOTICE_MS, error);
    if (why)
        g_propagate_error(error, g_steal_pointer(&why));
    else
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT,
                    "QEMU of '%s' was killed and does not exit; is its disk gone?", virDomainGetName(t->dom));
    return FALSE;
}

static gboolean bring_down(Target *t, const ShutdownRules *rules, ShutdownHow *ret_how, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (!fail_paused(t->dom, &why) && ask_and_wait(t->dom, t->pidfd, rules, ret_how, &why))
        return make_libvirt_notice(t, NOTICE_MS, error);
    if (rules->power_off && !g_error_matches(why, US_ERROR, US_ERROR_CANCELLED)) {
        *ret_how = SHUTDOWN_BY_FORCE;
        return force(t, error);
    }
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

gboolean shutdown_guest(virConnectPtr conn, Id vm, const ShutdownRules *rules, ShutdownHow *ret_how,
                        GError **error)
{
    g_auto(Target) t = {.pidfd = -1};
    ShutdownHow how = SHUTDOWN_WAS_OFF;
    gboolean ok;

    if (!target_open(&t, conn, vm, error))
        return FALSE;
    ok = t.pidfd < 0 ? make_libvirt_notice(&t, NOTICE_MS, error) : bring_down(&t, rules, &how, error);
    if (ok && ret_how)
        *ret_how = how;
    return ok;
}

gboolean shutdown_force(virConnectPtr conn, Id vm, GError **error)
{
    g_auto(Target) t = {.pidfd = -1};

    if (!target_open(&t, conn, vm, error))
        return FALSE;
    return t.pidfd < 0 ? make_libvirt_notice(&t, NOTICE_MS, error) : force(&t, error);
}

gboolean shutdown_settle(virConnectPtr conn, Id vm, const char *run_folder, gint64 timeout_ms, GError **error)
{
    g_auto(Target) t = {.pidfd = -1};

    if (!target_open(&t, conn, vm, error))
        return FALSE;
    if (t.pidfd < 0)
        return make_libvirt_notice(&t, 0, error);
    /* A job that does not end (QEMU is just going) must not keep us from seeing it go. */
    job_end(t.dom, run_folder, MIN(JOB_END_MS, timeout_ms), NULL, NULL);
    if (!qemu_process_wait(t.pidfd, -1, timeout_ms, error)) {
        g_prefix_error(error, "'%s' is going down: ", virDomainGetName(t.dom));
        return FALSE;
    }
    return make_libvirt_notice(&t, 0, error);
}
