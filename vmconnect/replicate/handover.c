/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/handover.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/machine.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/capture/chain.h"
#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/hypervisor/lifecycle.h"
#include "vmconnect/hypervisor/shutdown.h"
#include "vmconnect/replicate/active_parts.h"
#include "vmconnect/replicate/bequest.h"
#include "vmconnect/replicate/certificate.h"

#include <string.h>
#include <unistd.h>

#define FORMAT 1
#define MAX_BYTES 65536
#define FINAL_CYCLES 1000 /* slices of one last generation; a loop that ends whatever happens */
#define FINAL_AGAIN_MS 250
#define BOOT_MS \
    120000 /* so long after a boot what a guest needs of its host, a bridge or a pool, may not be there yet */
#define LATE_MS 600000 /* so long is a guest that was asked to shut down in vain thought to obey still */
#define IMAGE_MS 10000
#define OVERTAKEN_MS 3000
#define LOCK_PATIENCE_MS 6000   /* production runs on meanwhile; the whole lock has ten seconds */
#define FINAL_PATIENCE_MS 10000 /* with what is in the way: production is down meanwhile */

static const char *const NAMES[] = {
#define X(state, name) [HANDOVER_##state] = name,
    HANDOVER_STATES(X)
#undef X
};

const char *handover_state_name(HandoverState state)
{
    g_assert(state < G_N_ELEMENTS(NAMES));
    return NAMES[state];
}

void handover_free(Handover *h)
{
    g_free(h);
}

/* --- the file ---------------------------------------------------------- */

static char *path_of(const char *plan_dir, Id vm)
{
    return g_build_filename(plan_dir, ID_TEXT(vm), NULL);
}

gboolean handover_holds(const Handover *h)
{
    return h && h->state != HANDOVER_UNLOCKED && h->state != HANDOVER_ROLLED_BACK;
}

gboolean handover_was_released(const Handover *h)
{
    return h && (h->state == HANDOVER_RELEASED || h->state == HANDOVER_UNLOCKED);
}

gboolean handover_was_booted(const Handover *h)
{
    Id boot;

    return h->state == HANDOVER_PARKED && machine_boot_id(&boot, NULL) && !id_equal(boot, h->boot);
}

static json_t *certificate_of(const Handover *h)
{
    Release r = {.vm = h->vm,
                 .plan = h->plan,
                 .tip = h->tip,
                 .successor = h->successor,
                 .reign = h->reign,
                 .next = h->reign_next,
                 .running = h->was_running || h->died,
                 .autostart = h->autostart};

    return h->reign_next.number ? certificate_of_release(&r) : json_null();
}

json_t *handover_to_json(const Handover *h)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:b, s:b, s:b}", "plan", ID_TEXT(h->plan), "done", NAMES[h->state],
                     "tip", json_from_id(h->tip), "certificate", certificate_of(h), "booted",
                     handover_was_booted(h), "until_told", h->until_told, "alone", h->alone);
}

static json_t *encode(const Handover *h)
{
    json_t *doc =
        json_pack("{s:i, s:s, s:s, s:s, s:b, s:b, s:b, s:o, s:o, s:o, s:o}", "format", FORMAT, "vm",
                  ID_TEXT(h->vm), "plan", ID_TEXT(h->plan), "done", NAMES[h->state], "was_running",
                  h->was_running, "died", h->died, "autostart", h->autostart, "tip", json_from_id(h->tip),
                  "successor", json_from_id(h->successor), "reign", reign_to_json(h->reign), "reign_next",
                  h->reign_next.number ? reign_to_json(h->reign_next) : json_null());

    if (h->state == HANDOVER_PARKED) {
        json_object_set_new(doc, "boot", json_from_id(h->boot));
        json_object_set_new(doc, "until_told", json_boolean(h->until_told));
    }
    if (h->alone)
        json_object_set_new(doc, "alone", json_true());
    return doc;
}

static gboolean store(const Handover *h, const char *plan_dir, GError **error)
{
    g_autofree char *path = path_of(plan_dir, h->vm);
    g_autofree char *text = NULL;
    json_auto_t *doc = encode(h);

    text = json_text(doc);
    return durable_replace(path, text, strlen(text), 0600, error);
}

