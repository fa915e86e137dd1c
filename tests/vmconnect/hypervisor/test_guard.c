/* SPDX-License-Identifier: Apache-2.0 */
/* Who may start what: every state of the two files, and every way to damage them. */
#include "orchestrator/votes/lease_clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/machine.h"
#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/hypervisor/guard_judge.h"
#include "vmconnect/hypervisor/start_lease.h"
#include "vmconnect/hypervisor/start_lock.h"

#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    char *root;
    char *guard_folder;
    char *permit_folder;
    char *lease_file;
    GuardJudge judge;
    Guard guard;
} Place;

static void place_open(Place *p, gconstpointer data)
{
    (void)data;
    p->root = g_dir_make_tmp("guard-XXXXXX", NULL);
    p->guard_folder = g_build_filename(p->root, "guard", NULL);
    p->permit_folder = g_build_filename(p->root, "permit", NULL);
    p->lease_file = g_build_filename(p->root, "leases", NULL);
    p->judge = (GuardJudge){.guard_folder = p->guard_folder,
                            .permit_folder = p->permit_folder,
                            .lease_file = p->lease_file,
                            .boot_id = id_random()};
    p->guard = (Guard){.vm = id_random(),
                       .scenario = (char *)"w\xc3\xa4 & \"b\"",
                       .reign = {7, id_random()},
                       .role = GUARD_ACTIVE,
                       .autostart = TRUE};
}

static void place_close(Place *p, gconstpointer data)
{
    const char *folders[] = {p->guard_folder, p->permit_folder};

    (void)data;
    for (guint i = 0; i < G_N_ELEMENTS(folders); i++) {
        g_autoptr(GDir) dir = g_dir_open(folders[i], 0, NULL);
        const char *name;

        while (dir && (name = g_dir_read_name(dir))) {
            g_autofree char *path = g_build_filename(folders[i], name, NULL);

            g_unlink(path);
        }
        g_rmdir(folders[i]);
    }
    g_unlink(p->lease_file);
    g_assert_cmpint(g_rmdir(p->root), ==, 0);
    g_free(p->lease_file);
    g_free(p->root);
    g_free(p->guard_folder);
    g_free(p->permit_folder);
}

static void write_guard(Place *p)
{
    g_assert_true(guard_write(p->guard_folder, &p->guard, NULL));
}

static void write_permit(Place *p)
{
    g_assert_true(permit_write(p->permit_folder, p->guard.vm, p->guard.reign, p->judge.boot_id, NULL));
}

static void permits(Place *p)
{
    GError *error = NULL;

    g_assert_true(guard_judge(&p->judge, p->guard.vm, "web 1", &error));
    g_assert_no_error(error);
}

/* The sentence: who, why, what next. */
static void refuses(Place *p, UsError code, const char *says)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(guard_judge(&p->judge, p->guard.vm, "web 1", &error));
    g_assert_error(error, US_ERROR, (int)code);
    g_assert_true(g_str_has_prefix(error->message, "Understudy does not let 'web 1' start: "));
    g_assert_nonnull(strstr(error->message, says));
    g_assert_nonnull(strstr(error->message, "`"));
}

/* Another content of the very file. */
static void overwrite(const char *path, const char *text, gsize len)
{
    FILE *f = fopen(path, "w");

    g_assert_nonnull(f);
    g_assert_cmpuint(fwrite(text, 1, len, f), ==, len);
    g_assert_cmpint(fclose(f), ==, 0);
}

