/* SPDX-License-Identifier: Apache-2.0 */
/* active - one VM that runs here, and the making of its generations.
 *
 * What a worker thread has in its hands: the VM as libvirt shows it (capture),
 * the standby (sender), and an unsealed generation on its way (pass). One call
 * of active_cycle() makes at most one generation, or learns that none is needed.
 *
 * Failure rule: whatever fails, the cut's job has ended, no checkpoint was
 * deleted, and the next cycle attaches anew and asks the standby where it stands.
 * Only then checkpoints that nobody needs are deleted. */
#pragma once

#include "vmconnect/capture/capture.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/rescuer.h"
#include "vmconnect/image/signature.h"
#include "vmconnect/policy.h"
#include "vmconnect/replicate/host_paths.h"
#include "vmconnect/replicate/sender.h"
#include "vmconnect/replicate/stream.h"

#include <glib.h>

/* What `status` shows of the way to the standby; plain figures. */
typedef struct {
    gboolean running;          /* a first or repeated synchronisation is under way */
    const char *resync_reason; /* why everything is read again (static); NULL: the first time, or none */
    guint64 done_bytes;
    guint64 total_bytes;
    guint64 sent_bytes; /* payload on the wire, all sessions of this synchronisation */
    guint64 compared_bytes;
    gint64 started_ms; /* steady */
} SyncFigures;

typedef struct Active {
    Id vm;
    ActiveRole *role;
    HostPaths paths; /* borrowed strings */
    Identity *identity;
    Rescuer *rescuer;  /* borrowed; NULL in tests */
    Patience patience; /* a command waits: break off soon; a plan's time is over: at once */

    Connection *connection;
    guint64 connection_count; /* of the connection that capture stands on */
    Capture *capture;
    Sender *sender;
    Stream *stream;

    Id base;                 /* checkpoint that the next generation reads since; nil: everything */
    GPtrArray *watched;      /* of WatchedDisk *: what became of each disk … */
    Id watched_since;        /* … since this checkpoint; nil: since the first look */
    gint64 start_mark;       /* start_lock_mark() at the newest look; -1: not looked yet */
    gint64 off_since_ms;     /* steady: since when the VM has been seen off; 0: it is not */
    gboolean had_agent;      /* at the last look */
    gboolean knows_agent;    /* it has one, as far as this engine has seen */
    gint64 agent_gone_ms;    /* steady: when it was found gone last; 0: never */
    GArray *distrusted;      /* of Id: checkpoints that turned out to have lost track, never taken again */
    gint64 doubted_since_ms; /* steady: since when tracking looks lost, … */
    gint64 doubted_at_ms;    /* … and when it did last */
    Generation *begun;       /* unsealed generation on the present link */
    Pass *pass;              /* its pass; both or neither */
    GHashTable *resend;      /* target -> Extents *: known to differ on the standby; NULL: nothing */
    gboolean resumed;        /* its overlays may hold more than its lists say: a link broke off */
    char *definition;        /* of the newest sealed generation, to see a change */
    char *judged; /* live XML of the running VM that nothing stands against; NULL: not looked yet */

    gint64 truth_ms;     /* steady: the standby holds the truth of that instant; 0: none yet */
    guint64 spool_bytes; /* changed and not sealed, when last looked */
    SyncFigures sync;
    guint64 payload_before; /* sent over former links, for whatever, since the engine runs */
    guint64 synced_bytes;   /* sent for what is over, to this standby in this reign, since the engine runs */
    Throttle throttle;      /* of what is read for a comparison */
    guint64 sent_before; /* sent_bytes of former links, less what went over the present one for other ends */
    guint64 compared_before; /* the same of compared_bytes */
    void (*on_progress)(void *user);
    void *user;
} Active;

/* @role is taken; the rest is borrowed. */
Active *active_new(ActiveRole *role, const HostPaths *paths, Identity *identity, Rescuer *rescuer,
                   int wake_fd);
void active_free(Active *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Active, active_free)

/* Another role for the same VM; takes @role. What concerns the link or the job
 * begins anew; the standby keeps what it has. */
void active_set_role(Active *a, ActiveRole *role);

typedef enum {
    ACTIVE_SEALED,     /* one more generation is on the standby */
    ACTIVE_CONFIRMED,  /* nothing had changed */
    ACTIVE_UNFINISHED, /* a slice is there; call again after looking at what waits */
} ActiveOutcome;

/* One cycle. FALSE with @error: BUSY (somebody else's job, guest between two
 * states: try again soon), UNSUPPORTED (it cannot be protected as it is),
 * UNREACHABLE and the like (try again). */
gboolean active_cycle(Active *a, ActiveOutcome *ret_outcome, GError **error);

/* Look at the VM with a live connection; *@ret_state as capture_state(). */
gboolean active_look(Active *a, CaptureState *ret_state, GError **error);

/* Does the standby still take this host for the active of the role's reign? Asked in a session of its own, without
 * a look at the VM. FALSE with @error if it does not (OVERTAKEN: it was promoted in a higher one), or does not answer. */
gboolean active_is_acknowledged(Active *a, gint64 timeout_ms, GError **error);

/* Before its guest goes down, after active_look(): the standby is there, and of each disk it is known what changed since
 * the newest generation, so that the last one has that alone. FALSE with @error: BUSY or UNREACHABLE (it may be in a
 * moment), REFUSED (not before the copy is whole), UNSUPPORTED. */
gboolean active_is_followed(Active *a, gint64 timeout_ms, GError **error);

/* Does a command wait, or come within @wait_ms? */
gboolean active_is_waited_for(const Active *a, int wait_ms);

/* A raw connection for the steps of a plan; borrowed. */
virConnectPtr active_connection(Active *a, GError **error);

/* Remove all that we left in libvirt and in the images: checkpoints with our name. */
gboolean active_remove_traces(Active *a, GError **error);

/* These ranges are not what was sent: the next generation that is sealed brings them. Not durable: an engine that
 * starts anew knows nothing of it. */
void active_resend(Active *a, const char *target, const Extents *ranges);
gboolean active_has_resent(const Active *a);
void active_forget_resend(Active *a);

/* Let the standby go (it keeps what it has). */
void active_detach(Active *a);

/* Look how much has changed since the last generation, without sending anything:
 * spool_bytes while paused or cut off; it stays as it was while another tool's job is under way. */
gboolean active_measure(Active *a, GError **error);
