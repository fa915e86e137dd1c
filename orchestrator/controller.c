/* SPDX-License-Identifier: Apache-2.0 */
/* understudy-controller - decides, and tells the engines.
 *
 * Happy path: read the configuration, open authority, database and journal, take up
 * what they say, dial every host, open the port; from then on callbacks. The end is
 * the same way back: no new requests, links close (which answers what was asked), the journal's
 * thread and the database end, the loop runs dry. */
#include "orchestrator/controller.h"

#include "orchestrator/cli/client.h"
#include "orchestrator/cli/session.h"
#include "orchestrator/core/maintenance.h"
#include "orchestrator/fence_file.h"
#include "orchestrator/operations.h"
#include "orchestrator/state/bound.h"
#include "orchestrator/told.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/units.h"
#include "vmconnect/link/issuer.h"
#include "vmconnect/loop/program.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#define NAME "understudy-controller"
#define DATABASE "state.db"
#define TICK_MS 1000

#define KEPT_MIN 1000
#define KEPT_MAX 10000000
#define AGE_MIN_MS ((gint64)24 * 3600 * 1000)
#define AGE_MAX_MS (3650 * AGE_MIN_MS)

static const ConfKey KEYS[] = {
    {"listen", "", "address to listen on; empty: every IPv4 address, ::: IPv6 too"},
    {"port", "25443", "TCP port of API and console"},
    {"state", "/var/lib/understudy/controller", "folder of authority, database and journal; 0700"},
    {"run", "/run/understudy/controller", "folder of what need not survive a boot"},
    {"names", "", "further names and addresses of this machine for its certificate, comma-separated"},
    {"events_kept", "100000", "events that the history holds at most; 1000 to 10000000"},
    {"events_age", "365d", "and how old they get; 1d to 3650d"},
    {"hooks", "/etc/understudy/hooks", "folder of the programs that channels may run"},
    {"log", "info", "error, warning, notice, info or debug"},
    {NULL},
};

/* --- what happens ------------------------------------------------------ */

static void publish(Controller *c, EventCode code, const char *host)
{
    g_autoptr(Event) event = event_new(code, NULL, host, NULL, NULL);

    events_publish(c->events, event);
    told_note(c->db, c->hosts, event);
}

static void on_up(void *user, const char *host)
{
    Controller *c = user;

    log_info("link to %s is up", host);
    if (told_is(c->hosts, host, EVENT_LINK_LOST))
        publish(c, EVENT_LINK_BACK, host);
    scenarios_host_is_up(c->scenarios, host);
    plans_link(c->plans, host, TRUE);
    rehearsals_host_is_up(c->rehearsals, host);
    operations_enrol_look(c);
}

/* Its operator restarts it. */
static gboolean is_excused(const Controller *c, const char *host)
{
    return maintenance_runs(roster_find(hosts_roster(c->hosts), host)->maintenance);
}

static void tell_lost(Controller *c, const char *host)
{
    if (!told_is(c->hosts, host, EVENT_LINK_LOST))
        publish(c, EVENT_LINK_LOST, host);
}

/* A link that a maintenance takes away is told as lost only if it is so when that is over. */
static void end_excuses(Controller *c)
{
    g_autoptr(GPtrArray) names = hosts_names(c->hosts);
    GHashTable *excused = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (guint i = 0; i < names->len; i++) {
        const char *host = names->pdata[i];

        if (is_excused(c, host))
            g_hash_table_add(excused, g_strdup(host));
        else if (g_hash_table_contains(c->excused, host) && !hosts_is_up(c->hosts, host))
            tell_lost(c, host);
    }
    g_hash_table_unref(c->excused);
    c->excused = excused;
}

static void on_down(void *user, const char *host, const GError *why)
{
    Controller *c = user;

    log_warning("link to %s is lost: %s", host, why->message);
    if (!is_excused(c, host))
        tell_lost(c, host);
    scenarios_host_is_down(c->scenarios, host);
    plans_link(c->plans, host, FALSE);
}

static void on_overruled(void *user, const char *host)
{
    log_error("%s obeys another controller with this one's identity and a newer memory", host);
    publish(user, EVENT_OVERRULED, host);
}

static void on_news(void *user, const char *host, const json_t *news)
{
    Controller *c = user;

    scenarios_news(c->scenarios, host, news);
    plans_news(c->plans, host, news);
    rehearsals_news(c->rehearsals, host, news);
    maintenances_news(c->maintenances, host, news);
}

