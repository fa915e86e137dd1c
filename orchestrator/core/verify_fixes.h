/* SPDX-License-Identifier: Apache-2.0 */
/* verify_fixes - what of the findings can be put right by itself, as a list that an operator sees before he says yes.
 *
 * Nothing of a host's user is changed or removed: networks are added or started, our own folders get their owners
 * and modes back, and the map gets rules for what had none. */
#pragma once

#include "orchestrator/core/verify.h"

typedef struct {
    char *text;       /* for people: "define network 'dmz' on beta as alpha has it, and start it" */
    char *host;       /* that is changed; NULL: only the map is */
    char *network;    /* to be there and started; NULL: none */
    char *like;       /* the master's that it is defined as; NULL: it is there */
    char *map;        /* FROM of a rule that is added (mapping.h), and its … */
    char *to;         /* … TO; NULL: none is */
    gboolean folders; /* our folders there */
} Fix;

/* Of Fix *, with free function. @findings are verify_check()'s of @f. */
GPtrArray *verify_fixes(const VerifyFacts *f, const GPtrArray *findings);

/* [{"host", "what"}] */
json_t *verify_fixes_to_json(const GPtrArray *fixes);
