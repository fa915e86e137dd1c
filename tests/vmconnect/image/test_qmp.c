/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/qmp.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define CAPABLE "{\"return\": {}, \"id\": 1}\r\n"

static QmpMessage *decode_one(const char *text)
{
    g_autoptr(QmpDecoder) d = qmp_decoder_new();
    g_autoptr(GError) error = NULL;
    QmpMessage *m;

    qmp_decoder_feed(d, text, strlen(text));
    m = qmp_decoder_next(d, &error);
    g_assert_no_error(error);
    g_assert_nonnull(m);
    return m;
}

static void test_messages(void)
{
    g_autoptr(QmpMessage) greeting = decode_one(GREETING);
    g_autoptr(QmpMessage) reply = decode_one("{\"return\": {\"a\": 1}, \"id\": 7, \"new\": 1}\r\n");
    g_autoptr(QmpMessage) event = decode_one("{\"event\": \"X\", \"data\": {\"b\": 2}, \"timestamp\": {}}\n");
    g_autoptr(QmpMessage) bare = decode_one("{\"event\": \"Y\"}\n");
    g_autoptr(QmpMessage) failure =
        decode_one("{\"id\": 8, \"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\n");

    g_assert_cmpint(greeting->kind, ==, QMP_GREETING);
    g_assert_cmpint(reply->kind, ==, QMP_REPLY);
    g_assert_cmpint(reply->id, ==, 7);
    g_assert_cmpint(json_integer_value(json_object_get(reply->data, "a")), ==, 1);
    g_assert_cmpint(event->kind, ==, QMP_EVENT);
    g_assert_cmpstr(event->name, ==, "X");
    g_assert_cmpint(json_integer_value(json_object_get(event->data, "b")), ==, 2);
    g_assert_null(bare->data);
    g_assert_cmpint(failure->kind, ==, QMP_FAILURE);
    g_assert_cmpint(failure->id, ==, 8);
    g_assert_cmpstr(failure->name, ==, "GenericError");
    g_assert_cmpstr(failure->text, ==, "no");
}

static void test_messages_in_pieces(void)
{
    const char text[] = "{\"return\": {}, \"id\": 1}\r\n{\"return\": {}, \"id\": 2}\r\n";
    g_autoptr(QmpDecoder) d = qmp_decoder_new();
    gint64 expected = 1;

    for (gsize i = 0; i < strlen(text); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(QmpMessage) m = NULL;

        qmp_decoder_feed(d, text + i, 1);
        m = qmp_decoder_next(d, &error);
        g_assert_no_error(error);
        if (m)
            g_assert_cmpint(m->id, ==, expected++);
    }
    g_assert_cmpint(expected, ==, 3);
}

static void test_nonsense(void)
{
    static const char *const BAD[] = {"\n",
                                      "hello\n",
                                      "[]\n",
                                      "{}\n",
                                      "{\"error\": \"text\"}\n",
                                      "{\"error\": {\"class\": 1, \"desc\": \"x\"}}\n",
                                      "{\"return\": {}, \"return\": {}}\n"};

    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(QmpDecoder) d = qmp_decoder_new();
        g_autoptr(GError) error = NULL;
        g_autoptr(GError) again = NULL;

        qmp_decoder_feed(d, BAD[i], strlen(BAD[i]));
        g_assert_null(qmp_decoder_next(d, &error));
        g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
        /* Broken for good, whatever follows. */
        qmp_decoder_feed(d, GREETING, strlen(GREETING));
        g_assert_null(qmp_decoder_next(d, &again));
        g_assert_error(again, US_ERROR, US_ERROR_PROTOCOL);
    }
}

static void test_endless_line(void)
{
    g_autoptr(QmpDecoder) d = qmp_decoder_new();
    g_autoptr(GError) error = NULL;
    g_autofree char *junk = g_strnfill(65536, ' ');

    for (guint i = 0; i <= QMP_MAX_LINE / 65536; i++) {
        g_assert_no_error(error);
        qmp_decoder_feed(d, junk, 65536);
        g_assert_null(qmp_decoder_next(d, &error));
    }
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
}

/* The peer's whole part is written beforehand: ids are 1, 2, 3, … */
static int scripted(const char *script, Qmp **ret_qmp)
{
    g_autoptr(GError) error = NULL;
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    g_assert_cmpint(write(pair[1], GREETING CAPABLE, strlen(GREETING CAPABLE)), >, 0);
    *ret_qmp = qmp_new_fd(pair[0], "peer", 1000, &error);
    g_assert_no_error(error);
    if (*script)
        g_assert_cmpint(write(pair[1], script, strlen(script)), ==, (gssize)strlen(script));
    return pair[1];
}

static void test_call_queues_events(void)
{
    g_autoptr(Qmp) qmp = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(QmpMessage) event = NULL;
    json_auto_t *result = NULL;
    int peer = scripted("{\"event\": \"E1\"}\n{\"return\": [5], \"id\": 2}\n{\"event\": \"E2\"}\n", &qmp);

    g_assert_true(qmp_call(qmp, "query", NULL, 1000, &result, &error));
    g_assert_cmpint(json_integer_value(json_array_get(result, 0)), ==, 5);
    event = qmp_take_event(qmp);
    g_assert_cmpstr(event->name, ==, "E1");
    qmp_message_free(g_steal_pointer(&event));
    g_assert_null(qmp_take_event(qmp));
    g_assert_true(qmp_wait_event(qmp, 1000, &error));
    event = qmp_take_event(qmp);
    g_assert_cmpstr(event->name, ==, "E2");
    close(peer);
}

