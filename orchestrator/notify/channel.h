/* SPDX-License-Identifier: Apache-2.0 */
/* channel - where events are sent to, and which: what an operator has set.
 *
 * Pure; how far a channel has come is courier.h. One document for command line, REST and database, read strictly:
 *
 *   {"name": "ops", "severity": "warning", "scenarios": ["web"], "rate": 20,
 *    "mail": {"to": ["ops@example.org"], "from": "understudy@example.org", "smtp": "smtp://mail.example.org:587",
 *             "tls": "required", "user": "u", "password": "…", "ca": "PEM…"}}
 *
 * or, instead of "mail", "webhook": {"url", "secret", "ca"}, "syslog": {} or "hook": {"file"}. All but the name, "to",
 * "from", "smtp", "url" and "file" may be left out. What leaves this program is channel_describe(): no secret is in it. */
#pragma once

#include "orchestrator/core/event.h"

#include <glib.h>
#include <jansson.h>

#define CHANNEL_MAX_RATE 1000
#define CHANNEL_MAX_TO 20

typedef enum {
    CHANNEL_MAIL,
    CHANNEL_WEBHOOK,
    CHANNEL_SYSLOG,
    CHANNEL_HOOK,
} ChannelKind;

typedef struct {
    char *name;
    ChannelKind kind;
    EventSeverity severity; /* the least that is sent */
    char **scenarios;       /* only their events; NULL: all */
    guint rate;             /* messages an hour; 0: no limit */

    /* A mail's. */
    char **to;
    char *from;
    char *smtp;     /* smtp://HOST[:PORT] or smtps://… */
    gboolean tls;   /* must be there before anything is said; smtps has it anyway */
    char *user;     /* NULL: none */
    char *password; /* if there is a user */

    /* A webhook's. It may be a secret itself: some services have their key in it. */
    char *url;
    char *secret; /* NULL: not signed */

    char
        *ca; /* PEM of authorities that are believed instead of the system's; NULL: those. Mail and webhook */

    char *file; /* a hook's, in the folder of hooks */
} Channel;

/* USAGE: what it may not be, by key. */
Channel *channel_from_json(const json_t *doc, GError **error);
void channel_free(Channel *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Channel, channel_free)

const char *channel_kind_name(ChannelKind kind);

/* Everything, for the database, as channel_from_json() reads it. */
json_t *channel_to_json(const Channel *c);
/* The same for people: of secrets only whether there is one ("has_password", "has_secret"), of a webhook's URL
 * only whom it reaches. */
json_t *channel_describe(const Channel *c);

/* The severities that it sends, an array of names; its scenarios, NULL for all. New references. */
json_t *channel_severities(const Channel *c);
json_t *channel_scenarios(const Channel *c);
