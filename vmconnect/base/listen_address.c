/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/listen_address.h"

#include "vmconnect/base/error.h"

#include <arpa/inet.h>
#include <netinet/in.h>

gboolean listen_address_parse(const char *text, guint16 port, struct sockaddr_storage *ret_address,
                              socklen_t *ret_len, GError **error)
{
    struct sockaddr_in *in = (struct sockaddr_in *)ret_address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_address;

    *ret_address = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        *ret_len = sizeof(*in);
        return TRUE;
    }
    if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        *ret_len = sizeof(*in6);
        return TRUE;
    }
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%s' is not a numeric address to listen on", text);
    return FALSE;
}

gboolean listen_address_check(const char *text, GError **error)
{
    struct sockaddr_storage address;
    socklen_t len;

    return listen_address_parse(text, 0, &address, &len, error);
}
