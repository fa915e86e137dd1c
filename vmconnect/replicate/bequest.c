/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/bequest.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define FORMAT 1
#define MAX_BYTES (16u << 20) /* a definition has at most four */

static void disk_free(gpointer data)
{
    BequestDisk *disk = data;

    g_free(disk->target);
    g_ptr_array_unref(disk->images);
    g_free(disk);
}

Bequest *bequest_new(Id vm, const Generation *generation)
{
    Bequest *b = g_new0(Bequest, 1);

    b->vm = vm;
    b->exact = TRUE;
    b->generation = generation_copy(generation);
    b->disks = g_ptr_array_new_with_free_func(disk_free);
    return b;
}

Bequest *bequest_new_found(Id vm, Reign reign)
{
    g_autoptr(Generation) g = generation_new();
    Bequest *b;

    g->id = id_random();
    g->reign = reign;
    g->sequence = 1;
    b = bequest_new(vm, g);
    b->exact = FALSE;
    return b;
}

void bequest_free(Bequest *b)
{
    if (!b)
        return;
    generation_free(b->generation);
    g_ptr_array_unref(b->disks);
    g_free(b);
}

BequestDisk *bequest_add_disk(Bequest *b, const char *target, guint64 size_bytes)
{
    BequestDisk *disk = g_new0(BequestDisk, 1);

    disk->target = g_strdup(target);
    disk->size_bytes = size_bytes;
    disk->images = g_ptr_array_new_with_free_func((GDestroyNotify)signed_image_free);
    g_ptr_array_add(b->disks, disk);
    return disk;
}

/* --- the file ---------------------------------------------------------- */

static char *path_of(const char *plan_dir, Id vm)
{
    g_autofree char *name = g_strdup_printf("%s.bequest", ID_TEXT(vm));

    return g_build_filename(plan_dir, name, NULL);
}

static json_t *disk_to_json(const BequestDisk *disk)
{
    json_t *images = json_array();

    for (guint i = 0; i < disk->images->len; i++)
        json_array_append_new(images, signed_image_to_json(disk->images->pdata[i]));
    return json_pack("{s:s, s:I, s:o}", "target", disk->target, "size_bytes", (json_int_t)disk->size_bytes,
                     "images", images);
}

gboolean bequest_write(const Bequest *b, const char *plan_dir, GError **error)
{
    g_autofree char *path = path_of(plan_dir, b->vm);
    g_autofree char *text = NULL;
    json_t *disks = json_array();
    json_auto_t *doc = json_pack("{s:i, s:s, s:b, s:o, s:o}", "format", FORMAT, "vm", ID_TEXT(b->vm), "exact",
                                 b->exact, "generation", generation_to_json(b->generation), "disks", disks);

    for (guint i = 0; i < b->disks->len; i++)
        json_array_append_new(disks, disk_to_json(b->disks->pdata[i]));
    text = json_text(doc);
    return durable_replace(path, text, strlen(text), 0600, error);
}

gboolean bequest_remove(const char *plan_dir, Id vm, GError **error)
{
    g_autofree char *path = path_of(plan_dir, vm);

    return durable_remove(path, error);
}

static gboolean read_disk(Bequest *b, const json_t *doc, GError **error)
{
    json_int_t size_bytes;
    BequestDisk *disk;
    const char *target;
    json_t *images;

    if (!json_read(doc, "disk", error, "{s:s, s:I, s:o}", "target", &target, "size_bytes", &size_bytes,
                   "images", &images))
        return FALSE;
    disk = bequest_add_disk(b, target, (guint64)size_bytes);
    for (gsize i = 0; i < json_array_size(images); i++) {
        SignedImage *image = signed_image_from_json(json_array_get(images, i), error);

        if (!image)
            return FALSE;
        g_ptr_array_add(disk->images, image);
    }
    return TRUE;
}

/* Disk by disk what the generation has. */
static gboolean check_disks(const Bequest *b, GError **error)
{
    const GPtrArray *wanted = b->generation->disks;
    gboolean same = b->disks->len == wanted->len && (b->generation->definition || !b->exact);

    for (guint i = 0; same && i < wanted->len; i++) {
        const GenerationDisk *g = wanted->pdata[i];
        const BequestDisk *disk = b->disks->pdata[i];

        same = g_str_equal(g->target, disk->target) && g->size_bytes == disk->size_bytes &&
               disk->images->len > 0;
    }
    if (!same)
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "its disks are not those of its generation");
    return same;
}

Bequest *bequest_parse(const char *text, gsize len, GError **error)
{
    json_auto_t *doc = json_parse(text, len, MAX_BYTES, error);
    g_autoptr(Generation) g = NULL;
    g_autoptr(Bequest) b = NULL;
    json_t *generation, *disks;
    int format, exact;
    const char *vm;
    Id id;

    if (!doc || !json_read(doc, "bequest", error, "{s:i, s:s, s:b, s:o, s:o}", "format", &format, "vm", &vm,
                           "exact", &exact, "generation", &generation, "disks", &disks))
        return NULL;
    if (format != FORMAT) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "written by another version");
        return NULL;
    }
    if (!id_parse(vm, &id, error) || !(g = generation_from_json(generation, error)))
        return NULL;
    b = bequest_new(id, g);
    b->exact = exact;
    for (gsize i = 0; i < json_array_size(disks); i++)
        if (!read_disk(b, json_array_get(disks, i), error))
            return NULL;
    return check_disks(b, error) ? g_steal_pointer(&b) : NULL;
}

Bequest *bequest_read(const char *plan_dir, Id vm, GError **error)
{
    g_autofree char *path = path_of(plan_dir, vm);
    g_autofree char *text = NULL;
    g_autoptr(Bequest) b = NULL;
    g_autoptr(GError) why = NULL;
    gsize len;

    if (!durable_read(path, &text, &len, &why)) {
        if (!g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
            g_propagate_error(error, g_steal_pointer(&why));
        return NULL;
    }
    b = bequest_parse(text, len, &why);
    if (b && id_equal(b->vm, vm))
        return g_steal_pointer(&b);
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "%s: %s", path,
                why ? why->message : "it speaks of another VM");
    return NULL;
}
