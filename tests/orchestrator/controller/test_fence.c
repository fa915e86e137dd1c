/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts are switched off by agents that do what they should, or anything else. What agents were told and did is in files of theirs. */
#include "orchestrator/fence.h"
#include "orchestrator/fence_file.h"
#include "tests/tree.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static const FenceTimes TIMES = {.limit_ms = 3000, .again_ms = 20, .look_ms = 3000};
static const FenceTimes PATIENT = {.limit_ms = PATIENCE_MS, .again_ms = 20, .look_ms = PATIENCE_MS};

typedef struct {
    uv_loop_t loop;
    uv_timer_t ticks; /* the loop turns */
    char *folder;
    char *agent;
    Fences *fences;
    GString *told; /* of events: "CODE text\n" */
    guint ended;
    gboolean is_off;
    gint64 sure_ms;
    GError *error;
} House;

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static void tell(void *user, const Event *event)
{
    House *h = user;

    g_string_append_printf(h->told, "%s %s\n", event_code_name(event->code), event->text);
}

static void house_begin(House *h, const FenceTimes *times)
{
    *h = (House){.folder = g_dir_make_tmp("understudy-fence-XXXXXX", NULL), .told = g_string_new(NULL)};
    h->agent = g_build_filename(h->folder, "agent", NULL);
    uv_loop_init(&h->loop);
    uv_timer_init(&h->loop, &h->ticks);
    uv_timer_start(&h->ticks, on_tick, 20, 20);
    h->fences = fences_new(&h->loop, h->folder, times, tell, h);
}

static void house_end(House *h)
{
    fences_close(h->fences);
    uv_close((uv_handle_t *)&h->ticks, NULL);
    uv_run(&h->loop, UV_RUN_DEFAULT);
    fences_free(h->fences);
    g_assert_cmpint(uv_loop_close(&h->loop), ==, 0);
    g_clear_error(&h->error);
    tree_remove(h->folder);
    g_string_free(h->told, TRUE);
    g_free(h->folder);
    g_free(h->agent);
}

/* What the agent does: "told" is a file of what it was told, "state" of what it has made of the host, $action what it is to do. */
static void write_agent(const House *h, const char *does)
{
    g_autofree char *text = g_strdup_printf("#!/bin/sh\n"
                                            "cd %s\n"
                                            "while read -r line; do echo \"$line\" >>told\n"
                                            "case $line in action=*) action=${line#action=} ;; esac; done\n"
                                            "%s\n",
                                            h->folder, does);

    g_assert_true(g_file_set_contents(h->agent, text, -1, NULL));
    g_assert_cmpint(chmod(h->agent, 0755), ==, 0);
}

