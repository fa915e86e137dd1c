/* SPDX-License-Identifier: Apache-2.0 */
/* voice - what the controller itself promises: the vote beside the standbys' (votes/voters.h).
 *
 * It renews the active of each VM of an automatic scenario, as long as that asks over its link and the database has it as the active; and it
 * lets another reign begin for a plan, once a standby would, too. Of a VM whose promises were forgotten, since the file was lost or
 * put back, and of one that is new to it, it is mute until active and standby were both heard by this process. Loop thread only. */
#pragma once

#include "orchestrator/hosts.h"
#include "orchestrator/scenarios.h"
#include "orchestrator/votes/voters.h"

typedef struct Voice Voice;

/* @path: of the file of promises, as vote_file_read(); @incarnation: that of the controller's memory. Blocking. */
Voice *voice_new(uv_loop_t *loop, const char *path, guint64 incarnation, Hosts *hosts, Scenarios *scenarios);

/* The engine of @host asks to be renewed: {"renewals": […]}; answered by a call. */
void voice_hear(Voice *v, const char *host, const json_t *news);

/* May @ballot's next reign begin for @vm, to be promoted by @to? Its standby there is asked first, and promises nothing yet; then this voice
 * does, durably. @done as of hosts_call(): BUSY: not now, and nothing was promised. */
void voice_elect(Voice *v, const char *to, Id vm, const Ballot *ballot, RpcAnswerFunc done, void *user);

/* The highest number of a reign of one of @p's VMs that this voice has promised, whatever came of it; 0: none. */
guint64 voice_promised(const Voice *v, const Protection *p);

/* Whoever waits is answered; then nobody is. */
void voice_close(Voice *v);
/* When nothing can answer any more. NULL is accepted. */
void voice_free(Voice *v);
