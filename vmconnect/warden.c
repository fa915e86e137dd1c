/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/warden.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define AGAIN_FIRST_MS 250
#define AGAIN_LAST_MS 500
#define AWAY_MS 1750 /* one that starts beside this engine is waited for a little */
#define ANSWER_MS 2000
#define LOOK_MS 500

/* What the guard is to keep. */
typedef struct {
    Id vm;
    Word word;       /* a KEEP */
    int pidfd;       /* ours; -1: none was given yet */
    gboolean is_new; /* this guard was not told of the process yet, or has not taken it */
    guint64 serial;  /* of the newest word */
} Kept;

/* What waits to be sent; of a KEEP the content is what is kept when its turn comes. */
typedef struct {
    WordKind kind;
    Id vm;
} Todo;

/* What was sent, and is answered in that order. */
typedef struct {
    WordKind kind;
    Id vm;
    guint64 serial;
    gint64 sent_ms;
} Asked;

struct Warden {
    uv_loop_t *loop;
    struct sockaddr_un address;
    WardenEvents events;
    void *user;
    int fd; /* -1: not connected */
    uv_poll_t *poll;
    uv_timer_t timer; /* connects again, or looks whether answers come */
    gint64 again_ms;
    gint64 since_ms;    /* none is there; steady */
    GHashTable *kept;   /* Id * (its own) -> Kept * */
    gboolean is_listed; /* this guard has said whom it has, and … */
    guint64 words;      /* … which words it knows: a WORD_MASK() of each */
    GHashTable *lends;  /* set of Id *: to be lent, when that is known */
    GHashTable *care;   /* set of Id *: whom this guard has said that it has, by whose word ever */
    GQueue *todo;       /* Todo * */
    GQueue *asked;      /* Asked * */
    guint64 serial;
    gboolean up;          /* as was told */
    gboolean leaves;      /* this guard is about to end */
    const char *why_away; /* what it does instead: said once, until it is up */
    gboolean closed;
};

static void kept_free(gpointer data)
{
    Kept *k = data;

    if (k->pidfd >= 0)
        close(k->pidfd);
    g_free(k);
}

static gboolean has_ended(const Kept *k)
{
    struct pollfd p = {.fd = k->pidfd, .events = POLLIN};

    return k->pidfd < 0 || poll(&p, 1, 0) > 0;
}

static void set_up(Warden *w)
{
    if (w->up || w->closed)
        return;
    w->up = TRUE;
    w->why_away = NULL;
    log_info("the guard is there");
    w->events.on_up(w->user, TRUE);
}

static void set_down(Warden *w, const char *why)
{
    if (w->closed || w->why_away)
        return;
    log_warning("the guard %s -> no VM is armed, and of those that cannot be disarmed the kernel holds the "
                "frames when their lease ends; see `systemctl status understudy-guard`",
                why);
    w->why_away = why;
    w->up = FALSE;
    w->events.on_up(w->user, FALSE);
}

/* --- sending ------------------------------------------------------------------- */

#define KINDS_EVENT (1u << WORD_STOPPED | 1u << WORD_RUNNING)
#define KINDS_OF_VM (KINDS_EVENT | 1u << WORD_KEEP | 1u << WORD_RELEASE)

static void set_events(Warden *w);
static void disconnect(Warden *w);

/* What is said next makes that void. */
static void unsay(Warden *w, guint kinds, Id vm)
{
    for (GList *one = w->todo->head, *next; one; one = next) {
        Todo *t = one->data;

        next = one->next;
        if (!(kinds & 1u << t->kind) || !id_equal(t->vm, vm))
            continue;
        g_free(t);
        g_queue_delete_link(w->todo, one);
    }
}

static gboolean is_waiting(const Warden *w, WordKind kind, Id vm)
{
    for (const GList *one = w->todo->head; one; one = one->next) {
        const Todo *t = one->data;

        if (t->kind == kind && id_equal(t->vm, vm))
            return TRUE;
    }
    return FALSE;
}

