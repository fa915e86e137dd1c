/* SPDX-License-Identifier: Apache-2.0 */
/* overhear - who carries frames of this card, in the network where it runs?
 *
 * Usage: overhear MAC…
 * Until it is killed it hears all links, those also that come later, in both directions. A link and a MAC are a line of standard output
 * when the MAC is first in a frame there: in an address, behind a tag, in what ARP or DHCP says. The line "listening" is first. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Of a frame: headers, ARP, and what is the client's in DHCP. */
#define HEARD_BYTES 128
#define MACS_MAX 16
#define TOLD_MAX 256

typedef struct {
    int link;
    const char *mac;
} Told;

static Told told[TOLD_MAX];
static int told_n;

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "overhear: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void tell(int link, const char *mac)
{
    char name[IF_NAMESIZE];

    for (int i = 0; i < told_n; i++)
        if (told[i].link == link && told[i].mac == mac)
            return;
    if (told_n < TOLD_MAX)
        told[told_n++] = (Told){.link = link, .mac = mac};
    printf("%s %s\n", if_indextoname((unsigned)link, name) ? name : "gone", mac);
}

int main(int argc, char **argv)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)), room = 32 << 20;
    struct ether_addr macs[MACS_MAX];
    char frame[HEARD_BYTES];
    int n = argc - 1;

    if (n < 1 || n > MACS_MAX) {
        fprintf(stderr, "usage: overhear MAC…\n");
        return 2;
    }
    for (int i = 0; i < n; i++)
        if (!ether_aton_r(argv[1 + i], &macs[i])) {
            fprintf(stderr, "overhear: '%s' is not a MAC address\n", argv[1 + i]);
            return 2;
        }
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)
        die("cannot listen");
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("listening");
    for (;;) {
        struct sockaddr_ll from = {0};
        socklen_t from_len = sizeof from;
        ssize_t len = recvfrom(fd, frame, sizeof frame, 0, (struct sockaddr *)&from, &from_len);

        if (len < 0 && errno != ENETDOWN && errno != EINTR)
            die("cannot hear");
        for (int i = 0; len > 0 && i < n; i++)
            if (memmem(frame, (size_t)len, &macs[i], sizeof macs[i]))
                tell(from.sll_ifindex, argv[1 + i]);
    }
}
