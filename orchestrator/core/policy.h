/* SPDX-License-Identifier: Apache-2.0 */
/* policy - the properties of a scenario, as one table.
 *
 * The table is the only place that knows a property's key, unit, default,
 * range, and when it may change; help, man page, schema and refusals are made
 * from it. A value's text is the same everywhere: on the command line, over
 * REST, in the scenario document. What this version cannot act on is refused
 * with a sentence, not stored. */
#pragma once

#include "orchestrator/core/calendar.h"
#include "vmconnect/base/folder.h"

#include <glib.h>
#include <jansson.h>

typedef enum { COMPRESS_AUTO, COMPRESS_NEVER, COMPRESS_ALWAYS } Compress;
typedef enum { FREEZE_NEVER, FREEZE_ALWAYS } Freeze;
typedef enum { REVERSE_MANUAL, REVERSE_AUTO } Reverse;
typedef enum { RESTART_AUTO, RESTART_NEVER } Restart;
typedef enum { SWITCHBACK_MANUAL, SWITCHBACK_AUTO } Switchback;
typedef enum { SWITCHOVER_MANUAL, SWITCHOVER_AUTO } Switchover;
typedef enum { CONFIRM_NO, CONFIRM_YES } Confirm;
typedef enum { ISOLATION_PAUSE, ISOLATION_RUN } Isolation;
typedef enum { TRUST_CLOCK_NO, TRUST_CLOCK_YES } TrustClock;

#define POLICY_NO_TEST "never"

typedef struct {
    gint64 newest; /* that many newest points */
    gint64 hourly; /* and the oldest of each of that many hours, */
    gint64 daily;  /* days */
    gint64 weekly; /* and weeks */
} Retain;

/* Times in ms, sizes in bytes, bandwidth in bytes a second with 0 for no limit.
 * A property with one value that this version acts on has no field. */
typedef struct {
    gint64 interval_ms;
    gint64 countdown_ms;
    gint64 shutdown_timeout_ms;
    gint64 start_timeout_ms;
    gint64 reset_after_ms;
    gint64 verify_interval_ms;
    gint64 switchback_after_ms;
    gint64 probe_interval_ms;
    gint64 probe_timeout_ms;
    gint64 probe_misses; /* in a row */
    guint64 bandwidth_bps;
    guint64 scratch_bytes;
    Retain retain;
    int switchover;                        /* Switchover */
    int confirm;                           /* Confirm */
    int isolation;                         /* Isolation */
    int trust_clock;                       /* TrustClock */
    int compress;                          /* Compress */
    int freeze;                            /* Freeze */
    int reverse;                           /* Reverse */
    int switchback;                        /* Switchback */
    int restart;                           /* Restart */
    char seed[FOLDER_MAX + 1];             /* folder on the replica; "": none */
    char test[CALENDAR_MAX + 1];           /* as calendar_read() takes it, or POLICY_NO_TEST */
    char test_zone[CALENDAR_ZONE_MAX + 1]; /* that could be one */
} Policy;

typedef enum {
    POLICY_ALWAYS,          /* also while replication runs */
    POLICY_STOPPED,         /* only while the scenario is stopped */
    POLICY_NOT_WHILE_MOVED, /* never between a switchover and the switchback */
} PolicyWhen;

/* Where a scenario is, as far as changing its policy goes. */
typedef enum { POLICY_MOMENT_STOPPED, POLICY_MOMENT_RUNNING, POLICY_MOMENT_MOVED } PolicyMoment;

/* A row of the table as others may see it; all strings are static. */
typedef struct {
    const char *key;
    const char *fallback; /* the default, as text */
    const char *accepts;  /* unit and range, or the words: "250ms to 1h", "auto | never | always" */
    const char *help;     /* one line */
    PolicyWhen when;
} PolicyProperty;

guint policy_count(void);
const PolicyProperty *policy_at(guint index);
/* NULL for a key that is not in the table. */
const PolicyProperty *policy_find(const char *key);

/* Every property at its default. */
void policy_init(Policy *p);
gboolean policy_equal(const Policy *a, const Policy *b);

/* Set one property from its text. FALSE with @p unchanged and @error USAGE
 * (unknown key, no such value, out of range) or UNSUPPORTED (a value of the
 * product that this version does not act on). */
gboolean policy_set(Policy *p, const char *key, const char *value, GError **error);

/* Do the properties go together? Asked when all of them are known. FALSE with @error USAGE, which says what to set. */
gboolean policy_check(const Policy *p, GError **error);

/* The text of a property of the table, in the form that policy_set() reads. The caller frees. */
char *policy_get(const Policy *p, const char *key);

/* May this property change now? FALSE with @error REFUSED, which says when it may. */
gboolean policy_may_change(const char *key, PolicyMoment moment, GError **error);

/* Every key that differs between the two may change now, or the error of the first that may not. */
gboolean policy_may_become(const Policy *from, const Policy *to, PolicyMoment moment, GError **error);

/* How long a probe waits for its answer: it ends before the next one begins. */
gint64 policy_try_ms(const Policy *p);

/* Is what a switchover moves away from home replicated back from there, unless the operator said otherwise? */
gboolean policy_reverses(const Policy *p);

/* {"interval": "5s", …}, every key. Reading sets what is there over the
 * defaults and refuses what policy_set() refuses; @ret_policy only on success. */
json_t *policy_to_json(const Policy *p);
gboolean policy_from_json(const json_t *doc, Policy *ret_policy, GError **error);

/* The "policy" of active.protect: {"interval_ms", "scratch_bytes", "bandwidth_bps",
 * "compress", "freeze"}; and the "retain" of standby.admit: {"newest", "hourly", "daily",
 * "weekly"}, the last two only where they are not 0, which the engines of before know nothing of. */
json_t *policy_for_active(const Policy *p);
json_t *policy_for_standby(const Policy *p);

/* The table for people, one property in two lines; and for programs,
 * [{"key", "default", "accepts", "help", "when"}]. The caller frees. */
char *policy_help(void);
/* The same as entries of a manual page (man(7)). */
char *policy_manual(void);
json_t *policy_schema(void);
