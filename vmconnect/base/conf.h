/* SPDX-License-Identifier: Apache-2.0 */
/* conf - a daemon's configuration file: one GKeyFile group, every key known.
 *
 * A program has one table of keys; the file may set any of them, an unknown
 * key or group is an error that names it, and a key not set has its default.
 * The man pages are compared with the tables by a test. */
#pragma once

#include <glib.h>

typedef struct {
    const char *key;
    const char *fallback; /* NULL: no default, conf_get() may answer NULL */
    const char *help;     /* one line, as the man page has it */
} ConfKey;

typedef struct Conf Conf;

/* Read group @group of the file at @path; @keys ends with a NULL key. A file
 * that is not there counts as empty. NULL with @error USAGE (the line or key) or IO. */
Conf *conf_load(const char *path, const char *group, const ConfKey *keys, GError **error);
void conf_free(Conf *conf);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Conf, conf_free)

/* The value of a key of the table, or its default; borrowed. Any other key is a bug. */
const char *conf_get(const Conf *conf, const char *key);