static gboolean state_of_name(const char *name, HandoverState *ret_state)
{
    for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++)
        if (g_str_equal(NAMES[i], name)) {
            *ret_state = i;
            return TRUE;
        }
    return FALSE;
}

static gboolean read_document(Handover *h, const char *text, gsize len, GError **error)
{
    json_auto_t *doc = json_parse(text, len, MAX_BYTES, error);
    const char *vm, *plan, *state;
    json_t *tip, *successor, *reign, *reign_next, *boot = NULL;
    int was_running, died = FALSE, autostart = FALSE, until_told = FALSE, alone = FALSE, format;

    if (!doc ||
        !json_read(doc, "plan file", error,
                   "{s:i, s:s, s:s, s:s, s:b, s?b, s?b, s:o, s?o, s?b, s?b, s:o, s:o, s:o}", "format",
                   &format, "vm", &vm, "plan", &plan, "done", &state, "was_running", &was_running, "died",
                   &died, "autostart", &autostart, "tip", &tip, "boot", &boot, "until_told", &until_told,
                   "alone", &alone, "successor", &successor, "reign", &reign, "reign_next", &reign_next))
        return FALSE;
    if (format != FORMAT || !state_of_name(state, &h->state)) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "written by another version");
        return FALSE;
    }
    h->was_running = was_running;
    h->died = died;
    h->autostart = autostart;
    h->until_told = until_told;
    h->alone = alone;
    if (h->state == HANDOVER_PARKED && (!boot || !json_to_id(boot, &h->boot, NULL))) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "it does not say in which boot the VM was parked");
        return FALSE;
    }
    return id_parse(vm, &h->vm, error) && id_parse(plan, &h->plan, error) &&
           json_to_id(tip, &h->tip, error) && json_to_id(successor, &h->successor, error) &&
           reign_from_json(reign, &h->reign, error) &&
           (json_is_null(reign_next) || reign_from_json(reign_next, &h->reign_next, error));
}

Handover *handover_parse(const char *text, gsize len, GError **error)
{
    g_autoptr(Handover) h = g_new0(Handover, 1);

    return read_document(h, text, len, error) ? g_steal_pointer(&h) : NULL;
}

Handover *handover_load(const char *plan_dir, Id vm, GError **error)
{
    g_autofree char *path = path_of(plan_dir, vm);
    g_autofree char *text = NULL;
    g_autoptr(Handover) h = NULL;
    g_autoptr(GError) why = NULL;
    gsize len;

    if (!durable_read(path, &text, &len, &why)) {
        if (!g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
            g_propagate_error(error, g_steal_pointer(&why));
        return NULL;
    }
    h = handover_parse(text, len, &why);
    if (h && id_equal(h->vm, vm))
        return g_steal_pointer(&h);
    g_set_error(
        error, US_ERROR, US_ERROR_CORRUPT,
        "%s: %s; whether this VM was handed over is not known, so it is not started here: look on the "
        "standby, then remove the file",
        path, why ? why->message : "it speaks of another VM");
    return NULL;
}

/* --- room ---------------------------------------------------------------- */

/* Space is set aside with the lock, and given back before what the plan's end writes: once the guest is off, a full disk must
 * not keep it so. Without it nothing is begun. */
#define RESERVE_BYTES 262144

static char *reserve_path(const Active *a)
{
    return g_strconcat(a->paths.plan_dir, "/", ID_TEXT(a->vm), ".reserve", NULL);
}

static gboolean reserve_room(const Active *a, GError **error)
{
    g_autofree char *path = reserve_path(a);

    if (durable_set_aside(path, RESERVE_BYTES, error))
        return TRUE;
    g_prefix_error(error, "no room for the plan's notes, so it is not begun: ");
    return FALSE;
}

static void give_back_room(const Active *a)
{
    g_autofree char *path = reserve_path(a);

    unlink(path);
}

/* --- the guard --------------------------------------------------------- */

/* What was promised since this plan began is not taken back by it. */
static gboolean write_guard(const Active *a, GuardRole role, Reign reign, gboolean journal_open,
                            GError **error)
{
    g_autoptr(Guard) guard = guard_read(a->paths.guard_dir, a->vm, error);

    if (!guard)
        return FALSE;
    if (guard->reign.number > reign.number || (role == GUARD_ACTIVE && guard->role == GUARD_STANDBY)) {
        g_set_error(error, US_ERROR, US_ERROR_OVERTAKEN,
                    "this host knows reign %" G_GUINT64_FORMAT
                    " of this VM, in which another one is its active: it is not taken back in reign "
                    "%" G_GUINT64_FORMAT,
                    guard->reign.number, reign.number);
        return FALSE;
    }
    guard->role = role;
    guard->reign = reign;
    guard->journal_open = journal_open;
    return guard_write(a->paths.guard_dir, guard, error);
}

/* --- steps ------------------------------------------------------------- */

static gboolean plan_of(const json_t *params, Id *ret_plan, GError **error)
{
    const char *plan;

    return json_read(params, "plan step", error, "{s:s*}", "plan", &plan) && id_parse(plan, ret_plan, error);
}

/* Is this step's plan the one that holds the lock? */
static gboolean check_plan(const Handover *h, const json_t *params, GError **error)
{
    Id plan;

    if (!plan_of(params, &plan, error))
        return FALSE;
    if (h && id_equal(h->plan, plan) && h->state < HANDOVER_ROLLING_BACK)
        return TRUE;
    if (handover_holds(h) && !id_equal(h->plan, plan))
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "plan %s holds this VM: wait for its end, or let it be rolled back", ID_TEXT(h->plan));
    else
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "plan %s does not hold this VM (any more): the active has taken it back, begin again",
                    ID_TEXT(plan));
    return FALSE;
}

