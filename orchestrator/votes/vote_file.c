/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/votes/vote_file.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/place.h"
#include "vmconnect/base/sealed.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define KIND "votes"
#define FORMAT 1
#define MAX_BYTES (64 << 20)

struct VoteFile {
    gboolean is_copy;
    guint64 incarnation;
    GHashTable *records; /* Id * -> VoteRecord * */
};

static VoteFile *vote_file_new(void)
{
    VoteFile *f = g_new0(VoteFile, 1);

    f->records = g_hash_table_new_full(id_hash, id_equal_func, g_free, g_free);
    return f;
}

void vote_file_free(VoteFile *f)
{
    if (!f)
        return;
    g_hash_table_unref(f->records);
    g_free(f);
}

/* --- its text ---------------------------------------------------------------- */

static gboolean read_number(json_int_t number, guint64 *ret, GError **error)
{
    *ret = (guint64)number;
    return number >= 0 || sealed_corrupt(error, "a number below 0");
}

/* null: none. */
static gboolean read_reign(const json_t *doc, Reign *ret, GError **error)
{
    *ret = (Reign){0};
    return json_is_null(doc) || reign_from_json(doc, ret, error);
}

static json_t *reign_or_null(Reign reign)
{
    return reign.number > 0 ? reign_to_json(reign) : json_null();
}

static gboolean read_record(VoteFile *f, const char *key, const json_t *doc, GError **error)
{
    json_int_t arm, own_arm, cap_ms;
    VoteRecord record;
    json_t *promised, *own;
    int mute;
    Id vm;

    if (!id_parse(key, &vm, error) ||
        !json_read(doc, "votes", error, "{s:o, s:I, s:I, s:o, s:I, s:b}", "promised", &promised, "arm", &arm,
                   "cap_ms", &cap_ms, "own", &own, "own_arm", &own_arm, "mute", &mute) ||
        !read_reign(promised, &record.voter.promised, error) || !read_reign(own, &record.own, error) ||
        !read_number(arm, &record.voter.arm, error) || !read_number(own_arm, &record.arm, error))
        return FALSE;
    record.voter.cap_ms = cap_ms;
    record.mute = f->is_copy || mute;
    if (cap_ms < 0)
        return sealed_corrupt(error, "a time below 0");
    vote_file_set(f, vm, &record);
    return TRUE;
}

static gboolean read_records(VoteFile *f, json_t *list, GError **error)
{
    const char *key;
    json_t *value;

    json_object_foreach(list, key, value)
    {
        if (!read_record(f, key, value, error))
            return FALSE;
    }
    return TRUE;
}

VoteFile *vote_file_parse(const char *text, gsize len, const char *place, GError **error)
{
    g_autoptr(VoteFile) f = vote_file_new();
    g_autoptr(GError) why = NULL;
    json_auto_t *doc = sealed_parse(KIND, FORMAT, text, len, MAX_BYTES, &why);
    json_int_t incarnation;
    const char *written_in;
    json_t *vms;

    if (doc && json_read(doc, "votes", &why, "{s:s, s:I, s:o}", "place", &written_in, "incarnation",
                         &incarnation, "vms", &vms)) {
        f->is_copy = !g_str_equal(written_in, place);
        if (read_number(incarnation, &f->incarnation, &why) && read_records(f, vms, &why))
            return g_steal_pointer(&f);
    }
    g_set_error_literal(error, US_ERROR,
                        g_error_matches(why, US_ERROR, US_ERROR_UNSUPPORTED) ? US_ERROR_UNSUPPORTED
                                                                             : US_ERROR_CORRUPT,
                        why->message);
    return NULL;
}

/* Whoever wants to look finds it; the next one that is written has its name. */
static void put_aside(const char *path, const GError *why)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *when = g_date_time_format(now, "%Y%m%dT%H%M%SZ");
    g_autofree char *aside = g_strdup_printf("%s.unreadable-%s", path, when);
    gboolean moved = g_rename(path, aside) == 0;

    log_error("the promises that this host has made cannot be read: %s: %s -> until it has heard every "
              "engine of a VM, it neither votes about it nor renews it; the file is kept as %s",
              path, why->message, moved ? aside : path);
}

VoteFile *vote_file_read(const char *path)
{
    g_autoptr(GError) why = NULL;
    g_autofree char *place = NULL;
    gsize len = 0;
    g_autofree char *text = sealed_read(path, MAX_BYTES, &len, &place, &why);
    VoteFile *f = text ? vote_file_parse(text, len, place, &why) : NULL;

    if (f)
        return f;
    if (!g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
        put_aside(path, why);
    f = vote_file_new();
    f->is_copy = TRUE;
    return f;
}

static json_t *record_to_json(const VoteRecord *record)
{
    return json_pack("{s:o, s:I, s:I, s:o, s:I, s:b}", "promised", reign_or_null(record->voter.promised),
                     "arm", (json_int_t)record->voter.arm, "cap_ms", (json_int_t)record->voter.cap_ms, "own",
                     reign_or_null(record->own), "own_arm", (json_int_t)record->arm, "mute", record->mute);
}

json_t *vote_file_document(const VoteFile *f)
{
    json_t *vms = json_object();
    GHashTableIter iter;
    gpointer id, value;

    g_hash_table_iter_init(&iter, f->records);
    while (g_hash_table_iter_next(&iter, &id, &value))
        json_object_set_new(vms, ID_TEXT(*(Id *)id), record_to_json(value));
    return json_pack("{s:I, s:o}", "incarnation", (json_int_t)f->incarnation, "vms", vms);
}

gboolean vote_file_write(const char *path, json_t *document, GError **error)
{
    int fd = durable_replace_begin(path, 0600, error);
    g_autofree char *place = fd >= 0 ? place_of(fd, "", error) : NULL;
    g_autofree char *text = NULL;

    if (!place) {
        if (fd >= 0)
            close(fd);
        json_decref(document);
        return FALSE;
    }
    json_object_set_new(document, "place", json_string(place));
    text = sealed_text(KIND, FORMAT, document);
    return durable_replace_end(path, fd, text, strlen(text), error);
}

/* --- its records ------------------------------------------------------------- */

gboolean vote_file_is_copy(const VoteFile *f)
{
    return f->is_copy;
}

guint64 vote_file_incarnation(const VoteFile *f)
{
    return f->incarnation;
}

void vote_file_set_incarnation(VoteFile *f, guint64 incarnation)
{
    f->incarnation = MAX(f->incarnation, incarnation);
}

GArray *vote_file_vms(const VoteFile *f)
{
    GArray *vms = g_array_new(FALSE, FALSE, sizeof(Id));
    GHashTableIter iter;
    gpointer vm;

    g_hash_table_iter_init(&iter, f->records);
    while (g_hash_table_iter_next(&iter, &vm, NULL))
        g_array_append_val(vms, *(Id *)vm);
    return vms;
}

const VoteRecord *vote_file_find(const VoteFile *f, Id vm)
{
    return g_hash_table_lookup(f->records, &vm);
}

void vote_file_set(VoteFile *f, Id vm, const VoteRecord *record)
{
    g_hash_table_insert(f->records, g_memdup2(&vm, sizeof(vm)), g_memdup2(record, sizeof(*record)));
}
