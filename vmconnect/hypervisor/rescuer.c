/* SPDX-License-Identifier: Apache-2.0 */
/* The thread's life: wait for a letter, or a second while something is watched;
 * look at every watch; send out a rescue where one is due. A rescue comes back
 * as a letter. At most one is out for a VM. */
#include "vmconnect/hypervisor/rescuer.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/agent.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/hypervisor/job_gate.h"
#include "vmconnect/hypervisor/rescue.h"
#include "vmconnect/loop/mailbox.h"

#include <stdatomic.h>
#include <sys/stat.h>

#define LOOK_EVERY_MS 1000
/* Short: an open that takes longer goes on by itself, and clocks and files are looked at meanwhile. */
#define OPEN_MS 500

typedef enum { WATCH, UNWATCH, END, OVERFULL, LOOK, BACK, QUIT } LetterKind;

/* To the thread. */
typedef struct {
    LetterKind kind;
    Id vm;
    RescuerWatch watch; /* WATCH; its scratch is owned */
    RescueOutcome *outcome;
} Letter;

/* To the loop. */
typedef struct {
    gboolean last;
    RescuerNews news; /* its why is owned */
} Word;

/* A rescue that is out may come back after the rescuer has gone. */
typedef struct {
    atomic_uint refs;
    uv_mutex_t lock;
    Mailbox *box; /* under lock; NULL once gone */
} Harbour;

typedef struct {
    RescuerWatch watch;
    guint number;         /* from 1; of no other watch */
    gint64 stopped_at_ms; /* first seen standing; 0: runs */
    gboolean overfull;    /* QEMU said so */
    gboolean ended;       /* nothing of ours is open any more */
    gboolean left;        /* its worker has gone: only a late freeze is still waited for */
    char *failure;        /* the last one told, so that it is told once */
} Watched;

struct Rescuer {
    uv_thread_t thread;
    char *uri;
    char *run_folder;
    Mailbox *to_thread;
    Mailbox *to_loop;
    Harbour *harbour;
    JobGate *gate;
    Connection *connection; /* the thread's, as the next three */
    GHashTable *watches;    /* Id * -> Watched */
    GHashTable *out;        /* Id * of VMs with a rescue under way -> number of its watch; 0: had none */
    guint last_number;
    void (*on_news)(void *user, const RescuerNews *news); /* the loop's; NULL once closing */
    void *news_user;
    void (*on_closed)(void *user);
    void *closed_user;
};

static void watch_clear(RescuerWatch *w)
{
    g_strfreev((char **)w->scratch);
    w->scratch = NULL;
}

static void watched_free(void *data)
{
    Watched *w = data;

    watch_clear(&w->watch);
    g_free(w->failure);
    g_free(w);
}

static void letter_free(void *data)
{
    Letter *l = data;

    watch_clear(&l->watch);
    rescue_outcome_free(l->outcome);
    g_free(l);
}

static void word_free(void *data)
{
    Word *w = data;

    g_free((char *)w->news.why);
    g_free(w);
}

static Letter *letter_new(LetterKind kind, Id vm)
{
    Letter *l = g_new0(Letter, 1);

    l->kind = kind;
    l->vm = vm;
    return l;
}

static void harbour_unref(Harbour *h)
{
    if (atomic_fetch_sub(&h->refs, 1) != 1)
        return;
    uv_mutex_destroy(&h->lock);
    g_free(h);
}

/* On a rescue's thread. */
static void on_back(void *user, RescueOutcome *outcome)
{
    Harbour *h = user;
    Letter *l = letter_new(BACK, outcome->vm);

    l->outcome = outcome;
    uv_mutex_lock(&h->lock);
    if (h->box)
        mailbox_send(h->box, g_steal_pointer(&l));
    uv_mutex_unlock(&h->lock);
    if (l)
        letter_free(l);
    harbour_unref(h);
}

/* The thread, from here on. */

