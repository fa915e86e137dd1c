/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/keeper.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/priority.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/hypervisor/lifecycle.h"
#include "vmconnect/link/link_wait.h"
#include "vmconnect/replicate/adoption.h"
#include "vmconnect/replicate/lending.h"
#include "vmconnect/replicate/point_desk.h"
#include "vmconnect/replicate/promotion.h"
#include "vmconnect/replicate/receiver.h"
#include "vmconnect/store/store.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CONNECT_MS 10000
#define LIVES_MS 5000  /* an active that was heard of since is not gone */
#define RETRY_MS 5000  /* a store that cannot be opened is tried again */
#define STATUS_MS 1000 /* at most so often is status told unasked */

#define RESTS \
    "this host is about to be restarted by its operator: what changes is remembered where the VM runs"

struct Keeper {
    Id vm;
    StandbyRole *role;
    char *dir;
    char *run_dir;
    HostPaths paths;
    Mailbox *box;
    Mailbox *reports;
    int hurry_fd; /* an eventfd: so many orders in the box wait for no merge */
    uv_thread_t thread;

    /* The thread's own: */
    PointDesk *desk;
    Lending *lending;
    Store *store;
    gint64 open_at_ms;  /* next try, while store is NULL */
    char *why;          /* why it is NULL, or what a merge lacks */
    gboolean adopted;   /* what the VM left here, if it ever ran here, is in this copy … */
    gint64 adopt_at_ms; /* … next try, while it is not; nothing is received meanwhile */
    char *adopt_why;    /* why not */
    gboolean settled;   /* a VM that was promoted here is what its user wants it to be … */
    gboolean start_due;
    gint64 settle_at_ms; /* … next try, while it is not */
    char *start_why;     /* why not */
    Reign promoted;      /* the VM runs here from this copy in it; number 0: it does not */
    Receiver *receiver;
    gint64 heard_ms;  /* steady: what we cut off ourselves was heard last then; 0: nothing was */
    gboolean resting; /* its host is about to be restarted: nothing is received, nothing open */
    char *seed_lost;  /* why the role's seed is not tried again; NULL: it is, or there is none */
    gint64 told_ms;
    json_t *told; /* last status */
    gboolean quit;
};

/* --- telling ----------------------------------------------------------- */

static const char *state_of(const Keeper *k)
{
    if (k->resting)
        return "resting";
    if (!k->store)
        return "failed";
    if (!id_is_nil(store_promoted(k->store)))
        return "promoted";
    return k->receiver ? "attached" : "waiting";
}

static json_t *status_of(const Keeper *k)
{
    const Generation *tip = k->store ? store_tip(k->store) : NULL;
    g_autoptr(GPtrArray) points = k->store ? store_points(k->store) : NULL;
    const char *slow = k->receiver ? receiver_slow(k->receiver) : NULL;
    const char *seed = k->receiver ? receiver_seed_why(k->receiver) : NULL;
    const char *why = k->resting     ? RESTS
                      : slow         ? slow
                      : k->adopt_why ? k->adopt_why
                      : k->start_why ? k->start_why
                      : k->why       ? k->why
                                     : seed;

    return json_pack("{s:s, s:s, s:s?, s:o, s:i, s:o, s:o}", "vm", ID_TEXT(k->vm), "state", state_of(k),
                     "why", why, "tip", tip ? generation_describe(tip) : json_null(), "points",
                     points ? (int)points->len : 0, "branches",
                     k->store ? point_desk_branches(store_branches(k->store)) : json_null(), "promoted",
                     k->promoted.number ? reign_to_json(k->promoted) : json_null());
}

static void tell(Keeper *k, Command *done, gboolean ended)
{
    Report *report = g_new0(Report, 1);

    report->vm = k->vm;
    report->standby = TRUE;
    report->status = status_of(k);
    report->done = done;
    report->ended = ended;
    mailbox_send(k->reports, report);
}

static void tell_if_new(Keeper *k)
{
    gint64 now = clock_steady_ms();
    json_t *status;

    if (now - k->told_ms < STATUS_MS)
        return;
    k->told_ms = now;
    status = status_of(k);
    if (!json_equal(status, k->told))
        tell(k, NULL, FALSE);
    json_decref(k->told);
    k->told = status;
}

/* --- the store --------------------------------------------------------- */

static void set_sentence(const Keeper *k, char **sentence, const char *what, const GError *error)
{
    g_autofree char *why = error ? g_strdup_printf("%s: %s", what, error->message) : NULL;

    if (g_strcmp0(why, *sentence) == 0)
        return;
    if (why)
        log_warning("vm %s: %s", ID_TEXT(k->vm), why);
    g_free(*sentence);
    *sentence = g_steal_pointer(&why);
}

