/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/guard/sentry.h"

#include "orchestrator/votes/lease_clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/machine.h"
#include "vmconnect/guard/sentry_private.h"
#include "vmconnect/guard/word.h"
#include "vmconnect/loop/program.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 16
#define REQUESTS_MAX 512 /* in one turn; the rest waits in the sockets */
#define UNREAD_BYTES \
    (4               \
     << 20) /* of words for one that reads them late: a few thousand, all that is said of many guests at once */
#define LOOK_MS 1000  /* between two looks at the socket */
#define LEAVE_MS 3000 /* that engines have to free guests of their leases before this guard ends */

/* --- those who are connected --------------------------------------------- */

static Client *client(const Sentry *s, guint i)
{
    return &g_array_index(s->clients, Client, i);
}

/* Start hooks come and go. */
static void client_close(Sentry *s, guint i, const char *why)
{
    const Client *c = client(s, i);

    if (c->words)
        log_info("the engine's connection %d is over (%s) -> the guard goes on alone with %u VMs", c->fd, why,
                 s->wards->len);
    else
        log_debug("connection %d is over (%s)", c->fd, why);
    close(c->fd);
    g_array_remove_index_fast(s->clients, i);
}

/* Who does not read is not waited for. */
static void send_to(Sentry *s, guint i, const Word *w)
{
    g_autoptr(GError) error = NULL;

    if (!word_send(client(s, i)->fd, w, -1, &error))
        client_close(s, i, error->message);
}

void sentry_tell(Sentry *s, const Word *w)
{
    for (guint i = s->clients->len; i > 0; i--)
        send_to(s, i - 1, w);
}

static gboolean knows(const Sentry *s, guint i, WordKind kind)
{
    return (client(s, i)->words & WORD_MASK(kind)) != 0;
}

static void tell_leaving(Sentry *s, guint i)
{
    if (s->leave_ms > 0 && knows(s, i, WORD_LEAVING))
        send_to(s, i, &(Word){.kind = WORD_LEAVING});
}

void sentry_know(Sentry *s, int fd, guint64 words)
{
    for (guint i = s->clients->len; i > 0; i--)
        if (client(s, i - 1)->fd == fd) {
            client(s, i - 1)->words = words;
            tell_leaving(s, i - 1);
        }
}

void sentry_answer(Sentry *s, int fd, const Word *w)
{
    for (guint i = 0; i < s->clients->len; i++)
        if (client(s, i)->fd == fd) {
            send_to(s, i, w);
            return;
        }
}

static gboolean is_root(int fd, uid_t *ret_uid)
{
    struct ucred who;
    socklen_t len = sizeof(who);

    *ret_uid = (uid_t)-1;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
        return FALSE;
    *ret_uid = who.uid;
    return who.uid == 0;
}

static void take_client(Sentry *s)
{
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    const Client came = {.fd = fd};
    uid_t uid;

    if (fd < 0)
        return;
    if (is_root(fd, &uid) && s->clients->len < CLIENTS_MAX) {
        setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &(int){UNREAD_BYTES}, sizeof(int));
        g_array_append_val(s->clients, came);
        return;
    }
    log_warning("user %d at the socket -> not heard: %s", (int)uid,
                uid == 0 ? "too many are connected" : "only root is");
    close(fd);
}

static void hear(Sentry *s, guint i)
{
    while (s->requests->len < REQUESTS_MAX) {
        g_autoptr(GError) error = NULL;
        Request r = {.client = client(s, i)->fd};

        if (word_receive(r.client, &r.word, &r.fd, &error))
            g_array_append_val(s->requests, r);
        else if (g_error_matches(error, US_ERROR, US_ERROR_BUSY))
            return;
        else {
            client_close(s, i, error->message);
            return;
        }
    }
}

/* --- the socket ---------------------------------------------------------- */

static gboolean place_of(const char *path, Place *ret_place)
{
    struct stat st;

    if (lstat(path, &st) != 0)
        return FALSE;
    *ret_place = (Place){st.st_dev, st.st_ino};
    return TRUE;
}

static gboolean is_at(const char *path, Place place)
{
    Place found;

    return place_of(path, &found) && found.dev == place.dev && found.ino == place.ino;
}

/* No other guard has its socket there. */
static gboolean claim(Sentry *s, GError **error)
{
    return program_claim(s->folder, error) &&
           (place_of(s->folder, &s->folder_at) || us_error_errno(error, errno, "folder %s", s->folder));
}

