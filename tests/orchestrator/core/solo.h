/* SPDX-License-Identifier: Apache-2.0 */
/* solo - one plan, walked step by step with whatever answers a test gives, without runner or journal. */
#pragma once

#include "orchestrator/core/plan.h"
#include "world.h"

#define OPTIONS ((PlanOptions){.id = {{0x77}}, .reign = {{0x88}}})

typedef struct {
    World *w;
    Plan *plan;
    ActionList *out;
} Solo;

/* In good order, of web1 (… web@vms), and begun. */
void solo_init(Solo *solo);
void solo_init_with(Solo *solo, guint vms);
void solo_clear(Solo *solo);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Solo, solo_clear)

/* One that must be possible. */
Plan *solo_plan(World *w, PlanOptions options);

/* What is decided is in @out, and what was decided before is not. */
void solo_do(Solo *solo, PlanEvent ev);
/* Of web1; @json: the result; NULL: a failure "no" with @code. */
void solo_answer(Solo *solo, const char *method, const char *json, int code);
void solo_tick(Solo *solo, gint64 now_ms);
/* The host's status is @json. */
void solo_says(Solo *solo, const char *host, const char *json);

/* The first. */
Move *solo_move(const Solo *solo);
guint solo_calls(const Solo *solo);
/* The last of what was decided, which is a call. */
const Action *solo_last_call(const ActionList *out);
/* How the protection is told that a VM moved; NULL: it is not. */
const Input *solo_told_moved(const ActionList *out);
/* Those of @out, appended to @records, which is returned. */
json_t *solo_records(const ActionList *out, json_t *records);