static void set_why(Keeper *k, const char *what, const GError *error)
{
    set_sentence(k, &k->why, what, error);
}

static PromotionSite site_of(const Keeper *k)
{
    return (PromotionSite){.vm = k->vm, .store = k->store, .dir = k->dir, .paths = &k->paths};
}

/* Whoever was promised more is served no more, and what this host runs itself it receives from nobody: neither as
 * its active, nor after root has ended its protection. Nor does it while it may have forgotten a promise. */
static gboolean check_guard(const Keeper *k, Reign reign, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(Guard) guard = guard_read(k->paths.guard_dir, k->vm, &why);
    gboolean is_older;

    if (!guard && g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "%s: nothing is received", GUARD_ENDED);
        return FALSE;
    }
    if (!guard) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    is_older = guard->reign.number < reign.number;
    if ((is_older || (guard->role == GUARD_STANDBY && reign_equal(guard->reign, reign))) &&
        !guard_expect_own(guard,
                          "nothing is received before the controller has told this host anew to keep "
                          "its copy; restart understudy-engine here when the controller can be reached",
                          error))
        return FALSE;
    if (guard->role == GUARD_STANDBY && (is_older || reign_equal(guard->reign, reign)))
        return TRUE;
    g_set_error(error, US_ERROR, guard->reign.number > reign.number ? US_ERROR_OVERTAKEN : US_ERROR_REFUSED,
                "this host knows reign %" G_GUINT64_FORMAT
                " of this VM%s: nothing of reign %" G_GUINT64_FORMAT " is received any more",
                guard->reign.number, guard->role == GUARD_ACTIVE ? ", in which it is the active itself" : "",
                reign.number);
    return FALSE;
}

/* A promise that is written down is kept from then on, also for what is about to be sealed. */
static gboolean may_seal(void *user, Reign reign, GError **error)
{
    const Keeper *k = user;

    guard_hold(k->vm);
    if (check_guard(k, reign, error))
        return TRUE;
    guard_let_go(k->vm);
    return FALSE;
}

static void on_sealed(void *user)
{
    guard_let_go(((const Keeper *)user)->vm);
}

static void open_store(Keeper *k)
{
    StoreOptions options = {.dir = k->dir,
                            .run_dir = k->run_dir,
                            .vm = k->vm,
                            .retain = k->role->retain,
                            .hurry_fd = k->hurry_fd,
                            .notary = {may_seal, on_sealed, k}};
    g_autoptr(GError) error = NULL;

    k->store = store_open(&options, &error);
    set_why(k, "the copy cannot be opened, nothing is received", error);
    k->open_at_ms = clock_steady_ms() + RETRY_MS;
}

static void close_store(Keeper *k)
{
    if (!k->store)
        return;
    point_desk_clear(k->desk, k->store);
    lending_clear(k->lending, k->store);
    g_clear_pointer(&k->store, store_close);
}

static void adopt(Keeper *k)
{
    AdoptionSite site = {.vm = k->vm, .store = k->store, .paths = &k->paths};
    g_autoptr(GError) error = NULL;

    k->adopted = adoption_run(&site, &error);
    set_sentence(k, &k->adopt_why, "what the VM left here is not its copy yet, nothing is received", error);
    k->adopt_at_ms = clock_steady_ms() + RETRY_MS;
    /* As it may have been told to: its operator has moved the copy away. */
    if (!k->adopted && !store_is_there(k->store))
        close_store(k);
}

/* Whoever did not order it hears of it so. */
static void look_promoted(Keeper *k)
{
    g_autoptr(Guard) guard = guard_read(k->paths.guard_dir, k->vm, NULL);
    gboolean runs =
        !id_is_nil(store_promoted(k->store)) && guard && guard->role == GUARD_ACTIVE && !guard->journal_open;

    k->promoted = runs ? guard->reign : (Reign){0};
}

static void settle(Keeper *k)
{
    PromotionSite site = site_of(k);
    g_autoptr(GError) error = NULL;

    look_promoted(k);
    k->settled = promotion_settle(&site, &k->start_due, &error);
    set_sentence(k, &k->start_why, "the VM that was promoted here is not started by itself yet", error);
    k->settle_at_ms = clock_steady_ms() + RETRY_MS;
}

