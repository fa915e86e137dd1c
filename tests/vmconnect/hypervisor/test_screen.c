/* SPDX-License-Identifier: Apache-2.0 */
/* Made-up screens, and those of a real QEMU. */
#include "tests/tree.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/settle.h"

#include <string.h>

#define PPM "image/x-portable-pixmap"
#define PNG "image/png"

/* All of one grey. */
static Screen *plain(guint width, guint height, guint8 grey)
{
    Screen *s = g_new0(Screen, 1);

    s->width = width;
    s->height = height;
    s->rgb = g_malloc((gsize)width * height * 3);
    memset(s->rgb, grey, (gsize)width * height * 3);
    return s;
}

static void fill(Screen *s, guint x, guint y, guint width, guint height, guint8 grey)
{
    for (guint row = y; row < y + height; row++)
        memset(s->rgb + ((gsize)row * s->width + x) * 3, grey, (gsize)width * 3);
}

/* As a text screen of a guest that has booted. */
static Screen *login(void)
{
    Screen *s = plain(720, 400, 0);

    fill(s, 0, 0, 300, 14, 170);
    fill(s, 0, 32, 100, 14, 170);
    return s;
}

static void expect_same(const Screen *a, const Screen *b)
{
    g_assert_cmpuint(a->width, ==, b->width);
    g_assert_cmpuint(a->height, ==, b->height);
    g_assert_cmpmem(a->rgb, (gsize)a->width * a->height * 3, b->rgb, (gsize)b->width * b->height * 3);
}

static Screen *parse(const char *mime, const char *data, gsize len)
{
    g_autoptr(GError) error = NULL;
    Screen *s = screen_parse(mime, (const guint8 *)data, len, &error);

    g_assert_no_error(error);
    return s;
}

static void expect_bad(const char *mime, const char *data, gsize len, UsError code, const char *words)
{
    g_autofree guint8 *exact = g_memdup2(data, len); /* for AddressSanitizer: nothing is behind it */
    g_autoptr(GError) error = NULL;

    g_assert_null(screen_parse(mime, exact, len, &error));
    g_assert_error(error, US_ERROR, (int)code);
    g_assert_nonnull(strstr(error->message, words));
}

static void test_ppm(void)
{
    static const char *const SAME[] = {"P6\n2 1\n255\nabcdef", "P6 2 1 255 abcdef",
                                       "P6#x\n#y\n2\t#\n\n1\r\n000255\nabcdef", "P6\n0002 01 255\tabcdef"};
    g_autoptr(Screen) space = parse(PPM, "P6\n1 1\n255\n\n\n#", 14);

    for (guint i = 0; i < G_N_ELEMENTS(SAME); i++) {
        g_autoptr(Screen) s = parse(PPM, SAME[i], strlen(SAME[i]));

        g_assert_cmpuint(s->width, ==, 2);
        g_assert_cmpuint(s->height, ==, 1);
        g_assert_cmpmem(s->rgb, 6, "abcdef", 6);
    }
    g_assert_cmpmem(space->rgb, 3, "\n\n#", 3);
}

