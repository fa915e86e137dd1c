/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's agent, as libvirt tells what it says: the domain is the one of libvirt's test driver, and what takes the agent's
 * place stands here. It may say what it likes: it is the guest's. */
#include "bench.h"

#include "vmconnect/hypervisor/virt_error.h"

#include <libvirt/libvirt-qemu.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define TEST_VM "6695eb01-f6a4-8304-79aa-97f2502e193f"
#define STARTED "{\"return\":{\"pid\":7}}"
#define RUNS "{\"return\":{\"exited\":false}}"
#define ENDED "{\"return\":{\"exited\":true,\"exitcode\":0}}"

/* Of one try at a time: the thread that asks has it until the try ends. */
static struct {
    const char *const
        *answers; /* one after the other, the last again and again; NULL in it: libvirt fails, with … */
    gsize n_answers;
    gboolean is_lost; /* … that the connection is none; else that it found none of that name */
    gsize at;
    GString *asked; /* the questions, each in a line */
} agent;

/* In the place of libvirt's. */
char *virDomainQemuAgentCommand(virDomainPtr dom, const char *command, int timeout, unsigned int flags)
{
    const char *answer = agent.answers[agent.at];

    g_assert_cmpstr(virDomainGetName(dom), ==, "test");
    g_assert_cmpint(timeout, >, 0); /* never for ever */
    g_assert_cmpuint(flags, ==, 0);
    g_string_append_printf(agent.asked, "%s\n", command);
    if (agent.at + 1 < agent.n_answers)
        agent.at++;
    if (!answer)
        virDomainLookupByName(agent.is_lost ? NULL : virDomainGetConnect(dom), "none");
    return answer ? strdup(answer) : NULL;
}

static Id test_vm(void)
{
    Id vm;

    g_assert_true(id_parse(TEST_VM, &vm, NULL));
    return vm;
}

static void set_up(Bench *b, gconstpointer data)
{
    bench_open(b, data ? data : "test:///default");
    agent.asked = g_string_new(NULL);
    agent.is_lost = FALSE;
}

static void tear_down(Bench *b, gconstpointer data)
{
    (void)data;
    bench_close(b);
    g_string_free(agent.asked, TRUE);
}

static void answer_with(const char *const *answers, gsize n)
{
    agent.answers = answers;
    agent.n_answers = n;
    agent.at = 0;
    g_string_truncate(agent.asked, 0);
}

#define ANSWERS(...)                                     \
    do {                                                 \
        static const char *const LIST[] = {__VA_ARGS__}; \
        answer_with(LIST, G_N_ELEMENTS(LIST));           \
    } while (0)

static void expect_agent(Bench *b, ProbeResult result, const char *why)
{
    expect_of(b, "agent", test_vm(), LONG_MS, result, why);
}

static void expect_command(Bench *b, gint64 timeout_ms, ProbeResult result, const char *why)
{
    expect_of(b, "command:/bin/check 'a b' c", test_vm(), timeout_ms, result, why);
}

static void test_answers(Bench *b, gconstpointer data)
{
    (void)data;
    ANSWERS("{\"return\":{}}");
    expect_agent(b, PROBE_ANSWERED, NULL);
    g_assert_cmpstr(agent.asked->str, ==, "{\"execute\":\"guest-ping\"}\n");
}

static void test_silent(Bench *b, gconstpointer data)
{
    (void)data;
    ANSWERS(NULL);
    expect_agent(b, PROBE_MISSED, "the guest agent of 'test' did not do guest-ping");
    /* That the connection is gone says nothing about the guest. */
    agent.is_lost = TRUE;
    expect_agent(b, PROBE_NOT_MADE, "invalid connection");
    ANSWERS(STARTED, RUNS, NULL);
    expect_command(b, LONG_MS, PROBE_NOT_MADE, "invalid connection");
}

