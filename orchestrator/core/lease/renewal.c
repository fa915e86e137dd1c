/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/lease/renewal.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define HEX_LEN 16

static const char *const VERDICTS[] = {[LEASE_GRANTED] = "granted",
                                       [LEASE_NOT_GRANTED] = "not granted",
                                       [LEASE_STOP_FIRST] = "stop first",
                                       [LEASE_HIGHER] = "higher",
                                       [LEASE_CONFLICT] = "conflict"};
static const char *const KINDS[] = {[BALLOT_ELECTION] = "election",
                                    [BALLOT_RELEASE] = "release",
                                    [BALLOT_FORCE] = "force",
                                    [BALLOT_CERTIFIED] = "certified"};
static const char *const VOTES[] = {[VOTE_GIVEN] = "given", [VOTE_OTHER_REIGN] = "other reign",
                                    [VOTE_MUTE] = "mute",   [VOTE_DISARMED] = "disarmed",
                                    [VOTE_SITS] = "sits",   [VOTE_KEEPS] = "keeps",
                                    [VOTE_HEARD] = "heard"};

/* FALSE with @error: it is none of them. */
static gboolean find_word(const char *const *words, guint n, const char *word, guint *ret_at, GError **error)
{
    for (guint i = 0; i < n; i++)
        if (g_str_equal(words[i], word)) {
            *ret_at = i;
            return TRUE;
        }
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%.32s' is no word that is known here", word);
    return FALSE;
}

static json_t *hex(guint64 number)
{
    char text[HEX_LEN + 1];

    g_snprintf(text, sizeof(text), "%016" G_GINT64_MODIFIER "x", number);
    return json_string(text);
}

static gboolean read_hex(const char *text, guint64 *ret, GError **error)
{
    gboolean ok = strlen(text) == HEX_LEN && strspn(text, "0123456789abcdef") == HEX_LEN;

    if (ok)
        *ret = g_ascii_strtoull(text, NULL, 16);
    else
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%.32s' is no number of sixteen hex digits", text);
    return ok;
}

static gboolean read_arm(json_int_t number, guint64 *ret, GError **error)
{
    if (number >= 0 && (guint64)number <= LEASE_ARM_MAX) {
        *ret = (guint64)number;
        return TRUE;
    }
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "%" JSON_INTEGER_FORMAT " is no number of an arm", number);
    return FALSE;
}

/* --- lists ------------------------------------------------------------------- */

static gboolean read_renewal(const json_t *doc, gpointer ret, GError **error)
{
    Renewal *r = ret;
    const char *vm, *nonce;
    json_t *reign;
    json_int_t arm, grant_ms;
    int fenced;

    if (!json_read(doc, "renewal", error, "{s:s, s:o, s:I, s:s, s:I, s:b}", "vm", &vm, "reign", &reign, "arm",
                   &arm, "nonce", &nonce, "grant_ms", &grant_ms, "fenced", &fenced) ||
        !id_parse(vm, &r->vm, error) || !reign_from_json(reign, &r->renewal.reign, error) ||
        !read_arm(arm, &r->renewal.arm, error) || !read_hex(nonce, &r->renewal.nonce, error))
        return FALSE;
    if (grant_ms < 1 || grant_ms > RENEWAL_GRANT_MAX_MS) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "%" JSON_INTEGER_FORMAT " ms are no time that a lease has", grant_ms);
        return FALSE;
    }
    r->renewal.grant_ms = grant_ms;
    r->renewal.fenced = fenced != 0;
    return TRUE;
}

static gboolean read_answer(const json_t *doc, gpointer ret, GError **error)
{
    RenewalAnswer *r = ret;
    const char *vm, *nonce, *verdict, *incarnation;
    json_t *reign;
    json_int_t arm;
    guint at;

    if (!json_read(doc, "answer", error, "{s:s, s:s, s:s, s:o, s:I, s:s}", "vm", &vm, "nonce", &nonce,
                   "verdict", &verdict, "reign", &reign, "arm", &arm, "incarnation", &incarnation) ||
        !id_parse(vm, &r->vm, error) || !reign_from_json(reign, &r->answer.reign, error) ||
        !read_arm(arm, &r->answer.arm, error) || !read_hex(nonce, &r->answer.nonce, error) ||
        !read_hex(incarnation, &r->answer.incarnation, error) ||
        !find_word(VERDICTS, G_N_ELEMENTS(VERDICTS), verdict, &at, error))
        return FALSE;
    r->answer.verdict = (LeaseVerdict)at;
    return TRUE;
}

static GArray *read_list(const json_t *list, gsize size,
                         gboolean (*read)(const json_t *, gpointer, GError **), GError **error)
{
    g_autoptr(GArray) items = g_array_new(FALSE, TRUE, (guint)size);

    if (!json_is_array(list) || json_array_size(list) > RENEWALS_MAX) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "not a list of at most %d VMs", RENEWALS_MAX);
        return NULL;
    }
    g_array_set_size(items, (guint)json_array_size(list));
    for (guint i = 0; i < items->len; i++)
        if (!read(json_array_get(list, i), items->data + i * size, error))
            return NULL;
    return g_steal_pointer(&items);
}

