/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/translate.h"

#include <string.h>

static const char DOMAIN[] =
    "<domain type='kvm' id='3'><name>web &amp; \"mail\"</name><devices>"
    "<emulator>/usr/libexec/other-qemu</emulator>"
    "<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none' discard='unmap'/>"
    "<source dev='/dev/vg/web'/><backingStore/><target dev='vda' bus='virtio'/></disk>"
    "<disk type='file' device='cdrom'><source file='/iso/x.iso'/><target dev='sda' "
    "bus='sata'/><readonly/></disk>"
    "<interface type='network'><mac address='52:54:00:00:00:01'/>"
    "<source network='default' portid='1' bridge='virbr0'/><target dev='vnet7'/></interface>"
    "<interface type='bridge'><mac address='52:54:00:00:00:02'/><source bridge='br0'/></interface>"
    "</devices></domain>";

static const char *const CHAIN[] = {"/s/top & <odd>.qcow2", "/s/mid.qcow2", "/s/base.qcow2", NULL};
static const TranslateDisk VDA = {"vda", CHAIN};

static GHashTable *map(const char *from, const char *to)
{
    GHashTable *networks = g_hash_table_new(g_str_hash, g_str_equal);

    g_hash_table_insert(networks, (char *)from, (char *)to);
    return networks;
}

static void expect(const char *text, const char *part)
{
    if (!strstr(text, part))
        g_error("missing %s in %s", part, text);
}

static void test_golden(void)
{
    g_autoptr(GHashTable) networks = map("default", "prod");
    g_autoptr(GError) error = NULL;
    g_autofree char *out = translate_definition(DOMAIN, &VDA, 1, networks, &error);

    g_assert_no_error(error);
    expect(out, "<disk type=\"file\" device=\"disk\">");
    expect(out, "<driver name=\"qemu\" type=\"qcow2\" cache=\"none\" discard=\"unmap\"/>");
    expect(out, "<source file=\"/s/top &amp; &lt;odd&gt;.qcow2\"/>"
                "<backingStore type=\"file\"><format type=\"qcow2\"/><source file=\"/s/mid.qcow2\"/>"
                "<backingStore type=\"file\"><format type=\"qcow2\"/><source file=\"/s/base.qcow2\"/>"
                "<backingStore/></backingStore></backingStore>");
    expect(out, "<source network=\"prod\"/>");
    expect(out, "<mac address=\"52:54:00:00:00:01\"/>");
    expect(out, "<source bridge=\"br0\"/>");
    expect(out, "<name>web &amp; \"mail\"</name>");
    g_assert_null(strstr(out, "emulator"));
    g_assert_null(strstr(out, "x.iso"));
    g_assert_null(strstr(out, "vnet7"));
    g_assert_null(strstr(out, "id=\"3\""));
}

static void expect_error(const char *definition, const TranslateDisk *disk, const char *network, int code,
                         const char *part)
{
    g_autoptr(GHashTable) networks = map(network, "prod");
    g_autoptr(GError) error = NULL;

    g_assert_null(translate_definition(definition, disk, 1, networks, &error));
    g_assert_error(error, NETMAP_ERROR, code);
    expect(error->message, part);
}

static void test_refuses(void)
{
    static const TranslateDisk VDB = {"vdb", CHAIN};
    static const char BOMB[] = "<!DOCTYPE d [<!ENTITY a 'x'>]><domain><devices>&a;</devices></domain>";
    static const char FILE_ENTITY[] = "<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"
                                      "<domain><devices>&a;</devices></domain>";

    expect_error(DOMAIN, &VDA, "other", NETMAP_ERROR_UNMAPPED,
                 "interface 52:54:00:00:00:01 is on network 'default'");
    expect_error(DOMAIN, &VDB, "default", NETMAP_ERROR_DISK, "disk vdb is replicated");
    expect_error("", &VDA, "default", NETMAP_ERROR_XML, "not a domain");
    expect_error("<domain/>", &VDA, "default", NETMAP_ERROR_XML, "not a domain");
    expect_error("<network><devices/></network>", &VDA, "default", NETMAP_ERROR_XML, "not a domain");
    expect_error("<domain><devices></domain>", &VDA, "default", NETMAP_ERROR_XML, "not a domain");
    expect_error(BOMB, &VDA, "default", NETMAP_ERROR_XML, "not a domain");
    expect_error(FILE_ENTITY, &VDA, "default", NETMAP_ERROR_XML, "not a domain");
}

/* What stands there twice leaves nothing of the other host behind. */
static void test_twice(void)
{
    static const char TWICE[] =
        "<domain><devices><emulator>/a</emulator><emulator>/b</emulator><disk type='block'>"
        "<source dev='/dev/vg/a'/><source dev='/dev/vg/b'/><target dev='vda'/></disk></devices></domain>";
    g_autoptr(GHashTable) networks = map("default", "prod");
    g_autoptr(GError) error = NULL;
    g_autofree char *text = translate_definition(TWICE, &VDA, 1, networks, &error);

    g_assert_no_error(error);
    g_assert_null(strstr(text, "/dev/vg"));
    g_assert_null(strstr(text, "emulator"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/netmap/translate/golden", test_golden);
    g_test_add_func("/netmap/translate/refuses", test_refuses);
    g_test_add_func("/netmap/translate/twice", test_twice);
    return g_test_run();
}
