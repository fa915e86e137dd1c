/* SPDX-License-Identifier: Apache-2.0 */
/* What golden definitions do not show: refusals, hostile documents, the way back after changes, new addresses. */
#include "netmap/home.h"
#include "tests/netmap/world.h"

#include <string.h>

#define UUID "6e6ab37a-3ec0-4a5b-9c65-9a7a4a4d3c11"
#define HEAD                                                                                                \
    "<domain type='kvm'><name>web</name><uuid>" UUID "</uuid><memory unit='MiB'>512</memory><vcpu>1</vcpu>" \
    "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>"
#define DISK "<disk type='file' device='disk'><source file='/a.qcow2'/><target dev='vda'/></disk>"
#define TAIL "</devices></domain>"
#define NIC(mac, network) \
    "<interface type='network'><mac address='" mac "'/><source network='" network "'/></interface>"
#define MAC1 "52:54:00:00:00:01"
#define MAC2 "52:54:00:00:00:02"

/* One translation from alpha to beta, with all that it needs. */
typedef struct {
    Host *beta;
    Mapping *mapping;
    WorldDisks *disks;
    GPtrArray *remarks;
    TranslateInput in;
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
    (void)data;
    f->beta = world_beta();
    f->mapping = world_mapping();
    f->disks = world_disks(HEAD DISK TAIL);
    f->in = world_there(f->beta, f->mapping, f->disks);
}

static void teardown(Fixture *f, gconstpointer data)
{
    (void)data;
    host_free(f->beta);
    mapping_free(f->mapping);
    world_disks_free(f->disks);
    g_clear_pointer(&f->remarks, g_ptr_array_unref);
}

static char *run(Fixture *f, const char *definition)
{
    g_autoptr(GError) error = NULL;
    char *out;

    g_clear_pointer(&f->remarks, g_ptr_array_unref);
    out = translate_definition(definition, &f->in, &f->remarks, &error);
    g_assert_no_error(error);
    return out;
}

static void expect(const char *text, const char *part)
{
    if (!text || !strstr(text, part))
        g_error("missing %s in %s", part, text ? text : "nothing");
}

static gboolean was_said(const Fixture *f, RemarkKind kind, const char *part)
{
    for (guint i = 0; i < f->remarks->len; i++) {
        const Remark *remark = f->remarks->pdata[i];

        if (remark->kind == kind && strstr(remark->cause, part))
            return TRUE;
    }
    return FALSE;
}

static void expect_said(Fixture *f, const char *definition, RemarkKind kind, const char *part)
{
    g_autofree char *out = run(f, definition);
    g_autofree char *all = remarks_text(f->remarks);

    if (!was_said(f, kind, part))
        g_error("'%s' was not said, but: %s", part, all);
    g_assert_cmpint(out == NULL, ==, remarks_errors(f->remarks) > 0);
}

static char *map_and_run(Fixture *f, const char *from, const char *to, const char *definition)
{
    g_autoptr(GError) error = NULL;

    mapping_set(f->mapping, from, to, &error);
    g_assert_no_error(error);
    return run(f, definition);
}

/* --- refusals ------------------------------------------------------------ */

static void test_every_reason(Fixture *f, gconstpointer data)
{
    g_autofree char *out = NULL;
    g_autofree char *all = NULL;

    (void)data;
    mapping_set(f->mapping, "x", "asleep", NULL);
    mapping_set(f->mapping, "y", "gone", NULL);
    mapping_set(f->mapping, "dmz", "dmz", NULL);
    g_assert_true(mapping_unset(f->mapping, "dmz", NULL));
    out = run(f, HEAD DISK NIC(MAC1, "x") NIC(MAC2, "y") NIC("52:54:00:00:00:03", "dmz")
                     NIC("52:54:00:00:00:04", "nowhere") TAIL);
    g_assert_null(out);
    all = remarks_text(f->remarks);
    expect(all, "interface 52:54:00:00:00:01 would be on network 'asleep', which beta has not started; ");
    expect(all, "interface 52:54:00:00:00:02 would be on network 'gone', which beta does not have; ");
    expect(all, "interface 52:54:00:00:00:03 is on 'dmz', which is mapped to nothing of beta; it has a "
                "network of the "
                "same name: if that is the one, --map dmz=dmz; ");
    expect(all, "interface 52:54:00:00:00:04 is on 'nowhere', which is mapped to nothing of beta");
}

