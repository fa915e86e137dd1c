/* SPDX-License-Identifier: Apache-2.0 */
/* seed - copies of a VM's disks that somebody brought to the standby's host, for its first generation.
 *
 * Images in a folder, on a removable medium as a rule, which may be from anywhere: they are only read, by a storage
 * daemon of their own, never become part of a chain, and are let go with the seed. Which disk an image is of, its
 * name says:
 *
 *   VM/TARGET.qcow2   VM-TARGET.qcow2   the name that the image has on the active's host
 *
 * The first two also end in .raw, .img or nothing, which stands for raw: what is in a file is never guessed from it.
 * Of two that fit none is taken, nor anything but a regular file that is complete in itself. Nothing here is an
 * error: what cannot be used is told, and is sent as a whole.
 *
 * One thread, with which the storage daemon ends. Opening blocks, for ever on a dead mount; reading is the sower's. */
#pragma once

#include "vmconnect/image/nbd.h"

#include <glib.h>
#include <jansson.h>

typedef struct Seed Seed;

typedef struct {
    const char *dir;
    const char *vm; /* its name */
    const char *
        run_dir; /* for the storage daemon; NULL: none is started, it is only looked what could be used, as far as names and heads tell */
    const char *lost; /* as seed_lost() of a former one said: nothing is opened; NULL */
} SeedPlace;

/* Look for images of the disks in @images (as Attach has them), and open what is sound. Never NULL. */
Seed *seed_open(const SeedPlace *place, const json_t *images);
void seed_close(Seed *seed);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Seed, seed_close)

/* {TARGET: bytes}, of what can be used, in whole blocks (MESSAGE_BLOCK); borrowed. */
const json_t *seed_sizes(const Seed *seed);
/* What cannot be used, and why, for the operator; NULL: nothing. Borrowed. */
const char *seed_why(const Seed *seed);

/* So much of @target, 0 if it is not there. */
guint64 seed_bytes(const Seed *seed, const char *target);

/* A connection to an image, with a metadata context (nbd.h) or NULL; the caller's, to be closed before the seed. */
NbdDisk *seed_connect(const Seed *seed, const char *target, const char *context, GError **error);

/* It cannot be read any more, @why. */
void seed_lose(Seed *seed, const char *why);
/* A sentence for the operator, NULL: not lost. */
const char *seed_lost(const Seed *seed);

/* Whoever reads from it says when he ends whether anything came: one that gives nothing for some time is lost. */
void seed_judge(Seed *seed, gboolean fruitful);
