/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/exam.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

static Exam *parse(const char *text, ExamKind kind)
{
    g_autoptr(GError) error = NULL;
    Exam *exam = exam_parse(text, &error);

    g_assert_no_error(error);
    g_assert_cmpint(exam->kind, ==, kind);
    g_assert_cmpstr(exam->text, ==, text);
    return exam;
}

static void test_plain(void)
{
    static const struct {
        const char *text, *word;
        ExamKind kind;
    } CASES[] = {
        {"agent", NULL, EXAM_AGENT},
        {"screen", NULL, EXAM_SCREEN},
        {"disks", NULL, EXAM_DISKS},
        {"no-disks", NULL, EXAM_NO_DISKS},
        {"ping", NULL, EXAM_PING},
        {"console:web1 login: ", "web1 login: ", EXAM_CONSOLE},
        {"hostname:web1", "web1", EXAM_HOSTNAME},
        {"mounted:/srv/my data", "/srv/my data", EXAM_MOUNTED},
        {"mounted:C:\\", "C:\\", EXAM_MOUNTED},
        {"service:getty@tty1.service", "getty@tty1.service", EXAM_SERVICE},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autoptr(Exam) exam = parse(CASES[i].text, CASES[i].kind);

        g_assert_cmpstr(exam->word, ==, CASES[i].word);
        g_assert_null(exam->address);
        g_assert_cmpuint(exam->port, ==, 0);
    }
}

static void test_on_stage(void)
{
    static const struct {
        const char *text, *address, *path, *expect;
        ExamKind kind;
        guint port;
    } CASES[] = {
        {"ping:192.0.2.7", "192.0.2.7", NULL, NULL, EXAM_PING, 0},
        {"tcp:22", NULL, NULL, NULL, EXAM_TCP, 22},
        {"tcp:192.0.2.7:65535", "192.0.2.7", NULL, NULL, EXAM_TCP, 65535},
        {"http:80", NULL, "/", NULL, EXAM_HTTP, 80},
        {"https:443/a expect b", NULL, "/a", "b", EXAM_HTTPS, 443},
        {"http:80/a:b?c=d", NULL, "/a:b?c=d", NULL, EXAM_HTTP, 80},
        {"http:192.0.2.7:8080/health expect all is well", "192.0.2.7", "/health", "all is well", EXAM_HTTP,
         8080},
        {"http:80 expect / expect x", NULL, "/", "/ expect x", EXAM_HTTP, 80},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autoptr(Exam) exam = parse(CASES[i].text, CASES[i].kind);

        g_assert_cmpstr(exam->address, ==, CASES[i].address);
        g_assert_cmpuint(exam->port, ==, CASES[i].port);
        g_assert_cmpstr(exam->path, ==, CASES[i].path);
        g_assert_cmpstr(exam->expect, ==, CASES[i].expect);
    }
}

static void test_command(void)
{
    g_autoptr(Exam) exam = parse("command:sh -c 'test -e \"/a b\"'", EXAM_COMMAND);

    g_assert_cmpuint(g_strv_length(exam->argv), ==, 3);
    g_assert_cmpstr(exam->argv[2], ==, "test -e \"/a b\"");
}

