/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/promotion.h"

#include "netmap/mapping_json.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/machine.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/capture/capture.h"
#include "vmconnect/capture/gather.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/hypervisor/host_facts.h"
#include "vmconnect/hypervisor/lifecycle.h"
#include "vmconnect/hypervisor/takeover.h"
#include "vmconnect/replicate/certificate.h"
#include "vmconnect/replicate/tpm_state.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#define CONNECT_MS 10000
#define MERGE_MS 1000 /* a merge in the way is waited for so long, then killed */

typedef struct {
    const PromotionSite *site;
    Id point;
    gboolean own; /* it is a branch: its VM was defined here */
    Reign reign;
    char *scenario;
    Mapping *networks;
    Id here;    /* this host's id, and … */
    char *from; /* … that of the one it comes from */
    gboolean autostart;
    gboolean stays_off;  /* as it was, or as its user has it since */
    gboolean by_hand;    /* root has asked */
    gboolean is_certain; /* the old active has released the VM, or somebody certifies that it is off */
    virConnectPtr conn;
} Promotion;

/* --- parameters -------------------------------------------------------- */

static void promotion_clear(Promotion *p)
{
    g_free(p->scenario);
    mapping_free(p->networks);
    g_free(p->from);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Promotion, promotion_clear)

/* Never what a host wrote alone. */
static gboolean take_newest(Promotion *p, const GPtrArray *points, GError **error)
{
    const StorePoint *newest = points->len ? points->pdata[0] : NULL;
    const char *id = newest ? ID_TEXT(newest->generation->id) : NULL;

    if (!newest)
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "there is no sealed generation here yet: wait until the first synchronisation is done");
    else if (newest->branch)
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "the newest point here, %s, is a branch, what this host wrote alone in reign %" G_GUINT64_FORMAT
            ", and nothing of what came after has been received on top of it: if the VM is to go on "
            "from it, or from an older point, name that one: `understudy switchover %s --force --point %s`, "
            "or, without a controller, `understudy-engine promote %s --old-is-off --point %s` on this host",
            id, newest->generation->reign.number, p->scenario, id, p->scenario, id);
    else
        p->point = newest->generation->id;
    return !id_is_nil(p->point);
}

/* What nobody names is what was promoted already, if anything was; and then there is no other choice. */
static gboolean choose_point(Promotion *p, GError **error)
{
    g_autoptr(GPtrArray) points = store_points(p->site->store);
    Id promoted = store_promoted(p->site->store);

    if (!id_is_nil(p->point) && !id_is_nil(promoted) && !id_equal(p->point, promoted)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "point %s was promoted already, and the VM goes on from it: from %s it cannot",
                    ID_TEXT(promoted), ID_TEXT(p->point));
        return FALSE;
    }
    if (id_is_nil(p->point))
        p->point = promoted;
    if (id_is_nil(p->point) && !take_newest(p, points, error))
        return FALSE;
    for (guint i = 0; i < points->len; i++) {
        const StorePoint *point = points->pdata[i];

        p->own |= point->branch && id_equal(point->generation->id, p->point);
    }
    return TRUE;
}

static gboolean read_params(Promotion *p, const json_t *params, GError **error)
{
    const json_t *certificate = json_object_get(params, "certificate");
    json_t *point, *reign, *networks;
    const char *scenario, *here, *from;

    if (!json_read(params, "plan.promote", error, "{s:s, s:o, s:o, s:s, s:s, s:o*}", "scenario", &scenario,
                   "tip", &point, "reign_next", &reign, "here", &here, "from", &from, "networks",
                   &networks) ||
        !reign_from_json(reign, &p->reign, error) || !id_parse(here, &p->here, error))
        return FALSE;
    p->networks = mapping_from_json(networks, error);
    if (!p->networks)
        return FALSE;
    p->from = g_strdup(from);
    if (json_is_string(point) && !id_parse(json_string_value(point), &p->point, error))
        return FALSE;
    p->scenario = g_strdup(scenario);
    p->autostart = json_is_true(json_object_get(certificate, "autostart"));
    p->stays_off = json_is_false(json_object_get(certificate, "running"));
    p->by_hand = json_is_true(json_object_get(params, "by_hand"));
    p->is_certain = !json_is_true(json_object_get(certificate, "forced")) ||
                    json_is_true(json_object_get(certificate, "old_is_off"));
    return TRUE;
}

