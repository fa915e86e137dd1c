/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/takeover.h"

#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/host_facts.h"

char *takeover_definition(virConnectPtr conn, const Takeover *t, const char *definition,
                          GPtrArray **ret_remarks, GError **error)
{
    g_autoptr(GError) why = NULL;
    TranslateInput in = {.from = t->from,
                         .to = t->here,
                         .mapping = t->mapping,
                         .from_column = MAP_MASTER,
                         .to_column = MAP_REPLICA,
                         .disks = t->disks,
                         .n_disks = t->n_disks,
                         .nvram = t->nvram,
                         .cpu = host_facts_cpu(conn, definition)};
    char *out;

    out = translate_definition(definition, &in, ret_remarks, &why);
    if (why)
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "definition of VM %s: %s", ID_TEXT(t->vm), why->message);
    return out;
}
