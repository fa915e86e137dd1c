/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/room.h"

#include "vmconnect/base/error.h"

#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

#define MIB ((guint64)1024)

typedef struct {
    Room *room;
    int stop_fd;
    guint64 kib;
    gboolean taken;
    gboolean waited;
    GError *error;
} Taker;

static void take(void *arg)
{
    Taker *t = arg;

    t->taken = room_take(t->room, t->kib, t->stop_fd, &t->waited, &t->error);
}

static void test_usable(void)
{
    g_assert_cmpuint(room_usable_kib(1000, 1600), ==, 900);
    g_assert_cmpuint(room_usable_kib(100, 1600), ==, 0);
    g_assert_cmpuint(room_usable_kib(50, 1600), ==, 0);
}

/* More than there is in this machine is not waited for. */
static void test_vain(void)
{
    gboolean waited;
    int stop_fd = eventfd(0, EFD_CLOEXEC);
    Room *room = room_new(0);
    g_autoptr(GError) error = NULL;

    g_assert_false(room_take(room, G_MAXUINT64 / 2, stop_fd, &waited, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NO_SPACE);
    room_free(room);
    close(stop_fd);
}

/* The second one waits until the first has ended. */
static void test_waits(void)
{
    gboolean waited;
    Taker second = {.room = room_new(1), .stop_fd = eventfd(0, EFD_CLOEXEC), .kib = MIB};
    uv_thread_t thread;

    g_assert_true(room_take(second.room, MIB, second.stop_fd, &waited, NULL));
    g_assert_false(room_is_wanted(second.room));
    g_assert_cmpint(uv_thread_create(&thread, take, &second), ==, 0);
    while (!room_is_wanted(second.room))
        g_thread_yield();
    room_give(second.room, MIB);
    uv_thread_join(&thread);
    g_assert_no_error(second.error);
    g_assert_true(second.taken);
    g_assert_false(second.waited); /* for its turn, not for memory */
    g_assert_false(room_is_wanted(second.room));
    room_give(second.room, MIB);
    room_free(second.room);
    close(second.stop_fd);
}

/* Neither has touched any of it yet, when the second one looks. */
static void test_counts_what_is_not_touched(void)
{
    gboolean waited;
    int stop_fd = eventfd(1, EFD_CLOEXEC);
    Room *room = room_new(0);
    g_autoptr(GError) error = NULL;
    guint64 most = 2;

    while (room_take(room, most * 2, stop_fd, &waited, NULL)) {
        room_give(room, most * 2);
        most *= 2;
    }
    /* At least two thirds of what there is. */
    if (room_take(room, most / 2 * 3, stop_fd, &waited, NULL)) {
        room_give(room, most / 2 * 3);
        most = most / 2 * 3;
    }
    g_assert_true(room_take(room, most, stop_fd, &waited, NULL));
    g_assert_false(room_take(room, most, stop_fd, &waited, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CANCELLED);
    g_assert_true(waited);
    g_assert_false(room_is_wanted(room));
    room_give(room, most);
    room_free(room);
    close(stop_fd);
}

/* Who waits in vain ends when his test does. */
static void test_stopped(void)
{
    gboolean waited;
    Taker second = {.room = room_new(1), .stop_fd = eventfd(0, EFD_CLOEXEC), .kib = MIB};
    uv_thread_t thread;

    g_assert_true(room_take(second.room, MIB, second.stop_fd, &waited, NULL));
    g_assert_cmpint(uv_thread_create(&thread, take, &second), ==, 0);
    eventfd_write(second.stop_fd, 1);
    uv_thread_join(&thread);
    g_assert_false(second.taken);
    g_assert_error(second.error, US_ERROR, US_ERROR_CANCELLED);
    g_clear_error(&second.error);
    room_give(second.room, MIB);
    room_free(second.room);
    close(second.stop_fd);
}

/* One that has no blocks has none to spare; what is short is seen in the lab. */
static void test_space(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(room_expect_space("/proc", &error));
    g_assert_false(room_expect_space("/proc/none", &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/room/usable", test_usable);
    g_test_add_func("/room/vain", test_vain);
    g_test_add_func("/room/waits", test_waits);
    g_test_add_func("/room/counts-what-is-not-touched", test_counts_what_is_not_touched);
    g_test_add_func("/room/stopped", test_stopped);
    g_test_add_func("/room/space", test_space);
    return g_test_run();
}
