/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/verification.h"

/* Reading hundreds of definitions takes libvirt some seconds. */
#define LIMIT_MS 30000

typedef struct {
    VerifyFacts *facts;
    VerificationDone done;
    void *user;
} Verification;

typedef struct {
    Verification *verification;
    char *host;
    const char *method;
} Question;

static void on_answer(void *user, const json_t *result, const GError *error)
{
    Question *q = user;
    Verification *v = q->verification;

    verify_facts_add(v->facts, q->host, q->method, result, error);
    g_free(q->host);
    g_free(q);
    if (!verify_facts_complete(v->facts))
        return;
    v->done(v->user, v->facts);
    verify_facts_free(v->facts);
    g_free(v);
}

void verification_start(Hosts *hosts, const Scenario *scenario, VerificationDone done, void *user)
{
    Verification *v = g_new0(Verification, 1);
    const char *method, *host;

    *v = (Verification){verify_facts_new(scenario), done, user};
    for (guint i = 0; (method = verify_call(v->facts, i, &host)); i++) {
        Question *q = g_new0(Question, 1);

        *q = (Question){v, g_strdup(host), method};
        hosts_call(hosts, host, method, NULL, LIMIT_MS, on_answer, q);
    }
}
