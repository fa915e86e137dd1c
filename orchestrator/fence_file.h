/* SPDX-License-Identifier: Apache-2.0 */
/* fence_file - by what a host is switched off: a program of fence-agents, and what that is told.
 *
 * /etc/understudy/fence/HOST on the controller's machine:
 *
 *   # the management board of alpha
 *   agent=/usr/sbin/fence_ipmilan
 *   ip=10.0.9.11
 *   username=understudy
 *   password=…
 *
 * What follows the agent is the agent's own, and passed through. The file has secrets, and who can write it can have this machine run a program:
 * so it is root's or the controller's, nobody else reads it, and the agent is root's. */
#pragma once

#include <glib.h>

#define FENCE_FOLDER "/etc/understudy/fence"

typedef struct {
    char *agent;
    char *told;         /* "key=value\n" each */
    GPtrArray *secrets; /* char *: what is in no log */
} FenceFile;

/* Is one there, good or not? */
gboolean fence_file_exists(const char *folder, const char *host);
/* NOT_FOUND, REFUSED: others have a hand in it; USAGE: not of that shape. What is wrong is said without what stands there. */
FenceFile *fence_file_read(const char *folder, const char *host, GError **error);
void fence_file_free(FenceFile *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FenceFile, fence_file_free)

/* What its agent said, for a log; of what @is_cut the end is left out, which may be the beginning of a secret. The caller frees. */
char *fence_file_hide(const FenceFile *f, const char *said, gboolean is_cut);
