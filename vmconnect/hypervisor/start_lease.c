/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/start_lease.h"

#include "orchestrator/votes/lease_clock.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/guard/taps.h"
#include "vmconnect/guard/word.h"
#include "vmconnect/hypervisor/qemu_process.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* --- its lease ----------------------------------------------------------- */

static gboolean refuse_unreadable(const char *name, const GError *why, GError **error)
{
    g_set_error(
        error, US_ERROR, why->code,
        "Understudy does not let '%s' start: until when it may run on this host cannot be read (%s), "
        "and another host may run it by then. Run `systemctl restart understudy-engine`, which writes "
        "that anew, and start it again.",
        name, why->message);
    return FALSE;
}

/* TRUE: *@ret_entry is its lease, or of no VM. */
static gboolean find(const char *lease_file, Id vm, const char *name, LeaseEntry *ret_entry, GError **error)
{
    g_autoptr(GError) why = NULL;

    *ret_entry = (LeaseEntry){.vm = ID_NIL};
    return lease_file_find(lease_file, vm, ret_entry, &why) ||
           g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND) || refuse_unreadable(name, why, error);
}

gboolean start_lease_judge(const char *lease_file, const Guard *g, const char *name, gint64 least_ms,
                           LeaseEntry *ret_entry, GError **error)
{
    gint64 left_ms;

    if (!find(lease_file, g->vm, name, ret_entry, error))
        return FALSE;
    if (id_is_nil(ret_entry->vm))
        return TRUE;
    if (!reign_equal(ret_entry->reign, g->reign)) {
        g_set_error(
            error, US_ERROR, US_ERROR_REFUSED,
            "Understudy does not let '%s' start: the lease that this host holds is of term %" G_GUINT64_FORMAT
            ", not of term %" G_GUINT64_FORMAT
            ", which it is the active of, and protects nobody from a second "
            "copy of it. Its engine puts that right within seconds; if not, see `understudy status %s`.",
            name, ret_entry->reign.number, g->reign.number, g->scenario);
        return FALSE;
    }
    left_ms = lease_left_ms(ret_entry->until, lease_clock_now());
    if (left_ms >= least_ms)
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "Understudy does not let '%s' start: this host's lease for it %s, and without one another host may "
        "take "
        "it over at any moment. Start it again when its standby or the controller answers this host and the "
        "lease is renewed: `understudy status %s`.",
        name, left_ms > 0 ? "is about to end" : "is over", g->scenario);
    return FALSE;
}

/* --- the guard ----------------------------------------------------------- */

static int open_guard(const char *path, GError **error)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = START_LEASE_ANSWER_MS / 1000};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    g_strlcpy(at.sun_path, path, sizeof(at.sun_path));
    /* Of connect(2), too, where many wait already. */
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
        connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
        return fd;
    us_error_errno(error, errno, "%s", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Its answer to @said, among what it tells everybody. */
static gboolean hear(int guard, const Word *said, GError **error)
{
    gint64 deadline_ms = clock_steady_ms() + START_LEASE_ANSWER_MS;
    struct pollfd p = {.fd = guard, .events = POLLIN};
    Word got;

    do {
        if (poll(&p, 1, clock_left_ms(deadline_ms)) <= 0) {
            g_set_error(error, US_ERROR, US_ERROR_TIMEOUT, "it does not answer");
            return FALSE;
        }
        if (!word_receive(guard, &got, NULL, error))
            return FALSE;
    } while ((got.kind != WORD_DONE && got.kind != WORD_REFUSED) || !id_equal(got.vm, said->vm));
    if (got.kind == WORD_REFUSED)
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "%s", got.text);
    return got.kind == WORD_DONE;
}

static gboolean ask(const char *socket_path, const Word *said, int fd, GError **error)
{
    int guard = open_guard(socket_path, error);
    gboolean done = guard >= 0 && word_send(guard, said, fd, error) && hear(guard, said, error);

    if (guard >= 0)
        close(guard);
    return done;
}

static gboolean refuse_unguarded(const char *name, const GError *why, GError **error)
{
    g_set_error(
        error, US_ERROR, why->code,
        "Understudy does not let '%s' start: understudy-guard, which would stop it when this host's lease "
        "for it ends, does not take it into its care (%s), and without that two hosts could run it at "
        "once. See `systemctl status understudy-guard`, and start it again.",
        name, why->message);
    return FALSE;
}

gboolean start_lease_expect_guard(const StartLease *at, Id vm, const char *name, GError **error)
{
    g_autoptr(GError) why = NULL;
    LeaseEntry lease;

    if (!find(at->lease_file, vm, name, &lease, error))
        return FALSE;
    return id_is_nil(lease.vm) || ask(at->socket, &(Word){.kind = WORD_LIST}, -1, &why) ||
           refuse_unguarded(name, why, error);
}

/* --- into its care ------------------------------------------------------- */

static gboolean take_taps(int pidfd, Word *w, GError **error)
{
    gboolean more = TRUE;
    pid_t pid = qemu_process_pid(pidfd);

    if (pid > 0)
        w->taps = taps_of_process(pid, w->tap, &more);
    /* What was read was of this process if that lives still. */
    if (pid > 0 && !more && qemu_process_pid(pidfd) == pid)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED,
                "not all of its network cards can be seen, or it has more than %d", WORD_TAPS_MAX);
    return FALSE;
}

static gboolean keep(const StartLease *at, const LeaseEntry *lease, const char *name, GError **error)
{
    Word w = {.kind = WORD_KEEP,
              .vm = lease->vm,
              .reign = lease->reign,
              .is_enforced = TRUE,
              .until = lease->until};
    gboolean gone, done;
    int pidfd = qemu_process_open(at->process_folder, name, lease->vm, &gone, error);

    if (pidfd < 0)
        return FALSE;
    done = take_taps(pidfd, &w, error) && ask(at->socket, &w, pidfd, error);
    close(pidfd);
    return done;
}

gboolean start_lease_give(const StartLease *at, Id vm, const char *name, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(Guard) g = guard_read(at->guard_folder, vm, &why);
    LeaseEntry lease;

    if (!g)
        return g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND) || refuse_unreadable(name, why, error);
    /* That it may not start was said before, if it was so then. */
    if (g->role != GUARD_ACTIVE)
        return TRUE;
    if (!start_lease_judge(at->lease_file, g, name, 1, &lease, error))
        return FALSE;
    return id_is_nil(lease.vm) || keep(at, &lease, name, &why) || refuse_unguarded(name, why, error);
}
