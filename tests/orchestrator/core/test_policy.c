/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/lease/lease.h"
#include "orchestrator/core/policy.h"
#include "vmconnect/base/error.h"

#include <string.h>

static void expect_text(const Policy *p, const char *key, const char *text)
{
    g_autofree char *got = policy_get(p, key);

    g_assert_cmpstr(got, ==, text);
}

/* The defaults are promises of the command line. */
static void test_defaults(void)
{
    static const char *const PROMISED[][2] = {
        {"interval", "5s"},      {"countdown", "5m"},       {"switchover", "manual"},
        {"reverse", "manual"},   {"switchback", "manual"},  {"switchback_after", "10m"},
        {"retain", "24+24h"},    {"bandwidth", "0"},        {"compress", "auto"},
        {"freeze", "never"},     {"scratch", "1GiB"},       {"shutdown_timeout", "3m"},
        {"start_timeout", "5m"}, {"verify_interval", "1h"}, {"seed", "none"},
        {"tracking", "auto"},    {"probe_interval", "5s"},  {"probe_timeout", "5s"},
        {"probe_misses", "3"},   {"restart", "auto"},       {"reset_after", "3m"},
        {"test", "never"},       {"test_zone", "UTC"},      {"confirm", "no"},
        {"isolation", "pause"},  {"trust_clock", "no"},
    };
    Policy p;

    policy_init(&p);
    g_assert_cmpuint(policy_count(), ==, G_N_ELEMENTS(PROMISED));
    for (guint i = 0; i < G_N_ELEMENTS(PROMISED); i++)
        expect_text(&p, PROMISED[i][0], PROMISED[i][1]);
    g_assert_cmpint(p.interval_ms, ==, 5000);
    g_assert_cmpuint(p.scratch_bytes, ==, 1 << 30);
    g_assert_cmpint(p.retain.newest, ==, 24);
    g_assert_cmpint(p.retain.hourly, ==, 24);
}

static void test_set(void)
{
    static const struct {
        const char *key, *value, *text;
    } GOOD[] = {
        {"interval", "250ms", "250ms"},
        {"interval", "1h", "1h"},
        {"interval", "1s", "1s"},
        {"retain", "1", "1"},
        {"retain", "24+24h", "24+24h"},
        {"retain", "48+0h", "48"},
        {"retain", "24+12h+7d+4w", "24+12h+7d+4w"},
        {"retain", "1+4w+07d+36h", "1+36h+7d+4w"},
        {"retain", "2+46w", "2+46w"},
        {"bandwidth", "100mbit", "100mbit"},
        {"bandwidth", "0", "0"},
        {"bandwidth", "10mbps", "10mbps"},
        {"compress", "never", "never"},
        {"compress", "always", "always"},
        {"scratch", "64MiB", "64MiB"},
        {"switchover", "manual", "manual"},
        {"switchover", "auto", "auto"},
        {"confirm", "yes", "yes"},
        {"isolation", "run", "run"},
        {"trust_clock", "yes", "yes"},
        {"switchback", "auto", "auto"},
        {"switchback_after", "10s", "10s"},
        {"freeze", "always", "always"},
        {"shutdown_timeout", "5s", "5s"},
        {"seed", "/media/usb disk/images", "/media/usb disk/images"},
        {"seed", "/..a/b", "/..a/b"},
        {"seed", "none", "none"},
        {"test", "30 3 * * SUN", "30 3 * * SUN"},
        {"test", "@Daily", "@Daily"},
        {"test", "never", "never"},
        {"test_zone", "Europe/Berlin", "Europe/Berlin"},
        {"test_zone", "local", "local"},
    };
    Policy p;

    policy_init(&p);
    for (guint i = 0; i < G_N_ELEMENTS(GOOD); i++) {
        GError *error = NULL;

        g_assert_true(policy_set(&p, GOOD[i].key, GOOD[i].value, &error));
        g_assert_no_error(error);
        expect_text(&p, GOOD[i].key, GOOD[i].text);
    }
}

