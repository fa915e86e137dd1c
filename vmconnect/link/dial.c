/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/dial.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/link/dial_private.h"
#include "vmconnect/link/link_loop.h"
#include "vmconnect/link/listener.h"
#include "vmconnect/loop/lookup.h"

struct Dial {
    uv_loop_t *loop;
    GStrv addresses;
    guint next; /* the address to look up next */
    LinkSettings settings;
    gint64 deadline_ms;
    DialFunc on_done; /* NULL: cancelled */
    void *user;

    uv_getaddrinfo_t lookup;
    gboolean looking_up;
    struct addrinfo *found; /* of addresses[next - 1] */
    struct addrinfo *at;    /* to be tried next */
    LinkLoop *ll;           /* the attempt under way */
    uv_timer_t timer;       /* the deadline; also the first step, from the loop */
    gboolean timer_closed;
    gboolean done;
    GError *best; /* the most telling error so far */
};

static void step(Dial *dial);

/* Memory goes when uv has let go of both. */
static void maybe_free(Dial *dial)
{
    if (dial->looking_up || !dial->timer_closed)
        return;
    uv_freeaddrinfo(dial->found);
    g_strfreev(dial->addresses);
    identity_unref(dial->settings.identity);
    g_clear_error(&dial->best);
    g_free(dial);
}

static void on_timer_closed(uv_handle_t *timer)
{
    Dial *dial = timer->data;

    dial->timer_closed = TRUE;
    maybe_free(dial);
}

/* Takes @link. Without one the best error is what is reported. */
static void finish(Dial *dial, Link *link)
{
    g_assert(!dial->done);
    dial->done = TRUE;
    link_loop_close(g_steal_pointer(&dial->ll));
    if (dial->looking_up)
        uv_cancel((uv_req_t *)&dial->lookup);
    uv_close((uv_handle_t *)&dial->timer, on_timer_closed);
    if (dial->on_done)
        dial->on_done(dial->user, link, link ? NULL : dial->best);
}

static void on_open(void *user)
{
    Dial *dial = user;

    finish(dial, link_loop_release(g_steal_pointer(&dial->ll)));
}

static void on_closed(void *user, const GError *error)
{
    Dial *dial = user;

    dial->ll = NULL;
    dial_keep_telling(&dial->best, g_error_copy(error));
    step(dial);
}

/* Try one socket address; FALSE if it failed at once. */
static gboolean attempt(Dial *dial, const struct addrinfo *to)
{
    static const LinkLoopEvents EVENTS = {.on_open = on_open, .on_closed = on_closed};
    guint left = dial_count(to) + g_strv_length(dial->addresses) - dial->next;
    GError *error = NULL;
    Link *link = dial_set_out(to, dial->addresses[dial->next - 1], &dial->settings,
                              dial_share_end(dial->deadline_ms, left), &error);

    if (!link) {
        dial_keep_telling(&dial->best, error);
        return FALSE;
    }
    dial->ll = link_loop_new(dial->loop, link, &EVENTS, dial);
    return TRUE;
}

static void on_found(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    Dial *dial = lookup->data;

    dial->looking_up = FALSE;
    if (dial->done) {
        uv_freeaddrinfo(found);
        maybe_free(dial);
        return;
    }
    if (status < 0)
        dial_keep_telling(&dial->best,
                          dial_unknown_host(dial->addresses[dial->next - 1], uv_strerror(status)));
    dial->found = dial->at = found;
    step(dial);
}

/* FALSE if the address is none. */
static gboolean look_up(Dial *dial, const char *address)
{
    g_autofree char *host = NULL;
    char port_text[8];
    GError *error = NULL;
    guint16 port;
    int rc;

    g_clear_pointer(&dial->found, uv_freeaddrinfo);
    dial->at = NULL;
    if (!dial_parse(address, LISTENER_PORT, &host, &port, &error)) {
        dial_keep_telling(&dial->best, error);
        return FALSE;
    }
    g_snprintf(port_text, sizeof(port_text), "%u", port);
    dial->looking_up = TRUE;
    rc = lookup_start(dial->loop, &dial->lookup, on_found, host, port_text, &DIAL_HINTS);
    g_assert(rc == 0);
    return TRUE;
}

/* Set the next thing in motion; when there is none left, that was it. */
static void step(Dial *dial)
{
    for (;;) {
        if (clock_steady_ms() >= dial->deadline_ms)
            break;
        if (dial->at) {
            const struct addrinfo *to = dial->at;

            dial->at = to->ai_next;
            if (attempt(dial, to))
                return;
        } else if (dial->addresses[dial->next]) {
            if (look_up(dial, dial->addresses[dial->next++]))
                return;
        } else {
            break;
        }
    }
    if (!dial->best)
        dial->best = dial->next == 0 ? dial_nothing_to_try() : dial_too_late();
    finish(dial, NULL);
}

static void on_deadline(uv_timer_t *timer)
{
    Dial *dial = timer->data;

    dial_keep_telling(&dial->best, dial_too_late());
    finish(dial, NULL);
}

static void on_first_step(uv_timer_t *timer)
{
    Dial *dial = timer->data;

    uv_timer_start(timer, on_deadline, (guint64)clock_left_ms(dial->deadline_ms), 0);
    step(dial);
}

Dial *dial_start(uv_loop_t *loop, const char *const *addresses, const LinkSettings *settings,
                 gint64 timeout_ms, DialFunc on_done, void *user)
{
    Dial *dial = g_new0(Dial, 1);
    int rc = uv_timer_init(loop, &dial->timer);

    g_assert(rc == 0);
    dial->loop = loop;
    dial->addresses = g_strdupv((GStrv)addresses);
    dial->settings = *settings;
    dial->settings.identity = identity_ref(settings->identity);
    dial->deadline_ms = clock_steady_ms() + timeout_ms;
    dial->on_done = on_done;
    dial->user = user;
    dial->timer.data = dial->lookup.data = dial;
    uv_timer_start(&dial->timer, on_first_step, 0, 0);
    return dial;
}

void dial_cancel(Dial *dial)
{
    if (!dial || dial->done)
        return;
    dial->on_done = NULL;
    finish(dial, NULL);
}
