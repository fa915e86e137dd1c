/* SPDX-License-Identifier: Apache-2.0 */
/* frames - every frame of a guest that arrives, and when.
 *
 * Usage: frames MAC FILE
 * Until whoever started it ends it hears all links of the network where it runs. A line is appended to FILE for each frame with that source which a link takes
 * in: nanoseconds since the epoch by the kernel, the link, and the number of the record that it acknowledges, or "-". A guest's tap takes in
 * what the guest sends; the bridge behind it what has passed the rules between them, since every link that is there at the beginning is made to take in
 * what is meant for others, too. The line "listening" on standard output is first. */
#include "examples/lab/guest/record.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "frames: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Of a bridge only this makes it take in what is meant for others. */
static void hear_everything(int fd)
{
    struct if_nameindex *links = if_nameindex();

    if (!links)
        die("cannot list the links");
    for (int i = 0; links[i].if_index != 0; i++) {
        struct packet_mreq all = {.mr_ifindex = (int)links[i].if_index, .mr_type = PACKET_MR_PROMISC};

        if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0)
            die(links[i].if_name);
    }
    if_freenameindex(links);
}

static int hear(void)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)), on = 1, room = 32 << 20;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0)
        die("cannot listen");
    hear_everything(fd);
    return fd;
}

/* Of UDP without options before it, as guests send it; 0: none. */
static uint64_t number_of(const char *frame, size_t len)
{
    struct ether_header ether;
    struct udphdr udp;
    struct iphdr ip;
    RecordAck ack;
    const size_t at_ip = sizeof ether, at_udp = at_ip + sizeof ip, at_ack = at_udp + sizeof udp;

    if (len < at_ack + sizeof ack)
        return 0;
    memcpy(&ether, frame, sizeof ether);
    memcpy(&ip, frame + at_ip, sizeof ip);
    memcpy(&udp, frame + at_udp, sizeof udp);
    memcpy(&ack, frame + at_ack, sizeof ack);
    if (ether.ether_type != htons(ETHERTYPE_IP) || ip.ihl != 5 || ip.protocol != IPPROTO_UDP ||
        udp.dest != htons(RECORD_PORT) || !record_ack_valid(&ack))
        return 0;
    return ack.sequence;
}

static void tell(int fd, const char *frame, size_t len, int link, const struct timespec *at)
{
    char name[IF_NAMESIZE], number[24] = "-", line[80];
    uint64_t n = number_of(frame, len);
    int line_len;

    if (n)
        snprintf(number, sizeof number, "%" PRIu64, n);
    line_len = snprintf(line, sizeof line, "%010lld%09ld %s %s\n", (long long)at->tv_sec, at->tv_nsec,
                        if_indextoname((unsigned)link, name) ? name : "gone", number);
    if (write(fd, line, (size_t)line_len) != line_len)
        die("cannot write");
}

static struct timespec time_of(struct msghdr *message)
{
    struct timespec at = {0};

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS)
            memcpy(&at, CMSG_DATA(c), sizeof at);
    return at;
}

int main(int argc, char **argv)
{
    struct ether_addr mac;
    int fd, out;

    if (argc != 3 || !ether_aton_r(argv[1], &mac)) {
        fprintf(stderr, "usage: frames MAC FILE\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    out = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (out < 0)
        die(argv[2]);
    fd = hear();
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("listening");
    for (;;) {
        char frame[2048], control[128];
        struct sockaddr_ll from = {0};
        struct iovec body = {frame, sizeof frame};
        struct msghdr message = {.msg_name = &from,
                                 .msg_namelen = sizeof from,
                                 .msg_iov = &body,
                                 .msg_iovlen = 1,
                                 .msg_control = control,
                                 .msg_controllen = sizeof control};
        ssize_t len = recvmsg(fd, &message, 0);
        struct timespec at;

        if (len < 0 && errno != ENETDOWN && errno != EINTR)
            die("cannot hear");
        if (len < (ssize_t)sizeof(struct ether_header) || memcmp(frame + ETH_ALEN, &mac, sizeof mac) != 0)
            continue;
        at = time_of(&message);
        tell(out, frame, (size_t)len, from.sll_ifindex, &at);
    }
}
