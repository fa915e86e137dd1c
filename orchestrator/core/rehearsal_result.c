/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/rehearsal_result.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/units.h"

#define NAMED 3

static void vm_free(gpointer data)
{
    RehearsalVm *vm = data;

    g_free(vm->name);
    g_free(vm->why);
    g_free(vm);
}

void rehearsal_result_free(RehearsalResult *r)
{
    if (!r)
        return;
    g_ptr_array_unref(r->vms);
    g_free(r->why);
    g_free(r->ended_at);
    g_free(r);
}

static gboolean id_of(const json_t *doc, const char *key, Id *ret_id)
{
    const char *text = json_text_of(doc, key);

    return text && id_parse(text, ret_id, NULL);
}

/* null, or one of the three. */
static gboolean verdict_of(const json_t *doc, RehearsalVerdict *ret_verdict)
{
    static const char *const NAMES[] = {"passed", "failed", "stopped"};
    const json_t *value = json_object_get(doc, "verdict");

    *ret_verdict = REHEARSAL_OPEN;
    for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++)
        if (g_strcmp0(json_string_value(value), NAMES[i]) == 0)
            *ret_verdict = (RehearsalVerdict)(i + 1);
    return json_is_null(value) || *ret_verdict != REHEARSAL_OPEN;
}

/* A time that somebody measured; -1: null, or none. */
static gint64 ms_of(const json_t *doc, const char *key)
{
    const json_t *value = json_object_get(doc, key);
    gint64 ms = json_is_integer(value) ? json_integer_value(value) : -1;

    return ms >= 0 && ms <= G_MAXINT32 ? ms : -1;
}

static RehearsalVm *read_vm(const json_t *doc)
{
    const char *name = json_text_of(doc, "name");
    RehearsalVerdict verdict;
    RehearsalVm *vm;
    Id id;

    if (!id_of(doc, "vm", &id) || !name || !verdict_of(doc, &verdict))
        return NULL;
    vm = g_new0(RehearsalVm, 1);
    *vm = (RehearsalVm){.vm = id,
                        .name = g_strdup(name),
                        .verdict = verdict,
                        .why = g_strdup(json_text_of(doc, "why")),
                        .back_ms = ms_of(doc, "back_ms"),
                        .picture = json_is_true(json_object_get(doc, "picture")),
                        .waited = json_is_true(json_object_get(doc, "waited"))};
    if (!id_of(json_object_get(doc, "point"), "id", &vm->point))
        vm->point = ID_NIL;
    return vm;
}

static gboolean is_time(const char *text)
{
    gint64 wall_ms;

    return text && clock_parse(text, &wall_ms, NULL);
}

static gboolean read_whole(const json_t *doc, Id test, RehearsalResult *r)
{
    const char *state = json_text_of(doc, "state");
    const char *ended_at = json_text_of(doc, "ended_at");
    const json_t *vms = json_object_get(doc, "vms");
    Id id;

    if (!id_of(doc, "test", &id) || !id_equal(id, test) || !state || !verdict_of(doc, &r->verdict) ||
        !json_is_array(vms))
        return FALSE;
    r->ended = g_str_equal(state, "ended");
    r->ready = g_str_equal(state, "ready");
    if (r->ended != (r->verdict != REHEARSAL_OPEN) || (r->ended && !is_time(ended_at)))
        return FALSE;
    r->ended_at = r->ended ? g_strdup(ended_at) : NULL;
    r->why = g_strdup(json_text_of(doc, "why"));
    for (gsize i = 0; i < json_array_size(vms); i++) {
        RehearsalVm *vm = read_vm(json_array_get(vms, i));

        if (!vm)
            return FALSE;
        g_ptr_array_add(r->vms, vm);
    }
    return TRUE;
}

RehearsalResult *rehearsal_result_from_json(const json_t *doc, Id test, GError **error)
{
    g_autoptr(RehearsalResult) r = g_new0(RehearsalResult, 1);

    r->vms = g_ptr_array_new_with_free_func(vm_free);
    if (read_whole(doc, test, r))
        return g_steal_pointer(&r);
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "what its engine says of test %s is no result",
                ID_TEXT(test));
    return NULL;
}

static const RehearsalVm *slowest(const RehearsalResult *r)
{
    const RehearsalVm *found = NULL;

    for (guint i = 0; i < r->vms->len; i++) {
        const RehearsalVm *vm = r->vms->pdata[i];

        if (!found || vm->back_ms > found->back_ms)
            found = vm;
    }
    return found;
}

static void append_up(GString *text, const RehearsalVm *vm, const char *was_up)
{
    g_autofree char *time = vm->back_ms < 0 ? NULL : units_human_duration(vm->back_ms);

    g_string_append_printf(text, "'%s' %s%s%s", vm->name, was_up, time ? " in " : "", time ? time : "");
}

char *rehearsal_result_passed_text(const RehearsalResult *r)
{
    GString *text = g_string_new(NULL);

    if (r->vms->len > NAMED) {
        g_string_append_printf(text, "all %u VMs were up; ", r->vms->len);
        append_up(text, slowest(r), "took longest and was up");
    } else {
        for (guint i = 0; i < r->vms->len; i++) {
            g_string_append(text, i ? ", " : "");
            append_up(text, r->vms->pdata[i], "was up");
        }
    }
    return g_string_free(text, FALSE);
}

char *rehearsal_result_failed_text(const RehearsalResult *r)
{
    for (guint i = 0; !r->why && i < r->vms->len; i++) {
        const RehearsalVm *vm = r->vms->pdata[i];

        if (vm->verdict == REHEARSAL_FAILED && vm->why)
            return g_strdup_printf("'%s': %s", vm->name, vm->why);
    }
    return g_strdup(r->why ? r->why : "its engine says no reason");
}

GArray *rehearsal_news_from_json(const json_t *status)
{
    const json_t *tests = json_object_get(status, "tests");
    GArray *list = g_array_new(FALSE, FALSE, sizeof(RehearsalNews));

    for (gsize i = 0; i < json_array_size(tests); i++) {
        const json_t *item = json_array_get(tests, i);
        const json_t *changed = json_object_get(item, "changed");
        RehearsalNews news = {.changed = json_integer_value(changed)};

        if (!id_of(item, "test", &news.test) || !json_is_integer(changed))
            continue;
        news.ended = g_strcmp0(json_text_of(item, "state"), "ended") == 0;
        g_array_append_val(list, news);
    }
    return list;
}
