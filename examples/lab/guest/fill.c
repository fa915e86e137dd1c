/* SPDX-License-Identifier: Apache-2.0 */
/* fill - runs in the guest: gives a stretch of a disk new content at once.
 *
 * Usage: fill DISK MIB N random|zero|trim
 * N MiB from MIB on: data that does not compress, zeros written as such, or
 * given back to the host. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static int write_random(int fd, uint64_t at, uint64_t len)
{
    uint64_t *part = aligned_alloc(4096, MIB), noise = (uint64_t)time(NULL) ^ at;

    for (; part && len > 0; at += MIB, len -= MIB) {
        for (size_t i = 0; i < MIB / 8; i++) {
            noise = noise * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            part[i] = noise ^ (noise >> 31);
        }
        if (pwrite(fd, part, MIB, (off_t)at) != (ssize_t)MIB)
            return -1;
    }
    free(part);
    return len == 0 ? fsync(fd) : -1;
}

int main(int argc, char **argv)
{
    uint64_t range[2];
    int fd, rc;

    if (argc != 5) {
        fprintf(stderr, "usage: fill DISK MIB N random|zero|trim\n");
        return 2;
    }
    range[0] = strtoull(argv[2], NULL, 10) * MIB;
    range[1] = strtoull(argv[3], NULL, 10) * MIB;
    fd = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
    if (fd < 0)
        rc = -1;
    else if (strcmp(argv[4], "random") == 0)
        rc = write_random(fd, range[0], range[1]);
    else if (strcmp(argv[4], "zero") == 0)
        rc = ioctl(fd, BLKZEROOUT, range);
    else if (strcmp(argv[4], "trim") == 0)
        rc = ioctl(fd, BLKDISCARD, range);
    else
        errno = EINVAL, rc = -1;
    if (rc < 0)
        fprintf(stderr, "fill: %s %s: %s\n", argv[1], argv[4], strerror(errno));
    return rc < 0;
}
