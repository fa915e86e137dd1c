/* SPDX-License-Identifier: Apache-2.0 */
/* exam - one thing that an operator wants to see of a VM in an integrity test before it passes.
 *
 * Pure. It is said as text, much as check.h has it; but the address is the guest's own, on the stage, and need not be named.
 * How it is tried: inquiry.h (by its agent, its console) and lookout.h (on the stage). */
#pragma once

#include <glib.h>
#include <jansson.h>

/*    kind      as text          what it asks */
#define EXAM_KINDS(X)                                                                                       \
    X(AGENT, "agent")     /* the guest's agent answers */                                                   \
    X(PING, "ping")       /* [:ADDRESS] an echo comes back */                                               \
    X(TCP, "tcp")         /* :[ADDRESS:]PORT something accepts a connection */                              \
    X(HTTP, "http")       /* :[ADDRESS:]PORT[/PATH][ expect TEXT] the answer is a 2xx or 3xx, and has it */ \
    X(HTTPS, "https")     /* the same by TLS; the certificate is not judged */                              \
    X(CONSOLE, "console") /* :TEXT its serial console has said that */                                      \
    X(SCREEN, "screen")   /* it shows something, and has settled */                                         \
    X(COMMAND, "command") /* :PROGRAM ARGUMENT… ends with 0, by the agent */                              \
    X(HOSTNAME, "hostname") /* :NAME it calls itself so, by the agent */                                    \
    X(MOUNTED, "mounted")   /* :PATH a file system is mounted there, by the agent */                        \
    X(SERVICE, "service")   /* :NAME it is active, by the agent */                                          \
    X(DISKS, "disks")       /* its file systems are clean afterwards; so it is if nothing is said */        \
    X(NO_DISKS, "no-disks") /* they are not looked at */

typedef enum {
#define X(kind, name) EXAM_##kind,
    EXAM_KINDS(X)
#undef X
} ExamKind;

typedef struct {
    ExamKind kind;
    char *text;    /* as it was said */
    char *address; /* IPv4; NULL: the first that its first card has said, of those whose link is not down */
    guint16 port;  /* of TCP, HTTP and HTTPS */
    char *path;    /* of HTTP and HTTPS, with its '/' */
    char *expect;  /* of both; NULL: any answer will do */
    char *word;    /* of CONSOLE, HOSTNAME, MOUNTED and SERVICE: what follows the colon */
    char **argv;   /* of COMMAND */
} Exam;

/* NULL with @error USAGE, which names the kinds that there are if it is of none of them. */
Exam *exam_parse(const char *text, GError **error);
void exam_free(Exam *exam);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Exam, exam_free)

#define EXAM_LIST_MAX 32

/* Of Exam *, with free function, from an array of 1 to EXAM_LIST_MAX texts, each once. NULL with @error USAGE. */
GPtrArray *exam_list_from_json(const json_t *list, GError **error);

/* A whole document: {VM's name or UUID, or "*" for all others: [text…], …}. FALSE with @error USAGE, which names the VM. */
gboolean exam_document_check(const json_t *doc, GError **error);
/* The list of a VM in it, borrowed: by its UUID, its name, or "*". NULL: none. */
json_t *exam_document_find(const json_t *doc, const char *uuid, const char *name);
