/* SPDX-License-Identifier: Apache-2.0 */
/* warden - this engine's end of the guard's socket (guard/word.h).
 *
 * What it was told to keep is told to the guard, and again to each that comes after: the guard may be away, hang, be killed and come back
 * at any moment. Of one VM only the newest word that waits is sent. Who is in the guard's care and nobody wants is released. Loop
 * thread only; never blocks. */
#pragma once

#include "vmconnect/guard/word.h"

#include <uv.h>

typedef struct Warden Warden;

typedef struct {
    /* It answers, and has all that is kept; or not, also one that never did. */
    void (*on_up)(void *user, gboolean up);
    /* Suspend it now, then warden_tell() that it has stopped. */
    void (*on_please_stop)(void *user, Id vm);
    /* It does nothing any more; also said of those that a guard has fenced before this engine came. */
    void (*on_fenced)(void *user, Id vm, Fenced how);
    /* Its process has ended: it is out of the guard's care. One that was kept since, in another process, stays kept. */
    void (*on_gone)(void *user, Id vm);
    /* The newest warden_keep() of it has come to that; again for each guard that comes. */
    void (*on_kept)(void *user, Id vm, const GError *why_not);
    /* It is in the guard's care, though not by a word of this process: is it to stay there? */
    gboolean (*wants)(void *user, Id vm);
} WardenEvents;

/* @events is copied. */
Warden *warden_new(uv_loop_t *loop, const char *socket_path, const WardenEvents *events, void *user);
/* No event comes any more; what the guard has stays. It frees itself when the loop is through with it. NULL is accepted. */
void warden_close(Warden *w);

gboolean warden_is_up(const Warden *w);
/* It is up, and does not know all words that this engine does: what it lacks is done without. */
gboolean warden_is_older(const Warden *w);
/* What it does instead, as in "the guard is gone"; static. NULL: it is up, or may yet come, for it is not known for long that it does not. */
const char *warden_why_away(const Warden *w);

/* Keep @vm's process, of which @pidfd is (borrowed; -1: as before), with these taps, until then. */
void warden_keep(Warden *w, Id vm, Reign reign, int pidfd, const char (*taps)[IF_NAMESIZE], guint n,
                 gboolean is_enforced, LeaseMoment until);
void warden_release(Warden *w, Id vm);
/* libvirt says that it has stopped, or goes on. Passed over if the guard does not have it, as far as is known. */
void warden_tell(Warden *w, Id vm, gboolean stopped);

/* It was stopped by a signal, and libvirt is to suspend it instead: on_please_stop() follows when it goes on for that. */
void warden_lend(Warden *w, Id vm);
