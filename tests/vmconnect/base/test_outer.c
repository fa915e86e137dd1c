/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/outer.h"

#include <string.h>

static void test_signs(void)
{
    static const struct {
        const char *what, *word;
        OuterSigns signs;
    } CASES[] = {
        {"nothing can be seen", "", {0}},
        {"a machine of its own",
         "",
         {.asks_processor = TRUE, .maker = "Dell Inc.", .product = "PowerEdge R650"}},
        {"a guest of KVM", "kvm", {.asks_processor = TRUE, .is_guest = TRUE, .signature = "KVMKVMKVM"}},
        {"a guest of VMware",
         "vmware",
         {.asks_processor = TRUE, .is_guest = TRUE, .signature = "VMwareVMware", .maker = "VMware, Inc."}},
        {"a guest of nobody that is known",
         "unknown",
         {.asks_processor = TRUE, .is_guest = TRUE, .signature = "            "}},
        {"one whose processor is silent",
         "qemu",
         {.asks_processor = TRUE, .maker = "QEMU", .product = "Standard PC (Q35 + ICH9, 2009)"}},
        {"a whole machine of a cloud", "", {.asks_processor = TRUE, .maker = "Google"}},
        {"the same where processors cannot say it", "google", {.maker = "Google"}},
        {"a whole one that says so", "", {.maker = "Amazon EC2", .product = "c7g.metal"}},
        {"part of one", "amazon", {.maker = "Amazon EC2", .product = "c7g.large"}},
        {"a guest by its product",
         "microsoft",
         {.maker = "Microsoft Corporation", .product = "Virtual Machine"}},
        {"a laptop of the same maker", "", {.maker = "Microsoft Corporation", .product = "Surface Laptop"}},
        {"a device tree", "kvm", {.tree = "linux,kvm"}},
        {"a device tree of somebody", "unknown", {.tree = "acme,hv"}},
        {"a partition of a mainframe", "", {.machine = "LPAR Number: 7\nLPAR Name: L7"}},
        {"a guest on it", "kvm", {.machine = "VM00 Control Program: KVM/Linux"}},
        {"a guest of Xen", "xen", {.is_guest = TRUE, .signature = "XenVMMXenVMM", .domain = ""}},
        {"Xen's own first domain",
         "",
         {.is_guest = TRUE, .signature = "XenVMMXenVMM", .domain = "control_d\n"}},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_test_message("%s", CASES[i].what);
        g_assert_cmpstr(outer_of(&CASES[i].signs), ==, CASES[i].word);
    }
}

/* The kernel shows the processor's word to everybody. */
static void test_here(void)
{
    g_autofree char *cpuinfo = NULL;

    if (!g_file_get_contents("/proc/cpuinfo", &cpuinfo, NULL, NULL) || !strstr(cpuinfo, "\nflags\t\t:")) {
        g_test_skip("this kind of processor has no such flag");
        return;
    }
    if (strstr(cpuinfo, " hypervisor ") || strstr(cpuinfo, " hypervisor\n"))
        g_assert_cmpstr(outer_here(), !=, "");
    else
        g_test_skip("this is no VM, or one that hides it");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/outer/signs", test_signs);
    g_test_add_func("/outer/here", test_here);
    return g_test_run();
}
