/* SPDX-License-Identifier: Apache-2.0 */
/* remedy - what a host says when a trial fails, and what its operator can do about it.
 *
 * Pure: texts in, texts out. libvirt's and QEMU's words are the only thing by which causes
 * can be told apart; what is not recognised here is reported as it was said. */
#pragma once

#include <glib.h>

/*    step     id in `host.trial`  */
#define TRIAL_STEPS(X)          \
    X(STORE, "trial-store")     \
    X(START, "trial-start")     \
    X(HOOK, "trial-hook")       \
    X(SCRATCH, "trial-scratch") \
    X(SOCKET, "trial-socket")   \
    X(BACKUP, "trial-backup")   \
    X(DEFINE, "trial-define")

typedef enum {
#define X(step, id) TRIAL_##step,
    TRIAL_STEPS(X)
#undef X
} TrialStep;

const char *trial_step_id(TrialStep step);

/* What is known of the host. All borrowed. */
typedef struct {
    const char *store_dir;
    const char *scratch_dir;
    const char *nbd_dir;
    const char *qemu_user; /* NULL: not known */
    const char *security;  /* "apparmor", "selinux" or "none" */
} RemedyHost;

/* A failed backup job, told more exactly: by the folder that @words speak of. */
TrialStep remedy_blame(const RemedyHost *host, TrialStep step, const char *words);

/* The folder of @step that QEMU works in; NULL: none. */
const char *remedy_folder(const RemedyHost *host, TrialStep step);

/* The next step, without a final stop; NULL: not recognised. @barrier (NULL: none) is the first folder on the
 * way to that of @step where QEMU's user may not do what it must. The caller frees. */
char *remedy_for(const RemedyHost *host, TrialStep step, const char *words, const char *barrier);
