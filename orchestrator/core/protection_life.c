/* SPDX-License-Identifier: Apache-2.0 */
/* Is each guest alive? What must be done if not: it is started again where it died (protection_revive.c), and when the countdown is
 * over without an answer, its operator is told that a switchover is required.
 *
 * A controller that has just started learns what is from the engines, and does to guests what follows from that alone. Durable is
 * whether a guest lived or was off: a host that went down together with the controller does not say, and takes nobody with it
 * who was off; and what was told: that a guest is silent stays so until somebody knows better, and a countdown goes on,
 * for its time passes whether a controller runs or not. But it does not end before silence is found anew (is_known_again()).
 * A guest counts as silent only upon evidence: its host is silent to all who can see it, its QEMU has ended or stands still,
 * it stands still for an error of its disks, or checks that its operator chose, and that were answered since it
 * was started, are missed. An agent alone that says nothing more is told, and no more: guests live without one. */
#include "orchestrator/core/lease/lease.h"
#include "orchestrator/core/protection_parts.h"
#include "vmconnect/base/units.h"

/* So long after its last word an engine is given up at the latest, and that is known here: rpc.h, and a second. */
#define GIVEN_UP_MS 9000
/* What hangs is ended a second after its time (prober.c), and a second later that is known here. */
#define TOLD_MS 2000

const char *guest_life_name(GuestLife life)
{
    static const char *const NAMES[] = {[GUEST_LIFE_UNKNOWN] = "unknown",
                                        [GUEST_LIFE_ALIVE] = "alive",
                                        [GUEST_LIFE_OFF] = "off",
                                        [GUEST_LIFE_SILENT] = "silent"};

    return NAMES[life];
}

/* --- what is known of one guest ------------------------------------------------ */

typedef struct {
    GuestLife life;
    gboolean revivable; /* silent, and its host could start or reset it … */
    gboolean hangs;     /* … the latter, since it runs on */
    gboolean frozen;    /* silent, with its QEMU */
    gboolean paused;    /* off, and its QEMU is there */
    gboolean presumed;  /* silent, since it was that before */
    gboolean outside;   /* silent by checks from its standby alone */
    gboolean mute;      /* alive, and its agent does not answer any more … */
    gboolean spoke;     /* … or does */
    const char *never;  /* a check of its operator's that was never answered; borrowed */
    const char *why;    /* borrowed; NULL: nothing */
    gint64 since_ms;    /* silent, and missed since then; 0: since it is found so */
    gint64 halted_ms;   /* it stood still so long for want of a lease, which is over; 0: it did not */
    const char *bark;   /* its watchdog went off since; borrowed; NULL: it did not */
} Finding;

/* The guest was started since: its checks have as long as a start may take before they count against it. */
static void notice_boot(ProtectionVm *vm, const VitalsGuest *guest, gint64 now_ms)
{
    ProtectionLife *life = &vm->life;

    if (life->known_boots && guest->boots == life->boots)
        return;
    if (life->known_boots) {
        life->booted_ms = now_ms;
        life->proven = FALSE;
        /* Its user has taken it in hand. */
        life->gave_up &= life->reviving;
    }
    life->known_boots = TRUE;
    life->boots = guest->boots;
}

/* What was done about it; NULL: it did not go off since it was looked at last. */
static const char *notice_bark(ProtectionVm *vm, const VitalsGuest *guest)
{
    ProtectionLife *life = &vm->life;
    gboolean barked = life->known_boots && guest->barks > life->barks;

    life->barks = guest->barks;
    return barked ? guest->bark : NULL;
}

static gint64 notice_halt(ProtectionVm *vm, const VitalsGuest *guest)
{
    ProtectionLife *life = &vm->life;
    gboolean halted = life->known_boots && guest->halts > life->halts;

    life->halts = guest->halts;
    /* Its engine may not have seen how long: one that its guard has stopped by itself. */
    return halted ? MAX(guest->halted_ms, 1) : 0;
}

