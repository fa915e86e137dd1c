/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/active_parts.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/capture/cut.h"

#define JOB_MS 8000        /* a job of ours breaks off by itself */
#define PLAN_GRACE_MS 5000 /* a plan's last generation is not broken off for every command */
/* A seed may have data where the disk has none, all of which is copied before it is hashed: more than a job has time for
 * would be copied again and again. */
#define SEEDED_HOLE_MAX (G_GUINT64_CONSTANT(4) << 20)

static guint64 next_sequence(const Active *a)
{
    const Generation *tip = sender_position(a->sender)->tip;

    return tip && reign_equal(tip->reign, a->role->reign) ? tip->sequence + 1 : 1;
}

/* A switchover waits for the last generation: nobody uses the guest meanwhile. */
Throttle *active_throttle(Active *a, const Cut *cut)
{
    return cut_is_offline(cut) || a->patience.give_up_ms ? NULL : &a->throttle;
}

Generation *active_next_generation(Active *a)
{
    const GPtrArray *disks = capture_disks(a->capture);
    Generation *g = generation_new();

    g->id = id_random();
    g->parent = active_tip(a);
    g->since = a->base;
    g->reign = a->role->reign;
    g->sequence = next_sequence(a);
    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];

        generation_add_disk(g, disk->target, disk->size_bytes);
    }
    return g;
}

static gboolean begin(Active *a, GError **error)
{
    g_autoptr(Generation) g = active_next_generation(a);

    if (!sender_begin(a->sender, g, error))
        return FALSE;
    a->resumed = FALSE;
    a->begun = g_steal_pointer(&g);
    a->pass = pass_new(a->base, a->begun->disks->len);
    active_show_sync(a);
    return TRUE;
}

/* How much of each disk lies on the standby already: of the tip, or before there is one, of a seed. */
static guint64 *copies_of(const Active *a)
{
    const Generation *tip = sender_position(a->sender)->tip;
    guint64 *copies = g_new0(guint64, MAX(a->begun->disks->len, 1));

    for (guint i = 0; i < a->begun->disks->len; i++) {
        const GenerationDisk *disk = a->begun->disks->pdata[i];
        const GenerationDisk *before = tip ? generation_find_disk(tip, disk->target) : NULL;

        if (!tip)
            copies[i] = position_seed_bytes(sender_position(a->sender), disk->target);
        else
            copies[i] = before ? before->size_bytes : 0;
    }
    return copies;
}

/* A disk that the tip does not have, or of which the base cannot tell, is read whole, whatever the others need. */
static CutWish wish_of(Active *a, const GenerationDisk *disk)
{
    const Generation *tip = sender_position(a->sender)->tip;
    const GenerationDisk *before = tip ? generation_find_disk(tip, disk->target) : NULL;
    const WatchedDisk *w = active_watched(a, disk->target);
    CutWish wish = {.target = disk->target, .since = a->pass->since, .since_size_bytes = disk->size_bytes};

    if (!id_equal(a->pass->since, a->base))
        return wish;
    if (!before || w->whole)
        wish.since = ID_NIL;
    else
        wish.since_size_bytes = MIN(before->size_bytes, w->least_bytes);
    wish.zeros_changed = w->holes;
    return wish;
}

/* One list a disk, or NULL. */
static GPtrArray *resend_of(const Active *a)
{
    GPtrArray *lists = a->resend ? g_ptr_array_new_with_free_func((GDestroyNotify)extents_free) : NULL;

    for (guint i = 0; lists && i < a->begun->disks->len; i++) {
        const Extents *ranges =
            g_hash_table_lookup(a->resend, ((const GenerationDisk *)a->begun->disks->pdata[i])->target);

        g_ptr_array_add(lists, ranges ? extents_copy(ranges) : extents_new());
    }
    return lists;
}

static CutWish *wishes_of(Active *a)
{
    CutWish *wishes = g_new0(CutWish, MAX(a->begun->disks->len, 1));

    for (guint i = 0; i < a->begun->disks->len; i++)
        wishes[i] = wish_of(a, a->begun->disks->pdata[i]);
    return wishes;
}

