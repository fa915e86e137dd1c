/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/ungate.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/guard/shutter.h"
#include "vmconnect/guard/taps.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

struct Ungate {
    Clerk *clerk;
    void (*on_idle)(void *user);
    void *user;
    guint under_way;
    gboolean closed;
};

typedef struct {
    Ungate *ungate;
    Id vm;
    int pidfd; /* ours; -1: there are no more descriptors */
    pid_t pid;
    GError *error;
} Opening;

Ungate *ungate_new(Clerk *clerk, void (*on_idle)(void *user), void *user)
{
    Ungate *u = g_new0(Ungate, 1);

    *u = (Ungate){.clerk = clerk, .on_idle = on_idle, .user = user};
    return u;
}

void ungate_close(Ungate *u)
{
    if (u)
        u->closed = TRUE;
}

void ungate_free(Ungate *u)
{
    if (!u)
        return;
    g_assert(u->under_way == 0);
    g_free(u);
}

gboolean ungate_is_busy(const Ungate *u)
{
    return u->under_way > 0;
}

/* --- the work ------------------------------------------------------------------ */

static gboolean lives(int pidfd)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};

    return poll(&p, 1, 0) == 0;
}

/* By their indices: a name may be another guest's in the next moment. */
static guint read_taps(pid_t pid, ShutterTap taps[WORD_TAPS_MAX], gboolean *ret_more)
{
    char names[WORD_TAPS_MAX][IF_NAMESIZE];
    guint n = taps_of_process(pid, names, ret_more), count = 0;

    for (guint i = 0; i < n; i++) {
        taps[count].index = if_nametoindex(names[i]);
        count += taps[count].index > 0;
    }
    return count;
}

gboolean ungate_process(int pidfd, pid_t pid, GError **error)
{
    ShutterTap taps[WORD_TAPS_MAX] = {0};
    gboolean more = FALSE;
    guint n = read_taps(pid, taps, &more);
    g_autoptr(Shutter) shutter = NULL;

    /* While it lives its taps are nobody else's, so what was read was its own. */
    if (!lives(pidfd))
        return TRUE;
    shutter = shutter_new(error);
    if (!shutter)
        return FALSE;
    if (!shutter_stands(shutter))
        return TRUE;
    if (!shutter_release(shutter, taps, n, error))
        return FALSE;
    if (!more)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED,
                "not all of its network cards can be seen, or it has more than %d", WORD_TAPS_MAX);
    return FALSE;
}

static void work(void *data)
{
    Opening *o = data;

    if (o->pidfd < 0)
        us_error_errno(&o->error, EMFILE, "its process");
    else
        (void)ungate_process(o->pidfd, o->pid, &o->error);
}

static void on_done(void *data)
{
    Opening *o = data;
    Ungate *u = o->ungate;

    u->under_way--;
    if (o->error)
        log_error("vm %s: the kernel's gate cannot be opened for it: %s -> if its guard laid it, its frames "
                  "are held "
                  "from the end of that lease until a guard is back (systemctl restart understudy-guard)",
                  ID_TEXT(o->vm), o->error->message);
    else
        log_notice("vm %s: its guard does not answer, and it needs no lease -> no frame of it is held",
                   ID_TEXT(o->vm));
    if (o->pidfd >= 0)
        close(o->pidfd);
    g_clear_error(&o->error);
    g_free(o);
    if (u->under_way == 0 && !u->closed)
        u->on_idle(u->user);
}

void ungate_open(Ungate *u, Id vm, int pidfd, pid_t pid)
{
    Opening *o = g_new0(Opening, 1);

    *o = (Opening){.ungate = u, .vm = vm, .pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 0), .pid = pid};
    u->under_way++;
    clerk_submit(u->clerk, work, on_done, o);
}
