/* SPDX-License-Identifier: Apache-2.0 */
/* isolate - the definition of an integrity test's VM, made of a replica's.
 *
 * Pure: XML in, XML out. In goes a definition that is for this host already (translate.h), each disk with its whole
 * chain of files, a throw-away overlay on top. Out comes a new document, into which only what is
 * known to be harmless was copied (isolate_rules.c): the guest finds the hardware that it knows, and nothing of it
 * reaches the host, its networks or its devices. A device, or a part of the domain, that is not known is refused by its name; what is not known inside of one is not copied.
 * https://libvirt.org/formatdomain.html
 *
 * Not the guest's own: name and UUID (the SMBIOS UUID with it, since libvirt wants them equal), generation id, media in
 * its drives, what is on the other side of its interfaces, ports and screen. */
#pragma once

#include <glib.h>

/* What a network interface may be called. */
#define ISOLATE_TAP_MAX 15

/* All paths are absolute, without a slash at their end. */
typedef struct {
    const char *name;   /* of the test's VM */
    const char *uuid;   /* its own */
    const char *vm;     /* UUID of the VM whose copy it is: for the mark */
    const char *folder; /* where the test's overlays lie: a disk whose top file is not below is refused */
    /* Unix socket of an NBD server that has, under its target's name, what each disk's top file lies on: all that it names below is
     * passed over. */
    const char *backing;
    /* Interface n of the test, from 0 in the order of @ret_nics, gets the tap PREFIXn, which libvirt makes. Not one
     * that libvirt takes for its own and renames: vnet…, macvtap…, macvlan…, vif…. */
    const char *tap_prefix;
    const char *graphics;    /* Unix socket of its screen (VNC), if it has a <video>; NULL: none */
    const char *console;     /* Unix socket of its first serial port, or else its first console; NULL: none */
    const char *console_log; /* what that says, in a file that starts anew; NULL: none */
    /* Its variable store; NULL: none, and if its firmware wants one libvirt makes one from its template. */
    const char *nvram;
} IsolateInput;

typedef struct {
    char *tap;
    char *mac;     /* NULL: the definition says none, libvirt will choose one */
    char *place;   /* place_format() of where it would be, were it no test; "": nowhere */
    gboolean down; /* its link is, by its definition: nothing will be heard of it */
} IsolatedNic;

/* The definition, the caller frees. @ret_nics: of IsolatedNic *; @ret_left_out: of char *, what the test's VM lacks,
 * each once and as a part of a sentence ("the vsock device"); the caller unrefs both, only on success. NULL with
 * @error XML: no definition, or UNSUPPORTED: the VM has what cannot be isolated. */
char *isolate_definition(const char *definition, const IsolateInput *in, GPtrArray **ret_nics,
                         GPtrArray **ret_left_out, GError **error);

/* A card in the definition of a test's VM as it runs that is none of @nics: somebody has attached it, and it may lead anywhere. As a part of a
 * sentence ("interface 52:54:00:12:34:56"), the caller frees; NULL: there is none. */
char *isolate_foreign_card(const char *definition, const GPtrArray *nics);

/* Does a definition, which anybody may have written, bear the mark of a test? @ret_vm (may be NULL): UUID of the
 * VM that it is a copy of, the caller frees.
 * FALSE for all that cannot be read (cut off, too large, no domain), or that has two marks or one without a UUID: TRUE may
 * excuse from a rule for VMs, FALSE never does. Who may define a VM may write a mark. */
gboolean isolate_is_marked(const char *definition, gsize len, char **ret_vm);
