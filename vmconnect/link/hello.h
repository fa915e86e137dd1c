/* SPDX-License-Identifier: Apache-2.0 */
/* hello - the first two frames of a link: who, what for, which version.
 *
 * The dialer names a range of versions and its features in HELLO; the listener
 * picks the highest version both speak and answers WELCOME with it and the
 * features both have, or FAIL. These two documents are the only ones whose
 * unknown keys are ignored: they must be readable by every version for ever. */
#pragma once

#include "vmconnect/link/message.h"
#include "vmconnect/link/peer.h"

#include <glib.h>
#include <jansson.h>

#define HELLO_VERSION_MIN 2
#define HELLO_VERSION_MAX 3

/* From which version on a disk can be compared with what the standby has of it. */
#define HELLO_VERSION_COMPARE 3

/* From which version on an engine asks how new its controller's memory is. */
#define HELLO_VERSION_OBEY 3

/* From which version on a controller takes news of what has changed alone. */
#define HELLO_VERSION_CHANGES 3

/* Feature bits: what both have may be used. */
#define HELLO_FEATURE_ZSTD (1u << 0)
#define HELLO_FEATURES HELLO_FEATURE_ZSTD

typedef struct {
    guint version_min; /* WELCOME: both are the version chosen */
    guint version_max;
    guint64 features;
    Purpose purpose;
    Role role;
    Id id;
    char program[32]; /* the program's own version, for people */
} Hello;

json_t *hello_to_json(const Hello *hello);
/* @error PROTOCOL. */
gboolean hello_from_json(const json_t *doc, Hello *ret_hello, GError **error);

/* The listener's decision: *@ret_welcome is what to answer. UNSUPPORTED if no
 * version is common (the text names both ranges and programs and says which side to
 * upgrade), DENIED if that role may not ask for that purpose. */
gboolean hello_agree(const Hello *mine, const Hello *theirs, Hello *ret_welcome, GError **error);

/* The dialer's check of the answer: within what it asked for; else PROTOCOL. */
gboolean hello_accept(const Hello *mine, const Hello *welcome, GError **error);
