/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/loop/clerk.h"

#include <glib.h>

typedef struct {
    int worked; /* the number of the errand, set by the thread */
    int done;
    int *order;
} Note;

static void work(void *data)
{
    Note *note = data;

    note->worked = ++*note->order;
}

static void done(void *data)
{
    Note *note = data;

    note->done = note->worked;
}

static void test_order_and_close(void)
{
    uv_loop_t loop;
    Clerk *clerk;
    Note notes[100] = {0};
    int order = 0;

    uv_loop_init(&loop);
    clerk = clerk_new(&loop);
    for (int i = 0; i < 100; i++) {
        notes[i].order = &order;
        clerk_submit(clerk, work, done, &notes[i]);
    }
    while (!notes[10].done)
        uv_run(&loop, UV_RUN_ONCE);
    clerk_close(clerk);
    for (int i = 0; i < 100; i++)
        g_assert_cmpint(notes[i].done, ==, i + 1);
    uv_run(&loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&loop), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/loop/clerk/order-and-close", test_order_and_close);
    return g_test_run();
}
