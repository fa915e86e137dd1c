/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/status.h"

static json_t *known(gint64 n)
{
    return n < 0 ? json_null() : json_integer(n);
}

static json_t *tip_of(const NewsTip *tip)
{
    if (id_is_nil(tip->id))
        return json_null();
    return json_pack("{s:s, s:I, s:I, s:s?, s:s?}", "id", ID_TEXT(tip->id), "term", (json_int_t)tip->term,
                     "sequence", (json_int_t)tip->sequence, "cut_at", tip->cut_at, "sealed_at",
                     tip->sealed_at);
}

static json_t *compare_of(const NewsCompare *c)
{
    if (id_is_nil(c->id))
        return json_null();
    return json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:O, s:s?, s:s?, s:s?, s:s?}", "id", ID_TEXT(c->id),
                     "state", c->state, "repairing", c->repairing, "done_bytes", (json_int_t)c->done_bytes,
                     "total_bytes", (json_int_t)c->total_bytes, "compared_bytes",
                     (json_int_t)c->compared_bytes, "different_bytes", (json_int_t)c->different_bytes,
                     "ranges", c->ranges, "point", c->point, "started_at", c->started_at, "ended_at",
                     c->ended_at, "why", c->why);
}

static json_t *copy_of(const ProtectionVm *vm, const ProtectionCopy *c, gint64 now_ms)
{
    static const NewsCopy NOTHING = {.left_s = -1, .synced_bytes = -1};
    const NewsCopy *last = vm->last ? news_find(vm->last, c->host) : NULL;

    if (!last)
        last = &NOTHING;
    return json_pack("{s:s, s:s, s:o, s:s?, s:{s:I, s:I, s:I, s:I, s:o, s:o}, s:{s:s?, s:I, s:I}, s:o, s:o}",
                     "host", c->host, "state", copy_state_name(c->state), "lag_ms",
                     known(protection_lag_ms(vm, c->host, now_ms)), "why", c->why, "sync", "done_bytes",
                     (json_int_t)last->done_bytes, "total_bytes", (json_int_t)last->total_bytes, "sent_bytes",
                     (json_int_t)last->sent_bytes, "rate_bps", (json_int_t)last->rate_bps, "left_s",
                     known(last->left_s), "synced_bytes", known(last->synced_bytes), "resync", "reason",
                     last->resync_reason, "compared_bytes", (json_int_t)last->resync_compared_bytes,
                     "sent_bytes", (json_int_t)last->resync_sent_bytes, "tip", tip_of(&last->tip), "compare",
                     compare_of(&last->compare));
}

/* What would be lost if the active died now: the age of the youngest copy. */
static gint64 lose_ms(const ProtectionVm *vm, gint64 now_ms)
{
    gint64 best = -1;

    for (guint i = 0; i < vm->copies->len; i++) {
        gint64 lag = protection_lag_ms(vm, ((const ProtectionCopy *)vm->copies->pdata[i])->host, now_ms);

        if (lag >= 0 && (best < 0 || lag < best))
            best = lag;
    }
    return best;
}

static json_t *branches_of(const ProtectionVm *vm)
{
    json_t *list = json_array();

    for (guint i = 0; i < vm->branches->len; i++) {
        const ProtectionBranches *b = vm->branches->pdata[i];

        if (b->count > 0)
            json_array_append_new(list, json_pack("{s:s, s:I, s:o}", "host", b->host, "count",
                                                  (json_int_t)b->count, "bytes", known(b->bytes)));
    }
    return list;
}

/* Of one that nobody watches, since nothing replicates it, its active's own word. */
static const char *guest_of(const Protection *p, const ProtectionVm *vm)
{
    if (vm->life.state != GUEST_LIFE_UNKNOWN)
        return guest_life_name(vm->life.state);
    return vm->last && protection_is_up(p, vm->active) ? vm->last->guest : "unknown";
}

static json_t *guest_why_of(const Protection *p, const ProtectionVm *vm)
{
    const ProtectionVm *first = id_is_nil(vm->life.waits_for) ? NULL : protection_find(p, vm->life.waits_for);

    if (!vm->life.why)
        return json_null();
    return first ? json_sprintf("%s; it is started when '%s' is there", vm->life.why, first->name)
                 : json_string(vm->life.why);
}

static json_t *checks_of(const Protection *p, const ProtectionVm *vm)
{
    json_t *list = json_array();

    if (p->vitals)
        vitals_describe_checks(p->vitals, vm->active, vm->uuid, list);
    if (p->vitals && protection_keeper(vm))
        vitals_describe_checks(p->vitals, protection_keeper(vm), vm->uuid, list);
    return list;
}

