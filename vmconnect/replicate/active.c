/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/active_parts.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/readable.h"
#include "vmconnect/link/dial.h"

#include <string.h>

#define CONNECT_MS 10000
#define AGENT_MS 30000 /* so long a guest that is being started is left alone, until its agent is there … */
#define AGENT_KNOWN_MS 120000 /* … and so long one that had an agent before it was started */
#define CLOSING_MS 15000
#define DOUBT_MS 3000            /* what looks lost for so long is … */
#define DOUBT_FORGOTTEN_MS 30000 /* … unless so much lies between two looks */
#define DIAL_MS 10000
#define JOB_RESCUE_MS 10000 /* … and is ended by the rescuer if it does not */

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
    a->watched = active_watched_new();
    a->start_mark = -1;
    a->distrusted = g_array_new(FALSE, FALSE, sizeof(Id));
    a->connection = connection_new(paths->libvirt_uri, NULL, NULL);
    return a;
}

/* What was sent of the unsealed generation counts only with this link. */
void active_forget_begun(Active *a)
{
    g_clear_pointer(&a->begun, generation_free);
    g_clear_pointer(&a->pass, pass_free);
}

static void drop_sender(Active *a)
{
    active_forget_begun(a);
    if (a->sender) {
        a->sent_before += sender_payload_bytes(a->sender);
        a->payload_before += sender_payload_bytes(a->sender);
    }
    if (a->stream)
        a->compared_before += stream_compared_bytes(a->stream);
    /* The sender borrows the stream's blocks. */
    g_clear_pointer(&a->sender, sender_free);
    g_clear_pointer(&a->stream, stream_free);
}

void active_detach(Active *a)
{
    if (a->sender) {
        a->payload_before += sender_payload_bytes(a->sender);
        sender_close(g_steal_pointer(&a->sender));
    }
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
    g_free(a->judged);
    active_forget_resend(a);
    throttle_clear(&a->throttle);
    g_ptr_array_unref(a->watched);
    g_array_unref(a->distrusted);
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
    a->synced_bytes = 0;
    a->sent_before = a->compared_before = 0;
    g_clear_pointer(&a->definition, g_free);
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
        .permit_dir = a->paths.permit_dir,
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

/* Headers of images that QEMU has open are changed by nobody else: they are read once, until the
 * running VM is another. */
static gboolean refuse_problems(Active *a, GError **error)
{
    const char *live = capture_state(a->capture) == CAPTURE_OFF ? NULL : capture_live(a->capture);
    g_autoptr(GPtrArray) problems = NULL;

    if (live && g_strcmp0(live, a->judged) == 0)
        return TRUE;
    problems = capture_problems(a->capture, NULL);
    g_free(a->judged);
    a->judged = problems->len == 0 ? g_strdup(live) : NULL;
    if (problems->len == 0)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "%s", (const char *)problems->pdata[0]);
    return FALSE;
}

/* For a standby that has a seed: how the disks' images are called here. */
static json_t *images_of(const Active *a)
{
    const GPtrArray *disks = capture_disks(a->capture);
    json_t *images = json_object();

    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];
        g_autofree char *name = disk->source ? g_path_get_basename(disk->source) : NULL;
        gboolean usable = name && !strchr(name, '/') && g_utf8_validate(name, -1, NULL);

        json_object_set_new(images, disk->target, json_string(usable ? name : ""));
    }
    return images;
}

/* @images: as Attach has them. */
static Sender *dial_standby(Active *a, json_t *images, gint64 timeout_ms, GError **error)
{
    LinkSettings settings = {.identity = a->identity, .purpose = PURPOSE_BULK, .expect = a->role->standby};
    Attach me = {.vm = a->vm,
                 .scenario = a->role->scenario,
                 .reign = a->role->reign,
                 .standby = a->role->standby,
                 .images = images};
    Link *link = dial_blocking((const char *const *)a->role->addresses, &settings, timeout_ms, -1, error);

    return link ? sender_attach(link, &me, &a->patience, error) : NULL;
}

