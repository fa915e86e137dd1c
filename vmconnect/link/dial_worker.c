/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/dial_private.h"
#include "vmconnect/link/link_wait.h"
#include "vmconnect/link/listener.h"

/* TRUE if the attempt opened, or @wake_fd ended all attempts (then *@ret_link is NULL). */
static gboolean attempt_blocking(const struct addrinfo *to, const char *address, const LinkSettings *settings,
                                 gint64 until_ms, int wake_fd, Link **ret_link, GError **best)
{
    GError *error = NULL;
    g_autoptr(Link) link = dial_set_out(to, address, settings, until_ms, &error);

    *ret_link = NULL;
    if (link && link_wait_open(link, until_ms, wake_fd, &error)) {
        *ret_link = g_steal_pointer(&link);
        return TRUE;
    }
    if (!error)
        return TRUE;
    dial_keep_telling(best, error);
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
        dial_keep_telling(best, error);
        return FALSE;
    }
    g_snprintf(port_text, sizeof(port_text), "%u", port);
    rc = getaddrinfo(host, port_text, &DIAL_HINTS, &found);
    if (rc != 0) {
        dial_keep_telling(best, dial_unknown_host(address, gai_strerror(rc)));
        return FALSE;
    }
    for (struct addrinfo *to = found; to && !ended && clock_steady_ms() < deadline_ms; to = to->ai_next)
        ended = attempt_blocking(to, address, settings, dial_share_end(deadline_ms, dial_count(to) + others),
                                 wake_fd, ret_link, best);
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
        best = n == 0 ? dial_nothing_to_try() : dial_too_late();
    if (link)
        g_clear_error(&best);
    else
        g_propagate_error(error, best);
    return link;
}
