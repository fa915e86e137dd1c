/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/error.h"
#include "vmconnect/capture/chain.h"
#include "vmconnect/capture/eligible.h"

#include <string.h>

#define HEAD                                                                                   \
    "<domain "                                                                                 \
    "type='kvm'><name>web1</name><uuid>11111111-2222-4333-8444-555555555555</uuid><memory>1</" \
    "memory><devices>"
#define TAIL "</devices></domain>"
#define QCOW2 "<driver name='qemu' type='qcow2' error_policy='stop'/>"
#define ON(target) "<target dev='" target "' bus='virtio'/></disk>"

static Definition *define(const char *disks)
{
    g_autofree char *xml = g_strconcat(HEAD, disks, TAIL, NULL);
    g_autoptr(GError) error = NULL;
    Definition *d = definition_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    return d;
}

typedef struct {
    const char *what;
    const char *disk;    /* one <disk> */
    const char *problem; /* must occur in the sentence; NULL: none */
    const char *remark;
} DiskCase;

static const DiskCase DISKS[] = {
    {"qcow2 file", "<disk type='file' device='disk'>" QCOW2 "<source file='/i/a'/>" ON("vda"), NULL, NULL},
    {"qcow2 on a block device",
     "<disk type='block' device='disk'>" QCOW2 "<source dev='/dev/vg/a'/>" ON("vda"), NULL, NULL},
    {"default error policy",
     "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/i/a'/>" ON("vda"),
     NULL, "error_policy='stop'"},
    {"raw", "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/i/a'/>" ON("vda"),
     "it is raw", NULL},
    {"no format", "<disk type='file' device='disk'><source file='/i/a'/>" ON("vda"), "it is raw", NULL},
    {"vmdk",
     "<disk type='file' device='disk'><driver name='qemu' type='vmdk'/><source file='/i/a'/>" ON("vda"),
     "not qcow2", NULL},
    {"network",
     "<disk type='network' device='disk'>" QCOW2
     "<source protocol='nbd' name='x'><host name='h'/></source>" ON("vda"),
     "not a local file", NULL},
    {"volume", "<disk type='volume' device='disk'>" QCOW2 "<source pool='p' volume='v'/>" ON("vda"),
     "not a local file", NULL},
    {"shareable", "<disk type='file' device='disk'>" QCOW2 "<source file='/i/a'/><shareable/>" ON("vda"),
     "it is shareable", NULL},
    {"transient", "<disk type='file' device='disk'>" QCOW2 "<source file='/i/a'/><transient/>" ON("vda"),
     "it is transient", NULL},
    {"encrypted",
     "<disk type='file' device='disk'>" QCOW2
     "<source file='/i/a'><encryption format='luks'/></source>" ON("vda"),
     "it is encrypted", NULL},
    {"scsi pass-through",
     "<disk type='block' device='lun'><driver name='qemu' type='raw'/><source dev='/dev/sdz'/>" ON("sda"),
     "whole SCSI device", NULL},
};

static GPtrArray *remarks_new(void)
{
    return g_ptr_array_new_with_free_func(g_free);
}

static void expect_sentence(const char *sentence, const char *part)
{
    if (!part) {
        g_assert_null(sentence);
        return;
    }
    g_assert_nonnull(sentence);
    g_assert_true(g_str_has_prefix(sentence, "disk "));
    g_assert_nonnull(strstr(sentence, "of 'web1': "));
    g_assert_nonnull(strstr(sentence, part));
}

static void test_disk(gconstpointer data)
{
    const DiskCase *t = data;
    g_autoptr(Definition) d = define(t->disk);
    g_autoptr(GPtrArray) remarks = remarks_new();
    g_autofree char *problem = eligible_disk_problem(d->disks->pdata[0], NULL, d->name, remarks);

    g_assert_true(disk_is_data(d->disks->pdata[0]));
    expect_sentence(problem, t->problem);
    expect_sentence(remarks->len ? remarks->pdata[0] : NULL, t->remark);
}