static void drop_receiver(Keeper *k, const GError *why)
{
    if (!k->receiver)
        return;
    log_info("vm %s: link of the active over (%s) -> what is unsealed waits for the next one", ID_TEXT(k->vm),
             why ? why->message : "a newer one came");
    if (receiver_seed_lost(k->receiver)) {
        log_warning("vm %s: %s", ID_TEXT(k->vm), receiver_seed_lost(k->receiver));
        g_free(k->seed_lost);
        k->seed_lost = g_strdup(receiver_seed_lost(k->receiver));
    }
    g_clear_pointer(&k->receiver, receiver_free);
}

/* The storage daemon died under a generation: the active sends it again. */
static void drop_if_stranded(Keeper *k, const GError *why)
{
    if (!k->receiver || !receiver_is_stranded(k->receiver))
        return;
    log_notice("vm %s: the unsealed generation is lost (%s)", ID_TEXT(k->vm),
               why ? why->message : "daemon gone");
    k->heard_ms = receiver_heard_ms(k->receiver);
    receiver_close(g_steal_pointer(&k->receiver), why);
}

/* --- commands ---------------------------------------------------------- */

static gboolean need_store(Keeper *k, GError **error)
{
    const char *why = k->resting ? RESTS : k->adopt_why ? k->adopt_why : k->why;

    if (k->store && k->adopted)
        return TRUE;
    /* No guest is shut down for a last generation that is not taken: BUSY is what passes. */
    g_set_error(error, US_ERROR, k->resting ? US_ERROR_REFUSED : US_ERROR_FAILED, "%s",
                why ? why : "the copy is not open yet");
    return FALSE;
}

/* Kept where a boot takes it away: then it is over. */
static char *rest_path(const Keeper *k)
{
    return g_build_filename(k->run_dir, "resting", NULL);
}

static void drop_receiver(Keeper *k, const GError *why);

/* What is sealed is durable already; nothing is open any more, and nobody opens it but who must run the VM here. */
static gboolean rest(Keeper *k, const Command *c, GError **error)
{
    g_autofree char *path = rest_path(k);
    int wanted;

    if (!json_read(c->params, "standby.rest", error, "{s:b*}", "rest", &wanted))
        return FALSE;
    if (wanted && !id_is_nil(k->store ? store_promoted(k->store) : ID_NIL)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "the VM runs here, from its copy");
        return FALSE;
    }
    if (wanted ? !durable_replace(path, "", 0, 0600, error) : !durable_remove(path, error))
        return FALSE;
    k->resting = wanted;
    k->open_at_ms = 0;
    if (!wanted)
        return TRUE;
    log_info("vm %s: its host is about to be restarted -> the copy is closed", ID_TEXT(k->vm));
    drop_receiver(k, NULL);
    close_store(k);
    stop_at("keeper.resting");
    return TRUE;
}

/* A promotion waits for no maintenance. */
static void wake(Keeper *k)
{
    g_autofree char *path = rest_path(k);

    if (!k->resting)
        return;
    log_notice("vm %s: it is to run here -> the rest is over", ID_TEXT(k->vm));
    unlink(path);
    k->resting = FALSE;
    open_store(k);
    if (k->store)
        adopt(k);
}

/* NULL: none is wanted. */
static Seed *open_seed(const Keeper *k, const json_t *images)
{
    g_autofree char *run_dir = g_build_filename(k->run_dir, "seed", NULL);
    SeedPlace place = {.dir = k->role->seed, .vm = k->role->name, .run_dir = run_dir, .lost = k->seed_lost};
    Seed *seed;

    if (!k->role->seed || !images || store_tip(k->store))
        return NULL;
    seed = seed_open(&place, images);
    if (json_object_size(seed_sizes(seed)) > 0)
        log_info("vm %s: first copy -> compared with what is in %s", ID_TEXT(k->vm), k->role->seed);
    if (seed_why(seed))
        log_notice("vm %s: %s", ID_TEXT(k->vm), seed_why(seed));
    return seed;
}

static gboolean attach(Keeper *k, Command *c, GError **error)
{
    Link *link = g_steal_pointer(&c->link);

    drop_receiver(k, NULL);
    if (!check_guard(k, c->reign, error) || !need_store(k, error)) {
        link_wait_close(link, error ? *error : NULL);
        return FALSE;
    }
    k->receiver = receiver_new(link, k->store, c->reign, open_seed(k, c->params), error);
    return k->receiver != NULL;
}

/* With a reign ends its link, and what comes over it is not sealed any more. */
static void end_former_reign(Keeper *k)
{
    g_autoptr(GError) why = NULL;

    if (k->receiver && !check_guard(k, receiver_reign(k->receiver), &why))
        receiver_close(g_steal_pointer(&k->receiver), why);
}

