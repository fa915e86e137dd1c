/* SPDX-License-Identifier: Apache-2.0 */
/* receiver - hears what guests acknowledge and stamps it with its own clock.
 *
 * Usage: receiver FOLDER
 * One on every host of the lab, on UDP port RECORD_PORT. FOLDER/UUID gets a
 * line of fixed length for each record heard: number, nanoseconds since the
 * epoch, the guest's boot. Fixed, so that its end and any moment are found
 * without reading it whole. */
#include "guest/record.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static bool stamp_append(const char *folder, const RecordAck *ack, uint64_t at_ns)
{
    char path[PATH_MAX], line[64], uuid[37];
    int fd, len;
    bool done;

    record_uuid_format(ack->guest, uuid);
    snprintf(path, sizeof path, "%s/%s", folder, uuid);
    len = snprintf(line, sizeof line, "%015" PRIu64 " %020" PRIu64 " %016" PRIx64 "\n", ack->sequence, at_ns,
                   ack->boot);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0)
        return false;
    done = write(fd, line, (size_t)len) == len;
    close(fd);
    return done;
}

int main(int argc, char **argv)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(RECORD_PORT)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (argc != 2) {
        fprintf(stderr, "usage: receiver FOLDER\n");
        return 2;
    }
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any) < 0) {
        fprintf(stderr, "receiver: UDP port %d: %s\n", RECORD_PORT, strerror(errno));
        return 1;
    }
    for (;;) {
        RecordAck ack;
        ssize_t len = recv(fd, &ack, sizeof ack, 0);
        uint64_t at_ns = now_ns();

        if (len != sizeof ack || !record_ack_valid(&ack))
            continue;
        if (!stamp_append(argv[1], &ack, at_ns)) {
            fprintf(stderr, "receiver: %s: %s\n", argv[1], strerror(errno));
            return 1;
        }
    }
}
