/* SPDX-License-Identifier: Apache-2.0 */
/* The thread opens, registers, reads the inventory, sends it to the loop, and
 * sleeps until something is lost or asked. libvirt's callbacks run on the loop,
 * because event_uv dispatches there, and go straight out.
 *
 * An inventory is numbered before it is read; lifecycle events remember the
 * number they were heard under. What was heard since an inventory was begun may
 * be newer than it, so it is told again after it. A look at one guest, which is paused and perhaps panicked, has such a number,
 * too, and counts for nothing when something was heard since. */
#include "vmconnect/hypervisor/ears.h"

#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/loop/mailbox.h"

#include <stdatomic.h>
#include <string.h>

/* libvirt's callbacks hold this, not the Ears: they may outlive them by a turn. */
typedef struct {
    atomic_uint refs;
    Ears *ears; /* loop only; NULL once closing */
} Session;

typedef struct {
    guint64 number;
    char *name;
    int event;
    int detail;
} Heard;

/* To the loop. */
typedef struct {
    gboolean last; /* the thread has ended */
    Inventory *inventory;
    virDomainPtr panicked;
    guint64 number;
    GError *why;
} Letter;

static const int EVENTS[] = {
    VIR_DOMAIN_EVENT_ID_LIFECYCLE,       VIR_DOMAIN_EVENT_ID_REBOOT,
    VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2,
    VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD, VIR_DOMAIN_EVENT_ID_JOB_COMPLETED,
    VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
    VIR_DOMAIN_EVENT_ID_WATCHDOG,        VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
    VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
};

struct Ears {
    uv_thread_t thread;
    Mailbox *to_thread;
    Mailbox *to_loop;
    Session *session;
    atomic_ulong inventories; /* numbered so far */
    atomic_bool opens_no_more;
    Connection *connection; /* the thread's, as the next three */
    virConnectPtr registered_on;
    int callbacks[G_N_ELEMENTS(EVENTS)];
    gboolean down_told;
    GHashTable *heard; /* the loop's: Id * -> Heard */
    void (*on_event)(void *user, const EarEvent *event);
    void *event_user;
    void (*on_closed)(void *user);
    void *closed_user;
};

/* What a thread may be told; which one does not matter but for the last. Anything else is the Id of a guest to look at. */
static char bell_look, bell_resync, bell_quit;

static gboolean is_bell(const void *word)
{
    return word == &bell_look || word == &bell_resync || word == &bell_quit;
}

static void word_free(void *word)
{
    if (!is_bell(word))
        g_free(word);
}

static void session_unref(void *data)
{
    Session *s = data;

    if (atomic_fetch_sub(&s->refs, 1) == 1)
        g_free(s);
}

static void heard_free(void *data)
{
    Heard *h = data;

    g_free(h->name);
    g_free(h);
}

static void letter_free(void *data)
{
    Letter *l = data;

    inventory_free(l->inventory);
    if (l->panicked)
        virDomainFree(l->panicked);
    g_clear_error(&l->why);
    g_free(l);
}

const char *ear_kind_name(EarKind kind)
{
    static const char *const NAMES[] = {
        [EAR_DOWN] = "down",
        [EAR_RESYNC] = "resync",
        [EAR_LIFECYCLE] = "lifecycle",
        [EAR_REBOOT] = "reboot",
        [EAR_WATCHDOG] = "watchdog",
        [EAR_IO_ERROR] = "io-error",
        [EAR_BLOCK_JOB] = "block-job",
        [EAR_BLOCK_THRESHOLD] = "block-threshold",
        [EAR_JOB_COMPLETED] = "job-completed",
        [EAR_AGENT] = "agent",
        [EAR_DEVICE] = "device",
        [EAR_METADATA] = "metadata",
    };

    return NAMES[kind];
}

/* Loop: out to the engine, with the domain's identity. */
static void tell(Session *s, virDomainPtr dom, EarEvent *event)
{
    Ears *e = s->ears;

    if (!e)
        return;
    virDomainGetUUID(dom, event->vm.bytes);
    event->name = virDomainGetName(dom);
    e->on_event(e->event_user, event);
}

static void remember(Ears *e, virDomainPtr dom, int event, int detail)
{
    Heard *h = g_new0(Heard, 1);
    Id vm;

    virDomainGetUUID(dom, vm.bytes);
    h->number = atomic_load(&e->inventories);
    h->name = g_strdup(virDomainGetName(dom));
    h->event = event;
    h->detail = detail;
    g_hash_table_replace(e->heard, g_memdup2(&vm, sizeof(vm)), h);
}

