/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers are found while names wait for a server that does not answer. */
#include "vmconnect/loop/lookup.h"

#include <string.h>

#define POOL 4 /* threads of libuv's, unless UV_THREADPOOL_SIZE says otherwise */

typedef struct {
    GMutex mutex;
    guint calls;
    int status;
    char address[64];
} Bench;

static void on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    Bench *b = request->data;

    b->calls++;
    b->status = status;
    if (found)
        uv_ip_name(found->ai_addr, b->address, sizeof(b->address));
    uv_freeaddrinfo(found);
}

static void hang(uv_work_t *work)
{
    Bench *b = work->data;

    g_mutex_lock(&b->mutex);
    g_mutex_unlock(&b->mutex);
}

static void test_all(void)
{
    static const char *const NUMBERS[] = {"127.0.0.1", "::1"};
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    uv_loop_t loop;
    uv_work_t work[POOL];
    Bench b = {0};
    uv_getaddrinfo_t request = {.data = &b};

    uv_loop_init(&loop);
    g_mutex_init(&b.mutex);
    g_mutex_lock(&b.mutex);
    for (guint i = 0; i < POOL; i++) {
        work[i].data = &b;
        g_assert_cmpint(uv_queue_work(&loop, &work[i], hang, NULL), ==, 0);
    }
    for (guint i = 0; i < G_N_ELEMENTS(NUMBERS); i++) {
        g_assert_cmpint(lookup_start(&loop, &request, on_found, NUMBERS[i], i ? "80" : NULL, &hints), ==, 0);
        g_assert_cmpuint(b.calls, ==, i + 1);
        g_assert_cmpint(b.status, ==, 0);
        g_assert_cmpstr(b.address, ==, NUMBERS[i]);
    }
    /* A name takes its turn, and is told of once. */
    g_assert_cmpint(lookup_start(&loop, &request, on_found, "no such name", NULL, &hints), ==, 0);
    g_assert_cmpuint(b.calls, ==, 2);
    g_mutex_unlock(&b.mutex);
    uv_run(&loop, UV_RUN_DEFAULT);
    g_assert_cmpuint(b.calls, ==, 3);
    g_assert_cmpint(b.status, <, 0);
    g_assert_cmpint(uv_loop_close(&loop), ==, 0);
    g_mutex_clear(&b.mutex);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lookup/numbers-do-not-wait", test_all);
    return g_test_run();
}
