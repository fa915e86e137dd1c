/* SPDX-License-Identifier: Apache-2.0 */
/* sight - what one host sees of another, or of a guest: the scores of its checks, as its engine tells them (check.h).
 *
 * Pure. A path is an address at which a host's engine is asked for a beat; an echo of the same address may be asked for beside it.
 * Scores are borrowed, and may be anything: what cannot be read of one is as if it had not been said. */
#pragma once

#include <glib.h>
#include <jansson.h>

/* What is known of a host's engine by those who hear its host at all; the more telling the later: whose engine was heard, or said
 * no, on one way does not hang on another. */
typedef enum {
    ENGINE_UNKNOWN,
    ENGINE_HANGS, /* nobody says anything, as often as makes a host silent: it may be that the kernel alone answers */
    ENGINE_REFUSED, /* its port says that nobody is there: it does not run, and its host is able to say so */
    ENGINE_HEARD,   /* at the last try */
} EngineLife;

/* Of one score. */
const char *score_words(const json_t *score);
const char *score_why(const json_t *score);
guint score_misses(const json_t *score);
gboolean score_was_tried(const json_t *score);
gboolean score_was_answered(const json_t *score); /* at some time */
gboolean score_is_answered(const json_t *score);  /* at the last try */

/* Of all of one host, or guest; without those that could not be tried, which say nothing of anybody. */
typedef struct {
    guint n;
    guint tried;
    guint answered; /* at the last try */
    guint missed;   /* @misses in a row, as often as makes it silent */
} Sight;

Sight sight_of(const json_t *checks, guint misses);

/* "beat alpha, ping alpha". The caller frees. */
char *sight_words(const json_t *checks);

/* The most telling of all paths. */
EngineLife sight_of_engine(const json_t *checks, guint misses);

/* The paths that lead to nobody while its engine is heard on another, into @lost: "@watcher at ADDRESS" -> what came of it, both
 * char *, copied. */
void sight_of_lost_paths(const json_t *checks, guint misses, const char *watcher, GHashTable *lost);
