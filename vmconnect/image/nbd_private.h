/* SPDX-License-Identifier: Apache-2.0 */
/* nbd_private - what nbd.c and nbd_status.c share. For nobody else. */
#pragma once

#include "vmconnect/image/nbd.h"
#include "vmconnect/image/wait.h"

#include <libnbd.h>

/* One request of a caller, be it one command of the protocol or several. */
typedef struct {
    NbdDisk *disk;
    const char *verb;
    guint64 offset;
    guint64 len;
    guint64 data_bytes; /* counted against the limit in flight */
    guint open;         /* commands without an answer, and one while it is being submitted */
    int errnum;         /* the first failure, 0: none */
    NbdDone on_done;
    void *user;
    GList link; /* in disk->active or disk->done */
} NbdRequest;

struct NbdDisk {
    WaitMate mate;
    struct nbd_handle *h; /* NULL once the connection is lost */
    char *label;          /* "disk vda" */
    char *context;
    int cancel_fd;
    gboolean read_only;
    gboolean can_flush;
    guint64 size;
    guint64 max_data;
    guint64 data_in_flight;
    GQueue active; /* of NbdRequest: submitted */
    GQueue done;   /* of NbdRequest: answered, callback not yet run */
    GError *lost;  /* why the connection is */
};

/* A request with one hold on it; then its commands, each with nbd_request_completion() as
 * callback and counted in ->open; then nbd_request_submitted(). */
NbdRequest *nbd_request_new(NbdDisk *disk, const char *verb, guint64 offset, guint64 len, NbdDone on_done,
                            void *user);
nbd_completion_callback nbd_request_completion(NbdRequest *request);
void nbd_request_submitted(NbdRequest *request);

/* Count a command that libnbd accepted (@cookie) or not (-1). */
void nbd_request_command(NbdRequest *request, gint64 cookie);

/* FALSE with @error if the connection is lost. */
gboolean nbd_disk_alive(const NbdDisk *disk, GError **error);

/* Wait for the server and run what it caused. A failure of the wait loses the connection. */
gboolean nbd_disk_turn(NbdDisk *disk, gint64 deadline_ms, GError **error);
