/* SPDX-License-Identifier: Apache-2.0 */
/* gate - what must be true of a VM that was started before those that start after it may.
 *
 * As text, the same everywhere: "none" (it runs), "probe" (its checks pass, or its agent answers if it has none),
 * a duration ("30s": it has run for so long), or "probe+30s" (it has answered for so long). Only the words; who looks
 * whether they are true is plan_order.c, and protection_revive.c. */
#pragma once

#include <glib.h>

typedef struct {
    gboolean probe;
    gint64 delay_ms; /* since it answered, or without a probe since it runs; 0: none */
} Gate;

#define GATE_MAX_DELAY_MS 3600000

/* USAGE, and *@ret_gate is as it was. */
gboolean gate_parse(const char *text, Gate *ret_gate, GError **error);
/* What gate_parse() reads. The caller frees. */
char *gate_text(const Gate *gate);
/* "runs", "has answered its probe for 30s": after the name of a VM. The caller frees. */
char *gate_words(const Gate *gate);
gboolean gate_is_none(const Gate *gate);
