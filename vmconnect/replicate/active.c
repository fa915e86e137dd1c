/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/active.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/capture/cut.h"
#include "vmconnect/link/dial.h"

#define CONNECT_MS 10000
#define DIAL_MS 10000
#define JOB_MS 8000         /* a job of ours breaks off by itself … */
#define JOB_RESCUE_MS 10000 /* … and is ended by the rescuer if it does not */
#define PLAN_GRACE_MS 5000  /* a plan's last generation is not broken off for every command */
#define SCRATCH_SHARE 5     /* … or at a fifth of its scratch; the rescuer's limit is a quarter */

Active *active_new(ActiveRole *role, const HostPaths *paths, Identity *identity, Rescuer *rescuer,
                   int wake_fd)
{
    Active *a = g_new0(Active, 1);

    a->vm = role->vm;
    a->role = role;
    a->paths = *paths;
    a->identity = identity_ref(identity);
    a->rescuer = rescuer;
    a->patience.wake_fd = wake_fd;
    a->distrusted = g_array_new(FALSE, FALSE, sizeof(Id));
    a->connection = connection_new(paths->libvirt_uri, NULL, NULL);
    return a;
}

/* What was sent of the unsealed generation counts only with this link. */
static void forget_begun(Active *a)
{
    g_clear_pointer(&a->begun, generation_free);
    g_clear_pointer(&a->pass, pass_free);
}

static void drop_sender(Active *a)
{
    forget_begun(a);
    if (a->sender)
        a->sent_before += sender_payload_bytes(a->sender);
    /* The sender borrows the stream's blocks. */
    g_clear_pointer(&a->sender, sender_free);
    g_clear_pointer(&a->stream, stream_free);
}

void active_detach(Active *a)
{
    if (a->sender)
        sender_close(g_steal_pointer(&a->sender));
    drop_sender(a);
}

void active_free(Active *a)
{
    if (!a)
        return;
    active_detach(a);
    capture_free(a->capture);
    connection_free(a->connection);
    identity_unref(a->identity);
    active_role_free(a->role);
    g_free(a->definition);
    g_array_unref(a->distrusted);
    if (a->signatures)
        g_array_unref(a->signatures);
    g_free(a);
}

static gboolean same_link(const ActiveRole *a, const ActiveRole *b)
{
    return reign_equal(a->reign, b->reign) && id_equal(a->standby, b->standby) &&
           g_str_equal(a->scenario, b->scenario) &&
           g_strv_equal((const char *const *)a->addresses, (const char *const *)b->addresses);
}

/* What was true of the former standby. */
static void forget_standby(Active *a)
{
    a->truth_ms = 0;
    a->sync = (SyncFigures){0};
    a->sent_before = 0;
    g_clear_pointer(&a->definition, g_free);
    g_clear_pointer(&a->signatures, g_array_unref);
}

void active_set_role(Active *a, ActiveRole *role)
{
    const ReplicationSettings *s = &role->settings;

    if (!same_link(a->role, role))
        active_detach(a);
    if (!id_equal(a->role->standby, role->standby))
        forget_standby(a);
    if (s->scratch_bytes != a->role->settings.scratch_bytes)
        g_clear_pointer(&a->capture, capture_free);
    active_role_free(a->role);
    a->role = role;
    if (a->capture)
        capture_set_freeze(a->capture, s->freeze);
    if (a->sender)
        sender_set_limits(a->sender, s->bandwidth_bytes_per_s, squeeze_mode(s->compress));
}

/* --- libvirt ----------------------------------------------------------- */

virConnectPtr active_connection(Active *a, GError **error)
{
    return connection_get(a->connection, CONNECT_MS, error);
}

static gboolean open_capture(Active *a, GError **error)
{
    CaptureSettings settings = {
        .run_dir = a->paths.run_dir,
        .nbd_dir = a->paths.nbd_dir,
        .scratch_dir = a->paths.scratch_dir,
        .scratch_bytes = a->role->settings.scratch_bytes,
        .job_ms = JOB_RESCUE_MS,
        .rescuer = a->rescuer,
        .cancel_fd = -1,
    };
    virConnectPtr conn = active_connection(a, error);

    if (!conn)
        return FALSE;
    if (a->capture && a->connection_count == connection_count(a->connection))
        return TRUE;
    g_clear_pointer(&a->capture, capture_free);
    a->connection_count = connection_count(a->connection);
    a->capture = capture_new(conn, a->vm, &settings, error);
    if (!a->capture)
        return FALSE;
    capture_set_freeze(a->capture, a->role->settings.freeze);
    if (capture_recover(a->capture, error))
        return TRUE;
    g_clear_pointer(&a->capture, capture_free);
    return FALSE;
}

