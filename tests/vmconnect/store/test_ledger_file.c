/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_story.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/fault.h"
#include "vmconnect/store/ledger_file.h"
#include "vmconnect/store/ledger_text.h"

#include <errno.h>
#include <glib/gstdio.h>

typedef struct {
    char *dir;
    char *path;
} Place;

static void place_make(Place *place, gconstpointer unused)
{
    (void)unused;
    place->dir = g_dir_make_tmp("understudy-ledger-XXXXXX", NULL);
    place->path = g_build_filename(place->dir, "ledger", NULL);
}

static void place_remove(Place *place, gconstpointer unused)
{
    static const char *const NAMES[] = {"ledger", "ledger.new", "ledger.torn", "ledger.format1"};

    (void)unused;
    for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++) {
        g_autofree char *path = g_build_filename(place->dir, NAMES[i], NULL);

        g_unlink(path);
    }
    g_assert_cmpint(g_rmdir(place->dir), ==, 0);
    g_free(place->path);
    g_free(place->dir);
}

static LedgerFile *open_file(const Place *place)
{
    GError *error = NULL;
    LedgerFile *file = ledger_file_open(place->path, story_id(7), TRUE, &error);

    g_assert_no_error(error);
    return file;
}

static void append(LedgerFile *file, json_t *record)
{
    GError *error = NULL;

    ledger_file_append(file, record, &error);
    g_assert_no_error(error);
}

static void seal(LedgerFile *file, guint number)
{
    append(file, story_seal(ledger_file_model(file), number));
}

static guint tip_of(const Ledger *ledger)
{
    const LedgerPoint *tip = ledger_tip(ledger);

    return tip ? tip->generation->id.bytes[3] : 0;
}

/* Open a ledger of generations 1 … @n. */
static LedgerFile *file_with(const Place *place, guint n)
{
    LedgerFile *file = open_file(place);

    append(file, ledger_record_session(story_reign(1), 1));
    for (guint i = 1; i <= n; i++)
        seal(file, i);
    return file;
}

static void assert_refused(const Place *place, UsError code, const char *pattern)
{
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    g_autoptr(GError) error = NULL;
    gsize before_len, after_len;

    g_assert_true(g_file_get_contents(place->path, &before, &before_len, NULL));
    g_assert_null(ledger_file_open(place->path, story_id(7), TRUE, &error));
    g_assert_error(error, US_ERROR, (int)code);
    if (!g_pattern_match_simple(pattern, error->message))
        g_error("'%s' is not like '%s'", error->message, pattern);
    g_assert_true(g_file_get_contents(place->path, &after, &after_len, NULL));
    g_assert_cmpmem(before, before_len, after, after_len);
}

static void test_reopened(Place *place, gconstpointer unused)
{
    LedgerFile *file = file_with(place, 3);

    (void)unused;
    ledger_file_close(file);
    file = open_file(place);
    g_assert_cmpuint(tip_of(ledger_file_model(file)), ==, 3);
    seal(file, 4);
    ledger_file_close(file);
    file = open_file(place);
    g_assert_cmpuint(tip_of(ledger_file_model(file)), ==, 4);
    ledger_file_close(file);
}

/* A ledger of the release before is taken over, and left as it was beside the new one. */
static void test_an_older_format_is_upgraded(Place *place, gconstpointer unused)
{
    g_autofree char *kept = g_strconcat(place->path, ".format1", NULL);
    LedgerFile *file = file_with(place, 3);
    json_auto_t *whole = ledger_to_json(ledger_file_model(file));
    g_autofree char *older = NULL;
    g_autofree char *copy = NULL;
    g_autofree char *now = NULL;

    (void)unused;
    ledger_file_close(file);
    json_object_set_new(whole, "format", json_integer(1));
    older = ledger_text_line(whole);
    g_assert_true(g_file_set_contents(place->path, older, -1, NULL));
    file = open_file(place);
    g_assert_cmpuint(tip_of(ledger_file_model(file)), ==, 3);
    seal(file, 4);
    ledger_file_close(file);
    g_assert_true(g_file_get_contents(kept, &copy, NULL, NULL));
    g_assert_cmpstr(copy, ==, older);
    g_assert_true(g_file_get_contents(place->path, &now, NULL, NULL));
    g_assert_nonnull(strstr(now, "\"format\":3"));
    /* Once. */
    g_unlink(kept);
    ledger_file_close(open_file(place));
    g_assert_false(g_file_test(kept, G_FILE_TEST_EXISTS));
}