static void test_header(void)
{
    g_autoptr(Definition) d = define(DISKS[0].disk);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const struct {
        Qcow2Facts facts;
        const char *problem;
    } cases[] = {
        {{.compat = (char *)"1.1", .snapshots = names}, NULL},
        {{.compat = (char *)"0.10", .snapshots = names}, "amend -o compat=1.1"},
        {{.compat = (char *)"1.1", .encrypted = TRUE, .snapshots = names}, "image is encrypted"},
        {{.compat = (char *)"1.1", .data_file = (char *)"/i/a.data", .snapshots = names},
         "external data file"},
        {{.compat = (char *)"1.1", .corrupt = TRUE, .snapshots = names}, "qemu-img check -r"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GPtrArray) remarks = remarks_new();
        g_autofree char *problem =
            eligible_disk_problem(d->disks->pdata[0], &cases[i].facts, d->name, remarks);

        expect_sentence(problem, cases[i].problem);
        g_assert_cmpuint(remarks->len, ==, 0);
    }
}

static void test_internal_snapshots(void)
{
    g_autoptr(Definition) d = define(DISKS[0].disk);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autoptr(GPtrArray) remarks = remarks_new();
    Qcow2Facts facts = {.compat = (char *)"1.1", .snapshots = names};

    g_ptr_array_add(names, (char *)"before-upgrade");
    g_assert_null(eligible_disk_problem(d->disks->pdata[0], &facts, d->name, remarks));
    g_assert_cmpuint(remarks->len, ==, 1);
    expect_sentence(remarks->pdata[0], "internal snapshots");
}

#define AGENT(state) \
    "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='" state "'/></channel>"

static GPtrArray *vm_remarks(const char *os, const char *devices, gboolean running)
{
    g_autofree char *xml =
        g_strdup_printf("<domain type='kvm'><name>web</name><uuid>11111111-2222-4333-8444-555555555555</uuid>"
                        "<os>%s</os><devices>%s</devices></domain>",
                        os, devices);
    g_autoptr(Definition) d = definition_parse(xml, strlen(xml), NULL);
    GPtrArray *remarks = g_ptr_array_new_with_free_func(g_free);

    g_assert_nonnull(d);
    eligible_vm_remarks(d, running, remarks);
    return remarks;
}

static void expect_remark(const char *os, const char *devices, gboolean running, const char *part)
{
    g_autoptr(GPtrArray) remarks = vm_remarks(os, devices, running);

    g_assert_cmpuint(remarks->len, ==, part ? 1 : 0);
    if (part)
        g_assert_nonnull(strstr(remarks->pdata[0], part));
}

static void test_vm_remarks(void)
{
    expect_remark("<nvram>/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram>",
                  AGENT("connected") "<tpm><backend type='emulator' version='2.0'/></tpm>", TRUE, NULL);
    expect_remark("", AGENT("disconnected"), FALSE, NULL);
    expect_remark("", AGENT("disconnected"), TRUE, "no guest agent that answers");
    expect_remark("", "", FALSE, "no channel for a guest agent");
    expect_remark("<nvram type='network'><source protocol='nbd'/></nvram>", AGENT("connected"), TRUE,
                  "are not replicated");
    expect_remark(
        "",
        AGENT("connected") "<disk type='file' device='disk'>" QCOW2
                           "<source file='/i/a'/><mirror type='file'><source file='/i/b'/></mirror>" ON(
                               "vda"),
        TRUE, "a block copy or commit runs on it");
}