/* The loop has checked the reign; a seed that was lost is tried again. */
static gboolean set_role(Keeper *k, const Command *c, GError **error)
{
    StandbyRole *role = standby_role_from_json(c->params, error);

    if (!role)
        return FALSE;
    standby_role_free(k->role);
    k->role = role;
    g_clear_pointer(&k->seed_lost, g_free);
    end_former_reign(k);
    if (k->store)
        store_set_retention(k->store, role->retain);
    return TRUE;
}

static gboolean list_points(Keeper *k, Command *c, GError **error)
{
    if (!need_store(k, error))
        return FALSE;
    c->result = point_desk_list(k->desk, k->store);
    return TRUE;
}

/* An active that still sends, or did until we cut it off: the controller does not reach it, but it lives. */
static gboolean is_alive_still(const Keeper *k, const json_t *params)
{
    const json_t *certificate = json_object_get(params, "certificate");
    gint64 heard_ms = k->receiver ? receiver_heard_ms(k->receiver) : k->heard_ms;

    return heard_ms > 0 && clock_steady_ms() - heard_ms < LIVES_MS &&
           json_is_true(json_object_get(certificate, "forced")) &&
           !json_is_true(json_object_get(certificate, "old_is_off"));
}

/* That the old active lives is an answer and no error: nothing was written, and the plan may leave the VM where it
 * is. */
static gboolean promote(Keeper *k, Command *c, GError **error)
{
    PromotionSite site = site_of(k);

    if (!need_store(k, error))
        return FALSE;
    if (json_is_true(json_object_get(c->params, "look"))) {
        c->result = json_object();
        return promotion_check(&site, c->params, error);
    }
    if (is_alive_still(k, c->params)) {
        c->result = json_pack("{s:b, s:b}", "running", 0, "old_lives", 1);
        return TRUE;
    }
    drop_receiver(k, NULL);
    if (!promotion_run(&site, c->params, &c->result, error))
        return FALSE;
    look_promoted(k);
    return TRUE;
}

/* The VM was promoted here and never replicated from here: no worker has it, and what it left is this copy's. The guard
 * and the bequest say so already. */
static gboolean yield(Keeper *k, Command *c, GError **error)
{
    g_autoptr(Connection) connection = NULL;
    virConnectPtr conn;
    const char *guest;

    k->promoted = (Reign){0};
    if (!permit_remove(k->paths.permit_dir, k->vm, error))
        return FALSE;
    connection = connection_new(k->paths.libvirt_uri, NULL, NULL);
    conn = connection_get(connection, CONNECT_MS, error);
    if (!conn || !lifecycle_stand_still(conn, k->vm, &guest, error))
        return FALSE;
    k->adopted = FALSE;
    c->result = json_pack("{s:s}", "guest", guest);
    return TRUE;
}

static gboolean purge(Keeper *k, GError **error)
{
    if (!need_store(k, error))
        return FALSE;
    drop_receiver(k, NULL);
    point_desk_clear(k->desk, k->store);
    lending_clear(k->lending, k->store);
    k->quit = TRUE;
    return store_purge(g_steal_pointer(&k->store), error);
}

static gboolean carry_out(Keeper *k, Command *c, GError **error)
{
    switch (c->verb) {
    case COMMAND_QUIT:
        k->quit = TRUE;
        return TRUE;
    case COMMAND_ATTACH:
        return attach(k, c, error);
    case COMMAND_ROLE:
        return set_role(k, c, error);
    case COMMAND_POINTS:
        return list_points(k, c, error);
    case COMMAND_PIN:
        return need_store(k, error) && point_desk_pin(k->desk, k->store, c->params, error);
    case COMMAND_OPEN:
        return need_store(k, error) && point_desk_open(k->desk, k->store, c->params, &c->result, error);
    case COMMAND_PROMOTE:
        return promote(k, c, error);
    case COMMAND_YIELD:
        return yield(k, c, error);
    case COMMAND_LEND:
        return need_store(k, error) && lending_lend(k->lending, k->store, c->params, &c->result, error);
    case COMMAND_RETURN:
        return !k->store || lending_return(k->lending, k->store, c->params, error);
    case COMMAND_PURGE:
        return purge(k, error);
    case COMMAND_REST:
        return rest(k, c, error);
    default:
        g_assert_not_reached();
    }
}

