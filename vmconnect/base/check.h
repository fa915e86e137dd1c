/* SPDX-License-Identifier: Apache-2.0 */
/* check - one way of asking whether something lives: how it is done, and what came of it so far.
 *
 * Pure. A check is tried about once an interval (watch.h); each try is answered or missed. What that means for a
 * host or a guest is decided elsewhere, by who hears of it: one miss is none of this file's opinions. */
#pragma once

#include <glib.h>
#include <jansson.h>

/*    kind      as JSON    what it needs, beside `kind` */
#define CHECK_KINDS(X)                                                                             \
    X(BEAT, "beat")       /* address: an engine's port answers as that engine */                   \
    X(PING, "ping")       /* address: an ICMP or ICMPv6 echo comes back */                         \
    X(TCP, "tcp")         /* address, port: something accepts a connection */                      \
    X(HTTP, "http")       /* url, expect: the answer is a 2xx or 3xx and has that text; "": any */ \
    X(AGENT, "agent")     /* the guest's agent answers a ping */                                   \
    X(COMMAND, "command") /* argv: that program in the guest ends with 0, by its agent */          \
    X(SCRIPT, "script")   /* argv: that program of this host's folder of probes ends with 0 */

typedef enum {
#define X(kind, name) CHECK_##kind,
    CHECK_KINDS(X)
#undef X
} CheckKind;

typedef struct {
    CheckKind kind;
    gboolean from_active; /* tried from the host that runs the guest; else from that which keeps its copy */
    char *address;        /* host name or number; with a port, as dial.h has it, for BEAT */
    guint16 port;
    char *url;
    char *expect;
    char **argv;
} CheckSpec;

/* {"kind", …, "from": "active" or "standby"}, standby if it is not said; what asks the guest's agent is always tried from the
 * active. USAGE: unknown kinds and keys, what is missing, empty, or longer than it can be. */
CheckSpec *check_spec_from_json(const json_t *doc, GError **error);
json_t *check_spec_to_json(const CheckSpec *spec);
/* As people write it: "agent", "ping:ADDRESS", "tcp:ADDRESS:PORT", a URL, "command:PROGRAM ARGUMENT…", "script:PROGRAM ARGUMENT…",
 * with "@active" or "@standby" at the end for where it is tried from; or the JSON. USAGE. */
CheckSpec *check_spec_parse(const char *text, GError **error);
CheckSpec *check_spec_copy(const CheckSpec *spec);
gboolean check_spec_equal(const CheckSpec *a, const CheckSpec *b);
void check_spec_free(CheckSpec *spec);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CheckSpec, check_spec_free)
/* "ping 10.0.0.1", for people. The caller frees. */
char *check_spec_words(const CheckSpec *spec);

typedef struct {
    gboolean tried;
    gboolean ever;  /* it has been answered */
    guint misses;   /* in a row, up to CHECK_MISSES_MAX */
    char *why;      /* of the last one missed; NULL: the last one was answered */
    gboolean hangs; /* of a beat that is missed: nobody said even no */
} CheckScore;

#define CHECK_MISSES_MAX 1000

/* @why NULL: answered. TRUE if what others are told of it (check_score_to_json) is different now. */
/* It could not be tried: that counts for nothing, and @why is known. TRUE: the score is other than before. */
gboolean check_score_note(CheckScore *score, const char *why);
gboolean check_score_add(CheckScore *score, const char *why);
void check_score_clear(CheckScore *score);
#define CHECK_MISSES_TOLD 100 /* as many as may be asked for: policy.c, probe_misses */
/* {"kind", "words", "tried", "ever", "misses": up to CHECK_MISSES_TOLD, "why"}, of a beat "hangs", too. New reference. */
json_t *check_score_to_json(const CheckScore *score, const CheckSpec *spec);
