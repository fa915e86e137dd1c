/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/tree.h"
#include "vmconnect/capture/gather.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UUID "11111111-2222-4333-8444-555555555555"

/* A VM with a variable store and a TPM, in a folder of its own. */
typedef struct {
    char *root;
    char *nvram;
    char *tpm;
    Definition *definition;
    Gather *gather;
} Host;

static void host_make(Host *h, gconstpointer unused)
{
    Id vm;

    (void)unused;
    h->root = g_dir_make_tmp("understudy-gather-XXXXXX", NULL);
    h->nvram = g_build_filename(h->root, "web_VARS.fd", NULL);
    h->tpm = g_build_filename(h->root, UUID, "tpm2", NULL);
    g_assert_cmpint(g_mkdir_with_parents(h->tpm, 0700), ==, 0);
    g_assert_true(id_parse(UUID, &vm, NULL));
    h->definition = definition_bare(vm, "web");
    h->definition->nvram = g_strdup(h->nvram);
    h->definition->tpm = DEFINITION_TPM_2;
    h->gather = gather_new(h->root);
}

static void host_remove(Host *h, gconstpointer unused)
{
    (void)unused;
    gather_free(h->gather);
    definition_free(h->definition);
    tree_remove(h->root);
    g_free(h->tpm);
    g_free(h->nvram);
    g_free(h->root);
}