/* Are there checks that are made from that side, and nothing is heard of them? */
static gboolean is_unheard(const ScenarioVm *wanted, gboolean from_active, const VitalsChecks *side)
{
    for (guint i = 0; i < wanted->checks->len && side->n == 0; i++)
        if (((const CheckSpec *)wanted->checks->pdata[i])->from_active == from_active)
            return TRUE;
    return FALSE;
}

/* A check that was never answered says nothing of the guest: it may ask for what is not there. */
static gboolean fails(const ScenarioVm *wanted, const VitalsChecks *here, const VitalsChecks *there)
{
    guint missed = here->missed + there->missed;

    return wanted->need_all ? missed > 0 : missed > 0 && missed >= here->proven + there->proven;
}

/* None of those that there are was ever answered. */
static gboolean is_mute(const VitalsChecks *here, const VitalsChecks *there)
{
    return here->n + there->n > 0 && here->proven + there->proven == 0;
}

static gboolean passes(const ScenarioVm *wanted, const VitalsChecks *here, const VitalsChecks *there)
{
    guint answered = here->answered + there->answered;

    return wanted->need_all ? answered > 0 && answered >= here->n + there->n : answered > 0;
}

gboolean protection_has_seen_since(const Protection *p, gint64 blind_ms, gint64 now_ms)
{
    const Policy *policy = &p->scenario->policy;

    return blind_ms == 0 || now_ms > blind_ms + (policy->probe_misses + 1) * policy->probe_interval_ms;
}

/* Since then, if ever, each check has been tried anew, and if it hangs, that is known: what was answered before is none of it. */
static gboolean is_fresh_since(const Protection *p, gint64 since_ms, gint64 now_ms)
{
    const Policy *policy = &p->scenario->policy;

    return since_ms == 0 || now_ms >= since_ms + policy->probe_interval_ms + policy_try_ms(policy) + TOLD_MS;
}

/* Since it was started. */
static gboolean is_fresh(const Protection *p, const ProtectionVm *vm, gint64 now_ms)
{
    return is_fresh_since(p, vm->life.booted_ms, now_ms);
}

/* Or its start has failed: then it goes on to be so until it answers. */
static gboolean may_be_starting(const Protection *p, const ProtectionVm *vm, gint64 now_ms)
{
    return vm->life.booted_ms > 0 && !vm->life.proven &&
           (vm->life.gave_up || now_ms < vm->life.booted_ms + p->scenario->policy.start_timeout_ms);
}

/* One that is being started is what it was before: silent until it answers, if it was that and can answer. */
static void apply_start(const ProtectionVm *vm, gboolean can_answer, Finding *f)
{
    if (vm->life.state != GUEST_LIFE_SILENT || !can_answer)
        return;
    f->life = GUEST_LIFE_SILENT;
    f->why = "it was started, and does not answer yet";
}

/* What is asked by libvirtd says nothing while that says nothing. */
static gboolean can_be_asked(const Protection *p, ProtectionVm *vm, gint64 now_ms)
{
    if (!vitals_has_libvirt(p->vitals, vm->active))
        vm->life.unasked_ms = now_ms;
    return protection_has_seen_since(p, vm->life.unasked_ms, now_ms);
}

/* Nor does what is asked from a standby that sees nothing at all. */
static gboolean can_be_seen(const Protection *p, ProtectionVm *vm, gint64 now_ms)
{
    if (vitals_is_blind(p->vitals, protection_keeper(vm)))
        vm->life.unseen_ms = now_ms;
    return protection_has_seen_since(p, vm->life.unseen_ms, now_ms);
}

/* The checks of the guest that are made from its standby. What is missed by one that does not hear the guest's host either is its
 * line. */
static VitalsChecks look_from_there(const Protection *p, ProtectionVm *vm, gint64 now_ms)
{
    const char *keeper = protection_keeper(vm);
    VitalsChecks there = vitals_checks(p->vitals, keeper, vm->uuid, (guint)p->scenario->policy.probe_misses);

    if (!vitals_hears(p->vitals, keeper, vm->active))
        vm->life.deaf_ms = now_ms;
    if (!can_be_seen(p, vm, now_ms))
        return (VitalsChecks){0};
    if (there.answered == 0 && !protection_has_seen_since(p, vm->life.deaf_ms, now_ms))
        return (VitalsChecks){0};
    return there;
}