static void test_ppm_bad(void)
{
    static const char *const HEADERS[] = {"",
                                          "P",
                                          "P5\n1 1\n255\nabc",
                                          "P6",
                                          "P6\n",
                                          "P6 1",
                                          "P6 1 1 255",
                                          "P6 1 1 255#\nabc",
                                          "P61 1 255 abc",
                                          "P6 -1 1 255 abc",
                                          "P6 1 1#",
                                          "P6 0000001 1 255 abc",
                                          "P6 4294967297 1 255 abc"};

    for (guint i = 0; i < G_N_ELEMENTS(HEADERS); i++)
        expect_bad(PPM, HEADERS[i], strlen(HEADERS[i]), US_ERROR_PROTOCOL, "no header of a PPM");
    expect_bad(PPM, "P6 0 1 255 ", 11, US_ERROR_PROTOCOL, "no pixels");
    expect_bad(PPM, "P6 1 0 255 ", 11, US_ERROR_PROTOCOL, "no pixels");
    expect_bad(PPM, "P6 1 1 255 ab", 13, US_ERROR_PROTOCOL, "has 2 bytes for 1 x 1 pixels");
    expect_bad(PPM, "P6 1 1 255 abcd", 15, US_ERROR_PROTOCOL, "has 4 bytes");
    expect_bad(PPM, "P6 1 1 65535 abcdef", 19, US_ERROR_UNSUPPORTED, "up to 65535");
    expect_bad(PPM, "P6 16385 1 255 abc", 18, US_ERROR_UNSUPPORTED, "too many");
    expect_bad(PPM, "P6 1 999999 255 abc", 19, US_ERROR_UNSUPPORTED, "too many");
    expect_bad(PPM, "P6 16384 16384 255 abc", 22, US_ERROR_UNSUPPORTED, "too many");
    expect_bad("image/jpeg", "x", 1, US_ERROR_UNSUPPORTED, "'image/jpeg'");
}

static void test_png(void)
{
    /* By another's hand. */
    static const char ABC[] =
        "\x89PNG\x0d\x0a\x1a\x0a"
        "\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde"
        "\x00\x00\x00\x0cIDATx\x9c"
        "cHLJ\x06\x00\x02N\x01'\xc0"
        "a\x9e\x19"
        "\x00\x00\x00\x00IEND\xae"
        "B`\x82";
    g_autoptr(Screen) abc = parse(PNG, ABC, sizeof ABC - 1);
    g_autoptr(GError) error = NULL;
    g_autoptr(Screen) s = login();
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(GBytes) again = NULL;
    g_autoptr(Screen) back = NULL;
    g_autofree char *damaged = NULL;
    const char *data;
    gsize len;

    g_assert_cmpuint(abc->width * abc->height, ==, 1);
    g_assert_cmpmem(abc->rgb, 3, "abc", 3);
    s->rgb[1] = 99; /* the order of the colours */
    bytes = screen_png(s, &error);
    g_assert_no_error(error);
    again = screen_png(s, NULL);
    g_assert_true(g_bytes_equal(bytes, again));
    data = g_bytes_get_data(bytes, &len);
    g_assert_cmpuint(len, <, 720 * 400 * 3 / 50);
    back = parse(PNG, data, len);
    expect_same(s, back);

    expect_bad(PNG, data, 0, US_ERROR_PROTOCOL, "no whole PNG");
    expect_bad(PNG, data, 20, US_ERROR_PROTOCOL, "no whole PNG");
    expect_bad(PNG, data, len / 2, US_ERROR_PROTOCOL, "no whole PNG");
    damaged = g_memdup2(data, len);
    damaged[len / 2] ^= 1;
    expect_bad(PNG, damaged, len, US_ERROR_PROTOCOL, "no whole PNG");
    expect_bad(PNG, "P6 1 1 255 abc", 14, US_ERROR_PROTOCOL, "no whole PNG");
}

/* A picture that is larger than any: its header is right, and nothing is allocated for it. */
static void test_png_large(void)
{
    expect_bad(PNG,
               "\x89PNG\r\n\x1a\n"
               "\0\0\0\rIHDR\0\0\x40\0\0\0\x40\0\x08\x02\0\0\0\x26\xaa\x87\xd3"
               "\0\0\0\0IDAT\x35\xaf\x06\x1e",
               45, US_ERROR_UNSUPPORTED, "16384 x 16384 pixels are too many");
}

