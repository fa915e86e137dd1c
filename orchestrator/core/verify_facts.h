/* SPDX-License-Identifier: Apache-2.0 */
/* verify_facts - what the engines said, looked at by the checks of verify.c and verify_auto.c only. */
#pragma once

#include "orchestrator/core/verify.h"

/* What was asked, and what came of it. */
typedef struct {
    VerifyCall call;
    Id vm; /* that it was about; nil: none */
    const char
        *from;      /* of a way back: the replica that the VM would come from (borrowed); NULL: it is none */
    json_t *params; /* the call's */
    gboolean answered;
    json_t *said;    /* NULL: nothing of use */
    GError *failure; /* why not */
} Fact;

typedef struct {
    const char *host; /* borrowed from the scenario */
    Fact *info;
    Fact *vms;
    Fact *trial;  /* NULL: it is not tried out */
    Fact *seed;   /* NULL: there is none to ask about */
    Fact *routes; /* to the others' addresses; NULL: nothing switches over by itself */
    gboolean has_fence;
    GHashTable *by_uuid; /* Id * -> json_t *, borrowed from what vm.list said; NULL: not yet */
    gboolean has_clock;
    gint64 clock_offset_ms;
} HostFacts;

struct VerifyFacts {
    Scenario *scenario;
    GPtrArray *hosts;  /* HostFacts *, the master first; their facts are those of … */
    GPtrArray *checks; /* … Fact *, one a VM of the scenario, of … */
    GPtrArray *fits;   /* … Fact *, one a VM and replica, once they can be asked, and of … */
    GPtrArray *
        backs; /* … Fact *, of the master, one for each of these that said what the VM would be there, and of … */
    GPtrArray *all;                           /* … Fact *, in the order of the calls */
    char *machine_id, *boot_id, *system_uuid; /* of the controller; NULL: not known */
    gboolean one_way;                         /* of the way back nothing is asked */
    Mapping *in_force;                        /* what the standbys were told; NULL: nothing yet */
    Mapping *mapping; /* the scenario's, completed; NULL: not all of the first answers are there */
};

/* May a switchover begin by itself, and is that what is looked at? */
gboolean facts_want_auto(const VerifyFacts *f);

const HostFacts *facts_master(const VerifyFacts *f);
/* By what both say of themselves. */
gboolean facts_is_controllers(const VerifyFacts *f, const HostFacts *h);

/* A list that is there and sound wherever the host has said something; else empty. */
const json_t *facts_vms(const HostFacts *h);
/* Its networks and bridges, none if it has said nothing. The caller frees. */
Host *facts_places(const HostFacts *h);

const json_t *facts_find_vm(const HostFacts *h, Id uuid);
const json_t *facts_find_vm_named(const HostFacts *h, const char *name);

/* What the host's trial has found under @id: its text, or NULL. */
const char *facts_trial_problem(const HostFacts *h, const char *id);

/* A text member, "" if there is none. */
const char *fact_text(const json_t *object, const char *key);
