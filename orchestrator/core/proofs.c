/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/proofs.h"

typedef struct {
    Proof newest;
    GHashTable *points; /* Id * -> char *: proven at */
} VmProofs;

struct Proofs {
    GHashTable *vms; /* Id * -> VmProofs * */
};

static void vm_proofs_free(gpointer data)
{
    VmProofs *vm = data;

    g_free(vm->newest.proven_at);
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

void proofs_add(Proofs *p, Id vm, Id point, gint64 back_ms, const char *proven_at)
{
    VmProofs *of = g_hash_table_lookup(p->vms, &vm);

    if (!of) {
        of = g_new0(VmProofs, 1);
        of->points = g_hash_table_new_full(id_hash, id_equal_func, g_free, g_free);
        g_hash_table_insert(p->vms, g_memdup2(&vm, sizeof vm), of);
    }
    g_free(of->newest.proven_at);
    of->newest = (Proof){back_ms, g_strdup(proven_at)};
    if (!id_is_nil(point))
        g_hash_table_insert(of->points, g_memdup2(&point, sizeof point), g_strdup(proven_at));
}

const Proof *proofs_of_vm(const Proofs *p, Id vm)
{
    const VmProofs *of = p ? g_hash_table_lookup(p->vms, &vm) : NULL;

    return of ? &of->newest : NULL;
}

const char *proofs_of_point(const Proofs *p, Id vm, Id point)
{
    const VmProofs *of = p ? g_hash_table_lookup(p->vms, &vm) : NULL;

    return of ? g_hash_table_lookup(of->points, &point) : NULL;
}
