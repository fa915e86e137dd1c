/* SPDX-License-Identifier: Apache-2.0 */
/* The way home by itself (switchback=auto). Every try shuts guests down, so it is begun only after a time without a
 * break in their protection, counted durably before it is begun, and left to the operator after a few. */
#include "orchestrator/core/protection_parts.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/units.h"

#define TRIES_MAX 3
/* In `tries`: the operator was told that it is not tried any more. */
#define TRIES_LEFT (TRIES_MAX + 1)

void protection_home_anew(Protection *p)
{
    g_free(p->home.why);
    p->home = (ProtectionHome){0};
}

static gboolean is_automatic(const Protection *p)
{
    return p->scenario->policy.switchback == SWITCHBACK_AUTO && p->goal == GOAL_RUNNING &&
           id_is_nil(p->plan) && protection_away(p) && protection_is_sure(p, NULL) && !protection_is_held(p);
}

/* By its active's own word; and nothing is owed or refused that a plan would meet. */
static gboolean is_protected_away(const Protection *p, const ProtectionVm *vm)
{
    return protection_is_up(p, vm->active) && !vm->owes && vm->troubles->len == 0 && !vm->rival &&
           protection_copy_on(vm, p->scenario->master)->state == COPY_PROTECTED;
}

static gboolean is_whole(const Protection *p)
{
    if (!is_automatic(p) || !protection_is_up(p, p->scenario->master))
        return FALSE;
    EACH_VM (p, vm)
        if (!protection_vm_is_home(p, vm) && !is_protected_away(p, vm))
            return FALSE;
    return TRUE;
}

static void publish_time(const Protection *p, EventCode code, ActionList *out)
{
    g_autofree char *after = units_format_duration(p->scenario->policy.switchback_after_ms);

    protection_publish(p, code, p->scenario->master, NULL, after, out);
}

static void begin_waiting(Protection *p, gint64 now_ms, ActionList *out)
{
    p->home.whole = TRUE;
    p->home.since_ms = now_ms;
    /* Not each time that a copy is late for a moment. */
    if (!p->home.announced)
        publish_time(p, EVENT_SWITCHBACK_AHEAD, out);
    p->home.announced = TRUE;
}

/* Whatever comes of it, it was one try: durable first. */
static void ask(Protection *p, ActionList *out)
{
    p->home.tries++;
    p->home.whole = FALSE;
    p->home.announced = FALSE;
    p->home.asked = TRUE;
    action_persist(out, NULL);
    action_switchback(out);
}

static char *why_left(const Protection *p)
{
    GString *text = g_string_new(NULL);

    g_string_append_printf(text, "%d tries came to nothing", TRIES_MAX);
    if (p->home.why)
        g_string_append_printf(text, ", the last could not be begun (%s)", p->home.why);
    EACH_VM (p, vm)
        if (!protection_vm_is_home(p, vm) && vm->stayed)
            g_string_append_printf(text, ", '%s' stayed (%s)", vm->name, vm->stayed);
    return g_string_free(text, FALSE);
}

static void leave_to_operator(Protection *p, ActionList *out)
{
    g_autofree char *why = why_left(p);

    p->home.tries = TRIES_LEFT;
    action_persist(out, NULL);
    protection_publish(p, EVENT_SWITCHBACK_LEFT, p->scenario->master, NULL, why, out);
}

void protection_go_home(Protection *p, gint64 now_ms, ActionList *out)
{
    gboolean whole = is_whole(p);

    if (!protection_away(p))
        protection_home_anew(p);
    /* What was asked for and is not begun is overtaken by what broke it. */
    p->home.asked &= whole;
    if (p->home.asked)
        return;
    if (p->home.tries == TRIES_MAX && is_automatic(p))
        leave_to_operator(p, out);
    if (!whole || p->home.tries >= TRIES_MAX)
        p->home.whole = FALSE;
    else if (!p->home.whole)
        begin_waiting(p, now_ms, out);
    else if (protection_switchback_left_ms(p, now_ms) == 0)
        ask(p, out);
}

gint64 protection_switchback_left_ms(const Protection *p, gint64 now_ms)
{
    if (!p->home.whole)
        return -1;
    return MAX(0, p->home.since_ms + p->scenario->policy.switchback_after_ms - now_ms);
}

gboolean protection_wants_home(const Protection *p)
{
    return p->home.asked;
}

gboolean protection_on_switchback(Protection *p, const Input *in, ActionList *out, GError **error)
{
    (void)error;
    p->home.asked = FALSE;
    g_clear_pointer(&p->home.why, g_free);
    if (in->failure) {
        p->home.why = g_strdup(in->failure->message);
        protection_publish(p, EVENT_SWITCHOVER_FAILED, p->scenario->master, NULL, p->home.why, out);
    } else {
        publish_time(p, EVENT_SWITCHBACK_STARTED, out);
    }
    return TRUE;
}