/* To promote; and to say what can be promoted, if that is asked for it: who only looks breaks no merge off, which begins anew. */
static gboolean is_urgent(const Command *c)
{
    return c->verb == COMMAND_PROMOTE ||
           (c->verb == COMMAND_POINTS && json_is_true(json_object_get(c->params, "urgent")));
}

static void obey(Keeper *k, Command *c)
{
    eventfd_t one;

    if (is_urgent(c)) {
        (void)eventfd_read(k->hurry_fd, &one);
        wake(k);
    }
    /* Every failure is in the answer; an attach has told its peer, too. */
    if (!carry_out(k, c, &c->error))
        log_notice("vm %s: %s failed: %s", ID_TEXT(k->vm), command_verb_name(c->verb), c->error->message);
    tell(k, c, FALSE);
}

/* --- turning ----------------------------------------------------------- */

static void turn(Keeper *k)
{
    struct pollfd fds[2 + RECEIVER_POLL_MAX];
    int wait_ms = STATUS_MS;
    guint n = 0;
    g_autoptr(GError) error = NULL;

    fds[0] = (struct pollfd){.fd = mailbox_fd(k->box), .events = POLLIN};
    fds[1] = (struct pollfd){.fd = k->store ? store_fd(k->store) : -1, .events = POLLIN};
    if (k->store)
        wait_ms = clock_shorter_ms(wait_ms, store_timeout_ms(k->store));
    if (k->receiver) {
        int link_ms;

        n = receiver_prepare(k->receiver, fds + 2, &link_ms);
        wait_ms = clock_shorter_ms(wait_ms, link_ms);
    }
    if (poll(fds, 2 + n, wait_ms) < 0)
        g_assert(errno == EINTR);
    if (k->receiver && !receiver_pump(k->receiver, fds + 2, n, &error))
        drop_receiver(k, error);
    g_clear_error(&error);
    /* What is ordered goes before a merge, which it might interrupt. */
    if (k->store && !fds[0].revents) {
        store_pump(k->store, &error);
        drop_if_stranded(k, error);
        if (!error && store_given_up(k->store))
            g_set_error_literal(&error, US_ERROR, US_ERROR_IO, store_given_up(k->store));
        set_why(k, "old points are not merged", error);
    }
}

static gboolean rests(const Keeper *k)
{
    g_autofree char *path = rest_path(k);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static void run(void *arg)
{
    Keeper *k = arg;

    priority_behind_guests();
    k->resting = rests(k);
    while (!k->quit) {
        Command *c;

        if (!k->store && !k->resting && clock_steady_ms() >= k->open_at_ms)
            open_store(k);
        if (k->store && !k->adopted && clock_steady_ms() >= k->adopt_at_ms)
            adopt(k);
        if (k->store && !k->settled && clock_steady_ms() >= k->settle_at_ms)
            settle(k);
        turn(k);
        while (!k->quit && (c = mailbox_take(k->box)))
            obey(k, c);
        tell_if_new(k);
    }
    drop_receiver(k, NULL);
    close_store(k);
    g_clear_pointer(&k->desk, point_desk_free);
    g_clear_pointer(&k->lending, lending_free);
    tell(k, NULL, TRUE);
}

Keeper *keeper_start(const KeeperSpec *spec, Mailbox *reports)
{
    Keeper *k = g_new0(Keeper, 1);
    int rc;

    k->vm = spec->role->vm;
    k->role = standby_role_copy(spec->role);
    k->dir = g_strdup(spec->dir);
    k->run_dir = g_strdup(spec->run_dir);
    k->paths = *spec->paths;
    k->reports = reports;
    k->desk = point_desk_new(spec->paths->run_dir, k->vm, TRUE);
    k->lending = lending_new(spec->paths->nbd_dir, k->vm);
    k->box = mailbox_new_thread((GDestroyNotify)command_free);
    k->hurry_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    g_assert(k->hurry_fd >= 0);
    rc = uv_thread_create(&k->thread, run, k);
    g_assert(rc == 0);
    return k;
}

void keeper_tell(Keeper *k, Command *command)
{
    /* Before it is there to be taken, which takes this back. */
    if (is_urgent(command))
        eventfd_write(k->hurry_fd, 1);
    mailbox_send(k->box, command);
}

void keeper_join(Keeper *k)
{
    uv_thread_join(&k->thread);
    mailbox_close(k->box);
    close(k->hurry_fd);
    json_decref(k->told);
    standby_role_free(k->role);
    g_free(k->seed_lost);
    g_free(k->why);
    g_free(k->adopt_why);
    g_free(k->start_why);
    g_free(k->dir);
    g_free(k->run_dir);
    g_free(k);
}
