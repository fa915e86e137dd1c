/* SPDX-License-Identifier: Apache-2.0 */
/* Two ends of one connection, pumped in one thread; and peers that do not behave. */
#include "fixture.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <glib-unix.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static House house;

/* --- good order ------------------------------------------------------------- */

static void test_open(void)
{
    g_auto(Pair) pair = house_pair(&house, PURPOSE_CONTROL);
    g_auto(Pair) other = house_pair(&house, PURPOSE_CONTROL);
    Peer controller = identity_peer(house.controller);
    Peer engine = identity_peer(house.standby);
    Peer seen = link_peer(pair.listener);
    guint8 a[32], b[32];

    g_assert_cmpint(link_state(pair.dialer), ==, LINK_OPEN);
    g_assert_cmpint(link_state(pair.listener), ==, LINK_OPEN);
    g_assert_cmpint(seen.role, ==, ROLE_CONTROLLER);
    g_assert_true(id_equal(seen.id, controller.id));
    g_assert_cmpmem(seen.fingerprint, FINGERPRINT_LEN, controller.fingerprint, FINGERPRINT_LEN);
    g_assert_true(id_equal(link_peer(pair.dialer).id, engine.id));
    g_assert_cmpint(link_purpose(pair.listener), ==, PURPOSE_CONTROL);
    g_assert_cmpuint(link_hello(pair.dialer)->version_max, ==, HELLO_VERSION_MAX);
    g_assert_cmpuint(link_hello(pair.listener)->features, ==, HELLO_FEATURES);
    g_assert_true(g_str_has_prefix(link_name(pair.dialer), "engine "));
    g_assert_true(g_str_has_prefix(link_name(pair.listener), "controller "));
    link_binding(pair.dialer, LINK_BINDING_ENROL, a);
    link_binding(pair.listener, LINK_BINDING_ENROL, b);
    g_assert_cmpmem(a, 32, b, 32);
    /* Another session between the same two has another binding: what enrolment's proofs stand on. */
    link_binding(other.dialer, LINK_BINDING_ENROL, b);
    g_assert_cmpint(memcmp(a, b, 32), !=, 0);
    link_binding(pair.dialer, LINK_BINDING_COMPARE, b);
    g_assert_cmpint(memcmp(a, b, 32), !=, 0);
    g_assert_cmpuint(link_bytes_out(pair.dialer), >, 0);
}

static gboolean listener_has_frame(const Pair *pair)
{
    return link_events(pair->listener) == 0 || pair->listener_error;
}

typedef struct {
    guint sent;
} Counter;

static void on_sent(void *user)
{
    ((Counter *)user)->sent++;
}

/* A borrowed payload arrives as it was, and is given back. Returns the bytes it took on the wire. */
static guint64 send_blocks(guint64 rekey_bytes)
{
    LinkSettings dialer = {.identity = house.active, .purpose = PURPOSE_BULK, .rekey_bytes = rekey_bytes};
    LinkSettings listener = {.identity = house.standby};
    g_auto(Pair) pair = pair_new(&dialer, &listener);
    g_autofree guint8 *bytes = g_malloc(MESSAGE_DATA_MAX);
    Counter counter = {0};
    guint got = 0;
    MessageData d = {.len = MESSAGE_DATA_MAX, .disk = 1, .payload = bytes, .payload_len = MESSAGE_DATA_MAX};

    pair_run(&pair, both_up);
    for (guint i = 0; i < MESSAGE_DATA_MAX; i++)
        bytes[i] = (guint8)(i >> 8 ^ i);
    d.checksum = message_checksum(bytes, d.len);
    for (guint i = 0; i < 12; i++) {
        g_autoptr(GError) error = NULL;

        d.offset = (guint64)i * d.len;
        g_assert_true(link_send_data(pair.dialer, &d, on_sent, &counter, &error));
    }
    g_assert_cmpuint(counter.sent, ==, 0);
    while (got < 12) {
        Frame *frame = link_take(pair.listener);
        MessageData back;

        if (!frame) {
            g_assert_true(link_pump(pair.dialer, 0, NULL));
            g_assert_true(link_pump(pair.listener, 0, NULL));
            continue;
        }
        g_assert_true(message_decode_data(frame, &back, NULL));
        g_assert_cmpuint(back.offset, ==, (guint64)got++ * d.len);
        g_assert_true(message_verify_data(&back, back.payload, NULL));
        frame_free(frame);
    }
    g_assert_cmpuint(counter.sent, ==, 12);
    g_assert_cmpuint(link_queued_bytes(pair.dialer), ==, 0);
    return link_bytes_out(pair.dialer);
}

