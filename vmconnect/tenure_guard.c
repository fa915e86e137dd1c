/* SPDX-License-Identifier: Apache-2.0 */
/* What the guard is told of a guest: its process, its taps, and until when its lease lasts. */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/log.h"
#include "vmconnect/guard/taps.h"
#include "vmconnect/tenure_private.h"

#include <string.h>

#define TAPS_EACH_MS 30000 /* libvirt says when a card is plugged, unless it hangs just then */
#define SAME_MS 20

static void read_taps(Hold *h, pid_t pid)
{
    gint64 now_ms = clock_steady_ms();
    gboolean more = FALSE;

    if (pid == h->pid && now_ms < h->taps_at_ms + TAPS_EACH_MS)
        return;
    h->tap_count = taps_of_process(pid, h->taps, &more);
    h->taps_at_ms = now_ms;
    if (more)
        log_warning("vm %s: not all of its taps can be seen, or it has more than %d -> the others are not "
                    "held by its guard",
                    ID_TEXT(h->vm), WORD_TAPS_MAX);
}

/* What the guard hears. */
static gboolean is_held(const Hold *h)
{
    return hold_is_enforced(h) || hold_stays(h);
}

static LeaseMoment end_for_guard(const Hold *h)
{
    return hold_stays(h) ? (LeaseMoment){0} : hold_end(h);
}

/* The guard has that, but for a moment that is not worth a word: of two answers to one asking the second says what the first has said. */
static gboolean is_told(const Hold *h)
{
    LeaseMoment end = end_for_guard(h);

    return h->told.enforced == is_held(h) && ABS(end.boot_ms - h->told.until.boot_ms) < SAME_MS &&
           ABS(end.raw_ms - h->told.until.raw_ms) < SAME_MS;
}

/* One that needs no lease, and never did, is none of the guard's. */
void hold_give_to_guard(Hold *h)
{
    Tenure *t = h->tenure;
    pid_t pid = 0;
    int pidfd = guests_process(t->engine->guests, h->vm, &pid);

    if (pidfd < 0 || (!hold_is_enforced(h) && !h->in_guard))
        return;
    if (pid == h->pid && h->in_guard && is_told(h))
        return;
    read_taps(h, pid);
    h->told = (LeaseUntil){.enforced = is_held(h), .until = end_for_guard(h)};
    warden_keep(t->warden, h->vm, h->reign, pid == h->pid ? -1 : pidfd, (const char(*)[IF_NAMESIZE])h->taps,
                h->tap_count, is_held(h), end_for_guard(h));
    h->pid = pid;
    h->in_guard = TRUE;
    h->is_kept = FALSE;
}

/* A card may have been plugged, or be gone: until the guard has heard of its tap, its frames are nobody's. */
void hold_look_at_taps(Hold *h)
{
    char before[WORD_TAPS_MAX][IF_NAMESIZE];
    guint count = h->tap_count;

    if (!h->in_guard || h->pid == 0)
        return;
    memcpy(before, h->taps, sizeof(before));
    h->taps_at_ms = -TAPS_EACH_MS;
    read_taps(h, h->pid);
    if (count == h->tap_count && memcmp(before, h->taps, count * (gsize)IF_NAMESIZE) == 0)
        return;
    h->told = (LeaseUntil){.until = {-1, -1}}; /* which nothing is: it is said anew */
    hold_give_to_guard(h);
}

void hold_leave_guard(Hold *h)
{
    if (h->in_guard)
        warden_release(h->tenure->warden, h->vm);
    h->in_guard = FALSE;
    h->pid = 0;
}

/* The kernel would go by the last that the guard knew of. */
void hold_ungate(Hold *h)
{
    Tenure *t = h->tenure;
    pid_t pid = 0;
    int pidfd;

    if (hold_is_enforced(h) || h->until.is_over || hold_is_yielding(h) || !warden_why_away(t->warden))
        return;
    pidfd = guests_process(t->engine->guests, h->vm, &pid);
    if (pidfd < 0 || pid == h->ungated)
        return;
    h->ungated = pid;
    ungate_open(t->ungate, h->vm, pidfd, pid);
}

/* The guard has it from an engine before this one: it is told what holds by now, also that no lease is needed. */
void hold_know_in_guard(Hold *h)
{
    if (h->in_guard)
        return;
    h->in_guard = TRUE;
    h->is_kept = FALSE;
    h->pid = 0;
    hold_give_to_guard(h);
}