static void on_renewals(void *user, const char *host, const json_t *news)
{
    voice_hear(((Controller *)user)->voice, host, news);
}

/* Its file may come and go at any time. */
static void look_for_fences(Controller *c)
{
    g_autoptr(GPtrArray) names = hosts_names(c->hosts);

    for (guint i = 0; i < names->len; i++)
        hosts_fence(c->hosts, names->pdata[i], fence_is_set(c->fences, names->pdata[i]));
}

static void on_tick(uv_timer_t *timer)
{
    Controller *c = timer->data;

    look_for_fences(c);
    hosts_tick(c->hosts);
    operations_enrol_look(c);
    scenarios_tick(c->scenarios);
    plans_tick(c->plans);
    rehearsals_tick(c->rehearsals);
    timetable_tick(c->timetable, clock_wall_ms());
    drills_tick(c->drills);
    maintenances_tick(c->maintenances);
    end_excuses(c);
    events_tick(c->events, clock_steady_ms());
}

/* Its VMs are about to be moved: what is tried with their copies gives way. */
static void on_plan_calls(void *user, const char *scenario)
{
    rehearsals_end(((Controller *)user)->rehearsals, scenario);
}

static json_t *sign(void *user, const json_t *params)
{
    return plans_sign(((Controller *)user)->plans, params);
}

static void switch_back(void *user, const Protection *p, ScenariosDone done, void *done_user)
{
    plans_switch_back(((Controller *)user)->plans, p, done, done_user);
}

static void take_over(void *user, const Protection *p, ScenariosDone done, void *done_user)
{
    plans_take_over(((Controller *)user)->plans, p, done, done_user);
}

static void begin_end(Controller *c);

static void on_database_lost(void *user, const GError *error)
{
    Controller *c = user;

    log_error("the database is lost to this process: %s -> end; the next start reads what is true",
              error->message);
    c->exit_code = us_error_exit(error);
    begin_end(c);
}

static void on_signal(uv_signal_t *signal, int signum)
{
    log_notice("signal %d -> end; engines go on by themselves", signum);
    begin_end(signal->data);
}

/* --- start ------------------------------------------------------------- */

/* The one address that it listens on; NULL: all. */
static const char *own_address(const Controller *c)
{
    const char *listen = conf_get(c->conf, "listen");

    return *listen && !g_str_equal(listen, "::") && !g_str_equal(listen, "0.0.0.0") ? listen : NULL;
}

static char *own_url(const Controller *c, guint16 port)
{
    const char *address = own_address(c) ? own_address(c) : "127.0.0.1";
    gboolean v6 = strchr(address, ':') != NULL;

    return g_strdup_printf("https://%s%s%s:%u", v6 ? "[" : "", address, v6 ? "]" : "", port);
}

/* Further names, as the configuration has them. */
static GPtrArray *read_names(const Conf *conf)
{
    g_auto(GStrv) parts = g_strsplit(conf_get(conf, "names"), ",", 0);
    GPtrArray *list = g_ptr_array_new_with_free_func(g_free);

    for (char **part = parts; *part; part++)
        if (*g_strstrip(*part))
            g_ptr_array_add(list, g_strdup(*part));
    return list;
}

static gboolean read_kept(const Conf *conf, EventsKept *ret_kept, GError **error)
{
    const char *count = conf_get(conf, "events_kept");
    const char *age = conf_get(conf, "events_age");
    EventsKept kept;

    if (!g_ascii_string_to_signed(count, 10, KEPT_MIN, KEPT_MAX, &kept.count, NULL)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "events_kept: '%s' is not a number from %d to %d", count,
                    KEPT_MIN, KEPT_MAX);
        return FALSE;
    }
    if (!units_parse_duration(age, &kept.age_ms, NULL) || kept.age_ms < AGE_MIN_MS ||
        kept.age_ms > AGE_MAX_MS) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "events_age: '%s' is not a time from 1d to 3650d", age);
        return FALSE;
    }
    *ret_kept = kept;
    return TRUE;
}

static gboolean check_names(const Conf *conf, GError **error)
{
    g_autoptr(GPtrArray) list = read_names(conf);

    for (guint i = 0; i < list->len; i++)
        if (!issuer_may_name(list->pdata[i])) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE,
                        "names: '%.80s' is neither a host name nor an IP address",
                        (const char *)list->pdata[i]);
            return FALSE;
        }
    return TRUE;
}