/* --- guard ------------------------------------------------------------- */

static gboolean expect_own(const Promotion *p, const Guard *guard, GError **error)
{
    g_autofree char *so = g_strdup_printf(
        "that the active is silent does not suffice to promote the copy here; if its host is off, "
        "`understudy switchover %s --force --old-is-off`, or, without a controller, "
        "`understudy-engine promote %s --old-is-off` on this host",
        p->scenario, p->scenario);

    return guard_expect_own(guard, so, error);
}

static gboolean write_guard(const Promotion *p, gboolean journal_open, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(Guard) before = guard_read(p->site->paths->guard_dir, p->site->vm, &why);
    Guard guard = {.vm = p->site->vm,
                   .scenario = p->scenario,
                   .reign = p->reign,
                   .role = GUARD_ACTIVE,
                   .journal_open = journal_open,
                   .autostart = p->autostart || (before && before->autostart)};

    if (!before && !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (before && (before->reign.number > p->reign.number ||
                   (before->reign.number == p->reign.number && !reign_equal(before->reign, p->reign)))) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "this host knows reign %" G_GUINT64_FORMAT
                    " of this VM, which is not below the one asked for",
                    before->reign.number);
        return FALSE;
    }
    return (!before || p->is_certain || expect_own(p, before, error)) &&
           guard_write(p->site->paths->guard_dir, &guard, error);
}

/* --- the domain -------------------------------------------------------- */

static char *translate(const Promotion *p, const char *definition, const GPtrArray *files, const char *nvram,
                       GError **error)
{
    g_autofree TranslateDisk *disks = g_new0(TranslateDisk, MAX(files->len, 1));
    g_autoptr(GPtrArray) lists = g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);
    g_autoptr(Host) here = host_facts_read(p->conn, ID_TEXT(p->here), "this host", p->site->dir, error);
    g_autoptr(GPtrArray) remarks = NULL;
    Takeover takeover = {.vm = p->site->vm,
                         .here = here,
                         .from = p->own ? ID_TEXT(p->here) : p->from,
                         .mapping = p->networks,
                         .nvram = nvram,
                         .disks = disks,
                         .n_disks = files->len};
    char *xml;

    for (guint i = 0; i < files->len; i++) {
        const StoreFiles *disk = files->pdata[i];
        GPtrArray *list = g_ptr_array_new();

        for (guint j = 0; j < disk->files->len; j++)
            g_ptr_array_add(list, disk->files->pdata[j]);
        g_ptr_array_add(list, NULL);
        g_ptr_array_add(lists, list);
        disks[i] = (TranslateDisk){disk->target, (const char *const *)list->pdata,
                                   (const char *const *)disk->formats->pdata};
    }
    if (!here)
        return NULL;
    xml = takeover_definition(p->conn, &takeover, definition, &remarks, error);
    if (!xml && remarks && remarks->len) {
        g_autofree char *reasons = remarks_text(remarks);

        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "the VM cannot be defined here: %s", reasons);
    }
    for (guint i = 0; xml && i < remarks->len; i++)
        log_warning("vm %s: %s", ID_TEXT(p->site->vm), ((const Remark *)remarks->pdata[i])->cause);
    return xml;
}

/* --- firmware variables and TPM state ----------------------------------- */

static GBytes *read_belonging(const void *store, const Belonging *b, GError **error)
{
    return store_belonging(store, b, error);
}