static void apply_failure(const ScenarioVm *wanted, const VitalsChecks *here, const VitalsChecks *there,
                          Finding *f)
{
    if (wanted->checks->len == 0)
        f->mute = here->proven > 0;
    else
        *f = (Finding){.life = GUEST_LIFE_SILENT,
                       .revivable = TRUE,
                       .hangs = TRUE,
                       .outside = here->missed == 0,
                       .why = here->words ? here->words : there->words};
}

/* Whoever found it silent does not see, and is not contradicted by who does. */
static void keep_silence(const ProtectionVm *vm, Finding *f)
{
    if (vm->life.state == GUEST_LIFE_SILENT)
        *f = (Finding){.life = GUEST_LIFE_SILENT,
                       .presumed = TRUE,
                       .why = "nobody can see at present whether it answers"};
}

/* By the checks that its operator chose; those of the two hosts together. If any of them is enough, one that nobody can ask at
 * present might be it. */
static void apply_checks(const Protection *p, ProtectionVm *vm, gint64 now_ms, Finding *f)
{
    const ScenarioVm *wanted = scenario_find_vm(p->scenario, vm->uuid);
    guint misses = (guint)p->scenario->policy.probe_misses;
    VitalsChecks here = vitals_checks(p->vitals, vm->active, vm->uuid, misses);
    VitalsChecks there = look_from_there(p, vm, now_ms);
    gboolean all_heard, passed, failed;

    if (!can_be_asked(p, vm, now_ms)) {
        here = (VitalsChecks){0};
    }
    all_heard = !is_unheard(wanted, TRUE, &here) && !is_unheard(wanted, FALSE, &there);
    passed = passes(wanted, &here, &there);
    failed = fails(wanted, &here, &there) && (all_heard || wanted->need_all);
    if (passed)
        vm->life.answers = TRUE;
    else if ((failed || is_mute(&here, &there)) && !may_be_starting(p, vm, now_ms))
        vm->life.answers = FALSE;
    vm->life.proven |= is_fresh(p, vm, now_ms) && passed;
    if (may_be_starting(p, vm, now_ms))
        apply_start(vm, vm->life.answers || (wanted->checks->len > 0 && here.proven + there.proven > 0), f);
    else if (failed)
        apply_failure(wanted, &here, &there, f);
    else if (wanted->checks->len > 0 && !passed && (!all_heard || here.proven + there.proven > 0))
        keep_silence(vm, f);
    if (wanted->checks->len > 0) {
        f->never = here.never ? here.never : there.never;
        /* Nobody asks the agent alone any more: that it was silent is no matter, and nobody will say that it answers. */
        vm->life.mute = FALSE;
    } else
        f->spoke = passed;
}

/* One that lived when its host was heard last has died with it. */
static gboolean went_down(const ProtectionVm *vm, const VitalsGuest *guest)
{
    return g_str_equal(guest->word, "idle") && vm->life.lived;
}

/* Until somebody knows better, which a libvirtd that does not answer yet does not, nothing has changed. */
static Finding find_unknown(const ProtectionVm *vm)
{
    if (vm->life.state == GUEST_LIFE_OFF)
        return (Finding){.life = GUEST_LIFE_OFF, .why = vm->life.why};
    if (vm->life.state == GUEST_LIFE_SILENT)
        return (Finding){
            .life = GUEST_LIFE_SILENT, .presumed = TRUE, .why = "its host does not say whether it lives"};
    return (Finding){.life = GUEST_LIFE_UNKNOWN};
}

/* Nobody can say that no other host was made the active meanwhile: its engine will not start it. */
#define NOBODY_VOUCHES                                                                                      \
    "it has not been started since its host was: its standby, which may have been made the active "         \
    "meanwhile, was not heard since; bring that host back, or, if it is off, use `understudy-engine start " \
    "SCENARIO --alone` here"

