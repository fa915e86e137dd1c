/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/rescue.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/agent.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/definition_file.h"
#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/hypervisor/job.h"
#include "vmconnect/hypervisor/pivot.h"
#include "vmconnect/loop/mailbox.h"

#include <glib/gstdio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define JOB_END_MS 5000
#define POLL_MS 50

typedef struct {
    char *uri;
    char *run_folder;
    JobGate *gate;
    Id vm;
    RescueFlags flags;
    void (*on_done)(void *user, RescueOutcome *outcome);
    void *user;
} Order;

void rescue_outcome_free(RescueOutcome *o)
{
    if (!o)
        return;
    g_free(o->name);
    g_clear_error(&o->error);
    g_free(o);
}

static gboolean stopped_for_io(virDomainPtr dom)
{
    VmState state;
    int reason;

    return vm_state_read(dom, &state, &reason, NULL) && state == VM_STATE_PAUSED &&
           reason == VIR_DOMAIN_PAUSED_IOERROR;
}

/* What it writes now its next start must find. Else the engine will see to it, which can refuse that start. */
static gboolean may_go_on(virDomainPtr dom, const char *run_folder, RescueOutcome *o)
{
    g_autoptr(Pivot) pivot = pivot_mark_read(o->vm, run_folder, &o->error);
    gint64 end_ms = clock_steady_ms() + JOB_END_MS;
    gboolean due;

    if (!pivot)
        return FALSE;
    /* The job is given up, unless its engine had asked for the pivot: then it comes to its end. */
    while (!definition_file_must_follow(dom, pivot, &due, &o->error)) {
        if (!g_error_matches(o->error, US_ERROR, US_ERROR_BUSY) || clock_steady_ms() >= end_ms)
            return FALSE;
        g_clear_error(&o->error);
        virDomainBlockJobAbort(dom, pivot->disk, 0);
        g_usleep(POLL_MS * 1000);
    }
    return !due || definition_file_follow(dom, pivot, &o->error);
}

static gboolean resume_marked(virDomainPtr dom, const char *run_folder, RescueOutcome *o)
{
    VmState state;

    if (!vm_state_read(dom, &state, NULL, &o->error))
        return FALSE;
    if (state != VM_STATE_OFF && !may_go_on(dom, run_folder, o))
        return FALSE;
    if (state == VM_STATE_PAUSED && virDomainResume(dom) != 0)
        return virt_error(&o->error, "cannot resume '%s'", o->name);
    o->resumed |= state == VM_STATE_PAUSED;
    pivot_mark_clear(o->vm, run_folder);
    return TRUE;
}

/* The order matters: a guest resumed before its job is gone stops again. */
static gboolean rescue_domain(virDomainPtr dom, const char *run_folder, RescueFlags flags, RescueOutcome *o)
{
    if (flags & RESCUE_END && !job_end(dom, run_folder, JOB_END_MS, &o->job_ended, &o->error)) {
        o->stuck = g_error_matches(o->error, US_ERROR, US_ERROR_STUCK);
        /* Another tool's job is no failure, and what it does to the guest is not ours to mend. */
        if (g_error_matches(o->error, US_ERROR, US_ERROR_REFUSED)) {
            g_clear_error(&o->error);
            flags &= ~RESCUE_RESUME;
        } else {
            return FALSE;
        }
    }
    if (flags & RESCUE_THAW && agent_is_marked(o->vm, run_folder)) {
        if (!agent_thaw(dom, run_folder, &o->error))
            return FALSE;
        o->thawed = TRUE;
    }
    if (flags & RESCUE_THAW && pivot_is_marked(o->vm, run_folder) && !resume_marked(dom, run_folder, o))
        return FALSE;
    if ((o->job_ended || flags & RESCUE_RESUME) && stopped_for_io(dom)) {
        if (virDomainResume(dom) != 0)
            return virt_error(&o->error, "cannot resume '%s'", o->name);
        o->resumed = TRUE;
    }
    return TRUE;
}

/* Nobody connects to the job meanwhile. */
static void rescue_behind_gate(virDomainPtr dom, const char *run_folder, JobGate *gate, RescueOutcome *o)
{
    gboolean ends = gate && o->flags & RESCUE_END;

    if (ends)
        job_gate_close(gate, o->vm);
    rescue_domain(dom, run_folder, o->flags, o);
    if (ends)
        job_gate_ended(gate, o->vm);
}

RescueOutcome *rescue_vm(const char *uri, const char *run_folder, JobGate *gate, Id vm, RescueFlags flags)
{
    RescueOutcome *o = g_new0(RescueOutcome, 1);
    g_autoptr(Connection) c = connection_new(uri, NULL, NULL);
    virConnectPtr conn = connection_get(c, CONNECTION_OPEN_MS, &o->error);
    g_autoptr(virDomain) dom = conn ? vm_lookup(conn, vm, &o->error) : NULL;

    o->vm = vm;
    o->flags = flags;
    if (dom) {
        o->name = g_strdup(virDomainGetName(dom));
        rescue_behind_gate(dom, run_folder, gate, o);
    }
    return o;
}

static void *rescue_run(void *data)
{
    Order *order = data;

    order->on_done(order->user,
                   rescue_vm(order->uri, order->run_folder, order->gate, order->vm, order->flags));
    g_clear_pointer(&order->gate, job_gate_unref);
    g_free(order->uri);
    g_free(order->run_folder);
    g_free(order);
    return NULL;
}

