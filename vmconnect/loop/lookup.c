/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/loop/lookup.h"

#include <netdb.h>

int lookup_start(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb on_found, const char *host,
                 const char *port, const struct addrinfo *hints)
{
    struct addrinfo numbers = *hints, *found = NULL;

    numbers.ai_flags |= AI_NUMERICHOST;
    if (getaddrinfo(host, port, &numbers, &found) != 0)
        return uv_getaddrinfo(loop, request, on_found, host, port, hints);
    on_found(request, 0, found);
    return 0;
}