static Finding find_by_word(const Protection *p, const ProtectionVm *vm, const VitalsGuest *guest)
{
    gboolean down = went_down(vm, guest), dead = g_str_equal(guest->word, "dead");
    gboolean lost = down && !protection_vouches(p, vm);
    Finding f = {.why = lost ? NOBODY_VOUCHES : guest->why,
                 .revivable = dead || (down && !lost),
                 .frozen = g_str_equal(guest->word, "frozen"),
                 .paused = g_str_equal(guest->word, "paused")};

    if (g_str_equal(guest->word, "alive"))
        f.life = GUEST_LIFE_ALIVE;
    else if (dead || down || g_str_equal(guest->word, "stalled") || g_str_equal(guest->word, "frozen") ||
             g_str_equal(guest->word, "fenced"))
        f.life = GUEST_LIFE_SILENT;
    else if (f.paused || g_str_equal(guest->word, "off") || g_str_equal(guest->word, "idle"))
        f.life = GUEST_LIFE_OFF;
    else
        f = find_unknown(vm);
    return f;
}

/* By its checks that are made from its standby alone, if that goes on for longer than an engine is away that is started anew. One
 * whose host said that it has died lives again if they were answered since. */
static Finding find_by_sight(const Protection *p, ProtectionVm *vm, gint64 now_ms)
{
    const ScenarioVm *wanted = scenario_find_vm(p->scenario, vm->uuid);
    const VitalsChecks none = {0};
    gint64 dead_ms = vm->life.state == GUEST_LIFE_SILENT ? vm->life.heard_ms : 0;
    VitalsChecks there = look_from_there(p, vm, now_ms);

    if (passes(wanted, &none, &there) && is_fresh(p, vm, now_ms) && is_fresh_since(p, dead_ms, now_ms))
        return (Finding){.life = GUEST_LIFE_ALIVE};
    if (fails(wanted, &none, &there) && protection_has_seen_since(p, vm->life.heard_ms, now_ms) &&
        !may_be_starting(p, vm, now_ms))
        return (Finding){.life = GUEST_LIFE_SILENT, .why = there.words};
    return find_unknown(vm);
}

/* An engine that nobody hears renews nothing, though its host's kernel answers. */
static gboolean lease_has_ended(const Protection *p, ProtectionVm *vm, gint64 now_ms)
{
    EngineLife engine = vitals_engine(p->vitals, vm->active);

    if (vm->lease != LEASE_HELD || engine == ENGINE_HEARD || engine == ENGINE_UNKNOWN) {
        vm->life.unheard_ms = 0;
        return FALSE;
    }
    if (vm->life.unheard_ms == 0)
        vm->life.unheard_ms = now_ms;
    return now_ms >= vm->life.unheard_ms + p->scenario->policy.countdown_ms - LEASE_RESERVE_MS;
}

/* Missed by whoever watches its host, but not before its engine was heard here last: a line of theirs may be cut for long. */
static gint64 host_missed_since(const Protection *p, const ProtectionVm *vm, gint64 now_ms)
{
    gint64 since_ms = now_ms - vitals_silence_ms(p->vitals, vm->active);

    return vm->life.heard_ms > 0 ? MAX(since_ms, vm->life.heard_ms - GIVEN_UP_MS) : since_ms;
}

/* Its host's engine says nothing, since the host is gone, hangs or is cut off from the controller. Who was off is not gone with it,
 * nor who answers. One that answers, and does not name it, has no part in it, and gives nobody back who was silent. */
