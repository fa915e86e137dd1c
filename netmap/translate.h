/* SPDX-License-Identifier: Apache-2.0 */
/* translate - a domain's definition, rewritten for the host that takes it over.
 *
 * Pure: XML and facts in; XML, or every reason why not, and what does not go along out. No I/O, no
 * libvirt. https://libvirt.org/formatdomain.html
 *
 * Kept: name, UUID, MAC addresses (unless a rule says otherwise), boot order, guest addresses, all that this does
 * not know. Changed: disks name their chain of files explicitly, with a format on each level; interfaces are
 * plugged into what their place is mapped to; paths, addresses and devices of the host are those of the
 * other one. What was changed is remembered (home.h), so that the way back restores it. */
#pragma once

#include "netmap/host.h"
#include "netmap/mapping.h"
#include "netmap/remark.h"

#include <glib.h>

typedef struct {
    const char *target;         /* vda */
    const char *const *files;   /* absolute paths, top to bottom; ends with NULL */
    const char *const *formats; /* one for each; NULL: all are qcow2 */
} TranslateDisk;

/* What libvirt of the host says of the guest's processor (virConnectCompareHypervisorCPU). */
typedef enum { CPU_NOT_ASKED, CPU_FITS, CPU_DOES_NOT_FIT } CpuAnswer;

typedef struct {
    /* Id of the host that it leaves; NULL: not known, then the way back restores less. That of @to: it is defined there
     * already, and only its disks and its variable store are others. */
    const char *from;
    const Host *to;         /* the host that takes it */
    const Mapping *mapping; /* read from … */
    MapColumn from_column;
    MapColumn to_column; /* … to */
    const TranslateDisk *disks;
    guint n_disks;
    const char
        *nvram; /* where the variable store lies there; NULL: where it was, at home; else libvirt makes one */
    CpuAnswer cpu;
} TranslateInput;

/* The definition for @in->to, the caller frees; NULL if @ret_remarks holds an error, or with @error XML and no
 * remarks for what is no definition. @ret_remarks (of Remark *) is set in every case, the caller unrefs. */
char *translate_definition(const char *definition, const TranslateInput *in, GPtrArray **ret_remarks,
                           GError **error);

/* What to ask libvirt of the guest's processor. */
typedef struct {
    char *type;     /* kvm, qemu */
    char *arch;     /* NULL: not said */
    char *machine;  /* NULL: not said */
    char *emulator; /* NULL: libvirt's choice */
    char *cpu;      /* the <cpu> element as text; NULL: there is nothing to ask */
} CpuQuestion;

void cpu_question_clear(CpuQuestion *q);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CpuQuestion, cpu_question_clear)
gboolean translate_cpu_question(const char *definition, CpuQuestion *ret_question, GError **error);
