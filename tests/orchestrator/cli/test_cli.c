/* SPDX-License-Identifier: Apache-2.0 */
/* The program as its users meet it: words in, text and exit code out, against a
 * controller whose operations answer what the test wants, served by the real
 * server. UPDATE_GOLDEN=1 writes the expected texts anew. */
#include "orchestrator/api/api.h"
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/page.h"
#include "orchestrator/cli/session.h"
#include "orchestrator/core/scenario.h"

#include "tests/orchestrator/api/stage.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <glib/gstdio.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#define TOKEN "the-token-of-this-test"
#define WEB1 "aaaaaaaa-0000-4000-8000-000000000001"
#define WEB2 "bbbbbbbb-0000-4000-8000-000000000002"
#define PLAN "cccccccc-0000-4000-8000-000000000003"
#define POINT "dddddddd-0000-4000-8000-000000000004"
#define TEST "eeeeeeee-0000-4000-8000-000000000005"

/* --- a controller that says what it is told to --- */

typedef struct {
    GHashTable *answers;  /* operation -> GQueue of JSON texts; the last one stays */
    GHashTable *failures; /* operation -> GError * */
    GString *asked;       /* "operation body-or-query\n" for each call */
    uv_mutex_t lock;
} Fake;

static Fake fake;
static Stage *stage;
static Api *api;
static char *home;

static char *take_answer(const char *operation)
{
    GQueue *queue = g_hash_table_lookup(fake.answers, operation);

    if (!queue)
        return NULL;
    return queue->length > 1 ? g_queue_pop_head(queue) : g_strdup(g_queue_peek_head(queue));
}

static void on_call(ApiCall *call, void *user)
{
    const ApiRoute *route = user;
    const GError *failure;
    g_autofree char *text = NULL;
    g_autofree char *body = api_call_body(call) ? json_text(api_call_body(call)) : g_strdup("");

    uv_mutex_lock(&fake.lock);
    failure = g_hash_table_lookup(fake.failures, route->operation);
    text = take_answer(route->operation);
    g_string_append_printf(fake.asked, "%s%s%s\n", route->operation, body[0] ? " " : "", body);
    uv_mutex_unlock(&fake.lock);
    if (failure) {
        api_call_fail(call, failure);
    } else if (text && g_str_equal(text, "accept")) {
        api_call_accept(call, NULL);
    } else if (text && g_str_has_prefix(text, "plan ")) {
        api_call_accept(call, text + 5);
    } else {
        json_t *doc = json_loads(text ? text : "{}", 0, NULL);

        g_assert_nonnull(doc);
        api_call_answer(call, doc);
    }
}

static const char *authenticate(const char *token, void *user)
{
    (void)user;
    return g_str_equal(token, TOKEN) ? "admin" : NULL;
}

static void queue_free(void *queue)
{
    g_queue_free_full(queue, g_free);
}

/* What @operation answers next; several: one after the other, the last again and again. */
static void say(const char *operation, const char *text)
{
    GQueue *queue;

    g_assert_nonnull(api_route_by_name(operation));
    uv_mutex_lock(&fake.lock);
    queue = g_hash_table_lookup(fake.answers, operation);
    if (!queue) {
        queue = g_queue_new();
        g_hash_table_insert(fake.answers, g_strdup(operation), queue);
    }
    g_queue_push_tail(queue, g_strdup(text));
    uv_mutex_unlock(&fake.lock);
}

static void say_no(const char *operation, UsError code, const char *text)
{
    uv_mutex_lock(&fake.lock);
    g_hash_table_insert(fake.failures, g_strdup(operation), g_error_new(US_ERROR, (int)code, "%s", text));
    uv_mutex_unlock(&fake.lock);
}

static void error_free(void *error)
{
    g_error_free(error);
}

static char *in_home(const char *name)
{
    return g_build_filename(home, name, NULL);
}

static void write_file(const char *name, const char *text)
{
    g_autofree char *path = in_home(name);

    g_assert_true(durable_replace(path, text, strlen(text), 0600, NULL));
}

static char *url_of_stage(void)
{
    return g_strdup_printf("https://127.0.0.1:%u", stage_port(stage));
}

static void write_admin(const char *token)
{
    g_autofree char *url = url_of_stage();
    json_auto_t *doc =
        json_pack("{s:i, s:s, s:s, s:s}", "format", 1, "url", url, "ca", stage_keys()->ca, "token", token);
    g_autofree char *text = json_text(doc);

    write_file("admin.json", text);
}

static void open_house(void)
{
    HttpConfig config = {0};
    const ApiRoute *route;

    home = g_dir_make_tmp("understudy-cli-XXXXXX", NULL);
    fake.answers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, queue_free);
    fake.failures = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, error_free);
    fake.asked = g_string_new(NULL);
    uv_mutex_init(&fake.lock);
    api = api_new(authenticate, NULL);
    for (guint i = 0; (route = api_route_at(i)); i++)
        api_handle(api, route->operation, on_call, (void *)route);
    api_serve(api, &config);
    stage = stage_new(&config);
}

static void close_house(void)
{
    g_autofree char *script = g_strdup_printf("rm -rf -- '%s'", home);

    stage_free(stage);
    api_free(api);
    g_hash_table_destroy(fake.answers);
    g_hash_table_destroy(fake.failures);
    g_string_free(fake.asked, TRUE);
    uv_mutex_destroy(&fake.lock);
    g_assert_cmpint(system(script), ==, 0);
    g_free(home);
}

/* --- the program --- */

static char *out;
static char *err;

static void forget(void)
{
    g_clear_pointer(&out, g_free);
    g_clear_pointer(&err, g_free);
    g_string_truncate(fake.asked, 0);
}

static char **environment(void)
{
    char **env = g_get_environ();

    env = g_environ_setenv(env, "XDG_CONFIG_HOME", home, TRUE);
    env = g_environ_setenv(env, "LC_ALL", "C.UTF-8", TRUE);
    env = g_environ_unsetenv(env, "UNDERSTUDY_CONTROLLER");
    return env;
}

/* Run `understudy @line` (words at spaces; ~ is our folder) and expect @code. */
static void understudy(int code, const char *line)
{
    g_autofree char *full = g_strdup_printf(CLI_PROGRAM " %s", line);
    g_auto(GStrv) argv = g_strsplit(full, " ", 0);
    g_auto(GStrv) env = environment();
    g_autoptr(GError) error = NULL;
    int status;

    forget();
    for (char **word = argv; *word; word++)
        if ((*word)[0] == '~' || g_str_has_prefix(*word, "@~")) {
            g_auto(GStrv) parts = g_strsplit(*word, "~", 2);
            char *path = g_strconcat(parts[0], home, parts[1], NULL);

            g_free(*word);
            *word = path;
        }
    g_assert_true(g_spawn_sync(NULL, argv, env, G_SPAWN_DEFAULT, NULL, NULL, &out, &err, &status, &error));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
        g_test_message("understudy %s: %d\n%s%s", line, status, out, err);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, code);
    if (code != 0)
        g_assert_nonnull(strstr(err, "understudy: "));
}

static void golden(const char *name)
{
    g_autofree char *path = g_build_filename(TEST_DATA, "golden", name, NULL);
    g_autofree char *wanted = NULL;

    if (g_getenv("UPDATE_GOLDEN"))
        g_assert_true(g_file_set_contents(path, out, -1, NULL));
    g_assert_true(g_file_get_contents(path, &wanted, NULL, NULL));
    g_assert_cmpstr(out, ==, wanted);
}

static void assert_says(const char *text, const char *piece)
{
    if (!strstr(text, piece))
        g_test_message("'%s' is not in: %s", piece, text);
    g_assert_nonnull(strstr(text, piece));
}

/* One JSON document, and nothing else, on standard output. */
static json_t *document(void)
{
    json_t *doc = json_parse(out, strlen(out), 1 << 20, NULL);

    g_assert_nonnull(doc);
    return doc;
}

static void in_a_house(gconstpointer test)
{
    open_house();
    write_admin(TOKEN);
    understudy(0, "login ~/admin.json");
    ((void (*)(void))test)();
    forget();
    close_house();
}

static const char HOSTS[] =
    "{\"hosts\":[{\"name\":\"alpha\",\"id\":\"x\",\"state\":\"up\",\"addresses\":[\"192.0.2.1:25000\"],"
    "\"version\":\"0.1.0\",\"store\":{\"free_bytes\":10737418240,\"total_bytes\":21474836480}},"
    "{\"name\":\"beta\",\"state\":\"down\",\"addresses\":[\"b:25000\",\"c:25000\"],\"version\":null}]}";

static const char VMS[] =
    "{\"vms\":[{\"uuid\":\"" WEB1 "\",\"name\":\"web1\",\"state\":\"running\",\"guest_name\":\"www\","
    "\"disks\":[{\"target\":\"vda\",\"format\":\"qcow2\",\"size_bytes\":1073741824,\"problem\":null},"
    "{\"target\":\"vdb\",\"size_bytes\":1073741824,\"problem\":null}],\"scenario\":null},"
    "{\"uuid\":\"" WEB2 "\",\"name\":\"caf\\u00e9 \\u001b[31m\",\"state\":\"off\",\"guest_name\":null,"
    "\"disks\":[{\"target\":\"vda\",\"format\":\"raw\",\"size_bytes\":512,\"problem\":\"disk vda is raw\"}],"
    "\"interfaces\":[{\"type\":\"network\",\"place\":\"office/sales\"},{\"type\":\"user\",\"place\":\"\"}],"
    "\"scenario\":\"web\"}]}";

#define STANDBY(state, done, total)                                                                         \
    "{\"host\":\"beta\",\"state\":\"" state "\",\"lag_ms\":740,\"why\":null,\"sync\":{\"done_bytes\":" done \
    ",\"total_bytes\":" total ",\"sent_bytes\":0,\"rate_bps\":1048576,\"left_s\":3},"                       \
    "\"tip\":{\"id\":\"" POINT "\",\"cut_at\":\"2026-11-21T22:16:54.123Z\"}}"
