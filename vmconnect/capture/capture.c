/* SPDX-License-Identifier: Apache-2.0 */
/* A look is five calls of libvirt. When the connection dies in any of them the
 * error is UNREACHABLE, and nothing here tries again: the worker does, on a new one. */
#include "vmconnect/capture/capture.h"

#include "vmconnect/base/error.h"
#include "vmconnect/capture/capture_internal.h"
#include "vmconnect/capture/eligible.h"
#include "vmconnect/hypervisor/disk_size.h"
#include "vmconnect/hypervisor/job.h"
#include "vmconnect/hypervisor/qemu_process.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/un.h>

/* "/" VM "-" job "-nbd" and its end. */
#define SOCKET_NAME_LEN (1 + ID_TEXT_LEN + 1 + 8 + 4)
#define STATS_MAX \
    16 /* figures of a disk: libvirt 9.0 has eight, and its protocol has no room for more than these */

static gboolean check_settings(const CaptureSettings *s, GError **error)
{
    const gsize room = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

    g_assert(s->run_dir && s->nbd_dir && s->scratch_dir);
    g_assert(g_path_is_absolute(s->run_dir) && g_path_is_absolute(s->scratch_dir));
    g_assert(g_str_has_prefix(s->nbd_dir, s->run_dir));
    if (strlen(s->nbd_dir) + SOCKET_NAME_LEN <= room)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_USAGE,
                "the folder for NBD sockets, %s, has too long a name: at most %zu characters", s->nbd_dir,
                room - SOCKET_NAME_LEN);
    return FALSE;
}

Capture *capture_new(virConnectPtr conn, Id vm, const CaptureSettings *settings, GError **error)
{
    Capture *c;

    if (!check_settings(settings, error))
        return NULL;
    c = g_new0(Capture, 1);
    c->conn = conn;
    c->vm = vm;
    c->settings = *settings;
    c->settings.run_dir = g_strdup(settings->run_dir);
    c->settings.nbd_dir = g_strdup(settings->nbd_dir);
    c->settings.scratch_dir = g_strdup(settings->scratch_dir);
    c->settings.permit_dir = g_strdup(settings->permit_dir);
    c->disks = g_ptr_array_new();
    c->gather = gather_new(GATHER_TPM_DIR);
    c->writes = capture_writes_new();
    c->domain = vm_lookup(conn, vm, error);
    if (!c->domain) {
        capture_free(c);
        return NULL;
    }
    return c;
}

static void forget_look(Capture *c)
{
    g_ptr_array_set_size(c->disks, 0);
    g_clear_pointer(&c->files, g_ptr_array_unref);
    g_clear_pointer(&c->remark, g_free);
    g_clear_pointer(&c->parsed, definition_free);
    g_clear_pointer(&c->definition, g_free);
    g_clear_pointer(&c->live, g_free);
}

void capture_free(Capture *c)
{
    if (!c)
        return;
    forget_look(c);
    g_ptr_array_unref(c->disks);
    gather_free(c->gather);
    g_ptr_array_unref(c->writes);
    if (c->domain)
        virDomainFree(c->domain);
    g_free((char *)c->settings.run_dir);
    g_free((char *)c->settings.nbd_dir);
    g_free((char *)c->settings.scratch_dir);
    g_free((char *)c->settings.permit_dir);
    g_free(c);
}

static CaptureState state_of(int state, int reason, gboolean active)
{
    switch (state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
    case VIR_DOMAIN_PMSUSPENDED:
        return CAPTURE_RUNNING;
    case VIR_DOMAIN_PAUSED:
        return reason == VIR_DOMAIN_PAUSED_IOERROR ? CAPTURE_IO_ERROR : CAPTURE_RUNNING;
    case VIR_DOMAIN_SHUTOFF:
        return CAPTURE_OFF;
    default:
        /* A crashed guest may be kept for a dump: its QEMU still has the images. */
        return active ? CAPTURE_ENDING : CAPTURE_OFF;
    }
}

gboolean capture_state_now(Capture *c, CaptureState *ret_state, gboolean *ret_executing, GError **error)
{
    CaptureState now;
    int state, reason;
    int active;

    if (virDomainGetState(c->domain, &state, &reason, 0) < 0)
        return capture_error(error, "cannot ask for the VM's state");
    active = virDomainIsActive(c->domain);
    if (active < 0)
        return capture_error(error, "cannot ask whether the VM runs");
    now = state_of(state, reason, active);
    if (now == CAPTURE_OFF && !qemu_process_expect_none(c->vm, capture_name(c), error))
        return FALSE;
    *ret_state = now;
    if (ret_executing)
        *ret_executing = state == VIR_DOMAIN_RUNNING;
    return TRUE;
}

static char *take_xml(Capture *c, guint flags, GError **error)
{
    char *xml = virDomainGetXMLDesc(c->domain, flags);
    char *copy = g_strdup(xml);

    if (!xml)
        capture_error(error, "cannot read the VM's definition");
    free(xml);
    return copy;
}

