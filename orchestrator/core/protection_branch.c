/* SPDX-License-Identifier: Apache-2.0 */
/* Branches: what a host's disks held when another had become the active, and nobody else has. */
#include "orchestrator/core/protection_parts.h"
#include "vmconnect/base/units.h"

void protection_branches_free(gpointer data)
{
    ProtectionBranches *b = data;

    g_free(b->host);
    g_free(b);
}

static ProtectionBranches *find(const ProtectionVm *vm, const char *host)
{
    for (guint i = 0; i < vm->branches->len; i++) {
        ProtectionBranches *b = vm->branches->pdata[i];

        if (g_str_equal(b->host, host))
            return b;
    }
    return NULL;
}

static ProtectionBranches *add(ProtectionVm *vm, const char *host, gint64 told)
{
    ProtectionBranches *b = g_new0(ProtectionBranches, 1);

    *b = (ProtectionBranches){g_strdup(host), -1, -1, told};
    g_ptr_array_add(vm->branches, b);
    return b;
}

static void publish(const Protection *p, const ProtectionVm *vm, const ProtectionBranches *b, ActionList *out)
{
    g_autofree char *size =
        b->bytes < 0 ? g_strdup("nobody knows yet how much") : units_human_size((guint64)b->bytes);
    g_autofree char *why =
        g_strdup_printf("%s%s in %" G_GINT64_FORMAT " branch%s", b->bytes < 0 ? "" : "at most ", size,
                        b->count, b->count == 1 ? "" : "es");

    protection_publish(p, EVENT_BRANCH_KEPT, b->host, vm->name, why, out);
}

/* Told when it is known how much it is: with the first copy that is whole on top of it, unless there is nobody to send that. */
static void take(Protection *p, ProtectionVm *vm, const char *host, const NewsBranches *news, ActionList *out)
{
    ProtectionBranches *b = find(vm, host);

    if (!b && news->count == 0)
        return;
    if (!b)
        b = add(vm, host, 0);
    b->count = news->count;
    b->bytes = news->bytes;
    if (b->count == b->told || (b->count > b->told && b->bytes < 0 && protection_is_up(p, vm->active)))
        return;
    action_persist(out, NULL);
    if (b->count > b->told)
        publish(p, vm, b, out);
    b->told = b->count;
}

void protection_take_branches(Protection *p, const Input *in, ActionList *out)
{
    g_autoptr(GArray) list = news_branches_from_json(in->json, protection_has_vm, p);

    if (!scenario_has_host(p->scenario, in->host))
        return;
    for (guint i = 0; i < list->len; i++) {
        const NewsBranches *news = &g_array_index(list, NewsBranches, i);

        take(p, protection_find(p, news->vm), in->host, news, out);
    }
}

json_t *protection_branches_to_json(const ProtectionVm *vm)
{
    json_t *list = json_array();

    for (guint i = 0; i < vm->branches->len; i++) {
        const ProtectionBranches *b = vm->branches->pdata[i];

        json_array_append_new(list, json_pack("{s:s, s:I}", "host", b->host, "told", (json_int_t)b->told));
    }
    return list;
}

void protection_branches_from_json(ProtectionVm *vm, const json_t *list)
{
    for (gsize i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        const char *host = json_string_value(json_object_get(one, "host"));

        if (host && !find(vm, host))
            add(vm, host, MAX(0, json_integer_value(json_object_get(one, "told"))));
    }
}
