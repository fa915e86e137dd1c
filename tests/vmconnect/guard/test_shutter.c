/* SPDX-License-Identifier: Apache-2.0 */
/* With the kernel's own nftables, in a network namespace of this test. Whether frames pass is the lab's to show. */
#include "vmconnect/base/clock.h"
#include "vmconnect/guard/shutter.h"

#include <nftables/libnftables.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 20000

/* Borrowed until the next question. "" if there is no such thing. */
static const char *list(struct nft_ctx *nft, const char *what)
{
    g_autofree char *command = g_strdup_printf("list %s\n", what);

    return nft_run_cmd_from_buffer(nft, command) == 0 ? nft_ctx_get_output_buffer(nft) : "";
}

static struct nft_ctx *nft_new(void)
{
    struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);

    nft_ctx_buffer_output(nft);
    nft_ctx_buffer_error(nft);
    return nft;
}

#define OPEN "set bridge " SHUTTER_TABLE " open"
#define KEPT "set bridge " SHUTTER_TABLE " kept"

static void test_life(void)
{
    g_assert_cmpint(shutter_life_ms(0), ==, 0);
    g_assert_cmpint(shutter_life_ms(10), ==, 0);
    g_assert_cmpint(shutter_life_ms(14500), ==, 13040);
}

static void test_all(void)
{
    struct nft_ctx *nft = nft_new();
    g_autoptr(Shutter) s = shutter_new(NULL);
    ShutterTap taps[] = {{5, 600000}, {6, SHUTTER_ENDLESS}, {7, 0}, {8, 300}};
    gint64 deadline_ms;

    g_assert_cmpstr(list(nft, "ruleset"), ==, "");
    g_assert_false(shutter_stands(s));
    g_assert_false(shutter_lay(s, taps, 1, NULL));
    g_assert_cmpstr(list(nft, "ruleset"), ==, "");

    g_assert_true(shutter_make(s, taps, 4, NULL));
    g_assert_true(shutter_stands(s));
    g_assert_nonnull(strstr(list(nft, KEPT), "elements = { 5, 6, 7, 8 }"));
    g_assert_nonnull(strstr(list(nft, OPEN), "5 timeout 8m59s9"));
    g_assert_null(strstr(list(nft, OPEN), " 7 "));
    deadline_ms = clock_steady_ms() + PATIENCE_MS;
    while (strstr(list(nft, OPEN), "8 timeout"))
        g_assert_cmpint(clock_left_ms(deadline_ms), >, 0);

    /* Longer, shorter, without an end, shut, and open again. */
    taps[0].open_ms = 1200000;
    g_assert_true(shutter_lay(s, taps, 1, NULL));
    g_assert_nonnull(strstr(list(nft, OPEN), "5 timeout 17m59s9"));
    taps[0].open_ms = 60000;
    g_assert_true(shutter_lay(s, taps, 1, NULL));
    g_assert_nonnull(strstr(list(nft, OPEN), "5 timeout 53s9"));
    taps[0].open_ms = SHUTTER_ENDLESS;
    g_assert_true(shutter_lay(s, taps, 1, NULL));
    g_assert_null(strstr(list(nft, OPEN), "5 timeout"));
    taps[1].open_ms = 0;
    taps[2].open_ms = 60000;
    g_assert_true(shutter_lay(s, taps, 4, NULL));
    g_assert_null(strstr(list(nft, OPEN), " 6"));
    g_assert_nonnull(strstr(list(nft, OPEN), "7 timeout 53s9"));

    g_assert_true(shutter_end(s, NULL));
    g_assert_true(shutter_stands(s));
    g_assert_true(shutter_release(s, taps, 3, NULL));
    g_assert_true(shutter_release(s, taps, 3, NULL));
    g_assert_nonnull(strstr(list(nft, KEPT), "elements = { 8 }"));
    g_assert_true(shutter_release(s, taps, 4, NULL));
    g_assert_true(shutter_end(s, NULL));
    g_assert_cmpstr(list(nft, "ruleset"), ==, "");
    nft_ctx_free(nft);
}

/* A table without its rule does not stand. */
static void test_disarmed_by_others(void)
{
    struct nft_ctx *nft = nft_new();
    g_autoptr(Shutter) s = shutter_new(NULL);
    ShutterTap tap = {5, SHUTTER_ENDLESS};

    g_assert_true(shutter_make(s, &tap, 1, NULL));
    g_assert_cmpint(nft_run_cmd_from_buffer(nft, "flush chain bridge " SHUTTER_TABLE " from_guest\n"), ==, 0);
    g_assert_false(shutter_stands(s));
    g_assert_true(shutter_make(s, &tap, 1, NULL));
    g_assert_true(shutter_stands(s));
    g_assert_cmpint(nft_run_cmd_from_buffer(nft, "flush ruleset\n"), ==, 0);
    g_assert_false(shutter_stands(s));
    nft_ctx_free(nft);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/shutter/life", test_life);
    if (unshare(CLONE_NEWNET) == 0) {
        g_test_add_func("/shutter/all", test_all);
        g_test_add_func("/shutter/disarmed-by-others", test_disarmed_by_others);
    }
    return g_test_run();
}
