/* SPDX-License-Identifier: Apache-2.0 */
/* vault - somebody who answers one visitor over TLS, on a thread. */
#pragma once

#include <glib.h>
#include <openssl/ssl.h>
#include <uv.h>

typedef struct {
    SSL_CTX *context;
    const char *text;
    int door;
    uv_thread_t thread;
    char *url;
} Vault;

/* @door listens, and is given away. @text is borrowed; NULL: TLS's own messages, for as long as somebody reads them. Its certificate has
 * ended, is another's, and signed by itself. The program ignores SIGPIPE. */
void vault_open(Vault *vault, int door, const char *text);
/* When the visitor has gone. */
void vault_close(Vault *vault);
