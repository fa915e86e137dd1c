/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/dial_private.h"
#include "vmconnect/link/socket.h"

#include <string.h>

/* Even with many addresses each gets this long, as far as the deadline allows. */
#define SHARE_MIN_MS 1000

const struct addrinfo DIAL_HINTS = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

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

void dial_keep_telling(GError **best, GError *error)
{
    if (!*best || weight(error) > weight(*best)) {
        g_clear_error(best);
        *best = error;
    } else {
        g_error_free(error);
    }
}

GError *dial_nothing_to_try(void)
{
    return g_error_new(US_ERROR, US_ERROR_USAGE, "no address to dial is known");
}

GError *dial_too_late(void)
{
    return g_error_new(US_ERROR, US_ERROR_TIMEOUT, "no address answered in time");
}

GError *dial_unknown_host(const char *address, const char *why)
{
    return g_error_new(US_ERROR, US_ERROR_UNREACHABLE, "%s: cannot look up the name: %s", address, why);
}

gint64 dial_share_end(gint64 deadline_ms, guint n)
{
    gint64 now = clock_steady_ms();
    gint64 share = (deadline_ms - now) / MAX(n, 1);

    return MIN(deadline_ms, now + MAX(share, SHARE_MIN_MS));
}

Link *dial_set_out(const struct addrinfo *to, const char *address, const LinkSettings *settings,
                   gint64 until_ms, GError **error)
{
    int fd = socket_connect(to->ai_addr, to->ai_addrlen, error);
    LinkSettings s = *settings;
    int left_ms = clock_left_ms(until_ms);

    if (fd < 0) {
        g_prefix_error(error, "%s: ", address);
        return NULL;
    }
    s.name = address;
    s.handshake_ms = MAX(left_ms, 1);
    return link_new_dialer(fd, &s);
}

guint dial_count(const struct addrinfo *list)
{
    guint n = 0;

    for (; list; list = list->ai_next)
        n++;
    return n;
}