static void say(Rescuer *r, RescuerKind kind, Id vm, gint64 paused_ms, char *why)
{
    Word *w = g_new0(Word, 1);

    w->news = (RescuerNews){.kind = kind, .vm = vm, .why = why, .paused_ms = paused_ms};
    mailbox_send(r->to_loop, w);
}

static void send_out(Rescuer *r, Id vm, RescueFlags flags)
{
    const Watched *w = g_hash_table_lookup(r->watches, &vm);

    if (g_hash_table_contains(r->out, &vm))
        return;
    g_hash_table_insert(r->out, g_memdup2(&vm, sizeof(vm)), GUINT_TO_POINTER(w ? w->number : 0));
    atomic_fetch_add(&r->harbour->refs, 1);
    rescue_start(r->uri, r->run_folder, r->gate, vm, flags, on_back, r->harbour);
}

static guint64 allocated(const char *const *paths)
{
    guint64 sum = 0;
    struct stat st;

    for (; paths && *paths; paths++)
        if (stat(*paths, &st) == 0)
            sum += (guint64)st.st_blocks * 512;
    return sum;
}

/* Has it stood still for an I/O error since the worker began? libvirt's record, not QEMU's. */
static gboolean has_stopped(virConnectPtr conn, Watched *w)
{
    g_autoptr(virDomain) dom = conn && w->watch.was_running ? vm_lookup(conn, w->watch.vm, NULL) : NULL;
    VmState state;
    int reason;

    if (!dom || !vm_state_read(dom, &state, &reason, NULL))
        return FALSE;
    if (state != VM_STATE_PAUSED || reason != VIR_DOMAIN_PAUSED_IOERROR)
        w->stopped_at_ms = 0;
    else if (w->stopped_at_ms == 0)
        w->stopped_at_ms = clock_steady_ms();
    return w->stopped_at_ms != 0;
}

static gboolean is_overdue(const Watched *w)
{
    const RescuerWatch *watch = &w->watch;

    if (w->ended)
        return FALSE;
    if (watch->end_by_ms && clock_steady_ms() >= watch->end_by_ms)
        return TRUE;
    /* QEMU's event is early, and its threshold may be somebody else's: half the limit must be there. */
    return watch->scratch_limit_bytes &&
           allocated(watch->scratch) >= watch->scratch_limit_bytes / (w->overfull ? 2 : 1);
}

static void look_at(Rescuer *r, virConnectPtr conn, Watched *w)
{
    RescueFlags flags = 0;

    if (g_hash_table_contains(r->out, &w->watch.vm))
        return;
    if (is_overdue(w))
        flags |= RESCUE_END;
    if (has_stopped(conn, w))
        flags |= RESCUE_END | RESCUE_RESUME;
    if (w->watch.thaw_by_ms && clock_steady_ms() >= w->watch.thaw_by_ms)
        flags |= RESCUE_THAW;
    if (flags)
        send_out(r, w->watch.vm, flags);
}

static void look_at_all(Rescuer *r)
{
    virConnectPtr conn = g_hash_table_size(r->watches) ? connection_get(r->connection, OPEN_MS, NULL) : NULL;
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, r->watches);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        look_at(r, conn, value);
}

static void report(Rescuer *r, const RescueOutcome *o, gint64 paused_ms)
{
    const char *name = o->name ? o->name : "a VM";

    if (o->job_ended)
        say(r, RESCUER_JOB_ENDED, o->vm, 0,
            g_strdup_printf(
                "the backup job of '%s' was ended: it was in the guest's way; the next cut carries on",
                name));
    if (o->resumed)
        say(r, RESCUER_RESUMED, o->vm, paused_ms,
            g_strdup_printf(
                "'%s' had stopped for an I/O error during a cut and was resumed after %" G_GINT64_FORMAT
                " ms; give the scratch folder more room, if its disk is healthy",
                name, paused_ms));
    if (o->thawed)
        say(r, RESCUER_THAWED, o->vm, 0,
            g_strdup_printf("the file systems of '%s' were thawed by the rescuer", name));
}

