/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of one VM.
 *
 * libvirt keeps the list, QEMU the bitmaps: in its memory while the VM runs, in
 * the images when it was shut down cleanly. While the VM is off libvirt makes
 * and deletes none (it needs a QEMU for the bitmaps), but takes our word for
 * one (REDEFINE) and forgets one (METADATA_ONLY); the bitmaps are then ours to
 * put in and take out with qemu-img. */
#include "vmconnect/base/error.h"
#include "vmconnect/capture/backup_xml.h"
#include "vmconnect/capture/capture_internal.h"

#include <string.h>

static void checkpoint_free(virDomainCheckpointPtr checkpoint)
{
    virDomainCheckpointFree(checkpoint);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomainCheckpoint, checkpoint_free)

/* Names of all checkpoints, everybody's, parents before children. */
static GPtrArray *list_names(Capture *c, GError **error)
{
    GPtrArray *names;
    virDomainCheckpointPtr *list = NULL;
    int n = virDomainListAllCheckpoints(c->domain, &list, VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL);

    if (n < 0) {
        capture_error(error, "cannot list checkpoints");
        return NULL;
    }
    names = g_ptr_array_new_with_free_func(g_free);
    for (int i = 0; i < n; i++) {
        g_ptr_array_add(names, g_strdup(virDomainCheckpointGetName(list[i])));
        virDomainCheckpointFree(list[i]);
    }
    free(list);
    return names;
}

GArray *capture_checkpoints(Capture *c, GError **error)
{
    g_autoptr(GPtrArray) names = list_names(c, error);
    GArray *ids;

    if (!names)
        return NULL;
    ids = g_array_new(FALSE, FALSE, sizeof(Id));
    for (guint i = 0; i < names->len; i++) {
        Id id;

        if (checkpoint_name_parse(names->pdata[i], &id))
            g_array_append_val(ids, id);
    }
    return ids;
}

static virDomainCheckpointPtr look_up(Capture *c, Id id, GError **error)
{
    virDomainCheckpointPtr checkpoint = virDomainCheckpointLookupByName(c->domain, CHECKPOINT_NAME(id), 0);

    if (!checkpoint)
        capture_error(error, "checkpoint");
    return checkpoint;
}

static const CheckpointDisk *find_tracked(const GPtrArray *disks, const char *target)
{
    for (guint i = 0; i < disks->len; i++) {
        const CheckpointDisk *disk = disks->pdata[i];

        if (disk->tracked && strcmp(disk->target, target) == 0)
            return disk;
    }
    return NULL;
}

/* With sizes: a running VM's disk whose bitmap is not there, or broken, has none. */
static GPtrArray *list_sizes(Capture *c, Id id, GError **error)
{
    g_autoptr(virDomainCheckpoint) checkpoint = look_up(c, id, error);
    GPtrArray *disks = NULL;
    char *xml;

    /* Nothing between the two calls: a job that begins there may be creating its file at the second. */
    if (!checkpoint || !capture_expect_no_foreign_job(c, error))
        return NULL;
    xml = virDomainCheckpointGetXMLDesc(checkpoint,
                                        VIR_DOMAIN_CHECKPOINT_XML_SIZE | VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN);
    if (xml)
        disks = checkpoint_xml_disks(xml, error);
    else
        capture_error(error, "checkpoint");
    free(xml);
    return disks;
}

static gboolean expect_any(guint n_tracked, guint n_whole, GError **error)
{
    if (n_whole > 0 || n_tracked == 0)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_TRACKING_LOST,
                "QEMU has lost the record of changes (it was killed, or the images were exchanged): "
                "everything is sent again");
    return FALSE;
}

gboolean capture_spool(Capture *c, Id since, guint64 *ret_bytes, GError **error)
{
    g_autoptr(GPtrArray) disks = NULL;
    guint n_tracked = 0, n_whole = 0;

    if (c->state == CAPTURE_OFF || c->state == CAPTURE_ENDING) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "'%s' does not run: what changed is known from its images", capture_name(c));
        return FALSE;
    }
    disks = list_sizes(c, since, error);
    for (guint i = 0; disks && i < c->disks->len; i++) {
        const CheckpointDisk *tracked = find_tracked(disks, ((const Disk *)c->disks->pdata[i])->target);

        ret_bytes[i] = tracked ? tracked->size_bytes : G_MAXUINT64;
        n_tracked += tracked != NULL;
        n_whole += ret_bytes[i] != G_MAXUINT64;
    }
    return disks && expect_any(n_tracked, n_whole, error);
}

