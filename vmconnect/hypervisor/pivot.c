/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/pivot.h"

#include "netmap/xml.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/json.h"

#include <glib/gstdio.h>
#include <string.h>

#define FOLDER "pivot"
#define MAX_BYTES 65536

void pivot_free(Pivot *p)
{
    if (!p)
        return;
    g_free(p->disk);
    g_free(p->from);
    g_free(p->to);
    g_free(p->format);
    g_free(p);
}

json_t *pivot_to_json(const Pivot *p)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "disk", p->disk, "from", p->from, "to", p->to, "format",
                     p->format);
}

Pivot *pivot_from_json(const json_t *root, GError **error)
{
    const char *disk, *from, *to, *format;
    Pivot *p;

    if (!json_read(root, "pivot", error, "{s:s, s:s, s:s, s:s}", "disk", &disk, "from", &from, "to", &to,
                   "format", &format))
        return NULL;
    p = g_new0(Pivot, 1);
    p->disk = g_strdup(disk);
    p->from = g_strdup(from);
    p->to = g_strdup(to);
    p->format = g_strdup(format);
    return p;
}

static gboolean has_source(const xmlNode *disk, const char *path)
{
    const xmlNode *source = xml_child(disk, "source");

    return xml_attr_is(source, "file", path) || xml_attr_is(source, "dev", path);
}

xmlNode *pivot_find_left(const Pivot *p, xmlDoc *doc)
{
    xmlNode *disk = xml_child(xml_child(xmlDocGetRootElement(doc), "devices"), "disk");

    while (disk && !has_source(disk, p->from))
        disk = xml_next(disk);
    return disk;
}

gboolean pivot_is_behind(const Pivot *p, const char *xml, gsize len, gboolean *ret_behind, GError **error)
{
    g_autoptr(xmlDoc) doc = xml_read(xml, len, "domain", error);

    *ret_behind = doc && pivot_find_left(p, doc);
    return doc != NULL;
}

static char *path_of(Id vm, const char *run_folder)
{
    return g_build_filename(run_folder, FOLDER, ID_TEXT(vm), NULL);
}

gboolean pivot_mark_set(Id vm, const char *run_folder, const Pivot *p, GError **error)
{
    g_autofree char *path = path_of(vm, run_folder);
    g_autofree char *folder = g_path_get_dirname(path);
    json_auto_t *root = pivot_to_json(p);
    g_autofree char *text = json_text(root);

    return durable_mkdir(folder, 0700, error) && durable_replace(path, text, strlen(text), 0600, error);
}

void pivot_mark_clear(Id vm, const char *run_folder)
{
    g_autofree char *path = path_of(vm, run_folder);

    g_unlink(path);
}

gboolean pivot_is_marked(Id vm, const char *run_folder)
{
    g_autofree char *path = path_of(vm, run_folder);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

Pivot *pivot_mark_read(Id vm, const char *run_folder, GError **error)
{
    g_autofree char *path = path_of(vm, run_folder);
    g_autofree char *text = NULL;
    json_t *root;
    Pivot *p;
    gsize len;

    if (!durable_read(path, &text, &len, error))
        return NULL;
    root = json_parse(text, len, MAX_BYTES, error);
    p = root ? pivot_from_json(root, error) : NULL;
    json_decref(root);
    if (!p)
        g_prefix_error(
            error,
            "%s, which says why the guest stands still, is of no use; resume it, and remove that file: ",
            path);
    return p;
}
