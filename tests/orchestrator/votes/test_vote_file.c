/* SPDX-License-Identifier: Apache-2.0 */
/* Promises are there after a write, and known as forgotten wherever that may be so. */
#include "orchestrator/votes/vote_file.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static const Id VM = {{1, 2}}, OTHER = {{3, 4}};

static char *folder, *path;

static void set_up(void)
{
    folder = g_dir_make_tmp("votes-XXXXXX", NULL);
    path = g_build_filename(folder, "votes", NULL);
}

static void clear(void)
{
    g_unlink(path);
    g_rmdir(folder);
    g_clear_pointer(&folder, g_free);
    g_clear_pointer(&path, g_free);
}

static VoteRecord record_of(guint64 number)
{
    return (VoteRecord){.voter = {{number, {{7}}}, 3, 15000}, .own = {number, {{8}}}, .arm = 5};
}

static void keep(const VoteFile *f)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(vote_file_write(path, vote_file_document(f), &error));
    g_assert_no_error(error);
}

/* What is on the disk when VM has promised its second reign. The caller frees. */
static char *kept_text(gsize *ret_len)
{
    const VoteRecord two = record_of(2);
    g_autoptr(VoteFile) f = vote_file_read(path);
    char *text;

    vote_file_set(f, VM, &two);
    keep(f);
    g_assert_true(durable_read(path, &text, ret_len, NULL));
    return text;
}

static void test_keeps(void)
{
    const VoteRecord two = record_of(2), nine = record_of(9);
    g_autoptr(VoteFile) first = NULL, again = NULL;
    const VoteRecord *found;

    set_up();
    first = vote_file_read(path);
    g_assert_true(vote_file_is_copy(first)); /* nobody knows what it has promised */
    g_assert_null(vote_file_find(first, VM));
    vote_file_set(first, VM, &two);
    vote_file_set(first, OTHER, &nine);
    vote_file_set_incarnation(first, 65537);
    keep(first);
    again = vote_file_read(path);
    g_assert_false(vote_file_is_copy(again));
    g_assert_cmpuint(vote_file_incarnation(again), ==, 65537);
    found = vote_file_find(again, VM);
    g_assert_true(reign_equal(found->voter.promised, two.voter.promised));
    g_assert_true(found->voter.arm == 3 && found->voter.cap_ms == 15000 && found->arm == 5 &&
                  reign_equal(found->own, two.own));
    g_assert_cmpuint(vote_file_find(again, OTHER)->voter.promised.number, ==, 9);
    clear();
}

/* Put back from a backup it is another file with the same words. */
static void test_copy(void)
{
    const VoteRecord two = record_of(2);
    g_autoptr(VoteFile) back = NULL, spoken = NULL;
    g_autofree char *text = NULL;
    gsize len;

    set_up();
    text = kept_text(&len);
    g_assert_true(durable_replace(path, text, len, 0600, NULL));
    back = vote_file_read(path);
    g_assert_true(vote_file_is_copy(back));
    g_assert_cmpuint(vote_file_find(back, VM)->voter.promised.number, ==, 2);
    g_assert_true(vote_file_find(back, VM)->mute);
    /* Of one VM everybody was heard, of the other nobody yet. */
    vote_file_set(back, OTHER, &two);
    keep(back);
    spoken = vote_file_read(path);
    g_assert_false(vote_file_is_copy(spoken));
    g_assert_true(vote_file_find(spoken, VM)->mute);
    g_assert_false(vote_file_find(spoken, OTHER)->mute);
    clear();
}

static void test_damaged(void)
{
    g_autofree char *text = NULL;
    gsize len;

    set_up();
    text = kept_text(&len);
    for (gsize i = 0; i < len; i++) {
        g_autofree char *bad = g_memdup2(text, len + 1);
        g_autoptr(GError) error = NULL;

        bad[i] = (char)(bad[i] ^ 1);
        g_assert_null(vote_file_parse(bad, len, "here", &error));
        g_assert_true(g_error_matches(error, US_ERROR, US_ERROR_CORRUPT) ||
                      g_error_matches(error, US_ERROR, US_ERROR_UNSUPPORTED));
    }
    for (gsize i = 0; i < len; i++) {
        g_autofree char *half = g_strndup(text, i);

        g_assert_null(vote_file_parse(half, i, "here", NULL));
    }
    clear();
}

/* Such files beside the one that is read: how many. The caller frees @ret_newest. */
static guint put_aside(char **ret_newest)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    guint found = 0;

    while ((name = g_dir_read_name(dir))) {
        if (!g_str_has_prefix(name, "votes.unreadable-"))
            continue;
        found++;
        g_free(*ret_newest);
        *ret_newest = g_build_filename(folder, name, NULL);
    }
    return found;
}

/* Its promises are forgotten, as those of one that is lost, and it is not thrown away. */
static void check_is_lost(const char *was)
{
    g_autoptr(VoteFile) f = vote_file_read(path), next = NULL;
    g_autofree char *aside = NULL, *text = NULL;
    gsize len;

    g_assert_true(vote_file_is_copy(f));
    g_assert_null(vote_file_find(f, VM));
    g_assert_cmpuint(put_aside(&aside), ==, 1);
    if (was) {
        g_assert_true(durable_read(aside, &text, &len, NULL));
        g_assert_cmpstr(text, ==, was);
    }
    keep(f);
    next = vote_file_read(path);
    g_assert_false(vote_file_is_copy(next));
    g_assert_cmpint(g_remove(aside), ==, 0);
}

static void test_cannot_be_read(void)
{
    g_autofree char *whole = NULL;
    gsize len;

    set_up();
    g_assert_true(durable_replace(path, "junk\n", 5, 0600, NULL));
    check_is_lost("junk\n");
    g_assert_true(durable_replace(path, "understudy-votes 2 x\n{}\n", 24, 0600, NULL));
    check_is_lost("understudy-votes 2 x\n{}\n");
    g_unlink(path);
    g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
    check_is_lost(NULL);
    g_unlink(path);
    whole = kept_text(&len);
    whole[len - 2] ^= 1;
    g_assert_true(durable_replace(path, whole, len, 0600, NULL));
    check_is_lost(whole);
    clear();
}

/* A disk that takes nothing: nothing is promised, and what was there is there. */
static void test_cannot_be_written(void)
{
    const VoteRecord two = record_of(2);
    g_autoptr(VoteFile) f = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *nowhere = NULL;

    set_up();
    f = vote_file_read(path);
    vote_file_set(f, VM, &two);
    nowhere = g_build_filename(folder, "absent", "votes", NULL);
    g_assert_false(vote_file_write(nowhere, vote_file_document(f), &error));
    g_assert_nonnull(error);
    clear();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vote-file/keeps", test_keeps);
    g_test_add_func("/vote-file/copy", test_copy);
    g_test_add_func("/vote-file/damaged", test_damaged);
    g_test_add_func("/vote-file/cannot-be-read", test_cannot_be_read);
    g_test_add_func("/vote-file/cannot-be-written", test_cannot_be_written);
    return g_test_run();
}
