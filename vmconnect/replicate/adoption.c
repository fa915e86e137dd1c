/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/adoption.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/capture/chain.h"
#include "vmconnect/capture/gather.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/definition_file.h"
#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/hypervisor/lifecycle.h"
#include "vmconnect/hypervisor/qemu_process.h"
#include "vmconnect/image/qcow2.h"
#include "vmconnect/replicate/bequest.h"

#include <string.h>

#define CONNECT_MS 10000
#define IMAGE_MS 30000
#define OUR_PREFIX "understudy-" /* of every bitmap that we make */

/* Another host was made the active since. */
static gboolean is_over(const Bequest *b, const Guard *guard)
{
    return guard->role == GUARD_STANDBY && guard->reign.number > b->generation->reign.number;
}

/* --- what is found ------------------------------------------------------ */

static gboolean add_found(Bequest *b, const char *definition, const Disk *disk, GError **error)
{
    g_autoptr(GPtrArray) chain = chain_of_disk(definition, disk->target, IMAGE_MS, -1, error);
    const ChainLayer *top = chain ? chain->pdata[0] : NULL;
    g_autoptr(Qcow2Facts) facts = top ? qcow2_read(top->path, top->format, IMAGE_MS, -1, error) : NULL;
    BequestDisk *found;

    if (!facts)
        return FALSE;
    generation_add_disk(b->generation, disk->target, facts->size_bytes);
    found = bequest_add_disk(b, disk->target, facts->size_bytes);
    for (guint i = 0; i < chain->len; i++) {
        const ChainLayer *layer = chain->pdata[i];
        SignedImage *image = signed_image_read(layer->path, layer->format, error);

        if (!image)
            return FALSE;
        g_ptr_array_add(found->images, image);
    }
    return TRUE;
}

/* The disks as they are now, of the definition that is there, or was. */
static gboolean add_all_found(Bequest *b, const char *definition, GError **error)
{
    g_autoptr(Definition) d = definition_parse(definition, strlen(definition), error);

    for (guint i = 0; d && i < d->disks->len; i++)
        if (disk_is_data(d->disks->pdata[i]) && !add_found(b, definition, d->disks->pdata[i], error))
            return FALSE;
    if (!d)
        return FALSE;
    b->generation->definition = g_strdup(definition);
    b->generation->cut_at_ms = clock_wall_ms();
    return TRUE;
}

/* What it says of disks is not true any more. */
static Bequest *as_found(const Bequest *b, const char *definition, GError **error)
{
    g_autoptr(Bequest) found = bequest_new_found(b->vm, b->generation->reign);

    return add_all_found(found, definition, error) ? g_steal_pointer(&found) : NULL;
}

/* --- libvirt ------------------------------------------------------------ */

/* The definition names the file that the VM has really run from. */
static gboolean follow_pivot(const AdoptionSite *site, virDomainPtr dom, GError **error)
{
    g_autoptr(Guard) guard = guard_read(site->paths->guard_dir, site->vm, error);

    return guard && definition_file_settle(dom, site->paths->guard_dir, guard, error);
}

/* NULL without @error: there is none. */
static char *read_definition(const AdoptionSite *site, virConnectPtr conn, const char *scenario,
                             GError **error)
{
    g_autoptr(virDomain) dom = NULL;
    g_autofree char *xml = NULL;
    VmState state;

    if (!vm_find(conn, site->vm, &dom, error) || !dom || !vm_state_read(dom, &state, NULL, error))
        return NULL;
    if (state != VM_STATE_OFF && state != VM_STATE_CRASHED) {
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "'%s' lives on here, %s, though another host was made its active: what only it holds is kept "
            "until you have looked at it; then end it with `virsh destroy %s` on this host, and its disks "
            "are kept aside as a branch. If that other host never comes back, `understudy-engine start %s "
            "--alone --gone` lets this guest run on",
            virDomainGetName(dom), vm_state_name(state), virDomainGetName(dom), scenario);
        return NULL;
    }
    if (!qemu_process_expect_none(site->vm, virDomainGetName(dom), error))
        return NULL;
    if (!follow_pivot(site, dom, error))
        return NULL;
    xml = virDomainGetXMLDesc(dom, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
    if (!xml)
        virt_error(error, "cannot read the definition of '%s'", virDomainGetName(dom));
    return g_steal_pointer(&xml);
}