/* Of the copy that it would be back from. */
static Proof proof_of(const ProtectionVm *vm, const Proofs *proofs)
{
    const Proof *proof = proofs_of_vm(proofs, vm->uuid);

    return proof && g_str_equal(proof->host, protection_keeper(vm)) ? *proof : (Proof){.back_ms = -1};
}

static json_t *vm_of(const Protection *p, const ProtectionVm *vm, const Proofs *proofs, gint64 now_ms)
{
    const Proof proof = proof_of(vm, proofs);
    json_t *standbys = json_array();

    for (guint i = 0; i < vm->copies->len; i++)
        json_array_append_new(standbys, copy_of(vm, vm->copies->pdata[i], now_ms));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:s?, s:o, s:o, s:o, s:o, s:s?, s:s?, s:o, s:o, s:o}",
                     "name", vm->name, "uuid", ID_TEXT(vm->uuid), "state",
                     copy_state_name(protection_vm_state(vm)), "active", vm->active, "guest", guest_of(p, vm),
                     "guest_why", guest_why_of(p, vm), "tracking", vm->last ? vm->last->tracking : NULL,
                     "spool_bytes", known(vm->last ? vm->last->spool_bytes : -1), "standbys", standbys,
                     "lose_ms", known(lose_ms(vm, now_ms)), "back_ms", known(proof.back_ms), "proven_at",
                     proof.proven_at, "test_failed_at", proof.failed_at, "branches", branches_of(vm),
                     "checks", checks_of(p, vm), "owed", protection_owed(p, vm));
}

/* Its active's engine has not said yet that it holds the lease that it was ordered to. */
#define LEASE_AWAITED "a lease from its standby's engine and from the controller is awaited"

/* Static. */
static const char *why_not_held(const Protection *p, const ProtectionVm *vm)
{
    if (p->vitals && !vitals_has_guard(p->vitals, vm->active))
        return "the guard of its host does not answer, see `understudy host show`";
    return vm->lease == LEASE_LOST ? "its lease is lost" : LEASE_AWAITED;
}

/* {"armed", "why"}; null: its operator switches over. Whose user has switched it off or paused it is not taken over: the others count. */
static json_t *automatic_of(const Protection *p)
{
    const char *why = NULL;
    guint off = 0;

    if (!protection_is_automatic(p))
        return json_null();
    for (guint i = 0; i < p->vms->len && !why; i++) {
        const ProtectionVm *vm = p->vms->pdata[i];

        if (vm->life.state == GUEST_LIFE_OFF) {
            off++;
            continue;
        }
        why = protection_unattended(p, vm);
        if (!why && vm->lease != LEASE_HELD && !protection_is_fenced_only(p))
            why = why_not_held(p, vm);
    }
    if (off == p->vms->len)
        why = "no VM of it runs, and one that was switched off or paused is left so";
    return json_pack("{s:b, s:s?}", "armed", why == NULL, "why", why);
}

/* The last second is one, too. */
static json_t *seconds_left(gint64 left_ms)
{
    return left_ms < 0 ? json_null() : json_integer((left_ms + 999) / 1000);
}

json_t *status_of(const Protection *p, const Proofs *proofs, gint64 now_ms)
{
    g_autofree char *way_out = p->countdown.over ? protection_way_out(p) : NULL;
    json_t *vms = json_array();

    for (guint i = 0; i < p->vms->len; i++)
        json_array_append_new(vms, vm_of(p, p->vms->pdata[i], proofs, now_ms));
    return json_pack(
        "{s:s, s:s, s:s, s:s?, s:I, s:o, s:o, s:s?, s:o, s:o, s:o, s:s?, s:o}", "name", p->scenario->name,
        "state", scenario_state_name(p->state), "master", p->scenario->master, "active", protection_active(p),
        "term", (json_int_t)protection_term(p), "automatic", automatic_of(p), "countdown_s",
        seconds_left(protection_countdown_left_ms(p, now_ms)), "way_out", way_out, "switchback_s",
        seconds_left(protection_switchback_left_ms(p, now_ms)), "holds", protection_holds(p), "unheard",
        protection_unheard(p), "plan", id_is_nil(p->plan) ? NULL : ID_TEXT(p->plan), "vms", vms);
}

json_t *status_document(const GPtrArray *protections, const Proofs *proofs, gint64 now_ms)
{
    json_t *list = json_array();

    for (guint i = 0; i < protections->len; i++)
        json_array_append_new(list, status_of(protections->pdata[i], proofs, now_ms));
    return json_pack("{s:o}", "scenarios", list);
}
