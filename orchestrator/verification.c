/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/verification.h"

#include "vmconnect/base/json.h"

/* Reading hundreds of definitions takes libvirt some seconds. */
#define LIMIT_MS 30000

typedef struct {
    VerifyFacts *facts;
    VerificationDone done;
    void *user;
} Verification;

typedef struct {
    Verification *verification;
    guint index;
} Question;

static void on_answer(void *user, const json_t *result, const GError *error)
{
    g_autofree Question *q = user;
    Verification *v = q->verification;

    verify_facts_add(v->facts, q->index, result, error);
    if (!verify_facts_complete(v->facts))
        return;
    v->done(v->user, v->facts);
    verify_facts_free(v->facts);
    g_free(v);
}

static void ask(Hosts *hosts, Verification *v, guint index)
{
    VerifyCall call = verify_call(v->facts, index);
    json_auto_t *params = id_is_nil(call.vm) ? NULL : json_pack("{s:s}", "vm", ID_TEXT(call.vm));
    Question *q = g_new0(Question, 1);

    *q = (Question){v, index};
    hosts_call(hosts, call.host, call.method, params, LIMIT_MS, on_answer, q);
}

void verification_start(Hosts *hosts, const Scenario *scenario, VerificationDone done, void *user)
{
    Verification *v = g_new0(Verification, 1);
    guint n;

    *v = (Verification){verify_facts_new(scenario), done, user};
    n = verify_call_count(v->facts);
    for (guint i = 0; i < n; i++)
        ask(hosts, v, i);
}
