/* SPDX-License-Identifier: Apache-2.0 */
/* Echoes of a kernel that answers, of one that does not, and of somebody who would like to. */
#include "alone.h"

#include "tests/vmconnect/hypervisor/turn.h"
#include "tests/vmconnect/link/fixture.h"
#include "vmconnect/probe/pinger.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#define PATIENCE_MS 30000
#define LONG_MS 25000
#define SHORT_MS 300
#define SEVERAL 100
#define HEAD 8 /* bytes of an echo before what it carries */

static gboolean is_alone;

typedef struct {
    uv_loop_t loop;
    Pinger *pinger;
    int eavesdropper; /* sees each echo to 127.0.0.0/8 */
} Room;

typedef struct {
    Ping *ping;
    gboolean done;
    guint times;
    gboolean found;
    char *why;
} Asked;

static void set_up(Room *r, gconstpointer data)
{
    (void)data;
    if (!is_alone)
        return;
    alone_answer(TRUE, TRUE);
    uv_loop_init(&r->loop);
    r->pinger = pinger_new(&r->loop);
    r->eavesdropper = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP);
    g_assert_cmpint(r->eavesdropper, >=, 0);
}

static void tear_down(Room *r, gconstpointer data)
{
    (void)data;
    if (!is_alone)
        return;
    pinger_close(r->pinger);
    loop_end(&r->loop);
    close(r->eavesdropper);
}

static void on_done(void *user, gboolean found, const char *why)
{
    Asked *a = user;

    g_assert_nonnull(a->ping); /* never from within pinger_ask() */
    a->ping = NULL;
    a->done = TRUE;
    a->times++;
    a->found = found;
    a->why = g_strdup(why);
}

static void ask(Room *r, Asked *a, const char *address, gint64 timeout_ms)
{
    *a = (Asked){0};
    a->ping = pinger_ask(r->pinger, address, timeout_ms, on_done, a);
}

static void wait_for(Room *r, Asked *a)
{
    g_assert_true(turn_until(&r->loop, turn_is_set, &a->done, PATIENCE_MS));
    g_assert_cmpuint(a->times, ==, 1);
}

/* @why NULL: it comes back; else a part of what must be said. */
static void expect(Room *r, const char *address, gint64 timeout_ms, const char *why)
{
    Asked a;

    ask(r, &a, address, timeout_ms);
    wait_for(r, &a);
    if (why ? !a.why || !strstr(a.why, why) : a.why != NULL)
        g_error("%s: %s", address, a.why ? a.why : "answered");
    g_free(a.why);
}

static void test_answered(Room *r, gconstpointer data)
{
    (void)data;
    expect(r, "127.0.0.1", LONG_MS, NULL);
    expect(r, "::1", LONG_MS, NULL);
    expect(r, "127.77.0.9", LONG_MS, NULL);
    expect(r, "localhost", LONG_MS, NULL);
    expect(r, "127.0.0.1", LONG_MS, NULL); /* the socket stays */
}

static void test_silent(Room *r, gconstpointer data)
{
    (void)data;
    alone_answer(FALSE, TRUE);
    expect(r, "127.0.0.1", SHORT_MS, "no echo came back");
    expect(r, "::1", LONG_MS, NULL);
    alone_answer(TRUE, FALSE);
    expect(r, "127.0.0.1", LONG_MS, NULL);
    expect(r, "::1", SHORT_MS, "no echo came back");
    /* Who answers is another than who was asked. */
    expect(r, "0.0.0.0", SHORT_MS, "no echo came back");
}

static void test_bad_input(Room *r, gconstpointer data)
{
    g_autofree char *endless = g_strnfill(600, 'a');

    (void)data;
    expect(r, "192.0.2.1", LONG_MS, "the echo cannot be sent: "); /* there is no way to it */
    expect(r, "2001:db8::1", LONG_MS, "the echo cannot be sent: ");
    expect(r, "127.255.255.255", LONG_MS, "the echo cannot be sent: "); /* all at once */
    expect(r, "999.1.1.1", LONG_MS, "its name is not found: ");
    expect(r, "127.0.0.1:80", LONG_MS, "its name is not found: ");
    expect(r, "[::1]", LONG_MS, "its name is not found: ");
    expect(r, " ", LONG_MS, "its name is not found: ");
    expect(r, endless, LONG_MS, "its name cannot be looked up: ");
    expect(r, "127.0.0.1", LONG_MS, NULL);
}

