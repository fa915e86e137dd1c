/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: in each place one stands who is plugged in as a guest's tap is; the prober answers him at once, to an echo and to TCP, in IPv4 and IPv6; then he
 * sends frames that must be dropped, and asks everybody else, all at a time, and nobody says anything. Failures: whatever comes back, be it a refusal, is an
 * answer; and what could not be sent proves nothing. */
#include "vmconnect/base/error.h"
#include "vmconnect/rehearse/reach.h"
#include "vmconnect/rehearse/stage_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SILENCE_MS 500
/* s until an address that nobody has becomes an error, which would look like an answer; otherwise it is 3 */
#define PATIENT "20"
#define CONTROL_MS 3000
#define FRAME_BYTES 60

/* Who stands for a guest in one place. */
typedef struct {
    const Stage *stage;
    const StagePlace *place;
    int net_fd;
    int listener; /* the prober's */
    guint16 port;
    char *address;
    json_t *silent;
    json_t *left_out;
} Stand;

typedef struct {
    Reach reach; /* first, so that an array of these is one of those */
    const Stand *from;
    const char *address; /* of the array that is asked for */
} Try;

static void stand_free(gpointer data)
{
    Stand *w = data;
    g_autofree char *gone = g_strdup_printf("link del g%u\n", w->place->number);
    g_autofree char *port = g_strdup_printf("g%u", w->place->number), *mac = stage_mac(w->place, 2);

    /* What cannot be taken away goes with the stage. */
    if (w->net_fd >= 0) {
        stage_ip(w->stage->bridges_fd, gone, NULL);
        stage_rules_unplug(w->stage, w->place, port, mac, NULL);
        close(w->net_fd);
    }
    if (w->listener >= 0)
        close(w->listener);
    g_free(w->address);
    json_decref(w->silent);
    json_decref(w->left_out);
    g_free(w);
}

static void try_free(gpointer data)
{
    Try *t = data;

    reach_clear(&t->reach);
    g_free(t);
}

/* --- standing there -------------------------------------------------------- */

static gboolean has(const GPtrArray *texts, const char *text)
{
    return g_ptr_array_find_with_equal_func((GPtrArray *)texts, text, g_str_equal, NULL);
}

/* One of the place's addresses that is nobody's, as far as we know. */
static char *choose_address(const StagePlace *p, const GPtrArray *taken, GError **error)
{
    guint32 mask = ~(guint32)0 << (32 - p->prefix), prober, all;
    struct in_addr a;
    char text[INET_ADDRSTRLEN];

    inet_pton(AF_INET, p->address, &a);
    prober = ntohl(a.s_addr);
    all = prober | ~mask;
    for (guint32 number = all - 1; number > (prober & mask); number--) {
        a.s_addr = htonl(number);
        inet_ntop(AF_INET, &a, text, sizeof(text));
        if (number != prober && !has(taken, text))
            return g_strdup(text);
    }
    g_set_error(error, US_ERROR, US_ERROR_VERIFY,
                "network '%s' has no free address to look from, so its isolation cannot be proven", p->place);
    return NULL;
}

/* In the prober's network: what the kernel accepts without us. */
static gboolean listen_there(Stand *w, GError **error)
{
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6};
    struct sockaddr_in any4 = {.sin_family = AF_INET};
    gboolean v6 = w->stage->ipv6;
    socklen_t len = sizeof(any6);

    stage_net_enter(w->place->prober_fd);
    w->listener = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (w->listener < 0 ||
        bind(w->listener, v6 ? (struct sockaddr *)&any6 : (struct sockaddr *)&any4,
             v6 ? sizeof(any6) : sizeof(any4)) != 0 ||
        listen(w->listener, 1) != 0 || getsockname(w->listener, (struct sockaddr *)&any6, &len) != 0)
        return us_error_errno(error, errno, "cannot listen in '%s'", w->place->place);
    w->port = ntohs(any6.sin6_port); /* where IPv4 has it, too */
    return TRUE;
}

