/* SPDX-License-Identifier: Apache-2.0 */
/* What a channel may be, when it may send, and what a message looks like: all of it pure, time is a number. */
#include "orchestrator/notify/channel.h"
#include "orchestrator/notify/line.h"
#include "orchestrator/notify/message.h"
#include "orchestrator/notify/pace.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define HOUR ((gint64)3600 * 1000)

static const Id CONTROLLER = {{1}};
static const Id CHANNEL = {{2}};

/* --- channel --------------------------------------------------------------- */

#define MAIL(more) \
    "{'name': 'ops', 'mail': {'to': ['a@b.c'], 'from': 'u@b.c', 'smtp': 'smtp://h:587'" more "}}"
#define HOOK(more) "{'name': 'ops', 'hook': {'file': 'page'}" more "}"
#define URL(url) "{'name': 'ops', 'webhook': {'url': '" url "'}}"

static const struct {
    const char *doc;
    const char *says; /* NULL: it is good */
} CHANNELS[] = {
    {MAIL(""), NULL},
    {MAIL(", 'tls': 'never'"), NULL},
    {MAIL(", 'user': 'u', 'password': 'p'"), NULL},
    {HOOK(", 'severity': 'info', 'rate': 0, 'scenarios': ['web', 'shop']"), NULL},
    {"{'name': 'log', 'syslog': {}}", NULL},
    {URL("https://example.org/a?b=c"), NULL},
    {URL("http://[::1]:8080"), NULL},
    {"{'name': 'ops'}", "one of mail, webhook, syslog and hook"},
    {"{'name': 'ops', 'syslog': {}, 'hook': {'file': 'a'}}", "this is 2 of them"},
    {"{'name': 'a b', 'syslog': {}}", "cannot be the name of a channel"},
    {"{'name': 'a\\u000ab', 'syslog': {}}", "cannot be the name of a channel"},
    {"{'name': 'ops', 'syslog': {}, 'colour': 'red'}", "colour"},
    {"{'name': 'ops', 'syslog': {'colour': 'red'}}", "colour"},
    {HOOK(", 'severity': 'bad'"), "severity 'bad' is none of"},
    {HOOK(", 'rate': 1001"), "rate: it must be"},
    {HOOK(", 'rate': -1"), "rate: it must be"},
    {HOOK(", 'scenarios': []"), "scenarios: it must be an array of 1 to"},
    {HOOK(", 'scenarios': [7]"), "scenarios: it must be an array"},
    {HOOK(", 'scenarios': ['a/b']"), "cannot be the name of a scenario"},
    {"{'name': 'ops', 'hook': {'file': '../page'}}", "cannot be the name of a hook"},
    {"{'name': 'ops', 'hook': {'file': '.page'}}", "cannot be the name of a hook"},
    {"{'name': 'ops', 'hook': {'file': ''}}", "cannot be the name of a hook"},
    {"{'name': 'ops', 'hook': {'file': '-rf'}}", "cannot be the name of a hook"},
    {"{'name': 'ops', 'mail': {'to': ['a@b.c\\u000d\\u000aBcc: x@y.z'], 'from': 'u@b.c', 'smtp': "
     "'smtp://h'}}",
     "is not a mail address"},
    {"{'name': 'ops', 'mail': {'to': ['a@b.c>'], 'from': 'u@b.c', 'smtp': 'smtp://h'}}",
     "is not a mail address"},
    {"{'name': 'ops', 'mail': {'to': ['a'], 'from': 'u@b.c', 'smtp': 'smtp://h'}}", "is not a mail address"},
    {"{'name': 'ops', 'mail': {'to': ['a@b@c'], 'from': 'u@b.c', 'smtp': 'smtp://h'}}",
     "is not a mail address"},
    {"{'name': 'ops', 'mail': {'to': ['a@b'], 'from': 'u b@c', 'smtp': 'smtp://h'}}", "from: "},
    {"{'name': 'ops', 'mail': {'to': [], 'from': 'u@b.c', 'smtp': 'smtp://h'}}", "to: it must be an array"},
    {"{'name': 'ops', 'mail': {'to': ['a@b'], 'from': 'u@b.c', 'smtp': 'http://h'}}",
     "smtp: it must begin with"},
    {"{'name': 'ops', 'mail': {'to': ['a@b'], 'from': 'u@b.c', 'smtp': 'smtp://h/x'}}",
     "smtp: it has a path"},
    {MAIL(", 'tls': 'maybe'"), "neither required nor never"},
    {MAIL(", 'user': 'u'"), "one is there without the other"},
    {MAIL(", 'tls': 'never', 'user': 'u', 'password': 'p'"), "a line that everybody can read"},
    {MAIL(", 'ca': 'x'"), "certificates in PEM"},
    {URL("ftp://example.org/"), "url: it must begin with"},
    {URL("file:///etc/passwd"), "url: it"},
    {URL("https://user:secret@example.org/"), "holds a user's name"},
    {URL("https://example.org/\\u000d\\u000aX: y"), "url: it is not a URL"},
    {URL("https://"), "url: it"},
    {"{'name': 'ops', 'webhook': {'url': 'https://h/', 'secret': ''}}", "secret: it is empty"},
    {"{'name': 'ops', 'webhook': {'url': 'https://h/', 'secret': 'a\\u000ab'}}", "control character"},
};

