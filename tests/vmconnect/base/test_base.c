/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/conf.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/id.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/place.h"
#include "vmconnect/base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_id_round_trip(void)
{
    Id a = id_random();
    Id b;
    GError *error = NULL;

    g_assert_true(id_parse(ID_TEXT(a), &b, &error));
    g_assert_no_error(error);
    g_assert_true(id_equal(a, b));
    g_assert_false(id_is_nil(a));
    g_assert_true(id_is_nil(ID_NIL));
    g_assert_cmpint(a.bytes[6] >> 4, ==, 4);
    g_assert_cmpint(a.bytes[8] >> 6, ==, 2);
}

static void test_id_refuses(void)
{
    static const char *const BAD[] = {"",
                                      "x",
                                      "123e4567-e89b-12d3-a456-42661417400",
                                      "123e4567-e89b-12d3-a456-4266141740000",
                                      "123e4567xe89b-12d3-a456-426614174000",
                                      "123e4567-e89b-12d3-a456-42661417400g"};

    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(GError) error = NULL;
        Id id;

        g_assert_false(id_parse(BAD[i], &id, &error));
        g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    }
}

static void test_clock_round_trip(void)
{
    gint64 back;
    char buf[CLOCK_TEXT_LEN + 1];

    g_assert_cmpstr(clock_format(1795299414123, buf), ==, "2026-11-21T22:16:54.123Z");
    g_assert_true(clock_parse(buf, &back, NULL));
    g_assert_cmpint(back, ==, 1795299414123);
    g_assert_false(clock_parse("2026-11-21", &back, NULL));
    g_assert_false(clock_parse("2026-11-21T22:16:54+01:00", &back, NULL));
    g_assert_false(clock_parse("2026-13-21T22:16:54.123Z", &back, NULL));
    g_assert_false(clock_parse("1969-12-31T23:59:59.999Z", &back, NULL));
}

static void test_waits(void)
{
    g_assert_cmpint(clock_shorter_ms(-1, -1), ==, -1);
    g_assert_cmpint(clock_shorter_ms(-1, 5), ==, 5);
    g_assert_cmpint(clock_shorter_ms(5, -1), ==, 5);
    g_assert_cmpint(clock_shorter_ms(5, 0), ==, 0);
    /* The clock goes on while it is looked at: a deadline that is just over must not become "for ever". */
    for (gint64 end_ms = clock_steady_ms() + 50; clock_left_ms(end_ms) > 0;)
        g_assert_cmpint(clock_left_ms(clock_steady_ms()), ==, 0);
    g_assert_cmpint(clock_left_ms(clock_steady_ms() + G_MAXINT + G_GINT64_CONSTANT(100000)), ==, G_MAXINT);
}