#define STATUS(state, standby)                                   \
    "{\"scenarios\":[{\"name\":\"web\",\"state\":\"" state       \
    "\",\"master\":\"alpha\",\"active\":\"alpha\",\"term\":1,"   \
    "\"plan\":null,\"vms\":[{\"name\":\"web1\",\"uuid\":\"" WEB1 \
    "\",\"state\":\"protected\",\"active\":\"alpha\","           \
    "\"guest\":\"alive\",\"spool_bytes\":131072,\"standbys\":[" standby "]}]}]}"

static const char SCENARIO[] = "{\"format\":1,\"name\":\"web\",\"master\":\"alpha\",\"replicas\":[\"beta\"],"
                               "\"vms\":[{\"uuid\":\"" WEB1 "\",\"name\":\"web1\"},{\"uuid\":\"" WEB2
                               "\",\"name\":\"web2\",\"after\":[\"web1\"],\"gate\":\"probe\"}]}";

static const char PLAN_DOC[] =
    "{\"id\":\"" PLAN
    "\",\"scenario\":\"web\",\"from\":\"alpha\",\"to\":\"beta\",\"ended\":%s,\"deadline_ms\":600000,"
    "\"vms\":[{\"vm\":\"" WEB1 "\",\"name\":\"web1\",\"state\":\"%s\",\"why\":%s,\"down_ms\":null,\"steps\":["
    "{\"method\":\"plan.lock\",\"host\":\"alpha\",\"text\":\"exclude every other start\",\"expected_ms\":50,"
    "\"limit_ms\":10000,\"state\":\"done\"},"
    "{\"method\":\"plan.promote\",\"host\":\"beta\",\"text\":\"start it "
    "there\",\"expected_ms\":1500,\"limit_ms\":300000,"
    "\"state\":\"todo\"}]}]}";

static char *plan_doc(const char *ended, const char *state, const char *why)
{
    return g_strdup_printf(PLAN_DOC, ended, state, why);
}

/* --- tests --- */

static void test_help(void)
{
    const Command *command;

    understudy(0, "--help");
    golden("help.txt");
    understudy(0, "scenario create --help");
    golden("help-scenario-create.txt");
    understudy(0, "scenario set --help");
    golden("help-scenario-set.txt");
    for (guint i = 0; (command = command_at(i)); i++) {
        g_autofree char *line = g_strdup_printf("%s --help", command->words);
        g_autofree char *first = g_strdup_printf("understudy %s ", command->words);

        understudy(0, line);
        g_assert_true(g_str_has_prefix(out, first));
        assert_says(out, "--json");
    }
}

static void test_bad_words(void)
{
    static const struct {
        const char *line;
        const char *says;
    } CASES[] = {
        {"frobnicate", "'frobnicate' is no command"},
        {"host", "after 'host' comes one of: add, set, list, show, remove"},
        {"host frob", "after 'host' comes one of"},
        {"", "'' is no command"},
        {"host show", "it must be: understudy host show NAME"},
        {"host list extra", "it must be: understudy host list"},
        {"status --frob", "--frob is not an option here"},
        {"status --json=yes", "--json takes no value"},
        {"switchover web --to", "--to needs a value: HOST"},
        {"switchover web --to a --to b", "--to is there twice"},
        {"status --timeout 5", "5"},
        {"run web --wait --timeout x", "x"},
        {"host add alpha", "needs --address HOST and --token"},
        {"host add alpha --address h --token @~/absent", "the token cannot be read"},
        {"host add -x --address h --token t", "host"},
        {"host set alpha", "needs --address HOST"},
        {"scenario create web", "needs --master HOST and --replica HOST"},
        {"scenario create we/b --master a --replica b", "we/b"},
        {"scenario create web --master a --replica b --interval 5", "5"},
        {"scenario create web --master a --replica b --interval 5parsecs", "5parsecs"},
        {"scenario create web --master a --replica b --map x", "must be FROM=TO"},
        {"scenario create web --file ~/absent", "absent"},
        {"scenario set web interval", "must be KEY=VALUE"},
        {"scenario set web", "needs KEY=VALUE, --map"},
        {"scenario show ../hosts/alpha", "neither a name nor an id"},
        {"branch release web/export --yes", "neither a name nor an id"},
        {"scenario set web --map x", "must be FROM=TO"},
        {"scenario set web --interval 5s", "--interval is not an option here"},
        {"scenario set web frob=1", "frob"},
        {"scenario set web interval=0s", "interval"},
        {"scenario import ~/absent", "absent"},
        {"events --since yesterday", "it must be like 2h or"},
        {"events --scenario caf\xe9", "is not UTF-8"},
        {"status caf\xe9", "is not UTF-8"},
        {"scenario delete web", "say --yes"},
        {"login https://127.0.0.1:1 --token secret", "a bearer token is never an argument"},
    };

    say("host.list", HOSTS);
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        understudy(2, CASES[i].line);
        g_assert_cmpstr(out, ==, "");
        assert_says(err, CASES[i].says);
        g_assert_cmpstr(fake.asked->str, ==, ""); /* nobody was troubled with it */
    }
}

static void test_login(void)
{
    g_autofree char *conf = in_home("understudy/cli.conf");
    struct stat st;

    g_assert_cmpint(stat(conf, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0600);
    say("host.list", HOSTS);
    understudy(0, "host list");
    golden("host-list.txt");
    /* A login that does not work is not kept. */
    write_admin("wrong");
    understudy(6, "login ~/admin.json");
    assert_says(err, "not known here");
    understudy(0, "host list");
    understudy(1, "login ~/absent.json");
    assert_says(err, "admin.json");
    write_file("admin.json", "{\"format\": 1}");
    understudy(2, "login ~/admin.json");
}

static char *ca_fingerprint(void)
{
    g_autofree char *script =
        g_strdup_printf("openssl x509 -in %s/ca.pem -noout -fingerprint -sha256", stage_keys()->dir);
    g_autofree char *text = NULL;

    g_assert_true(g_spawn_command_line_sync(script, &text, NULL, NULL, NULL));
    return g_strdup(g_strstrip(strchr(text, '=') + 1));
}

/* A server that shows its authority, as the controller does. */
static void test_login_by_url(void)
{
    g_autofree char *good = ca_fingerprint();
    g_autofree char *line = NULL;
    g_autofree char *bad = NULL;
    g_autofree char *shown = NULL;
    g_autofree char *url = url_of_stage();
    g_autofree char *conf = in_home("understudy/cli.conf");

    write_file("token", TOKEN "\n");
    g_assert_cmpint(g_unlink(conf), ==, 0);
    bad = g_strdup_printf("login %s --token @~/token --fingerprint 00:11", url);
    understudy(6, bad);
    assert_says(err, "not the one that was expected");
    shown = g_strdup_printf("login %s --token @~/token --yes", url);
    understudy(2, shown);
    assert_says(err, "--yes cannot vouch for");
    understudy(6, "host list"); /* still no login */
    assert_says(err, "there is no login for");
    line = g_strdup_printf("login %s --token @~/token --fingerprint %s", url, good);
    understudy(0, line);
    say("host.list", HOSTS);
    understudy(0, "host list");
}

/* What a terminal shows, up to @piece. */
static void read_until(int terminal, const char *piece)
{
    g_autoptr(GString) seen = g_string_new(NULL);
    char c;

    alarm(30); /* a hang fails the test */
    while (!strstr(seen->str, piece)) {
        g_assert_cmpint(read(terminal, &c, 1), ==, 1);
        g_string_append_c(seen, c);
    }
    alarm(0);
}

/* Ctrl-C at the question for the token leaves the terminal as it was. */
static void test_login_interrupted(void)
{
    g_autofree char *good = ca_fingerprint();
    g_autofree char *url = url_of_stage();
    g_auto(GStrv) env = environment();
    const char *argv[] = {CLI_PROGRAM, "login", url, "--fingerprint", good, NULL};
    struct termios mode;
    int terminal;
    int program; /* our end of it stays open, so that its mode can be looked at */
    int status;
    pid_t pid;

    g_assert_cmpint(openpty(&terminal, &program, NULL, NULL, NULL), ==, 0);
    pid = fork();
    if (pid == 0) {
        close(terminal); /* a test that is killed hangs up on it */
        login_tty(program);
        execve(CLI_PROGRAM, (char **)argv, env);
        _exit(127);
    }
    read_until(terminal, "Token: ");
    g_assert_cmpint(tcgetattr(program, &mode), ==, 0);
    g_assert_false(mode.c_lflag & ECHO);
    g_assert_cmpint(write(terminal, "\003", 1), ==, 1);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status));
    g_assert_cmpint(WTERMSIG(status), ==, SIGINT);
    g_assert_cmpint(tcgetattr(program, &mode), ==, 0);
    g_assert_true(mode.c_lflag & ECHO);
    close(terminal);
    close(program);
}

static void test_where_the_controller_is(void)
{
    g_autofree char *url = url_of_stage();
    g_autofree char *by_option = g_strdup_printf("--controller %s/ host list", url);
    g_auto(GStrv) env = environment();
    g_autofree char *env_out = NULL;
    const char *argv[] = {CLI_PROGRAM, "host", "list", NULL};
    int status;

    say("host.list", HOSTS);
    understudy(0, by_option);
    understudy(6, "host list --controller https://127.0.0.1:1");
    assert_says(err, "there is no login for the controller at https://127.0.0.1:1");
    env = g_environ_setenv(g_steal_pointer(&env), "UNDERSTUDY_CONTROLLER", "https://127.0.0.1:2", TRUE);
    g_assert_true(g_spawn_sync(NULL, (char **)argv, env, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &env_out,
                               NULL, &status, NULL));
    g_assert_cmpint(WEXITSTATUS(status), ==, 6);
}