/* --- adopting ----------------------------------------------------------- */

static GPtrArray *look_for_belongings(const Generation *g, char **ret_why, GError **error)
{
    g_autoptr(Definition) d = definition_parse(g->definition, strlen(g->definition), error);
    g_autoptr(Gather) gather = gather_new(GATHER_TPM_DIR);

    return d ? gather_look(gather, d, ret_why) : NULL;
}

static void take_belongings(const Bequest *b, GPtrArray *steal_found)
{
    g_ptr_array_unref(b->generation->belongings);
    b->generation->belongings = steal_found;
}

static gboolean gather_found(const Bequest *b, GError **error)
{
    GPtrArray *found = look_for_belongings(b->generation, &b->generation->incomplete, error);

    if (found)
        take_belongings(b, found);
    return found != NULL;
}

/* As the final generation has them, now with their bytes. */
static gboolean gather(const Bequest *b, GError **error)
{
    g_autofree char *why = NULL;
    GPtrArray *found = look_for_belongings(b->generation, &why, error);

    if (!found)
        return FALSE;
    if (b->exact && !belongings_equal(found, b->generation->belongings)) {
        g_ptr_array_unref(found);
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT,
                    "firmware variables or TPM state are not any more what they were when the VM was given "
                    "away%s%s",
                    why ? ": " : "", why ? why : "");
        return FALSE;
    }
    take_belongings(b, found);
    return TRUE;
}

static gboolean same(const Signature *a, const Signature *b)
{
    Signature then = *b;

    then.device = a->device;
    return signature_equal(a, &then);
}

/* Under the image's lock; what we write there ourselves is followed. */
static gboolean take_bitmap_out(SignedImage *image, const char *name, GError **error)
{
    OwnWrite own;

    if (!qcow2_remove_bitmap(image->path, name, IMAGE_MS, &own, error))
        return FALSE;
    if (!same(&own.before, &image->signature)) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "image %s was written to by another program",
                    image->path);
        return FALSE;
    }
    image->signature = own.after;
    return TRUE;
}

/* What another program left there stays. */
static gboolean clean_image(const AdoptionSite *site, const Bequest *b, SignedImage *image, GError **error)
{
    g_autoptr(Qcow2Facts) facts = NULL;

    if (!signed_image_check(image, error) ||
        !(facts = qcow2_read(image->path, image->format, IMAGE_MS, -1, error)))
        return FALSE;
    for (guint i = 0; i < facts->bitmaps->len; i++) {
        const Qcow2Bitmap *bitmap = facts->bitmaps->pdata[i];

        if (!g_str_has_prefix(bitmap->name, OUR_PREFIX))
            continue;
        /* Without room for the note of it, what is there now would be taken for another's work. */
        if (!bequest_write(b, site->paths->plan_dir, error) || !take_bitmap_out(image, bitmap->name, error))
            return FALSE;
        stop_at("adoption.bitmap");
        if (!bequest_write(b, site->paths->plan_dir, error))
            return FALSE;
    }
    return TRUE;
}

static StoreAdopted *adopted_disks(const Bequest *b)
{
    StoreAdopted *disks = g_new0(StoreAdopted, MAX(b->disks->len, 1));

    for (guint i = 0; i < b->disks->len; i++) {
        const BequestDisk *disk = b->disks->pdata[i];

        disks[i] = (StoreAdopted){disk->target, disk->size_bytes, disk->images};
    }
    return disks;
}

