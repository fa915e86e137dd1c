/* SPDX-License-Identifier: Apache-2.0 */
/* lease_writer - keeps the start hook's file of leases (lease_file.h) as things are.
 *
 * The clerk writes it whole, one at a time, and once for all that has changed meanwhile. What could not be written is tried again after a second. Loop
 * thread only. */
#pragma once

#include "vmconnect/loop/clerk.h"

#include <glib.h>
#include <uv.h>

typedef struct LeaseWriter LeaseWriter;

typedef struct {
    /* What it is to say now: LeaseEntry. The writer unrefs. */
    GArray *(*entries)(void *user);
    /* It says what there is now. */
    void (*on_written)(void *user);
} LeaseWriterEvents;

/* @events is static, @clerk borrowed. */
LeaseWriter *lease_writer_new(uv_loop_t *loop, Clerk *clerk, const LeaseWriterEvents *events, void *user);
/* Nothing was written before. */
void lease_writer_begin(LeaseWriter *w);
/* Nothing is written any more but what the clerk has, and no event comes. */
void lease_writer_close(LeaseWriter *w);
/* When loop and clerk are through. NULL is accepted. */
void lease_writer_free(LeaseWriter *w);

/* It is another by now: the number of that change … */
guint64 lease_writer_change(LeaseWriter *w);
/* … and whether that is written. */
gboolean lease_writer_has(const LeaseWriter *w, guint64 change);
gboolean lease_writer_is_done(const LeaseWriter *w);