/* Many at once, of which some are answered, and some have no way. */
static void test_several(Room *r, gconstpointer data)
{
    Asked asked[SEVERAL];

    (void)data;
    alone_answer(TRUE, FALSE);
    for (guint i = 0; i < SEVERAL; i++)
        ask(r, &asked[i],
            i % 3 == 0   ? "127.0.0.1"
            : i % 3 == 1 ? "::1"
                         : "192.0.2.1",
            i % 3 == 1 ? SHORT_MS : LONG_MS);
    for (guint i = 0; i < SEVERAL; i++) {
        wait_for(r, &asked[i]);
        if (i % 3 == 0)
            g_assert_null(asked[i].why);
        else
            g_assert_nonnull(strstr(asked[i].why, i % 3 == 1 ? "no echo came back" : "cannot be sent"));
        g_free(asked[i].why);
    }
}

/* --- who answers instead of the kernel ---------------------------------------- */

typedef struct {
    Room *room;
    guint8 packet[256]; /* ICMP, of an echo that was asked */
    gsize len;
} Overheard;

static gboolean hears(void *user)
{
    Overheard *o = user;
    guint8 in[512];
    ssize_t n;

    while ((n = recv(o->room->eavesdropper, in, sizeof(in), 0)) > 20)
        if (in[20] == ICMP_ECHO) {
            o->len = (gsize)n - 20;
            g_assert_cmpuint(o->len, <=, sizeof(o->packet));
            memcpy(o->packet, in + 20, o->len);
            return TRUE;
        }
    return FALSE;
}

static void overhear(Room *r, Overheard *o)
{
    *o = (Overheard){.room = r};
    g_assert_true(turn_until(&r->loop, hears, o, PATIENCE_MS));
    g_assert_cmpuint(o->len, ==, HEAD + 16);
}

static guint16 checksum(const guint8 *data, gsize len)
{
    guint32 sum = 0;

    for (gsize i = 0; i < len; i++)
        sum += i % 2 ? data[i] : (guint32)data[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (guint16)~sum;
}

/* To 127.0.0.1, where the pinger hears it too. */
static void send_from(const char *address, const guint8 *packet, gsize len)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {inet_addr(address)}};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
    guint8 whole[256] = {0};
    guint16 sum;

    memcpy(whole, packet, len);
    if (len >= 4) {
        memset(whole + 2, 0, 2);
        sum = checksum(whole, len);
        whole[2] = (guint8)(sum >> 8);
        whole[3] = (guint8)sum;
    }
    g_assert_cmpint(bind(fd, (struct sockaddr *)&from, sizeof(from)), ==, 0);
    g_assert_cmpint(sendto(fd, whole, len, 0, (struct sockaddr *)&to, sizeof(to)), ==, (gssize)len);
    close(fd);
}

static void forge(const Overheard *o, const char *from, guint8 type, gsize len, guint flip)
{
    guint8 packet[256];

    memcpy(packet, o->packet, sizeof(packet));
    packet[0] = type;
    packet[HEAD + flip / 8] ^= (guint8)(1u << flip % 8);
    send_from(from, packet, len);
}

/* Only the words that were sent count, from whom they were sent to. */
static void test_forged(Room *r, gconstpointer data)
{
    Asked a, other;
    Overheard o;

    (void)data;
    alone_answer(FALSE, FALSE);
    ask(r, &a, "127.0.0.1", LONG_MS);
    overhear(r, &o);
    for (gsize len = HEAD; len < o.len; len++)
        forge(&o, "127.0.0.1", ICMP_ECHOREPLY, len, 8 * 16); /* cut short */
    for (guint bit = 0; bit < 8 * 16; bit++)
        forge(&o, "127.0.0.1", ICMP_ECHOREPLY, o.len, bit);
    forge(&o, "127.0.0.2", ICMP_ECHOREPLY, o.len, 8 * 16);
    forge(&o, "127.0.0.1", ICMP_DEST_UNREACH, o.len, 8 * 16);
    forge(&o, "127.0.0.1", ICMP_ECHO, o.len, 8 * 16);
    /* All that was said before this one's time was over has been heard. */
    ask(r, &other, "127.0.0.1", SHORT_MS);
    wait_for(r, &other);
    g_assert_nonnull(other.why);
    g_assert_false(a.done);
    /* More than was sent, with the same words: it came from there. */
    forge(&o, "127.0.0.1", ICMP_ECHOREPLY, o.len + 32, 8 * 16);
    wait_for(r, &a);
    g_assert_null(a.why);
    /* A second one has nobody to be for. */
    forge(&o, "127.0.0.1", ICMP_ECHOREPLY, o.len, 8 * 16);
    expect(r, "127.0.0.1", SHORT_MS, "no echo came back");
    g_assert_cmpuint(a.times, ==, 1);
    g_free(other.why);
}

