/* SPDX-License-Identifier: Apache-2.0 */
/* The notifier with a real database, and servers that answer slowly, wrongly, never. Its hours are shortened, nothing else.
 * Everywhere the loop must turn: the longest time between two of its turns is looked at. */
#include "orchestrator/notify/notifier.h"

#include "tests/orchestrator/api/stage.h"
#include "tests/orchestrator/notify/sink.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/loop/aside.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <netdb.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_MS 30000
#define TURN_MS 10
/* Far above what a busy machine makes of TURN_MS, far below the shortest time that a server here is waited for. */
#define STALL_MS 1500
#define MAIL_MS 4000
#define WEBHOOK_MS 2500
#define HOOK_MS 2000

static const Id ME = {{1}};
static const char *program;

/* --- a look-up that hangs: libcurl's threads come here ---------------------------- */

static atomic_bool hang;

__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service,
                                                       const struct addrinfo *hints, struct addrinfo **ret)
{
    (void)service;
    (void)hints;
    (void)ret;
    while (g_strcmp0(node, "hangs.example.org") == 0 && atomic_load(&hang))
        g_usleep(1000);
    return EAI_NONAME;
}

/* --- a house ------------------------------------------------------------------------ */

typedef struct {
    char *folder, *path, *hooks, *socket;
    uv_loop_t loop;
    uv_timer_t turn;
    gint64 last_turn_ms, longest_ms;
    Database *db;
    Notifier *notifier;
    CourierGround ground;
    GPtrArray *published; /* codes of events about channels */
    gboolean quiet;       /* nothing is delivered */
    gboolean closing;
    guint done; /* outcomes that came */
    GError *error;
    json_t *doc;
} House;

static void on_durable(const GError *error, void *user)
{
    House *h = user;

    g_assert_no_error(error);
    if (!h->closing && !h->quiet)
        notifier_poke(h->notifier);
}

static void publish(House *h, const Event *event)
{
    DatabaseChanges *changes = database_changes_new();
    guint64 sequence = database_take_sequence(h->db);
    gint64 now_ms = clock_wall_ms();
    json_auto_t *doc = event_to_json(event, sequence, now_ms);

    database_add_event(changes, sequence, now_ms, event->scenario, event->host, doc);
    database_submit(h->db, changes, on_durable, h);
}

static void on_event(void *user, const Event *event)
{
    House *h = user;

    g_ptr_array_add(h->published, g_strdup(event_code_name(event->code)));
    publish(h, event);
}

/* About VM @vm of scenario web. */
static void tell(House *h, EventCode code, const char *vm, const char *why)
{
    g_autoptr(Event) event = event_new(code, "web", "alpha", vm, why);

    publish(h, event);
}

/* Warnings about VMs FIRST…LAST. */
static void tell_many(House *h, guint first, guint last)
{
    for (; first <= last; first++) {
        g_autofree char *vm = g_strdup_printf("vm%u", first);

        tell(h, EVENT_VM_STAYED, vm, "so");
    }
}

static void on_turn(uv_timer_t *timer)
{
    House *h = timer->data;
    gint64 now_ms = clock_steady_ms();

    h->longest_ms = MAX(h->longest_ms, now_ms - h->last_turn_ms);
    h->last_turn_ms = now_ms;
}

static void on_done(void *user, const GError *error)
{
    House *h = user;

    h->done++;
    g_clear_error(&h->error);
    h->error = error ? g_error_copy(error) : NULL;
}

/* As a controller's start. */
static void house_start(House *h)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *channels = NULL;

    uv_loop_init(&h->loop);
    h->db = database_open(h->path, ME, &error);
    g_assert_no_error(error);
    channels = database_load_channels(h->db, &error);
    h->ground.ground.loop = &h->loop;
    h->ground.db = h->db;
    h->notifier = notifier_new(&h->ground);
    g_assert_true(notifier_load(h->notifier, channels, &error));
    database_start(h->db, &h->loop);
    if (!h->quiet)
        notifier_poke(h->notifier);
    uv_timer_init(&h->loop, &h->turn);
    h->turn.data = h;
    h->last_turn_ms = clock_steady_ms();
    uv_timer_start(&h->turn, on_turn, TURN_MS, TURN_MS);
    h->closing = FALSE;
}

static void house_stop(House *h)
{
    gint64 begun_ms = clock_steady_ms();

    h->closing = TRUE;
    notifier_close(h->notifier);
    database_close(h->db, NULL, NULL);
    uv_close((uv_handle_t *)&h->turn, NULL);
    uv_run(&h->loop, UV_RUN_DEFAULT);
    notifier_free(h->notifier);
    g_assert_cmpint(uv_loop_close(&h->loop), ==, 0);
    /* libcurl looks once a second whether it is to give up. */
    g_assert_cmpint(clock_steady_ms() - begun_ms, <, 2400);
    g_assert_cmpint(h->longest_ms, <, STALL_MS);
}

static void house_paths(House *h, const char *folder)
{
    *h = (House){.folder = g_strdup(folder)};
    h->path = g_build_filename(folder, "state.db", NULL);
    h->hooks = g_build_filename(folder, "hooks", NULL);
    h->socket = g_build_filename(folder, "log", NULL);
    h->published = g_ptr_array_new_with_free_func(g_free);
    h->ground = notifier_ground(&h->loop, h->hooks);
    h->ground.controller = ME;
    h->ground.ground.syslog = h->socket;
    h->ground.ground.mail_ms = MAIL_MS;
    h->ground.ground.webhook_ms = WEBHOOK_MS;
    h->ground.ground.hook_ms = HOOK_MS;
    h->ground.pace = (PaceSettings){3600 * 1000, 20, 100, 300};
    h->ground.idle_ms = 100;
    h->ground.on_event = on_event;
    h->ground.user = h;
}

static House *house_open(void)
{
    House *h = g_new0(House, 1);
    g_autofree char *folder = g_dir_make_tmp("understudy-notify-XXXXXX", NULL);

    house_paths(h, folder);
    g_assert_cmpint(g_mkdir(h->hooks, 0700), ==, 0);
    house_start(h);
    return h;
}

static void house_free(House *h)
{
    const char *argv[] = {"rm", "-rf", h->folder, NULL};

    house_stop(h);
    g_assert_true(
        g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL));
    g_free(h->folder);
    g_free(h->path);
    g_free(h->hooks);
    g_free(h->socket);
    g_ptr_array_unref(h->published);
    g_clear_error(&h->error);
    json_decref(h->doc);
    g_free(h);
}