static void test_round_trip(Place *p, gconstpointer data)
{
    g_autoptr(Guard) back = NULL;
    g_autoptr(GPtrArray) none = guard_list(p->guard_folder, NULL);
    g_autoptr(GPtrArray) list = NULL;
    g_autoptr(GError) error = NULL;

    (void)data;
    g_assert_cmpuint(none->len, ==, 0);
    g_assert_false(guard_any(p->guard_folder));
    write_guard(p);
    back = guard_read(p->guard_folder, p->guard.vm, NULL);
    g_assert_cmpstr(back->scenario, ==, p->guard.scenario);
    g_assert_true(reign_equal(back->reign, p->guard.reign));
    g_assert_true(back->autostart && !back->journal_open && back->role == GUARD_ACTIVE);
    g_assert_false(back->elsewhere);
    g_assert_true(guard_expect_own(back, "nothing is done", NULL));
    g_assert_true(guard_any(p->guard_folder));
    list = guard_list(p->guard_folder, NULL);
    g_assert_cmpuint(list->len, ==, 1);
    g_assert_true(guard_remove(p->guard_folder, p->guard.vm, NULL));
    g_assert_null(guard_read(p->guard_folder, p->guard.vm, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
}

static Pivot LEFT = {.disk = (char *)"vda",
                     .from = (char *)"/store/overlay.qcow2",
                     .to = (char *)"/images/web1.qcow2",
                     .format = (char *)"raw"};

static void starts_from(Place *p, const char *disk, const char *path)
{
    g_free((char *)p->judge.definition);
    p->judge.definition = g_strdup_printf("<domain><devices><disk type='file'><source file='%s'/>"
                                          "<target dev='%s'/></disk></devices></domain>",
                                          path, disk);
    p->judge.definition_len = strlen(p->judge.definition);
}

/* A disk goes on from another file than it was started from: nothing else is refused for that. */
static void test_pivot(Place *p)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(guard_set_pivot(p->guard_folder, &p->guard, &LEFT, NULL));
    write_guard(p);
    refuses(p, US_ERROR_REFUSED, "it has run with /images/web1.qcow2 as its disk vda");
    starts_from(p, "vda", "/store/overlay.qcow2");
    refuses(p, US_ERROR_REFUSED, "the definition names /store/overlay.qcow2 still");
    p->judge.definition_len /= 2;
    refuses(p, US_ERROR_REFUSED, "the definition names");
    starts_from(p, "vda", "/images/web1.qcow2");
    permits(p);
    starts_from(p, "sda", "/store/overlay.qcow2");
    refuses(p, US_ERROR_REFUSED, "still");
    starts_from(p, "vda", "/images/copy.qcow2");
    permits(p);
    starts_from(p, "vda", "/store/overlay.qcow2");
    g_assert_true(guard_set_pivot(p->guard_folder, &p->guard, NULL, NULL));
    permits(p);
    g_assert_true(guard_set_pivot(p->guard_folder, &p->guard, &LEFT, NULL));
    refuses(p, US_ERROR_REFUSED, "still");
    p->guard.reign.number++;
    g_assert_false(guard_set_pivot(p->guard_folder, &p->guard, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_OVERTAKEN);
    p->guard.reign.number--;
    g_assert_true(guard_set_pivot(p->guard_folder, &p->guard, NULL, NULL));
    permits(p);
    g_clear_pointer((char **)&p->judge.definition, g_free);
}

static void test_decisions(Place *p, gconstpointer data)
{
    (void)data;
    permits(p); /* unprotected */
    write_guard(p);
    refuses(p, US_ERROR_REFUSED, "since this host booted");
    write_permit(p);
    permits(p);

    p->judge.boot_id = id_random(); /* the host booted, and /run was kept all the same */
    refuses(p, US_ERROR_REFUSED, "since this host booted");
    write_permit(p);
    permits(p);

    p->guard.journal_open = TRUE;
    write_guard(p);
    refuses(p, US_ERROR_REFUSED, "under way");
    p->guard.journal_open = FALSE;
    write_guard(p);
    permits(p);

    test_pivot(p);

    p->guard.reign = (Reign){8, id_random()}; /* a permit of the reign before says nothing */
    write_guard(p);
    refuses(p, US_ERROR_REFUSED, "since this host booted");
    write_permit(p);

    p->guard.role = GUARD_STANDBY;
    write_guard(p);
    refuses(p, US_ERROR_REFUSED, "standby of scenario");
    p->guard.role = GUARD_ACTIVE;
    write_guard(p);
    permits(p);
    g_assert_true(permit_remove(p->permit_folder, p->guard.vm, NULL));
    refuses(p, US_ERROR_REFUSED, "since this host booted");
    g_assert_true(guard_remove(p->guard_folder, p->guard.vm, NULL));
    permits(p);
}

/* Of @vm in @reign, for another @left_ms. */
static void write_lease(Place *p, Id vm, Reign reign, gint64 left_ms)
{
    g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(LeaseEntry));
    LeaseEntry e = {.vm = vm, .reign = reign, .until = lease_moment_after(lease_clock_now(), left_ms)};
    g_autofree char *text = NULL;

    g_array_append_val(entries, e);
    text = lease_file_text(entries);
    g_assert_true(lease_file_write(p->lease_file, text, NULL));
}

/* Whose lease is enforced starts with one of its reign that lasts; whose is not, as ever. */
static void test_lease(Place *p, gconstpointer data)
{
    const Reign other = {p->guard.reign.number, id_random()}, next = {8, p->guard.reign.id};

    (void)data;
    write_guard(p);
    write_permit(p);
    write_lease(p, p->guard.vm, p->guard.reign, 60000);
    permits(p);
    write_lease(p, p->guard.vm, p->guard.reign, LEASE_START_MS - 1);
    refuses(p, US_ERROR_REFUSED, "is about to end");
    write_lease(p, p->guard.vm, p->guard.reign, 0);
    refuses(p, US_ERROR_REFUSED, "is over");
    write_lease(p, p->guard.vm, other, 60000);
    refuses(p, US_ERROR_REFUSED, "the lease that this host holds is of term 7");
    write_lease(p, p->guard.vm, next, 60000);
    refuses(p, US_ERROR_REFUSED, "is of term 8, not of term 7");
    write_lease(p, id_random(), next, 0);
    permits(p);
    /* What is refused for another reason is refused for that one. */
    write_lease(p, p->guard.vm, p->guard.reign, 60000);
    g_assert_true(permit_remove(p->permit_folder, p->guard.vm, NULL));
    refuses(p, US_ERROR_REFUSED, "since this host booted");
    write_permit(p);
    overwrite(p->lease_file, "understudy-leases 1", 19);
    refuses(p, US_ERROR_CORRUPT, "until when it may run on this host cannot be read");
    overwrite(p->lease_file, "understudy-leases 2 x\n", 22);
    refuses(p, US_ERROR_UNSUPPORTED, "newer");
    g_unlink(p->lease_file);
    permits(p);
}

/* Torn at every length, flipped at every byte: never a yes. */
static void test_damage(Place *p, gconstpointer data)
{
    g_autofree char *path = g_build_filename(p->guard_folder, ID_TEXT(p->guard.vm), NULL);
    g_autofree char *text = NULL;
    gsize len;

    (void)data;
    write_permit(p);
    write_guard(p);
    permits(p);
    g_assert_true(g_file_get_contents(path, &text, &len, NULL));
    for (gsize cut = 0; cut < len; cut++) {
        overwrite(path, text, cut);
        refuses(p, US_ERROR_CORRUPT, "cannot be read");
    }
    for (gsize at = 0; at < len; at++) {
        g_autoptr(GError) error = NULL;

        text[at] ^= 1;
        overwrite(path, text, len);
        g_assert_false(guard_judge(&p->judge, p->guard.vm, "web 1", &error));
        text[at] ^= 1;
    }
    overwrite(path, text, len);
    permits(p);
}

static char *format_1(const Guard *g, const char *machine)
{
    g_autofree char *now = guard_encode(g, "?");
    g_autofree char *body = g_strdup(strchr(now, '\n') + 1);
    g_autofree char *before = NULL, *sum = NULL;

    *strstr(body, "\"place\"") = '\0';
    before = g_strdup_printf("%s\"machine\":\"%s\"}\n", body, machine);
    sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, before, -1);
    return g_strdup_printf("understudy-guard 1 %s\n%s", sum, before);
}

