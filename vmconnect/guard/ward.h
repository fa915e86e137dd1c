/* SPDX-License-Identifier: Apache-2.0 */
/* ward - one VM in the guard's care. */
#pragma once

#include "vmconnect/guard/ladder.h"
#include "vmconnect/guard/subject.h"
#include "vmconnect/guard/word.h"

typedef struct {
    char name[IF_NAMESIZE];
    guint index; /* which no other interface of this boot has: names are given anew */
} WardTap;

typedef struct {
    Id vm;
    Reign reign;
    Subject subject;
    guint taps;
    WardTap tap[WORD_TAPS_MAX];
    Ladder ladder;
    /* Not remembered beyond this process. */
    gint64 given_ms;       /* so long its lease was when it was given last; G_MAXINT64: to an earlier guard */
    gboolean said_stopped; /* libvirt's last event since it was asked to stop */
    guint64 computed_ns;   /* by subject_computed_ns(), when that was said */
    gint64
        heed_ms; /* CLOCK_BOOTTIME: until then engines are heard first, for its lease was over before this guard began; 0: not */
    gint64
        lay_ms; /* CLOCK_BOOTTIME: when the kernel is to be told of its lease again; G_MAXINT64: not by itself */
} Ward;

static inline void ward_free(Ward *w)
{
    subject_clear(&w->subject);
    g_free(w);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ward, ward_free)
