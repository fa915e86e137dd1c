/* SPDX-License-Identifier: Apache-2.0 */
/* lookup - the addresses of a host, by its name or as numbers.
 *
 * Names are looked up on the few threads of libuv's, where those whose server does not answer stand in the way of
 * all others: numbers never go there. */
#pragma once

#include <glib.h>
#include <uv.h>

/* As uv_getaddrinfo(), but that @on_found is called before this returns, with status 0, if @host is an address already. @port may be
 * NULL. A negative libuv error, and no call: it could not be begun. */
int lookup_start(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb on_found, const char *host,
                 const char *port, const struct addrinfo *hints);