static gboolean take_definitions(Capture *c, GError **error)
{
    c->definition = take_xml(c, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE, error);
    if (!c->definition)
        return FALSE;
    c->live = c->state == CAPTURE_OFF ? g_strdup(c->definition) : take_xml(c, 0, error);
    if (!c->live)
        return FALSE;
    c->parsed = definition_parse(c->live, strlen(c->live), error);
    return c->parsed != NULL;
}

static void take_disks(Capture *c)
{
    for (guint i = 0; i < c->parsed->disks->len; i++) {
        Disk *disk = c->parsed->disks->pdata[i];

        if (!disk_is_data(disk))
            continue;
        /* 0 for an image that cannot be read: the cut will say what is wrong with it. */
        disk->size_bytes = disk_size_read(disk);
        g_ptr_array_add(c->disks, disk);
    }
}

static GPtrArray *files_in(const Capture *c, const char *xml)
{
    g_autofree const char **targets = capture_targets(c);

    return disk_files_read(xml, targets, c->disks->len);
}

static gboolean take_remark(Capture *c, GError **error)
{
    g_autoptr(Definition) next = definition_parse(c->definition, strlen(c->definition), error);

    if (next)
        c->remark = definition_disks_at_stop(c->parsed, next);
    return next != NULL;
}

GPtrArray *capture_files_now(Capture *c, GError **error)
{
    g_autofree char *xml = take_xml(c, c->state == CAPTURE_OFF ? VIR_DOMAIN_XML_INACTIVE : 0, error);

    return xml ? files_in(c, xml) : NULL;
}

gboolean capture_look(Capture *c, GError **error)
{
    /* Anew each time: the VM may have been undefined, or renamed. */
    virDomainPtr domain = vm_lookup(c->conn, c->vm, error);

    if (!domain)
        return FALSE;
    virDomainFree(c->domain);
    c->domain = domain;
    forget_look(c);
    if (!capture_state_now(c, &c->state, &c->executing, error) || !take_definitions(c, error))
        return FALSE;
    take_disks(c);
    c->files = files_in(c, c->live);
    return c->state == CAPTURE_OFF || take_remark(c, error);
}

gboolean capture_lacks_agent(const Capture *c)
{
    return c->state != CAPTURE_OFF && c->parsed->has_agent && !c->parsed->agent_connected;
}

gint64 capture_age_ms(const Capture *c)
{
    return qemu_process_age_ms(QEMU_PROCESS_FOLDER, virDomainGetName(c->domain), c->vm);
}

CaptureState capture_state(const Capture *c)
{
    return c->state;
}

const char *capture_name(const Capture *c)
{
    return virDomainGetName(c->domain);
}

const char *capture_definition(const Capture *c)
{
    return c->definition;
}

const char *capture_live(const Capture *c)
{
    return c->live;
}

const GPtrArray *capture_disks(const Capture *c)
{
    return c->disks;
}

GPtrArray *capture_belongings(Capture *c, char **ret_why)
{
    return gather_look(c->gather, c->parsed, ret_why);
}

const GPtrArray *capture_files(const Capture *c)
{
    return c->files;
}

const char *capture_remark(const Capture *c)
{
    return c->remark;
}

void capture_set_freeze(Capture *c, gboolean freeze)
{
    c->freeze = freeze;
}

const Disk *capture_find_disk(const Capture *c, const char *target)
{
    for (guint i = 0; i < c->disks->len; i++) {
        const Disk *disk = c->disks->pdata[i];

        if (g_strcmp0(disk->target, target) == 0)
            return disk;
    }
    return NULL;
}

const char **capture_targets(const Capture *c)
{
    const char **targets = g_new0(const char *, c->disks->len + 1);

    for (guint i = 0; i < c->disks->len; i++)
        targets[i] = ((const Disk *)c->disks->pdata[i])->target;
    return targets;
}

GPtrArray *capture_problems(Capture *c, GPtrArray **ret_remarks)
{
    return eligible_problems(c->parsed->disks, capture_name(c), CAPTURE_IMAGE_MS, c->settings.cancel_fd,
                             ret_remarks);
}

char *capture_job_file(const Capture *c, const char *folder, const char *job, const char *rest)
{
    return g_strdup_printf("%s/%s-%s-%s", folder, ID_TEXT(c->vm), job, rest);
}

static void remove_prefixed(const char *folder, const char *prefix)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);

        if (g_str_has_prefix(name, prefix))
            g_unlink(path);
    }
}

void capture_remove_files(const char *nbd_dir, const char *scratch_dir, Id vm)
{
    g_autofree char *prefix = g_strconcat(ID_TEXT(vm), "-", NULL);

    remove_prefixed(nbd_dir, prefix);
    remove_prefixed(scratch_dir, prefix);
}

void capture_remove_leftovers(const Capture *c)
{
    capture_remove_files(c->settings.nbd_dir, c->settings.scratch_dir, c->vm);
}

