/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/trial/trial.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/capture/cut.h"
#include "vmconnect/hypervisor/trial_mark.h"
#include "vmconnect/hypervisor/virt_error.h"
#include "vmconnect/image/qcow2.h"
#include "vmconnect/trial/confinement.h"
#include "vmconnect/trial/leftovers.h"
#include "vmconnect/trial/remedy.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IMAGE_BYTES ((guint64)1 << 20)
#define BLOCK_BYTES ((gsize)64 << 10)
#define IMAGE_MS 10000
#define READ_MS 5000
#define DISK "vda"
#define KVM_DEVICE "/dev/kvm"

typedef struct {
    virConnectPtr conn;
    const TrialSite *site;
    Id vm;
    char *folder;             /* NULL: there is none */
    Confinement *confinement; /* NULL: libvirt does not say */
    virDomainPtr dom;         /* NULL: it does not run */
    gboolean kvm;
    gboolean hook_seen;
    gboolean started;
    json_t *problems;
    GError *lost; /* libvirtd was lost: what failed says nothing of the host */
} Trial;

/* --- what fails ----------------------------------------------------------- */

static const char *what_failed(TrialStep step)
{
    switch (step) {
    case TRIAL_STORE:
        return "a copy cannot be laid out";
    case TRIAL_START:
        return "a VM does not start from a copy";
    case TRIAL_HOOK:
        return "libvirtd does not ask the start hook";
    case TRIAL_SCRATCH:
        return "a backup job cannot use its scratch folder";
    case TRIAL_SOCKET:
        return "a backup job cannot use its socket";
    case TRIAL_BACKUP:
        return "a backup job with a checkpoint does not work";
    case TRIAL_DEFINE:
        return "libvirt does not take a definition and remove it again";
    }
    g_assert_not_reached();
}

static void report(Trial *t, TrialStep step, const char *words, const char *remedy)
{
    g_autofree char *text =
        g_strdup_printf("%s: %s%s%s", what_failed(step), words, remedy ? "; " : "", remedy ? remedy : "");

    g_autofree char *valid = g_utf8_make_valid(text, -1);
    int failed =
        json_array_append_new(t->problems, json_pack("{s:s, s:s}", "id", trial_step_id(step), "text", valid));

    /* A problem that gets lost here would be a host without one. */
    g_assert(!failed);
}

static RemedyHost host_of(const Trial *t)
{
    const Confinement *c = t->confinement;

    return (RemedyHost){.store_dir = t->site->store_dir,
                        .scratch_dir = t->site->scratch_dir,
                        .nbd_dir = t->site->nbd_dir,
                        .qemu_user = c ? c->user : NULL,
                        .security = c ? c->module : "none"};
}

/* Takes @error. QEMU's last words come with their lines. */
static void fail(Trial *t, TrialStep step, GError *error)
{
    g_autofree char *words = g_strdelimit(g_strdup(error->message), "\n\r", ' ');
    RemedyHost host = host_of(t);
    TrialStep blamed = remedy_blame(&host, step, words);
    const char *folder = remedy_folder(&host, blamed);
    int mode = blamed == TRIAL_SOCKET ? W_OK | X_OK : X_OK;
    g_autofree char *barrier =
        folder && t->confinement ? confinement_barrier(t->confinement, folder, mode) : NULL;
    g_autofree char *remedy = remedy_for(&host, blamed, words, barrier);

    if (virConnectIsAlive(t->conn) != 1 && !t->lost)
        t->lost = g_error_copy(error);
    report(t, blamed, g_strstrip(words), remedy);
    g_error_free(error);
}

/* --- the VM --------------------------------------------------------------- */