/* Turn until @holds. */
/* @holds is looked at once a turn: it may be true for a moment only. */
#define UNTIL(h, holds)                                                                    \
    do {                                                                                   \
        gint64 end_ms = clock_steady_ms() + DEADLINE_MS;                                   \
        gboolean held;                                                                     \
        while (!(held = (holds)) && clock_steady_ms() < end_ms)                            \
            uv_run(&(h)->loop, UV_RUN_ONCE);                                               \
        if (!held)                                                                         \
            g_assertion_message_expr(G_LOG_DOMAIN, __FILE__, __LINE__, G_STRFUNC, #holds); \
    } while (0)

static json_t *parse(const char *text)
{
    g_autofree char *quoted = g_strdelimit(g_strdup(text), "'", '"');
    json_t *doc = json_loads(quoted, 0, NULL);

    g_assert_nonnull(doc);
    return doc;
}

static void add_json(House *h, const json_t *doc)
{
    g_autoptr(GError) error = NULL;
    Channel *channel = channel_from_json(doc, &error);
    guint before = h->done;

    g_assert_no_error(error);
    notifier_add(h->notifier, channel, on_done, h);
    UNTIL(h, h->done > before);
    g_assert_no_error(h->error);
}

static void add(House *h, const char *text)
{
    json_auto_t *doc = parse(text);

    add_json(h, doc);
}

static void add_webhook(House *h, const char *name, const Sink *sink, const char *more)
{
    g_autofree char *text = g_strdup_printf("{'name': '%s', 'webhook': {'url': 'http://127.0.0.1:%u/'}%s}",
                                            name, sink_port(sink), more);

    add(h, text);
}

static void add_mail(House *h, const char *name, const Sink *sink, const char *more)
{
    g_autofree char *text =
        g_strdup_printf("{'name': '%s', 'mail': {'to': ['ops@example.org'], 'from': 'u@example.org', 'smtp': "
                        "'smtp://127.0.0.1:%u', 'tls': 'never'}%s}",
                        name, sink_port(sink), more);

    add(h, text);
}

static void test_channel(House *h, const char *name)
{
    guint before = h->done;

    notifier_test(h->notifier, name, on_done, h);
    UNTIL(h, h->done > before);
}

static void remove_channel(House *h, const char *name)
{
    guint before = h->done;

    notifier_remove(h->notifier, name, on_done, h);
    UNTIL(h, h->done > before);
    g_assert_no_error(h->error);
}

static void assert_fails(House *h, const char *piece)
{
    g_assert_nonnull(h->error);
    if (!strstr(h->error->message, piece))
        g_test_message("'%s' is not in: %s", piece, h->error->message);
    g_assert_nonnull(strstr(h->error->message, piece));
    g_assert_null(strpbrk(h->error->message, "\r\n\x1b"));
}

static void on_described(void *user, json_t *doc, const GError *error)
{
    House *h = user;

    g_assert_no_error(error);
    json_decref(h->doc);
    h->doc = doc;
}

/* The state of the only channel, or of @name. Borrowed. */
static const json_t *state_of(House *h, const char *name)
{
    g_clear_pointer(&h->doc, json_decref);
    notifier_describe(h->notifier, name, on_described, h);
    UNTIL(h, h->doc != NULL);
    return json_object_get(json_array_get(json_object_get(h->doc, "channels"), 0), "state");
}

/* The VMs that a webhook was told about, in the order in which that came: "vm1 vm2 [vm3 vm4]". Who was killed in the middle of a request
 * has told nothing. */
static char *vms_of(Sink *sink)
{
    GString *all = g_string_new(NULL);

    for (guint i = 0; i < sink_count(sink); i++) {
        g_autofree char *request = sink_message(sink, i);
        const char *body = strstr(request, "\n\n");
        json_auto_t *doc = body ? json_loads(body + 2, 0, NULL) : NULL;
        json_t *events = json_object_get(doc, "events");
        json_t *event;
        gsize k;

        if (doc && !events)
            g_string_append_printf(all, "%s%s", all->len ? " " : "",
                                   json_string_value(json_object_get(doc, "vm"))
                                       ?: json_string_value(json_object_get(doc, "code")));
        json_array_foreach(events, k, event)
            g_string_append_printf(all, "%s%s%s%s", all->len ? " " : "", k == 0 ? "[" : "",
                                   json_string_value(json_object_get(event, "vm"))
                                       ?: json_string_value(json_object_get(event, "code")),
                                   k == json_array_size(events) - 1 ? "]" : "");
    }
    return g_string_free(all, FALSE);
}

static void assert_told(Sink *sink, const char *vms)
{
    g_autofree char *got = vms_of(sink);

    g_assert_cmpstr(got, ==, vms);
}

static void in_a_house(gconstpointer test)
{
    House *h = house_open();

    ((void (*)(House *))test)(h);
    house_free(h);
}

/* --- what is told, and how often ------------------------------------------------------- */

static void test_in_order(House *h)
{
    Sink *hook = sink_new(SINK_HTTP, SINK_PLAIN);
    Sink *mail = sink_new(SINK_SMTP, SINK_PLAIN);
    g_autofree char *first = NULL;

    tell_many(h, 1, 2);
    add_webhook(h, "hook", hook, "");
    add_mail(h, "mail", mail, "");
    tell_many(h, 3, 8);
    UNTIL(h, sink_count(hook) == 6 && sink_count(mail) == 6);
    assert_told(hook, "vm3 vm4 vm5 vm6 vm7 vm8");
    first = sink_message(mail, 0);
    g_test_message("%s", first);
    g_assert_true(g_str_has_prefix(first, "MAIL FROM:<u@example.org>"));
    g_assert_nonnull(strstr(first, "\nRCPT TO:<ops@example.org>\n"));
    g_assert_nonnull(strstr(first, "\n'vm3' was not moved and stays on alpha: so\n"));
    sink_free(hook);
    sink_free(mail);
}

static void test_only_what_is_wanted(House *h)
{
    Sink *bad = sink_new(SINK_HTTP, SINK_PLAIN);
    Sink *other = sink_new(SINK_HTTP, SINK_PLAIN);
    g_autoptr(Event) link = event_new(EVENT_LINK_LOST, NULL, "alpha", NULL, NULL);

    add_webhook(h, "bad", bad, ", 'severity': 'critical'");
    add_webhook(h, "other", other, ", 'severity': 'info', 'scenarios': ['shop']");
    tell(h, EVENT_VM_MOVED, "vm1", NULL);
    tell(h, EVENT_VM_DOWN, "vm2", "so");
    publish(h, link);
    tell(h, EVENT_VM_STAYED, "vm3", "so");
    tell(h, EVENT_VM_DOWN, "vm4", "so");
    UNTIL(h, sink_count(bad) == 2);
    assert_told(bad, "vm2 vm4");
    g_assert_cmpuint(sink_count(other), ==, 0);
    /* Nothing waits, and that is kept: a restart has nothing to look through. */
    g_assert_cmpint(json_integer_value(json_object_get(state_of(h, "other"), "waiting")), ==, 0);
    sink_free(bad);
    sink_free(other);
}

static gboolean waits(House *h, const char *name, gint64 count)
{
    return json_integer_value(json_object_get(state_of(h, name), "waiting")) == count;
}

static void test_rate_and_digest(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);

    h->quiet = TRUE;
    add_webhook(h, "ops", sink, ", 'rate': 3");
    house_stop(h);
    house_start(h);
    tell_many(h, 1, 9);
    UNTIL(h, waits(h, "ops", 9));
    h->quiet = FALSE;
    notifier_poke(h->notifier);
    UNTIL(h, waits(h, "ops", 0));
    assert_told(sink, "vm1 vm2 [vm3 vm4 vm5 vm6 vm7 vm8 vm9]");
    tell_many(h, 10, 12);
    UNTIL(h, waits(h, "ops", 3));
    /* A restart does not give more; the end of the hour does. */
    house_stop(h);
    house_start(h);
    g_assert_true(waits(h, "ops", 3));
    g_assert_true(json_is_string(json_object_get(state_of(h, "ops"), "next_try_at")));
    g_assert_cmpuint(sink_count(sink), ==, 3);
    h->ground.pace.window_ms = 1;
    house_stop(h);
    house_start(h);
    UNTIL(h, waits(h, "ops", 0));
    assert_told(sink, "vm1 vm2 [vm3 vm4 vm5 vm6 vm7 vm8 vm9] vm10 vm11 vm12");
    sink_free(sink);
}

/* With what came before it. */
static void test_critical_waits_for_no_rate(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);

    add_webhook(h, "ops", sink, ", 'rate': 1");
    tell_many(h, 1, 1);
    UNTIL(h, sink_count(sink) == 1);
    tell_many(h, 2, 3);
    UNTIL(h, waits(h, "ops", 2));
    tell(h, EVENT_VM_DOWN, "vm4", "so");
    UNTIL(h, waits(h, "ops", 0));
    tell_many(h, 5, 5);
    UNTIL(h, waits(h, "ops", 1));
    assert_told(sink, "vm1 [vm2 vm3 vm4]");
    sink_free(sink);
}

/* --- servers that are not as they should be ----------------------------------------------- */

static const struct {
    SinkManner manner;
    const char *http, *smtp; /* what a test says; NULL: it is delivered */
} MANNERS[] = {
    {SINK_SLOW, NULL, NULL},
    {SINK_REFUSES, "status 503: too  [31mbusy", "status 550: 550 5.1.1 not"},
    {SINK_GARBAGE, "the dialogue broke off", "no answer in time"},
    {SINK_FLOODS, NULL, "the dialogue broke off"},
    {SINK_HEADS, "the dialogue broke off", "the dialogue broke off"},
    {SINK_SILENT, "no answer in time", "no answer in time"},
    {SINK_LATE, "no answer in time", "no answer in time"},
    {SINK_BREAKS, "the dialogue broke off", "the dialogue broke off"},
    {SINK_HANGS_UP, NULL, NULL},
    {SINK_REDIRECTS, "a redirection (status 302), which is not followed", NULL},
};

