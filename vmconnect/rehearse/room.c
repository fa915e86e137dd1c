/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/room.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/readable.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <uv.h>

#define MEMINFO "/proc/meminfo"
#define SPARE_SHARE 16 /* of all memory one part in so many stays free */
#define AGAIN_MS 500
#define DISK_SHARE 20 /* a test ends when less of the store's file system than one in so many … */
#define DISK_BYTES ((guint64)1 << 30) /* … and than this is free: replication needs it */

struct Room {
    uv_mutex_t lock;
    guint vms_max;
    guint vms;
    int waiting;
    guint64 taken_kib;
    guint64 first_kib; /* what was usable when nobody had any */
};

Room *room_new(guint vms_max)
{
    Room *room = g_new0(Room, 1);

    uv_mutex_init(&room->lock);
    room->vms_max = vms_max;
    return room;
}

void room_free(Room *room)
{
    if (!room)
        return;
    g_assert(room->vms == 0);
    uv_mutex_destroy(&room->lock);
    g_free(room);
}

guint64 room_usable_kib(guint64 available_kib, guint64 total_kib)
{
    guint64 spare_kib = total_kib / SPARE_SHARE;

    return available_kib > spare_kib ? available_kib - spare_kib : 0;
}

static gboolean read_kib(const char *text, const char *key, guint64 *ret_kib)
{
    const char *line = strstr(text, key);
    char *end;

    if (!line)
        return FALSE;
    *ret_kib = g_ascii_strtoull(line + strlen(key), &end, 10);
    return g_str_has_prefix(end, " kB");
}

static gboolean read_usable(guint64 *ret_kib, GError **error)
{
    g_autofree char *text = NULL;
    guint64 available_kib, total_kib;

    if (g_file_get_contents(MEMINFO, &text, NULL, NULL) && read_kib(text, "MemAvailable:", &available_kib) &&
        read_kib(text, "MemTotal:", &total_kib)) {
        *ret_kib = room_usable_kib(available_kib, total_kib);
        return TRUE;
    }
    g_set_error(error, US_ERROR, US_ERROR_IO, "cannot read from " MEMINFO " how much memory is free");
    return FALSE;
}

/* With the lock, as the next. */
static gboolean may_be_one_more(const Room *room)
{
    return !room->vms_max || room->vms < room->vms_max;
}

static gboolean has_memory(Room *room, guint64 kib, guint64 usable_kib)
{
    if (room->vms == 0)
        room->first_kib = usable_kib;
    return kib <= usable_kib && room->taken_kib + kib <= room->first_kib;
}

/* *@ret_vain: nobody has what is missing. */
static gboolean try_take(Room *room, guint64 kib, guint64 usable_kib, gboolean *waits, gboolean *ret_vain,
                         gboolean *ret_waited)
{
    gboolean has, taken;

    uv_mutex_lock(&room->lock);
    has = has_memory(room, kib, usable_kib);
    taken = has && may_be_one_more(room);
    *ret_vain = !taken && room->vms == 0;
    *ret_waited |= !has;
    room->waiting += (int)!taken - (int)*waits;
    *waits = !taken;
    if (taken) {
        room->vms++;
        room->taken_kib += kib;
    }
    uv_mutex_unlock(&room->lock);
    return taken;
}

static void stop_waiting(Room *room, gboolean waits)
{
    uv_mutex_lock(&room->lock);
    room->waiting -= (int)waits;
    uv_mutex_unlock(&room->lock);
}

gboolean room_take(Room *room, guint64 kib, int stop_fd, gboolean *ret_waited, GError **error)
{
    gboolean waits = FALSE, vain = FALSE, known;
    guint64 usable_kib;

    *ret_waited = FALSE;
    do {
        known = read_usable(&usable_kib, error);
        if (!known)
            break;
        if (try_take(room, kib, usable_kib, &waits, &vain, ret_waited))
            return TRUE;
    } while (!vain && !readable_within(stop_fd, AGAIN_MS));
    stop_waiting(room, waits);
    if (vain)
        g_set_error(error, US_ERROR, US_ERROR_NO_SPACE,
                    "it needs %" G_GUINT64_FORMAT " MiB of memory, and this host can give %" G_GUINT64_FORMAT
                    " MiB without running short itself: so it could not be started after a switchover, "
                    "either; free some, or give the VM less",
                    kib >> 10, usable_kib >> 10);
    else if (known)
        g_set_error(error, US_ERROR, US_ERROR_CANCELLED, "the test ended while it waited for memory");
    return FALSE;
}

gboolean room_is_wanted(Room *room)
{
    gboolean wanted;

    uv_mutex_lock(&room->lock);
    wanted = room->waiting > 0;
    uv_mutex_unlock(&room->lock);
    return wanted;
}

void room_give(Room *room, guint64 kib)
{
    uv_mutex_lock(&room->lock);
    g_assert(room->vms > 0 && room->taken_kib >= kib);
    room->vms--;
    room->taken_kib -= kib;
    uv_mutex_unlock(&room->lock);
}

/* Replication comes first: it writes to the same file system. */
gboolean room_expect_space(const char *dir, GError **error)
{
    struct statvfs fs;
    guint64 free_bytes, spare_bytes;

    if (statvfs(dir, &fs) != 0)
        return us_error_errno(error, errno, "%s", dir);
    free_bytes = (guint64)fs.f_bavail * fs.f_frsize;
    spare_bytes = MIN((guint64)fs.f_blocks * fs.f_frsize / DISK_SHARE, DISK_BYTES);
    if (free_bytes >= spare_bytes)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_NO_SPACE,
                "%s has only %" G_GUINT64_FORMAT " MiB left, which replication needs: the test was ended; "
                "give it room and test again",
                dir, free_bytes >> 20);
    return FALSE;
}