gboolean active_look(Active *a, CaptureState *ret_state, GError **error)
{
    if (!open_capture(a, error) || !capture_look(a->capture, error))
        return FALSE;
    *ret_state = capture_state(a->capture);
    return TRUE;
}

static gboolean refuse_problems(Active *a, GError **error)
{
    g_autoptr(GPtrArray) problems = capture_problems(a->capture, NULL);

    if (problems->len == 0)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "%s", (const char *)problems->pdata[0]);
    return FALSE;
}

/* --- where to go on from ----------------------------------------------- */

static gboolean has_id(const GArray *ids, Id id)
{
    for (guint i = 0; i < ids->len; i++)
        if (id_equal(g_array_index(ids, Id, i), id))
            return TRUE;
    return FALSE;
}

/* Can this checkpoint still tell what changed? A running VM's are asked; those of
 * one that is off are judged by the cut. */
static gboolean is_healthy(Active *a, Id checkpoint, gboolean *ret_healthy, GError **error)
{
    g_autofree guint64 *bytes = g_new(guint64, MAX(capture_disks(a->capture)->len, 1));
    g_autoptr(GError) why = NULL;

    *ret_healthy = TRUE;
    if (capture_state(a->capture) != CAPTURE_RUNNING || capture_spool(a->capture, checkpoint, bytes, &why))
        return TRUE;
    if (!g_error_matches(why, US_ERROR, US_ERROR_TRACKING_LOST) &&
        !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    *ret_healthy = FALSE;
    return TRUE;
}

/* The newest healthy checkpoint that the standby's tip is or descends from. */
static gboolean choose_base(Active *a, const GArray *checkpoints, GError **error)
{
    const Position *position = sender_position(a->sender);

    a->base = ID_NIL;
    for (guint i = checkpoints->len; i-- > 0;) {
        Id id = g_array_index(checkpoints, Id, i);
        gboolean healthy;

        if (!position_descends_from(position, id) || has_id(a->distrusted, id))
            continue;
        if (!is_healthy(a, id, &healthy, error))
            return FALSE;
        if (healthy) {
            a->base = id;
            return TRUE;
        }
    }
    return TRUE;
}

static gboolean same_disks(Active *a, const Generation *g)
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

static Id id_of_tip(const Active *a)
{
    const Position *position = sender_position(a->sender);

    return position->tip ? position->tip->id : ID_NIL;
}

static gboolean is_usable(Active *a, Id checkpoint, const GArray *checkpoints, gboolean *ret_usable,
                          GError **error)
{
    *ret_usable =
        id_is_nil(checkpoint) || (has_id(checkpoints, checkpoint) && !has_id(a->distrusted, checkpoint));
    if (!*ret_usable || id_is_nil(checkpoint))
        return TRUE;
    return is_healthy(a, checkpoint, ret_usable, error);
}

/* A generation that has everything: the first one, or all once more. */
static void show_sync(Active *a)
{
    if (a->sync.running || !id_is_nil(a->begun->since))
        return;
    a->sync = (SyncFigures){.running = TRUE, .started_ms = clock_steady_ms()};
    a->sent_before = 0;
    if (!id_is_nil(a->begun->parent))
        a->sync.resync_reason =
            "what changed since the last generation is not known: no checkpoint that the "
            "standby's tip descends from has survived (QEMU was killed, or the checkpoints "
            "were removed)";
}

/* Go on with what the standby already has of an unsealed generation, if that
 * can still be completed: same disks, same parent, its checkpoints are there. */
static gboolean resume_partial(Active *a, const GArray *checkpoints, GError **error)
{
    const PositionPartial *partial = sender_position(a->sender)->partial;
    gboolean since_ok, guard_ok;

    if (!partial || !reign_equal(partial->begun->reign, a->role->reign) ||
        !id_equal(partial->begun->parent, id_of_tip(a)) || !same_disks(a, partial->begun))
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
    show_sync(a);
    return sender_begin(a->sender, a->begun, error);
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
}

static gboolean reconcile(Active *a, GError **error)
{
    g_autoptr(GArray) checkpoints = capture_checkpoints(a->capture, error);

    if (!checkpoints || !choose_base(a, checkpoints, error) || !resume_partial(a, checkpoints, error))
        return FALSE;
    drop_unneeded(a, checkpoints);
    return TRUE;
}

static gboolean attach(Active *a, GError **error)
{
    LinkSettings settings = {.identity = a->identity, .purpose = PURPOSE_BULK, .expect = a->role->standby};
    Attach me = {
        .vm = a->vm, .scenario = a->role->scenario, .reign = a->role->reign, .standby = a->role->standby};
    Link *link;

    if (a->sender)
        return TRUE;
    link = dial_blocking((const char *const *)a->role->addresses, &settings, DIAL_MS, -1, error);
    if (!link)
        return FALSE;
    a->sender = sender_attach(link, &me, &a->patience, error);
    if (!a->sender)
        return FALSE;
    a->stream = stream_new();
    sender_set_limits(a->sender, a->role->settings.bandwidth_bytes_per_s,
                      squeeze_mode(a->role->settings.compress));
    if (reconcile(a, error))
        return TRUE;
    /* A link without a base would send everything again. */
    drop_sender(a);
    return FALSE;
}

/* --- is there anything to do? ------------------------------------------ */

static GArray *read_signatures(Active *a)
{
    const GPtrArray *disks = capture_disks(a->capture);
    GArray *all = g_array_new(FALSE, TRUE, sizeof(Signature));

    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];
        Signature s = {0};

        if (!signature_read(disk->source, &s, NULL)) {
            g_array_unref(all);
            return NULL;
        }
        g_array_append_val(all, s);
    }
    return all;
}

