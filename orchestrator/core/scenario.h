/* SPDX-License-Identifier: Apache-2.0 */
/* scenario - a named protection: which VMs, from which host to which, how.
 *
 * The document that an operator writes, exports and imports; what became of
 * it (who is active now, in which state) is protection.h. One schema for
 * command line, REST and files:
 *
 *   {"format": 1, "name": "web", "master": "alpha", "replicas": ["beta"],
 *    "vms": [{"uuid": "…", "name": "web1", "checks": [{"kind": "tcp", "address": "10.0.0.5", "port": 80}], "need": "any",
 *             "after": ["db1"], "gate": "probe", "test_checks": ["agent", "http:80/ expect web1"]}, …],
 *    "map": {"default": "office,test=lab"}, "policy": {"interval": "5s", …}}
 *
 * The texts of "map" are netmap/mapping.h's. "map" and "policy" may be left out, and "checks" (vmconnect/base/check.h; none: its agent, if it has one), "need", "after" and "gate" of a VM (start_order.h, gate.h) and "test_checks" (vmconnect/base/exam.h; none: the defaults of a test); unknown keys are refused everywhere. */
#pragma once

#include "netmap/mapping.h"
#include "orchestrator/core/gate.h"
#include "orchestrator/core/policy.h"
#include "vmconnect/base/check.h"
#include "vmconnect/base/id.h"

#include <glib.h>
#include <jansson.h>

#define SCENARIO_FORMAT 1
#define SCENARIO_MAX_BYTES (1024 * 1024) /* of a document */
#define SCENARIO_MAX_VMS 2000
#define SCENARIO_MAX_NAME 63

typedef struct {
    Id uuid;
    char *name;        /* as libvirt has it: any text; for people, the UUID identifies */
    GPtrArray *checks; /* of CheckSpec *: how to see that it lives; empty: by its agent, if it has one */
    gboolean need_all; /* one that is missed is enough; else all must be */
    GArray *after;     /* of Id: VMs of the scenario that it starts after, and is shut down before */
    Gate gate;         /* what must be true of it before those that start after it do */
    json_t *exams;     /* array of texts: what it must show in an integrity test; NULL: nothing was said */
} ScenarioVm;

typedef struct {
    char *name;
    char *master;
    GPtrArray *replicas; /* char *, in the order of priority */
    GPtrArray *vms;      /* ScenarioVm * */
    Mapping *map;        /* which network stands for which */
    Policy policy;
} Scenario;

/* No VMs, no replicas, no map, default policy. Nothing is checked yet. */
Scenario *scenario_new(const char *name, const char *master);
Scenario *scenario_copy(const Scenario *s);
void scenario_free(Scenario *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Scenario, scenario_free)

void scenario_add_replica(Scenario *s, const char *host);
/* Borrowed from @s. */
ScenarioVm *scenario_add_vm(Scenario *s, Id uuid, const char *name);
/* How each VM that both have is looked after: its checks, those of its tests, its start order and gate. */
void scenario_set_rules(Scenario *s, const Scenario *from);
/* All of @from's, instead of those there are. */
void scenario_set_map(Scenario *s, const Scenario *from);

const ScenarioVm *scenario_find_vm(const Scenario *s, Id uuid);
/* By its UUID, or by a name that no other of them has; borrowed. NULL with @error USAGE. */
ScenarioVm *scenario_mean_vm(const Scenario *s, const char *meant, GError **error);
gboolean scenario_has_host(const Scenario *s, const char *host);

/* Scenario and host names: a letter or digit, then letters, digits, '.', '_', '-';
 * at most SCENARIO_MAX_NAME characters. @what ("scenario", "host") is for the message. USAGE. */
gboolean scenario_name_check(const char *what, const char *name, GError **error);

/* Is the document sound in itself? USAGE: names, no VM, a VM twice, master among
 * the replicas, properties that do not go together; UNSUPPORTED: more than one replica, which this version does not serve. */
gboolean scenario_check(const Scenario *s, GError **error);

/* …and beside the @others (Scenario *)? EXISTS: the name is taken, or one of its
 * VMs is in another scenario. An entry named like @s is skipped when @replacing. */
gboolean scenario_check_beside(const Scenario *s, const GPtrArray *others, gboolean replacing,
                               GError **error);

/* May @from be replaced by @to now? Hosts, VMs, map and name only while stopped; the
 * policy as its table says, checks of both kinds and start order always. REFUSED with the key and when it may change. */
gboolean scenario_may_become(const Scenario *from, const Scenario *to, PolicyMoment moment, GError **error);

/* Change @s as a PATCH says: {"policy": {KEY: VALUE}, "map": {FROM: TO}, "vms": {VM: {"checks", "need", "after": [VM], "gate",
 * "test_checks"}}}, each may be left out; values are texts, a VM is a name or UUID, a TO of null takes the mapping out, an empty list of either checks
 * leaves it to the default. USAGE, and then @s may be half changed. */
gboolean scenario_patch(Scenario *s, const json_t *patch, GError **error);

/* The document. Reading includes scenario_check(); a "format" above ours is UNSUPPORTED. */
json_t *scenario_to_json(const Scenario *s);
Scenario *scenario_from_json(const json_t *doc, GError **error);
/* From a file's bytes, whole. */
Scenario *scenario_parse(const char *text, gsize len, GError **error);
