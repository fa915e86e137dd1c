/* SPDX-License-Identifier: Apache-2.0 */
/* wire - a long cable: carries frames between two links, each some time later.
 *
 * Usage: wire LINK LINK DELAY_MS
 * For kernels without netem. Frames keep their order; one that finds the cable
 * full (BYTES_MAX under way in its direction) is lost, as in any queue. The
 * kernel's note about unfinished checksums and segmentation travels with each
 * frame, so that the hosts at the ends need not know. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX (sizeof(struct virtio_net_hdr) + 65536 + 64)
#define BYTES_MAX (64u << 20)

typedef struct Frame {
    struct Frame *next;
    uint64_t due_ns;
    size_t len;
    char data[];
} Frame;

/* One direction. */
typedef struct {
    int from, to;
    Frame *first, **end;
    size_t bytes;
} Lane;

static void die(const char *what)
{
    fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static int link_open(const char *name)
{
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    struct packet_mreq all = {.mr_type = PACKET_MR_PROMISC};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, room = 8 << 20;

    at.sll_ifindex = all.mr_ifindex = (int)if_nametoindex(name);
    if (fd < 0 || at.sll_ifindex == 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof at) != 0)
        die(name);
    return fd;
}

static void lane_take(Lane *lane, uint64_t delay_ns)
{
    char data[FRAME_MAX];
    ssize_t len;

    while ((len = recv(lane->from, data, sizeof data, 0)) > 0) {
        Frame *frame = lane->bytes + (size_t)len > BYTES_MAX ? NULL : malloc(sizeof *frame + (size_t)len);

        if (!frame)
            continue;
        frame->next = NULL;
        frame->due_ns = now_ns() + delay_ns;
        frame->len = (size_t)len;
        memcpy(frame->data, data, (size_t)len);
        *lane->end = frame;
        lane->end = &frame->next;
        lane->bytes += frame->len;
    }
}

/* A link that is down or full loses the frame: nobody is told. */
static void lane_give(Lane *lane)
{
    uint64_t now = now_ns();

    while (lane->first && lane->first->due_ns <= now) {
        Frame *frame = lane->first;

        (void)!send(lane->to, frame->data, frame->len, 0);
        lane->first = frame->next;
        if (!lane->first)
            lane->end = &lane->first;
        lane->bytes -= frame->len;
        free(frame);
    }
}

static struct timespec *until_due(const Lane *lanes, struct timespec *t)
{
    uint64_t now = now_ns(), due = UINT64_MAX;

    for (int i = 0; i < 2; i++)
        if (lanes[i].first && lanes[i].first->due_ns < due)
            due = lanes[i].first->due_ns;
    if (due == UINT64_MAX)
        return NULL;
    due = due > now ? due - now : 0;
    *t = (struct timespec){.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)};
    return t;
}

int main(int argc, char **argv)
{
    Lane lanes[2] = {0};
    uint64_t delay_ns;
    int a, b;

    if (argc != 4) {
        fprintf(stderr, "usage: wire LINK LINK DELAY_MS\n");
        return 2;
    }
    delay_ns = (uint64_t)(strtod(argv[3], NULL) * 1e6);
    a = link_open(argv[1]);
    b = link_open(argv[2]);
    lanes[0] = (Lane){.from = a, .to = b, .end = &lanes[0].first};
    lanes[1] = (Lane){.from = b, .to = a, .end = &lanes[1].first};
    for (;;) {
        struct pollfd fds[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
        struct timespec t;

        if (ppoll(fds, 2, until_due(lanes, &t), NULL) < 0 && errno != EINTR)
            die("waiting");
        for (int i = 0; i < 2; i++) {
            if (fds[i].revents & POLLERR) {
                fprintf(stderr, "wire: %s is gone\n", argv[1 + i]);
                return 1;
            }
            lane_take(&lanes[i], delay_ns);
            lane_give(&lanes[i]);
        }
    }
}
