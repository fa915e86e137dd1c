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

/* The VM by name and process. *ret_pidfd -1: it is off. */
static virDomainPtr open_vm(virConnectPtr conn, Id vm, int *ret_pidfd, GError **error)
{
    g_autoptr(virDomain) dom = vm_lookup(conn, vm, error);
    g_autoptr(GError) why = NULL;

    if (!dom)
        return NULL;
    *ret_pidfd = qemu_process_open(QEMU_PROCESS_PID_FOLDER, virDomainGetName(dom), vm, &why);
    if (*ret_pidfd < 0 && !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return NULL;
    }
    return g_steal_pointer(&dom);
}

static gboolean is_off(virDomainPtr dom, gboolean *ret_off, GError **error)
{
    VmState state;

    if (!vm_state_read(dom, &state, NULL, error))
        return FALSE;
    *ret_off = state == VM_STATE_OFF || state == VM_STATE_CRASHED;
    return TRUE;
}

/* QEMU is gone: wait until libvirt knows, and tell it if that takes long. */
static gboolean make_libvirt_notice(virDomainPtr dom, Id vm, gint64 patience_ms, GError **error)
{
    gint64 deadline_ms = clock_steady_ms() + patience_ms;
    gboolean off = FALSE;
    int again;

    for (;;) {
        if (!is_off(dom, &off, error))
            return FALSE;
        if (off)
            return TRUE;
        if (clock_steady_ms() >= deadline_ms)
            break;
        poll(NULL, 0, LOOK_AGAIN_MS);
    }
    again = qemu_process_open(QEMU_PROCESS_PID_FOLDER, virDomainGetName(dom), vm, NULL);
    if (again >= 0) {
        close(again);
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "'%s' was started again by somebody as soon as it was off", virDomainGetName(dom));
        return FALSE;
    }
    if (virDomainDestroy(dom) != 0 && is_off(dom, &off, error) && !off)
        return virt_error(error, "'%s' has exited and libvirt does not see it", virDomainGetName(dom));
    return off || is_off(dom, &off, error);
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

    if (qemu_process_wait(pidfd, cancel_fd, MAX(0, until_ms - clock_steady_ms()), &why))
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
        /* It may fail because the guest is just going; the pidfd decides. */
        if (virDomainShutdownFlags(dom, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) == 0)
            *ret_how = SHUTDOWN_BY_ACPI;
        if (wait_until(pidfd, rules->cancel_fd, MIN(deadline_ms, clock_steady_ms() + ACPI_EVERY_MS), &why))
            return TRUE;
    }
    if (why)
        g_propagate_error(error, g_steal_pointer(&why));
    else
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT,
                    "'%s' has not shut down within %" G_GINT64_FORMAT
                    " s and runs on; shut it down from within, or "
                    "allow --power-off",
                    virDomainGetName(dom), rules->timeout_ms / 1000);
    return FALSE;
}

static gboolean force(virDomainPtr dom, Id vm, int pidfd, GError **error)
{
    int rc = virDomainDestroy(dom);

    if (!qemu_process_wait(pidfd, -1, rc == 0 ? EXIT_AFTER_KILL_MS : 0, NULL)) {
        if (rc != 0)
            return virt_error(error, "cannot power '%s' off", virDomainGetName(dom));
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT,
                    "QEMU of '%s' was killed and does not exit; is its disk gone?", virDomainGetName(dom));
        return FALSE;
    }
    return make_libvirt_notice(dom, vm, NOTICE_MS, error);
}

static gboolean bring_down(virDomainPtr dom, Id vm, int pidfd, const ShutdownRules *rules,
                           ShutdownHow *ret_how, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (!fail_paused(dom, &why) && ask_and_wait(dom, pidfd, rules, ret_how, &why))
        return make_libvirt_notice(dom, vm, NOTICE_MS, error);
    if (rules->power_off && !g_error_matches(why, US_ERROR, US_ERROR_CANCELLED)) {
        *ret_how = SHUTDOWN_BY_FORCE;
        return force(dom, vm, pidfd, error);
    }
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

gboolean shutdown_guest(virConnectPtr conn, Id vm, const ShutdownRules *rules, ShutdownHow *ret_how,
                        GError **error)
{
    int pidfd;
    g_autoptr(virDomain) dom = open_vm(conn, vm, &pidfd, error);
    ShutdownHow how = SHUTDOWN_WAS_OFF;
    gboolean ok;

    if (!dom)
        return FALSE;
    if (pidfd < 0) {
        ok = make_libvirt_notice(dom, vm, NOTICE_MS, error);
    } else {
        ok = bring_down(dom, vm, pidfd, rules, &how, error);
        close(pidfd);
    }
    if (ok && ret_how)
        *ret_how = how;
    return ok;
}

gboolean shutdown_force(virConnectPtr conn, Id vm, GError **error)
{
    int pidfd;
    g_autoptr(virDomain) dom = open_vm(conn, vm, &pidfd, error);
    gboolean ok;

    if (!dom)
        return FALSE;
    if (pidfd < 0)
        return make_libvirt_notice(dom, vm, NOTICE_MS, error);
    ok = force(dom, vm, pidfd, error);
    close(pidfd);
    return ok;
}

gboolean shutdown_settle(virConnectPtr conn, Id vm, const char *run_folder, gint64 timeout_ms, GError **error)
{
    int pidfd;
    g_autoptr(virDomain) dom = open_vm(conn, vm, &pidfd, error);
    g_autoptr(GError) why = NULL;
    gboolean gone;

    if (!dom)
        return FALSE;
    if (pidfd < 0)
        return make_libvirt_notice(dom, vm, 0, error);
    /* A job that does not end (QEMU is just going) must not keep us from seeing it go. */
    job_end(dom, run_folder, MIN(JOB_END_MS, timeout_ms), NULL, NULL);
    gone = qemu_process_wait(pidfd, -1, timeout_ms, &why);
    close(pidfd);
    if (!gone) {
        g_propagate_prefixed_error(error, g_steal_pointer(&why),
                                   "'%s' is going down: ", virDomainGetName(dom));
        return FALSE;
    }
    return make_libvirt_notice(dom, vm, 0, error);
}
