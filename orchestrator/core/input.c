/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/protection.h"

static const struct {
    const char *text;
    const char *bad; /* with a failure */
} WORDS[] = {
    [INPUT_RUN] = {"run asked for"},
    [INPUT_STOP] = {"stop asked for"},
    [INPUT_PAUSE] = {"pause asked for"},
    [INPUT_CONTINUE] = {"continue asked for"},
    [INPUT_HOLD] = {"hold asked for"},
    [INPUT_UNHOLD] = {"hold ended"},
    [INPUT_VERIFIED] = {"no errors found", "errors found"},
    [INPUT_POLICY] = {"policy changed"},
    [INPUT_PURGE] = {"copies are to be deleted"},
    [INPUT_KEEP] = {"copies could not be deleted"},
    [INPUT_HAS_MOVED] = {"%h is elsewhere"},
    [INPUT_LINK_BACK] = {"link to %h is back"},
    [INPUT_LINK_LOST] = {"link to %h is lost"},
    [INPUT_NEWS] = {"news from %h"},
    [INPUT_ANSWER] = {"%h did %m for %v", "%h failed at %m for %v"},
    [INPUT_PLAN_BEGUN] = {"plan to %h begun"},
    [INPUT_MOVING] = {"plan has %v"},
    [INPUT_YIELDED] = {"%v ended on %h"},
    [INPUT_MOVED] = {"%v runs on %h"},
    [INPUT_STAYED] = {"%v stayed"},
    [INPUT_BLOCKED] = {"%v released, not started on %h"},
    [INPUT_DOWN] = {"%v down"},
    [INPUT_GATE_MISSED] = {"%v is waited for no longer"},
    [INPUT_PLAN_ENDED] = {"plan to %h ended"},
    [INPUT_SWITCHBACK] = {"switchback begun", "switchback not begun"},
    [INPUT_TAKEOVER] = {"takeover begun", "takeover not begun"},
    [INPUT_LOOKED] = {"a switchover would work", "a switchover would not work"},
    [INPUT_TICK] = {"time passed"},
};

static const char *value_of(const Input *in, const char *vm_name, char letter)
{
    const char *value = letter == 'h' ? in->host : letter == 'm' ? in->method : vm_name;

    return value ? value : "?";
}

char *input_words(const Input *in, const char *vm_name)
{
    const char *t = in->failure ? WORDS[in->kind].bad : WORDS[in->kind].text;
    GString *words = g_string_new(NULL);

    g_assert(t);
    for (; *t; t++)
        if (*t == '%')
            g_string_append(words, value_of(in, vm_name, *++t));
        else
            g_string_append_c(words, *t);
    if (in->why)
        g_string_append_printf(words, " (%s)", in->why);
    else if (in->failure)
        g_string_append_printf(words, " (%s)", in->failure->message);
    return g_string_free(words, FALSE);
}