static void test_refuses(Fixture *f, gconstpointer data)
{
    static const char *const CHAIN[] = {"/s/x.qcow2", NULL};
    static const TranslateDisk VDB = {"vdb", CHAIN};
    const Place lan = {PLACE_NETWORK, (char *)"lan", NULL, 0};

    (void)data;
    expect_said(f, HEAD TAIL, REMARK_DISK_UNKNOWN, "disk vda is replicated");
    expect_said(
        f,
        HEAD DISK
        "<disk type='file' device='disk'><source file='/x'/><target dev='sdz'/><readonly/></disk>" TAIL,
        REMARK_DISK_ELSEWHERE, "disk sdz is not replicated, and its image /x is not on beta");
    expect_said(f, HEAD DISK NIC(MAC1, "default") NIC(MAC1, "default") TAIL, REMARK_MAC,
                "two interfaces with MAC");
    expect_said(f,
                HEAD DISK "<interface type='network'><mac address='" MAC1 "'/><source network='office' "
                          "portgroup='none'/></interface>" TAIL,
                REMARK_PORTGROUP, "port group 'none'");
    expect_said(f,
                HEAD DISK "<interface type='bridge'><mac address='" MAC1
                          "'/><source bridge='br0'/><vlan><tag "
                          "id='5'/></vlan></interface>" TAIL,
                REMARK_VLAN, "is tagged");
    expect_said(f,
                HEAD DISK "<interface type='network'><mac address='" MAC1 "'/><source network='default'/>"
                          "<filterref filter='own'/></interface>" TAIL,
                REMARK_FILTER, "filter 'own'");
    expect_said(f, HEAD DISK "<memory model='nvdimm'/>" TAIL, REMARK_NVDIMM, "memory device");
    host_add_neighbour(f->beta, "77777777-7777-4777-8777-777777777777", "printer", "52:54:00:00:00:01", &lan);
    expect_said(f, HEAD DISK NIC(MAC1, "default") TAIL, REMARK_MAC, "beside VM 'printer'");
    f->in.cpu = CPU_DOES_NOT_FIT;
    expect_said(f, HEAD DISK TAIL, REMARK_CPU, "does not offer");
    f->in.cpu = CPU_FITS;
    f->in.disks = &VDB;
    expect_said(f, HEAD TAIL, REMARK_DISK_UNKNOWN, "disk vdb");
}

static void test_host_lacks(Fixture *f, gconstpointer data)
{
    (void)data;
    f->beta->direct_io = FALSE;
    expect_said(f,
                HEAD "<disk type='file' device='disk'><driver cache='none'/><source file='/a'/><target "
                     "dev='vda'/></disk>" TAIL,
                REMARK_DIRECT_IO, "disk vda bypasses the page cache");
    f->beta->swtpm = FALSE;
    expect_said(f, HEAD DISK "<tpm><backend type='emulator'/></tpm>" TAIL, REMARK_TPM, "emulated TPM");
    f->beta->memory_kib = 1024;
    expect_said(f, HEAD DISK TAIL, REMARK_MEMORY, "512 MiB of memory");
    g_ptr_array_set_size(f->beta->offers, 0);
    expect_said(f, HEAD DISK TAIL, REMARK_DOMAIN_TYPE, "type kvm for x86_64");
}

static void test_ambiguous(Fixture *f, gconstpointer data)
{
    (void)data;
    mapping_set(f->mapping, "other", "lan", NULL);
    f->in.from_column = MAP_REPLICA;
    f->in.to_column = MAP_MASTER;
    expect_said(f, HEAD DISK NIC(MAC1, "lan") TAIL, REMARK_AMBIGUOUS, "'default' and for 'other'");
}

/* --- documents of somebody else ------------------------------------------ */

static void expect_no_definition(Fixture *f, const char *definition, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_clear_pointer(&f->remarks, g_ptr_array_unref);
    g_assert_null(translate_definition(definition, &f->in, &f->remarks, &error));
    g_assert_error(error, NETMAP_ERROR, NETMAP_ERROR_XML);
    expect(error->message, part);
    g_assert_true(g_utf8_validate(error->message, -1, NULL));
    g_assert_cmpuint(f->remarks->len, ==, 0);
}

static char *repeated(const char *part, guint times)
{
    GString *text = g_string_new(HEAD);

    for (guint i = 0; i < times; i++)
        g_string_append(text, part);
    return g_string_free(g_string_append(text, TAIL), FALSE);
}

/* The name of what is closed wrongly is a part of the error. */
static char *misnested(const char *name, const char *letter, guint times)
{
    GString *text = g_string_new("<domain><");

    g_string_append(text, name);
    for (guint i = 0; i < times; i++)
        g_string_append(text, letter);
    return g_string_free(g_string_append(text, "></b></domain>"), FALSE);
}

