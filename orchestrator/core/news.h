/* SPDX-License-Identifier: Apache-2.0 */
/* news - what an engine says about the VMs it is active for.
 *
 * The "active" list of the engines' `status` message. Read leniently (a newer
 * engine may say more than we know), but every figure that is used is checked:
 * the engine is a peer. */
#pragma once

#include "orchestrator/core/states.h"
#include "vmconnect/base/generation.h"

#include <glib.h>
#include <jansson.h>

typedef struct {
    Id id; /* nil: no tip */
    guint64 term;
    guint64 sequence;
    char *cut_at;
    char *sealed_at;
} NewsTip;

/* The last comparison with the disks that was asked for (vmconnect/replicate/audit.h). */
typedef struct {
    Id id;              /* nil: none */
    char *state;        /* running | equal | different | repaired | failed */
    gboolean repairing; /* what differs is on its way */
    gint64 done_bytes, total_bytes, compared_bytes, different_bytes;
    json_t *ranges; /* [{disk, offset, len}]: the first that differ */
    char *point;    /* what was compared with last; NULL: nothing yet */
    char *started_at;
    char *ended_at; /* NULL: it runs */
    char *why;      /* what is in its way; NULL: nothing */
} NewsCompare;

typedef struct {
    char *host;
    CopyState state;
    gint64 lag_ms;                                                /* -1: nothing is sealed yet */
    char *why;                                                    /* NULL: nothing is in the way */
    gint64 done_bytes, total_bytes, sent_bytes, rate_bps, left_s; /* left_s -1: not known */
    gint64 synced_bytes;  /* of synchronisations in all; -1: not known */
    gint64 payload_bytes; /* of whatever was sent since the engine runs; -1: not known */
    char *resync_reason;  /* NULL: none runs */
    gint64 resync_compared_bytes, resync_sent_bytes;
    NewsTip tip;
    NewsCompare compare;
} NewsCopy;

/* The plan that holds the VM. */
typedef struct {
    Id id; /* nil: none */
    gboolean parked;
    gboolean booted;     /* … and its host was booted since … */
    gboolean until_told; /* … which does not end it */
    gboolean alone;      /* its standby has no part in it */
    gboolean released;
    Id successor; /* if it is released */
    Reign next;
} NewsPlan;

typedef struct {
    Id vm;
    Reign reign;
    char *guest;    /* alive | silent | off | unknown */
    char *tracking; /* bitmap, … */
    gint64 spool_bytes;
    gboolean stuck;   /* libvirtd has lost a job and keeps the VM locked; `why` says what helps */
    char *why;        /* what is in the way of all copies; NULL: nothing */
    gint64 rescues;   /* how often the guest had to be freed from a cut, since the engine's start */
    char *rescue_why; /* the last time; NULL: never */
    NewsPlan plan;
    GPtrArray *copies; /* NewsCopy * */
} News;

News *news_new(Id vm);
News *news_from_json(const json_t *item, GError **error);
void news_free(News *n);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(News, news_free)

/* From a `status` document, whole or of changes, the items of its "active" list whose VM is
 * @wanted (NULL: all of them) as News *. PROTOCOL if there is no such list, or one
 * of those items is unsound; the others are not looked at, so that what one VM's
 * worker says cannot spoil the news of another scenario. */
GPtrArray *news_list_from_json(const json_t *status, gboolean (*wanted)(const void *ctx, Id vm),
                               const void *ctx, GError **error);

/* A VM that an engine runs from the copy that it kept, whoever ordered that. */
typedef struct {
    Id vm;
    Reign reign;
} NewsPromotion;

/* From the "standby" list of such a document: of NewsPromotion. @wanted NULL: all. What is unsound is left
 * out. */
GArray *news_promotions_from_json(const json_t *status, gboolean (*wanted)(const void *ctx, Id vm),
                                  const void *ctx);

/* Does it say what has changed alone (vmconnect/tidings.h)? Of what it does not name there is nothing new. */
gboolean news_is_part(const json_t *status);

/* Is it all that the engine knows, and has the thread of each of its VMs spoken since the engine's start? */
gboolean news_is_complete(const json_t *status);

/* Of what a host's disks alone hold of a VM. */
typedef struct {
    Id vm;
    gint64 count; /* branches that it keeps */
    gint64 bytes; /* at most so much nothing else holds; -1: not known yet */
} NewsBranches;

/* From both lists of such a document: of NewsBranches. What is unsound, or not said, is left out. */
GArray *news_branches_from_json(const json_t *status, gboolean (*wanted)(const void *ctx, Id vm),
                                const void *ctx);

/* @copy has the same tip as @from. */
void news_copy_tip(NewsCopy *copy, const NewsCopy *from);

const NewsCopy *news_find(const News *n, const char *host);
