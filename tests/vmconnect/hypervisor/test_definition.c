/* SPDX-License-Identifier: Apache-2.0 */
/* Definitions and backup jobs: what is read from them, and what a hostile one gets. */
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/hypervisor/definition.h"
#include "vmconnect/hypervisor/domain_uuid.h"
#include "vmconnect/hypervisor/inventory.h"
#include "vmconnect/hypervisor/job.h"

#include <glib/gstdio.h>
#include <string.h>

#define UUID "6695eb01-f6a4-8304-79aa-97f2502e193f"

static const char RICH[] =
    "<domain type='qemu' id='3'><name>w\xc3\xa4 &amp; \"b\" 'c'</name><uuid>" UUID "</uuid>"
    "<metadata><x:disk xmlns:x='urn:x'><target dev='vdz'/></x:disk></metadata>"
    "<os><nvram>/var/lib/libvirt/qemu/nvram/w.fd</nvram></os><memory unit='MiB'>192</memory>"
    "<devices>"
    "<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none' error_policy='stop' "
    "discard='unmap'/>"
    "<source file='/i/a.qcow2' index='2'/>"
    "<backingStore type='file'><format type='qcow2'/><source file='/i/b.qcow2'/>"
    "<backingStore type='file'><format type='raw'/><source "
    "file='/i/c.raw'/><backingStore/></backingStore></backingStore>"
    "<target dev='vda' bus='virtio'/></disk>"
    "<disk type='block' device='disk'><driver type='raw'/><source dev='/dev/vg/x'/><target dev='vdb'/></disk>"
    "<disk type='network' device='disk'><driver type='qcow2'/><source protocol='rbd' name='p/i'/><target "
    "dev='vdc'/></disk>"
    "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>"
    "<disk type='file'><driver type='qcow2'/><source file='/i/s'/><target dev='vdd'/><shareable/></disk>"
    "<disk type='file'><driver type='qcow2'/><source file='/i/t'/><target dev='vde'/><transient/></disk>"
    "<disk type='file'><driver type='qcow2'/><source file='/i/e'><encryption format='luks'/></source><target "
    "dev='vdf'/></disk>"
    "<disk type='file'><driver type='vmdk'/><source file='/i/v'/><target dev='vdg'/></disk>"
    "<disk type='file' device='lun'><driver type='raw'/><source file='/i/l'/><target dev='sdb'/></disk>"
    "<disk type='file'><driver type='qcow2' cache='unsafe' error_policy='stop'/><source file='/i/m'/>"
    "<mirror type='file'/><target dev='vdh'/></disk>"
    "<disk type='file'><driver type='qcow2'/><source file='/i/n'/><target dev='../../etc'/></disk>"
    "<interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/><model "
    "type='virtio'/></interface>"
    "<interface type='bridge'><source bridge='br0'/></interface>"
    "<interface type='direct'><source dev='eth0'/></interface>"
    "<interface type='user'/>"
    "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>"
    "<tpm model='tpm-tis'/>"
    "</devices></domain>";

static Definition *parse(const char *xml)
{
    GError *error = NULL;
    Definition *d = definition_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    return d;
}

static void expect_nvram(const char *os, const char *wanted)
{
    g_autofree char *xml =
        g_strdup_printf("<domain><name>a</name><uuid>" UUID "</uuid><os%s</os><devices/></domain>", os);
    g_autoptr(Definition) d = parse(xml);

    g_assert_cmpstr(d->nvram, ==, wanted);
    g_assert_false(d->nvram_elsewhere);
}

