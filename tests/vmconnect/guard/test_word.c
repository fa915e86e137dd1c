/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/error.h"
#include "vmconnect/guard/word.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static Word some_word(void)
{
    Word w = {.kind = WORD_KEEP,
              .reign.number = 7,
              .is_enforced = TRUE,
              .until = {123456789, 123456000},
              .taps = 2,
              .tap = {"vnet0", "vnet17"}};

    w.vm = id_random();
    w.reign.id = id_random();
    return w;
}

static void expect_equal(const Word *a, const Word *b)
{
    guint8 x[WORD_BYTES], y[WORD_BYTES];

    word_encode(a, x);
    word_encode(b, y);
    g_assert_cmpmem(x, sizeof(x), y, sizeof(y));
}

static void test_round_trip(void)
{
    static const char LONG[] = "a text that is longer than there is room for: ";
    Word w = some_word(), got;
    guint8 packet[WORD_BYTES];

    word_encode(&w, packet);
    g_assert_true(word_decode(packet, sizeof(packet), &got, NULL));
    g_assert_cmpint(got.kind, ==, WORD_KEEP);
    g_assert_cmpuint(got.reign.number, ==, 7);
    g_assert_true(got.is_enforced);
    g_assert_cmpint(got.until.raw_ms, ==, 123456000);
    g_assert_cmpuint(got.taps, ==, 2);
    g_assert_cmpstr(got.tap[1], ==, "vnet17");
    expect_equal(&w, &got);
    g_assert_cmpuint(got.words, ==, 0);
    w = (Word){.kind = WORD_LIST, .words = WORDS_KNOWN};
    word_encode(&w, packet);
    g_assert_true(word_decode(packet, sizeof(packet), &got, NULL));
    g_assert_cmpuint(got.words, ==, WORDS_KNOWN);
    g_assert_cmpuint(got.reign.number, ==, 0);
    g_assert_true(WORDS_KNOWN & WORD_MASK(WORD_KINDS - 1));
    expect_equal(&w, &got);
    w = (Word){.kind = WORD_REFUSED, .text = "nein, weil …"};
    word_encode(&w, packet);
    g_assert_true(word_decode(packet, sizeof(packet), &got, NULL));
    g_assert_cmpstr(got.text, ==, "nein, weil …");
    /* No half of the last character. */
    memset(w.text, 'x', WORD_TEXT_MAX - 1);
    memcpy(w.text, LONG, sizeof(LONG) - 1);
    w.text[WORD_TEXT_MAX - 2] = '\xc3';
    w.text[WORD_TEXT_MAX - 1] = '\0';
    word_encode(&w, packet);
    g_assert_true(word_decode(packet, sizeof(packet), &got, NULL));
    g_assert_cmpuint(strlen(got.text), ==, WORD_TEXT_MAX - 2);
}

/* Of a good packet, what is at @offset becomes @value: refused with @why. */
static void expect_refused(gsize offset, guint8 value, const char *why)
{
    g_autoptr(GError) error = NULL;
    Word w = some_word(), got = {0};
    guint8 packet[WORD_BYTES];

    word_encode(&w, packet);
    packet[offset] = value;
    g_assert_false(word_decode(packet, sizeof(packet), &got, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    g_assert_cmpstr(error->message, ==, why);
    g_assert_cmpint(got.kind, ==, 0);
}

static void test_refusals(void)
{
    g_autoptr(GError) error = NULL;
    Word w = some_word(), got;
    guint8 packet[WORD_BYTES + 1] = {0};

    expect_refused(0, 'X', "a word of another version");
    expect_refused(4, 0, "a word that is not known");
    expect_refused(4, WORD_KINDS, "a word that is not known");
    expect_refused(5, FENCED_HOWS, "a word that is not known");
    expect_refused(6, 2, "a word that is not known");
    expect_refused(6, 0, "an end that is no moment"); /* it has one, and says that it has none */
    expect_refused(7, 17, "too many taps");
    expect_refused(7, 1, "taps that are not counted");
    expect_refused(7, 3, "what is no name of a tap");
    expect_refused(55, 0x80, "an end that is no moment");
    expect_refused(64, '/', "what is no name of a tap");
    expect_refused(64, '"', "what is no name of a tap");
    expect_refused(64, ' ', "what is no name of a tap");
    expect_refused(64 + 15, 'x', "what is no name of a tap");
    expect_refused(320 + 1, 'x', "a text that is none");
    expect_refused(320, 0xff, "a text that is none");
    expect_refused(WORD_BYTES - 1, 1, "a word that is not known");
    word_encode(&w, packet);
    g_assert_false(word_decode(packet, WORD_BYTES + 1, &got, &error));
    g_assert_cmpstr(error->message, ==, "a word of another length");
    w.vm = ID_NIL;
    word_encode(&w, packet);
    g_clear_error(&error);
    g_assert_false(word_decode(packet, WORD_BYTES, &got, &error));
    g_assert_cmpstr(error->message, ==, "a word of no VM");
}

/* @n times that of /dev/null, with @len bytes of nothing. */
static void send_odd(int socket, gsize len, guint n)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    guint8 packet[WORD_BYTES] = {0};
    struct iovec data = {packet, len};
    struct msghdr m = {.msg_iov = &data,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    int fd = open("/dev/null", O_RDONLY);

    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(n * sizeof(int));
    for (guint i = 0; i < n; i++)
        memcpy(CMSG_DATA(&control.head) + i * sizeof(int), &fd, sizeof(int));
    g_assert_cmpint(sendmsg(socket, &m, 0), ==, len);
    close(fd);
}

/* Whatever comes with what is no word, none of it is kept. */
static void test_descriptors(void)
{
    int pair[2], first = dup(0), next, fd;
    Word got;

    close(first);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), ==, 0);
    for (guint n = 1; n <= 4; n++) {
        send_odd(pair[0], WORD_BYTES, n);
        g_assert_false(word_receive(pair[1], &got, &fd, NULL));
        send_odd(pair[0], 0, n);
        g_assert_false(word_receive(pair[1], &got, &fd, NULL));
    }
    next = dup(0);
    g_assert_cmpint(next, ==, first + 2);
    close(next);
    close(pair[0]);
    close(pair[1]);
}

static void test_socket(void)
{
    g_autoptr(GError) error = NULL;
    Word w = some_word(), got;
    int pair[2], fd, mine = open("/dev/null", O_RDONLY);

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), ==, 0);
    g_assert_false(word_receive(pair[1], &got, &fd, &error));
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
    g_clear_error(&error);
    g_assert_true(word_send(pair[0], &w, mine, NULL));
    g_assert_true(word_receive(pair[1], &got, &fd, NULL));
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, !=, 0);
    expect_equal(&w, &got);
    close(fd);
    g_assert_true(word_send(pair[0], &w, -1, NULL));
    g_assert_true(word_receive(pair[1], &got, &fd, NULL));
    g_assert_cmpint(fd, ==, -1);
    g_assert_true(word_send(pair[0], &w, mine, NULL));
    g_assert_false(word_receive(pair[1], &got, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    g_clear_error(&error);
    /* Who does not read is not waited for. */
    while (word_send(pair[0], &w, -1, &error))
        ;
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
    g_clear_error(&error);
    close(pair[1]);
    g_assert_false(word_send(pair[0], &w, -1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
    close(pair[0]);
    close(mine);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/word/round-trip", test_round_trip);
    g_test_add_func("/word/refusals", test_refusals);
    g_test_add_func("/word/socket", test_socket);
    g_test_add_func("/word/descriptors", test_descriptors);
    return g_test_run();
}