static void check_manners(House *h, Sink *sink, gboolean http)
{
    for (guint i = 0; i < G_N_ELEMENTS(MANNERS); i++) {
        const char *says = http ? MANNERS[i].http : MANNERS[i].smtp;

        sink_manner(sink, MANNERS[i].manner);
        test_channel(h, "ops");
        g_test_message("manner %u: %s", MANNERS[i].manner, h->error ? h->error->message : "delivered");
        if (says)
            assert_fails(h, says);
        else
            g_assert_no_error(h->error);
    }
    sink_manner(sink, SINK_GOOD);
    test_channel(h, "ops");
    g_assert_no_error(h->error);
    sink_close_port(sink);
    test_channel(h, "ops");
    assert_fails(h, "nobody takes the connection");
    g_assert_error(h->error, US_ERROR, US_ERROR_UNREACHABLE);
}

static void test_webhook_manners(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);

    add_webhook(h, "ops", sink, "");
    check_manners(h, sink, TRUE);
    sink_free(sink);
}

static void test_mail_manners(House *h)
{
    Sink *sink = sink_new(SINK_SMTP, SINK_PLAIN);

    add_mail(h, "ops", sink, "");
    check_manners(h, sink, FALSE);
    sink_free(sink);
}

static void test_no_channel_waits_for_another(House *h)
{
    Sink *bad = sink_new(SINK_SMTP, SINK_PLAIN);
    Sink *good = sink_new(SINK_HTTP, SINK_PLAIN);

    sink_manner(bad, SINK_SILENT);
    add_mail(h, "a", bad, "");
    add_webhook(h, "b", good, "");
    tell_many(h, 1, 5);
    UNTIL(h, sink_count(good) == 5);
    g_assert_null(json_string_value(json_object_get(state_of(h, "a"), "error")));
    g_assert_cmpint(json_integer_value(json_object_get(state_of(h, "a"), "waiting")), ==, 5);
    sink_free(good);
    house_stop(h); /* while it hangs */
    house_start(h);
    sink_free(bad);
}

static void test_look_up_hangs(House *h)
{
    Sink *good = sink_new(SINK_HTTP, SINK_PLAIN);

    atomic_store(&hang, TRUE);
    add(h, "{'name': 'a', 'webhook': {'url': 'http://hangs.example.org/'}}");
    add(h, "{'name': 'm', 'mail': {'to': ['a@b.c'], 'from': 'a@b.c', 'smtp': 'smtp://hangs.example.org'}}");
    add_webhook(h, "b", good, "");
    tell_many(h, 1, 3);
    UNTIL(h, sink_count(good) == 3);
    test_channel(h, "a");
    g_assert_error(h->error, US_ERROR, US_ERROR_TIMEOUT);
    house_stop(h);
    house_start(h);
    atomic_store(&hang, FALSE);
    test_channel(h, "m");
    assert_fails(h, "its name cannot be resolved");
    sink_free(good);
}

/* --- outage, restart, kill -------------------------------------------------------------------- */

static gboolean published(const House *h, const char *code)
{
    for (guint i = 0; i < h->published->len; i++)
        if (g_str_equal(h->published->pdata[i], code))
            return TRUE;
    return FALSE;
}

static void test_outage(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);
    Sink *other = sink_new(SINK_HTTP, SINK_PLAIN);
    const json_t *state;

    add_webhook(h, "ops", sink, ", 'rate': 100, 'severity': 'info'");
    add_webhook(h, "other", other, ", 'rate': 100");
    tell_many(h, 1, 2);
    UNTIL(h, sink_count(sink) == 2 && sink_count(other) == 2);
    sink_close_port(sink);
    tell_many(h, 3, 4);
    UNTIL(h, published(h, "NOTIFY_FAILED"));
    house_stop(h);
    house_start(h);
    tell_many(h, 5, 20);
    UNTIL(h, sink_count(other) == 21);
    state = state_of(h, "ops");
    g_assert_cmpint(json_integer_value(json_object_get(state, "waiting")), ==, 18);
    g_assert_nonnull(
        strstr(json_string_value(json_object_get(state, "error")), "nobody takes the connection"));
    g_assert_true(json_is_string(json_object_get(state, "failing_since")));
    g_assert_cmpint(json_integer_value(json_object_get(state, "delivered")), ==, 2);
    /* Not while one is under way. */
    UNTIL(h, json_is_string(json_object_get(state_of(h, "ops"), "next_try_at")));
    sink_open_port(sink);
    UNTIL(h, sink_count(sink) >= 20 && published(h, "NOTIFY_BACK"));
    assert_told(sink,
                "vm1 vm2 vm3 vm4 vm5 vm6 vm7 vm8 vm9 vm10 vm11 vm12 vm13 vm14 vm15 vm16 vm17 vm18 vm19 vm20");
    /* Once, and not through the channel that it is about. */
    g_assert_cmpuint(h->published->len, ==, 2);
    assert_told(
        other,
        "vm1 vm2 vm3 vm4 NOTIFY_FAILED vm5 vm6 vm7 vm8 vm9 vm10 vm11 vm12 vm13 vm14 vm15 vm16 vm17 vm18 "
        "vm19 vm20");
    UNTIL(h, waits(h, "ops", 0));
    state = state_of(h, "ops");
    g_assert_true(json_is_null(json_object_get(state, "error")));
    sink_free(sink);
    sink_free(other);
}

/* --- one of several recipients ------------------------------------------------------------------ */

/* The VMs that a mailbox was told about, in the order in which that came: each mail's in brackets if it has several. */
static char *vms_to(Sink *sink, const char *recipient)
{
    GString *all = g_string_new(NULL);
    g_autofree char *command = g_strdup_printf("RCPT TO:<%s>\n", recipient);

    for (guint i = 0; i < sink_count(sink); i++) {
        g_autofree char *mail = sink_message(sink, i);

        for (const char *at = strstr(mail, command) ? mail : NULL; at && (at = strstr(at, "\n'vm"));) {
            const char *name = at + strlen("\n'");

            g_string_append_printf(all, "%s%.*s", all->len ? " " : "", (int)strcspn(name, "'"), name);
            at = name;
        }
    }
    return g_string_free(all, FALSE);
}

static gboolean has(Sink *sink, const char *recipient, const char *vms)
{
    g_autofree char *got = vms_to(sink, recipient);

    return g_str_equal(got, vms);
}

static const json_t *apart(House *h)
{
    return json_object_get(state_of(h, NULL), "apart");
}

static void add_two(House *h, const Sink *sink)
{
    g_autofree char *text = g_strdup_printf(
        "{'name': 'ops', 'rate': 0, 'mail': {'to': ['a@example.org', 'b@example.org'], 'from': "
        "'u@example.org', 'smtp': 'smtp://127.0.0.1:%u', 'tls': 'never'}}",
        sink_port(sink));

    add(h, text);
}

/* Nobody waits for one who is refused, who gets all of it, once and in order, as soon as he is not. */
static void test_one_is_refused(House *h)
{
    Sink *sink = sink_new(SINK_SMTP, SINK_PLAIN);
    const json_t *one;

    add_two(h, sink);
    tell_many(h, 1, 1);
    UNTIL(h, has(sink, "a@example.org", "vm1") && has(sink, "b@example.org", "vm1"));
    g_assert_cmpuint(sink_count(sink), ==, 1);
    sink_refuse(sink, "b@example.org");
    tell_many(h, 2, 4);
    UNTIL(h, has(sink, "a@example.org", "vm1 vm2 vm3 vm4"));
    UNTIL(h, published(h, "RECIPIENT_REFUSED"));
    g_assert_cmpuint(h->published->len, ==, 1);
    one = json_array_get(apart(h), 0);
    g_assert_cmpstr(json_string_value(json_object_get(one, "to")), ==, "b@example.org");
    g_assert_nonnull(strstr(json_string_value(json_object_get(one, "error")),
                            "it does not take it: status 550: 550 5.1.1 nobody of that name"));
    g_assert_true(json_is_string(json_object_get(one, "failing_since")));
    g_assert_true(json_is_null(json_object_get(state_of(h, NULL), "error")));
    test_channel(h, "ops");
    assert_fails(h, "b@example.org does not have it (it does not take it: status 550");
    /* A restart knows who has what, and what was told. */
    house_stop(h);
    house_start(h);
    g_assert_cmpuint(json_array_size(apart(h)), ==, 1);
    tell_many(h, 5, 6);
    UNTIL(h, has(sink, "a@example.org", "vm1 vm2 vm3 vm4 vm5 vm6"));
    g_assert_true(has(sink, "b@example.org", "vm1"));
    sink_refuse(sink, NULL);
    UNTIL(h, published(h, "RECIPIENT_BACK") && json_array_size(apart(h)) == 0);
    g_assert_cmpuint(h->published->len, ==, 2);
    tell_many(h, 7, 7);
    UNTIL(h, has(sink, "a@example.org", "vm1 vm2 vm3 vm4 vm5 vm6 vm7") &&
                 has(sink, "b@example.org", "vm1 vm2 vm3 vm4 vm5 vm6 vm7"));
    sink_free(sink);
}

