/* SPDX-License-Identifier: Apache-2.0 */
/* A stage on a host of its own: this process's network, with an address that stands for production. Guests are either networks with one
 * interface, or taps whose frames are written and read here, as QEMU does. */
#include "netmap/isolate.h"
#include "tests/vmconnect/probe/alone.h"
#include "tests/vmconnect/probe/vault.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/rehearse/checkup.h"
#include "vmconnect/rehearse/lookout.h"
#include "vmconnect/rehearse/reach.h"
#include "vmconnect/rehearse/stage_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PATIENCE_MS 20000
#define SILENCE_MS 400
#define HOST "10.9.9.9" /* also has 10.1.0.20, as production's guest */
#define FRAME_LEN 60
#define LOCAL_TYPE 0x88, 0xb5

static gboolean is_root;
static int host_fd;

static const StageNetwork LAN = {.place = "br lan; 7", /* any text */
                                 .address = "10.1.0.1",
                                 .prefix = 24,
                                 .dhcp_first = "10.1.0.100",
                                 .dhcp_last = "10.1.0.110"};
/* The same addresses, elsewhere. */
static const StageNetwork TWIN = {.place = "twin",
                                  .address = "10.1.0.1",
                                  .prefix = 24,
                                  .dhcp_first = "10.1.0.200",
                                  .dhcp_last = "10.1.0.210"};
static const StageNetwork UNKNOWN = {.place = "unknown"};
static const StageNetwork STILL = {.place = "still", .address = "10.5.0.1", .prefix = 30};

static const char *const OUTSIDE[] = {"192.0.2.1",   "10.1.0.20",   "10.1.0.1",
                                      "198.18.1.77", "2001:db8::1", NULL};
static const StageTargets TARGETS = {.addresses = OUTSIDE, .tcp_port = 22};

static ino_t net_now(void)
{
    struct stat st;
    int rc = stat("/proc/thread-self/ns/net", &st);

    g_assert_cmpint(rc, ==, 0);
    return st.st_ino;
}

static ino_t host_net;

