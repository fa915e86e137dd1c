/* SPDX-License-Identifier: Apache-2.0 */
/* host_paths - where things are on this host, for workers and keepers alike.
 *
 * Borrowed strings, which outlive every thread. */
#pragma once

typedef struct {
    const char *libvirt_uri;
    const char *run_dir;          /* the engine's own, gone after a boot */
    const char *nbd_dir;          /* in it: sockets of backup jobs; QEMU's user may bind there */
    const char *scratch_dir;      /* scratch files of backup jobs */
    const char *guard_dir;        /* guard files, and … */
    const char *permit_dir;       /* … permits, for the start hook */
    const char *plan_dir;         /* what the active's side knows of plans */
    const char *store_dir;        /* copies, one folder for each VM */
    const char *restart_libvirtd; /* command line; "": nobody may do that */
} HostPaths;
