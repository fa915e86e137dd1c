/* SPDX-License-Identifier: Apache-2.0 */
/* verify_memory - what a verification found last, so that only a change of the answer is news. */
#pragma once

#include "orchestrator/core/event.h"
#include "orchestrator/core/verify.h"

typedef struct VerifyMemory VerifyMemory;

/* Of findings as verify_check() gives them. What they measured (so much is free) is not remembered, only what they are. */
VerifyMemory *verify_memory_new(const GPtrArray *findings);
void verify_memory_free(VerifyMemory *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VerifyMemory, verify_memory_free)

/* What an operator must hear of @findings who has heard of @before (NULL: of nothing): VERIFY_TROUBLE with
 * the first new error, else VERIFY_REMARK with the first new warning, else VERIFY_CLEAR if the last error is gone;
 * NULL: nothing new. */
Event *verify_memory_news(const VerifyMemory *before, const GPtrArray *findings, const char *scenario);