static gboolean same_signatures(const GArray *a, const GArray *b)
{
    if (!a || !b || a->len != b->len)
        return FALSE;
    for (guint i = 0; i < a->len; i++)
        if (!signature_equal(&g_array_index(a, Signature, i), &g_array_index(b, Signature, i)))
            return FALSE;
    return TRUE;
}

static gboolean sum_spool(Active *a, GError **error)
{
    guint n = capture_disks(a->capture)->len;
    g_autofree guint64 *bytes = g_new(guint64, MAX(n, 1));
    guint64 sum = 0;

    if (!capture_spool(a->capture, a->base, bytes, error))
        return FALSE;
    for (guint i = 0; i < n; i++) {
        const Disk *disk = capture_disks(a->capture)->pdata[i];

        sum += bytes[i] == G_MAXUINT64 ? disk->size_bytes : bytes[i];
    }
    a->spool_bytes = sum;
    return TRUE;
}

/* Sizes and set of disks as the tip has them, and the definition as it was sealed. */
static gboolean same_shape(Active *a)
{
    return same_disks(a, sender_position(a->sender)->tip) &&
           g_strcmp0(a->definition, capture_definition(a->capture)) == 0;
}

static gboolean is_unchanged(Active *a, gboolean *ret_unchanged, GError **error)
{
    g_autoptr(GArray) now = NULL;

    *ret_unchanged = FALSE;
    if (id_is_nil(a->base))
        return TRUE;
    if (capture_state(a->capture) == CAPTURE_RUNNING) {
        if (!sum_spool(a, error))
            return FALSE;
        *ret_unchanged = a->spool_bytes == 0 && same_shape(a);
        return TRUE;
    }
    now = read_signatures(a);
    *ret_unchanged = same_signatures(a->signatures, now) && same_shape(a);
    return TRUE;
}

/* --- one generation ---------------------------------------------------- */

static guint64 next_sequence(const Active *a)
{
    const Generation *tip = sender_position(a->sender)->tip;

    return tip && reign_equal(tip->reign, a->role->reign) ? tip->sequence + 1 : 1;
}

static gboolean begin(Active *a, GError **error)
{
    const GPtrArray *disks = capture_disks(a->capture);
    g_autoptr(Generation) g = generation_new();

    g->id = id_random();
    g->parent = id_of_tip(a);
    g->since = a->base;
    g->reign = a->role->reign;
    g->sequence = next_sequence(a);
    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];

        generation_add_disk(g, disk->target, disk->size_bytes);
    }
    if (!sender_begin(a->sender, g, error))
        return FALSE;
    a->resumed = FALSE;
    a->begun = g_steal_pointer(&g);
    a->pass = pass_new(a->base, a->begun->disks->len);
    show_sync(a);
    return TRUE;
}

