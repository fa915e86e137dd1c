/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/disk_size.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* qcow2, "virtual size": eight bytes, big-endian, at offset 24 of the header. QEMU shows whole sectors alone. */
static guint64 qcow2_size(int fd)
{
    guint8 head[32];
    guint64 size;

    if (pread(fd, head, sizeof(head), 0) != sizeof(head) || memcmp(head, "QFI\xfb", 4) != 0)
        return 0;
    memcpy(&size, head + 24, sizeof(size));
    return GUINT64_FROM_BE(size) & ~(guint64)511;
}

static guint64 raw_size(int fd)
{
    struct stat st;
    guint64 size = 0;

    if (fstat(fd, &st) != 0)
        return 0;
    if (S_ISBLK(st.st_mode))
        return ioctl(fd, BLKGETSIZE64, &size) == 0 ? size : 0;
    return (guint64)st.st_size;
}

guint64 disk_size_read(const Disk *disk)
{
    guint64 size;
    int fd;

    if (!disk->source || (strcmp(disk->source_type, "file") != 0 && strcmp(disk->source_type, "block") != 0))
        return 0;
    fd = open(disk->source, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return 0;
    size = g_strcmp0(disk->format, "qcow2") == 0 ? qcow2_size(fd) : raw_size(fd);
    close(fd);
    return size;
}