/* …also while the others' go on coming, and the server fails now and then. */
static void test_one_comes_and_goes(House *h)
{
    Sink *sink = sink_new(SINK_SMTP, SINK_PLAIN);
    g_autoptr(GString) all = g_string_new(NULL);

    add_two(h, sink);
    for (guint i = 1; i <= 60; i++) {
        g_string_append_printf(all, "%svm%u", i > 1 ? " " : "", i);
        sink_refuse(sink, i % 3 == 0 ? NULL : "b@example.org");
        sink_manner(sink, i % 20 == 0 ? SINK_BREAKS : SINK_GOOD);
        tell_many(h, i, i);
        for (guint turn = 0; turn < 6; turn++)
            uv_run(&h->loop, UV_RUN_ONCE);
    }
    sink_manner(sink, SINK_GOOD);
    sink_refuse(sink, NULL);
    UNTIL(h, json_array_size(apart(h)) == 0 && waits(h, "ops", 0));
    g_assert_true(has(sink, "a@example.org", all->str) && has(sink, "b@example.org", all->str));
    sink_free(sink);
}

/* Nobody has it, and it is the channel that fails. */
static void test_all_are_refused(House *h)
{
    Sink *sink = sink_new(SINK_SMTP, SINK_PLAIN);

    add_two(h, sink);
    sink_refuse(sink, "@example.org");
    tell_many(h, 1, 1);
    UNTIL(h, published(h, "NOTIFY_FAILED"));
    g_assert_cmpuint(json_array_size(apart(h)), ==, 0);
    sink_refuse(sink, NULL);
    UNTIL(h, published(h, "NOTIFY_BACK") && has(sink, "b@example.org", "vm1"));
    g_assert_cmpuint(sink_count(sink), ==, 1);
    sink_free(sink);
}

/* --- one of several messages -------------------------------------------------------------------- */

static const json_t *refused(House *h, const char *name)
{
    return json_object_get(state_of(h, name), "refused");
}

static gboolean gave_up(House *h, const char *name, gint64 count)
{
    return json_integer_value(json_object_get(refused(h, name), "count")) == count;
}

/* In @name's state, the last one that was given up. */
static void assert_last(House *h, const char *name, const char *code, const char *to, const char *answer)
{
    const json_t *last = json_object_get(refused(h, name), "last");

    g_assert_cmpstr(json_string_value(json_object_get(last, "code")), ==, code);
    g_assert_cmpstr(json_string_value(json_object_get(last, "to")), ==, to);
    g_assert_cmpint(json_integer_value(json_object_get(last, "sequence")), >, 0);
    g_assert_true(json_is_string(json_object_get(last, "at")));
    g_assert_cmpstr(json_string_value(json_object_get(last, "error")), ==, answer);
}

static guint times_published(const House *h, const char *code)
{
    guint times = 0;

    for (guint i = 0; i < h->published->len; i++)
        times += g_str_equal(h->published->pdata[i], code);
    return times;
}

/* One that is refused for good holds up nothing, is tried once more, and is told of: once, also by the channel. */
static void test_a_webhook_refuses_one(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);
    g_autofree char *told = NULL;
    guint connections;

    add_webhook(h, "ops", sink, ", 'rate': 0");
    sink_refuse_text(sink, "'vm2'", 413);
    tell_many(h, 1, 4);
    UNTIL(h, sink_count(sink) == 4 && waits(h, "ops", 0));
    assert_told(sink, "vm1 vm3 vm4 MESSAGE_REFUSED");
    g_assert_cmpuint(sink_connections(sink), ==, 6);
    told = sink_message(sink, 3);
    g_assert_nonnull(strstr(told, "channel 'ops' could not deliver event 2 (VM_STAYED): it does not take it: "
                                  "status 413: not this one; others were taken"));
    assert_last(h, "ops", "VM_STAYED", NULL, "it does not take it: status 413: not this one");
    g_assert_true(json_is_null(json_object_get(state_of(h, "ops"), "error")));
    /* It is over, also after a restart. */
    house_stop(h);
    house_start(h);
    connections = sink_connections(sink);
    tell_many(h, 5, 5);
    UNTIL(h, sink_count(sink) == 5 && waits(h, "ops", 0));
    g_assert_cmpuint(sink_connections(sink), ==, connections + 1);
    g_assert_true(gave_up(h, "ops", 1));
    g_assert_cmpuint(times_published(h, "MESSAGE_REFUSED"), ==, 1);
    sink_free(sink);
}

/* Several, one after the other. */
static void test_a_mail_server_refuses_some(House *h)
{
    Sink *sink = sink_new(SINK_SMTP, SINK_PLAIN);

    add_mail(h, "ops", sink, ", 'rate': 0");
    sink_refuse_text(sink, "'vm2", 552);
    tell_many(h, 1, 1);
    tell_many(h, 20, 22);
    tell_many(h, 3, 3);
    UNTIL(h, gave_up(h, "ops", 3) && waits(h, "ops", 0));
    g_assert_true(has(sink, "ops@example.org", "vm1 vm3"));
    assert_last(h, "ops", "VM_STAYED", NULL, "it does not take it: status 552: 552 not this one");
    g_assert_cmpuint(times_published(h, "MESSAGE_REFUSED"), ==, 3);
    g_assert_cmpuint(sink_count(sink), ==, 5);
    sink_free(sink);
}

static gboolean has_events(Sink *sink, guint first, guint last, guint but)
{
    g_autofree char *told = vms_of(sink);
    g_auto(GStrv) all = g_strsplit_set(told, " []", -1);

    for (; first <= last; first++) {
        g_autofree char *vm = g_strdup_printf("vm%u", first);

        if (g_strv_contains((const char *const *)all, vm) != (first != but))
            return FALSE;
    }
    return TRUE;
}

/* One event of a digest is at fault, and nothing comes after it: the others arrive all the same. */
static void test_one_of_a_digest(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);

    h->quiet = TRUE;
    add_webhook(h, "ops", sink, ", 'rate': 3");
    sink_refuse_text(sink, "'vm5'", 413);
    tell_many(h, 1, 9);
    UNTIL(h, waits(h, "ops", 9));
    h->quiet = FALSE;
    notifier_poke(h->notifier);
    UNTIL(h, gave_up(h, "ops", 1) && has_events(sink, 1, 9, 5));
    g_assert_cmpuint(times_published(h, "MESSAGE_REFUSED"), ==, 1);
    assert_last(h, "ops", "VM_STAYED", NULL, "it does not take it: status 413: not this one");
    sink_free(sink);
}

/* It takes no digest at all: every event comes by itself. */
static void test_no_digest_is_taken(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);

    h->quiet = TRUE;
    add_webhook(h, "ops", sink, ", 'rate': 1");
    sink_refuse_text(sink, "DIGEST", 413);
    tell_many(h, 1, 9);
    UNTIL(h, waits(h, "ops", 9));
    h->quiet = FALSE;
    notifier_poke(h->notifier);
    UNTIL(h, waits(h, "ops", 0));
    assert_told(sink, "vm1 vm2 vm3 vm4 vm5 vm6 vm7 vm8 vm9");
    g_assert_true(gave_up(h, "ops", 0) && !published(h, "MESSAGE_REFUSED"));
    sink_free(sink);
}

/* The history forgets some of a digest that is in doubt, and others are taken: of what is left only the one at fault is lost. */
static void test_what_is_left_of_a_digest(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);
    DatabaseChanges *changes = database_changes_new();

    h->quiet = TRUE;
    add_webhook(h, "ops", sink, ", 'rate': 1");
    sink_refuse_text(sink, "'vm8'", 413);
    tell_many(h, 1, 9);
    UNTIL(h, waits(h, "ops", 9));
    house_stop(h);
    h->quiet = FALSE;
    h->ground.pace.first_pause_ms = h->ground.pace.longest_pause_ms = 500;
    house_start(h);
    UNTIL(h, json_is_string(json_object_get(state_of(h, "ops"), "error")));
    database_forget_events(changes, 4, 0);
    database_submit(h->db, changes, on_durable, h);
    tell_many(h, 10, 10);
    UNTIL(h, gave_up(h, "ops", 1) && has_events(sink, 5, 10, 8));
    assert_last(h, "ops", "VM_STAYED", NULL, "it does not take it: status 413: not this one");
    g_assert_cmpuint(times_published(h, "MESSAGE_REFUSED"), ==, 1);
    sink_free(sink);
}