static void test_nvram(void)
{
    static const char NETWORK[] = "<domain><name>a</name><uuid>" UUID "</uuid><os firmware='efi'>"
                                  "<nvram type='network'><source name='x'/></nvram></os></domain>";
    g_autoptr(Definition) d = parse(NETWORK);

    g_assert_true(d->nvram_elsewhere && !d->nvram);
    expect_nvram(">", NULL);
    expect_nvram("><nvram> /n/a.fd\n</nvram>", "/n/a.fd");
    expect_nvram("><nvram type='file'><source file='/n/b.fd'/></nvram>", "/n/b.fd");
    expect_nvram(" firmware='efi'><nvram>/n/a.fd</nvram>", "/n/a.fd");
    expect_nvram(" firmware='efi'><nvram template='/t'/>", "/var/lib/libvirt/qemu/nvram/a_VARS.fd");
    expect_nvram(" firmware='efi'>", "/var/lib/libvirt/qemu/nvram/a_VARS.fd");
    expect_nvram(" firmware='efi'><loader stateless='yes'/>", NULL);
    expect_nvram(" firmware='bios'>", NULL);
}

static DefinitionTpm tpm_of(const char *tpm)
{
    g_autofree char *xml =
        g_strdup_printf("<domain><name>a</name><uuid>" UUID "</uuid><devices>%s</devices></domain>", tpm);
    g_autoptr(Definition) d = parse(xml);

    return d->tpm;
}

static void test_tpm(void)
{
    g_assert_cmpint(tpm_of(""), ==, DEFINITION_TPM_NONE);
    g_assert_cmpint(tpm_of("<tpm/>"), ==, DEFINITION_TPM_HOST);
    g_assert_cmpint(tpm_of("<tpm><backend type='passthrough'/></tpm>"), ==, DEFINITION_TPM_HOST);
    g_assert_cmpint(tpm_of("<tpm><backend type='emulator'/></tpm>"), ==, DEFINITION_TPM_2);
    g_assert_cmpint(tpm_of("<tpm><backend type='emulator' version='1.2'/></tpm>"), ==, DEFINITION_TPM_1_2);
}

static void test_rich(void)
{
    g_autoptr(Definition) d = parse(RICH);
    const Disk *vda = definition_find_disk(d, "vda");

    g_assert_cmpstr(d->name, ==, "w\xc3\xa4 & \"b\" 'c'");
    g_assert_cmpstr(ID_TEXT(d->uuid), ==, UUID);
    g_assert_cmpuint(d->disks->len, ==, 11);
    g_assert_cmpstr(vda->source, ==, "/i/a.qcow2");
    g_assert_cmpstr(vda->source_type, ==, "file");
    g_assert_cmpstr(vda->format, ==, "qcow2");
    g_assert_cmpstr(vda->cache, ==, "none");
    g_assert_cmpstr(vda->error_policy, ==, "stop");
    g_assert_cmpstr(vda->discard, ==, "unmap");
    g_assert_cmpstr(vda->bus, ==, "virtio");
    g_assert_cmpuint(vda->chain_depth, ==, 2);
    g_assert_true(definition_find_disk(d, "vdh")->has_mirror);
    g_assert_null(definition_find_disk(d, "vdz"));
    g_assert_cmpuint(d->interfaces->len, ==, 4);
    g_assert_cmpstr(((Interface *)d->interfaces->pdata[0])->mac, ==, "52:54:00:00:00:01");
    g_assert_cmpstr(((Interface *)d->interfaces->pdata[1])->place.name, ==, "br0");
    g_assert_cmpstr(((Interface *)d->interfaces->pdata[2])->place.name, ==, "eth0");
    g_assert_null(((Interface *)d->interfaces->pdata[3])->place.name);
    g_assert_cmpstr(d->nvram, ==, "/var/lib/libvirt/qemu/nvram/w.fd");
    g_assert_true(d->has_agent && d->agent_connected);
    g_assert_cmpuint(d->memory_kib, ==, 192 * 1024);
}

