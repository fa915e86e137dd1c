/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path of a step: cut without a checkpoint → begin a generation that is never sealed → compare → discard it.
 *
 * What a step has found counts only if its cut was valid to the end. */
#include "vmconnect/replicate/audit.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/replicate/active_parts.h"

#define RANGES_SHOWN 16
#define FAILURES_MAX 5 /* in a row, as they come when a disk cannot be read */
#define BARREN_MAX 20  /* steps in a row that found nothing to compare: the rest changes all the time */

struct Audit {
    Id id;
    gboolean repair;
    gboolean ended;
    gint64 started_ms; /* wall clock */
    gint64 ended_ms;
    Generation *shape;    /* disks and sizes that it is about; NULL: no step was made */
    GPtrArray *todo;      /* of Extents *, one a disk: neither compared nor changed meanwhile */
    GPtrArray *differing; /* of Extents *, one a disk */
    guint64 compared_bytes;
    guint64 step_bytes; /* compared by the step that is under way */
    guint failures;
    guint barren;
    gboolean resending; /* what differs is on its way */
    Active *active;     /* for the length of a step */
    Id point;           /* what the last step compared with; nil: none did */
    char *why;          /* why the last step failed; NULL: it did not */
};

Audit *audit_new(gboolean repair)
{
    Audit *audit = g_new0(Audit, 1);

    audit->id = id_random();
    audit->repair = repair;
    audit->started_ms = clock_wall_ms();
    return audit;
}

static GPtrArray *extents_list_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)extents_free);
}

static void forget_shape(Audit *audit)
{
    g_clear_pointer(&audit->shape, generation_free);
    g_clear_pointer(&audit->todo, g_ptr_array_unref);
    g_clear_pointer(&audit->differing, g_ptr_array_unref);
    audit->compared_bytes = 0;
}

void audit_free(Audit *audit)
{
    if (!audit)
        return;
    forget_shape(audit);
    g_free(audit->why);
    g_free(audit);
}

gboolean audit_repairs(const Audit *audit)
{
    return audit->repair;
}

gboolean audit_has_ended(const Audit *audit)
{
    return audit->ended;
}

static guint64 sum(const GPtrArray *list)
{
    guint64 bytes = 0;

    for (guint i = 0; list && i < list->len; i++)
        bytes += extents_bytes(list->pdata[i]);
    return bytes;
}

/* --- what it is about -------------------------------------------------- */

/* Disks came, went or grew: all of it is looked at anew. */
static void take_shape(Audit *audit, const Generation *tip)
{
    forget_shape(audit);
    audit->shape = generation_copy(tip);
    audit->todo = extents_list_new();
    audit->differing = extents_list_new();
    for (guint i = 0; i < tip->disks->len; i++) {
        Extents *all = extents_new();

        extents_add(all, 0, ((const GenerationDisk *)tip->disks->pdata[i])->size_bytes);
        g_ptr_array_add(audit->todo, all);
        g_ptr_array_add(audit->differing, extents_new());
    }
}

/* The base can tell of every disk of the tip what has changed. */
static gboolean is_told(Active *a, const Generation *tip)
{
    if (id_is_nil(a->base) || !active_same_disks(a, tip))
        return FALSE;
    for (guint i = 0; i < tip->disks->len; i++) {
        const WatchedDisk *w = active_watched(a, ((const GenerationDisk *)tip->disks->pdata[i])->target);

        if (!w || w->whole || w->holes)
            return FALSE;
    }
    return TRUE;
}

static gboolean ready(Audit *audit, Active *a, GError **error)
{
    const Generation *tip = a->sender ? sender_position(a->sender)->tip : NULL;

    if (a->sender && !sender_compares(a->sender)) {
        g_set_error_literal(error, US_ERROR, US_ERROR_UNSUPPORTED,
                            "the standby's program is too old to compare anything: upgrade it");
        return FALSE;
    }
    if (!tip || a->begun || !is_told(a, tip)) {
        g_set_error_literal(error, US_ERROR, US_ERROR_BUSY,
                            "not comparing: the copy is not whole at the moment");
        return FALSE;
    }
    if (!audit->shape || !active_same_disks(a, audit->shape))
        take_shape(audit, tip);
    return TRUE;
}

/* --- one step ---------------------------------------------------------- */

static Cut *begin_cut(const Audit *audit, Active *a, GError **error)
{
    guint n = audit->shape->disks->len;
    g_autofree CutWish *wishes = g_new0(CutWish, MAX(n, 1));
    g_autoptr(Cut) cut = NULL;

    for (guint i = 0; i < n; i++) {
        const GenerationDisk *disk = audit->shape->disks->pdata[i];

        wishes[i] = (CutWish){.target = disk->target, .since = a->base, .since_size_bytes = disk->size_bytes};
    }
    if (!cut_begin(a->capture, wishes, n, ID_NIL, &cut, error))
        return NULL;
    return active_expect_sizes(audit->shape, cut, error) ? g_steal_pointer(&cut) : NULL;
}

/* Never sealed. */
static gboolean begin(Active *a, GError **error)
{
    g_autoptr(Generation) g = active_next_generation(a);

    return sender_begin(a->sender, g, error);
}

static void on_stream(void *user, guint64 done_bytes, guint64 total_bytes)
{
    Audit *audit = user;

    (void)total_bytes;
    audit->step_bytes = done_bytes;
    if (audit->active->on_progress)
        audit->active->on_progress(audit->active->user);
}

static GPtrArray *copy_list(const GPtrArray *list)
{
    GPtrArray *copy = extents_list_new();

    for (guint i = 0; i < list->len; i++)
        g_ptr_array_add(copy, extents_copy(list->pdata[i]));
    return copy;
}