static char *wide_element(void)
{
    GString *text = g_string_new("<domain>\n<devices><disk");

    for (guint i = 0; i < 600000; i++)
        g_string_append_printf(text, " a%u=''", i);
    return g_string_free(g_string_append(text, "/>" TAIL), FALSE);
}

static void test_hostile(Fixture *f, gconstpointer data)
{
    static const char BOMB[] =
        "<!DOCTYPE d [<!ENTITY a 'x'><!ENTITY b '&a;&a;'>]><domain><devices>&b;</devices></domain>";
    static const char FILE_ENTITY[] =
        "<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><domain><devices>&a;</devices></domain>";
    static const char REMOTE[] = "<!DOCTYPE d SYSTEM 'http://192.0.2.1/d.dtd'><domain><devices/></domain>";
    static const char LATIN[] = "<?xml version='1.0' encoding='ISO-8859-1'?>" HEAD "<a b='\xe9\x20'/>" TAIL;
    g_autofree char *many = repeated("<a/>", 100000);
    g_autofree char *wide = wide_element();
    g_autofree char *deep = repeated("<a>", 100000);
    g_autofree char *odd = misnested("a", "\xc3\xa4", 200);
    g_autofree char *even = misnested("aa", "\xc3\xa4", 200);
    g_autofree char *huge = g_strnfill(200u << 20, ' ');

    (void)data;
    expect_no_definition(f, "", "line 1: not a <domain> document: it is empty");
    expect_no_definition(f, "<domain/>", "without <devices>");
    expect_no_definition(f, "<network><devices/></network>", "its root is another");
    expect_no_definition(f, "<domain xmlns='urn:x'><devices/></domain>", "its root is another");
    expect_no_definition(f, "<domain>\n<devices>\n</domain>", "line 3: ");
    expect_no_definition(f, "<domain>\n<devices>\n&nothing;</devices></domain>", "line 3: ");
    expect_no_definition(f, BOMB, "document type");
    expect_no_definition(f, FILE_ENTITY, "document type");
    expect_no_definition(f, REMOTE, "document type");
    expect_no_definition(f, wide, "line 2: not a <domain> document: more than 4096 attributes");
    expect_no_definition(f, LATIN, "line 1: not a <domain> document: Input is not proper UTF-8");
    expect_no_definition(f, many, "more than 32768 elements");
    expect_no_definition(f, deep, "line 1: ");
    expect_no_definition(f, odd, "line 1: ");
    expect_no_definition(f, even, "line 1: ");
    expect_no_definition(f, huge, "longer than");
}

/* What stands there twice leaves nothing of the other host behind. */
static void test_twice(Fixture *f, gconstpointer data)
{
    g_autofree char *out =
        run(f, HEAD "<disk type='block'><source dev='/dev/vg/a'/><source dev='/dev/vg/b'/><target "
                    "dev='vda'/></disk>" TAIL);

    (void)data;
    expect(out, "top.vda.qcow2");
    g_assert_null(strstr(out, "/dev/vg"));
}

/* A home that somebody wrote: nothing of it may hurt, whatever it names. */
static void test_forged_home(Fixture *f, gconstpointer data)
{
    static const char FORGED[] =
        "<domain type='kvm'><uuid>" UUID "</uuid><metadata><u:home xmlns:u='urn:understudy:1' host='" BETA_ID
        "'>"
        "<u:kept host='" BETA_ID "' in='devices' name='disk'/>"
        "<u:kept host='" BETA_ID
        "' in='devices/disk' key='vda' name='source'><source file='/etc/shadow'/></u:kept>"
        "<u:kept host='" BETA_ID "' in='metadata'><x/></u:kept><u:kept host='" BETA_ID
        "' in='a/b/c/d/e/f/g/h/i/j'/><u:kept host='" BETA_ID "'/><kept in='devices'/>"
        "<u:kept host='" BETA_ID "' in='' name='devices'/><u:kept host='" BETA_ID
        "' in='nowhere'><y/></u:kept></u:home><u:home "
        "xmlns:u='urn:understudy:1'/></metadata><os><type arch='x86_64'>hvm</type></os><devices>" DISK TAIL;
    g_autofree char *out = run(f, FORGED);

    (void)data;
    expect(out, "top.vda.qcow2");
    g_assert_null(strstr(out, "shadow"));
    g_assert_null(strstr(out, "nowhere"));
    g_assert_null(strstr(out, "u:kept"));
}

/* --- there and back -------------------------------------------------------- */