static gboolean listen_there(Sentry *s, GError **error)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    g_strlcpy(at.sun_path, s->socket_path, sizeof(at.sun_path));
    /* An earlier guard's; program_claim() says that it is gone. */
    unlink(s->socket_path);
    if (fd >= 0 && strlen(s->socket_path) < sizeof(at.sun_path) &&
        bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && chmod(s->socket_path, 0600) == 0 &&
        place_of(s->socket_path, &s->socket_at) && listen(fd, CLIENTS_MAX) == 0) {
        if (s->listener >= 0)
            close(s->listener);
        s->listener = fd;
        return TRUE;
    }
    us_error_errno(error, errno, "socket %s", s->socket_path);
    if (fd >= 0)
        close(fd);
    return FALSE;
}

/* With its folder, and the one that this is in; that others' are beside it is why that is not as closed. */
static gboolean listen_anew(Sentry *s, GError **error)
{
    g_autofree char *above = g_path_get_dirname(s->folder);

    if (!is_at(s->folder, s->folder_at) &&
        (!durable_mkdir(above, 0755, error) || !durable_mkdir(s->folder, 0700, error) || !claim(s, error)))
        return FALSE;
    care_write(s);
    return listen_there(s, error);
}

/* An engine that is started anew, and every start hook, would find nobody there. */
static void look_at_socket(Sentry *s)
{
    g_autoptr(GError) error = NULL;
    gint64 now_ms = lease_clock_now().boot_ms;

    if (now_ms < s->look_ms)
        return;
    s->look_ms = now_ms + LOOK_MS;
    if (is_at(s->socket_path, s->socket_at)) {
        s->listen_fails = FALSE;
        return;
    }
    if (listen_anew(s, &error))
        log_warning("somebody removed %s -> it is made anew; meanwhile no engine could speak to this guard",
                    s->socket_path);
    else if (!s->listen_fails)
        log_error("somebody removed %s, and it cannot be made anew: %s -> no engine can speak to this guard; "
                  "remove the cause, it is tried again by itself",
                  s->socket_path, error->message);
    s->listen_fails = error != NULL;
}

/* --- the end ------------------------------------------------------------- */

/* Whoever knows what that means frees guests of their leases before, which takes some ms: so nothing is held that is well. Told again,
 * it does not wait. */
static void begin_leaving(Sentry *s)
{
    if (s->leave_ms > 0)
        s->is_ending = TRUE;
    else
        supervisor_say(s->supervisor, "STOPPING=1");
    s->leave_ms = lease_clock_now().boot_ms + LEAVE_MS;
    for (guint i = s->clients->len; i > 0; i--)
        tell_leaving(s, i - 1);
}

static gboolean is_waited_for(const Sentry *s)
{
    for (guint i = 0; i < s->clients->len; i++)
        if (knows(s, i, WORD_LEAVING))
            return care_is_enforced(s);
    return FALSE;
}

static void leave_if_due(Sentry *s)
{
    if (s->leave_ms > 0 && (!is_waited_for(s) || lease_clock_now().boot_ms >= s->leave_ms))
        s->is_ending = TRUE;
}

/* --- the loop ------------------------------------------------------------ */

/* Twice in the time after which it would be killed as one that hangs. */
static void beat(Sentry *s)
{
    gint64 each_ms = supervisor_beat_ms(s->supervisor), now_ms = lease_clock_now().boot_ms;

    if (each_ms == 0 || now_ms < s->beat_ms)
        return;
    supervisor_say(s->supervisor, "WATCHDOG=1");
    s->beat_ms = now_ms + each_ms;
}

/* -1: for ever. */
static gint64 least_wait_ms(const Sentry *s)
{
    const gint64 due[] = {s->look_ms, supervisor_beat_ms(s->supervisor) > 0 ? s->beat_ms : -1,
                          s->leave_ms > 0 ? s->leave_ms : -1};
    gint64 wait_ms = care_wait_ms(s), now_ms = lease_clock_now().boot_ms;

    for (guint i = 0; i < G_N_ELEMENTS(due); i++) {
        gint64 left_ms = MAX(due[i] - now_ms, 0);

        if (due[i] >= 0 && (wait_ms < 0 || left_ms < wait_ms))
            wait_ms = left_ms;
    }
    return wait_ms;
}

/* It only wakes; what is over is read from both clocks. The other one may be ahead by a tenth, so nine tenths are slept, and then the rest. */
static void set_timer(Sentry *s)
{
    gint64 wait_ms = least_wait_ms(s);
    struct itimerspec at = {0};

    if (wait_ms > 20)
        wait_ms = wait_ms * 9 / 10;
    if (wait_ms >= 0) {
        at.it_value.tv_sec = wait_ms / 1000;
        at.it_value.tv_nsec = MAX(wait_ms % 1000 * 1000000, 1);
    }
    timerfd_settime(s->timer, 0, &at, NULL);
}

