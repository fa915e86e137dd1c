/* SPDX-License-Identifier: Apache-2.0 */
/* word - what an engine and the guard of its host say to each other.
 *
 * Over a SOCK_SEQPACKET socket in SENTRY_FOLDER, one word a packet, always WORD_BYTES long, in this machine's byte order: both ends are on
 * one host, and a guard outlives many engines. Only root is heard (SO_PEERCRED).
 *
 *   engine                             guard
 *   KEEP vm reign taps until [pidfd] → DONE, or REFUSED with its text and nothing changed
 *   RELEASE vm                       → the same: out of its care, whatever runs
 *   STOPPED vm, RUNNING vm           → the same: libvirt's events of that name, which the guard cannot hear
 *   LEND vm                          → the same: what was sent SIGSTOP may go on behind its shut gate, to be suspended: PLEASE_STOP follows
 *   LIST                             → WARD for each VM in its care, then DONE
 *                                    ← PLEASE_STOP vm    suspend it now, and say STOPPED at libvirt's event
 *                                    ← FENCED vm how     it does nothing any more: FENCED_ASKED, _STOPPED or _KILLED
 *                                    ← GONE vm           its process has ended; it is out of the guard's care
 *                                    ← LEAVING           it is about to end: what needs a lease is to be freed of that, and said so, before
 *
 * A KEEP is answered when the lease that it brings is in the kernel and in the guard's roll. The first one of a VM brings its process, as
 * a pidfd (SCM_RIGHTS); a later one may, and must if the VM runs in another process by now. "Until" is when the lease ends: a moment on
 * both clocks of lease.h, or none while nobody may take over (disarmed). LIST and the DONE behind its WARDs say which words their sender knows:
 * either end may be older than the other, and a word that is not known ends the connection. Words that nobody asked for go to everybody who is
 * connected, between answers. Who does not read them is let go, and asks with LIST when it is back. */
#pragma once

#include "orchestrator/core/lease/lease.h"
#include "vmconnect/base/generation.h"
#include "vmconnect/base/id.h"

#include <glib.h>
#include <net/if.h>

#define SENTRY_FOLDER "/run/understudy/guard"
#define SENTRY_SOCKET SENTRY_FOLDER "/socket"

#define WORD_BYTES 536
#define WORD_TAPS_MAX 16
#define WORD_TEXT_MAX 200

typedef enum {
    WORD_KEEP = 1,
    WORD_RELEASE,
    WORD_STOPPED,
    WORD_RUNNING,
    WORD_LIST,
    WORD_DONE,
    WORD_REFUSED,
    WORD_WARD,
    WORD_PLEASE_STOP,
    WORD_FENCED,
    WORD_GONE,
    WORD_LEND,
    WORD_LEAVING,
    WORD_KINDS
} WordKind;

/* How a guest was brought to do nothing; of a WARD: how it stands. */
typedef enum { FENCED_NOT, FENCED_ASKED, FENCED_STOPPED, FENCED_KILLED, FENCED_HOWS } Fenced;

#define WORD_MASK(kind) (G_GUINT64_CONSTANT(1) << (kind))
#define WORDS_KNOWN (WORD_MASK(WORD_KINDS) - WORD_MASK(WORD_KEEP))

typedef struct {
    WordKind kind;
    Fenced how;  /* FENCED, WARD */
    Id vm;       /* nil in LIST, DONE of LIST, LEAVING */
    Reign reign; /* not of LIST and DONE */
    guint64
        words; /* LIST of an engine, DONE of LIST: a WORD_MASK() of each that is known; 0: by one that is older than that is said */
    gboolean is_enforced; /* FALSE: no end, @until is nothing */
    LeaseMoment until;
    guint taps;
    char tap[WORD_TAPS_MAX][IF_NAMESIZE]; /* on this host, not the guest's cards */
    char text[WORD_TEXT_MAX];             /* REFUSED: why; WARD: how it stands; UTF-8 */
} Word;

const char *word_kind_name(WordKind kind);
const char *fenced_name(Fenced how);

void word_encode(const Word *w, guint8 ret_packet[static WORD_BYTES]);

/* PROTOCOL for anything that word_encode() does not write. */
gboolean word_decode(const guint8 *packet, gsize len, Word *ret_word, GError **error);

/* One word over a socket, with a descriptor or -1. Blocks only if the socket does. FALSE: IO, UNREACHABLE: the other end is gone,
 * BUSY: the socket is full, or has nothing. @ret_fd: the caller's, -1: none came; NULL: refused. */
gboolean word_send(int socket, const Word *w, int fd, GError **error);
gboolean word_receive(int socket, Word *ret_word, int *ret_fd, GError **error);
