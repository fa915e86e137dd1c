/* SPDX-License-Identifier: Apache-2.0 */
/* What a test's VM is made of: golden pairs (NAME.out.xml becomes NAME.isolated.xml, UPDATE_GOLDEN=1 writes it), each
 * thing that is kept, dropped, left out or refused, and that nothing of the host is named. */
#include "tests/netmap/world.h"

#include <string.h>

#define STORE "/var/lib/understudy/images/"
#define OS "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>"
#define DOMAIN(os, more, devices)                                  \
    "<domain type='kvm'><name>web</name><uuid>" VM_ID              \
    "</uuid><memory unit='MiB'>512</memory><vcpu>1</vcpu>" os more \
    "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>" devices "</devices></domain>"
#define CHAIN                                                                                \
    "<source file='" STORE "top.qcow2'/><backingStore type='file'><format type='qcow2'/>"    \
    "<source file='/points/7.qcow2'/><backingStore type='file'><format type='raw'/><source " \
    "file='/points/base.img'/><backingStore/></backingStore></backingStore>"
#define DISK_WITH(more)                                                                    \
    "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><target dev='vda' " \
    "bus='virtio'/>" more "</disk>"
#define DISK DISK_WITH(CHAIN)

/* --- helpers ------------------------------------------------------------ */

typedef struct {
    char *out; /* as libvirt and people write it: apostrophes, one line */
    GPtrArray *nics;
    GPtrArray *left_out;
} Made;

