/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/guests.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/process.h"
#include "vmconnect/base/readable.h"
#include "vmconnect/hypervisor/qemu_process.h"
#include "vmconnect/loop/aside.h"

#include <string.h>
#include <unistd.h>

#define LOOK_MS 1000
#define REPEAT_MS 1000 /* the ears repeat at once, after an inventory, what they heard while it was made */
#define FIND_MS 10000
#define FIND_EACH 10 /* looks */

/* libvirtd's thread for such news may stand still for half a minute. A guest that is asked to shut down is given as long by a plan, too,
 * unless its operator says otherwise. */
const GuestsSettings GUESTS_USUAL = {.notice_ms = 45000, .obey_ms = 180000};

/* --- what libvirt means ------------------------------------------------------ */

static const char *const NAMES[] = {
#define X(word, name) [GUEST_##word] = name,
    GUEST_WORDS(X)
#undef X
};

const char *guest_word_name(GuestWord word)
{
    return NAMES[word];
}

static GuestWord word_of_off(int reason, const char **ret_why)
{
    switch (reason) {
    case VIR_DOMAIN_SHUTOFF_CRASHED:
        *ret_why = "it crashed";
        return GUEST_DEAD;
    case VIR_DOMAIN_SHUTOFF_FAILED:
    case VIR_DOMAIN_SHUTOFF_DAEMON:
        *ret_why = "its QEMU has ended by itself, or could not be started";
        return GUEST_DEAD;
    case VIR_DOMAIN_SHUTOFF_SHUTDOWN:
        *ret_why = "it was shut down";
        break;
    case VIR_DOMAIN_SHUTOFF_DESTROYED:
        *ret_why = "it was destroyed by its user";
        break;
    case VIR_DOMAIN_SHUTOFF_SAVED:
        *ret_why = "it was saved";
        break;
    case VIR_DOMAIN_SHUTOFF_MIGRATED:
        *ret_why = "it was migrated away";
        break;
    case VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT:
        *ret_why = "it was set back to a snapshot of when it was off";
        break;
    default:
        *ret_why = "it has not been started since its host was";
        return GUEST_IDLE;
    }
    return GUEST_OFF;
}

static GuestWord word_of_paused(int reason, const char **ret_why)
{
    switch (reason) {
    case VIR_DOMAIN_PAUSED_IOERROR:
        *ret_why =
            "it stands still: one of its disks has an I/O error, or no room (`virsh domblkerror` says which)";
        return GUEST_STALLED;
    case VIR_DOMAIN_PAUSED_WATCHDOG:
        *ret_why = "its watchdog went off";
        return GUEST_DEAD;
    case VIR_DOMAIN_PAUSED_CRASHED:
        *ret_why = "it crashed";
        return GUEST_DEAD;
    case VIR_DOMAIN_PAUSED_STARTING_UP:
        return GUEST_ALIVE;
    default:
        *ret_why = "it is paused";
        return GUEST_PAUSED;
    }
}

GuestWord guest_word_of(VmState state, int reason, const char **ret_why)
{
    *ret_why = NULL;
    switch (state) {
    case VM_STATE_RUNNING:
    case VM_STATE_SHUTTING_DOWN:
        return GUEST_ALIVE;
    case VM_STATE_PAUSED:
        return word_of_paused(reason, ret_why);
    case VM_STATE_OFF:
        return word_of_off(reason, ret_why);
    case VM_STATE_CRASHED:
        *ret_why = "it crashed";
        return GUEST_DEAD;
    case VM_STATE_SUSPENDED:
        *ret_why = "it went to sleep by itself";
        return GUEST_PAUSED;
    case VM_STATE_UNKNOWN:
        break;
    }
    return GUEST_UNKNOWN;
}