static void write_host(const House *h, const char *text, mode_t mode)
{
    g_autofree char *path = g_build_filename(h->folder, "alpha", NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_cmpint(chmod(path, mode), ==, 0);
}

static void set_fence(const House *h, const char *does)
{
    g_autofree char *text =
        g_strdup_printf("# its board\n\nagent=%s\n ip=10.0.9.11\npassword=s3cr3t=word\n", h->agent);

    write_agent(h, does);
    write_host(h, text, 0600);
}

static void on_done(void *user, gint64 sure_ms, const GError *error)
{
    House *h = user;

    h->ended++;
    h->sure_ms = sure_ms;
    g_clear_error(&h->error);
    h->error = error ? g_error_copy(error) : NULL;
}

static void on_looked(void *user, gboolean is_off, const GError *error)
{
    on_done(user, 0, error);
    ((House *)user)->is_off = is_off;
}

static void wait_for(House *h, guint ended)
{
    gint64 deadline_ms = clock_steady_ms() + PATIENCE_MS;

    while (h->ended < ended) {
        g_assert_cmpint(clock_left_ms(deadline_ms), >, 0);
        uv_run(&h->loop, UV_RUN_ONCE);
    }
}

static void fence(House *h)
{
    guint before = h->ended;

    fence_start(h->fences, "alpha", on_done, h);
    g_assert_cmpuint(h->ended, ==, before);
    wait_for(h, before + 1);
}

static void look(House *h)
{
    guint before = h->ended;

    fence_look(h->fences, "alpha", on_looked, h);
    wait_for(h, before + 1);
}

static char *content(const House *h, const char *file)
{
    g_autofree char *path = g_build_filename(h->folder, file, NULL);
    char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? text : g_strdup("");
}

/* Nothing is certain, one event says so, and why. */
static void expect_failed(const House *h, const char *why)
{
    g_assert_nonnull(h->error);
    if (!strstr(h->error->message, why))
        g_error("'%s' does not say '%s'", h->error->message, why);
    g_assert_true(g_str_has_prefix(h->told->str, "FENCE_FAILED alpha could not be fenced: "));
    g_assert_nonnull(strstr(h->told->str, why));
    g_assert_true(strchr(h->told->str, '\n') == h->told->str + h->told->len - 1);
}

/* --- agents ------------------------------------------------------------------------ */

#define WORKS \
    "case $action in off) echo off >state ;; status) [ -f state ] && exit 2; exit 0 ;; *) exit 1 ;; esac"

static void test_works(void)
{
    House h;
    g_autofree char *told = NULL, *wanted = NULL;
    gint64 before_ms;

    house_begin(&h, &PATIENT);
    g_assert_false(fence_is_set(h.fences, "alpha"));
    set_fence(&h, WORKS);
    g_assert_true(fence_is_set(h.fences, "alpha"));
    g_assert_false(fence_is_set(h.fences, "beta"));
    look(&h);
    g_assert_no_error(h.error);
    g_assert_false(h.is_off);
    g_assert_cmpstr(h.told->str, ==, "");
    before_ms = clock_steady_ms();
    fence(&h);
    g_assert_no_error(h.error);
    g_assert_cmpint(h.sure_ms, >=, before_ms);
    g_assert_cmpint(h.sure_ms, <=, clock_steady_ms());
    wanted = g_strdup_printf("FENCED alpha was fenced: it is off, by %s\n", h.agent);
    g_assert_cmpstr(h.told->str, ==, wanted);
    look(&h);
    g_assert_true(h.is_off);
    told = content(&h, "told");
    g_assert_cmpstr(told, ==,
                    "ip=10.0.9.11\npassword=s3cr3t=word\naction=status\n"
                    "ip=10.0.9.11\npassword=s3cr3t=word\naction=off\n"
                    "ip=10.0.9.11\npassword=s3cr3t=word\naction=status\n"
                    "ip=10.0.9.11\npassword=s3cr3t=word\naction=status\n");
    house_end(&h);
}

/* Off some time after it was said to be. */
static void test_takes_its_time(void)
{
    House h;
    g_autofree char *told = NULL;

    house_begin(&h, &PATIENT);
    set_fence(&h, "[ $action = off ] && exit 0; echo >>asked; [ $(wc -l <asked) -ge 3 ] && exit 2; exit 0");
    fence(&h);
    g_assert_no_error(h.error);
    told = content(&h, "asked");
    g_assert_cmpstr(told, ==, "\n\n\n");
    house_end(&h);
}

static void test_stays_on(void)
{
    House h;

    house_begin(&h, &TIMES);
    set_fence(&h, "exit 0");
    fence(&h);
    expect_failed(&h, "says of its status: it is on");
    house_end(&h);
}

static void test_status_unknown(void)
{
    House h;

    house_begin(&h, &TIMES);
    set_fence(&h, "[ $action = off ] && exit 0; echo no such plug >&2; exit 1");
    fence(&h);
    expect_failed(&h, "its status is not known: ");
    expect_failed(&h, "ended with status 1; it said: no such plug");
    h.ended = 0;
    look(&h);
    g_assert_error(h.error, US_ERROR, US_ERROR_FAILED);
    house_end(&h);
}

/* One that is off, and whose agent could not do it: it may be on its way up. */
static void test_fails(void)
{
    House h;
    g_autofree char *told = NULL;

    house_begin(&h, &TIMES);
    set_fence(&h, "[ $action = status ] && exit 2; exit 1");
    fence(&h);
    expect_failed(&h, "ended with status 1");
    told = content(&h, "told");
    g_assert_null(strstr(told, "action=status"));
    house_end(&h);
}

/* A signal is no answer, whatever its number. */
static void test_killed(void)
{
    House h;

    house_begin(&h, &TIMES);
    set_fence(&h, "[ $action = off ] && exit 0; kill -INT $$");
    fence(&h);
    expect_failed(&h, "was killed by signal 2");
    house_end(&h);
}

static gboolean lives(const House *h, const char *file)
{
    g_autofree char *text = content(h, file);

    return *text && kill((pid_t)atoi(text), 0) == 0;
}

/* With what it has started. */
static void test_hangs(void)
{
    House h;
    gint64 deadline_ms = clock_steady_ms() + PATIENCE_MS;

    house_begin(&h, &TIMES);
    set_fence(&h, "sleep 1000 & echo $! >child; wait");
    fence(&h);
    expect_failed(&h, "took longer than 3 s and was killed");
    while (lives(&h, "child"))
        g_assert_cmpint(clock_left_ms(deadline_ms), >, 0);
    house_end(&h);
}

static void test_status_hangs(void)
{
    House h;

    house_begin(&h, &TIMES);
    set_fence(&h, "[ $action = off ] && exit 0; exec sleep 1000");
    fence(&h);
    expect_failed(&h, "was killed");
    house_end(&h);
}

static void test_says_much(void)
{
    House h;

    house_begin(&h, &PATIENT);
    set_fence(&h, "yes s3cr3t=word | head -c 10000000; " WORKS);
    fence(&h);
    g_assert_no_error(h.error);
    house_end(&h);
}

static void test_secrets(void)
{
    House h;
    g_autoptr(FenceFile) file = NULL;
    g_autofree char *plain = NULL, *cut = NULL, *controls = NULL;

    house_begin(&h, &TIMES);
    set_fence(&h, "echo login with s3cr3t=word at 10.0.9.11; exit 1");
    fence(&h);
    expect_failed(&h, "it said: login with *** at 10.0.9.11");
    g_assert_null(strstr(h.told->str, "s3cr3t"));
    file = fence_file_read(h.folder, "alpha", NULL);
    plain = fence_file_hide(file, "as3cr3t=words3cr3t=wordb", FALSE);
    g_assert_cmpstr(plain, ==, "a******b");
    cut = fence_file_hide(file, "0123456789abcdef s3cr3t=wor", TRUE);
    g_assert_cmpstr(cut, ==, "0123456789abcdef");
    controls = fence_file_hide(file, "a\nb\033[2J\n", FALSE);
    g_assert_cmpstr(controls, ==, "a b [2J");
    house_end(&h);
}

/* Who asks meanwhile hears of the same. */
static void test_asked_twice(void)
{
    House h;
    g_autofree char *told = NULL;

    house_begin(&h, &PATIENT);
    set_fence(&h, "until [ -f go ]; do sleep 0.02; done; " WORKS);
    fence_start(h.fences, "alpha", on_done, &h);
    fence_start(h.fences, "alpha", on_done, &h);
    write_host(&h, "agent=/nowhere\n", 0600);
    told = g_build_filename(h.folder, "go", NULL);
    g_assert_true(g_file_set_contents(told, "", 0, NULL));
    wait_for(&h, 2);
    g_assert_no_error(h.error);
    g_assert_true(strchr(h.told->str, '\n') == h.told->str + h.told->len - 1);
    house_end(&h);
}

/* Nothing is certain of a host whose controller ends. */
static void test_closed(void)
{
    House h;

    house_begin(&h, &PATIENT);
    set_fence(&h, "exec sleep 1000");
    fence_start(h.fences, "alpha", on_done, &h);
    fences_close(h.fences);
    g_assert_cmpuint(h.ended, ==, 1);
    g_assert_error(h.error, US_ERROR, US_ERROR_CANCELLED);
    g_assert_cmpstr(h.told->str, ==, "");
    house_end(&h);
}

/* --- files ------------------------------------------------------------------------ */

static void expect_refused(House *h, UsError code, const char *why)
{
    json_auto_t *doc = NULL;

    g_string_truncate(h->told, 0);
    fence(h);
    expect_failed(h, why);
    g_assert_error(h->error, US_ERROR, (int)code);
    doc = fence_describe(h->fences, "alpha");
    g_assert_nonnull(strstr(json_string_value(json_object_get(doc, "why")), why));
    g_assert_true(json_is_null(json_object_get(doc, "agent")));
}

static void test_whose(void)
{
    House h;
    g_autofree char *path = NULL, *other = NULL, *told = NULL;
    json_auto_t *doc = NULL;

    house_begin(&h, &TIMES);
    path = g_build_filename(h.folder, "alpha", NULL);
    other = g_build_filename(h.folder, "elsewhere", NULL);
    doc = fence_describe(h.fences, "alpha");
    g_assert_true(json_is_null(doc));
    fence(&h);
    expect_failed(&h, "No such file");
    set_fence(&h, WORKS);
    for (mode_t bit = 1; bit <= 0020; bit <<= 1) {
        if (bit == 0010)
            continue; /* a group that may execute a text may do nothing */
        g_assert_cmpint(chmod(path, 0600 | bit), ==, 0);
        expect_refused(&h, US_ERROR_REFUSED, "others may read or write it");
    }
    g_assert_cmpint(chmod(path, 0640), ==, 0);
    g_assert_cmpint(chown(path, 0, 12345), ==, 0);
    expect_refused(&h, US_ERROR_REFUSED, "others may read it, its group");
    g_assert_cmpint(chown(path, 12345, 0), ==, 0);
    expect_refused(&h, US_ERROR_REFUSED, "it belongs to another user");
    g_assert_cmpint(chown(path, 0, 0), ==, 0);
    g_assert_cmpint(g_rename(path, other), ==, 0);
    g_assert_cmpint(symlink(other, path), ==, 0);
    expect_refused(&h, US_ERROR_IO, g_strerror(ELOOP));
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_cmpint(mkdir(path, 0700), ==, 0);
    expect_refused(&h, US_ERROR_REFUSED, "it is no file");
    g_assert_cmpint(rmdir(path), ==, 0);
    g_assert_cmpint(g_rename(other, path), ==, 0);
    g_assert_cmpint(chmod(path, 0640), ==, 0);
    json_decref(doc);
    doc = fence_describe(h.fences, "alpha");
    g_assert_cmpstr(json_string_value(json_object_get(doc, "agent")), ==, h.agent);
    g_assert_true(json_is_null(json_object_get(doc, "why")));
    told = content(&h, "told");
    g_assert_cmpstr(told, ==, "");
    house_end(&h);
}

static void test_agents(void)
{
    House h;
    g_autofree char *told = NULL;

    house_begin(&h, &TIMES);
    set_fence(&h, WORKS);
    g_assert_cmpint(chmod(h.agent, 0644), ==, 0);
    expect_refused(&h, US_ERROR_REFUSED, "may not execute it");
    g_assert_cmpint(chmod(h.agent, 0775), ==, 0);
    expect_refused(&h, US_ERROR_REFUSED, "is not root's alone");
    g_assert_cmpint(chmod(h.agent, 0757), ==, 0);
    expect_refused(&h, US_ERROR_REFUSED, "is not root's alone");
    g_assert_cmpint(chmod(h.agent, 0755), ==, 0);
    g_assert_cmpint(chown(h.agent, 12345, 0), ==, 0);
    expect_refused(&h, US_ERROR_REFUSED, "is not root's alone");
    g_assert_cmpint(chown(h.agent, 0, 0), ==, 0);
    g_assert_cmpint(chmod(h.folder, 01777), ==, 0);
    expect_refused(&h, US_ERROR_REFUSED, "is not root's alone");
    g_assert_cmpint(chmod(h.folder, 0700), ==, 0);
    g_assert_true(g_file_set_contents(h.agent, "#!/nowhere/at/all\n", -1, NULL));
    g_assert_cmpint(chmod(h.agent, 0755), ==, 0);
    fence(&h);
    g_assert_nonnull(strstr(h.error->message, "cannot be started"));
    told = content(&h, "told");
    g_assert_cmpstr(told, ==, "");
    house_end(&h);
}

static void test_shapes(void)
{
    static const struct {
        const char *text;
        UsError code;
        const char *why;
    } CASES[] = {
        {"", US_ERROR_USAGE, "no agent="},
        {"# agent=/bin/true\n", US_ERROR_USAGE, "no agent="},
        {"ip=1\nagent=/bin/true\n", US_ERROR_USAGE, "line 1: agent= stands first"},
        {"agent=/bin/true\nagent=/bin/false\n", US_ERROR_USAGE, "line 2: agent= stands first"},
        {"agent=/bin/true\naction=on\n", US_ERROR_USAGE, "line 2: what is to be done"},
        {"agent=/bin/true\noption=on\n", US_ERROR_USAGE, "line 2: what is to be done"},
        {"agent=/bin/true\npassword\n", US_ERROR_USAGE, "line 2: not of the shape key=value"},
        {"agent=/bin/true\n=1\n", US_ERROR_USAGE, "line 2: not of the shape key=value"},
        {"agent=/bin/true\na b=1\n", US_ERROR_USAGE, "line 2: not of the shape key=value"},
        {"agent=/bin/true\na=1\r2\n", US_ERROR_USAGE, "line 2: a control character"},
        {"agent=bin/true\n", US_ERROR_REFUSED, "named by its whole path"},
        {"agent=fence_ipmilan\n", US_ERROR_REFUSED, "named by its whole path"},
        {"agent=\n", US_ERROR_REFUSED, "named by its whole path"},
        {"agent=/nowhere/at/all\n", US_ERROR_NOT_FOUND, "No such file"},
        {"agent=/etc\n", US_ERROR_REFUSED, "it is no program"},
    };
    House h;
    g_autofree char *long_one = g_strnfill(70000, '#');

    house_begin(&h, &TIMES);
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        write_host(&h, CASES[i].text, 0600);
        expect_refused(&h, CASES[i].code, CASES[i].why);
    }
    write_host(&h, long_one, 0600);
    expect_refused(&h, US_ERROR_REFUSED, "it is no text, or too long");
    house_end(&h);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (geteuid() != 0) {
        g_print("1..0 # SKIP agents must be root's\n");
        return 0;
    }
    g_test_add_func("/fence/works", test_works);
    g_test_add_func("/fence/takes-its-time", test_takes_its_time);
    g_test_add_func("/fence/stays-on", test_stays_on);
    g_test_add_func("/fence/status-unknown", test_status_unknown);
    g_test_add_func("/fence/fails", test_fails);
    g_test_add_func("/fence/killed", test_killed);
    g_test_add_func("/fence/hangs", test_hangs);
    g_test_add_func("/fence/status-hangs", test_status_hangs);
    g_test_add_func("/fence/says-much", test_says_much);
    g_test_add_func("/fence/secrets", test_secrets);
    g_test_add_func("/fence/asked-twice", test_asked_twice);
    g_test_add_func("/fence/closed", test_closed);
    g_test_add_func("/fence/whose", test_whose);
    g_test_add_func("/fence/agents", test_agents);
    g_test_add_func("/fence/shapes", test_shapes);
    return g_test_run();
}