static void push(Warden *w, WordKind kind, Id vm)
{
    Todo *t;

    if (w->fd < 0)
        return;
    t = g_new0(Todo, 1);
    *t = (Todo){kind, vm};
    g_queue_push_tail(w->todo, t);
    set_events(w);
}

static void push_keep(Warden *w, Id vm)
{
    if (!is_waiting(w, WORD_KEEP, vm))
        push(w, WORD_KEEP, vm);
}

/* FALSE: not now, or the guard is gone. */
static gboolean send_one(Warden *w, const Todo *t)
{
    Kept *k = t->kind == WORD_KEEP ? g_hash_table_lookup(w->kept, &t->vm) : NULL;
    const Word plain = {.kind = t->kind, .vm = t->vm, .words = t->kind == WORD_LIST ? WORDS_KNOWN : 0};
    g_autoptr(GError) error = NULL;
    Asked *asked;

    if (t->kind == WORD_KEEP && !k)
        return TRUE; /* released meanwhile */
    if (!word_send(w->fd, k ? &k->word : &plain, k && k->is_new ? k->pidfd : -1, &error)) {
        if (!g_error_matches(error, US_ERROR, US_ERROR_BUSY))
            disconnect(w);
        return FALSE;
    }
    asked = g_new0(Asked, 1);
    *asked = (Asked){t->kind, t->vm, k ? k->serial : 0, clock_steady_ms()};
    g_queue_push_tail(w->asked, asked);
    if (k)
        k->is_new = FALSE;
    return TRUE;
}

static void send_all(Warden *w)
{
    while (w->fd >= 0 && !g_queue_is_empty(w->todo)) {
        Todo *t = g_queue_peek_head(w->todo);

        if (!send_one(w, t))
            return;
        g_free(g_queue_pop_head(w->todo));
    }
}

/* --- hearing --------------------------------------------------------------------- */

static void add_to_care(Warden *w, Id vm)
{
    g_hash_table_add(w->care, g_memdup2(&vm, sizeof(vm)));
}

static void forget(Warden *w, Id vm)
{
    g_hash_table_remove(w->kept, &vm);
    w->events.on_gone(w->user, vm);
}

/* An answer is the newest word's, or nobody waits for it any more. */
static void take_kept(Warden *w, const Asked *asked, const GError *refused)
{
    Kept *k = g_hash_table_lookup(w->kept, &asked->vm);

    if (!refused)
        add_to_care(w, asked->vm);
    if (!k)
        return;
    k->is_new = k->is_new || refused;
    if (k->serial != asked->serial)
        return;
    /* It has ended before the guard had it, which has nothing to say of its end. */
    if (refused && k->pidfd >= 0 && has_ended(k) && !g_hash_table_contains(w->care, &asked->vm))
        forget(w, asked->vm);
    else
        w->events.on_kept(w->user, asked->vm, refused);
}

static void take_released(Warden *w, Id vm, const GError *refused)
{
    if (refused)
        log_warning("vm %s: %s -> it stays in the guard's care", ID_TEXT(vm), refused->message);
    else
        g_hash_table_remove(w->care, &vm);
}

static void lend(Warden *w, Id vm)
{
    if (w->words & WORD_MASK(WORD_LEND))
        push(w, WORD_LEND, vm);
    else
        log_warning("vm %s: its guard is older than this engine and does not let it go on to be suspended -> "
                    "what asks libvirt for it hangs until its lease is back or its QEMU ends",
                    ID_TEXT(vm));
}