/* Each disk that cannot be protected has a sentence of its own. */
static void test_problems(void)
{
    static const struct {
        const char *target;
        const char *says;
    } WANT[] = {{"vdb", "raw"},       {"vdc", "not a local file"}, {"vdd", "shareable"},
                {"vde", "transient"}, {"vdf", "encrypted"},        {"vdg", "not qcow2"},
                {"sdb", "SCSI"},      {"../../etc", "target name"}};
    g_autoptr(Definition) d = parse(RICH);

    for (guint i = 0; i < G_N_ELEMENTS(WANT); i++) {
        const char *problem = disk_problem(definition_find_disk(d, WANT[i].target));

        g_assert_nonnull(problem);
        g_assert_nonnull(strstr(problem, WANT[i].says));
    }
    g_assert_null(disk_problem(definition_find_disk(d, "vda")));
    g_assert_null(disk_warning(definition_find_disk(d, "vda")));
    g_assert_nonnull(strstr(disk_warning(definition_find_disk(d, "vdb")), "error_policy='stop'"));
    g_assert_nonnull(strstr(disk_warning(definition_find_disk(d, "vdh")), "unsafe"));
    g_assert_false(disk_is_data(definition_find_disk(d, "sda")));
    g_assert_true(disk_is_data(definition_find_disk(d, "vda")));
}

static Vm *vm_from(const char *xml)
{
    Vm *vm = g_new0(Vm, 1);

    vm->definition = parse(xml);
    vm->state = VM_STATE_RUNNING;
    return vm;
}

static void test_sharers_and_json(void)
{
    static const char ONE[] =
        "<domain><name>one</name><uuid>" UUID "</uuid><devices>"
        "<disk type='file'><driver type='qcow2'/><source file='/i/x'/><target dev='vda'/></disk>"
        "<disk type='file' device='cdrom'><target dev='sda'/></disk></devices></domain>";
    static const char TWO[] =
        "<domain><name>two</name><uuid>0695eb01-f6a4-8304-79aa-97f2502e193f</uuid><devices>"
        "<disk type='file'><driver type='qcow2'/><source file='/i/x'/><target dev='vdb'/></disk>"
        "</devices></domain>";
    g_autoptr(Inventory) inv = g_new0(Inventory, 1);
    json_auto_t *doc = NULL;
    g_autofree char *text = NULL;

    inv->vms = g_ptr_array_new_with_free_func((GDestroyNotify)vm_free);
    g_ptr_array_add(inv->vms, vm_from(ONE));
    g_ptr_array_add(inv->vms, vm_from(TWO));
    doc = vm_to_json(inv->vms->pdata[0], inv);
    text = json_text(doc);
    g_assert_cmpstr(
        text, ==,
        "{\"uuid\":\"" UUID
        "\",\"name\":\"one\",\"state\":\"running\",\"disks\":[{\"target\":\"vda\",\"source\":\"/i/x\","
        "\"format\":\"qcow2\",\"size_bytes\":0,\"problem\":\"the VM 'two' has the same image: two writers on "
        "one image "
        "are never consistent; give each its own\"}],\"interfaces\":[]}");
}

/* A secret beside us that no document may pull in. */
static char *secret_file(void)
{
    char *path = NULL;
    int fd = g_file_open_tmp("secret-XXXXXX", &path, NULL);

    g_assert_cmpint(write(fd, UUID, strlen(UUID)), ==, (gssize)strlen(UUID));
    close(fd);
    return path;
}

