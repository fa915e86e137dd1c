/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/notify/sending.h"

#include "orchestrator/notify/sending_kinds.h"

#include <unistd.h>

struct Sending {
    SendingDone on_done;
    void *user;
    Carrier *carrier;
    Hook *hook;
    uv_timer_t *soon; /* what is done at once is told from the loop all the same */
    Outcome outcome;  /* … */
};

static void sending_free(Sending *s)
{
    g_clear_error(&s->outcome.error);
    g_free(s);
}

static void on_done(void *user, const Outcome *outcome)
{
    Sending *s = user;

    s->on_done(s->user, outcome);
    sending_free(s);
}

static void on_soon(uv_timer_t *timer)
{
    Sending *s = timer->data;

    uv_close((uv_handle_t *)timer, (uv_close_cb)g_free);
    on_done(s, &s->outcome);
}

static void start_syslog(Sending *s, const SendingGround *ground, const Message *message)
{
    g_auto(GStrv) lines = message_syslog(message, (int)getpid());

    syslog_send(ground->syslog, lines, &s->outcome.error);
    s->soon = g_new0(uv_timer_t, 1);
    uv_timer_init(ground->loop, s->soon);
    s->soon->data = s;
    uv_timer_start(s->soon, on_soon, 0, 0);
}

Sending *sending_start(const SendingGround *ground, const Channel *channel, char *const *to,
                       const Message *message, SendingDone done, void *user)
{
    Sending *s = g_new0(Sending, 1);

    *s = (Sending){.on_done = done, .user = user};
    switch (channel->kind) {
    case CHANNEL_MAIL:
        s->carrier = carrier_start(ground->loop, mail_order(ground, channel, to, message), on_done, s);
        break;
    case CHANNEL_WEBHOOK:
        s->carrier = carrier_start(ground->loop, webhook_order(ground, channel, message), on_done, s);
        break;
    case CHANNEL_SYSLOG:
        start_syslog(s, ground, message);
        break;
    case CHANNEL_HOOK:
        s->hook = hook_start(ground, channel, message, on_done, s);
        break;
    }
    return s;
}

void sending_cancel(Sending *s)
{
    if (!s)
        return;
    carrier_cancel(s->carrier);
    if (s->hook)
        hook_cancel(s->hook);
    if (s->soon)
        uv_close((uv_handle_t *)s->soon, (uv_close_cb)g_free);
    sending_free(s);
}
