/* SPDX-License-Identifier: Apache-2.0 */
/* What a controller is told of a status that changes: not more than it must know, at the time that it must, and whoever puts the
 * news together has what the engine has. */
#include "vmconnect/tidings.h"

#include <string.h>

static json_t *status_of(const char *text)
{
    json_error_t why;
    json_t *doc = json_loads(text, 0, &why);

    if (!doc)
        g_error("%s: %s", text, why.text);
    return doc;
}

/* One active and one standby; lag, tip, state and word of the active's. */
static json_t *ordinary(int lag_ms, int tip, const char *state, const char *word)
{
    g_autofree char *text = g_strdup_printf(
        "{\"complete\":true,\"active\":[{\"vm\":\"a\",\"state\":\"%s\",\"standbys\":[{\"lag_ms\":%d,\"tip\":{"
        "\"n\":%d},"
        "\"compare\":{\"state\":\"running\",\"done_bytes\":%d}}]}],\"standby\":[{\"vm\":\"b\",\"tip\":null,"
        "\"points\":%d}],\"guests\":[{\"vm\":\"a\",\"word\":\"%s\"}],\"libvirt\":{\"up\":true},\"watch\":{}}",
        state, lag_ms, tip, tip, tip, word);

    return status_of(text);
}

/* Takes @steal_status. What is said, or "" and until when it can wait. */
static char *say(Tidings *t, json_t *steal_status, gint64 now_ms, gboolean at_once)
{
    gint64 due_ms;
    json_auto_t *news = tidings_take(t, steal_status, now_ms, at_once, &due_ms);
    char *text = news ? json_dumps(news, JSON_COMPACT | JSON_SORT_KEYS) : g_strdup_printf("%d", (int)due_ms);

    json_decref(steal_status);
    return text;
}

static void said(char *steal_text, const char *wanted)
{
    g_assert_cmpstr(steal_text, ==, wanted);
    free(steal_text);
}

static void has(char *steal_text, const char *words)
{
    if (!strstr(steal_text, words))
        g_error("'%s' is not in %s", words, steal_text);
    free(steal_text);
}

static void test_first_all(void)
{
    g_autoptr(Tidings) t = tidings_new(FALSE);
    char *text = say(t, ordinary(500, 1, "protected", "alive"), 1000, FALSE);

    g_assert_nonnull(strstr(text, "\"event\":\"status\""));
    g_assert_nonnull(strstr(text, "\"guests\":["));
    g_assert_nonnull(strstr(text, "\"vm\":\"b\""));
    free(text);
}

/* Nothing new, or only older. */
static void test_age(void)
{
    g_autoptr(Tidings) t = tidings_new(FALSE);

    free(say(t, ordinary(500, 1, "protected", "alive"), 1000, FALSE));
    said(say(t, ordinary(500, 1, "protected", "alive"), 1000, TRUE), "-1");
    said(say(t, ordinary(9500, 1, "protected", "alive"), 10000, TRUE), "-1");
}

static void test_waits(void)
{
    g_autoptr(Tidings) t = tidings_new(FALSE);

    free(say(t, ordinary(500, 1, "protected", "alive"), 1000, FALSE));
    said(say(t, ordinary(100, 2, "protected", "alive"), 1250, FALSE), "2000");
    said(say(t, ordinary(100, 2, "protected", "alive"), 2000, FALSE),
         "{\"active\":[{\"standbys\":[{\"compare\":{\"done_bytes\":2,\"state\":\"running\"},\"lag_ms\":100,"
         "\"tip\":{\"n\":2}}],"
         "\"state\":\"protected\",\"vm\":\"a\"}],\"complete\":true,\"event\":\"changes\",\"standby\":[{"
         "\"points\":2,\"tip\":"
         "null,\"vm\":\"b\"}]}");
    /* Somebody waits for an answer that says the same. */
    has(say(t, ordinary(100, 3, "protected", "alive"), 2010, TRUE), "\"tip\":{\"n\":3}");
}

/* Only what is other, and at once. */
static void test_matters(void)
{
    g_autoptr(Tidings) t = tidings_new(FALSE);

    free(say(t, ordinary(500, 1, "protected", "alive"), 1000, FALSE));
    has(say(t, ordinary(750, 1, "failed", "alive"), 1250, FALSE), "\"standby\":[]}");
    said(say(t, ordinary(800, 1, "failed", "dead"), 1300, FALSE),
         "{\"active\":[],\"complete\":true,\"event\":\"changes\",\"guests\":[{\"vm\":\"a\",\"word\":\"dead\"}"
         "],\"standby\":[]}");
}

/* What is not there any more, and what became known. */
static void test_anew(void)
{
    g_autoptr(Tidings) t = tidings_new(FALSE);

    free(say(t, ordinary(500, 1, "protected", "alive"), 1000, FALSE));
    said(say(t, status_of("{\"complete\":true,\"active\":[],\"standby\":[],\"watch\":{}}"), 1100, FALSE),
         "{\"active\":[],\"complete\":true,\"event\":\"status\",\"standby\":[],\"watch\":{}}");
    has(say(t, status_of("{\"complete\":false,\"active\":[],\"standby\":[],\"watch\":{}}"), 1200, FALSE),
        "\"event\":\"status\"");
    has(say(t, ordinary(500, 1, "protected", "alive"), 1300, FALSE), "\"event\":\"status\"");
}