static void test_refusals(void)
{
    static const struct {
        const char *key, *value;
        int code;
        const char *sentence;
    } BAD[] = {
        {"interval", "5", US_ERROR_USAGE, "'5' is not a duration: write 250ms, 5s, 3m, 2h or 1d"},
        {"interval", "100ms", US_ERROR_USAGE, "interval '100ms' is out of range: it may be 250ms to 1h"},
        {"interval", "2h", US_ERROR_USAGE, "interval '2h' is out of range: it may be 250ms to 1h"},
        {"scratch", "1M", US_ERROR_USAGE, "scratch '1M' is out of range: it may be 64MiB to 1TiB"},
        {"scratch", "16000000TiB", US_ERROR_USAGE,
         "scratch '16000000TiB' is out of range: it may be 64MiB to 1TiB"},
        {"bandwidth", "1kbit", US_ERROR_USAGE,
         "bandwidth '1kbit' is out of range: it may be 0 for no limit, or 64kbit to 400gbit"},
        {"retain", "0", US_ERROR_USAGE,
         "retain '0' is out of range: it may be NEWEST[+HOURSh][+DAYSd][+WEEKSw], at most 48 in all"},
        {"retain", "0+24h", US_ERROR_USAGE, NULL},
        {"retain", "49", US_ERROR_USAGE, NULL},
        {"retain", "24+25h", US_ERROR_USAGE,
         "retain '24+25h' is out of range: it may be NEWEST[+HOURSh][+DAYSd][+WEEKSw], at most 48 in all"},
        {"retain", "24+12h+9d+4w", US_ERROR_USAGE, NULL},
        {"retain", "1+9223372036854775807h+9223372036854775807w", US_ERROR_USAGE,
         "retain '1+9223372036854775807h+9223372036854775807w' is out of range: it may be "
         "NEWEST[+HOURSh][+DAYSd][+WEEKSw], at most 48 in all"},
        {"retain", "24+", US_ERROR_USAGE,
         "'24+' does not say what to keep: write 24 for the 24 newest points only, or 24+12h+7d+4w for those "
         "and one of each of 12 hours, 7 days and 4 weeks"},
        {"retain", "24+1", US_ERROR_USAGE, NULL},
        {"retain", "24+1hh", US_ERROR_USAGE, NULL},
        {"retain", "", US_ERROR_USAGE, NULL},
        {"retain", "24h", US_ERROR_USAGE, NULL},
        {"retain", "24h+24", US_ERROR_USAGE, NULL},
        {"retain", "24+24", US_ERROR_USAGE, NULL},
        {"retain", "24+3d+3d", US_ERROR_USAGE, NULL},
        {"retain", "24+3m", US_ERROR_USAGE, NULL},
        {"retain", "24++3d", US_ERROR_USAGE, NULL},
        {"retain", "24+-3d", US_ERROR_USAGE, NULL},
        {"retain", "24+ 3d", US_ERROR_USAGE, NULL},
        {"compress", "lz4", US_ERROR_USAGE, "compress cannot be 'lz4': it may be auto | never | always"},
        {"switchover", "yes", US_ERROR_USAGE, "switchover cannot be 'yes': it may be manual | auto"},
        {"isolation", "stop", US_ERROR_USAGE, "isolation cannot be 'stop': it may be pause | run"},
        {"switchback", "later", US_ERROR_USAGE, "switchback cannot be 'later': it may be manual | auto"},
        {"switchback_after", "9s", US_ERROR_USAGE,
         "switchback_after '9s' is out of range: it may be 10s to 7d"},
        {"freeze", "auto", US_ERROR_USAGE, "freeze cannot be 'auto': it may be never | always"},
        {"tracking", "epoch", US_ERROR_UNSUPPORTED, NULL},
        {"tracking", "magic", US_ERROR_USAGE, "tracking cannot be 'magic': it may be auto"},
        {"seed", "media/usb", US_ERROR_USAGE,
         "seed 'media/usb' is not the name of a folder: write it from / on, without '..', as "
         "/media/usb/images"},
        {"seed", "", US_ERROR_USAGE, NULL},
        {"seed", "/media/../etc", US_ERROR_USAGE, NULL},
        {"seed", "/media/..", US_ERROR_USAGE, NULL},
        {"seed", "/media/\n", US_ERROR_USAGE, NULL},
        {"seed", "/media/\xff", US_ERROR_USAGE, NULL},
        {"test", "0 25 * * *", US_ERROR_USAGE,
         "test: the hour cannot be '25': write *, or values from 0 to 23, as a list (1,4), a range (1-4), or "
         "every so many (*/2, 1-4/2)"},
        {"test", "", US_ERROR_USAGE, NULL},
        {"test_zone", "UTC+2", US_ERROR_USAGE,
         "test_zone: 'UTC+2' is not the name of a time zone: write UTC, local, or a place as Europe/Berlin"},
        {"speed", "1", US_ERROR_USAGE,
         "there is no property 'speed'; 'understudy scenario set --help' lists them"},
    };
    Policy p, before;

    policy_init(&p);
    policy_init(&before);
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(policy_set(&p, BAD[i].key, BAD[i].value, &error));
        g_assert_error(error, US_ERROR, BAD[i].code);
        if (BAD[i].sentence)
            g_assert_cmpstr(error->message, ==, BAD[i].sentence);
        g_assert_true(policy_equal(&p, &before));
    }
}

