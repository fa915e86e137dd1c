/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/lifecycle.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/guests.h"
#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/hypervisor/lease_file.h"
#include "vmconnect/hypervisor/qemu_process.h"

static gboolean with_domain(virConnectPtr conn, Id vm, int (*call)(virDomainPtr dom), const char *doing,
                            GError **error)
{
    g_autoptr(virDomain) dom = vm_lookup(conn, vm, error);

    if (!dom)
        return FALSE;
    if (call(dom) < 0)
        return virt_error(error, "%s '%s'", doing, virDomainGetName(dom));
    return TRUE;
}

static gboolean start(virConnectPtr conn, Id vm, guint flags, GError **error)
{
    g_autoptr(virDomain) dom = vm_lookup(conn, vm, error);

    if (!dom || (virDomainIsActive(dom) == 0 && !qemu_process_expect_none(vm, virDomainGetName(dom), error)))
        return FALSE;
    if (virDomainCreateWithFlags(dom, flags) < 0)
        return virt_error(error, "cannot start '%s'", virDomainGetName(dom));
    return TRUE;
}

gboolean lifecycle_start_paused(virConnectPtr conn, Id vm, GError **error)
{
    return start(conn, vm, VIR_DOMAIN_START_PAUSED, error);
}

/* When in doubt: to be resumed costs a guest a moment. */
static gboolean needs_lease(Id vm)
{
    g_autoptr(GError) why = NULL;
    LeaseEntry entry;

    return lease_file_find(LEASE_FILE, vm, &entry, &why) ||
           !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND);
}

/* It is in its guard's care when libvirt has started it paused (start_lease.h), before its first instruction. One that cannot be resumed has
 * not run, and is off again. */
static gboolean start_guarded(virConnectPtr conn, Id vm, GError **error)
{
    g_autoptr(virDomain) dom = NULL;

    if (!lifecycle_start_paused(conn, vm, error))
        return FALSE;
    if (lifecycle_resume(conn, vm, error))
        return TRUE;
    dom = vm_lookup(conn, vm, NULL);
    if (dom)
        virDomainDestroy(dom);
    return FALSE;
}

gboolean lifecycle_start(virConnectPtr conn, Id vm, GError **error)
{
    return needs_lease(vm) ? start_guarded(conn, vm, error) : start(conn, vm, 0, error);
}

gboolean lifecycle_resume(virConnectPtr conn, Id vm, GError **error)
{
    return with_domain(conn, vm, virDomainResume, "cannot resume", error);
}

gboolean lifecycle_suspend(virConnectPtr conn, Id vm, GError **error)
{
    return with_domain(conn, vm, virDomainSuspend, "cannot suspend", error);
}

static int set_clock(virDomainPtr dom)
{
    gint64 now_ms = clock_wall_ms();

    return virDomainSetTime(dom, now_ms / 1000, (guint)(now_ms % 1000) * 1000000, 0);
}

gboolean lifecycle_set_clock(virConnectPtr conn, Id vm, GError **error)
{
    return with_domain(conn, vm, set_clock, "cannot set the clock of", error);
}

gboolean lifecycle_stand_still(virConnectPtr conn, Id vm, const char **ret_guest, GError **error)
{
    g_autoptr(virDomain) dom = NULL;
    VmState state;

    *ret_guest = "off";
    if (!vm_find(conn, vm, &dom, error))
        return FALSE;
    if (!dom)
        return TRUE;
    if (!vm_state_read(dom, &state, NULL, error))
        return FALSE;
    if (state == VM_STATE_OFF || state == VM_STATE_CRASHED)
        return qemu_process_expect_none(vm, virDomainGetName(dom), error);
    *ret_guest = "paused";
    /* One that its guard has stopped is not taken to stand still: it may go on behind its shut gate at any moment, and write. */
    return state == VM_STATE_PAUSED ||
           (qemu_process_expect_awake(QEMU_PROCESS_FOLDER, virDomainGetName(dom), vm, error) &&
            lifecycle_suspend(conn, vm, error));
}

static int reset(virDomainPtr dom)
{
    int state, reason;

    if (virDomainReset(dom, 0) < 0 || virDomainGetState(dom, &state, &reason, 0) < 0)
        return -1;
    return state == VIR_DOMAIN_PAUSED ? virDomainResume(dom) : 0;
}

