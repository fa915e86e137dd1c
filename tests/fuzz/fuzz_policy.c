/* SPDX-License-Identifier: Apache-2.0 */
/* What this engine was told, as it stands in its file. */
#include "vmconnect/base/error.h"
#include "vmconnect/policy.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static guint count(GPtrArray *roles)
{
    guint n = roles->len;

    g_ptr_array_unref(roles);
    return n;
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Policy) policy = policy_parse("policy", (const char *)data, size, &error);
    g_autoptr(Policy) back = NULL;
    g_autofree char *text = NULL;

    if (!policy) {
        g_assert(error && error->domain == US_ERROR);
        return 0;
    }
    text = policy_text(policy);
    back = policy_parse("policy", text, strlen(text), &error);
    g_assert(back);
    g_assert(count(policy_actives(back)) == count(policy_actives(policy)));
    g_assert(count(policy_standbys(back)) == count(policy_standbys(policy)));
    return 0;
}