static void test_when(void)
{
    static const struct {
        const char *key;
        PolicyMoment moment;
        const char *sentence;
    } CASES[] = {
        {"interval", POLICY_MOMENT_RUNNING, NULL},
        {"interval", POLICY_MOMENT_MOVED, NULL},
        {"tracking", POLICY_MOMENT_STOPPED, NULL},
        {"tracking", POLICY_MOMENT_RUNNING,
         "tracking may only change while the scenario is stopped: nothing was changed; stop it first"},
        {"reverse", POLICY_MOMENT_RUNNING, NULL},
        {"reverse", POLICY_MOMENT_MOVED,
         "reverse may not change between a switchover and the switchback: nothing was changed; switch "
         "back first"},
        {"switchover", POLICY_MOMENT_RUNNING, NULL},
        {"switchover", POLICY_MOMENT_MOVED,
         "switchover may not change between a switchover and the switchback: nothing was changed; switch "
         "back first"},
        {"isolation", POLICY_MOMENT_MOVED,
         "isolation may not change between a switchover and the switchback: nothing was changed; switch "
         "back first"},
        {"confirm", POLICY_MOMENT_MOVED, NULL},
        {"switchback", POLICY_MOMENT_MOVED, NULL},
        {"switchback_after", POLICY_MOMENT_MOVED, NULL},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_cmpint(policy_may_change(CASES[i].key, CASES[i].moment, &error), ==, !CASES[i].sentence);
        if (CASES[i].sentence) {
            g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
            g_assert_cmpstr(error->message, ==, CASES[i].sentence);
        }
    }
}

/* The shortest countdown leaves time for three renewals that are lost, and for stopping the guests. */
static void test_countdown_of_auto(void)
{
    g_autoptr(GError) error = NULL;
    LeaseTimes times;
    Policy p;

    policy_init(&p);
    g_assert_true(policy_set(&p, "countdown", "11s", NULL));
    g_assert_true(policy_check(&p, NULL));
    g_assert_true(policy_set(&p, "switchover", "auto", NULL));
    g_assert_false(policy_check(&p, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_assert_cmpstr(error->message, ==,
                    "countdown 11s is too short for switchover=auto: what runs on the master could not be "
                    "stopped surely before the replica starts it; set countdown to at least 12s, or "
                    "switchover=manual");
    g_assert_true(policy_set(&p, "countdown", "12s", NULL));
    g_assert_true(policy_check(&p, NULL));
    g_assert_true(lease_times(p.countdown_ms, &times, NULL));
    g_assert_cmpint(times.lease_ms, >=, LEASE_STOP_MS + 3 * times.renew_ms);
}

static void test_json(void)
{
    Policy p, back;
    json_auto_t *doc = NULL;
    json_auto_t *part = json_pack("{s:s}", "interval", "1s");
    json_auto_t *number = json_pack("{s:i}", "interval", 5);
    json_auto_t *stranger = json_pack("{s:s}", "speed", "1");
    g_autoptr(GError) error = NULL;

    policy_init(&p);
    g_assert_true(policy_set(&p, "compress", "never", NULL));
    g_assert_true(policy_set(&p, "retain", "3+2w", NULL));
    doc = policy_to_json(&p);
    g_assert_true(policy_from_json(doc, &back, &error));
    g_assert_true(policy_equal(&p, &back));

    g_assert_true(policy_from_json(part, &back, &error));
    g_assert_cmpint(back.interval_ms, ==, 1000);
    g_assert_cmpint(back.start_timeout_ms, ==, 300000);

    g_assert_false(policy_from_json(number, &back, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_clear_error(&error);
    g_assert_false(policy_from_json(stranger, &back, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
}

/* Help and schema leave no property out. */
static void test_help(void)
{
    g_autofree char *help = policy_help();
    json_auto_t *schema = policy_schema();

    g_assert_cmpuint(json_array_size(schema), ==, policy_count());
    for (guint i = 0; i < policy_count(); i++) {
        g_assert_nonnull(strstr(help, policy_at(i)->help));
        g_assert_nonnull(strstr(help, policy_at(i)->accepts));
        g_assert_true(policy_find(policy_at(i)->key) == policy_at(i));
    }
    g_assert_null(policy_find("speed"));
}

static void test_for_engines(void)
{
    Policy p;
    json_auto_t *active = NULL, *standby = NULL;
    json_auto_t *want_active =
        json_pack("{s:i, s:i, s:i, s:s, s:s}", "interval_ms", 5000, "scratch_bytes", 1 << 30, "bandwidth_bps",
                  12500000, "compress", "auto", "freeze", "never");
    json_auto_t *want_standby = json_pack("{s:i, s:i}", "newest", 24, "hourly", 24);
    json_auto_t *want_more =
        json_pack("{s:i, s:i, s:i, s:i}", "newest", 8, "hourly", 0, "daily", 7, "weekly", 4);
    json_auto_t *more = NULL;

    policy_init(&p);
    g_assert_true(policy_set(&p, "bandwidth", "100mbit", NULL));
    active = policy_for_active(&p);
    standby = policy_for_standby(&p);
    g_assert_true(json_equal(active, want_active));
    g_assert_true(json_equal(standby, want_standby));
    g_assert_true(policy_set(&p, "retain", "8+7d+4w", NULL));
    more = policy_for_standby(&p);
    g_assert_true(json_equal(more, want_more));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/policy/defaults", test_defaults);
    g_test_add_func("/policy/set", test_set);
    g_test_add_func("/policy/refusals", test_refusals);
    g_test_add_func("/policy/when", test_when);
    g_test_add_func("/policy/countdown-of-auto", test_countdown_of_auto);
    g_test_add_func("/policy/json", test_json);
    g_test_add_func("/policy/help", test_help);
    g_test_add_func("/policy/for-engines", test_for_engines);
    return g_test_run();
}
