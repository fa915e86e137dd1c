/* SPDX-License-Identifier: Apache-2.0 */
/* pinger - ICMP and ICMPv6 echoes on the loop (RFC 792, RFC 4443).
 *
 * One raw socket for each of the two, opened with the first echo that needs it: the engine is root. Names are looked up in libuv's
 * pool. What comes back counts only from the address that was asked, with the random words that were sent. */
#pragma once

#include <glib.h>
#include <uv.h>

typedef struct Pinger Pinger;
typedef struct Ping Ping;

/* @why NULL: it came back in time. @found FALSE: nothing was sent, for its name is not known here at present. Called once, never from
 * within pinger_ask(). */
typedef void (*PingDone)(void *user, gboolean found, const char *why);

Pinger *pinger_new(uv_loop_t *loop);

/* @address: a number or a name. */
Ping *pinger_ask(Pinger *pinger, const char *address, gint64 timeout_ms, PingDone on_done, void *user);
/* @on_done will not be called. NULL is accepted. */
void pinger_cancel(Ping *ping);

/* After all were cancelled or done. It frees itself when the loop is through with it. NULL is accepted. */
void pinger_close(Pinger *pinger);