static int on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *user)
{
    Session *s = user;
    Id vm;

    (void)conn;
    if (s->ears)
        remember(s->ears, dom, event, detail);
    if (s->ears && event == VIR_DOMAIN_EVENT_SUSPENDED && detail == VIR_DOMAIN_EVENT_SUSPENDED_PAUSED) {
        virDomainGetUUID(dom, vm.bytes);
        mailbox_send(s->ears->to_thread, g_memdup2(&vm, sizeof(vm)));
    }
    tell(s, dom, &(EarEvent){.kind = EAR_LIFECYCLE, .event = event, .detail = detail});
    return 0;
}

static void on_reboot(virConnectPtr conn, virDomainPtr dom, void *user)
{
    (void)conn;
    tell(user, dom, &(EarEvent){.kind = EAR_REBOOT});
}

static void on_watchdog(virConnectPtr conn, virDomainPtr dom, int action, void *user)
{
    (void)conn;
    tell(user, dom, &(EarEvent){.kind = EAR_WATCHDOG, .detail = action});
}

static void on_io_error(virConnectPtr conn, virDomainPtr dom, const char *path, const char *alias, int action,
                        const char *reason, void *user)
{
    (void)conn;
    (void)alias;
    tell(user, dom, &(EarEvent){.kind = EAR_IO_ERROR, .disk = path, .detail = action, .reason = reason});
}

static void on_block_job(virConnectPtr conn, virDomainPtr dom, const char *disk, int type, int status,
                         void *user)
{
    (void)conn;
    tell(user, dom, &(EarEvent){.kind = EAR_BLOCK_JOB, .disk = disk, .event = type, .detail = status});
}

static void on_threshold(virConnectPtr conn, virDomainPtr dom, const char *dev, const char *path,
                         unsigned long long threshold, unsigned long long excess, void *user)
{
    (void)conn;
    (void)path;
    tell(user, dom,
         &(EarEvent){.kind = EAR_BLOCK_THRESHOLD, .disk = dev, .bytes = threshold, .excess_bytes = excess});
}

static void on_job_completed(virConnectPtr conn, virDomainPtr dom, virTypedParameterPtr params, int n,
                             void *user)
{
    int operation = -1;
    int success = -1;

    (void)conn;
    virTypedParamsGetInt(params, n, VIR_DOMAIN_JOB_OPERATION, &operation);
    virTypedParamsGetBoolean(params, n, VIR_DOMAIN_JOB_SUCCESS, &success);
    tell(user, dom, &(EarEvent){.kind = EAR_JOB_COMPLETED, .event = operation, .detail = success});
}

static void on_agent(virConnectPtr conn, virDomainPtr dom, int state, int reason, void *user)
{
    (void)conn;
    tell(user, dom, &(EarEvent){.kind = EAR_AGENT, .event = state, .detail = reason});
}

static void on_metadata(virConnectPtr conn, virDomainPtr dom, int type, const char *uri, void *user)
{
    (void)conn;
    tell(user, dom, &(EarEvent){.kind = EAR_METADATA, .event = type, .reason = uri});
}

static void on_plugged(virConnectPtr conn, virDomainPtr dom, const char *alias, void *user)
{
    (void)conn;
    tell(user, dom, &(EarEvent){.kind = EAR_DEVICE, .event = 1, .reason = alias});
}

static void on_unplugged(virConnectPtr conn, virDomainPtr dom, const char *alias, void *user)
{
    (void)conn;
    tell(user, dom, &(EarEvent){.kind = EAR_DEVICE, .event = 0, .reason = alias});
}

