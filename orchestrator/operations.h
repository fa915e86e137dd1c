/* SPDX-License-Identifier: Apache-2.0 */
/* operations - what stands behind the routes, a file a noun; docs/api.md has the
 * documents. What a client sends is read strictly; a change is answered when it is durable. */
#pragma once

#include "orchestrator/controller.h"

typedef struct {
    const char *operation; /* of routes.h */
    ApiHandler handler;    /* @user: the Controller */
} Operation;

/* Each ends with a NULL operation. */
extern const Operation OPERATIONS_DRILLS[];
extern const Operation OPERATIONS_ENROL[];
extern const Operation OPERATIONS_HOSTS[];
extern const Operation OPERATIONS_SCENARIOS[];
extern const Operation OPERATIONS_ACTIONS[];
extern const Operation OPERATIONS_COMPARE[];
extern const Operation OPERATIONS_MAINTENANCE[];
extern const Operation OPERATIONS_NOTIFY[];
extern const Operation OPERATIONS_POINTS[];
extern const Operation OPERATIONS_RECOVER[];
extern const Operation OPERATIONS_STATUS[];
extern const Operation OPERATIONS_TESTS[];
extern const Operation OPERATIONS_VERIFY[];

/* Whose link is up, or was waited for long enough, is answered. When a link comes up, and about once a second. */
void operations_enrol_look(Controller *c);
/* End the enrolments under way. */
void operations_enrol_close(Controller *c);

/* ScenariosDone for a call: {"plan": null} accepted, resp. {} answered, or failed. @user: the ApiCall. */
void operation_accepted(void *user, const GError *error);
void operation_done(void *user, const GError *error);

/* FALSE with @error NOT_FOUND: it is none of ours. */
gboolean operation_expect_host(const Controller *c, const char *name, GError **error);

/* A RehearsalsDone for a call: the document, or why there is none. @user: the ApiCall. */
void operation_answered(void *user, const json_t *doc, const GError *error);

/* What `test.start` does; TimetableBegin. @controller: the Controller. */
gboolean operation_begin_test(void *controller, const char *scenario, const RehearsalWish *wish,
                              RehearsalsDone done, void *user, GError **error);
