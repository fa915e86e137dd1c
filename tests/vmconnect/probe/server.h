/* SPDX-License-Identifier: Apache-2.0 */
/* server - somebody on 127.0.0.1 who takes connections, and behaves as a test wants. On the loop. */
#pragma once

#include <glib.h>
#include <uv.h>

typedef enum {
    SERVER_SILENT,  /* accepts, and says nothing */
    SERVER_CLOSES,  /* at once */
    SERVER_SAYS,    /* `text` once something was asked, and closes */
    SERVER_BLURTS,  /* the same without being asked */
    SERVER_DRIPS,   /* `text` byte by byte once asked, and closes */
    SERVER_ENDLESS, /* `text` once asked, then `more` for as long as somebody reads */
} ServerManner;

typedef struct Server Server;

/* Both texts are borrowed; NULL: empty. */
Server *server_new(uv_loop_t *loop, ServerManner manner, const char *text, const char *more);
guint16 server_port(const Server *server);
/* "http://127.0.0.1:PORT/"; borrowed. */
const char *server_url(const Server *server);
/* How many came, and how many of them have gone. */
guint server_came(const Server *server);
guint server_left(const Server *server);
/* With its connections; it frees itself when the loop is through with it. */
void server_close(Server *server);

/* A port of 127.0.0.1 where nobody listens. */
guint16 dead_port(void);
