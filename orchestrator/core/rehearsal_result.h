/* SPDX-License-Identifier: Apache-2.0 */
/* rehearsal_result - what the engine of a standby says of an integrity test.
 *
 * Its answer to test.result. Only what is decided by is read here, strictly: the engine is a peer; the rest is for people, and
 * kept as it came. A peer's sentence may be of any length, and hold anything. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>
#include <jansson.h>

typedef enum {
    REHEARSAL_OPEN, /* no verdict yet */
    REHEARSAL_PASSED,
    REHEARSAL_FAILED,
    REHEARSAL_STOPPED, /* ended before a verdict, or a manual one */
} RehearsalVerdict;

typedef struct {
    Id vm;
    char *name;
    RehearsalVerdict verdict;
    char *why;        /* NULL: nothing to say */
    Id point;         /* nil: none yet */
    gint64 back_ms;   /* from the test's start until its checks passed; -1: not measured */
    gboolean picture; /* there is one of its screen */
    gboolean waited;  /* for memory that other tests' VMs had */
} RehearsalVm;

typedef struct {
    gboolean ready; /* a manual one, whose VMs are up */
    gboolean ended; /* and then it has a verdict */
    RehearsalVerdict verdict;
    char *why;
    char *ended_at; /* NULL: it has not */
    GPtrArray *vms; /* RehearsalVm * */
} RehearsalResult;

/* Of the test @test. NULL with @error PROTOCOL. */
RehearsalResult *rehearsal_result_from_json(const json_t *doc, Id test, GError **error);
void rehearsal_result_free(RehearsalResult *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RehearsalResult, rehearsal_result_free)

/* "'web1' was up in 9.2 s, 'db1' was up in 12 s", of more than three the slowest. The caller frees. */
char *rehearsal_result_passed_text(const RehearsalResult *r);
/* Why it failed: its own reason, else the first VM's. The caller frees. */
char *rehearsal_result_failed_text(const RehearsalResult *r);

/* In the "tests" list of an engine's `status` document, whole or of changes. */
typedef struct {
    Id test;
    gboolean ended;
    gint64 changed; /* rises with every change of that test */
} RehearsalNews;

/* Of RehearsalNews. What is unsound is left out. */
GArray *rehearsal_news_from_json(const json_t *status);