static void test_failure_has_class_and_code(void)
{
    g_autoptr(Qmp) qmp = NULL;
    g_autoptr(GError) error = NULL;
    int peer = scripted(
        "{\"error\": {\"class\": \"GenericError\", \"desc\": \"Could not open: No space left on device\"},"
        " \"id\": 2}\n",
        &qmp);

    g_assert_false(qmp_call(qmp, "blockdev-add", json_pack("{s:s}", "a", "b"), 1000, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NO_SPACE);
    g_assert_cmpstr(error->message, ==,
                    "blockdev-add: Could not open: No space left on device (GenericError)");
    close(peer);
}

static void test_late_reply_is_dropped(void)
{
    g_autoptr(Qmp) qmp = NULL;
    g_autoptr(GError) error = NULL;
    json_auto_t *result = NULL;
    int peer = scripted("", &qmp);
    const char late[] = "{\"return\": \"old\", \"id\": 2}\n{\"return\": \"new\", \"id\": 3}\n";

    g_assert_false(qmp_call(qmp, "slow", NULL, 20, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_clear_error(&error);
    g_assert_cmpint(write(peer, late, strlen(late)), ==, (gssize)strlen(late));
    g_assert_true(qmp_call(qmp, "next", NULL, 1000, &result, &error));
    g_assert_cmpstr(json_string_value(result), ==, "new");
    close(peer);
}

static void assert_broken(const char *script, UsError code)
{
    g_autoptr(Qmp) qmp = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) again = NULL;
    int peer = scripted(script, &qmp);

    if (code == US_ERROR_UNREACHABLE)
        close(peer);
    g_assert_false(qmp_call(qmp, "query", NULL, 1000, NULL, &error));
    g_assert_error(error, US_ERROR, (int)code);
    g_assert_false(qmp_call(qmp, "query", NULL, 1000, NULL, &again));
    g_assert_error(again, US_ERROR, (int)code);
    if (code != US_ERROR_UNREACHABLE)
        close(peer);
}

static void test_broken_peers(void)
{
    assert_broken("", US_ERROR_UNREACHABLE);
    assert_broken("garbage\n", US_ERROR_PROTOCOL);
    assert_broken(GREETING, US_ERROR_PROTOCOL);
    assert_broken("{\"return\": {}, \"id\": 99}\n", US_ERROR_PROTOCOL);
    assert_broken("{\"return\": {}}\n", US_ERROR_PROTOCOL);
}

static void test_cancel(void)
{
    g_autoptr(Qmp) qmp = NULL;
    g_autoptr(GError) error = NULL;
    int peer = scripted("", &qmp);
    int stop = eventfd(1, EFD_CLOEXEC);
    gint64 begin = clock_steady_ms();

    qmp_set_cancel(qmp, stop);
    g_assert_false(qmp_call(qmp, "query", NULL, 60000, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CANCELLED);
    g_assert_cmpint(clock_steady_ms() - begin, <, 30000);
    close(stop);
    close(peer);
}

static void test_peer_that_stops_reading(void)
{
    g_autoptr(Qmp) qmp = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *much = g_strnfill(4 * 1024 * 1024, 'x');
    int peer = scripted("", &qmp);

    g_assert_false(qmp_call(qmp, "take", json_pack("{s:s}", "a", much), 20, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_clear_error(&error);
    /* Half a command is on the line: the next one would be read as its rest. */
    g_assert_false(qmp_call(qmp, "query", NULL, 1000, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
    close(peer);
}

static void test_event_queue_is_bounded(void)
{
    g_autoptr(Qmp) qmp = NULL;
    g_autoptr(GString) script = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    QmpMessage *event;
    guint n = 0;
    int peer;

    for (guint i = 0; i < 1000; i++)
        g_string_append_printf(script, "{\"event\": \"E%u\"}\n", i);
    g_string_append(script, "{\"return\": {}, \"id\": 2}\n");
    peer = scripted(script->str, &qmp);
    g_assert_true(qmp_call(qmp, "query", NULL, 1000, NULL, &error));
    while ((event = qmp_take_event(qmp))) {
        if (n++ == 0)
            g_assert_cmpstr(event->name, ==, "E744");
        qmp_message_free(event);
    }
    g_assert_cmpuint(n, ==, 256);
    close(peer);
}

static void test_cannot_connect(void)
{
    g_autofree char *long_path = g_strnfill(200, 'x');
    g_autoptr(GError) error = NULL;

    g_assert_null(qmp_open("/nonexistent/qmp.sock", "peer", 100, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
    g_clear_error(&error);
    g_assert_null(qmp_open(long_path, "peer", 100, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qmp/messages", test_messages);
    g_test_add_func("/qmp/messages_in_pieces", test_messages_in_pieces);
    g_test_add_func("/qmp/nonsense", test_nonsense);
    g_test_add_func("/qmp/endless_line", test_endless_line);
    g_test_add_func("/qmp/call_queues_events", test_call_queues_events);
    g_test_add_func("/qmp/failure_has_class_and_code", test_failure_has_class_and_code);
    g_test_add_func("/qmp/late_reply_is_dropped", test_late_reply_is_dropped);
    g_test_add_func("/qmp/broken_peers", test_broken_peers);
    g_test_add_func("/qmp/cancel", test_cancel);
    g_test_add_func("/qmp/peer_that_stops_reading", test_peer_that_stops_reading);
    g_test_add_func("/qmp/event_queue_is_bounded", test_event_queue_is_bounded);
    g_test_add_func("/qmp/cannot_connect", test_cannot_connect);
    return g_test_run();
}
