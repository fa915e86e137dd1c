/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/verification.h"

#include "vmconnect/base/json.h"

/* Reading hundreds of definitions takes libvirt some seconds. */
#define LIMIT_MS 30000

typedef struct {
    Hosts *hosts;
    VerifyFacts *facts;
    guint asked; /* calls */
    VerificationDone done;
    void *user;
} Verification;

typedef struct {
    Verification *verification;
    guint index;
} Question;

static void ask_all(Verification *v);

static void on_answer(void *user, const json_t *result, const GError *error)
{
    g_autofree Question *q = user;
    Verification *v = q->verification;

    verify_facts_add(v->facts, q->index, result, error);
    ask_all(v);
    if (!verify_facts_complete(v->facts))
        return;
    v->done(v->user, v->facts);
    verify_facts_free(v->facts);
    g_free(v);
}

static void ask(Verification *v, guint index)
{
    VerifyCall call = verify_call(v->facts, index);
    Question *q = g_new0(Question, 1);

    *q = (Question){v, index};
    hosts_call(v->hosts, call.host, call.method, call.params, LIMIT_MS, on_answer, q);
}

/* Answers may bring more questions. */
static void ask_all(Verification *v)
{
    while (v->asked < verify_call_count(v->facts))
        ask(v, v->asked++);
}

void verification_start(Hosts *hosts, const Scenario *scenario, VerificationDone done, void *user)
{
    Verification *v = g_new0(Verification, 1);

    *v = (Verification){hosts, verify_facts_new(scenario), 0, done, user};
    ask_all(v);
}