static int off_reason(int detail)
{
    static const int REASONS[] = {
        [VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN] = VIR_DOMAIN_SHUTOFF_SHUTDOWN,
        [VIR_DOMAIN_EVENT_STOPPED_DESTROYED] = VIR_DOMAIN_SHUTOFF_DESTROYED,
        [VIR_DOMAIN_EVENT_STOPPED_CRASHED] = VIR_DOMAIN_SHUTOFF_CRASHED,
        [VIR_DOMAIN_EVENT_STOPPED_MIGRATED] = VIR_DOMAIN_SHUTOFF_MIGRATED,
        [VIR_DOMAIN_EVENT_STOPPED_SAVED] = VIR_DOMAIN_SHUTOFF_SAVED,
        [VIR_DOMAIN_EVENT_STOPPED_FAILED] = VIR_DOMAIN_SHUTOFF_FAILED,
        [VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT] = VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT,
    };

    return detail >= 0 && (guint)detail < G_N_ELEMENTS(REASONS) ? REASONS[detail]
                                                                : VIR_DOMAIN_SHUTOFF_UNKNOWN;
}

static int paused_reason(int detail)
{
    return detail == VIR_DOMAIN_EVENT_SUSPENDED_IOERROR    ? VIR_DOMAIN_PAUSED_IOERROR
           : detail == VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG ? VIR_DOMAIN_PAUSED_WATCHDOG
                                                           : VIR_DOMAIN_PAUSED_USER;
}

gboolean guest_word_of_event(int event, int detail, GuestWord *ret_word, const char **ret_why)
{
    *ret_why = NULL;
    switch (event) {
    case VIR_DOMAIN_EVENT_STARTED:
    case VIR_DOMAIN_EVENT_RESUMED:
        *ret_word = GUEST_ALIVE;
        return TRUE;
    case VIR_DOMAIN_EVENT_SUSPENDED:
        *ret_word = word_of_paused(paused_reason(detail), ret_why);
        return TRUE;
    case VIR_DOMAIN_EVENT_STOPPED:
        *ret_word = word_of_off(off_reason(detail), ret_why);
        return TRUE;
    case VIR_DOMAIN_EVENT_CRASHED:
        *ret_word = GUEST_DEAD;
        *ret_why = detail == VIR_DOMAIN_EVENT_CRASHED_PANICKED ? "its kernel panicked" : "it crashed";
        return TRUE;
    case VIR_DOMAIN_EVENT_PMSUSPENDED:
        *ret_word = guest_word_of(VM_STATE_SUSPENDED, 0, ret_why);
        return TRUE;
    default:
        return FALSE;
    }
}

/* --- guests ------------------------------------------------------------------ */

typedef struct {
    Guests *guests;
    Id vm;
    char *name;
    GuestWord word;  /* libvirt's */
    const char *why; /* static */
    guint boots;
    guint barks;      /* its watchdog went off … */
    const char *bark; /* … and that was done about it the last time; static */
    int ends_by;      /* what its watchdog did that ends a guest, if it ended before … */
    gint64 ends_ms;   /* … then (steady) */
    gboolean ended_by_it;
    gboolean fenced;
    gboolean off;        /* libvirt has no process of it */
    gboolean persistent; /* libvirt keeps its definition */
    gboolean asked;      /* somebody wants to know of it */
    int pidfd;           /* -1: not held */
    pid_t pid;
    gboolean finding;
    guint turns;    /* of the timer since it was looked for last */
    gboolean ended; /* the process that was held has … */
    gint64 ended_ms;
    gboolean overdue; /* … and libvirtd should have noticed by now */
    gboolean frozen;
} Guest;

struct Guests {
    uv_loop_t *loop;
    const GuestsSettings *settings;
    GHashTable *by_vm; /* Id * -> Guest * */
    uv_timer_t timer;
    char *down; /* why libvirtd does not answer; NULL: it does */
    gboolean heard;
    void (*on_news)(void *user);
    void *user;
    gboolean closed;
    guint refs; /* the timer, threads aside */
};

static void unref(Guests *g)
{
    if (--g->refs > 0)
        return;
    g_hash_table_unref(g->by_vm);
    g_free(g->down);
    g_free(g);
}

static void let_go(Guest *guest)
{
    if (guest->pidfd >= 0)
        close(guest->pidfd);
    guest->pidfd = -1;
    guest->pid = 0;
    guest->turns = 0;
    guest->ended = guest->overdue = guest->frozen = FALSE;
}

