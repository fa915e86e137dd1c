/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/policy.h"

#include <glib/gstdio.h>
#include <string.h>

static const char ACTIVE[] =
    "{\"vm\":\"6f2f9d3a-0c4b-4d6e-9a51-3d1d0b7f7a10\",\"scenario\":\"web\","
    "\"reign\":{\"number\":3,\"id\":\"11111111-2222-4333-8444-555555555555\"},"
    "\"standby\":{\"id\":\"aaaaaaaa-2222-4333-8444-555555555555\",\"name\":\"beta\",\"addresses\":[\"10.0.0."
    "2:25000\"]},"
    "\"policy\":{\"interval_ms\":5000,\"scratch_bytes\":1073741824,\"bandwidth_bps\":0,\"compress\":\"auto\","
    "\"freeze\":\"never\"},\"paused\":false,\"vouched\":true}";

static const char STANDBY[] =
    "{\"vm\":\"6f2f9d3a-0c4b-4d6e-9a51-3d1d0b7f7a10\",\"scenario\":\"web\",\"name\":\"web 1 & <more>\","
    "\"reign\":{\"number\":3,\"id\":\"11111111-2222-4333-8444-555555555555\"},"
    "\"active\":{\"id\":\"aaaaaaaa-2222-4333-8444-555555555555\"},\"networks\":{\"default\":\"prod\"},"
    "\"retain\":{\"newest\":24,\"hourly\":12,\"daily\":7,\"weekly\":4}}";

static const char SEEDED[] =
    "{\"vm\":\"6f2f9d3a-0c4b-4d6e-9a51-3d1d0b7f7a10\",\"scenario\":\"web\",\"name\":\"web1\","
    "\"reign\":{\"number\":3,\"id\":\"11111111-2222-4333-8444-555555555555\"},"
    "\"active\":{\"id\":\"aaaaaaaa-2222-4333-8444-555555555555\"},\"networks\":{},"
    "\"retain\":{\"newest\":24,\"hourly\":12},\"seed\":\"/media/usb disk\"}";

static json_t *parse(const char *text)
{
    json_t *doc = json_parse(text, strlen(text), 1 << 20, NULL);

    g_assert_nonnull(doc);
    return doc;
}

static void test_roles_round_trip(void)
{
    json_auto_t *a = parse(ACTIVE);
    json_auto_t *s = parse(STANDBY);
    g_autoptr(GError) error = NULL;
    g_autoptr(ActiveRole) active = active_role_from_json(a, &error);
    g_autoptr(StandbyRole) standby = standby_role_from_json(s, &error);
    json_auto_t *a2 = NULL;
    json_auto_t *s2 = NULL;

    g_assert_no_error(error);
    a2 = active_role_to_json(active);
    s2 = standby_role_to_json(standby);
    g_assert_true(json_equal(a, a2));
    g_assert_true(json_equal(s, s2));
}

static void test_seed(void)
{
    static const char *const REFUSED[] = {"media", "", "/media/../etc", "/media/\t"};
    json_auto_t *doc = parse(SEEDED);
    g_autoptr(GError) error = NULL;
    g_autoptr(StandbyRole) role = standby_role_from_json(doc, &error);
    g_autoptr(StandbyRole) copy = NULL;
    json_auto_t *again = NULL;

    g_assert_no_error(error);
    copy = standby_role_copy(role);
    again = standby_role_to_json(copy);
    g_assert_true(json_equal(doc, again));
    for (guint i = 0; i < G_N_ELEMENTS(REFUSED); i++) {
        g_clear_error(&error);
        json_object_set_new(doc, "seed", json_string(REFUSED[i]));
        g_assert_null(standby_role_from_json(doc, &error));
        g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    }
}