static gboolean check(const Conf *conf, GError **error)
{
    EventsKept kept;

    return check_names(conf, error) && read_kept(conf, &kept, error);
}

static char **names(const Controller *c)
{
    GPtrArray *list = read_names(c->conf);

    g_ptr_array_set_free_func(list, NULL);
    if (own_address(c))
        g_ptr_array_add(list, g_strdup(own_address(c)));
    g_ptr_array_add(list, NULL);
    return (char **)g_ptr_array_free(list, FALSE);
}

static gboolean open_authority(Controller *c, guint16 port, GError **error)
{
    const char *state = conf_get(c->conf, "state");
    g_autofree char *folder = g_build_filename(state, "authority", NULL);
    g_autofree char *admin = g_build_filename(state, "admin.json", NULL);
    g_autofree char *url = own_url(c, port);
    g_auto(GStrv) more = names(c);

    if (!durable_mkdir(state, 0700, error) || !durable_mkdir(conf_get(c->conf, "run"), 0700, error))
        return FALSE;
    c->authority = authority_open(folder, (const char *const *)more, error);
    return c->authority && authority_write_admin(c->authority, admin, url, error);
}

static gboolean open_database(Controller *c, GError **error)
{
    const char *state = conf_get(c->conf, "state");
    g_autofree char *path = g_build_filename(state, DATABASE, NULL);

    c->db = database_open(path, identity_peer(authority_identity(c->authority)).id, error);
    return c->db && bound_check(state, DATABASE, database_last_sequence(c->db), error);
}

static void on_channel_event(void *user, const Event *event)
{
    events_publish(((Controller *)user)->events, event);
}

static void on_fence_event(void *user, const Event *event)
{
    events_publish(((Controller *)user)->events, event);
}

static void on_new_events(void *user)
{
    notifier_poke(user);
}

static gboolean take_up_channels(Controller *c, GError **error)
{
    CourierGround ground = notifier_ground(&c->loop, conf_get(c->conf, "hooks"));
    json_auto_t *channels = database_load_channels(c->db, error);

    ground.db = c->db;
    ground.controller = identity_peer(authority_identity(c->authority)).id;
    ground.on_event = on_channel_event;
    ground.user = c;
    c->notifier = notifier_new(&ground);
    events_listen(c->events, on_new_events, c->notifier);
    return channels && notifier_load(c->notifier, channels, error);
}

/* Everything that was there, before anything new can come. */
static gboolean take_up(Controller *c, GError **error)
{
    static const HostsEvents HOSTS = {on_up, on_down, on_overruled, on_news, on_renewals};
    static const ScenariosEvents SCENARIOS = {sign, switch_back, take_over, on_database_lost};
    g_autofree char *journal = g_build_filename(conf_get(c->conf, "state"), "journal", NULL);
    g_autofree char *votes = g_build_filename(conf_get(c->conf, "state"), "votes", NULL);
    json_auto_t *hosts = database_load_hosts(c->db, error);
    json_auto_t *scenarios = hosts ? database_load_scenarios(c->db, error) : NULL;
    EventsKept kept;

    if (!scenarios || !read_kept(c->conf, &kept, error))
        return FALSE;
    c->events = events_new(c->db, kept);
    c->hosts = hosts_new(&c->loop, authority_identity(c->authority), database_incarnation(c->db), &HOSTS, c);
    c->scenarios = scenarios_new(c->db, c->hosts, c->events, &SCENARIOS, c);
    if (!hosts_load(c->hosts, hosts, error) || !scenarios_load(c->scenarios, scenarios, error))
        return FALSE;
    c->plans = plans_new(&c->loop, journal, identity_peer(authority_identity(c->authority)).id,
                         database_incarnation(c->db), c->hosts, c->scenarios, error);
    if (!c->plans)
        return FALSE;
    c->voice = voice_new(&c->loop, votes, database_incarnation(c->db), c->hosts, c->scenarios);
    c->fences = fences_new(&c->loop, FENCE_FOLDER, &FENCE_TIMES_USUAL, on_fence_event, c);
    look_for_fences(c);
    plans_set_voice(c->plans, c->voice);
    plans_set_fences(c->plans, c->fences);
    plans_listen(c->plans, on_plan_calls, c);
    c->rehearsals = rehearsals_new(c->db, c->hosts, c->events);
    c->timetable = timetable_new(c->scenarios, c->events, operation_begin_test, c);
    c->maintenances = maintenances_new(c->db, c->hosts, c->scenarios, c->plans, c->events);
    c->drills = drills_new(c->db, c->scenarios, c->rehearsals, c->events, operation_begin_test, c);
    return rehearsals_load(c->rehearsals, error) && timetable_load(c->timetable, c->db, error) &&
           drills_load(c->drills, error) && take_up_channels(c, error);
}