static void guest_free(gpointer data)
{
    Guest *guest = data;

    let_go(guest);
    g_free(guest->name);
    g_free(guest);
}

static Guest *guest_of(Guests *g, Id vm, const char *name)
{
    Guest *guest = g_hash_table_lookup(g->by_vm, &vm);

    if (!guest) {
        guest = g_new0(Guest, 1);
        guest->guests = g;
        guest->vm = vm;
        guest->off = TRUE;
        guest->pidfd = -1;
        g_hash_table_insert(g->by_vm, &guest->vm, guest);
    }
    if (g_strcmp0(guest->name, name) != 0) {
        g_free(guest->name);
        guest->name = g_strdup(name);
    }
    return guest;
}

/* --- its process -------------------------------------------------------------- */

typedef struct {
    Guests *guests;
    Id vm;
    char *name;
    int pidfd;
} Finding;

static void finding_free(gpointer data)
{
    Finding *f = data;

    if (f->pidfd >= 0)
        close(f->pidfd);
    g_free(f->name);
    g_free(f);
}

static gpointer find_work(gpointer data)
{
    const Finding *request = data;
    Finding *found = g_new0(Finding, 1);
    gboolean gone;

    found->pidfd = qemu_process_open(QEMU_PROCESS_FOLDER, request->name, request->vm, &gone, NULL);
    return found;
}

static void on_found(void *user, gpointer result)
{
    Finding *asked = user;
    Finding *found = result;
    Guests *g = asked->guests;
    Guest *guest = g_hash_table_lookup(g->by_vm, &asked->vm);

    if (guest)
        guest->finding = FALSE;
    if (guest && !guest->off && found && found->pidfd >= 0 && !g->closed) {
        let_go(guest);
        guest->pidfd = found->pidfd;
        guest->pid = qemu_process_pid(guest->pidfd);
        found->pidfd = -1;
        /* Whoever keeps it under guard waits for it. */
        g->on_news(g->user);
    }
    if (found)
        finding_free(found);
    finding_free(asked);
    unref(g);
}

static Finding *finding_new(Guest *guest)
{
    Finding *f = g_new0(Finding, 1);

    *f = (Finding){guest->guests, guest->vm, g_strdup(guest->name), -1};
    return f;
}

static void find(Guest *guest)
{
    AsideWork work = {.timeout_ms = FIND_MS,
                      .work = find_work,
                      .request = finding_new(guest),
                      .free_request = finding_free,
                      .free_result = finding_free};

    if (guest->finding)
        return;
    guest->finding = TRUE;
    guest->guests->refs++;
    aside_run(guest->guests->loop, &work, on_found, finding_new(guest));
}

/* Of a process that has ended, poll(2) on its pidfd says so. */
static gboolean has_ended(const Guest *guest)
{
    return readable_within(guest->pidfd, 0);
}

static void look(Guest *guest)
{
    gboolean ended = guest->pidfd >= 0 && has_ended(guest);
    gboolean frozen = guest->pidfd >= 0 && !ended && guest->pid != 0 && process_is_stopped(guest->pid);
    gboolean overdue;

    if (ended && !guest->ended)
        guest->ended_ms = clock_steady_ms();
    overdue = ended && clock_steady_ms() >= guest->ended_ms + guest->guests->settings->notice_ms;
    if (ended == guest->ended && frozen == guest->frozen && overdue == guest->overdue)
        return;
    guest->ended = ended;
    guest->frozen = frozen;
    guest->overdue = overdue;
    guest->guests->on_news(guest->guests->user);
}

static void find_if_missing(Guest *guest)
{
    if (guest->word == GUEST_ALIVE && (guest->pidfd < 0 || guest->ended) && guest->turns++ % FIND_EACH == 0)
        find(guest);
}

