/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/capture/eligible.h"

#include <string.h>

static void remark(GPtrArray *remarks, const Disk *disk, const char *vm_name, const char *text)
{
    g_ptr_array_add(remarks, g_strdup_printf("disk %s of '%s': %s", disk->target, vm_name, text));
}

/* What only the header knows; NULL: nothing stands against it. */
static const char *header_problem(const Qcow2Facts *facts)
{
    if (g_strcmp0(facts->compat, "0.10") == 0)
        return "its qcow2 version 2 (compat 0.10) cannot hold the record of changes; shut the VM down and "
               "run "
               "`qemu-img amend -o compat=1.1` on the image";
    if (facts->encrypted)
        return "its image is encrypted, and the standby's copy would not be; move its data to an image that "
               "is "
               "not encrypted";
    if (facts->data_file)
        return "its data lies in an external data file, which libvirt cannot start from elsewhere; convert "
               "it "
               "with `qemu-img convert -O qcow2`";
    if (facts->corrupt)
        return "QEMU has marked its image as corrupt; repair it with `qemu-img check -r` while the VM is "
               "shut off";
    return NULL;
}

static void header_remarks(const Qcow2Facts *facts, const Disk *disk, const char *vm_name, GPtrArray *remarks)
{
    if (facts->snapshots->len > 0)
        remark(remarks, disk, vm_name,
               "it has internal snapshots; QEMU cannot revert to one while changes are tracked: stop "
               "replication first");
}

char *eligible_disk_problem(const Disk *disk, const Qcow2Facts *facts, const char *vm_name,
                            GPtrArray *ret_remarks)
{
    const char *problem = disk_problem(disk);
    const char *warning = disk_warning(disk);

    if (!problem && facts)
        problem = header_problem(facts);
    if (problem)
        return g_strdup_printf("disk %s of '%s': %s", disk->target, vm_name, problem);
    if (warning)
        remark(ret_remarks, disk, vm_name, warning);
    if (facts)
        header_remarks(facts, disk, vm_name, ret_remarks);
    return NULL;
}

static const Disk *earlier_on_same_image(const GPtrArray *disks, guint at)
{
    const Disk *disk = disks->pdata[at];

    for (guint i = 0; disk->source && i < at; i++) {
        const Disk *other = disks->pdata[i];

        if (g_strcmp0(other->source, disk->source) == 0)
            return other;
    }
    return NULL;
}

char *eligible_set_problem(const GPtrArray *disks, const char *vm_name)
{
    guint n_data = 0;

    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];
        const Disk *other = disk_is_data(disk) ? earlier_on_same_image(disks, i) : NULL;

        n_data += disk_is_data(disk);
        if (other)
            return g_strdup_printf(
                "disks %s and %s of '%s' are one image, %s: changes through one would be missed "
                "through the other; give each its own image",
                other->target, disk->target, vm_name, disk->source);
    }
    if (n_data == 0)
        return g_strdup_printf(
            "'%s' has no disk that could be replicated: it holds no data of its own; nothing "
            "can be protected until a writable qcow2 disk is attached",
            vm_name);
    return NULL;
}

static void vm_remark(GPtrArray *remarks, const Definition *d, const char *text)
{
    g_ptr_array_add(remarks, g_strdup_printf("'%s' %s", d->name, text));
}

/* Whether the agent is there only a running guest shows. */
static void agent_remarks(const Definition *d, gboolean running, GPtrArray *remarks)
{
    if (!d->has_agent)
        vm_remark(remarks, d,
                  "has no channel for a guest agent: a switchover asks it to shut down by its power button "
                  "only, its "
                  "file systems cannot be frozen, and what it calls itself is not known; add the channel "
                  "org.qemu.guest_agent.0 and install qemu-guest-agent");
    else if (running && !d->agent_connected)
        vm_remark(remarks, d,
                  "has no guest agent that answers: a switchover asks it to shut down by its power button "
                  "only; start "
                  "qemu-guest-agent in the guest");
}

static void copy_remarks(const Definition *d, GPtrArray *remarks)
{
    for (guint i = 0; i < d->disks->len; i++) {
        const Disk *disk = d->disks->pdata[i];

        if (disk->has_mirror)
            remark(remarks, disk, d->name,
                   "a block copy or commit runs on it: nothing can be cut until it has ended; see virsh "
                   "blockjob");
    }
}

void eligible_vm_remarks(const Definition *d, gboolean running, GPtrArray *ret_remarks)
{
    agent_remarks(d, running, ret_remarks);
    copy_remarks(d, ret_remarks);
    if (d->nvram_elsewhere)
        vm_remark(
            ret_remarks, d,
            "keeps its firmware variables elsewhere than in a local file: they are not replicated, and its "
            "copy is started with the same place; make sure that the replica reaches it");
}

/* The header of @disk's own image; NULL with a sentence in @problems when it cannot be read. */
static Qcow2Facts *read_header(const Disk *disk, const char *vm_name, int timeout_ms, int cancel_fd,
                               GPtrArray *problems)
{
    g_autoptr(GError) error = NULL;
    Qcow2Facts *facts = qcow2_read(disk->source, "qcow2", timeout_ms, cancel_fd, &error);

    if (!facts)
        g_ptr_array_add(problems, g_strdup_printf("disk %s of '%s': its image cannot be read: %s",
                                                  disk->target, vm_name, error->message));
    return facts;
}

GPtrArray *eligible_problems(const GPtrArray *disks, const char *vm_name, int timeout_ms, int cancel_fd,
                             GPtrArray **ret_remarks)
{
    GPtrArray *problems = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) remarks = g_ptr_array_new_with_free_func(g_free);
    char *problem = eligible_set_problem(disks, vm_name);

    if (problem)
        g_ptr_array_add(problems, problem);
    for (guint i = 0; i < disks->len; i++) {
        const Disk *disk = disks->pdata[i];
        g_autoptr(Qcow2Facts) facts = NULL;

        if (!disk_is_data(disk))
            continue;
        if (!disk_problem(disk)) {
            facts = read_header(disk, vm_name, timeout_ms, cancel_fd, problems);
            if (!facts)
                continue;
        }
        problem = eligible_disk_problem(disk, facts, vm_name, remarks);
        if (problem)
            g_ptr_array_add(problems, problem);
    }
    if (ret_remarks)
        *ret_remarks = g_steal_pointer(&remarks);
    return problems;
}