static virConnectDomainEventGenericCallback callback_of(int id)
{
    switch (id) {
    case VIR_DOMAIN_EVENT_ID_LIFECYCLE:
        return VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle);
    case VIR_DOMAIN_EVENT_ID_REBOOT:
        return VIR_DOMAIN_EVENT_CALLBACK(on_reboot);
    case VIR_DOMAIN_EVENT_ID_WATCHDOG:
        return VIR_DOMAIN_EVENT_CALLBACK(on_watchdog);
    case VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON:
        return VIR_DOMAIN_EVENT_CALLBACK(on_io_error);
    case VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2:
        return VIR_DOMAIN_EVENT_CALLBACK(on_block_job);
    case VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD:
        return VIR_DOMAIN_EVENT_CALLBACK(on_threshold);
    case VIR_DOMAIN_EVENT_ID_JOB_COMPLETED:
        return VIR_DOMAIN_EVENT_CALLBACK(on_job_completed);
    case VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE:
        return VIR_DOMAIN_EVENT_CALLBACK(on_agent);
    case VIR_DOMAIN_EVENT_ID_METADATA_CHANGE:
        return VIR_DOMAIN_EVENT_CALLBACK(on_metadata);
    case VIR_DOMAIN_EVENT_ID_DEVICE_ADDED:
        return VIR_DOMAIN_EVENT_CALLBACK(on_plugged);
    case VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED:
        return VIR_DOMAIN_EVENT_CALLBACK(on_unplugged);
    default:
        g_assert_not_reached();
    }
}

/* Thread. Each callback holds the connection, and libvirt deadlocks with itself
 * when the last of them lets it go: a reference of our own goes after them. */
static void deregister(Ears *e)
{
    if (!e->registered_on)
        return;
    for (guint i = 0; i < G_N_ELEMENTS(EVENTS); i++)
        if (e->callbacks[i] >= 0)
            virConnectDomainEventDeregisterAny(e->registered_on, e->callbacks[i]);
    virConnectClose(e->registered_on);
    e->registered_on = NULL;
}

/* A driver that has not all events is heard as far as it goes; without the
 * first, lifecycle, nothing can be known. */
