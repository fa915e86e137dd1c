/* SPDX-License-Identifier: Apache-2.0 */
/* taps - the tap devices that a QEMU process has open, as the kernel shows it: no libvirt in it, and no definition that may say otherwise.
 *
 * A tap's name is what it is called now, also after a rename, in the network namespace that it is in now: one that somebody has moved away
 * may be called as another one here. What is no tap (macvtap, vhost-user, a card passed through) is not seen. */
#pragma once

#include "vmconnect/guard/word.h"

#include <glib.h>
#include <sys/types.h>

/* How many, in the order of their names, each once however many queues it has. *@ret_more: there are more than that, or not all could be seen.
 * Who holds a pidfd of @pid sees whether it still was that process. */
guint taps_of_process(pid_t pid, char ret_taps[WORD_TAPS_MAX][IF_NAMESIZE], gboolean *ret_more);
