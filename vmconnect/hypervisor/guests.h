/* SPDX-License-Identifier: Apache-2.0 */
/* guests - does each guest of this host run, as libvirt and the kernel have it?
 *
 * libvirt's word comes by the ears. While libvirtd is silent the kernel's goes on: the process of a QEMU that was there
 * is held by a pidfd, and its state is looked at each second, so that a libvirtd that hangs or was restarted is never
 * taken for a dead guest, nor a dead guest for one that libvirtd keeps from telling. What runs inside is not asked here (probe/).
 *
 * Loop thread only; what may hang is looked at on threads aside. */
#pragma once

#include "vmconnect/hypervisor/ears.h"

#include <glib.h>
#include <jansson.h>
#include <uv.h>

/*    word     as JSON     meaning */
#define GUEST_WORDS(X)                                                                                   \
    X(UNKNOWN, "unknown") /* libvirt has not said yet */                                                 \
    X(ALIVE, "alive")     /* its QEMU runs it */                                                         \
    X(OFF, "off")         /* its user, or we, have shut it down, destroyed, saved or moved it */         \
    X(PAUSED, "paused")   /* its user, or we, have paused it, or it went to sleep */                     \
    X(FENCED, "fenced")   /* it stands still since its lease has ended, until that is back */            \
    X(IDLE, "idle")       /* it is off, and nobody knows why, as after a boot of its host */             \
    X(DEAD, "dead")       /* it crashed, panicked, its watchdog ended it, or its QEMU ended by itself */ \
    X(STALLED, "stalled") /* it stands still: an I/O error of its disks */                               \
    X(FROZEN, "frozen")   /* its QEMU stands still */

typedef enum {
#define X(word, name) GUEST_##word,
    GUEST_WORDS(X)
#undef X
} GuestWord;

const char *guest_word_name(GuestWord word);

/* What libvirt's state and its reason (VIR_DOMAIN_*) mean; *@ret_why is static, NULL if there is nothing to say. */
GuestWord guest_word_of(VmState state, int reason, const char **ret_why);
/* The same of a lifecycle event and its detail. FALSE: it says nothing about that. */
gboolean guest_word_of_event(int event, int detail, GuestWord *ret_word, const char **ret_why);

typedef struct Guests Guests;

typedef struct {
    gint64 notice_ms; /* what libvirtd has not noticed of a process that ended so long ago, it never will */
    gint64 obey_ms;   /* what is shut down so long after its watchdog asked it to, has done so for that */
} GuestsSettings;

extern const GuestsSettings GUESTS_USUAL;

/* @settings is static. @on_news: something is other than before. */
Guests *guests_new(uv_loop_t *loop, const GuestsSettings *settings, void (*on_news)(void *user), void *user);
/* No call comes any more. It frees itself when the loop is through with it. NULL is accepted. */
void guests_close(Guests *guests);

void guests_hear(Guests *guests, const EarEvent *event);

/* {"vm", "word", "why", "boots", "barks", "bark"}: "boots" rises with each end, start and reboot of it that was seen, "barks" each
 * time its watchdog went off; "bark" is what QEMU did about it then, a sentence. Of what has been asked for once, what was heard is
 * kept as long as libvirt lists it, at the least. New reference. */
json_t *guests_describe(Guests *guests, Id vm);
/* It is off, and that is its watchdog's doing: libvirt's state says that it was shut down, and it is dead. */
gboolean guests_ended_by_watchdog(const Guests *guests, Id vm);
/* Its guard has stopped it, or lets it go on. */
void guests_set_fenced(Guests *guests, Id vm, gboolean fenced);
/* What guests_describe() says. */
GuestWord guests_word(const Guests *guests, Id vm);
/* A pidfd of its QEMU, borrowed until the next event, and its number; -1: none is held, or it has ended. */
int guests_process(const Guests *guests, Id vm, pid_t *ret_pid);
/* {"up": true, false or null, "why"}: libvirtd; null: it has not been asked for long enough to know. New reference. */
json_t *guests_libvirt(const Guests *guests);
