/* SPDX-License-Identifier: Apache-2.0 */
/* What is told to be watched, by checks whose answers the test decides. */
#include "alone.h"
#include "post.h"
#include "server.h"

#include "tests/tree.h"
#include "tests/vmconnect/hypervisor/turn.h"
#include "tests/vmconnect/link/fixture.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/probe/watch.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#define PATIENCE_MS 30000
#define VM_A "6695eb01-f6a4-8304-79aa-97f2502e1930"
#define VM_B "6695eb01-f6a4-8304-79aa-97f2502e1931"
#define UP "{\"kind\":\"script\",\"argv\":[\"up\"]}"     /* answered while the file "yes" is there */
#define DOWN "{\"kind\":\"script\",\"argv\":[\"down\"]}" /* never */
#define QUICK "\"interval_ms\":250,\"timeout_ms\":250"
#define PATIENT "\"interval_ms\":20000,\"timeout_ms\":20000"

static House house;
static gboolean is_alone;

typedef struct {
    uv_loop_t loop;
    Watch *watch;
    char *dir;
    char *yes;
    guint news;
    json_t *told; /* each news must be other than this; NULL: it is not looked at */
    gboolean closed;
    /* What is waited for. */
    const char *list;
    guint subject, check;
    gboolean ever;
    int misses; /* at least; -1: none */
} Room;

static void script(const Room *r, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(r->dir, name, NULL);
    g_autofree char *whole = g_strconcat("#!/bin/sh\n", text, "\n", NULL);

    g_assert_true(g_file_set_contents(path, whole, -1, NULL));
    g_assert_cmpint(g_chmod(path, 0755), ==, 0);
}

static void say_yes(const Room *r, gboolean yes)
{
    if (yes)
        g_assert_true(g_file_set_contents(r->yes, "", 0, NULL));
    else
        g_assert_cmpint(g_unlink(r->yes), ==, 0);
}

static void on_news(void *user)
{
    Room *r = user;

    g_assert_false(r->closed);
    r->news++;
    if (r->told) {
        json_t *now = watch_status(r->watch);

        g_assert_false(json_equal(r->told, now));
        json_decref(r->told);
        r->told = now;
    }
}

static void set_up(Room *r, gconstpointer data)
{
    ProberPaths paths;

    (void)data;
    uv_loop_init(&r->loop);
    r->dir = g_dir_make_tmp("understudy-watch-XXXXXX", NULL);
    r->yes = g_build_filename(r->dir, "yes", NULL);
    script(r, "up", "test -e ${0%up}yes");
    script(r, "down", "exit 1");
    script(r, "hangs", "sleep 1000");
    say_yes(r, TRUE);
    paths = (ProberPaths){"qemu+unix:///system?socket=/nonexistent/sock", r->dir};
    r->watch = watch_new(&r->loop, &paths, on_news, r);
}

static void on_closed(void *user)
{
    Room *r = user;

    g_assert_false(r->closed);
    r->closed = TRUE;
}

static void tear_down(Room *r, gconstpointer data)
{
    (void)data;
    watch_close(r->watch, on_closed, r);
    loop_until(&r->loop, &r->closed);
    loop_end(&r->loop);
    tree_remove(r->dir);
    g_free(r->dir);
    g_free(r->yes);
}

/* --- telling it ------------------------------------------------------------- */

static gboolean set(Room *r, GError **error, const char *format, ...) G_GNUC_PRINTF(3, 4);
static gboolean set(Room *r, GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    json_auto_t *doc = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    doc = json_loads(text, 0, NULL);
    g_assert_nonnull(doc);
    return watch_set(r->watch, doc, error);
}

/* @guests: each as guest() has it, with commas. */
static void watch_guests(Room *r, const char *guests)
{
    g_autoptr(GError) error = NULL;
    guint news = r->news;

    g_assert_true(set(r, &error, "{\"hosts\":[],\"guests\":[%s]}", guests));
    g_assert_no_error(error);
    g_assert_cmpuint(r->news, >, news);
}

#define GUEST(vm, checks, times) "{\"vm\":\"" vm "\",\"checks\":[" checks "]," times "}"
#define GUEST_IN(vm, reign, checks, times) \
    "{\"vm\":\"" vm "\",\"reign\":" reign ",\"checks\":[" checks "]," times "}"