static void serve(Controller *c, const Operation *list)
{
    for (; list->operation; list++)
        api_handle(c->api, list->operation, list->handler, c);
}

static gboolean open_port(Controller *c, guint16 port, GError **error)
{
    HttpConfig config = {.address = program_address(c->conf),
                         .port = port,
                         .certificate = authority_server_certificate(c->authority),
                         .key = authority_server_key(c->authority)};

    c->api = api_new(authority_check, c->authority);
    serve(c, OPERATIONS_DRILLS);
    serve(c, OPERATIONS_ENROL);
    serve(c, OPERATIONS_HOSTS);
    serve(c, OPERATIONS_SCENARIOS);
    serve(c, OPERATIONS_ACTIONS);
    serve(c, OPERATIONS_COMPARE);
    serve(c, OPERATIONS_MAINTENANCE);
    serve(c, OPERATIONS_NOTIFY);
    serve(c, OPERATIONS_POINTS);
    serve(c, OPERATIONS_RECOVER);
    serve(c, OPERATIONS_STATUS);
    serve(c, OPERATIONS_TESTS);
    serve(c, OPERATIONS_VERIFY);
    api_serve(c->api, &config);
    c->server = http_server_new(&c->loop, &config, error);
    return c->server != NULL;
}

static gboolean start(Controller *c, GError **error)
{
    guint16 port;

    if (!program_port(c->conf, &port, error) || !open_authority(c, port, error) || !open_database(c, error) ||
        !take_up(c, error) || !open_port(c, port, error))
        return FALSE;
    database_start(c->db, &c->loop);
    plans_resume(c->plans);
    notifier_poke(c->notifier);
    uv_timer_start(&c->tick, on_tick, TICK_MS, TICK_MS);
    return TRUE;
}

/* --- end --------------------------------------------------------------- */

static void on_part_closed(void *user)
{
    Controller *c = user;

    g_assert(c->open > 0);
    c->open--;
}

static void begin_end(Controller *c)
{
    if (c->ending)
        return;
    c->ending = TRUE;
    uv_close((uv_handle_t *)&c->tick, NULL);
    program_leave_signals(c->signals);
    scenarios_close(c->scenarios);
    plans_close(c->plans);
    voice_close(c->voice);
    fences_close(c->fences);
    rehearsals_close(c->rehearsals);
    drills_close(c->drills);
    maintenances_close(c->maintenances);
    operations_enrol_close(c);
    hosts_close(c->hosts);
    events_close(c->events);
    notifier_close(c->notifier);
    c->open = 2;
    http_server_close(c->server, on_part_closed, c);
    database_close(c->db, on_part_closed, c);
}

/* Who still waits for something is answered here: the requests outlive their server. */
static void controller_clear(Controller *c)
{
    g_clear_pointer(&c->scenarios, scenarios_free);
    g_clear_pointer(&c->plans, plans_free);
    g_clear_pointer(&c->voice, voice_free);
    g_clear_pointer(&c->fences, fences_free);
    g_clear_pointer(&c->rehearsals, rehearsals_free);
    g_clear_pointer(&c->timetable, timetable_free);
    g_clear_pointer(&c->drills, drills_free);
    g_clear_pointer(&c->maintenances, maintenances_free);
    g_clear_pointer(&c->hosts, hosts_free);
    g_clear_pointer(&c->notifier, notifier_free);
    g_clear_pointer(&c->events, events_free);
    g_clear_pointer(&c->api, api_free);
    g_clear_pointer(&c->authority, authority_free);
    g_clear_pointer(&c->enrolling, g_ptr_array_unref);
    g_clear_pointer(&c->excused, g_hash_table_unref);
}

static void controller_init(Controller *c)
{
    uv_loop_init(&c->loop);
    c->enrolling = g_ptr_array_new();
    c->excused = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    uv_timer_init(&c->loop, &c->tick);
    c->tick.data = c;
    program_watch_signals(&c->loop, c->signals, on_signal, c);
}