static void is_copied(Place *p)
{
    g_autoptr(Guard) guard = guard_read(p->guard_folder, p->guard.vm, NULL);
    g_autoptr(GError) error = NULL;

    refuses(p, US_ERROR_REFUSED, "was copied or put back from a backup");
    g_assert_true(guard->elsewhere && reign_equal(guard->reign, p->guard.reign));
    g_assert_false(guard_expect_own(guard, "nothing is done", &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_assert_true(g_str_has_suffix(error->message, ": nothing is done"));
}

/* What an older version wrote names the machine alone: it is believed there, and bound by what is written next. */
static void test_format_1(Place *p, gconstpointer data)
{
    g_autofree char *path = g_build_filename(p->guard_folder, ID_TEXT(p->guard.vm), NULL);
    g_autofree char *machine = machine_id();
    g_autofree char *here = format_1(&p->guard, machine);
    g_autofree char *there = format_1(&p->guard, "another");
    g_autofree char *kept = g_strconcat(path, ".format1", NULL);
    g_autofree char *text = NULL, *before = NULL;

    (void)data;
    write_guard(p);
    write_permit(p);
    g_assert_true(g_file_set_contents(path, here, -1, NULL));
    permits(p);
    g_assert_true(g_file_set_contents(path, there, -1, NULL));
    is_copied(p);
    write_guard(p);
    permits(p);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_true(g_str_has_prefix(text, "understudy-guard 2 "));
    /* For a version of before; it is nobody's guard, and goes with the guard. */
    g_assert_true(g_file_get_contents(kept, &before, NULL, NULL));
    g_assert_cmpstr(before, ==, there);
    write_guard(p);
    permits(p);
    g_assert_true(guard_remove(p->guard_folder, p->guard.vm, NULL));
    g_assert_false(g_file_test(kept, G_FILE_TEST_EXISTS));
    g_assert_false(guard_any(p->guard_folder));
}

/* An older promise, put back over a newer one: by a copy or a rename, or into the very file. */
static void test_put_back(Place *p, gconstpointer data)
{
    g_autofree char *path = g_build_filename(p->guard_folder, ID_TEXT(p->guard.vm), NULL);
    g_autofree char *backup = g_strconcat(path, ".backup", NULL);
    g_autofree char *text = NULL;
    gsize len;

    (void)data;
    write_guard(p);
    write_permit(p);
    g_assert_true(g_file_get_contents(path, &text, &len, NULL));
    g_assert_true(g_file_set_contents(backup, text, (gssize)len, NULL));
    p->guard.role = GUARD_STANDBY;
    p->guard.reign.number++;
    write_guard(p);
    p->guard.role = GUARD_ACTIVE;
    p->guard.reign.number--;
    overwrite(path, text, len);
    is_copied(p);
    g_assert_cmpint(g_rename(backup, path), ==, 0);
    is_copied(p);
    /* What it says of files is followed, and makes it no truer. */
    g_assert_true(guard_set_pivot(p->guard_folder, &p->guard, &LEFT, NULL));
    is_copied(p);
    g_assert_true(guard_set_pivot(p->guard_folder, &p->guard, NULL, NULL));
    is_copied(p);
    write_guard(p);
    permits(p);
}

/* It may go away and come back, as long as it is the same file. */
static void test_moved(Place *p, gconstpointer data)
{
    g_autofree char *path = g_build_filename(p->guard_folder, ID_TEXT(p->guard.vm), NULL);
    g_autofree char *aside = g_strconcat(path, ".aside", NULL);

    (void)data;
    write_guard(p);
    write_permit(p);
    g_assert_cmpint(g_rename(path, aside), ==, 0);
    g_assert_cmpint(g_rename(aside, path), ==, 0);
    permits(p);
}

static void test_permit_damage(Place *p, gconstpointer data)
{
    g_autofree char *path = g_build_filename(p->permit_folder, ID_TEXT(p->guard.vm), NULL);
    g_autofree char *text = NULL;
    gsize len = 0;

    (void)data;
    write_guard(p);
    write_permit(p);
    g_assert_true(g_file_get_contents(path, &text, &len, NULL));
    for (gsize cut = 0; cut < len; cut++) {
        g_assert_true(g_file_set_contents(path, text, (gssize)cut, NULL));
        refuses(p, US_ERROR_REFUSED, "since this host booted");
    }
}

static void test_oddities(Place *p, gconstpointer data)
{
    g_autofree char *path = g_build_filename(p->guard_folder, ID_TEXT(p->guard.vm), NULL);
    g_autofree char *big = g_strnfill(GUARD_MAX_BYTES + 1, 'x');
    Guard other = p->guard;
    g_autofree char *text = NULL;

    (void)data;
    write_permit(p);
    write_guard(p);
    /* Another VM's file under this name. */
    other.vm = id_random();
    text = guard_encode(&other, "?");
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    refuses(p, US_ERROR_CORRUPT, "another VM");
    /* From a later version of ours. */
    g_assert_true(g_file_set_contents(path, "understudy-guard 3 and more\n{}\n", -1, NULL));
    refuses(p, US_ERROR_UNSUPPORTED, "newer");
    g_assert_true(g_file_set_contents(path, big, -1, NULL));
    refuses(p, US_ERROR_CORRUPT, "too long");
    /* A folder, or a link to elsewhere, in its place. */
    g_unlink(path);
    g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
    refuses(p, US_ERROR_IO, "cannot be read");
    g_rmdir(path);
    g_assert_cmpint(symlink("/dev/null", path), ==, 0);
    refuses(p, US_ERROR_IO, "cannot be read");
}

static void test_start_lock(Place *p, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    gint64 mark;
    int lock;

    (void)data;
    /* No engine has been here since the boot. */
    g_assert_true(start_lock_wait(p->permit_folder, p->guard.vm, 0));
    g_assert_cmpint(start_lock_hold(p->permit_folder, p->guard.vm, &error), ==, -1);
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_true(durable_mkdir(p->permit_folder, 0700, NULL));
    lock = start_lock_hold(p->permit_folder, p->guard.vm, &error);
    g_assert_no_error(error);
    g_assert_false(start_lock_wait(p->permit_folder, p->guard.vm, 20));
    g_assert_true(start_lock_wait(p->permit_folder, id_random(), 0));
    g_assert_cmpint(start_lock_hold(p->permit_folder, p->guard.vm, &error), ==, -1);
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
    close(lock);
    mark = start_lock_mark(p->permit_folder, p->guard.vm);
    g_assert_cmpint(start_lock_mark(p->permit_folder, p->guard.vm), ==, mark);
    g_assert_true(start_lock_wait(p->permit_folder, p->guard.vm, 0));
    g_assert_cmpint(start_lock_mark(p->permit_folder, p->guard.vm), !=, mark);
}

static void test_operations(void)
{
    static const char *const ASKED[] = {"prepare", "start", "migrate", "restore"};
    static const char *const PASSED[] = {"started", "stopped", "release", "reconnect",
                                         "attach",  "",        "prepare2"};

    for (guint i = 0; i < G_N_ELEMENTS(ASKED); i++)
        g_assert_true(guard_asks(ASKED[i]));
    for (guint i = 0; i < G_N_ELEMENTS(PASSED); i++)
        g_assert_false(guard_asks(PASSED[i]));
    g_assert_true(guard_follows("started"));
    for (guint i = 1; i < G_N_ELEMENTS(PASSED); i++)
        g_assert_false(guard_follows(PASSED[i]));
    for (guint i = 0; i < G_N_ELEMENTS(ASKED); i++)
        g_assert_false(guard_follows(ASKED[i]));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/guard/round-trip", Place, NULL, place_open, test_round_trip, place_close);
    g_test_add("/guard/decisions", Place, NULL, place_open, test_decisions, place_close);
    g_test_add("/guard/lease", Place, NULL, place_open, test_lease, place_close);
    g_test_add("/guard/damage", Place, NULL, place_open, test_damage, place_close);
    g_test_add("/guard/format-1", Place, NULL, place_open, test_format_1, place_close);
    g_test_add("/guard/put-back", Place, NULL, place_open, test_put_back, place_close);
    g_test_add("/guard/moved", Place, NULL, place_open, test_moved, place_close);
    g_test_add("/guard/permit-damage", Place, NULL, place_open, test_permit_damage, place_close);
    g_test_add("/guard/oddities", Place, NULL, place_open, test_oddities, place_close);
    g_test_add("/guard/start-lock", Place, NULL, place_open, test_start_lock, place_close);
    g_test_add_func("/guard/operations", test_operations);
    return g_test_run();
}