/* --- what it says ------------------------------------------------------------- */

/* Borrowed from @status. */
static json_t *score_in(const json_t *status, const char *list, guint subject, guint check)
{
    json_t *one = json_array_get(json_object_get(status, list), subject);

    return json_array_get(json_object_get(one, "checks"), check);
}

static gboolean is_so(void *user)
{
    const Room *r = user;
    json_auto_t *status = watch_status(r->watch);
    const json_t *score = score_in(status, r->list, r->subject, r->check);
    int misses = (int)json_integer_value(json_object_get(score, "misses"));

    g_assert_nonnull(score);
    return json_is_true(json_object_get(score, "tried")) &&
           json_boolean_value(json_object_get(score, "ever")) == r->ever &&
           (r->misses < 0 ? misses == 0 : misses >= r->misses);
}

/* Until that check was tried and has been answered @ever, and missed so often (-1: not). */
static void await_in(Room *r, const char *list, guint subject, guint check, gboolean ever, int misses)
{
    r->list = list;
    r->subject = subject;
    r->check = check;
    r->ever = ever;
    r->misses = misses;
    g_assert_true(turn_until(&r->loop, is_so, r, PATIENCE_MS));
}

static void await(Room *r, guint subject, guint check, gboolean ever, int misses)
{
    await_in(r, "guests", subject, check, ever, misses);
}

/* That it was never tried; or was, and its score is what it was. */
static void expect_new(Room *r, guint subject, guint check)
{
    json_auto_t *status = watch_status(r->watch);
    const json_t *score = score_in(status, "guests", subject, check);

    g_assert_true(json_is_false(json_object_get(score, "tried")));
    g_assert_true(json_is_false(json_object_get(score, "ever")));
    g_assert_cmpint(json_integer_value(json_object_get(score, "misses")), ==, 0);
    g_assert_true(json_is_null(json_object_get(score, "why")));
}

static json_t *score_of(Room *r, guint subject, guint check)
{
    json_auto_t *status = watch_status(r->watch);

    return json_incref(score_in(status, "guests", subject, check));
}

static void expect_kept(Room *r, guint subject, guint check, json_t *steal_score)
{
    json_auto_t *before = steal_score;
    json_auto_t *now = score_of(r, subject, check);

    g_assert_true(json_is_true(json_object_get(before, "tried")));
    g_assert_true(json_equal(before, now));
}

static void expect_status(Room *r, const char *text)
{
    json_auto_t *status = watch_status(r->watch);
    g_autofree char *said = json_text(status);

    g_assert_cmpstr(said, ==, text);
}

/* --- scores --------------------------------------------------------------------- */

static void test_nothing(Room *r, gconstpointer data)
{
    (void)data;
    expect_status(r, "{\"hosts\":[],\"guests\":[],\"gateway\":null}");
    watch_guests(r, "");
    expect_status(r, "{\"hosts\":[],\"guests\":[],\"gateway\":null}");
    watch_guests(r, GUEST(VM_A, "", QUICK));
    expect_status(r, "{\"hosts\":[],\"guests\":[{\"vm\":\"" VM_A "\",\"checks\":[]}],\"gateway\":null}");
}

static void test_words(Room *r, gconstpointer data)
{
    (void)data;
    watch_guests(r, GUEST_IN(VM_A, "7", UP, PATIENT) "," GUEST(VM_B, "", PATIENT));
    expect_status(r, "{\"hosts\":[],\"guests\":["
                     "{\"vm\":\"" VM_A "\",\"checks\":[{\"kind\":\"script\",\"words\":\"script up\","
                     "\"tried\":false,\"ever\":false,\"misses\":0,\"why\":null}],\"reign\":7},"
                     "{\"vm\":\"" VM_B "\",\"checks\":[]}],\"gateway\":null}");
}

/* Misses are those in a row, and "ever" stays. */
static void test_counts(Room *r, gconstpointer data)
{
    json_auto_t *score = NULL;

    (void)data;
    say_yes(r, FALSE);
    watch_guests(r, GUEST(VM_A, UP, QUICK));
    expect_new(r, 0, 0);
    await(r, 0, 0, FALSE, 1);
    await(r, 0, 0, FALSE, 3);
    score = score_of(r, 0, 0);
    g_assert_nonnull(strstr(json_string_value(json_object_get(score, "why")), "exited with status 1"));
    say_yes(r, TRUE);
    await(r, 0, 0, TRUE, -1);
    say_yes(r, FALSE);
    await(r, 0, 0, TRUE, 2);
    say_yes(r, TRUE);
    await(r, 0, 0, TRUE, -1);
}

