/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/job.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/xml.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define JOB_XML_MAX_BYTES (4 << 20)
/* A look is a tenth of the time late at most: the guest waits for it. */
#define LOOK_AGAIN_MIN_MS 1
#define LOOK_AGAIN_MAX_MS 100
#define ABORT_AGAIN_MS 1000
#define LOST_AFTER_MS 60000

static void scratch_free(void *data)
{
    JobScratch *s = data;

    g_free(s->target);
    g_free(s->path);
    g_free(s);
}

static Job *job_new(JobKind kind)
{
    Job *job = g_new0(Job, 1);

    job->kind = kind;
    job->scratch = g_ptr_array_new_with_free_func(scratch_free);
    return job;
}

void job_free(Job *job)
{
    if (!job)
        return;
    g_free(job->socket);
    g_ptr_array_unref(job->scratch);
    g_free(job);
}

/* A path below the folder, without a way out of it again. */
static gboolean is_within(const char *path, const char *folder)
{
    gsize len = strlen(folder);

    g_assert(g_path_is_absolute(folder));
    while (len > 1 && folder[len - 1] == '/')
        len--;
    return strncmp(path, folder, len) == 0 && path[len] == '/' && !strstr(path, "/../");
}

static void add_scratch(Job *job, const xmlNode *disk)
{
    const xmlNode *scratch = xml_child(disk, "scratch");
    JobScratch *s;
    g_autofree char *index = NULL;

    if (!scratch)
        return;
    index = xml_attr(scratch, "index");
    s = g_new0(JobScratch, 1);
    s->target = xml_attr(disk, "name");
    s->path = xml_attr(scratch, "file");
    s->index = index ? (guint)strtoul(index, NULL, 10) : 0;
    g_ptr_array_add(job->scratch, s);
}

Job *job_parse(const char *xml, gsize len, const char *run_folder, GError **error)
{
    g_autoptr(xmlDoc) doc = xml_parse(xml, len, "domainbackup", "backup job", error);
    g_autoptr(Job) job = NULL;
    const xmlNode *root;

    if (!doc)
        return NULL;
    root = xmlDocGetRootElement(doc);
    job = job_new(JOB_FOREIGN);
    job->socket = xml_attr(xml_child(root, "server"), "socket");
    if (job->socket && is_within(job->socket, run_folder))
        job->kind = JOB_OURS;
    for (const xmlNode *d = xml_child(xml_child(root, "disks"), "disk"); d; d = xml_next(d))
        add_scratch(job, d);
    return g_steal_pointer(&job);
}

/* No backup that libvirt can describe: another job, none, or one without its data. */
static Job *probe_other(virDomainPtr dom, GError **error)
{
    virDomainJobInfo info;
    const virError *e;

    if (virDomainGetJobInfo(dom, &info) == 0)
        return job_new(info.type == VIR_DOMAIN_JOB_NONE ? JOB_NONE : JOB_FOREIGN);
    e = virGetLastError();
    if (e && e->message && strstr(e->message, "backup job data missing"))
        return job_new(JOB_STUCK);
    if (virt_error_code() == VIR_ERR_OPERATION_INVALID)
        return job_new(JOB_NONE); /* the domain is off */
    virt_error(error, "cannot see which job runs on '%s'", virDomainGetName(dom));
    return NULL;
}

Job *job_probe(virDomainPtr dom, const char *run_folder, GError **error)
{
    char *xml = virDomainBackupGetXMLDesc(dom, 0);
    Job *job;

    if (xml) {
        job = job_parse(xml, strlen(xml), run_folder, error);
        free(xml);
        return job;
    }
    switch (virt_error_code()) {
    case VIR_ERR_NO_DOMAIN_BACKUP:
        return probe_other(dom, error);
    case VIR_ERR_OPERATION_INVALID: /* off */
    case VIR_ERR_NO_SUPPORT:        /* a driver without backup */
        return job_new(JOB_NONE);
    default:
        virt_error(error, "cannot see which backup runs on '%s'", virDomainGetName(dom));
        return NULL;
    }
}