/* Cut a ledger at every length: it is refused, or its tip is one that had been sealed, the newest
 * whose line is whole. */
static void test_cut_at_every_length(Place *place, gconstpointer unused)
{
    g_autofree char *text = NULL;
    guint refused = 0;
    guint last = 0;
    gsize len;

    (void)unused;
    ledger_file_close(file_with(place, 3));
    g_assert_true(g_file_get_contents(place->path, &text, &len, NULL));
    for (gsize cut = 0; cut <= len; cut++) {
        g_autoptr(Ledger) ledger = ledger_new(ID_NIL);
        g_autoptr(GError) error = NULL;
        gsize good;

        if (!ledger_text_replay(ledger, text, cut, &good, &error)) {
            g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
            g_assert_cmpuint(last, ==, 0);
            refused++;
            continue;
        }
        g_assert_cmpuint(good, <=, cut);
        g_assert_cmpint(text[good - 1], ==, '\n');
        g_assert_cmpuint(tip_of(ledger), ==, tip_of(ledger) == last ? last : last + 1);
        last = tip_of(ledger);
    }
    g_assert_cmpuint(last, ==, 3);
    g_assert_cmpuint(refused, >, 100);
}

static void test_tail_is_kept_aside(Place *place, gconstpointer unused)
{
    g_autofree char *torn = g_strconcat(place->path, ".torn", NULL);
    g_autofree char *text = NULL;
    g_autofree char *aside = NULL;
    LedgerFile *file = file_with(place, 1);
    gsize len, aside_len;
    GString *longer;

    (void)unused;
    ledger_file_close(file);
    g_assert_true(g_file_get_contents(place->path, &text, &len, NULL));
    longer = g_string_new_len(text, (gssize)len);
    g_string_append_len(longer, "0123\0\0\0\0\0", 9);
    g_assert_true(g_file_set_contents(place->path, longer->str, (gssize)longer->len, NULL));
    g_string_free(longer, TRUE);
    file = open_file(place);
    g_assert_cmpuint(tip_of(ledger_file_model(file)), ==, 1);
    ledger_file_close(file);
    g_assert_true(g_file_get_contents(torn, &aside, &aside_len, NULL));
    g_assert_cmpmem(aside, aside_len, "0123\0\0\0\0\0", 9);
}

static void test_damage_is_refused(Place *place, gconstpointer unused)
{
    g_autofree char *text = NULL;
    gsize len;

    (void)unused;
    ledger_file_close(file_with(place, 2));
    g_assert_true(g_file_get_contents(place->path, &text, &len, NULL));
    /* The last line is whole but not what was written: not a torn tail. */
    text[len - 5] ^= 1;
    g_assert_true(g_file_set_contents(place->path, text, (gssize)len, NULL));
    assert_refused(place, US_ERROR_CORRUPT, "ledger *: line 4: it does not match its checksum");
    text[len - 5] ^= 1;
    strchr(text, '\n')[3] ^= 4;
    g_assert_true(g_file_set_contents(place->path, text, (gssize)len, NULL));
    assert_refused(place, US_ERROR_CORRUPT, "ledger *: line 2: it does not match its checksum");
    g_assert_true(g_file_set_contents(place->path, "x\n", 2, NULL));
    assert_refused(place, US_ERROR_CORRUPT, "ledger *: line 1: it is no record");
}