static void on_stream(void *user, guint64 done_bytes, guint64 total_bytes)
{
    Active *a = user;

    a->sync.done_bytes = total_bytes ? done_bytes : 0;
    a->sync.total_bytes = total_bytes;
    a->sync.sent_bytes = a->sent_before + sender_payload_bytes(a->sender);
    a->sync.compared_bytes = a->compared_before + stream_compared_bytes(a->stream);
    if (a->on_progress)
        a->on_progress(a->user);
}

typedef struct {
    Id checkpoint; /* that the job made; nil: none */
    gint64 asked_at_ms;
    gint64 asked_at_wall_ms;
    gboolean frozen;
    gboolean all;          /* nothing is left of this pass */
    GPtrArray *belongings; /* NULL: this job cannot seal */
    char *incomplete;
    Cut *cut; /* open until the standby has been told what to do with what came */
} Job;

static void job_clear(Job *job)
{
    g_clear_pointer(&job->cut, cut_free);
    g_clear_pointer(&job->belongings, g_ptr_array_unref);
    g_clear_pointer(&job->incomplete, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Job, job_clear)

gboolean active_expect_sizes(const Generation *g, const Cut *cut, GError **error)
{
    for (guint i = 0; i < g->disks->len; i++) {
        const GenerationDisk *disk = g->disks->pdata[i];

        if (cut_disk(cut, i)->size_bytes == disk->size_bytes)
            continue;
        g_set_error(error, US_ERROR, US_ERROR_CANCELLED,
                    "disk %s got another size before it could be read; it is looked at again", disk->target);
        return FALSE;
    }
    return TRUE;
}

/* They have no part in the job, whose instant lies between these two looks. What was written meanwhile
 * is sealed as it was found after it, says so, and is soon followed by a generation that is whole. */
static gboolean begin_cut(Active *a, Job *job, const CutWish *wishes, GError **error)
{
    g_autoptr(GPtrArray) before = NULL;
    g_autofree char *why = NULL;
    gboolean begun;

    if (!id_is_nil(job->checkpoint))
        before = capture_belongings(a->capture, &why);
    begun = cut_begin(a->capture, wishes, a->begun->disks->len, job->checkpoint, &job->cut, error);
    active_follow_writes(a);
    if (!begun || !active_expect_sizes(a->begun, job->cut, error) || !active_expect_untouched(a, error))
        return FALSE;
    if (!before)
        return TRUE;
    job->belongings = capture_belongings(a->capture, &job->incomplete);
    if (!job->incomplete && (why || !belongings_equal(before, job->belongings)))
        job->incomplete =
            g_strdup("firmware variables or TPM state were written at the moment of the cut: they may "
                     "be some milliseconds newer than the disks");
    return TRUE;
}

/* One job: cut, stream. It was open to the last read. */
static gboolean run_job(Active *a, Job *job, GError **error)
{
    g_autofree CutWish *wishes = wishes_of(a);
    g_autofree guint64 *copies = sender_compares(a->sender) ? copies_of(a) : NULL;
    /* Once: what changes after that is in the next pass' own record. */
    g_autoptr(GPtrArray) also = id_equal(a->pass->since, a->base) ? resend_of(a) : NULL;
    StreamLimits limits = {.wake_fd = a->patience.wake_fd,
                           .wake_grace_ms = a->patience.give_up_ms ? PLAN_GRACE_MS : ACTIVE_GRACE_MS,
                           .copies = copies,
                           .also = also,
                           .hole_max = id_is_nil(a->begun->parent) ? SEEDED_HOLE_MAX : 0,
                           .blank = id_is_nil(a->begun->parent) && id_is_nil(a->pass->since) && !a->resumed};

    job->checkpoint = pass_is_first_job(a->pass) ? id_random() : ID_NIL;
    if (!begin_cut(a, job, wishes, error))
        return FALSE;
    job->asked_at_ms = cut_asked_at_ms(job->cut);
    job->asked_at_wall_ms = cut_asked_at_wall_ms(job->cut);
    job->frozen = cut_is_frozen(job->cut);
    /* A VM that is off is read in short turns, too: what was sent is kept if its user starts it. */
    limits.end_by_ms = job->asked_at_ms + JOB_MS;
    if (a->patience.give_up_ms)
        limits.end_by_ms = MIN(limits.end_by_ms, a->patience.give_up_ms);
    limits.scratch_max_bytes = cut_scratch_bytes(job->cut) / ACTIVE_SCRATCH_SHARE;
    limits.throttle = active_throttle(a, job->cut);
    return stream_run(a->stream, job->cut, a->sender, a->pass, &limits, on_stream, a, &job->all, error) &&
           cut_still_valid(job->cut, error);
}

/* The guest is let go while the standby is busy with its disk. An end that fails undoes nothing: what
 * was read stays true, and the next cycle finds the job. */
static gboolean end_job(Job *job, GError **error)
{
    return cut_end(g_steal_pointer(&job->cut), error);
}

static void drop_older(Active *a, Id base, Id since)
{
    if (!id_is_nil(base))
        capture_delete_checkpoint(a->capture, base, NULL);
    if (!id_is_nil(since) && !id_equal(since, base))
        capture_delete_checkpoint(a->capture, since, NULL);
}

/* The job's instant is on the standby: that is the truth from now on, and only
 * now the older checkpoint may go. */
static gboolean seal(Active *a, Job *job, GError **error)
{
    gboolean off = cut_is_offline(job->cut);
    g_autoptr(Generation) g = generation_copy(a->begun);
    Id guard_before = a->pass->since;
    Id base_before = a->base;

    g->id = job->checkpoint;
    g->cut_at_ms = job->asked_at_wall_ms;
    g->frozen = job->frozen;
    g->definition = g_strdup(capture_definition(a->capture));
    g_ptr_array_unref(g->belongings);
    g->belongings = g_steal_pointer(&job->belongings);
    g->incomplete = g_steal_pointer(&job->incomplete);
    if (!sender_seal(a->sender, g, error) || !end_job(job, error) || !sender_sealed(a->sender, g, error))
        return FALSE;
    active_forget_begun(a);
    a->base = g->id;
    active_watch_anew(a, g->id, off);
    a->truth_ms = job->asked_at_ms;
    a->spool_bytes = 0;
    active_forget_resend(a);
    if (a->sync.running)
        a->synced_bytes += a->sent_before + sender_payload_bytes(a->sender);
    a->sync = (SyncFigures){0};
    g_free(a->definition);
    a->definition = g_steal_pointer(&g->definition);
    drop_older(a, base_before, guard_before);
    active_follow_writes(a);
    return TRUE;
}

/* The pass goes on in another job, or the next pass begins: durable first. */
static gboolean slice(Active *a, Job *job, GError **error)
{
    Id since = a->pass->since;

    if (job->all)
        pass_next(a->pass);
    else
        pass_break(a->pass, job->checkpoint);
    if (!sender_slice(a->sender, a->pass, error) || !end_job(job, error) || !sender_sliced(a->sender, error))
        return FALSE;
    active_forget_stale(a);
    if (job->all && !id_is_nil(since) && !id_equal(since, a->base))
        capture_delete_checkpoint(a->capture, since, NULL);
    active_follow_writes(a);
    return TRUE;
}

gboolean active_make_generation(Active *a, ActiveOutcome *ret_outcome, GError **error)
{
    g_auto(Job) job = {0};
    gboolean first;

    if (!a->begun && !begin(a, error))
        return FALSE;
    first = pass_is_first_job(a->pass);
    if (!run_job(a, &job, error))
        return FALSE;
    *ret_outcome = job.all && first ? ACTIVE_SEALED : ACTIVE_UNFINISHED;
    return *ret_outcome == ACTIVE_SEALED ? seal(a, &job, error) : slice(a, &job, error);
}