/* What was found counts if the cut was valid, whatever else went wrong. */
static gboolean look(Audit *audit, Active *a, Cut *cut, gint64 most_ms, GError **error)
{
    g_autoptr(GPtrArray) todo = copy_list(audit->todo);
    g_autoptr(GPtrArray) differing = copy_list(audit->differing);
    StreamLimits limits = {.wake_fd = a->patience.wake_fd,
                           .wake_grace_ms = ACTIVE_GRACE_MS,
                           .end_by_ms = cut_asked_at_ms(cut) + most_ms,
                           .scratch_max_bytes = cut_scratch_bytes(cut) / ACTIVE_SCRATCH_SHARE,
                           .throttle = active_throttle(a, cut)};
    guint64 before = stream_compared_bytes(a->stream);
    gboolean all;
    gboolean ok;

    audit->active = a;
    ok = stream_audit(a->stream, cut, a->sender, todo, differing, &limits, on_stream, audit, &all, error);
    if (!cut_still_valid(cut, ok ? error : NULL))
        return FALSE;
    g_ptr_array_unref(audit->todo);
    g_ptr_array_unref(audit->differing);
    audit->todo = g_steal_pointer(&todo);
    audit->differing = g_steal_pointer(&differing);
    audit->compared_bytes += stream_compared_bytes(a->stream) - before;
    audit->barren = ok && all && stream_compared_bytes(a->stream) == before ? audit->barren + 1 : 0;
    audit->point = sender_position(a->sender)->tip->id;
    return ok;
}

static gboolean step(Audit *audit, Active *a, gint64 most_ms, GError **error)
{
    g_autoptr(Cut) cut = NULL;

    if (!ready(audit, a, error))
        return FALSE;
    cut = begin_cut(audit, a, error);
    active_follow_writes(a);
    if (!cut || !active_expect_untouched(a, error))
        return FALSE;
    if (begin(a, error) && look(audit, a, cut, most_ms, error) && cut_end(g_steal_pointer(&cut), error) &&
        sender_discard(a->sender, error))
        return TRUE;
    /* With a generation that nobody seals. */
    active_detach(a);
    return FALSE;
}

static void end(Audit *audit, Active *active)
{
    audit->ended = TRUE;
    audit->ended_ms = clock_wall_ms();
    audit->resending = audit->repair && sum(audit->differing) > 0;
    for (guint i = 0; audit->resending && i < audit->differing->len; i++)
        active_resend(active, ((const GenerationDisk *)audit->shape->disks->pdata[i])->target,
                      audit->differing->pdata[i]);
}

gboolean audit_step(Audit *audit, Active *active, gint64 most_ms, GError **error)
{
    g_autoptr(GError) why = NULL;
    gboolean ok = step(audit, active, most_ms, &why);

    audit->step_bytes = 0;
    audit->active = NULL;
    g_free(audit->why);
    audit->why = why ? g_strdup(why->message) : NULL;
    if (ok)
        audit->failures = 0;
    else if (!us_error_may_pass(why))
        audit->failures++;
    if ((ok && (sum(audit->todo) == 0 || audit->barren == BARREN_MAX)) || audit->failures == FAILURES_MAX ||
        g_error_matches(why, US_ERROR, US_ERROR_UNSUPPORTED))
        end(audit, active);
    if (why)
        g_propagate_error(error, g_steal_pointer(&why));
    return ok;
}

void audit_look_at_repair(Audit *audit, const Active *active)
{
    audit->resending = audit->resending && !active_has_resent(active);
}

/* --- telling ----------------------------------------------------------- */

static const char *state_of(const Audit *audit)
{
    if (!audit->ended)
        return "running";
    if (audit->why)
        return "failed";
    if (sum(audit->differing) == 0)
        return "equal";
    return audit->repair && !audit->resending ? "repaired" : "different";
}

static json_t *ranges_of(const Audit *audit)
{
    json_t *list = json_array();

    for (guint i = 0; audit->shape && i < audit->differing->len; i++) {
        const GenerationDisk *disk = audit->shape->disks->pdata[i];
        const Extents *ranges = audit->differing->pdata[i];

        for (guint n = 0; n < extents_count(ranges) && json_array_size(list) < RANGES_SHOWN; n++) {
            Extent e = extents_at(ranges, n);

            json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "disk", disk->target, "offset",
                                                  (json_int_t)e.offset, "len", (json_int_t)e.len));
        }
    }
    return list;
}

static json_t *instant(gint64 wall_ms)
{
    char text[CLOCK_TEXT_LEN + 1];

    return wall_ms ? json_string(clock_format(wall_ms, text)) : json_null();
}

json_t *audit_to_json(const Audit *audit)
{
    guint64 total = 0, done, compared = audit->compared_bytes + audit->step_bytes;

    for (guint i = 0; audit->shape && i < audit->shape->disks->len; i++)
        total += ((const GenerationDisk *)audit->shape->disks->pdata[i])->size_bytes;
    done = total - sum(audit->todo) + audit->step_bytes;
    return json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:o, s:s?, s:o, s:o, s:s?}", "id",
                     ID_TEXT(audit->id), "state", state_of(audit), "repairing", audit->resending,
                     "done_bytes", (json_int_t)done, "total_bytes", (json_int_t)total, "compared_bytes",
                     (json_int_t)compared, "different_bytes", (json_int_t)sum(audit->differing), "ranges",
                     ranges_of(audit), "point", id_is_nil(audit->point) ? NULL : ID_TEXT(audit->point),
                     "started_at", instant(audit->started_ms), "ended_at", instant(audit->ended_ms), "why",
                     audit->why);
}
