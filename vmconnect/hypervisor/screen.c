/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/screen.h"

#include "vmconnect/base/error.h"

#include <png.h>
#include <string.h>

#define NOTICEABLE 32 /* of 255, in one of the three colours */

/* Largest cell of Linux' console fonts; a mouse pointer is no larger. */
#define CURSOR_WIDTH 16
#define CURSOR_HEIGHT 32

/* QEMU's "Guest has not initialized the display (yet).", of 44 letters; that of an output turned off is shorter. */
#define LETTER_WIDTH 8
#define LETTER_HEIGHT 16
#define SENTENCE_LETTERS 44

void screen_free(Screen *screen)
{
    if (!screen)
        return;
    g_free(screen->rgb);
    g_free(screen);
}

static gsize rgb_bytes(const Screen *s)
{
    return (gsize)s->width * s->height * 3;
}

Screen *screen_copy(const Screen *screen)
{
    Screen *copy = g_memdup2(screen, sizeof *screen);

    copy->rgb = g_memdup2(screen->rgb, rgb_bytes(screen));
    return copy;
}

/* Before anything is allocated for it. */
static gboolean check_size(guint width, guint height, GError **error)
{
    if (width == 0 || height == 0) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "it has no pixels");
        return FALSE;
    }
    if (width <= SCREEN_SIDE_MAX && height <= SCREEN_SIDE_MAX && width * height <= SCREEN_BYTES_MAX / 3)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "%u x %u pixels are too many, up to %u can be read",
                width, height, SCREEN_BYTES_MAX / 3);
    return FALSE;
}

static Screen *screen_new(guint width, guint height)
{
    Screen *s = g_new0(Screen, 1);

    s->width = width;
    s->height = height;
    s->rgb = g_malloc(rgb_bytes(s));
    return s;
}

/* What is left to be read of a PPM; bad: nothing more is. */
typedef struct {
    const guint8 *at;
    gsize left;
    gboolean bad;
} Rest;

static guint8 peek(const Rest *r)
{
    return r->left ? *r->at : 0;
}

static guint8 take(Rest *r)
{
    guint8 c = peek(r);

    if (r->left) {
        r->at++;
        r->left--;
    }
    return c;
}

/* White space, at least one, and comments to their line's end. */
static void take_space(Rest *r)
{
    r->bad |= !g_ascii_isspace(peek(r)) && peek(r) != '#';
    while (g_ascii_isspace(peek(r)) || peek(r) == '#')
        if (take(r) == '#')
            while (r->left && take(r) != '\n')
                ;
}

/* Up to six digits: more than any number here may have. */
static guint take_number(Rest *r)
{
    guint number = 0;
    guint digits = 0;

    while (g_ascii_isdigit(peek(r)) && digits++ < 6)
        number = number * 10 + (guint)(take(r) - '0');
    r->bad |= digits == 0 || g_ascii_isdigit(peek(r));
    return number;
}

/* ppm(5). Several pictures in one file are none of ours. */
static Screen *parse_ppm(const guint8 *data, gsize len, GError **error)
{
    Rest r = {.at = data, .left = len};
    guint width, height, most;
    Screen *s;

    r.bad = take(&r) != 'P';
    r.bad |= take(&r) != '6';
    take_space(&r);
    width = take_number(&r);
    take_space(&r);
    height = take_number(&r);
    take_space(&r);
    most = take_number(&r);
    r.bad |= !g_ascii_isspace(take(&r)); /* just one: the pixels may begin with a byte that is white space */
    if (r.bad) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "it has no header of a PPM");
        return NULL;
    }
    if (most != 255) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "a PPM of colours up to %u, not 255, is not read",
                    most);
        return NULL;
    }
    if (!check_size(width, height, error))
        return NULL;
    if (r.left != (gsize)width * height * 3) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "it has %" G_GSIZE_FORMAT " bytes for %u x %u pixels",
                    r.left, width, height);
        return NULL;
    }
    s = screen_new(width, height);
    memcpy(s->rgb, r.at, r.left);
    return s;
}

