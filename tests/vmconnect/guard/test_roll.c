/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/guard/roll.h"

#include <string.h>

#define BOOT "4a0f0ae5-6f2c-4b1e-9a43-0d6a5a0c2b11"

static GPtrArray *some_wards(void)
{
    GPtrArray *wards = g_ptr_array_new_with_free_func((GDestroyNotify)ward_free);

    for (guint i = 0; i < 3; i++) {
        Ward *w = g_new0(Ward, 1);

        w->vm = id_random();
        w->reign = (Reign){.number = 5 + i, .id = id_random()};
        w->subject = (Subject){.fd = -1, .pid = 1000 + (int)i, .start = 77700 + i};
        w->taps = i;
        for (guint t = 0; t < i; t++) {
            g_snprintf(w->tap[t].name, IF_NAMESIZE, "vnet%u", t);
            w->tap[t].index = 20 + t;
        }
        w->ladder = (Ladder){.state = i == 2 ? LADDER_STOPPED : LADDER_RUNS,
                             .is_enforced = i > 0,
                             .until = {i * 100000, i * 90000}};
        g_ptr_array_add(wards, w);
    }
    return wards;
}

static GPtrArray *parse(const char *text, const char *boot, guint faults_wanted)
{
    g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func(g_free);
    GPtrArray *wards = roll_parse(text, strlen(text), boot, faults);

    g_assert_cmpuint(faults->len, ==, faults_wanted);
    return wards;
}

static void test_round_trip(void)
{
    g_autoptr(GPtrArray) wards = some_wards();
    g_autofree char *text = roll_text(wards, BOOT), *again = NULL;
    g_autoptr(GPtrArray) got = parse(text, BOOT, 0);
    const Ward *last;

    again = roll_text(got, BOOT);
    g_assert_cmpstr(text, ==, again);
    g_assert_cmpuint(got->len, ==, 3);
    last = got->pdata[2];
    g_assert_cmpint(last->ladder.state, ==, LADDER_STOPPED);
    g_assert_cmpint(last->ladder.until.raw_ms, ==, 180000);
    g_assert_cmpuint(last->tap[1].index, ==, 21);
    g_assert_false(((Ward *)got->pdata[0])->ladder.is_enforced);
}

/* It is not known when it was sent SIGSTOP. */
static void test_halted(void)
{
    g_autoptr(GPtrArray) wards = some_wards(), got = NULL;
    g_autofree char *text = NULL;

    ((Ward *)wards->pdata[1])->ladder.state = LADDER_HALTED;
    text = roll_text(wards, BOOT);
    got = parse(text, BOOT, 0);
    g_assert_cmpint(((Ward *)got->pdata[1])->ladder.state, ==, LADDER_ASKED);
}

static void test_other_boot(void)
{
    g_autoptr(GPtrArray) wards = some_wards();
    g_autofree char *text = roll_text(wards, BOOT);
    g_autoptr(GPtrArray) got = parse(text, "another", 0);
    g_autoptr(GPtrArray) none = parse("", BOOT, 0);

    g_assert_cmpuint(got->len, ==, 0);
    g_assert_cmpuint(none->len, ==, 0);
}

static void expect_expired(const GPtrArray *wards)
{
    for (guint i = 0; i < wards->len; i++) {
        const Ward *w = wards->pdata[i];

        g_assert_true(w->ladder.is_enforced);
        g_assert_cmpint(w->ladder.until.boot_ms, ==, 0);
        g_assert_cmpint(w->ladder.state, ==, LADDER_RUNS);
        g_assert_cmpint(w->subject.pid, ==, 1000 + (int)i);
        g_assert_cmpuint(w->taps, ==, i);
    }
}

static void test_other_version(void)
{
    g_autoptr(GPtrArray) wards = some_wards(), got = NULL;
    g_autofree char *text = roll_text(wards, BOOT);
    g_auto(GStrv) lines = g_strsplit(text, "\n", 2);
    g_autofree char *head = g_strdup("{\"version\": 2, \"boot\": \"" BOOT "\"}");
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, head, -1);
    g_autofree char *other = g_strdup_printf("%.16s %s\n%s", sum, head, lines[1]);

    got = parse(other, BOOT, 4);
    g_assert_cmpuint(got->len, ==, 3);
    expect_expired(got);
}

static char *damaged(const char *text, const char *what, const char *by)
{
    const char *at = strstr(text, what);

    g_assert_nonnull(at);
    g_assert_cmpuint(strlen(what), ==, strlen(by));
    return g_strdup_printf("%.*s%s%s", (int)(at - text), text, by, at + strlen(by));
}

/* The end of a lease was written over: nobody believes what is there. */
static void test_damaged_line(void)
{
    g_autoptr(GPtrArray) wards = some_wards();
    g_autofree char *text = roll_text(wards, BOOT), *later = damaged(text, "100000", "900000");
    g_autoptr(GPtrArray) got = parse(later, BOOT, 1);
    const Ward *w = got->pdata[1];

    g_assert_cmpuint(got->len, ==, 3);
    g_assert_true(w->ladder.is_enforced);
    g_assert_cmpint(w->ladder.until.boot_ms, ==, 0);
    g_assert_cmpint(((Ward *)got->pdata[2])->ladder.until.boot_ms, ==, 200000);
}

/* Every cut and every changed byte: never a later lease than was written, never a process that was not. */
static void test_damaged_anywhere(void)
{
    g_autoptr(GPtrArray) wards = some_wards();
    g_autofree char *text = roll_text(wards, BOOT);
    gsize len = strlen(text);

    for (gsize i = 0; i < 2 * len; i++) {
        g_autofree char *copy = g_strdup(text);
        g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func(g_free), got = NULL;

        if (i < len)
            copy[i] ^= 0x15;
        got = roll_parse(copy, i < len ? len : i - len, BOOT, faults);
        for (guint n = 0; n < got->len; n++) {
            const Ward *w = got->pdata[n], *known = NULL;

            for (guint k = 0; k < wards->len; k++)
                if (id_equal(w->vm, ((Ward *)wards->pdata[k])->vm))
                    known = wards->pdata[k];
            if (w->ladder.is_enforced && w->ladder.until.boot_ms == 0)
                continue; /* as if over */
            g_assert_nonnull(known);
            g_assert_cmpint(w->subject.pid, ==, known->subject.pid);
            g_assert_cmpuint(w->subject.start, ==, known->subject.start);
            g_assert_cmpint(w->ladder.is_enforced, ==, known->ladder.is_enforced);
            g_assert_cmpint(w->ladder.until.boot_ms, ==,
                            known->ladder.is_enforced ? known->ladder.until.boot_ms : 0);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/roll/round-trip", test_round_trip);
    g_test_add_func("/roll/halted", test_halted);
    g_test_add_func("/roll/other-boot", test_other_boot);
    g_test_add_func("/roll/other-version", test_other_version);
    g_test_add_func("/roll/damaged-line", test_damaged_line);
    g_test_add_func("/roll/damaged-anywhere", test_damaged_anywhere);
    return g_test_run();
}