/* All the world is asked for on the bridge itself, so that a host or a router that hears it there answers. */
static gboolean plug_in(const Stand *w, GError **error)
{
    const StagePlace *p = w->place;
    g_autofree char *port = g_strdup_printf("g%u", p->number), *net = stage_net_path(w->net_fd);
    g_autofree char *mac = stage_mac(p, 2), *v6 = stage_address6(p, 2);
    g_autofree char *bridge = g_strdup_printf("link add %s type veth peer name eth0 address %s netns %s\n"
                                              "link set %s master b%u up\n",
                                              port, mac, net, port, p->number);
    g_autofree char *v6_lines = g_strdup_printf("addr add %s/64 nodad dev eth0\n"
                                                "route add ::/0 dev eth0\n",
                                                v6);
    g_autofree char *guest = g_strdup_printf("link set eth0 up\n"
                                             "addr add %s/%u brd + dev eth0\n"
                                             "route add default dev eth0\n"
                                             "%s",
                                             w->address, p->prefix, w->stage->ipv6 ? v6_lines : "");

    return stage_rules_plug(w->stage, p, port, mac, error) && stage_ip(w->stage->bridges_fd, bridge, error) &&
           stage_ip(w->net_fd, guest, error) &&
           stage_net_set("ipv4/neigh/eth0/mcast_solicit", PATIENT, error) &&
           stage_net_set("ipv6/neigh/eth0/mcast_solicit", PATIENT, error);
}

static Stand *stand_new(const Stage *s, const StagePlace *p, const GPtrArray *taken, GError **error)
{
    Stand *w = g_new0(Stand, 1);

    w->stage = s;
    w->place = p;
    w->net_fd = w->listener = -1;
    w->silent = json_array();
    w->left_out = json_array();
    w->address = choose_address(p, taken, error);
    if (w->address && listen_there(w, error)) {
        w->net_fd = stage_net_new(TRUE, error);
        if (w->net_fd >= 0 && plug_in(w, error))
            return w;
    }
    stand_free(w);
    return NULL;
}

/* --- asking ---------------------------------------------------------------- */

static gboolean try_begin(GPtrArray *tries, const Stand *from, const char *address, guint16 port,
                          GError **error)
{
    Try *t = g_new0(Try, 1);

    t->from = from;
    t->address = address;
    g_ptr_array_add(tries, t);
    return reach_begin(&t->reach, address, port, error);
}

static gboolean prober_answers(const Stand *w, GError **error)
{
    g_autoptr(GPtrArray) tries = g_ptr_array_new_with_free_func(try_free);
    g_autofree char *v6 = stage_address6(w->place, 1);

    if (!try_begin(tries, w, w->place->address, 0, error) ||
        !try_begin(tries, w, w->place->address, w->port, error) ||
        (w->stage->ipv6 && (!try_begin(tries, w, v6, 0, error) || !try_begin(tries, w, v6, w->port, error))))
        return FALSE;
    reach_wait((Reach *const *)tries->pdata, tries->len, CONTROL_MS);
    for (guint i = 0; i < tries->len; i++) {
        const Try *t = tries->pdata[i];

        if (t->reach.answered)
            continue;
        g_set_error(
            error, US_ERROR, US_ERROR_VERIFY,
            "network '%s': its own prober does not answer %s at %s (%s), so silence elsewhere would prove "
            "nothing",
            w->place->place, t->reach.ping ? "an echo" : "TCP", t->address,
            t->reach.why ? g_strerror(t->reach.why) : "nothing came back");
        return FALSE;
    }
    return TRUE;
}