/* A disk that the tip does not have is read whole, whatever the others need. */
static CutWish *wishes_of(Active *a)
{
    const Generation *tip = sender_position(a->sender)->tip;
    CutWish *wishes = g_new0(CutWish, MAX(a->begun->disks->len, 1));

    for (guint i = 0; i < a->begun->disks->len; i++) {
        const GenerationDisk *disk = a->begun->disks->pdata[i];
        const GenerationDisk *before = tip ? generation_find_disk(tip, disk->target) : NULL;
        gboolean first_pass = id_equal(a->pass->since, a->base);

        wishes[i] =
            (CutWish){.target = disk->target, .since = a->pass->since, .since_size_bytes = disk->size_bytes};
        if (first_pass && before)
            wishes[i].since_size_bytes = before->size_bytes;
        else if (first_pass)
            wishes[i].since = ID_NIL;
    }
    return wishes;
}

static void on_stream(void *user, guint64 done_bytes, guint64 total_bytes)
{
    Active *a = user;

    a->sync.done_bytes = total_bytes ? done_bytes : 0;
    a->sync.total_bytes = total_bytes;
    a->sync.sent_bytes = a->sent_before + sender_payload_bytes(a->sender);
    if (a->on_progress)
        a->on_progress(a->user);
}

typedef struct {
    Id checkpoint; /* that the job made; nil: none */
    gint64 asked_at_ms;
    gint64 asked_at_wall_ms;
    gboolean frozen;
    gboolean all; /* nothing is left of this pass */
} Job;

/* One job: cut, stream, end. */
static gboolean run_job(Active *a, Job *job, GError **error)
{
    g_autofree CutWish *wishes = wishes_of(a);
    g_autoptr(Cut) cut = NULL;
    gboolean offline = capture_state(a->capture) == CAPTURE_OFF;
    StreamLimits limits = {.wake_fd = a->patience.wake_fd,
                           .wake_grace_ms = a->patience.give_up_ms ? PLAN_GRACE_MS : 0,
                           .end_by_ms = a->patience.give_up_ms,
                           .blank = id_is_nil(a->begun->parent) && id_is_nil(a->pass->since) && !a->resumed};

    job->checkpoint = pass_is_first_job(a->pass) ? id_random() : ID_NIL;
    /* libvirt makes no checkpoint in a cut of a VM that is off: it is there before. */
    if (offline && !id_is_nil(job->checkpoint) &&
        !capture_create_checkpoint(a->capture, job->checkpoint, error))
        return FALSE;
    if (!cut_begin(a->capture, wishes, a->begun->disks->len, offline ? ID_NIL : job->checkpoint, &cut, error))
        return FALSE;
    job->asked_at_ms = cut_asked_at_ms(cut);
    job->asked_at_wall_ms = cut_asked_at_wall_ms(cut);
    job->frozen = cut_is_frozen(cut);
    if (!offline) {
        limits.end_by_ms = job->asked_at_ms + JOB_MS;
        limits.scratch_max_bytes = a->role->settings.scratch_bytes / SCRATCH_SHARE;
    }
    return stream_run(a->stream, cut, a->sender, a->pass, &limits, on_stream, a, &job->all, error) &&
           cut_still_valid(cut, error) && cut_end(g_steal_pointer(&cut), error);
}

/* The job's instant is on the standby: that is the truth from now on, and only
 * now the older checkpoint may go. */
static gboolean seal(Active *a, const Job *job, GError **error)
{
    g_autoptr(Generation) g = generation_copy(a->begun);
    Id guard_before = a->pass->since;
    Id base_before = a->base;

    g->id = job->checkpoint;
    g->cut_at_ms = job->asked_at_wall_ms;
    g->frozen = job->frozen;
    g->definition = g_strdup(capture_definition(a->capture));
    if (!sender_seal(a->sender, g, error))
        return FALSE;
    forget_begun(a);
    a->base = g->id;
    a->truth_ms = job->asked_at_ms;
    a->spool_bytes = 0;
    a->sync = (SyncFigures){0};
    g_free(a->definition);
    a->definition = g_steal_pointer(&g->definition);
    if (!id_is_nil(base_before))
        capture_delete_checkpoint(a->capture, base_before, NULL);
    if (!id_is_nil(guard_before) && !id_equal(guard_before, base_before))
        capture_delete_checkpoint(a->capture, guard_before, NULL);
    /* Of a VM that is off deleting writes into the images: look after it. */
    g_clear_pointer(&a->signatures, g_array_unref);
    if (capture_state(a->capture) == CAPTURE_OFF)
        a->signatures = read_signatures(a);
    return TRUE;
}

