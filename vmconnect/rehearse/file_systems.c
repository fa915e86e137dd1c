/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path, per disk: a storage daemon of its own lays an overlay on what is offered of it, the whole of that is offered as a file, the partition
 * table is read, then one part after the other is offered as that file and checked. Failures: the daemon is killed, and what is left is
 * tidied as after a death of ours. */
#include "vmconnect/rehearse/file_systems.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/path.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/image/export.h"
#include "vmconnect/image/node.h"
#include "vmconnect/image/storage_daemon.h"
#include "vmconnect/rehearse/checker.h"
#include "vmconnect/rehearse/partitions.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define CALL_TIMEOUT_MS 10000
#define LITTLE_ROOM (1024 * 1024) /* an overlay's next clusters and tables */
#define EXPORT "looked-at"
#define GPT_MARK "EFI PART"
#define BIG_SECTOR 4096

typedef struct {
    const FileSystemsDisk *disk;
    const char *folder;
    char *overlay; /* paths */
    char *file;
    SandboxLimits limits;
    StorageDaemon *daemon;
    char *top;     /* the overlay's node */
    json_t *parts; /* found so far */
} Look;

static void look_clear(Look *l)
{
    /* Killed: nothing of what it holds is wanted. */
    storage_daemon_close(l->daemon, 0);
    g_free(l->overlay);
    g_free(l->file);
    g_free(l->top);
    json_decref(l->parts);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Look, look_clear)

/* ---- opening ---- */

static char *overlay_path(const char *folder)
{
    return g_build_filename(folder, "overlay.qcow2", NULL);
}

static char *file_path(const char *folder)
{
    return g_build_filename(folder, "disk", NULL);
}

static gboolean start_daemon(Look *l, GError **error)
{
    g_autoptr(GError) why = NULL;

    l->daemon = storage_daemon_start(l->folder, l->disk->target, &why);
    if (!l->daemon) {
        if (why->code == US_ERROR_NOT_FOUND)
            why->code = US_ERROR_UNSUPPORTED;
        g_propagate_prefixed_error(error, g_steal_pointer(&why), "file systems cannot be looked into: ");
        return FALSE;
    }
    storage_daemon_set_cancel(l->daemon, l->limits.cancel_fd);
    storage_daemon_set_timeout(l->daemon,
                               clock_shorter_ms(CALL_TIMEOUT_MS, clock_left_ms(l->limits.deadline_ms)));
    return TRUE;
}

static gboolean lay_overlay(Look *l, const char *top, GError **error)
{
    NodeNewImage image = {.path = l->overlay, .size_bytes = l->disk->size_bytes};

    return node_create(l->daemon, &image, &l->top, error) && node_snapshot(l->daemon, top, l->top, error);
}

/* ---- one node as a file ---- */

static gboolean hide(int fd, Look *l, GError **error)
{
    close(fd);
    return export_remove(l->daemon, EXPORT, error);
}

/* An open file that is @node, -1 with @error. */
static int show(Look *l, const char *node, gboolean writable, GError **error)
{
    g_autoptr(GError) why = NULL;
    int fd;

    if (!export_add_file(l->daemon, EXPORT, node, l->file, writable, &why)) {
        if (why->code == US_ERROR_FAILED)
            why->code = US_ERROR_UNSUPPORTED;
        g_propagate_prefixed_error(error, g_steal_pointer(&why),
                                   "file systems cannot be looked into (does this host have FUSE?): ");
        return -1;
    }
    fd = open(l->file, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (fd < 0 || fchown(fd, SANDBOX_USER, SANDBOX_USER) != 0) {
        us_error_errno(error, errno, "cannot give %s to the checkers", l->file);
        if (fd >= 0)
            hide(fd, l, NULL);
        return -1;
    }
    return fd;
}

/* ---- what is found ---- */

static void tell(Look *l, const Partition *part, const char *kind, CheckerState state, const char *text)
{
    json_array_append_new(l->parts, json_pack("{s:i, s:I, s:I, s:s?, s:s, s:s?}", "number", (int)part->number,
                                              "offset_bytes", (json_int_t)part->offset_bytes, "size_bytes",
                                              (json_int_t)part->size_bytes, "kind", kind, "state",
                                              checker_state_name(state), "text", text));
}

static Partition whole_disk(const Look *l)
{
    return (Partition){.size_bytes = l->disk->size_bytes};
}

/* A checker that could not write takes it for damage. */
static gboolean had_room(const Look *l, GError **error)
{
    struct statvfs st;

    if (statvfs(l->folder, &st) != 0)
        return us_error_errno(error, errno, "cannot tell how much is free in %s", l->folder);
    if ((guint64)st.f_bfree * st.f_frsize >= LITTLE_ROOM)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_NO_SPACE,
                "%s is full, so the file systems on %s cannot be looked into: make room there", l->folder,
                l->disk->target);
    return FALSE;
}

