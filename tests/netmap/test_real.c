/* SPDX-License-Identifier: Apache-2.0 */
/* What netmap made, looked at by libvirt: its schema, its QEMU driver (in this process, in a folder of its own), and
 * the way back from what that wrote. Then each as the VM of a test. */
#include "tests/netmap/world.h"
#include "tests/tree.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <libxml/relaxng.h>
#include <string.h>

#define SCHEMA "/usr/share/libvirt/schemas/domain.rng"

static virConnectPtr conn;

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlRelaxNGParserCtxt, xmlRelaxNGFreeParserCtxt)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlRelaxNG, xmlRelaxNGFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlRelaxNGValidCtxt, xmlRelaxNGFreeValidCtxt)

static void expect_valid(xmlRelaxNG *schema, const char *name, const char *end)
{
    g_autofree char *text = world_read(name, end);
    g_autoptr(xmlDoc) doc = text ? xml_read(text, strlen(text), "domain", NULL) : NULL;
    g_autoptr(xmlRelaxNGValidCtxt) ctxt = xmlRelaxNGNewValidCtxt(schema);

    if (doc && xmlRelaxNGValidateDoc(ctxt, doc) != 0)
        g_error("%s%s is not valid", name, end);
}

static void test_schema(void)
{
    g_autoptr(xmlRelaxNGParserCtxt) parser = xmlRelaxNGNewParserCtxt(SCHEMA);
    g_autoptr(xmlRelaxNG) schema = xmlRelaxNGParse(parser);
    g_autoptr(GPtrArray) names = world_golden();

    g_assert_nonnull(schema);
    for (guint i = 0; i < names->len; i++) {
        expect_valid(schema, names->pdata[i], ".in.xml");
        expect_valid(schema, names->pdata[i], ".out.xml");
    }
}

static char *replaced(const char *text, const char *what, const char *with)
{
    g_auto(GStrv) parts = g_strsplit(text, what, 2);

    return g_strjoinv(with, parts);
}

/* As libvirt writes it when it has taken it. KVM is not there on every machine that tests. */
static char *defined(const char *definition, const char *name)
{
    g_autofree char *emulated = replaced(definition, "<domain type=\"kvm\"", "<domain type=\"qemu\"");
    virDomainPtr dom = virDomainDefineXMLFlags(conn, emulated, VIR_DOMAIN_DEFINE_VALIDATE);
    g_autofree char *text = NULL;
    char *xml;

    if (!dom)
        g_error("%s: %s", name, virGetLastErrorMessage());
    xml = virDomainGetXMLDesc(dom, VIR_DOMAIN_XML_INACTIVE);
    g_assert_cmpint(virDomainUndefineFlags(dom, VIR_DOMAIN_UNDEFINE_NVRAM), ==, 0);
    virDomainFree(dom);
    text = replaced(xml, "<domain type='qemu'", "<domain type='kvm'");
    free(xml);
    return g_steal_pointer(&text);
}

/* What this machine's QEMU has no part for. */
static gboolean is_beyond_this_machine(const char *name)
{
    static const char *const NAMES[] = {"aarch64-virt", "launch-security", NULL};

    return g_strv_contains(NAMES, name);
}

static void expect_defined(const char *name)
{
    g_autofree char *original = world_read(name, ".in.xml");
    g_autofree char *out = world_read(name, ".out.xml");
    g_autofree char *there = out ? defined(out, name) : NULL;
    g_autoptr(WorldDisks) disks = there ? world_disks(there) : NULL;
    g_autoptr(Host) alpha = world_alpha();
    g_autoptr(Mapping) mapping = world_mapping();
    g_autoptr(GPtrArray) remarks = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *back = NULL;
    g_autofree char *kvm = NULL;
    TranslateInput in;

    if (!there)
        return;
    in = world_back(alpha, mapping, disks);
    back = translate_definition(there, &in, &remarks, &error);
    g_assert_no_error(error);
    if (!back) {
        g_autofree char *why = remarks_text(remarks);

        g_error("%s: the way back is refused: %s", name, why);
    }
    kvm = replaced(original, "<domain type='qemu'", "<domain type='kvm'");
    g_test_message("%s", name);
    world_expect_same(back, kvm);
}

