/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/active_parts.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

static gboolean take_base(Active *a, Id checkpoint, GError **error)
{
    gboolean lost;

    a->base = checkpoint;
    active_watch_since(a, checkpoint);
    active_judge_sizes(a);
    if (!active_judge_disks(a, &lost, error))
        return FALSE;
    if (!active_tells_anything(a))
        a->base = ID_NIL;
    return TRUE;
}

/* The newest checkpoint that the standby's tip is or descends from. If it has lost track nothing older is taken:
 * an image in which only that one is left is a copy from before the tip. */
static gboolean choose_base(Active *a, const GArray *checkpoints, GError **error)
{
    const Position *position = sender_position(a->sender);

    a->base = ID_NIL;
    for (guint i = checkpoints->len; i-- > 0;) {
        Id id = g_array_index(checkpoints, Id, i);

        if (position_descends_from(position, id))
            return id_is_in(id, a->distrusted) || take_base(a, id, error);
    }
    return TRUE;
}

gboolean active_same_disks(Active *a, const Generation *g)
{
    const GPtrArray *disks = capture_disks(a->capture);

    if (disks->len != g->disks->len)
        return FALSE;
    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];
        const GenerationDisk *begun = g->disks->pdata[i];

        if (!g_str_equal(disk->target, begun->target) || disk->size_bytes != begun->size_bytes)
            return FALSE;
    }
    return TRUE;
}

Id active_tip(const Active *a)
{
    const Position *position = sender_position(a->sender);

    return position->tip ? position->tip->id : ID_NIL;
}

/* Can it tell of every disk of an unsealed generation? The base was judged already. */
static gboolean is_usable(Active *a, Id checkpoint, const GArray *checkpoints, gboolean *ret_usable,
                          GError **error)
{
    const GPtrArray *disks = capture_disks(a->capture);
    g_autofree gboolean *tells = g_new0(gboolean, MAX(disks->len, 1));

    *ret_usable = id_is_nil(checkpoint) || id_equal(checkpoint, a->base);
    if (*ret_usable || !id_is_in(checkpoint, checkpoints) || id_is_in(checkpoint, a->distrusted))
        return TRUE;
    if (!capture_tells(a->capture, checkpoint, tells, error))
        return FALSE;
    *ret_usable = TRUE;
    for (guint i = 0; i < disks->len; i++)
        *ret_usable &= tells[i] && active_same_files(a, checkpoint, ((const Disk *)disks->pdata[i])->target);
    /* It may be the moment. */
    return *ret_usable || active_has_lost_track(a, error);
}

static gboolean sends_a_disk_again(const Active *a)
{
    for (guint i = 0; i < a->begun->disks->len; i++)
        if (active_watched(a, ((const GenerationDisk *)a->begun->disks->pdata[i])->target)->whole)
            return TRUE;
    return FALSE;
}

/* As far as the cause goes. */
#define WHY_A_DISK                                                                                       \
    "a disk is another image than before, or what changed on it is not known (its image was written to " \
    "by another program, or its record of changes was lost): "
#define WHY_ALL                                                                                             \
    "what changed since the last generation is not known: no checkpoint that the standby's tip descends "   \
    "from has survived (QEMU was killed, the checkpoints were removed, or the standby was the active, and " \
    "went on by itself): "

static const char *resync_reason(const Active *a, gboolean all)
{
    if (!all)
        return sender_compares(a->sender) ? WHY_A_DISK "that disk is compared with its copy"
                                          : WHY_A_DISK "that disk is sent as a whole";
    if (id_is_nil(a->begun->parent))
        return NULL;
    return sender_compares(a->sender) ? WHY_ALL "the disks are compared with their copies"
                                      : WHY_ALL "all is sent once more";
}

/* A generation that has everything: the first one, or all once more. */
void active_show_sync(Active *a)
{
    gboolean all = id_is_nil(a->begun->since);

    if (a->sync.running || !(all || sends_a_disk_again(a)))
        return;
    a->sync = (SyncFigures){
        .running = TRUE, .resync_reason = resync_reason(a, all), .started_ms = clock_steady_ms()};
    a->sent_before = 0 - sender_payload_bytes(a->sender);
    a->compared_before = 0 - stream_compared_bytes(a->stream);
}