/* However long it takes nothing, there is an end to the halves of a digest: what comes then is no flood. */
static void test_halves_have_an_end(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);

    h->quiet = TRUE;
    add_webhook(h, "ops", sink, ", 'rate': 1");
    sink_refuse_text(sink, "", 400);
    tell_many(h, 1, 200);
    UNTIL(h, waits(h, "ops", 200));
    house_stop(h);
    h->quiet = FALSE;
    h->ground.pace.first_pause_ms = h->ground.pace.longest_pause_ms = 1;
    h->ground.pace.long_ms = 3600 * 1000;
    house_start(h);
    UNTIL(h, sink_connections(sink) >= 450);
    sink_refuse_text(sink, NULL, 0);
    UNTIL(h, waits(h, "ops", 0));
    g_assert_true(has_events(sink, 1, 200, 0) && gave_up(h, "ops", 0));
    g_assert_cmpuint(sink_count(sink), <=, 110);
    sink_free(sink);
}

/* None is at fault while nothing is taken, and a restart knows that. */
static void test_a_receiver_refuses_all(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);
    g_autofree char *told = NULL;

    add_webhook(h, "ops", sink, ", 'rate': 0");
    sink_refuse_text(sink, "", 400);
    tell_many(h, 1, 3);
    UNTIL(h, published(h, "NOTIFY_FAILED") && sink_connections(sink) >= 5);
    g_assert_true(waits(h, "ops", 3));
    house_stop(h);
    house_start(h);
    g_assert_true(waits(h, "ops", 3));
    UNTIL(h, g_strcmp0(json_string_value(json_object_get(state_of(h, "ops"), "error")),
                       "it does not take it: status 400: not this one") == 0);
    g_assert_cmpuint(sink_count(sink), ==, 0);
    sink_refuse_text(sink, NULL, 0);
    UNTIL(h, waits(h, "ops", 0) && published(h, "NOTIFY_BACK"));
    told = vms_of(sink);
    g_assert_cmpuint(strlen(told), ==, strlen("vm1 vm2 vm3"));
    g_assert_true(strstr(told, "vm1") && strstr(told, "vm2") && strstr(told, "vm3"));
    g_assert_true(gave_up(h, "ops", 0) && !published(h, "MESSAGE_REFUSED"));
    sink_free(sink);
}

/* What the history forgets meanwhile is said. */
static void test_what_is_in_doubt_is_forgotten(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);
    DatabaseChanges *changes = database_changes_new();
    g_autofree char *told = NULL;

    add_webhook(h, "ops", sink, ", 'rate': 0");
    sink_refuse_text(sink, "", 400);
    tell_many(h, 1, 3);
    UNTIL(h, sink_connections(sink) >= 4);
    database_forget_events(changes, 2, 0);
    database_submit(h->db, changes, on_durable, h);
    house_stop(h);
    sink_refuse_text(sink, NULL, 0);
    house_start(h);
    UNTIL(h, waits(h, "ops", 0));
    told = vms_of(sink);
    g_assert_true(strstr(told, "vm3") && strstr(told, "EVENTS_FORGOTTEN"));
    g_assert_cmpuint(sink_count(sink), ==, 3);
    sink_free(sink);
}

/* A no that is not about the message: nothing is tried before it. */
static void check_held(House *h, Sink *sink, const char *name, guint status)
{
    guint had = sink_count(sink);

    g_test_message("status %u", status);
    sink_refuse_text(sink, "'vm1'", status);
    g_ptr_array_set_size(h->published, 0);
    tell_many(h, 1, 2);
    UNTIL(h, published(h, "NOTIFY_FAILED"));
    g_assert_cmpuint(sink_count(sink), ==, had);
    g_assert_true(waits(h, name, 2) && gave_up(h, name, 0));
    sink_refuse_text(sink, NULL, 0);
    UNTIL(h, published(h, "NOTIFY_BACK") && waits(h, name, 0));
    g_assert_cmpuint(sink_count(sink), ==, had + 2);
}

static void test_what_is_not_about_the_message(House *h)
{
    static const guint STATUS[] = {401, 403, 404, 408, 410, 429, 500, 503};
    Sink *hook = sink_new(SINK_HTTP, SINK_PLAIN);
    Sink *mail = sink_new(SINK_SMTP, SINK_PLAIN);

    add_webhook(h, "hook", hook, ", 'rate': 0");
    for (guint i = 0; i < G_N_ELEMENTS(STATUS); i++)
        check_held(h, hook, "hook", STATUS[i]);
    assert_told(hook, "vm1 vm2 vm1 vm2 vm1 vm2 vm1 vm2 vm1 vm2 vm1 vm2 vm1 vm2 vm1 vm2");
    remove_channel(h, "hook");
    add_mail(h, "mail", mail, ", 'rate': 0");
    check_held(h, mail, "mail", 451);
    g_assert_true(has(mail, "ops@example.org", "vm1 vm2"));
    sink_free(hook);
    sink_free(mail);
}

/* That it was given up is refused, too: nothing tells of that, and nothing waits for it. */
static void test_it_breeds_nothing(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);

    add_webhook(h, "ops", sink, ", 'rate': 0");
    sink_refuse_text(sink, "'ops'", 422);
    tell(h, EVENT_VM_STAYED, "ops", "so");
    tell_many(h, 1, 1);
    UNTIL(h, published(h, "MESSAGE_REFUSED"));
    tell_many(h, 2, 3);
    UNTIL(h, gave_up(h, "ops", 2) && waits(h, "ops", 0));
    assert_told(sink, "vm1 vm2 vm3");
    assert_last(h, "ops", "MESSAGE_REFUSED", NULL, "it does not take it: status 422: not this one");
    g_assert_cmpuint(h->published->len, ==, 1);
    sink_free(sink);
}

/* While one recipient has no mailbox: it is his alone to take it or not, when he has one. */
static void test_one_message_and_one_recipient(House *h)
{
    Sink *sink = sink_new(SINK_SMTP, SINK_PLAIN);

    add_two(h, sink);
    sink_refuse(sink, "b@example.org");
    sink_refuse_text(sink, "'vm2'", 552);
    tell_many(h, 1, 4);
    UNTIL(h, gave_up(h, "ops", 1) && has(sink, "a@example.org", "vm1 vm3 vm4"));
    g_assert_cmpuint(json_array_size(apart(h)), ==, 1);
    sink_refuse(sink, NULL);
    UNTIL(h, gave_up(h, "ops", 2) && json_array_size(apart(h)) == 0);
    assert_last(h, "ops", "VM_STAYED", "b@example.org", "it does not take it: status 552: 552 not this one");
    UNTIL(h, has(sink, "b@example.org", "vm1 vm3 vm4"));
    tell_many(h, 5, 5);
    UNTIL(h, has(sink, "a@example.org", "vm1 vm3 vm4 vm5") && has(sink, "b@example.org", "vm1 vm3 vm4 vm5"));
    sink_free(sink);
}

/* Who parts while a message is in doubt has not got that one either. */
static void test_one_parts_with_a_doubt(House *h)
{
    Sink *sink = sink_new(SINK_SMTP, SINK_PLAIN);

    add_two(h, sink);
    sink_refuse_text(sink, "'vm1'", 554);
    tell_many(h, 1, 1);
    UNTIL(h, json_is_string(json_object_get(state_of(h, NULL), "error")));
    house_stop(h);
    sink_refuse(sink, "b@example.org");
    h->ground.pace.first_pause_ms = h->ground.pace.longest_pause_ms = 200;
    house_start(h);
    tell_many(h, 2, 2);
    UNTIL(h, has(sink, "a@example.org", "vm2") && gave_up(h, "ops", 1));
    sink_refuse_text(sink, NULL, 0);
    sink_refuse(sink, NULL);
    UNTIL(h, json_array_size(apart(h)) == 0 && waits(h, "ops", 0));
    g_assert_true(has(sink, "b@example.org", "vm2 vm1") || has(sink, "b@example.org", "vm1 vm2"));
    g_assert_true(has(sink, "a@example.org", "vm2"));
    sink_free(sink);
}

