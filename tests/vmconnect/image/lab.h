/* SPDX-License-Identifier: Apache-2.0 */
/* lab - a folder, a storage daemon and the handles that image tests play with.
 *
 * Every helper asserts: a test reads as what should happen. */
#pragma once

#include "vmconnect/image/export.h"
#include "vmconnect/image/nbd.h"
#include "vmconnect/image/node.h"
#include "vmconnect/image/storage_daemon.h"

#include <glib.h>

#define LAB_TIMEOUT_MS 30000
#define KIB 1024ULL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

typedef struct {
    char *dir;
    char *run_dir;
    StorageDaemon *daemon;
} Lab;

/* A folder of its own, and a daemon if asked for. */
void lab_init(Lab *lab, gboolean with_daemon);
void lab_clear(Lab *lab);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Lab, lab_clear)

/* "NAME" inside the lab's folder. The caller frees. */
char *lab_path(const Lab *lab, const char *name);

/* Create and open an image named NAME, recorded on BACKING (or NULL). The node's name; the caller frees. */
char *lab_create(Lab *lab, const char *name, const char *backing, guint64 size);

/* Connect to an export with a context (or NULL). */
NbdDisk *lab_connect(const char *socket, const char *name, const char *context);
NbdDisk *lab_export(Lab *lab, const char *name, const char *node, const char *context);

/* Write @len bytes of @value, read and compare, zero; each waits for its end. */
void lab_write(NbdDisk *disk, guint64 offset, gsize len, guint8 value);
void lab_zero(NbdDisk *disk, guint64 offset, guint64 len);
void lab_expect(NbdDisk *disk, guint64 offset, gsize len, guint8 value);
void lab_flush(NbdDisk *disk);

/* Run a program to its end; it must succeed. */
#define lab_run(...) lab_run_argv((const char *const[]){__VA_ARGS__, NULL})
void lab_run_argv(const char *const *argv);

/* What @path reads as, through its own header, must be @value (qemu-io's read -P). */
void lab_expect_file(const char *path, guint64 offset, gsize len, guint8 value);

/* Bytes that a file takes on its file system. */
guint64 lab_file_bytes(const char *path);
