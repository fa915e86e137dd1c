/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_story.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

static void assert_same(const Ledger *a, const Ledger *b)
{
    json_auto_t *ja = ledger_to_json(a);
    json_auto_t *jb = ledger_to_json(b);

    g_assert_true(json_equal(ja, jb));
}

/* The record is refused as CORRUPT with a text like @pattern, and changes nothing. */
static void assert_refused(Ledger *ledger, json_t *record, const char *pattern)
{
    json_auto_t *owned = record;
    json_auto_t *before = ledger_to_json(ledger);
    json_auto_t *after = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_false(ledger_apply(ledger, owned, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
    if (!g_pattern_match_simple(pattern, error->message))
        g_error("'%s' is not like '%s'", error->message, pattern);
    after = ledger_to_json(ledger);
    g_assert_true(json_equal(before, after));
}

/* bottom to top, as numbers of layers: "1 2 3" */
static char *chain_text(const Ledger *ledger, const char *target)
{
    GString *text = g_string_new(NULL);
    Id id = ledger_layer_of(ledger_tip(ledger), target);

    for (const LedgerLayer *l; (l = ledger_find_layer(ledger, id)); id = l->below) {
        guint number = ((guint)(l->id.bytes[2] << 8 | l->id.bytes[3]) - 1000 - (guint)target[2]) / 16;
        g_autofree char *word = g_strdup_printf(text->len ? "%u " : "%u", number);

        g_string_prepend(text, word);
    }
    return g_string_free(text, FALSE);
}

static void assert_chain(const Ledger *ledger, const char *target, const char *expected)
{
    g_autofree char *text = chain_text(ledger, target);

    g_assert_cmpstr(text, ==, expected);
}

static void finish_merge(Ledger *ledger)
{
    story_apply(ledger, ledger_record_flushed());
    story_apply(ledger, story_switched(ledger));
    story_apply(ledger, ledger_record_removed());
}

static void test_generations_stack_up(void)
{
    g_autoptr(Ledger) ledger = story_new(3);

    assert_chain(ledger, "vda", "1 2 3");
    assert_chain(ledger, "vdb", "1 2 3");
    g_assert_true(id_equal(ledger_tip(ledger)->generation->id, story_id(3)));
    g_assert_cmpuint(ledger_depth(ledger, ledger_layer_of(ledger_tip(ledger), "vda")), ==, 3);
}

static void test_an_unchanged_disk_keeps_its_layer(void)
{
    g_autoptr(Ledger) ledger = story_new(1);

    story_apply(ledger, story_seal_sharing(ledger, 2, STORY_VDA, STORY_VDB));
    assert_chain(ledger, "vda", "1 2");
    assert_chain(ledger, "vdb", "1");
}

static void test_a_disk_ends_and_another_begins(void)
{
    g_autoptr(Ledger) ledger = story_new(2);

    story_apply(ledger, story_seal_sharing(ledger, 3, STORY_VDA, STORY_NONE));
    assert_chain(ledger, "vdb", "");
    story_apply(ledger, story_seal(ledger, 4));
    assert_chain(ledger, "vda", "1 2 3 4");
    assert_chain(ledger, "vdb", "4");
    /* Merging over the gap: the old vdb is read by nobody any more. */
    story_apply(ledger, story_withdrawn(ledger, 0, 3));
    finish_merge(ledger);
    assert_chain(ledger, "vda", "1");
    assert_chain(ledger, "vdb", "4");
    g_assert_cmpuint(ledger->layers->len, ==, 2);
}

static void test_merge_takes_the_lowest_file(void)
{
    g_autoptr(Ledger) ledger = story_new(5);

    story_apply(ledger, story_withdrawn(ledger, 1, 3));
    g_assert_null(ledger_find_point(ledger, story_id(2)));
    g_assert_null(ledger_find_point(ledger, story_id(3)));
    assert_chain(ledger, "vda", "1 2 3 4 5");
    story_apply(ledger, ledger_record_flushed());
    assert_chain(ledger, "vda", "1 2 3 4 5");
    story_apply(ledger, story_switched(ledger));
    assert_chain(ledger, "vda", "1 2 5");
    g_assert_true(
        id_equal(ledger_layer_of(ledger_find_point(ledger, story_id(4)), "vda"), story_layer(2, "vda")));
    story_apply(ledger, ledger_record_removed());
    g_assert_null(ledger->merge);
}

static void test_merge_leaves_a_shared_layer_to_its_owner(void)
{
    g_autoptr(Ledger) ledger = story_new(1);

    story_apply(ledger, story_seal_sharing(ledger, 2, STORY_VDA, STORY_VDB));
    story_apply(ledger, story_seal(ledger, 3));
    story_apply(ledger, story_seal(ledger, 4));
    /* 2 reads vdb from layer 1, which point 1 still needs. */
    story_apply(ledger, story_withdrawn(ledger, 1, 2));
    finish_merge(ledger);
    assert_chain(ledger, "vda", "1 2 4");
    assert_chain(ledger, "vdb", "1 3 4");
}

static void test_merge_under_the_unsealed(void)
{
    g_autoptr(Ledger) ledger = story_new(2);

    story_apply(ledger, story_slice(ledger, 3));
    story_apply(ledger, story_withdrawn(ledger, 0, 1));
    finish_merge(ledger);
    assert_chain(ledger, "vda", "1");
    g_assert_true(id_equal(ledger_find_layer(ledger, story_layer(3, "vda"))->below, story_layer(1, "vda")));
    story_apply(ledger, story_seal(ledger, 3));
    assert_chain(ledger, "vda", "1 3");
    g_assert_null(ledger->partial);
}

static void test_since_must_be_an_ancestor(void)
{
    g_autoptr(Ledger) ledger = story_new(4);

    story_apply(ledger, story_withdrawn(ledger, 0, 1));
    g_assert_true(ledger_is_ancestor(ledger, ID_NIL, story_reign(1)));
    g_assert_true(ledger_is_ancestor(ledger, story_id(4), story_reign(1)));
    g_assert_true(ledger_is_ancestor(ledger, story_id(3), story_reign(1)));
    g_assert_true(ledger_is_ancestor(ledger, story_id(1), story_reign(1))); /* merged away */
    g_assert_false(ledger_is_ancestor(ledger, story_id(9), story_reign(1)));
    /* Another reign shares only the very tip. */
    g_assert_true(ledger_is_ancestor(ledger, story_id(4), story_reign(2)));
    g_assert_false(ledger_is_ancestor(ledger, story_id(3), story_reign(2)));
    finish_merge(ledger);
    story_apply(ledger, ledger_record_session(story_reign(2), 2));
    story_apply(ledger, story_seal(ledger, 5));
    g_assert_false(ledger_is_ancestor(ledger, story_id(4), story_reign(2)));
    g_assert_false(ledger_is_ancestor(ledger, story_id(1), story_reign(2)));
    g_assert_cmpuint(ledger->past->len, ==, 0);
}

static void test_confirm_and_retain(void)
{
    g_autoptr(Ledger) ledger = story_new(2);

    story_apply(ledger, ledger_record_confirm(story_id(2), 5000));
    story_apply(ledger, ledger_record_confirm(story_id(2), 4000));
    g_assert_cmpint(ledger->confirmed_at_ms, ==, 5000);
    story_apply(ledger, ledger_record_retain(story_id(1), TRUE));
    assert_refused(ledger, story_withdrawn(ledger, 0, 1), "*must stay");
    story_apply(ledger, ledger_record_retain(story_id(1), FALSE));
    story_apply(ledger, story_withdrawn(ledger, 0, 1));
    story_apply(ledger, ledger_record_session(story_reign(1), 2));
    story_apply(ledger, story_seal(ledger, 3));
    g_assert_cmpint(ledger->confirmed_at_ms, ==, 0);
}

static void test_promotion_and_back(void)
{
    g_autoptr(Ledger) ledger = story_new(3);
    g_autoptr(Ledger) before = story_new(3);

    story_apply(ledger, story_promoted(ledger, 2));
    g_assert_true(id_equal(ledger->promoted, story_id(2)));
    g_assert_true(id_equal(ledger_find_layer(ledger, story_layer(900, "vdb"))->below, story_layer(2, "vdb")));
    assert_refused(ledger, story_seal(ledger, 4), "*after the promotion");
    assert_refused(ledger, story_promoted(before, 2), "*cannot be promoted here");
    assert_refused(ledger, story_withdrawn(ledger, 0, 1), "*a VM runs*");
    story_apply(ledger, ledger_record_demoted());
    assert_same(ledger, before);
    assert_refused(ledger, ledger_record_demoted(), "*nothing was promoted");
}

/* What the VM ran from is a layer like all others, and received on. */
static void test_overlays_are_adopted(void)
{
    g_autoptr(Ledger) ledger = story_new(3);
    json_auto_t *same = NULL;
    g_autoptr(Ledger) read = ledger_new(ID_NIL);

    story_apply(ledger, story_promoted(ledger, 3));
    assert_refused(ledger, story_adopted(ledger, 3, 2), "*there already");
    assert_refused(ledger, story_adopted(ledger, 10, 1), "*no later reign");
    assert_refused(ledger, story_images(ledger, 10, 2), "*not what the VM ran from");
    story_apply(ledger, story_adopted(ledger, 10, 2));
    g_assert_true(id_is_nil(ledger->promoted));
    g_assert_cmpuint(ledger->active->len, ==, 0);
    g_assert_true(id_equal(ledger_tip(ledger)->generation->id, story_id(10)));
    g_assert_cmpuint(ledger_find_layer(ledger, story_layer(900, "vda"))->file_bytes, ==, 65536);
    assert_refused(ledger, ledger_record_session(story_reign(1), 9), "*older one");
    story_apply(ledger, ledger_record_session(story_reign(3), 9));
    g_assert_true(ledger_is_ancestor(ledger, story_id(10), story_reign(3)));
    g_assert_false(ledger_is_ancestor(ledger, story_id(3), story_reign(3)));
    same = ledger_to_json(ledger);
    story_apply(read, json_incref(same));
    assert_same(ledger, read);
}

/* A merge that was cut short by the promotion does not stand in the way: its files stay, and go with the next one. */
static void test_adoption_gives_a_merge_up(void)
{
    g_autoptr(Ledger) ledger = story_new(2);

    /* The old vdb is in no chain of a point that is left. */
    story_apply(ledger, story_seal_sharing(ledger, 3, STORY_VDA, STORY_NONE));
    story_apply(ledger, story_seal(ledger, 4));
    story_apply(ledger, story_seal(ledger, 5));
    story_apply(ledger, story_withdrawn(ledger, 0, 3));
    story_apply(ledger, story_promoted(ledger, 4));
    story_apply(ledger, story_adopted(ledger, 10, 2));
    g_assert_null(ledger->merge);
    g_assert_null(ledger_find_layer(ledger, story_layer(2, "vdb")));
    assert_chain(ledger, "vda", "1 2 3 4 900");
    assert_chain(ledger, "vdb", "4 900");
    /* Two chains stand on 4. */
    g_assert_false(ledger_can_withdraw(ledger, 0));
    g_assert_true(ledger_can_withdraw(ledger, 1));
    story_apply(ledger, story_withdrawn(ledger, 1, 2));
    finish_merge(ledger);
    story_apply(ledger, story_withdrawn(ledger, 0, 1));
    finish_merge(ledger);
    assert_chain(ledger, "vda", "1");
    assert_chain(ledger, "vdb", "4");
    g_assert_cmpuint(ledger->layers->len, ==, 2);
}

/* Once a merge is flushed its files are not what the points say before it is over. */
static void test_a_flushed_merge_is_not_adopted_over(void)
{
    g_autoptr(Ledger) ledger = story_new(3);

    story_apply(ledger, story_withdrawn(ledger, 0, 2));
    story_apply(ledger, ledger_record_flushed());
    story_apply(ledger, story_promoted(ledger, 3));
    assert_refused(ledger, story_adopted(ledger, 10, 2), "*under way");
}

/* Images that lie elsewhere are stood on, and never merged into or dropped. */
static void test_images_are_adopted(void)
{
    g_autoptr(Ledger) ledger = ledger_new(story_id(100));
    g_autoptr(Ledger) other = story_new(1);
    g_autoptr(Ledger) read = ledger_new(ID_NIL);
    json_auto_t *same = NULL;
    const LedgerLayer *image;

    assert_refused(other, story_images(other, 10, 2), "*beside what is here");
    story_apply(ledger, story_images(ledger, 10, 2));
    image = ledger_find_layer(ledger, story_layer(801, "vda"));
    g_assert_cmpstr(image->image->path, ==, "/images/web1.qcow2");
    g_assert_cmpuint(ledger_depth(ledger, image->id), ==, 2);
    story_apply(ledger, ledger_record_session(story_reign(3), 1));
    for (guint i = 11; i < 14; i++)
        story_apply(ledger, story_seal(ledger, i));
    story_apply(ledger, story_withdrawn(ledger, 0, 2));
    for (guint i = 0; i < ledger->merge->disks->len; i++) {
        const LedgerMergeDisk *disk = ledger->merge->disks->pdata[i];

        g_assert_cmpuint(disk->layers->len, ==, 2);
        g_assert_cmpuint(disk->dropped->len, ==, 0);
        g_assert_true(id_equal(g_array_index(disk->layers, Id, 0), story_layer(11, disk->target)));
    }
    story_apply(ledger, ledger_record_flushed());
    story_apply(ledger, story_switched(ledger));
    story_apply(ledger, ledger_record_removed());
    g_assert_nonnull(ledger_find_layer(ledger, story_layer(801, "vda")));
    same = ledger_to_json(ledger);
    story_apply(read, json_incref(same));
    assert_same(ledger, read);
}

static void test_what_cannot_be_is_refused(void)
{
    g_autoptr(Ledger) ledger = story_new(3);
    g_autoptr(Ledger) other = story_new(2);

    assert_refused(ledger, story_seal(other, 3), "*does not stand on the tip");
    assert_refused(ledger, story_seal(ledger, 1), "*there already");
    assert_refused(ledger, json_pack("{s:s}", "record", "wish"), "*no known kind");
    assert_refused(ledger, json_pack("{s:s, s:i}", "record", "removed", "x", 1), "*");
    assert_refused(ledger, ledger_to_json(other), "*wrong place");
    assert_refused(ledger, ledger_record_session(story_reign(1), 1), "*not newer");
    assert_refused(ledger, ledger_record_flushed(), "*no merge is withdrawn");
    assert_refused(ledger, ledger_record_removed(), "*no merge is switched");
    assert_refused(ledger, ledger_record_discard(story_id(9)), "*not unsealed");
    assert_refused(ledger, ledger_record_confirm(story_id(1), 1), "*not the tip");
    assert_refused(ledger, ledger_record_retain(story_id(9), TRUE), "*no point*");
    story_apply(ledger, story_slice(ledger, 4));
    assert_refused(ledger, story_slice(ledger, 5), "*another generation is unsealed");
    assert_refused(ledger, story_seal(ledger, 5), "*another generation is unsealed");
    assert_refused(ledger, story_promoted(ledger, 3), "*cannot be promoted*");
    assert_refused(ledger, ledger_record_session(story_reign(2), 1), "*outlives its reign");
    story_apply(ledger, ledger_record_discard(story_id(4)));
    story_apply(ledger, ledger_record_session(story_reign(2), 1));
    assert_refused(ledger, ledger_record_session(story_reign(1), 9), "*an older one");
}

/* At each step of a life the whole model, written and read as one record, is the same model. */
static void test_one_record_is_the_whole(void)
{
    g_autoptr(Ledger) ledger = story_new(3);

    for (guint step = 0; step < 8; step++) {
        g_autoptr(Ledger) copy = ledger_new(ID_NIL);

        story_apply(copy, ledger_to_json(ledger));
        assert_same(copy, ledger);
        switch (step) {
        case 0:
            story_apply(ledger, story_slice(ledger, 4));
            break;
        case 1:
            story_apply(ledger, story_withdrawn(ledger, 0, 2));
            break;
        case 2:
            story_apply(ledger, ledger_record_flushed());
            break;
        case 3:
            story_apply(ledger, story_switched(ledger));
            break;
        case 4:
            story_apply(ledger, story_seal(ledger, 4));
            break;
        case 5:
            story_apply(ledger, ledger_record_removed());
            break;
        default:
            if (step == 6)
                story_apply(ledger, story_promoted(ledger, 3));
        }
    }
}

static void test_a_newer_format_is_left_alone(void)
{
    g_autoptr(Ledger) ledger = ledger_new(ID_NIL);
    json_auto_t *record =
        json_pack("{s:s, s:i, s:s}", "record", "chain", "format", LEDGER_FORMAT + 1, "later", "thing");
    g_autoptr(GError) error = NULL;

    g_assert_false(ledger_apply(ledger, record, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNSUPPORTED);
    g_assert_cmpstr(
        error->message, ==,
        "record 'chain': format 4 is newer than this program's (3), nothing was touched; install the "
        "newer version");
}

static void test_a_shrunk_disk_is_not_merged_down(void)
{
    g_autoptr(Ledger) ledger = story_new(1);
    json_auto_t *seal = story_seal(ledger, 2);
    json_t *disk = json_array_get(
        json_object_get(json_object_get(json_object_get(seal, "point"), "generation"), "disks"), 0);
    json_t *layer = json_array_get(json_object_get(seal, "layers"), 0);

    json_object_set_new(disk, "size_bytes", json_integer(4096));
    json_object_set_new(layer, "size_bytes", json_integer(4096));
    story_apply(ledger, json_incref(seal));
    g_assert_false(ledger_can_withdraw(ledger, 0));
    assert_refused(ledger, story_withdrawn(ledger, 0, 1), "*must stay");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ledger/generations-stack-up", test_generations_stack_up);
    g_test_add_func("/ledger/an-unchanged-disk-keeps-its-layer", test_an_unchanged_disk_keeps_its_layer);
    g_test_add_func("/ledger/a-disk-ends-and-another-begins", test_a_disk_ends_and_another_begins);
    g_test_add_func("/ledger/merge-takes-the-lowest-file", test_merge_takes_the_lowest_file);
    g_test_add_func("/ledger/merge-leaves-a-shared-layer", test_merge_leaves_a_shared_layer_to_its_owner);
    g_test_add_func("/ledger/merge-under-the-unsealed", test_merge_under_the_unsealed);
    g_test_add_func("/ledger/since-must-be-an-ancestor", test_since_must_be_an_ancestor);
    g_test_add_func("/ledger/confirm-and-retain", test_confirm_and_retain);
    g_test_add_func("/ledger/promotion-and-back", test_promotion_and_back);
    g_test_add_func("/ledger/overlays-are-adopted", test_overlays_are_adopted);
    g_test_add_func("/ledger/adoption-gives-a-merge-up", test_adoption_gives_a_merge_up);
    g_test_add_func("/ledger/a-flushed-merge-is-not-adopted-over", test_a_flushed_merge_is_not_adopted_over);
    g_test_add_func("/ledger/images-are-adopted", test_images_are_adopted);
    g_test_add_func("/ledger/what-cannot-be-is-refused", test_what_cannot_be_is_refused);
    g_test_add_func("/ledger/one-record-is-the-whole", test_one_record_is_the_whole);
    g_test_add_func("/ledger/a-newer-format-is-left-alone", test_a_newer_format_is_left_alone);
    g_test_add_func("/ledger/a-shrunk-disk-is-not-merged-down", test_a_shrunk_disk_is_not_merged_down);
    return g_test_run();
}