static int run_controller(const Conf *conf)
{
    g_autofree Controller *c = g_new0(Controller, 1);
    g_autoptr(GError) error = NULL;

    c->conf = conf;
    controller_init(c);
    if (!start(c, &error)) {
        log_error("%s", error->message);
        /* Nothing has been begun yet that an end in good order would have to undo. */
        return us_error_exit(error);
    }
    log_info("understudy-controller %s, port %u, incarnation %" G_GUINT64_FORMAT, UNDERSTUDY_VERSION,
             http_server_port(c->server), database_incarnation(c->db));
    while (!c->ending || c->open > 0)
        uv_run(&c->loop, UV_RUN_ONCE);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    controller_clear(c);
    program_run_dry(&c->loop);
    return c->exit_code;
}

/* --- the command line -------------------------------------------------- */

static int accept_copy(const Conf *conf)
{
    g_autofree char *path = g_build_filename(conf_get(conf, "state"), DATABASE, NULL);
    g_autoptr(GError) error = NULL;

    if (!database_leap(path, &error) || !bound_mark(conf_get(conf, "state"), DATABASE, 0, &error))
        return program_fail(NAME, error);
    g_printerr("this controller's state lives here from now on: never start the one that it was copied from "
               "again\n");
    return 0;
}

static char *from;

static const GOptionEntry OPTIONS[] = {
    {"from", 0, 0, G_OPTION_ARG_STRING, &from, "with recover: a host whose engine still has the scenarios",
     "HOST"},
    {NULL},
};

/* One line a scenario. */
static gboolean tell_recovered(const json_t *answer, GError **error)
{
    const json_t *list = json_object_get(answer, "scenarios");
    gsize failed = 0, i;
    json_t *one;

    json_array_foreach(list, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *why = json_string_value(json_object_get(one, "why"));

        failed += why != NULL;
        g_print("%s: %s%s\n", name, why ? "not recovered: " : "recovered", why ? why : "");
    }
    if (json_array_size(list) == 0)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                    "the engine of %s keeps no scenario: ask another host that had a part in them", from);
    else if (failed)
        g_set_error(error, US_ERROR, US_ERROR_FAILED,
                    "%zu of %zu scenarios were not recovered, as said above", failed, json_array_size(list));
    return json_array_size(list) > 0 && !failed;
}

/* The controller that runs here does it. */
static int recover(const Conf *conf)
{
    g_autofree char *admin = g_build_filename(conf_get(conf, "state"), "admin.json", NULL);
    const char *const parameters[] = {from, NULL};
    g_autoptr(GError) error = NULL;
    g_autoptr(Session) session = NULL;
    g_autoptr(Client) client = NULL;
    json_auto_t *answer = NULL;

    if (!from) {
        g_set_error(&error, US_ERROR, US_ERROR_USAGE,
                    "recover needs --from HOST, a host of the former controller that is in this one's care");
        return program_fail(NAME, error);
    }
    session = session_read_admin(admin, &error);
    client = session ? client_new(session->url, session->ca, session->token) : NULL;
    answer = client ? client_call(client, "host.recover", parameters, NULL, NULL, &error) : NULL;
    return answer && tell_recovered(answer, &error) ? 0 : program_fail(NAME, error);
}

static int run_command(const char *name, const Conf *conf)
{
    if (g_str_equal(name, "accept-copy"))
        return accept_copy(conf);
    if (g_str_equal(name, "recover"))
        return recover(conf);
    g_printerr(NAME ": there is no command '%s'; see --help\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    static const ProgramSpec SPEC = {
        .name = NAME,
        .path = "/etc/understudy/controller.conf",
        .group = "controller",
        .keys = KEYS,
        .options = OPTIONS,
        .arguments = "[COMMAND]",
        .summary =
            "Decides which host runs which VMs, and tells their engines.\n\nCommands:\n"
            "  (none)               run, until SIGTERM\n"
            "  accept-copy          the state is a copy, and what it was copied from is gone for good\n"
            "  recover --from HOST  take up the scenarios of a controller that is lost, from an engine",
        .check = check};
    int status;
    g_autoptr(Conf) conf = program_begin(&SPEC, &argc, &argv, &status);

    if (!conf)
        return status;
    umask(0077);
    signal(SIGPIPE, SIG_IGN);
    return argc > 1 ? run_command(argv[1], conf) : run_controller(conf);
}
