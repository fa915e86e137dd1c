/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/loop/mailbox.h"

#include "vmconnect/base/error.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct Mailbox {
    uv_mutex_t lock;
    GQueue letters; /* under lock */
    GDestroyNotify free_letter;
    int fd; /* eventfd of a thread's mailbox, -1 for a loop's */
    uv_async_t bell;
    void (*on_letter)(void *user, void *letter);
    void *user;
    gboolean closing; /* the reader's own: no more callbacks */
};

static Mailbox *mailbox_new(GDestroyNotify free_letter)
{
    Mailbox *box = g_new0(Mailbox, 1);
    int rc = uv_mutex_init(&box->lock);

    g_assert(rc == 0);
    g_queue_init(&box->letters);
    box->free_letter = free_letter;
    box->fd = -1;
    return box;
}

static void on_bell(uv_async_t *bell)
{
    Mailbox *box = bell->data;
    void *letter;

    /* libuv folds rings into one: read until empty. */
    while (!box->closing && (letter = mailbox_take(box)))
        box->on_letter(box->user, letter);
}

Mailbox *mailbox_new_loop(uv_loop_t *loop, void (*on_letter)(void *user, void *letter), void *user,
                          GDestroyNotify free_letter)
{
    Mailbox *box = mailbox_new(free_letter);
    int rc = uv_async_init(loop, &box->bell, on_bell);

    g_assert(rc == 0);
    box->bell.data = box;
    box->on_letter = on_letter;
    box->user = user;
    return box;
}

Mailbox *mailbox_try_thread(GDestroyNotify free_letter, GError **error)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    Mailbox *box;

    if (fd < 0) {
        us_error_errno(error, errno, "cannot make an event descriptor");
        return NULL;
    }
    box = mailbox_new(free_letter);
    box->fd = fd;
    return box;
}

Mailbox *mailbox_new_thread(GDestroyNotify free_letter)
{
    Mailbox *box = mailbox_try_thread(free_letter, NULL);

    g_assert(box);
    return box;
}

void mailbox_send(Mailbox *box, void *letter)
{
    g_assert(letter);
    uv_mutex_lock(&box->lock);
    g_queue_push_tail(&box->letters, letter);
    /* Rung under the lock, so that the reader cannot close between the two. */
    if (box->fd >= 0)
        eventfd_write(box->fd, 1);
    else
        uv_async_send(&box->bell);
    uv_mutex_unlock(&box->lock);
}

int mailbox_fd(const Mailbox *box)
{
    g_assert(box->fd >= 0);
    return box->fd;
}

void *mailbox_take(Mailbox *box)
{
    eventfd_t one;
    void *letter;

    uv_mutex_lock(&box->lock);
    letter = g_queue_pop_head(&box->letters);
    if (letter && box->fd >= 0)
        eventfd_read(box->fd, &one);
    uv_mutex_unlock(&box->lock);
    return letter;
}

void *mailbox_wait(Mailbox *box, int timeout_ms)
{
    struct pollfd p = {.fd = mailbox_fd(box), .events = POLLIN};

    while (poll(&p, 1, timeout_ms) < 0 && errno == EINTR)
        ;
    return mailbox_take(box);
}

static void mailbox_free(Mailbox *box)
{
    void *letter;

    while ((letter = g_queue_pop_head(&box->letters)))
        if (box->free_letter)
            box->free_letter(letter);
    if (box->fd >= 0)
        close(box->fd);
    uv_mutex_destroy(&box->lock);
    g_free(box);
}

static void on_closed(uv_handle_t *bell)
{
    mailbox_free(bell->data);
}

void mailbox_close(Mailbox *box)
{
    if (!box)
        return;
    if (box->fd >= 0) {
        mailbox_free(box);
        return;
    }
    box->closing = TRUE;
    uv_close((uv_handle_t *)&box->bell, on_closed);
}