static void test_data(void)
{
    g_assert_cmpuint(send_blocks(0), >, 12 * MESSAGE_DATA_MAX);
}

/* New keys in the middle of it, each of which takes a record of its own. */
static void test_rekey(void)
{
    g_assert_cmpuint(send_blocks(100000), >, send_blocks(0) + 100 * 20);
}

/* What is not sent is given back too, when the link goes. */
static void test_data_given_back(void)
{
    static const guint8 BYTES[4096];
    Pair pair = house_pair(&house, PURPOSE_BULK);
    Counter counter = {0};
    MessageData d = {.len = 4096, .payload = BYTES, .payload_len = 4096};

    for (guint i = 0; i < 3; i++)
        g_assert_true(link_send_data(pair.dialer, &d, on_sent, &counter, NULL));
    pair_clear(&pair);
    g_assert_cmpuint(counter.sent, ==, 3);
}

static void test_bye(void)
{
    g_auto(Pair) pair = house_pair(&house, PURPOSE_CONTROL);
    json_auto_t *doc = json_pack("{s:s, s:{}}", "method", "x", "params");
    Frame *frame;

    g_assert_true(link_send_json(pair.dialer, MESSAGE_REQUEST, 5, doc, NULL));
    link_bye(pair.dialer);
    g_assert_false(link_send_json(pair.dialer, MESSAGE_REQUEST, 6, doc, NULL));
    pair_run(&pair, both_over);
    g_assert_error(pair.dialer_error, US_ERROR, US_ERROR_CANCELLED);
    g_assert_error(pair.listener_error, US_ERROR, US_ERROR_CANCELLED);
    /* What was said before goodbye is still there. */
    frame = link_take(pair.listener);
    g_assert_nonnull(frame);
    g_assert_cmpuint(frame->head.id, ==, 5);
    frame_free(frame);
    g_assert_null(link_take(pair.listener));
}

static void test_fail_reaches_the_peer(void)
{
    g_auto(Pair) pair = house_pair(&house, PURPOSE_BULK);
    g_autoptr(GError) why = g_error_new(US_ERROR, US_ERROR_NO_SPACE, "the store is full");
    static const guint8 BYTES[65536];
    MessageData d = {.len = 65536, .payload = BYTES, .payload_len = 65536};

    /* The other way there is much that will never be read. */
    for (guint i = 0; i < 200; i++)
        g_assert_true(link_send_data(pair.dialer, &d, NULL, NULL, NULL));
    link_fail(pair.listener, why);
    pair_run(&pair, both_over);
    g_assert_error(pair.listener_error, US_ERROR, US_ERROR_NO_SPACE);
    g_assert_error(pair.dialer_error, US_ERROR, US_ERROR_NO_SPACE);
    g_assert_true(g_str_has_suffix(pair.dialer_error->message, ": the store is full"));
}

static gboolean dialer_over(const Pair *pair)
{
    return pair->dialer_error != NULL;
}

static void test_heartbeat(void)
{
    g_auto(Pair) pair = house_pair(&house, PURPOSE_CONTROL);
    guint64 before = link_bytes_in(pair.dialer);

    link_set_heartbeat(pair.dialer, 20, 60000);
    while (link_bytes_in(pair.dialer) == before) {
        struct pollfd fd = {link_fd(pair.dialer), link_events(pair.dialer), 0};

        poll(&fd, 1, MIN(link_timeout_ms(pair.dialer), 20));
        g_assert_true(link_pump(pair.dialer, 0, NULL));
        g_assert_true(link_pump(pair.listener, 0, NULL));
    }
    /* A listener that is not pumped is as good as dead. */
    link_set_heartbeat(pair.dialer, 20, 100);
    pair.listener_error = g_error_new_literal(US_ERROR, US_ERROR_FAILED, "not pumped");
    pair_run(&pair, dialer_over);
    g_assert_error(pair.dialer_error, US_ERROR, US_ERROR_UNREACHABLE);
    g_assert_true(g_str_has_suffix(pair.dialer_error->message, ": the peer is silent"));
}

