/* SPDX-License-Identifier: Apache-2.0 */
/* action - what a decision wants done; the list is carried out in its order.
 *
 * PERSIST comes before whatever relies on it: nothing after it may be begun
 * until the record is durable. */
#pragma once

#include "orchestrator/core/event.h"
#include "vmconnect/base/id.h"

#include <glib.h>
#include <jansson.h>

typedef enum {
    ACTION_PERSIST, /* make the state (protection) or @record (plan) durable */
    ACTION_NOTE,    /* the same of a protection, and nothing waits for it, nor is anything lost but words */
    ACTION_CALL,    /* send @method with @params to the engine of @host, answer with @host, @method, @vm */
    ACTION_PUBLISH, /* put @event on the list of events */
    ACTION_VERIFY,  /* gather the facts of verify.h and answer with what it found */
    ACTION_LOG,     /* a state moved: @text is for the log, in the words of its edge */
    ACTION_SWITCHBACK, /* begin the plan that moves the VMs home, and say how that went */
    ACTION_TAKEOVER,   /* the same of the plan that moves the VMs whose host or guest is silent */
    ACTION_TELL,       /* a plan's news for the protection: @tell, durable before going on */
} ActionKind;

typedef struct Input Input;

typedef struct {
    ActionKind kind;
    char *host;
    const char *method; /* static */
    json_t *params;
    Id vm;
    gint64 limit_ms; /* CALL: without an answer after this long it counts as unanswered */
    guint64 order;   /* CALL of a protection: comes back with the answer */
    Event *event;
    json_t *record;
    char *text;
    Input *tell;
} Action;

/* A GPtrArray of Action *, which it owns. */
typedef GPtrArray ActionList;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ActionList, g_ptr_array_unref)

ActionList *action_list_new(void);
void action_free(Action *a);

/* What it decides, in a few words: the right half of a log line and of a test's
 * trace, `condition -> decision`. The caller frees. */
char *action_words(const Action *a, const char *vm_name);

void action_persist(ActionList *list, json_t *steal_record);
void action_note(ActionList *list);
void action_call(ActionList *list, const char *host, const char *method, Id vm, gint64 limit_ms,
                 json_t *steal_params);
void action_publish(ActionList *list, Event *steal_event);
void action_verify(ActionList *list);
void action_switchback(ActionList *list);
void action_takeover(ActionList *list);
void action_log(ActionList *list, char *steal_text);
void action_tell(ActionList *list, Input *steal_input);
