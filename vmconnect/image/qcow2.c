/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/qcow2.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/image_file.h"
#include "vmconnect/image/image_lock.h"
#include "vmconnect/image/process.h"
#include "vmconnect/image/qmp.h"

#include <string.h>
#include <unistd.h>

#define MAX_INFO (8 * 1024 * 1024) /* thousands of snapshots and bitmaps */
#define GRANULARITY "65536"
#define NEW_IMAGE "compat=1.1,cluster_size=64k,lazy_refcounts=off"

static void bitmap_free(gpointer data)
{
    Qcow2Bitmap *b = data;

    g_free(b->name);
    g_free(b);
}

static Qcow2Facts *facts_new(void)
{
    Qcow2Facts *f = g_new0(Qcow2Facts, 1);

    f->bitmaps = g_ptr_array_new_with_free_func(bitmap_free);
    f->snapshots = g_ptr_array_new_with_free_func(g_free);
    return f;
}

void qcow2_facts_free(Qcow2Facts *facts)
{
    if (!facts)
        return;
    g_free(facts->format);
    g_free(facts->compat);
    g_free(facts->backing);
    g_free(facts->backing_format);
    g_free(facts->data_file);
    g_ptr_array_unref(facts->bitmaps);
    g_ptr_array_unref(facts->snapshots);
    g_free(facts);
}

const Qcow2Bitmap *qcow2_facts_bitmap(const Qcow2Facts *facts, const char *name)
{
    for (guint i = 0; i < facts->bitmaps->len; i++) {
        const Qcow2Bitmap *b = facts->bitmaps->pdata[i];

        if (g_str_equal(b->name, name))
            return b;
    }
    return NULL;
}

/* qemu-img adds members from version to version, so only those wanted are looked at. */
static char *get_string(const json_t *doc, const char *key)
{
    return g_strdup(json_string_value(json_object_get(doc, key)));
}

static gboolean get_flag(const json_t *doc, const char *key)
{
    return json_is_true(json_object_get(doc, key));
}

static guint64 get_number(const json_t *doc, const char *key)
{
    return (guint64)MAX(json_integer_value(json_object_get(doc, key)), 0);
}

static gboolean has_word(const json_t *words, const char *word)
{
    const json_t *w;
    size_t i;

    json_array_foreach(words, i, w) if (g_strcmp0(json_string_value(w), word) == 0) return TRUE;
    return FALSE;
}

static void read_bitmaps(Qcow2Facts *f, const json_t *list)
{
    const json_t *doc;
    size_t i;

    json_array_foreach(list, i, doc)
    {
        const json_t *flags = json_object_get(doc, "flags");
        Qcow2Bitmap *b = g_new0(Qcow2Bitmap, 1);

        b->name = get_string(doc, "name");
        b->granularity_bytes = get_number(doc, "granularity");
        b->enabled = has_word(flags, "auto");
        b->in_use = has_word(flags, "in-use");
        if (b->name)
            g_ptr_array_add(f->bitmaps, b);
        else
            bitmap_free(b);
    }
}

static void read_snapshots(Qcow2Facts *f, const json_t *list)
{
    const json_t *doc;
    size_t i;

    json_array_foreach(list, i, doc)
    {
        char *name = get_string(doc, "name");

        if (name)
            g_ptr_array_add(f->snapshots, name);
    }
}

static void read_specific(Qcow2Facts *f, const json_t *data)
{
    f->compat = get_string(data, "compat");
    f->data_file = get_string(data, "data-file");
    f->corrupt = get_flag(data, "corrupt");
    read_bitmaps(f, json_object_get(data, "bitmaps"));
}

Qcow2Facts *qcow2_facts_from_json(const char *text, gsize len, GError **error)
{
    json_auto_t *doc = json_parse(text, len, MAX_INFO, NULL);
    g_autoptr(Qcow2Facts) f = facts_new();

    f->format = get_string(doc, "format");
    if (!f->format || !json_is_integer(json_object_get(doc, "virtual-size"))) {
        g_set_error_literal(error, US_ERROR, US_ERROR_PROTOCOL, "qemu-img info does not describe an image");
        return NULL;
    }
    f->size_bytes = get_number(doc, "virtual-size");
    f->file_bytes = get_number(doc, "actual-size");
    f->cluster_bytes = get_number(doc, "cluster-size");
    f->backing = get_string(doc, "backing-filename");
    f->backing_format = get_string(doc, "backing-filename-format");
    f->encrypted = get_flag(doc, "encrypted");
    f->dirty = get_flag(doc, "dirty-flag");
    read_snapshots(f, json_object_get(doc, "snapshots"));
    read_specific(f, json_object_get(json_object_get(doc, "format-specific"), "data"));
    return g_steal_pointer(&f);
}

