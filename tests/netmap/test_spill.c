/* SPDX-License-Identifier: Apache-2.0 */
/* What the gate holds of a guest, and what it does not. */
#include "netmap/spill.h"
#include "netmap/xml.h"

#include <string.h>

#define MAC "<mac address='52:54:00:00:00:01'/>"
#define NIC(type, rest) "<interface type='" type "'>" MAC rest "</interface>"
#define NO_BRIDGE "whose frames go through no bridge of the kernel's"

static Host *host(void)
{
    Host *h = host_new(NULL, "alpha");

    g_assert_true(host_add_network_xml(
        h, "<network><name>nat</name><forward mode='nat'/><bridge name='virbr0'/></network>", TRUE, NULL));
    g_assert_true(host_add_network_xml(h, "<network><name>asleep</name><bridge name='virbr1'/></network>",
                                       FALSE, NULL));
    g_assert_true(host_add_network_xml(
        h, "<network><name>lan</name><forward mode='bridge'/><bridge name='br0'/></network>", TRUE, NULL));
    g_assert_true(
        host_add_network_xml(h,
                             "<network><name>ovs</name><forward mode='bridge'/><bridge name='ovs0'/>"
                             "<virtualport type='openvswitch'/></network>",
                             TRUE, NULL));
    g_assert_true(host_add_network_xml(
        h, "<network><name>taps</name><forward mode='bridge'><interface dev='eth1'/></forward></network>",
        TRUE, NULL));
    g_assert_true(host_add_network_xml(
        h, "<network><name>vfs</name><forward mode='hostdev'><pf dev='eth2'/></forward></network>", TRUE,
        NULL));
    host_add_bridge(h, "virbr0", FALSE);
    host_add_bridge(h, "br0", FALSE);
    host_add_bridge(h, "ovs0", TRUE);
    return h;
}

