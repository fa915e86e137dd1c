/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "tests/tree.h"
#include "vmconnect/base/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 10000
#define TICK_MS 10

char *scratch_new(void)
{
    g_autoptr(GError) error = NULL;
    char *dir = g_dir_make_tmp("understudy-link-XXXXXX", &error);

    g_assert_no_error(error);
    return dir;
}

void scratch_remove(char *dir)
{
    tree_remove(dir);
    g_free(dir);
}

Identity *stranger(const char *dir, Role role)
{
    static guint n;
    g_autofree char *name = g_strdup_printf("identity-%u", n++);
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autoptr(GError) error = NULL;
    Identity *identity = identity_open(path, role, &error);

    g_assert_no_error(error);
    return identity;
}

/* What identity_adopt() rightly refuses for an ended certificate. */
static void write_owner(const char *dir, const char *certificate, const char *authority)
{
    g_autofree char *path = g_build_filename(dir, "owner.pem", NULL);
    g_autofree char *text = g_strconcat("understudy-owner 1\n", certificate, authority, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

Identity *owned(const char *dir, Role role, const Issuer *issuer, gint64 seconds)
{
    static guint n;
    g_autofree char *name = g_strdup_printf("owned-%u", n++);
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(Identity) bare = identity_open(path, role, &error);
    g_autoptr(GBytes) key = identity_public_key(bare);
    g_autofree char *certificate = NULL;
    Identity *identity;

    g_assert_no_error(error);
    certificate = issuer_issue_peer(issuer, key, role, identity_peer(bare).id, seconds, &error);
    g_assert_no_error(error);
    if (seconds > 0) {
        identity = identity_adopt(bare, certificate, issuer_certificate(issuer), &error);
    } else {
        write_owner(path, certificate, issuer_certificate(issuer));
        identity = identity_open(path, role, &error);
    }
    g_assert_no_error(error);
    return identity;
}

void connect_tcp(int *ret_dialer, int *ret_listener)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(in);
    int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert(bind(door, (struct sockaddr *)&in, sizeof(in)) == 0 && listen(door, 1) == 0);
    g_assert(getsockname(door, (struct sockaddr *)&in, &len) == 0);
    *ret_dialer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert(connect(*ret_dialer, (struct sockaddr *)&in, sizeof(in)) == 0);
    *ret_listener = accept(door, NULL, NULL);
    g_assert(*ret_listener >= 0);
    close(door);
}

Pair pair_new(const LinkSettings *dialer, const LinkSettings *listener)
{
    Pair pair = {0};
    int a, b;

    connect_tcp(&a, &b);
    pair.dialer = link_new_dialer(a, dialer);
    pair.listener = link_new_listener(b, listener);
    return pair;
}

void pair_clear(Pair *pair)
{
    g_clear_pointer(&pair->dialer, link_free);
    g_clear_pointer(&pair->listener, link_free);
    g_clear_error(&pair->dialer_error);
    g_clear_error(&pair->listener_error);
}

static int sooner(int a, int b)
{
    return a < 0 ? b : b < 0 ? a : MIN(a, b);
}

void pair_run(Pair *pair, PairUntil until)
{
    gint64 deadline = clock_steady_ms() + PATIENCE_MS;

    while (!until(pair)) {
        struct pollfd fds[2] = {{.fd = -1}, {.fd = -1}};
        int timeout = 1000;

        g_assert_cmpint(clock_steady_ms(), <, deadline);
        if (!pair->dialer_error) {
            fds[0] = (struct pollfd){link_fd(pair->dialer), link_events(pair->dialer), 0};
            timeout = sooner(timeout, link_timeout_ms(pair->dialer));
        }
        if (!pair->listener_error) {
            fds[1] = (struct pollfd){link_fd(pair->listener), link_events(pair->listener), 0};
            timeout = sooner(timeout, link_timeout_ms(pair->listener));
        }
        g_assert(poll(fds, 2, timeout) >= 0);
        if (!pair->dialer_error)
            link_pump(pair->dialer, fds[0].revents, &pair->dialer_error);
        if (!pair->listener_error)
            link_pump(pair->listener, fds[1].revents, &pair->listener_error);
    }
}

static gboolean is_up(const Link *link)
{
    return link_state(link) == LINK_OPEN || link_state(link) == LINK_STRANGER;
}

gboolean both_up(const Pair *pair)
{
    g_assert_no_error(pair->dialer_error);
    g_assert_no_error(pair->listener_error);
    return is_up(pair->dialer) && is_up(pair->listener);
}

gboolean both_over(const Pair *pair)
{
    return pair->dialer_error && pair->listener_error;
}

void house_init(House *house)
{
    g_autoptr(GError) error = NULL;

    house->dir = scratch_new();
    house->issuer = issuer_new("test", &error);
    g_assert_no_error(error);
    house->controller = owned(house->dir, ROLE_CONTROLLER, house->issuer, A_YEAR);
    house->active = owned(house->dir, ROLE_ENGINE, house->issuer, A_YEAR);
    house->standby = owned(house->dir, ROLE_ENGINE, house->issuer, A_YEAR);
}

void house_clear(House *house)
{
    identity_unref(house->controller);
    identity_unref(house->active);
    identity_unref(house->standby);
    issuer_free(house->issuer);
    scratch_remove(house->dir);
}

Pair house_pair(const House *house, Purpose purpose)
{
    LinkSettings dialer = {.identity = purpose == PURPOSE_BULK ? house->active : house->controller,
                           .purpose = purpose};
    LinkSettings listener = {.identity = house->standby};
    Pair pair = pair_new(&dialer, &listener);

    pair_run(&pair, both_up);
    return pair;
}

static void on_too_late(uv_timer_t *timer)
{
    (void)timer;
    g_error("the loop was turned for 20 s in vain");
}

static void on_timer_closed(uv_handle_t *handle)
{
    g_free(handle);
}

/* A timer that fails the test; to be closed. */
static uv_timer_t *guard(uv_loop_t *loop)
{
    uv_timer_t *timer = g_new0(uv_timer_t, 1);

    uv_timer_init(loop, timer);
    uv_timer_start(timer, on_too_late, 20000, 0);
    return timer;
}

void loop_until(uv_loop_t *loop, const gboolean *until)
{
    uv_timer_t *timer = guard(loop);

    while (!*until)
        uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)timer, on_timer_closed);
}

static void on_tick(uv_timer_t *timer)
{
    if (clock_steady_ms() > ((const LoopLimit *)timer->data)->deadline_ms)
        g_error("the loop was turned in vain");
}

void loop_limit_begin(LoopLimit *p, uv_loop_t *loop, gint64 limit_ms)
{
    p->deadline_ms = clock_steady_ms() + limit_ms;
    uv_timer_init(loop, &p->tick);
    p->tick.data = p;
    uv_timer_start(&p->tick, on_tick, 0, TICK_MS);
}

void loop_limit_end(LoopLimit *p)
{
    uv_close((uv_handle_t *)&p->tick, NULL);
}

void loop_end(uv_loop_t *loop)
{
    uv_timer_t *timer = guard(loop);

    uv_unref((uv_handle_t *)timer);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)timer, on_timer_closed);
    uv_run(loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(loop), ==, 0);
}
