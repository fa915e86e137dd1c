/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/notify/sending_kinds.h"
#include "vmconnect/base/clock.h"

CarrierOrder *mail_order(const SendingGround *ground, const Channel *channel, char *const *to,
                         const Message *message)
{
    CarrierOrder *order = carrier_order_new();

    *order = (CarrierOrder){.timeout_ms = ground->mail_ms,
                            .url = g_strdup(channel->smtp),
                            .ca = g_strdup(channel->ca),
                            .mail = TRUE,
                            .tls = channel->tls,
                            .user = g_strdup(channel->user),
                            .password = g_strdup(channel->password),
                            .from = g_strdup(channel->from),
                            .to = g_strdupv((char **)to),
                            .body = message_mail(message, channel->from, to, clock_wall_ms())};
    return order;
}
