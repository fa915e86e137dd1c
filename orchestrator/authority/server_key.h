/* SPDX-License-Identifier: Apache-2.0 */
/* server_key - the HTTPS server's key and certificate, in one file.
 *
 * Kept between starts, so that a browser which was told to trust it need not be
 * told again; made anew when the names or the authority change, or its last year
 * begins. {"format": 1, "names", "authority", "expires_at", "certificate", "key"}. */
#pragma once

#include "vmconnect/link/issuer.h"

typedef struct {
    char *certificate; /* PEM */
    char *key;         /* PEM */
} ServerKey;

/* Load it from @path or make it. CORRUPT or REFUSED for a file that is not ours or newer. */
ServerKey *server_key_open(const char *path, const Issuer *issuer, const char *const *names,
                           gint64 now_wall_ms, GError **error);
void server_key_free(ServerKey *k);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ServerKey, server_key_free)