static void test_wrong(void)
{
    static const struct {
        const char *text, *says;
    } CASES[] = {
        {"", "of no kind that there is: agent, ping, tcp, http, https, console, screen, command, hostname, "
             "mounted, "
             "service, disks, no-disks"},
        {"frob:1", "check 'frob:1' is of no kind that there is: agent"},
        {"age", "of no kind"},
        {"agent:1", "nothing follows it"},
        {"screen:", "nothing follows it"},
        {"no-disks:vda", "nothing follows it"},
        {"ping:", "an address is an IPv4 number"},
        {"ping:web1", "an address is an IPv4 number"},
        {"tcp", "a port from 1 to 65535"},
        {"tcp:0", "a port from 1 to 65535"},
        {"tcp:65536", "a port from 1 to 65535"},
        {"tcp:80x", "a port from 1 to 65535"},
        {"tcp:web1:80", "an address is an IPv4 number"},
        {"tcp::80", "an address is an IPv4 number"},
        {"http:", "a port from 1 to 65535"},
        {"http://web1/", "a port from 1 to 65535"},
        {"http:80/a b", "a path has no spaces"},
        {"http:80/a\r\nX: y", "a path has no spaces"},
        {"http:80/\xc3\xa4", "a path has no spaces"},
        {"http:80/ expect ", "text that is expected is missing"},
        {"console", "is to follow a colon"},
        {"console:", "is to follow a colon"},
        {"command", "check 'command': "},
        {"command:''", "a program and its arguments"},
        {"command:sh 'a", "check 'command:sh 'a': "},
        {"hostname:", "is to follow a colon"},
        {"mounted:", "is to follow a colon"},
        {"mounted:--help", "not a mount point"},
        {"service:-h", "not the name of a service"},
        {"service:a b", "not the name of a service"},
        {"console:\xff", "text in UTF-8"},
    };
    g_autofree char *many = g_strnfill(1025, 'x');

    for (guint i = 0; i <= G_N_ELEMENTS(CASES); i++) {
        g_autoptr(GError) error = NULL;
        gboolean last = i == G_N_ELEMENTS(CASES);

        g_assert_null(exam_parse(last ? many : CASES[i].text, &error));
        g_assert_error(error, US_ERROR, US_ERROR_USAGE);
        if (!strstr(error->message, last ? "1024 bytes" : CASES[i].says))
            g_test_message("%s", error->message);
        g_assert_nonnull(strstr(error->message, last ? "1024 bytes" : CASES[i].says));
    }
}

static void expect_document(const char *text, const char *says)
{
    json_auto_t *doc = json_loads(text, 0, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_nonnull(doc);
    g_assert_true(exam_document_check(doc, &error) == (says == NULL));
    if (!says)
        return;
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    if (!strstr(error->message, says))
        g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, says));
}

static void test_documents(void)
{
    expect_document("{\"a\":[\"agent\"],\"*\":[\"tcp:80\",\"tcp:81\"]}", NULL);
    expect_document("{}", "an object of 1 to 256 members");
    expect_document("[\"agent\"]", "an object of 1 to 256 members");
    expect_document("{\"a\":[]}", "checks of 'a': checks are a list of 1 to 32 texts");
    expect_document("{\"a\":\"agent\"}", "checks of 'a': checks are a list");
    expect_document("{\"b\":[\"agent\"],\"a\":[\"agent\",7]}",
                    "checks of 'a': check 2 of the list is no text");
    expect_document("{\"a\":[\"agent\",\"agent\"]}", "it is there twice");
}

static void test_find(void)
{
    json_auto_t *doc = json_loads("{\"u\":[\"1\"],\"n\":[\"2\"],\"*\":[\"3\"]}", 0, NULL);
    json_auto_t *some = json_loads("{\"n\":[\"2\"]}", 0, NULL);

    g_assert_true(exam_document_find(doc, "u", "n") == json_object_get(doc, "u"));
    g_assert_true(exam_document_find(doc, "v", "n") == json_object_get(doc, "n"));
    g_assert_true(exam_document_find(doc, "v", "m") == json_object_get(doc, "*"));
    g_assert_null(exam_document_find(some, "v", "m"));
    g_assert_null(exam_document_find(NULL, "v", "m"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/exam/plain", test_plain);
    g_test_add_func("/exam/on-stage", test_on_stage);
    g_test_add_func("/exam/command", test_command);
    g_test_add_func("/exam/wrong", test_wrong);
    g_test_add_func("/exam/documents", test_documents);
    g_test_add_func("/exam/find", test_find);
    return g_test_run();
}
