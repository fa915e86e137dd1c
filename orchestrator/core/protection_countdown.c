/* SPDX-License-Identifier: Apache-2.0 */
/* Until its operator is told that a switchover is required: of a scenario of which something is silent.
 *
 * It is cancelled when nothing is any more: that answers again, or a plan has moved it. While a plan runs it stands still, and then
 * begins anew without a word if something is silent still; one that was over stays so. Durable is when it began, for its time passes
 * whether a controller runs or not; but it does not end before silence is found anew (is_known_again()). */
#include "orchestrator/core/protection_parts.h"

#include "vmconnect/base/units.h"

#include <string.h>

#define LEASE_BACK_MS 10000

static gboolean has_copy(const ProtectionVm *vm)
{
    return ((const ProtectionCopy *)vm->copies->pdata[0])->complete;
}

/* What its guard has stopped by a signal it stops again: nobody lets it go on by hand. */
static char *unguarded_text(const Protection *p, const ProtectionVm *vm)
{
    return g_strdup_printf(
        "the QEMU of '%s' on %s stands still, and the guard of %s, which may have stopped it at the end of "
        "its lease, does not answer: `systemctl restart understudy-guard` there; it goes on then by itself "
        "when its lease is back, or it needs none. If it does not, end it (kill -KILL): then the VM is "
        "started anew, or can be moved: understudy switchover %s",
        vm->name, vm->active, vm->active, p->scenario->name);
}

char *protection_frozen_text(const Protection *p, const ProtectionVm *vm)
{
    if (vm->lease != LEASE_NONE && p->vitals && !vitals_has_guard(p->vitals, vm->active))
        return unguarded_text(p, vm);
    return g_strdup_printf(
        "the QEMU of '%s' on %s stands still: look who stopped it, and let it go on (kill -CONT), or "
        "end it (kill -KILL): then the VM is started anew, or can be moved: understudy "
        "switchover %s",
        vm->name, vm->active, p->scenario->name);
}

/* As a shell takes it for one word. */
static char *word_of(const char *name)
{
    gboolean plain = strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_.") == strlen(name);

    return plain ? g_strdup(name) : g_shell_quote(name);
}

/* " --vm NAME" of each that is silent; nothing if all are. */
static char *only_the_silent(const Protection *p)
{
    GString *text = g_string_new(NULL);
    gboolean all = TRUE;

    EACH_VM (p, vm) {
        g_autofree char *name = word_of(vm->name);

        if (vm->life.state == GUEST_LIFE_SILENT)
            g_string_append_printf(text, " --vm %s", name);
        else
            all = FALSE;
    }
    if (all)
        g_string_truncate(text, 0);
    return g_string_free(text, FALSE);
}

/* One that its active's engine, which answers, does not name: no role is left there to give up, and nothing is forced of a host that
 * answers. */
static const ProtectionVm *find_orphan(const Protection *p)
{
    VitalsGuest guest;

    EACH_VM (p, vm)
        if (vm->life.state == GUEST_LIFE_SILENT && has_copy(vm) && vitals_answers(p->vitals, vm->active) &&
            !vitals_guest(p->vitals, vm->active, vm->uuid, &guest))
            return vm;
    return NULL;
}

/* Without a point every copy is promoted that is kept there for the scenario. */
static gboolean is_one_beside(const Protection *p, const ProtectionVm *vm)
{
    EACH_VM (p, other)
        if (other != vm && g_str_equal(protection_keeper(other), protection_keeper(vm)))
            return TRUE;
    return FALSE;
}

static char *orphan_text(const Protection *p, const ProtectionVm *vm)
{
    const char *keeper = protection_keeper(vm);

    return g_strdup_printf(
        "the engine of %s answers, and has no part in '%s' any more, so that no switchover can move it: make "
        "sure that it does not run on %s, then, as root on %s, which keeps its copy: understudy-engine "
        "promote %s --old-is-off%s",
        vm->active, vm->name, vm->active, keeper, p->scenario->name,
        is_one_beside(p, vm) ? " --point ID (one of its points: without it the other VMs whose copies are "
                               "there are promoted, too)"
                             : "");
}