static void test_stall(void)
{
    LinkSettings dialer = {.identity = house.active, .purpose = PURPOSE_BULK, .stall_ms = 200};
    LinkSettings listener = {.identity = house.standby};
    g_auto(Pair) pair = pair_new(&dialer, &listener);
    g_autofree guint8 *bytes = g_malloc0(MESSAGE_DATA_MAX);
    MessageData d = {.len = MESSAGE_DATA_MAX, .payload = bytes, .payload_len = MESSAGE_DATA_MAX};

    pair_run(&pair, both_up);
    for (guint i = 0; i < 30; i++)
        g_assert_true(link_send_data(pair.dialer, &d, NULL, NULL, NULL));
    pair.listener_error = g_error_new_literal(US_ERROR, US_ERROR_FAILED, "not pumped");
    pair_run(&pair, dialer_over);
    g_assert_error(pair.dialer_error, US_ERROR, US_ERROR_TIMEOUT);
}

/* A receiver that does not take keeps a bounded amount, and the sender's queue ends at its limit. */
static gboolean sender_is_stuck(const Pair *pair)
{
    struct pollfd fd = {link_fd(pair->dialer), POLLOUT, 0};

    return link_events(pair->listener) == 0 && poll(&fd, 1, 0) == 0;
}

static void test_memory_is_bounded(void)
{
    g_auto(Pair) pair = house_pair(&house, PURPOSE_BULK);
    g_autofree guint8 *bytes = g_malloc0(MESSAGE_DATA_MAX);
    MessageData d = {.len = MESSAGE_DATA_MAX, .payload = bytes, .payload_len = MESSAGE_DATA_MAX};
    g_autoptr(GError) error = NULL;
    gsize held = 0;
    Frame *frame;

    while (link_send_data(pair.dialer, &d, NULL, NULL, &error))
        ;
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
    g_assert_cmpuint(link_queued_bytes(pair.dialer), <=, LINK_SEND_MAX);
    pair_run(&pair, sender_is_stuck);
    while ((frame = link_take(pair.listener))) {
        held += frame->head.len;
        frame_free(frame);
    }
    g_assert_cmpuint(held, >=, LINK_TAKE_BYTES - MESSAGE_DATA_MAX);
    g_assert_cmpuint(held, <=, LINK_TAKE_BYTES + MESSAGE_DATA_FRAME_MAX);
    /* And goes on once it was taken, even if the bytes sit in TLS already. */
    g_assert_cmpint(link_timeout_ms(pair.listener), ==, 0);
    pair_run(&pair, listener_has_frame);
    g_assert_nonnull((frame = link_take(pair.listener)));
    frame_free(frame);
}

static void test_small_frames_are_bounded(void)
{
    g_auto(Pair) pair = house_pair(&house, PURPOSE_BULK);
    guint n = 0;
    Frame *frame;

    for (guint i = 0; i < 3 * LINK_TAKE_FRAMES; i++) {
        g_autoptr(GBytes) zero = message_encode_range((MessageRange){i, 1, 0});

        g_assert_true(link_send(pair.dialer, MESSAGE_ZERO, 0, zero, NULL));
    }
    pair_run(&pair, listener_has_frame);
    while ((frame = link_take(pair.listener))) {
        frame_free(frame);
        n++;
    }
    g_assert_cmpuint(n, ==, LINK_TAKE_FRAMES);
}

/* --- certificates ----------------------------------------------------------------- */

