/* SPDX-License-Identifier: Apache-2.0 */
/* vitals - what is known of whether hosts and guests live, by everybody who can say.
 *
 * Pure; one for all of the controller, borrowed by every protection. In come the links to the engines and their `status`
 * documents: what each watches of others ("watch"), what it says of its own guests ("guests"), of libvirtd
 * ("libvirt") and of understudy-guard ("guard"). A host is silent when its engine does not answer the controller, and no path to it answers the engines
 * that watch it; whoever sees nothing at all, not even its own gateway, says nothing about others. The cause is so looked for on our
 * own side first. */
#pragma once

#include "orchestrator/core/action.h"
#include "orchestrator/core/sight.h"

#include <glib.h>
#include <jansson.h>

typedef struct Vitals Vitals;

typedef enum {
    LIFE_UNKNOWN, /* nobody who can see it says so or so */
    LIFE_ALIVE,
    LIFE_SILENT,
} Life;

Vitals *vitals_new(void);
void vitals_free(Vitals *v);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Vitals, vitals_free)

/* @host: by name and by the id of its engine, by which others name it. One that is known is as it was. */
void vitals_add(Vitals *v, const char *host, Id id);
/* Before the controller started @told was, one of HOST_SILENT, HYPERVISOR_SILENT, GUARD_SILENT, WATCH_BLIND and PATH_LOST (others are passed over),
 * and not that it is over. */
void vitals_recall(Vitals *v, const char *host, EventCode told);
void vitals_remove(Vitals *v, const char *host);
void vitals_link(Vitals *v, const char *host, gboolean up);
/* @status: whole, or what has changed (news_is_part()). What cannot be read of it is left out: an engine of another version says
 * more, or less. */
void vitals_hear(Vitals *v, const char *host, const json_t *status);

/* Probes missed in a row that make a host of these silent, 0: nobody asks any more; and how far apart they are. */
void vitals_expect(Vitals *v, const char *host, guint misses, gint64 interval_ms);

/* While @excused its operator restarts it: that it is silent, or sees nothing, is what he expects, and told only if it is so afterwards. */
void vitals_excuse(Vitals *v, const char *host, gboolean excused);

/* Events about hosts, each once; if nothing has come since the last step there are none. That a probe was missed is one again when no
 * path has been missed for ten of them, or when a silence is over. @now_ms: steady. */
void vitals_step(Vitals *v, gint64 now_ms, ActionList *out);

/* @ret_why (may be NULL): borrowed until the next call that changes @v; NULL if it is alive. */
Life vitals_host(const Vitals *v, const char *host, const char **ret_why);
/* For how long whoever watches it has heard nothing at least, as far as its probes say; 0: not known. */
gint64 vitals_silence_ms(const Vitals *v, const char *host);
/* As of the last step. */
EngineLife vitals_engine(const Vitals *v, const char *host);
/* Does the link to its engine stand? */
gboolean vitals_answers(const Vitals *v, const char *host);

/* Whoever heard it at the last try, by any path, of the engines that answer and are not blind; NULL: nobody did, or watches it. */
const char *vitals_who_hears(const Vitals *v, const char *host);

/* What the engines that watch @host see of it on each path, for people: as vitals_describe_checks(). New reference. */
json_t *vitals_describe_host(const Vitals *v, const char *host);

/* Did @watcher hear @host at the last try, by any path? As good as that: it does not watch it, or has not said so. */
gboolean vitals_hears(const Vitals *v, const char *watcher, const char *host);

/* Its word of others does not count at present. */
gboolean vitals_is_blind(const Vitals *v, const char *host);

/* Does its libvirtd answer, as far as its engine says? */
gboolean vitals_has_libvirt(const Vitals *v, const char *host);

/* Does its guard answer? FALSE only if its engine says no. */
gboolean vitals_has_guard(const Vitals *v, const char *host);
/* The same for people: {"answers" (null: not known), "why", "older"}; null: its engine says nothing of it. New reference. */
json_t *vitals_describe_guard(const Vitals *v, const char *host);

/* What the host's own engine says of a guest (guests.h). FALSE: nothing. */
typedef struct {
    const char *word;  /* alive | off | paused | idle | dead | stalled | frozen | fenced | unknown */
    const char *lease; /* free | held | lost; NULL: it has none */
    const char *why;   /* NULL: nothing */
    guint boots;
    guint halts;      /* it stood still so often for want of a lease … */
    gint64 halted_ms; /* … so long the last time */
    guint barks;      /* its watchdog went off so often … */
    const char *bark; /* … and that was done about it the last time; NULL: nothing is known */
} VitalsGuest;

gboolean vitals_guest(const Vitals *v, const char *host, Id vm, VitalsGuest *ret_guest);

/* Of the checks that @host's engine makes of a guest. What was answered at some time in a reign is known here, should its engine be
 * started anew. */
typedef struct {
    guint n;
    guint64 reign;     /* in which they are made: the VM's when its host was told to; 0: not known */
    guint answered;    /* the last try */
    guint missed;      /* of those that were answered at some time: @misses in a row since */
    guint proven;      /* were answered at some time */
    const char *why;   /* of the first that is missed */
    const char *words; /* of that: what was tried */
    const char *open;  /* of the first that is not answered, or was not tried: what it is */
    const char *never; /* of the first that was tried, and never answered: what it is */
} VitalsChecks;

/* {"reign", words: true}: those that were answered from there in that reign; NULL: none is known. Borrowed. And back, after a start. */
json_t *vitals_answers_of(const Vitals *v, const char *host, Id vm);
void vitals_recall_answers(Vitals *v, const char *host, Id vm, const json_t *answers);

/* The same for people, appended to @list: {"host", "check", "answered", "misses", "why"}. */
void vitals_describe_checks(const Vitals *v, const char *host, Id vm, json_t *list);

VitalsChecks vitals_checks(const Vitals *v, const char *host, Id vm, guint misses);