static void test_difference(void)
{
    g_autoptr(Screen) a = plain(100, 10, 100);
    g_autoptr(Screen) b = screen_copy(a);
    g_autoptr(Screen) turned = plain(10, 100, 100);

    g_assert_cmpfloat(screen_difference(a, b), ==, 0);
    g_assert_cmpfloat(screen_difference(a, turned), ==, 1);
    fill(b, 0, 0, 100, 10, 132); /* nobody sees that */
    g_assert_cmpfloat(screen_difference(a, b), ==, 0);
    b->rgb[2] = 133;               /* the first pixel */
    b->rgb[3 * 100 * 10 - 2] = 67; /* the last one: darker */
    g_assert_cmpfloat(screen_difference(a, b), ==, 2. / 1000);
    g_assert_cmpfloat(screen_difference(b, a), ==, 2. / 1000);
    fill(b, 0, 0, 100, 10, 0);
    g_assert_cmpfloat(screen_difference(a, b), ==, 1);
}

static void test_blank(void)
{
    /* In the corners, elsewhere, and each a little too large. */
    static const struct {
        guint x, y, width, height;
        gboolean is_blank;
    } SPOTS[] = {{0, 0, 16, 32, TRUE},   {704, 368, 16, 32, TRUE}, {50, 50, 9, 2, TRUE},
                 {50, 50, 17, 2, FALSE}, {50, 50, 2, 33, FALSE},   {0, 0, 720, 200, FALSE}};
    g_autoptr(Screen) dot = plain(1, 1, 7);
    g_autoptr(Screen) booted = login();

    g_assert_true(screen_is_blank(dot));
    g_assert_false(screen_is_blank(booted));
    for (guint i = 0; i < G_N_ELEMENTS(SPOTS); i++) {
        g_autoptr(Screen) s = plain(720, 400, 40);

        fill(s, 5, 5, 5, 5, 60); /* nearly the same */
        g_assert_true(screen_is_blank(s));
        fill(s, SPOTS[i].x, SPOTS[i].y, SPOTS[i].width, SPOTS[i].height, 255);
        g_assert_cmpint(screen_is_blank(s), ==, SPOTS[i].is_blank);
    }
}

/* One line of text is a screen, but where QEMU itself writes. */
static void test_blank_sentence(void)
{
    g_autoptr(Screen) s = plain(640, 480, 0);
    g_autoptr(Screen) small = plain(40, 10, 0);

    fill(s, 144, 226, 349, 13, 170);
    g_assert_true(screen_is_blank(s));
    fill(s, 143, 226, 1, 1, 170);
    g_assert_false(screen_is_blank(s));
    fill(s, 143, 226, 1, 1, 0);
    fill(s, 200, 240, 1, 1, 170);
    g_assert_false(screen_is_blank(s));
    fill(small, 0, 0, 30, 5, 255);
    g_assert_false(screen_is_blank(small));
}

static void test_settle(void)
{
    g_autoptr(Screen) blank = plain(720, 400, 0);
    g_autoptr(Screen) text = login();
    g_autoptr(Screen) blinked = login();
    g_autoptr(Screen) more = login();
    Settle s;

    fill(blinked, 100, 32, 9, 16, 170);
    fill(more, 0, 64, 200, 14, 170);
    settle_init(&s, SETTLE_MS);
    g_assert_false(settle_add(&s, blank, 0));
    g_assert_false(settle_add(&s, blank, 20000)); /* nothing is no rest */
    g_assert_false(settle_add(&s, text, 21000));
    g_assert_false(settle_add(&s, blinked, 25000));
    g_assert_false(settle_add(&s, text, 30999));
    g_assert_true(settle_add(&s, text, 31000));
    g_assert_true(settle_add(&s, blinked, 32000));
    g_assert_false(settle_add(&s, more, 33000));
    g_assert_false(settle_add(&s, more, 42999));
    g_assert_true(settle_add(&s, more, 43000));
    g_assert_false(settle_add(&s, blank, 44000));
    g_assert_false(settle_add(&s, more, 45000)); /* blank between: begun anew */
    g_assert_false(settle_add(&s, more, 54999));
    g_assert_true(settle_add(&s, more, 55000));
    settle_clear(&s);
}