static void add_fd(GArray *fds, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    g_array_append_val(fds, p);
}

static void drain(int fd)
{
    struct signalfd_siginfo said;

    while (read(fd, &said, sizeof(said)) > 0)
        ;
}

enum { FD_LISTENER, FD_TIMER, FD_SIGNALS, FD_CLIENTS };

static void turn(Sentry *s, GArray *fds)
{
    const struct pollfd *p;
    guint clients = s->clients->len;
    gboolean behind;

    g_array_set_size(fds, 0);
    add_fd(fds, s->listener);
    add_fd(fds, s->timer);
    add_fd(fds, s->signals);
    for (guint i = 0; i < clients; i++)
        add_fd(fds, client(s, i)->fd);
    for (guint i = 0; i < s->wards->len; i++)
        add_fd(fds, ((Ward *)s->wards->pdata[i])->subject.fd);
    set_timer(s);
    if (poll((struct pollfd *)(void *)fds->data, fds->len, -1) < 0)
        return;
    p = (const struct pollfd *)(const void *)fds->data;
    /* What is due is done before anybody is heard, who may be many; but who was held up himself hears first what was said meanwhile. */
    behind = care_was_held_up(s);
    if (!behind)
        care_walk(s);
    if (p[FD_TIMER].revents)
        drain(s->timer);
    if (p[FD_SIGNALS].revents) {
        drain(s->signals);
        begin_leaving(s);
    }
    /* Backwards, for those that are closed; none has come or gone since but by care_walk(). */
    for (guint i = MIN(clients, s->clients->len); i > 0; i--)
        hear(s, i - 1);
    care_serve(s);
    /* Held up since then: it hears again. */
    if (behind || !care_was_held_up(s))
        care_walk(s);
    if (s->watchdog)
        watchdog_step(s->watchdog, s->wards, lease_clock_now());
    if (p[FD_LISTENER].revents)
        take_client(s);
    look_at_socket(s);
    beat(s);
    leave_if_due(s);
}

void sentry_run(Sentry *s)
{
    g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));

    supervisor_say(s->supervisor, "READY=1");
    while (!s->is_ending)
        turn(s, fds);
    if (s->watchdog)
        watchdog_end(s->watchdog, s->wards);
    care_end(s);
}

/* --- begin and end ------------------------------------------------------- */

static int open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

Sentry *sentry_new(const char *folder, Watchdog *steal_watchdog, GError **error)
{
    g_autoptr(Sentry) s = g_new0(Sentry, 1);
    Id boot;

    s->watchdog = steal_watchdog;
    s->supervisor = supervisor_new();
    s->listener = s->timer = s->signals = -1;
    s->wards = g_ptr_array_new_with_free_func((GDestroyNotify)ward_free);
    s->clients = g_array_new(FALSE, FALSE, sizeof(Client));
    s->requests = g_array_new(FALSE, FALSE, sizeof(Request));
    s->roll_path = g_build_filename(folder, "roll", NULL);
    s->socket_path = g_build_filename(folder, "socket", NULL);
    s->folder = g_strdup(folder);
    if (!claim(s, error) || !machine_boot_id(&boot, error) || !(s->shutter = shutter_new(error)))
        return NULL;
    s->boot_id = g_strdup(ID_TEXT(boot));
    s->signals = open_signals();
    s->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (s->signals < 0 || s->timer < 0) {
        us_error_errno(error, errno, "no timer");
        return NULL;
    }
    care_begin(s);
    if (s->watchdog && !watchdog_begin(s->watchdog, s->wards, lease_clock_now(), error))
        return NULL;
    return listen_there(s, error) ? g_steal_pointer(&s) : NULL;
}

void sentry_free(Sentry *s)
{
    const int fds[] = {s ? s->listener : -1, s ? s->timer : -1, s ? s->signals : -1};

    if (!s)
        return;
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    for (guint i = 0; i < s->clients->len; i++)
        close(client(s, i)->fd);
    g_array_unref(s->clients);
    g_array_unref(s->requests);
    g_ptr_array_unref(s->wards);
    shutter_free(s->shutter);
    watchdog_free(s->watchdog);
    supervisor_free(s->supervisor);
    g_free(s->folder);
    g_free(s->roll_path);
    g_free(s->socket_path);
    g_free(s->boot_id);
    g_free(s);
}