gboolean active_is_waited_for(const Active *a, int wait_ms)
{
    return readable_within(a->patience.wake_fd, wait_ms);
}

gboolean active_is_acknowledged(Active *a, gint64 timeout_ms, GError **error)
{
    Sender *sender = dial_standby(a, NULL, timeout_ms, error);

    if (!sender)
        return FALSE;
    sender_close(sender);
    return TRUE;
}

static gboolean attach(Active *a, gint64 timeout_ms, GError **error)
{
    json_auto_t *images = NULL;

    if (a->sender)
        return TRUE;
    images = images_of(a);
    a->sender = dial_standby(a, images, timeout_ms, error);
    if (!a->sender)
        return FALSE;
    a->stream = stream_new();
    sender_set_limits(a->sender, a->role->settings.bandwidth_bytes_per_s,
                      squeeze_mode(a->role->settings.compress));
    if (active_reconcile(a, error))
        return TRUE;
    /* A link without a base would send everything again. */
    drop_sender(a);
    return FALSE;
}

/* --- is there anything to do? ------------------------------------------ */

/* *@ret_told_all: of no disk it is unknown. */
static gboolean sum_spool(Active *a, gboolean *ret_told_all, GError **error)
{
    guint n = capture_disks(a->capture)->len;
    g_autofree guint64 *bytes = g_new(guint64, MAX(n, 1));
    guint64 sum = 0;

    if (!capture_spool(a->capture, a->base, bytes, error))
        return FALSE;
    *ret_told_all = TRUE;
    for (guint i = 0; i < n; i++) {
        const Disk *disk = capture_disks(a->capture)->pdata[i];

        *ret_told_all &= bytes[i] != G_MAXUINT64;
        sum += bytes[i] == G_MAXUINT64 ? disk->size_bytes : bytes[i];
    }
    a->spool_bytes = sum;
    return TRUE;
}

/* What the tip says of them is what would be said now; one whose instant was missed gets a successor. */
static gboolean same_belongings(Active *a, const Generation *tip)
{
    g_autofree char *why = NULL;
    g_autoptr(GPtrArray) now = capture_belongings(a->capture, &why);

    return belongings_equal(now, tip->belongings) && g_strcmp0(why, tip->incomplete) == 0;
}

/* All but the disks' data: sizes and set of disks as the tip has them, the definition as it was
 * sealed, firmware variables and TPM state. */
static gboolean same_shape(Active *a)
{
    const Generation *tip = sender_position(a->sender)->tip;

    return active_same_disks(a, tip) && g_strcmp0(a->definition, capture_definition(a->capture)) == 0 &&
           same_belongings(a, tip);
}

static gboolean is_unchanged_running(Active *a, gboolean *ret_unchanged, GError **error)
{
    gboolean told_all, lost;

    if (!sum_spool(a, &told_all, error) || !(told_all || active_judge_disks(a, &lost, error)))
        return FALSE;
    *ret_unchanged = a->spool_bytes == 0 && same_shape(a);
    return TRUE;
}

static gboolean is_unchanged_off(Active *a, gboolean *ret_unchanged, GError **error)
{
    gboolean lost;

    *ret_unchanged = active_is_clean(a) && same_shape(a);
    return *ret_unchanged || active_judge_disks(a, &lost, error);
}

static gboolean is_unchanged(Active *a, gboolean *ret_unchanged, GError **error)
{
    *ret_unchanged = FALSE;
    if (id_is_nil(a->base) || a->resend)
        return TRUE;
    return capture_state(a->capture) == CAPTURE_RUNNING ? is_unchanged_running(a, ret_unchanged, error)
                                                        : is_unchanged_off(a, ret_unchanged, error);
}

static gboolean confirm(Active *a, gint64 asked_at_ms, gint64 wall_ms, GError **error)
{
    if (!sender_confirm(a->sender, wall_ms, error))
        return FALSE;
    a->truth_ms = asked_at_ms;
    return TRUE;
}