static void test_newer_and_foreign(Place *place, gconstpointer unused)
{
    json_auto_t *newer = json_pack("{s:s, s:i}", "record", "chain", "format", LEDGER_FORMAT + 1);
    g_autofree char *line = ledger_text_line(newer);
    g_autoptr(GError) error = NULL;

    (void)unused;
    g_assert_true(g_file_set_contents(place->path, line, -1, NULL));
    assert_refused(place, US_ERROR_UNSUPPORTED, "ledger *: line 1: record 'chain': format 4 is newer *");
    g_unlink(place->path);
    ledger_file_close(open_file(place));
    g_assert_null(ledger_file_open(place->path, story_id(8), TRUE, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_unlink(place->path);
    g_clear_error(&error);
    g_assert_null(ledger_file_open(place->path, story_id(7), FALSE, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
}

/* Let the 1st, 2nd, 3rd … step of an append fail, until one goes through untouched. Each
 * time: the record is not believed, in memory or by who opens the file next, unless its
 * taking back failed as well; and the next append works. */
static void test_every_step_fails_once(Place *place, gconstpointer user)
{
    int errnum = GPOINTER_TO_INT(user);
    int code = errnum == ENOSPC ? US_ERROR_NO_SPACE : US_ERROR_IO;
    LedgerFile *file = file_with(place, 1);
    guint steps = 0;

    for (guint n = 1;; n++) {
        guint tip = tip_of(ledger_file_model(file));
        g_autoptr(GError) error = NULL;
        gboolean ok;

        fault_arm(n, errnum);
        ok = ledger_file_append(file, story_seal(ledger_file_model(file), tip + 1), &error);
        if (!fault_was_met()) {
            g_assert_true(ok);
            break;
        }
        steps++;
        g_assert_false(ok);
        g_assert_error(error, US_ERROR, code);
        g_assert_cmpuint(tip_of(ledger_file_model(file)), ==, tip);
        ledger_file_close(file);
        file = open_file(place);
        g_assert_cmpuint(tip_of(ledger_file_model(file)), ==, tip);
        seal(file, tip + 1);
    }
    g_assert_cmpuint(steps, ==, 2);
    ledger_file_close(file);
}

/* Even the taking back fails: nothing may be removed until a new file says what the model says. */
static void test_in_doubt_until_replaced(Place *place, gconstpointer unused)
{
    g_autofree char *in_the_way = g_strconcat(place->path, ".new", NULL);
    LedgerFile *file = file_with(place, 1);
    g_autoptr(GError) error = NULL;

    (void)unused;
    g_assert_cmpint(g_mkdir(in_the_way, 0700), ==, 0);
    fault_arm(2, EIO);
    g_assert_false(ledger_file_append(file, story_seal(ledger_file_model(file), 2), &error));
    g_assert_true(fault_was_met());
    g_clear_error(&error);
    g_assert_false(ledger_file_settle(file, &error));
    g_clear_error(&error);
    g_assert_false(ledger_file_append(file, story_seal(ledger_file_model(file), 2), &error));
    g_assert_cmpint(g_rmdir(in_the_way), ==, 0);
    g_assert_true(ledger_file_settle(file, NULL));
    seal(file, 2);
    ledger_file_close(file);
}

static void test_does_not_grow_for_ever(Place *place, gconstpointer unused)
{
    LedgerFile *file = file_with(place, 2);
    gboolean shrank = FALSE;
    GStatBuf before, after;

    (void)unused;
    g_stat(place->path, &before);
    for (guint i = 0; i < 3000; i++) {
        append(file, ledger_record_confirm(story_id(2), i));
        g_stat(place->path, &after);
        shrank |= after.st_size < before.st_size;
        before = after;
    }
    g_assert_true(shrank);
    g_assert_cmpint(after.st_size, <, 300 * 1024);
    ledger_file_close(file);
    file = open_file(place);
    g_assert_cmpint(ledger_file_model(file)->confirmed_at_ms, ==, 2999);
    ledger_file_close(file);
}

#define ADD(name, function, data) \
    g_test_add("/ledger-file/" name, Place, data, place_make, function, place_remove)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("reopened", test_reopened, NULL);
    ADD("an-older-format-is-upgraded", test_an_older_format_is_upgraded, NULL);
    ADD("cut-at-every-length", test_cut_at_every_length, NULL);
    ADD("tail-is-kept-aside", test_tail_is_kept_aside, NULL);
    ADD("damage-is-refused", test_damage_is_refused, NULL);
    ADD("newer-and-foreign", test_newer_and_foreign, NULL);
    ADD("every-step-fails-once/io", test_every_step_fails_once, GINT_TO_POINTER(EIO));
    ADD("every-step-fails-once/no-space", test_every_step_fails_once, GINT_TO_POINTER(ENOSPC));
    ADD("in-doubt-until-replaced", test_in_doubt_until_replaced, NULL);
    ADD("does-not-grow-for-ever", test_does_not_grow_for_ever, NULL);
    return g_test_run();
}
