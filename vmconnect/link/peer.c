/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/peer.h"

#include "vmconnect/base/error.h"

#include <string.h>

static const char *const ROLES[] = {[ROLE_CONTROLLER] = "controller", [ROLE_ENGINE] = "engine"};
static const char PREFIX[] = "urn:understudy:";

const char *role_name(Role role)
{
    g_assert(role < G_N_ELEMENTS(ROLES));
    return ROLES[role];
}

gboolean role_from_name(const char *name, Role *ret_role)
{
    for (guint i = 0; i < G_N_ELEMENTS(ROLES); i++)
        if (strcmp(name, ROLES[i]) == 0) {
            *ret_role = (Role)i;
            return TRUE;
        }
    return FALSE;
}

char *peer_uri(Role role, Id id)
{
    return g_strdup_printf("%s%s:%s", PREFIX, role_name(role), ID_TEXT(id));
}

gboolean peer_parse_uri(const char *uri, Role *ret_role, Id *ret_id, GError **error)
{
    g_auto(GStrv) parts = NULL;
    g_autofree char *again = NULL;
    Role role;
    Id id;

    if (!g_str_has_prefix(uri, PREFIX))
        goto bad;
    parts = g_strsplit(uri + strlen(PREFIX), ":", 3);
    if (g_strv_length(parts) != 2 || !role_from_name(parts[0], &role) || !id_parse(parts[1], &id, NULL))
        goto bad;
    /* One spelling only, so that equal peers are equal texts. */
    again = peer_uri(role, id);
    if (strcmp(again, uri) != 0)
        goto bad;
    *ret_role = role;
    *ret_id = id;
    return TRUE;
bad:
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "'%.80s' does not name a program of Understudy", uri);
    return FALSE;
}