static void expect_denied(Identity *dialer, Identity *listener, const char *dialer_says,
                          const char *listener_says)
{
    LinkSettings d = {.identity = dialer, .purpose = PURPOSE_CONTROL};
    LinkSettings l = {.identity = listener};
    g_auto(Pair) pair = pair_new(&d, &l);

    pair_run(&pair, both_over);
    g_assert_error(pair.dialer_error, US_ERROR, US_ERROR_DENIED);
    g_assert_error(pair.listener_error, US_ERROR, US_ERROR_DENIED);
    g_test_message("dialer: %s", pair.dialer_error->message);
    g_test_message("listener: %s", pair.listener_error->message);
    g_assert_nonnull(strstr(pair.dialer_error->message, dialer_says));
    g_assert_nonnull(strstr(pair.listener_error->message, listener_says));
    g_assert_cmpint(link_state(pair.dialer), ==, LINK_CLOSED);
}

static void test_wrong_authority(void)
{
    g_autoptr(Issuer) other = issuer_new("test", NULL);
    g_autoptr(Identity) foreign = owned(house.dir, ROLE_CONTROLLER, other, A_YEAR);

    expect_denied(foreign, house.standby, "is not trusted: its certificate is from another authority",
                  "is not trusted: its certificate is from another authority");
}

static void test_expired(void)
{
    g_autoptr(Identity) late = owned(house.dir, ROLE_CONTROLLER, house.issuer, -5);
    g_autoptr(Identity) late_engine = owned(house.dir, ROLE_ENGINE, house.issuer, -5);

    /* The controller finds nothing wrong with the engine: it is the engine that must say why. */
    expect_denied(late, house.standby, "this engine does not trust its peer: its certificate has expired",
                  "this engine does not trust its peer: its certificate has expired");
    expect_denied(house.controller, late_engine, "is not trusted: its certificate has expired",
                  "is not trusted: its certificate has expired");
}

static void test_self_signed(void)
{
    g_autoptr(Identity) bare = stranger(house.dir, ROLE_CONTROLLER);
    g_autoptr(Identity) bare_engine = stranger(house.dir, ROLE_ENGINE);

    expect_denied(bare, house.standby, "has no owner yet and trusts nobody",
                  "has no owner yet and trusts nobody");
    expect_denied(house.controller, bare_engine, "its certificate is self-signed",
                  "its certificate is self-signed");
}

static void test_not_a_stranger(void)
{
    LinkSettings d = {.identity = house.controller, .purpose = PURPOSE_ENROL};
    LinkSettings l = {.identity = house.standby, .strangers = TRUE};
    g_auto(Pair) pair = pair_new(&d, &l);
    g_autoptr(Identity) bare = stranger(house.dir, ROLE_ENGINE);
    LinkSettings no_token = {.identity = bare};
    g_auto(Pair) other = pair_new(&d, &no_token);

    pair_run(&pair, both_over);
    g_assert_error(pair.dialer_error, US_ERROR, US_ERROR_DENIED);
    g_assert_nonnull(strstr(pair.dialer_error->message, "this engine has an owner"));
    pair_run(&other, both_over);
    g_assert_error(other.dialer_error, US_ERROR, US_ERROR_DENIED);
    g_assert_nonnull(strstr(other.dialer_error->message, "this engine has no valid token"));
}

static void test_wrong_role(void)
{
    /* An engine that wants to command another engine. */
    expect_denied(house.active, house.standby, "a link for control may not be opened by the role engine",
                  "a link for control may not be opened by the role engine");
}

static void test_another_host_answers(void)
{
    LinkSettings d = {
        .identity = house.controller, .purpose = PURPOSE_CONTROL, .expect = identity_peer(house.active).id};
    LinkSettings l = {.identity = house.standby};
    g_auto(Pair) pair = pair_new(&d, &l);

    pair_run(&pair, both_over);
    g_assert_error(pair.dialer_error, US_ERROR, US_ERROR_DENIED);
    g_assert_true(g_str_has_prefix(pair.dialer_error->message, "another host answers: engine "));
}

static void test_no_common_version(void)
{
    LinkSettings d = {.identity = house.controller,
                      .purpose = PURPOSE_CONTROL,
                      .version_min = HELLO_VERSION_MAX + 1,
                      .version_max = HELLO_VERSION_MAX + 2};
    LinkSettings l = {.identity = house.standby};
    g_auto(Pair) pair = pair_new(&d, &l);

    pair_run(&pair, both_over);
    g_assert_error(pair.dialer_error, US_ERROR, US_ERROR_UNSUPPORTED);
    g_assert_error(pair.listener_error, US_ERROR, US_ERROR_UNSUPPORTED);
    g_assert_nonnull(strstr(pair.dialer_error->message, "no common protocol version"));
}