static char *back(Fixture *f, const char *definition)
{
    g_autoptr(Host) alpha = world_alpha();
    g_autoptr(WorldDisks) disks = world_disks(definition);
    char *out;

    f->in = world_back(alpha, f->mapping, disks);
    out = run(f, definition);
    if (!out) {
        g_autofree char *why = remarks_text(f->remarks);

        g_error("%s", why);
    }
    return out;
}

static char *replaced(const char *text, const char *what, const char *with)
{
    g_auto(GStrv) parts = g_strsplit(text, what, -1);

    g_assert_cmpuint(g_strv_length(parts), >, 1);
    return g_strjoinv(with, parts);
}

static void test_home_of_two(Fixture *f, gconstpointer data)
{
    g_autofree char *there = NULL;
    g_autofree char *home = NULL;

    (void)data;
    /* Two networks become one; each interface finds its own again. */
    mapping_set(f->mapping, "office", "lan", NULL);
    there = run(f, HEAD DISK NIC(MAC1, "default") NIC(MAC2, "office") TAIL);
    g_assert_null(strstr(there, "network=\"office\"/></interface>"));
    home = back(f, there);
    expect(home, "<source network=\"default\"/>");
    expect(home, "<source network=\"office\"/>");
    g_assert_null(strstr(home, "urn:understudy"));
}

static void test_moved_meanwhile(Fixture *f, gconstpointer data)
{
    g_autofree char *there = run(f, HEAD DISK NIC(MAC1, "default") TAIL);
    g_autofree char *moved = replaced(there, "<source network=\"lan\"/>", "<source network=\"corp\"/>");
    g_autofree char *home = NULL;

    (void)data;
    /* Its user plugged it into another network there: that is mapped back, not what it was once. */
    home = back(f, moved);
    expect(home, "<source network=\"office\"/>");
    g_assert_null(strstr(home, "network=\"default\""));
}

static void test_device_gone_meanwhile(Fixture *f, gconstpointer data)
{
    static const char CDROM[] =
        "<disk type='file' device='cdrom'><source file='/iso/x.iso'/><target dev='sda'/></disk>";
    g_autofree char *definition = g_strconcat(HEAD DISK, CDROM, TAIL, NULL);
    g_autofree char *there = run(f, definition);
    g_autofree char *gone = replaced(there, "<target dev=\"sda\"/>", "<target dev=\"sdb\"/>");
    g_autofree char *home = NULL;

    (void)data;
    g_assert_true(was_said(f, REMARK_MEDIA, "/iso/x.iso"));
    home = back(f, gone);
    g_assert_null(strstr(home, "x.iso"));
}

static void test_slot_taken_meanwhile(Fixture *f, gconstpointer data)
{
#define SLOT "<address type='pci' domain='0x0000' bus='0x06' slot='0x00' function='0x0'/>"
    static const char GPU[] =
        "<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x03' "
        "slot='0x00' function='0x0'/></source>" SLOT "</hostdev>";
    g_autofree char *definition = g_strconcat(HEAD DISK, GPU, TAIL, NULL);
    g_autofree char *there = run(f, definition);
    g_autofree char *taken = replaced(there, "</devices>", "<rng model='virtio'>" SLOT "</rng></devices>");
    g_autofree char *home = NULL;
    g_auto(GStrv) parts = NULL;

    (void)data;
    home = back(f, taken);
    expect(home, "<hostdev mode=\"subsystem\"");
    parts = g_strsplit(home, "bus=\"0x06\"", -1);
    g_assert_cmpuint(g_strv_length(parts), ==, 2);
}

/* What is of that host already needs neither mapping nor way back: its disks are others, and all else stays. */
static void test_of_that_host(Fixture *f, gconstpointer data)
{
    static const char DEVICES[] =
        NIC(MAC1, "nowhere") "<hostdev mode='subsystem' type='pci'><source><address "
                             "domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></source></hostdev>"
                             "<graphics type='vnc' port='-1' listen='192.0.2.77'/>";
    g_autofree char *definition = g_strconcat(HEAD DISK, DEVICES, TAIL, NULL);
    g_autofree char *elsewhere = run(f, definition);
    g_autofree char *here = NULL;

    (void)data;
    g_assert_null(elsewhere);
    f->in.from = f->beta->id;
    f->in.nvram = "/s/nvram.fd";
    here = run(f, definition);
    g_assert_cmpuint(f->remarks ? f->remarks->len : 1, ==, 0);
    expect(here, "<source network=\"nowhere\"/>");
    expect(here, "<hostdev mode=\"subsystem\"");
    expect(here, "listen=\"192.0.2.77\"");
    expect(here, f->in.disks[0].files[0]);
    expect(here, "<nvram>/s/nvram.fd</nvram>");
    g_assert_null(strstr(here, "/a.qcow2"));
    g_assert_null(strstr(here, HOME_NAMESPACE));
}