static gboolean look_at_file(Look *l, const Partition *part, int fd, GError **error)
{
    g_auto(CheckerFinding) f = {0};
    g_autofree char *kind = NULL;
    g_autofree char *table = NULL;
    g_autoptr(GError) why = NULL;

    if (!checker_recognize(fd, l->limits, &kind, &table, &why)) {
        if (why->code != US_ERROR_UNSUPPORTED) {
            g_propagate_error(error, g_steal_pointer(&why));
            return FALSE;
        }
        tell(l, part, NULL, CHECKER_UNKNOWN, why->message);
        return TRUE;
    }
    if (!checker_look(kind, fd, l->limits, &f, error) || (f.state != CHECKER_CLEAN && !had_room(l, error)))
        return FALSE;
    tell(l, part, kind, f.state, f.text);
    return TRUE;
}

static gboolean look_at_node(Look *l, const Partition *part, const char *node, GError **error)
{
    int fd = show(l, node, TRUE, error);
    gboolean ok;

    if (fd < 0)
        return FALSE;
    stop_at("test.disks");
    ok = look_at_file(l, part, fd, error);
    return hide(fd, l, ok ? error : NULL) && ok;
}

static gboolean look_at_partition(Look *l, const Partition *part, GError **error)
{
    g_autofree char *node = NULL;

    if (!node_open_part(l->daemon, l->top, part->offset_bytes, part->size_bytes, &node, error))
        return FALSE;
    if (look_at_node(l, part, node, error))
        return node_close(l->daemon, node, error);
    g_prefix_error(error, "partition %u: ", part->number);
    return FALSE;
}

/* ---- the partition table ---- */

/* What is wrong with a table is told, and nothing below it is looked at. */
static gboolean refuse_table(Look *l, const char *table, GError *why, GError **error)
{
    Partition disk = whole_disk(l);

    if (why->code == US_ERROR_TIMEOUT || why->code == US_ERROR_CANCELLED) {
        g_propagate_error(error, why);
        return FALSE;
    }
    tell(l, &disk, table, why->code == US_ERROR_CORRUPT ? CHECKER_DAMAGED : CHECKER_UNKNOWN, why->message);
    g_error_free(why);
    return TRUE;
}

static GArray *read_table(const Look *l, int fd, GError **error)
{
    const char *argv[] = {"sfdisk", "--json", SANDBOX_FILE, NULL};
    g_autofree char *output = NULL;
    const char *json;
    int status;

    if (!sandbox_run(argv, fd, l->limits, &status, &output, error)) {
        g_prefix_error(error, "its partition table was not read: ");
        return NULL;
    }
    /* Its warnings come first. */
    json = strchr(output, '{');
    if (status == 0 && json)
        return partitions_read(json, strlen(json), l->disk->size_bytes, error);
    g_set_error_literal(error, US_ERROR, US_ERROR_CORRUPT, "sfdisk cannot read its partition table");
    return NULL;
}

/* The disk says that it has a GPT, and there is none where one should be. */
static gboolean lost_gpt(Look *l, int fd)
{
    char mark[sizeof(GPT_MARK) - 1];
    Partition disk = whole_disk(l);

    if (pread(fd, mark, sizeof(mark), BIG_SECTOR) == sizeof(mark) &&
        memcmp(mark, GPT_MARK, sizeof(mark)) == 0)
        tell(l, &disk, "gpt", CHECKER_UNKNOWN, "not looked into: its sectors have 4096 bytes");
    else
        tell(l, &disk, "gpt", CHECKER_DAMAGED,
             "either the disk's end is missing or its partition table (GPT) is destroyed");
    return TRUE;
}

/* *@ret_parts: NULL if all is told already; empty: there is no partition, look at the whole disk. */
static gboolean divide_file(Look *l, int fd, GArray **ret_parts, GError **error)
{
    g_autofree char *kind = NULL;
    g_autofree char *table = NULL;
    GError *why = NULL;

    *ret_parts = NULL;
    if (!checker_recognize(fd, l->limits, &kind, &table, &why))
        return refuse_table(l, NULL, why, error);
    if (!table) {
        *ret_parts = g_array_new(FALSE, FALSE, sizeof(Partition));
        return TRUE;
    }
    if (g_str_equal(table, "PMBR"))
        return lost_gpt(l, fd);
    *ret_parts = read_table(l, fd, &why);
    return *ret_parts || refuse_table(l, table, why, error);
}

static gboolean divide(Look *l, GArray **ret_parts, GError **error)
{
    int fd = show(l, l->top, FALSE, error);
    gboolean ok;

    if (fd < 0)
        return FALSE;
    ok = divide_file(l, fd, ret_parts, error);
    return hide(fd, l, ok ? error : NULL) && ok;
}