/* Asked before anything is removed: what cannot be adopted stays as its user left it. */
static gboolean check_store(const AdoptionSite *site, const Bequest *b, GError **error)
{
    g_autofree StoreAdopted *disks = adopted_disks(b);

    if (store_may_adopt(site->store, b->generation, disks, b->disks->len, error))
        return TRUE;
    g_prefix_error(
        error,
        "its disks here cannot become its copy; bring them back to what they were, or, if what they hold is "
        "not needed, `virsh undefine %s --checkpoints-metadata --snapshots-metadata --keep-nvram "
        "--keep-tpm`, remove "
        "%s/%s.bequest, and move %s/%s away: a new copy is made then: ",
        ID_TEXT(site->vm), site->paths->plan_dir, ID_TEXT(site->vm), site->paths->store_dir,
        ID_TEXT(site->vm));
    return FALSE;
}

/* What is in the memory of a saved guest its user may want still. */
static gboolean expect_not_saved(const AdoptionSite *site, virConnectPtr conn, GError **error)
{
    gboolean saved;

    if (!lifecycle_is_saved(conn, site->vm, &saved, error))
        return FALSE;
    if (!saved)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "it was saved here (`virsh managedsave`), and libvirt keeps its memory: look at it, and then "
                "remove it with `virsh managedsave-remove`");
    return FALSE;
}

static gboolean store(const AdoptionSite *site, const Bequest *b, GError **error)
{
    g_autofree StoreAdopted *disks = adopted_disks(b);

    for (guint i = 0; i < b->disks->len; i++)
        if (!clean_image(site, b, ((const BequestDisk *)b->disks->pdata[i])->images->pdata[0], error))
            return FALSE;
    return store_adopt(site->store, b->generation, disks, b->disks->len, !b->exact, error);
}

/* Is each image still what it was signed as? */
static gboolean is_as_left(const Bequest *b, GError **error)
{
    for (guint i = 0; i < b->disks->len; i++) {
        const BequestDisk *disk = b->disks->pdata[i];

        for (guint k = 0; k < disk->images->len; k++)
            if (!signed_image_check(disk->images->pdata[k], error))
                return FALSE;
    }
    return b->disks->len > 0 && gather(b, error);
}

/* What was found once is written down before anything is removed. */
static gboolean settle(const AdoptionSite *site, Bequest **b, const char *definition, GError **error)
{
    g_autoptr(GError) why = NULL;
    Bequest *found;

    if (is_as_left(*b, &why))
        return TRUE;
    if (why)
        log_notice(
            "vm %s: what it left here is not known to be any generation (%s) -> it is kept as a branch",
            ID_TEXT(site->vm), why->message);
    found = as_found(*b, definition ? definition : (*b)->generation->definition, error);
    if (!found) {
        g_prefix_error(
            error,
            "its disks here cannot be looked at; bring them back, or, if they are gone for good, remove "
            "%s/%s.bequest, and a new copy is made: ",
            site->paths->plan_dir, ID_TEXT(site->vm));
        return FALSE;
    }
    bequest_free(*b);
    *b = found;
    return gather_found(found, error) && bequest_write(found, site->paths->plan_dir, error);
}

/* One that ran from this copy wrote into overlays that the copy knows; what else its definition says is that of the point that it
 * was started from. */
static gboolean add_store_disk(const Bequest *b, const StoreFiles *files, GError **error)
{
    g_autoptr(Qcow2Facts) facts = qcow2_read(files->files->pdata[0], "qcow2", IMAGE_MS, -1, error);
    BequestDisk *disk;

    if (!facts)
        return FALSE;
    generation_add_disk(b->generation, files->target, facts->size_bytes);
    disk = bequest_add_disk((Bequest *)b, files->target, facts->size_bytes);
    for (guint i = 0; i < files->files->len; i++) {
        SignedImage *image = signed_image_read(files->files->pdata[i], files->formats->pdata[i], error);

        if (!image)
            return FALSE;
        g_ptr_array_add(disk->images, image);
    }
    return TRUE;
}

