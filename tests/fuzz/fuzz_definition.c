/* SPDX-License-Identifier: Apache-2.0 */
/* A domain definition or backup job from anywhere. What the start hook and the
 * inventory both accept has one UUID. */
#include "vmconnect/hypervisor/definition.h"
#include "vmconnect/hypervisor/domain_uuid.h"
#include "vmconnect/hypervisor/job.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static void judge_disks(const Definition *d)
{
    for (guint i = 0; i < d->disks->len; i++) {
        const Disk *disk = d->disks->pdata[i];

        /* What passes may name a file and has an image. */
        if (disk_is_data(disk) && !disk_problem(disk))
            g_assert(disk->target && disk->source && disk->format);
        disk_warning(disk);
    }
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    const char *text = (const char *)data;
    g_autoptr(Definition) d = definition_parse(text, size, NULL);
    g_autoptr(Job) job = job_parse(text, size, "/run/understudy/engine", NULL);
    Id id;

    if (domain_uuid_parse(text, size, &id, NULL) && d)
        g_assert(id_equal(id, d->uuid));
    if (d)
        judge_disks(d);
    if (job)
        g_assert(job->kind == JOB_OURS || job->kind == JOB_FOREIGN);
    return 0;
}