static gboolean check_state(const Handover *h, HandoverState at_least, GError **error)
{
    if (h->state >= at_least)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "the plan's step before has not been done: this VM is only %s", NAMES[h->state]);
    return FALSE;
}

static gboolean advance(Handover *h, const Active *a, HandoverState state, GError **error)
{
    HandoverState before = h->state;

    h->state = state;
    if (store(h, a->paths.plan_dir, error))
        return TRUE;
    h->state = before;
    return FALSE;
}

/* One that is gone when it is off could not be taken back. */
static gboolean check_defined(Active *a, GError **error)
{
    virConnectPtr conn = active_connection(a, error);
    gboolean transient;

    if (!conn || !lifecycle_is_transient(conn, a->vm, &transient, error))
        return FALSE;
    if (transient)
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "'%1$s' is transient: libvirt would forget it with its shutdown, and nobody could take it back; "
            "define it first: `virsh dumpxml --inactive --security-info %1$s >%1$s.xml && virsh define "
            "%1$s.xml`",
            capture_name(a->capture));
    return !transient;
}

/* A saved VM would lose what its memory holds: the successor gets disks alone. */
static gboolean check_saved(Active *a, GError **error)
{
    virConnectPtr conn = active_connection(a, error);
    gboolean saved;

    if (!conn || !lifecycle_is_saved(conn, a->vm, &saved, error))
        return FALSE;
    if (saved)
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "'%s' is saved (virsh managedsave), and its saved memory would not go along: start it, or "
            "give the memory up with `virsh managedsave-remove`, then switch over again",
            capture_name(a->capture));
    return !saved;
}

static gboolean is_silence(const GError *why)
{
    return g_error_matches(why, US_ERROR, US_ERROR_UNREACHABLE) ||
           g_error_matches(why, US_ERROR, US_ERROR_TIMEOUT);
}

/* What may be over in a moment: a line that broke off, a libvirtd that restarts, an image that its QEMU is
 * still closing or that was written to while it was read. FALSE: it is not, or another command waits. */
static gboolean wait_for_better(const Active *a, const GError *why, gint64 until_ms)
{
    return us_error_may_pass(why) && clock_steady_ms() + FINAL_AGAIN_MS < until_ms &&
           !active_is_waited_for(a, FINAL_AGAIN_MS);
}

/* That the standby does not answer is an answer of this host. In the words of the link it would be a missing one, and asked for
 * again until the plan's time is over. libvirtd's silence is one, and so is what was cut short for another command. */
static void say_no(Active *a, GError **error, const char *what, GError *steal_why)
{
    g_autoptr(GError) why = steal_why;
    CaptureState state;

    if (is_silence(why) && !active_is_waited_for(a, 0) && active_look(a, &state, NULL))
        why->code = US_ERROR_FAILED;
    g_propagate_prefixed_error(error, g_steal_pointer(&why), "%s: ", what);
}

