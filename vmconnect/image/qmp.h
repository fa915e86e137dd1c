/* SPDX-License-Identifier: Apache-2.0 */
/* qmp - a client of QEMU's machine protocol on a unix socket.
 *
 * For one worker thread: calls block, with a deadline. Events that arrive
 * meanwhile are queued; they are hints only (the queue keeps the newest 256),
 * what is true is asked by a query. A call that timed out or was cancelled may
 * still take effect; its late reply is recognised by its id and dropped, so the
 * connection stays usable. After UNREACHABLE or PROTOCOL it is not: every
 * further call fails the same way. */
#pragma once

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/image/qmp_message.h"

#include <glib.h>

typedef struct Qmp Qmp;

/* Connect, read the greeting, leave negotiation mode. NULL with @error
 * UNREACHABLE, TIMEOUT or PROTOCOL. qmp_new_fd() does the same on a connected
 * socket, which it takes in any case. @peer names the other end in messages. */
Qmp *qmp_open(const char *path, const char *peer, int timeout_ms, GError **error);
Qmp *qmp_new_fd(int fd, const char *peer, int timeout_ms, GError **error);
void qmp_close(Qmp *qmp);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Qmp, qmp_close)

/* While @cancel_fd (borrowed; -1: none) is readable, every wait ends with CANCELLED. */
void qmp_set_cancel(Qmp *qmp, int cancel_fd);
int qmp_cancel(const Qmp *qmp);

/* Execute @command with @args (stolen; NULL: none). @ret_result (may be NULL) is a new
 * reference to its "return". FALSE with @error: QEMU's sentence and class, with the code
 * of qmp_error_code(); TIMEOUT, CANCELLED, UNREACHABLE (the
 * peer is gone), PROTOCOL (it answered nonsense). */
gboolean qmp_call(Qmp *qmp, const char *command, json_t *args, int timeout_ms, json_t **ret_result,
                  GError **error);

/* What a sentence of QEMU's (or qemu-img's) means: NO_SPACE, BUSY (an image lock), NOT_FOUND,
 * IO, DENIED, CORRUPT, UNSUPPORTED (an inconsistent bitmap), else FAILED. QEMU's error classes do not tell. */
UsError qmp_error_code(const char *text);

/* For a thread that polls: wait for POLLIN on the descriptor, then pump: reads what is
 * there without waiting. FALSE with @error UNREACHABLE or PROTOCOL. */
int qmp_fd(const Qmp *qmp);
gboolean qmp_pump(Qmp *qmp, GError **error);

/* The oldest queued event (kind QMP_EVENT), given away, or NULL. */
QmpMessage *qmp_take_event(Qmp *qmp);

/* Wait until an event is queued. FALSE with @error TIMEOUT, CANCELLED, UNREACHABLE, PROTOCOL. */
gboolean qmp_wait_event(Qmp *qmp, int timeout_ms, GError **error);