static Finding find_without_word(const Protection *p, ProtectionVm *vm, gint64 now_ms)
{
    const char *why;
    Finding f;

    if (vitals_answers(p->vitals, vm->active) || vm->life.state == GUEST_LIFE_OFF)
        return find_unknown(vm);
    f = find_by_sight(p, vm, now_ms);
    if (f.life == GUEST_LIFE_ALIVE)
        return f;
    if (vitals_host(p->vitals, vm->active, &why) == LIFE_SILENT)
        return (Finding){.life = GUEST_LIFE_SILENT, .why = why, .since_ms = host_missed_since(p, vm, now_ms)};
    if (f.life != GUEST_LIFE_SILENT && lease_has_ended(p, vm, now_ms))
        return (Finding){.life = GUEST_LIFE_SILENT,
                         .why = "nobody hears the engine of its host, for longer than a lease lasts: its "
                                "guard has stopped it",
                         .since_ms = vm->life.unheard_ms};
    return f;
}

static Finding find(const Protection *p, ProtectionVm *vm, gint64 now_ms)
{
    gboolean is_asked = vm->life.reviving && !vm->life.revived && vm->life.again_ms == 0;
    VitalsGuest guest;
    const char *bark;
    gint64 halted_ms;
    Finding f;

    if (!vitals_guest(p->vitals, vm->active, vm->uuid, &guest))
        return find_without_word(p, vm, now_ms);
    vm->life.heard_ms = now_ms;
    vm->life.unheard_ms = 0;
    vm->lease = lease_word_of(guest.lease);
    bark = notice_bark(vm, &guest);
    halted_ms = notice_halt(vm, &guest);
    notice_boot(vm, &guest, now_ms);
    if (!g_str_equal(guest.word, "fenced"))
        vm->life.fenced_ms = 0;
    else if (vm->life.fenced_ms == 0)
        vm->life.fenced_ms = now_ms;
    f = find_by_word(p, vm, &guest);
    if (f.life == GUEST_LIFE_ALIVE || f.life == GUEST_LIFE_OFF)
        vm->life.lived = f.life == GUEST_LIFE_ALIVE;
    if (f.life == GUEST_LIFE_ALIVE)
        apply_checks(p, vm, now_ms, &f);
    /* Its host's word may be heard before the answer is. */
    if (f.life == GUEST_LIFE_ALIVE && is_asked)
        f = (Finding){.life = GUEST_LIFE_SILENT, .hangs = f.hangs, .why = "it is being started"};
    f.bark = bark;
    f.halted_ms = halted_ms;
    return f;
}

/* --- what follows ---------------------------------------------------------------- */

void protection_publish_guest(const Protection *p, const ProtectionVm *vm, EventCode code, const char *why,
                              ActionList *out)
{
    protection_publish(p, code, vm->active, vm->name, why, out);
}

/* A check with a fault of its own, or a guest that has not come so far: it counts for nothing, which its operator must know. */
static void note_unanswered(const Protection *p, ProtectionVm *vm, const char *check, gint64 now_ms,
                            ActionList *out)
{
    ProtectionLife *life = &vm->life;

    if (!check) {
        life->unanswered_ms = 0;
        life->unanswered = FALSE;
        return;
    }
    if (life->unanswered_ms == 0)
        life->unanswered_ms = now_ms;
    if (life->unanswered || now_ms < life->unanswered_ms + p->scenario->policy.start_timeout_ms)
        return;
    life->unanswered = TRUE;
    protection_publish_guest(p, vm, EVENT_CHECK_UNANSWERED, check, out);
}