/* A guest is not shut down for a final generation that would be late: its standby is away, or must be compared first. Where that
 * cannot be asked for all the time, another program has a job, which ends with the guest, or the guest is going down. */
static gboolean wait_until_followed(Active *a, CaptureState *ret_state, GError **error)
{
    gint64 until_ms = clock_steady_ms() + LOCK_PATIENCE_MS;
    g_autoptr(GError) why = NULL;
    gboolean looked;

    a->patience.give_up_ms = until_ms;
    do {
        g_clear_error(&why);
        looked = active_look(a, ret_state, &why);
        if (looked && *ret_state != CAPTURE_OFF)
            active_is_followed(a, clock_left_ms(until_ms), &why);
    } while (why && wait_for_better(a, why, until_ms));
    a->patience.give_up_ms = 0;
    if (!why || (looked && g_error_matches(why, US_ERROR, US_ERROR_BUSY)))
        return TRUE;
    say_no(a, error, "nothing was done", g_steal_pointer(&why));
    return FALSE;
}

/* What the VM was before the plan; its guard is there since it is protected. */
static gboolean remember(Handover *h, Active *a, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(Guard) guard = NULL;
    CaptureState state;

    if (!(h->alone ? active_look(a, &state, error) : wait_until_followed(a, &state, error)) ||
        !check_defined(a, error) || !check_saved(a, error))
        return FALSE;
    guard = guard_read(a->paths.guard_dir, a->vm, &why);
    if (g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "what keeps the VM from being started on two hosts is gone (%s); nothing was done; `understudy "
            "stop %s` and `understudy run %s` write it anew, and no recovery point is lost",
            why->message, a->role->scenario, a->role->scenario);
        return FALSE;
    }
    if (!guard) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (!guard_expect_own(guard,
                          "nothing was done; restart understudy-engine here, which writes it anew when the "
                          "standby or the controller has said that this host is the VM's active",
                          error))
        return FALSE;
    h->vm = a->vm;
    h->reign = a->role->reign;
    h->was_running = state != CAPTURE_OFF;
    h->autostart = guard->autostart;
    return TRUE;
}

/* Who was asked and did not obey may do so when nobody wants it any more. Once: what its user does after that is his
 * own business. @h may be NULL. */
static gboolean has_obeyed_late(Handover *h, Active *a, gboolean *ret_has, GError **error)
{
    virConnectPtr conn;
    g_autoptr(virDomain) dom = NULL;
    VmState state;
    int reason;

    *ret_has = FALSE;
    if (!h || h->state != HANDOVER_ROLLED_BACK || !a->capture || capture_state(a->capture) != CAPTURE_OFF ||
        clock_steady_ms() >= h->late_until_ms)
        return TRUE;
    conn = active_connection(a, error);
    dom = conn ? vm_lookup(conn, a->vm, error) : NULL;
    if (!dom || !vm_state_read(dom, &state, &reason, error))
        return FALSE;
    if (state != VM_STATE_OFF)
        return TRUE;
    h->late_until_ms = 0;
    *ret_has = reason == VIR_DOMAIN_SHUTOFF_SHUTDOWN;
    return TRUE;
}

gboolean handover_lock(Handover **h, Active *a, const json_t *params, GError **error)
{
    g_autoptr(Handover) fresh = NULL;
    json_int_t deadline_ms;
    int died = FALSE, alone = FALSE;
    gboolean late;

    fresh = g_new0(Handover, 1);
    if (!plan_of(params, &fresh->plan, error))
        return FALSE;
    if (handover_holds(*h) || (*h && id_equal((*h)->plan, fresh->plan)))
        return check_plan(*h, params, error);
    if (!json_read(params, "plan.lock", error, "{s:I, s?b, s?b*}", "deadline_ms", &deadline_ms, "died", &died,
                   "alone", &alone))
        return FALSE;
    fresh->alone = alone;
    /* Off because it obeyed the plan before this one, it is one that runs. */
    if (!remember(fresh, a, error) || !has_obeyed_late(*h, a, &late, error))
        return FALSE;
    fresh->was_running |= late;
    fresh->died = died && !fresh->was_running;
    fresh->deadline_ms = clock_steady_ms() + MAX(deadline_ms, 0);
    if (!reserve_room(a, error) || !store(fresh, a->paths.plan_dir, error)) {
        give_back_room(a);
        return FALSE;
    }
    handover_free(*h);
    *h = g_steal_pointer(&fresh);
    stop_at("handover.locked");
    return write_guard(a, GUARD_ACTIVE, a->role->reign, TRUE, error);
}

