/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/proofs.h"

typedef struct {
    char *scenario;     /* of the last verdict */
    Proof newest;       /* without a host: nothing */
    GHashTable *points; /* Id * -> char *: proven at */
} VmProofs;

struct Proofs {
    GHashTable *vms; /* Id * -> VmProofs * */
};

static void vm_proofs_free(gpointer data)
{
    VmProofs *vm = data;

    g_free(vm->scenario);
    g_free(vm->newest.host);
    g_free(vm->newest.proven_at);
    g_free(vm->newest.failed_at);
    g_hash_table_unref(vm->points);
    g_free(vm);
}

Proofs *proofs_new(void)
{
    Proofs *p = g_new0(Proofs, 1);

    p->vms = g_hash_table_new_full(id_hash, id_equal_func, g_free, vm_proofs_free);
    return p;
}

void proofs_free(Proofs *p)
{
    if (!p)
        return;
    g_hash_table_unref(p->vms);
    g_free(p);
}

static VmProofs *need(Proofs *p, Id vm)
{
    VmProofs *of = g_hash_table_lookup(p->vms, &vm);

    if (of)
        return of;
    of = g_new0(VmProofs, 1);
    of->points = g_hash_table_new_full(id_hash, id_equal_func, g_free, g_free);
    g_hash_table_insert(p->vms, g_memdup2(&vm, sizeof vm), of);
    return of;
}

/* A failure leaves when the same host's copy was proven before. */
static void turn(Proof *proof, const ProofsVerdict *v)
{
    if (v->passed || g_strcmp0(proof->host, v->host) != 0) {
        g_free(proof->proven_at);
        proof->proven_at = v->passed ? g_strdup(v->at) : NULL;
    }
    g_free(proof->failed_at);
    proof->failed_at = v->passed ? NULL : g_strdup(v->at);
    proof->back_ms = v->passed ? v->back_ms : -1;
    g_free(proof->host);
    proof->host = g_strdup(v->host);
}

void proofs_add(Proofs *p, const ProofsVerdict *verdict)
{
    VmProofs *of = need(p, verdict->vm);

    g_free(of->scenario);
    of->scenario = g_strdup(verdict->scenario);
    if (verdict->passed && !id_is_nil(verdict->point))
        g_hash_table_insert(of->points, g_memdup2(&verdict->point, sizeof verdict->point),
                            g_strdup(verdict->at));
    if (!verdict->chosen)
        turn(&of->newest, verdict);
}

static gboolean is_of(gpointer vm, gpointer proofs, gpointer scenario)
{
    (void)vm;
    return g_strcmp0(((const VmProofs *)proofs)->scenario, scenario) == 0;
}

void proofs_forget(Proofs *p, const char *scenario)
{
    g_hash_table_foreach_remove(p->vms, is_of, (gpointer)scenario);
}

const Proof *proofs_of_vm(const Proofs *p, Id vm)
{
    const VmProofs *of = p ? g_hash_table_lookup(p->vms, &vm) : NULL;

    return of && of->newest.host ? &of->newest : NULL;
}

const char *proofs_of_point(const Proofs *p, Id vm, Id point)
{
    const VmProofs *of = p ? g_hash_table_lookup(p->vms, &vm) : NULL;

    return of ? g_hash_table_lookup(of->points, &point) : NULL;
}