/* What its operator is to type, or to do; of a host that lives and a guest that does not nothing is forced, nor are others moved. */
char *protection_way_out(const Protection *p)
{
    gboolean gone = FALSE, stands = FALSE, copied = FALSE;
    const ProtectionVm *orphan;
    g_autofree char *only = NULL;

    if (!id_is_nil(p->plan))
        return NULL;
    EACH_VM (p, vm) {
        if (vm->life.state != GUEST_LIFE_SILENT)
            continue;
        if (vm->life.frozen)
            return protection_frozen_text(p, vm);
        gone |= !vitals_answers(p->vitals, vm->active);
        stands |= !vm->life.revivable || vm->life.hangs;
        copied |= has_copy(vm);
    }
    orphan = find_orphan(p);
    if (orphan)
        return orphan_text(p, orphan);
    if (!copied)
        return g_strdup("no other host has a copy to go on from: bring the host back, or start the VM there");
    only = gone ? g_strdup("") : only_the_silent(p);
    return g_strdup_printf("understudy switchover %s%s%s (shows what would be lost, and asks)",
                           p->scenario->name, only,
                           gone     ? " --force"
                           : stands ? " --power-off"
                                    : "");
}

static char *losses(const Protection *p, gint64 now_ms)
{
    GString *text = g_string_new(NULL);

    EACH_VM (p, vm) {
        gint64 lag_ms = protection_lag_ms(vm, protection_keeper(vm), now_ms);
        g_autofree char *age = lag_ms >= 0 ? units_format_duration((lag_ms / 1000) * 1000) : NULL;

        if (vm->life.state != GUEST_LIFE_SILENT)
            continue;
        g_string_append_printf(text, "%s'%s' on %s (%s): ", text->len ? "; " : "", vm->name, vm->active,
                               vm->life.why ? vm->life.why : "silent");
        if (age)
            g_string_append_printf(text, "its copy is %s old", age);
        else
            g_string_append(text, has_copy(vm) ? "how old its copy is is not known" : "it has no copy");
    }
    return g_string_free(text, FALSE);
}

void protection_require(const Protection *p, const char *why_not, gint64 now_ms, ActionList *out)
{
    g_autofree char *lost = losses(p, now_ms), *command = protection_way_out(p);
    gboolean same = why_not && command && g_str_has_suffix(why_not, command); /* which is said behind it */
    g_autofree char *why = !why_not ? g_strdup(lost)
                           : same   ? g_strdup_printf("%s; it did not come by itself", lost)
                                    : g_strdup_printf("%s; it did not come by itself: %s", lost, why_not);

    action_publish(out, event_new_with_command(EVENT_SWITCHOVER_REQUIRED, p->scenario->name, why, command));
}

/* What is automatic counts from when somebody was missed first: leases end by that, too, and nobody waits for longer than he said. */
static gint64 missed_since(const Protection *p, gint64 now_ms)
{
    gint64 since_ms = now_ms;

    EACH_VM (p, vm)
        if (protection_is_automatic(p) && vm->life.state == GUEST_LIFE_SILENT && vm->life.silent_ms == now_ms)
            since_ms = MIN(since_ms, vm->life.since_ms);
    return since_ms;
}

static void begin_countdown(Protection *p, gint64 now_ms, ActionList *out)
{
    gint64 since_ms = missed_since(p, now_ms);
    gint64 left_s = (p->scenario->policy.countdown_ms - (now_ms - since_ms) + 999) / 1000;
    g_autofree char *after = units_format_duration(MAX(left_s, 0) * 1000);

    p->countdown = (ProtectionCountdown){.runs = TRUE,
                                         .over = p->countdown.over,
                                         .late = p->countdown.over,
                                         .since_ms = since_ms,
                                         .since_wall_ms = p->wall_ms - (now_ms - since_ms)};
    protection_publish(p, EVENT_COUNTDOWN_STARTED, NULL, NULL, after, out);
}

/* One that went on while no controller ran, or waited for a plan: whoever is silent has been found so since, by who had
 * the time to miss and to hear him; one whom nobody sees holds that up for no longer than a countdown. */
static gboolean is_known_again(const Protection *p, gint64 now_ms)
{
    gboolean some = FALSE, all = TRUE;

    if (p->countdown.resumed_ms == 0)
        return TRUE;
    if (!protection_has_seen_since(p, p->countdown.resumed_ms, now_ms))
        return FALSE;
    EACH_VM (p, vm) {
        some |= vm->life.state == GUEST_LIFE_SILENT && !vm->life.presumed;
        all &= !vm->life.presumed;
    }
    return some && (all || now_ms >= p->countdown.resumed_ms + p->scenario->policy.countdown_ms);
}

/* It stands still on a host that answers again: its lease is about to be back. */
static gboolean is_coming_back(const ProtectionVm *vm, gint64 now_ms)
{
    return vm->life.fenced_ms > 0 && now_ms < vm->life.fenced_ms + LEASE_BACK_MS;
}