static void test_defined(void)
{
    g_autoptr(GPtrArray) names = world_golden();

    for (guint i = 0; i < names->len; i++)
        if (!is_beyond_this_machine(names->pdata[i]))
            expect_defined(names->pdata[i]);
}

/* --- as a test ----------------------------------------------------------- */

static char *isolated(const char *name)
{
    g_autofree char *there = world_read(name, ".out.xml");
    IsolateInput in = world_isolation();
    g_autoptr(GPtrArray) nics = NULL;
    g_autoptr(GPtrArray) left_out = NULL;

    if (there && strstr(there, "<nvram"))
        in.nvram = "/var/lib/understudy/images/test/vars.fd";
    return there ? isolate_definition(there, &in, &nics, &left_out, NULL) : NULL;
}

static void expect_isolated(xmlRelaxNG *schema, const char *name)
{
    g_autofree char *text = isolated(name);
    g_autoptr(xmlDoc) doc = text ? xml_read(text, strlen(text), "domain", NULL) : NULL;
    g_autoptr(xmlRelaxNGValidCtxt) ctxt = xmlRelaxNGNewValidCtxt(schema);
    g_autofree char *back = NULL;

    if (!text)
        return;
    if (xmlRelaxNGValidateDoc(ctxt, doc) != 0)
        g_error("%s is not valid: %s", name, text);
    if (is_beyond_this_machine(name))
        return;
    back = defined(text, name);
    g_assert_true(isolate_is_marked(back, strlen(back), NULL));
    /* libvirt drops the names that it would have given itself. */
    g_assert_cmpint(!!strstr(back, "<interface"), ==, !!strstr(back, "<target dev='us1n0'/>"));
    g_assert_null(strstr(back, "hostdev"));
}

static void test_isolated(void)
{
    g_autoptr(xmlRelaxNGParserCtxt) parser = xmlRelaxNGNewParserCtxt(SCHEMA);
    g_autoptr(xmlRelaxNG) schema = xmlRelaxNGParse(parser);
    g_autoptr(GPtrArray) names = world_golden();

    for (guint i = 0; i < names->len; i++)
        expect_isolated(schema, names->pdata[i]);
}

static void be_quiet(void *user, virErrorPtr error)
{
    (void)user;
    (void)error;
}

/* With QEMU as another user libvirt would probe it anew for each definition. */
static void open_driver(const char *root)
{
    g_autofree char *etc = g_build_filename(root, "etc", NULL);
    g_autofree char *conf = g_build_filename(etc, "qemu.conf", NULL);
    g_autofree char *uri = g_strconcat("qemu:///embed?root=", root, NULL);

    g_assert_cmpint(g_mkdir_with_parents(etc, 0700), ==, 0);
    g_assert_true(g_file_set_contents(
        conf,
        "user=\"root\"\ngroup=\"root\"\nsecurity_driver=\"none\"\nstdio_handler=\"file\"\nnamespaces=[]\n",
        -1, NULL));
    virSetErrorFunc(NULL, be_quiet);
    g_assert_cmpint(virEventRegisterDefaultImpl(), ==, 0);
    conn = virConnectOpen(uri);
    if (!conn)
        g_error("%s", virGetLastErrorMessage());
}

int main(int argc, char **argv)
{
    g_autofree char *root = g_dir_make_tmp("understudy-netmap.XXXXXX", NULL);
    int status;

    g_test_init(&argc, &argv, NULL);
    open_driver(root);
    g_test_add_func("/netmap/real/schema", test_schema);
    g_test_add_func("/netmap/real/defined", test_defined);
    g_test_add_func("/netmap/real/isolated", test_isolated);
    status = g_test_run();
    virConnectClose(conn);
    tree_remove(root);
    return status;
}