static gboolean was_asked(void *user)
{
    return server_came(user) >= 5;
}

/* News are what is other than before: what lives makes none, however often it is asked; nor does what everybody knows to be silent. */
static void test_news(Room *r, gconstpointer data)
{
    Server *server = server_new(&r->loop, SERVER_SILENT, NULL, NULL);
    g_autofree char *guest = g_strdup_printf(
        GUEST(VM_A, "{\"kind\":\"tcp\",\"address\":\"127.0.0.1\",\"port\":%u}", QUICK), server_port(server));
    json_auto_t *last = NULL;

    (void)data;
    watch_guests(r, guest);
    r->told = watch_status(r->watch);
    g_assert_true(turn_until(&r->loop, was_asked, server, PATIENCE_MS));
    await(r, 0, 0, TRUE, -1);
    server_close(server);
    await(r, 0, 0, TRUE, 10);
    /* What was told last is what there is to tell. */
    last = watch_status(r->watch);
    g_assert_true(json_equal(r->told, last));
    g_clear_pointer(&r->told, json_decref);
}

/* A try that hangs is missed at its end, and is not begun anew meanwhile. */
static void test_hangs(Room *r, gconstpointer data)
{
    (void)data;
    watch_guests(r, GUEST(VM_A, "{\"kind\":\"script\",\"argv\":[\"hangs\"]}," UP, QUICK));
    await(r, 0, 1, TRUE, -1);
    await(r, 0, 0, FALSE, 2);
}

/* An agent that nobody can ask, because libvirtd is not there, has neither answered nor missed. */
static void test_not_made(Room *r, gconstpointer data)
{
    (void)data;
    watch_guests(r, GUEST(VM_A, "{\"kind\":\"agent\"}," DOWN, QUICK));
    await(r, 0, 1, FALSE, 4);
    expect_new(r, 0, 0);
}

static gboolean has_said_why(void *user)
{
    json_auto_t *score = score_of(user, 0, 0);

    return json_is_string(json_object_get(score, "why"));
}

/* Nor has one whose name nobody knows here: that the name servers are gone kills nobody. */
static void test_not_found(Room *r, gconstpointer data)
{
    json_auto_t *score = NULL;

    (void)data;
    watch_guests(r, GUEST(VM_A, "{\"kind\":\"tcp\",\"address\":\"999.1.1.1\",\"port\":80}," UP, QUICK));
    g_assert_true(turn_until(&r->loop, has_said_why, r, PATIENCE_MS));
    await(r, 0, 1, TRUE, -1);
    score = score_of(r, 0, 0);
    g_assert_true(json_is_false(json_object_get(score, "tried")));
    g_assert_cmpint(json_integer_value(json_object_get(score, "misses")), ==, 0);
    g_assert_nonnull(strstr(json_string_value(json_object_get(score, "why")), "its name is not found"));
}

/* --- the next telling ----------------------------------------------------------- */

static void test_same_again(Room *r, gconstpointer data)
{
    json_t *up, *down;

    (void)data;
    watch_guests(r, GUEST_IN(VM_A, "3", UP "," DOWN, QUICK));
    await(r, 0, 0, TRUE, -1);
    await(r, 0, 1, FALSE, 2);
    up = score_of(r, 0, 0);
    down = score_of(r, 0, 1);
    watch_guests(r, GUEST_IN(VM_A, "3", UP "," DOWN, QUICK));
    expect_kept(r, 0, 0, up);
    expect_kept(r, 0, 1, down);
    /* Elsewhere in the list, and beside others: what is new begins at nothing. */
    up = score_of(r, 0, 0);
    down = score_of(r, 0, 1);
    watch_guests(r, GUEST(VM_B, UP, QUICK) "," GUEST_IN(VM_A, "3", DOWN "," UP "," DOWN, QUICK));
    expect_new(r, 0, 0);
    expect_kept(r, 1, 0, down);
    expect_kept(r, 1, 1, up);
    expect_new(r, 1, 2);
    /* They go on where they were. */
    await(r, 1, 0, FALSE, 4);
    await(r, 0, 0, TRUE, -1);
}