/* One that knows no changes is told all, as seldom as others. */
static void test_whole(void)
{
    g_autoptr(Tidings) t = tidings_new(TRUE);

    has(say(t, ordinary(500, 1, "protected", "alive"), 1000, FALSE), "\"event\":\"status\"");
    said(say(t, ordinary(100, 2, "protected", "alive"), 1250, FALSE), "2000");
    has(say(t, ordinary(850, 2, "protected", "alive"), 2000, FALSE), "\"event\":\"status\"");
    said(say(t, ordinary(1850, 2, "protected", "alive"), 3000, TRUE), "-1");
    has(say(t, ordinary(1950, 2, "protected", "dead"), 3100, FALSE), "\"vm\":\"b\"");
}

/* --- a model ------------------------------------------------------------------- */

#define VMS 5

static const char *const NAMES[VMS] = {"v", "w", "x", "y", "z"};

typedef struct {
    gboolean there;
    int state;
    int tip;
    gint64 truth_ms;
} ModelVm;

static json_t *model_status(const ModelVm *vms, const char *word, gint64 now_ms)
{
    json_t *list = json_array();

    for (int i = 0; i < VMS; i++)
        if (vms[i].there)
            json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:I}", "vm", NAMES[i], "state",
                                                  vms[i].state, "tip", vms[i].tip, "lag_ms",
                                                  (json_int_t)(now_ms - vms[i].truth_ms)));
    return json_pack("{s:b, s:o, s:[], s:s}", "complete", TRUE, "active", list, "standby", "guests", word);
}

/* As a controller does it: a VM's item as a whole; ages counted from when it was heard. */
static void mirror(json_t *heard, const json_t *news, gint64 now_ms)
{
    const json_t *items = json_object_get(news, "active");

    if (g_str_equal(json_string_value(json_object_get(news, "event")), "status"))
        json_object_clear(heard);
    for (gsize i = 0; i < json_array_size(items); i++) {
        json_auto_t *item = json_deep_copy(json_array_get(items, i));
        json_int_t lag_ms = json_integer_value(json_object_get(item, "lag_ms"));

        json_object_set_new(item, "lag_ms", json_integer(now_ms - lag_ms));
        json_object_set(heard, json_string_value(json_object_get(item, "vm")), item);
    }
    if (json_object_get(news, "guests"))
        json_object_set(heard, "guests", json_object_get(news, "guests"));
}

static void change(ModelVm *vms, char *word, gint64 now_ms)
{
    ModelVm *vm = &vms[g_test_rand_int_range(0, VMS)];

    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        vm->there = !vm->there;
        break;
    case 1:
        vm->state = g_test_rand_int_range(0, 3);
        break;
    case 2:
        word[0] = (char)g_test_rand_int_range('a', 'c');
        break;
    case 3:
    case 4:
        vm->tip++;
        vm->truth_ms = now_ms - g_test_rand_int_range(0, 300);
        break;
    default:
        break;
    }
}

/* Nothing that matters is older than a look, and nothing at all older than a second. */
static void test_model(void)
{
    ModelVm vms[VMS] = {{.there = TRUE}, {.there = TRUE}};
    char word[] = "a";
    gint64 now_ms = 1000, equal_ms = 0;
    g_autoptr(Tidings) t = tidings_new(FALSE);
    json_auto_t *heard = json_object();

    for (int i = 0; i < 20000; i++) {
        gint64 due_ms;
        json_auto_t *status = NULL, *wanted = json_object(), *all = NULL, *news = NULL;

        now_ms += g_test_rand_int_range(1, 400);
        change(vms, word, now_ms);
        status = model_status(vms, word, now_ms);
        news = tidings_take(t, status, now_ms, g_test_rand_int_range(0, 20) == 0, &due_ms);
        if (news)
            mirror(heard, news, now_ms);
        all = json_copy(status);
        json_object_set_new(all, "event", json_string("status"));
        mirror(wanted, all, now_ms);
        if (news || due_ms < 0) {
            g_assert_true(json_equal(heard, wanted));
            equal_ms = now_ms;
        } else {
            g_assert_cmpint(due_ms, >, now_ms);
            g_assert_cmpint(due_ms, <=, now_ms + TIDINGS_EACH_MS);
            g_assert_cmpint(now_ms - equal_ms, <=, TIDINGS_EACH_MS + 400);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tidings/first-all", test_first_all);
    g_test_add_func("/tidings/age", test_age);
    g_test_add_func("/tidings/waits", test_waits);
    g_test_add_func("/tidings/matters", test_matters);
    g_test_add_func("/tidings/anew", test_anew);
    g_test_add_func("/tidings/whole", test_whole);
    g_test_add_func("/tidings/model", test_model);
    return g_test_run();
}
