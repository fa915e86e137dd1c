/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/cli/page.h"

#include "vmconnect/base/json.h"
#include "vmconnect/base/units.h"

#include <string.h>

struct Page {
    guint columns;
    gboolean *right;
    GPtrArray *cells; /* char *, the titles first */
};

Page *page_new(const char *const *titles)
{
    Page *page = g_new0(Page, 1);

    page->columns = g_strv_length((char **)titles);
    page->right = g_new0(gboolean, page->columns);
    page->cells = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; titles[i]; i++) {
        page->right[i] = titles[i][0] == '>';
        g_ptr_array_add(page->cells, g_strdup(titles[i] + page->right[i]));
    }
    return page;
}

void page_free(Page *page)
{
    if (!page)
        return;
    g_ptr_array_unref(page->cells);
    g_free(page->right);
    g_free(page);
}

char *page_clean(const char *text)
{
    char *valid = g_utf8_make_valid(text, -1);
    GString *clean = g_string_new(NULL);

    for (const char *p = valid; *p; p = g_utf8_next_char(p))
        if (g_unichar_iscntrl(g_utf8_get_char(p)) || g_unichar_type(g_utf8_get_char(p)) == G_UNICODE_FORMAT)
            g_string_append_c(clean, '?');
        else
            g_string_append_unichar(clean, g_utf8_get_char(p));
    g_free(valid);
    return g_string_free(clean, FALSE);
}

void page_cell(Page *page, const char *text)
{
    g_ptr_array_add(page->cells, text && text[0] ? page_clean(text) : g_strdup("-"));
}

void page_cellf(Page *page, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    page_cell(page, text);
}

/* One line for any value; NULL for null. */
static char *plain(const json_t *value)
{
    if (!value || json_is_null(value))
        return NULL;
    if (json_is_string(value))
        return g_strdup(json_string_value(value));
    if (json_is_boolean(value))
        return g_strdup(json_is_true(value) ? "yes" : "no");
    if (json_is_array(value)) {
        g_autoptr(GString) all = g_string_new(NULL);
        json_t *item;
        gsize i;

        json_array_foreach(value, i, item)
        {
            g_autofree char *one = plain(item);

            g_string_append_printf(all, "%s%s", i ? ", " : "", one ? one : "-");
        }
        return g_strdup(all->str);
    }
    return json_text(value);
}

void page_value(Page *page, const json_t *doc, const char *key)
{
    g_autofree char *text = plain(json_object_get(doc, key));

    page_cell(page, text);
}

void page_bytes(Page *page, const json_t *doc, const char *key)
{
    const json_t *value = json_object_get(doc, key);
    g_autofree char *text =
        json_is_integer(value) ? units_human_size((guint64)json_integer_value(value)) : NULL;

    page_cell(page, text);
}

void page_duration(Page *page, const json_t *doc, const char *key)
{
    const json_t *value = json_object_get(doc, key);
    g_autofree char *text = json_is_integer(value) ? units_human_duration(json_integer_value(value)) : NULL;

    page_cell(page, text);
}

static void append_padded(GString *out, const char *text, glong width, gboolean right, gboolean last)
{
    glong pad = width - g_utf8_strlen(text, -1);

    if (right)
        g_string_append_printf(out, "%*s", (int)pad, "");
    g_string_append(out, text);
    if (!right && !last)
        g_string_append_printf(out, "%*s", (int)pad, "");
    g_string_append(out, last ? "\n" : "  ");
}

char *page_text(const Page *page, guint indent)
{
    g_autofree glong *widths = g_new0(glong, page->columns);
    GString *out = g_string_new(NULL);

    g_assert(page->cells->len % page->columns == 0);
    for (guint i = 0; i < page->cells->len; i++)
        widths[i % page->columns] = MAX(widths[i % page->columns], g_utf8_strlen(page->cells->pdata[i], -1));
    for (guint i = 0; i < page->cells->len; i++) {
        guint column = i % page->columns;

        if (column == 0)
            g_string_append_printf(out, "%*s", (int)indent, "");
        append_padded(out, page->cells->pdata[i], widths[column], page->right[column],
                      column == page->columns - 1);
    }
    return g_string_free(out, FALSE);
}

static gboolean is_nested(const json_t *value)
{
    return json_object_size(value) > 0 || json_is_object(json_array_get(value, 0));
}

static void describe(GString *out, const json_t *doc, guint indent);

static void describe_nested(GString *out, const char *key, const json_t *value, guint indent)
{
    const json_t *item;
    gsize i;

    g_string_append_printf(out, "%*s%s\n", (int)indent, "", key);
    if (json_is_object(value))
        describe(out, value, indent + 2);
    json_array_foreach((json_t *)value, i, item)
    {
        if (i > 0)
            g_string_append_c(out, '\n');
        describe(out, item, indent + 2);
    }
}

static void describe(GString *out, const json_t *doc, guint indent)
{
    const char *key;
    json_t *value;
    glong width = 0;

    json_object_foreach((json_t *)doc, key, value) width = MAX(width, g_utf8_strlen(key, -1));
    json_object_foreach((json_t *)doc, key, value)
    {
        g_autofree char *text = is_nested(value) ? NULL : plain(value);
        g_autofree char *clean = page_clean(text ? text : "-");
        g_autofree char *name = page_clean(key);

        if (is_nested(value))
            describe_nested(out, name, value, indent);
        else
            g_string_append_printf(out, "%*s%s%*s  %s\n", (int)indent, "", name,
                                   (int)(width - g_utf8_strlen(name, -1)), "", clean);
    }
}

char *page_of(const json_t *doc)
{
    GString *out = g_string_new(NULL);

    describe(out, doc, 0);
    return g_string_free(out, FALSE);
}