/* --- MAC addresses --------------------------------------------------------- */

static void test_new_mac(Fixture *f, gconstpointer data)
{
    g_autofree char *mac = mapping_new_mac(UUID, MAC1, 0);
    g_autofree char *second = mapping_new_mac(UUID, MAC1, 1);
    g_autofree char *there = map_and_run(f, "mac:" MAC1, ",mac=new", HEAD DISK NIC(MAC1, "default") TAIL);
    g_autofree char *again = NULL;
    g_autofree char *home = NULL;
    const Place lan = {PLACE_NETWORK, (char *)"lan", NULL, 0};

    (void)data;
    expect(there, mac);
    /* It is taken there: the next one. */
    host_add_neighbour(f->beta, "77777777-7777-4777-8777-777777777777", "other", mac, &lan);
    again = run(f, HEAD DISK NIC(MAC1, "default") TAIL);
    expect(again, second);
    home = back(f, again);
    expect(home, "<mac address=\"" MAC1 "\"/>");
    g_assert_null(strstr(home, second));
}

/* The same address elsewhere on the host is no clash. */
static void test_mac_on_other_segment(Fixture *f, gconstpointer data)
{
    const Place dmz = {PLACE_NETWORK, (char *)"dmz", NULL, 0};
    g_autofree char *out = NULL;

    (void)data;
    host_add_neighbour(f->beta, "77777777-7777-4777-8777-777777777777", "printer", MAC1, &dmz);
    out = run(f, HEAD DISK NIC(MAC1, "default") TAIL);
    g_assert_nonnull(out);
}

/* libvirt chose the firmware, and says nothing of its variables: they are the replica's copy all the same. */
static void test_nvram_unsaid(Fixture *f, gconstpointer data)
{
    static const char CHOSEN[] =
        "<domain type='kvm'><uuid>" UUID "</uuid><os firmware='efi'><type arch='x86_64' "
        "machine='pc-q35-7.2'>hvm</type></os><devices>" DISK TAIL;
    g_autofree char *there = NULL;
    g_autofree char *home = NULL;

    (void)data;
    f->in.nvram = "/s/nvram.fd";
    there = run(f, CHOSEN);
    expect(there, "<nvram>/s/nvram.fd</nvram>");
    home = back(f, there);
    g_assert_null(strstr(home, "nvram"));
}

/* --- the processor --------------------------------------------------------- */

static void test_cpu_question(void)
{
    static const char CPU[] = "<cpu mode='custom' match='exact' check='partial'><model>Nehalem</model></cpu>";
    g_autofree char *named =
        g_strconcat("<domain type='kvm'><os><type arch='x86_64' machine='q35'>hvm</type></os>", CPU,
                    "<devices/></domain>", NULL);
    g_auto(CpuQuestion) q = {0};
    g_auto(CpuQuestion) none = {0};
    g_auto(CpuQuestion) bad = {0};

    g_assert_true(translate_cpu_question(named, &q, NULL));
    g_assert_cmpstr(q.type, ==, "kvm");
    g_assert_cmpstr(q.arch, ==, "x86_64");
    g_assert_cmpstr(q.machine, ==, "q35");
    expect(q.cpu, "<model>Nehalem</model>");
    g_assert_true(
        translate_cpu_question("<domain><cpu mode='host-passthrough'/><devices/></domain>", &none, NULL));
    g_assert_null(none.cpu);
    g_assert_false(translate_cpu_question("<x/>", &bad, NULL));
}

#define TEST(name, func) g_test_add("/netmap/translate/" name, Fixture, NULL, setup, func, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("every-reason", test_every_reason);
    TEST("refuses", test_refuses);
    TEST("host-lacks", test_host_lacks);
    TEST("ambiguous", test_ambiguous);
    TEST("hostile", test_hostile);
    TEST("twice", test_twice);
    TEST("forged-home", test_forged_home);
    TEST("home-of-two", test_home_of_two);
    TEST("moved-meanwhile", test_moved_meanwhile);
    TEST("device-gone-meanwhile", test_device_gone_meanwhile);
    TEST("slot-taken-meanwhile", test_slot_taken_meanwhile);
    TEST("of-that-host", test_of_that_host);
    TEST("new-mac", test_new_mac);
    TEST("nvram-unsaid", test_nvram_unsaid);
    TEST("mac-on-other-segment", test_mac_on_other_segment);
    g_test_add_func("/netmap/translate/cpu-question", test_cpu_question);
    return g_test_run();
}