gboolean handover_shutdown(Handover *h, Active *a, const json_t *params, GError **error)
{
    ShutdownRules rules = {.cancel_fd = a->patience.wake_fd};
    json_int_t timeout_ms;
    int power_off;
    virConnectPtr conn;
    ShutdownHow how;

    if (!check_plan(h, params, error))
        return FALSE;
    if (h->state >= HANDOVER_SHUT)
        return TRUE;
    if (!json_read(params, "plan.shutdown", error, "{s:I, s:b*}", "timeout_ms", &timeout_ms, "power_off",
                   &power_off))
        return FALSE;
    rules.timeout_ms = timeout_ms;
    rules.power_off = power_off;
    conn = active_connection(a, error);
    if (!conn)
        return FALSE;
    if (!shutdown_guest(conn, a->vm, &rules, &how, error)) {
        h->late_until_ms = clock_steady_ms() + LATE_MS;
        return FALSE;
    }
    h->late_until_ms = 0;
    stop_at("handover.shut");
    return advance(h, a, HANDOVER_SHUT, error);
}

/* Between two slices: the plan's time is over, or a command waits that may be its rollback. */
static gboolean may_go_on(const Handover *h, const Active *a, GError **error)
{
    if (clock_steady_ms() >= h->deadline_ms)
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT,
                    "the final generation was not sealed in the plan's time");
    else if (active_is_waited_for(a, 0))
        g_set_error(error, US_ERROR, US_ERROR_CANCELLED,
                    "another command came before the final generation was sealed: what was sent is kept");
    else
        return TRUE;
    return FALSE;
}

static gboolean cycle_off(Active *a, ActiveOutcome *ret_outcome, GError **error)
{
    CaptureState state;

    if (!active_look(a, &state, error))
        return FALSE;
    if (state == CAPTURE_OFF)
        return active_cycle(a, ret_outcome, error);
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "the guest is not off: somebody started it; the switchover is rolled back");
    return FALSE;
}

/* What could not be read together with the disks is there a moment later; what cannot be had at all is
 * no change the next time. */
static gboolean is_last(const Active *a, ActiveOutcome outcome)
{
    return outcome == ACTIVE_CONFIRMED ||
           (outcome == ACTIVE_SEALED && !sender_position(a->sender)->tip->incomplete);
}

/* Seal until the standby holds what the images hold; the guest is off, so this ends. */
static gboolean seal_last(Handover *h, Active *a, GError **error)
{
    gint64 until_ms = 0; /* how long a trouble that is there is borne */

    for (int i = 0; i < FINAL_CYCLES; i++) {
        g_autoptr(GError) why = NULL;
        ActiveOutcome outcome;

        if (!cycle_off(a, &outcome, &why)) {
            if (!until_ms) {
                until_ms = clock_steady_ms() + FINAL_PATIENCE_MS;
                until_ms = MIN(until_ms, h->deadline_ms);
            }
            if (wait_for_better(a, why, until_ms))
                continue;
            say_no(a, error, "the last generation was not sealed", g_steal_pointer(&why));
            return FALSE;
        }
        until_ms = 0;
        if (is_last(a, outcome)) {
            h->tip = sender_position(a->sender)->tip->id;
            return TRUE;
        }
        if (!may_go_on(h, a, error))
            return FALSE;
    }
    g_set_error(error, US_ERROR, US_ERROR_FAILED, "the final generation does not come to an end");
    return FALSE;
}