/* Each second a little is added that is nothing beside the second before. */
static void test_settle_slow(void)
{
    g_autoptr(Screen) text = login();
    Settle s;

    settle_init(&s, SETTLE_MS);
    for (guint i = 0; i < 40; i++) {
        fill(text, 0, 50 + 8 * i, 60, 6, 170);
        g_assert_cmpfloat(360. / (720 * 400), <, SETTLE_CHANGE / 3);
        g_assert_false(settle_add(&s, text, 1000 * i));
    }
    settle_clear(&s);
}

static void test_settle_clock(void)
{
    Settle s;

    settle_init(&s, 3000);
    for (guint i = 0; i < 10; i++) {
        g_autoptr(Screen) desk = plain(640, 480, 80);

        fill(desk, 0, 464, 640, 16, 0);
        for (guint digit = 0; digit < 8; digit++)
            fill(desk, 560 + 8 * digit, 466 + (i + digit) % 5, 5, 8, 255);
        g_assert_cmpint(settle_add(&s, desk, 1000 * i), ==, i >= 3);
    }
    settle_clear(&s);
}

static Screen *parse_file(const char *folder, const char *name, const char *mime)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *data = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    return parse(mime, data, len);
}

/* What QEMU writes of a screen in either way is the same picture, and of a guest that has not begun it is blank. */
static void test_qemu(void)
{
    g_autofree char *folder = g_dir_make_tmp("screen-XXXXXX", NULL);
    g_autofree char *run = g_strdup_printf(
        "cd %s && printf '%%s\\n' '{\"execute\": \"qmp_capabilities\"}' "
        "'{\"execute\": \"screendump\", \"arguments\": {\"filename\": \"ppm\"}}' "
        "'{\"execute\": \"screendump\", \"arguments\": {\"filename\": \"png\", \"format\": \"png\"}}' "
        "'{\"execute\": \"quit\"}' | "
        "timeout 60 qemu-system-x86_64 -S -display none -machine pc,accel=tcg -nodefaults -vga std -qmp "
        "stdio",
        folder);
    const char *const argv[] = {"sh", "-c", run, NULL};
    g_autoptr(Screen) ppm = NULL;
    g_autoptr(Screen) png = NULL;
    g_autofree char *said = NULL;
    g_autoptr(GError) error = NULL;
    int status = -1;

    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &said, NULL, &status, &error);
    g_assert_no_error(error);
    g_test_message("%s", said);
    g_assert_true(g_spawn_check_wait_status(status, NULL));
    ppm = parse_file(folder, "ppm", PPM);
    png = parse_file(folder, "png", PNG);
    expect_same(ppm, png);
    g_assert_cmpuint(ppm->width, >=, 640);
    g_assert_true(screen_is_blank(ppm));
    tree_remove(folder);
}

/* libvirt's own test driver has a picture, PNG, that comes as a real one does. */
static void test_take(void)
{
    g_autoptr(virConnect) conn = virConnectOpen("test:///default");
    g_autoptr(virDomain) dom = virDomainLookupByName(conn, "test");
    g_autoptr(GError) error = NULL;
    g_autoptr(Screen) s = NULL;

    g_assert_true(screen_take(dom, &s, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(s->width, ==, 1120);
    g_assert_cmpuint(s->height, ==, 832);
    g_assert_false(screen_is_blank(s));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/screen/ppm", test_ppm);
    g_test_add_func("/screen/ppm-bad", test_ppm_bad);
    g_test_add_func("/screen/png", test_png);
    g_test_add_func("/screen/png-large", test_png_large);
    g_test_add_func("/screen/difference", test_difference);
    g_test_add_func("/screen/blank", test_blank);
    g_test_add_func("/screen/blank-sentence", test_blank_sentence);
    g_test_add_func("/screen/qemu", test_qemu);
    g_test_add_func("/screen/take", test_take);
    g_test_add_func("/settle/rest", test_settle);
    g_test_add_func("/settle/slow", test_settle_slow);
    g_test_add_func("/settle/clock", test_settle_clock);
    return g_test_run();
}