static gboolean tells_off(Capture *c, Id since, gboolean *ret_tells, GError **error)
{
    for (guint i = 0; i < c->disks->len; i++) {
        const char *target = ((const Disk *)c->disks->pdata[i])->target;
        g_autoptr(GError) why = NULL;

        ret_tells[i] = capture_check_bitmaps(c, since, &target, 1, &why);
        if (ret_tells[i] || g_error_matches(why, US_ERROR, US_ERROR_TRACKING_LOST))
            continue;
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    return TRUE;
}

gboolean capture_tells(Capture *c, Id since, gboolean *ret_tells, GError **error)
{
    g_autofree guint64 *bytes = g_new0(guint64, MAX(c->disks->len, 1));
    g_autoptr(GError) why = NULL;

    if (c->state == CAPTURE_OFF)
        return tells_off(c, since, ret_tells, error);
    for (guint i = 0; i < c->disks->len; i++)
        bytes[i] = G_MAXUINT64;
    if (!capture_spool(c, since, bytes, &why) && !g_error_matches(why, US_ERROR, US_ERROR_TRACKING_LOST)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    for (guint i = 0; i < c->disks->len; i++)
        ret_tells[i] = bytes[i] != G_MAXUINT64;
    return TRUE;
}

GPtrArray *capture_files_at(Capture *c, Id id)
{
    g_autoptr(virDomainCheckpoint) checkpoint = look_up(c, id, NULL);
    char *xml =
        checkpoint ? virDomainCheckpointGetXMLDesc(checkpoint, VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN) : NULL;
    g_autofree char *text = xml ? checkpoint_xml_description(xml) : NULL;

    free(xml);
    return text ? disk_files_from_text(text) : NULL;
}

/* The VM may have been started since the look: libvirt then sees to the bitmaps itself. */
static gboolean redefine(Capture *c, Id id, const char *description, const char *const *targets, guint n,
                         GError **error)
{
    g_autoptr(GPtrArray) names = list_names(c, error);
    g_autofree char *xml = NULL;
    g_autoptr(virDomainCheckpoint) checkpoint = NULL;
    guint flags = VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE;
    CaptureState now;

    if (!names || !capture_state_now(c, &now, NULL, error))
        return FALSE;
    if (now != CAPTURE_OFF)
        flags |= VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE;
    else if (!capture_check_bitmaps(c, id, targets, n, error))
        return FALSE;
    xml = checkpoint_redefine_xml(id, description, names->len ? names->pdata[names->len - 1] : NULL,
                                  g_get_real_time() / G_USEC_PER_SEC, targets, n, c->definition);
    checkpoint = virDomainCheckpointCreateXML(c->domain, xml, flags);
    return checkpoint || capture_error(error, "cannot announce a checkpoint again");
}

static gboolean create_off(Capture *c, Id id, GError **error)
{
    g_autofree const char **targets = capture_targets(c);
    g_autofree char *files = disk_files_to_text(c->files);

    if (capture_add_bitmaps(c, id, error) && redefine(c, id, files, targets, c->disks->len, error))
        return TRUE;
    /* Half of it would be a record of changes that nobody reads; a crash here leaves that, too,
     * and capture_delete_checkpoint() of this id or capture_delete_all() takes it away. */
    capture_remove_bitmaps(c, CHECKPOINT_NAME(id), NULL);
    return FALSE;
}

static gboolean create_running(Capture *c, Id id, GError **error)
{
    g_autofree const char **targets = capture_targets(c);
    g_autofree char *files = disk_files_to_text(c->files);
    g_autofree char *xml = checkpoint_xml(id, files, targets, c->disks->len);
    g_autoptr(virDomainCheckpoint) checkpoint = NULL;

    if (!capture_expect_no_job(c, error))
        return FALSE;
    checkpoint = virDomainCheckpointCreateXML(c->domain, xml, 0);
    return checkpoint || capture_error(error, "cannot begin to track changes");
}

static gboolean exists(Capture *c, Id id, gboolean *ret_exists, GError **error)
{
    g_autoptr(GArray) ids = capture_checkpoints(c, error);

    if (!ids)
        return FALSE;
    *ret_exists = id_is_in(id, ids);
    return TRUE;
}

gboolean capture_create_checkpoint(Capture *c, Id id, GError **error)
{
    gboolean there;

    if (!exists(c, id, &there, error))
        return FALSE;
    if (there || c->disks->len == 0 || c->state == CAPTURE_ENDING) {
        g_set_error(error, US_ERROR, there ? US_ERROR_EXISTS : US_ERROR_REFUSED, "'%s' %s", capture_name(c),
                    there               ? "has this checkpoint already"
                    : c->disks->len > 0 ? "is shutting down"
                                        : "has no disk that could be tracked");
        return FALSE;
    }
    return c->state == CAPTURE_OFF ? create_off(c, id, error) : create_running(c, id, error);
}

gboolean capture_announce(Capture *c, Id id, const GPtrArray *files, const char *const *targets, guint n,
                          GError **error)
{
    g_autofree char *text = disk_files_to_text(files);
    g_autoptr(GPtrArray) present = g_ptr_array_new();

    for (guint i = 0; i < n; i++)
        if (capture_find_disk(c, targets[i]))
            g_ptr_array_add(present, (char *)targets[i]);
    if (present->len > 0)
        return redefine(c, id, text, (const char *const *)present->pdata, present->len, error);
    g_set_error(error, US_ERROR, US_ERROR_TRACKING_LOST,
                "'%s' has none of the disks of this checkpoint any more", capture_name(c));
    return FALSE;
}

static gboolean delete_metadata(virDomainCheckpointPtr checkpoint, GError **error)
{
    return virDomainCheckpointDelete(checkpoint, VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY) == 0 ||
           capture_error(error, "cannot forget a checkpoint");
}

/* Targets with a whole bitmap, of the running VM; borrowed from @disks. */
static GPtrArray *whole_targets(const GPtrArray *disks)
{
    GPtrArray *targets = g_ptr_array_new();

    for (guint i = 0; i < disks->len; i++) {
        const CheckpointDisk *disk = disks->pdata[i];

        if (disk->tracked && disk->size_bytes != G_MAXUINT64)
            g_ptr_array_add(targets, disk->target);
    }
    return targets;
}

/* libvirt deletes no checkpoint with a broken bitmap, but forgets one, whose whole bitmaps then go
 * on recording for nobody. So it is announced anew with those alone, and deleted as such. */
static gboolean delete_broken(Capture *c, Id id, virDomainCheckpointPtr checkpoint, GPtrArray *whole,
                              GError **error)
{
    g_autoptr(virDomainCheckpoint) rest = NULL;

    if (!delete_metadata(checkpoint, error))
        return FALSE;
    if (whole->len == 0)
        return TRUE;
    if (!redefine(c, id, NULL, (const char *const *)whole->pdata, whole->len, error))
        return FALSE;
    rest = look_up(c, id, error);
    return rest &&
           (virDomainCheckpointDelete(rest, 0) == 0 || capture_error(error, "cannot delete a checkpoint"));
}

static gboolean delete_running(Capture *c, Id id, virDomainCheckpointPtr checkpoint, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(GPtrArray) disks = NULL;
    g_autoptr(GPtrArray) whole = NULL;
    guint n_tracked = 0;

    if (virDomainCheckpointDelete(checkpoint, 0) == 0 ||
        virGetLastErrorCode() == VIR_ERR_NO_DOMAIN_CHECKPOINT)
        return TRUE;
    capture_error(&why, "cannot delete a checkpoint");
    /* "Not now" must not be taken for "broken": only the bitmaps themselves tell. */
    disks = list_sizes(c, id, NULL);
    for (guint i = 0; disks && i < disks->len; i++)
        n_tracked += ((const CheckpointDisk *)disks->pdata[i])->tracked;
    whole = disks ? whole_targets(disks) : NULL;
    if (whole && whole->len < n_tracked)
        return delete_broken(c, id, checkpoint, whole, error);
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

gboolean capture_delete_checkpoint(Capture *c, Id id, GError **error)
{
    g_autoptr(GError) lookup = NULL;
    g_autoptr(virDomainCheckpoint) checkpoint = NULL;

    /* Bitmaps first: a checkpoint without them is seen to be broken, they without it are seen by nobody. */
    if (c->state == CAPTURE_OFF && !capture_remove_bitmaps(c, CHECKPOINT_NAME(id), error))
        return FALSE;
    checkpoint = look_up(c, id, &lookup);
    if (!checkpoint) {
        if (g_error_matches(lookup, US_ERROR, US_ERROR_NOT_FOUND))
            return TRUE;
        g_propagate_error(error, g_steal_pointer(&lookup));
        return FALSE;
    }
    return c->state == CAPTURE_OFF ? delete_metadata(checkpoint, error)
                                   : delete_running(c, id, checkpoint, error);
}

gboolean capture_delete_all(Capture *c, GError **error)
{
    g_autoptr(GArray) ids = capture_checkpoints(c, error);

    if (!ids)
        return FALSE;
    for (guint i = 0; i < ids->len; i++)
        if (!capture_delete_checkpoint(c, g_array_index(ids, Id, i), error))
            return FALSE;
    return c->state != CAPTURE_OFF || capture_remove_bitmaps(c, CHECKPOINT_PREFIX, error);
}
