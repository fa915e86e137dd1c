/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/place.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

char *place_of(int fd, const char *path, GError **error)
{
    g_autofree char *machine = machine_id();
    struct statx st;

    if (statx(fd, path, AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) != 0) {
        us_error_errno(error, errno, "statx(%s)", path);
        return NULL;
    }
    /* A birth that nobody knows is always the same one. */
    if (!(st.stx_mask & STATX_BTIME))
        st.stx_btime = (struct statx_timestamp){0};
    return g_strdup_printf("%s %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT ".%09u", machine, (guint64)st.stx_ino,
                           (gint64)st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
}
