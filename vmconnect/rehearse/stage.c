/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: a network for the bridges, all dropped there; for each place a bridge, a prober's network, a veth between them; taps are moved in
 * and plugged. Failures: what was half made has no way out, and goes with the stage. */
#include "vmconnect/rehearse/stage.h"

#include "vmconnect/base/error.h"
#include "vmconnect/rehearse/reach.h"
#include "vmconnect/rehearse/stage_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define IP_MS 10000
#define NEIGH_BYTES 4096
#define DHCP_UP_MS 5000
#define DHCP_LOOK_MS 5
#define PLACES_MAX 250 /* N of 198.18.N.0/24 */
#define PREFIX_MAX 30  /* the prober, and somebody */

/* --- networks -------------------------------------------------------------- */

static int net_here(GError **error)
{
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        us_error_errno(error, errno, "cannot open this thread's network");
    return fd;
}

/* What a kernel without IPv6 or br_netfilter lacks need not be turned off. */
gboolean stage_net_set(const char *name, const char *value, GError **error)
{
    g_autofree char *path = g_strconcat("/proc/sys/net/", name, NULL);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    gboolean ok = fd >= 0 ? write(fd, value, strlen(value)) >= 0 : errno == ENOENT;

    if (!ok)
        us_error_errno(error, errno, "cannot write %s", path);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* Forwarding is as the host has it otherwise; nf-call would put bridged frames before rules for IP, too. Echoes of ours need the group. */
static gboolean set_up(gboolean speaks_ipv6, GError **error)
{
    const char *mute = speaks_ipv6 ? "0" : "1";

    return stage_net_set("ipv4/ip_forward", "0", error) &&
           stage_net_set("ipv6/conf/all/forwarding", "0", error) &&
           stage_net_set("ipv6/conf/all/disable_ipv6", mute, error) &&
           stage_net_set("ipv6/conf/default/disable_ipv6", mute, error) &&
           stage_net_set("ipv6/conf/default/accept_ra", "0", error) &&
           stage_net_set("bridge/bridge-nf-call-iptables", "0", error) &&
           stage_net_set("bridge/bridge-nf-call-ip6tables", "0", error) &&
           stage_net_set("bridge/bridge-nf-call-arptables", "0", error) &&
           stage_net_set("ipv4/ping_group_range", "0 0", error);
}

int stage_net_new(gboolean speaks_ipv6, GError **error)
{
    int fd;

    if (unshare(CLONE_NEWNET) != 0) {
        us_error_errno(error, errno, "cannot make an isolated network");
        return -1;
    }
    fd = net_here(error);
    if (fd >= 0 && !set_up(speaks_ipv6, error)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* To a network that we hold open; root may. */
void stage_net_enter(int net_fd)
{
    int rc = setns(net_fd, CLONE_NEWNET);

    g_assert(rc == 0);
}

char *stage_net_path(int net_fd)
{
    return g_strdup_printf("/proc/%d/fd/%d", (int)getpid(), net_fd);
}

gboolean stage_ip(int net_fd, const char *commands, GError **error)
{
    const char *argv[] = {"ip", "-batch", "/proc/self/fd/3", NULL};
    int fd = memfd_create("ip", MFD_CLOEXEC);
    gsize len = strlen(commands);
    gboolean ok;

    if (fd < 0 || write(fd, commands, len) != (ssize_t)len)
        ok = us_error_errno(error, errno, "cannot tell ip what to do");
    else
        ok = process_run_spec(
            &(ProcessSpec){.argv = argv, .pass_fd = fd, .net_fd = net_fd, .die_with_thread = TRUE}, IP_MS, -1,
            0, NULL, error);
    if (fd >= 0)
        close(fd);
    return ok;
}

char *stage_mac(const StagePlace *place, guint who)
{
    return g_strdup_printf("02:75:73:00:%02x:%02x", place->number, who);
}

char *stage_address6(const StagePlace *place, guint who)
{
    return g_strdup_printf("fd75:7300:0:%x::%x", place->number, who);
}

/* --- open and close -------------------------------------------------------- */

/* Link-local ones mean something with an interface only. */
static char *address_text(const struct ifaddrs *a)
{
    char text[INET6_ADDRSTRLEN];
    const struct in6_addr *v6;

    if (!a->ifa_addr || (a->ifa_flags & IFF_LOOPBACK))
        return NULL;
    if (a->ifa_addr->sa_family == AF_INET)
        return g_strdup(inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a->ifa_addr)->sin_addr,
                                  text, sizeof(text)));
    if (a->ifa_addr->sa_family != AF_INET6)
        return NULL;
    v6 = &((const struct sockaddr_in6 *)(const void *)a->ifa_addr)->sin6_addr;
    return IN6_IS_ADDR_LINKLOCAL(v6) ? NULL : g_strdup(inet_ntop(AF_INET6, v6, text, sizeof(text)));
}

static gboolean find_host_addresses(Stage *s, GError **error)
{
    struct ifaddrs *all;

    if (getifaddrs(&all) != 0)
        return us_error_errno(error, errno, "cannot list this host's addresses");
    for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
        char *text = address_text(a);

        if (text)
            g_ptr_array_add(s->host_addresses, text);
    }
    freeifaddrs(all);
    return TRUE;
}