/* What an older guard would end the connection for is not said to it. */
static void take_words(Warden *w, guint64 words)
{
    g_autoptr(GString) lacks = g_string_new(NULL);
    GHashTableIter it;
    gpointer vm;

    w->is_listed = TRUE;
    w->words = words;
    for (WordKind kind = WORD_KEEP; words && kind < WORD_KINDS; kind++)
        if (!(words & WORD_MASK(kind)))
            g_string_append_printf(lacks, "%s%s", lacks->len > 0 ? ", " : ": it lacks ",
                                   word_kind_name(kind));
    if (warden_is_older(w))
        log_warning(
            "the guard is older than this engine%s -> leases are kept as before, and what it "
            "lacks is done without; `systemctl restart understudy-guard` puts the new one in its place",
            lacks->str);
    g_hash_table_iter_init(&it, w->lends);
    while (g_hash_table_iter_next(&it, &vm, NULL))
        lend(w, *(const Id *)vm);
    g_hash_table_remove_all(w->lends);
}

/* Of those whose process has ended while no guard was there nobody else tells. */
static void take_list_end(Warden *w, guint64 words)
{
    g_autoptr(GArray) gone = g_array_new(FALSE, FALSE, sizeof(Id));
    GHashTableIter it;
    gpointer value;

    w->again_ms = AGAIN_FIRST_MS;
    take_words(w, words);
    g_hash_table_iter_init(&it, w->kept);
    while (g_hash_table_iter_next(&it, NULL, &value)) {
        const Kept *k = value;

        if (k->pidfd >= 0 && has_ended(k) && !g_hash_table_contains(w->care, &k->vm))
            g_array_append_val(gone, k->vm);
    }
    for (guint i = 0; i < gone->len && !w->closed; i++)
        if (g_hash_table_contains(w->kept, &g_array_index(gone, Id, i)))
            forget(w, g_array_index(gone, Id, i));
}

static void take_answer(Warden *w, const Word *word)
{
    g_autofree Asked *asked = g_queue_pop_head(w->asked);
    g_autoptr(GError) refused = NULL;

    if (!asked || !id_equal(asked->vm, word->vm)) {
        disconnect(w);
        return;
    }
    if (word->kind == WORD_REFUSED)
        refused = g_error_new(US_ERROR, US_ERROR_REFUSED, "the guard refuses: %s", word->text);
    if (asked->kind == WORD_LIST)
        take_list_end(w, word->words);
    if (asked->kind == WORD_RELEASE)
        take_released(w, asked->vm, refused);
    /* (The list was asked for first.) */
    if (g_queue_is_empty(w->asked) && g_queue_is_empty(w->todo) && !w->leaves)
        set_up(w);
    if (asked->kind == WORD_KEEP && !w->closed)
        take_kept(w, asked, refused);
}

static void take_ward(Warden *w, const Word *word)
{
    add_to_care(w, word->vm);
    if (!g_hash_table_contains(w->kept, &word->vm) && !w->events.wants(w->user, word->vm))
        push(w, WORD_RELEASE, word->vm);
    else if (word->how != FENCED_NOT)
        w->events.on_fenced(w->user, word->vm, word->how);
}

/* The process that it had: if that of the newest word lives, it came after, and may have been refused for that. */
static void take_gone(Warden *w, Id vm)
{
    Kept *k = g_hash_table_lookup(w->kept, &vm);

    g_hash_table_remove(w->care, &vm);
    if (!k || has_ended(k)) {
        forget(w, vm);
        return;
    }
    k->is_new = TRUE;
    push_keep(w, vm);
    w->events.on_gone(w->user, vm);
}

static void take(Warden *w, const Word *word)
{
    switch (word->kind) {
    case WORD_DONE:
    case WORD_REFUSED:
        take_answer(w, word);
        return;
    case WORD_WARD:
        take_ward(w, word);
        return;
    case WORD_PLEASE_STOP:
        add_to_care(w, word->vm);
        w->events.on_please_stop(w->user, word->vm);
        return;
    case WORD_FENCED:
        w->events.on_fenced(w->user, word->vm, word->how);
        return;
    case WORD_GONE:
        take_gone(w, word->vm);
        return;
    case WORD_LEAVING:
        w->leaves = TRUE;
        set_down(w, "was told to end");
        return;
    default:
        log_warning("the guard says %s, which is no word of its -> passed over", word_kind_name(word->kind));
    }
}