static void test_version_is_negotiated(void)
{
    LinkSettings d = {
        .identity = house.controller, .purpose = PURPOSE_CONTROL, .version_min = 1, .version_max = 9};
    LinkSettings l = {.identity = house.standby, .version_min = 1, .version_max = 4};
    g_auto(Pair) pair = pair_new(&d, &l);

    pair_run(&pair, both_up);
    g_assert_cmpuint(link_hello(pair.dialer)->version_max, ==, 4);
    g_assert_cmpuint(link_hello(pair.listener)->version_min, ==, 4);
}

/* --- peers that are none of ours: a raw socket or raw TLS against a listener --------------- */

typedef struct {
    Link *link;
    GError *error;
    int fd; /* the hostile end */
    SSL_CTX *ctx;
    SSL *ssl;
} Hostile;

static Hostile hostile_new(gint64 handshake_ms)
{
    LinkSettings l = {.identity = house.standby, .handshake_ms = handshake_ms};
    Hostile h = {0};
    int fd;

    connect_tcp(&h.fd, &fd);
    h.link = link_new_listener(fd, &l);
    return h;
}

static void hostile_clear(Hostile *h)
{
    link_free(h->link);
    g_clear_error(&h->error);
    SSL_free(h->ssl);
    SSL_CTX_free(h->ctx);
    close(h->fd);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Hostile, hostile_clear)

/* One turn of the link; FALSE when it is over. */
static gboolean hostile_turn(Hostile *h)
{
    struct pollfd fd = {link_fd(h->link), link_events(h->link), 0};
    int timeout = link_timeout_ms(h->link);

    poll(&fd, 1, timeout < 0 ? 20 : MIN(timeout, 20));
    return link_pump(h->link, fd.revents, &h->error);
}

/* Until the link is over; the hostile end hangs up when it is being told why. */
static void hostile_run(Hostile *h)
{
    gint64 deadline = clock_steady_ms() + 10000;

    while (hostile_turn(h)) {
        if (link_state(h->link) == LINK_CLOSING)
            shutdown(h->fd, SHUT_WR);
        g_assert_cmpint(clock_steady_ms(), <, deadline);
    }
}

/* Complete TLS; @identity NULL: without a certificate. */
static void hostile_tls(Hostile *h, Identity *identity)
{
    g_assert_true(g_unix_set_fd_nonblocking(h->fd, TRUE, NULL));
    h->ctx = SSL_CTX_new(TLS_client_method());
    h->ssl = SSL_new(identity ? identity_tls(identity) : h->ctx);
    SSL_set_fd(h->ssl, h->fd);
    SSL_set_connect_state(h->ssl);
    while (SSL_do_handshake(h->ssl) != 1) {
        struct pollfd fd = {h->fd, POLLIN, 0};

        g_assert_true(hostile_turn(h));
        poll(&fd, 1, 20);
    }
    g_assert_true(hostile_turn(h));
}

static void hostile_say(Hostile *h, FrameHeader head, const void *payload, gsize len)
{
    guint8 bytes[FRAME_HEADER_LEN];

    frame_header_encode(head, bytes);
    g_assert_cmpint(SSL_write(h->ssl, bytes, sizeof(bytes)), ==, sizeof(bytes));
    if (len > 0)
        g_assert_cmpint(SSL_write(h->ssl, payload, (int)len), ==, len);
}

static void hostile_hello(Hostile *h, Identity *identity, Purpose purpose)
{
    Peer me = identity_peer(identity);
    Hello hello = {HELLO_VERSION_MIN, HELLO_VERSION_MAX, 0, purpose, me.role, me.id, "x"};
    json_auto_t *doc = hello_to_json(&hello);
    g_autofree char *text = json_dumps(doc, JSON_COMPACT);

    hostile_say(h, (FrameHeader){MESSAGE_HELLO, 0, (guint32)strlen(text), 0}, text, strlen(text));
}