static void settle_guest(const Protection *p, ProtectionVm *vm, const Finding *f, gint64 now_ms,
                         ActionList *out)
{
    ProtectionLife *life = &vm->life;
    const char *why = f->why ? f->why : "no reason is known";

    if (f->halted_ms > 0) {
        g_autofree char *time = units_human_duration(f->halted_ms);

        protection_publish_guest(p, vm, EVENT_LEASE_LOST, time, out);
    }
    if (f->bark)
        protection_publish_guest(p, vm, EVENT_GUEST_WATCHDOG, f->bark, out);
    if (f->life == GUEST_LIFE_SILENT && life->state != GUEST_LIFE_SILENT) {
        life->silent_ms = now_ms;
        life->since_ms = f->since_ms ? f->since_ms : now_ms;
        protection_publish_guest(p, vm, EVENT_GUEST_SILENT, why, out);
    }
    if (f->life == GUEST_LIFE_ALIVE && life->state == GUEST_LIFE_SILENT)
        protection_publish_guest(p, vm, EVENT_GUEST_BACK, NULL, out);
    if (f->mute && !life->mute)
        protection_publish_guest(p, vm, EVENT_AGENT_SILENT, NULL, out);
    if (f->spoke && life->mute)
        protection_publish_guest(p, vm, EVENT_AGENT_BACK, NULL, out);
    if (f->life == GUEST_LIFE_ALIVE)
        note_unanswered(p, vm, f->never, now_ms, out);
    life->gave_up &= f->life != GUEST_LIFE_ALIVE;
    life->presumed &= f->life == GUEST_LIFE_SILENT && f->presumed;
    life->state = f->life;
    /* Until it answers: of one that nobody hears, that is off or being started, it is not known. */
    life->mute = (life->mute || f->mute) && !f->spoke;
    life->revivable = f->revivable;
    life->hangs = f->hangs;
    life->outside = f->outside;
    life->frozen = f->frozen;
    life->paused = f->paused;
    if (g_strcmp0(life->why, f->why) != 0) {
        g_free(life->why);
        life->why = g_strdup(f->why);
    }
}

/* --- what is durable ----------------------------------------------------------------- */

static const char *kept_word(const ProtectionVm *vm)
{
    return vm->life.lived ? "alive" : vm->life.state == GUEST_LIFE_OFF ? "off" : NULL;
}

json_t *protection_life_to_json(const ProtectionVm *vm)
{
    const char *word = kept_word(vm);

    return word ? json_string(word) : json_null();
}

void protection_life_from_json(ProtectionVm *vm, const json_t *doc)
{
    const char *word = json_string_value(doc);

    vm->life.lived = g_strcmp0(word, "alive") == 0;
    if (g_strcmp0(word, "off") != 0)
        return;
    vm->life.state = GUEST_LIFE_OFF;
    vm->life.why = g_strdup("it was off when its host was heard last");
}

json_t *protection_told_to_json(const ProtectionVm *vm)
{
    json_t *list = json_array();

    if (vm->life.state == GUEST_LIFE_SILENT)
        json_array_append_new(list, json_string(event_code_name(EVENT_GUEST_SILENT)));
    if (vm->life.mute)
        json_array_append_new(list, json_string(event_code_name(EVENT_AGENT_SILENT)));
    if (vm->life.unanswered)
        json_array_append_new(list, json_string(event_code_name(EVENT_CHECK_UNANSWERED)));
    return list;
}

json_t *protection_answers_to_json(const Protection *p, const ProtectionVm *vm)
{
    const char *hosts[] = {vm->active, protection_keeper(vm)};
    json_t *all = json_object();

    for (guint i = 0; p->vitals && i < G_N_ELEMENTS(hosts); i++) {
        json_t *known = vitals_answers_of(p->vitals, hosts[i], vm->uuid);

        if (known)
            json_object_set(all, hosts[i], known);
    }
    return all;
}

/* In one reign they only become more. */
static guint count_answers(const Protection *p, const ProtectionVm *vm)
{
    return (guint)(json_object_size(vitals_answers_of(p->vitals, vm->active, vm->uuid)) +
                   json_object_size(vitals_answers_of(p->vitals, protection_keeper(vm), vm->uuid)));
}

void protection_recall_answers(const json_t *doc, Vitals *vitals)
{
    const json_t *vms = json_object_get(doc, "vms");

    for (gsize i = 0; i < json_array_size(vms); i++) {
        const json_t *vm = json_array_get(vms, i);
        const char *uuid = json_string_value(json_object_get(vm, "vm")), *host;
        json_t *known;
        Id id;

        if (!uuid || !id_parse(uuid, &id, NULL))
            continue;
        json_object_foreach(json_object_get(vm, "answers"), host, known)
            vitals_recall_answers(vitals, host, id, known);
    }
}