static void test_set(void)
{
    static const struct {
        const char *disks;
        const char *problem;
    } CASES[] = {
        {"", "has no disk that could be replicated"},
        {"<disk type='file' device='cdrom'><source file='/i/cd'/><target dev='sda' "
         "bus='sata'/><readonly/></disk>",
         "has no disk that could be replicated"},
        {"<disk type='file' device='disk'>" QCOW2 "<source file='/i/a'/><readonly/>" ON("vda"),
         "has no disk that could be replicated"},
        {"<disk type='file' device='disk'>" QCOW2 "<source file='/i/a'/>" ON(
             "vda") "<disk type='file' device='disk'>" QCOW2 "<source file='/i/b'/>" ON("vdb"),
         NULL},
        {"<disk type='file' device='disk'>" QCOW2 "<source file='/i/a'/>" ON(
             "vda") "<disk type='file' device='disk'>" QCOW2 "<source file='/i/a'/>" ON("vdb"),
         "disks vda and vdb of 'web1' are one image, /i/a"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autoptr(Definition) d = define(CASES[i].disks);
        g_autofree char *problem = eligible_set_problem(d->disks, d->name);

        g_assert_true((problem == NULL) == (CASES[i].problem == NULL));
        if (problem)
            g_assert_nonnull(strstr(problem, CASES[i].problem));
    }
}

static void expect_layer(const GPtrArray *chain, guint at, const char *path, const char *format)
{
    const ChainLayer *layer = chain->pdata[at];

    g_assert_cmpstr(layer->path, ==, path);
    g_assert_cmpstr(layer->format, ==, format);
}

static void test_chain(void)
{
    const char *xml = HEAD "<disk type='file' device='disk'>" QCOW2 "<source file='/i/a &amp; b'/>"
                           "<backingStore type='block'><format type='raw'/><source dev='/dev/base'/>"
                           "<backingStore/></backingStore>" ON("vda") "<disk type='file' device='disk'>" QCOW2
                                                                      "<source file='/i/c'/>" ON("vdb") TAIL;
    g_autoptr(GPtrArray) vda = NULL;
    g_autoptr(GPtrArray) vdb = NULL;
    gboolean closed;

    vda = chain_in_definition(xml, "vda", &closed, NULL);
    g_assert_true(closed);
    g_assert_cmpuint(vda->len, ==, 2);
    expect_layer(vda, 0, "/i/a & b", "qcow2");
    expect_layer(vda, 1, "/dev/base", "raw");
    vdb = chain_in_definition(xml, "vdb", &closed, NULL);
    g_assert_false(closed);
    g_assert_cmpuint(vdb->len, ==, 1);
}

static void test_chain_refuses(void)
{
    static const struct {
        const char *disk;
        UsError code;
        const char *part;
    } CASES[] = {
        {"<disk type='file' device='disk'>" QCOW2 "<source file='/i/c'/>" ON("vdb"), US_ERROR_NOT_FOUND,
         "no such disk"},
        {"<disk type='file' device='disk'>" QCOW2 ON("vda"), US_ERROR_NOT_FOUND, "no medium"},
        {"<disk type='file' device='disk'>" QCOW2 "<source file='/i/a'/><backingStore type='network'>"
         "<format type='qcow2'/><source protocol='nbd'/></backingStore>" ON("vda"),
         US_ERROR_UNSUPPORTED, "not a local file"},
        {"<disk type='file' device='disk'>" QCOW2 "<source file='/i/a'/><backingStore type='file'>"
         "<format type='vmdk'/><source file='/i/b'/></backingStore>" ON("vda"),
         US_ERROR_UNSUPPORTED, "/i/b has the format vmdk"},
        {"<disk type='file' device='disk'>" QCOW2 "<source file='/i/a'/><backingStore type='file'>"
         "<source file='/i/b'/></backingStore>" ON("vda"),
         US_ERROR_UNSUPPORTED, "/i/b has no format said"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autofree char *xml = g_strconcat(HEAD, CASES[i].disk, TAIL, NULL);
        g_autoptr(GError) error = NULL;
        gboolean closed;

        g_assert_null(chain_in_definition(xml, "vda", &closed, &error));
        g_assert_error(error, US_ERROR, (gint)CASES[i].code);
        g_assert_nonnull(strstr(error->message, CASES[i].part));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(DISKS); i++) {
        g_autofree char *path = g_strconcat("/eligible/disk/", DISKS[i].what, NULL);

        g_test_add_data_func(path, &DISKS[i], test_disk);
    }
    g_test_add_func("/eligible/header", test_header);
    g_test_add_func("/eligible/internal-snapshots", test_internal_snapshots);
    g_test_add_func("/eligible/vm-remarks", test_vm_remarks);
    g_test_add_func("/eligible/set", test_set);
    g_test_add_func("/chain/definition", test_chain);
    g_test_add_func("/chain/refuses", test_chain_refuses);
    return g_test_run();
}