static json_t *parse(const char *text)
{
    g_autofree char *quoted = g_strdelimit(g_strdup(text), "'", '"');
    json_t *doc = json_loads(quoted, 0, NULL);

    g_assert_nonnull(doc);
    return doc;
}

static void test_channels(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(CHANNELS); i++) {
        json_auto_t *doc = parse(CHANNELS[i].doc);
        g_autoptr(GError) error = NULL;
        g_autoptr(Channel) channel = channel_from_json(doc, &error);

        g_test_message("%s: %s", CHANNELS[i].doc, error ? error->message : "good");
        g_assert_true((channel != NULL) == (CHANNELS[i].says == NULL));
        if (CHANNELS[i].says) {
            g_assert_error(error, US_ERROR, US_ERROR_USAGE);
            g_assert_nonnull(strstr(error->message, CHANNELS[i].says));
            g_assert_null(strstr(error->message, "secret@"));
        } else {
            json_auto_t *again = channel_to_json(channel);
            g_autoptr(Channel) same = channel_from_json(again, &error);
            json_auto_t *third = same ? channel_to_json(same) : NULL;

            g_assert_no_error(error);
            g_assert_true(json_equal(again, third));
        }
    }
}

static void test_no_secret_is_shown(void)
{
    static const char *const DOCS[] = {
        MAIL(", 'user': 'u', 'password': 'geheim'"),
        "{'name': 'ops', 'webhook': {'url': 'https://example.org/geheim/x?key=geheim', 'secret': 'geheim'}}",
        URL("https://example.org?geheim"),
        URL("https://example.org#geheim"),
        URL("https://example.org/geheim"),
    };

    for (guint i = 0; i < G_N_ELEMENTS(DOCS); i++) {
        json_auto_t *doc = parse(DOCS[i]);
        g_autoptr(Channel) channel = channel_from_json(doc, NULL);
        json_auto_t *shown = channel_describe(channel);
        g_autofree char *text = json_text(shown);

        g_test_message("%s", text);
        g_assert_null(strstr(text, "geheim"));
        g_assert_nonnull(strstr(text, i == 0 ? "\"has_password\":true" : "https://example.org"));
    }
}

/* --- pace ------------------------------------------------------------------- */

static const PaceSettings AS_RUN = {HOUR, 1000, 300000, 600000};

static void test_pauses(void)
{
    static const gint64 PAUSES_S[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300};
    gint64 now = 5000;
    Pace p;

    pace_init(&p, &AS_RUN, 20);
    for (guint i = 0; i < G_N_ELEMENTS(PAUSES_S); i++) {
        pace_failed(&p, now);
        g_assert_cmpint(p.next_try_ms, ==, now + 1000 * PAUSES_S[i]);
        g_assert_true(pace_is_long(&p, now) == (now - 5000 >= 600000));
        now = p.next_try_ms;
    }
    pace_sent(&p, now);
    g_assert_false(pace_is_long(&p, now));
    pace_failed(&p, now);
    g_assert_cmpint(p.next_try_ms, ==, now + 1000);
    pace_retry(&p);
    g_assert_cmpint(p.next_try_ms, <, now);
    pace_clear(&p);
}

