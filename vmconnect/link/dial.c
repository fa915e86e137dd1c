/* SPDX-License-Identifier: Apache-2.0 */
/* Both ways do the same: look up the next address; for each socket address it has, set out
 * (a link takes a socket that is still connecting) and see whether the link opens; the first
 * that does is handed over; after the last the most telling error is reported. */
#include "vmconnect/link/dial.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/link_loop.h"
#include "vmconnect/link/link_wait.h"
#include "vmconnect/link/listener.h"
#include "vmconnect/link/socket.h"

#include <netdb.h>
#include <string.h>

/* Even with many addresses each gets this long, as far as the deadline allows. */
#define SHARE_MIN_MS 1000

static const struct addrinfo HINTS = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

static gboolean parse_port(const char *text, guint16 *ret_port)
{
    guint64 port;

    if (!g_ascii_string_to_unsigned(text, 10, 1, 65535, &port, NULL))
        return FALSE;
    *ret_port = (guint16)port;
    return TRUE;
}

gboolean dial_parse(const char *address, guint16 fallback, char **ret_host, guint16 *ret_port, GError **error)
{
    const char *colon = strrchr(address, ':');
    const char *bracket = strchr(address, ']');
    const char *end = address + strlen(address);

    *ret_port = fallback;
    if (address[0] == '[') {
        if (!bracket || bracket == address + 1 ||
            (bracket[1] && (bracket[1] != ':' || !parse_port(bracket + 2, ret_port))))
            goto bad;
        *ret_host = g_strndup(address + 1, (gsize)(bracket - address - 1));
        return TRUE;
    }
    /* More than one colon: a bare IPv6 address. */
    if (colon && strchr(address, ':') == colon) {
        if (!parse_port(colon + 1, ret_port))
            goto bad;
        end = colon;
    }
    if (end == address)
        goto bad;
    *ret_host = g_strndup(address, (gsize)(end - address));
    return TRUE;
bad:
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%.200s' is not an address: HOST, HOST:PORT or [IPV6]:PORT",
                address);
    return FALSE;
}

/* How much a refusal tells: a peer that spoke tells more than an address that did not answer. */
static guint weight(const GError *error)
{
    return g_error_matches(error, US_ERROR, US_ERROR_UNREACHABLE) ? 1
           : g_error_matches(error, US_ERROR, US_ERROR_TIMEOUT)   ? 2
                                                                  : 3;
}

/* Keep the more telling of the two in *@best; takes @error. */
static void keep_telling(GError **best, GError *error)
{
    if (!*best || weight(error) > weight(*best)) {
        g_clear_error(best);
        *best = error;
    } else {
        g_error_free(error);
    }
}

static GError *nothing_to_try(void)
{
    return g_error_new(US_ERROR, US_ERROR_USAGE, "no address to dial is known");
}

static GError *too_late(void)
{
    return g_error_new(US_ERROR, US_ERROR_TIMEOUT, "no address answered in time");
}

static GError *unknown_host(const char *address, const char *why)
{
    return g_error_new(US_ERROR, US_ERROR_UNREACHABLE, "%s: cannot look up the name: %s", address, why);
}

/* The share of one of @n attempts in what is left. */
static gint64 share_end(gint64 deadline_ms, guint n)
{
    gint64 now = clock_steady_ms();
    gint64 share = (deadline_ms - now) / MAX(n, 1);

    return MIN(deadline_ms, now + MAX(share, SHARE_MIN_MS));
}

/* A link that is on its way to @to; NULL with @error if there is not even a way. */
static Link *set_out(const struct addrinfo *to, const char *address, const LinkSettings *settings,
                     gint64 until_ms, GError **error)
{
    int fd = socket_connect(to->ai_addr, to->ai_addrlen, error);
    LinkSettings s = *settings;

    if (fd < 0) {
        g_prefix_error(error, "%s: ", address);
        return NULL;
    }
    s.name = address;
    s.handshake_ms = MAX(until_ms - clock_steady_ms(), 1);
    return link_new_dialer(fd, &s);
}

static guint count(const struct addrinfo *list)
{
    guint n = 0;

    for (; list; list = list->ai_next)
        n++;
    return n;
}

/* --- on the loop --------------------------------------------------------- */

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
    keep_telling(&dial->best, g_error_copy(error));
    step(dial);
}