/* What its test proves to work is tried at once. */
static void test_a_test_ends_the_pause(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);

    h->ground.pace.first_pause_ms = h->ground.pace.longest_pause_ms = 3600 * 1000;
    house_stop(h);
    house_start(h);
    sink_close_port(sink);
    add_webhook(h, "ops", sink, "");
    tell_many(h, 1, 1);
    UNTIL(h, json_is_string(json_object_get(state_of(h, "ops"), "error")));
    sink_open_port(sink);
    test_channel(h, "ops");
    g_assert_no_error(h->error);
    UNTIL(h, sink_count(sink) == 2);
    assert_told(sink, "NOTIFY_TEST vm1");
    sink_free(sink);
}

static void test_forgotten(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);
    DatabaseChanges *changes = database_changes_new();
    g_autofree char *request = NULL;

    sink_close_port(sink);
    add_webhook(h, "ops", sink, ", 'rate': 1");
    h->quiet = TRUE;
    house_stop(h);
    house_start(h);
    tell_many(h, 1, 5);
    database_forget_events(changes, 3, 0);
    database_submit(h->db, changes, on_durable, h);
    UNTIL(h, waits(h, "ops", 2));
    h->quiet = FALSE;
    sink_open_port(sink);
    notifier_poke(h->notifier);
    UNTIL(h, sink_count(sink) == 1);
    assert_told(sink, "[EVENTS_FORGOTTEN vm4 vm5]");
    request = sink_message(sink, 0);
    g_assert_nonnull(strstr(request, "events 1 to 3 fell out of the history before channel 'ops'"));
    sink_free(sink);
}

/* What a receiver knows a message by. */
static char *id_in(Sink *sink, guint i)
{
    g_autofree char *request = sink_message(sink, i);
    const char *id = strstr(request, "X-Understudy-Id: ");

    g_assert_nonnull(id);
    return g_strndup(id, strcspn(id, "\n"));
}

/* A child of this program delivers, and is killed when a server has the message and has not said so. What comes after a
 * restart begins with the same message, under its id. */
static void test_killed(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);
    const char *argv[] = {program, "--deliver", h->folder, NULL};
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    GPid pid;

    sink_manner(sink, SINK_LATE);
    h->quiet = TRUE;
    add_webhook(h, "ops", sink, ", 'rate': 1");
    house_stop(h);
    house_start(h);
    tell_many(h, 1, 5);
    UNTIL(h, waits(h, "ops", 5));
    house_stop(h);
    for (guint round = 1; round <= 2; round++) {
        guint had = sink_count(sink);

        g_assert_true(
            g_spawn_async(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, NULL));
        for (gint64 end_ms = clock_steady_ms() + DEADLINE_MS; sink_count(sink) == had;) {
            g_assert_cmpint(clock_steady_ms(), <, end_ms);
            g_usleep(1000);
        }
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    /* More has happened meanwhile, but it is still the same message. */
    sink_manner(sink, SINK_GOOD);
    house_start(h);
    tell_many(h, 6, 7);
    UNTIL(h, waits(h, "ops", 7));
    house_stop(h);
    h->quiet = FALSE;
    house_start(h);
    UNTIL(h, waits(h, "ops", 2));
    assert_told(sink, "[vm1 vm2 vm3 vm4 vm5] [vm1 vm2 vm3 vm4 vm5] [vm1 vm2 vm3 vm4 vm5]");
    before = id_in(sink, 0);
    after = id_in(sink, 2);
    g_assert_cmpstr(before, ==, after);
    sink_free(sink);
}

/* A child is killed when the server has heard it once, twice, three times…: after every step of a message's way from its first
 * refusal to the end. All others come, and that it is given up is told. */
static void check_killed_while_in_doubt(House *h, const char *rate)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);
    const char *argv[] = {program, "--deliver", h->folder, NULL};
    g_autofree char *told = NULL;
    GPid pid;

    h->quiet = TRUE;
    add_webhook(h, "ops", sink, rate);
    tell_many(h, 1, 4);
    UNTIL(h, waits(h, "ops", 4));
    house_stop(h);
    sink_refuse_text(sink, "'vm2'", 413);
    for (guint round = 1; round <= 8; round++) {
        guint had = sink_connections(sink);
        gint64 end_ms = clock_steady_ms() + 500; /* it may have nothing left to say */

        g_assert_true(
            g_spawn_async(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, NULL));
        while (sink_connections(sink) < had + (round + 1) / 2 && clock_steady_ms() < end_ms)
            g_usleep(500);
        g_usleep(round % 2 ? 0 : 5000);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    h->quiet = FALSE;
    h->ground.pace.window_ms = 100;
    house_start(h);
    UNTIL(h, waits(h, "ops", 0));
    told = vms_of(sink);
    g_test_message("%s", told);
    g_assert_true(strstr(told, "vm1") && strstr(told, "vm3") && strstr(told, "vm4"));
    g_assert_nonnull(strstr(told, "MESSAGE_REFUSED"));
    g_assert_null(strstr(told, "vm2"));
    assert_last(h, "ops", "VM_STAYED", NULL, "it does not take it: status 413: not this one");
    sink_free(sink);
}

static void test_killed_while_in_doubt(House *h)
{
    check_killed_while_in_doubt(h, ", 'rate': 0");
}

/* All in one digest. */
static void test_killed_while_in_halves(House *h)
{
    check_killed_while_in_doubt(h, ", 'rate': 1");
}

static int deliver(const char *folder)
{
    House h;

    house_paths(&h, folder);
    house_start(&h);
    uv_run(&h.loop, UV_RUN_DEFAULT);
    return 0;
}

/* --- TLS, passwords, signatures ------------------------------------------------------------------ */

static void add_secure_mail(House *h, const char *name, const char *scheme, const Sink *sink, const char *ca)
{
    g_autofree char *url = g_strdup_printf("%s://127.0.0.1:%u", scheme, sink_port(sink));
    json_auto_t *doc =
        json_pack("{s:s, s:{s:[s], s:s, s:s, s:s, s:s, s:s*}}", "name", name, "mail", "to", "ops@example.org",
                  "from", "u@example.org", "smtp", url, "user", "me", "password", "geheim", "ca", ca);

    add_json(h, doc);
}

static void check_mail_tls(House *h, const char *scheme, SinkTls tls)
{
    Sink *sink = sink_new(SINK_SMTP, tls);
    g_autofree char *credentials = NULL;
    gsize len;
    g_autofree guchar *plain = NULL;

    add_secure_mail(h, "unknown", scheme, sink, NULL);
    test_channel(h, "unknown");
    g_assert_error(h->error, US_ERROR, US_ERROR_DENIED);
    assert_fails(h, "its certificate is not believed");
    g_assert_null(credentials = sink_credentials(sink));
    remove_channel(h, "unknown");
    add_secure_mail(h, "known", scheme, sink, stage_keys()->ca);
    test_channel(h, "known");
    g_assert_no_error(h->error);
    credentials = sink_credentials(sink);
    plain = g_base64_decode(credentials, &len);
    g_assert_cmpmem(plain, len, "\0me\0geheim", 10);
    sink_manner(sink, SINK_REFUSES);
    test_channel(h, "known");
    g_assert_error(h->error, US_ERROR, US_ERROR_DENIED);
    assert_fails(h, "it refuses user and password");
    remove_channel(h, "known");
    sink_free(sink);
}

static void test_mail_tls(House *h)
{
    Sink *plain = sink_new(SINK_SMTP, SINK_PLAIN);
    g_autofree char *credentials = NULL;

    check_mail_tls(h, "smtp", SINK_STARTTLS);
    check_mail_tls(h, "smtps", SINK_TLS);
    add_secure_mail(h, "plain", "smtp", plain, NULL);
    test_channel(h, "plain");
    assert_fails(h, "it offers no TLS");
    add_secure_mail(h, "wrong", "smtps", plain, NULL);
    test_channel(h, "wrong");
    assert_fails(h, "TLS with it cannot be begun");
    g_assert_cmpuint(sink_count(plain), ==, 0);
    g_assert_null(credentials = sink_credentials(plain));
    sink_free(plain);
}