static gboolean register_all(Ears *e, virConnectPtr conn, GError **error)
{
    virConnectRef(conn);
    e->registered_on = conn;
    for (guint i = 0; i < G_N_ELEMENTS(EVENTS); i++) {
        e->callbacks[i] = virConnectDomainEventRegisterAny(conn, NULL, EVENTS[i], callback_of(EVENTS[i]),
                                                           e->session, session_unref);
        if (e->callbacks[i] >= 0) {
            atomic_fetch_add(&e->session->refs, 1);
        } else if (i == 0) {
            virt_error(error, "libvirtd does not tell its events");
            virConnectClose(g_steal_pointer(&e->registered_on));
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean look(Ears *e, GError **error)
{
    virConnectPtr conn;
    Letter *l;

    if (atomic_load(&e->opens_no_more) && !connection_is_live(e->connection)) {
        g_set_error(error, US_ERROR, US_ERROR_CANCELLED,
                    "there is no connection to libvirtd, and this engine ends: none is opened");
        return FALSE;
    }
    conn = connection_get(e->connection, CONNECTION_OPEN_MS, error);
    /* The old one is closed already, but alive as long as callbacks hold it. */
    if (conn != e->registered_on)
        deregister(e);
    if (!conn || (!e->registered_on && !register_all(e, conn, error)))
        return FALSE;
    l = g_new0(Letter, 1);
    l->number = atomic_fetch_add(&e->inventories, 1) + 1;
    l->inventory = inventory_read(conn, error);
    if (!l->inventory) {
        letter_free(l);
        return FALSE;
    }
    mailbox_send(e->to_loop, l);
    return TRUE;
}

/* Nothing to tell: another event says what became of it. */
static void look_at(Ears *e, const Id *vm)
{
    g_autoptr(virDomain) dom = NULL;
    guint64 number = atomic_fetch_add(&e->inventories, 1) + 1;
    VmState state;
    Letter *l;
    int reason;

    if (!e->registered_on || !connection_is_live(e->connection) ||
        !(dom = vm_lookup(e->registered_on, *vm, NULL)) || !vm_state_read(dom, &state, &reason, NULL) ||
        !vm_has_panicked(dom, state, reason))
        return;
    l = g_new0(Letter, 1);
    l->number = number;
    l->panicked = g_steal_pointer(&dom);
    mailbox_send(e->to_loop, l);
}

/* NULL: nobody has rung for so long. */
static void *wait_for_bell(Ears *e, int wait_ms)
{
    void *word;

    while ((word = mailbox_wait(e->to_thread, wait_ms)) && !is_bell(word)) {
        look_at(e, word);
        g_free(word);
    }
    return word;
}

static void tell_down(Ears *e, GError *why)
{
    Letter *l;

    if (e->down_told) {
        g_error_free(why);
        return;
    }
    l = g_new0(Letter, 1);
    l->why = why;
    e->down_told = TRUE;
    mailbox_send(e->to_loop, l);
}

#define RETRY_MS 1000

static void ears_run(void *data)
{
    Ears *e = data;
    void *bell = &bell_look;
    Letter *l;

    while (bell != &bell_quit) {
        GError *why = NULL;
        int wait_ms = -1;

        if (bell == &bell_look && e->registered_on && !connection_is_live(e->connection))
            tell_down(e,
                      g_error_new(US_ERROR, US_ERROR_UNREACHABLE, "libvirtd closed the connection or hangs"));
        if (look(e, &why)) {
            e->down_told = FALSE;
        } else {
            tell_down(e, why);
            wait_ms = (int)connection_wait_ms(e->connection);
            wait_ms = CLAMP(wait_ms, RETRY_MS / 10, RETRY_MS);
        }
        bell = wait_for_bell(e, wait_ms);
        if (!bell)
            bell = &bell_look;
    }
    deregister(e);
    connection_free(e->connection);
    l = g_new0(Letter, 1);
    l->last = TRUE;
    mailbox_send(e->to_loop, l);
}

/* Any thread. */
static void on_lost(void *user)
{
    Ears *e = user;

    mailbox_send(e->to_thread, &bell_look);
}

/* Loop. */
static void repeat_newer(Ears *e, guint64 number)
{
    GHashTableIter iter;
    gpointer key;
    gpointer value;

    g_hash_table_iter_init(&iter, e->heard);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const Heard *h = value;
        EarEvent event = {
            .kind = EAR_LIFECYCLE, .vm = *(Id *)key, .name = h->name, .event = h->event, .detail = h->detail};

        if (h->number >= number && e->session->ears)
            e->on_event(e->event_user, &event);
        g_hash_table_iter_remove(&iter);
    }
}

static void tell_panic(Ears *e, virDomainPtr dom, guint64 number)
{
    const Heard *newest;
    Id vm;

    virDomainGetUUID(dom, vm.bytes);
    newest = g_hash_table_lookup(e->heard, &vm);
    if (!newest || newest->number < number)
        on_lifecycle(NULL, dom, VIR_DOMAIN_EVENT_CRASHED, VIR_DOMAIN_EVENT_CRASHED_PANICKED, e->session);
}

static void finish(Ears *e)
{
    uv_thread_join(&e->thread);
    mailbox_close(e->to_thread);
    mailbox_close(e->to_loop);
    session_unref(e->session);
    g_hash_table_unref(e->heard);
    e->on_closed(e->closed_user);
    g_free(e);
}

static void on_letter(void *user, void *data)
{
    Ears *e = user;
    Letter *l = data;
    EarEvent event = {.kind = l->inventory ? EAR_RESYNC : EAR_DOWN, .inventory = l->inventory, .why = l->why};

    if (l->last) {
        letter_free(l);
        finish(e);
        return;
    }
    if (e->session->ears && l->panicked) {
        tell_panic(e, l->panicked, l->number);
    } else if (e->session->ears) {
        e->on_event(e->event_user, &event);
        if (l->inventory)
            repeat_newer(e, l->number);
    }
    letter_free(l);
}

Ears *ears_new(uv_loop_t *loop, const char *uri, void (*on_event)(void *user, const EarEvent *event),
               void *user)
{
    Ears *e = g_new0(Ears, 1);
    int rc;

    e->on_event = on_event;
    e->event_user = user;
    e->heard = g_hash_table_new_full(id_hash, id_equal_func, g_free, heard_free);
    e->session = g_new0(Session, 1);
    e->session->refs = 1;
    e->session->ears = e;
    e->connection = connection_new(uri, on_lost, e);
    e->to_thread = mailbox_new_thread(word_free);
    e->to_loop = mailbox_new_loop(loop, on_letter, e, letter_free);
    rc = uv_thread_create(&e->thread, ears_run, e);
    g_assert(rc == 0);
    return e;
}

void ears_resync(Ears *e)
{
    mailbox_send(e->to_thread, &bell_resync);
}

void ears_open_no_more(Ears *e)
{
    atomic_store(&e->opens_no_more, TRUE);
}

void ears_close(Ears *e, void (*on_closed)(void *user), void *user)
{
    g_assert(e->session->ears);
    e->session->ears = NULL;
    e->on_closed = on_closed;
    e->closed_user = user;
    mailbox_send(e->to_thread, &bell_quit);
}
