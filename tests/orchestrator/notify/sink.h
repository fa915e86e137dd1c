/* SPDX-License-Identifier: Apache-2.0 */
/* sink - a mail server or a webhook's receiver on 127.0.0.1, as good or as bad as a test wants it.
 *
 * It has a thread of its own and serves one connection after the other. */
#pragma once

#include <glib.h>

typedef enum {
    SINK_SMTP,
    SINK_HTTP,
} SinkKind;

typedef enum {
    SINK_PLAIN,
    SINK_STARTTLS, /* SMTP only */
    SINK_TLS,      /* from the first byte */
} SinkTls;

typedef enum {
    SINK_GOOD,
    SINK_SLOW,      /* good, a byte at a time */
    SINK_REFUSES,   /* 550, 503 */
    SINK_GARBAGE,   /* bytes that mean nothing */
    SINK_FLOODS,    /* an answer that does not end; of HTTP its head says 200 */
    SINK_HEADS,     /* a head that does not end */
    SINK_SILENT,    /* takes the connection and says nothing */
    SINK_LATE,      /* takes the message and never says so */
    SINK_BREAKS,    /* closes in the middle */
    SINK_HANGS_UP,  /* good, but it never answers a QUIT */
    SINK_REDIRECTS, /* HTTP: 302 */
} SinkManner;

typedef struct Sink Sink;

/* With @tls it shows the certificate of stage_keys(). */
Sink *sink_new(SinkKind kind, SinkTls tls);
/* At once, also for a connection under way. */
void sink_manner(Sink *sink, SinkManner manner);
guint sink_port(const Sink *sink);
/* Whole messages that came in, also those that it did not say yes to. */
guint sink_count(Sink *sink);
/* A mail as it was sent, envelope before it ("MAIL FROM:<…>\n"), dots undone; or an HTTP request. The caller frees. */
char *sink_message(Sink *sink, guint i);
/* SMTP: no mail for this one any more ("550"); NULL: for everybody. */
void sink_refuse(Sink *sink, const char *recipient);
/* Messages with @text in them get this status (SMTP: as the answer to the mail) and are not counted; NULL: none any more. */
void sink_refuse_text(Sink *sink, const char *text, guint status);
/* Connections there have been. */
guint sink_connections(Sink *sink);
/* User and password that a mail was sent with last, as "\0user\0password" in base64; the caller frees. */
char *sink_credentials(Sink *sink);
/* Refuse connections, and take them again at the same port. */
void sink_close_port(Sink *sink);
void sink_open_port(Sink *sink);
void sink_free(Sink *sink);