/* @path is "key" or "outer.key"; the value replaces what is there. */
static void expect_active_refused(const char *path, json_t *value)
{
    json_auto_t *doc = parse(ACTIVE);
    g_auto(GStrv) keys = g_strsplit(path, ".", 2);
    g_autoptr(GError) error = NULL;
    json_t *inner = keys[1] ? json_object_get(doc, keys[0]) : doc;

    json_object_set_new(inner, keys[1] ? keys[1] : keys[0], value);
    g_assert_null(active_role_from_json(doc, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
}

static void test_active_refuses(void)
{
    expect_active_refused("vm", json_string("web1"));
    expect_active_refused("scenario", json_string(""));
    expect_active_refused("reign.number", json_integer(0));
    expect_active_refused("standby.addresses", json_array());
    expect_active_refused("standby.addresses", json_pack("[i]", 1));
    expect_active_refused("policy.interval_ms", json_integer(249));
    expect_active_refused("policy.interval_ms", json_integer(G_MAXINT64));
    expect_active_refused("policy.scratch_bytes", json_integer(1));
    expect_active_refused("policy.bandwidth_bps", json_integer(-1));
    expect_active_refused("policy.compress", json_string("maybe"));
    expect_active_refused("policy.freeze", json_string("maybe"));
    expect_active_refused("unknown", json_true());
}

/* What an engine of before was told is read, and what it would be told is said as it knows it. */
static void test_retain(void)
{
    static const char *const AS_THEY_ARE[] = {
        "{\"newest\":24,\"hourly\":24}",
        "{\"newest\":1,\"hourly\":0,\"daily\":7}",
        "{\"newest\":1,\"hourly\":2,\"daily\":3,\"weekly\":4}",
    };
    static const char *const REFUSED[] = {
        "{\"newest\":0,\"hourly\":24}",
        "{\"newest\":1}",
        "{\"newest\":1,\"hourly\":-1}",
        "{\"newest\":1,\"hourly\":1,\"daily\":-1}",
        "{\"newest\":1,\"hourly\":1,\"weekly\":\"4\"}",
        "{\"newest\":1,\"hourly\":1,\"yearly\":1}",
    };
    RetentionPolicy retain = {0};

    for (guint i = 0; i < G_N_ELEMENTS(AS_THEY_ARE); i++) {
        json_auto_t *doc = parse(AS_THEY_ARE[i]);
        json_auto_t *again = NULL;

        g_assert_true(retain_from_json(doc, &retain, NULL));
        again = retain_to_json(retain);
        g_assert_true(json_equal(doc, again));
    }
    for (guint i = 0; i < G_N_ELEMENTS(REFUSED); i++) {
        json_auto_t *doc = parse(REFUSED[i]);
        g_autoptr(GError) error = NULL;

        g_assert_false(retain_from_json(doc, &retain, &error));
        g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    }
    g_assert_cmpuint(retain.weeks, ==, 4);
}

static void test_document(void)
{
    g_autofree char *dir = g_dir_make_tmp("understudy-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "policy.json", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(Policy) policy = policy_load(path, &error);
    g_autoptr(Policy) again = NULL;
    json_auto_t *a = parse(ACTIVE);
    json_auto_t *s = parse(STANDBY);
    g_autofree char *text = NULL;
    Id vm;

    g_assert_no_error(error);
    policy_set_active(policy, active_role_from_json(a, NULL));
    policy_set_active(policy, active_role_from_json(a, NULL));
    policy_set_standby(policy, standby_role_from_json(s, NULL));
    text = policy_text(policy);
    g_assert_true(durable_replace(policy_path(policy), text, strlen(text), 0600, NULL));
    again = policy_load(path, &error);
    g_assert_no_error(error);
    id_parse("6f2f9d3a-0c4b-4d6e-9a51-3d1d0b7f7a10", &vm, NULL);
    g_assert_cmpint(policy_active(again, vm)->settings.interval_ms, ==, 5000);
    g_assert_cmpstr(policy_standby(again, vm)->name, ==, "web 1 & <more>");
    policy_forget_active(again, vm);
    g_assert_null(policy_active(again, vm));
    g_unlink(path);
    g_rmdir(dir);
}

/* A damaged or newer file is an error, and is still there afterwards. */
static void test_damaged(void)
{
    static const struct {
        const char *text;
        int code;
    } BAD[] = {{"", US_ERROR_CORRUPT},
               {"{\"format\":1,\"active\":[", US_ERROR_CORRUPT},
               {"{\"format\":1,\"active\":[{}],\"standby\":[]}", US_ERROR_CORRUPT},
               {"{\"format\":2,\"anything\":1}", US_ERROR_UNSUPPORTED}};
    g_autofree char *dir = g_dir_make_tmp("understudy-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "policy.json", NULL);

    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *left = NULL;

        g_file_set_contents(path, BAD[i].text, -1, NULL);
        g_assert_null(policy_load(path, &error));
        g_assert_error(error, US_ERROR, BAD[i].code);
        g_file_get_contents(path, &left, NULL, NULL);
        g_assert_cmpstr(left, ==, BAD[i].text);
    }
    g_unlink(path);
    g_rmdir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/policy/roles-round-trip", test_roles_round_trip);
    g_test_add_func("/policy/active-refuses", test_active_refuses);
    g_test_add_func("/policy/seed", test_seed);
    g_test_add_func("/policy/retain", test_retain);
    g_test_add_func("/policy/document", test_document);
    g_test_add_func("/policy/damaged", test_damaged);
    return g_test_run();
}