gboolean handover_final(Handover *h, Active *a, const json_t *params, GError **error)
{
    gboolean sealed;

    if (!check_plan(h, params, error) || !check_state(h, HANDOVER_SHUT, error))
        return FALSE;
    if (h->state >= HANDOVER_FINAL)
        return TRUE;
    /* A standby that does not answer must not keep production down beyond the plan's time. */
    a->patience.give_up_ms = h->deadline_ms;
    sealed = seal_last(h, a, error);
    a->patience.give_up_ms = 0;
    if (!sealed)
        return FALSE;
    stop_at("handover.final");
    return advance(h, a, HANDOVER_FINAL, error);
}

/* The release must find what the final generation left: nobody has let the guest start since. */
static gboolean check_still_down(Active *a, GError **error)
{
    g_autoptr(Guard) guard = guard_read(a->paths.guard_dir, a->vm, error);
    CaptureState state;

    if (!guard || !active_look(a, &state, error))
        return FALSE;
    if (guard->role == GUARD_ACTIVE && guard->journal_open && state == CAPTURE_OFF)
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "the guest has been started, or was allowed to, since its final generation: it is not released");
    return FALSE;
}

/* The files of a disk, and how they look. NULL with @error. */
static BequestDisk *sign_disk(Active *a, Bequest *b, const Disk *disk, GError **error)
{
    g_autoptr(GPtrArray) chain =
        chain_of_disk(capture_definition(a->capture), disk->target, IMAGE_MS, -1, error);
    BequestDisk *left;

    if (!chain)
        return NULL;
    left = bequest_add_disk(b, disk->target, disk->size_bytes);
    for (guint i = 0; i < chain->len; i++) {
        const ChainLayer *layer = chain->pdata[i];
        SignedImage *image = signed_image_read(layer->path, layer->format, error);

        if (!image)
            return NULL;
        g_ptr_array_add(left->images, image);
    }
    return left;
}

/* Its image as it was followed since the base was made. */
static gboolean bequeath_disk(Active *a, Bequest *b, const Disk *disk, GError **error)
{
    const WatchedDisk *w = active_watched(a, disk->target);
    const BequestDisk *left = sign_disk(a, b, disk, error);

    if (!left)
        return FALSE;
    if (w && w->clean &&
        signature_equal(&w->image, &((const SignedImage *)left->images->pdata[0])->signature))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "%s was written to by another program", disk->source);
    return FALSE;
}

static gboolean bequeath(const Handover *h, Active *a, GError **error)
{
    const GPtrArray *disks = capture_disks(a->capture);
    const Generation *tip = a->sender ? sender_position(a->sender)->tip : NULL;
    g_autoptr(Bequest) b = NULL;

    if (!tip || !id_equal(tip->id, h->tip) || !active_same_disks(a, tip)) {
        g_set_error(error, US_ERROR, US_ERROR_FAILED, "the standby's last word is not the final generation");
        return FALSE;
    }
    b = bequest_new(h->vm, tip);
    g_free(b->generation->definition);
    b->generation->definition = g_strdup(capture_definition(a->capture));
    for (guint i = 0; i < disks->len; i++)
        if (!bequeath_disk(a, b, disks->pdata[i], error))
            return FALSE;
    return bequest_write(b, a->paths.plan_dir, error);
}

/* Where it cannot be exact, the disks here are compared when they shall be a copy: no reason to keep production down. */
static gboolean leave_bequest(const Handover *h, Active *a, GError **error)
{
    g_autoptr(Bequest) found = NULL;
    g_autoptr(GError) why = NULL;

    if (bequeath(h, a, &why))
        return TRUE;
    log_notice("vm %s: its disks here will not be known to be its final generation: %s", ID_TEXT(h->vm),
               why->message);
    found = bequest_new_found(h->vm, h->reign);
    return bequest_write(found, a->paths.plan_dir, error);
}

/* Without its standby nobody knows a generation of it; its images' looks are kept all the same. */
static gboolean leave_looks(const Handover *h, Active *a, GError **error)
{
    const GPtrArray *disks = capture_disks(a->capture);
    g_autoptr(Bequest) b = bequest_new_found(h->vm, h->reign);

    b->exact = TRUE;
    b->generation->definition = g_strdup(capture_definition(a->capture));
    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];

        generation_add_disk(b->generation, disk->target, disk->size_bytes);
        if (!sign_disk(a, b, disk, error))
            return FALSE;
    }
    return bequest_write(b, a->paths.plan_dir, error);
}

