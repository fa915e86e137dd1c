/* SPDX-License-Identifier: Apache-2.0 */
/* verify_parts - what a check is made of. Private to verify.c and verify_auto.c. */
#pragma once

#include "orchestrator/core/verify_facts.h"

typedef struct Check Check;

typedef struct {
    const VerifyFacts *facts;
    const Check *check;
    GPtrArray *findings;
} Report;

struct Check {
    const char *id;
    FindingSeverity severity;
    gboolean bars_move;
    void (*look)(Report *r);
    const char *consequence;
    const char *remedy;
    gboolean bars_auto;
};

/* One more finding of the check that looks. */
void verify_found(Report *r, const char *host, const char *vm, const char *format, ...) G_GNUC_PRINTF(4, 5);

#define EACH_HOST(r, h, first)                                  \
    for (guint h_ = (first); h_ < (r)->facts->hosts->len; h_++) \
        for (const HostFacts *h = (r)->facts->hosts->pdata[h_]; h; h = NULL)
#define EACH_VM(r, vm)                                            \
    for (guint v_ = 0; v_ < (r)->facts->scenario->vms->len; v_++) \
        for (const ScenarioVm *vm = (r)->facts->scenario->vms->pdata[v_]; vm; vm = NULL)

/* Why it has said nothing at all, which is a finding of its own; NULL: it has. */
const GError *verify_silence_of(const HostFacts *h);

/* The checks of a scenario that may switch over by itself. */
void verify_auto(Report *r);

/* For docs/verification.md. */
void verify_write_row(GString *text, const char *id, FindingSeverity severity, gboolean bars_move,
                      const char *consequence, const char *remedy);
void verify_auto_catalogue(GString *text);
