/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/verify_memory.h"

struct VerifyMemory {
    GHashTable *keys; /* set of char * */
    guint errors;
};

/* Without its figures: that so much is left is no news, that another interface is concerned is. */
static char *key_of(const Finding *f)
{
    GString *key = g_string_new(NULL);

    g_string_append_printf(key, "%d/%s/%s/%s/", f->severity, f->id, f->host ? f->host : "",
                           f->vm ? f->vm : "");
    for (const char *c = f->cause; *c; c++)
        if (!g_ascii_isdigit(*c))
            g_string_append_c(key, *c);
    return g_string_free(key, FALSE);
}

VerifyMemory *verify_memory_new(const GPtrArray *findings)
{
    VerifyMemory *m = g_new0(VerifyMemory, 1);

    m->keys = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    m->errors = verify_errors(findings);
    for (guint i = 0; i < findings->len; i++)
        g_hash_table_add(m->keys, key_of(findings->pdata[i]));
    return m;
}

void verify_memory_free(VerifyMemory *m)
{
    if (!m)
        return;
    g_hash_table_unref(m->keys);
    g_free(m);
}

/* Errors come first, so it is the worst. */
static const Finding *first_new(const VerifyMemory *before, const GPtrArray *findings)
{
    for (guint i = 0; i < findings->len; i++) {
        g_autofree char *key = key_of(findings->pdata[i]);

        if (!before || !g_hash_table_contains(before->keys, key))
            return findings->pdata[i];
    }
    return NULL;
}

Event *verify_memory_news(const VerifyMemory *before, const GPtrArray *findings, const char *scenario)
{
    const Finding *f = first_new(before, findings);

    if (f && f->severity == FINDING_ERROR)
        return event_new(EVENT_VERIFY_TROUBLE, scenario, f->host, f->vm, f->cause);
    if (before && before->errors > 0 && verify_errors(findings) == 0)
        return event_new(EVENT_VERIFY_CLEAR, scenario, NULL, NULL, NULL);
    /* Who has never looked finds the warnings when he does. */
    return f && before ? event_new(EVENT_VERIFY_REMARK, scenario, f->host, f->vm, f->cause) : NULL;
}
