/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM that runs from this folder was given: the ledger says so until its points are given up, and after that a
 * file beside it. */
#include "vmconnect/store/store_internal.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/path.h"

#include <string.h>

#define MAX_BYTES (1024 * 1024)

static void given_free(void *data)
{
    StoreGiven *given = data;

    g_free(given->target);
    g_free(given->overlay);
    g_free(given->home);
    g_free(given);
}

static void add(GPtrArray *list, const char *target, const char *overlay, const char *home)
{
    StoreGiven *given = g_new0(StoreGiven, 1);

    given->target = g_strdup(target);
    given->overlay = g_strdup(overlay);
    given->home = g_strdup(home);
    g_ptr_array_add(list, given);
}

/* The uppermost file that lies elsewhere; NULL: none does. */
static const char *home_of(const Store *store, const StoreFiles *disk)
{
    for (guint i = 0; i < disk->files->len; i++)
        if (!path_is_in(store->dir, disk->files->pdata[i]))
            return disk->files->pdata[i];
    return NULL;
}

static GPtrArray *from_ledger(const Store *store)
{
    g_autoptr(GPtrArray) disks = store_files_of(store, store_ledger(store)->active);
    GPtrArray *list = g_ptr_array_new_with_free_func(given_free);

    for (guint i = 0; i < disks->len; i++) {
        const StoreFiles *disk = disks->pdata[i];

        add(list, disk->target, disk->files->pdata[0], home_of(store, disk));
    }
    return list;
}

static gboolean read_all(const char *text, gsize len, GPtrArray *list, GError **error)
{
    json_auto_t *doc = json_parse(text, len, MAX_BYTES, error);
    json_t *disks, *disk;
    gsize i;

    if (!doc || !json_read(doc, "given", error, "{s:o}", "disks", &disks))
        return FALSE;
    json_array_foreach(disks, i, disk)
    {
        const char *target, *overlay, *home = NULL;

        if (!json_read(disk, "given disk", error, "{s:s, s:s, s?s}", "target", &target, "overlay", &overlay,
                       "home", &home))
            return FALSE;
        add(list, target, overlay, home);
    }
    return TRUE;
}

static char *path_of(const Store *store)
{
    return g_build_filename(store->dir, STORE_GIVEN_NAME, NULL);
}

gboolean store_write_given(const Store *store, GError **error)
{
    g_autoptr(GPtrArray) list = from_ledger(store);
    json_auto_t *disks = json_array();
    json_auto_t *doc = json_pack("{s:O}", "disks", disks);
    g_autofree char *path = path_of(store);
    g_autofree char *text = NULL;

    for (guint i = 0; i < list->len; i++) {
        const StoreGiven *given = list->pdata[i];

        json_array_append_new(disks, json_pack("{s:s, s:s, s:s*}", "target", given->target, "overlay",
                                               given->overlay, "home", given->home));
    }
    text = json_text(doc);
    return durable_replace(path, text, strlen(text), 0600, error);
}

GPtrArray *store_given(const Store *store, GError **error)
{
    g_autoptr(GPtrArray) list = NULL;
    g_autofree char *path = path_of(store);
    g_autofree char *text = NULL;
    g_autoptr(GError) why = NULL;
    gsize len;

    if (!store_is_dissolved(store))
        return from_ledger(store);
    list = g_ptr_array_new_with_free_func(given_free);
    if (durable_read(path, &text, &len, &why) ? read_all(text, len, list, &why)
                                              : g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
        return g_steal_pointer(&list);
    g_propagate_prefixed_error(error, g_steal_pointer(&why), "%s: ", path);
    return NULL;
}