/* What the link says when this frame is all a peer sends after TLS. */
static void first_frame_refused(FrameHeader head, const char *payload, UsError code, const char *text)
{
    g_auto(Hostile) h = hostile_new(0);

    hostile_tls(&h, house.controller);
    hostile_say(&h, head, payload, payload ? strlen(payload) : 0);
    hostile_run(&h);
    g_test_message("%s", h.error->message);
    g_assert_error(h.error, US_ERROR, (gint)code);
    g_assert_nonnull(strstr(h.error->message, text));
}

static void test_first_frames(void)
{
    first_frame_refused((FrameHeader){999, 0, 0, 0}, NULL, US_ERROR_PROTOCOL, "message type 999 is unknown");
    first_frame_refused((FrameHeader){MESSAGE_REQUEST, 0, 0, 0}, NULL, US_ERROR_PROTOCOL,
                        "REQUEST may not come before the greeting");
    first_frame_refused((FrameHeader){MESSAGE_DATA, 0, 100, 0}, NULL, US_ERROR_PROTOCOL,
                        "DATA may not come before the greeting");
    first_frame_refused((FrameHeader){MESSAGE_WELCOME, 0, 0, 0}, NULL, US_ERROR_PROTOCOL,
                        "WELCOME may not come before the greeting");
    first_frame_refused((FrameHeader){MESSAGE_PING, 0, 0, 0}, NULL, US_ERROR_PROTOCOL,
                        "PING may not come before the greeting");
    first_frame_refused((FrameHeader){MESSAGE_HELLO, 0, 4097, 0}, NULL, US_ERROR_PROTOCOL,
                        "HELLO of 4097 bytes is longer");
    first_frame_refused((FrameHeader){MESSAGE_HELLO, 0, G_MAXUINT32, 0}, NULL, US_ERROR_PROTOCOL,
                        "is longer");
    first_frame_refused((FrameHeader){MESSAGE_HELLO, 1, 2, 0}, NULL, US_ERROR_PROTOCOL, "unknown flags");
    first_frame_refused((FrameHeader){MESSAGE_HELLO, 0, 2, 0}, "{}", US_ERROR_PROTOCOL, "HELLO");
    first_frame_refused((FrameHeader){MESSAGE_HELLO, 0, 2, 0}, "xx", US_ERROR_PROTOCOL, "HELLO");
}

/* After a right greeting; the link's purpose is control. */
static void later_frame_refused(FrameHeader head, const char *text)
{
    g_auto(Hostile) h = hostile_new(0);

    hostile_tls(&h, house.controller);
    hostile_hello(&h, house.controller, PURPOSE_CONTROL);
    hostile_say(&h, head, NULL, 0);
    hostile_run(&h);
    g_test_message("%s", h.error->message);
    g_assert_error(h.error, US_ERROR, US_ERROR_PROTOCOL);
    g_assert_nonnull(strstr(h.error->message, text));
}

static void test_later_frames(void)
{
    later_frame_refused((FrameHeader){MESSAGE_HELLO, 0, 0, 0}, "HELLO may not come after the greeting");
    later_frame_refused((FrameHeader){MESSAGE_ANSWER, 0, 0, 0},
                        "ANSWER may not come from the side that dialled");
    later_frame_refused((FrameHeader){MESSAGE_BEGIN, 0, 0, 0}, "BEGIN does not belong on a link for control");
    later_frame_refused((FrameHeader){MESSAGE_ENROL, 0, 0, 0}, "ENROL does not belong on a link for control");
    later_frame_refused((FrameHeader){MESSAGE_REQUEST, 0, MESSAGE_JSON_MAX + 1, 0},
                        "is longer than the 8388608");
    later_frame_refused((FrameHeader){MESSAGE_REQUEST, 2, 0, 0}, "REQUEST carries unknown flags 0x2");
}