static void on_timer(uv_timer_t *timer)
{
    Guests *g = timer->data;
    GHashTableIter it;
    gpointer guest;

    g_hash_table_iter_init(&it, g->by_vm);
    while (g_hash_table_iter_next(&it, NULL, &guest)) {
        look(guest);
        find_if_missing(guest);
    }
}

/* --- its watchdog ---------------------------------------------------------------- */

static const char *words_of_watchdog(int action)
{
    static const char *const WORDS[] = {
        [VIR_DOMAIN_EVENT_WATCHDOG_NONE] = "nothing was done about it",
        [VIR_DOMAIN_EVENT_WATCHDOG_PAUSE] = "it was paused",
        [VIR_DOMAIN_EVENT_WATCHDOG_RESET] = "it was reset",
        [VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF] = "it was powered off",
        [VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN] = "it was asked to shut down",
        [VIR_DOMAIN_EVENT_WATCHDOG_DEBUG] = "that was logged",
        [VIR_DOMAIN_EVENT_WATCHDOG_INJECTNMI] = "it was sent an NMI",
    };

    return action >= 0 && (guint)action < G_N_ELEMENTS(WORDS) ? WORDS[action]
                                                              : "libvirt does not say what was done";
}

/* libvirt 9 makes of a `poweroff` a QEMU that has failed (the event) or crashed (the state), and of a `shutdown`, if the guest can still
 * follow it, one like any other. Whoever is shut down long after that, or after a start or reset, is so by his user; a user who does it
 * at once cannot be told from the watchdog, but for his `virsh destroy`, nor can one whose watchdog goes off while his guest hangs on its
 * way. libvirt keeps nothing of the watchdog, nor is it kept here: an engine that is started anew between that and the look finds the former
 * dead all the same, and of the latter that it was shut down. */
static void blame_watchdog(Guest *guest, int reason, GuestWord *word, const char **why)
{
    gboolean powered_off = guest->ends_by == VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF;
    gboolean fits = reason == VIR_DOMAIN_SHUTOFF_SHUTDOWN || (powered_off && *word != GUEST_OFF);

    guest->ended_by_it = fits && (guest->ended_by_it || clock_steady_ms() < guest->ends_ms);
    if (!guest->ended_by_it)
        return;
    *word = GUEST_DEAD;
    *why = powered_off ? "its watchdog went off, and powered it off"
                       : "its watchdog went off, and it was shut down by that";
}

static void hear_watchdog(Guest *guest, int action)
{
    guest->barks++;
    guest->bark = words_of_watchdog(action);
    guest->ends_by = action;
    guest->ends_ms =
        action == VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF || action == VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN
            ? clock_steady_ms() + guest->guests->settings->obey_ms
            : 0;
    guest->guests->on_news(guest->guests->user);
}

/* Nobody has told of its start; or the inventory is older than its end, which is told again then. */
static void forget_watchdog_soon(Guest *guest)
{
    gint64 soon_ms = clock_steady_ms() + REPEAT_MS;

    guest->ends_ms = MIN(guest->ends_ms, soon_ms);
}

/* --- hearing ------------------------------------------------------------------ */

static void set_word(Guest *guest, GuestWord word, const char *why)
{
    gboolean same = guest->word == word && guest->why == why;

    guest->word = word;
    guest->why = why;
    if (word == GUEST_OFF || word == GUEST_IDLE || word == GUEST_DEAD)
        look(guest);
    if (!same)
        guest->guests->on_news(guest->guests->user);
}

/* Trials, and what others make for an hour, come and go by the thousand. What was asked for keeps its word until the next inventory:
 * one that died is dead though nobody has its definition any more. */
static void forget_if_gone(Guest *guest)
{
    if (guest->off && !guest->persistent && !guest->asked)
        g_hash_table_remove(guest->guests->by_vm, &guest->vm);
}

