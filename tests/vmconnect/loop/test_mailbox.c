/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/loop/mailbox.h"

#define LETTERS 20000
#define SENDERS 3

typedef struct {
    uv_loop_t loop;
    Mailbox *box;
    Mailbox *echo;
    int got;
} Fixture;

static void send_all(void *arg)
{
    for (int i = 0; i < LETTERS; i++)
        mailbox_send(arg, g_strdup("letter"));
}

static void on_letter(void *user, void *letter)
{
    Fixture *f = user;

    g_free(letter);
    if (++f->got == LETTERS * SENDERS)
        mailbox_close(f->box);
}

static void test_loop(void)
{
    Fixture f = {0};
    uv_thread_t threads[SENDERS];

    uv_loop_init(&f.loop);
    f.box = mailbox_new_loop(&f.loop, on_letter, &f, g_free);
    for (int i = 0; i < SENDERS; i++)
        uv_thread_create(&threads[i], send_all, f.box);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    for (int i = 0; i < SENDERS; i++)
        uv_thread_join(&threads[i]);
    g_assert_cmpint(f.got, ==, LETTERS * SENDERS);
    g_assert_cmpint(uv_loop_close(&f.loop), ==, 0);
}

static void echo(void *arg)
{
    Fixture *f = arg;
    char *letter;

    while ((letter = mailbox_wait(f->box, -1)) && letter[0] != 'q')
        mailbox_send(f->echo, letter);
    g_free(letter);
}

static void test_thread(void)
{
    Fixture f = {0};
    uv_thread_t thread;

    f.box = mailbox_new_thread(g_free);
    f.echo = mailbox_new_thread(g_free);
    uv_thread_create(&thread, echo, &f);
    for (int i = 0; i < 1000; i++) {
        g_autofree char *back = NULL;

        mailbox_send(f.box, g_strdup_printf("%d", i));
        back = mailbox_wait(f.echo, 10000);
        g_assert_nonnull(back);
        g_assert_cmpint(atoi(back), ==, i);
    }
    g_assert_null(mailbox_wait(f.echo, 1));
    mailbox_send(f.box, g_strdup("quit"));
    uv_thread_join(&thread);
    mailbox_send(f.box, g_strdup("never read: freed by close"));
    mailbox_close(f.box);
    mailbox_close(f.echo);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/loop/mailbox/loop", test_loop);
    g_test_add_func("/loop/mailbox/thread", test_thread);
    return g_test_run();
}