static gboolean say_busy(const Capture *c, const char *socket, GError **error)
{
    g_set_error(error, US_ERROR, US_ERROR_BUSY,
                "not cutting '%s': %s%s is under way; it goes on when that has ended", capture_name(c),
                socket ? "a backup of another tool on " : "another backup, save, snapshot or migration",
                socket ? socket : "");
    return FALSE;
}

/* For some milliseconds of its begin a healthy job looks like one that libvirtd lost: only what
 * lasts is. job_end() waits for just that, and its error has the remedy. */
static gboolean end_or_wait(const Capture *c, GError **error)
{
    g_autoptr(GError) e = NULL;

    if (job_end(c->domain, c->settings.run_dir, CAPTURE_JOB_END_MS, NULL, &e))
        return TRUE;
    if (g_error_matches(e, US_ERROR, US_ERROR_REFUSED))
        return say_busy(c, NULL, error);
    g_propagate_prefixed_error(error, g_steal_pointer(&e), "not cutting: ");
    return FALSE;
}

/* One that libvirt says it lost is, for some milliseconds, also a healthy one of anybody that just begins. */
static gboolean expect_no_job_but(Capture *c, JobKind allowed, GError **error)
{
    g_autoptr(Job) job = job_probe(c->domain, c->settings.run_dir, error);

    if (!job)
        return FALSE;
    if (job->kind == JOB_FOREIGN)
        return say_busy(c, job->socket, error);
    return job->kind == JOB_NONE || job->kind == allowed || end_or_wait(c, error);
}

gboolean capture_expect_no_job(Capture *c, GError **error)
{
    return expect_no_job_but(c, JOB_NONE, error);
}

gboolean capture_expect_no_foreign_job(Capture *c, GError **error)
{
    return expect_no_job_but(c, JOB_OURS, error);
}

gboolean capture_recover(Capture *c, GError **error)
{
    g_autoptr(Job) job = job_probe(c->domain, c->settings.run_dir, error);

    if (!job)
        return FALSE;
    if ((job->kind == JOB_OURS || job->kind == JOB_STUCK) && !end_or_wait(c, error))
        return FALSE;
    /* Whatever else runs, it is not ours: no file of ours is in use. */
    capture_remove_leftovers(c);
    return TRUE;
}

/* Of reads, writes and flushes. FALSE: not all of them are counted. */
static gboolean sum_stats(virTypedParameterPtr params, int n, guint64 *ret_requests, guint64 *ret_total_ns)
{
    static const char *const COUNTS[][2] = {
        {VIR_DOMAIN_BLOCK_STATS_READ_REQ, VIR_DOMAIN_BLOCK_STATS_READ_TOTAL_TIMES},
        {VIR_DOMAIN_BLOCK_STATS_WRITE_REQ, VIR_DOMAIN_BLOCK_STATS_WRITE_TOTAL_TIMES},
        {VIR_DOMAIN_BLOCK_STATS_FLUSH_REQ, VIR_DOMAIN_BLOCK_STATS_FLUSH_TOTAL_TIMES}};

    *ret_requests = *ret_total_ns = 0;
    for (guint i = 0; i < G_N_ELEMENTS(COUNTS); i++) {
        long long requests, total_ns;

        if (virTypedParamsGetLLong(params, n, COUNTS[i][0], &requests) != 1 ||
            virTypedParamsGetLLong(params, n, COUNTS[i][1], &total_ns) != 1)
            return FALSE;
        *ret_requests += (guint64)MAX(requests, 0);
        *ret_total_ns += (guint64)MAX(total_ns, 0);
    }
    return TRUE;
}

gboolean capture_guest_requests(Capture *c, guint64 *ret_requests, guint64 *ret_total_ns, GError **error)
{
    virTypedParameter params[STATS_MAX] = {0};
    int n = STATS_MAX;

    /* "": of all its disks. */
    if (virDomainBlockStatsFlags(c->domain, "", params, &n, 0) < 0)
        return capture_error(error, "cannot ask how long the guest's disks take");
    if (sum_stats(params, n, ret_requests, ret_total_ns))
        return TRUE;
    g_set_error_literal(error, US_ERROR, US_ERROR_UNSUPPORTED,
                        "libvirt does not count how long the guest's disks take");
    return FALSE;
}

static UsError code_of_last_error(void)
{
    switch (virGetLastErrorCode()) {
    case VIR_ERR_CHECKPOINT_INCONSISTENT:
        return US_ERROR_TRACKING_LOST;
    case VIR_ERR_NO_DOMAIN_CHECKPOINT:
        return US_ERROR_NOT_FOUND;
    default:
        return US_ERROR_FAILED;
    }
}

gboolean capture_error(GError **error, const char *what)
{
    UsError code = code_of_last_error();

    if (code == US_ERROR_FAILED)
        return virt_error(error, "%s", what);
    g_set_error(error, US_ERROR, code, "%s: %s", what, virGetLastErrorMessage());
    return FALSE;
}
