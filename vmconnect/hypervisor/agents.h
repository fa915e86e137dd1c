/* SPDX-License-Identifier: Apache-2.0 */
/* agents - questions to guests' agents, for the loop.
 *
 * An agent answers in milliseconds, or it hangs; and who asks one that hangs waits in libvirtd longer than the time that he
 * gave: for whoever asked it before him, up to half a minute (libvirt's job of an agent has no deadline of the asker's). So
 * such questions are never for the engine's own hands. There are several hands here. Those that kept one busy for long the
 * last time, answered or not, wait for one another on half of them, so that however many hang, the others are asked in time. */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/hypervisor/hands.h"

typedef struct Agents Agents;

/* @n: threads, two at the least, each with its own connection; libvirtd has 20 for everybody's calls that wait. */
Agents *agents_new(uv_loop_t *loop, const char *uri, guint n);

/* As hands_submit(); the job asks the agent of @vm (agent.h). */
void agents_submit(Agents *agents, Id vm, const HandsJob *job, HandsDone on_done, void *user);

/* As hands_close(). */
void agents_close(Agents *agents, void (*on_closed)(void *user), void *user);