static void test_not_there(void)
{
    write_file("understudy/cli.conf",
               "[cli]\ncontroller=https://127.0.0.1:1\n[https://127.0.0.1:1]\nca=x\ntoken=y\n");
    understudy(5, "status");
    g_assert_cmpstr(out, ==, "");
    write_file("understudy/cli.conf", "nonsense");
    understudy(2, "status");
}

/* As `login` leaves it, whether it works or not. */
static void log_in(const char *url, const char *ca, const char *token)
{
    g_autoptr(Session) s = g_new0(Session, 1);
    g_autofree char *conf = in_home("understudy/cli.conf");

    s->url = g_strdup(url);
    s->ca = g_strdup(ca);
    s->token = g_strdup(token);
    g_assert_true(session_save(s, conf, NULL));
}

static void test_wrong_token(void)
{
    g_autofree char *url = url_of_stage();

    log_in(url, stage_keys()->ca, "wrong");
    understudy(6, "status");
    assert_says(err, "this token is not known here");
}

static void test_wrong_authority(void)
{
    g_autofree char *url = url_of_stage();

    log_in(url, stage_keys()->stranger_certificate, TOKEN);
    understudy(6, "status");
    assert_says(err, "is not the controller that was logged in to");
    g_assert_cmpstr(fake.asked->str, ==, "");
}

/* The right controller, under an address that its certificate has not. */
static void test_other_address(void)
{
    g_autofree char *url = g_strdup_printf("https://0.0.0.0:%u", stage_port(stage));

    log_in(url, stage_keys()->ca, TOKEN);
    understudy(6, "status");
    assert_says(err, "does not cover that name or address");
    assert_says(err, "names= in the controller's configuration");
    g_assert_cmpstr(fake.asked->str, ==, "");
}