static void distrust(Active *a, Id checkpoint)
{
    if (!id_is_nil(checkpoint) && !id_is_in(checkpoint, a->distrusted))
        g_array_append_val(a->distrusted, checkpoint);
}

void active_resend(Active *a, const char *target, const Extents *ranges)
{
    Extents *known;

    if (!a->resend)
        a->resend = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)extents_free);
    known = g_hash_table_lookup(a->resend, target);
    if (known)
        extents_add_all(known, ranges);
    else
        g_hash_table_insert(a->resend, g_strdup(target), extents_copy(ranges));
}

gboolean active_has_resent(const Active *a)
{
    return !a->resend;
}

void active_forget_resend(Active *a)
{
    g_clear_pointer(&a->resend, g_hash_table_destroy);
}

static void note_state(Active *a, CaptureState state, gint64 now_ms)
{
    if (state != CAPTURE_OFF)
        a->off_since_ms = 0;
    else if (!a->off_since_ms)
        a->off_since_ms = now_ms;
}

/* What was sent of an unsealed generation is of the disks as they were. If one came, went or grew, the standby
 * must hear of another generation; if one is another disk now, its part is worth nothing. */
static gboolean look_at_disks(Active *a, GError **error)
{
    gboolean known = active_watch_disks(a);

    if (a->begun && (!active_same_disks(a, a->begun) || active_is_stale(a, a->begun)))
        drop_sender(a);
    if (!known)
        g_set_error_literal(error, US_ERROR, US_ERROR_BUSY,
                            "not cutting: the VM was started a moment ago; it is looked at again");
    return known;
}

static gboolean is_young(const Active *a, gint64 age_ms)
{
    return age_ms >= 0 && age_ms < (a->knows_agent ? AGENT_KNOWN_MS : AGENT_MS);
}

/* A guest that starts or reboots is left alone until its agent is there; one that has none, or lost it, not for long. */
static gboolean let_agent_come(Active *a, gint64 now_ms, GError **error)
{
    gboolean lacks = capture_lacks_agent(a->capture);
    gint64 age_ms = capture_age_ms(a->capture);

    if (lacks && a->had_agent)
        a->agent_gone_ms = now_ms;
    a->had_agent = !lacks;
    /* Of one that did not come when it could have, no more is expected. */
    if (!lacks || age_ms >= AGENT_KNOWN_MS)
        a->knows_agent = !lacks;
    if (!lacks || (now_ms - a->agent_gone_ms >= AGENT_MS && !is_young(a, age_ms)))
        return TRUE;
    g_set_error_literal(error, US_ERROR, US_ERROR_BUSY,
                        "not cutting: the guest is starting, and its agent is waited for");
    return FALSE;
}

static gboolean cycle(Active *a, ActiveOutcome *ret_outcome, GError **error)
{
    gint64 asked_at_ms = clock_steady_ms();
    gint64 wall_ms = clock_wall_ms();
    CaptureState state;
    gboolean unchanged;

    if (!active_look(a, &state, error))
        return FALSE;
    note_state(a, state, asked_at_ms);
    if (!look_at_disks(a, error))
        return FALSE;
    if (!let_agent_come(a, asked_at_ms, error))
        return FALSE;
    if (state == CAPTURE_ENDING) {
        g_set_error_literal(error, US_ERROR, US_ERROR_BUSY, "not cutting: the guest is going down");
        return FALSE;
    }
    if (state == CAPTURE_IO_ERROR && (!active_give_room(a, error) || !active_look(a, &state, error)))
        return FALSE;
    if (!refuse_problems(a, error) || !attach(a, DIAL_MS, error))
        return FALSE;
    if (a->begun)
        return active_make_generation(a, ret_outcome, error);
    if (!is_unchanged(a, &unchanged, error))
        return FALSE;
    *ret_outcome = ACTIVE_CONFIRMED;
    return unchanged ? confirm(a, asked_at_ms, wall_ms, error)
                     : active_make_generation(a, ret_outcome, error);
}