static void test_garbage(Bench *b, gconstpointer data)
{
    static const char *const GARBAGE[] = {
        "", "x", "{", "[]", "7", "{}", "{\"error\":{}}", "{\"return\":", "\xff\xfe"};
    g_autofree char *much = g_strnfill(8 << 20, 'x');
    g_autofree char *whole = g_strdup_printf("{\"return\":{\"x\":\"%s\"}}", much);
    const char *answers[] = {whole};

    (void)data;
    for (guint i = 0; i < G_N_ELEMENTS(GARBAGE); i++) {
        g_test_message("%s", GARBAGE[i]);
        answer_with(&GARBAGE[i], 1);
        expect_agent(b, PROBE_MISSED, NULL);
        expect_command(b, LONG_MS, PROBE_MISSED, NULL);
    }
    answer_with(answers, 1);
    expect_agent(b, PROBE_MISSED, "longer than");
}

static void test_command(Bench *b, gconstpointer data)
{
    (void)data;
    ANSWERS(STARTED, RUNS, RUNS, ENDED);
    expect_command(b, LONG_MS, PROBE_ANSWERED, NULL);
    g_assert_cmpstr(
        agent.asked->str, ==,
        "{\"execute\":\"guest-exec\",\"arguments\":{\"path\":\"/bin/check\",\"arg\":[\"a b\",\"c\"]}}\n"
        "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":7}}\n"
        "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":7}}\n"
        "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":7}}\n");
    ANSWERS(STARTED, "{\"return\":{\"exited\":true,\"exitcode\":3}}");
    expect_command(b, LONG_MS, PROBE_MISSED, "'/bin/check' in the guest ended with 3");
    ANSWERS(STARTED, "{\"return\":{\"exited\":true,\"signal\":9}}");
    expect_command(b, LONG_MS, PROBE_MISSED, "in the guest ended");
    ANSWERS(STARTED, RUNS);
    expect_command(b, SHORT_MS, PROBE_MISSED, "has not ended in time");
    ANSWERS(STARTED, RUNS, NULL);
    expect_command(b, LONG_MS, PROBE_MISSED, "guest-exec-status");
    ANSWERS(NULL);
    expect_command(b, LONG_MS, PROBE_MISSED, "guest-exec");
    /* What it wrote is not asked for, and bounded. */
    ANSWERS(STARTED, "{\"return\":{\"exited\":true,\"exitcode\":0,\"out-data\":\"eA==\"}}");
    expect_command(b, LONG_MS, PROBE_ANSWERED, NULL);
}

static void test_no_such_vm(Bench *b, gconstpointer data)
{
    (void)data;
    answer_with(NULL, 0);
    expect_of(b, "agent", id_random(), LONG_MS, PROBE_MISSED, NULL);
    g_assert_cmpuint(agent.asked->len, ==, 0);
}

static void test_no_libvirt(Bench *b, gconstpointer data)
{
    (void)data;
    expect_agent(b, PROBE_NOT_MADE, NULL);
    expect_command(b, LONG_MS, PROBE_NOT_MADE, NULL);
}

/* Nothing is told of it, whether its thread is at it already or not; closing waits for that. */
static void test_cancelled(Bench *b, gconstpointer data)
{
    g_auto(Try) first = {0};
    g_auto(Try) second = {0};

    (void)data;
    ANSWERS(STARTED, RUNS);
    try_begin(&first, b, "command:/bin/check", test_vm(), SHORT_MS);
    prober_cancel(g_steal_pointer(&first.probe));
    bench_close(b);
    bench_open(b, "test:///default");
    ANSWERS("{\"return\":{}}");
    try_begin(&second, b, "agent", test_vm(), LONG_MS);
    try_wait(&second);
    g_assert_cmpint(second.result, ==, PROBE_ANSWERED);
    g_assert_cmpuint(first.times, ==, 0);
}

static void add(const char *path, const char *uri, void (*test)(Bench *bench, gconstpointer data))
{
    g_test_add(path, Bench, uri, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    add("/prober/agent/answers", NULL, test_answers);
    add("/prober/agent/silent", NULL, test_silent);
    add("/prober/agent/garbage", NULL, test_garbage);
    add("/prober/agent/command", NULL, test_command);
    add("/prober/agent/no such VM", NULL, test_no_such_vm);
    add("/prober/agent/no libvirt", NO_LIBVIRT, test_no_libvirt);
    add("/prober/agent/cancelled", NULL, test_cancelled);
    return g_test_run();
}