void protection_told_from_json(ProtectionVm *vm, const json_t *list)
{
    vm->life.mute = event_is_named(list, EVENT_AGENT_SILENT);
    vm->life.unanswered = event_is_named(list, EVENT_CHECK_UNANSWERED);
    vm->life.presumed = event_is_named(list, EVENT_GUEST_SILENT);
    if (vm->life.presumed)
        vm->life.state = GUEST_LIFE_SILENT;
}

static void resume(Protection *p, gint64 now_ms)
{
    p->resumes = FALSE;
    protection_countdown_resume(p, now_ms);
    EACH_VM (p, vm)
        if (vm->life.presumed)
            vm->life.silent_ms = vm->life.heard_ms = now_ms;
}

void protection_life_anew(ProtectionVm *vm)
{
    g_free(vm->life.why);
    vm->life = (ProtectionLife){.order = vm->life.order};
}

/* As after a restart: what was told stays so. */
static void forget(ProtectionVm *vm)
{
    json_auto_t *kept = protection_life_to_json(vm), *told = protection_told_to_json(vm);

    protection_life_anew(vm);
    protection_life_from_json(vm, kept);
    protection_told_from_json(vm, told);
    if (vm->life.presumed)
        vm->life.why = g_strdup("it was silent when the plan began");
}

/* The countdown counts from now again, and who fell silent since it began does, too. */
static void look_away_from(ProtectionVm *vm, gint64 since_ms, gint64 now_ms)
{
    gint64 silent_ms = vm->life.silent_ms >= since_ms ? now_ms : vm->life.silent_ms;

    forget(vm);
    if (!vm->life.presumed)
        return;
    vm->life.silent_ms = silent_ms;
    vm->life.heard_ms = now_ms;
}

/* What a plan does to guests is its own. Of those that it does not move is known afterwards what was before, and what of that was
 * told; and it may have started any of them. */
static void look_away(Protection *p, gint64 now_ms, ActionList *out)
{
    gint64 since_ms = p->countdown.since_ms;

    protection_hangs_anew(p, now_ms);
    if (p->goal == GOAL_STOPPED)
        protection_countdown_anew(p);
    else if (!id_is_nil(p->plan) && protection_count(p, FALSE, now_ms, out))
        action_note(out);
    EACH_VM (p, vm) {
        if (p->goal == GOAL_STOPPED)
            protection_life_anew(vm);
        else
            look_away_from(vm, since_ms, now_ms);
        vm->life.booted_ms = now_ms;
    }
}

/* Another number when what protection_told_to_json() or protection_answers_to_json() says is otherwise. */
static guint told_of(const ProtectionVm *vm)
{
    const ProtectionLife *life = &vm->life;

    return (guint)(life->state == GUEST_LIFE_SILENT) | (guint)life->mute << 1 | (guint)life->unanswered << 2 |
           life->known_answers << 3;
}

void protection_live(Protection *p, gint64 now_ms, ActionList *out)
{
    gboolean changed = FALSE, told = FALSE, more = FALSE;

    if (p->resumes)
        resume(p, now_ms);
    if (!p->vitals || p->goal == GOAL_STOPPED || !id_is_nil(p->plan)) {
        look_away(p, now_ms, out);
        return;
    }
    EACH_VM (p, vm) {
        const char *kept = kept_word(vm);
        guint told_before = told_of(vm);
        gboolean was_silent = vm->life.state == GUEST_LIFE_SILENT;
        Finding f = find(p, vm, now_ms);

        settle_guest(p, vm, &f, now_ms, out);
        vm->life.known_answers = count_answers(p, vm);
        more |= !was_silent && f.life == GUEST_LIFE_SILENT;
        changed |= g_strcmp0(kept_word(vm), kept) != 0;
        told |= told_of(vm) != told_before;
    }
    protection_revive(p, now_ms, out);
    told |= protection_watch_hangs(p, now_ms, out);
    if (changed)
        action_persist(out, NULL);
    told |= protection_count(p, more, now_ms, out);
    /* What is persisted is all of it as it is in the end. */
    if (!changed && told)
        action_note(out);
}