static void test_liar(void)
{
    g_auto(Hostile) h = hostile_new(0);

    /* A true certificate, and a HELLO in another's name. */
    hostile_tls(&h, house.active);
    hostile_hello(&h, house.controller, PURPOSE_CONTROL);
    hostile_run(&h);
    g_assert_error(h.error, US_ERROR, US_ERROR_DENIED);
    g_assert_true(g_str_has_prefix(h.error->message, "HELLO names controller "));
    g_assert_nonnull(strstr(h.error->message, "the certificate engine "));
}

static void test_no_certificate(void)
{
    g_auto(Hostile) h = hostile_new(0);
    guint8 answer[512] = {0};
    FrameHeader head;

    hostile_tls(&h, NULL);
    hostile_hello(&h, house.controller, PURPOSE_CONTROL);
    while (link_state(h.link) < LINK_CLOSING)
        g_assert_true(hostile_turn(&h));
    /* It is told why. */
    while (SSL_read(h.ssl, answer, sizeof(answer) - 1) <= 0)
        hostile_turn(&h);
    head = frame_header_decode(answer);
    g_assert_cmpuint(head.type, ==, MESSAGE_FAIL);
    g_assert_nonnull(strstr((char *)answer + FRAME_HEADER_LEN, "it showed no certificate"));
    SSL_shutdown(h.ssl);
    shutdown(h.fd, SHUT_WR);
    hostile_run(&h);
    g_assert_error(h.error, US_ERROR, US_ERROR_DENIED);
}

static void test_tls_1_2(void)
{
    g_auto(Hostile) h = hostile_new(0);

    g_assert_true(g_unix_set_fd_nonblocking(h.fd, TRUE, NULL));
    h.ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(h.ctx, TLS1_2_VERSION);
    h.ssl = SSL_new(h.ctx);
    SSL_set_fd(h.ssl, h.fd);
    SSL_connect(h.ssl);
    hostile_run(&h);
    g_assert_error(h.error, US_ERROR, US_ERROR_PROTOCOL);
    g_assert_nonnull(strstr(h.error->message, "TLS: unsupported protocol"));
}

static void test_random_bytes(void)
{
    for (guint i = 0; i < 50; i++) {
        g_auto(Hostile) h = hostile_new(200);
        guint8 junk[300];

        for (guint k = 0; k < sizeof(junk); k++)
            junk[k] = (guint8)g_test_rand_int();
        g_assert_cmpint(write(h.fd, junk, sizeof(junk)), ==, sizeof(junk));
        hostile_run(&h);
        g_assert_true(g_error_matches(h.error, US_ERROR, US_ERROR_PROTOCOL) ||
                      g_error_matches(h.error, US_ERROR, US_ERROR_TIMEOUT));
    }
}

static void test_random_frames(void)
{
    for (guint i = 0; i < 50; i++) {
        g_auto(Hostile) h = hostile_new(500);
        guint8 junk[200];

        hostile_tls(&h, house.active);
        hostile_hello(&h, house.active, PURPOSE_BULK);
        for (guint k = 0; k < sizeof(junk); k++)
            junk[k] = (guint8)g_test_rand_int();
        SSL_write(h.ssl, junk, sizeof(junk));
        hostile_run(&h);
        g_assert_error(h.error, US_ERROR, US_ERROR_PROTOCOL);
    }
}

static void test_slow_handshake(void)
{
    g_auto(Hostile) silent = hostile_new(100);
    g_auto(Hostile) no_hello = hostile_new(400);

    hostile_run(&silent);
    g_assert_error(silent.error, US_ERROR, US_ERROR_TIMEOUT);
    g_assert_nonnull(strstr(silent.error->message, "did not finish its handshake in time"));
    hostile_tls(&no_hello, house.controller);
    hostile_run(&no_hello);
    g_assert_error(no_hello.error, US_ERROR, US_ERROR_TIMEOUT);
}

static void test_truncated(void)
{
    g_auto(Hostile) h = hostile_new(0);

    hostile_tls(&h, house.controller);
    hostile_hello(&h, house.controller, PURPOSE_CONTROL);
    hostile_say(&h, (FrameHeader){MESSAGE_REQUEST, 0, 100, 1}, "half", 4);
    shutdown(h.fd, SHUT_RDWR);
    hostile_run(&h);
    g_assert_error(h.error, US_ERROR, US_ERROR_UNREACHABLE);
    g_assert_null(link_take(h.link));
}

