/* SPDX-License-Identifier: Apache-2.0 */
/* carrier - one transfer by libcurl, mail or HTTP, that cannot hold up the loop.
 *
 * It has a thread of its own (vmconnect/loop/aside.h): libcurl's multi interface would do for HTTP, but speaks the end
 * of an SMTP dialogue, the answer to the mail itself and QUIT, synchronously, for as long as a server likes; and
 * both read the system's certificates, tens of milliseconds of work. Name look-ups are on a thread of libcurl's.
 * A mail goes to all of its recipients at once; if the server does not take it so, to one after the other, so that one
 * whose mailbox is gone keeps it from nobody else, and it is known who does not have it.
 * What comes back is bounded, proxies are not asked, redirections are not followed. Loop's thread only. */
#pragma once

#include "orchestrator/notify/outcome.h"

#include <uv.h>

/* Texts are the order's own; NULL: not used. */
typedef struct {
    gint64 timeout_ms; /* of everything together */
    char *url;
    char *ca;      /* PEM, instead of the system's */
    gboolean mail; /* else an HTTP POST */
    gboolean tls;  /* a mail goes only over TLS */
    char *user;
    char *password;
    char *from;
    char **to;
    char **headers; /* of HTTP: "Name: value" */
    char *body;     /* a whole mail, or an HTTP body */
} CarrierOrder;

CarrierOrder *carrier_order_new(void);
void carrier_order_free(CarrierOrder *order);

typedef struct Carrier Carrier;

/* Once, never from within carrier_start(). Its error is UNREACHABLE, TIMEOUT, DENIED (certificate, password) or FAILED
 * (the server's word). Borrowed. */
typedef void (*CarrierDone)(void *user, const Outcome *outcome);

/* Takes @order. The carrier ends with @on_done. */
Carrier *carrier_start(uv_loop_t *loop, CarrierOrder *order, CarrierDone on_done, void *user);

/* @on_done is not called any more. The thread ends within a second or so, and the loop not before it. NULL is accepted. */
void carrier_cancel(Carrier *carrier);