/* process_run_spec() with qemu-img's complaint turned into one of our codes; @lock: to be given to it, or 0. */
static gboolean qemu_img_with(int lock, const char *const *argv, const char *path, int timeout_ms,
                              int cancel_fd, char **ret_output, GError **error)
{
    ProcessSpec spec = {.argv = argv, .pass_fd = lock, .die_with_thread = TRUE};
    g_autoptr(GError) why = NULL;

    if (process_run_spec(&spec, timeout_ms, cancel_fd, MAX_INFO, ret_output, &why))
        return TRUE;
    if (why->code == US_ERROR_FAILED)
        why->code = (int)qmp_error_code(why->message);
    g_prefix_error(&why, "image %s: ", path);
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

static gboolean qemu_img(const char *const *argv, const char *path, int timeout_ms, int cancel_fd,
                         char **ret_output, GError **error)
{
    return qemu_img_with(0, argv, path, timeout_ms, cancel_fd, ret_output, error);
}

Qcow2Facts *qcow2_read(const char *path, const char *format, int timeout_ms, int cancel_fd, GError **error)
{
    g_autofree char *image = image_file_argument(path, format, IMAGE_FILE_SHARED, error);
    const char *argv[] = {"qemu-img", "info", "--output=json", "--force-share", image, NULL};
    g_autofree char *output = NULL;

    if (!image || !qemu_img(argv, path, timeout_ms, cancel_fd, &output, error))
        return NULL;
    return qcow2_facts_from_json(output, strlen(output), error);
}

gboolean qcow2_create(const char *path, guint64 size_bytes, const char *backing_name, int timeout_ms,
                      int cancel_fd, GError **error)
{
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, size_bytes);
    const char *over[] = {"qemu-img", "create", "-q", "-u",         "-f", "qcow2", "-o", NEW_IMAGE,
                          "-F",       "qcow2",  "-b", backing_name, path, size,    NULL};
    const char *alone[] = {"qemu-img", "create", "-q", "-f", "qcow2", "-o", NEW_IMAGE, path, size, NULL};

    g_assert(g_path_is_absolute(path));
    return qemu_img(backing_name ? over : alone, path, timeout_ms, cancel_fd, NULL, error);
}

gboolean qcow2_set_backing(const char *path, const char *backing_name, int timeout_ms, GError **error)
{
    const char *with[] = {"qemu-img",   "rebase", "-u",    "-f", "qcow2", "-b",
                          backing_name, "-F",     "qcow2", path, NULL};
    const char *without[] = {"qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "", path, NULL};

    g_assert(g_path_is_absolute(path));
    return qemu_img(backing_name ? with : without, path, timeout_ms, -1, NULL, error) &&
           durable_sync_file(path, error);
}

static gboolean write_alone(const char *const *argv, const char *path, int timeout_ms, OwnWrite *ret_write,
                            GError **error)
{
    int lock = image_lock_hold(path, error);
    gboolean ok;

    if (lock < 0)
        return FALSE;
    ok = signature_read_open(lock, &ret_write->before, error) &&
         qemu_img_with(lock, argv, path, timeout_ms, -1, NULL, error);
    ok &= signature_read_open(lock, &ret_write->after, ok ? error : NULL);
    close(lock);
    return ok;
}

gboolean qcow2_add_bitmap(const char *path, const char *name, int timeout_ms, OwnWrite *ret_write,
                          GError **error)
{
    g_autofree char *image = image_file_argument(path, "qcow2", IMAGE_FILE_LOCKED, error);
    const char *argv[] = {"qemu-img", "bitmap", "--add", "-g", GRANULARITY, "--", image, name, NULL};

    *ret_write = (OwnWrite){0};
    return image && write_alone(argv, path, timeout_ms, ret_write, error);
}

gboolean qcow2_remove_bitmap(const char *path, const char *name, int timeout_ms, OwnWrite *ret_write,
                             GError **error)
{
    g_autofree char *image = image_file_argument(path, "qcow2", IMAGE_FILE_LOCKED, error);
    const char *argv[] = {"qemu-img", "bitmap", "--remove", "--", image, name, NULL};

    *ret_write = (OwnWrite){0};
    return image && write_alone(argv, path, timeout_ms, ret_write, error);
}
