/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/guard/watchdog.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEAR_MS 20 /* the last time, before it may not be petted any more */
#define OPEN_AGAIN_MS 10000

struct Watchdog {
    char *path;
    WatchdogOpen opener;
    WatchdogDevice device; /* .fd -1: closed; .timeout_ms as of the last time that it was open */
    gint64 open_again_ms;  /* CLOCK_BOOTTIME: not before */
    /* Told once, until it is otherwise. */
    gboolean open_fails;
    gboolean pet_fails;
    gboolean is_too_slow;
};

/* --- when ------------------------------------------------------------------ */

static gboolean needs(const Ward *w)
{
    return w->ladder.is_enforced;
}

static gboolean stands_still(const Ward *w)
{
    return w->ladder.state == LADDER_PAUSED || w->ladder.state == LADDER_STOPPED;
}

/* What does not even last until its guest is asked to stop was no lease, and is over before anything else is done. */
gboolean watchdog_is_too_slow(const Ward *w, gint64 timeout_ms)
{
    return needs(w) && w->given_ms > LADDER_ASK_MS && w->given_ms <= timeout_ms + WATCHDOG_EARLY_MS;
}

gint64 watchdog_room_ms(const GPtrArray *wards, gint64 timeout_ms, LeaseMoment now)
{
    gint64 room_ms = G_MAXINT64;

    for (guint i = 0; i < wards->len; i++) {
        const Ward *w = wards->pdata[i];

        if (needs(w) && !stands_still(w) && !watchdog_is_too_slow(w, timeout_ms))
            room_ms = MIN(room_ms, lease_left_ms(w->ladder.until, now) - timeout_ms - WATCHDOG_EARLY_MS);
    }
    return room_ms;
}

static gboolean is_needed(const GPtrArray *wards)
{
    for (guint i = 0; i < wards->len; i++)
        if (needs(wards->pdata[i]))
            return TRUE;
    return FALSE;
}

/* --- the device --------------------------------------------------------------- */

/* As the kernel was built, or its module loaded. */
static gboolean is_without_way_out(const char *path)
{
    g_autofree char *base = g_path_get_basename(path);
    const char *name = g_str_equal(base, "watchdog") ? "watchdog0" : base;
    g_autofree char *file = g_build_filename("/sys/class/watchdog", name, "nowayout", NULL);
    g_autofree char *text = NULL;

    return g_file_get_contents(file, &text, NULL, NULL) && text[0] == '1';
}

static gboolean set_timeout(int fd, gint64 *ret_ms)
{
    int seconds;

    for (int wanted = WATCHDOG_LEAST_S; wanted <= WATCHDOG_MOST_S; wanted++) {
        seconds = wanted;
        if (ioctl(fd, WDIOC_SETTIMEOUT, &seconds) == 0) {
            *ret_ms = seconds * 1000;
            return TRUE;
        }
        if (errno != EINVAL)
            break;
    }
    /* One that has but its own. */
    if (ioctl(fd, WDIOC_GETTIMEOUT, &seconds) != 0 || seconds < 1 || seconds > WATCHDOG_MOST_S)
        return FALSE;
    *ret_ms = seconds * 1000;
    return TRUE;
}

static void close_in_order(int fd)
{
    if (write(fd, "V", 1) != 1)
        log_warning("the watchdog takes no leave: %s", g_strerror(errno));
    close(fd);
}

gboolean watchdog_open_device(const char *path, WatchdogDevice *ret_device, GError **error)
{
    struct watchdog_info info = {0};
    WatchdogDevice device = {0};
    struct stat st;

    if (stat(path, &st) != 0)
        return us_error_errno(error, errno, "watchdog %s", path);
    if (!S_ISCHR(st.st_mode)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "watchdog %s is no device", path);
        return FALSE;
    }
    device.fd = open(path, O_WRONLY | O_CLOEXEC);
    if (device.fd < 0)
        return us_error_errno(error, errno, "watchdog %s%s", path,
                              errno == EBUSY ? ", which another program has (systemd's RuntimeWatchdogSec?)"
                                             : "");
    if (!set_timeout(device.fd, &device.timeout_ms)) {
        close_in_order(device.fd);
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "watchdog %s waits for no time from %d to %d s",
                    path, WATCHDOG_LEAST_S, WATCHDOG_MOST_S);
        return FALSE;
    }
    device.stays = ioctl(device.fd, WDIOC_GETSUPPORT, &info) != 0 || !(info.options & WDIOF_MAGICCLOSE) ||
                   is_without_way_out(path);
    *ret_device = device;
    return TRUE;
}

/* --- the whole ------------------------------------------------------------------ */