/* The answer to the second is not the first's. */
static void test_not_mixed_up(Room *r, gconstpointer data)
{
    Asked first, second, third;
    Overheard of_first, of_second, of_third;

    (void)data;
    alone_answer(FALSE, FALSE);
    ask(r, &first, "127.0.0.1", LONG_MS);
    overhear(r, &of_first);
    ask(r, &second, "127.0.0.1", LONG_MS);
    overhear(r, &of_second);
    ask(r, &third, "127.0.0.2", LONG_MS);
    overhear(r, &of_third);
    g_assert_cmpint(memcmp(of_first.packet + HEAD, of_second.packet + HEAD, 16), !=, 0);
    forge(&of_second, "127.0.0.1", ICMP_ECHOREPLY, of_second.len, 8 * 16);
    wait_for(r, &second);
    g_assert_null(second.why);
    g_assert_false(first.done || third.done);
    forge(&of_third, "127.0.0.2", ICMP_ECHOREPLY, of_third.len, 8 * 16);
    wait_for(r, &third);
    g_assert_false(first.done);
    forge(&of_first, "127.0.0.1", ICMP_ECHOREPLY, of_first.len, 8 * 16);
    wait_for(r, &first);
    g_assert_null(first.why);
}

/* --- leaving -------------------------------------------------------------------- */

/* At each stage: before its name is looked up, while it waits, and with its answer on the way. */
static void test_cancelled(Room *r, gconstpointer data)
{
    Asked early, waiting, answered;
    Overheard o;

    (void)data;
    alone_answer(FALSE, FALSE);
    pinger_cancel(NULL);
    ask(r, &early, "127.0.0.1", LONG_MS);
    pinger_cancel(early.ping);
    ask(r, &waiting, "127.0.0.1", LONG_MS);
    overhear(r, &o);
    ask(r, &answered, "127.0.0.1", LONG_MS);
    overhear(r, &o);
    forge(&o, "127.0.0.1", ICMP_ECHOREPLY, o.len, 8 * 16);
    pinger_cancel(answered.ping);
    pinger_cancel(waiting.ping);
    expect(r, "127.0.0.1", SHORT_MS, "no echo came back");
    g_assert_cmpuint(early.times + waiting.times + answered.times, ==, 0);
}

/* Its names may still be looked up then; loop_end() sees that all of it goes. */
static void test_closed_at_once(Room *r, gconstpointer data)
{
    Asked asked[SEVERAL];

    (void)data;
    expect(r, "127.0.0.1", LONG_MS, NULL);
    for (guint i = 0; i < SEVERAL; i++)
        ask(r, &asked[i], i % 2 ? "localhost" : "::1", LONG_MS);
    for (guint i = 0; i < SEVERAL; i++)
        pinger_cancel(asked[i].ping);
    pinger_close(r->pinger);
    uv_run(&r->loop, UV_RUN_NOWAIT);
    r->pinger = pinger_new(&r->loop); /* for what tears down */
    expect(r, "127.0.0.1", LONG_MS, NULL);
    for (guint i = 0; i < SEVERAL; i++)
        g_assert_cmpuint(asked[i].times, ==, 0);
}

typedef struct {
    const char *path;
    void (*test)(Room *room, gconstpointer data);
} Case;

static void run(Room *r, gconstpointer data)
{
    const Case *c = data;

    if (!is_alone)
        g_test_skip("it takes root to have a network of one's own, and to ask for pings");
    else
        c->test(r, NULL);
}

int main(int argc, char **argv)
{
    static const Case CASES[] = {
        {"/pinger/answered", test_answered},
        {"/pinger/nobody answers", test_silent},
        {"/pinger/no address, or none that can be asked", test_bad_input},
        {"/pinger/many at once", test_several},
        {"/pinger/what was forged or cut short is no answer", test_forged},
        {"/pinger/answers are not mixed up", test_not_mixed_up},
        {"/pinger/nothing is told of what was cancelled", test_cancelled},
        {"/pinger/closed at once", test_closed_at_once},
    };

    g_test_init(&argc, &argv, NULL);
    is_alone = alone();
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++)
        g_test_add(CASES[i].path, Room, &CASES[i], set_up, run, tear_down);
    return g_test_run();
}