static gboolean write_nvram(const Promotion *p, const char *path, GError **error)
{
    const GPtrArray *belongings = store_belongings(p->site->store, p->point, error);
    const Belonging *b = belongings ? belongings_find(belongings, BELONGINGS_NVRAM) : NULL;
    g_autoptr(GBytes) file = b ? store_belonging(p->site->store, b, error) : NULL;
    const void *data;
    gsize len;

    /* What the point has not, the first start makes of the firmware's template: there, and not in a file
     * of this host's that happens to bear the name. */
    if (belongings && !b)
        return durable_remove(path, error);
    if (!file)
        return FALSE;
    data = g_bytes_get_data(file, &len);
    return durable_replace(path, data, len, 0600, error);
}

/* All can be read: else another point may still be chosen. */
static gboolean have_belongings(const Promotion *p, GError **error)
{
    const GPtrArray *belongings = store_belongings(p->site->store, p->point, error);

    for (guint i = 0; belongings && i < belongings->len; i++) {
        g_autoptr(GBytes) file = store_belonging(p->site->store, belongings->pdata[i], error);

        if (!file)
            return FALSE;
    }
    return belongings != NULL;
}

/* @nvram: where the variable store goes; NULL: the VM has none. */
static gboolean put_belongings(const Promotion *p, const Definition *d, const char *nvram, GError **error)
{
    const PromotionSite *site = p->site;
    TpmPlace place = {.dir = GATHER_TPM_DIR,
                      .vm = site->vm,
                      .point = p->point,
                      .expected = d->tpm == DEFINITION_TPM_2 || d->tpm == DEFINITION_TPM_1_2};
    const GPtrArray *belongings = store_belongings(site->store, p->point, error);

    if (!belongings || (nvram && !write_nvram(p, nvram, error)))
        return FALSE;
    stop_at("promotion.nvram");
    return tpm_state_put(&place, belongings, read_belonging, site->store, error);
}

/* A domain of this UUID that runs before the promoted one is defined is somebody else's doing. */
static gboolean expect_not_running(const Promotion *p, GError **error)
{
    g_autoptr(virDomain) dom = NULL;
    VmState state;

    if (!vm_find(p->conn, p->site->vm, &dom, error))
        return FALSE;
    if (!dom)
        return TRUE;
    if (!vm_state_read(dom, &state, NULL, error))
        return FALSE;
    if (state == VM_STATE_OFF)
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "a VM with the same UUID, '%s', is %s on this host, and is not the copy that shall run: end it "
        "first",
        virDomainGetName(dom), vm_state_name(state));
    return FALSE;
}

/* What this host has of its own is touched last, when nothing can be refused any more but by libvirt. */
static gboolean define(const Promotion *p, GError **error)
{
    g_autoptr(GPtrArray) files = NULL;
    g_autofree char *definition = store_definition(p->site->store, p->point, error);
    g_autoptr(Definition) d = definition ? definition_parse(definition, strlen(definition), error) : NULL;
    g_autofree char *nvram = d && d->nvram ? store_nvram_path(p->site->store) : NULL;
    g_autofree char *xml = NULL;

    if (!d || !have_belongings(p, error) || !expect_not_running(p, error) ||
        !store_promote(p->site->store, p->point, clock_steady_ms() + MERGE_MS, &files, error))
        return FALSE;
    stop_at("promotion.given_away");
    /* QEMU's own user enters the folder, and cannot list it; files are libvirt's to own. */
    if (g_chmod(p->site->dir, 0711) != 0)
        return us_error_errno(error, errno, "cannot let QEMU into %s", p->site->dir);
    xml = translate(p, definition, files, nvram, error);
    return xml && put_belongings(p, d, nvram, error) && lifecycle_define(p->conn, xml, error);
}

static Capture *open_capture(const Promotion *p, GError **error)
{
    const HostPaths *paths = p->site->paths;
    CaptureSettings settings = {.run_dir = paths->run_dir,
                                .nbd_dir = paths->nbd_dir,
                                .scratch_dir = paths->scratch_dir,
                                .permit_dir = paths->permit_dir,
                                .cancel_fd = -1};
    g_autoptr(Capture) capture = capture_new(p->conn, p->site->vm, &settings, error);

    return capture && capture_look(capture, error) ? g_steal_pointer(&capture) : NULL;
}