static gboolean open_now(Watchdog *w, GError **error)
{
    if (!w->opener(w->path, &w->device, error))
        return FALSE;
    w->open_fails = FALSE;
    log_notice("watchdog %s is open -> this host is reset %" G_GINT64_FORMAT
               " s after it was petted last, which ends %" G_GINT64_FORMAT ".%" G_GINT64_FORMAT
               " s before a lease does%s",
               w->path, w->device.timeout_ms / 1000, (w->device.timeout_ms + WATCHDOG_EARLY_MS) / 1000,
               (w->device.timeout_ms + WATCHDOG_EARLY_MS) % 1000 / 100,
               w->device.stays ? "; it cannot be stopped any more" : "");
    return TRUE;
}

static gboolean is_open(Watchdog *w, LeaseMoment now)
{
    g_autoptr(GError) error = NULL;

    if (w->device.fd >= 0)
        return TRUE;
    if (now.boot_ms < w->open_again_ms)
        return FALSE;
    w->open_again_ms = now.boot_ms + OPEN_AGAIN_MS;
    if (open_now(w, &error))
        return TRUE;
    if (!w->open_fails)
        log_error("%s -> nobody resets this host if its guard hangs", error->message);
    w->open_fails = TRUE;
    return FALSE;
}

static void pet(Watchdog *w)
{
    gboolean done = write(w->device.fd, ".", 1) == 1;

    if (!done && !w->pet_fails)
        log_error("watchdog %s cannot be petted: %s -> it resets this host", w->path, g_strerror(errno));
    w->pet_fails = !done;
}

static void look_for_short_leases(Watchdog *w, const GPtrArray *wards)
{
    gboolean any = FALSE;

    for (guint i = 0; i < wards->len; i++) {
        const Ward *ward = wards->pdata[i];

        if (!watchdog_is_too_slow(ward, w->device.timeout_ms))
            continue;
        any = TRUE;
        if (!w->is_too_slow)
            log_warning("vm %s: its lease was given for no longer than watchdog %s waits, %" G_GINT64_FORMAT
                        " s -> that does not hold it; a longer countdown does",
                        ID_TEXT(ward->vm), w->path, w->device.timeout_ms / 1000);
    }
    w->is_too_slow = any;
}

static gboolean may_pet(const Watchdog *w, const GPtrArray *wards, LeaseMoment now)
{
    return watchdog_room_ms(wards, w->device.timeout_ms, now) > 0;
}

static void take_leave(Watchdog *w)
{
    log_notice("no guest needs a lease -> watchdog %s is stopped", w->path);
    close_in_order(w->device.fd);
    w->device.fd = -1;
    w->open_again_ms = 0;
}

void watchdog_step(Watchdog *w, const GPtrArray *wards, LeaseMoment now)
{
    gboolean needed = is_needed(wards);

    if (!needed && w->device.fd >= 0 && !w->device.stays) {
        take_leave(w);
        return;
    }
    if (needed && may_pet(w, wards, now) && is_open(w, now))
        look_for_short_leases(w, wards);
    /* Once more: how long it waits may be known only now. */
    if (w->device.fd >= 0 && may_pet(w, wards, now))
        pet(w);
}

gint64 watchdog_wait_ms(const Watchdog *w, const GPtrArray *wards, LeaseMoment now)
{
    gint64 room_ms = watchdog_room_ms(wards, w->device.timeout_ms, now);

    if (w->device.fd < 0)
        return is_needed(wards) && room_ms > 0 ? MAX(w->open_again_ms - now.boot_ms, 1) : -1;
    if (room_ms <= 0)
        return -1;
    return MIN(w->device.timeout_ms / 3, room_ms > 2 * NEAR_MS ? room_ms - NEAR_MS : room_ms);
}

gboolean watchdog_begin(Watchdog *w, const GPtrArray *wards, LeaseMoment now, GError **error)
{
    /* Opening it is petting it. */
    if (is_needed(wards) && watchdog_room_ms(wards, w->device.timeout_ms, now) <= 0)
        return TRUE;
    if (!open_now(w, error))
        return FALSE;
    watchdog_step(w, wards, now);
    return TRUE;
}

void watchdog_end(Watchdog *w, const GPtrArray *wards)
{
    if (w->device.fd < 0)
        return;
    if (!is_needed(wards)) {
        take_leave(w);
        return;
    }
    log_warning("guests need their leases -> watchdog %s goes on, and resets this host in %" G_GINT64_FORMAT
                " s if no guard is back by then",
                w->path, w->device.timeout_ms / 1000);
    close(w->device.fd);
    w->device.fd = -1;
}

Watchdog *watchdog_new(const char *path, WatchdogOpen opener)
{
    Watchdog *w = g_new0(Watchdog, 1);

    *w = (Watchdog){.path = g_strdup(path),
                    .opener = opener,
                    .device = {.fd = -1, .timeout_ms = WATCHDOG_LEAST_S * 1000}};
    return w;
}

void watchdog_free(Watchdog *w)
{
    if (!w)
        return;
    if (w->device.fd >= 0)
        close(w->device.fd);
    g_free(w->path);
    g_free(w);
}