static void test_other_than_before(Room *r, gconstpointer data)
{
    (void)data;
    watch_guests(r, GUEST_IN(VM_A, "3", UP "," DOWN, QUICK));
    await(r, 0, 0, TRUE, -1);
    await(r, 0, 1, FALSE, 1);
    /* Another program; and one that is asked from elsewhere is another check. */
    watch_guests(r, GUEST_IN(VM_A, "3",
                             "{\"kind\":\"script\",\"argv\":[\"up\",\"x\"]},{\"kind\":\"script\",\"argv\":"
                             "[\"down\"],\"from\":\"active\"}",
                             QUICK));
    expect_new(r, 0, 0);
    expect_new(r, 0, 1);
    await(r, 0, 0, TRUE, -1);
    /* The same in another reign ran elsewhere. */
    watch_guests(r, GUEST_IN(VM_A, "4", "{\"kind\":\"script\",\"argv\":[\"up\",\"x\"]}", QUICK));
    expect_new(r, 0, 0);
    await(r, 0, 0, TRUE, -1);
    /* Another guest's. */
    watch_guests(r, GUEST_IN(VM_B, "4", "{\"kind\":\"script\",\"argv\":[\"up\",\"x\"]}", QUICK));
    expect_new(r, 0, 0);
    await(r, 0, 0, TRUE, -1);
    /* Forgotten, and told again. */
    watch_guests(r, "");
    expect_status(r, "{\"hosts\":[],\"guests\":[],\"gateway\":null}");
    watch_guests(r, GUEST_IN(VM_B, "4", "{\"kind\":\"script\",\"argv\":[\"up\",\"x\"]}", QUICK));
    expect_new(r, 0, 0);
}

/* The wrong is refused as a whole, and nothing is other than before. */
static void test_refused(Room *r, gconstpointer data)
{
    static const char *const BAD[] = {
        "[]",
        "{}",
        "{\"hosts\":[]}",
        "{\"guests\":[]}",
        "{\"hosts\":[],\"guests\":[],\"more\":1}",
        "{\"hosts\":{},\"guests\":[]}",
        "{\"hosts\":[],\"guests\":null}",
        "{\"hosts\":[],\"guests\":\"none\"}",
        "{\"hosts\":[],\"guests\":[1]}",
        "{\"hosts\":[],\"guests\":[{}]}",
        "{\"hosts\":[],\"guests\":[" GUEST("x", "", QUICK) "]}",
        "{\"hosts\":[],\"guests\":[" GUEST(VM_B, "1", QUICK) "]}",
        "{\"hosts\":[],\"guests\":[" GUEST(VM_B, "{\"kind\":\"script\"}", QUICK) "]}",
        "{\"hosts\":[],\"guests\":[" GUEST(VM_B, "{\"kind\":\"beat\",\"address\":\"127.0.0.1\"}", QUICK) "]}",
        "{\"hosts\":[],\"guests\":[" GUEST_IN(VM_B, "\"1\"", "", QUICK) "]}",
        "{\"hosts\":[],\"guests\":[{\"vm\":\"" VM_B "\",\"checks\":{}," QUICK "}]}",
        "{\"hosts\":[],\"guests\":[{\"vm\":\"" VM_B "\",\"checks\":\"agent\"," QUICK "}]}",
        "{\"hosts\":[],\"guests\":[" GUEST(VM_B, "", "\"interval_ms\":249,\"timeout_ms\":249") "]}",
        "{\"hosts\":[],\"guests\":[" GUEST(VM_B, "", "\"interval_ms\":250,\"timeout_ms\":249") "]}",
        "{\"hosts\":[],\"guests\":[" GUEST(VM_B, "", "\"interval_ms\":250,\"timeout_ms\":251") "]}",
        "{\"hosts\":[],\"guests\":[" GUEST(VM_B, "", "\"interval_ms\":3600001,\"timeout_ms\":250") "]}",
        "{\"hosts\":[],\"guests\":[" GUEST(VM_B, "", "\"interval_ms\":-1,\"timeout_ms\":-1") "]}",
        "{\"hosts\":[],\"guests\":[" GUEST(VM_B, "", "\"interval_ms\":1.5,\"timeout_ms\":1") "]}",
        /* The first of them is good. */
        "{\"hosts\":[],\"guests\":[" GUEST(VM_B, UP, QUICK) "," GUEST(VM_B, "1", QUICK) "]}",
    };
    json_auto_t *before = NULL;
    guint news;

    (void)data;
    watch_set_identity(r->watch, house.active);
    watch_guests(r, GUEST(VM_A, UP, PATIENT));
    before = watch_status(r->watch);
    news = r->news;
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        json_auto_t *now = NULL;
        g_autoptr(GError) error = NULL;

        if (set(r, &error, "%s", BAD[i]))
            g_error("taken: %s", BAD[i]);
        g_assert_error(error, US_ERROR, US_ERROR_USAGE);
        now = watch_status(r->watch);
        g_assert_true(json_equal(before, now));
    }
    g_assert_cmpuint(r->news, ==, news);
}

