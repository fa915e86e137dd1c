/* SPDX-License-Identifier: Apache-2.0 */
/* Target: news_list_from_json() and news_branches_from_json(), what an engine says about its VMs. */
#include "orchestrator/core/news.h"
#include "vmconnect/base/json.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    json_auto_t *doc = json_parse((const char *)data, len, 65536, NULL);
    g_autoptr(GPtrArray) list = doc ? news_list_from_json(doc, NULL, NULL, NULL) : NULL;
    g_autoptr(GArray) branches = doc ? news_branches_from_json(doc, NULL, NULL) : NULL;

    for (guint i = 0; branches && i < branches->len; i++)
        g_assert(g_array_index(branches, NewsBranches, i).count >= 0);
    for (guint i = 0; list && i < list->len; i++) {
        const News *n = list->pdata[i];

        g_assert(!id_is_nil(n->vm) && n->spool_bytes >= 0);
        for (guint c = 0; c < n->copies->len; c++)
            g_assert(news_find(n, ((const NewsCopy *)n->copies->pdata[c])->host));
    }
    return 0;
}