static void made_clear(Made *m)
{
    g_free(m->out);
    g_clear_pointer(&m->nics, g_ptr_array_unref);
    g_clear_pointer(&m->left_out, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Made, made_clear)

static char *on_one_line(const char *text)
{
    g_autoptr(GRegex) between = g_regex_new(">\\s+<", 0, 0, NULL);
    g_autofree char *line = g_regex_replace(between, text, -1, 0, "><", 0, NULL);

    return g_strdelimit(g_steal_pointer(&line), "\"", '\'');
}

static Made make_with(const char *definition, const IsolateInput *in)
{
    Made m = {0};
    g_autoptr(GError) error = NULL;
    g_autofree char *out = isolate_definition(definition, in, &m.nics, &m.left_out, &error);

    if (!out)
        g_error("%s: %s", definition, error->message);
    m.out = on_one_line(out);
    return m;
}

static Made make(const char *definition)
{
    IsolateInput in = world_isolation();

    return make_with(definition, &in);
}

static void expect(const char *text, const char *part)
{
    if (!strstr(text, part))
        g_error("missing %s in %s", part, text);
}

static void expect_not(const char *text, const char *part)
{
    if (strstr(text, part))
        g_error("%s in %s", part, text);
}

static void expect_refused(const char *definition, NetmapError code, const char *why)
{
    IsolateInput in = world_isolation();
    GPtrArray *nics = NULL, *left_out = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *out = isolate_definition(definition, &in, &nics, &left_out, &error);

    if (out)
        g_error("not refused (%s): %s", why, out);
    g_assert_error(error, NETMAP_ERROR, (gint)code);
    g_assert_true(!nics && !left_out);
    expect(error->message, why);
}

static char *joined(const GPtrArray *texts)
{
    GString *all = g_string_new(NULL);

    for (guint i = 0; i < texts->len; i++)
        g_string_append_printf(all, "%s\n", (char *)texts->pdata[i]);
    return g_string_free(all, FALSE);
}

/* --- kept, and as it is -------------------------------------------------- */

#define FEATURES                                                                      \
    ("<features><acpi/><apic eoi='on'/><hyperv mode='custom'><spinlocks state='on' "  \
     "retries='8191'/></hyperv><kvm><hidden state='on'/></kvm><smm state='on'><tseg " \
     "unit='MiB'>48</tseg></smm><vmport state='off'/></features>")
#define CPU                                                                                            \
    ("<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model><topology " \
     "sockets='1' dies='1' cores='2' threads='1'/><feature policy='require' name='vmx'/><numa>"        \
     "<cell id='0' cpus='0' memory='512' unit='MiB'/></numa></cpu>")

static void test_kept(void)
{
    static const char *const MORE[] = {
        "<maxMemory slots='16' unit='KiB'>4194304</maxMemory>",
        "<currentMemory unit='MiB'>256</currentMemory>",
        "<vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/></vcpus>",
        "<iothreads>2</iothreads>",
        "<iothreadids><iothread id='1'/><iothread id='7'/></iothreadids>",
        FEATURES,
        CPU,
        "<clock offset='utc'><timer name='rtc'><catchup threshold='1'/></timer></clock>",
        "<pm><suspend-to-mem enabled='no'/></pm>",
        "<sysinfo type='smbios'><system><entry name='serial'>/for the guest</entry></system></sysinfo>",
    };
    static const char *const DEVICES[] = {
        "<controller type='virtio-serial' index='0' ports='16' vectors='4'/>",
        "<controller type='scsi' model='virtio-scsi'><driver queues='4' iothread='1'/></controller>",
        "<controller type='pci' index='3' model='pcie-root-port'><model name='pcie-root-port'/><target "
        "chassis='3' port='0x12'/><alias name='ua-root'/></controller>",
        "<controller type='usb' index='0' model='ich9-uhci1'><master startport='0'/></controller>",
        "<input type='tablet' bus='usb'><address type='usb' bus='0' port='1'/></input>",
        "<hub type='usb'/>",
        "<sound model='ich9'><codec type='duplex'/><codec type='micro'/></sound>",
        "<memballoon model='virtio' autodeflate='on'/>",
        "<watchdog model='i6300esb' action='reset'/>",
        "<panic model='hyperv'/>",
        "<iommu model='intel'><driver intremap='on'/></iommu>",
        "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>",
        "<memory model='dimm'><target><size unit='MiB'>512</size><node>0</node></target><address type='dimm' "
        "slot='0'/></memory>",
        "<video><model type='qxl' ram='65536' heads='1' primary='yes'><resolution x='800' "
        "y='600'/></model></video>",
        "<rng model='virtio'><acpi index='3'/><rom bar='off'/><backend "
        "model='random'>/dev/urandom</backend></rng>",
    };

    for (guint i = 0; i < G_N_ELEMENTS(MORE); i++) {
        g_auto(GStrv) parts = g_strsplit(DOMAIN(OS, "", ""), "<devices>", 2);
        g_autofree char *whole = g_strconcat(parts[0], MORE[i], "<devices>", parts[1], NULL);
        g_auto(Made) m = make(whole);

        expect(m.out, MORE[i]);
        g_assert_cmpuint(m.left_out->len, ==, 0);
    }
    for (guint i = 0; i < G_N_ELEMENTS(DEVICES); i++) {
        g_auto(GStrv) parts = g_strsplit(DOMAIN(OS, "", ""), "</devices>", 2);
        g_autofree char *whole = g_strconcat(parts[0], DEVICES[i], "</devices>", parts[1], NULL);
        g_auto(Made) m = make(whole);

        expect(m.out, DEVICES[i]);
        g_assert_cmpuint(m.left_out->len, ==, 0);
    }
}

static void test_own(void)
{
    g_auto(Made) m = make(DOMAIN(OS,
                                 "<genid>43dc0cf8-809b-4adb-9bea-a9abb5f3d90e</genid><title>t</title>"
                                 "<description>d</description><metadata><x:y xmlns:x='urn:x'/></metadata>"
                                 "<sysinfo type='smbios'><system><entry name='uuid'>" VM_ID
                                 "</entry></system></sysinfo><on_crash>coredump-destroy</on_crash>",
                                 ""));
    g_autofree char *vm = NULL;

    expect(m.out,
           "<domain type='kvm'><name>understudy-test-1</name><uuid>" TEST_ID "</uuid><genid/><metadata>"
           "<understudy:test xmlns:understudy='urn:understudy:1' vm='" VM_ID "'/></metadata>");
    expect(m.out, "<entry name='uuid'>" TEST_ID "</entry>");
    expect(m.out,
           "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>");
    expect(m.out, "<audio id='1' type='none'/>");
    expect_not(m.out, "urn:x");
    expect_not(m.out, "43dc0cf8");
    expect_not(m.out, "<title>");
    g_assert_true(isolate_is_marked(m.out, strlen(m.out), &vm));
    g_assert_cmpstr(vm, ==, VM_ID);
}

/* What somebody attaches to the VM of a test is seen, what it was started with is not. */
static void test_foreign_card(void)
{
    static const char *const FOREIGN[][2] = {
        {"<interface type='network'><mac address='52:54:00:85:f2:b3'/><source network='default'/><target "
         "dev='vnet0'/></interface>",
         "interface 52:54:00:85:f2:b3"},
        {"<interface type='user'/>", "interface ?"},
        {"<hostdev mode='subsystem' type='usb'/>", "a device of the host"},
    };
    g_auto(Made) m = make(DOMAIN(OS, "", "<interface type='bridge'><source bridge='br0'/></interface>"));
    g_auto(GStrv) parts = g_strsplit(m.out, "</devices>", 2);

    g_assert_null(isolate_foreign_card(m.out, m.nics));
    g_assert_null(isolate_foreign_card("<domain/>", m.nics));
    g_assert_null(isolate_foreign_card("none", m.nics));
    for (guint i = 0; i < G_N_ELEMENTS(FOREIGN); i++) {
        g_autofree char *more = g_strconcat(parts[0], FOREIGN[i][0], "</devices>", parts[1], NULL);
        g_autofree char *card = isolate_foreign_card(more, m.nics);

        g_assert_cmpstr(card, ==, FOREIGN[i][1]);
    }
}

/* --- dropped without a word ---------------------------------------------- */

static void test_dropped(void)
{
    g_auto(Made) m = make(
        "<domain type='qemu' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
        "<name>web</name><uuid>" VM_ID "</uuid><memory unit='MiB' dumpCore='on'>512</memory>"
        "<vcpu placement='auto' cpuset='1-3'>2</vcpu>" OS
        "<seclabel type='none'/><resource><partition>/m</partition>"
        "</resource><memtune/><memoryBacking><source type='memfd'/></memoryBacking><numatune/><cputune/>"
        "<blkiotune/><idmap/><keywrap/><perf/><features><unheard-of/></features>"
        "<cpu><numa><cell id='0' cpus='0' memory='512' unit='MiB' memAccess='shared'/></numa></cpu><devices>"
        "<controller type='usb' index='0'><alias name='usb0'/><unheard-of/></controller>"
        "<watchdog model='i6300esb' action='dump'/>"
        "<video><model type='virtio' blob='on'><acceleration accel3d='yes' rendernode='/dev/dri/renderD128'/>"
        "</model><driver name='vhostuser'/></video><sound model='ich9'><audio id='2'/></sound>"
        "<audio id='2' type='pulseaudio' serverName='/run/pulse'/>"
        "<rng model='virtio'><rate bytes='1'/><backend model='egd' type='tcp'><source mode='connect' "
        "host='192.0.2.1' service='7'/></backend></rng>"
        "<tpm model='tpm-crb'><backend type='emulator' persistent_state='yes' debug='1'><source type='dir' "
        "path='/s'/></backend><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"
        "<memballoon model='virtio'><stats period='5'/></memballoon>"
        "<memory model='dimm' access='shared'><source><nodemask>1</nodemask></source><target><size>1</size>"
        "</target></memory></devices></domain>");
    static const char *const GONE[] = {
        "id='3'",    "dumpCore",    "placement", "cpuset",    "seclabel",  "partition", "memtune",
        "memfd",     "numatune",    "cputune",   "blkiotune", "idmap",     "keywrap",   "perf",
        "unheard",   "memAccess",   "usb0",      "dump",      "blob",      "accel",     "vhostuser",
        "pulse",     "id='2'",      "<rate",     "egd",       "192.0.2.1", "persist",   "debug",
        "path='/s'", "passthrough", "/dev/tpm0", "<stats",    "access",    "nodemask",  "xmlns:qemu"};

    for (guint i = 0; i < G_N_ELEMENTS(GONE); i++)
        expect_not(m.out, GONE[i]);
    g_assert_cmpuint(m.left_out->len, ==, 0);
    expect(m.out, "<backend model='random'>/dev/urandom</backend>");
    expect(m.out, "<domain type='qemu'>");
}

/* --- disks --------------------------------------------------------------- */

static void test_disk(void)
{
    g_auto(Made) m = make(DOMAIN(
        OS, "",
        "<disk type='file' device='disk' model='virtio-transitional' snapshot='external' rawio='yes'>"
        "<driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap' detect_zeroes='unmap' "
        "queues='2' iothread='1' error_policy='stop' copy_on_read='on'/>"
        "<source file='" STORE "top.qcow2' index='3' startupPolicy='optional'><seclabel model='dac' "
        "relabel='no'/></source><backingStore type='file' index='4'><format type='qcow2'><metadata_cache>"
        "<max_size>1</max_size></metadata_cache></format><source file='/points/7.qcow2'/><backingStore "
        "type='file'><format type='raw'/><source file='/points/base.img'/><backingStore/></backingStore>"
        "</backingStore><mirror type='file' file='/m'/><target dev='sda' bus='scsi' tray='open'/><iotune>"
        "<total_bytes_sec>1</total_bytes_sec></iotune><serial>S1</serial><wwn>5000c50015ea71aa</wwn>"
        "<vendor>V</vendor><product>P</product><boot order='1'/><shareable/><transient/><readonly/>"
        "<blockio logical_block_size='512'/><geometry cyls='1' heads='2' secs='3'/><alias name='ua-root'/>"
        "<address type='drive' controller='0' bus='0' target='0' unit='0'/></disk>"));

    expect(
        m.out,
        "<disk device='disk' model='virtio-transitional' type='file'><driver name='qemu' type='qcow2' "
        "discard='unmap' detect_zeroes='unmap' queues='2' iothread='1' cache='unsafe'/><target dev='sda' "
        "bus='scsi'/><serial>S1</serial><wwn>5000c50015ea71aa</wwn><vendor>V</vendor><product>P</product>"
        "<boot order='1'/><readonly/><blockio logical_block_size='512'/><geometry cyls='1' heads='2' "
        "secs='3'/><alias name='ua-root'/><address type='drive' controller='0' bus='0' target='0' "
        "unit='0'/><source file='" STORE "top.qcow2'/><backingStore type='network'><format type='raw'/>"
        "<source protocol='nbd' name='sda'><host transport='unix' socket='/run/understudy/test/1/nbd.sock'/>"
        "</source><backingStore/></backingStore></disk>");
}

static void test_drives_are_empty(void)
{
    g_auto(Made) m = make(
        DOMAIN(OS, "",
               "<disk type='network' device='cdrom'><driver name='qemu' type='raw' cache='none'/><source "
               "protocol='https' name='x.iso'/><target dev='sda' bus='sata' tray='open'/><readonly/></disk>"
               "<disk type='block' device='floppy'><source dev='/dev/fd0'/><target dev='fda'/></disk>"));

    expect(m.out,
           "<disk device='cdrom' type='file'><driver name='qemu' type='raw'/><target dev='sda' "
           "bus='sata'/><readonly/></disk><disk device='floppy' type='file'><target dev='fda'/></disk>");
}

static void test_disks_refused(void)
{
    static const char *const TYPES[] = {"network", "volume", "block", "vhostuser", "nvme", "dir"};
    static const struct {
        const char *disk;
        const char *why;
    } CASES[] = {
        {DISK_WITH("<source file='/srv/shared.qcow2'/><backingStore/>"),
         "disk vda would write to /srv/shared.qcow2, which is not the test's own"},
        {DISK_WITH("<source file='" STORE "../../a.qcow2'/><backingStore/>"), "would write to"},
        {DISK_WITH("<source file='" STORE "'/><backingStore/>"), "would write to"},
        {DISK_WITH("<source file='/var/lib/understudy/images2/a'/><backingStore/>"), "would write to"},
        {DISK_WITH("<source file='top.qcow2'/><backingStore/>"), "no absolute path"},
        {DISK_WITH("<source/><backingStore/>"), "a file without a name"},
        {DISK_WITH("<encryption format='luks'/>" CHAIN), "<encryption>"},
        {DISK_WITH("<source file='" STORE "a'><encryption format='luks'/></source><backingStore/>"),
         "<encryption>"},
        {DISK_WITH("<source file='" STORE "a'><slices/></source><backingStore/>"), "<slices>"},
        {"<disk type='file' device='disk'><target dev='vda'/>" CHAIN "</disk>", "format '?'"},
        {"<disk type='file' device='lun'><target dev='sda'/>" CHAIN "</disk>", "disk sda is a 'lun'"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(TYPES); i++) {
        g_autofree char *definition = g_strdup_printf(
            DOMAIN(OS, "", "<disk type='%s' device='disk'><source/><target dev='vdb'/></disk>"), TYPES[i]);
        g_autofree char *why = g_strdup_printf("disk vdb lies on a source of type '%s'", TYPES[i]);

        expect_refused(definition, NETMAP_ERROR_UNSUPPORTED, why);
    }
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_auto(GStrv) parts = g_strsplit(DOMAIN(OS, "", ""), "</devices>", 2);
        g_autofree char *definition = g_strconcat(parts[0], CASES[i].disk, "</devices></domain>", NULL);

        expect_refused(definition, NETMAP_ERROR_UNSUPPORTED, CASES[i].why);
    }
}

/* --- interfaces ----------------------------------------------------------- */

#define NIC(type, mac, more) "<interface type='" type "'><mac address='" mac "'/>" more "</interface>"

static void expect_nic(const GPtrArray *nics, guint n, const char *tap, const char *mac, const char *place)
{
    const IsolatedNic *nic = nics->pdata[n];

    g_assert_cmpstr(nic->tap, ==, tap);
    g_assert_cmpstr(nic->mac, ==, mac);
    g_assert_cmpstr(nic->place, ==, place);
}

static void test_interfaces(void)
{
    g_auto(Made) m = make(DOMAIN(
        OS, "",
        NIC("bridge", "52:54:00:00:00:01",
            "<source bridge='br0'/><virtualport type='openvswitch'/><vlan><tag id='20'/></vlan><target "
            "dev='vnet3'/><model type='virtio'/><driver name='vhost' queues='4' tx_queue_size='1024'><host "
            "csum='off'/><guest tso4='off'/></driver><filterref filter='clean-traffic'/><bandwidth><inbound "
            "average='1'/></bandwidth><script path='/x.sh'/><backend vhost='/dev/vhost-net' "
            "tap='/dev/net/tun'/>"
            "<boot order='2'/><rom bar='on' file='/rom'/><link state='down'/><mtu size='9000'/><alias "
            "name='net0'/><address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>")
            NIC("user", "52:54:00:00:00:02",
                "<model type='e1000'/><driver name='qemu'/><ip address='192.0.2.1'/>")
                NIC("hostdev", "52:54:00:00:00:03",
                    "<source><address type='pci' domain='0' bus='4' slot='16' function='0'/></source>")
                    NIC("hostdev", "52:54:00:00:00:01", "<teaming type='transient' persistent='ua-x'/>")
                        NIC("network", "52:54:00:00:00:04",
                            "<source network='office' portgroup='sales'/><model type='virtio'/><model "
                            "type='e1000'/>") "<interface type='vhostuser'><source type='unix' path='/run/v' "
                                              "mode='server'/><model type='virtio'/></interface>"));
    g_autofree char *left_out = joined(m.left_out);

    expect(m.out,
           "<interface type='ethernet'><mac address='52:54:00:00:00:01'/><model type='virtio'/><driver "
           "queues='4' name='qemu'><host csum='off'/><guest tso4='off'/></driver><boot order='2'/><rom "
           "bar='on'/><link state='down'/><mtu size='9000'/><address type='pci' domain='0x0000' bus='0x01' "
           "slot='0x00' function='0x0'/><target dev='us1n0'/></interface>");
    expect(m.out, "<interface type='ethernet'><mac address='52:54:00:00:00:02'/><model type='e1000'/><target "
                  "dev='us1n1'/></interface>");
    expect(m.out,
           "<interface type='ethernet'><mac address='52:54:00:00:00:03'/><model type='virtio'/><driver "
           "name='qemu'/><target dev='us1n2'/></interface>");
    expect(m.out, "<mac address='52:54:00:00:00:04'/><model type='virtio'/><driver name='qemu'/><target "
                  "dev='us1n3'/></interface>");
    g_assert_cmpuint(m.nics->len, ==, 5);
    expect_nic(m.nics, 0, "us1n0", "52:54:00:00:00:01", "bridge:br0@20");
    expect_nic(m.nics, 1, "us1n1", "52:54:00:00:00:02", "");
    g_assert_true(((const IsolatedNic *)m.nics->pdata[0])->down);
    g_assert_false(((const IsolatedNic *)m.nics->pdata[1])->down);
    expect_nic(m.nics, 2, "us1n2", "52:54:00:00:00:03", "hostdev:0000:04:10.0");
    expect_nic(m.nics, 3, "us1n3", "52:54:00:00:00:04", "office/sales");
    expect_nic(m.nics, 4, "us1n4", NULL, "");
    g_assert_cmpstr(left_out, ==,
                    "the host's own card of interface 52:54:00:00:00:03, for which a virtio card stands\n"
                    "the host's own card beside interface 52:54:00:00:00:01\n");
}

/* The eleventh interface's name has one byte more. */
static void test_tap_length(void)
{
    GString *text = g_string_new("<domain type='kvm'>" OS "<devices>");
    IsolateInput in = world_isolation();
    g_autofree char *ten = NULL;

    for (guint i = 0; i < 10; i++)
        g_string_append(text, "<interface type='user'><model type='virtio'/></interface>");
    ten = g_strconcat(text->str, "</devices></domain>", NULL);
    g_string_append(text, "<interface type='user'/></devices></domain>");
    in.tap_prefix = "fourteen-bytes";
    {
        g_auto(Made) m = make_with(ten, &in);
        GPtrArray *nics = NULL, *left_out = NULL;
        g_autoptr(GError) error = NULL;

        expect(m.out, "<target dev='fourteen-bytes9'/>");
        g_assert_null(isolate_definition(text->str, &in, &nics, &left_out, &error));
        g_assert_error(error, NETMAP_ERROR, NETMAP_ERROR_UNSUPPORTED);
        expect(error->message,
               "its interface number 10 would be called 'fourteen-bytes10', which is too long");
    }
    g_string_free(text, TRUE);
}

/* --- ports and screens ----------------------------------------------------- */

#define PORT_PLUGGED                                                   \
    "<source mode='bind' path='/run/understudy/test/1/console'/><log " \
    "file='/run/understudy/test/1/console.log' "                       \
    "append='off'/>"

static void test_ports(void)
{
    g_auto(Made) m = make(DOMAIN(
        OS, "",
        "<console type='unix'><source mode='bind' path='/tmp/y'/><target type='virtio' port='1'/></console>"
        "<console type='pty'><target type='serial' port='0'/></console>"
        "<serial type='tcp'><source mode='connect' host='192.0.2.1' service='7'/><protocol type='raw'/>"
        "<log file='/var/log/x'/><target type='isa-serial' port='0'><model "
        "name='isa-serial'/></target></serial>"
        "<serial type='file'><source path='/tmp/x'/><target type='isa-serial' port='1'/></serial>"
        "<console type='pty'/><parallel type='dev'><source path='/dev/parport0'/><target "
        "port='0'/></parallel>"));
    g_auto(Made) only = make(DOMAIN(OS, "",
                                    "<console type='pty'><target type='virtio' port='0'/></console>"
                                    "<console type='pty'><target type='serial' port='0'/></console>"));
    IsolateInput quiet = world_isolation();
    g_auto(Made) none = {0};

    expect(m.out, "</emulator><console type='null'><target type='virtio' port='1'/></console>"
                  "<serial type='unix'><target type='isa-serial' port='0'><model name='isa-serial'/>"
                  "</target>" PORT_PLUGGED "</serial><serial type='null'><target type='isa-serial' port='1'/>"
                  "</serial><parallel "
                  "type='null'><target port='0'/></parallel><audio");
    expect(only.out, "<console type='unix'><target type='virtio' port='0'/>" PORT_PLUGGED
                     "</console><console type='null'><target type='serial' port='0'/></console>");
    quiet.console = NULL;
    none = make_with(DOMAIN(OS, "", "<serial type='pty'/>"), &quiet);
    expect(none.out, "<serial type='null'/>");
}

static void test_channels(void)
{
    g_auto(Made) m = make(DOMAIN(
        OS, "",
        "<channel type='unix'><source mode='bind' path='/run/agent'/><target type='virtio' "
        "name='org.qemu.guest_agent.0' state='connected'/><address type='virtio-serial' controller='0' "
        "bus='0' port='1'/></channel><channel type='spicevmc'><target type='virtio' "
        "name='com.redhat.spice.0'/></channel><channel type='pty'><target type='guestfwd' address='10.0.2.1' "
        "port='1'/></channel><channel type='pty'><target type='xen' "
        "name='org.qemu.guest_agent.0'/></channel>"));
    g_autofree char *left_out = joined(m.left_out);

    expect(m.out, "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/><address "
                  "type='virtio-serial' controller='0' bus='0' port='1'/></channel><audio");
    g_assert_cmpstr(left_out, ==,
                    "the channel com.redhat.spice.0\nthe channel without a name\n"
                    "the channel org.qemu.guest_agent.0\n");
}

static void test_screen(void)
{
    static const char WITH[] = DOMAIN(OS, "",
                                      "<graphics type='spice' port='5900' listen='0.0.0.0' passwd='x'><gl "
                                      "enable='yes' rendernode='/dev/dri/r'/></graphics><graphics type='vnc' "
                                      "port='-1'/><video><model type='vga'/></video>");
    IsolateInput blind = world_isolation();
    g_auto(Made) m = make(WITH);
    g_auto(Made) without = make(DOMAIN(OS, "", "<graphics type='vnc'/>"));
    g_auto(Made) unseen = {0};

    blind.graphics = NULL;
    unseen = make_with(WITH, &blind);
    expect(m.out, "<graphics type='vnc' socket='/run/understudy/test/1/vnc'/></devices>");
    expect_not(m.out, "spice");
    expect_not(m.out, "/dev/dri");
    expect_not(without.out, "graphics");
    expect_not(unseen.out, "graphics");
    expect(unseen.out, "<model type='vga'/>");
}

/* --- firmware --------------------------------------------------------------- */

static void test_firmware(void)
{
    static const char EFI[] = DOMAIN(
        "<os firmware='efi'><type arch='x86_64'>hvm</type><firmware><feature enabled='yes' "
        "name='secure-boot'/>"
        "</firmware><loader readonly='yes' secure='yes' type='pflash'>/usr/share/OVMF/CODE.fd</loader><nvram "
        "template='/usr/share/OVMF/VARS.fd' format='raw'>/vars/production.fd</nvram><acpi><table type='slic'>"
        "/slic</table></acpi><boot dev='hd'/><bootmenu enable='yes'/><smbios "
        "mode='sysinfo'/><kernel>/k</kernel>"
        "<initrd>/i</initrd><cmdline>/sbin/init root=/dev/vda</cmdline></os>",
        "<sysinfo type='fwcfg'><entry name='opt/x' file='/secret'/></sysinfo>", "");
    IsolateInput in = world_isolation();
    g_auto(Made) m = {0};
    g_auto(Made) without = make(EFI);
    g_autofree char *left_out = NULL;

    in.nvram = "/var/lib/understudy/tests/1/vars.fd";
    m = make_with(EFI, &in);
    left_out = joined(m.left_out);
    expect(m.out,
           "<os firmware='efi'><type arch='x86_64'>hvm</type><firmware><feature enabled='yes' "
           "name='secure-boot'/></firmware><loader readonly='yes' secure='yes' type='pflash'>"
           "/usr/share/OVMF/CODE.fd</loader><boot dev='hd'/><bootmenu enable='yes'/><smbios mode='sysinfo'/>"
           "<kernel>/k</kernel><initrd>/i</initrd><cmdline>/sbin/init root=/dev/vda</cmdline><nvram "
           "format='raw'>/var/lib/understudy/tests/1/vars.fd</nvram></os>");
    expect_not(m.out, "/secret");
    expect_not(without.out, "nvram");
    g_assert_cmpstr(left_out, ==,
                    "the ACPI table from a file of the host\nwhat its firmware is told by <sysinfo>\n");
}

/* --- left out and told ------------------------------------------------------ */

static void test_left_out(void)
{
    g_auto(Made) m = make(DOMAIN(
        OS, "",
        "<crypto model='virtio' type='qemu'><backend model='builtin'/></crypto><filesystem "
        "type='mount'><source "
        "dir='/srv'/><target dir='s'/></filesystem><hostdev mode='subsystem' type='pci'/><hostdev "
        "type='usb'/>"
        "<lease/><pstore/><redirdev bus='usb' type='tcp'/><redirfilter/><shmem name='x'/><smartcard "
        "mode='host'/>"
        "<vsock model='virtio'><cid auto='yes'/></vsock><memory "
        "model='nvdimm'><source><path>/nv</path></source>"
        "</memory><input type='evdev'><source dev='/dev/input/event1'/></input><input type='passthrough'/>"
        "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"));
    g_autofree char *left_out = joined(m.left_out);

    expect(m.out, "</emulator><audio id='1' type='none'/></devices>");
    g_assert_cmpstr(
        left_out, ==,
        "the crypto device\nthe folder shared with the host\nthe device of the host that is passed "
        "through\nthe lease\nthe pstore device\nthe USB redirection\nthe memory shared with others\n"
        "the smartcard reader\nthe vsock device\nthe memory device of model nvdimm\nan input device "
        "of the host\nthe TPM, a chip of the host\n");
}

/* A name that is cut within a character is text all the same. */
static void test_left_out_is_text(void)
{
    g_autofree char *name = g_strnfill(79, 'x');
    g_autofree char *definition = g_strdup_printf(
        DOMAIN(OS, "", "<channel type='pty'><target type='virtio' name='%s\xc3\xa4'/></channel>"), name);
    g_auto(Made) m = make(definition);

    g_assert_true(g_utf8_validate(m.left_out->pdata[0], -1, NULL));
}

/* --- refused ----------------------------------------------------------------- */

static void test_refused(void)
{
    static const struct {
        const char *definition;
        const char *why;
    } CASES[] = {
        {"<domain type='xen'>" OS "<devices/></domain>", "it is of type 'xen'"},
        {"<domain>" OS "<devices/></domain>", "it is of type '?'"},
        {DOMAIN(OS, "", "<npu/>"), "it is not known what its <npu> device may reach"},
        {DOMAIN(OS, "", "<x:disk xmlns:x='urn:x'/>"), "it is not known what its <disk> device may reach"},
        {DOMAIN(OS, "<launchSecurity type='sev'/>", ""),
         "it is not known what its <launchSecurity> may reach"},
        {DOMAIN(OS,
                "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg "
                "value='-s'/></qemu:commandline>",
                ""),
         "it is not known what its <qemu:commandline> may reach; take that out of its definition, or the VM "
         "out "
         "of the tests"},
        {DOMAIN(OS, "<qemu:commandline/>", ""), "<qemu:commandline> may reach"},
        {DOMAIN(OS, "<memory xmlns='urn:x'/>", ""), "<:memory> may reach"},
        {DOMAIN(OS, "",
                "<tpm model='tpm-crb'><backend type='emulator'><encryption secret='" VM_ID
                "'/></backend></tpm>"),
         "the state of its TPM is encrypted with a secret of the host"},
        {DOMAIN("<os><type>hvm</type><loader type='pflash'>/rw.fd</loader></os>", "", ""),
         "its firmware is a file of the host that it may write to"},
        {DOMAIN("<os><type>hvm</type><kernel>vmlinuz</kernel></os>", "", ""), "its kernel is 'vmlinuz'"},
        {"<domain type='kvm'>" OS "<devices><emulator/></devices></domain>", "its emulator is ''"},
        /* What the rules let through is looked at once more. */
        {DOMAIN(OS, "<clock offset='timezone' timezone=':/etc/shadow'/>", ""),
         "its <clock> names :/etc/shadow, which is not the test's own"},
        {DOMAIN(OS, "<cpu><model> /etc/shadow</model></cpu>", ""), "its <model> names  /etc/shadow"},
        {DOMAIN(OS, "", "<disk device='cdrom'><serial>/etc/shadow</serial></disk>"), "its <serial> names"},
        {DOMAIN(OS, "", "<controller type='usb'><address path='/dev/sda'/></controller>"),
         "its <address> names"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++)
        expect_refused(CASES[i].definition, NETMAP_ERROR_UNSUPPORTED, CASES[i].why);
}

static void test_no_definition(void)
{
    GString *many = g_string_new("<domain type='kvm'>" OS "<devices>");

    expect_refused("", NETMAP_ERROR_XML, "it is empty");
    expect_refused("<domain", NETMAP_ERROR_XML, "not a <domain> document");
    expect_refused("<network/>", NETMAP_ERROR_XML, "its root is another");
    expect_refused("<!DOCTYPE x [<!ENTITY e SYSTEM '/etc/passwd'>]><domain>&e;</domain>", NETMAP_ERROR_XML,
                   "document type");
    expect_refused("<domain type='kvm'>" OS "</domain>", NETMAP_ERROR_XML, "without <devices> or <os>");
    expect_refused("<domain type='kvm'><devices/></domain>", NETMAP_ERROR_XML, "without <devices> or <os>");
    expect_refused(DOMAIN(OS, OS, ""), NETMAP_ERROR_XML, "something twice");
    expect_refused("<domain type='kvm'>" OS "<devices/><devices/></domain>", NETMAP_ERROR_XML,
                   "something twice");
    for (guint i = 0; i < 1025; i++)
        g_string_append(many, "<hub/>");
    g_string_append(many, "</devices></domain>");
    expect_refused(many->str, NETMAP_ERROR_XML, "more than 1024 devices");
    g_string_free(many, TRUE);
}

/* --- the mark ------------------------------------------------------------------ */

#define MARK "<u:test xmlns:u='urn:understudy:1' vm='" VM_ID "'/>"
#define WITH_METADATA(text) "<domain><metadata>" text "</metadata></domain>"

static gboolean is_marked(const char *text)
{
    return isolate_is_marked(text, strlen(text), NULL);
}

static void test_mark(void)
{
    static const char *const NOT[] = {
        "",
        "<domain/>",
        WITH_METADATA(""),
        WITH_METADATA("<test vm='" VM_ID "'/>"),
        WITH_METADATA("<u:test xmlns:u='urn:understudy:2' vm='" VM_ID "'/>"),
        WITH_METADATA("<u:home xmlns:u='urn:understudy:1' vm='" VM_ID "'/>"),
        WITH_METADATA("<u:test xmlns:u='urn:understudy:1'/>"),
        WITH_METADATA("<u:test xmlns:u='urn:understudy:1' vm='all'/>"),
        WITH_METADATA("<x>" MARK "</x>"),
        WITH_METADATA(MARK MARK),
        "<domain><metadata>" MARK "</metadata><metadata/></domain>",
        "<domain><devices>" MARK "</devices></domain>",
        "<network><metadata>" MARK "</metadata></network>",
        "<!DOCTYPE domain><domain><metadata>" MARK "</metadata></domain>",
        WITH_METADATA(MARK) "<",
    };
    static const char WHOLE[] = WITH_METADATA("<other/>" MARK);
    g_autofree char *vm = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(NOT); i++)
        if (is_marked(NOT[i]))
            g_error("marked: %s", NOT[i]);
    for (gsize len = 0; len < strlen(WHOLE); len++)
        g_assert_false(isolate_is_marked(WHOLE, len, &vm));
    g_assert_null(vm);
    g_assert_true(is_marked(WHOLE));
    g_assert_true(isolate_is_marked(WHOLE, strlen(WHOLE), &vm));
    g_assert_cmpstr(vm, ==, VM_ID);
}

/* --- definitions as people have them ---------------------------------------------- */

static gboolean is_allowed(const char *path)
{
    static const char *const BELOW[] = {STORE,
                                        "/run/understudy/test/1/",
                                        "/usr/bin/qemu-system-",
                                        "/usr/share/OVMF/",
                                        "/usr/share/AAVMF/",
                                        "/usr/share/qemu-efi-aarch64/"};

    for (guint i = 0; i < G_N_ELEMENTS(BELOW); i++)
        if (g_str_has_prefix(path, BELOW[i]))
            return TRUE;
    return g_str_equal(path, "/dev/urandom");
}

/* Each text in quotes or between tags that is a path. */
static void expect_no_path(const char *name, const char *out)
{
    g_autoptr(GRegex) regex = g_regex_new("['>](/[^'<>]*)", 0, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;

    for (g_regex_match(regex, out, 0, &match); g_match_info_matches(match); g_match_info_next(match, NULL)) {
        g_autofree char *path = g_match_info_fetch(match, 1);

        if (!g_str_equal(path, "/") && !is_allowed(path))
            g_error("%s names %s", name, path);
    }
}

static void compare_golden(const char *name, const char *got)
{
    g_autofree char *path = g_strconcat(TEST_DATA "/golden/", name, ".isolated.xml", NULL);
    g_autofree char *wanted = world_read(name, ".isolated.xml");

    if (g_getenv("UPDATE_GOLDEN"))
        g_assert_true(g_file_set_contents(path, got, -1, NULL));
    else if (g_strcmp0(got, wanted) != 0)
        g_error("%s.isolated.xml: wanted\n%s\ngot\n%s", name, wanted, got);
}

static gboolean is_golden(const char *name)
{
    static const char *const NAMES[] = {"linux-virtio", "sound-video-input", "windows-uefi-tpm", NULL};

    return g_strv_contains(NAMES, name);
}

static gboolean expect_isolated(const char *name)
{
    g_autofree char *definition = world_read(name, ".out.xml");
    IsolateInput in = world_isolation();
    g_autoptr(GPtrArray) nics = NULL;
    g_autoptr(GPtrArray) left_out = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *nvram = g_strdup(STORE "test/vars.fd");
    g_autofree char *out = NULL;
    g_autofree char *line = NULL;

    if (!definition)
        return FALSE;
    if (strstr(definition, "<nvram"))
        in.nvram = nvram;
    out = isolate_definition(definition, &in, &nics, &left_out, &error);
    if (!out) {
        g_assert_error(error, NETMAP_ERROR, NETMAP_ERROR_UNSUPPORTED);
        g_assert_false(is_golden(name));
        g_test_message("%s: %s", name, error->message);
        return FALSE;
    }
    line = on_one_line(out);
    expect_no_path(name, line);
    expect_not(line, "connect");
    if (is_golden(name))
        compare_golden(name, out);
    return TRUE;
}

static void test_golden(void)
{
    g_autoptr(GPtrArray) names = world_golden();
    guint isolated = 0;

    for (guint i = 0; i < names->len; i++)
        isolated += (guint)expect_isolated(names->pdata[i]);
    g_test_message("%u of %u", isolated, names->len);
    g_assert_cmpuint(isolated, >=, 30);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/netmap/isolate/kept", test_kept);
    g_test_add_func("/netmap/isolate/own", test_own);
    g_test_add_func("/netmap/isolate/dropped", test_dropped);
    g_test_add_func("/netmap/isolate/disk", test_disk);
    g_test_add_func("/netmap/isolate/drives-are-empty", test_drives_are_empty);
    g_test_add_func("/netmap/isolate/disks-refused", test_disks_refused);
    g_test_add_func("/netmap/isolate/interfaces", test_interfaces);
    g_test_add_func("/netmap/isolate/tap-length", test_tap_length);
    g_test_add_func("/netmap/isolate/ports", test_ports);
    g_test_add_func("/netmap/isolate/channels", test_channels);
    g_test_add_func("/netmap/isolate/screen", test_screen);
    g_test_add_func("/netmap/isolate/firmware", test_firmware);
    g_test_add_func("/netmap/isolate/left-out", test_left_out);
    g_test_add_func("/netmap/isolate/left-out-is-text", test_left_out_is_text);
    g_test_add_func("/netmap/isolate/refused", test_refused);
    g_test_add_func("/netmap/isolate/foreign-card", test_foreign_card);
    g_test_add_func("/netmap/isolate/no-definition", test_no_definition);
    g_test_add_func("/netmap/isolate/mark", test_mark);
    g_test_add_func("/netmap/isolate/golden", test_golden);
    return g_test_run();
}