static void test_webhook_tls(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_TLS);
    g_autofree char *url = g_strdup_printf("https://127.0.0.1:%u/x", sink_port(sink));
    json_auto_t *unknown = json_pack("{s:s, s:{s:s}}", "name", "a", "webhook", "url", url);
    json_auto_t *known =
        json_pack("{s:s, s:{s:s, s:s}}", "name", "b", "webhook", "url", url, "ca", stage_keys()->ca);
    json_auto_t *wrong = NULL;
    g_autofree char *plain = g_strdup_printf("http://127.0.0.1:%u/x", sink_port(sink));

    add_json(h, unknown);
    test_channel(h, "a");
    assert_fails(h, "its certificate is not believed");
    g_assert_cmpuint(sink_count(sink), ==, 0);
    add_json(h, known);
    test_channel(h, "b");
    g_assert_no_error(h->error);
    wrong = json_pack("{s:s, s:{s:s}}", "name", "c", "webhook", "url", plain);
    add_json(h, wrong);
    test_channel(h, "c");
    assert_fails(h, "the dialogue broke off");
    sink_free(sink);
}

static void test_signature(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);
    g_autofree char *text =
        g_strdup_printf("{'name': 'ops', 'webhook': {'url': 'http://127.0.0.1:%u/a?b', 'secret': 'geheim'}}",
                        sink_port(sink));
    g_autofree char *request = NULL;
    g_autofree char *signed_text = NULL;
    g_autoptr(GString) wanted = g_string_new(NULL);
    const char *signature, *body;
    guint8 mac[32];
    guint len;
    gint64 at_s;

    add(h, text);
    tell(h, EVENT_VM_DOWN, "vm\r\n1", "a\r\nb");
    UNTIL(h, sink_count(sink) == 1);
    request = sink_message(sink, 0);
    g_test_message("%s", request);
    g_assert_true(g_str_has_prefix(request, "POST /a?b HTTP/1.1\n"));
    g_assert_null(strstr(request, "geheim"));
    signature = strstr(request, "X-Understudy-Signature: t=") + strlen("X-Understudy-Signature: t=");
    at_s = g_ascii_strtoll(signature, NULL, 10);
    g_assert_cmpint(ABS(at_s - clock_wall_ms() / 1000), <, 60);
    body = strstr(request, "\n\n") + 2;
    signed_text = g_strdup_printf("%" G_GINT64_FORMAT ".%s", at_s, body);
    HMAC(EVP_sha256(), "geheim", 6, (const guint8 *)signed_text, strlen(signed_text), mac, &len);
    for (guint i = 0; i < len; i++)
        g_string_append_printf(wanted, "%02x", mac[i]);
    g_assert_true(g_str_has_prefix(strstr(signature, ",v1=") + 4, wanted->str));
    sink_free(sink);
}

/* 100 KiB, and what would break out of a head or a dialogue. */
static void test_hostile_texts(House *h)
{
    Sink *hook = sink_new(SINK_HTTP, SINK_PLAIN);
    Sink *mail = sink_new(SINK_SMTP, SINK_PLAIN);
    g_autofree char *long_one = g_strnfill(100 * 1024, '.');
    g_autofree char *second = NULL;

    add_webhook(h, "hook", hook, "");
    add_mail(h, "mail", mail, "");
    tell(h, EVENT_VM_DOWN, "vm1\r\n.\r\nMAIL FROM:<x>", "\r\n.\r\nRCPT TO:<evil@example.org>\r\n");
    tell(h, EVENT_VM_DOWN, "vm2", long_one);
    UNTIL(h, sink_count(hook) == 2 && sink_count(mail) == 2);
    for (guint i = 0; i < 2; i++) {
        g_autofree char *got = sink_message(mail, i);

        g_assert_null(strstr(got, "\nRCPT TO:<evil"));
        g_assert_null(strstr(strchr(got, '\n') + 1, "\nMAIL FROM"));
        g_assert_nonnull(strstr(got, "\nNumber:    "));
    }
    second = sink_message(hook, 1);
    g_assert_nonnull(strstr(second, long_one));
    sink_free(hook);
    sink_free(mail);
}

/* --- hooks -------------------------------------------------------------------------------------------- */

static void write_hook(const House *h, const char *name, const char *script)
{
    g_autofree char *path = g_build_filename(h->hooks, name, NULL);
    g_autofree char *text = g_strdup_printf("#!/bin/sh\n%s\n", script);

    g_assert_true(durable_replace(path, text, strlen(text), 0700, NULL));
}

/* A channel of that name with a hook of that name, and its test's outcome. */
static void try_hook(House *h, const char *name)
{
    g_autofree char *text = g_strdup_printf("{'name': '%s', 'hook': {'file': '%s'}}", name, name);

    add(h, text);
    test_channel(h, name);
}

static void test_hooks(House *h)
{
    g_autofree char *said = g_build_filename(h->folder, "said", NULL);
    g_autofree char *script = g_strdup_printf(
        "cat >%s; echo >>%s; env | grep ^UNDERSTUDY_ | sort >>%s; ls /proc/self/fd | wc -l >>%s; pwd >>%s",
        said, said, said, said, said);
    g_autofree char *got = NULL;
    g_auto(GStrv) lines = NULL;
    json_auto_t *doc = NULL;

    write_hook(h, "good", script);
    try_hook(h, "good");
    g_assert_no_error(h->error);
    g_assert_true(g_file_get_contents(said, &got, NULL, NULL));
    g_test_message("%s", got);
    lines = g_strsplit(got, "\n", 0);
    doc = json_loads(lines[0], 0, NULL);
    g_assert_cmpstr(json_string_value(json_object_get(doc, "code")), ==, "NOTIFY_TEST");
    g_assert_true(g_strv_contains((const char *const *)lines, "UNDERSTUDY_CODE=NOTIFY_TEST"));
    g_assert_true(g_strv_contains((const char *const *)lines, "UNDERSTUDY_CHANNEL=good"));
    g_assert_true(g_strv_contains((const char *const *)lines, "UNDERSTUDY_SEVERITY=info"));
    g_assert_true(g_strv_contains((const char *const *)lines, "4")); /* 0, 1, 2, and that of ls itself */
    g_assert_true(g_strv_contains((const char *const *)lines, "/"));
}

static void test_bad_hooks(House *h)
{
    g_autofree char *outside = g_build_filename(h->folder, "outside", NULL);
    g_autofree char *link_path = g_build_filename(h->hooks, "link", NULL);
    g_autofree char *plain = g_build_filename(h->hooks, "plain", NULL);
    g_autofree char *open_to_all = g_build_filename(h->hooks, "open", NULL);
    g_autofree char *dir = g_build_filename(h->hooks, "dir", NULL);

    try_hook(h, "missing");
    g_assert_error(h->error, US_ERROR, US_ERROR_NOT_FOUND);
    g_assert_true(durable_replace(outside, "#!/bin/sh\n", 10, 0700, NULL));
    g_assert_cmpint(symlink(outside, link_path), ==, 0);
    try_hook(h, "link");
    assert_fails(h, "it is a symbolic link");
    write_hook(h, "plain", "true");
    g_assert_cmpint(chmod(plain, 0600), ==, 0);
    try_hook(h, "plain");
    assert_fails(h, "may not execute it");
    write_hook(h, "open", "true");
    g_assert_cmpint(chmod(open_to_all, 0707), ==, 0);
    try_hook(h, "open");
    assert_fails(h, "everybody may write to it");
    g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
    try_hook(h, "dir");
    assert_fails(h, "it is no file");
    write_hook(h, "fails", "echo 'no paper'; exit 3");
    try_hook(h, "fails");
    assert_fails(h, "ended with status 3; it said: no paper");
    write_hook(h, "dies", "kill -11 $$");
    try_hook(h, "dies");
    assert_fails(h, "was killed by signal 11");
    g_assert_true(durable_replace(plain, "#!/nowhere\n", 11, 0700, NULL));
    test_channel(h, "plain");
    assert_fails(h, "cannot be started");
}

static gboolean is_alive(const char *pid_file)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents(pid_file, &text, NULL, NULL) || text[0] == '\0')
        return TRUE; /* not even written yet */
    return kill((pid_t)atoi(text), 0) == 0;
}

/* One that hangs is killed with all it has started; one that says without end, or leaves somebody behind who holds its
 * output, is taken as it is. */