/* libvirt says "off" while QEMU may still write its bitmaps into the images; until then they
 * look as after a crash. A bitmap that is really broken still is so a little later. */
static gboolean may_be_closing(const Active *a)
{
    return a->off_since_ms && clock_steady_ms() - a->off_since_ms < CLOSING_MS;
}

gboolean active_has_lost_track(Active *a, GError **error)
{
    gint64 now_ms = clock_steady_ms();

    if (now_ms - a->doubted_at_ms > DOUBT_FORGOTTEN_MS)
        a->doubted_since_ms = now_ms;
    a->doubted_at_ms = now_ms;
    if (now_ms - a->doubted_since_ms >= DOUBT_MS && !may_be_closing(a))
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_BUSY,
        "the record of changes cannot be read at the moment, since a disk is being detached or the VM "
        "is between two states; it is looked at again before anything is sent as a whole");
    return FALSE;
}

/* A cut found a broken record of changes: on which disks? Instead of "it is sent again", which is not sure yet,
 * say that it is looked at again. */
static void judge_tracking(Active *a, GError **why)
{
    Id since = a->pass ? a->pass->since : a->base;
    g_autoptr(GError) doubt = NULL;
    gboolean lost = FALSE;

    if ((!id_equal(since, a->base) || active_judge_disks(a, &lost, &doubt)) &&
        (lost || active_has_lost_track(a, &doubt))) {
        if (!lost)
            distrust(a, since);
        return;
    }
    g_clear_error(why);
    *why = g_steal_pointer(&doubt);
}

gboolean active_cycle(Active *a, ActiveOutcome *ret_outcome, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (cycle(a, ret_outcome, &why)) {
        a->doubted_at_ms = 0;
        return TRUE;
    }
    if (g_error_matches(why, US_ERROR, US_ERROR_TRACKING_LOST))
        judge_tracking(a, &why);
    /* Before the standby was asked anything a busy VM is no reason to leave it. */
    if (!a->sender || a->begun || !g_error_matches(why, US_ERROR, US_ERROR_BUSY))
        drop_sender(a);
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

gboolean active_is_followed(Active *a, gint64 timeout_ms, GError **error)
{
    gboolean lost = FALSE;

    /* Anew: a link may be dead and not know it. */
    drop_sender(a);
    if (capture_state(a->capture) == CAPTURE_ENDING) {
        g_set_error_literal(error, US_ERROR, US_ERROR_BUSY, "the guest is going down");
        return FALSE;
    }
    if (!look_at_disks(a, error) || !refuse_problems(a, error) || !attach(a, timeout_ms, error))
        return FALSE;
    if (capture_state(a->capture) == CAPTURE_RUNNING && !id_is_nil(a->base) &&
        !active_judge_disks(a, &lost, error))
        return FALSE;
    if (!lost && !a->sync.running && !id_is_nil(a->base) && active_tells_all(a))
        return TRUE;
    g_set_error_literal(
        error, US_ERROR, US_ERROR_REFUSED,
        "the standby's copy is not whole: a first copy or a comparison is under way, or has to be made since "
        "a disk is new or what changed is not known, and the guest would be off for as long as that takes; "
        "ask again when "
        "the VM is protected");
    return FALSE;
}

gboolean active_remove_traces(Active *a, GError **error)
{
    CaptureState state;

    active_detach(a);
    /* Recovering also removes files that a job of ours may have left. */
    return active_look(a, &state, error) && capture_recover(a->capture, error) &&
           capture_delete_all(a->capture, error);
}

gboolean active_measure(Active *a, GError **error)
{
    g_autoptr(GError) why = NULL;
    CaptureState state;
    gboolean told_all;

    if (!active_look(a, &state, error))
        return FALSE;
    look_at_disks(a, NULL);
    if (state != CAPTURE_RUNNING || id_is_nil(a->base) || sum_spool(a, &told_all, &why) ||
        g_error_matches(why, US_ERROR, US_ERROR_BUSY))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}
