/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/run/journal.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/sealed.h"
#include "vmconnect/base/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".plan"
#define MAX_RECORD_BYTES (4 * 1024 * 1024)

struct Journal {
    char *dir;
    GHashTable *spoilt; /* Id *: plans whose file failed once */
};

static char *path_of(const Journal *j, Id plan)
{
    g_autofree char *name = g_strconcat(ID_TEXT(plan), SUFFIX, NULL);

    return g_build_filename(j->dir, name, NULL);
}

static gboolean append_to(int fd, const json_t *record, GError **error)
{
    g_autofree char *line = sealed_line(record);

    return durable_append(fd, line, strlen(line), error);
}

static gboolean append(const Journal *j, Id plan, const json_t *record, GError **error)
{
    g_autofree char *path = path_of(j, plan);
    gboolean fresh = !g_file_test(path, G_FILE_TEST_EXISTS);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    gboolean ok;

    if (fd < 0)
        return us_error_errno(error, errno, "opening the plan's journal '%s'", path);
    ok = append_to(fd, record, error) && (!fresh || durable_sync_dir(j->dir, error));
    close(fd);
    return ok;
}

gboolean journal_append(Journal *j, Id plan, const json_t *record, GError **error)
{
    if (g_hash_table_contains(j->spoilt, &plan)) {
        g_set_error(error, US_ERROR, US_ERROR_IO,
                    "the journal of plan %s failed before and takes no more records", ID_TEXT(plan));
        return FALSE;
    }
    if (!append(j, plan, record, error)) {
        g_hash_table_add(j->spoilt, g_memdup2(&plan, sizeof plan));
        return FALSE;
    }
    stop_at("journal.after_append");
    return TRUE;
}

typedef struct {
    Id plan;
    gint64 changed_ns;
} Found;

static gint by_age(gconstpointer a, gconstpointer b)
{
    const Found *x = a, *y = b;

    return x->changed_ns < y->changed_ns ? -1 : x->changed_ns > y->changed_ns;
}

static gboolean look_at(const Journal *j, const char *name, Found *ret_found)
{
    g_autofree char *stem = NULL;
    g_autofree char *path = g_build_filename(j->dir, name, NULL);
    struct stat st;

    if (!g_str_has_suffix(name, SUFFIX))
        return FALSE;
    stem = g_strndup(name, strlen(name) - strlen(SUFFIX));
    if (!id_parse(stem, &ret_found->plan, NULL) || stat(path, &st) != 0)
        return FALSE;
    ret_found->changed_ns = (gint64)st.st_mtim.tv_sec * G_GINT64_CONSTANT(1000000000) + st.st_mtim.tv_nsec;
    return TRUE;
}

GArray *journal_list(Journal *j, GError **error)
{
    g_autoptr(GDir) dir = NULL;
    g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(Found));
    GArray *plans;
    const char *name;
    GError *why = NULL;

    dir = g_dir_open(j->dir, 0, &why);
    if (!dir) {
        g_set_error(error, US_ERROR, US_ERROR_IO, "reading the journal: %s", why->message);
        g_error_free(why);
        return NULL;
    }
    while ((name = g_dir_read_name(dir))) {
        Found one;

        if (look_at(j, name, &one))
            g_array_append_val(found, one);
    }
    g_array_sort(found, by_age);
    plans = g_array_new(FALSE, FALSE, sizeof(Id));
    for (guint i = 0; i < found->len; i++)
        g_array_append_val(plans, g_array_index(found, Found, i).plan);
    return plans;
}

/* A torn end never counted; without it the next append would spoil two records. */
static gboolean cut_off(const char *path, gsize len, GError **error)
{
    if (truncate(path, (off_t)len) != 0)
        return us_error_errno(error, errno, "cutting the torn end off '%s'", path);
    return durable_sync_file(path, error);
}

static json_t *parse(const char *path, const char *text, gsize len, GError **error)
{
    json_t *records = json_array();
    gsize at = 0;

    while (at < len) {
        const char *end = memchr(text + at, '\n', len - at);
        json_t *record =
            end ? sealed_line_parse(text + at, (gsize)(end - text) - at, MAX_RECORD_BYTES) : NULL;

        if (!record && end) {
            g_set_error(
                error, US_ERROR, US_ERROR_CORRUPT,
                "record %zu of '%s' is not what was written: the plan is left alone; look at the file",
                json_array_size(records) + 1, path);
            json_decref(records);
            return NULL;
        }
        if (!record && !cut_off(path, at, error)) {
            json_decref(records);
            return NULL;
        }
        if (!record)
            break;
        json_array_append_new(records, record);
        at = (gsize)(end - text) + 1;
    }
    return records;
}

json_t *journal_read(Journal *j, Id plan, GError **error)
{
    g_autofree char *path = path_of(j, plan);
    g_autofree char *text = NULL;
    g_autoptr(GError) why = NULL;
    json_t *records;
    gsize len;

    if (!g_file_get_contents(path, &text, &len, &why)) {
        gboolean gone = g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT);

        g_set_error(error, US_ERROR, gone ? US_ERROR_NOT_FOUND : US_ERROR_IO, "%s", why->message);
        return NULL;
    }
    records = parse(path, text, len, error);
    if (!records || json_array_size(records) > 0)
        return records;
    json_decref(records);
    if (durable_remove(path, error))
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "'%s' had no whole record", path);
    return NULL;
}

static gboolean has_ended(Journal *j, Id plan)
{
    json_auto_t *records = journal_read(j, plan, NULL);
    gsize n = json_array_size(records);

    return n > 0 && json_object_get(json_array_get(records, n - 1), "end");
}

static gboolean prune(Journal *j, guint keep, GError **error)
{
    g_autoptr(GArray) plans = journal_list(j, error);

    if (!plans)
        return FALSE;
    for (guint i = 0; i + keep < plans->len; i++) {
        Id plan = g_array_index(plans, Id, i);
        g_autofree char *path = path_of(j, plan);

        if (has_ended(j, plan) && !durable_remove(path, error))
            return FALSE;
    }
    return TRUE;
}

Journal *journal_open(const char *dir, guint keep, GError **error)
{
    g_autoptr(Journal) j = g_new0(Journal, 1);

    j->dir = g_strdup(dir);
    j->spoilt = g_hash_table_new_full(id_hash, id_equal_func, g_free, NULL);
    if (!durable_mkdir(dir, 0700, error) || !prune(j, keep, error))
        return NULL;
    return g_steal_pointer(&j);
}

void journal_close(Journal *j)
{
    if (!j)
        return;
    g_hash_table_destroy(j->spoilt);
    g_free(j->dir);
    g_free(j);
}