/* What a rescue did that went out for a job before this one says nothing of this one. */
static Watched *watched_by(const Rescuer *r, const RescueOutcome *o)
{
    Watched *w = g_hash_table_lookup(r->watches, &o->vm);

    return w && w->number == GPOINTER_TO_UINT(g_hash_table_lookup(r->out, &o->vm)) ? w : NULL;
}

static void come_back(Rescuer *r, const RescueOutcome *o)
{
    Watched *w = watched_by(r, o);
    gint64 paused_ms = w && w->stopped_at_ms ? clock_steady_ms() - w->stopped_at_ms : 0;

    g_hash_table_remove(r->out, &o->vm);
    report(r, o, paused_ms);
    if (o->error && (!w || g_strcmp0(w->failure, o->error->message) != 0))
        say(r, o->stuck ? RESCUER_STUCK : RESCUER_FAILED, o->vm, 0, g_strdup(o->error->message));
    if (!w)
        return;
    g_free(w->failure);
    w->failure = o->error ? g_strdup(o->error->message) : NULL;
    if (o->error)
        return;
    w->ended |= (o->flags & RESCUE_END) != 0;
    if (o->resumed)
        w->stopped_at_ms = 0;
    if (o->flags & RESCUE_THAW)
        w->watch.thaw_by_ms = 0;
    if (w->left && w->watch.thaw_by_ms == 0)
        g_hash_table_remove(r->watches, &o->vm);
}

static void take_watch(Rescuer *r, Letter *l)
{
    Watched *w = g_new0(Watched, 1);

    w->watch = l->watch;
    w->number = ++r->last_number;
    l->watch.scratch = NULL;
    g_hash_table_replace(r->watches, g_memdup2(&l->vm, sizeof(l->vm)), w);
}

/* The worker is done. Should its guest stand still all the same, nobody else will come. */
static void drop_watch(Rescuer *r, Id vm)
{
    Watched *w = g_hash_table_lookup(r->watches, &vm);

    if (w && has_stopped(connection_get(r->connection, OPEN_MS, NULL), w))
        send_out(r, vm, RESCUE_END | RESCUE_RESUME);
    /* A slow guest may freeze after its thaw was given up: the mark is there until a thaw was heard. */
    if (w && w->watch.thaw_by_ms && agent_is_marked(vm, r->run_folder)) {
        w->left = w->ended = TRUE;
        return;
    }
    g_hash_table_remove(r->watches, &vm);
}

static void take_letter(Rescuer *r, Letter *l)
{
    Watched *w;

    switch (l->kind) {
    case WATCH:
        take_watch(r, l);
        break;
    case UNWATCH:
        drop_watch(r, l->vm);
        break;
    case END:
        send_out(r, l->vm, RESCUE_END | RESCUE_THAW);
        break;
    case OVERFULL:
        w = g_hash_table_lookup(r->watches, &l->vm);
        if (w)
            w->overfull = TRUE;
        break;
    case BACK:
        come_back(r, l->outcome);
        break;
    case LOOK:
    case QUIT:
        break;
    }
}

static void rescuer_run(void *data)
{
    Rescuer *r = data;
    gint64 look_at_ms = 0;
    gboolean quit = FALSE;
    Word *last = g_new0(Word, 1);

    while (!quit) {
        gboolean idle = g_hash_table_size(r->watches) == 0;
        Letter *l = mailbox_wait(r->to_thread, idle ? -1 : clock_left_ms(look_at_ms));

        if (l) {
            quit = l->kind == QUIT;
            /* A worker's comings and goings cost no look; what is urgent says so. */
            if (l->kind == OVERFULL || l->kind == LOOK)
                look_at_ms = 0;
            take_letter(r, l);
            letter_free(l);
        }
        if (clock_steady_ms() >= look_at_ms) {
            look_at_all(r);
            look_at_ms = clock_steady_ms() + LOOK_EVERY_MS;
        }
    }
    connection_free(r->connection);
    last->last = TRUE;
    mailbox_send(r->to_loop, last);
}

