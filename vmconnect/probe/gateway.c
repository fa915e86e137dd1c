/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/probe/gateway.h"

#include <arpa/inet.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <string.h>

/* The words of a line, of any number of blanks between them; at least @columns, or NULL. */
static GStrv words_of(const char *line, guint columns)
{
    g_auto(GStrv) split = g_strsplit_set(line, " \t", -1);
    g_autoptr(GStrvBuilder) words = g_strv_builder_new();
    guint n = 0;

    for (char **word = split; *word; word++)
        if (**word) {
            g_strv_builder_add(words, *word);
            n++;
        }
    return n >= columns ? g_strv_builder_end(words) : NULL;
}

/* Interface, destination, next hop, flags, three that do not matter, mask …: numbers in the order of the bytes on the line. Of 0.0.0.0/1,
 * which a VPN puts before the default route, the destination is the same. */
static char *next_hop(const char *line)
{
    g_auto(GStrv) words = words_of(line, 8);
    char text[INET_ADDRSTRLEN];
    struct in_addr hop;

    if (!words || !g_str_equal(words[1], "00000000") || !g_str_equal(words[7], "00000000"))
        return NULL;
    hop.s_addr = (in_addr_t)g_ascii_strtoull(words[2], NULL, 16);
    return hop.s_addr ? g_strdup(inet_ntop(AF_INET, &hop, text, sizeof(text))) : NULL;
}

static gboolean read_hex(const char *text, struct in6_addr *ret_address)
{
    if (strlen(text) != 2 * sizeof(*ret_address))
        return FALSE;
    for (gsize i = 0; i < sizeof(*ret_address); i++) {
        int high = g_ascii_xdigit_value(text[2 * i]), low = g_ascii_xdigit_value(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return FALSE;
        ret_address->s6_addr[i] = (guint8)(high << 4 | low);
    }
    return TRUE;
}

static char *next_hop6(const char *line)
{
    g_auto(GStrv) words = words_of(line, 10);
    char text[INET6_ADDRSTRLEN];
    struct in6_addr hop;

    if (!words || !g_str_equal(words[1], "00") ||
        (g_ascii_strtoull(words[8], NULL, 16) & (RTF_UP | RTF_GATEWAY)) != (RTF_UP | RTF_GATEWAY) ||
        !read_hex(words[4], &hop) || !inet_ntop(AF_INET6, &hop, text, sizeof(text)))
        return NULL;
    return IN6_IS_ADDR_LINKLOCAL(&hop) ? g_strdup_printf("%s%%%s", text, words[9]) : g_strdup(text);
}

static char *first_of(const char *text, char *(*hop_of)(const char *line))
{
    g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);
    char *found = NULL;

    for (char **line = lines; *line && !found; line++)
        found = hop_of(*line);
    return found;
}

char *gateway_find(const char *routes, const char *routes6)
{
    char *found = first_of(routes, next_hop);

    return found ? found : first_of(routes6, next_hop6);
}

char *gateway_here(void)
{
    g_autofree char *routes = NULL, *routes6 = NULL;

    g_file_get_contents(GATEWAY_ROUTES, &routes, NULL, NULL);
    g_file_get_contents(GATEWAY_ROUTES6, &routes6, NULL, NULL);
    return gateway_find(routes, routes6);
}

/* Address, kind of hardware, flags, hardware address, mask, device. */
gboolean gateway_is_unresolved(const char *neighbours, const char *address)
{
    g_auto(GStrv) lines = g_strsplit(neighbours ? neighbours : "", "\n", -1);
    gboolean asked = FALSE, known = FALSE;

    for (char **line = lines; *line; line++) {
        g_auto(GStrv) words = words_of(*line, 3);

        if (!words || !g_str_equal(words[0], address))
            continue;
        asked = TRUE;
        known |= (g_ascii_strtoull(words[2], NULL, 16) & ATF_COM) != 0;
    }
    return asked && !known;
}
