/* SPDX-License-Identifier: Apache-2.0 */
/* Target: rehearsal_result_from_json() and rehearsal_news_from_json(), what an engine says of an integrity test. */
#include "orchestrator/core/rehearsal_result.h"
#include "vmconnect/base/json.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    static const char TEST[] = "eeeeeeee-0000-4000-8000-000000000005";
    json_auto_t *doc = json_parse((const char *)data, len, 65536, NULL);
    g_autoptr(GArray) news = doc ? rehearsal_news_from_json(doc) : NULL;
    g_autoptr(RehearsalResult) r = NULL;
    Id test;

    g_assert(id_parse(TEST, &test, NULL));
    r = doc ? rehearsal_result_from_json(doc, test, NULL) : NULL;
    g_assert(!news || news->len <= json_array_size(json_object_get(doc, "tests")));
    if (r) {
        g_autofree char *passed = rehearsal_result_passed_text(r);
        g_autofree char *failed = rehearsal_result_failed_text(r);

        g_assert(passed && failed);
        g_assert(r->ended == (r->verdict != REHEARSAL_OPEN) && r->ended == (r->ended_at != NULL));
        for (guint i = 0; i < r->vms->len; i++)
            g_assert(((const RehearsalVm *)r->vms->pdata[i])->back_ms >= -1);
    }
    return 0;
}