static void test_rate(void)
{
    Pace p;

    pace_init(&p, &AS_RUN, 3);
    for (gint64 at = 0; at < 3; at++) {
        g_assert_cmpuint(pace_allowed(&p, 1000 * at), ==, 3 - at);
        pace_sent(&p, 1000 * at);
    }
    g_assert_cmpuint(pace_allowed(&p, HOUR - 1), ==, 0);
    g_assert_cmpint(pace_free_ms(&p, HOUR - 1), ==, HOUR);
    g_assert_cmpuint(pace_allowed(&p, HOUR), ==, 1);
    g_assert_cmpint(pace_free_ms(&p, HOUR), ==, HOUR);
    pace_sent(&p, HOUR);
    g_assert_cmpint(pace_free_ms(&p, HOUR), ==, HOUR + 1000);
    g_assert_cmpuint(pace_allowed(&p, 10 * HOUR), ==, 3);
    pace_clear(&p);
    pace_init(&p, &AS_RUN, 0);
    for (guint i = 0; i < 100000; i++)
        pace_sent(&p, 0);
    g_assert_cmpuint(pace_allowed(&p, 0), ==, G_MAXUINT);
    g_assert_cmpuint(p.sent->len, ==, 0);
    pace_clear(&p);
}

/* A restart: the steady clock begins anew, the wall clock may have been set. */
static void test_pace_is_remembered(void)
{
    static const struct {
        gint64 wall_later_ms;
        guint allowed;
    } CASES[] = {{0, 1}, {HOUR / 2, 1}, {HOUR, 3}, {-HOUR, 3}, {-1, 2}, {365 * 24 * HOUR, 3}};
    const gint64 wall = 1700000000000;
    Pace p;

    pace_init(&p, &AS_RUN, 3);
    pace_sent(&p, 100000);
    pace_sent(&p, 200000);
    pace_failed(&p, 200000);
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        json_auto_t *doc = pace_to_json(&p, 200000, wall);
        Pace q;

        pace_init(&q, &AS_RUN, 3);
        pace_from_json(&q, doc, 7, wall + CASES[i].wall_later_ms);
        g_assert_cmpuint(pace_allowed(&q, 7), ==, CASES[i].allowed);
        g_assert_true(q.failing);
        g_assert_true(pace_is_long(&q, 7) == (CASES[i].wall_later_ms >= 600000));
        pace_clear(&q);
    }
    pace_clear(&p);
    pace_init(&p, &AS_RUN, 3);
    pace_from_json(&p, NULL, 0, wall);
    g_assert_cmpuint(pace_allowed(&p, 0), ==, 3);
    pace_clear(&p);
}

/* --- messages ------------------------------------------------------------------ */

static json_t *event(EventCode code, const char *vm, const char *why, guint64 sequence)
{
    g_autoptr(Event) e = event_new(code, "web", "alpha", vm, why);
    json_t *doc = event_to_json(e, sequence, 1795299414123);

    g_assert_nonnull(doc);
    return doc;
}

static void test_lines(void)
{
    static const struct {
        const char *text, *line;
        gsize max;
    } CASES[] = {
        {"plain", "plain", 100},
        {"a\r\nBcc: b\tc\x7f", "a  Bcc: b c ", 100},
        {"a\xff\xfe", "a\xef\xbf\xbd\xef\xbf\xbd", 100},
        {"a\xe2\x80\xaex", "a?x", 100}, /* right to left */
        {"a\xe2\x80\xa8x", "a x", 100}, /* line separator */
        {"12345678", "12345678", 8},
        {"123456789", "12345…", 8},
        {"ääääää", "äää…", 9}, /* never half a letter */
        {"", "", 3},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autofree char *line = line_of(CASES[i].text, CASES[i].max);

        g_assert_cmpstr(line, ==, CASES[i].line);
    }
}

