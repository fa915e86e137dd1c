/* SPDX-License-Identifier: Apache-2.0 */
/* Target: scenario_parse(), scenario_from_json(), policy_from_json(). What is
 * accepted must be written and read again to the same document. */
#include "orchestrator/core/scenario.h"
#include "vmconnect/base/json.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    g_autoptr(Scenario) s = scenario_parse((const char *)data, len, NULL);
    g_autoptr(Scenario) back = NULL;
    json_auto_t *doc = NULL, *again = NULL;

    if (!s)
        return 0;
    doc = scenario_to_json(s);
    g_assert(doc);
    back = scenario_from_json(doc, NULL);
    g_assert(back);
    again = scenario_to_json(back);
    g_assert(json_equal(doc, again));
    return 0;
}