/* To all: Ethernet, then what the three have in common with what is forbidden, or counted. */
static gboolean send_frames(const Stand *w, GError **error)
{
    guint8 tagged[FRAME_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0x75, 0x73,
                                  0,    0,    2,    0x81, 0,    0,    1, 8,    6};
    guint8 spoofed[FRAME_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0x75, 0x73, 1, 0, 2, 0x88, 0xb5};
    /* IPv4 of 46 bytes, UDP 67 to 68. */
    guint8 answer[FRAME_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0x75, 0x73, 0,  0, 2, 8,   0,
                                  0x45, 0,    0,    46,   0,    0,    0, 0,    64,   17, 0, 0, 198, 18,
                                  0,    1,    0xff, 0xff, 0xff, 0xff, 0, 67,   0,    68, 0, 26};
    guint8 *frames[] = {tagged, spoofed, answer};
    struct sockaddr_ll to = {
        .sll_family = AF_PACKET, .sll_halen = ETH_ALEN, .sll_addr = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    gboolean ok = fd >= 0;

    to.sll_ifindex = (int)if_nametoindex("eth0");
    for (guint i = 0; ok && i < G_N_ELEMENTS(frames); i++) {
        frames[i][10] = (guint8)w->place->number;
        ok = sendto(fd, frames[i], FRAME_BYTES, 0, (struct sockaddr *)&to, sizeof(to)) == FRAME_BYTES;
    }
    if (!ok)
        us_error_errno(error, errno, "network '%s': cannot send a frame", w->place->place);
    if (fd >= 0)
        close(fd);
    return ok;
}

static gboolean ask_others(const Stand *w, const GPtrArray *addresses, guint16 port, GPtrArray *tries,
                           GError **error)
{
    for (guint i = 0; i < addresses->len; i++) {
        const char *address = addresses->pdata[i];

        if (!w->stage->ipv6 && strchr(address, ':'))
            continue;
        if (g_str_equal(address, w->place->address)) {
            json_array_append_new(w->left_out, json_string(address));
            continue;
        }
        if (!try_begin(tries, w, address, 0, error) || !try_begin(tries, w, address, port, error))
            return FALSE;
        json_array_append_new(w->silent, json_string(address));
    }
    return TRUE;
}

/* --- what came of it ------------------------------------------------------- */

static gboolean all_silent(const GPtrArray *tries, GError **error)
{
    for (guint i = 0; i < tries->len; i++) {
        const Try *t = tries->pdata[i];

        if (!t->reach.answered && !t->reach.why)
            continue;
        g_set_error(error, US_ERROR, US_ERROR_VERIFY,
                    "network '%s' is not isolated, no guest may start on it: %s answers %s%s%s; report this",
                    t->from->place->place, t->address, t->reach.ping ? "an echo" : "TCP",
                    t->reach.why ? ": " : "", t->reach.why ? g_strerror(t->reach.why) : "");
        return FALSE;
    }
    return TRUE;
}

/* What was sent must have been seen, or the rules are not what we think. */
static json_t *told(const Stand *w, const json_t *list, GError **error)
{
    g_autofree char *port = g_strdup_printf("g%u", w->place->number);
    json_int_t tagged = stage_rules_frames(list, "tagged", port),
               spoofed = stage_rules_frames(list, "spoofed", port);
    json_int_t answers = stage_rules_frames(list, "dhcp_answers", port);

    if (!tagged || !spoofed || !answers) {
        g_set_error(error, US_ERROR, US_ERROR_VERIFY,
                    "network '%s' is not proven to be isolated: its rules did not see %s", w->place->place,
                    !tagged    ? "a frame with a VLAN tag"
                    : !spoofed ? "a frame of another's MAC"
                               : "an answer of DHCP");
        return NULL;
    }
    return json_pack("{s:s, s:s, s:s, s:O, s:O, s:{s:I, s:I}, s:I}", "place", w->place->place, "guest",
                     w->address, "prober", w->place->address, "silent", w->silent, "left_out", w->left_out,
                     "dropped", "tagged", tagged, "spoofed", spoofed, "dhcp_answers", answers);
}

/* Frames that came from neither who stands there nor the probers. Guests are silent yet; whoever it is, he has heard of us. */
static json_int_t strangers(const GPtrArray *stands, const json_t *list)
{
    static const char *const sets[] = {"plugged", "tagged", "spoofed"};
    json_int_t n = 0;

    for (guint i = 0; i < G_N_ELEMENTS(sets); i++) {
        n += stage_rules_frames(list, sets[i], NULL);
        for (guint k = 0; k < stands->len; k++) {
            const Stand *w = stands->pdata[k];
            g_autofree char *guest = g_strdup_printf("g%u", w->place->number);
            g_autofree char *prober = g_strdup_printf("p%u", w->place->number);

            n -= stage_rules_frames(list, sets[i], guest) + stage_rules_frames(list, sets[i], prober);
        }
    }
    return n;
}

static json_t *proof(const Stage *s, const GPtrArray *stands, guint16 port, GError **error)
{
    json_auto_t *list = stage_rules_list(s, error), *places = json_array();
    json_int_t leaked, strange;

    if (!list)
        return NULL;
    leaked = stage_rules_count(list, "leaked");
    strange = strangers(stands, list);
    if (leaked || strange) {
        g_set_error(error, US_ERROR, US_ERROR_VERIFY,
                    "the stage is not isolated, no guest may start on it: %" JSON_INTEGER_FORMAT
                    " frames went out, %" JSON_INTEGER_FORMAT " came in from elsewhere; report this",
                    leaked, strange);
        return NULL;
    }
    for (guint i = 0; i < stands->len; i++) {
        json_t *one = told(stands->pdata[i], list, error);

        if (!one)
            return NULL;
        json_array_append_new(places, one);
    }
    return json_pack("{s:i, s:i, s:I, s:O}", "tcp_port", port, "waited_ms", SILENCE_MS, "leaked", leaked,
                     "places", places);
}

/* The caller's, the host's, and the probers'. */
static GPtrArray *gather(const Stage *s, const StageTargets *targets, GError **error)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(g_free);

    for (const char *const *a = targets->addresses; *a; a++) {
        g_autofree char *plain = reach_address(*a, error);

        if (!plain)
            return NULL;
        if (!has(all, plain))
            g_ptr_array_add(all, g_steal_pointer(&plain));
    }
    for (guint i = 0; i < s->host_addresses->len; i++)
        if (!has(all, s->host_addresses->pdata[i]))
            g_ptr_array_add(all, g_strdup(s->host_addresses->pdata[i]));
    for (guint i = 0; i < s->places->len; i++) {
        const StagePlace *p = s->places->pdata[i];

        if (!has(all, p->address))
            g_ptr_array_add(all, g_strdup(p->address));
    }
    return g_steal_pointer(&all);
}

