/* SPDX-License-Identifier: Apache-2.0 */
/* stage - a real HTTPS server on a loop of its own thread, and a blunt client.
 *
 * The client is blocking OpenSSL with a deadline on every read, so that a test
 * can send exactly what a broken or hostile peer would. Certificates are made
 * by openssl(1), once a program. */
#pragma once

#include "orchestrator/api/http.h"

#include <glib.h>
#include <openssl/ssl.h>

typedef struct Stage Stage;

/* PEM texts and the files they came from. */
typedef struct {
    char *dir;
    char *ca;
    char *server_certificate, *server_key;
    char *stranger_certificate, *stranger_key; /* self-signed */
} StageKeys;

const StageKeys *stage_keys(void);
/* At the end of main(). */
void stage_keys_free(void);

/* Serve @config (address, port, certificate and key are filled in). */
Stage *stage_new(const HttpConfig *config);
guint16 stage_port(const Stage *stage);
/* Run @call on the loop and wait for it. */
void stage_call(Stage *stage, void (*call)(void *user), void *user);
HttpServer *stage_server(Stage *stage);
/* CPU time the loop's thread has used. */
gint64 stage_cpu_ms(Stage *stage);
/* Stop the server; the loop must then be empty: uv_loop_close() is asserted to be 0. */
void stage_free(Stage *stage);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Stage, stage_free)

typedef struct {
    int fd;
    SSL *ssl;
} Caller;

/* TCP only. */
Caller *caller_dial(const Stage *stage);
/* TCP and TLS; NULL if the server refused. */
Caller *caller_open(const Stage *stage);
void caller_free(Caller *caller);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Caller, caller_free)

/* FALSE once the server has closed. */
gboolean caller_send(Caller *caller, const char *data, gssize len);
gboolean caller_sendf(Caller *caller, const char *format, ...) G_GNUC_PRINTF(2, 3);

typedef struct {
    guint status; /* 0: the connection ended first */
    char *head;
    char *body;
    gsize len;
} Answer;

/* One whole answer; fails the test after @timeout_ms without one or an end. */
Answer *caller_answer(Caller *caller, gint64 timeout_ms);
void answer_free(Answer *answer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Answer, answer_free)

/* Did the server end the connection within @timeout_ms? Reads and drops what still comes. */
gboolean caller_sees_end(Caller *caller, gint64 timeout_ms);

/* One request on a connection of its own. @body NULL: none. */
Answer *stage_ask(const Stage *stage, const char *method, const char *path, const char *token,
                  const char *body);
