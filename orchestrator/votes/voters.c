/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/votes/voters.h"

#include "orchestrator/votes/lease_clock.h"
#include "vmconnect/base/log.h"

struct Voters {
    Clerk *clerk;
    char *path;
    VoteFile *file;
    GHashTable *by_vm;   /* Id * -> Voter * */
    guint64 changed;     /* counts what has changed … */
    guint64 written;     /* … and how much of that is durable */
    gboolean writing;    /* the clerk has a document */
    GQueue *waiting;     /* Waiting *, in the order of their numbers */
    gboolean may_forget; /* the file was found to be a copy, or none */
};

/* An answer, until all that it stands on is durable. */
typedef struct {
    guint64 needs;
    GArray *answers; /* of renewals, or NULL … */
    VotersRenewed renewed;
    VoteVerdict verdict; /* … of a vote … */
    Reign promised;      /* … that was given by it; number 0: none … */
    Id vm;
    VoterRecord before; /* … and what it had before */
    guint64 incarnation;
    VotersVoted voted;
    VotersKept kept; /* … or of nothing but that */
    void *user;
} Waiting;

static void answer(Waiting *w, const GError *error)
{
    if (w->renewed)
        w->renewed(w->user, error ? NULL : w->answers, error);
    if (w->voted)
        w->voted(w->user, w->verdict, w->incarnation, error);
    if (w->kept)
        w->kept(w->user, error);
    if (w->answers)
        g_array_unref(w->answers);
    g_free(w);
}

/* --- the file ---------------------------------------------------------------- */

typedef struct {
    Voters *voters;
    json_t *document;
    guint64 has; /* as `changed` was */
    GError *error;
} Writing;

static void write_file(void *data)
{
    Writing *w = data;

    (void)vote_file_write(w->voters->path, g_steal_pointer(&w->document), &w->error);
}

static void write_soon(Voters *v);
static void keep(Voters *v, Id vm, const Voter *voter);

/* Nobody has heard of it, and who asks next may ask for another one. */
static void take_back(Voters *v, const Waiting *w)
{
    Voter *voter = w->promised.number > 0 ? g_hash_table_lookup(v->by_vm, &w->vm) : NULL;

    if (!voter || !reign_equal(voter->record.promised, w->promised))
        return;
    voter->record = w->before;
    keep(v, w->vm, voter);
}

/* What has come since goes by the same promises, and is asked again. */
static void fail_all(Voters *v, const GError *error)
{
    for (guint n = v->waiting->length; n > 0; n--) {
        Waiting *w = g_queue_pop_head(v->waiting);

        take_back(v, w);
        answer(w, error);
    }
}

static void on_written(void *data)
{
    Writing *w = data;
    Voters *v = w->voters;

    v->writing = FALSE;
    if (w->error)
        log_error("promises cannot be kept: %s -> nobody is answered by them, and nothing is granted",
                  w->error->message);
    else
        v->written = w->has;
    if (w->error)
        fail_all(v, w->error);
    while (!g_queue_is_empty(v->waiting) && ((Waiting *)g_queue_peek_head(v->waiting))->needs <= v->written)
        answer(g_queue_pop_head(v->waiting), NULL);
    g_clear_error(&w->error);
    g_free(w);
    if (!g_queue_is_empty(v->waiting))
        write_soon(v);
}

static void write_soon(Voters *v)
{
    Writing *w;

    if (v->writing)
        return;
    w = g_new0(Writing, 1);
    *w = (Writing){v, vote_file_document(v->file), v->changed, NULL};
    v->writing = TRUE;
    clerk_submit(v->clerk, write_file, on_written, w);
}

static void answer_when_kept(Voters *v, Waiting *w)
{
    w->needs = v->changed;
    if (w->needs == v->written) {
        answer(w, NULL);
        return;
    }
    g_queue_push_tail(v->waiting, w);
    write_soon(v);
}

/* --- voters ------------------------------------------------------------------ */

static Voter *voter_of(Voters *v, Id vm)
{
    Voter *voter = g_hash_table_lookup(v->by_vm, &vm);
    const VoteRecord *known = vote_file_find(v->file, vm);
    const VoterRecord record = known ? known->voter : (VoterRecord){0};

    if (voter)
        return voter;
    voter = g_new0(Voter, 1);
    voter_start(voter, &record, vote_file_incarnation(v->file), !known || known->mute, lease_clock_now());
    g_hash_table_insert(v->by_vm, g_memdup2(&vm, sizeof(vm)), voter);
    return voter;
}