void rescue_start(const char *uri, const char *run_folder, JobGate *gate, Id vm, RescueFlags flags,
                  void (*on_done)(void *user, RescueOutcome *outcome), void *user)
{
    Order *order = g_new0(Order, 1);
    pthread_attr_t attr;
    pthread_t thread;
    int rc;

    order->uri = g_strdup(uri);
    order->run_folder = g_strdup(run_folder);
    order->gate = gate ? job_gate_ref(gate) : NULL;
    order->vm = vm;
    order->flags = flags;
    order->on_done = on_done;
    order->user = user;
    /* Detached, which uv_thread cannot be: a hung QEMU must not be waited for. */
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    rc = pthread_create(&thread, &attr, rescue_run, order);
    g_assert(rc == 0);
    pthread_attr_destroy(&attr);
}

/* By what libvirtd itself knows, without a question to QEMU. */
static gboolean needs_rescue(virDomainPtr dom, const char *run_folder)
{
    char *xml = virDomainBackupGetXMLDesc(dom, 0);
    g_autoptr(Job) job = xml ? job_parse(xml, strlen(xml), run_folder, NULL) : NULL;
    Id vm;

    free(xml);
    virDomainGetUUID(dom, vm.bytes);
    return (job && job->kind == JOB_OURS) || agent_is_marked(vm, run_folder) ||
           pivot_is_marked(vm, run_folder);
}

static void post(void *user, RescueOutcome *outcome)
{
    mailbox_send(user, outcome);
}

/* Is it called as our scratch files are: VM, eight digits of its job, the disk's target? */
static gboolean is_scratch(const char *name, Id *ret_vm)
{
    g_autofree char *text = g_strndup(name, ID_TEXT_LEN);

    return strlen(text) == ID_TEXT_LEN && id_parse(text, ret_vm, NULL) &&
           g_regex_match_simple("^-[0-9a-f]{8}-[A-Za-z0-9_-]+$", name + ID_TEXT_LEN, 0, 0);
}

/* For a tenth of a second and more libvirtd checks a request to begin a job, and shows nothing of it: one that outlives
 * its engine so would leave a job that nobody ends. Without its files it gets none; if it has begun with
 * them, its job is seen after this. Of Id, the VMs that had some. */
static GArray *remove_scratch(const char *folder)
{
    GArray *owners = g_array_new(FALSE, FALSE, sizeof(Id));
    g_autoptr(GDir) dir = folder ? g_dir_open(folder, 0, NULL) : NULL;
    const char *name;
    Id vm;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);

        if (is_scratch(name, &vm) && g_unlink(path) == 0)
            g_array_append_val(owners, vm);
    }
    return owners;
}

static gboolean start_all(const char *uri, const char *run_folder, const GArray *begun, gint64 timeout_ms,
                          Mailbox *box, guint *ret_started, GError **error)
{
    g_autoptr(Connection) c = connection_new(uri, NULL, NULL);
    virConnectPtr conn = connection_get(c, timeout_ms, error);
    virDomainPtr *doms = NULL;

    if (!conn)
        return FALSE;
    if (virConnectListAllDomains(conn, &doms, VIR_CONNECT_LIST_DOMAINS_ACTIVE) < 0)
        return virt_error(error, "cannot list the running guests");
    for (virDomainPtr *d = doms; *d; d++) {
        Id vm;

        virDomainGetUUID(*d, vm.bytes);
        if (id_is_in(vm, begun) || needs_rescue(*d, run_folder)) {
            rescue_start(uri, run_folder, NULL, vm, RESCUE_END | RESCUE_THAW, post, box);
            ++*ret_started;
        }
        virDomainFree(*d);
    }
    free(doms);
    return TRUE;
}

static gboolean collect(Mailbox *box, guint started, gint64 deadline_ms, GPtrArray *outcomes, GError **error)
{
    g_autoptr(GError) first = NULL;
    guint back = 0;

    while (back < started && clock_steady_ms() < deadline_ms) {
        RescueOutcome *o = mailbox_wait(box, clock_left_ms(deadline_ms));

        if (!o)
            continue;
        back++;
        if (o->error && !first)
            first = g_error_copy(o->error);
        g_ptr_array_add(outcomes, o);
    }
    if (back < started) {
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT,
                    "%u of %u guests could not be freed: QEMU does not answer", started - back, started);
        return FALSE;
    }
    if (!first)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&first));
    return FALSE;
}

gboolean rescue_all(const char *uri, const char *run_folder, const char *scratch_folder, gint64 timeout_ms,
                    GPtrArray **ret_outcomes, GError **error)
{
    g_autoptr(GPtrArray) outcomes = g_ptr_array_new_with_free_func((GDestroyNotify)rescue_outcome_free);
    gint64 deadline_ms = clock_steady_ms() + timeout_ms;
    Mailbox *box = mailbox_new_thread((GDestroyNotify)rescue_outcome_free);
    g_autoptr(GArray) begun = remove_scratch(scratch_folder);
    guint started = 0;
    gboolean ok = start_all(uri, run_folder, begun, timeout_ms, box, &started, error) &&
                  collect(box, started, deadline_ms, outcomes, error);

    /* A rescue that is late still has the address: the box stays until the process ends. */
    if (outcomes->len == started)
        mailbox_close(box);
    if (ret_outcomes)
        *ret_outcomes = g_steal_pointer(&outcomes);
    return ok;
}