/* Try one socket address; FALSE if it failed at once. */
static gboolean attempt(Dial *dial, const struct addrinfo *to)
{
    static const LinkLoopEvents EVENTS = {.on_open = on_open, .on_closed = on_closed};
    guint left = count(to) + g_strv_length(dial->addresses) - dial->next;
    GError *error = NULL;
    Link *link = set_out(to, dial->addresses[dial->next - 1], &dial->settings,
                         share_end(dial->deadline_ms, left), &error);

    if (!link) {
        keep_telling(&dial->best, error);
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
        keep_telling(&dial->best, unknown_host(dial->addresses[dial->next - 1], uv_strerror(status)));
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
        keep_telling(&dial->best, error);
        return FALSE;
    }
    g_snprintf(port_text, sizeof(port_text), "%u", port);
    rc = uv_getaddrinfo(dial->loop, &dial->lookup, on_found, host, port_text, &HINTS);
    g_assert(rc == 0);
    dial->looking_up = TRUE;
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
        dial->best = dial->next == 0 ? nothing_to_try() : too_late();
    finish(dial, NULL);
}

static void on_deadline(uv_timer_t *timer)
{
    Dial *dial = timer->data;

    keep_telling(&dial->best, too_late());
    finish(dial, NULL);
}

static void on_first_step(uv_timer_t *timer)
{
    Dial *dial = timer->data;
    gint64 left = dial->deadline_ms - clock_steady_ms();

    uv_timer_start(timer, on_deadline, (guint64)MAX(left, 0), 0);
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

/* --- in a worker ---------------------------------------------------------- */

/* TRUE if the attempt opened, or @wake_fd ended all attempts (then *@ret_link is NULL). */
static gboolean attempt_blocking(const struct addrinfo *to, const char *address, const LinkSettings *settings,
                                 gint64 until_ms, int wake_fd, Link **ret_link, GError **best)
{
    GError *error = NULL;
    g_autoptr(Link) link = set_out(to, address, settings, until_ms, &error);

    *ret_link = NULL;
    if (link && link_wait_open(link, until_ms, wake_fd, &error)) {
        *ret_link = g_steal_pointer(&link);
        return TRUE;
    }
    if (!error)
        return TRUE;
    keep_telling(best, error);
    return FALSE;
}

static gboolean dial_one(const char *address, guint others, const LinkSettings *settings, gint64 deadline_ms,
                         int wake_fd, Link **ret_link, GError **best)
{
    g_autofree char *host = NULL;
    struct addrinfo *found = NULL;
    char port_text[8];
    GError *error = NULL;
    gboolean ended = FALSE;
    guint16 port;
    int rc;

    if (!dial_parse(address, LISTENER_PORT, &host, &port, &error)) {
        keep_telling(best, error);
        return FALSE;
    }
    g_snprintf(port_text, sizeof(port_text), "%u", port);
    rc = getaddrinfo(host, port_text, &HINTS, &found);
    if (rc != 0) {
        keep_telling(best, unknown_host(address, gai_strerror(rc)));
        return FALSE;
    }
    for (struct addrinfo *to = found; to && !ended && clock_steady_ms() < deadline_ms; to = to->ai_next)
        ended = attempt_blocking(to, address, settings, share_end(deadline_ms, count(to) + others), wake_fd,
                                 ret_link, best);
    freeaddrinfo(found);
    return ended;
}

Link *dial_blocking(const char *const *addresses, const LinkSettings *settings, gint64 timeout_ms,
                    int wake_fd, GError **error)
{
    gint64 deadline_ms = clock_steady_ms() + timeout_ms;
    guint n = g_strv_length((GStrv)addresses);
    GError *best = NULL;
    Link *link = NULL;
    gboolean ended = FALSE;

    for (guint i = 0; i < n && !ended && clock_steady_ms() < deadline_ms; i++)
        ended = dial_one(addresses[i], n - 1 - i, settings, deadline_ms, wake_fd, &link, &best);
    if (ended && !link) {
        g_clear_error(&best);
        best = g_error_new(US_ERROR, US_ERROR_CANCELLED, "dialling was given up");
    }
    if (!link && !best)
        best = n == 0 ? nothing_to_try() : too_late();
    if (link)
        g_clear_error(&best);
    else
        g_propagate_error(error, best);
    return link;
}
