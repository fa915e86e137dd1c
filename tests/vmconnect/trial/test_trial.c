/* SPDX-License-Identifier: Apache-2.0 */
/* Trials with a real libvirtd and QEMU; hosts in trouble are tests/lab/trial.test's. */
#include "vmconnect/trial/trial.h"

#include "tests/tree.h"
#include "tests/vmconnect/capture/host.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/trial_mark.h"
#include "vmconnect/trial/leftovers.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    virConnectPtr conn;
    char *scratch;
    TrialSite site;
} Fixture;

static void set_up(Fixture *f, gconstpointer data)
{
    (void)data;
    f->conn = host_connect();
    f->scratch = g_build_filename(host_folder(), "scratch", NULL);
    f->site = (TrialSite){.store_dir = g_build_filename(host_folder(), "store", NULL),
                          .run_dir = HOST_RUN,
                          .nbd_dir = HOST_NBD,
                          .scratch_dir = f->scratch,
                          .hook_file = "/etc/libvirt/hooks/qemu.d/understudy",
                          .hook_mark = TRIAL_MARK};
    g_assert_cmpint(g_mkdir(f->site.store_dir, 0711), ==, 0);
}

static void assert_empty(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);

    g_assert_nonnull(dir);
    g_assert_cmpstr(g_dir_read_name(dir), ==, NULL);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    (void)data;
    assert_empty(f->site.store_dir);
    assert_empty(f->scratch);
    assert_empty(HOST_NBD);
    tree_remove(f->site.store_dir);
    g_free((char *)f->site.store_dir);
    g_free(f->scratch);
    virConnectClose(f->conn);
}

static json_t *try_host(const Fixture *f)
{
    g_autoptr(GError) error = NULL;
    json_t *doc = trial_run(f->conn, &f->site, &error);

    g_assert_no_error(error);
    return doc;
}

/* The host of these tests has no hook. */
static void assert_problems(const json_t *doc, const char *const *ids)
{
    const json_t *problems = json_object_get(doc, "problems");
    gsize n = 0;

    for (; ids[n]; n++) {
        const json_t *one = json_array_get(problems, n);

        g_test_message("%s", json_string_value(json_object_get(one, "text")));
        g_assert_cmpstr(json_string_value(json_object_get(one, "id")), ==, ids[n]);
    }
    g_assert_cmpuint(json_array_size(problems), ==, n);
}

static void test_good(Fixture *f, gconstpointer data)
{
    static const char *const NO_HOOK[] = {"trial-hook", NULL};
    json_auto_t *doc = try_host(f);

    (void)data;
    assert_problems(doc, NO_HOOK);
    g_assert_true(json_is_false(json_object_get(doc, "hook_seen")));
    g_assert_cmpstr(json_string_value(json_object_get(doc, "security")), ==, "none");
    g_assert_cmpint(virConnectNumOfDomains(f->conn), ==, 0);
    g_assert_cmpint(virConnectNumOfDefinedDomains(f->conn), ==, 0);
}

/* A user's VM that has the name is told of, and left alone. */
static void test_name_taken(Fixture *f, gconstpointer data)
{
    static const char *const TAKEN[] = {"trial-start", NULL};
    const guint64 size = 1 << 20;
    json_auto_t *doc = NULL;
    virDomainPtr dom;

    (void)data;
    host_define(f->conn, TRIAL_NAME, &size, 1);
    doc = try_host(f);
    assert_problems(doc, TAKEN);
    g_assert_true(json_is_null(json_object_get(doc, "hook_seen")));
    dom = host_domain(f->conn, TRIAL_NAME);
    g_assert_cmpint(virDomainUndefine(dom), ==, 0);
    virDomainFree(dom);
}

static void test_no_store(Fixture *f, gconstpointer data)
{
    static const char *const NO_STORE[] = {"trial-store", NULL};
    json_auto_t *doc = NULL;

    (void)data;
    g_assert_cmpint(g_rmdir(f->site.store_dir), ==, 0);
    doc = try_host(f);
    assert_problems(doc, NO_STORE);
    g_assert_cmpint(g_mkdir(f->site.store_dir, 0711), ==, 0);
}

