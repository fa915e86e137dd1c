/* SPDX-License-Identifier: Apache-2.0 */
/* lookout - what is heard of each card on the stage, and whether it answers.
 *
 * The stage is one thread's, and stand-ins are others: that one looks (lookout_turn), and they read. A card answers when one of
 * the addresses that its guest says are its own sends an echo back. */
#pragma once

#include "vmconnect/rehearse/stage.h"

#include <glib.h>

typedef struct Lookout Lookout;

Lookout *lookout_new(void);
void lookout_free(Lookout *l);

/* The stage's thread: look at all that are plugged and have not answered yet, each at some of its addresses; the next turn goes on from
 * there. Broken off within one echo's time when @busy_fd is readable: a guest may say that it has any number of addresses. */
void lookout_turn(Lookout *l, Stage *stage, int busy_fd);

/* Any thread. Has @tap answered? *@ret_text: what is known of it, for people ("answers at 192.0.2.7", "nothing was heard"); the caller
 * frees. */
gboolean lookout_read(Lookout *l, const char *tap, char **ret_text);
