/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/store/ledger_file.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/store/ledger_text.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Replaced when it has both this length and this many times that of its first record. */
#define COMPACT_BYTES (256 * 1024)
#define COMPACT_FACTOR 4

/* Set aside for appending, so that a full file system still takes a discard or a promotion. */
#define RESERVE_BYTES (128 * 1024)

#define MAX_BYTES (256 * 1024 * 1024)

struct LedgerFile {
    char *path;
    Ledger *model;
    int fd;            /* -1: none could be opened after the file was replaced */
    gsize len;         /* of all that is in the file and believed */
    gsize whole_len;   /* of its first record */
    gboolean in_doubt; /* the file may say more than the model, or be unwritable */
};

const Ledger *ledger_file_model(const LedgerFile *file)
{
    return file->model;
}

gboolean ledger_file_is_there(const LedgerFile *file)
{
    struct stat open, there;

    return file->fd < 0 || fstat(file->fd, &open) != 0 ||
           (stat(file->path, &there) == 0 && there.st_ino == open.st_ino && there.st_dev == open.st_dev);
}

void ledger_file_close(LedgerFile *file)
{
    if (!file)
        return;
    if (file->fd >= 0)
        close(file->fd);
    ledger_free(file->model);
    g_free(file->path);
    g_free(file);
}

static gboolean reopen(LedgerFile *file, GError **error)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = open(file->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file->fd < 0)
        return us_error_errno(error, errno, "cannot open %s", file->path);
    /* Only a convenience: file systems without it are served as well. */
    (void)fallocate(file->fd, FALLOC_FL_KEEP_SIZE, (off_t)file->len, RESERVE_BYTES);
    return TRUE;
}

/* Replace the file by one that says exactly what the model says. */
static gboolean compact(LedgerFile *file, GError **error)
{
    json_auto_t *whole = ledger_to_json(file->model);
    g_autofree char *line = ledger_text_line(whole);
    gsize len = strlen(line);

    file->in_doubt = TRUE;
    if (!durable_replace(file->path, line, len, 0600, error))
        return FALSE;
    file->len = len;
    file->whole_len = len;
    if (!reopen(file, error))
        return FALSE;
    file->in_doubt = FALSE;
    return TRUE;
}

gboolean ledger_file_settle(LedgerFile *file, GError **error)
{
    return file->in_doubt ? compact(file, error) : TRUE;
}

/* What stands behind the last whole record was never believed, but somebody may want to see it. */
static gboolean keep_tail(const char *path, const char *text, gsize good, gsize len, GError **error)
{
    g_autofree char *torn = g_strconcat(path, ".torn", NULL);

    return good == len || durable_replace(torn, text + good, len - good, 0600, error);
}

static Ledger *replay_file(const char *path, Id vm, GError **error)
{
    g_autoptr(Ledger) ledger = ledger_new(ID_NIL);
    g_autofree char *text = NULL;
    gsize len, good;

    if (!durable_read(path, &text, &len, error))
        return NULL;
    if (!ledger_text_replay(ledger, text, len, &good, error)) {
        g_prefix_error(error, "ledger %s: ", path);
        return NULL;
    }
    if (!id_equal(ledger->vm, vm)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "ledger %s is that of VM %s, not of %s", path,
                    ID_TEXT(ledger->vm), ID_TEXT(vm));
        return NULL;
    }
    return keep_tail(path, text, good, len, error) ? g_steal_pointer(&ledger) : NULL;
}

/* The file as an older program wrote it, for who goes back to that one; it knows nothing of what came since. */
static gboolean keep_former(const LedgerFile *file, GError **error)
{
    g_autofree char *copy = g_strdup_printf("%s.format%d", file->path, file->model->format);
    g_autofree char *text = NULL;
    gsize len;

    return file->model->format == LEDGER_FORMAT ||
           (durable_read(file->path, &text, &len, error) && durable_replace(copy, text, len, 0600, error));
}

LedgerFile *ledger_file_open(const char *path, Id vm, gboolean may_create, GError **error)
{
    g_autoptr(LedgerFile) file = g_new0(LedgerFile, 1);
    GError *why = NULL;

    file->fd = -1;
    file->path = g_strdup(path);
    file->model = replay_file(path, vm, &why);
    if (!file->model && may_create && g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_clear_error(&why);
        file->model = ledger_new(vm);
    }
    if (!file->model) {
        g_propagate_error(error, why);
        return NULL;
    }
    return keep_former(file, error) && compact(file, error) ? g_steal_pointer(&file) : NULL;
}

/* Cut off what a failed append may have left. */
static gboolean take_back(LedgerFile *file)
{
    return ftruncate(file->fd, (off_t)file->len) == 0 && durable_sync(file->fd, NULL);
}

static gboolean append_line(LedgerFile *file, const char *line, gsize len, GError **error)
{
    if (!durable_write(file->fd, line, len, error)) {
        file->in_doubt = !take_back(file);
        return FALSE;
    }
    stop_at("ledger.before_sync");
    if (!durable_sync(file->fd, error)) {
        /* Nobody knows what the disk has: only a new file can be relied on. */
        file->in_doubt = TRUE;
        (void)take_back(file);
        return FALSE;
    }
    file->len += len;
    return TRUE;
}

/* The model is advanced first, on a copy: a record that cannot be applied must not get into the file. */
static Ledger *advance(const Ledger *model, const json_t *record, GError **error)
{
    json_auto_t *whole = ledger_to_json(model);
    g_autoptr(Ledger) next = ledger_new(ID_NIL);
    gboolean copied = ledger_apply(next, whole, NULL);

    g_assert(copied);
    return ledger_apply(next, record, error) ? g_steal_pointer(&next) : NULL;
}

gboolean ledger_file_append(LedgerFile *file, json_t *record, GError **error)
{
    json_auto_t *owned = record;
    g_autoptr(Ledger) next = advance(file->model, owned, error);
    g_autofree char *line = ledger_text_line(owned);

    if (!next) {
        if (error && *error)
            (*error)->code = US_ERROR_REFUSED;
        return FALSE;
    }
    if (!ledger_file_settle(file, error) || !append_line(file, line, strlen(line), error)) {
        g_prefix_error(error, "ledger %s: ", file->path);
        (void)ledger_file_settle(file, NULL);
        return FALSE;
    }
    ledger_free(file->model);
    file->model = g_steal_pointer(&next);
    /* The record is durable; a failure to shorten the file shows at the next append. */
    if (file->len > COMPACT_BYTES && file->len > COMPACT_FACTOR * file->whole_len)
        (void)compact(file, NULL);
    return TRUE;
}

gboolean ledger_file_reset(LedgerFile *file, GError **error)
{
    Ledger *before = file->model;

    file->model = ledger_new(before->vm);
    if (compact(file, error)) {
        ledger_free(before);
        return TRUE;
    }
    ledger_free(file->model);
    file->model = before;
    return FALSE;
}
