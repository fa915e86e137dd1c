/* SPDX-License-Identifier: Apache-2.0 */
/* verify - can this scenario be run? Facts in, findings out.
 *
 * Facts are the answers of both engines to host.info, vm.list and host.trial, of the master's to vm.check of each VM, and
 * then, with the definitions that those brought, of the replica's to standby.check, and of the master's to the same with what they
 * would be on the replica: a rehearsal of the way there and of the way back; with switchover=auto also of each to host.routes. The checks are a
 * table, each with its severity, cause, consequence and remedy, and whether it bars a move (verify_move.h) or switchover=auto; those about what a definition becomes on the
 * replica are netmap/remark.h's. Errors block a run, warnings do not. */
#pragma once

#include "orchestrator/core/scenario.h"

#include <glib.h>
#include <jansson.h>

/* A fence excuses what would be an error without it. */
#define VERIFY_CLOCK_FENCED "host-clock-fenced"
#define VERIFY_GUEST_FENCED "guest-held-fenced"

typedef enum { FINDING_WARNING, FINDING_ERROR } FindingSeverity;

typedef struct {
    const char *id; /* static: "replica-space" */
    FindingSeverity severity;
    gboolean bars_move; /* the VM could not be started there, or whether it could is not known */
    gboolean bars_auto; /* nobody may switch over by itself meanwhile */
    const char *host;   /* borrowed from the facts; NULL: none */
    char *vm;           /* name; NULL: none */
    char *cause;
    const char *consequence; /* static */
    const char *remedy;      /* static */
} Finding;

typedef struct VerifyFacts VerifyFacts;

/* Facts about @scenario, none yet. @networks (NULL: it does not run): the map that its standbys were told when it was
 * run (verify_networks()), by which a switchover goes, whatever the hosts have become since. */
VerifyFacts *verify_facts_new(const Scenario *scenario, const json_t *networks);
/* Of the way there alone: what bars a move is asked, and no more. The master is not tried out, and not asked about
 * the way back; nor is the replica tried out if there is no time for that, @tried. */
VerifyFacts *verify_facts_new_one_way(const Scenario *way, const json_t *networks, gboolean tried);
void verify_facts_free(VerifyFacts *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VerifyFacts, verify_facts_free)

/* One call that gathers facts. */
typedef struct {
    const char *host;     /* borrowed from the facts */
    const char *method;   /* static */
    const json_t *params; /* borrowed; NULL: none */
} VerifyCall;

/* The machine that the controller runs on, as machine.h has it; "" for what it does not know. */
typedef struct {
    const char *machine_id;
    const char *boot_id;
    const char *system_uuid;
} VerifyMachine;

/* What the controller knows by itself: its own machine; and of a host how far its clock is from its own, where it is reached (the roster's
 * addresses, which the other hosts are asked about; before the first call is made), and that a fence is set for it: somebody
 * who switches it off, and says when it is. */
void verify_facts_set_machine(VerifyFacts *f, const VerifyMachine *controller);
void verify_facts_set_clock(VerifyFacts *f, const char *host, gint64 offset_ms);
void verify_facts_set_addresses(VerifyFacts *f, const char *host, const char *const *addresses);
void verify_facts_set_fence(VerifyFacts *f, const char *host);

guint verify_call_count(const VerifyFacts *f);
VerifyCall verify_call(const VerifyFacts *f, guint index);

/* Call @index was answered: @result, or @failure if it has none. Both stay the caller's.
 * A result that is not of its shape becomes a finding. More calls may follow from it: see how many there are now. */
void verify_facts_add(VerifyFacts *f, guint index, const json_t *result, const GError *failure);
/* Has every call been answered? */
gboolean verify_facts_complete(const VerifyFacts *f);

/* Of one VM as the master knows it: size of its disks, and what is allocated of them;
 * FALSE: it did not say. */
gboolean verify_vm_bytes(const VerifyFacts *f, Id vm, gint64 *ret_size_bytes, gint64 *ret_data_bytes);

/* Run the table. A GPtrArray of Finding *, which it owns; errors first. */
GPtrArray *verify_check(const VerifyFacts *f);
guint verify_errors(const GPtrArray *findings);

/* Why @host has not answered, NULL if it has. */
GError *verify_silence(const VerifyFacts *f, const char *host);

/* The scenario's map, completed where each side has one network, or one bridge (mapping_json.h). Sound if there
 * are no errors. */
json_t *verify_networks(const VerifyFacts *f);

/* NULL if there are no errors, else VERIFY with the first cause and how many more. */
GError *verify_failure(const GPtrArray *findings);
/* The same of those that bar switchover=auto alone. */
GError *verify_auto_failure(const GPtrArray *findings);
/* The same of those for which a takeover from @master would not work, or do harm: that it is sick itself is none of them, for then a
 * takeover is what its VMs need. */
GError *verify_takeover_failure(const GPtrArray *findings, const char *master);
/* Does something that a lease does not hold count on a fence? */
gboolean verify_rests_on_fence(const GPtrArray *findings);

/* The tables of checks as docs/verification.md has them. The caller frees. */
char *verify_catalogue_text(void);

/* {"errors": N, "warnings": N, "findings": [{"id", "severity": "error"|"warning", "host",
 * "vm", "cause", "consequence", "remedy"}]} */
json_t *verify_to_json(const GPtrArray *findings);
