/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/sight.h"

#define MISSES 3

/* --- scores ------------------------------------------------------------------ */

static json_t *answered(const char *words)
{
    return json_pack("{s:s, s:b, s:b, s:i, s:n}", "words", words, "tried", 1, "ever", 1, "misses", 0, "why");
}

static json_t *missed(const char *words, int misses, gboolean hangs)
{
    return json_pack("{s:s, s:b, s:i, s:s, s:b}", "words", words, "tried", 1, "misses", misses, "why",
                     "it is silent", "hangs", hangs);
}

static json_t *unmade(const char *words)
{
    return json_pack("{s:s, s:b, s:i, s:s}", "words", words, "tried", 1, "misses", 0, "why", "no name");
}

static json_t *untried(const char *words)
{
    return json_pack("{s:s, s:b, s:i, s:n}", "words", words, "tried", 0, "misses", 0, "why");
}

/* --- of all -------------------------------------------------------------------- */

static void assert_sight(json_t *steal_checks, guint n, guint tried, guint n_answered, guint n_missed)
{
    json_auto_t *checks = steal_checks;
    Sight s = sight_of(checks, MISSES);

    g_assert_cmpuint(s.n, ==, n);
    g_assert_cmpuint(s.tried, ==, tried);
    g_assert_cmpuint(s.answered, ==, n_answered);
    g_assert_cmpuint(s.missed, ==, n_missed);
}

static void test_sight(void)
{
    assert_sight(NULL, 0, 0, 0, 0);
    assert_sight(json_string("what is this"), 0, 0, 0, 0);
    assert_sight(json_pack("[o, o, o]", answered("ping a"), missed("ping b", 2, FALSE), untried("ping c")), 3,
                 2, 1, 0);
    assert_sight(json_pack("[o, o]", missed("ping a", 3, FALSE), missed("ping b", 9, FALSE)), 2, 2, 0, 2);
    /* What could not be made is as if it were not asked for; what is no score was not tried. */
    assert_sight(json_pack("[o, o]", unmade("ping a"), answered("ping b")), 1, 1, 1, 0);
    assert_sight(json_pack("[n, i]", 7), 2, 0, 0, 0);
}

/* --- of an engine ----------------------------------------------------------------- */

static void assert_engine(json_t *steal_checks, EngineLife life)
{
    json_auto_t *checks = steal_checks;

    g_assert_cmpint(sight_of_engine(checks, MISSES), ==, life);
}

static void test_engine(void)
{
    assert_engine(NULL, ENGINE_UNKNOWN);
    assert_engine(json_pack("[o]", answered("ping alpha")), ENGINE_UNKNOWN);
    assert_engine(json_pack("[o]", answered("beat alpha")), ENGINE_HEARD);
    assert_engine(json_pack("[o, o]", missed("beat alpha", 3, FALSE), answered("ping alpha")),
                  ENGINE_REFUSED);
    assert_engine(json_pack("[o, o]", missed("beat alpha", 3, TRUE), answered("ping alpha")), ENGINE_HANGS);
    /* Not often enough; of a way on which no echo comes back; and on another. */
    assert_engine(json_pack("[o, o]", missed("beat alpha", 2, FALSE), answered("ping alpha")),
                  ENGINE_UNKNOWN);
    assert_engine(json_pack("[o, o]", missed("beat alpha", 3, FALSE), missed("ping alpha", 1, FALSE)),
                  ENGINE_UNKNOWN);
    assert_engine(json_pack("[o, o]", missed("beat alpha", 3, FALSE), answered("ping alpha2")),
                  ENGINE_UNKNOWN);
    assert_engine(json_pack("[o]", missed("beat alpha", 3, FALSE)), ENGINE_UNKNOWN);
}

static void test_engine_of_many_paths(void)
{
    assert_engine(json_pack("[o, o, o]", missed("beat alpha", 3, TRUE), answered("ping alpha"),
                            answered("beat 10.0.0.1")),
                  ENGINE_HEARD);
    assert_engine(json_pack("[o, o, o, o]", missed("beat alpha", 3, FALSE), answered("ping alpha"),
                            missed("beat 10.0.0.1", 3, TRUE), answered("ping 10.0.0.1")),
                  ENGINE_REFUSED);
}

