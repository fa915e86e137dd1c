/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/tree.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/fault.h"
#include "vmconnect/replicate/tpm_state.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#define NAME "tpm2/tpm2-00.permall"

typedef struct {
    char *root;
    char *vm; /* libvirt's folder for it */
    char *aside;
    TpmPlace place;
    GPtrArray *belongings;
} Host;

static void host_make(Host *h, gconstpointer unused)
{
    (void)unused;
    h->root = g_dir_make_tmp("understudy-tpm-XXXXXX", NULL);
    h->place =
        (TpmPlace){.dir = g_build_filename(h->root, "swtpm", NULL), .vm = id_random(), .point = id_random()};
    h->vm = g_build_filename(h->place.dir, ID_TEXT(h->place.vm), NULL);
    h->aside = g_strdup_printf("%s.before-%s", h->vm, ID_TEXT(h->place.point));
    h->belongings = belongings_new();
    g_ptr_array_add(h->belongings, belonging_new("nvram", "variables", 9));
    g_ptr_array_add(h->belongings, belonging_new(NAME, "ours", 4));
}

static void host_remove(Host *h, gconstpointer unused)
{
    (void)unused;
    tree_remove(h->root);
    g_ptr_array_unref(h->belongings);
    g_free(h->aside);
    g_free(h->vm);
    g_free((char *)h->place.dir);
    g_free(h->root);
}

static GBytes *read_packed(const void *user, const Belonging *b, GError **error)
{
    (void)user;
    return belonging_unpack(b, error);
}

static gboolean put(const Host *h, GError **error)
{
    return tpm_state_put(&h->place, h->belongings, read_packed, NULL, error);
}

static void must_put(const Host *h)
{
    g_autoptr(GError) error = NULL;

    put(h, &error);
    g_assert_no_error(error);
}

static void must_take_back(const Host *h)
{
    g_autoptr(GError) error = NULL;

    tpm_state_take_back(&h->place, h->belongings, &error);
    g_assert_no_error(error);
}

/* The state in @folder, NULL if there is none. */
static char *state_in(const char *folder)
{
    g_autofree char *path = g_build_filename(folder, NAME, NULL);
    char *text = NULL;

    g_file_get_contents(path, &text, NULL, NULL);
    return text;
}

static void expect(const char *folder, const char *wanted)
{
    g_autofree char *text = state_in(folder);

    g_assert_cmpstr(text, ==, wanted);
}

static void users_own(const Host *h)
{
    g_autofree char *path = g_build_filename(h->vm, NAME, NULL);
    g_autofree char *folder = g_path_get_dirname(path);

    g_assert_cmpint(g_mkdir_with_parents(folder, 0755), ==, 0);
    g_assert_true(g_file_set_contents(path, "user's", -1, NULL));
}

static guint n_entries(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    guint n = 0;

    while (dir && g_dir_read_name(dir))
        n++;
    return n;
}

static mode_t mode_of(const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return st.st_mode & 07777;
}

static void test_nothing_was_there(Host *h, gconstpointer unused)
{
    (void)unused;
    must_put(h);
    expect(h->vm, "ours");
    g_assert_cmpuint(mode_of(h->vm, NAME), ==, 0600);
    g_assert_cmpuint(mode_of(h->vm, "tpm2"), ==, 0700);
    g_assert_cmpuint(mode_of(h->vm, ""), ==, 0711);
    must_put(h);
    g_assert_cmpuint(n_entries(h->place.dir), ==, 1);
    must_take_back(h);
    g_assert_cmpuint(n_entries(h->place.dir), ==, 0);
    must_take_back(h);
}

static void test_what_was_there_moves_aside_and_back(Host *h, gconstpointer unused)
{
    (void)unused;
    users_own(h);
    must_put(h);
    must_put(h);
    expect(h->vm, "ours");
    expect(h->aside, "user's");
    must_take_back(h);
    must_take_back(h);
    expect(h->vm, "user's");
    g_assert_cmpuint(n_entries(h->place.dir), ==, 1);
}

/* The VM ran: what is there is more than what was put. */
static void test_what_was_used_stays(Host *h, gconstpointer unused)
{
    g_autofree char *path = g_build_filename(h->vm, NAME, NULL);

    (void)unused;
    users_own(h);
    must_put(h);
    g_assert_true(g_file_set_contents(path, "used", -1, NULL));
    must_take_back(h);
    expect(h->vm, "used");
    expect(h->aside, "user's");
}

static void test_nothing_stands_aside_twice(Host *h, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    (void)unused;
    users_own(h);
    must_put(h);
    tree_remove(h->vm);
    users_own(h);
    g_assert_false(put(h, &error));
    g_assert_error(error, US_ERROR, US_ERROR_IO);
    expect(h->vm, "user's");
    expect(h->aside, "user's");
}

static void test_without_a_tpm(Host *h, gconstpointer unused)
{
    (void)unused;
    users_own(h);
    g_ptr_array_remove_index(h->belongings, 1);
    must_put(h);
    must_take_back(h);
    expect(h->vm, "user's");
    g_assert_cmpuint(n_entries(h->place.dir), ==, 1);
}

/* Whatever step fails, the user's is somewhere as a whole, ours is there as a whole or not at all,
 * and the next try gets through. */
static void test_every_step_may_fail(Host *h, gconstpointer unused)
{
    gboolean met = TRUE;

    (void)unused;
    for (guint n = 1; met; n++) {
        g_autofree char *there = NULL;
        g_autofree char *aside = NULL;

        users_own(h);
        fault_arm(n, EIO);
        put(h, NULL);
        met = fault_was_met();
        there = state_in(h->vm);
        aside = state_in(h->aside);
        g_assert_cmpint(g_strcmp0(there, "user's") == 0, !=, g_strcmp0(aside, "user's") == 0);
        g_assert_true(!there || g_str_equal(there, "user's") || g_str_equal(there, "ours"));
        must_put(h);
        expect(h->vm, "ours");
        expect(h->aside, "user's");
        fault_arm(n, EIO);
        tpm_state_take_back(&h->place, h->belongings, NULL);
        met = fault_was_met() || met;
        must_take_back(h);
        expect(h->vm, "user's");
        g_assert_cmpuint(n_entries(h->place.dir), ==, 1);
    }
}

#define ADD(name, function) \
    g_test_add("/replicate/tpm-state/" name, Host, NULL, host_make, function, host_remove)

/* A point that has nothing of the VM's TPM: an old state of this host must not pass for it. */
static void test_old_state(Host *h, gconstpointer unused)
{
    (void)unused;
    users_own(h);
    g_ptr_array_set_size(h->belongings, 1);
    must_put(h);
    expect(h->vm, "user's");
    h->place.expected = TRUE;
    must_put(h);
    must_put(h);
    expect(h->vm, NULL);
    expect(h->aside, "user's");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("nothing-was-there", test_nothing_was_there);
    ADD("what-was-there-moves-aside-and-back", test_what_was_there_moves_aside_and_back);
    ADD("what-was-used-stays", test_what_was_used_stays);
    ADD("nothing-stands-aside-twice", test_nothing_stands_aside_twice);
    ADD("without-a-tpm", test_without_a_tpm);
    ADD("old-state", test_old_state);
    ADD("every-step-may-fail", test_every_step_may_fail);
    return g_test_run();
}