/* Go on with what the standby already has of an unsealed generation, if that
 * can still be completed: same disks, same parent, its checkpoints are there. */
static gboolean resume_partial(Active *a, const GArray *checkpoints, GError **error)
{
    const PositionPartial *partial = sender_position(a->sender)->partial;
    gboolean since_ok, guard_ok;

    if (!partial || !reign_equal(partial->begun->reign, a->role->reign) ||
        !id_equal(partial->begun->parent, active_tip(a)) || !active_same_disks(a, partial->begun) ||
        active_is_stale(a, partial->begun))
        return TRUE;
    if (!is_usable(a, partial->pass->since, checkpoints, &since_ok, error) ||
        !is_usable(a, partial->pass->guard, checkpoints, &guard_ok, error))
        return FALSE;
    if (!since_ok || !guard_ok)
        return TRUE;
    a->resumed = TRUE;
    a->begun = generation_copy(partial->begun);
    a->pass = pass_new(partial->pass->since, a->begun->disks->len);
    a->pass->guard = partial->pass->guard;
    for (guint i = 0; i < a->begun->disks->len; i++)
        extents_add_all(a->pass->has->pdata[i], partial->pass->has->pdata[i]);
    active_show_sync(a);
    return sender_begin(a->sender, a->begun, error);
}

/* libvirt forgets the checkpoints of a running VM that its user undefines, and their bitmaps live on
 * in QEMU. Those that the standby's position names are announced again; what is really
 * gone libvirt refuses. */
static void announce(Active *a, Id checkpoint, const Generation *with, GArray *checkpoints)
{
    g_autofree const char **targets = g_new0(const char *, with->disks->len + 1);
    g_autoptr(GPtrArray) files = active_files_at(a, checkpoint);

    if (id_is_nil(checkpoint) || id_is_in(checkpoint, checkpoints) || id_is_in(checkpoint, a->distrusted))
        return;
    for (guint i = 0; i < with->disks->len; i++)
        targets[i] = ((const GenerationDisk *)with->disks->pdata[i])->target;
    if (capture_announce(a->capture, checkpoint, files, targets, with->disks->len, NULL))
        g_array_append_val(checkpoints, checkpoint);
}

static void announce_forgotten(Active *a, GArray *checkpoints)
{
    const Position *position = sender_position(a->sender);
    const PositionPartial *partial = position->partial;

    if (partial) {
        announce(a, partial->pass->since, partial->begun, checkpoints);
        announce(a, partial->pass->guard, partial->begun, checkpoints);
    }
    if (position->tip)
        announce(a, position->tip->id, position->tip, checkpoints);
}

static gboolean is_needed(const Active *a, Id checkpoint)
{
    return id_equal(checkpoint, a->base) ||
           (a->pass && (id_equal(checkpoint, a->pass->since) || id_equal(checkpoint, a->pass->guard)));
}

/* The standby has named its tip: checkpoints that no way leads from go now. A
 * VM that is off may refuse; they cost little and go at the next attach. */
static void drop_unneeded(Active *a, const GArray *checkpoints)
{
    for (guint i = 0; i < checkpoints->len; i++) {
        Id id = g_array_index(checkpoints, Id, i);

        if (!is_needed(a, id))
            capture_delete_checkpoint(a->capture, id, NULL);
    }
    active_follow_writes(a);
}

gboolean active_reconcile(Active *a, GError **error)
{
    g_autoptr(GArray) checkpoints = capture_checkpoints(a->capture, error);

    if (!checkpoints)
        return FALSE;
    announce_forgotten(a, checkpoints);
    if (!choose_base(a, checkpoints, error) || !resume_partial(a, checkpoints, error))
        return FALSE;
    drop_unneeded(a, checkpoints);
    return TRUE;
}