Voters *voters_new(Clerk *clerk, const char *path)
{
    VoteFile *file = vote_file_read(path);
    g_autoptr(GArray) vms = NULL;
    Voters *v = g_new0(Voters, 1);

    *v =
        (Voters){.clerk = clerk, .path = g_strdup(path), .file = file, .may_forget = vote_file_is_copy(file)};
    v->by_vm = g_hash_table_new_full(id_hash, id_equal_func, g_free, g_free);
    v->waiting = g_queue_new();
    vms = vote_file_vms(file);
    /* They sit out from now on, not from when they are asked. */
    for (guint i = 0; i < vms->len; i++)
        (void)voter_of(v, g_array_index(vms, Id, i));
    return v;
}

void voters_free(Voters *v)
{
    if (!v)
        return;
    g_assert(g_queue_is_empty(v->waiting) && !v->writing);
    g_queue_free(v->waiting);
    g_hash_table_unref(v->by_vm);
    vote_file_free(v->file);
    g_free(v->path);
    g_free(v);
}

static void keep(Voters *v, Id vm, const Voter *voter)
{
    const VoteRecord *known = vote_file_find(v->file, vm);
    VoteRecord record = known ? *known : (VoteRecord){0};

    record.voter = voter->record;
    record.mute = voter->mute;
    vote_file_set(v->file, vm, &record);
    v->changed++;
}

void voters_renew(Voters *v, const GArray *renewals, VotersLook look, VotersRenewed done, void *user)
{
    Waiting *w = g_new0(Waiting, 1);

    *w =
        (Waiting){.answers = g_array_new(FALSE, FALSE, sizeof(RenewalAnswer)), .renewed = done, .user = user};
    for (guint i = 0; i < renewals->len; i++) {
        const Renewal *r = &g_array_index(renewals, Renewal, i);
        VoterSight sight = {.now = lease_clock_now()};
        RenewalAnswer back = {.vm = r->vm};
        Voter *voter;

        if (!look(user, r->vm, &sight))
            continue;
        voter = voter_of(v, r->vm);
        if (voter_renew(voter, &r->renewal, &sight, &back.answer))
            keep(v, r->vm, voter);
        g_array_append_val(w->answers, back);
    }
    answer_when_kept(v, w);
}

void voters_vote(Voters *v, Id vm, const Ballot *ballot, VotersVoted done, void *user)
{
    Voter *voter = voter_of(v, vm);
    Waiting *w = g_new0(Waiting, 1);

    *w = (Waiting){
        .voted = done, .user = user, .incarnation = voter->incarnation, .vm = vm, .before = voter->record};
    if (voter_vote(voter, ballot, lease_clock_now(), &w->verdict)) {
        w->promised = ballot->next;
        keep(v, vm, voter);
    }
    answer_when_kept(v, w);
}

guint64 voters_own_arm(const Voters *v, Id vm, Reign reign)
{
    const VoteRecord *known = vote_file_find(v->file, vm);

    return known && reign_equal(known->own, reign) ? known->arm : 0;
}

void voters_keep_arm(Voters *v, Id vm, Reign reign, guint64 arm, VotersKept done, void *user)
{
    const VoteRecord *known = vote_file_find(v->file, vm);
    VoteRecord record = known ? *known : (VoteRecord){.mute = TRUE};
    Waiting *w = g_new0(Waiting, 1);

    record.own = reign;
    record.arm = arm;
    vote_file_set(v->file, vm, &record);
    v->changed++;
    *w = (Waiting){.kept = done, .user = user};
    answer_when_kept(v, w);
}

VoteVerdict voters_would_vote(const Voters *v, Id vm, const Ballot *ballot)
{
    return voter_would_vote(voter_of((Voters *)v, vm), ballot, lease_clock_now());
}

void voters_speak(Voters *v, Id vm, Reign highest, guint64 arm, gint64 cap_ms, guint64 incarnation)
{
    Voter *voter = voter_of(v, vm);
    GHashTableIter iter;
    gpointer one;

    (void)voter_speak(voter, highest, arm, cap_ms, incarnation, lease_clock_now());
    /* It is the party's: what it says of its other VMs is said in it from now on, too. */
    vote_file_set_incarnation(v->file, incarnation);
    g_hash_table_iter_init(&iter, v->by_vm);
    while (g_hash_table_iter_next(&iter, NULL, &one))
        ((Voter *)one)->incarnation = vote_file_incarnation(v->file);
    keep(v, vm, voter);
    write_soon(v);
}

gboolean voters_knows(const Voters *v, Id vm)
{
    return vote_file_find(v->file, vm) != NULL;
}

gboolean voters_may_know(const Voters *v, Id vm)
{
    return v->may_forget || voters_knows(v, vm);
}

VoterRecord voters_promised(const Voters *v, Id vm)
{
    return voter_of((Voters *)v, vm)->record;
}

gboolean voters_is_mute(const Voters *v, Id vm)
{
    return voter_of((Voters *)v, vm)->mute;
}

void voters_close(Voters *v, Id vm)
{
    voter_close(voter_of(v, vm), lease_clock_now());
}
