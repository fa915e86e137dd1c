/* SPDX-License-Identifier: Apache-2.0 */
/* rehearsal - one integrity test: VMs of one host's copies, booted together on a stage of their own.
 *
 * Its thread makes the stage and definitions, starts a stand-in for each VM, each when those that it starts after live, and ends
 * when they have. What it has to say comes as RehearsalNews to @reports. It knows no controller, changes no copy, and ends by
 * itself at its limit, whoever has gone away. */
#pragma once

#include "netmap/mapping.h"
#include "vmconnect/rehearse/stand_in.h"

typedef struct {
    Id test;
    gboolean manual;
    gint64 begun_ms; /* steady: when it was asked for */
    gint64 limit_ms; /* it ends at last after so long */
    gint64 boot_ms;
    char *here;         /* this engine's id */
    GPtrArray *vms;     /* of StandInSpec *, with free function */
    GPtrArray *after;   /* for each, GArray of Id: the VMs that it starts after */
    Mapping **mappings; /* for each: networks of its home and of this host */
    GPtrArray *hosts;   /* of char *: addresses of the others, which no guest may reach (outside.h) */
    /* Borrowed: */
    const char *libvirt_uri;
    RemainsSite remains;
    Room *room;
} RehearsalSpec;

void rehearsal_spec_free(RehearsalSpec *spec);

/* One of them is set. */
typedef struct {
    Id test;
    StandInWord *word;
    json_t *proof;  /* of isolation, when the stage is closed: {"probes", "counters"} */
    gboolean ended; /* the thread's last word: rehearsal_join() */
} RehearsalNews;

void rehearsal_news_free(RehearsalNews *news);

typedef struct Rehearsal Rehearsal;

/* Takes @spec, unless it returns NULL with @error: there is no thread or descriptor for it. */
Rehearsal *rehearsal_start(RehearsalSpec *spec, Mailbox *reports, GError **error);
/* All its VMs end, at once. Loop's thread. */
void rehearsal_stop(Rehearsal *r);
void rehearsal_join(Rehearsal *r);