/* The echo is asked for of the address alone. */
static void test_engine_and_ports(void)
{
    static const struct {
        const char *beat, *ping;
        EngineLife life;
    } CASES[] = {
        {"beat alpha:25000", "ping alpha", ENGINE_REFUSED},
        {"beat 10.0.0.1:25000", "ping 10.0.0.1", ENGINE_REFUSED},
        {"beat [fd00::1]:25000", "ping fd00::1", ENGINE_REFUSED},
        {"beat [fd00::1]", "ping fd00::1", ENGINE_REFUSED},
        {"beat [fe80::1%eth0]:25000", "ping fe80::1%eth0", ENGINE_REFUSED},
        {"beat fd00::1", "ping fd00::1", ENGINE_REFUSED},
        {"beat ::1", "ping ::1", ENGINE_REFUSED},
        {"beat fd00::1", "ping fd00:", ENGINE_UNKNOWN},
        {"beat fd00::1:25000", "ping fd00::1", ENGINE_UNKNOWN},
        /* No addresses. */
        {"beat ", "ping ", ENGINE_REFUSED},
        {"beat :", "ping ", ENGINE_REFUSED},
        {"beat ]", "ping alpha", ENGINE_UNKNOWN},
        {"beat [", "ping alpha", ENGINE_UNKNOWN},
        {"beat []", "ping alpha", ENGINE_UNKNOWN},
        {"beat", "ping", ENGINE_UNKNOWN},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_test_message("%s, %s", CASES[i].beat, CASES[i].ping);
        assert_engine(json_pack("[o, o]", missed(CASES[i].beat, 3, FALSE), answered(CASES[i].ping)),
                      CASES[i].life);
    }
}

/* --- lost paths -------------------------------------------------------------------- */

/* @path: the only one that is lost, NULL: none. */
static void assert_lost(json_t *steal_checks, const char *path, const char *why)
{
    json_auto_t *checks = steal_checks;
    g_autoptr(GHashTable) lost = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    sight_of_lost_paths(checks, MISSES, "beta", lost);
    g_assert_cmpuint(g_hash_table_size(lost), ==, path ? 1 : 0);
    if (path)
        g_assert_cmpstr(g_hash_table_lookup(lost, path), ==, why);
}

static void test_lost_paths(void)
{
    assert_lost(NULL, NULL, NULL);
    assert_lost(json_pack("[o, o]", answered("beat alpha"), missed("beat [fd00::1]:25000", 3, FALSE)),
                "beta at [fd00::1]:25000", "it is silent");
    assert_lost(json_pack("[o, {s:s, s:i}]", answered("beat alpha"), "words", "beat 10.0.0.1", "misses", 3),
                "beta at 10.0.0.1", "no beat");
    /* Not often enough, nobody heard at all, and an echo alone. */
    assert_lost(json_pack("[o, o]", answered("beat alpha"), missed("beat 10.0.0.1", 2, FALSE)), NULL, NULL);
    assert_lost(json_pack("[o, o]", missed("beat alpha", 3, FALSE), missed("beat 10.0.0.1", 3, FALSE)), NULL,
                NULL);
    assert_lost(json_pack("[o, o]", answered("beat alpha"), missed("ping alpha", 3, FALSE)), NULL, NULL);
}

static void test_words(void)
{
    json_auto_t *checks = json_pack("[o, {}, o]", answered("beat alpha"), untried("ping alpha"));
    g_autofree char *words = sight_words(checks);
    g_autofree char *none = sight_words(NULL);

    g_assert_cmpstr(words, ==, "beat alpha, ?, ping alpha");
    g_assert_cmpstr(none, ==, "");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sight/of all", test_sight);
    g_test_add_func("/sight/words", test_words);
    g_test_add_func("/sight/engine/of one path", test_engine);
    g_test_add_func("/sight/engine/of many paths", test_engine_of_many_paths);
    g_test_add_func("/sight/engine/without ports and brackets", test_engine_and_ports);
    g_test_add_func("/sight/lost paths", test_lost_paths);
    return g_test_run();
}