static void refuses(const char *xml, gsize len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) again = NULL;
    Id id;

    g_assert_null(definition_parse(xml, len, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_assert_false(domain_uuid_parse(xml, len, &id, &again));
    g_assert_error(again, US_ERROR, US_ERROR_USAGE);
}

static void test_hostile(void)
{
    g_autofree char *secret = secret_file();
    g_autofree char *external = g_strdup_printf(
        "<!DOCTYPE domain [<!ENTITY x SYSTEM 'file://%s'>]><domain><name>n</name><uuid>&x;</uuid></domain>",
        secret);
    g_autofree char *dtd = g_strdup_printf(
        "<!DOCTYPE domain SYSTEM 'file://%s'><domain><name>n</name><uuid>" UUID "</uuid></domain>", secret);
    g_autofree char *include =
        g_strdup_printf("<domain xmlns:xi='http://www.w3.org/2001/XInclude'><name>n</name>"
                        "<uuid><xi:include href='file://%s' parse='text'/></uuid></domain>",
                        secret);
    GString *bomb = g_string_new("<!DOCTYPE domain [<!ENTITY a0 'aaaaaaaaaa'>");
    GString *deep = g_string_new("<domain>");
    gint64 start_us;

    for (int i = 1; i < 40; i++)
        g_string_append_printf(bomb, "<!ENTITY a%d '&a%d;&a%d;&a%d;&a%d;'>", i, i - 1, i - 1, i - 1, i - 1);
    g_string_append(bomb, "]><domain><name>&a39;</name><uuid>" UUID "</uuid></domain>");
    for (int i = 0; i < 100000; i++)
        g_string_append(deep, "<a>");

    start_us = g_get_monotonic_time();
    refuses(external, strlen(external));
    refuses(dtd, strlen(dtd));
    refuses(include, strlen(include));
    refuses(bomb->str, bomb->len);
    refuses(deep->str, deep->len);
    refuses("", 0);
    refuses("<domain", 7);
    refuses("<network><uuid>" UUID "</uuid></network>", strlen("<network><uuid>" UUID "</uuid></network>"));
    refuses("<domain><uuid>not one</uuid></domain>", strlen("<domain><uuid>not one</uuid></domain>"));
    refuses("<domain><a><uuid>" UUID "</uuid></a></domain>",
            strlen("<domain><a><uuid>" UUID "</uuid></a></domain>"));
    refuses("<domain xmlns='urn:x'><uuid>" UUID "</uuid></domain>",
            strlen("<domain xmlns='urn:x'><uuid>" UUID "</uuid></domain>"));
    /* Refused at the first sign, not after the work that they ask for. */
    g_assert_cmpint(g_get_monotonic_time() - start_us, <, 2 * G_USEC_PER_SEC);
    g_string_free(bomb, TRUE);
    g_string_free(deep, TRUE);
    g_unlink(secret);
}

static GString *big_definition(gsize bytes)
{
    GString *xml = g_string_new("<domain><name>big</name><uuid>" UUID "</uuid><description>");

    while (xml->len < bytes)
        g_string_append(xml, "A long description, as people write them. ");
    return g_string_append(
        xml, "</description><devices><disk type='file'><source file='/i'/><target dev='vda'/></disk>"
             "</devices></domain>");
}

static void test_big(void)
{
    GString *fits = big_definition(5 << 20);
    GString *huge = big_definition(XML_BYTES_MAX);
    g_autoptr(GError) error = NULL;
    g_autoptr(Definition) d = definition_parse(fits->str, fits->len, NULL);

    g_assert_nonnull(d);
    g_assert_cmpuint(d->disks->len, ==, 1);
    g_assert_null(definition_parse(huge->str, huge->len, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_string_free(fits, TRUE);
    g_string_free(huge, TRUE);
}

static void test_uuid_alone(void)
{
    Id id;

    g_assert_true(domain_uuid_parse(RICH, strlen(RICH), &id, NULL));
    g_assert_cmpstr(ID_TEXT(id), ==, UUID);
    /* The start of one is enough: libvirt writes the UUID near the top. */
    g_assert_true(domain_uuid_parse(RICH, 200, &id, NULL));
}

#define DISK(target, source) \
    "<disk type='file'><driver type='qcow2'/><source file='" source "'/><target dev='" target "'/></disk>"

static char *at_stop(const char *live, const char *next)
{
    static const char FORMAT[] = "<domain><name>w</name><uuid>" UUID "</uuid><devices>%s</devices></domain>";
    g_autofree char *live_xml = g_strdup_printf(FORMAT, live);
    g_autofree char *next_xml = g_strdup_printf(FORMAT, next);
    g_autoptr(Definition) l = parse(live_xml);
    g_autoptr(Definition) n = parse(next_xml);

    return definition_disks_at_stop(l, n);
}

static void test_disks_at_stop(void)
{
    static const struct {
        const char *live, *next, *says;
    } CASES[] = {
        {DISK("vda", "/a"), DISK("vda", "/a"), NULL},
        {DISK("vda", "/a") DISK("vdb", "/b"), DISK("vda", "/a"), "disk vdb of 'w' is attached only until"},
        {DISK("vda", "/c"), DISK("vda", "/a"), "disk vda of 'w' is this image only until"},
        {DISK("vda", "/a"), DISK("vda", "/a") DISK("vdb", "/b"), "disk vdb of 'w' is there only after"},
        {DISK("vda", "/a") "<disk device='cdrom'><target dev='sda'/></disk>", DISK("vda", "/a"), NULL},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autofree char *said = at_stop(CASES[i].live, CASES[i].next);

        g_assert_true(CASES[i].says ? said && g_str_has_prefix(said, CASES[i].says) : said == NULL);
    }
}

static const char *const JOB = "<domainbackup mode='pull'><incremental>understudy-x</incremental>"
                               "<server transport='unix' socket='%s'/><disks>"
                               "<disk name='vda' backup='yes' type='file' index='11'><driver "
                               "type='qcow2'/><scratch file='/s/vda' index='13'/></disk>"
                               "<disk name='vdb' backup='no'/></disks></domainbackup>";

static JobKind kind_of(const char *socket, const char *folder)
{
    g_autofree char *xml = g_strdup_printf(JOB, socket);
    g_autoptr(Job) job = job_parse(xml, strlen(xml), folder, NULL);

    g_assert_nonnull(job);
    g_assert_cmpuint(job->scratch->len, ==, 1);
    g_assert_cmpstr(((JobScratch *)job->scratch->pdata[0])->path, ==, "/s/vda");
    g_assert_cmpuint(((JobScratch *)job->scratch->pdata[0])->index, ==, 13);
    return job->kind;
}

static void test_jobs(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(kind_of("/run/understudy/engine/nbd/x.sock", "/run/understudy/engine"), ==, JOB_OURS);
    g_assert_cmpint(kind_of("/run/understudy/engine/nbd/x.sock", "/run/understudy/engine/"), ==, JOB_OURS);
    g_assert_cmpint(kind_of("/run/understudy/engine2/x.sock", "/run/understudy/engine"), ==, JOB_FOREIGN);
    g_assert_cmpint(kind_of("/run/understudy/engine/../../x", "/run/understudy/engine"), ==, JOB_FOREIGN);
    g_assert_cmpint(kind_of("/var/tmp/virtnbdbackup.1", "/run/understudy/engine"), ==, JOB_FOREIGN);
    g_assert_null(job_parse("<x/>", 4, "/run", &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
}

/* By our own mark alone, whatever it is called. */
static void test_mark(void)
{
    static const struct {
        const char *metadata;
        gboolean is_test;
    } CASES[] = {
        {"<understudy:test xmlns:understudy='urn:understudy:1' vm='x'/>", TRUE},
        {"<a:test xmlns:a='urn:other'/><understudy:test xmlns:understudy='urn:understudy:1'/>", TRUE},
        {"<test/>", FALSE},
        {"<understudy:home xmlns:understudy='urn:understudy:1'/>", FALSE},
        {"", FALSE},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autofree char *xml = g_strdup_printf(
            "<domain><name>understudy-test-1</name><uuid>11111111-2222-4333-8444-555555555555</uuid>"
            "<metadata>%s</metadata><devices/></domain>",
            CASES[i].metadata);
        g_autoptr(Definition) d = definition_parse(xml, strlen(xml), NULL);

        g_assert_cmpint(d->is_test, ==, CASES[i].is_test);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/definition/rich", test_rich);
    g_test_add_func("/definition/problems", test_problems);
    g_test_add_func("/definition/sharers-and-json", test_sharers_and_json);
    g_test_add_func("/definition/hostile", test_hostile);
    g_test_add_func("/definition/big", test_big);
    g_test_add_func("/definition/disks-at-stop", test_disks_at_stop);
    g_test_add_func("/domain_uuid/alone", test_uuid_alone);
    g_test_add_func("/job/whose", test_jobs);
    g_test_add_func("/definition/mark", test_mark);
    g_test_add_func("/definition/nvram", test_nvram);
    g_test_add_func("/definition/tpm", test_tpm);
    return g_test_run();
}