static gboolean look_at_disk(Look *l, GError **error)
{
    g_autoptr(GArray) parts = NULL;
    Partition disk = whole_disk(l);

    if (!divide(l, &parts, error))
        return FALSE;
    if (parts && parts->len == 0)
        return look_at_node(l, &disk, l->top, error);
    for (guint i = 0; parts && i < parts->len; i++)
        if (!look_at_partition(l, &g_array_index(parts, Partition, i), error))
            return FALSE;
    return TRUE;
}

/* ---- all ---- */

/* Of a disk that does not open: is it that, or are we unable to try? */
static gboolean is_ours(const GError *why)
{
    return us_error_may_pass(why) || why->code == US_ERROR_PROTOCOL;
}

static json_t *describe(const Look *l, const char *why)
{
    return json_pack("{s:s, s:b, s:s?, s:O}", "target", l->disk->target, "opens", !why, "why", why, "parts",
                     l->parts);
}

static json_t *check_disk(Look *l, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autofree char *top = NULL;

    if (!start_daemon(l, error))
        return NULL;
    if (!node_open_offer(l->daemon, l->disk->socket, l->disk->target, &top, &why)) {
        if (!is_ours(why))
            return describe(l, why->message);
        g_propagate_error(error, g_steal_pointer(&why));
        return NULL;
    }
    return lay_overlay(l, top, error) && look_at_disk(l, error) ? describe(l, NULL) : NULL;
}

static gboolean make_file(const char *path, GError **error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return us_error_errno(error, errno, "cannot create %s", path);
    close(fd);
    return TRUE;
}

static json_t *check_and_tidy(const FileSystemsDisk *disk, const char *folder, SandboxLimits limits,
                              GError **error)
{
    json_t *doc = NULL;

    {
        g_auto(Look) l = {.disk = disk,
                          .folder = folder,
                          .overlay = overlay_path(folder),
                          .file = file_path(folder),
                          .limits = limits,
                          .parts = json_array()};

        if (make_file(l.file, error))
            doc = check_disk(&l, error);
        if (!doc)
            g_prefix_error(error, "disk %s: ", disk->target);
    }
    if (file_systems_tidy(folder, doc ? error : NULL))
        return doc;
    json_decref(doc);
    return NULL;
}

json_t *file_systems_check(const FileSystemsDisk *disks, guint n, const char *folder, gint64 deadline_ms,
                           int cancel_fd, GError **error)
{
    SandboxLimits limits = {deadline_ms, cancel_fd};
    json_auto_t *all = json_array();

    g_assert(g_path_is_absolute(folder));
    if (!sandbox_try(limits, error))
        return NULL;
    for (guint i = 0; i < n; i++) {
        json_t *doc = check_and_tidy(&disks[i], folder, limits, error);

        if (!doc)
            return NULL;
        json_array_append_new(all, doc);
    }
    return json_incref(all);
}

/* ---- leftovers ---- */

/* The mount point in a line of mountinfo, where blanks and the like are octal. The caller frees; NULL: none. */
static char *mount_point(const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 6);

    return g_strv_length(words) > 5 ? g_strcompress(words[4]) : NULL;
}

static gboolean unmount_below(const char *folder, GError **error)
{
    g_autofree char *text = NULL;
    gsize len = 0;
    g_autofree char *real = realpath(folder, NULL);
    g_auto(GStrv) lines = NULL;

    if (!real)
        return errno == ENOENT || us_error_errno(error, errno, "cannot look into %s", folder);
    if (!durable_read("/proc/self/mountinfo", &text, &len, error))
        return FALSE;
    lines = g_strsplit(text, "\n", -1);
    /* Later ones may lie on earlier ones. */
    for (guint i = g_strv_length(lines); i-- > 0;) {
        g_autofree char *at = mount_point(lines[i]);

        if (at && path_is_in(real, at) && umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL &&
            errno != ENOENT)
            return us_error_errno(error, errno,
                                  "cannot unmount %s, which is left of a look into file systems", at);
    }
    return TRUE;
}

static gboolean remove_file(const char *folder, const char *name, GError **error)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);

    return g_unlink(path) == 0 || errno == ENOENT || us_error_errno(error, errno, "cannot remove %s", path);
}

gboolean file_systems_tidy(const char *folder, GError **error)
{
    static const char *const OURS[] = {"disk", "overlay.qcow2", "nbd.sock", "daemon.pid"};

    /* First the daemon: it holds the mount. */
    if (!storage_daemon_end_leftover(folder, NULL, error) || !unmount_below(folder, error))
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(OURS); i++)
        if (!remove_file(folder, OURS[i], error))
            return FALSE;
    return TRUE;
}