/* Of a whole mail: every line short and ASCII, heads before the first empty line. */
static void check_mail(const char *mail, GString *ret_head, GString *ret_body)
{
    g_auto(GStrv) lines = g_strsplit(mail, "\r\n", 0);
    guint i = 0;

    for (char **line = lines; *line; line++) {
        g_assert_null(strpbrk(*line, "\r\n"));
        if (!g_str_has_prefix(*line, "Message-ID: "))
            g_assert_cmpuint(strlen(*line), <=, 76);
        for (const char *p = *line; *p; p++)
            g_assert_true(*p >= 0x20 && *p < 0x7f);
    }
    for (; lines[i] && lines[i][0]; i++)
        g_string_append_printf(ret_head, "%s%s", lines[i][0] == ' ' || i == 0 ? "" : "\n", lines[i]);
    for (i++; lines[i]; i++) {
        for (const char *p = lines[i]; *p; p++) {
            if (*p == '=' && p[1] == '\0')
                break;
            if (*p == '=') {
                g_string_append_c(ret_body,
                                  (char)(g_ascii_xdigit_value(p[1]) << 4 | g_ascii_xdigit_value(p[2])));
                p += 2;
            } else {
                g_string_append_c(ret_body, *p);
            }
        }
        if (!g_str_has_suffix(lines[i], "="))
            g_string_append_c(ret_body, '\n');
    }
}

static void mail_of(json_t *events, GString *ret_head, GString *ret_body)
{
    g_autoptr(Message) m = message_new(CONTROLLER, CHANNEL, "ops", events);
    char *to[] = {(char *)"a@example.org", (char *)"b@example.org", NULL};
    g_autofree char *mail = message_mail(m, "u@example.org", to, 1795299414123);

    check_mail(mail, ret_head, ret_body);
}

static void assert_has(const GString *text, const char *piece)
{
    if (!strstr(text->str, piece))
        g_test_message("'%s' is not in: %s", piece, text->str);
    g_assert_nonnull(strstr(text->str, piece));
}

static void test_mail(void)
{
    json_auto_t *events = json_array();
    g_autoptr(GString) head = g_string_new(NULL);
    g_autoptr(GString) body = g_string_new(NULL);

    json_array_append_new(events, event(EVENT_VM_DOWN, "web1", "no room", 17));
    mail_of(events, head, body);
    g_assert_cmpstr(
        head->str, ==,
        "Date: Sat, 21 Nov 2026 22:16:54 +0000\nFrom: u@example.org\nTo: a@example.org, b@example.org\n"
        "Message-ID: "
        "<17-17.1795299414123.02000000-0000-0000-0000-000000000000@01000000-0000-0000-0000-000000000000>\n"
        "Subject: =?UTF-8?B?W3VuZGVyc3R1ZHldIGNyaXRpY2FsOiAnd2ViMScgd2FzIG5vdCBt?= "
        "=?UTF-8?B?b3ZlZCBhbmQgY291bGQgbm90IGJlIHN0YXJ0ZWQgYWdhaW4gb24g?= "
        "=?UTF-8?B?YWxwaGE6IG5vIHJvb20=?=\n"
        "Auto-Submitted: auto-generated\nX-Understudy-Channel: ops\nMIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: quoted-printable");
    g_assert_cmpstr(
        body->str, ==,
        "'web1' was not moved and could not be started again on alpha: no room\n"
        "Next step: start it there: virsh start, after the cause is removed\n\n"
        "Severity:  critical\nCode:      VM_DOWN\nScenario:  web\nHost:      alpha\nVM:        web1\n"
        "Time:      2026-11-21T22:16:54.123Z\nNumber:    17\n\n-- \n"
        "Understudy controller 01000000-0000-0000-0000-000000000000, channel ops\n\n");
}

static void test_digest(void)
{
    json_auto_t *events = json_array();
    g_autoptr(GString) head = g_string_new(NULL);
    g_autoptr(GString) body = g_string_new(NULL);
    g_autoptr(Message) m = NULL;

    json_array_append_new(events, event(EVENT_VM_MOVED, "web1", NULL, 17));
    json_array_append_new(events, event(EVENT_VM_DOWN, "web2", "so", 19));
    json_array_append_new(events, event(EVENT_VM_DOWN, "web3", "so", 20));
    mail_of(events, head, body);
    assert_has(head, "Message-ID: <17-20.");
    assert_has(
        body,
        "3 events from 2026-11-21T22:16:54.123Z to 2026-11-21T22:16:54.123Z: 2 critical, 1 significant\n");
    assert_has(body, "\n* 2026-11-21T22:16:54.123Z critical VM_DOWN (19)\n  'web2' was not moved");
    g_assert_true(strstr(body->str, "(17)") < strstr(body->str, "(19)"));
    m = message_new(CONTROLLER, CHANNEL, "ops", events);
    g_assert_cmpstr(json_string_value(json_object_get(m->document, "code")), ==, "DIGEST");
    g_assert_cmpstr(json_string_value(json_object_get(m->document, "severity")), ==, "critical");
    g_assert_cmpint(json_integer_value(json_object_get(m->document, "sequence")), ==, 20);
    g_assert_true(json_equal(json_object_get(m->document, "events"), events));
}

