/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/outer.h"

#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#define ASKS_PROCESSOR TRUE
#define GUEST_BIT (1u << 31)      /* of leaf 1, in ECX: no processor sets it by itself */
#define SIGNATURE_LEAF 0x40000000 /* where hypervisors say who they are */
#else
#define ASKS_PROCESSOR FALSE
#endif

typedef struct {
    const char *sign;
    const char *word;
    gboolean sells_machines; /* whole ones, too, of which the firmware says the same */
} Sign;

static const Sign SIGNATURES[] = {
    {"KVMKVMKVM", "kvm"},       {"Linux KVM Hv", "kvm"},       {"TCGTCGTCGTCG", "qemu"},
    {"VMwareVMware", "vmware"}, {"Microsoft Hv", "microsoft"}, {"XenVMMXenVMM", "xen"},
    {"bhyve bhyve ", "bhyve"},  {"QNXQVMBSQG", "qnx"},         {"ACRNACRNACRN", "acrn"},
    {"SRESRESRESRE", "sre"},    {"VBoxVBoxVBox", "oracle"},
};

/* As makers and products begin. */
static const Sign FIRMWARE[] = {
    {"KVM", "kvm"},
    {"QEMU", "qemu"},
    {"VMware", "vmware"},
    {"VMW", "vmware"},
    {"innotek GmbH", "oracle"},
    {"VirtualBox", "oracle"},
    {"Xen", "xen"},
    {"Bochs", "bochs"},
    {"Parallels", "parallels"},
    {"BHYVE", "bhyve"},
    {"Hyper-V", "microsoft"},
    {"Virtual Machine", "microsoft"},
    {"Apple Virtualization", "apple"},
    {"OpenStack", "kvm"},
    {"Amazon EC2", "amazon", TRUE},
    {"Google", "google", TRUE},
};

static const Sign TREE[] = {{"linux,kvm", "kvm"}, {"xen", "xen"}, {"vmware", "vmware"}};

static const Sign *find(const Sign *signs, gsize n, const char *text)
{
    for (gsize i = 0; text && i < n; i++)
        if (g_str_has_prefix(text, signs[i].sign))
            return &signs[i];
    return NULL;
}

static const char *of_processor(const OuterSigns *s)
{
    const Sign *known = find(SIGNATURES, G_N_ELEMENTS(SIGNATURES), s->signature);

    return !s->is_guest ? "" : known ? known->word : "unknown";
}

/* One that hides itself from the guest's processor is still named here. */
static const char *of_firmware(const OuterSigns *s)
{
    const Sign *known = find(FIRMWARE, G_N_ELEMENTS(FIRMWARE), s->maker);

    if (!known)
        known = find(FIRMWARE, G_N_ELEMENTS(FIRMWARE), s->product);
    if (!known || (known->sells_machines &&
                   (s->asks_processor || (s->product && g_str_has_suffix(s->product, ".metal")))))
        return "";
    return known->word;
}

static const char *of_tree(const OuterSigns *s)
{
    const Sign *known = find(TREE, G_N_ELEMENTS(TREE), s->tree);

    return !s->tree ? "" : known ? known->word : "unknown";
}

/* Its second level names the hypervisor; without one it is a partition of the machine's own firmware. */
static const char *of_machine(const OuterSigns *s)
{
    const char *program = s->machine ? strstr(s->machine, "VM00 Control Program:") : NULL;

    return !program ? "" : strstr(program, "KVM/") ? "kvm" : "zvm";
}

/* Xen's first domain has the machine, and its clock. */
static gboolean is_first_domain(const OuterSigns *s)
{
    return s->domain && strstr(s->domain, "control_d") != NULL;
}

const char *outer_of(const OuterSigns *s)
{
    const char *const SAID[] = {of_processor(s), of_firmware(s), of_tree(s), of_machine(s)};

    for (guint i = 0; !is_first_domain(s) && i < G_N_ELEMENTS(SAID); i++)
        if (*SAID[i])
            return SAID[i];
    return "";
}

/* --- this machine -------------------------------------------------------- */

static void ask_processor(OuterSigns *s, char *signature)
{
#if ASKS_PROCESSOR
    guint a, b, c, d;

    s->is_guest = __get_cpuid(1, &a, &b, &c, &d) && (c & GUEST_BIT);
    if (!s->is_guest)
        return;
    __cpuid(SIGNATURE_LEAF, a, b, c, d);
    memcpy(signature, &b, 4);
    memcpy(signature + 4, &c, 4);
    memcpy(signature + 8, &d, 4);
    s->signature = signature;
#else
    (void)s;
    (void)signature;
#endif
}

static char *text_of(const char *path)
{
    char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? g_strchomp(text) : NULL;
}

const char *outer_here(void)
{
    g_autofree char *maker = text_of("/sys/class/dmi/id/sys_vendor");
    g_autofree char *product = text_of("/sys/class/dmi/id/product_name");
    g_autofree char *tree = text_of("/proc/device-tree/hypervisor/compatible");
    g_autofree char *machine = text_of("/proc/sysinfo");
    g_autofree char *domain = text_of("/proc/xen/capabilities");
    char signature[13] = "";
    OuterSigns signs = {.asks_processor = ASKS_PROCESSOR,
                        .maker = maker,
                        .product = product,
                        .tree = tree,
                        .machine = machine,
                        .domain = domain};

    ask_processor(&signs, signature);
    return outer_of(&signs);
}