static Screen *parse_png(const guint8 *data, gsize len, GError **error)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    const png_color black = {0};
    g_autoptr(Screen) s = NULL;
    gboolean begun = png_image_begin_read_from_memory(&image, data, len) != 0;

    if (begun && check_size(image.width, image.height, error)) {
        image.format = PNG_FORMAT_RGB;
        s = screen_new(image.width, image.height);
        if (png_image_finish_read(&image, &black, s->rgb, 0, NULL))
            return g_steal_pointer(&s);
    }
    if (!begun || s)
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "it is no whole PNG: %s", image.message);
    png_image_free(&image);
    return NULL;
}

Screen *screen_parse(const char *mime, const guint8 *data, gsize len, GError **error)
{
    Screen *s = NULL;

    if (strcmp(mime, "image/png") == 0)
        s = parse_png(data, len, error);
    else if (strcmp(mime, "image/x-portable-pixmap") == 0)
        s = parse_ppm(data, len, error);
    else
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED,
                    "'%.64s' is a type that is not read, only PNG and PPM are", mime);
    if (!s)
        g_prefix_error(error, "picture of a screen: ");
    return s;
}

GBytes *screen_png(const Screen *screen, GError **error)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = screen->width,
                       .height = screen->height,
                       .format = PNG_FORMAT_RGB,
                       .flags = PNG_IMAGE_FLAG_FAST};
    png_alloc_size_t len = PNG_IMAGE_PNG_SIZE_MAX(image);
    guint8 *png = g_malloc(len);

    if (png_image_write_to_memory(&image, png, &len, 0, screen->rgb, 0, NULL))
        return g_bytes_new_take(g_realloc(png, len), len);
    g_set_error(error, US_ERROR, US_ERROR_FAILED, "picture of a screen: it cannot be written as PNG: %s",
                image.message);
    g_free(png);
    return NULL;
}

static gboolean is_other(const guint8 *a, const guint8 *b)
{
    return ABS(a[0] - b[0]) > NOTICEABLE || ABS(a[1] - b[1]) > NOTICEABLE || ABS(a[2] - b[2]) > NOTICEABLE;
}

double screen_difference(const Screen *a, const Screen *b)
{
    gsize pixels = (gsize)a->width * a->height;
    gsize others = 0;

    if (a->width != b->width || a->height != b->height)
        return 1;
    for (gsize i = 0; i < pixels; i++)
        others += is_other(a->rgb + 3 * i, b->rgb + 3 * i);
    return (double)others / (double)pixels;
}

typedef struct {
    guint left, top, right, bottom; /* pixels; right and bottom are outside */
} Box;

/* The smallest with all that is not of the colour @ground. */
static Box box_of_others(const Screen *s, const guint8 *ground)
{
    Box box = {.left = s->width, .top = s->height};
    const guint8 *pixel = s->rgb;

    for (guint y = 0; y < s->height; y++)
        for (guint x = 0; x < s->width; x++, pixel += 3)
            if (is_other(pixel, ground)) {
                box.left = MIN(box.left, x);
                box.right = MAX(box.right, x + 1);
                box.top = MIN(box.top, y);
                box.bottom = y + 1;
            }
    return box;
}

/* Where QEMU writes it (qemu_create_placeholder_surface): centred in the middle row of letters. */
static Box box_of_sentence(const Screen *s)
{
    guint columns = s->width / LETTER_WIDTH;
    guint rows = s->height / LETTER_HEIGHT;
    Box box = {0};

    if (columns < SENTENCE_LETTERS || rows == 0)
        return box;
    box.left = (columns - SENTENCE_LETTERS) / 2 * LETTER_WIDTH;
    box.right = box.left + SENTENCE_LETTERS * LETTER_WIDTH;
    box.top = (rows - 1) / 2 * LETTER_HEIGHT;
    box.bottom = box.top + LETTER_HEIGHT;
    return box;
}

static gboolean is_blank_on(const Screen *s, const guint8 *ground)
{
    Box box = box_of_others(s, ground);
    Box sentence = box_of_sentence(s);

    return box.right == 0 ||
           (box.right - box.left <= CURSOR_WIDTH && box.bottom - box.top <= CURSOR_HEIGHT) ||
           (box.left >= sentence.left && box.right <= sentence.right && box.top >= sentence.top &&
            box.bottom <= sentence.bottom);
}

/* A cursor may stand in one of the two corners. */
gboolean screen_is_blank(const Screen *screen)
{
    return is_blank_on(screen, screen->rgb) || is_blank_on(screen, screen->rgb + rgb_bytes(screen) - 3);
}