static void place_free(gpointer data)
{
    StagePlace *p = data;

    process_free(p->dhcp);
    if (p->prober_fd >= 0)
        close(p->prober_fd);
    g_free(p->place);
    g_free(p->address);
    g_strfreev(p->dhcp_words);
    g_free(p);
}

static void tap_free(gpointer data)
{
    StageTap *t = data;

    g_free(t->tap);
    g_free(t);
}

Stage *stage_open(GError **error)
{
    g_autoptr(Stage) s = g_new0(Stage, 1);

    s->bridges_fd = -1;
    s->ipv6 = access("/proc/sys/net/ipv6", F_OK) == 0;
    s->host_addresses = g_ptr_array_new_with_free_func(g_free);
    s->places = g_ptr_array_new_with_free_func(place_free);
    s->taps = g_ptr_array_new_with_free_func(tap_free);
    s->host_fd = net_here(error);
    if (s->host_fd < 0 || !find_host_addresses(s, error))
        return NULL;
    s->bridges_fd = stage_net_new(FALSE, error);
    if (s->bridges_fd < 0 || !stage_rules_begin(s, error))
        return NULL;
    return g_steal_pointer(&s);
}

void stage_close(Stage *s)
{
    if (!s)
        return;
    g_ptr_array_unref(s->taps);
    g_ptr_array_unref(s->places);
    g_ptr_array_unref(s->host_addresses);
    if (s->bridges_fd >= 0)
        close(s->bridges_fd);
    if (s->host_fd >= 0) {
        stage_net_enter(s->host_fd);
        close(s->host_fd);
    }
    g_free(s);
}

/* --- places ---------------------------------------------------------------- */

static StagePlace *find_place(const Stage *s, const char *place)
{
    for (guint i = 0; i < s->places->len; i++) {
        StagePlace *p = s->places->pdata[i];

        if (g_str_equal(p->place, place))
            return p;
    }
    return NULL;
}

static StagePlace *need_place(const Stage *s, const char *place, GError **error)
{
    StagePlace *p = find_place(s, place);

    if (!p)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "the stage has no network '%s'", place);
    return p;
}

static gboolean is_ipv4(const char *text, struct in_addr *ret_a)
{
    return inet_pton(AF_INET, text, ret_a) == 1;
}

/* dnsmasq would only not offer it. */
static gboolean is_inside(const StageNetwork *n, const char *text)
{
    struct in_addr own, a;

    return text && n->address && is_ipv4(n->address, &own) && is_ipv4(text, &a) &&
           (ntohl(own.s_addr) ^ ntohl(a.s_addr)) >> (32 - n->prefix) == 0;
}

static gboolean check_network(const StageNetwork *n, GError **error)
{
    struct in_addr a;
    const char *wrong = NULL;

    if (n->address && !is_ipv4(n->address, &a))
        wrong = "its address";
    else if (n->address && (n->prefix == 0 || n->prefix > PREFIX_MAX))
        wrong = "its prefix";
    else if (n->dhcp_first && (!is_inside(n, n->dhcp_first) || !is_inside(n, n->dhcp_last)))
        wrong = "its DHCP range";
    else if (n->router && !is_ipv4(n->router, &a))
        wrong = "its router";
    if (wrong)
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "network '%s' cannot be staged: %s is not usable",
                    n->place, wrong);
    return !wrong;
}

/* The bridge and its end of the prober's veth; then that one's other end. Where nothing is known any address that a guest says is on the link;
 * where it is, one that is none of that network's is a mistake, which must be seen. */
static gboolean lay(const Stage *s, const StagePlace *p, GError **error)
{
    g_autofree char *mac = stage_mac(p, 1), *net = stage_net_path(p->prober_fd), *v6 = stage_address6(p, 1);
    g_autofree char *bridge =
        g_strdup_printf("link add b%u type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n"
                        "link add p%u type veth peer name v0 address %s netns %s\n"
                        "link set p%u master b%u up\n"
                        "link set b%u up\n",
                        p->number, p->number, mac, net, p->number, p->number, p->number);
    g_autofree char *v6_line = s->ipv6 ? g_strdup_printf("addr add %s/64 nodad dev v0\n", v6) : g_strdup("");
    g_autofree char *prober =
        g_strdup_printf("addr add %s/%u brd + dev v0\n"
                        "%s"
                        "link set lo up\n"
                        "link set v0 up\n"
                        "%s",
                        p->address, p->prefix, v6_line, p->known ? "" : "route add default dev v0\n");

    return stage_ip(s->bridges_fd, bridge, error) && stage_ip(p->prober_fd, prober, error) &&
           stage_rules_add_place(s, p, error);
}