/* Of any machine and processor that libvirt takes for this host's own. */
static char *definition_of(const Trial *t, const char *type)
{
    return g_markup_printf_escaped(
        "<domain type='%s'><name>" TRIAL_NAME "</name><uuid>%s</uuid><memory unit='MiB'>32</memory>"
        "<os><type>hvm</type></os><on_poweroff>destroy</on_poweroff><on_crash>destroy</on_crash><devices>"
        "<controller type='usb' model='none'/><memballoon model='none'/>"
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='%s/" TRIAL_TOP
        "'/><backingStore type='file'><format type='qcow2'/><source file='%s/" TRIAL_BASE
        "'/><backingStore/></backingStore><target dev='" DISK "' bus='virtio'/></disk></devices></domain>",
        type, ID_TEXT(t->vm), t->folder, t->folder);
}

static gboolean lay_out(Trial *t)
{
    g_autofree char *base = NULL;
    g_autofree char *top = NULL;
    GError *error = NULL;

    t->folder = leftovers_make_folder(t->site, t->vm, &error);
    if (t->folder) {
        base = g_build_filename(t->folder, TRIAL_BASE, NULL);
        top = g_build_filename(t->folder, TRIAL_TOP, NULL);
        if (qcow2_create(base, IMAGE_BYTES, NULL, IMAGE_MS, -1, &error) &&
            qcow2_create(top, IMAGE_BYTES, TRIAL_BASE, IMAGE_MS, -1, &error)) {
            stop_at("trial.laid_out");
            return TRUE;
        }
    }
    fail(t, TRIAL_STORE, error);
    return FALSE;
}

static gboolean start_as(Trial *t, const char *type, GError **error)
{
    g_autofree char *xml = definition_of(t, type);

    trial_mark_take(t->site->hook_mark);
    t->dom = virDomainCreateXML(t->conn, xml, VIR_DOMAIN_START_PAUSED | VIR_DOMAIN_START_AUTODESTROY);
    return t->dom || virt_error(error, "%s", t->folder);
}

/* What libvirt says and the device allows is still to be tried. */
static gboolean expect_kvm(const Trial *t)
{
    char *xml = virConnectGetDomainCapabilities(t->conn, NULL, NULL, NULL, "kvm", 0);
    gboolean said = xml != NULL;

    free(xml);
    return said && (!t->confinement || confinement_allows(t->confinement, KVM_DEVICE, R_OK | W_OK));
}

static gboolean start(Trial *t)
{
    GError *error = NULL;

    t->kvm = expect_kvm(t) && start_as(t, "kvm", &error);
    if (!t->kvm && error && strstr(error->message, "kvm"))
        g_clear_error(&error);
    if (!t->kvm && !error)
        start_as(t, "qemu", &error);
    t->hook_seen = trial_mark_take(t->site->hook_mark);
    if (error) {
        fail(t, TRIAL_START, error);
        return FALSE;
    }
    stop_at("trial.started");
    t->started = TRUE;
    return TRUE;
}

static void expect_hook(Trial *t)
{
    const char *file = t->site->hook_file;
    g_autofree char *words = NULL;
    g_autofree char *remedy = NULL;

    if (t->hook_seen)
        return;
    if (!g_file_test(file, G_FILE_TEST_EXISTS)) {
        words = g_strdup_printf("there is no %s", file);
        remedy = g_strdup("install it (it comes with the engine) and restart libvirtd, guests run on");
    } else if (!g_file_test(file, G_FILE_TEST_IS_EXECUTABLE)) {
        words = g_strdup_printf("%s is not executable", file);
        remedy = g_strdup_printf("`chmod 0755 %s` and restart libvirtd, guests run on", file);
    } else {
        words = g_strdup_printf("%s is there, but libvirtd looks for hooks at its own start only", file);
        remedy = g_strdup("restart libvirtd, guests run on; if that does not help, run it by hand to see why "
                          "it fails");
    }
    report(t, TRIAL_HOOK, words, remedy);
}

/* --- a backup job ------------------------------------------------------- */

static void on_read(void *user, const GError *error)
{
    if (error)
        *(GError **)user = g_error_copy(error);
}