static void test_too_many(Room *r, gconstpointer data)
{
    g_autoptr(GString) checks = g_string_new(UP);
    g_autoptr(GString) guests = g_string_new(GUEST(VM_A, "", QUICK));
    g_autoptr(GError) of_checks = NULL;
    g_autoptr(GError) of_guests = NULL;

    (void)data;
    for (guint i = 1; i < 17; i++)
        g_string_append(checks, "," DOWN);
    for (guint i = 1; i < 4097; i++)
        g_string_append(guests, "," GUEST(VM_A, "", QUICK));
    g_assert_false(set(r, &of_checks, "{\"hosts\":[],\"guests\":[{\"vm\":\"%s\",\"checks\":[%s],%s}]}", VM_A,
                       checks->str, QUICK));
    g_assert_error(of_checks, US_ERROR, US_ERROR_USAGE);
    g_assert_false(set(r, &of_guests, "{\"hosts\":[],\"guests\":[%s]}", guests->str));
    g_assert_error(of_guests, US_ERROR, US_ERROR_USAGE);
    g_string_truncate(checks, checks->len - strlen("," DOWN));
    g_assert_true(set(r, NULL, "{\"hosts\":[],\"guests\":[{\"vm\":\"%s\",\"checks\":[%s],%s}]}", VM_A,
                      checks->str, PATIENT));
}

/* --- hosts ----------------------------------------------------------------------- */

static gboolean set_host(Room *r, Identity *who, const char *addresses, GError **error)
{
    return set(r, error, "{\"hosts\":[{\"id\":\"%s\",\"addresses\":[%s],%s}],\"guests\":[]}",
               ID_TEXT(identity_peer(who).id), addresses, QUICK);
}

static void expect_kind(Room *r, guint check, const char *kind)
{
    json_auto_t *status = watch_status(r->watch);

    g_assert_cmpstr(json_string_value(json_object_get(score_in(status, "hosts", 0, check), "kind")), ==,
                    kind);
}

/* Each of its addresses is a path: the engine is heard there, and the host. */
static void test_host(Room *r, gconstpointer data)
{
    Post post = {0};
    g_autofree char *addresses = NULL;

    (void)data;
    if (!is_alone) {
        g_test_skip("it takes root to ask for pings");
        return;
    }
    watch_set_identity(r->watch, house.active);
    post_open(&post, &r->loop, house.standby);
    addresses = g_strdup_printf("\"127.0.0.1:%u\",\"[::1]:%u\"", post.port, post.port);
    g_assert_true(set_host(r, house.standby, addresses, NULL));
    expect_kind(r, 0, "beat");
    expect_kind(r, 1, "ping");
    expect_kind(r, 2, "beat");
    expect_kind(r, 3, "ping");
    await_in(r, "hosts", 0, 0, TRUE, -1);
    await_in(r, "hosts", 0, 1, TRUE, -1);
    await_in(r, "hosts", 0, 3, TRUE, -1);
    await_in(r, "hosts", 0, 2, FALSE, 2); /* it does not listen there */
    /* Its engine ends, and its host lives. */
    post_close(&post);
    await_in(r, "hosts", 0, 0, TRUE, 2);
    await_in(r, "hosts", 0, 1, TRUE, -1);
    /* Its host dies. */
    alone_answer(FALSE, FALSE);
    await_in(r, "hosts", 0, 1, TRUE, 2);
    alone_answer(TRUE, TRUE);
    await_in(r, "hosts", 0, 1, TRUE, -1);
    post_open(&post, &r->loop, house.standby);
    await_in(r, "hosts", 0, 0, TRUE, -1);
    post_close(&post);
}

