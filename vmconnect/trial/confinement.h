/* SPDX-License-Identifier: Apache-2.0 */
/* confinement - as whom libvirt runs QEMU on this host, what else holds it in, and where that user cannot go. */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>
#include <sys/types.h>

typedef struct {
    char *module; /* "apparmor", "selinux" or "none" */
    char *user;   /* name, or number without one; NULL: libvirt does not say, as all below */
    uid_t uid;
    gid_t gid;
} Confinement;

/* Ask libvirt, which may look at every QEMU for that. NULL with @error. */
Confinement *confinement_read(virConnectPtr conn, GError **error);
/* The same from virConnectGetCapabilities()'s text. NULL with @error USAGE. */
Confinement *confinement_parse(const char *xml, GError **error);
void confinement_free(Confinement *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Confinement, confinement_free)

/* May QEMU do @mode (R_OK, W_OK, X_OK) with @path itself? By its owner, groups and mode alone: only
 * reasons are looked for in this way, not permissions. TRUE when its user is not known. */
gboolean confinement_allows(const Confinement *c, const char *path, int mode);

/* The first folder on the way to @folder that QEMU may not pass, or @folder itself where it may not do
 * @mode; NULL: there is none. The caller frees. */
char *confinement_barrier(const Confinement *c, const char *folder, int mode);