/* A thousand questions whether we are alive are worth few answers. */
static void test_ping_flood(void)
{
    g_auto(Hostile) h = hostile_new(0);

    hostile_tls(&h, house.controller);
    hostile_hello(&h, house.controller, PURPOSE_CONTROL);
    for (guint i = 0; i < 1000; i++)
        hostile_say(&h, (FrameHeader){MESSAGE_PING, 0, 0, 0}, NULL, 0);
    for (guint i = 0; i < 100; i++) {
        g_assert_true(hostile_turn(&h));
        g_assert_cmpuint(link_queued_bytes(h.link), <, 4096);
    }
}

/* --- a figure ------------------------------------------------------------------------------- */

static void test_throughput(void)
{
    g_auto(Pair) pair = house_pair(&house, PURPOSE_BULK);
    g_autofree guint8 *bytes = g_malloc0(MESSAGE_DATA_MAX);
    MessageData d = {.len = MESSAGE_DATA_MAX, .payload = bytes, .payload_len = MESSAGE_DATA_MAX};
    guint sent = 0, got = 0, total = 256;
    gint64 from = g_get_monotonic_time();
    gint64 took;

    while (got < total) {
        Frame *frame;

        while (sent < total && link_queued_bytes(pair.dialer) < 4 * MESSAGE_DATA_MAX) {
            g_assert_true(link_send_data(pair.dialer, &d, NULL, NULL, NULL));
            sent++;
        }
        g_assert_true(link_pump(pair.dialer, 0, NULL));
        g_assert_true(link_pump(pair.listener, 0, NULL));
        while ((frame = link_take(pair.listener))) {
            frame_free(frame);
            got++;
        }
    }
    took = MAX(g_get_monotonic_time() - from, 1);
    g_test_message("both ends in one thread: %.0f MiB/s", (double)total / ((double)took / 1e6));
}

int main(int argc, char **argv)
{
    int rc;

    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    house_init(&house);
    g_test_add_func("/link/open", test_open);
    g_test_add_func("/link/data", test_data);
    g_test_add_func("/link/rekey", test_rekey);
    g_test_add_func("/link/data-given-back", test_data_given_back);
    g_test_add_func("/link/bye", test_bye);
    g_test_add_func("/link/fail", test_fail_reaches_the_peer);
    g_test_add_func("/link/heartbeat", test_heartbeat);
    g_test_add_func("/link/stall", test_stall);
    g_test_add_func("/link/memory", test_memory_is_bounded);
    g_test_add_func("/link/memory-small-frames", test_small_frames_are_bounded);
    g_test_add_func("/link/tls/wrong-authority", test_wrong_authority);
    g_test_add_func("/link/tls/expired", test_expired);
    g_test_add_func("/link/tls/self-signed", test_self_signed);
    g_test_add_func("/link/tls/not-a-stranger", test_not_a_stranger);
    g_test_add_func("/link/tls/wrong-role", test_wrong_role);
    g_test_add_func("/link/tls/another-host", test_another_host_answers);
    g_test_add_func("/link/tls/no-certificate", test_no_certificate);
    g_test_add_func("/link/tls/1.2", test_tls_1_2);
    g_test_add_func("/link/version/none", test_no_common_version);
    g_test_add_func("/link/version/negotiated", test_version_is_negotiated);
    g_test_add_func("/link/hostile/first-frames", test_first_frames);
    g_test_add_func("/link/hostile/later-frames", test_later_frames);
    g_test_add_func("/link/hostile/liar", test_liar);
    g_test_add_func("/link/hostile/random-bytes", test_random_bytes);
    g_test_add_func("/link/hostile/random-frames", test_random_frames);
    g_test_add_func("/link/hostile/slow-handshake", test_slow_handshake);
    g_test_add_func("/link/hostile/truncated", test_truncated);
    g_test_add_func("/link/hostile/ping-flood", test_ping_flood);
    g_test_add_func("/link/throughput", test_throughput);
    rc = g_test_run();
    house_clear(&house);
    return rc;
}