static void write_tpm(const Host *h, const char *file, const char *text)
{
    g_autofree char *path = g_build_filename(h->tpm, file, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

/* Names and contents of what is found, "name=content …". */
static char *look(const Host *h, const char *why_part)
{
    g_autofree char *why = NULL;
    g_autoptr(GPtrArray) set = gather_look(h->gather, h->definition, &why);
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < set->len; i++) {
        const Belonging *b = set->pdata[i];
        g_autoptr(GBytes) file = belonging_unpack(b, NULL);
        gsize len;
        const char *data;

        g_assert_nonnull(file);
        data = g_bytes_get_data(file, &len);
        g_string_append_printf(text, "%s%s=%.*s", i ? " " : "", b->name, (int)MIN(len, 20), data);
    }
    if (why_part ? !why || !strstr(why, why_part) : why != NULL)
        g_error("'%s' instead of '%s'", why, why_part);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void expect(const Host *h, const char *wanted, const char *why_part)
{
    g_autofree char *found = look(h, why_part);

    g_assert_cmpstr(found, ==, wanted);
}

static void test_what_there_is(Host *h, gconstpointer unused)
{
    (void)unused;
    expect(h, "", NULL);
    g_assert_true(g_file_set_contents(h->nvram, "variables", -1, NULL));
    write_tpm(h, "tpm2-00.permall", "state");
    write_tpm(h, "tpm2-00.volatilestate", "more");
    write_tpm(h, "TMP2-00.permall", "half");
    write_tpm(h, ".lock", "");
    expect(h, "nvram=variables tpm2/tpm2-00.permall=state tpm2/tpm2-00.volatilestate=more", NULL);
    g_clear_pointer(&h->definition->nvram, g_free);
    h->definition->tpm = DEFINITION_TPM_1_2;
    expect(h, "", NULL);
    h->definition->tpm = DEFINITION_TPM_HOST;
    expect(h, "", NULL);
}

/* Length and time of last change say nothing here: a second write in the same tick. */
static void test_a_change_is_seen(Host *h, gconstpointer unused)
{
    static const struct timespec OLD[2] = {{1000, 0}, {1000, 0}};

    (void)unused;
    for (guint i = 0; i < 50; i++) {
        g_autofree char *text = g_strdup_printf("value %02u", i);
        g_autofree char *wanted = g_strconcat("nvram=", text, NULL);
        int fd = open(h->nvram, O_WRONLY | O_CREAT, 0600);

        g_assert_cmpint(write(fd, text, 8), ==, 8);
        g_assert_cmpint(futimens(fd, OLD), ==, 0);
        close(fd);
        expect(h, wanted, NULL);
    }
}

static void test_fresh_stamps_are_not_believed(Host *h, gconstpointer unused)
{
    const gint64 second = 1000000000;
    Signature s = {.mtime_ns = 100 * second, .ctime_ns = 100 * second};

    (void)h;
    (void)unused;
    g_assert_false(gather_is_settled(&s, 100 * second));
    g_assert_false(gather_is_settled(&s, 102 * second));
    g_assert_true(gather_is_settled(&s, 110 * second));
    /* The clock was set back. */
    g_assert_false(gather_is_settled(&s, 50 * second));
    s.ctime_ns = 109 * second;
    g_assert_false(gather_is_settled(&s, 110 * second));
}

static void test_what_is_no_file_is_not_read(Host *h, gconstpointer unused)
{
    g_autofree char *link = g_build_filename(h->tpm, "tpm2-00.permall", NULL);
    g_autofree char *fifo = g_build_filename(h->tpm, "tpm2-01.permall", NULL);

    (void)unused;
    g_assert_cmpint(symlink("/etc/passwd", link), ==, 0);
    expect(h, "", "keep a recovery key");
    g_unlink(link);
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    expect(h, "", "it is not a regular file");
    g_unlink(fifo);
    expect(h, "", NULL);
}

static void test_what_is_too_long_is_left_out(Host *h, gconstpointer unused)
{
    g_autofree char *large = g_build_filename(h->tpm, "a", NULL);

    (void)unused;
    write_tpm(h, "tpm2-00.permall", "state");
    write_tpm(h, "a", "");
    g_assert_cmpint(truncate(large, BELONGINGS_TPM_MAX + 1), ==, 0);
    expect(h, "tpm2/tpm2-00.permall=state", "has 1048577 bytes");
    expect(h, "tpm2/tpm2-00.permall=state", "has 1048577 bytes");
    g_assert_true(g_file_set_contents(h->nvram, "", 0, NULL));
    g_assert_cmpint(truncate(h->nvram, BELONGINGS_NVRAM_MAX + 1), ==, 0);
    expect(h, "tpm2/tpm2-00.permall=state", "firmware begins with fresh variables");
}

/* What cannot be compressed does not fit into a frame, long before it is too long. */
static void test_what_does_not_shrink_is_left_out(Host *h, gconstpointer unused)
{
    gsize len = BELONGINGS_PACKED_MAX + 65536;
    g_autofree guint32 *noise = g_malloc(len);

    (void)unused;
    for (gsize i = 0; i < len / 4; i++)
        noise[i] = g_random_int();
    g_assert_true(g_file_set_contents(h->nvram, (const char *)noise, (gssize)len, NULL));
    write_tpm(h, "tpm2-00.permall", "state");
    expect(h, "tpm2/tpm2-00.permall=state", "compressed it has more");
    for (guint i = 0; i < 3; i++) {
        g_autofree char *name = g_strdup_printf("n%u", i);
        g_autofree char *path = g_build_filename(h->tpm, name, NULL);

        g_assert_true(g_file_set_contents(path, (const char *)noise, BELONGINGS_TPM_MAX, NULL));
    }
    g_unlink(h->nvram);
    g_free(look(h, "together with the rest"));
}

static void test_too_many_are_left_out(Host *h, gconstpointer unused)
{
    g_autofree char *found = NULL;

    (void)unused;
    for (guint i = 0; i < 20; i++) {
        g_autofree char *name = g_strdup_printf("f%02u", i);

        write_tpm(h, name, "x");
    }
    found = look(h, "more files than can be sent");
    g_assert_nonnull(strstr(found, "tpm2/f15=x"));
    g_assert_null(strstr(found, "tpm2/f16=x"));
}

#define ADD(name, function) g_test_add("/capture/gather/" name, Host, NULL, host_make, function, host_remove)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("what-there-is", test_what_there_is);
    ADD("a-change-is-seen", test_a_change_is_seen);
    ADD("fresh-stamps-are-not-believed", test_fresh_stamps_are_not_believed);
    ADD("what-is-no-file-is-not-read", test_what_is_no_file_is_not_read);
    ADD("what-is-too-long-is-left-out", test_what_is_too_long_is_left_out);
    ADD("what-does-not-shrink-is-left-out", test_what_does_not_shrink_is_left_out);
    ADD("too-many-are-left-out", test_too_many_are_left_out);
    return g_test_run();
}
