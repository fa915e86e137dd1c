/* SPDX-License-Identifier: Apache-2.0 */
/* lookout - what is heard of each card on the stage, and whether it answers.
 *
 * The stage is one thread's, and stand-ins are others: that one looks (lookout_turn), and they read. A card answers when one of
 * the addresses that its guest says are its own sends an echo back, or answers the prober's ARP: some drop echoes, or know no way back. What an operator's checks ask beyond that (PING, TCP, HTTP) is asked of
 * such an address only: what else answers on the stage is no guest's. */
#pragma once

#include "vmconnect/base/exam.h"
#include "vmconnect/rehearse/stage.h"

#include <glib.h>

typedef struct Lookout Lookout;

Lookout *lookout_new(void);
void lookout_free(Lookout *l);

/* The stage's thread: look at all that are plugged and have not answered yet, each at some of its addresses, for about a second,
 * and for another at what was asked; the next turn goes on from there. Broken off within one try's time when @busy_fd is readable: a guest may say that it has any
 * number of addresses. */
void lookout_turn(Lookout *l, Stage *stage, int busy_fd);
/* The same, before it closes the stage: nothing of it is kept open. */
void lookout_end(Lookout *l);

/* Any thread. Has @tap answered? *@ret_speaks (may be NULL): it has an address in IPv4, or asks for one by DHCP. *@ret_text: what is known of it, for people ("answers at 192.0.2.7", "nothing was heard"); the caller
 * frees. */
gboolean lookout_read(Lookout *l, const char *tap, gboolean *ret_speaks, char **ret_text);

/* Any thread. Has @exam been passed? If not, it is tried in a coming turn: so who wants it asks again and again. @nics: of IsolatedNic *,
 * the VM's; both are borrowed until lookout_free(). *@ret_says: how it is, for people; the caller frees. */
gboolean lookout_ask(Lookout *l, const Exam *exam, const GPtrArray *nics, char **ret_says);
