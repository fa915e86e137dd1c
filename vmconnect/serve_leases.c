/* SPDX-License-Identifier: Apache-2.0 */
/* serve_leases - what the controller says of leases and asks of this host's voice (tenure.h). */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

void serve_lease_answers(void *user, RpcReply *reply, const json_t *params)
{
    const Visit *visit = user;
    g_autoptr(GError) error = NULL;
    json_t *answers;

    if (serve_good(reply,
                   json_read(params, "lease.answers", &error, "{s:o}", "answers", &answers) &&
                       tenure_hear_answers(visit->engine->tenure, visit->controller, answers, &error),
                   &error))
        rpc_reply(reply, json_object());
}

void serve_lease_promised(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    Id vm;

    if (serve_good(reply, serve_read_vm(params, &vm, &error), &error))
        rpc_reply(reply, voice_promised(((Visit *)user)->engine->voice, vm));
}

void serve_lease_would(void *user, RpcReply *reply, const json_t *params)
{
    const Visit *visit = user;
    g_autoptr(GError) error = NULL;
    Ballot ballot;
    Id vm;

    if (serve_good(reply,
                   serve_read_vm(params, &vm, &error) &&
                       ballot_from_json(json_object_get(params, "ballot"), &ballot, &error),
                   &error))
        rpc_reply(reply, json_pack("{s:s}", "verdict",
                                   vote_verdict_name(voice_would_vote(visit->engine->voice, vm, &ballot))));
}

/* The method of another engine, which is the active of VMs whose copies are kept here. */
void serve_lease_renew(void *user, RpcReply *reply, const json_t *params)
{
    const PeerVisit *visit = user;

    voice_renew(visit->engine->voice, visit->peer, params, serve_done, reply);
}