json_t *renewals_to_json(const GArray *renewals)
{
    json_t *list = json_array();

    for (guint i = 0; i < renewals->len; i++) {
        const Renewal *r = &g_array_index(renewals, Renewal, i);

        json_array_append_new(list,
                              json_pack("{s:s, s:o, s:I, s:o, s:I, s:b}", "vm", ID_TEXT(r->vm), "reign",
                                        reign_to_json(r->renewal.reign), "arm", (json_int_t)r->renewal.arm,
                                        "nonce", hex(r->renewal.nonce), "grant_ms",
                                        (json_int_t)r->renewal.grant_ms, "fenced", r->renewal.fenced));
    }
    return list;
}

GArray *renewals_from_json(const json_t *list, GError **error)
{
    return read_list(list, sizeof(Renewal), read_renewal, error);
}

json_t *renewal_answers_to_json(const GArray *answers)
{
    json_t *list = json_array();

    for (guint i = 0; i < answers->len; i++) {
        const RenewalAnswer *r = &g_array_index(answers, RenewalAnswer, i);

        json_array_append_new(list,
                              json_pack("{s:s, s:o, s:s, s:o, s:I, s:o}", "vm", ID_TEXT(r->vm), "nonce",
                                        hex(r->answer.nonce), "verdict", VERDICTS[r->answer.verdict], "reign",
                                        reign_to_json(r->answer.reign), "arm", (json_int_t)r->answer.arm,
                                        "incarnation", hex(r->answer.incarnation)));
    }
    return list;
}

GArray *renewal_answers_from_json(const json_t *list, GError **error)
{
    return read_list(list, sizeof(RenewalAnswer), read_answer, error);
}

/* --- votes ------------------------------------------------------------------- */

json_t *ballot_to_json(const Ballot *ballot)
{
    json_t *doc = json_pack("{s:s, s:o, s:o}", "kind", KINDS[ballot->kind], "parent",
                            reign_to_json(ballot->parent), "next", reign_to_json(ballot->next));

    if (ballot->sure_ms > 0)
        json_object_set_new(doc, "sure_ms", json_integer((json_int_t)ballot->sure_ms));
    return doc;
}

gboolean ballot_from_json(const json_t *doc, Ballot *ret_ballot, GError **error)
{
    const char *kind;
    json_t *parent, *next;
    json_int_t sure_ms = 0;
    guint at;

    if (!json_read(doc, "ballot", error, "{s:s, s:o, s:o, s?I}", "kind", &kind, "parent", &parent, "next",
                   &next, "sure_ms", &sure_ms) ||
        !find_word(KINDS, G_N_ELEMENTS(KINDS), kind, &at, error) ||
        !reign_from_json(parent, &ret_ballot->parent, error) ||
        !reign_from_json(next, &ret_ballot->next, error))
        return FALSE;
    if (sure_ms < 0 || sure_ms > BALLOT_SURE_MAX_MS) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "%" JSON_INTEGER_FORMAT " ms are no time since which somebody is off", sure_ms);
        return FALSE;
    }
    ret_ballot->kind = (BallotKind)at;
    ret_ballot->sure_ms = sure_ms;
    return TRUE;
}

const char *vote_verdict_name(VoteVerdict verdict)
{
    return VOTES[verdict];
}

gboolean vote_verdict_parse(const char *name, VoteVerdict *ret_verdict, GError **error)
{
    guint at;

    if (!find_word(VOTES, G_N_ELEMENTS(VOTES), name, &at, error))
        return FALSE;
    *ret_verdict = (VoteVerdict)at;
    return TRUE;
}

GError *vote_verdict_failure(VoteVerdict verdict, const char *who)
{
    static const struct {
        UsError code;
        const char *why;
    } WHY[] = {
        [VOTE_OTHER_REIGN] = {US_ERROR_OVERTAKEN, "has promised another reign meanwhile; nothing was begun"},
        [VOTE_MUTE] =
            {US_ERROR_REFUSED,
             "has lost what it promised before, or got it back from a copy, and has not heard since "
             "from all who are concerned; bring the active's host back, or, if that is off for "
             "certain, say so with --old-is-off"},
        [VOTE_DISARMED] =
            {US_ERROR_REFUSED,
             "heard last that nobody may take over by himself, so that the active need not have "
             "stopped; look at its host, and switch over by force if it is gone"},
        [VOTE_SITS] = {US_ERROR_BUSY,
                       "has just started, and lets pass what it may have granted before; it is asked again"},
        [VOTE_KEEPS] = {US_ERROR_BUSY,
                        "has granted the active a lease that has not ended; it is asked again"},
        [VOTE_HEARD] =
            {US_ERROR_REFUSED,
             "may have heard the active since its host was fenced, so that this is on again; look at "
             "it, and switch over by force if it is gone"},
    };

    g_assert(verdict != VOTE_GIVEN);
    return g_error_new(US_ERROR, WHY[verdict].code, "%s %s", who, WHY[verdict].why);
}