static gboolean can_be_revived(ReviveWhat what, GuestWord word, VmState state, int reason)
{
    if (what == REVIVE_HANGING)
        return word == GUEST_ALIVE;
    return word == GUEST_DEAD || word == GUEST_IDLE ||
           (what == REVIVE_SHUT_DOWN && state == VM_STATE_OFF && reason == VIR_DOMAIN_SHUTOFF_SHUTDOWN);
}

gboolean lifecycle_revive(virConnectPtr conn, Id vm, ReviveWhat what, const char **ret_how, GError **error)
{
    g_autoptr(virDomain) dom = vm_lookup(conn, vm, error);
    const char *why = NULL;
    GuestWord word;
    VmState state;
    int reason;

    if (!dom || !vm_state_read(dom, &state, &reason, error))
        return FALSE;
    word = vm_has_panicked(dom, state, reason) ? GUEST_DEAD : guest_word_of(state, reason, &why);
    *ret_how = "found running";
    if (what != REVIVE_HANGING && word == GUEST_ALIVE)
        return TRUE;
    if (!can_be_revived(what, word, state, reason)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "'%s' is left as it is: %s", virDomainGetName(dom),
                    why ? why : "it runs");
        return FALSE;
    }
    *ret_how = state == VM_STATE_OFF ? "started" : "reset";
    return state == VM_STATE_OFF ? lifecycle_start(conn, vm, error)
                                 : with_domain(conn, vm, reset, "cannot reset", error);
}

gboolean lifecycle_define(virConnectPtr conn, const char *xml, GError **error)
{
    g_autoptr(virDomain) dom = virDomainDefineXMLFlags(conn, xml, 0);

    return dom ? TRUE : virt_error(error, "libvirt does not take the definition");
}

gboolean lifecycle_undefine(virConnectPtr conn, Id vm, GError **error)
{
    g_autoptr(virDomain) dom = NULL;
    VmState state;

    if (!vm_find(conn, vm, &dom, error))
        return FALSE;
    if (!dom)
        return TRUE;
    if (!vm_state_read(dom, &state, NULL, error))
        return FALSE;
    if (state != VM_STATE_OFF && state != VM_STATE_CRASHED) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "'%s' is %s: its definition stays until it is off",
                    virDomainGetName(dom), vm_state_name(state));
        return FALSE;
    }
    if (!qemu_process_expect_none(vm, virDomainGetName(dom), error))
        return FALSE;
    if (virDomainUndefineFlags(dom, VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                                        VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA |
                                        VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | VIR_DOMAIN_UNDEFINE_KEEP_TPM) != 0)
        return virt_error(error, "cannot remove the definition of '%s'", virDomainGetName(dom));
    return TRUE;
}

gboolean lifecycle_is_saved(virConnectPtr conn, Id vm, gboolean *ret_saved, GError **error)
{
    g_autoptr(virDomain) dom = vm_lookup(conn, vm, error);
    int saved;

    if (!dom)
        return FALSE;
    saved = virDomainHasManagedSaveImage(dom, 0);
    if (saved < 0)
        return virt_error(error, "cannot see whether '%s' is saved", virDomainGetName(dom));
    *ret_saved = saved;
    return TRUE;
}

gboolean lifecycle_is_transient(virConnectPtr conn, Id vm, gboolean *ret_transient, GError **error)
{
    g_autoptr(virDomain) dom = vm_lookup(conn, vm, error);
    int persistent;

    if (!dom)
        return FALSE;
    persistent = virDomainIsPersistent(dom);
    if (persistent < 0)
        return virt_error(error, "cannot see whether '%s' is transient", virDomainGetName(dom));
    *ret_transient = !persistent;
    return TRUE;
}

gboolean lifecycle_get_autostart(virConnectPtr conn, Id vm, gboolean *ret_on, GError **error)
{
    g_autoptr(virDomain) dom = vm_lookup(conn, vm, error);
    int on = 0;

    if (!dom)
        return FALSE;
    if (virDomainGetAutostart(dom, &on) != 0)
        return virt_error(error, "cannot read whether '%s' starts by itself", virDomainGetName(dom));
    *ret_on = on != 0;
    return TRUE;
}

gboolean lifecycle_set_autostart(virConnectPtr conn, Id vm, gboolean on, GError **error)
{
    g_autoptr(virDomain) dom = vm_lookup(conn, vm, error);

    if (!dom)
        return FALSE;
    if (virDomainSetAutostart(dom, on) != 0)
        return virt_error(error, "cannot set whether '%s' starts by itself", virDomainGetName(dom));
    return TRUE;
}