/* UDP 67 of the network that this thread is in. */
static gboolean dhcp_listens(void)
{
    g_autofree char *sockets = NULL;

    return g_file_get_contents("/proc/thread-self/net/udp", &sockets, NULL, NULL) &&
           strstr(sockets, ":0043 ");
}

static gboolean dhcp_await(Process *dhcp, GError **error)
{
    for (int ms = 0; ms < DHCP_UP_MS; ms += DHCP_LOOK_MS) {
        if (process_wait(dhcp, DHCP_LOOK_MS)) {
            g_set_error(error, US_ERROR, US_ERROR_FAILED, "dnsmasq %s: %s", process_outcome(dhcp),
                        process_stderr(dhcp));
            return FALSE;
        }
        if (dhcp_listens())
            return TRUE;
    }
    g_set_error(error, US_ERROR, US_ERROR_TIMEOUT, "dnsmasq does not open its port");
    return FALSE;
}

/* What it gives to whom; NULL: nobody answers DHCP. A range is said in any case: it is how dnsmasq knows the network. */
static GStrv dhcp_words(const StagePlace *p, const StageNetwork *n)
{
    g_autoptr(GStrvBuilder) words = g_strv_builder_new();
    g_autofree char *router =
        n->router ? g_strdup_printf("--dhcp-option=3,%s", n->router) : g_strdup("--dhcp-option=3");
    g_autofree char *range = NULL;

    if (!n->address)
        range = g_strdup_printf("--dhcp-range=198.18.%u.10,198.18.%u.250,1h", p->number, p->number);
    else if (n->dhcp_first)
        range = g_strdup_printf("--dhcp-range=%s,%s,1h", n->dhcp_first, n->dhcp_last);
    else if (n->hosts)
        range = g_strdup_printf("--dhcp-range=%s,static", n->address);
    else
        return NULL;
    g_strv_builder_add_many(words, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root",
                            "--group=root", "--port=0", "--interface=v0", "--bind-interfaces", "--no-hosts",
                            "--no-resolv", "--no-ping", "--dhcp-authoritative", "--leasefile-ro",
                            "--pid-file=", "--log-facility=-", "--dhcp-option=6", router, range, NULL);
    for (guint i = 0; n->hosts && i < n->hosts->len; i++) {
        const SubnetHost *host = n->hosts->pdata[i];
        g_autofree char *word = g_strdup_printf("--dhcp-host=%s,%s", host->mac, host->address);

        g_strv_builder_add(words, word);
    }
    return g_strv_builder_end(words);
}

/* As root, because a change of user would take back that it dies with this thread (prctl(2), PR_SET_PDEATHSIG): left alone it would keep the
 * networks. It hears nobody but this rehearsal's guests. */
static gboolean dhcp_start(StagePlace *p, GError **error)
{
    ProcessSpec spec = {
        .argv = (const char *const *)p->dhcp_words, .net_fd = p->prober_fd, .die_with_thread = TRUE};

    p->dhcp = process_start(&spec, error);
    return p->dhcp && dhcp_await(p->dhcp, error);
}

static StagePlace *place_new(Stage *s, const StageNetwork *n)
{
    StagePlace *p = g_new0(StagePlace, 1);

    p->prober_fd = -1;
    p->number = ++s->numbers;
    p->place = g_strdup(n->place);
    p->address = n->address ? g_strdup(n->address) : g_strdup_printf("198.18.%u.1", p->number);
    p->prefix = n->address ? n->prefix : 24;
    p->known = n->address != NULL;
    p->dhcp_words = dhcp_words(p, n);
    return p;
}

static gboolean place_open(Stage *s, StagePlace *p, GError **error)
{
    p->prober_fd = stage_net_new(TRUE, error);
    return p->prober_fd >= 0 && lay(s, p, error) && (!p->dhcp_words || dhcp_start(p, error));
}

gboolean stage_add_network(Stage *s, const StageNetwork *n, GError **error)
{
    StagePlace *p;

    if (find_place(s, n->place)) {
        g_set_error(error, US_ERROR, US_ERROR_EXISTS, "the stage has a network '%s' already", n->place);
        return FALSE;
    }
    if (s->numbers == PLACES_MAX) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "more than %d networks cannot be staged", PLACES_MAX);
        return FALSE;
    }
    if (!check_network(n, error))
        return FALSE;
    p = place_new(s, n);
    if (!place_open(s, p, error)) {
        g_prefix_error(error, "network '%s' cannot be staged: ", n->place);
        place_free(p);
        stage_net_enter(s->bridges_fd);
        return FALSE;
    }
    g_ptr_array_add(s->places, p);
    return TRUE;
}

