/* SPDX-License-Identifier: Apache-2.0 */
/* message - one event or several, in the form in which each kind of channel sends them.
 *
 * Pure. What machines read is always one document: the event, as `understudy events --json` has it, or a digest, which
 * looks like an event with the code DIGEST, the worst severity of those that are in it, and these as "events". */
#pragma once

#include "orchestrator/core/event.h"
#include "vmconnect/base/id.h"

#include <glib.h>
#include <jansson.h>

typedef struct {
    char *id; /* the same each time that this message is sent, and never another's: LOCAL@CONTROLLER */
    char *controller; /* its UUID */
    char *channel;    /* its name */
    json_t *events;   /* one or more, in their order */
    json_t *document; /* as above */
} Message;

/* @events: documents of event_to_json(), in their order, referenced. */
Message *message_new(Id controller, Id channel, const char *name, json_t *events);
/* What `notify test` sends. */
Message *message_new_test(Id controller, const char *name, gint64 wall_ms);
void message_free(Message *m);

/* "event 17 (VM_DOWN)", "events 17 to 20". The caller frees. */
char *message_title(const Message *m);
/* Is there no other event in it than those with @code? */
gboolean message_is_only(const Message *m, EventCode code);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Message, message_free)

/* A whole mail (RFC 5322), in ASCII, with lines that end in CR LF and, but for its id and addresses, have at
 * most 76 characters. The caller frees. */
char *message_mail(const Message *m, const char *from, char *const *to, gint64 wall_ms);

/* One line for each event, as a syslog socket takes it, with the event's level and its own time; long ones are cut. */
char **message_syslog(const Message *m, int pid);

/* UNDERSTUDY_… for a hook, NULL-ended NAME=VALUE; long values are cut. The caller frees. */
char **message_environment(const Message *m);