static const struct {
    const char *device, *spill; /* NULL: it is held */
} CASES[] = {
    {NIC("network", "<source network='nat'/>"), NULL},
    {NIC("network", "<source network='nat' portid='x' bridge='virbr0'/><target dev='vnet0'/>"), NULL},
    {NIC("network", "<source network='asleep'/>"), NULL},
    {NIC("network", "<source network='lan'/>"), NULL},
    {NIC("network", "<source network='ovs'/>"),
     "has interface 52:54:00:00:00:01 on 'ovs', where 'ovs0' is no bridge of the kernel's"},
    {NIC("network", "<source network='lan'/><virtualport type='openvswitch'/>"),
     "has interface 52:54:00:00:00:01 on 'lan', where 'openvswitch' is no bridge of the kernel's"},
    {NIC("network", "<source network='taps'/>"),
     "has interface 52:54:00:00:00:01 on network 'taps', " NO_BRIDGE},
    {NIC("network", "<source network='vfs'/>"),
     "has interface 52:54:00:00:00:01 on network 'vfs', " NO_BRIDGE},
    {NIC("network", "<source network='gone'/>"),
     "has interface 52:54:00:00:00:01 on network 'gone', " NO_BRIDGE},
    {NIC("bridge", "<source bridge='br0'/>"), NULL},
    {NIC("bridge", "<source bridge='ovs0'/><virtualport type='openvswitch'/>"),
     "has interface 52:54:00:00:00:01 on 'bridge:ovs0', where 'openvswitch' is no bridge of the kernel's"},
    {NIC("bridge", "<source bridge='br9'/>"),
     "has interface 52:54:00:00:00:01 on 'bridge:br9', where 'br9' is no bridge of the kernel's"},
    {NIC("direct", "<source dev='eth1' mode='bridge'/>"),
     "has interface 52:54:00:00:00:01 of type 'direct', direct:eth1, " NO_BRIDGE},
    {NIC("user", ""), "has interface 52:54:00:00:00:01 of type 'user', " NO_BRIDGE},
    {NIC("user", "<backend type='passt'/>"), "has interface 52:54:00:00:00:01 of type 'user', " NO_BRIDGE},
    {NIC("vhostuser", "<source type='unix' path='/s' mode='server'/>"),
     "has interface 52:54:00:00:00:01 of type 'vhostuser', " NO_BRIDGE},
    {NIC("ethernet", "<target dev='tap7'/>"),
     "has interface 52:54:00:00:00:01 of type 'ethernet', " NO_BRIDGE},
    {NIC("mcast", "<source address='230.0.0.1' port='5558'/>"),
     "has interface 52:54:00:00:00:01 of type 'mcast', " NO_BRIDGE},
    {NIC("hostdev", "<source><address type='pci' domain='0' bus='4' slot='0x10' function='1'/></source>"),
     "has interface 52:54:00:00:00:01 of type 'hostdev', hostdev:0000:04:10.1, " NO_BRIDGE},
    {NIC("null", ""), NULL},
    {"<disk type='file' device='disk'><source file='/a.qcow2'/><target dev='vda'/></disk>", NULL},
    {"<disk type='block' device='disk'><source dev='/dev/vg/a'/><target dev='vda'/></disk>", NULL},
    {"<disk type='network' device='disk'><source protocol='rbd' name='p/i'/><target dev='vdb'/></disk>",
     "has disk vdb on rbd storage, which other hosts may write to"},
    {"<disk type='network' device='disk'><source protocol='iscsi' name='i'/><target "
     "dev='vdb'/><readonly/></disk>",
     NULL},
    {"<disk type='network' device='cdrom'><source protocol='https' name='i'/><target dev='sda'/></disk>",
     NULL},
    {"<disk type='nvme' device='disk'><source type='pci' namespace='1'/><target dev='vdc'/></disk>",
     "has disk vdc on nvme storage, which other hosts may write to"},
    {"<disk type='block' device='lun'><source dev='/dev/sdb'/><target dev='sda'/></disk>",
     "has a whole SCSI device as disk sda"},
    {"<disk type='file' device='disk'><source file='/a'/><target dev='vda'/><shareable/></disk>",
     "shares disk vda with other guests"},
    {"<disk type='file' device='floppy'><source file='/a'/><target dev='fda'/></disk>",
     "writes to floppy fda, which is not replicated, and may be on both hosts"},
    {"<disk type='file' device='floppy'><target dev='fda'/></disk>", NULL},
    {"<filesystem type='mount'><driver type='virtiofs'/><source dir='/srv'/><target dir='s'/></filesystem>",
     "shares the folder /srv of its host"},
    {"<filesystem type='mount'><source dir='/srv'/><target dir='s'/></filesystem>",
     "shares the folder /srv of its host"},
    {"<filesystem type='mount'><source dir='/srv'/><target dir='s'/><readonly/></filesystem>", NULL},
    {"<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='4' slot='0' "
     "function='0'/></source></hostdev>",
     "has the PCI device 0000:04:00.0 of its host"},
    {"<hostdev mode='subsystem' type='usb'><source/></hostdev>", "has a usb device of its host"},
    {"<hostdev mode='subsystem' type='mdev'><source/></hostdev>", "has a mdev device of its host"},
    {"<hostdev mode='subsystem' type='scsi'><source/></hostdev>", "has a scsi device of its host"},
    {"<hostdev mode='subsystem' type='scsi_host'><source protocol='vhost' wwpn='x'/></hostdev>",
     "has a scsi_host device of its host"},
    {"<vsock model='virtio'><cid auto='yes'/></vsock>",
     "has a vsock, by which it speaks to programs of its host"},
    {"<shmem name='m'><model type='ivshmem-plain'/></shmem>",
     "shares memory 'm' with other guests of its host"},
    {"<serial type='pty'><target port='0'/></serial><console type='pty'/>", NULL},
    {"<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>", NULL},
    {"<channel type='spicevmc'/><redirdev bus='usb' type='spicevmc'/>", NULL},
    {"<serial type='dev'><source path='/dev/ttyS0'/></serial>",
     "has a serial that is the device /dev/ttyS0 of its host"},
    {"<serial type='tcp'><source mode='connect' host='10.0.0.9' service='4'/></serial>",
     "has a serial that its host carries over the network (tcp)"},
    {"<serial type='tcp'><source mode='bind' host='127.0.0.1' service='4'/></serial>", NULL},
    {"<channel type='udp'><source mode='bind' host='127.0.0.1'/><source mode='connect' "
     "host='10.0.0.9'/></channel>",
     "has a channel that its host carries over the network (udp)"},
    {"<redirdev bus='usb' type='tcp'><source mode='connect' host='desk' service='4'/></redirdev>",
     "has a redirdev that its host carries over the network (tcp)"},
    {"<emulator>/usr/bin/qemu</emulator><controller type='usb'/><graphics type='vnc'/><video/><memballoon/>"
     "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng><tpm/><watchdog/><panic/>",
     NULL},
    {"<teleporter/>", "has a device <teleporter>, of which it is not known what it does"},
};

static void test_devices(void)
{
    g_autoptr(Host) h = host();

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autofree char *xml = g_strdup_printf("<domain><devices>%s</devices></domain>", CASES[i].device);
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) spills = spill_of(xml, h, &error);

        g_test_message("%s", CASES[i].device);
        g_assert_no_error(error);
        g_assert_cmpuint(spills->len, ==, CASES[i].spill ? 1 : 0);
        if (CASES[i].spill)
            g_assert_cmpstr(spills->pdata[0], ==, CASES[i].spill);
    }
}

static void test_words(void)
{
    static const char XML[] =
        "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><devices/><qemu:commandline>"
        "<qemu:arg value='-cpu'/><qemu:arg value='host,+x'/><qemu:arg value='-netdev'/><qemu:arg "
        "value='user,id=n'/>"
        "<qemu:env name='A' value='-b'/></qemu:commandline></domain>";
    g_autoptr(Host) h = host();
    g_autoptr(GPtrArray) spills = spill_of(XML, h, NULL);

    g_assert_cmpuint(spills->len, ==, 1);
    g_assert_cmpstr(spills->pdata[0], ==,
                    "gives QEMU the option -netdev by itself, of which it is not known what it does");
}

static void test_no_definition(void)
{
    g_autoptr(Host) h = host();
    g_autoptr(GError) error = NULL;

    g_assert_null(spill_of("<network/>", h, &error));
    g_assert_error(error, NETMAP_ERROR, NETMAP_ERROR_XML);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/spill/devices", test_devices);
    g_test_add_func("/spill/words", test_words);
    g_test_add_func("/spill/no-definition", test_no_definition);
    return g_test_run();
}
