/* SPDX-License-Identifier: Apache-2.0 */
/* remark - what is to be said of a definition that goes to another host, as one table.
 *
 * An error is a reason why it cannot be defined or started there; a warning, something that does
 * not go along. The table has what is the same each time: id, severity, consequence, remedy. The
 * cause names the device, and is the remark's own. */
#pragma once

#include <glib.h>

/*    name             id                  severity consequence
 *    remedy */
#define NETMAP_REMARKS(X)                                                                                    \
    X(DISK_UNKNOWN, "disk-defined", WARNING, "the VM starts without it there, as it would at home",          \
      "attach it with --config, too, if it belongs to the VM")                                               \
    X(DISK_ELSEWHERE, "disk-there", ERROR, "the VM could not be started on the replica",                     \
      "put the image there under the same path, or detach the disk")                                         \
    X(DIRECT_IO, "disk-direct-io", ERROR, "the VM could not be started on the replica",                      \
      "put the store there on a file system that can do O_DIRECT (not tmpfs), or take cache='none' and "     \
      "io='native' out of the disk")                                                                         \
    X(NVDIMM, "memory-nvdimm", ERROR, "what it holds is not replicated, and would be lost",                  \
      "move its data to a disk, and detach it")                                                              \
    X(UNMAPPED, "network-mapped", ERROR, "the VM would come up without its network",                         \
      "map it: understudy scenario set SCENARIO --map FROM=TO")                                              \
    X(AMBIGUOUS, "network-ambiguous", ERROR, "it could land in the wrong network",                           \
      "name the interface itself: understudy scenario set SCENARIO --map mac:ADDRESS=TO")                    \
    X(NETWORK, "network-there", ERROR, "the VM could not be started on the replica",                         \
      "define and start the network there, with autostart, or map another")                                  \
    X(PORTGROUP, "portgroup-there", ERROR, "the VM would be without its VLAN and its limits",                \
      "define the port group there, or map it to another: --map NETWORK/GROUP=NETWORK/GROUP")                \
    X(VLAN, "vlan-kept", ERROR, "the VM would come up in another network",                                   \
      "map it to an Open vSwitch bridge, or say without a tag where it belongs: --map bridge:NAME@TAG=TO")   \
    X(FILTER, "filter-there", ERROR, "the VM could not be started on the replica",                           \
      "define the filter there: virsh nwfilter-define")                                                      \
    X(FILTER_LOST, "filter-kept", ERROR, "the VM would run without its filter",                              \
      "map it to a network or a bridge, or take the filter out")                                             \
    X(FUNCTION, "function-once", ERROR, "the VM could not be started on the replica",                        \
      "map each interface to a device of its own: --map mac:ADDRESS=hostdev:ADDRESS")                        \
    X(MAC, "mac-free", ERROR, "two machines with one address would disturb each other",                      \
      "give one of them another: --map mac:ADDRESS=,mac=new")                                                \
    X(DOMAIN_TYPE, "virtualization", ERROR, "the VM could not be started on the replica",                    \
      "enable virtualization there (firmware setup, kvm module, nested for a host that is a VM itself)")     \
    X(MACHINE, "machine-type", ERROR, "the VM could not be started on the replica",                          \
      "install the other host's QEMU or a newer one there, or change the VM's machine type to one that "     \
      "both "                                                                                                \
      "have")                                                                                                \
    X(CPU, "cpu-model", ERROR, "the VM could not be started on the replica",                                 \
      "choose a CPU model that both hosts have: virsh hypervisor-cpu-baseline")                              \
    X(FIRMWARE, "firmware-there", ERROR, "the VM could not boot on the replica",                             \
      "install the package with this firmware there (ovmf, qemu-efi-aarch64)")                               \
    X(BOOT_FILE, "boot-file", ERROR, "the VM could not be started on the replica",                           \
      "put the file there under the same path")                                                              \
    X(TPM, "tpm-there", ERROR, "the VM could not be started on the replica",                                 \
      "install swtpm and swtpm-tools there, and restart libvirtd")                                           \
    X(MEMORY, "memory-fits", ERROR, "the VM could not be started on the replica",                            \
      "add memory there, or give the VM less")                                                               \
    X(PAGES, "hugepages-there", ERROR, "the VM could not be started on the replica",                         \
      "reserve as many huge pages there, at boot")                                                           \
    X(CPUS, "cpus-enough", WARNING, "it runs slower there", "see that you can live with it")                 \
    X(MEDIA, "media-there", WARNING, "the drive is empty on the replica, and full again at home",            \
      "put the image there under the same path, or eject it")                                                \
    X(HOSTDEV, "host-device", WARNING,                                                                       \
      "the guest does not have it on the replica, and has it again at home",                                 \
      "map a PCI device to one there: --map hostdev:ADDRESS=hostdev:ADDRESS")                                \
    X(AS_IS, "interface-as-is", WARNING, "it is taken over as it is",                                        \
      "see that the replica has what it names, or map it: --map mac:ADDRESS=TO")                             \
    X(CARD, "interface-card", WARNING, "the guest finds another network card there",                         \
      "prepare its network settings for both cards")                                                         \
    X(LISTEN, "graphics-listen", WARNING,                                                                    \
      "on the replica the screen is reached through the host itself only",                                   \
      "let it listen on 0.0.0.0, or on a network that is mapped")                                            \
    X(CONSOLE, "console-file", WARNING, "on the replica nothing is written to it", "make its folder there")  \
    X(FOLDER, "folder-shared", WARNING, "what it holds is not replicated",                                   \
      "keep such data on a disk, or copy the folder by other means")                                         \
    X(PINNING, "cpu-pinning", WARNING, "on the replica the VM runs unpinned, and pinned again at home",      \
      "see that you can live with it")                                                                       \
    X(EMULATOR, "emulator-there", WARNING, "on the replica it runs with another QEMU",                       \
      "install the same one there")                                                                          \
    X(COMMAND_LINE, "qemu-commandline", WARNING, "they are taken over as they are",                          \
      "see that what they name is there on the replica")                                                     \
    X(LABEL, "security-label", WARNING, "on the replica it runs with the host's own label",                  \
      "see that you can live with it")                                                                       \
    X(SEALED, "launch-security", WARNING, "it starts only on a host with the same kind of processor",        \
      "try a switchover before you rely on it")                                                              \
    X(SECRET, "secret-there", WARNING, "the VM starts on the replica only if libvirt there has that secret", \
      "define it there with the same UUID: virsh secret-define, secret-set-value")

typedef enum {
#define X(name, id, severity, consequence, remedy) REMARK_##name,
    NETMAP_REMARKS(X)
#undef X
        REMARKS
} RemarkKind;

typedef enum { REMARK_WARNING, REMARK_ERROR } RemarkSeverity;

/* A row of the table; all strings are static. */
typedef struct {
    const char *id;
    RemarkSeverity severity;
    const char *consequence;
    const char *remedy;
} RemarkRow;

const RemarkRow *remark_row(RemarkKind kind);
/* The row of that id, or NULL. */
const RemarkRow *remark_find(const char *id);

typedef struct {
    RemarkKind kind;
    char *cause;
} Remark;

/* A list of Remark *, with free function. */
GPtrArray *remarks_new(void);
void remarks_add(GPtrArray *remarks, RemarkKind kind, const char *format, ...) G_GNUC_PRINTF(3, 4);
guint remarks_errors(const GPtrArray *remarks);
/* All errors in one line, "; " between them. The caller frees. */
char *remarks_text(const GPtrArray *remarks);
