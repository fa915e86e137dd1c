/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/trial/confinement.h"

#include "tests/tree.h"
#include "vmconnect/base/error.h"

#include <glib/gstdio.h>
#include <unistd.h>

#define MODEL(name, label) "<secmodel><model>" name "</model><doi>0</doi>" label "</secmodel>"
#define LABEL(text) "<baselabel type='kvm'>" text "</baselabel><baselabel type='qemu'>" text "</baselabel>"
#define CAPABILITIES(models) "<capabilities><host><uuid>x</uuid>" models "</host></capabilities>"

static Confinement *parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    Confinement *c = confinement_parse(xml, &error);

    g_assert_no_error(error);
    return c;
}

static void test_parse(void)
{
    g_autoptr(Confinement) plain = parse(CAPABILITIES(MODEL("none", "") MODEL("dac", LABEL("+0:+0"))));
    g_autoptr(Confinement) armoured =
        parse(CAPABILITIES(MODEL("apparmor", "") MODEL("dac", LABEL("+4000000:+4000001"))));
    g_autoptr(Confinement) labelled =
        parse(CAPABILITIES(MODEL("selinux", LABEL("system_u:system_r:svirt_t:s0"))));
    g_autoptr(Confinement) odd = parse(CAPABILITIES(MODEL("dac", LABEL("qemu")) MODEL("smack", "")));
    g_autoptr(GError) error = NULL;

    g_assert_cmpstr(plain->module, ==, "none");
    g_assert_cmpstr(plain->user, ==, "root");
    g_assert_cmpstr(armoured->module, ==, "apparmor");
    g_assert_cmpstr(armoured->user, ==, "4000000");
    g_assert_cmpuint(armoured->gid, ==, 4000001);
    g_assert_cmpstr(labelled->module, ==, "selinux");
    g_assert_null(labelled->user);
    g_assert_null(odd->user);
    g_assert_cmpstr(odd->module, ==, "none");
    g_assert_null(confinement_parse("<domain/>", &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
}

static void test_barrier(void)
{
    /* Not in $TMPDIR, which may be closed to others itself. */
    g_autofree char *top = g_mkdtemp(g_strdup("/var/tmp/confinement-XXXXXX"));
    g_autofree char *inner = g_build_filename(top, "inner", NULL);
    g_autofree char *store = g_build_filename(inner, "store", NULL);
    char user[] = "4000000", me[] = "me";
    Confinement other = {.user = user, .uid = 4000000, .gid = 4000000};
    Confinement self = {.user = me, .uid = getuid() ? getuid() : 1, .gid = getgid()};
    Confinement nobody_knows = {.user = NULL};
    char *barrier;

    g_assert_cmpint(g_chmod(top, 0711), ==, 0);
    g_assert_cmpint(g_mkdir(inner, 0711) | g_mkdir(store, 0711), ==, 0);
    g_assert_null(confinement_barrier(&other, store, X_OK));
    g_assert_null(confinement_barrier(&self, store, X_OK));

    g_assert_cmpint(g_chmod(inner, 0700), ==, 0);
    barrier = confinement_barrier(&other, store, X_OK);
    g_assert_cmpstr(barrier, ==, inner);
    g_free(barrier);
    g_assert_null(confinement_barrier(&nobody_knows, store, X_OK));

    g_assert_cmpint(g_chmod(inner, 0711), ==, 0);
    barrier = confinement_barrier(&other, store, W_OK | X_OK);
    g_assert_cmpstr(barrier, ==, store);
    g_free(barrier);
    g_assert_cmpint(g_chmod(store, 0773), ==, 0);
    g_assert_null(confinement_barrier(&other, store, W_OK | X_OK));
    tree_remove(top);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/confinement/parse", test_parse);
    g_test_add_func("/confinement/barrier", test_barrier);
    return g_test_run();
}
