/* SPDX-License-Identifier: Apache-2.0 */
/* sending_kinds - what sending.c asks of each kind. Not for others. */
#pragma once

#include "orchestrator/notify/carrier.h"
#include "orchestrator/notify/sending.h"

CarrierOrder *mail_order(const SendingGround *ground, const Channel *channel, char *const *to,
                         const Message *message);
CarrierOrder *webhook_order(const SendingGround *ground, const Channel *channel, const Message *message);

/* At once, all lines or an error: UNREACHABLE, BUSY. */
gboolean syslog_send(const char *socket_path, char *const *lines, GError **error);

/* A program that runs; its end, or its deadline, is told once, never from within hook_start(). */
typedef struct Hook Hook;
Hook *hook_start(const SendingGround *ground, const Channel *channel, const Message *message,
                 SendingDone on_done, void *user);
/* With all that it started in its session. */
void hook_cancel(Hook *hook);