static void take_vm(Guest *guest, const Vm *vm)
{
    const char *why;
    GuestWord word = guest_word_of(vm->state, vm->reason, &why);
    gboolean was_off = guest->off && guest->word != GUEST_UNKNOWN;

    guest->persistent = vm->persistent;
    guest->off = vm->state == VM_STATE_OFF;
    if (guest->off) {
        let_go(guest);
        guest->fenced = FALSE;
    }
    /* A libvirtd that was restarted has forgotten why it is off; since this boot we have not. */
    if (word == GUEST_IDLE && (guest->word == GUEST_OFF || guest->word == GUEST_DEAD))
        return;
    if (guest->off)
        blame_watchdog(guest, vm->reason, &word, &why);
    else
        guest->ended_by_it = FALSE;
    if (was_off && !guest->off)
        forget_watchdog_soon(guest);
    if (word == GUEST_ALIVE && guest->word != GUEST_ALIVE && guest->word != GUEST_UNKNOWN)
        guest->boots++;
    set_word(guest, word, why);
}

static void take_inventory(Guests *g, const Inventory *inventory)
{
    g_autoptr(GHashTable) there = g_hash_table_new(id_hash, id_equal_func);
    GHashTableIter it;
    gpointer key;

    for (guint i = 0; i < inventory->vms->len; i++) {
        const Vm *vm = inventory->vms->pdata[i];
        Guest *guest = guest_of(g, vm->definition->uuid, vm->definition->name);

        g_hash_table_add(there, &guest->vm);
        take_vm(guest, vm);
    }
    g_hash_table_iter_init(&it, g->by_vm);
    while (g_hash_table_iter_next(&it, &key, NULL))
        if (!g_hash_table_contains(there, key))
            g_hash_table_iter_remove(&it);
}

static void take_event(Guest *guest, const EarEvent *event)
{
    Guests *g = guest->guests;
    const char *why;
    GuestWord word;

    if (event->event == VIR_DOMAIN_EVENT_DEFINED || event->event == VIR_DOMAIN_EVENT_UNDEFINED)
        guest->persistent = event->event == VIR_DOMAIN_EVENT_DEFINED;
    if (!guest_word_of_event(event->event, event->detail, &word, &why))
        return;
    guest->off = event->event == VIR_DOMAIN_EVENT_STOPPED;
    /* libvirt tells of a start that it goes on before it tells that it was started: with its end a new one begins. */
    if (event->event == VIR_DOMAIN_EVENT_STARTED || event->event == VIR_DOMAIN_EVENT_STOPPED) {
        let_go(guest);
        guest->fenced = FALSE;
        guest->boots++;
        g->on_news(g->user);
    }
    if (event->event == VIR_DOMAIN_EVENT_STARTED)
        guest->ends_ms = 0;
    if (guest->off)
        blame_watchdog(guest, off_reason(event->detail), &word, &why);
    else
        guest->ended_by_it = FALSE;
    set_word(guest, word, why);
}

static void hear_reboot(Guest *guest)
{
    guest->boots++;
    guest->ends_ms = 0;
    guest->guests->on_news(guest->guests->user);
}

static void hear_lifecycle(Guests *g, const EarEvent *event)
{
    Guest *guest = guest_of(g, event->vm, event->name);

    take_event(guest, event);
    forget_if_gone(guest);
}

void guests_hear(Guests *g, const EarEvent *event)
{
    if (event->kind == EAR_DOWN && !g->down) {
        g->down = g_strdup(event->why->message);
        g->on_news(g->user);
    } else if (event->kind == EAR_RESYNC) {
        g_clear_pointer(&g->down, g_free);
        g->heard = TRUE;
        take_inventory(g, event->inventory);
        g->on_news(g->user);
    } else if (event->kind == EAR_LIFECYCLE)
        hear_lifecycle(g, event);
    else if (event->kind == EAR_WATCHDOG)
        hear_watchdog(guest_of(g, event->vm, event->name), event->detail);
    else if (event->kind == EAR_REBOOT)
        hear_reboot(guest_of(g, event->vm, event->name));
}

/* --- telling ------------------------------------------------------------------ */