/* --- leftovers ------------------------------------------------------------ */

static void write_file(const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);

    g_assert_true(g_file_set_contents(path, "x", 1, NULL));
}

static void tidy(const Fixture *f)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(leftovers_remove(f->conn, &f->site, &error));
    g_assert_no_error(error);
}

static void test_leftovers(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    const Id vm = id_random();
    g_autofree char *folder = leftovers_make_folder(&f->site, vm, &error);
    g_autofree char *scratch = g_strconcat(ID_TEXT(vm), "-01234567-vda", NULL);
    struct stat st;

    (void)data;
    g_assert_no_error(error);
    g_assert_cmpint(stat(folder, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 07777, ==, 0711);
    write_file(folder, TRIAL_BASE);
    write_file(folder, TRIAL_TOP);
    write_file(f->scratch, scratch);
    tidy(f);
    g_assert_false(g_file_test(folder, G_FILE_TEST_EXISTS));
}

/* Without our marker, of another name, or with more in it than we make. */
static void test_not_ours(Fixture *f, gconstpointer data)
{
    const Id vm = id_random();
    g_autofree char *ours = leftovers_make_folder(&f->site, vm, NULL);
    g_autofree char *unmarked =
        g_strconcat(f->site.store_dir, "/" TRIAL_NAME "-", ID_TEXT(id_random()), NULL);
    g_autofree char *named = g_build_filename(f->site.store_dir, TRIAL_NAME "-of-mine", NULL);
    g_autofree char *image = g_build_filename(unmarked, TRIAL_TOP, NULL);
    g_autofree char *notes = g_build_filename(ours, "notes", NULL);

    (void)data;
    g_assert_cmpint(g_mkdir(unmarked, 0700) | g_mkdir(named, 0700), ==, 0);
    write_file(unmarked, TRIAL_TOP);
    write_file(named, TRIAL_TOP);
    write_file(ours, "notes");
    tidy(f);
    g_assert_true(g_file_test(image, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(notes, G_FILE_TEST_EXISTS));
    tree_remove(named);
    tree_remove(unmarked);
    tree_remove(ours);
}

/* What a killed engine and a killed libvirtd leave together. */
static void test_leftover_vm(Fixture *f, gconstpointer data)
{
    const Id vm = id_random();
    g_autofree char *folder = leftovers_make_folder(&f->site, vm, NULL);
    g_autofree char *top = g_build_filename(folder, TRIAL_TOP, NULL);
    const char *const argv[] = {"qemu-img", "create", "-q", "-f", "qcow2", top, "1M", NULL};
    g_autofree char *xml = g_strdup_printf(
        "<domain type='qemu'><name>" TRIAL_NAME "</name><uuid>%s</uuid><memory unit='MiB'>32</memory>"
        "<os><type>hvm</type></os><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
        "<source file='%s'/><target dev='vda' bus='virtio'/></disk></devices></domain>",
        ID_TEXT(vm), top);
    virDomainPtr dom;

    (void)data;
    host_run(argv);
    dom = virDomainDefineXML(f->conn, xml);
    g_assert_nonnull(dom);
    g_assert_cmpint(virDomainCreateWithFlags(dom, VIR_DOMAIN_START_PAUSED), ==, 0);
    virDomainFree(dom);
    tidy(f);
    g_assert_cmpint(virConnectNumOfDomains(f->conn), ==, 0);
    g_assert_cmpint(virConnectNumOfDefinedDomains(f->conn), ==, 0);
}

#define ADD(path, test) g_test_add(path, Fixture, NULL, set_up, test, tear_down)

static int body(void)
{
    ADD("/trial/good", test_good);
    ADD("/trial/name-taken", test_name_taken);
    ADD("/trial/no-store", test_no_store);
    ADD("/trial/leftovers", test_leftovers);
    ADD("/trial/not-ours", test_not_ours);
    ADD("/trial/leftover-vm", test_leftover_vm);
    return g_test_run();
}

int main(int argc, char **argv)
{
    return host_main(argc, argv, body);
}
