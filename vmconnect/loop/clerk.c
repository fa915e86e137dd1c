/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/loop/clerk.h"

#include "vmconnect/loop/mailbox.h"

typedef struct {
    void (*work)(void *data);
    void (*done)(void *data);
    void *data;
} Errand;

struct Clerk {
    uv_thread_t thread;
    Mailbox *in;  /* of Errand *; one without work ends the thread */
    Mailbox *out; /* of Errand *, done */
};

static void finish(Errand *errand)
{
    errand->done(errand->data);
    g_free(errand);
}

static void on_done(void *user, void *letter)
{
    (void)user;
    finish(letter);
}

static void run(void *arg)
{
    Clerk *clerk = arg;
    Errand *errand;

    while ((errand = mailbox_wait(clerk->in, -1))->work) {
        errand->work(errand->data);
        mailbox_send(clerk->out, errand);
    }
    g_free(errand);
}

Clerk *clerk_new(uv_loop_t *loop)
{
    Clerk *clerk = g_new0(Clerk, 1);
    int rc;

    clerk->in = mailbox_new_thread(g_free);
    clerk->out = mailbox_new_loop(loop, on_done, NULL, NULL);
    rc = uv_thread_create(&clerk->thread, run, clerk);
    g_assert(rc == 0);
    return clerk;
}

void clerk_submit(Clerk *clerk, void (*work)(void *data), void (*done)(void *data), void *data)
{
    Errand *errand = g_new0(Errand, 1);

    g_assert(work && done);
    *errand = (Errand){work, done, data};
    mailbox_send(clerk->in, errand);
}

void clerk_close(Clerk *clerk)
{
    Errand *errand;

    if (!clerk)
        return;
    mailbox_send(clerk->in, g_new0(Errand, 1));
    uv_thread_join(&clerk->thread);
    while ((errand = mailbox_take(clerk->out)))
        finish(errand);
    mailbox_close(clerk->in);
    mailbox_close(clerk->out);
    g_free(clerk);
}