static void test_bad_hosts(Room *r, gconstpointer data)
{
    static const char *const BAD[] = {
        "1", "\"\"", "\"[::1\"", "\"127.0.0.1:0\"", "\"127.0.0.1:65536\"", "\"127.0.0.1\",null"};

    (void)data;
    watch_set_identity(r->watch, house.active);
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(GError) error = NULL;

        if (set_host(r, house.standby, BAD[i], &error))
            g_error("taken: %s", BAD[i]);
        g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    }
    {
        g_autoptr(GError) error = NULL;

        g_assert_false(set(r, &error,
                           "{\"hosts\":[{\"id\":\"%s\",\"addresses\":\"127.0.0.1\",%s}],\"guests\":[]}",
                           ID_TEXT(identity_peer(house.standby).id), QUICK));
        g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    }
    expect_status(r, "{\"hosts\":[],\"guests\":[],\"gateway\":null}");
}

/* Who has no owner watches nobody; with another owner all is forgotten, with the same one nothing. */
static void test_identity(Room *r, gconstpointer data)
{
    g_autofree char *addresses = g_strdup_printf("\"127.0.0.1:%u\"", dead_port());
    g_autoptr(GError) error = NULL;
    json_t *score;

    (void)data;
    g_assert_false(set_host(r, house.standby, addresses, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    expect_status(r, "{\"hosts\":[],\"guests\":[],\"gateway\":null}");
    watch_set_identity(r->watch, house.active);
    watch_guests(r, GUEST(VM_A, DOWN, QUICK));
    await(r, 0, 0, FALSE, 1);
    score = score_of(r, 0, 0);
    watch_set_identity(r->watch, house.active);
    expect_kept(r, 0, 0, score);
    watch_set_identity(r->watch, NULL);
    expect_status(r, "{\"hosts\":[],\"guests\":[],\"gateway\":null}");
}

/* --- the end ---------------------------------------------------------------------- */

/* While everything is under way: nothing is news any more, and all of it goes. */
static void test_close(Room *r, gconstpointer data)
{
    Server *silent = server_new(&r->loop, SERVER_SILENT, NULL, NULL);
    guint news;

    (void)data;
    watch_set_identity(r->watch, house.active);
    g_assert_true(set(r, NULL,
                      "{\"hosts\":[{\"id\":\"%s\",\"addresses\":[\"127.0.0.1:%u\"],%s}],\"guests\":["
                      "{\"vm\":\"%s\",\"checks\":[{\"kind\":\"http\",\"url\":\"%s\"},{\"kind\":\"script\","
                      "\"argv\":[\"hangs\"]},{\"kind\":\"agent\"}," DOWN "],%s}]}",
                      ID_TEXT(identity_peer(house.standby).id), server_port(silent), QUICK, VM_A,
                      server_url(silent), QUICK));
    await(r, 0, 3, FALSE, 2);
    server_close(silent);
    news = r->news;
    tear_down(r, NULL);
    g_assert_cmpuint(r->news, ==, news);
    *r = (Room){0};
    set_up(r, NULL); /* for what tears down */
}

static void add(const char *path, void (*test)(Room *room, gconstpointer data))
{
    g_test_add(path, Room, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    is_alone = alone();
    house_init(&house);
    add("/watch/nothing", test_nothing);
    add("/watch/words", test_words);
    add("/watch/scores/counted", test_counts);
    add("/watch/scores/what lives is no news", test_news);
    add("/watch/scores/what hangs is missed", test_hangs);
    add("/watch/scores/what cannot be tried is not missed", test_not_made);
    add("/watch/scores/what is not found is not missed", test_not_found);
    add("/watch/set/the same keeps its score", test_same_again);
    add("/watch/set/what is new begins anew", test_other_than_before);
    add("/watch/set/refused", test_refused);
    add("/watch/set/too many", test_too_many);
    add("/watch/hosts/each address is a path", test_host);
    add("/watch/hosts/no addresses", test_bad_hosts);
    add("/watch/hosts/identity", test_identity);
    add("/watch/closed while everything is under way", test_close);
    rc = g_test_run();
    house_clear(&house);
    return rc;
}
