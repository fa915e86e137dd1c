/* SPDX-License-Identifier: Apache-2.0 */
/* stage - the isolated networks of one rehearsal: where its guests meet each other as in production, and nobody else.
 *
 *     host's network        bridges: no addresses, no IP            a prober for each place
 *     tap ──moved────────▶  tap ─ b1 ─ p1 ──────────────────────── v0  10.0.0.1, dnsmasq, our checks
 *                           tap ─ b2 ─ p2 ──────────────────────── v0  10.0.0.1, …
 *
 * A *place* is a network of production, by any text (UTF-8). Two places never meet, and may use the same addresses: that is why each has a prober of
 * its own. Frames pass between plugged ports of one bridge and nowhere else, by nft rules that drop by default; nothing here has a port on the
 * host's networks. The namespaces have no name: they live in the thread's and our descriptors, so a kill -9 leaves nothing.
 *
 * A stage belongs to the thread that opened it; everything blocks, at most some seconds. From open to close that thread, and what it starts,
 * is in no network of the host's: a check that goes astray must not be answered by production. It is with the prober of the place that was
 * named last (stage_add_network, stage_enter, stage_ping, stage_connect), else in a network without addresses.
 *
 * What guests do not have here: a gateway that answers (who was configured with one hears nothing from it), names, IPv6 from a router, and a
 * source MAC other than their own. So a guest whose address is of another network than the prober's, which can be where nothing is known of it,
 * hears the prober's questions, but has no way for what it would send back, unless that leads to the link itself: its ARP alone answers then.
 * Needs root, and the programs ip, nft and dnsmasq. */
#pragma once

#include "netmap/subnet.h"

#include <glib.h>
#include <jansson.h>

typedef struct Stage Stage;

/* NULL with @error: DENIED not root, NOT_FOUND a program is missing, FAILED. The thread is where it was then. */
Stage *stage_open(GError **error);
/* The thread is back in the host's network; dnsmasq has ended; the kernel takes the networks away, with the taps, in a moment. Other threads
 * and programs that were started in them keep them: end those first. NULL is accepted. */
void stage_close(Stage *stage);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Stage, stage_close)

/* Borrowed. */
typedef struct {
    const char *place;
    /* IPv4, the prober's; NULL: nothing is known of it: 198.18.N.1/24, DHCP, and all the world is on the link */
    const char *address;
    guint prefix;           /* up to 30 */
    const char *dhcp_first; /* IPv4; NULL: DHCP answers none but hosts */
    const char *dhcp_last;
    const char *router;     /* IPv4, what DHCP tells; NULL: none. Nobody routes */
    const GPtrArray *hosts; /* of SubnetHost *, whose addresses DHCP gives to them alone; NULL: none */
} StageNetwork;

/* FALSE with @error: EXISTS that place is there already, USAGE, FAILED. */
gboolean stage_add_network(Stage *stage, const StageNetwork *network, GError **error);

/* Start dnsmasq again where somebody has ended it (a host that runs short of memory does), or a guest that is sound has no address. The thread is in
 * any network of the stage then. FALSE with @error: it cannot be. */
gboolean stage_keep_serving(Stage *stage, GError **error);

/* Move @tap from the host's network to that of the bridges, and plug it into @place's. To be called before its guest has executed an
 * instruction. What it sends from a MAC other than @mac is dropped. FALSE with @error: NOT_FOUND no such place, USAGE, FAILED; it may be
 * on the bridges' side then, where nothing passes. */
gboolean stage_plug(Stage *stage, const char *place, const char *tap, const char *mac, GError **error);

/* Borrowed. */
typedef struct {
    const char *const *addresses; /* numbers, IPv4 and IPv6, NULL at the end: production's, the outside's */
    guint16 tcp_port;             /* a refusal from there is an answer, too, so any will do */
} StageTargets;

/* Prove, before any guest runs, that nothing leads out: from what stands in each place as a guest would, plugged in as its tap is, nothing
 * answers an echo or TCP: neither @targets nor the addresses of the host's own interfaces (as of stage_open()) nor the other places' probers;
 * while the prober of its own place does, else nothing is proven. Frames with a VLAN tag or another's MAC are dropped, nothing leaks, and nobody
 * else has said anything on the bridges. Takes half a second, however many there are; the thread is in the network without addresses then.
 * {"tcp_port", "waited_ms", "leaked": 0, "places": [{"place", "guest", "prober", "silent": [address…], "left_out": [address…], "dropped":
 * {"tagged", "spoofed"}, "dhcp_answers"}]}; left_out: the prober has that address itself there. New reference. FALSE with @error: VERIFY something
 * answers, leaks or proves nothing; USAGE, FAILED. */
gboolean stage_expect_closed(Stage *stage, const StageTargets *targets, json_t **ret_proof, GError **error);

/* {"taps": [{"tap", "place", "frames", "bytes": what it sent and was let in, "dropped": {"tagged", "spoofed"}, "dhcp_answers"}],
 * "unplugged": frames dropped because they were for a port that is not plugged, "leaked": frames let through to no plugged port: 0}.
 * dhcp_answers: the guest is a DHCP server, which is heard in its own place only. New reference, or NULL with @error. */
json_t *stage_counters(Stage *stage, GError **error);

/* What each guest has said so far: [{"tap", "place", "arp", "dhcp", "nd", "ip": whether, "addresses": the IPv4 addresses that
 * it says are its own, by ARP}]. New reference, or NULL with @error. */
json_t *stage_seen(Stage *stage, GError **error);

/* Bring the thread to the prober of @place: for checks of other code's, and what is started from then on. NOT_FOUND. */
gboolean stage_enter(Stage *stage, const char *place, GError **error);

/* Does @address, a number, send an echo back, or accept a connection, within that time? @error TIMEOUT,
 * UNREACHABLE (refused, or nobody has it), NOT_FOUND no such place, USAGE. */
gboolean stage_ping(Stage *stage, const char *place, const char *address, int timeout_ms, GError **error);
gboolean stage_connect(Stage *stage, const char *place, const char *address, guint16 port, int timeout_ms,
                       GError **error);

/* Has @address, a number in IPv4, answered when the prober asked for it by ARP, within about half a minute? That is for somebody whom
 * stage_ping() or stage_connect() have just tried, and whose echo may have been dropped. */
gboolean stage_resolves(Stage *stage, const char *place, const char *address);