/* Where its images' looks cannot be kept, they are compared when it is taken back. */
gboolean handover_park(Handover *h, Active *a, const json_t *params, GError **error)
{
    int until_told;

    if (!check_plan(h, params, error) || !check_state(h, h->alone ? HANDOVER_SHUT : HANDOVER_FINAL, error))
        return FALSE;
    if (h->state == HANDOVER_PARKED)
        return TRUE;
    if (h->state > HANDOVER_PARKED) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "this VM has been released to its successor");
        return FALSE;
    }
    if (!json_read(params, "plan.park", error, "{s:b*}", "until_told", &until_told) ||
        !check_still_down(a, error) || !machine_boot_id(&h->boot, error) ||
        !(h->alone ? leave_looks(h, a, error) : leave_bequest(h, a, error)))
        return FALSE;
    h->until_told = until_told;
    stop_at("handover.bequest");
    if (!advance(h, a, HANDOVER_PARKED, error))
        return FALSE;
    stop_at("handover.parked");
    return TRUE;
}

gboolean handover_release(Handover *h, Active *a, const json_t *params, GError **error)
{
    const char *successor;
    json_t *reign_next;

    if (!check_plan(h, params, error) || !check_state(h, HANDOVER_FINAL, error))
        return FALSE;
    if (h->state >= HANDOVER_RELEASED)
        return handover_finish_release(h, a, error);
    if (!json_read(params, "plan.release", error, "{s:{s:s}, s:o*}", "successor", "id", &successor,
                   "reign_next", &reign_next) ||
        !id_parse(successor, &h->successor, error) || !reign_from_json(reign_next, &h->reign_next, error))
        return FALSE;
    if (h->reign_next.number <= h->reign.number) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "the next reign's number must be above %" G_GUINT64_FORMAT, h->reign.number);
        return FALSE;
    }
    if (!check_still_down(a, error))
        return FALSE;
    give_back_room(a);
    if (!leave_bequest(h, a, error))
        return FALSE;
    stop_at("handover.bequest");
    /* The release is this one rename; from here on nothing of ours starts the guest again. */
    h->doubtful = TRUE;
    if (!advance(h, a, HANDOVER_RELEASED, error))
        return FALSE;
    stop_at("handover.released");
    active_detach(a);
    return handover_finish_release(h, a, error);
}

gboolean handover_finish_release(const Handover *h, Active *a, GError **error)
{
    /* A rename that was seen may not have been durable. */
    return store(h, a->paths.plan_dir, error) && write_guard(a, GUARD_STANDBY, h->reign_next, FALSE, error) &&
           permit_remove(a->paths.permit_dir, a->vm, error);
}

gboolean handover_unlock(Handover *h, Active *a, const json_t *params, GError **error)
{
    if (!check_plan(h, params, error) || !check_state(h, HANDOVER_RELEASED, error))
        return FALSE;
    if (h->state != HANDOVER_UNLOCKED && !advance(h, a, HANDOVER_UNLOCKED, error))
        return FALSE;
    stop_at("handover.unlocked");
    return TRUE;
}

/* The hook asks for a permit of this boot: the host may have booted in the middle of the plan. */
static gboolean permit(Active *a, GError **error)
{
    return permit_grant(a->paths.permit_dir, a->vm, a->role->reign, error);
}

static gboolean start_again(Handover *h, Active *a, GError **error)
{
    virConnectPtr conn;
    CaptureState state;

    if (!active_look(a, &state, error))
        return FALSE;
    if (!h->was_running || state != CAPTURE_OFF)
        return TRUE;
    h->late_until_ms = 0;
    conn = active_connection(a, error);
    return conn && lifecycle_start(conn, a->vm, error);
}

gboolean handover_undo_late_shutdown(Handover *h, Active *a, GError **error)
{
    virConnectPtr conn;
    gboolean late;

    if (!has_obeyed_late(h, a, &late, error))
        return FALSE;
    if (!late)
        return TRUE;
    log_notice("vm %s: it obeyed the shutdown of plan %s, which was rolled back -> start it again",
               ID_TEXT(h->vm), ID_TEXT(h->plan));
    conn = active_connection(a, error);
    return conn && lifecycle_start(conn, a->vm, error);
}

