/* SPDX-License-Identifier: Apache-2.0 */
/* mailbox - how threads talk: a queue of owned letters, and a bell.
 *
 * A mailbox has any number of senders and one reader. The bell is either a
 * uv_async (the reader is a loop: @on_letter is called there for each letter)
 * or an eventfd (the reader is a worker thread that polls mailbox_fd()).
 * The lock is libuv's, which ThreadSanitizer can see. */
#pragma once

#include <glib.h>
#include <uv.h>

typedef struct Mailbox Mailbox;

/* A reader on a loop. Called from the loop's thread only. @free_letter frees
 * the letters that are still there when the mailbox closes. */
Mailbox *mailbox_new_loop(uv_loop_t *loop, void (*on_letter)(void *user, void *letter), void *user,
                          GDestroyNotify free_letter);

/* A reader that is a thread. */
Mailbox *mailbox_new_thread(GDestroyNotify free_letter);
/* The same where this process may have no descriptor left: NULL with @error then. */
Mailbox *mailbox_try_thread(GDestroyNotify free_letter, GError **error);

/* From any thread, never blocks for long; takes @letter. */
void mailbox_send(Mailbox *box, void *letter);

/* Reader of a thread's mailbox: readable while letters wait. */
int mailbox_fd(const Mailbox *box);

/* Reader of a thread's mailbox: the oldest letter, given away, or NULL. */
void *mailbox_take(Mailbox *box);

/* Wait up to @timeout_ms (-1: for ever) for a letter; NULL on time-out. */
void *mailbox_wait(Mailbox *box, int timeout_ms);

/* No sender may use @box any more. A loop's mailbox is freed in uv's close
 * callback, a thread's at once; letters not read are freed. NULL is accepted. */
void mailbox_close(Mailbox *box);