static gboolean make_first_checkpoint(const Promotion *p, GError **error)
{
    g_autoptr(Capture) capture = open_capture(p, error);
    g_autoptr(GError) why = NULL;

    if (!capture)
        return FALSE;
    /* One that is there is never made anew: the guest may have run since, and if its QEMU died, a broken
     * record says so where a fresh one would hide what was written. */
    if (capture_create_checkpoint(capture, p->point, &why) || g_error_matches(why, US_ERROR, US_ERROR_EXISTS))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

/* Off, for @reason: is that its user's doing, or has the start not come to its end? Without its first checkpoint it has
 * never run here, whatever was done to a VM that was defined before it. */
static gboolean was_shut_down(const Promotion *p, int reason, gboolean *ret_was, GError **error)
{
    g_autoptr(Capture) capture = NULL;
    g_autoptr(GArray) checkpoints = NULL;

    *ret_was = FALSE;
    if (reason != VIR_DOMAIN_SHUTOFF_SHUTDOWN && reason != VIR_DOMAIN_SHUTOFF_DESTROYED)
        return TRUE;
    capture = open_capture(p, error);
    checkpoints = capture ? capture_checkpoints(capture, error) : NULL;
    if (!checkpoints)
        return FALSE;
    *ret_was = id_is_in(p->point, checkpoints);
    return TRUE;
}

/* A VM that runs already has passed all that comes before. One that its user has shut down since is started again by
 * root alone, and not by a plan that asks twice. */
static gboolean start(Promotion *p, GError **error)
{
    g_autoptr(virDomain) dom = vm_lookup(p->conn, p->site->vm, error);
    gboolean stays = FALSE, ok;
    VmState state;
    int reason;

    if (!dom || !vm_state_read(dom, &state, &reason, error))
        return FALSE;
    if (state == VM_STATE_RUNNING)
        return TRUE;
    if (p->stays_off && state == VM_STATE_OFF)
        return make_first_checkpoint(p, error);
    if (state == VM_STATE_OFF && !p->by_hand && !was_shut_down(p, reason, &stays, error))
        return FALSE;
    if (stays) {
        log_notice("vm %s: it was promoted, and has been shut down since -> it stays off",
                   ID_TEXT(p->site->vm));
        p->stays_off = TRUE;
        return TRUE;
    }
    ok = state == VM_STATE_PAUSED || lifecycle_start_paused(p->conn, p->site->vm, error);
    stop_at("promotion.started_paused");
    ok = ok && make_first_checkpoint(p, error);
    stop_at("promotion.checkpoint");
    return ok && lifecycle_resume(p->conn, p->site->vm, error);
}

/* The guard's journal is closed when the domain is defined, and not before: whatever else libvirt
 * knows under this UUID is not what was promoted. */
static gboolean is_defined(const Promotion *p)
{
    g_autoptr(Guard) guard = guard_read(p->site->paths->guard_dir, p->site->vm, NULL);

    return id_equal(store_promoted(p->site->store), p->point) && guard && guard->role == GUARD_ACTIVE &&
           !guard->journal_open && reign_equal(guard->reign, p->reign);
}

/* The guard first: from then on nothing is received from an active of an older reign, whatever of the rest has to
 * be tried again. Once promoted and defined, the chain is libvirt's: it may have changed since. */
static gboolean run(Promotion *p, Connection *connection, GError **error)
{
    gboolean defined = is_defined(p);

    if (!defined && !write_guard(p, TRUE, error))
        return FALSE;
    stop_at("promotion.guarded");
    p->conn = connection_get(connection, CONNECT_MS, error);
    if (!p->conn || (!defined && !define(p, error)))
        return FALSE;
    stop_at("promotion.defined");
    return write_guard(p, FALSE, error) &&
           permit_grant(p->site->paths->permit_dir, p->site->vm, p->reign, error) && start(p, error);
}

/* Root has promoted it meanwhile, in a reign of its own: what is asked for has been done, and whoever runs the
 * guest since is not disturbed. */
static gboolean is_done_by_hand(Promotion *p)
{
    g_autoptr(Guard) guard = guard_read(p->site->paths->guard_dir, p->site->vm, NULL);
    Id promoted = store_promoted(p->site->store);

    if (id_is_nil(promoted) || !guard || guard->role != GUARD_ACTIVE || guard->journal_open ||
        guard->reign.number < p->reign.number || reign_equal(guard->reign, p->reign))
        return FALSE;
    p->reign = guard->reign;
    p->point = promoted;
    return TRUE;
}

gboolean promotion_check(const PromotionSite *site, const json_t *params, GError **error)
{
    g_auto(Promotion) p = {.site = site};

    return read_params(&p, params, error) && certificate_check(params, site->vm, p.here, error) &&
           (is_done_by_hand(&p) || choose_point(&p, error));
}

gboolean promotion_run(const PromotionSite *site, const json_t *params, json_t **ret_result, GError **error)
{
    g_auto(Promotion) p = {.site = site};
    g_autoptr(Connection) connection = connection_new(site->paths->libvirt_uri, NULL, NULL);

    if (!read_params(&p, params, error) || !certificate_check(params, site->vm, p.here, error))
        return FALSE;
    if (!is_done_by_hand(&p) && !(choose_point(&p, error) && run(&p, connection, error)))
        return FALSE;
    *ret_result = json_pack("{s:b, s:s, s:o}", "running", !p.stays_off, "point", ID_TEXT(p.point), "reign",
                            reign_to_json(p.reign));
    return TRUE;
}

/* --- after a restart ---------------------------------------------------- */

static gboolean is_permitted(const PromotionSite *site, Reign reign)
{
    Id boot_id;

    return machine_boot_id(&boot_id, NULL) &&
           permit_check(site->paths->permit_dir, site->vm, reign, boot_id, NULL);
}

/* What libvirt's own autostart would have done, were it not off. Once, as libvirt does: a VM that
 * cannot start is its user's to look after. */
static gboolean autostart(const PromotionSite *site, gboolean *due, GError **error)
{
    g_autoptr(Connection) connection = connection_new(site->paths->libvirt_uri, NULL, NULL);
    virConnectPtr conn = connection_get(connection, CONNECT_MS, error);
    g_autoptr(virDomain) dom = conn ? vm_lookup(conn, site->vm, error) : NULL;
    g_autoptr(GError) why = NULL;
    VmState state;

    if (!dom || !vm_state_read(dom, &state, NULL, error))
        return FALSE;
    *due = FALSE;
    if (state != VM_STATE_OFF)
        return TRUE;
    log_info("vm %s: host was booted, autostart was set -> start it", ID_TEXT(site->vm));
    if (!lifecycle_start(conn, site->vm, &why))
        log_warning("vm %s: it did not start after the boot (%s): start it by hand", ID_TEXT(site->vm),
                    why->message);
    return TRUE;
}

gboolean promotion_settle(const PromotionSite *site, gboolean *start_due, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(Guard) guard = NULL;

    if (id_is_nil(store_promoted(site->store)))
        return TRUE;
    guard = guard_read(site->paths->guard_dir, site->vm, &why);
    /* Its protection has ended: it is its user's. */
    if (!guard && g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
        return TRUE;
    if (!guard) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (guard->role != GUARD_ACTIVE || guard->journal_open)
        return TRUE;
    if (guard->elsewhere) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    GUARD_COPIED
                    ": it is not started before the controller has said that this host is the active of "
                    "scenario '%s'; if the other host is off, use `understudy-engine start %s --alone`",
                    guard->scenario, guard->scenario);
        return FALSE;
    }
    if (!is_permitted(site, guard->reign)) {
        if (!permit_grant(site->paths->permit_dir, site->vm, guard->reign, error))
            return FALSE;
        *start_due = guard->autostart;
    }
    return !*start_due || autostart(site, start_due, error);
}