/* Its VM was undefined by its user: nothing is known any more of where its disks were, unless it ran from this copy. */
static gboolean find_undefined(const AdoptionSite *site, Bequest **b, GError **error)
{
    g_autoptr(Bequest) found = NULL;
    g_autoptr(GPtrArray) disks = NULL;

    if (id_is_nil(store_promoted(site->store)))
        return TRUE;
    found = bequest_new_found(site->vm, (*b)->generation->reign);
    disks = store_promoted_files(site->store);
    for (guint i = 0; i < disks->len; i++)
        if (!add_store_disk(found, disks->pdata[i], error))
            return FALSE;
    found->generation->definition = store_definition(site->store, store_promoted(site->store), error);
    found->generation->cut_at_ms = clock_wall_ms();
    if (!found->generation->definition)
        return FALSE;
    found->generation->incomplete =
        g_strdup("its VM was undefined here: firmware variables and TPM state, if it had any, are not known");
    bequest_free(*b);
    *b = g_steal_pointer(&found);
    return bequest_write(*b, site->paths->plan_dir, error);
}

static gboolean adopt(const AdoptionSite *site, const char *scenario, Bequest **b, GError **error)
{
    g_autoptr(Connection) connection = connection_new(site->paths->libvirt_uri, NULL, NULL);
    virConnectPtr conn = connection_get(connection, CONNECT_MS, error);
    g_autofree char *definition = NULL;
    g_autoptr(GError) why = NULL;

    if (!conn)
        return FALSE;
    definition = read_definition(site, conn, scenario, &why);
    if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (!definition && !(*b)->generation->definition && !find_undefined(site, b, error))
        return FALSE;
    if (!definition && !(*b)->generation->definition)
        return TRUE;
    if ((definition && !expect_not_saved(site, conn, error)) || !settle(site, b, definition, error) ||
        !check_store(site, *b, error) || !lifecycle_undefine(conn, site->vm, error))
        return FALSE;
    stop_at("adoption.undefined");
    if (!store(site, *b, error))
        return FALSE;
    stop_at("adoption.adopted");
    log_notice("vm %s: its disks here are generation %s -> %s", ID_TEXT(site->vm),
               ID_TEXT((*b)->generation->id),
               (*b)->exact ? "they are the copy that its new active goes on from"
                           : "kept as a branch; what differs comes on top of it");
    return TRUE;
}

/* A VM that was promoted here, and was its user's since, has left no bequest; that a copy is kept here again says that it is over. */
static gboolean find_orphan(const AdoptionSite *site, Bequest **ret_found, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(Guard) guard = NULL;

    if (id_is_nil(store_promoted(site->store)) || store_is_dissolved(site->store))
        return TRUE;
    guard = guard_read(site->paths->guard_dir, site->vm, &why);
    if (!guard && !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (!guard || guard->role != GUARD_STANDBY)
        return TRUE;
    /* It may run here in a reign that this has forgotten. */
    if (!guard_expect_own(guard,
                          "what was promoted here is left as it is before the controller has told this host "
                          "anew to keep a copy; restart understudy-engine here when the controller can be "
                          "reached",
                          error))
        return FALSE;
    *ret_found = bequest_new_found(site->vm, (Reign){guard->reign.number - 1, id_random()});
    return bequest_write(*ret_found, site->paths->plan_dir, error);
}

gboolean adoption_run(const AdoptionSite *site, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(Bequest) b = bequest_read(site->paths->plan_dir, site->vm, &why);
    g_autoptr(Guard) guard = NULL;

    if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (!b && !find_orphan(site, &b, error))
        return FALSE;
    if (!b)
        return TRUE;
    guard = guard_read(site->paths->guard_dir, site->vm, error);
    if (!guard)
        return FALSE;
    return !is_over(b, guard) ||
           ((store_has_adopted(site->store, b->generation->id) || adopt(site, guard->scenario, &b, error)) &&
            bequest_remove(site->paths->plan_dir, site->vm, error));
}

gboolean adoption_is_due(Id vm, const char *guard_dir, const char *plan_dir)
{
    g_autoptr(Bequest) b = bequest_read(plan_dir, vm, NULL);
    g_autoptr(Guard) guard = b ? guard_read(guard_dir, vm, NULL) : NULL;

    return guard && is_over(b, guard);
}
