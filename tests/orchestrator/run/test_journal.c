/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/run/journal.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    char *dir;
} Place;

static void place_clear(Place *p)
{
    g_autoptr(GDir) dir = g_dir_open(p->dir, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(p->dir, name, NULL);

        g_unlink(path);
    }
    g_rmdir(p->dir);
    g_free(p->dir);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Place, place_clear)

static Journal *opened(Place *p, guint keep)
{
    GError *error = NULL;
    Journal *j;

    if (!p->dir)
        p->dir = g_dir_make_tmp("journal-XXXXXX", NULL);
    j = journal_open(p->dir, keep, &error);
    g_assert_no_error(error);
    return j;
}

static void write_down(Journal *j, Id plan, const char *key, int value)
{
    json_auto_t *record = json_pack("{s:i}", key, value);
    GError *error = NULL;

    journal_append(j, plan, record, &error);
    g_assert_no_error(error);
}

static char *path_of(const Place *p, Id plan)
{
    return g_strdup_printf("%s/%s.plan", p->dir, ID_TEXT(plan));
}

static char *bytes_of(const Place *p, Id plan, gsize *ret_len)
{
    g_autofree char *path = path_of(p, plan);
    GError *error = NULL;
    char *bytes;

    g_file_get_contents(path, &bytes, ret_len, &error);
    g_assert_no_error(error);
    return bytes;
}

static void put_bytes(const Place *p, Id plan, const char *bytes, gsize len)
{
    g_autofree char *path = path_of(p, plan);
    GError *error = NULL;

    g_file_set_contents(path, bytes, (gssize)len, &error);
    g_assert_no_error(error);
}

static void test_round_trip(void)
{
    g_auto(Place) place = {0};
    g_autoptr(Journal) j = opened(&place, 10);
    const Id plan = id_random();
    json_auto_t *records = NULL, *want = json_pack("[{s:i},{s:i}]", "a", 1, "b", 2);
    g_autofree char *path = path_of(&place, plan);
    struct stat st;

    write_down(j, plan, "a", 1);
    write_down(j, plan, "b", 2);
    records = journal_read(j, plan, NULL);
    g_assert_true(json_equal(records, want));
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0600);
}

static void test_unknown_plan(void)
{
    g_auto(Place) place = {0};
    g_autoptr(Journal) j = opened(&place, 10);
    g_autoptr(GError) error = NULL;

    g_assert_null(journal_read(j, id_random(), &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
}

/* Killed while writing a record, at every byte: the whole ones are there, and more can follow. Without any the plan has
 * left no trace. */
static void test_torn_end(void)
{
    g_auto(Place) place = {0};
    g_autoptr(Journal) j = opened(&place, 10);
    const Id plan = id_random();
    g_autofree char *bytes = NULL;
    gsize first, len;

    write_down(j, plan, "a", 1);
    g_free(bytes_of(&place, plan, &first));
    write_down(j, plan, "b", 2);
    bytes = bytes_of(&place, plan, &len);
    for (gsize cut = 0; cut <= len; cut++) {
        json_auto_t *records = NULL, *after = NULL;
        GError *error = NULL;

        put_bytes(&place, plan, bytes, cut);
        records = journal_read(j, plan, &error);
        if (cut < first) {
            g_autoptr(GArray) list = journal_list(j, NULL);

            g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
            g_clear_error(&error);
            g_assert_cmpuint(list->len, ==, 0);
        }
        g_assert_no_error(error);
        g_assert_cmpuint(json_array_size(records), ==, cut < first ? 0 : cut == len ? 2 : 1);
        write_down(j, plan, "c", 3);
        after = journal_read(j, plan, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(json_array_size(after), ==, json_array_size(records) + 1);
    }
}

/* Any byte changed in a record that counted is seen, and the file is left alone. */
static void test_damage(void)
{
    g_auto(Place) place = {0};
    g_autoptr(Journal) j = opened(&place, 10);
    const Id plan = id_random();
    g_autofree char *bytes = NULL;
    gsize first, len;

    write_down(j, plan, "a", 1);
    g_free(bytes_of(&place, plan, &first));
    write_down(j, plan, "b", 2);
    bytes = bytes_of(&place, plan, &len);
    for (gsize at = 0; at + 1 < first; at++) {
        g_autofree char *spoilt = g_memdup2(bytes, len);
        g_autofree char *after = NULL;
        g_autoptr(GError) error = NULL;
        gsize after_len;

        spoilt[at] ^= 1;
        put_bytes(&place, plan, spoilt, len);
        g_assert_null(journal_read(j, plan, &error));
        g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
        after = bytes_of(&place, plan, &after_len);
        g_assert_cmpmem(after, after_len, spoilt, len);
    }
}

/* A plan's file that failed once takes nothing more: what is in it is no longer known. */
static void test_no_second_try(void)
{
    g_auto(Place) place = {0};
    g_autoptr(Journal) j = opened(&place, 10);
    const Id plan = id_random();
    g_autofree char *path = path_of(&place, plan);
    json_auto_t *record = json_object();
    g_autoptr(GError) first = NULL;
    g_autoptr(GError) second = NULL;

    g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
    g_assert_false(journal_append(j, plan, record, &first));
    g_assert_cmpint(g_rmdir(path), ==, 0);
    g_assert_false(journal_append(j, plan, record, &second));
    g_assert_error(second, US_ERROR, US_ERROR_IO);
    write_down(j, id_random(), "another", 1);
}

static void test_keeps_the_newest(void)
{
    g_auto(Place) place = {0};
    Id plans[4];
    g_autoptr(GArray) left = NULL;

    {
        g_autoptr(Journal) j = opened(&place, 10);

        for (guint i = 0; i < G_N_ELEMENTS(plans); i++) {
            g_autofree char *path = NULL;
            struct timespec times[2] = {{.tv_sec = 1000 + i}, {.tv_sec = 1000 + i}};

            plans[i] = id_random();
            write_down(j, plans[i], "begin", 1);
            if (i != 1) /* the second is still under way */
                write_down(j, plans[i], "end", 1);
            path = path_of(&place, plans[i]);
            g_assert_cmpint(utimensat(AT_FDCWD, path, times, 0), ==, 0);
        }
    }
    {
        g_autoptr(Journal) j = opened(&place, 1);

        left = journal_list(j, NULL);
    }
    g_assert_cmpuint(left->len, ==, 2);
    g_assert_true(id_equal(g_array_index(left, Id, 0), plans[1]));
    g_assert_true(id_equal(g_array_index(left, Id, 1), plans[3]));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/journal/round-trip", test_round_trip);
    g_test_add_func("/journal/unknown-plan", test_unknown_plan);
    g_test_add_func("/journal/torn-end", test_torn_end);
    g_test_add_func("/journal/damage", test_damage);
    g_test_add_func("/journal/no-second-try", test_no_second_try);
    g_test_add_func("/journal/keeps-the-newest", test_keeps_the_newest);
    return g_test_run();
}