/* The loop, from here on; rescuer_watch(), _unwatch() and _end() any thread. */

static void finish(Rescuer *r)
{
    uv_thread_join(&r->thread);
    uv_mutex_lock(&r->harbour->lock);
    r->harbour->box = NULL;
    uv_mutex_unlock(&r->harbour->lock);
    harbour_unref(r->harbour);
    job_gate_unref(r->gate);
    mailbox_close(r->to_thread);
    mailbox_close(r->to_loop);
    g_hash_table_unref(r->watches);
    g_hash_table_unref(r->out);
    g_free(r->uri);
    g_free(r->run_folder);
    r->on_closed(r->closed_user);
    g_free(r);
}

static void on_word(void *user, void *data)
{
    Rescuer *r = user;
    Word *w = data;
    gboolean last = w->last;

    if (!last && r->on_news)
        r->on_news(r->news_user, &w->news);
    word_free(w);
    if (last)
        finish(r);
}

Rescuer *rescuer_new(uv_loop_t *loop, const char *uri, const char *run_folder,
                     void (*on_news)(void *user, const RescuerNews *news), void *user)
{
    Rescuer *r = g_new0(Rescuer, 1);
    int rc;

    g_assert(g_path_is_absolute(run_folder));
    r->uri = g_strdup(uri);
    r->run_folder = g_strdup(run_folder);
    r->on_news = on_news;
    r->news_user = user;
    r->connection = connection_new(uri, NULL, NULL);
    r->watches = g_hash_table_new_full(id_hash, id_equal_func, g_free, watched_free);
    r->out = g_hash_table_new_full(id_hash, id_equal_func, g_free, NULL);
    r->to_thread = mailbox_new_thread(letter_free);
    r->to_loop = mailbox_new_loop(loop, on_word, r, word_free);
    r->gate = job_gate_new();
    r->harbour = g_new0(Harbour, 1);
    r->harbour->refs = 1;
    r->harbour->box = r->to_thread;
    rc = uv_mutex_init(&r->harbour->lock);
    g_assert(rc == 0);
    rc = uv_thread_create(&r->thread, rescuer_run, r);
    g_assert(rc == 0);
    return r;
}

void rescuer_close(Rescuer *r, void (*on_closed)(void *user), void *user)
{
    g_assert(r->on_news);
    r->on_news = NULL;
    r->on_closed = on_closed;
    r->closed_user = user;
    mailbox_send(r->to_thread, letter_new(QUIT, ID_NIL));
}

void rescuer_watch(Rescuer *r, const RescuerWatch *watch)
{
    Letter *l = letter_new(WATCH, watch->vm);

    job_gate_open(r->gate, watch->vm);
    l->watch = *watch;
    l->watch.scratch = (const char *const *)g_strdupv((char **)watch->scratch);
    mailbox_send(r->to_thread, l);
}

void rescuer_unwatch(Rescuer *r, Id vm)
{
    mailbox_send(r->to_thread, letter_new(UNWATCH, vm));
}

gboolean rescuer_enter(Rescuer *r, Id vm)
{
    return job_gate_enter(r->gate, vm);
}

void rescuer_leave(Rescuer *r, Id vm)
{
    job_gate_leave(r->gate, vm);
}

void rescuer_end(Rescuer *r, Id vm)
{
    mailbox_send(r->to_thread, letter_new(END, vm));
}

void rescuer_hear(Rescuer *r, const EarEvent *event)
{
    switch (event->kind) {
    case EAR_BLOCK_THRESHOLD:
        mailbox_send(r->to_thread, letter_new(OVERFULL, event->vm));
        break;
    case EAR_IO_ERROR:
        mailbox_send(r->to_thread, letter_new(LOOK, event->vm));
        break;
    default:
        break;
    }
}
