/* SPDX-License-Identifier: Apache-2.0 */
/* bare_cycle - libvirt's own share of a cycle, and nothing else.
 *
 *   bare_cycle DOMAIN SOCKET TARGET N
 *
 * N times: ask for the size of the newest checkpoint, begin a pull job with a new
 * one, end it, wait until it is gone, delete the older checkpoint. Prints the
 * milliseconds of each, one a line; the first only makes a checkpoint. */
#include <glib.h>
#include <libvirt/libvirt.h>
#include <stdlib.h>

#define POLL_US 1000

static char *name_of(int i)
{
    return g_strdup_printf("bench-%d", i);
}

static int ask_size(virDomainPtr dom, int i)
{
    g_autofree char *name = name_of(i);
    virDomainCheckpointPtr checkpoint = virDomainCheckpointLookupByName(dom, name, 0);
    g_autofree char *xml =
        checkpoint ? virDomainCheckpointGetXMLDesc(checkpoint, VIR_DOMAIN_CHECKPOINT_XML_SIZE) : NULL;

    if (checkpoint)
        virDomainCheckpointFree(checkpoint);
    return xml ? 0 : -1;
}

static int begin(virDomainPtr dom, const char *socket, const char *target, int i)
{
    g_autofree char *scratch = g_strdup_printf("%s.scratch", socket);
    g_autofree char *since =
        i > 0 ? g_strdup_printf("<incremental>bench-%d</incremental>", i - 1) : g_strdup("");
    g_autofree char *backup = g_strdup_printf(
        "<domainbackup mode='pull'>%s<server transport='unix' socket='%s'/><disks>"
        "<disk name='%s' backup='yes' type='file'><scratch file='%s'/></disk></disks></domainbackup>",
        since, socket, target, scratch);
    g_autofree char *checkpoint =
        g_strdup_printf("<domaincheckpoint><name>bench-%d</name><disks><disk name='%s' checkpoint='bitmap'/>"
                        "</disks></domaincheckpoint>",
                        i, target);

    return virDomainBackupBegin(dom, backup, checkpoint, 0);
}

static int end(virDomainPtr dom)
{
    virDomainJobInfo info;

    if (virDomainAbortJob(dom) < 0)
        return -1;
    while (virDomainGetJobInfo(dom, &info) == 0 && info.type != VIR_DOMAIN_JOB_NONE)
        g_usleep(POLL_US);
    return 0;
}

static int drop(virDomainPtr dom, int i)
{
    g_autofree char *name = name_of(i);
    virDomainCheckpointPtr checkpoint = virDomainCheckpointLookupByName(dom, name, 0);
    int rc = checkpoint ? virDomainCheckpointDelete(checkpoint, 0) : -1;

    if (checkpoint)
        virDomainCheckpointFree(checkpoint);
    return rc;
}

static int cycle(virDomainPtr dom, char **argv, int i)
{
    gint64 begun = g_get_monotonic_time();

    if ((i > 0 && ask_size(dom, i - 1) < 0) || begin(dom, argv[2], argv[3], i) < 0 || end(dom) < 0 ||
        (i > 0 && drop(dom, i - 1) < 0))
        return -1;
    if (i > 0)
        g_print("%.1f\n", (double)(g_get_monotonic_time() - begun) / 1000);
    return 0;
}

int main(int argc, char **argv)
{
    virConnectPtr conn = argc == 5 ? virConnectOpen("qemu:///system") : NULL;
    virDomainPtr dom = conn ? virDomainLookupByName(conn, argv[1]) : NULL;
    int n = dom ? atoi(argv[4]) : -1;
    int i = 0, rc = dom ? 0 : -1;

    for (; rc == 0 && i <= n; i++)
        rc = cycle(dom, argv, i);
    if (rc == 0)
        rc = drop(dom, n);
    if (dom)
        virDomainFree(dom);
    if (conn)
        virConnectClose(conn);
    return rc == 0 ? 0 : 1;
}