gboolean job_set_threshold(virDomainPtr dom, const Job *job, guint64 bytes, GError **error)
{
    for (guint i = 0; i < job->scratch->len; i++) {
        const JobScratch *s = job->scratch->pdata[i];
        g_autofree char *node = g_strdup_printf("%s[%u]", s->target, s->index);

        if (s->index && virDomainSetBlockThreshold(dom, node, bytes, 0) != 0)
            return virt_error(error, "cannot watch the scratch space of disk %s of '%s'", s->target,
                              virDomainGetName(dom));
    }
    return TRUE;
}

static gboolean fail_stuck(virDomainPtr dom, GError **error)
{
    g_set_error(
        error, US_ERROR, US_ERROR_STUCK,
        "'%s' is locked by a backup job that libvirtd lost when it died: nothing can be cut, saved or "
        "snapshotted, and it is not protected; it runs on, so when it suits: shut the VM down, restart "
        "libvirtd, start the VM",
        virDomainGetName(dom));
    return FALSE;
}

/* What does not end: a job whose end libvirtd has missed, or one that may still come to it. */
static gboolean fail_still_there(virDomainPtr dom, GError **error)
{
    virDomainJobInfo info = {0};
    gboolean lost = virDomainGetJobInfo(dom, &info) == 0 && info.timeElapsed >= LOST_AFTER_MS;

    if (lost)
        g_set_error(
            error, US_ERROR, US_ERROR_STUCK,
            "libvirtd has lost the end of our backup job on '%s' and waits for it for ever: nothing can "
            "be cut, saved or snapshotted, and it is not protected; restart libvirtd, guests run on",
            virDomainGetName(dom));
    else
        g_set_error(error, US_ERROR, US_ERROR_TIMEOUT, "our backup job on '%s' does not end",
                    virDomainGetName(dom));
    return FALSE;
}

typedef struct {
    virDomainPtr dom;
    const char *run_folder;
    gint64 abort_at_ms; /* next */
    gboolean ended;     /* there was one of ours */
} Ending;

/* Abort what is ours. FALSE: no sense in waiting. */
static gboolean end_once(Ending *e, JobKind *ret_kind, GError **error)
{
    g_autoptr(Job) job = job_probe(e->dom, e->run_folder, error);

    if (!job)
        return FALSE;
    *ret_kind = job->kind;
    if (job->kind == JOB_FOREIGN) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "the job that runs on '%s' is not ours: it is left alone", virDomainGetName(e->dom));
        return FALSE;
    }
    if (job->kind == JOB_OURS && clock_steady_ms() >= e->abort_at_ms) {
        /* Its failure is not interesting: the job may have ended by itself; the next look says. */
        virDomainAbortJob(e->dom);
        e->abort_at_ms = clock_steady_ms() + ABORT_AGAIN_MS;
    }
    e->ended |= job->kind == JOB_OURS;
    return TRUE; // NOLINT(clang-analyzer-unix.Malloc): g_autoptr
}

gboolean job_end(virDomainPtr dom, const char *run_folder, gint64 timeout_ms, gboolean *ret_ended,
                 GError **error)
{
    gint64 begun_ms = clock_steady_ms();
    gint64 passed_ms;
    Ending e = {.dom = dom, .run_folder = run_folder};
    JobKind kind;

    while (end_once(&e, &kind, error)) {
        if (kind == JOB_NONE) {
            if (ret_ended)
                *ret_ended = e.ended;
            return TRUE;
        }
        passed_ms = clock_steady_ms() - begun_ms;
        if (passed_ms >= timeout_ms)
            return kind == JOB_STUCK ? fail_stuck(dom, error) : fail_still_there(dom, error);
        poll(NULL, 0, (int)CLAMP(passed_ms / 10, LOOK_AGAIN_MIN_MS, LOOK_AGAIN_MAX_MS));
    }
    return FALSE;
}
