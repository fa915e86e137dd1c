/* SPDX-License-Identifier: Apache-2.0 */
/* squeeze - whether, and how, a block is compressed before it is sent.
 *
 * Compression costs a core and helps only where the line is the bottleneck. In
 * `auto` a block is compressed when the send queue was full when its turn came
 * and at least half a core of this host was idle during the last second: on a
 * fast link the queue never fills, and a busy host's cores belong to its guests.
 * A block that does not shrink by an eighth goes as it is. */
#pragma once

#include <glib.h>

typedef enum {
    SQUEEZE_AUTO,
    SQUEEZE_NEVER,
    SQUEEZE_ALWAYS,
} SqueezeMode;

typedef struct Squeeze Squeeze;

Squeeze *squeeze_new(SqueezeMode mode);
void squeeze_free(Squeeze *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Squeeze, squeeze_free)

/* "auto", "never", "always"; AUTO for anything else (the policy's reader refuses it). */
SqueezeMode squeeze_mode(const char *name);
void squeeze_set_mode(Squeeze *s, SqueezeMode mode);

/* Should the next block be tried? @queue_full as above, @now_ms steady time. */
gboolean squeeze_wanted(Squeeze *s, gboolean queue_full, gint64 now_ms);

/* Compress @len bytes into @out, which holds @len. The compressed length, or 0
 * if it is not worth sending (then @out is rubbish). */
gsize squeeze_run(Squeeze *s, const guint8 *data, gsize len, guint8 *out);

/* The reverse; exactly @len bytes must come out. FALSE with @error PROTOCOL. */
gboolean squeeze_undo(const guint8 *data, gsize data_len, guint8 *out, gsize len, GError **error);

/* Idle jiffies of all cores in the text of /proc/stat; FALSE if it has none. */
gboolean squeeze_idle_jiffies(const char *proc_stat, guint64 *ret_jiffies);