static void test_wild_hooks(House *h)
{
    g_autofree char *pid_file = g_build_filename(h->folder, "pid", NULL);
    g_autofree char *hangs = g_strdup_printf("sleep 1000 & echo $! >%s; wait", pid_file);
    gint64 begun_ms = clock_steady_ms();

    write_hook(h, "hangs", hangs);
    try_hook(h, "hangs");
    assert_fails(h, "took longer than 2 s and was killed");
    g_assert_cmpint(clock_steady_ms() - begun_ms, >=, HOOK_MS);
    UNTIL(h, !is_alive(pid_file));
    write_hook(h, "floods", "head -c 4000000 /dev/zero | tr '\\0' x; exit 0");
    try_hook(h, "floods");
    g_assert_no_error(h->error);
    write_hook(h, "endless", "exec yes");
    try_hook(h, "endless");
    assert_fails(h, "and was killed; it said: y y y");
    write_hook(h, "forks", "sleep 5 & exit 0");
    begun_ms = clock_steady_ms();
    try_hook(h, "forks");
    g_assert_no_error(h->error);
    g_assert_cmpint(clock_steady_ms() - begun_ms, <, 4000);
    write_hook(h, "deaf", "exec <&-; exit 0");
    try_hook(h, "deaf");
    g_assert_no_error(h->error);
    g_unlink(pid_file);
    tell_many(h, 1, 1);
    UNTIL(h, g_file_test(pid_file, G_FILE_TEST_EXISTS));
    house_stop(h); /* while one runs */
    house_start(h);
}

/* --- syslog --------------------------------------------------------------------------------------------- */

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    g_assert_cmpint(bind(fd, (const struct sockaddr *)&address, sizeof address), ==, 0);
    return fd;
}

static char *receive(House *h, int fd)
{
    struct pollfd pfd = {fd, POLLIN, 0};
    char buf[8192];
    gssize n;

    UNTIL(h, poll(&pfd, 1, 0) > 0);
    n = recv(fd, buf, sizeof buf, 0);
    g_assert_cmpint(n, >, 0);
    return g_strndup(buf, (gsize)n);
}

static void test_syslog(House *h)
{
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;
    int fd;

    add(h, "{'name': 'log', 'syslog': {}, 'severity': 'info'}");
    tell(h, EVENT_VM_DOWN, "vm1", "a\nb");
    UNTIL(h, json_is_string(json_object_get(state_of(h, "log"), "error")));
    g_assert_nonnull(
        strstr(json_string_value(json_object_get(state_of(h, "log"), "error")), "nobody takes log lines at"));
    fd = listen_at(h->socket);
    tell(h, EVENT_VM_MOVED, "vm2", NULL);
    first = receive(h, fd);
    second = receive(h, fd);
    g_test_message("%s", first);
    g_assert_true(g_str_has_prefix(first, "<26>"));
    g_assert_nonnull(
        strstr(first, "]: VM_DOWN: 'vm1' was not moved and could not be started again on alpha: a b; start"));
    g_assert_true(g_str_has_prefix(second, "<29>"));
    g_assert_nonnull(strstr(second, "VM_MOVED: 'vm2' runs on alpha"));
    close(fd);
}

/* --- the list ---------------------------------------------------------------------------------------------- */

static void test_list(House *h)
{
    Sink *sink = sink_new(SINK_HTTP, SINK_PLAIN);
    json_auto_t *doc = parse("{'name': 'a', 'syslog': {}}");
    guint before;

    add_webhook(h, "b", sink, "");
    add(h, "{'name': 'a', 'syslog': {}}");
    before = h->done;
    notifier_add(h->notifier, channel_from_json(doc, NULL), on_done, h);
    g_assert_cmpuint(h->done, ==, before + 1);
    g_assert_error(h->error, US_ERROR, US_ERROR_EXISTS);
    notifier_test(h->notifier, "nobody", on_done, h);
    g_assert_error(h->error, US_ERROR, US_ERROR_NOT_FOUND);
    notifier_remove(h->notifier, "nobody", on_done, h);
    g_assert_error(h->error, US_ERROR, US_ERROR_NOT_FOUND);
    /* By name, and after a restart the same. */
    for (guint i = 0; i < 2; i++) {
        state_of(h, NULL);
        g_assert_cmpuint(json_array_size(json_object_get(h->doc, "channels")), ==, 2);
        g_assert_cmpstr(json_string_value(
                            json_object_get(json_array_get(json_object_get(h->doc, "channels"), 0), "name")),
                        ==, "a");
        house_stop(h);
        house_start(h);
    }
    /* One that is removed while it delivers; its name can be taken again, and begins anew. */
    sink_manner(sink, SINK_LATE);
    tell_many(h, 1, 1);
    UNTIL(h, sink_count(sink) == 1);
    remove_channel(h, "b");
    sink_manner(sink, SINK_GOOD);
    add_webhook(h, "b", sink, "");
    tell_many(h, 2, 2);
    UNTIL(h, sink_count(sink) == 2);
    assert_told(sink, "vm1 vm2");
    /* Who waits for a test hears of the end, and what carries it ends long before its time. */
    h->ground.ground.webhook_ms = 4 * WEBHOOK_MS;
    house_stop(h);
    house_start(h);
    sink_manner(sink, SINK_SILENT);
    before = h->done;
    notifier_test(h->notifier, "b", on_done, h);
    house_stop(h);
    g_assert_cmpuint(h->done, ==, before + 1);
    g_assert_error(h->error, US_ERROR, US_ERROR_CANCELLED);
    house_start(h);
    sink_free(sink);
}

/* ---------------------------------------------------------------------------------------------------------- */

static void add_test(const char *path, void (*test)(House *h))
{
    g_test_add_data_func(path, (gconstpointer)test, in_a_house);
}

int main(int argc, char **argv)
{
    int status;

    signal(SIGPIPE, SIG_IGN);
    program = argv[0];
    if (argc == 3 && g_str_equal(argv[1], "--deliver"))
        return deliver(argv[2]);
    g_test_init(&argc, &argv, NULL);
    stage_keys(); /* takes its time, which is none of a loop's */
    add_test("/notifier/in-order", test_in_order);
    add_test("/notifier/only-what-is-wanted", test_only_what_is_wanted);
    add_test("/notifier/rate-and-digest", test_rate_and_digest);
    add_test("/notifier/critical-waits-for-no-rate", test_critical_waits_for_no_rate);
    add_test("/notifier/webhook-manners", test_webhook_manners);
    add_test("/notifier/mail-manners", test_mail_manners);
    add_test("/notifier/no-channel-waits-for-another", test_no_channel_waits_for_another);
    add_test("/notifier/look-up-hangs", test_look_up_hangs);
    add_test("/notifier/outage", test_outage);
    add_test("/notifier/one-is-refused", test_one_is_refused);
    add_test("/notifier/one-comes-and-goes", test_one_comes_and_goes);
    add_test("/notifier/all-are-refused", test_all_are_refused);
    add_test("/notifier/a-webhook-refuses-one", test_a_webhook_refuses_one);
    add_test("/notifier/a-mail-server-refuses-some", test_a_mail_server_refuses_some);
    add_test("/notifier/one-of-a-digest", test_one_of_a_digest);
    add_test("/notifier/no-digest-is-taken", test_no_digest_is_taken);
    add_test("/notifier/what-is-left-of-a-digest", test_what_is_left_of_a_digest);
    add_test("/notifier/halves-have-an-end", test_halves_have_an_end);
    add_test("/notifier/a-receiver-refuses-all", test_a_receiver_refuses_all);
    add_test("/notifier/what-is-in-doubt-is-forgotten", test_what_is_in_doubt_is_forgotten);
    add_test("/notifier/what-is-not-about-the-message", test_what_is_not_about_the_message);
    add_test("/notifier/it-breeds-nothing", test_it_breeds_nothing);
    add_test("/notifier/one-message-and-one-recipient", test_one_message_and_one_recipient);
    add_test("/notifier/one-parts-with-a-doubt", test_one_parts_with_a_doubt);
    add_test("/notifier/a-test-ends-the-pause", test_a_test_ends_the_pause);
    add_test("/notifier/forgotten", test_forgotten);
    add_test("/notifier/killed", test_killed);
    add_test("/notifier/killed-while-in-doubt", test_killed_while_in_doubt);
    add_test("/notifier/killed-while-in-halves", test_killed_while_in_halves);
    add_test("/notifier/mail-tls", test_mail_tls);
    add_test("/notifier/webhook-tls", test_webhook_tls);
    add_test("/notifier/signature", test_signature);
    add_test("/notifier/hostile-texts", test_hostile_texts);
    add_test("/notifier/hooks", test_hooks);
    add_test("/notifier/bad-hooks", test_bad_hooks);
    add_test("/notifier/wild-hooks", test_wild_hooks);
    add_test("/notifier/syslog", test_syslog);
    add_test("/notifier/list", test_list);
    status = g_test_run();
    stage_keys_free();
    return status;
}
