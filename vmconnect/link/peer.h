/* SPDX-License-Identifier: Apache-2.0 */
/* peer - who a program is: its role and UUID, as its certificate says them.
 *
 * The certificate's one URI name is urn:understudy:ROLE:UUID. Addresses and
 * host names are hints and prove nothing. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

typedef enum {
    ROLE_CONTROLLER,
    ROLE_ENGINE,
} Role;

#define FINGERPRINT_LEN 32 /* SHA-256 of the public key (SubjectPublicKeyInfo, DER) */

typedef struct {
    Role role;
    Id id;
    guint8 fingerprint[FINGERPRINT_LEN];
} Peer;

const char *role_name(Role role);
gboolean role_from_name(const char *name, Role *ret_role);

/* urn:understudy:engine:UUID; the caller frees. */
char *peer_uri(Role role, Id id);

/* FALSE with @error PROTOCOL unless @uri is exactly that form. */
gboolean peer_parse_uri(const char *uri, Role *ret_role, Id *ret_id, GError **error);
