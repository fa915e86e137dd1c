/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/job_gate.h"

#include <stdatomic.h>
#include <uv.h>

typedef struct {
    guint inside;
    guint enders; /* at work since they closed it */
    gboolean closed;
} Passage;

struct JobGate {
    atomic_uint refs;
    uv_mutex_t lock;
    uv_cond_t left;       /* somebody has left */
    GHashTable *passages; /* Id * -> Passage; one stays for each VM that ever had a job */
};

JobGate *job_gate_new(void)
{
    JobGate *gate = g_new0(JobGate, 1);
    int rc;

    gate->refs = 1;
    gate->passages = g_hash_table_new_full(id_hash, id_equal_func, g_free, g_free);
    rc = uv_mutex_init(&gate->lock);
    g_assert(rc == 0);
    rc = uv_cond_init(&gate->left);
    g_assert(rc == 0);
    return gate;
}

JobGate *job_gate_ref(JobGate *gate)
{
    atomic_fetch_add(&gate->refs, 1);
    return gate;
}

void job_gate_unref(JobGate *gate)
{
    if (atomic_fetch_sub(&gate->refs, 1) != 1)
        return;
    g_hash_table_unref(gate->passages);
    uv_cond_destroy(&gate->left);
    uv_mutex_destroy(&gate->lock);
    g_free(gate);
}

/* Takes the lock, under which the passage stays @vm's own. */
static Passage *lock_passage(JobGate *gate, Id vm)
{
    Passage *p;

    uv_mutex_lock(&gate->lock);
    p = g_hash_table_lookup(gate->passages, &vm);
    if (!p) {
        p = g_new0(Passage, 1);
        g_hash_table_insert(gate->passages, g_memdup2(&vm, sizeof(vm)), p);
    }
    return p;
}

void job_gate_open(JobGate *gate, Id vm)
{
    lock_passage(gate, vm)->closed = FALSE;
    uv_mutex_unlock(&gate->lock);
}

gboolean job_gate_enter(JobGate *gate, Id vm)
{
    Passage *p = lock_passage(gate, vm);
    gboolean may = !p->closed && p->enders == 0;

    p->inside += may ? 1 : 0;
    uv_mutex_unlock(&gate->lock);
    return may;
}

void job_gate_leave(JobGate *gate, Id vm)
{
    Passage *p = lock_passage(gate, vm);

    g_assert(p->inside > 0);
    p->inside--;
    uv_cond_broadcast(&gate->left);
    uv_mutex_unlock(&gate->lock);
}

void job_gate_close(JobGate *gate, Id vm)
{
    Passage *p = lock_passage(gate, vm);

    p->closed = TRUE;
    p->enders++;
    while (p->inside > 0)
        uv_cond_wait(&gate->left, &gate->lock);
    uv_mutex_unlock(&gate->lock);
}

void job_gate_ended(JobGate *gate, Id vm)
{
    Passage *p = lock_passage(gate, vm);

    g_assert(p->enders > 0);
    p->enders--;
    uv_mutex_unlock(&gate->lock);
}