static json_t *prove(const Stage *s, const GPtrArray *addresses, guint16 port, GError **error)
{
    g_autoptr(GPtrArray) stands = g_ptr_array_new_with_free_func(stand_free);
    g_autoptr(GPtrArray) tries = g_ptr_array_new_with_free_func(try_free);

    for (guint i = 0; i < s->places->len; i++) {
        Stand *w = stand_new(s, s->places->pdata[i], addresses, error);

        if (!w)
            return NULL;
        g_ptr_array_add(stands, w);
    }
    for (guint i = 0; i < stands->len; i++) {
        const Stand *w = stands->pdata[i];

        stage_net_enter(w->net_fd);
        if (!prober_answers(w, error) || !send_frames(w, error))
            return NULL;
    }
    for (guint i = 0; i < stands->len; i++) {
        const Stand *w = stands->pdata[i];

        stage_net_enter(w->net_fd);
        if (!ask_others(w, addresses, port, tries, error))
            return NULL;
    }
    reach_wait((Reach *const *)tries->pdata, tries->len, SILENCE_MS);
    return all_silent(tries, error) ? proof(s, stands, port, error) : NULL;
}

gboolean stage_expect_closed(Stage *s, const StageTargets *targets, json_t **ret_proof, GError **error)
{
    g_autoptr(GPtrArray) addresses = NULL;
    json_t *proven = NULL;

    if (targets->tcp_port == 0) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "there is no TCP port 0");
        return FALSE;
    }
    addresses = gather(s, targets, error);
    if (addresses)
        proven = prove(s, addresses, targets->tcp_port, error);
    stage_net_enter(s->bridges_fd);
    if (proven)
        *ret_proof = proven;
    return proven != NULL;
}