static void receive_all(Warden *w)
{
    while (w->fd >= 0) {
        g_autoptr(GError) error = NULL;
        Word word;

        if (word_receive(w->fd, &word, NULL, &error)) {
            take(w, &word);
            continue;
        }
        if (!g_error_matches(error, US_ERROR, US_ERROR_BUSY))
            disconnect(w);
        return;
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    Warden *w = poll->data;

    if (status < 0) {
        disconnect(w);
        return;
    }
    if (events & (UV_READABLE | UV_DISCONNECT))
        receive_all(w);
    if (w->fd >= 0 && (events & UV_WRITABLE))
        send_all(w);
    if (w->fd >= 0)
        set_events(w);
}

static void set_events(Warden *w)
{
    uv_poll_start(w->poll, UV_READABLE | UV_DISCONNECT | (g_queue_is_empty(w->todo) ? 0 : UV_WRITABLE),
                  on_poll);
}

/* --- the connection ---------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer);

static void on_poll_closed(uv_handle_t *poll)
{
    g_free(poll);
}

static void put_off(Warden *w, const char *why)
{
    gint64 wait_ms = w->again_ms;

    w->again_ms = MIN(2 * wait_ms, AGAIN_LAST_MS);
    uv_timer_start(&w->timer, on_timer, (guint64)wait_ms, 0);
    if (clock_steady_ms() >= w->since_ms + AWAY_MS)
        set_down(w, why);
}

/* One that has not said whom it has is as good as none: it is asked ever more rarely, too. */
static void disconnect(Warden *w)
{
    if (w->fd < 0)
        return;
    uv_poll_stop(w->poll);
    uv_close((uv_handle_t *)g_steal_pointer(&w->poll), on_poll_closed);
    close(w->fd);
    w->fd = -1;
    g_queue_clear_full(w->todo, g_free);
    g_queue_clear_full(w->asked, g_free);
    g_hash_table_remove_all(w->care);
    g_hash_table_remove_all(w->lends);
    w->is_listed = w->leaves = FALSE;
    if (w->up)
        set_down(w, "is gone");
    if (!w->closed)
        put_off(w, "does not answer");
}

static gboolean is_root(int fd)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.uid == geteuid();
}

/* All that is kept is told to whoever is there now; of what has ended the list says whether he has it. */
static void begin(Warden *w)
{
    GHashTableIter it;
    gpointer value;

    push(w, WORD_LIST, ID_NIL);
    g_hash_table_iter_init(&it, w->kept);
    while (g_hash_table_iter_next(&it, NULL, &value)) {
        Kept *k = value;

        k->is_new = TRUE;
        if (k->pidfd < 0 || !has_ended(k))
            push(w, WORD_KEEP, k->vm);
    }
}

static void connect_now(Warden *w)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    gboolean is_there = fd >= 0 && connect(fd, (const struct sockaddr *)&w->address, sizeof(w->address)) == 0;

    if (!is_there || !is_root(fd)) {
        if (fd >= 0)
            close(fd);
        put_off(w, is_there ? "is not root's, and not spoken to" : "is not there");
        return;
    }
    w->fd = fd;
    w->poll = g_new0(uv_poll_t, 1);
    uv_poll_init(w->loop, w->poll, fd);
    w->poll->data = w;
    begin(w);
    uv_timer_start(&w->timer, on_timer, LOOK_MS, LOOK_MS);
}

static void on_timer(uv_timer_t *timer)
{
    Warden *w = timer->data;
    const Asked *oldest;

    if (w->fd < 0) {
        connect_now(w);
        return;
    }
    /* It may have been this process that was late. */
    receive_all(w);
    oldest = g_queue_peek_head(w->asked);
    if (oldest && clock_steady_ms() >= oldest->sent_ms + ANSWER_MS)
        set_down(w, "does not answer");
}

