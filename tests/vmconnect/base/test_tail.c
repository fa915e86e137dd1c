/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/tree.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/tail.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WHAT "\xef\xbf\xbd" /* U+FFFD */

static void expect_plain(const char *data, gsize len, const char *plain)
{
    g_autofree char *exact = g_memdup2(data, len); /* for AddressSanitizer: nothing is behind it */
    g_autofree char *text = tail_plain(exact, len);

    g_assert_cmpstr(text, ==, plain);
}

static void test_plain(void)
{
    static const struct {
        const char *data, *plain;
    } CASES[] = {
        {"", ""},
        {"a\tb\nc \xc3\xa4 <&>\n", "a\tb\nc \xc3\xa4 <&>\n"},
        {"[\x1b[0;32m  OK  \x1b[0m] up\r\n", "[  OK  ] up\n"},
        {"\x1b[2J\x1b[1;1H\x1b[?25hx\x1b[1 q\x1b[m", "x"},
        {"\x1b(Ba\x1b)0b\x1b#8c\x1b%Gd\x1b=e\x1b"
         "7f\x1b([g",
         "abcdefg"},
        {"\x1b]0;title\x07"
         "a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
         "alink"},
        {"a\x1bP1$r0m\x1b\\b\x1b_apc\x1b\\c\x1b^pm\x1b\\d\x1bXsos\x1b\\e", "abcde"},
        {"a\xc2\x9b"
         "31mb\xc2\x9d"
         "0;t\x07"
         "c\xc2\x85"
         "d",
         "abcd"}, /* the same in one character */
        {"a\x1b]0;never ends\nb", "a\nb"},
        {"a\x1b[12\nb\x1b[\x1b[1mc", "a\nbc"},
        {"a\x1b\nb\x1b\x1b[1mc\x1b", "a\nbc"},
        {"a\x1b[", "a"},
        {"a\x1b]", "a"},
        {"a\x1b(", "a"},
        {"\a\b\v\f\x0e\x7f\xc2\x80x", "x"},
        {"\rone\r\r\ntwo\r\nthree 10%\rthree 20%\r\x1b[K\rfour\r", "one\ntwo\nthree 10%\nthree 20%\nfour"},
        {"a\n\rb", "a\nb"},
        {"a\xff\xfe\x80z\xc0\x80y\xed\xa0\x80x", "a" WHAT "z" WHAT "y" WHAT "x"},
        {"a" WHAT WHAT "b", "a" WHAT WHAT "b"},
        {"evil\xe2\x80\xaetxt\xe2\x80\x8b.\xef\xbb\xbf",
         "eviltxt."}, /* right to left, no width, byte order */
        {"a\xe2\x82", "a"},
        {"a\xf0\x9f\x98\x80\xf0\x9f", "a\xf0\x9f\x98\x80"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++)
        expect_plain(CASES[i].data, strlen(CASES[i].data), CASES[i].plain);
    expect_plain("\0\0a\0\x1b[\0m\0\n\0", 11, "am\n");
}

typedef struct {
    char *folder;
    char *path;
} Log;

static void log_open(Log *l, gconstpointer data)
{
    (void)data;
    l->folder = g_dir_make_tmp("tail-XXXXXX", NULL);
    l->path = g_build_filename(l->folder, "log", NULL);
}

static void log_close(Log *l, gconstpointer data)
{
    (void)data;
    tree_remove(l->folder);
    g_free(l->folder);
    g_free(l->path);
}

static void expect_tail(const Log *l, const char *content, gsize max_bytes, const char *tail)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;

    g_assert_true(g_file_set_contents(l->path, content, -1, NULL));
    text = tail_read(l->path, max_bytes, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, tail);
}

static void test_read(Log *l, gconstpointer data)
{
    (void)data;
    expect_tail(l, "", 10, "");
    expect_tail(l, "one\ntwo\n", 8, "one\ntwo\n");
    expect_tail(l, "one\ntwo\n", G_MAXINT32, "one\ntwo\n");
    expect_tail(l, "one\ntwo\n", 7, "two\n");
    expect_tail(l, "one\n\x1b[31mtwo\nthree", 10, "three"); /* from the middle of an escape sequence */
    expect_tail(l, "one\ntwo\n", 3, "wo\n");                /* no whole line in it */
    expect_tail(l, "abc\xc3\xa4xy", 3, WHAT "xy");
    expect_tail(l, "one\ntwo\n", 0, "");
}

static void test_read_not(Log *l, gconstpointer data)
{
    g_autoptr(GError) none = NULL;
    g_autoptr(GError) folder = NULL;
    g_autoptr(GError) fifo = NULL;
    g_autoptr(GError) followed = NULL;
    g_autofree char *pipe = g_build_filename(l->folder, "pipe", NULL);
    g_autofree char *other = g_build_filename(l->folder, "link", NULL);

    (void)data;
    g_assert_null(tail_read(l->path, 10, &none));
    g_assert_error(none, US_ERROR, US_ERROR_NOT_FOUND);
    g_assert_null(tail_read(l->folder, 10, &folder));
    g_assert_error(folder, US_ERROR, US_ERROR_REFUSED);
    g_assert_cmpint(mkfifo(pipe, 0600), ==, 0);
    g_assert_null(tail_read(pipe, 10, &fifo));
    g_assert_error(fifo, US_ERROR, US_ERROR_REFUSED);
    g_assert_cmpint(symlink("/etc/passwd", other), ==, 0);
    g_assert_null(tail_read(other, 10, &followed));
    g_assert_error(followed, US_ERROR, US_ERROR_IO);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tail/plain", test_plain);
    g_test_add("/tail/read", Log, NULL, log_open, test_read, log_close);
    g_test_add("/tail/read-not", Log, NULL, log_open, test_read_not, log_close);
    return g_test_run();
}
