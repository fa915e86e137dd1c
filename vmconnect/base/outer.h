/* SPDX-License-Identifier: Apache-2.0 */
/* outer - is this machine a VM itself, and of which hypervisor?
 *
 * What a processor says is taken before what the firmware does: that keeps its maker's name where a cloud sells whole machines. A
 * container is no VM, its host is asked. Signs and words are those of systemd-detect-virt(1). */
#pragma once

#include <glib.h>

/* What can be seen; each text may be NULL, as of a file that is not there. */
typedef struct {
    gboolean asks_processor; /* this kind of processor can say it */
    gboolean is_guest;       /* it says so */
    const char *signature;   /* and who its hypervisor is: "KVMKVMKVM" */
    const char *maker;       /* /sys/class/dmi/id/sys_vendor */
    const char *product;     /* /sys/class/dmi/id/product_name */
    const char *tree;        /* /proc/device-tree/hypervisor/compatible */
    const char *machine;     /* /proc/sysinfo, of s390x */
    const char *domain;      /* /proc/xen/capabilities */
} OuterSigns;

/* "kvm", "vmware", …, "unknown" for one without a known name; "" if it is none. Static. */
const char *outer_of(const OuterSigns *signs);

/* The same of this machine. */
const char *outer_here(void);
