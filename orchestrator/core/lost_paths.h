/* SPDX-License-Identifier: Apache-2.0 */
/* lost_paths - which paths to a host are lost, and what of that its operator was told.
 *
 * Pure. A path is lost when it has been missed, beside one that was heard, for as long as makes a host silent: a host that comes back is
 * heard on one before it is on the others. All are back when they have been heard for as long as makes a missed probe news again. */
#pragma once

#include <glib.h>

typedef struct {
    gboolean told;     /* that some are lost … */
    GHashTable *which; /* … set of those that were since it was whole: char *, owned */
    gint64 adopt_ms; /* which they were before this controller was started shows until then; 0: it is known */
    gint64 other_ms; /* since when it is other than told; 0: it is not */
} LostPaths;

void lost_paths_init(LostPaths *l);
void lost_paths_clear(LostPaths *l);

/* Before the controller started it was told that some are, and not that they are back. */
void lost_paths_recall(LostPaths *l);

typedef enum {
    LOST_PATHS_AS_TOLD,
    LOST_PATHS_UNSURE, /* it is other than told, and not for long enough: look again */
    LOST_PATHS_LOST,   /* to be told: some are of which it was not … */
    LOST_PATHS_BACK,   /* … or none is any more */
} LostPathsNews;

/* @now: sight_of_lost_paths() of all who look after it (NULL: none); @heard: its engine is, by one of them. What is missed for @patience_ms
 * is lost, what is heard for @calm_ms is back. */
LostPathsNews lost_paths_step(LostPaths *l, GHashTable *now, gboolean heard, gint64 patience_ms,
                              gint64 calm_ms, gint64 now_ms);

/* "beta at alpha:25000 (why); …". The caller frees. */
char *lost_paths_words(GHashTable *now);