/* A start that is under way may still succeed at the last second. */
static gboolean is_over(const Protection *p, gint64 now_ms)
{
    EACH_VM (p, vm)
        if (vm->life.reviving || !id_is_nil(vm->life.waits_for) || is_coming_back(vm, now_ms))
            return FALSE;
    return now_ms >= p->countdown.since_ms + p->scenario->policy.countdown_ms && is_known_again(p, now_ms);
}

/* Is one silent that was not when it began? */
static gboolean is_one_late(const Protection *p)
{
    EACH_VM (p, vm)
        if (vm->life.state == GUEST_LIFE_SILENT && vm->life.silent_ms >= p->countdown.since_ms)
            return TRUE;
    return FALSE;
}

static gboolean is_other(const ProtectionCountdown *a, const ProtectionCountdown *b)
{
    return a->runs != b->runs || a->over != b->over || a->late != b->late ||
           a->since_wall_ms != b->since_wall_ms;
}

static gboolean is_one_silent(const Protection *p)
{
    EACH_VM (p, vm)
        if (vm->life.state == GUEST_LIFE_SILENT)
            return TRUE;
    return FALSE;
}

void protection_countdown_anew(Protection *p)
{
    p->countdown = (ProtectionCountdown){0};
    p->takeover = (ProtectionTakeover){0};
}

static void cancel_countdown(Protection *p, ActionList *out)
{
    protection_publish(p, EVENT_COUNTDOWN_CANCELLED, NULL, NULL, NULL, out);
    protection_countdown_anew(p);
}

/* Who is silent still when the plan is over has all of the time again, and must be found so. */
static void wait_for_plan(Protection *p, gint64 now_ms)
{
    if (!p->countdown.runs)
        return;
    p->countdown.since_ms = p->countdown.resumed_ms = now_ms;
    p->countdown.since_wall_ms = p->wall_ms;
    p->takeover.at_ms = now_ms;
}

gboolean protection_count(Protection *p, gboolean more, gint64 now_ms, ActionList *out)
{
    ProtectionCountdown before = p->countdown;
    gboolean silent = is_one_silent(p), told = p->takeover.told;

    if (silent && !id_is_nil(p->plan)) {
        wait_for_plan(p, now_ms);
        return FALSE; /* it is kept with the end of the plan */
    }
    if (silent && (!p->countdown.runs || (more && p->countdown.over)))
        begin_countdown(p, now_ms, out);
    else if (!silent && p->countdown.runs)
        cancel_countdown(p, out);
    p->countdown.late &= is_one_late(p);
    if (p->countdown.runs && (!p->countdown.over || p->countdown.late) && is_over(p, now_ms)) {
        p->countdown.over = TRUE;
        p->countdown.late = FALSE;
        p->takeover.told = FALSE;
        if (!protection_take_over(p, now_ms, out))
            protection_require(p, NULL, now_ms, out);
    } else if (p->countdown.over && is_known_again(p, now_ms)) {
        protection_take_over_again(p, now_ms, out);
    }
    return is_other(&p->countdown, &before) || p->takeover.told != told;
}

gint64 protection_countdown_left_ms(const Protection *p, gint64 now_ms)
{
    gint64 left_ms = p->countdown.since_ms + p->scenario->policy.countdown_ms - now_ms;

    /* How much is left of one that is to be taken up the first input says; none is while a plan runs. */
    if (!p->countdown.runs || p->resumes || !id_is_nil(p->plan))
        return -1;
    return p->countdown.over ? 0 : MAX(left_ms, 0);
}

/* --- what is durable ----------------------------------------------------------------- */

/* A try of which nobody was told is made again by a controller that starts before its plan is durable: to that it is not over. */
json_t *protection_countdown_to_json(const Protection *p)
{
    const ProtectionCountdown *c = &p->countdown;
    gboolean over = c->over && (p->takeover.tries == 0 || p->takeover.told);

    return c->runs ? json_pack("{s:I, s:b, s:b}", "since", (json_int_t)c->since_wall_ms, "over", over, "late",
                               c->late)
                   : json_null();
}

void protection_countdown_from_json(Protection *p, const json_t *doc)
{
    p->countdown = (ProtectionCountdown){.runs = json_is_object(doc),
                                         .over = json_is_true(json_object_get(doc, "over")),
                                         .late = json_is_true(json_object_get(doc, "late")),
                                         .since_wall_ms = json_integer_value(json_object_get(doc, "since"))};
}

/* A wall clock that was set back meanwhile can only make it longer, and one that was set forth cannot end it by itself. */
void protection_countdown_resume(Protection *p, gint64 now_ms)
{
    if (p->countdown.runs) {
        p->countdown.since_ms = now_ms - MAX(p->wall_ms - p->countdown.since_wall_ms, 0);
        p->countdown.resumed_ms = now_ms;
    }
}