gboolean stage_keep_serving(Stage *s, GError **error)
{
    for (guint i = 0; i < s->places->len; i++) {
        StagePlace *p = s->places->pdata[i];

        if (!p->dhcp_words || (p->dhcp && !process_wait(p->dhcp, 0)))
            continue;
        g_clear_pointer(&p->dhcp, process_free);
        stage_net_enter(p->prober_fd);
        if (!dhcp_start(p, error)) {
            g_prefix_error(error, "network '%s' has no DHCP any more: ", p->place);
            return FALSE;
        }
    }
    return TRUE;
}

/* --- taps ------------------------------------------------------------------ */

/* They become words of commands. */
static gboolean check_tap(const char *tap, const char *mac, GError **error)
{
    guint parts[ETH_ALEN];
    char rest;

    if (strlen(tap) == 0 || strlen(tap) >= IFNAMSIZ || !g_ascii_isalnum(tap[0]) ||
        strspn(tap, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "-_.") != strlen(tap)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%s' is not an interface's name", tap);
        return FALSE;
    }
    if (!mac) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "the definition gives interface %s no MAC address", tap);
        return FALSE;
    }
    if (strlen(mac) != 17 || sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x%c", &parts[0], &parts[1], &parts[2],
                                    &parts[3], &parts[4], &parts[5], &rest) != ETH_ALEN) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%s' is not a MAC address", mac);
        return FALSE;
    }
    return TRUE;
}

static gboolean move_in(const Stage *s, const StagePlace *p, const char *tap, const char *mac, GError **error)
{
    g_autofree char *net = stage_net_path(s->bridges_fd);
    g_autofree char *move = g_strdup_printf("link set dev %s netns %s\n", tap, net);
    g_autofree char *plug = g_strdup_printf("link set dev %s master b%u up\n", tap, p->number);

    return stage_ip(s->host_fd, move, error) && stage_rules_plug(s, p, tap, mac, error) &&
           stage_ip(s->bridges_fd, plug, error);
}

gboolean stage_plug(Stage *s, const char *place, const char *tap, const char *mac, GError **error)
{
    StagePlace *p = need_place(s, place, error);
    StageTap *t;

    if (!p || !check_tap(tap, mac, error))
        return FALSE;
    if (!move_in(s, p, tap, mac, error)) {
        g_prefix_error(error, "interface %s cannot be plugged into '%s': ", tap, place);
        return FALSE;
    }
    t = g_new0(StageTap, 1);
    t->tap = g_strdup(tap);
    t->place = p;
    g_ptr_array_add(s->taps, t);
    return TRUE;
}

/* --- asking ---------------------------------------------------------------- */

gboolean stage_enter(Stage *s, const char *place, GError **error)
{
    const StagePlace *p = need_place(s, place, error);

    if (p)
        stage_net_enter(p->prober_fd);
    return p != NULL;
}

static gboolean ask(Stage *s, const char *place, const char *address, guint16 port, int timeout_ms,
                    GError **error)
{
    Reach reach, *all[] = {&reach};
    gboolean begun;

    if (!stage_enter(s, place, error))
        return FALSE;
    begun = reach_begin(&reach, address, port, error);
    if (begun)
        reach_wait(all, 1, timeout_ms);
    reach_clear(&reach);
    if (begun && reach.why)
        g_set_error(error, US_ERROR, US_ERROR_UNREACHABLE, "%s: %s", address, g_strerror(reach.why));
    else if (begun && !reach.answered)
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT, "%s does not answer", address);
    return begun && reach.answered;
}

gboolean stage_ping(Stage *s, const char *place, const char *address, int timeout_ms, GError **error)
{
    return ask(s, place, address, 0, timeout_ms, error);
}

gboolean stage_connect(Stage *s, const char *place, const char *address, guint16 port, int timeout_ms,
                       GError **error)
{
    if (port == 0) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "there is no TCP port 0");
        return FALSE;
    }
    return ask(s, place, address, port, timeout_ms, error);
}

/* Reachable is whom the kernel has asked; whom it has only heard is stale. */
gboolean stage_resolves(Stage *s, const char *place, const char *address)
{
    const StagePlace *p = find_place(s, place);
    const char *argv[] = {"ip", "-4", "neigh", "show", "to", address, "dev", "v0", "nud", "reachable", NULL};
    ProcessSpec spec = {.argv = argv, .net_fd = p ? p->prober_fd : -1, .die_with_thread = TRUE};
    g_autofree char *said = NULL;

    return p && process_run_spec(&spec, IP_MS, -1, NEIGH_BYTES, &said, NULL) && *said;
}