static Stage *open_with(const StageNetwork *first, const StageNetwork *second)
{
    g_autoptr(GError) error = NULL;
    Stage *s = stage_open(&error);

    g_assert_no_error(error);
    stage_add_network(s, first, &error);
    g_assert_no_error(error);
    if (second)
        stage_add_network(s, second, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(net_now(), !=, host_net);
    return s;
}

/* The host has what it had before: loopback and its own. */
static void assert_nothing_left(void)
{
    const char *argv[] = {"ip", "-o", "link", NULL};
    g_autofree char *links = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_cmpuint(net_now(), ==, host_net);
    process_run(argv, PATIENCE_MS, -1, 65536, &links, &error);
    g_assert_no_error(error);
    for (const char *line = links; *line; line = strchr(line, '\n') + 1)
        g_assert_true(strstr(line, ": lo:") || strstr(line, ": prod0@") || strstr(line, ": prod1@"));
}

/* --- guests that are networks ---------------------------------------------- */

/* Its interface eth0 is @port on the host, until that is plugged. */
static int guest_new(const char *port, const char *mac)
{
    g_autoptr(GError) error = NULL;
    int fd = stage_net_new(TRUE, &error);
    g_autofree char *net = fd >= 0 ? stage_net_path(fd) : NULL;
    g_autofree char *link =
        g_strdup_printf("link add %s type veth peer name eth0 address %s netns %s\n", port, mac, net);

    g_assert_no_error(error);
    stage_net_enter(host_fd);
    stage_ip(host_fd, link, &error);
    g_assert_no_error(error);
    stage_ip(fd, "link set lo up\nlink set eth0 up\n", &error);
    g_assert_no_error(error);
    return fd;
}

static void guest_address(int guest, const char *address, const char *router)
{
    g_autofree char *lines =
        g_strdup_printf("addr add %s/24 dev eth0\nroute add default via %s\n", address, router);
    g_autoptr(GError) error = NULL;

    stage_ip(guest, lines, &error);
    g_assert_no_error(error);
}

/* What DHCP says. The caller frees. */
static char *guest_lease(int guest)
{
    const char *argv[] = {"sh", "-c", "busybox udhcpc -i eth0 -f -n -q -t 20 -T 1 -s /bin/true 2>&1", NULL};
    ProcessSpec spec = {.argv = argv, .net_fd = guest, .die_with_thread = TRUE};
    g_autofree char *said = NULL;
    g_autoptr(GError) error = NULL;
    char address[64];

    process_run_spec(&spec, PATIENCE_MS, -1, 65536, &said, &error);
    g_assert_no_error(error);
    g_test_message("%s", said);
    g_assert_nonnull(strstr(said, "lease of "));
    sscanf(strstr(said, "lease of "), "lease of %63s", address);
    return g_strdelimit(g_strdup(address), ",", '\0');
}

/* Does @address answer @guest, be it by a refusal? @port 0: to an echo. */
static gboolean guest_hears(Stage *s, int guest, const char *address, guint16 port, int timeout_ms)
{
    Reach reach, *all[] = {&reach};
    g_autoptr(GError) error = NULL;

    stage_net_enter(guest);
    reach_begin(&reach, address, port, &error);
    g_assert_no_error(error);
    reach_wait(all, 1, timeout_ms);
    reach_clear(&reach);
    stage_net_enter(s->bridges_fd);
    return reach.answered || reach.why;
}

static const json_t *of_tap(const json_t *array, const char *tap)
{
    const json_t *one;
    gsize i;

    json_array_foreach(array, i, one)
    {
        if (g_strcmp0(json_string_value(json_object_get(one, "tap")), tap) == 0)
            return one;
    }
    g_assert_not_reached();
}

static json_int_t number(const json_t *doc, const char *first, const char *second)
{
    const json_t *value = json_object_get(doc, first);

    value = second ? json_object_get(value, second) : value;
    g_assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static gboolean says(const json_t *array, const char *address)
{
    const json_t *one;
    gsize i;

    json_array_foreach(array, i, one)
    {
        if (g_strcmp0(json_string_value(one), address) == 0)
            return TRUE;
    }
    return FALSE;
}

static void plug(Stage *s, const StageNetwork *n, const char *tap, const char *mac)
{
    g_autoptr(GError) error = NULL;

    stage_plug(s, n->place, tap, mac, &error);
    g_assert_no_error(error);
}

static void test_guests_meet(void)
{
    int a = guest_new("vnet0", "52:54:00:00:00:0a"), b = guest_new("vnet1", "52:54:00:00:00:0b");
    g_autoptr(GError) error = NULL;
    g_autoptr(Stage) s = open_with(&LAN, &TWIN);
    g_autofree char *lease = NULL;
    json_auto_t *seen = NULL, *counters = NULL;
    const json_t *mine;

    plug(s, &LAN, "vnet0", "52:54:00:00:00:0A");
    plug(s, &LAN, "vnet1", "52:54:00:00:00:0b");
    lease = guest_lease(a);
    g_assert_true(g_str_has_prefix(lease, "10.1.0.10") || g_str_equal(lease, "10.1.0.110"));
    guest_address(a, lease, "10.1.0.1");
    guest_address(b, "10.1.0.20", "10.1.0.254");
    g_assert_true(guest_hears(s, a, "10.1.0.20", 0, PATIENCE_MS));
    g_assert_true(guest_hears(s, a, "10.1.0.20", 80, PATIENCE_MS));
    g_assert_true(guest_hears(s, b, lease, 0, PATIENCE_MS));

    g_assert_true(stage_ping(s, LAN.place, lease, PATIENCE_MS, &error));
    g_assert_true(stage_ping(s, LAN.place, "10.1.0.20", PATIENCE_MS, &error));
    g_assert_no_error(error);
    g_assert_false(stage_connect(s, LAN.place, "10.1.0.20", 80, PATIENCE_MS, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
    g_assert_cmpstr(error->message, ==, "10.1.0.20: Connection refused");
    g_clear_error(&error);

    g_assert_true(stage_ip(a, "addr add fd75:7300:0:1::a/64 nodad dev eth0\n", &error));
    g_assert_true(guest_hears(s, a, "fd75:7300:0:1::1", 0, PATIENCE_MS));

    seen = stage_seen(s, NULL);
    mine = of_tap(seen, "vnet0");
    g_assert_cmpstr(json_string_value(json_object_get(mine, "place")), ==, LAN.place);
    g_assert_true(json_is_true(json_object_get(mine, "arp")));
    g_assert_true(json_is_true(json_object_get(mine, "dhcp")));
    g_assert_true(json_is_true(json_object_get(mine, "nd")));
    g_assert_true(json_is_true(json_object_get(mine, "ip")));
    g_assert_true(says(json_object_get(mine, "addresses"), lease));
    mine = of_tap(seen, "vnet1");
    g_assert_false(json_is_true(json_object_get(mine, "dhcp")));
    g_assert_true(says(json_object_get(mine, "addresses"), "10.1.0.20"));
    g_assert_false(says(json_object_get(mine, "addresses"), lease));

    counters = stage_counters(s, NULL);
    g_assert_cmpint(number(counters, "leaked", NULL), ==, 0);
    g_assert_cmpint(number(of_tap(json_object_get(counters, "taps"), "vnet0"), "frames", NULL), >, 4);
    g_assert_cmpint(number(of_tap(json_object_get(counters, "taps"), "vnet0"), "dropped", "spoofed"), ==, 0);
    close(a);
    close(b);
}

/* Its address is its own in production, with a range for others and without. */
static void test_reservation(void)
{
    g_autoptr(GPtrArray) hosts = g_ptr_array_new();
    StageNetwork with_range = LAN, without = TWIN;

    g_ptr_array_add(hosts,
                    &(SubnetHost){.mac = (char *)"52:54:00:00:00:0b", .address = (char *)"10.1.0.105"});
    g_ptr_array_add(hosts, &(SubnetHost){.mac = (char *)"52:54:00:00:00:0A", .address = (char *)"10.1.0.9"});
    with_range.hosts = without.hosts = hosts;
    without.dhcp_first = without.dhcp_last = NULL;
    for (guint i = 0; i < 2; i++) {
        const StageNetwork *n = i == 0 ? &with_range : &without;
        int guest = guest_new("vnet0", "52:54:00:00:00:0a");
        Stage *s = open_with(n, NULL);
        g_autofree char *lease = NULL;

        plug(s, n, "vnet0", "52:54:00:00:00:0a");
        lease = guest_lease(guest);
        g_assert_cmpstr(lease, ==, "10.1.0.9");
        stage_close(s);
        close(guest);
        assert_nothing_left();
    }
}

/* Somebody ends dnsmasq, as a host does that runs short of memory. */
static void test_dhcp_comes_again(void)
{
    int a = guest_new("vnet0", "52:54:00:00:00:0a");
    g_autoptr(Stage) s = open_with(&STILL, &LAN);
    StagePlace *p = s->places->pdata[1];
    g_autofree char *lease = NULL;
    g_autoptr(GError) error = NULL;
    pid_t before = process_pid(p->dhcp);

    plug(s, &LAN, "vnet0", "52:54:00:00:00:0a");
    g_assert_true(stage_keep_serving(s, &error));
    g_assert_cmpint(process_pid(p->dhcp), ==, before);
    process_kill(p->dhcp, SIGKILL);
    g_assert_true(process_wait(p->dhcp, PATIENCE_MS));
    stage_keep_serving(s, &error);
    g_assert_no_error(error);
    lease = guest_lease(a);
    g_assert_true(g_str_has_prefix(lease, "10.1.0.1"));
    close(a);
}

/* The host, who has 10.1.0.20 as well, and the outside stay away; so does who has the same addresses in another place. */
static void test_places_do_not_meet(void)
{
    int a = guest_new("vnet0", "52:54:00:00:00:0a"), b = guest_new("vnet1", "52:54:00:00:00:0b");
    g_autoptr(GError) error = NULL;
    g_autoptr(Stage) s = open_with(&LAN, &TWIN);
    g_autofree char *lease = NULL;
    json_auto_t *counters = NULL;

    plug(s, &LAN, "vnet0", "52:54:00:00:00:0a");
    plug(s, &TWIN, "vnet1", "52:54:00:00:00:0b");
    lease = guest_lease(b);
    g_assert_true(g_str_has_prefix(lease, "10.1.0.2"));
    guest_address(a, "10.1.0.30", "10.1.0.1");
    guest_address(b, lease, "10.1.0.1");
    g_assert_true(stage_ping(s, LAN.place, "10.1.0.30", PATIENCE_MS, &error));
    g_assert_true(stage_ping(s, TWIN.place, lease, PATIENCE_MS, &error));
    g_assert_no_error(error);
    g_assert_false(stage_ping(s, TWIN.place, "10.1.0.30", SILENCE_MS, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_clear_error(&error);
    g_assert_false(stage_ping(s, TWIN.place, HOST, SILENCE_MS, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);

    g_assert_true(guest_hears(s, a, "10.1.0.1", 0, PATIENCE_MS));
    g_assert_false(guest_hears(s, a, lease, 0, SILENCE_MS));
    g_assert_false(guest_hears(s, b, "10.1.0.30", 0, SILENCE_MS));
    g_assert_false(guest_hears(s, b, "10.1.0.20", 0, SILENCE_MS));
    g_assert_false(guest_hears(s, b, HOST, 0, SILENCE_MS));
    g_assert_false(guest_hears(s, b, HOST, 22, SILENCE_MS));
    g_assert_false(guest_hears(s, b, "192.0.2.1", 22, SILENCE_MS));
    counters = stage_counters(s, NULL);
    g_assert_cmpint(number(counters, "leaked", NULL), ==, 0);
    close(a);
    close(b);
}

/* --- taps ------------------------------------------------------------------ */

/* As libvirt makes one for QEMU: up, and somebody has it open. */
static int tap_new(const char *name)
{
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    g_autofree char *up = g_strdup_printf("link set %s up\n", name);
    g_autoptr(GError) error = NULL;
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    int rc;

    g_strlcpy(ifr.ifr_name, name, sizeof(ifr.ifr_name));
    rc = ioctl(fd, TUNSETIFF, &ifr);
    g_assert_cmpint(rc, ==, 0);
    stage_ip(host_fd, up, &error);
    g_assert_no_error(error);
    return fd;
}

/* To all, from the tap number @from, of a type that nobody else uses; @mark tells it from others. */
static void say(int tap, guint8 from, gboolean tagged, guint8 mark)
{
    const guint8 plain[FRAME_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff,       0x52,
                                     0x54, 0,    0,    0,    from, LOCAL_TYPE, mark};
    const guint8 vlan[FRAME_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54,       0,
                                    0,    0,    from, 0x81, 0,    0,    5,    LOCAL_TYPE, mark};
    ssize_t n = write(tap, tagged ? vlan : plain, FRAME_LEN);

    g_assert_cmpint(n, ==, FRAME_LEN);
}

/* The mark of the next of those that arrives; 0: none does. */
static guint8 hear(int tap, int timeout_ms)
{
    gint64 deadline_ms = clock_steady_ms() + timeout_ms;
    const guint8 type[] = {LOCAL_TYPE};
    guint8 frame[2048];

    while (clock_left_ms(deadline_ms) > 0) {
        struct pollfd pfd = {.fd = tap, .events = POLLIN};
        ssize_t n = poll(&pfd, 1, clock_left_ms(deadline_ms)) > 0 ? read(tap, frame, sizeof(frame)) : 0;

        for (ssize_t i = 12; i + 2 < n && i <= 16; i += 4)
            if (memcmp(frame + i, type, sizeof(type)) == 0)
                return frame[i + 2];
    }
    return 0;
}

/* The network that the tap was in is gone, with it. */
static void assert_dies(int tap)
{
    gint64 deadline_ms = clock_steady_ms() + PATIENCE_MS;
    guint8 frame[FRAME_LEN] = {0};

    while (write(tap, frame, sizeof(frame)) >= 0 || errno != EBADFD) {
        g_assert_cmpint(clock_left_ms(deadline_ms), >, 0);
        g_usleep(1000);
    }
}

/* A port of the first bridge that no rule knows. */
static void plug_unknown(Stage *s, const char *tap)
{
    g_autofree char *net = stage_net_path(s->bridges_fd);
    g_autofree char *move = g_strdup_printf("link set %s netns %s\n", tap, net);
    g_autofree char *in = g_strdup_printf("link set %s master b1 up\n", tap);
    g_autoptr(GError) error = NULL;

    g_assert_true(stage_ip(s->host_fd, move, &error));
    g_assert_true(stage_ip(s->bridges_fd, in, &error));
    g_assert_no_error(error);
}

static void test_taps(void)
{
    int a = tap_new("vnet0"), b = tap_new("vnet1"), c = tap_new("vnet2"), loose = tap_new("vnet3");
    Stage *s = open_with(&STILL, &UNKNOWN);
    json_auto_t *counters = NULL;
    const json_t *mine;
    g_autoptr(GError) error = NULL;

    plug(s, &STILL, "vnet0", "52:54:00:00:00:0a");
    plug(s, &STILL, "vnet1", "52:54:00:00:00:0b");
    plug(s, &UNKNOWN, "vnet2", "52:54:00:00:00:0c");
    plug_unknown(s, "vnet3");

    say(a, 0xa, TRUE, 1);
    say(a, 0xf, FALSE, 2);
    say(loose, 0xd, FALSE, 3);
    say(a, 0xa, FALSE, 4);
    g_assert_cmpuint(hear(b, PATIENCE_MS), ==, 4);
    g_assert_cmpuint(hear(b, SILENCE_MS), ==, 0);
    g_assert_cmpuint(hear(c, 1), ==, 0);
    g_assert_cmpuint(hear(loose, 1), ==, 0);

    counters = stage_counters(s, &error);
    g_assert_no_error(error);
    mine = of_tap(json_object_get(counters, "taps"), "vnet0");
    g_assert_cmpint(number(mine, "dropped", "tagged"), ==, 1);
    g_assert_cmpint(number(mine, "dropped", "spoofed"), ==, 1);
    g_assert_cmpint(number(mine, "frames", NULL), ==, 1);
    g_assert_cmpint(number(mine, "bytes", NULL), >, 0);
    g_assert_cmpint(number(counters, "unplugged", NULL), >, 0);
    g_assert_cmpint(number(counters, "leaked", NULL), ==, 0);

    stage_close(s);
    assert_nothing_left();
    assert_dies(a);
    assert_dies(loose);
    close(a);
    close(b);
    close(c);
    close(loose);
}

static void break_rules(Stage *s, const char *rules)
{
    const char *argv[] = {"nft", rules, NULL};
    ProcessSpec spec = {.argv = argv, .net_fd = s->bridges_fd, .die_with_thread = TRUE};
    g_autoptr(GError) error = NULL;

    process_run_spec(&spec, PATIENCE_MS, -1, 0, NULL, &error);
    g_assert_no_error(error);
}

static json_int_t leaked(Stage *s)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *counters = stage_counters(s, &error);

    g_assert_no_error(error);
    return number(counters, "leaked", NULL);
}

/* A zero means something: where one rule is missing, the other one holds and counts; where both are, what goes out is counted. */
static void test_leak_is_counted(void)
{
    int a = tap_new("vnet0"), loose = tap_new("vnet3");
    g_autoptr(Stage) s = open_with(&STILL, NULL);
    const StagePlace *p = s->places->pdata[0];

    plug(s, &STILL, "vnet0", "52:54:00:00:00:0a");
    plug_unknown(s, "vnet3");
    /* Its kernel speaks unasked. */
    g_assert_true(stage_ip(p->prober_fd, "link set v0 down\n", NULL));
    say(a, 0xa, FALSE, 1);
    g_assert_cmpuint(hear(loose, SILENCE_MS), ==, 0);
    g_assert_cmpint(leaked(s), ==, 0);

    break_rules(s, "insert rule bridge stage between accept");
    say(a, 0xa, FALSE, 2);
    g_assert_cmpuint(hear(loose, SILENCE_MS), ==, 0);
    g_assert_cmpint(leaked(s), ==, 1);

    break_rules(s, "chain bridge stage to_port { policy accept; }");
    say(a, 0xa, FALSE, 3);
    g_assert_cmpuint(hear(loose, PATIENCE_MS), ==, 3);
    g_assert_cmpint(leaked(s), ==, 2);
    close(a);
    close(loose);
}

/* As the owner of 10.1.@net.@address does when it comes up. */
static void announce(int tap, guint8 from, guint8 net, guint8 address)
{
    const guint8 frame[FRAME_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,      0,       0,
                                     from, 0x08, 0x06, 0,    1,    0x08, 0,    6,    4,      0,       1,
                                     0x52, 0x54, 0,    0,    0,    from, 10,   1,    net,    address, 0,
                                     0,    0,    0,    0,    0,    10,   1,    net,  address};
    ssize_t n = write(tap, frame, FRAME_LEN);

    g_assert_cmpint(n, ==, FRAME_LEN);
}

/* However much one guest says, the other is heard. */
static void test_boaster_drowns_nobody(void)
{
    int a = tap_new("vnet0"), b = tap_new("vnet1");
    g_autoptr(Stage) s = open_with(&LAN, NULL);
    json_auto_t *seen = NULL;

    plug(s, &LAN, "vnet0", "52:54:00:00:00:0a");
    plug(s, &LAN, "vnet1", "52:54:00:00:00:0b");
    for (guint8 net = 0; net < 6; net++)
        for (guint address = 0; address < 256; address++)
            announce(a, 0xa, net, (guint8)address);
    announce(b, 0xb, 0, 77);
    seen = stage_seen(s, NULL);
    g_assert_true(says(json_object_get(of_tap(seen, "vnet1"), "addresses"), "10.1.0.77"));
    g_assert_false(says(json_object_get(of_tap(seen, "vnet1"), "addresses"), "10.1.0.78"));
    g_assert_false(says(json_object_get(of_tap(seen, "vnet0"), "addresses"), "10.1.5.77"));
    close(a);
    close(b);
}

/* Of how many addresses 10.1.0.… somebody has asked there since, by ARP. */
static guint asked_for(int tap)
{
    gboolean asked[256] = {FALSE};
    guint8 frame[2048];
    guint n = 0;

    for (ssize_t len; (len = read(tap, frame, sizeof(frame))) > 0;) {
        gboolean is_request = len >= 42 && frame[12] == 0x08 && frame[13] == 0x06 && frame[21] == 1;

        if (is_request && !asked[frame[41]])
            n++;
        if (is_request)
            asked[frame[41]] = TRUE;
    }
    return n;
}

/* A guest that says that it has all addresses, and answers at none. */
static void test_boaster_keeps_nobody(void)
{
    int a = tap_new("vnet0"), busy = eventfd(1, EFD_CLOEXEC), idle = eventfd(0, EFD_CLOEXEC);
    Stage *s = open_with(&LAN, NULL);
    Lookout *l = lookout_new();
    g_autofree char *text = NULL;
    json_auto_t *seen = NULL;
    guint asked;

    plug(s, &LAN, "vnet0", "52:54:00:00:00:0a");
    for (guint8 i = 20; i < 220; i++)
        announce(a, 0xa, 0, i);
    seen = stage_seen(s, NULL);
    g_assert_cmpuint(json_array_size(json_object_get(of_tap(seen, "vnet0"), "addresses")), ==, 200);

    lookout_turn(l, s, busy);
    g_assert_cmpuint(asked_for(a), ==, 0);
    lookout_turn(l, s, idle);
    asked = asked_for(a);
    g_assert_cmpuint(asked, >, 0);
    g_assert_cmpuint(asked, <=, 4); /* in a turn, which others wait for */
    g_assert_false(lookout_read(l, "vnet0", NULL, &text));
    g_assert_true(g_str_has_prefix(text, "it does not answer at 10.1.0."));
    g_assert_cmpuint(strlen(text), <, 200);

    lookout_free(l);
    stage_close(s);
    close(a);
    close(busy);
    close(idle);
}

#define SILENT 8 /* cards, each of which takes nearly a second */

/* Nobody waits long for them, and each has its turn. */
static void test_many_are_silent(void)
{
    int taps[SILENT], idle = eventfd(0, EFD_CLOEXEC);
    Lookout *l = lookout_new();
    guint told = 0;
    Stage *s;

    for (guint i = 0; i < SILENT; i++) {
        g_autofree char *tap = g_strdup_printf("vnet%u", i);

        taps[i] = tap_new(tap);
    }
    s = open_with(&LAN, NULL);
    for (guint8 i = 0; i < SILENT; i++) {
        g_autofree char *tap = g_strdup_printf("vnet%u", i), *mac = g_strdup_printf("52:54:00:00:00:%02x", i);

        plug(s, &LAN, tap, mac);
        for (guint8 k = 0; k < 4; k++)
            announce(taps[i], i, 0, (guint8)(100 + 4 * i + k));
    }
    for (guint turns = 0; told < SILENT && turns < SILENT; turns++) {
        lookout_turn(l, s, idle);
        told = 0;
        for (guint i = 0; i < SILENT; i++) {
            g_autofree char *tap = g_strdup_printf("vnet%u", i), *text = NULL;

            (void)lookout_read(l, tap, NULL, &text);
            told += g_str_has_prefix(text, "it does not answer at");
        }
        g_assert_true(turns > 0 || told < SILENT);
    }
    g_assert_cmpuint(told, ==, SILENT);

    lookout_free(l);
    stage_close(s);
    for (guint i = 0; i < SILENT; i++)
        close(taps[i]);
    close(idle);
}

/* Turns until that is known of @tap. */
static void expect_sight(Lookout *l, Stage *s, const char *tap, gboolean answers, const char *what)
{
    gint64 until_ms = clock_steady_ms() + PATIENCE_MS;
    g_autofree char *text = NULL;

    for (;;) {
        gboolean answered = lookout_read(l, tap, NULL, &text);

        g_assert_true(!answered || answers);
        if (answered == answers && g_str_equal(text, what))
            return;
        g_test_message("%s: %s", tap, text);
        g_assert_cmpint(clock_left_ms(until_ms), >, 0);
        g_clear_pointer(&text, g_free);
        lookout_turn(l, s, -1);
    }
}

/* Where nothing is known of a place, an address of whatever network answers there, by ARP at least; elsewhere only one of its own does. */
static void test_static_address(void)
{
    int a = guest_new("vnet0", "52:54:00:00:00:0a"), b = guest_new("vnet1", "52:54:00:00:00:0b"),
        c = guest_new("vnet2", "52:54:00:00:00:0c");
    g_autoptr(Stage) s = open_with(&UNKNOWN, &LAN);
    Lookout *l = lookout_new();
    g_autoptr(GError) error = NULL;

    plug(s, &UNKNOWN, "vnet0", "52:54:00:00:00:0a");
    plug(s, &UNKNOWN, "vnet1", "52:54:00:00:00:0b");
    plug(s, &LAN, "vnet2", "52:54:00:00:00:0c");
    g_assert_true(stage_ip(a, "addr add 10.7.0.20/24 dev eth0\nroute add default dev eth0\n", &error));
    guest_address(b, "10.7.0.30", "10.7.0.254");
    guest_address(c, "10.7.0.40", "10.7.0.254");
    /* Each says who it is. */
    g_assert_false(guest_hears(s, a, "10.7.0.253", 0, 1));
    g_assert_false(guest_hears(s, b, "10.7.0.254", 0, 1));
    g_assert_false(guest_hears(s, c, "10.7.0.254", 0, 1));
    expect_sight(l, s, "vnet0", TRUE, "it answers at 10.7.0.20");
    expect_sight(l, s, "vnet1", TRUE, "it answers at 10.7.0.30, but no echo (ARP alone)");
    expect_sight(l, s, "vnet2", FALSE, "it does not answer at 10.7.0.40");
    g_assert_false(stage_connect(s, UNKNOWN.place, "10.7.0.20", 80, PATIENCE_MS, &error));
    g_assert_cmpstr(error->message, ==, "10.7.0.20: Connection refused");
    g_clear_error(&error);
    g_assert_false(stage_ping(s, LAN.place, "10.7.0.40", PATIENCE_MS, &error));
    g_assert_cmpstr(error->message, ==, "10.7.0.40: Network is unreachable");
    g_assert_false(stage_resolves(s, LAN.place, "10.7.0.40"));
    g_assert_false(stage_resolves(s, "nowhere", "10.7.0.20"));
    lookout_free(l);
    close(a);
    close(b);
    close(c);
}

/* Who drops echoes but answers ARP lives; who was only heard, and has hung since, does not. */
static void test_drops_echoes(void)
{
    int a = guest_new("vnet0", "52:54:00:00:00:0a"), hung = tap_new("vnet1");
    g_autoptr(Stage) s = open_with(&LAN, NULL);
    Lookout *l = lookout_new();
    g_autoptr(GError) error = NULL;
    /* It asks for the prober, whose kernel notes it. */
    const guint8 asks[FRAME_LEN] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0,  0xb, 0x08, 0x06, 0, 1, 0x08, 0,  6, 4, 0,
        1,    0x52, 0x54, 0,    0,    0,    0xb,  10,   1, 0, 77, 0,   0,    0,    0, 0, 0,    10, 1, 0, 1};
    ssize_t n;

    plug(s, &LAN, "vnet0", "52:54:00:00:00:0a");
    plug(s, &LAN, "vnet1", "52:54:00:00:00:0b");
    stage_net_enter(a);
    g_assert_true(stage_net_set("ipv4/icmp_echo_ignore_all", "1", &error));
    stage_net_enter(s->bridges_fd);
    guest_address(a, "10.1.0.20", "10.1.0.1");
    g_assert_true(guest_hears(s, a, "10.1.0.1", 0, PATIENCE_MS));
    n = write(hung, asks, FRAME_LEN);
    g_assert_cmpint(n, ==, FRAME_LEN);
    expect_sight(l, s, "vnet1", FALSE, "it does not answer at 10.1.0.77");
    expect_sight(l, s, "vnet0", TRUE, "it answers at 10.1.0.20, but no echo (ARP alone)");
    expect_sight(l, s, "vnet1", FALSE, "it does not answer at 10.1.0.77");
    g_assert_false(stage_ping(s, LAN.place, "10.1.0.20", SILENCE_MS, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    lookout_free(l);
    close(a);
    close(hung);
}

/* --- cards of one VM ------------------------------------------------------- */

/* Looks, @at_ms after its start, and says how its network is. The caller frees. */
static char *network_says(Checkup *c, gint64 at_ms)
{
    json_auto_t *all = NULL;
    const json_t *check;

    checkup_look(c, NULL, at_ms);
    all = checkup_describe(c);
    check = json_array_get(all, 0);
    g_assert_cmpstr(json_string_value(json_object_get(check, "what")), ==, "network");
    return g_strdup(json_string_value(json_object_get(check, "text")));
}

/* One that answers is enough if the others say nothing that could be asked, and had the time to; what has an address must answer. */
static void test_cards(void)
{
    int a = guest_new("vnet0", "52:54:00:00:00:0a"), b = tap_new("vnet1");
    IsolatedNic cut = {.tap = (char *)"vnet9", .place = (char *)"lan", .down = TRUE},
                used = {.tap = (char *)"vnet0", .place = (char *)"lan"},
                spare = {.tap = (char *)"vnet1", .place = (char *)"lan"};
    g_autoptr(GPtrArray) nics = g_ptr_array_new(), dark = g_ptr_array_new();
    g_autoptr(Stage) s = open_with(&LAN, NULL);
    StandInSite site = {.lookout = lookout_new(), .manual = TRUE};
    StandInSpec spec = {.agent = FALSE, .folder = (char *)"/nonexistent"};
    StandInPart part = {.xml = (char *)"", .nics = nics}, none = {.xml = (char *)"", .nics = dark};
    Checkup *c, *late, *unplugged;
    g_autofree char *first = NULL, *then = NULL, *why = NULL;

    g_ptr_array_add(dark, &cut);
    g_ptr_array_add(nics, &cut);
    g_ptr_array_add(nics, &used);
    g_ptr_array_add(nics, &spare);
    unplugged = checkup_new(&site, &spec, &none);
    c = checkup_new(&site, &spec, &part);
    late = checkup_new(&site, &spec, &part);
    plug(s, &LAN, "vnet0", "52:54:00:00:00:0a");
    plug(s, &LAN, "vnet1", "52:54:00:00:00:0b");

    first = network_says(c, 100000);
    g_assert_cmpstr(first, ==,
                    "vnet9 (lan): its link is down in the definition; vnet0 (lan): nothing was heard of it; "
                    "vnet1 (lan): nothing was heard of it");
    guest_address(a, "10.1.0.20", "10.1.0.1");
    g_assert_true(guest_hears(s, a, "10.1.0.1", 0, PATIENCE_MS));
    expect_sight(site.lookout, s, "vnet0", TRUE, "it answers at 10.1.0.20");
    checkup_look(c, NULL, 200000);
    checkup_look(late, NULL, 200000);
    checkup_look(c, NULL, 209999);
    g_assert_false(checkup_lives(c));
    checkup_look(c, NULL, 210000);
    g_assert_true(checkup_lives(c));

    announce(b, 0xb, 0, 77);
    expect_sight(site.lookout, s, "vnet1", FALSE, "it does not answer at 10.1.0.77");
    then = network_says(late, 300000);
    g_assert_cmpstr(then, ==,
                    "vnet9 (lan): its link is down in the definition; vnet0 (lan): it answers at 10.1.0.20; "
                    "vnet1 (lan): it does not answer at 10.1.0.77");
    g_assert_false(checkup_lives(late));
    why = checkup_why(unplugged, 300000);
    g_assert_nonnull(strstr(why, "it has no agent, no network and no screen"));

    checkup_free(unplugged);
    checkup_free(late);
    checkup_free(c);
    lookout_free(site.lookout);
    close(a);
    close(b);
}

/* --- the proof ------------------------------------------------------------- */

static void test_closed(void)
{
    g_autoptr(Stage) s = open_with(&LAN, &UNKNOWN);
    g_autoptr(GError) error = NULL;
    json_auto_t *proof = NULL, *again = NULL, *counters = NULL;
    const json_t *place;

    stage_expect_closed(s, &TARGETS, &proof, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(net_now(), !=, host_net);
    g_assert_cmpint(number(proof, "leaked", NULL), ==, 0);
    g_assert_cmpuint(json_array_size(json_object_get(proof, "places")), ==, 2);
    place = json_array_get(json_object_get(proof, "places"), 0);
    g_assert_cmpstr(json_string_value(json_object_get(place, "place")), ==, LAN.place);
    g_assert_true(says(json_object_get(place, "silent"), "192.0.2.1"));
    g_assert_true(says(json_object_get(place, "silent"), HOST));
    g_assert_true(says(json_object_get(place, "silent"), "10.1.0.20"));
    g_assert_true(says(json_object_get(place, "silent"), "198.18.2.1"));
    g_assert_true(says(json_object_get(place, "silent"), "2001:db8::1"));
    g_assert_false(says(json_object_get(place, "silent"), "10.1.0.1"));
    g_assert_true(says(json_object_get(place, "left_out"), "10.1.0.1"));
    g_assert_cmpint(number(place, "dropped", "tagged"), ==, 1);
    g_assert_cmpint(number(place, "dropped", "spoofed"), ==, 1);
    /* Who stood there is gone. */
    g_assert_false(stage_ip(s->bridges_fd, "link set g1 up\n", NULL));
    counters = stage_counters(s, NULL);
    g_assert_cmpuint(json_array_size(json_object_get(counters, "taps")), ==, 0);
    g_assert_true(stage_expect_closed(s, &TARGETS, &again, &error));
}

static void assert_not_closed(Stage *s, const char *why)
{
    g_autoptr(GError) error = NULL;
    json_t *proof = NULL;

    g_assert_false(stage_expect_closed(s, &TARGETS, &proof, &error));
    g_assert_null(proof);
    g_assert_error(error, US_ERROR, US_ERROR_VERIFY);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, why));
    g_assert_cmpuint(net_now(), !=, host_net);
}

static void test_control_fails(void)
{
    g_autoptr(Stage) s = open_with(&STILL, NULL);
    const StagePlace *p = s->places->pdata[0];

    stage_ip(p->prober_fd, "link set v0 down\n", NULL);
    assert_not_closed(s, "its own prober does not answer an echo at 10.5.0.1");
}

/* A wire from the bridge to the host's network, which even the rules know; there it has what else @address says. */
static void wire(Stage *s, const char *address)
{
    g_autofree char *net = stage_net_path(s->host_fd);
    g_autofree char *link =
        g_strdup_printf("link add wire type veth peer name prod9 address 52:54:00:00:00:99 netns %s\n"
                        "link set wire master b1 up\n",
                        net);
    g_autofree char *up = g_strdup_printf("link set prod9 up\n%s", address);
    g_autoptr(GError) error = NULL;

    g_assert_true(stage_ip(s->bridges_fd, link, &error));
    g_assert_true(stage_ip(s->host_fd, up, &error));
    g_assert_true(stage_rules_plug(s, s->places->pdata[0], "wire", "52:54:00:00:00:99", &error));
}

static void unwire(Stage *s)
{
    g_assert_true(stage_ip(s->host_fd, "link del prod9\n", NULL));
}

/* The way back leads elsewhere, so that only ARP tells. */
static void test_leak_is_found(void)
{
    g_autoptr(Stage) s = open_with(&LAN, NULL);

    wire(s, "");
    assert_not_closed(s, "came in from elsewhere");
    unwire(s);
}

static void test_answer_is_found(void)
{
    g_autoptr(Stage) s = open_with(&UNKNOWN, NULL);

    wire(s, "addr add 198.18.1.77/24 dev prod9\n");
    assert_not_closed(s, "network 'unknown' is not isolated");
    unwire(s);
}

/* A wire between two places' bridges: if no rule knows it, nothing passes. */
static void test_wired_places_are_found(void)
{
    g_autoptr(Stage) s = open_with(&STILL, &UNKNOWN);
    const StagePlace *first = s->places->pdata[0], *second = s->places->pdata[1];
    g_autofree char *guest = stage_mac(first, 2), *prober = stage_mac(second, 1);
    g_autoptr(GError) error = NULL;
    json_auto_t *proof = NULL;

    g_assert_true(stage_ip(s->bridges_fd,
                           "link add wire1 type veth peer name wire2\n"
                           "link set wire1 master b1 up\n"
                           "link set wire2 master b2 up\n",
                           &error));
    g_assert_true(stage_expect_closed(s, &TARGETS, &proof, &error));
    g_assert_no_error(error);
    g_assert_true(stage_rules_plug(s, second, "wire2", guest, &error));
    g_assert_true(stage_rules_plug(s, first, "wire1", prober, &error));
    assert_not_closed(s, "198.18.2.1 answers an echo");
}

/* What is behind it is silent: only the counter tells. */
static void test_way_out_is_found(void)
{
    int out = tap_new("vnet3");
    g_autoptr(Stage) s = open_with(&STILL, NULL);
    g_autoptr(GError) error = NULL;
    json_auto_t *proof = NULL;

    plug_unknown(s, "vnet3");
    g_assert_true(stage_expect_closed(s, &TARGETS, &proof, &error));
    g_assert_no_error(error);
    g_assert_cmpint(leaked(s), ==, 0);
    break_rules(s, "insert rule bridge stage between accept");
    assert_not_closed(s, " frames went out, 0 came in from elsewhere");
    g_assert_cmpint(leaked(s), >, 0);
    close(out);
}

/* --- mistakes -------------------------------------------------------------- */

static void assert_refused(Stage *s, const StageNetwork *n, UsError code, const char *why)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(stage_add_network(s, n, &error));
    g_assert_error(error, US_ERROR, (gint)code);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, why));
    g_assert_cmpuint(net_now(), !=, host_net);
}

static void assert_unplugged(Stage *s, const char *place, const char *tap, const char *mac, UsError code)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(stage_plug(s, place, tap, mac, &error));
    g_assert_error(error, US_ERROR, (gint)code);
    g_test_message("%s", error->message);
    g_assert_cmpuint(net_now(), !=, host_net);
}

/* What was half made is no place, and the thread is not in the host's network. */
static void test_failure_half_way(void)
{
    g_autoptr(Stage) s = open_with(&STILL, NULL);
    g_autofree char *path = g_strdup(g_getenv("PATH"));
    g_autoptr(GError) error = NULL;

    g_setenv("PATH", "/nonexistent", TRUE);
    assert_refused(s, &LAN, US_ERROR_NOT_FOUND, "program ip is not installed");
    g_setenv("PATH", path, TRUE);
    g_assert_false(stage_enter(s, LAN.place, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_assert_true(stage_add_network(s, &LAN, NULL));
    g_assert_true(stage_ping(s, LAN.place, LAN.address, PATIENCE_MS, NULL));
}

static void test_mistakes(void)
{
    const char *const no_address[] = {"example", NULL};
    g_autoptr(Stage) s = open_with(&STILL, NULL);
    g_autoptr(GError) error = NULL;
    json_t *proof = NULL;

    assert_refused(s, &STILL, US_ERROR_EXISTS, "already");
    assert_refused(s, &(StageNetwork){"x", "10.0.0", 24}, US_ERROR_USAGE, "its address");
    assert_refused(s, &(StageNetwork){"x", "10.0.0.1", 31}, US_ERROR_USAGE, "its prefix");
    assert_refused(s, &(StageNetwork){"x", "10.0.0.1", 24, "10.0.0.9 ", "10.0.0.10"}, US_ERROR_USAGE,
                   "its DHCP range");
    assert_refused(s, &(StageNetwork){"x", "10.0.0.1", 24, "10.0.0.9", "10.0.1.10"}, US_ERROR_USAGE,
                   "its DHCP range");
    assert_refused(s, &(StageNetwork){"x", "10.0.0.1", 24, "10.0.0.9"}, US_ERROR_USAGE, "its DHCP range");
    assert_refused(s, &(StageNetwork){"x", .router = "gate"}, US_ERROR_USAGE, "its router");
    assert_unplugged(s, "still", "vnet0", NULL, US_ERROR_USAGE);
    assert_unplugged(s, "nowhere", "vnet0", "52:54:00:00:00:0a", US_ERROR_NOT_FOUND);
    assert_unplugged(s, "still", "vnet0 up", "52:54:00:00:00:0a", US_ERROR_USAGE);
    assert_unplugged(s, "still", "vnet0", "52:54:00:00:00:0", US_ERROR_USAGE);
    assert_unplugged(s, "still", "vnet0", "52:54:00:00:00:0g", US_ERROR_USAGE);
    assert_unplugged(s, "still", "vnet99", "52:54:00:00:00:0a", US_ERROR_FAILED);
    g_assert_false(stage_expect_closed(s, &(StageTargets){no_address, 22}, &proof, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_clear_error(&error);
    g_assert_false(stage_expect_closed(s, &(StageTargets){OUTSIDE, 0}, &proof, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_clear_error(&error);
    g_assert_false(stage_ping(s, "nowhere", HOST, 1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    /* It goes on as before. */
    g_assert_true(stage_ping(s, "still", "10.5.0.1", PATIENCE_MS, NULL));
}

/* --- the end --------------------------------------------------------------- */

static void test_close_leaves_nothing(void)
{
    Stage *s = open_with(&LAN, &UNKNOWN);
    const StagePlace *p = s->places->pdata[1];
    int dhcp = pidfd_open(process_pid(p->dhcp), 0);
    struct pollfd pfd = {.fd = dhcp, .events = POLLIN};
    int n;

    g_assert_cmpint(dhcp, >=, 0);
    stage_close(s);
    n = poll(&pfd, 1, PATIENCE_MS);
    g_assert_cmpint(n, ==, 1);
    close(dhcp);
    assert_nothing_left();
}

/* Say who its DHCP server is, and wait for the end. */
G_NORETURN static void stage_until_killed(int tell)
{
    Stage *s = open_with(&LAN, NULL);
    const StagePlace *p = s->places->pdata[0];
    pid_t pid = process_pid(p->dhcp);

    plug(s, &LAN, "vnet0", "52:54:00:00:00:0a");
    if (write(tell, &pid, sizeof(pid)) != sizeof(pid))
        abort();
    for (;;)
        pause();
}

static void test_kill_leaves_nothing(void)
{
    int tap = tap_new("vnet0"), told[2], dhcp, n;
    struct pollfd pfd = {.events = POLLIN};
    pid_t child, server = 0;

    g_assert_cmpint(pipe2(told, O_CLOEXEC), ==, 0);
    child = fork();
    if (child == 0)
        stage_until_killed(told[1]);
    close(told[1]);
    g_assert_cmpint(read(told[0], &server, sizeof(server)), ==, sizeof(server));
    dhcp = pidfd_open(server, 0);
    g_assert_cmpint(dhcp, >=, 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    pfd.fd = dhcp;
    n = poll(&pfd, 1, PATIENCE_MS);
    g_assert_cmpint(n, ==, 1);
    /* Nobody holds its networks any more. */
    assert_dies(tap);
    assert_nothing_left();
    close(dhcp);
    close(told[0]);
    close(tap);
}

static void test_time(void)
{
    int a = tap_new("vnet0"), b = tap_new("vnet1");
    gint64 begun = g_get_monotonic_time(), open, ready, ended;
    Stage *s = open_with(&LAN, &UNKNOWN);

    open = g_get_monotonic_time();
    plug(s, &LAN, "vnet0", "52:54:00:00:00:0a");
    plug(s, &UNKNOWN, "vnet1", "52:54:00:00:00:0b");
    ready = g_get_monotonic_time();
    stage_close(s);
    ended = g_get_monotonic_time();
    g_test_message("two networks %.1f ms, two taps %.1f ms, close %.1f ms", (double)(open - begun) / 1000,
                   (double)(ready - open) / 1000, (double)(ended - ready) / 1000);
    close(a);
    close(b);
}

/* --- what operators ask ------------------------------------------------------ */

/* Something that listens in the guest's network. */
static int guest_listens(int guest, guint16 port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd, rc;

    stage_net_enter(guest);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    rc = bind(fd, (const struct sockaddr *)&at, sizeof(at)) || listen(fd, 8);
    stage_net_enter(host_fd);
    g_assert_cmpint(rc, ==, 0);
    return fd;
}

/* Answers who has asked, if somebody has. */
static void serve(int fd, const char *text)
{
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

    if (peer < 0)
        return;
    send(peer, text, strlen(text), MSG_NOSIGNAL);
    shutdown(peer, SHUT_WR);
    close(peer);
}

typedef struct {
    Lookout *l;
    Stage *s;
    GPtrArray *nics;  /* of one VM: a card without a link, one in LAN, one that is in TWIN */
    GPtrArray *exams; /* they outlive the lookout */
    int web;
} Asking;

/* Turns until it has passed, or not, and says that. */
static void expect_lookout(const Asking *a, const char *text, gboolean passes, const char *says_so)
{
    gint64 until_ms = clock_steady_ms() + PATIENCE_MS;
    Exam *exam = exam_parse(text, NULL);
    g_autofree char *said = NULL;

    g_assert_nonnull(exam);
    g_ptr_array_add(a->exams, exam);
    while (clock_left_ms(until_ms) > 0) {
        gboolean passed = lookout_ask(a->l, exam, a->nics, &said);

        g_assert_true(!passed || passes);
        if (strstr(said, says_so) && passed == passes)
            break;
        g_clear_pointer(&said, g_free);
        lookout_turn(a->l, a->s, -1);
        serve(a->web, "HTTP/1.0 200 OK\r\n\r\nall is well");
    }
    g_assert_nonnull(said);
}

/* Only the VM's own addresses count, each where its card is; others answer at the same ones elsewhere. */
static void test_asked(void)
{
    int a = guest_new("vnet0", "52:54:00:00:00:0a"), b = guest_new("vnet1", "52:54:00:00:00:0b"),
        c = guest_new("vnet2", "52:54:00:00:00:0c");
    IsolatedNic cut = {.tap = (char *)"vnet9", .place = (char *)LAN.place, .down = TRUE},
                first = {.tap = (char *)"vnet0", .place = (char *)LAN.place},
                second = {.tap = (char *)"vnet1", .place = (char *)TWIN.place};
    g_autoptr(Stage) s = open_with(&LAN, &TWIN);
    Asking asking = {lookout_new(), s, g_ptr_array_new(),
                     g_ptr_array_new_with_free_func((GDestroyNotify)exam_free), guest_listens(a, 80)};
    Asking without = {asking.l, s, g_ptr_array_new(), asking.exams, asking.web};
    int other = guest_listens(c, 443);
    Vault vault;

    g_ptr_array_add(asking.nics, &cut);
    g_ptr_array_add(asking.nics, &first);
    g_ptr_array_add(asking.nics, &second);
    plug(s, &LAN, "vnet0", "52:54:00:00:00:0a");
    plug(s, &TWIN, "vnet1", "52:54:00:00:00:0b");
    plug(s, &LAN, "vnet2", "52:54:00:00:00:0c");
    expect_lookout(&asking, "ping", FALSE, "its first card has said no IPv4 address yet");
    expect_lookout(&asking, "ping:10.1.0.30", FALSE, "none of its cards has said that 10.1.0.30 is its own");
    expect_lookout(&without, "ping", FALSE, "it has no network card");
    guest_address(a, "10.1.0.20", "10.1.0.254");
    guest_address(b, "10.1.0.40", "10.1.0.254");
    guest_address(c, "10.1.0.30", "10.1.0.254");
    expect_lookout(&asking, "ping:10.1.0.20", TRUE, "it answers at 10.1.0.20");
    expect_lookout(&asking, "ping", TRUE, "it answers at 10.1.0.20");
    expect_lookout(&asking, "tcp:10.1.0.40:80", FALSE,
                   "10.1.0.40: Connection refused (its card is on 'twin')");
    expect_lookout(&asking, "tcp:80", TRUE, "it answers at 10.1.0.20");
    expect_lookout(&asking, "tcp:81", FALSE, "10.1.0.20: Connection refused");
    expect_lookout(&asking, "tcp:10.1.0.30:443", FALSE,
                   "none of its cards has said that 10.1.0.30 is its own");
    expect_lookout(&asking, "tcp:10.1.0.1:53", FALSE, "none of its cards has said that 10.1.0.1 is its own");
    expect_lookout(&asking, "http:80/", TRUE, "10.1.0.20: it answers with status 200: 'all is well'");
    expect_lookout(&asking, "http:80/ expect frob", FALSE,
                   "10.1.0.20: it answers with status 200, and its answer has not the text that was "
                   "expected: 'all is well'");
    expect_lookout(&asking, "https:80/", FALSE, "10.1.0.20: SSL connect error");
    vault_open(&vault, guest_listens(a, 443), "HTTP/1.0 200 OK\r\n\r\nall is well");
    expect_lookout(&asking, "https:443/ expect is well", TRUE,
                   "10.1.0.20: it answers with status 200: 'all is well'");
    vault_close(&vault);
    lookout_end(asking.l);
    lookout_free(asking.l);
    g_ptr_array_unref(asking.exams);
    g_ptr_array_unref(asking.nics);
    g_ptr_array_unref(without.nics);
    close(asking.web);
    close(other);
    close(a);
    close(b);
    close(c);
}

static void run(gconstpointer data)
{
    if (!is_root) {
        g_test_skip("it takes root to have networks of one's own");
        return;
    }
    ((void (*)(void))data)();
    assert_nothing_left();
}

/* The host's own address, and one that a guest has in production. */
static void set_up_host(void)
{
    g_autoptr(GError) error = NULL;

    host_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    host_net = net_now();
    stage_ip(host_fd,
             "link add prod0 type veth peer name prod1\n"
             "link set prod0 up\n"
             "link set prod1 up\n"
             "addr add " HOST "/24 dev prod0\n"
             "addr add 10.1.0.20/24 dev prod0\n",
             &error);
    g_assert_no_error(error);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    is_root = alone();
    if (is_root)
        set_up_host();
    g_test_add_data_func("/stage/guests_meet", test_guests_meet, run);
    g_test_add_data_func("/stage/reservation", test_reservation, run);
    g_test_add_data_func("/stage/dhcp_comes_again", test_dhcp_comes_again, run);
    g_test_add_data_func("/stage/places_do_not_meet", test_places_do_not_meet, run);
    g_test_add_data_func("/stage/taps", test_taps, run);
    g_test_add_data_func("/stage/leak_is_counted", test_leak_is_counted, run);
    g_test_add_data_func("/stage/boaster_keeps_nobody", test_boaster_keeps_nobody, run);
    g_test_add_data_func("/stage/boaster_drowns_nobody", test_boaster_drowns_nobody, run);
    g_test_add_data_func("/lookout/many_are_silent", test_many_are_silent, run);
    g_test_add_data_func("/lookout/static_address", test_static_address, run);
    g_test_add_data_func("/lookout/drops_echoes", test_drops_echoes, run);
    g_test_add_data_func("/checkup/cards", test_cards, run);
    g_test_add_data_func("/stage/closed", test_closed, run);
    g_test_add_data_func("/stage/control_fails", test_control_fails, run);
    g_test_add_data_func("/stage/leak_is_found", test_leak_is_found, run);
    g_test_add_data_func("/stage/way_out_is_found", test_way_out_is_found, run);
    g_test_add_data_func("/stage/answer_is_found", test_answer_is_found, run);
    g_test_add_data_func("/stage/wired_places_are_found", test_wired_places_are_found, run);
    g_test_add_data_func("/stage/mistakes", test_mistakes, run);
    g_test_add_data_func("/stage/failure_half_way", test_failure_half_way, run);
    g_test_add_data_func("/stage/close_leaves_nothing", test_close_leaves_nothing, run);
    g_test_add_data_func("/stage/kill_leaves_nothing", test_kill_leaves_nothing, run);
    g_test_add_data_func("/lookout/asked", test_asked, run);
    g_test_add_data_func("/stage/time", test_time, run);
    return g_test_run();
}