/* The kernel's word counts where libvirt's is not there, and where it says that a guest is dead or stands still. */
static GuestWord word_now(const Guests *g, const Guest *guest, const char **ret_why)
{
    *ret_why = guest->why;
    if (guest->fenced && (guest->word == GUEST_ALIVE || guest->word == GUEST_PAUSED) && !guest->ended) {
        *ret_why = "it stands still since its lease has ended: nobody whose voice counts answers its host";
        return GUEST_FENCED;
    }
    if (guest->word != GUEST_ALIVE)
        return guest->word;
    if (guest->frozen) {
        *ret_why = "its QEMU was stopped by a signal, and stands still";
        return GUEST_FROZEN;
    }
    if (!guest->ended)
        return GUEST_ALIVE;
    if (g->down) {
        *ret_why = "its QEMU has ended, and libvirtd, which does not answer, has not started it anew";
        return GUEST_DEAD;
    }
    /* libvirtd 9 locks itself out of a VM whose QEMU ends while a backup job begins, until it is restarted. */
    if (guest->overdue) {
        *ret_why = "its QEMU has ended, and libvirtd does not notice: it may be locked up, which ends with "
                   "its restart (systemctl restart libvirtd disturbs no guest)";
        return GUEST_DEAD;
    }
    /* One that hung has not noticed yet; or it has started it anew, and we have not found that process yet. */
    *ret_why = "its QEMU has ended, and libvirtd has not said so yet";
    return GUEST_UNKNOWN;
}

json_t *guests_describe(Guests *g, Id vm)
{
    Guest *guest = g_hash_table_lookup(g->by_vm, &vm);
    const char *why = NULL;
    GuestWord word = guest ? word_now(g, guest, &why) : GUEST_UNKNOWN;

    if (guest)
        guest->asked = TRUE;
    return json_pack("{s:s, s:s, s:s?, s:i, s:i, s:s?}", "vm", ID_TEXT(vm), "word", guest_word_name(word),
                     "why", why, "boots", guest ? (int)guest->boots : 0, "barks",
                     guest ? (int)guest->barks : 0, "bark", guest ? guest->bark : NULL);
}

void guests_set_fenced(Guests *g, Id vm, gboolean fenced)
{
    Guest *guest = g_hash_table_lookup(g->by_vm, &vm);

    if (!guest || guest->fenced == fenced)
        return;
    guest->fenced = fenced;
    g->on_news(g->user);
}

GuestWord guests_word(const Guests *g, Id vm)
{
    const Guest *guest = g_hash_table_lookup(g->by_vm, &vm);
    const char *why;

    return guest ? word_now(g, guest, &why) : GUEST_UNKNOWN;
}

int guests_process(const Guests *g, Id vm, pid_t *ret_pid)
{
    const Guest *guest = g_hash_table_lookup(g->by_vm, &vm);

    if (!guest || guest->pidfd < 0 || guest->ended)
        return -1;
    *ret_pid = guest->pid;
    return guest->pidfd;
}

gboolean guests_ended_by_watchdog(const Guests *g, Id vm)
{
    const Guest *guest = g_hash_table_lookup(g->by_vm, &vm);

    return guest && guest->ended_by_it;
}

json_t *guests_libvirt(const Guests *g)
{
    json_t *up = g->down ? json_false() : g->heard ? json_true() : json_null();

    return json_pack("{s:o, s:s?}", "up", up, "why", g->down);
}

Guests *guests_new(uv_loop_t *loop, const GuestsSettings *settings, void (*on_news)(void *user), void *user)
{
    Guests *g = g_new0(Guests, 1);

    g->loop = loop;
    g->settings = settings;
    g->by_vm = g_hash_table_new_full(id_hash, id_equal_func, NULL, guest_free);
    g->on_news = on_news;
    g->user = user;
    g->refs = 1;
    uv_timer_init(loop, &g->timer);
    g->timer.data = g;
    uv_timer_start(&g->timer, on_timer, LOOK_MS, LOOK_MS);
    return g;
}

static void on_timer_closed(uv_handle_t *handle)
{
    unref(handle->data);
}

void guests_close(Guests *g)
{
    if (!g)
        return;
    g->closed = TRUE;
    uv_close((uv_handle_t *)&g->timer, on_timer_closed);
}