/* --- what is kept --------------------------------------------------------------------- */

Warden *warden_new(uv_loop_t *loop, const char *socket_path, const WardenEvents *events, void *user)
{
    Warden *w = g_new0(Warden, 1);

    g_assert(strlen(socket_path) < sizeof(w->address.sun_path));
    w->loop = loop;
    w->address.sun_family = AF_UNIX;
    g_strlcpy(w->address.sun_path, socket_path, sizeof(w->address.sun_path));
    w->events = *events;
    w->user = user;
    w->fd = -1;
    w->again_ms = AGAIN_FIRST_MS;
    w->since_ms = clock_steady_ms();
    w->kept = g_hash_table_new_full(id_hash, id_equal_func, NULL, kept_free);
    w->care = g_hash_table_new_full(id_hash, id_equal_func, g_free, NULL);
    w->lends = g_hash_table_new_full(id_hash, id_equal_func, g_free, NULL);
    w->todo = g_queue_new();
    w->asked = g_queue_new();
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    uv_timer_start(&w->timer, on_timer, 0, 0);
    return w;
}

static void on_timer_closed(uv_handle_t *timer)
{
    Warden *w = timer->data;

    g_hash_table_unref(w->kept);
    g_hash_table_unref(w->care);
    g_hash_table_unref(w->lends);
    g_queue_free_full(w->todo, g_free);
    g_queue_free_full(w->asked, g_free);
    g_free(w);
}

void warden_close(Warden *w)
{
    if (!w || w->closed)
        return;
    w->closed = TRUE;
    disconnect(w);
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
}

gboolean warden_is_up(const Warden *w)
{
    return w->up;
}

gboolean warden_is_older(const Warden *w)
{
    return w->is_listed && (w->words & WORDS_KNOWN) != WORDS_KNOWN;
}

const char *warden_why_away(const Warden *w)
{
    return w->why_away;
}

void warden_keep(Warden *w, Id vm, Reign reign, int pidfd, const char (*taps)[IF_NAMESIZE], guint n,
                 gboolean is_enforced, LeaseMoment until)
{
    Kept *k = g_hash_table_lookup(w->kept, &vm);

    g_assert(n <= WORD_TAPS_MAX);
    if (!k) {
        k = g_new0(Kept, 1);
        k->vm = vm;
        k->pidfd = -1;
        g_hash_table_insert(w->kept, &k->vm, k);
    }
    k->word = (Word){
        .kind = WORD_KEEP, .vm = vm, .reign = reign, .is_enforced = is_enforced, .until = until, .taps = n};
    if (n > 0)
        memcpy(k->word.tap, taps, n * (gsize)IF_NAMESIZE);
    if (pidfd >= 0) {
        if (k->pidfd >= 0)
            close(k->pidfd);
        k->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
        k->is_new = TRUE;
    }
    k->serial = ++w->serial;
    push_keep(w, vm);
}

void warden_release(Warden *w, Id vm)
{
    g_hash_table_remove(w->kept, &vm);
    g_hash_table_remove(w->lends, &vm);
    unsay(w, KINDS_OF_VM, vm);
    push(w, WORD_RELEASE, vm);
}

void warden_tell(Warden *w, Id vm, gboolean stopped)
{
    if (!g_hash_table_contains(w->kept, &vm) && !g_hash_table_contains(w->care, &vm))
        return;
    unsay(w, KINDS_EVENT, vm);
    push(w, stopped ? WORD_STOPPED : WORD_RUNNING, vm);
}

void warden_lend(Warden *w, Id vm)
{
    if (!w->is_listed)
        g_hash_table_add(w->lends, g_memdup2(&vm, sizeof(vm)));
    else if (!is_waiting(w, WORD_LEND, vm))
        lend(w, vm);
}
