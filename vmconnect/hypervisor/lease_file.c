/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/lease_file.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/sealed.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KIND "leases"
#define FORMAT 1
#define MOMENT_MAX_MS (G_GINT64_CONSTANT(1) << 52) /* as the guard takes it (word.c) */

static const LeaseEntry *find(const GArray *entries, Id vm)
{
    for (guint i = 0; i < entries->len; i++)
        if (id_equal(g_array_index(entries, LeaseEntry, i).vm, vm))
            return &g_array_index(entries, LeaseEntry, i);
    return NULL;
}

/* --- as text ------------------------------------------------------------- */

char *lease_file_text(const GArray *entries)
{
    json_t *list = json_array();

    for (guint i = 0; i < entries->len; i++) {
        const LeaseEntry *e = &g_array_index(entries, LeaseEntry, i);

        json_array_append_new(
            list, json_pack("{s:s, s:o, s:I, s:I}", "vm", ID_TEXT(e->vm), "reign", reign_to_json(e->reign),
                            "boot_ms", (json_int_t)e->until.boot_ms, "raw_ms", (json_int_t)e->until.raw_ms));
    }
    return sealed_text(KIND, FORMAT, json_pack("{s:o}", "leases", list));
}

static gboolean is_moment(json_int_t ms)
{
    return ms >= 0 && ms <= MOMENT_MAX_MS;
}

static gboolean read_entry(const json_t *doc, LeaseEntry *ret_entry, GError **error)
{
    const char *vm;
    json_t *reign;
    json_int_t boot_ms, raw_ms;

    if (!json_read(doc, "lease", error, "{s:s, s:o, s:I, s:I}", "vm", &vm, "reign", &reign, "boot_ms",
                   &boot_ms, "raw_ms", &raw_ms) ||
        !id_parse(vm, &ret_entry->vm, error) || !reign_from_json(reign, &ret_entry->reign, error))
        return FALSE;
    ret_entry->until = (LeaseMoment){boot_ms, raw_ms};
    return (is_moment(boot_ms) && is_moment(raw_ms)) || sealed_corrupt(error, "an end that is no moment");
}

static gboolean read_entries(const json_t *doc, GArray *entries, GError **error)
{
    const json_t *list, *entry;
    gsize i;

    if (!json_read(doc, "leases", error, "{s:o}", "leases", &list))
        return FALSE;
    if (!json_is_array(list))
        return sealed_corrupt(error, "no list");
    json_array_foreach(list, i, entry)
    {
        LeaseEntry e;

        if (!read_entry(entry, &e, error))
            return FALSE;
        if (id_is_nil(e.vm) || find(entries, e.vm))
            return sealed_corrupt(error, "a lease of no VM, or a second one");
        g_array_append_val(entries, e);
    }
    return TRUE;
}

GArray *lease_file_parse(const char *text, gsize len, GError **error)
{
    g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(LeaseEntry));
    g_autoptr(GError) why = NULL;
    json_auto_t *doc = sealed_parse(KIND, FORMAT, text, len, LEASE_FILE_MAX_BYTES, &why);

    if (doc && read_entries(doc, entries, &why))
        return g_steal_pointer(&entries);
    /* A right sum over a wrong document is a fault of ours, and as unusable. */
    if (!g_error_matches(why, US_ERROR, US_ERROR_UNSUPPORTED))
        why->code = US_ERROR_CORRUPT;
    g_propagate_error(error, g_steal_pointer(&why));
    return NULL;
}

/* --- in its place -------------------------------------------------------- */

gboolean lease_file_write(const char *path, const char *text, GError **error)
{
    g_autofree char *fresh = g_strconcat(path, ".new", NULL);
    gsize len = strlen(text);
    gboolean ok;
    int fd;

    if (len > LEASE_FILE_MAX_BYTES) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "there are too many leases for %s", path);
        return FALSE;
    }
    fd = durable_replace_begin(path, 0600, error);
    if (fd < 0)
        return FALSE;
    ok = durable_write(fd, text, len, error);
    close(fd);
    if (!ok)
        g_prefix_error(error, "%s: ", fresh);
    else if (rename(fresh, path) != 0)
        ok = us_error_errno(error, errno, "cannot rename %s to %s", fresh, path);
    return ok;
}

GArray *lease_file_read(const char *path, GError **error)
{
    gsize len = 0;
    g_autofree char *text = sealed_read(path, LEASE_FILE_MAX_BYTES, &len, NULL, error);
    GArray *entries = text ? lease_file_parse(text, len, error) : NULL;

    if (text && !entries)
        g_prefix_error(error, "%s: ", path);
    return entries;
}

gboolean lease_file_find(const char *path, Id vm, LeaseEntry *ret_entry, GError **error)
{
    g_autoptr(GArray) entries = lease_file_read(path, error);
    const LeaseEntry *e = entries ? find(entries, vm) : NULL;

    if (entries && !e)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "the lease of that VM is not enforced");
    if (!e)
        return FALSE;
    *ret_entry = *e;
    return TRUE;
}