/* The pass goes on in another job, or the next pass begins: durable first. */
static gboolean slice(Active *a, const Job *job, GError **error)
{
    Id since = a->pass->since;

    if (job->all)
        pass_next(a->pass);
    else
        pass_break(a->pass, job->checkpoint);
    if (!sender_slice(a->sender, a->pass, error))
        return FALSE;
    if (job->all && !id_is_nil(since) && !id_equal(since, a->base))
        capture_delete_checkpoint(a->capture, since, NULL);
    return TRUE;
}

static gboolean make_generation(Active *a, ActiveOutcome *ret_outcome, GError **error)
{
    Job job = {0};
    gboolean first;

    if (!a->begun && !begin(a, error))
        return FALSE;
    first = pass_is_first_job(a->pass);
    if (!run_job(a, &job, error))
        return FALSE;
    *ret_outcome = job.all && first ? ACTIVE_SEALED : ACTIVE_UNFINISHED;
    return *ret_outcome == ACTIVE_SEALED ? seal(a, &job, error) : slice(a, &job, error);
}

static gboolean confirm(Active *a, gint64 asked_at_ms, gint64 wall_ms, GError **error)
{
    if (!sender_confirm(a->sender, wall_ms, error))
        return FALSE;
    a->truth_ms = asked_at_ms;
    return TRUE;
}

static gboolean cycle(Active *a, ActiveOutcome *ret_outcome, GError **error)
{
    gint64 asked_at_ms = clock_steady_ms();
    gint64 wall_ms = clock_wall_ms();
    CaptureState state;
    gboolean unchanged;

    if (!active_look(a, &state, error))
        return FALSE;
    if (state == CAPTURE_ENDING || state == CAPTURE_IO_ERROR) {
        g_set_error(error, US_ERROR, US_ERROR_BUSY,
                    state == CAPTURE_ENDING ? "not cutting: the guest is going down"
                                            : "not cutting: the guest stands still after an I/O error");
        return FALSE;
    }
    /* A disk came, went or grew: the standby must hear of another generation. */
    if (a->begun && !same_disks(a, a->begun))
        drop_sender(a);
    if (!refuse_problems(a, error) || !attach(a, error))
        return FALSE;
    if (a->begun)
        return make_generation(a, ret_outcome, error);
    if (!is_unchanged(a, &unchanged, error))
        return FALSE;
    *ret_outcome = ACTIVE_CONFIRMED;
    return unchanged ? confirm(a, asked_at_ms, wall_ms, error) : make_generation(a, ret_outcome, error);
}

static void distrust(Active *a, Id checkpoint)
{
    if (!id_is_nil(checkpoint) && !has_id(a->distrusted, checkpoint))
        g_array_append_val(a->distrusted, checkpoint);
}

gboolean active_cycle(Active *a, ActiveOutcome *ret_outcome, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (cycle(a, ret_outcome, &why))
        return TRUE;
    if (g_error_matches(why, US_ERROR, US_ERROR_TRACKING_LOST))
        distrust(a, a->pass ? a->pass->since : a->base);
    /* Before the standby was asked anything a busy VM is no reason to leave it. */
    if (!a->sender || a->begun || !g_error_matches(why, US_ERROR, US_ERROR_BUSY))
        drop_sender(a);
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

gboolean active_remove_traces(Active *a, GError **error)
{
    CaptureState state;

    active_detach(a);
    return active_look(a, &state, error) && capture_delete_all(a->capture, error);
}

gboolean active_measure(Active *a, GError **error)
{
    CaptureState state;

    if (!active_look(a, &state, error))
        return FALSE;
    return state != CAPTURE_RUNNING || id_is_nil(a->base) || sum_spool(a, error);
}