static void test_log_levels(void)
{
    g_autoptr(GError) error = NULL;
    LogLevel level;

    g_assert_true(log_level_parse("error", &level, &error));
    g_assert_cmpint(level, ==, LOG_LEVEL_ERROR);
    g_assert_true(log_level_parse("debug", &level, &error));
    g_assert_cmpint(level, ==, LOG_LEVEL_DEBUG);
    g_assert_false(log_level_parse("loud", &level, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_assert_cmpstr(error->message, ==, "log: 'loud' is none of error, warning, notice, info and debug");
}

static void test_durations(void)
{
    static const struct {
        const char *text;
        gint64 ms;
    } GOOD[] = {{"0s", 0}, {"250ms", 250}, {"5s", 5000}, {"3m", 180000}, {"2h", 7200000}, {"1d", 86400000}};
    static const char *const BAD[] = {"", "5", "s", "-5s", "5.5s", "5 s", "5w", "99999999999999999d"};

    for (guint i = 0; i < G_N_ELEMENTS(GOOD); i++) {
        gint64 ms = -1;
        gint64 again = -1;
        g_autofree char *text = NULL;

        g_assert_true(units_parse_duration(GOOD[i].text, &ms, NULL));
        g_assert_cmpint(ms, ==, GOOD[i].ms);
        text = units_format_duration(ms);
        g_assert_true(units_parse_duration(text, &again, NULL));
        g_assert_cmpint(again, ==, ms);
    }
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(GError) error = NULL;
        gint64 ms;

        g_assert_false(units_parse_duration(BAD[i], &ms, &error));
        g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    }
}

static void test_sizes_and_rates(void)
{
    guint64 n = 0;
    g_autofree char *size = NULL;
    g_autofree char *rate = NULL;
    g_autofree char *human = units_human_size(1536 * 1024);

    g_assert_true(units_parse_size("64MiB", &n, NULL));
    g_assert_cmpuint(n, ==, 64 << 20);
    size = units_format_size(n);
    g_assert_cmpstr(size, ==, "64MiB");
    g_assert_true(units_parse_size("1G", &n, NULL));
    g_assert_cmpuint(n, ==, 1 << 30);
    g_assert_false(units_parse_size("1Gb", &n, NULL));
    g_assert_true(units_parse_rate("100mbit", &n, NULL));
    g_assert_cmpuint(n, ==, 12500000);
    rate = units_format_rate(n);
    g_assert_cmpstr(rate, ==, "100mbit");
    g_assert_true(units_parse_rate("10mbps", &n, NULL));
    g_assert_cmpuint(n, ==, 10000000);
    g_assert_true(units_parse_rate("0", &n, NULL));
    g_assert_cmpuint(n, ==, 0);
    g_assert_false(units_parse_rate("7bit", &n, NULL));
    g_assert_cmpstr(human, ==, "1.50 MiB");
}

static void test_errors(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) back = NULL;
    json_auto_t *doc = NULL;

    g_assert_false(us_error_errno(&error, ENOSPC, "writing %s", "x"));
    g_assert_error(error, US_ERROR, US_ERROR_NO_SPACE);
    g_assert_true(g_str_has_prefix(error->message, "writing x: "));
    g_assert_cmpint(us_error_http(error), ==, 507);
    doc = json_from_error(error);
    back = json_to_error(doc);
    g_assert_error(back, US_ERROR, US_ERROR_NO_SPACE);
    g_assert_cmpstr(back->message, ==, error->message);
    g_assert_cmpint(us_error_from_name("a code of tomorrow"), ==, US_ERROR_FAILED);
}

static gboolean parses(const char *text)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = json_parse(text, strlen(text), 10000, &error);

    if (!doc)
        g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    return doc != NULL;
}

/* @levels of nesting around @inner. */
static char *nested(guint levels, const char *inner)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < levels; i++)
        g_string_append(text, i % 2 ? "[" : "{\"a\\\"[\":");
    g_string_append(text, inner);
    for (guint i = levels; i > 0; i--)
        g_string_append(text, (i - 1) % 2 ? "]" : "}");
    return g_string_free(text, FALSE);
}

static void test_json_depth(void)
{
    g_autofree char *deepest = nested(JSON_DEPTH_MAX, "1");
    g_autofree char *beyond = nested(JSON_DEPTH_MAX + 1, "1");
    g_autofree char *quoted = nested(JSON_DEPTH_MAX, "\"[[[{{{\\\\\"");
    g_autofree char *wide = g_strdup_printf("[%s,%s]", "[[[]]],[[[]]],[[[]]],[[[]]],[[[]]],[[[]]]",
                                            "[[[]]],[[[]]],[[[]]],[[[]]],[[[]]],[[[]]]");
    g_autofree char *unfinished = g_strnfill(2000, '[');

    g_assert_true(parses(deepest));
    g_assert_false(parses(beyond));
    g_assert_true(parses(quoted));
    g_assert_true(parses(wide));
    g_assert_false(parses(unfinished));
    g_assert_false(parses("[\"\\"));
}

static void test_json_strict(void)
{
    g_autoptr(GError) error = NULL;
    const char *name = NULL;
    json_auto_t *doc = json_parse("{\"name\": \"web\", \"more\": 1}", 26, 100, &error);

    g_assert_no_error(error);
    g_assert_false(json_read(doc, "scenario", &error, "{s:s}", "name", &name));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_clear_error(&error);
    g_assert_true(json_read(doc, "scenario", &error, "{s:s*}", "name", &name));
    g_assert_cmpstr(name, ==, "web");
    g_assert_null(json_parse("{}", 2, 1, NULL));
    g_assert_null(json_parse("{\"a\":1,\"a\":2}", 13, 100, NULL));
}

