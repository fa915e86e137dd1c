/* SPDX-License-Identifier: Apache-2.0 */
/* client - one controller, spoken to over HTTPS with libcurl.
 *
 * Only the authority that was pinned at login is believed, proxies are not
 * asked, and the token goes nowhere else. Blocking: a command line has
 * nothing else to do. */
#pragma once

#include "orchestrator/api/routes.h"

#include <glib.h>
#include <jansson.h>

typedef struct Client Client;

/* @ca: PEM. All are copied. */
Client *client_new(const char *url, const char *ca, const char *token);
void client_free(Client *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Client, client_free)

const char *client_url(const Client *c);

/* Ask for @operation of routes.h. @parameters: of the path, in order, NULL-ended, or NULL;
 * @query: an object of strings, or NULL; @body: an object, NULL for {} where one must go.
 * The answer's document; NULL with @error: what the controller said, UNREACHABLE (nobody
 * there, no answer in time), DENIED (another authority), PROTOCOL (no JSON). */
json_t *client_call(Client *c, const char *operation, const char *const *parameters, const json_t *query,
                    const json_t *body, GError **error);

/* How long an answer to @operation is waited for, in seconds; 0: as long as the controller's host
 * is there. */
long client_answer_s(const char *operation);

/* Ask @url without believing it: the PEM of the authority that it shows, for a person to
 * confirm. The caller frees. */
char *client_fetch_authority(const char *url, GError **error);