/* What root on the controller's host has without a login. */
static void test_admin_file(void)
{
    g_autofree char *admin = in_home("admin.json");
    g_autofree char *absent = in_home("no.conf");
    g_autofree char *url = url_of_stage();
    g_autoptr(GError) error = NULL;
    g_autoptr(Session) s = session_open(NULL, absent, admin, &error);
    g_autoptr(Session) same = session_open(url, absent, admin, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(s->url, ==, url);
    g_assert_cmpstr(s->token, ==, TOKEN);
    g_assert_nonnull(same);
    g_assert_null(session_open("https://other:1", absent, admin, &error));
    g_assert_error(error, US_ERROR, US_ERROR_DENIED);
}

/* What is saved is found again, also under an address that a group's name cannot hold. */
static void test_saved_sessions(void)
{
    static const char *const URLS[] = {"https://[2001:db8::1]:25443", "https://[fe80::1%eth0]:25443",
                                       "https://controller.example:25443"};
    g_autofree char *conf = in_home("some.conf");

    for (guint i = 0; i < G_N_ELEMENTS(URLS); i++) {
        g_autoptr(Session) s = g_new0(Session, 1);
        g_autoptr(Session) named = NULL;
        g_autoptr(Session) last = NULL;

        s->url = g_strdup(URLS[i]);
        s->ca = g_strdup("an authority");
        s->token = g_strdup_printf("token %u", i);
        g_assert_true(session_save(s, conf, NULL));
        named = session_open(URLS[i], conf, "/nowhere", NULL);
        last = session_open(NULL, conf, "/nowhere", NULL);
        g_assert_nonnull(named);
        g_assert_cmpstr(named->url, ==, URLS[i]);
        g_assert_cmpstr(named->token, ==, s->token);
        g_assert_nonnull(last);
        g_assert_cmpstr(last->token, ==, s->token);
    }
}

static void test_hosts(void)
{
    json_auto_t *doc = NULL;

    say("host.show",
        "{\"name\":\"alpha\",\"state\":\"up\",\"clock_offset_ms\":3,\"store\":{\"free_bytes\":1},"
        "\"networks\":[{\"name\":\"default\",\"active\":true},{\"name\":\"dmz\",\"active\":false}],"
        "\"watched\":[{\"host\":\"beta\",\"check\":\"beat "
        "alpha:25000\",\"answered\":true,\"misses\":0,\"why\":null},"
        "{\"host\":\"beta\",\"check\":\"ping alpha\",\"answered\":true,\"misses\":2,\"why\":\"no echo came "
        "back\"}]}");
    say("host.add", "{\"name\":\"alpha\"}");
    say("host.set", "{\"name\":\"alpha\"}");
    say("vm.list", VMS);
    understudy(0, "host show alpha");
    golden("host-show.txt");
    understudy(0, "host show alpha --json");
    doc = document();
    g_assert_cmpint(json_integer_value(json_object_get(doc, "clock_offset_ms")), ==, 3);
    understudy(0, "host add alpha --address alpha.example --via 192.0.2.1:7 --via [2001:db8::1] --via "
                  "2001:db8::2 --token abc");
    g_assert_cmpstr(fake.asked->str, ==,
                    "host.add {\"name\":\"alpha\",\"addresses\":[\"alpha.example:25000\",\"192.0.2.1:7\","
                    "\"[2001:db8::1]:25000\",\"[2001:db8::2]:25000\"],\"token\":\"abc\"}\n");
    g_assert_cmpstr(out, ==, "host 'alpha' is in the controller's care\n");
    write_file("token", "  from-a-file\n");
    understudy(0, "host add alpha --address h --token @~/token");
    assert_says(fake.asked->str, "\"token\":\"from-a-file\"");
    understudy(0, "host set alpha --address 192.0.2.9 --via [2001:db8::1]:7");
    g_assert_cmpstr(fake.asked->str, ==,
                    "host.set {\"addresses\":[\"192.0.2.9:25000\",\"[2001:db8::1]:7\"]}\n");
    g_assert_cmpstr(out, ==, "host 'alpha' is reached there from now on\n");
    understudy(0, "--yes host remove alpha");
    g_assert_cmpstr(fake.asked->str, ==, "host.remove\n");
    understudy(0, "vm list alpha");
    golden("vm-list.txt");
    g_assert_null(strchr(out, '\033')); /* a guest cannot move the cursor */
}

static void test_scenarios(void)
{
    json_auto_t *doc = NULL;

    say("vm.list", VMS);
    say("scenario.create", "{}");
    say("scenario.import", "{}");
    say("scenario.show", SCENARIO);
    say("scenario.export", SCENARIO);
    say("scenario.list", "{\"scenarios\":[{\"name\":\"web\",\"state\":\"running\",\"master\":\"alpha\","
                         "\"replicas\":[\"beta\"],\"active\":\"alpha\",\"vms\":[1,2]}]}");
    understudy(0, "scenario list");
    golden("scenario-list.txt");
    understudy(
        0,
        "scenario create web --master alpha --replica beta --except bbbb --interval 1s --map default=office "
        "--shutdown-timeout 60s");
    assert_says(fake.asked->str, "\"vms\":[{\"uuid\":\"" WEB1 "\",\"name\":\"web1\"}]");
    assert_says(fake.asked->str, "\"interval\":\"1s\"");
    assert_says(fake.asked->str, "\"shutdown_timeout\":\"1m\"");
    assert_says(fake.asked->str, "\"map\":{\"default\":\"office\"}");
    g_assert_cmpstr(out, ==, "scenario 'web': 1 VM of alpha, replica beta; understudy run web protects it\n");
    understudy(0, "scenario create web --master alpha --replica beta");
    assert_says(fake.asked->str, WEB1);
    assert_says(fake.asked->str, WEB2);
    understudy(1, "scenario create web --master alpha --replica beta --vm nobody");
    assert_says(err, "there is no VM 'nobody'");
    /* What was exported can be imported. */
    understudy(0, "scenario export web");
    write_file("web.json", out);
    understudy(0, "scenario import ~/web.json");
    assert_says(fake.asked->str, "scenario.import {\"format\":1");
    understudy(0, "scenario create other --file ~/web.json --interval 9s");
    assert_says(fake.asked->str, "\"name\":\"other\"");
    write_file("web.json", "{\"format\":1,\"nonsense\":1}");
    understudy(2, "scenario import ~/web.json");
    write_file("web.json", "{\"format\":2}");
    understudy(4, "scenario import ~/web.json");
    understudy(0, "scenario show web");
    golden("scenario-show.txt");
    understudy(0, "scenario show web --json");
    doc = document();
    g_assert_cmpint(json_integer_value(json_object_get(doc, "format")), ==, 1);
    understudy(0, "scenario set web interval=2s shutdown-timeout=90s");
    g_assert_cmpstr(fake.asked->str, ==,
                    "scenario.set {\"policy\":{\"interval\":\"2s\",\"shutdown_timeout\":\"90s\"}}\n");
    understudy(0, "scenario set web --map default=office --map dmz=");
    g_assert_cmpstr(fake.asked->str, ==, "scenario.set {\"map\":{\"default\":\"office\",\"dmz\":null}}\n");
    understudy(0, "scenario set web --vm web2 --after web1 --gate probe+30s");
    assert_says(fake.asked->str,
                "scenario.set {\"vms\":{\"" WEB2 "\":{\"after\":[\"" WEB1 "\"],\"gate\":\"probe+30s\"}}}\n");
    understudy(0, "scenario set web --gate 10s");
    assert_says(fake.asked->str, "\"" WEB1 "\":{\"gate\":\"10s\"}");
    assert_says(fake.asked->str, "\"" WEB2 "\":{\"gate\":\"10s\"}");
    understudy(0, "scenario set web --vm web2 --after none");
    assert_says(fake.asked->str, "{\"after\":[]}");
    understudy(0, "scenario set web --vm web2 --test-check agent --test-check tcp:80");
    assert_says(fake.asked->str, "{\"vms\":{\"" WEB2 "\":{\"test_checks\":[\"agent\",\"tcp:80\"]}}}");
    understudy(0, "scenario set web --vm web2 --test-check none");
    assert_says(fake.asked->str, "{\"test_checks\":[]}");
    understudy(2, "scenario set web --vm web2 --test-check frob");
    assert_says(err, "--test-check frob: ");
    understudy(2, "scenario set web --vm web2 --gate soon");
    assert_says(err, "'soon' is no gate");
    understudy(1, "scenario set web --vm web2 --after nobody");
    assert_says(err, "there is no VM 'nobody'");
    say_no("scenario.set", US_ERROR_REFUSED, "networks may only change while it is stopped");
    understudy(4, "scenario set web --map default=office");
    understudy(0, "scenario delete web --purge --yes");
    g_assert_cmpstr(out, ==, "scenario 'web' is gone, and its copies\n");
}

/* Half a document in a file is no success, and what goes on for ever ends. */
static void test_full_output(void)
{
    static const char *const COMMANDS[] = {"scenario export web", "events --follow", "status --watch",
                                           "--help"};

    say("scenario.export", SCENARIO);
    say("event.list", "{\"events\":[{\"sequence\":1}]}");
    say("status", STATUS("running", ""));
    for (guint i = 0; i < G_N_ELEMENTS(COMMANDS); i++) {
        g_autofree char *script =
            g_strdup_printf("exec timeout 20 " CLI_PROGRAM " %s >/dev/full", COMMANDS[i]);
        const char *argv[] = {"/bin/sh", "-c", script, NULL};
        g_auto(GStrv) env = environment();
        int status;

        forget();
        g_assert_true(
            g_spawn_sync(NULL, (char **)argv, env, G_SPAWN_DEFAULT, NULL, NULL, NULL, &err, &status, NULL));
        g_assert_cmpint(WEXITSTATUS(status), ==, 1);
        assert_says(err, "standard output could not be written to");
    }
}

static void test_verify(void)
{
    say("scenario.verify", "{\"errors\":1,\"warnings\":0,\"findings\":[{\"id\":\"replica-space\","
                           "\"severity\":\"error\",\"host\":\"beta\","
                           "\"vm\":null,\"cause\":\"beta has 1 GiB free\",\"consequence\":\"the copy does "
                           "not fit\",\"remedy\":\"make room\"}]}");
    understudy(3, "verify web");
    golden("verify.txt");
    assert_says(err, "found 1 error");
    say("scenario.verify", "{\"errors\":0,\"warnings\":0,\"findings\":[]}");
    understudy(3, "verify web --json"); /* the first answer is still at the front of the queue */
    json_decref(document());
    understudy(0, "verify web --fix");
    g_assert_cmpstr(fake.asked->str, ==, "scenario.verify {}\n");
    assert_says(err, "nothing that could be put right by itself");
}

/* What would be done is shown, and asked for. */
static void test_fix(void)
{
    say("scenario.verify", "{\"errors\":1,\"warnings\":0,\"findings\":[],\"fixes\":[{\"host\":\"beta\","
                           "\"what\":\"define network "
                           "'dmz' \\u001b[31m\"}],\"fixed\":[]}");
    understudy(2, "verify web --fix");
    g_assert_cmpstr(fake.asked->str, ==, "scenario.verify {}\n");
    assert_says(err, "  define network 'dmz' ?[31m\n");
    understudy(3, "verify web --fix --yes");
    g_assert_cmpstr(fake.asked->str, ==,
                    "scenario.verify {}\nscenario.verify "
                    "{\"fix\":true,\"fixes\":[\"define network 'dmz' \\u001B[31m\"]}\n");
    assert_says(err, "--fix can do some of it");
}

static void test_run(void)
{
    json_auto_t *doc = NULL;

    say("scenario.preview",
        "{\"scenario\":\"web\",\"from\":\"alpha\",\"to\":\"beta\",\"vms\":[{\"name\":\"web1\",\"uuid\":"
        "\"" WEB1 "\",\"how\":\"everything, once\",\"size_bytes\":2147483648,\"send_bytes\":1610612736}]}");
    say("scenario.run", "accept");
    understudy(2, "run web"); /* nobody to ask: shown, not done */
    golden("run-preview.txt");
    g_assert_cmpstr(fake.asked->str, ==, "scenario.preview\n");
    understudy(0, "run web --yes");
    g_assert_cmpstr(fake.asked->str, ==, "scenario.preview\nscenario.run {}\n");
    say("status", STATUS("synchronizing", STANDBY("synchronizing", "536870912", "1610612736")));
    say("status", STATUS("synchronizing", STANDBY("synchronizing", "1073741824", "1610612736")));
    say("status", STATUS("running", STANDBY("protected", "0", "0")));
    understudy(0, "start web --yes --wait");
    assert_says(out, "every VM is protected\n");
    assert_says(err, "web: synchronizing; web1 512 MiB of 1.50 GiB (33 %), 1.00 MiB/s, 3.0 s left\n");
    assert_says(err, "web: running\n");
    understudy(0, "run web --yes --wait --json");
    g_assert_cmpstr(err, ==, "");
    doc = document();
    g_assert_nonnull(json_object_get(doc, "scenarios"));
}

static void test_run_fails(void)
{
    say("scenario.preview", "{\"vms\":[]}");
    say("scenario.run", "accept");
    say("status", STATUS("verifying", ""));
    say("status", STATUS("failed", ""));
    understudy(1, "run web --yes --wait");
    assert_says(err, "scenario 'web' is failed: understudy events --scenario web says why");
}

static void test_waiting_has_an_end(void)
{
    say("scenario.pause", "accept");
    say("status", STATUS("running", STANDBY("protected", "0", "0")));
    understudy(7, "pause web --wait --timeout 100ms");
    assert_says(err, "has not ended in time");
}

#define STOPPED(owed)                                                                                      \
    "{\"scenarios\":[{\"name\":\"web\",\"state\":\"stopped\",\"vms\":[{\"name\":\"web1\",\"standbys\":[]," \
    "\"owed\":[" owed "]}]}]}"

/* It is stopped at once, and has ended when its engines say so: that is waited for, and who does not is named. */
static void test_wait_for_a_stop(void)
{
    say("scenario.stop", "accept");
    say("status", STOPPED("{\"host\":\"alpha\",\"why\":null}"));
    say("status", STOPPED("{\"host\":\"alpha\",\"why\":\"its guard is a folder\"}"));
    say("status", STOPPED(""));
    understudy(0, "stop web --yes --wait");
    assert_says(err, "web: stopped; alpha has not confirmed it for web1\n");
    assert_says(err, "web: stopped; alpha has not confirmed it for web1: its guard is a folder\n");
    g_assert_cmpstr(out, ==, "stopped\n");
}

static void test_a_stop_is_refused(void)
{
    say("scenario.stop", "accept");
    say("status", STOPPED("{\"host\":\"alpha\",\"why\":\"its guard is a folder\"}"));
    understudy(7, "stop web --yes --wait --timeout 100ms");
    assert_says(
        err,
        "web has not ended in time; alpha has not confirmed it for web1: its guard is a folder: it goes on");
    g_assert_cmpstr(out, ==, "");
}

static void test_actions(void)
{
    say("scenario.stop", "accept");
    say("scenario.pause", "accept");
    say("scenario.continue", "accept");
    say("status", STATUS("paused", ""));
    understudy(0, "stop web --yes");
    g_assert_cmpstr(fake.asked->str, ==, "scenario.stop {}\n");
    understudy(2, "stop web");
    understudy(0, "pause web --wait");
    g_assert_cmpstr(out, ==, "paused; changes are remembered\n");
    understudy(0, "continue web");
    say_no("scenario.stop", US_ERROR_REFUSED, "a plan runs; nothing was stopped; wait for its end");
    understudy(4, "stop web --yes");
    g_assert_cmpstr(err, ==, "understudy: a plan runs; nothing was stopped; wait for its end\n");
    say_no("scenario.pause", US_ERROR_UNREACHABLE, "host alpha does not answer");
    understudy(5, "pause web");
    say_no("scenario.continue", US_ERROR_TIMEOUT, "late");
    understudy(7, "continue web");
    say_no("scenario.verify", US_ERROR_NOT_FOUND, "there is no scenario 'web'");
    understudy(1, "verify web");
}

static void test_switchover(void)
{
    g_autofree char *preview = plan_doc("false", "waiting", "null");
    g_autofree char *moving = plan_doc("false", "promoting", "null");
    g_autofree char *moved = plan_doc("true", "moved", "null");

    say("scenario.show", SCENARIO);
    say("scenario.switchover", preview);
    understudy(2, "switchover web");
    golden("switchover-preview.txt");
    assert_says(err, "Shut the VMs of 'web' down on alpha and start them on beta?");
    assert_says(fake.asked->str, "\"preview\":true");
    say("scenario.switchover", preview);
    say("scenario.switchover", "plan " PLAN);
    understudy(2, "switchover web"); /* takes the one that was left in front */
    say("plan.show", moving);
    say("plan.show", moved);
    understudy(0, "switchover web --yes --wait --to beta --vm web1 --power-off");
    assert_says(fake.asked->str, "scenario.switchover {\"preview\":false,\"power_off\":true,\"vms\":[\"" WEB1
                                 "\"],\"to\":\"beta\"}\n");
    assert_says(err, "web1: promoting\n");
    g_assert_cmpstr(strstr(out, "every VM was moved"), ==, "every VM was moved\n");
    understudy(0, "plan show " PLAN);
}

/* What it goes on from is shown before the name is asked for: as the host has it where it goes. */
static void shown_from_point(const char *branch, const char *said)
{
    g_autofree char *points = g_strdup_printf(
        "{\"points\":[{\"id\":\"" POINT "\",\"host\":\"alpha\",\"branch\":false,\"term\":1,\"cut_at\":null},"
        "{\"id\":\"" POINT
        "\",\"host\":\"beta\",\"branch\":%s,\"term\":7,\"cut_at\":\"2026-11-21T22:16:54.123Z\"}]}",
        branch);

    say("scenario.switchover",
        "{\"id\":\"" PLAN "\",\"from\":\"alpha\",\"to\":\"beta\",\"forced\":true,\"vms\":[{\"vm\":\"" WEB1
        "\",\"name\":\"web1\",\"point\":\"" POINT "\",\"lose_ms\":null,\"steps\":[]}]}");
    say("scenario.points", points);
    understudy(2, "switchover web --force --point " POINT);
    assert_says(out, said);
}

/* Before the name is asked for. */
static void test_switchover_loses(void)
{
    say("scenario.switchover",
        "{\"id\":\"" PLAN "\",\"from\":\"alpha\",\"to\":\"beta\",\"forced\":true,\"vms\":[{\"vm\":\"" WEB1
        "\",\"name\":\"web1\",\"point\":null,\"lose_ms\":1200,\"steps\":[]},{\"vm\":\"" WEB1
        "\",\"name\":\"web2\",\"point\":null,\"lose_ms\":null,\"steps\":[]}]}");
    understudy(2, "switchover web --force");
    assert_says(out, "web1 loses what it wrote in its last 1.2 s\n");
    assert_says(out, "web2 goes on from the newest point; how old that is is not known\n");
}

static void test_switchover_from_a_branch(void)
{
    shown_from_point("true", "web1 goes on from branch " POINT
                             ", what beta alone held at the end of term 7; what was written on other hosts "
                             "since is not in it\n");
}

static void test_switchover_from_a_point(void)
{
    shown_from_point("false", "web1 goes on from point " POINT
                              " of 2026-11-21T22:16:54.123Z; what came after it is kept beside\n");
}

/* By the beginning of its UUID, if that is no other's; in good order what it goes on from is said as well. */
static void test_switchover_from_the_beginning_of_a_point(void)
{
    static const char POINTS[] =
        "{\"points\":[{\"id\":\"" POINT "\",\"host\":\"alpha\",\"branch\":false,\"term\":1},{\"id\":\"" POINT
        "\",\"host\":\"beta\",\"branch\":false,\"term\":1,\"cut_at\":\"2026-11-21T22:16:54.123Z\"},"
        "{\"id\":\"ddee0000-0000-4000-8000-000000000004\",\"host\":\"beta\",\"branch\":false}]}";

    say("scenario.points", POINTS);
    say("scenario.switchover",
        "{\"id\":\"" PLAN "\",\"from\":\"alpha\",\"to\":\"beta\",\"forced\":false,\"vms\":[]}");
    say("scenario.points", POINTS);
    understudy(2, "switchover web --point dddd");
    assert_says(fake.asked->str, "\"point\":\"" POINT "\"");
    assert_says(out, "it goes on from point " POINT
                     " of 2026-11-21T22:16:54.123Z; what came after it is kept beside\n");
    say("scenario.points", POINTS);
    understudy(2, "switchover web --point dd");
    assert_says(err, "'dd' means more than one point, nothing was begun");
    say("scenario.points", POINTS);
    understudy(1, "switchover web --point ee");
    assert_says(err,
                "there is no point 'ee', nothing was begun: understudy points web lists those there are");
}

/* Who is shut down before whom, and what is waited for. */
static void test_order(void)
{
    static const char PLAN_OF_TWO[] =
        "{\"id\":\"" PLAN "\",\"scenario\":\"web\",\"from\":\"alpha\",\"to\":\"beta\",\"forced\":%s,"
        "\"ended\":%s,\"vms\":[{\"name\":\"db1\",\"state\":\"%s\",\"after\":[],\"steps\":[{\"host\":\"beta\","
        "\"text\":\"start it there\",\"state\":\"done\"}]},{\"name\":\"web1\",\"state\":\"%s\",\"why\":%s,"
        "\"after\":[{\"name\":\"db1\",\"until\":\"answers its probe\"},{\"name\":\"nfs1\",\"until\":\"has "
        "run for "
        "30s\"}],\"steps\":[{\"host\":\"beta\",\"text\":\"start it there\",\"state\":\"todo\"}]}]}";
    g_autofree char *held = g_strdup_printf(PLAN_OF_TWO, "false", "false", "moved", "held",
                                            "\"waits for 'db1': its probe 'agent' is not answered yet\"");
    g_autofree char *moved = g_strdup_printf(PLAN_OF_TWO, "false", "true", "moved", "moved", "null");
    g_autofree char *forced = g_strdup_printf(PLAN_OF_TWO, "true", "false", "waiting", "waiting", "null");

    say("plan.show", held);
    understudy(0, "plan show " PLAN);
    golden("plan-order.txt");
    say("scenario.switchover", forced);
    understudy(2, "switchover web --force");
    assert_says(out, "'web1' is started when 'db1' answers its probe and 'nfs1' has run for 30s\n");
    say("scenario.switchover", held);
    say("scenario.switchover", "plan " PLAN);
    understudy(2, "switchover web"); /* takes the one that was left in front */
    say("plan.show", held);
    say("plan.show", moved);
    understudy(0, "switchover web --yes --wait");
    assert_says(err, "db1: moved; web1: held, waits for 'db1': its probe 'agent' is not answered yet\n");
}

static void test_switchover_stays(void)
{
    g_autofree char *preview = plan_doc("false", "waiting", "null");
    g_autofree char *stayed = plan_doc("true", "stayed", "\"the guest did not shut down in 3 m\"");

    say("scenario.switchover", preview);
    say("scenario.switchover", "plan " PLAN);
    say("plan.show", stayed);
    understudy(1, "switchover web --yes --wait");
    assert_says(err, "'web1' was not moved (stayed): the guest did not shut down in 3 m");
}

/* What is known to be in the way is said before the question, and keeps nobody from it. */
static void test_switchover_by_force(void)
{
    g_autofree char *plan = plan_doc("false", "waiting", "null");
    json_auto_t *doc = json_loads(plan, 0, NULL);
    g_autofree char *preview = NULL;

    json_object_set_new(doc, "forced", json_true());
    json_object_set_new(doc, "warnings", json_pack("[s]", "beta has another VM that is called 'web1'"));
    preview = json_text(doc);
    say("scenario.switchover", preview);
    say("scenario.switchover", "plan " PLAN);
    understudy(0, "switchover web --force --yes");
    assert_says(out, "it may not start there: beta has another VM that is called 'web1'\n");
}

static void test_plans(void)
{
    g_autofree char *moved = plan_doc("true", "moved", "null");
    g_autofree char *list = g_strdup_printf("{\"plans\":[%s]}", moved);

    say("plan.list", list);
    say("plan.show", moved);
    understudy(0, "plan list");
    golden("plan-list.txt");
    understudy(0, "plan show cccc");
    golden("plan-show.txt");
    understudy(1, "plan show 1234");
    assert_says(err, "there is no plan '1234'");
}

static void test_status(void)
{
    json_auto_t *doc = NULL;

    say("status", STATUS("running", STANDBY("protected", "0", "0")));
    understudy(0, "status");
    golden("status.txt");
    understudy(0, "status web --json");
    doc = document();
    g_assert_cmpuint(json_array_size(json_object_get(doc, "scenarios")), ==, 1);
}

/* Moved away, about to be moved home by itself, and something to look at on both hosts. */
static void test_status_away(void)
{
    say("status",
        "{\"scenarios\":[{\"name\":\"web\",\"state\":\"running\",\"master\":\"alpha\",\"active\":\"beta\","
        "\"switchback_s\":598,\"plan\":null,\"vms\":[{\"name\":\"web1\",\"state\":\"protected\","
        "\"active\":\"beta\",\"guest\":\"alive\",\"spool_bytes\":0,\"standbys\":[{\"host\":\"alpha\","
        "\"state\":\"protected\",\"lag_ms\":740}],\"branches\":[{\"host\":\"alpha\",\"count\":1,"
        "\"bytes\":3145728},{\"host\":\"beta\",\"count\":2,\"bytes\":null}]}]}]}");
    understudy(0, "status");
    golden("status-away.txt");
}

static void test_status_words(void)
{
    say("status", "{\"scenarios\":[]}");
    understudy(0, "status");
    g_assert_cmpstr(out, ==, "there is no scenario; understudy scenario create makes one\n");
    /* A newer controller may say more, an odd one less. */
    say("status", "{\"scenarios\":[{\"name\":\"x\",\"vms\":[{}],\"more\":[{}]}]}");
    understudy(0, "status");
    understudy(0, "status");
    assert_says(out, "x: -");
}

static void test_points(void)
{
    say("scenario.show", SCENARIO);
    say("scenario.points",
        "{\"points\":[{\"id\":\"" POINT "\",\"vm\":\"web1\",\"host\":\"beta\",\"term\":1,\"sequence\":42,"
        "\"cut_at\":\"2026-11-21T22:16:54.123Z\",\"sealed_at\":null,\"frozen\":false,\"pinned\":true}]}");
    understudy(0, "points web --vm web1");
    golden("points.txt");
    understudy(1, "points web --vm web9");
    understudy(2, "points web --vm=");
    assert_says(err, "'' names no VM");
    g_assert_cmpstr(fake.asked->str, ==, "scenario.show\n");
}

static void test_points_kept(void)
{
    say("scenario.points", "{\"points\":[]}");
    say("point.keep",
        "{\"points\":[{\"id\":\"" POINT "\",\"vm\":\"web1\",\"host\":\"beta\",\"pinned\":true}]}");
    say("point.release",
        "{\"points\":[{\"id\":\"" POINT "\",\"vm\":\"web1\",\"host\":\"beta\",\"pinned\":false}]}");
    understudy(0, "points keep dddd");
    g_assert_cmpstr(out, ==, "point " POINT " of 'web1' on beta is kept until it is released\n");
    understudy(0, "points release " POINT);
    g_assert_cmpstr(out, ==, "point " POINT " of 'web1' on beta is kept as long as retain says\n");
    g_assert_cmpstr(fake.asked->str, ==, "point.release {}\n");
    /* A scenario may have such a name. */
    understudy(0, "points release");
    g_assert_cmpstr(fake.asked->str, ==, "scenario.points\n");
    understudy(0, "points --json keep");
    g_assert_cmpstr(fake.asked->str, ==, "scenario.points\n");
    understudy(2, "points web dddd");
    understudy(2, "points keep dddd --vm web1");
    understudy(2, "points keep dddd eeee");
    g_assert_cmpstr(fake.asked->str, ==, "");
    say_no("point.keep", US_ERROR_REFUSED, "6 points are pinned");
    understudy(4, "points keep dddd");
}

/* --- integrity tests --- */

#define TEST_VM(state, verdict)                                                                    \
    "{\"vm\":\"" WEB1 "\",\"name\":\"web1 <script>\",\"state\":\"" state "\",\"verdict\":" verdict \
    ",\"why\":null,\"point\":{\"id\":\"" POINT                                                     \
    "\",\"cut_at\":\"2026-11-21T22:16:54.123Z\"},\"start_ms\":600,"                                \
    "\"boot_ms\":8400,\"back_ms\":9000,\"checks\":[{\"what\":\"its agent "                         \
    "answers\",\"state\":\"passed\",\"text\":\"<i>5.2\",\"after_ms\":"                             \
    "8400}],\"left_out\":[\"hostdev "                                                              \
    "0000:04:10.0\"],\"vnc\":\"/run/x/web1.vnc\",\"serial\":null,\"picture\":true}"
#define TEST_DOC(state, verdict, why, vms)                                                                \
    "{\"test\":\"" TEST "\",\"scenario\":\"web\",\"host\":\"beta\",\"manual\":false,\"state\":\"" state   \
    "\",\"begun_at\":"                                                                                    \
    "\"2026-11-22T02:14:00.000Z\",\"ended_at\":null,\"verdict\":" verdict ",\"why\":" why                 \
    ",\"waits\":null,\"proof\":{\"probes\":{\"leaked\":0,\"places\":[{\"place\":\"default\",\"silent\":[" \
    "\"192.0.2.1\","                                                                                      \
    "\"10.0.0.1\"]}]},\"counters\":{\"leaked\":0}},\"vms\":[" vms "]}"

static const char TEST_RUNS[] = TEST_DOC("running", "null", "null", TEST_VM("booting", "null"));
static const char TEST_PASSED[] = TEST_DOC("ended", "\"passed\"", "null", TEST_VM("ended", "\"passed\""));
static const char TEST_FAILED[] =
    TEST_DOC("ended", "\"failed\"", "\"its agent is silent\"", TEST_VM("ended", "\"failed\""));
static const char TEST_READY[] = TEST_DOC("ready", "null", "null", TEST_VM("ready", "null"));
static const char TEST_STOPPED[] = TEST_DOC("ended", "\"stopped\"", "null", TEST_VM("ended", "\"stopped\""));

#define CHECKS TEST_DATA "/../../../examples/checks"

static void test_tests_begin(void)
{
    say("scenario.show", SCENARIO);
    say("scenario.points", "{\"points\":[{\"id\":\"" POINT "\",\"vm\":\"web1\",\"host\":\"beta\"}]}");
    say("test.start", TEST_RUNS);
    understudy(0, "test start web --manual --vm web1 --point dddd --limit 1h");
    g_assert_cmpstr(out, ==,
                    "test " TEST " was begun on beta; understudy test show eeeeeeee says how far it is\n");
    assert_says(fake.asked->str, "test.start {\"manual\":true,\"limit_ms\":3600000,\"vms\":[\"" WEB1
                                 "\"],\"point\":\"" POINT "\"}\n");
    understudy(0, "test start web --checks " CHECKS "/web.json");
    assert_says(fake.asked->str, "\"checks\":{\"web1\":[\"agent\",");
    understudy(2, "test start web --checks " CHECKS "/none.json");
    g_assert_cmpstr(fake.asked->str, ==, "");
    assert_says(err, "the checks cannot be read");
    understudy(2, "test start web --checks " CHECKS);
    g_assert_cmpstr(fake.asked->str, ==, "");
    assert_says(err, "Is a directory");
    understudy(2, "test start web --checks /dev/zero");
    g_assert_cmpstr(fake.asked->str, ==, "");
    assert_says(err, "no test was begun");
    assert_says(err, "/dev/zero: it is longer");
    understudy(2, "test start web --checks " CHECKS "/../two-hosts/run");
    g_assert_cmpstr(fake.asked->str, ==, "");
    assert_says(err, "two-hosts/run: ");
    assert_says(err, "line 1");
    understudy(2, "test start web --checks " TEST_DATA "/../../fuzz/corpus/fuzz_exam/wrong");
    g_assert_cmpstr(fake.asked->str, ==, "");
    assert_says(err, "wrong: checks of 'a': check 'tcp:0': a port");
    understudy(2, "test start web --limit 1");
    g_assert_cmpstr(fake.asked->str, ==, "");
    understudy(1, "test start web --point 1234");
    say_no("test.start", US_ERROR_BUSY, "test " TEST " runs");
    understudy(4, "test start web");
    assert_says(err, TEST);
}

static void test_tests_wait(void)
{
    say("test.start", TEST_RUNS);
    say("test.show", TEST_RUNS);
    say("test.show", TEST_PASSED);
    understudy(0, "test start web --wait");
    golden("test-show.txt");
    assert_says(err, "web1 <script>: booting\nweb1 <script>: passed\n");
    g_assert_cmpstr(fake.asked->str, ==, "test.start {\"manual\":false}\ntest.show\ntest.show\n");
}

static void test_tests_fail(void)
{
    say("test.start", TEST_RUNS);
    say("test.show", TEST_FAILED);
    understudy(1, "test start web --wait");
    assert_says(out, "of web on beta: failed, its agent is silent\n");
    assert_says(err, "the integrity test failed: its agent is silent");
}

/* Stopped is how a manual one ends, and no verdict on one that was to have one. */
static void test_tests_stop(void)
{
    say("test.start", TEST_RUNS);
    say("test.show", TEST_READY);
    say("test.show", TEST_STOPPED);
    say("test.stop", "{\"test\":\"" TEST "\"}");
    understudy(0, "test start web --manual --wait");
    assert_says(out, "screen: ssh -L 5901:/run/x/web1.vnc root@");
    understudy(0, "test stop web --wait");
    understudy(0, "test stop web");
    g_assert_cmpstr(out, ==, "test " TEST " ends, and what it wrote is thrown away\n");
    understudy(1, "test start web --wait");
    assert_says(err, "was ended before there was a verdict");
}

static void test_tests_are_listed(void)
{
    say("test.list",
        "{\"tests\":[{\"test\":\"" TEST
        "\",\"scenario\":\"web\",\"host\":\"beta\",\"begun_at\":\"2026-11-22T02:14:00.000Z\",\"state\":"
        "\"ended\",\"verdict\":\"failed\",\"why\":\"its agent is silent\",\"vms\":[{},{}]}]}");
    say("test.show", TEST_PASSED);
    understudy(0, "test list");
    golden("test-list.txt");
    understudy(0, "test list web --json");
    json_decref(document());
    understudy(0, "test show eeee");
    golden("test-show.txt");
    understudy(0, "test show eeee --json");
    json_decref(document());
    understudy(1, "test show ffff");
    understudy(2, "test show");
}

static void test_tests_next(void)
{
    say("test.list", "{\"tests\":[],\"next_test_at\":\"2026-11-29T03:30:00.000Z\"}");
    understudy(0, "test list web");
    assert_says(out, "\nnext test: 2026-11-29T03:30:00.000Z\n");
}

/* Whatever guests say is text in it. */
static void test_tests_as_a_page(void)
{
    g_autofree char *path = in_home("report.html");
    g_autofree char *page = NULL;

    say("test.show", TEST_PASSED);
    say("test.evidence", "{\"png\":\"iVBORw0KGgo=\",\"console\":\"</pre><script>\\u001b[31m\\r\\nlogin:\"}");
    say("test.evidence", "{\"png\":\"iVBORw0KGgo\\\"><script>\",\"console\":null}");
    understudy(0, "test show " TEST " --html ~/report.html");
    g_assert_true(g_file_get_contents(path, &page, NULL, NULL));
    g_free(out);
    out = g_strdup(page);
    golden("test-page.html");
    g_assert_null(strstr(page, "<script"));
    understudy(0, "test show " TEST " --html ~/report.html");
    g_free(page);
    g_assert_true(g_file_get_contents(path, &page, NULL, NULL));
    g_assert_null(strstr(page, "<script"));
    g_assert_null(strstr(page, "<img"));
    say_no("test.evidence", US_ERROR_NOT_FOUND, "nothing was seen");
    understudy(0, "test show " TEST " --html ~/report.html");
    say_no("test.evidence", US_ERROR_UNREACHABLE, "silent");
    understudy(5, "test show " TEST " --html ~/report.html");
}

/* What its user names and is no file of his stays what it is, and a page that cannot be written leaves nothing. */
static void test_tests_as_a_page_elsewhere(void)
{
    g_autofree char *link = in_home("link.html"), *target = in_home("target.html"),
                    *folder = in_home("folder");
    g_autofree char *page = NULL, *beside = in_home("folder.new");

    say("test.show", TEST_PASSED);
    say_no("test.evidence", US_ERROR_NOT_FOUND, "nothing was seen");
    g_assert_cmpint(symlink("/dev/stdout", link), ==, 0);
    understudy(0, "test show " TEST " --html ~/link.html");
    g_assert_true(g_file_test(link, G_FILE_TEST_IS_SYMLINK));
    assert_says(out, "<!DOCTYPE html>");
    g_unlink(link);
    g_assert_cmpint(symlink(target, link), ==, 0);
    understudy(0, "test show " TEST " --html ~/link.html");
    g_assert_true(g_file_test(link, G_FILE_TEST_IS_SYMLINK));
    g_assert_true(g_file_get_contents(target, &page, NULL, NULL));
    assert_says(page, "</html>");
    g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
    understudy(1, "test show " TEST " --html ~/folder");
    assert_says(err, "the page was not written, name another file with --html");
    g_assert_false(g_file_test(beside, G_FILE_TEST_EXISTS));
    understudy(1, "test show " TEST " --html ~/absent/page.html");
    understudy(1, "test show " TEST " --html /dev/full");
    assert_says(err, "No space left");
}

/* --- drills --- */

#define DRILL_DOC(state, verdict, why, back, part)                                                           \
    "{\"drill\":\"" POINT "\",\"host\":\"alpha\",\"state\":\"" state                                         \
    "\",\"begun_at\":\"2026-11-22T02:14:00.000Z\",\"ended_at\":null,\"verdict\":" verdict ",\"why\":" why    \
    ",\"back_ms\":" back ",\"scenarios\":[{\"scenario\":\"web\",\"test\":\"" TEST "\",\"on\":\"beta\"," part \
    ",\"vms\":[{\"vm\":\"" WEB1                                                                              \
    "\",\"name\":\"web1 <script>\",\"verdict\":\"passed\",\"why\":null,\"back_ms\":"                         \
    "17300}]},{\"scenario\":\"shop\",\"test\":\"" WEB2                                                       \
    "\",\"on\":null,\"verdict\":\"failed\",\"why\":\"a plan <moves> "                                        \
    "it\",\"back_ms\":null,\"vms\":[{\"vm\":\"" WEB2                                                         \
    "\",\"name\":\"shop1\",\"verdict\":\"failed\",\"back_ms\":null}]}]}"

static const char DRILL_RUNS[] = DRILL_DOC("running", "null", "null", "null", "\"verdict\":null");
static const char DRILL_PASSED[] =
    DRILL_DOC("ended", "\"passed\"", "\"all would be back in 17.3 s\"", "17300", "\"verdict\":\"passed\"");
static const char DRILL_FAILED[] = DRILL_DOC(
    "ended", "\"failed\"", "\"scenarios that would not be back: 1 of 2; 'shop': a plan <moves> it\"", "null",
    "\"verdict\":\"passed\"");

static void test_drills(void)
{
    say("drill.start", DRILL_RUNS);
    say("drill.show", DRILL_RUNS);
    say("drill.show", DRILL_PASSED);
    say("drill.stop", "{\"drill\":\"" POINT "\"}");
    say("drill.list", "{\"drills\":[" DRILL_DOC("running", "null", "null", "null", "\"verdict\":null") "]}");
    understudy(0, "drill start alpha");
    g_assert_cmpstr(out, ==,
                    "drill " POINT
                    " was begun, of 2 scenarios; understudy drill show dddddddd says how far it is\n");
    g_assert_cmpstr(fake.asked->str, ==, "drill.start {\"host\":\"alpha\"}\n");
    understudy(0, "drill start alpha --wait");
    assert_says(out, ": passed, all would be back in 17.3 s\n");
    assert_says(err, "web: running; shop: failed\nweb: passed; shop: failed\n");
    understudy(0, "drill list");
    golden("drill-list.txt");
    understudy(0, "drill list --json");
    json_decref(document());
    understudy(0, "drill stop dddd");
    assert_says(out, "ends, and what its tests wrote is thrown away\n");
    understudy(1, "drill show ffff");
    understudy(2, "drill start");
    say_no("drill.start", US_ERROR_NOT_FOUND, "no scenario has VMs that run on gamma");
    understudy(1, "drill start gamma");
}

static void test_drill_fails(void)
{
    g_autofree char *path = in_home("drill.html");

    say("drill.start", DRILL_RUNS);
    say("drill.show", DRILL_FAILED);
    say("test.show", TEST_PASSED);
    say("test.evidence", "{\"png\":\"iVBORw0KGgo=\",\"console\":\"</pre><script>\\r\\nlogin:\"}");
    understudy(1, "drill start alpha --wait");
    golden("drill-show.txt");
    assert_says(err, "the drill failed: scenarios that would not be back: 1 of 2; 'shop': a plan <moves> it");
    understudy(0, "drill show " POINT " --json");
    json_decref(document());
    understudy(0, "drill show " POINT " --html ~/drill.html");
    g_free(out);
    out = NULL;
    g_assert_true(g_file_get_contents(path, &out, NULL, NULL));
    golden("drill-page.html");
    g_assert_null(strstr(out, "<script"));
    /* Of one that was not begun there is no test. */
    say_no("test.show", US_ERROR_NOT_FOUND, "there is no such test");
    understudy(0, "drill show " POINT " --html ~/drill.html");
    say_no("test.show", US_ERROR_UNREACHABLE, "silent");
    understudy(5, "drill show " POINT " --html ~/drill.html");
}

static void test_status_proven(void)
{
    say("status",
        "{\"scenarios\":[{\"name\":\"web\",\"state\":\"running\",\"master\":\"alpha\",\"active\":\"alpha\","
        "\"test\":{\"id\":\"" TEST
        "\",\"host\":\"beta\",\"manual\":false,\"state\":\"running\"},\"vms\":[{\"name\":"
        "\"web1\",\"state\":\"protected\",\"active\":\"alpha\",\"guest\":\"alive\",\"spool_bytes\":0,"
        "\"standbys\":[],"
        "\"lose_ms\":1200,\"back_ms\":9000,\"proven_at\":\"2026-11-22T02:14:00.000Z\"},{\"name\":\"web2\","
        "\"lose_ms\":1200,\"back_ms\":null,\"proven_at\":null},{\"name\":\"web3\",\"active\":\"alpha\","
        "\"lose_ms\":1200,\"back_ms\":null,\"proven_at\":\"2026-11-21T02:14:00.000Z\",\"test_failed_at\":"
        "\"2026-11-22T02:14:00.000Z\"}]}]}");
    understudy(0, "status");
    golden("status-proven.txt");
}

/* A name may look like another's UUID; it is still a name. */
static void test_find(void)
{
    json_auto_t *vms = json_pack("[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}]", "uuid", WEB1, "name", "bbbb", "uuid",
                                 WEB2, "name", "web2", "uuid", PLAN, "name", "web2");
    g_autofree char *by_name = cli_find(vms, "uuid", "VM", "bbbb", NULL);
    g_autofree char *by_uuid = cli_find(vms, "uuid", "VM", "BBBBbbbb", NULL);

    g_assert_cmpstr(by_name, ==, WEB1);
    g_assert_cmpstr(by_uuid, ==, WEB2);
    g_assert_null(cli_find(vms, "uuid", "VM", "web2", NULL));
    g_assert_null(cli_find(vms, "uuid", "VM", "", NULL));
    g_assert_null(cli_find(NULL, "uuid", "VM", "web2", NULL));
}

/* Read @lines lines of a program that does not end, then end it. */
static char *first_lines(const char *const *argv, guint lines)
{
    g_auto(GStrv) env = environment();
    g_autoptr(GString) text = g_string_new(NULL);
    GPid pid;
    int fd;
    int status;
    guint seen = 0;

    g_assert_true(g_spawn_async_with_pipes(NULL, (char **)argv, env, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                                           &pid, NULL, &fd, NULL, NULL));
    alarm(30); /* a hang fails the test */
    while (seen < lines) {
        char c;

        g_assert_cmpint(read(fd, &c, 1), ==, 1);
        g_string_append_c(text, c);
        seen += c == '\n';
    }
    alarm(0);
    kill(pid, SIGTERM);
    waitpid(pid, &status, 0);
    close(fd);
    return g_strdup(text->str);
}

static void test_watch(void)
{
    static const char *const ARGV[] = {CLI_PROGRAM, "status", "--watch", "--json", NULL};
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    say("status", STATUS("running", ""));
    text = first_lines(ARGV, 2);
    lines = g_strsplit(text, "\n", 0);
    for (guint i = 0; i < 2; i++) {
        json_auto_t *doc = json_parse(lines[i], strlen(lines[i]), 1 << 20, NULL);

        g_assert_nonnull(doc); /* one document a line */
    }
}

#define EVENT(n, text)                                                                          \
    "{\"sequence\":" n                                                                          \
    ",\"at\":\"2026-11-21T22:16:54.123Z\",\"code\":\"SYNC_DONE\",\"severity\":\"significant\"," \
    "\"scenario\":\"web\",\"host\":null,\"vm\":null,\"text\":\"" text "\",\"next\":null}"

#define CHANNELS                                                                                             \
    "{\"channels\":[{\"name\":\"ops\",\"severity\":\"warning\",\"rate\":20,\"mail\":{\"to\":[\"a@b.c\",\"d@" \
    "e.f\"],"                                                                                                \
    "\"from\":\"u@b.c\",\"smtp\":\"smtp://"                                                                  \
    "mail:587\",\"tls\":\"required\",\"user\":\"u\",\"has_password\":true},"                                 \
    "\"state\":{\"delivered\":17,\"delivered_at\":\"2026-11-21T22:16:54.123Z\",\"waiting\":3,\"failing_"     \
    "since\":"                                                                                               \
    "\"2026-11-21T22:17:00.000Z\",\"error\":\"nobody takes\\u001b[2J the connection\",\"next_try_at\":"      \
    "\"2026-11-21T22:18:00.000Z\"}},{\"name\":\"pager\",\"severity\":\"critical\",\"rate\":0,\"scenarios\":" \
    "[\"web\",\"shop\"],\"webhook\":{\"url\":\"https://example.org/…\",\"has_secret\":false},\"state\":"   \
    "{\"delivered\":null,\"delivered_at\":null,\"waiting\":0,\"failing_since\":null,\"error\":null,"         \
    "\"next_try_at\":null}}]}"

static void assert_asked(const char *wanted)
{
    uv_mutex_lock(&fake.lock);
    assert_says(fake.asked->str, wanted);
    g_string_truncate(fake.asked, 0);
    uv_mutex_unlock(&fake.lock);
}

static void test_notify(void)
{
    g_autofree char *secret = g_build_filename(home, "secret", NULL);

    g_assert_true(g_file_set_contents(secret, "geheim\n", -1, NULL));
    understudy(
        0,
        "notify add ops --mail a@b.c,d@e.f --smtp smtp://mail:587 --from u@b.c --user u --password @~/secret"
        " --severity error --scenario web,shop --rate 5");
    assert_says(out, "understudy notify test ops tries it");
    assert_asked(
        "notify.add {\"name\":\"ops\",\"mail\":{\"to\":[\"a@b.c\",\"d@e.f\"],\"from\":\"u@b.c\",\"smtp\":"
        "\"smtp://mail:587\",\"user\":\"u\",\"password\":\"geheim\"},\"severity\":\"error\",\"rate\":5,"
        "\"scenarios\":[\"web\",\"shop\"]}\n");
    understudy(0, "notify add a --webhook https://example.org/ --secret @~/secret");
    assert_asked(
        "notify.add {\"name\":\"a\",\"webhook\":{\"url\":\"https://example.org/\",\"secret\":\"geheim\"}}\n");
    understudy(0, "notify add a --webhook @~/secret");
    assert_asked("notify.add {\"name\":\"a\",\"webhook\":{\"url\":\"geheim\"}}\n");
    understudy(0, "notify add a --syslog --severity info");
    assert_asked("notify.add {\"name\":\"a\",\"syslog\":{},\"severity\":\"info\"}\n");
    understudy(0, "notify add a --hook page --rate 0");
    assert_asked("notify.add {\"name\":\"a\",\"hook\":{\"file\":\"page\"},\"rate\":0}\n");
    /* A secret that everybody has seen already is not taken. */
    understudy(2, "notify add a --webhook https://example.org/ --secret geheim");
    assert_says(err, "every user of this machine sees what is an argument");
    understudy(2, "notify add a --mail a@b.c --smtp smtp://mail --from u@b.c --user u --password geheim");
    g_assert_null(strstr(err, "geheim"));
    understudy(2, "notify add a --mail a@b.c --smtp smtp://mail --from u@b.c --user u --password @~/nowhere");
    assert_says(err, "the password cannot be read");
    understudy(2, "notify add a --mail a@b.c --from u@b.c");
    assert_says(err, "--mail needs --smtp");
    understudy(2, "notify add a");
    understudy(2, "notify add a --syslog --hook page");
    assert_says(err, "needs one of");
    understudy(2, "notify add a --syslog --rate many");
    understudy(2, "notify add a --webhook https://h/ --ca ~/nowhere");
    g_assert_cmpstr(fake.asked->str, ==, "");

    understudy(1, "notify test");
    assert_says(err, "nobody is told of anything");
    say("notify.list", CHANNELS);
    understudy(0, "notify list");
    golden("notify-list.txt");
    say("notify.show",
        "{\"name\":\"log\",\"severity\":\"info\",\"rate\":0,\"syslog\":{},\"state\":{\"waiting\":0,"
        "\"refused\":{\"count\":2,\"last\":{\"sequence\":17,\"code\":\"VM_DOWN\",\"to\":null,"
        "\"at\":\"2026-11-21T22:16:54.123Z\",\"error\":\"it does not take it: status 413\"}}}}");
    understudy(0, "notify show log");
    golden("notify-show.txt");
    understudy(2, "notify remove ops");
    understudy(0, "notify remove ops --yes");

    say("notify.test", "{\"took_ms\":12}");
    understudy(0, "notify test");
    g_assert_cmpstr(out, ==,
                    "channel 'ops' delivers: it took 12 ms\nchannel 'pager' delivers: it took 12 ms\n");
    say_no("notify.test", US_ERROR_UNREACHABLE, "nobody takes the connection");
    understudy(5, "notify test ops");
    assert_says(err, "understudy: channel 'ops' does not deliver: nobody takes the connection");
    understudy(5, "notify test --json");
    assert_says(out, "\"delivered\": false");
}

static void test_events(void)
{
    static const char *const ARGV[] = {CLI_PROGRAM, "events", "--follow", NULL};
    g_autofree char *text = NULL;
    json_auto_t *doc = NULL;

    say("event.list", "{\"events\":[" EVENT("1", "one") "," EVENT("2", "two\\u001b[2J") "]}");
    understudy(0, "events --since 2h --scenario web");
    golden("events.txt");
    understudy(0, "events --since 30000d"); /* before there were clocks */
    understudy(0, "events --json");
    doc = document();
    g_assert_cmpuint(json_array_size(json_object_get(doc, "events")), ==, 2);
    say("event.list", "{\"events\":[" EVENT("3", "three") "]}");
    understudy(0, "events");
    text = first_lines(ARGV, 2);
    assert_says(text, "three");
}

static void test_odd_answers(void)
{
    say("scenario.list", "{}");
    understudy(0, "scenario list");
    say("host.list", "{\"hosts\":[{\"name\":7,\"addresses\":{},\"store\":[]},3,null]}");
    understudy(0, "host list");
    say("plan.list", "{\"plans\":3}");
    understudy(1, "plan show x");
}

static void test_page(void)
{
    static const char *const TITLES[] = {"A", ">B", NULL};
    g_autoptr(Page) page = page_new(TITLES);
    g_autofree char *text = NULL;
    g_autofree char *clean = page_clean("a\tb\xff\xe2\x80\xae"
                                        "c");

    page_cell(page, "é");
    page_cell(page, "1");
    page_cell(page, NULL);
    page_cellf(page, "%d", 100);
    text = page_text(page, 1);
    g_assert_cmpstr(text, ==, " A    B\n é    1\n -  100\n");
    g_assert_cmpstr(clean, ==, "a?b\xef\xbf\xbd?c");
}

/* Deleting many copies and testing a channel have no limit of ours; everything else has. */
static void test_limits(void)
{
    const ApiRoute *route;

    for (guint i = 0; (route = api_route_at(i)); i++)
        g_assert_cmpint(client_answer_s(route->operation) == 0, ==,
                        g_str_equal(route->operation, "scenario.delete") ||
                            g_str_equal(route->operation, "notify.test"));
}

static void add(const char *path, void (*test)(void))
{
    g_test_add_data_func(path, (gconstpointer)test, in_a_house);
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    add("/cli/help", test_help);
    add("/cli/bad-words", test_bad_words);
    add("/cli/login", test_login);
    add("/cli/login-by-url", test_login_by_url);
    add("/cli/login-interrupted", test_login_interrupted);
    add("/cli/where-the-controller-is", test_where_the_controller_is);
    add("/cli/not-there", test_not_there);
    add("/cli/wrong-token", test_wrong_token);
    add("/cli/wrong-authority", test_wrong_authority);
    add("/cli/other-address", test_other_address);
    add("/cli/admin-file", test_admin_file);
    add("/cli/saved-sessions", test_saved_sessions);
    add("/cli/hosts", test_hosts);
    add("/cli/scenarios", test_scenarios);
    add("/cli/full-output", test_full_output);
    add("/cli/verify", test_verify);
    add("/cli/fix", test_fix);
    add("/cli/run", test_run);
    add("/cli/run-fails", test_run_fails);
    add("/cli/waiting-has-an-end", test_waiting_has_an_end);
    add("/cli/actions", test_actions);
    add("/cli/wait-for-a-stop", test_wait_for_a_stop);
    add("/cli/a-stop-is-refused", test_a_stop_is_refused);
    add("/cli/switchover", test_switchover);
    add("/cli/switchover-loses", test_switchover_loses);
    add("/cli/switchover-from-a-branch", test_switchover_from_a_branch);
    add("/cli/switchover-from-a-point", test_switchover_from_a_point);
    add("/cli/switchover-from-the-beginning-of-a-point", test_switchover_from_the_beginning_of_a_point);
    add("/cli/order", test_order);
    add("/cli/switchover-stays", test_switchover_stays);
    add("/cli/switchover-by-force", test_switchover_by_force);
    add("/cli/plans", test_plans);
    add("/cli/status", test_status);
    add("/cli/status-away", test_status_away);
    add("/cli/status-words", test_status_words);
    add("/cli/tests-begin", test_tests_begin);
    add("/cli/tests-wait", test_tests_wait);
    add("/cli/tests-fail", test_tests_fail);
    add("/cli/tests-stop", test_tests_stop);
    add("/cli/tests-are-listed", test_tests_are_listed);
    add("/cli/tests-next", test_tests_next);
    add("/cli/tests-as-a-page", test_tests_as_a_page);
    add("/cli/tests-as-a-page-elsewhere", test_tests_as_a_page_elsewhere);
    add("/cli/drills", test_drills);
    add("/cli/drill-fails", test_drill_fails);
    add("/cli/status-proven", test_status_proven);
    add("/cli/points", test_points);
    add("/cli/points-kept", test_points_kept);
    add("/cli/watch", test_watch);
    add("/cli/events", test_events);
    add("/cli/notify", test_notify);
    add("/cli/odd-answers", test_odd_answers);
    g_test_add_func("/cli/page", test_page);
    g_test_add_func("/cli/find", test_find);
    g_test_add_func("/cli/limits", test_limits);
    rc = g_test_run();
    stage_keys_free();
    return rc;
}