static gboolean read_block(Cut *cut, GError **error)
{
    g_autofree guint8 *data = g_malloc(BLOCK_BYTES);
    g_autoptr(GError) failed = NULL;

    if (!nbd_disk_read(cut_reader(cut, 0), data, 0, BLOCK_BYTES, on_read, &failed, error) ||
        !nbd_disk_drain(cut_reader(cut, 0), READ_MS, error))
        return FALSE;
    if (!failed)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&failed));
    return FALSE;
}

static gboolean back_up_with(Capture *capture, GError **error)
{
    const CutWish wish = {.target = DISK};
    const Id checkpoint = id_random();
    Cut *cut;

    if (!capture_look(capture, error) || !cut_begin(capture, &wish, 1, checkpoint, &cut, error))
        return FALSE;
    if (!read_block(cut, error)) {
        cut_free(cut);
        return FALSE;
    }
    return cut_end(cut, error) && capture_delete_checkpoint(capture, checkpoint, error);
}

/* Nobody watches over this job: its guest writes nothing, and goes with our connection. */
static void back_up(Trial *t)
{
    const CaptureSettings settings = {.run_dir = t->site->run_dir,
                                      .nbd_dir = t->site->nbd_dir,
                                      .scratch_dir = t->site->scratch_dir,
                                      .cancel_fd = -1};
    GError *error = NULL;
    g_autoptr(Capture) capture = capture_new(t->conn, t->vm, &settings, &error);

    if (!capture || !back_up_with(capture, &error))
        fail(t, TRIAL_BACKUP, error);
}

/* --- the end ---------------------------------------------------------------- */

static void stop(Trial *t)
{
    GError *error = NULL;

    if (virDomainDestroy(t->dom) != 0) {
        virt_error(&error, "it does not end");
        fail(t, TRIAL_START, error);
    }
    virDomainFree(g_steal_pointer(&t->dom));
}

static gboolean define_and_remove(const Trial *t, GError **error)
{
    g_autofree char *xml = definition_of(t, t->kvm ? "kvm" : "qemu");
    g_autoptr(virDomain) dom = virDomainDefineXML(t->conn, xml);

    if (!dom)
        return virt_error(error, "defining");
    stop_at("trial.defined");
    return virDomainUndefine(dom) == 0 || virt_error(error, "removing the definition");
}

static void define(Trial *t)
{
    GError *error = NULL;

    if (!define_and_remove(t, &error))
        fail(t, TRIAL_DEFINE, error);
}

/* FALSE: it was reported. */
static gboolean tidy(Trial *t)
{
    GError *error = NULL;

    if (leftovers_remove(t->conn, t->site, &error))
        return TRUE;
    fail(t, TRIAL_STORE, error);
    return FALSE;
}

static void run(Trial *t)
{
    if (!tidy(t) || !lay_out(t))
        return;
    if (start(t)) {
        expect_hook(t);
        back_up(t);
        stop(t);
    }
    /* Where none starts a definition says no more. */
    if (t->started && !t->lost)
        define(t);
}

static void trial_clear(Trial *t)
{
    g_free(t->folder);
    confinement_free(t->confinement);
    json_decref(t->problems);
    g_clear_error(&t->lost);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Trial, trial_clear)

json_t *trial_run(virConnectPtr conn, const TrialSite *site, GError **error)
{
    gint64 begun_ms = clock_steady_ms();
    g_auto(Trial) t = {.conn = conn, .site = site, .vm = id_random(), .problems = json_array()};

    /* Only makes remedies more exact. */
    t.confinement = confinement_read(conn, NULL);
    run(&t);
    if (!t.lost)
        tidy(&t);
    if (t.lost) {
        g_propagate_prefixed_error(error, g_steal_pointer(&t.lost), "libvirtd was lost in the middle: ");
        return NULL;
    }
    return json_pack("{s:O, s:b, s:o, s:s?, s:I}", "problems", t.problems, "kvm", t.kvm, "hook_seen",
                     t.started ? json_boolean(t.hook_seen) : json_null(), "security",
                     t.confinement ? t.confinement->module : NULL, "took_ms",
                     (json_int_t)(clock_steady_ms() - begun_ms));
}
