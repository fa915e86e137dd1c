/* SPDX-License-Identifier: Apache-2.0 */
/* session - which controller, whose authority it must have, and our token.
 *
 * cli.conf (0600) has a group per controller, named by its URL, with `ca` and
 * `token`, and in [cli] the `controller` that is meant when none is named.
 * Who may read the controller's own admin.json (root on its host) needs no login. */
#pragma once

#include <glib.h>

typedef struct {
    char *url;
    char *ca;
    char *token;
} Session;

void session_free(Session *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Session, session_free)

/* ~/.config/understudy/cli.conf; the caller frees. */
char *session_conf_path(void);

/* @controller: of --controller, or NULL. @admin: path of the controller's admin.json.
 * NULL with @error DENIED if nothing is known about that controller, CORRUPT or USAGE for bad files. */
Session *session_open(const char *controller, const char *conf, const char *admin, GError **error);

/* An admin.json. */
Session *session_read_admin(const char *path, GError **error);

/* Put @s into @conf, as the controller that is meant when none is named. */
gboolean session_save(const Session *s, const char *conf, GError **error);