static void test_durable(void)
{
    g_autofree char *dir = g_dir_make_tmp("understudy-XXXXXX", NULL);
    g_autofree char *deep = g_build_filename(dir, "a", "b", NULL);
    g_autofree char *path = g_build_filename(deep, "f", NULL);
    g_autofree char *parent = g_build_filename(dir, "a", NULL);
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    struct stat st;

    g_assert_true(durable_mkdir(deep, 0700, &error));
    g_assert_true(durable_replace(path, "one", 3, 0600, &error));
    g_assert_true(durable_replace(path, "two", 3, 0600, &error));
    g_assert_no_error(error);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "two");
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0600);
    g_assert_true(durable_remove(path, &error));
    g_assert_true(durable_remove(path, &error));
    g_assert_false(durable_replace("/proc/nowhere/x", "", 0, 0600, &error));
    g_assert_nonnull(error);
    g_rmdir(deep);
    g_rmdir(parent);
    g_rmdir(dir);
}

/* A file's place is known before it has its name, and goes with it; another one with the same bytes is elsewhere. */
static void test_place(void)
{
    g_autofree char *dir = g_dir_make_tmp("understudy-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "f", NULL);
    g_autofree char *copy = g_build_filename(dir, "copy", NULL);
    g_autofree char *begun = NULL, *ended = NULL, *copied = NULL, *none = NULL;
    g_autoptr(GError) error = NULL;
    int fd = durable_replace_begin(path, 0600, &error);

    g_assert_no_error(error);
    begun = place_of(fd, "", &error);
    g_assert_no_error(error);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    g_assert_true(durable_replace_end(path, fd, "one", 3, &error));
    ended = place_of(AT_FDCWD, path, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(begun, ==, ended);
    g_assert_true(durable_replace(copy, "one", 3, 0600, &error));
    copied = place_of(AT_FDCWD, copy, &error);
    g_assert_cmpstr(copied, !=, begun);
    g_unlink(path);
    g_unlink(copy);
    none = place_of(AT_FDCWD, path, &error);
    g_assert_null(none);
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_rmdir(dir);
}

static void test_conf(void)
{
    static const ConfKey KEYS[] = {{"listen", "0.0.0.0:25000", ""}, {"store", NULL, ""}, {NULL}};
    g_autofree char *dir = g_dir_make_tmp("understudy-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "engine.conf", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(Conf) absent = conf_load(path, "engine", KEYS, &error);
    g_autoptr(Conf) conf = NULL;

    g_assert_cmpstr(conf_get(absent, "listen"), ==, "0.0.0.0:25000");
    g_file_set_contents(path, "[engine]\nstore=/srv\n", -1, NULL);
    conf = conf_load(path, "engine", KEYS, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(conf_get(conf, "store"), ==, "/srv");
    g_assert_cmpstr(conf_get(conf, "listen"), ==, "0.0.0.0:25000");
    g_file_set_contents(path, "[engine]\nstor=/srv\n", -1, NULL);
    g_assert_null(conf_load(path, "engine", KEYS, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_assert_nonnull(strstr(error->message, "unknown key 'stor'"));
    g_unlink(path);
    g_rmdir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/base/id/round-trip", test_id_round_trip);
    g_test_add_func("/base/id/refuses", test_id_refuses);
    g_test_add_func("/base/clock", test_clock_round_trip);
    g_test_add_func("/base/clock/waits", test_waits);
    g_test_add_func("/base/log/levels", test_log_levels);
    g_test_add_func("/base/units/durations", test_durations);
    g_test_add_func("/base/units/sizes-and-rates", test_sizes_and_rates);
    g_test_add_func("/base/errors", test_errors);
    g_test_add_func("/base/json", test_json_strict);
    g_test_add_func("/base/json-depth", test_json_depth);
    g_test_add_func("/base/durable", test_durable);
    g_test_add_func("/base/place", test_place);
    g_test_add_func("/base/conf", test_conf);
    return g_test_run();
}
