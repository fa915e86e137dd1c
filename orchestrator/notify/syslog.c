/* SPDX-License-Identifier: Apache-2.0 */
/* Not syslog(3): it waits for a daemon that is slow, and says nothing of one that is not there. */
#include "orchestrator/notify/sending_kinds.h"
#include "vmconnect/base/error.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static gboolean fail(GError **error, int errnum, const char *path)
{
    if (errnum == EAGAIN)
        g_set_error(error, US_ERROR, US_ERROR_BUSY, "the log's daemon behind %s does not keep up", path);
    else
        g_set_error(error, US_ERROR, US_ERROR_UNREACHABLE,
                    "nobody takes log lines at %s (%s): start journald or a syslog daemon", path,
                    g_strerror(errnum));
    return FALSE;
}

gboolean syslog_send(const char *path, char *const *lines, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int errnum = 0;

    g_assert(strlen(path) < sizeof address.sun_path);
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    if (fd < 0)
        return fail(error, errno, path);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        errnum = errno;
    for (; *lines && !errnum; lines++)
        if (send(fd, *lines, strlen(*lines), MSG_NOSIGNAL) < 0)
            errnum = errno;
    close(fd);
    return errnum == 0 || fail(error, errnum, path);
}