static gboolean worth_trying_again(const Handover *h, const GError *error)
{
    return g_error_matches(error, US_ERROR, US_ERROR_UNREACHABLE) ||
           g_error_matches(error, US_ERROR, US_ERROR_TIMEOUT) || clock_steady_ms() < h->start_until_ms;
}

/* Durable before the guest may start: a release that comes late, or is found after a crash, must
 * not be believed. Where none was ever written, a full disk does not keep production down. */
static gboolean begin_rollback(Handover *h, const Active *a, GError **error)
{
    gint64 now_ms = clock_steady_ms();
    g_autoptr(GError) why = NULL;

    h->deadline_ms = MIN(h->deadline_ms, now_ms);
    if (handover_was_booted(h))
        h->start_until_ms = now_ms + BOOT_MS;
    give_back_room(a);
    if (h->state == HANDOVER_ROLLING_BACK || advance(h, a, HANDOVER_ROLLING_BACK, &why))
        return TRUE;
    if (h->doubtful) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    h->state = HANDOVER_ROLLING_BACK;
    return TRUE;
}

/* A standby that does not answer may be what the plan failed of. One that answers that it was promoted meanwhile, by force
 * or by hand, has the guest. */
static gboolean check_not_overtaken(Active *a, GError **error)
{
    g_autoptr(GError) why = NULL;

    /* One session takes the place of the other: the next cut would find that out, and be late. */
    active_detach(a);
    if (active_is_acknowledged(a, OVERTAKEN_MS, &why) || !g_error_matches(why, US_ERROR, US_ERROR_OVERTAKEN))
        return TRUE;
    g_propagate_prefixed_error(error, g_steal_pointer(&why),
                               "the VM is not taken back and not started here: ");
    return FALSE;
}

static gboolean are_as_left(const Bequest *b, const char *target)
{
    for (guint i = 0; b && b->exact && i < b->disks->len; i++) {
        const BequestDisk *disk = b->disks->pdata[i];
        g_autoptr(GError) why = NULL;

        if (!g_str_equal(disk->target, target))
            continue;
        for (guint j = 0; j < disk->images->len; j++)
            if (!signed_image_check(disk->images->pdata[j], &why)) {
                log_notice("disk %s of a parked VM: %s -> it is compared", target, why->message);
                return FALSE;
            }
        return TRUE;
    }
    return FALSE;
}

/* What others have done to an image since it was parked no bitmap tells. Before anything is written of the rollback: the image itself says from
 * here on that it is not to be believed. */
static gboolean judge_images(const Handover *h, Active *a, GError **error)
{
    g_autoptr(GError) unread = NULL;
    g_autoptr(Bequest) b = NULL;
    const GPtrArray *disks;
    CaptureState state;

    if (h->state != HANDOVER_PARKED)
        return TRUE;
    if (!active_look(a, &state, error))
        return FALSE;
    b = bequest_read(a->paths.plan_dir, a->vm, &unread);
    disks = capture_disks(a->capture);
    for (guint i = 0; i < disks->len; i++) {
        const char *target = ((const Disk *)disks->pdata[i])->target;

        if (!are_as_left(b, target))
            active_distrust(a, target);
    }
    return active_look(a, &state, error);
}

gboolean handover_rollback(Handover *h, Active *a, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (!handover_holds(h))
        return TRUE;
    if (h->state == HANDOVER_RELEASED) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "this VM has been released to its successor: switch it back instead");
        return FALSE;
    }
    if (!check_not_overtaken(a, error) || !judge_images(h, a, error))
        return FALSE;
    if (!begin_rollback(h, a, error) || !bequest_remove(a->paths.plan_dir, a->vm, error) ||
        !write_guard(a, GUARD_ACTIVE, a->role->reign, FALSE, error) || !permit(a, error))
        return FALSE;
    if (!start_again(h, a, &why) && worth_trying_again(h, why)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    stop_at("handover.rolled_back");
    if (!advance(h, a, HANDOVER_ROLLED_BACK, error))
        return FALSE;
    if (!why)
        return TRUE;
    g_propagate_prefixed_error(error, g_steal_pointer(&why),
                               "the VM was taken back and cannot be started: start it by hand: ");
    return FALSE;
}