static const char *const HOSTILE[] = {
    "a\r\nBcc: evil@example.org\r\n\r\nbody",
    "\n.\nQUIT\n",
    "=?UTF-8?B?YQ==?=",
    "\xe2\x80\xae\xf0\x9f\x94\xa5 \xc3\xa4\xc3\xb6",
    "\x01\x02\x1b[31m\x7f",
    "",
    "%s%n%d",
};

/* Whatever a text holds, it stays where texts stand. */
static void check_hostile(const char *text)
{
    json_auto_t *events = json_array();
    g_autoptr(GString) head = g_string_new(NULL);
    g_autoptr(GString) body = g_string_new(NULL);
    g_autoptr(Message) m = NULL;
    g_auto(GStrv) lines = NULL;
    g_auto(GStrv) variables = NULL;

    json_array_append_new(events, event(EVENT_VM_DOWN, text, text, 17));
    mail_of(events, head, body);
    g_assert_null(strstr(head->str, "\nBcc"));
    g_assert_null(strstr(body->str, "\n.\n"));
    assert_has(body, "\nNumber:    17\n\n-- \n");
    m = message_new(CONTROLLER, CHANNEL, "ops", events);
    lines = message_syslog(m, 1);
    g_assert_cmpuint(g_strv_length(lines), ==, 1);
    g_assert_null(strpbrk(lines[0], "\r\n\x1b"));
    g_assert_true(g_str_has_prefix(lines[0], "<26>"));
    g_assert_cmpuint(strlen(lines[0]), <, 2200);
    variables = message_environment(m);
    for (char **v = variables; *v; v++) {
        g_assert_true(g_str_has_prefix(*v, "UNDERSTUDY_"));
        g_assert_cmpuint(strlen(*v), <, 1100);
    }
}

/* Twenty VMs are lost: what is to be typed is there all the same. */
static void test_long_syslog(void)
{
    g_autofree char *text = g_strnfill(4000, 'x');
    json_auto_t *events = json_pack("[{s:i, s:s, s:s, s:s, s:s, s:s}]", "sequence", 1, "at",
                                    "2026-11-21T22:16:54.123Z", "code", "SWITCHOVER_REQUIRED", "severity",
                                    "critical", "text", text, "next", "understudy switchover web --force");
    g_autoptr(Message) m = message_new(CONTROLLER, CHANNEL, "ops", events);
    g_auto(GStrv) lines = message_syslog(m, 1);

    g_assert_true(g_str_has_suffix(lines[0], "; understudy switchover web --force"));
    g_assert_cmpuint(strlen(lines[0]), <, 2200);
}

static void test_hostile_texts(void)
{
    g_autofree char *long_one = g_strnfill(100 * 1024, 'x');
    g_autoptr(GString) wide = g_string_new(NULL);

    for (guint i = 0; i < G_N_ELEMENTS(HOSTILE); i++)
        check_hostile(HOSTILE[i]);
    check_hostile(long_one);
    while (wide->len < 100 * 1024)
        g_string_append(wide, "ä🔥\r\n");
    check_hostile(wide->str);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/notify/channels", test_channels);
    g_test_add_func("/notify/no-secret-is-shown", test_no_secret_is_shown);
    g_test_add_func("/notify/pauses", test_pauses);
    g_test_add_func("/notify/rate", test_rate);
    g_test_add_func("/notify/pace-is-remembered", test_pace_is_remembered);
    g_test_add_func("/notify/lines", test_lines);
    g_test_add_func("/notify/mail", test_mail);
    g_test_add_func("/notify/digest", test_digest);
    g_test_add_func("/notify/hostile-texts", test_hostile_texts);
    g_test_add_func("/notify/long-syslog", test_long_syslog);
    return g_test_run();
}
