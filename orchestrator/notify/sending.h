/* SPDX-License-Identifier: Apache-2.0 */
/* sending - one message on its way through one channel: once, with a deadline, and its outcome.
 *
 * Which kind does it how stands in mail.c, webhook.c, syslog.c and hook.c. When, and whether again, is courier.h's. */
#pragma once

#include "orchestrator/notify/channel.h"
#include "orchestrator/notify/message.h"
#include "orchestrator/notify/outcome.h"

#include <uv.h>

/* What all channels of a controller share; outlives every sending. */
typedef struct {
    uv_loop_t *loop;
    char *hooks;                         /* the folder of programs */
    char *syslog;                        /* the socket */
    gint64 mail_ms, webhook_ms, hook_ms; /* deadlines */
} SendingGround;

typedef struct Sending Sending;

/* Once, never from within sending_start(). Borrowed. */
typedef void (*SendingDone)(void *user, const Outcome *outcome);

/* @to: of a mail, the recipients of the channel's that it goes to. All are only read, and only now. */
Sending *sending_start(const SendingGround *ground, const Channel *channel, char *const *to,
                       const Message *message, SendingDone on_done, void *user);

/* @on_done is not called any more. NULL is accepted. */
void sending_cancel(Sending *sending);
