/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/action.h"

#include "orchestrator/core/protection.h"

void action_free(Action *a)
{
    if (!a)
        return;
    g_free(a->host);
    json_decref(a->params);
    json_decref(a->record);
    event_free(a->event);
    g_free(a->text);
    if (a->tell) {
        g_free(a->tell->host);
        g_free(a->tell->why);
        g_free(a->tell);
    }
    g_free(a);
}

static void free_one(gpointer p)
{
    action_free(p);
}

ActionList *action_list_new(void)
{
    return g_ptr_array_new_with_free_func(free_one);
}

static Action *add(ActionList *list, ActionKind kind)
{
    Action *a = g_new0(Action, 1);

    a->kind = kind;
    g_ptr_array_add(list, a);
    return a;
}

void action_persist(ActionList *list, json_t *steal_record)
{
    add(list, ACTION_PERSIST)->record = steal_record;
}

void action_call(ActionList *list, const char *host, const char *method, Id vm, gint64 limit_ms,
                 json_t *steal_params)
{
    Action *a = add(list, ACTION_CALL);

    g_assert(steal_params);
    a->host = g_strdup(host);
    a->method = method;
    a->vm = vm;
    a->limit_ms = limit_ms;
    a->params = steal_params;
}

void action_publish(ActionList *list, Event *steal_event)
{
    add(list, ACTION_PUBLISH)->event = steal_event;
}

void action_verify(ActionList *list)
{
    add(list, ACTION_VERIFY);
}

void action_switchback(ActionList *list)
{
    add(list, ACTION_SWITCHBACK);
}

void action_takeover(ActionList *list)
{
    add(list, ACTION_TAKEOVER);
}

void action_log(ActionList *list, char *steal_text)
{
    add(list, ACTION_LOG)->text = steal_text;
}

void action_note(ActionList *list)
{
    add(list, ACTION_NOTE);
}

void action_tell(ActionList *list, Input *steal_input)
{
    add(list, ACTION_TELL)->tell = steal_input;
}

char *action_words(const Action *a, const char *vm_name)
{
    switch (a->kind) {
    case ACTION_PERSIST:
        return g_strdup(a->record ? "write the intention down" : "keep durably");
    case ACTION_NOTE:
        return g_strdup("note what was told");
    case ACTION_CALL:
        return g_strdup_printf("%s to %s for %s", a->method, a->host, vm_name);
    case ACTION_PUBLISH:
        return g_strdup_printf("event %s", event_code_name(a->event->code));
    case ACTION_VERIFY:
        return g_strdup("verify both hosts");
    case ACTION_SWITCHBACK:
        return g_strdup("move the VMs home");
    case ACTION_TAKEOVER:
        return g_strdup("move what is silent");
    case ACTION_LOG:
        return g_strdup(a->text);
    case ACTION_TELL:
        return input_words(a->tell, vm_name);
    }
    g_assert_not_reached();
}
