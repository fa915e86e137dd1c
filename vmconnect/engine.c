/* SPDX-License-Identifier: Apache-2.0 */
/* understudy-engine - the program on every libvirt host.
 *
 * Happy path: read the configuration, open what is ours, start a thread for each
 * role of the policy, open the port; from then on callbacks. The end is the same
 * way back: no new links, threads end, then the threads that talk to libvirt,
 * then the loop runs dry. */
#include "vmconnect/engine.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/hypervisor/event_uv.h"
#include "vmconnect/hypervisor/rescue.h"
#include "vmconnect/link/dial.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESCUE_MS 20000

static const ConfKey KEYS[] = {
    {"listen", "", "address to listen on; empty: all"},
    {"port", "25000", "TCP port to listen on"},
    {"libvirt", CONNECTION_DEFAULT_URI, "libvirt's URI on this host"},
    {"state", "/var/lib/understudy/engine", "folder of identity, policy, guard files; 0700"},
    {"store", "/var/lib/understudy/images", "folder of the copies that this host keeps"},
    {"scratch", "/var/lib/understudy/scratch",
     "folder for libvirt's scratch files; local file system, no quota"},
    {"run", "/run/understudy/engine", "folder of sockets and permits; must not survive a boot"},
    {"qemu_user", "",
     "user that QEMU runs as and that must bind sockets; empty: what qemu.conf means (libvirt-qemu)"},
    {"log", "info", "error, warning, notice, info or debug"},
    {NULL},
};

/* --- start ------------------------------------------------------------- */

static char *under(const char *dir, const char *name)
{
    return g_build_filename(dir, name, NULL);
}

static void set_paths(Engine *e)
{
    const char *state = conf_get(e->conf, "state");
    const char *run = conf_get(e->conf, "run");

    e->paths = (EnginePaths){
        .state = g_strdup(state),
        .guard = under(state, "guard"),
        .plan = under(state, "plan"),
        .store = g_strdup(conf_get(e->conf, "store")),
        .scratch = g_strdup(conf_get(e->conf, "scratch")),
        .run = g_strdup(run),
        .nbd = under(run, "nbd"),
        .permit = under(run, "permit"),
        .token_file = under(state, "token.json"),
        .token_print = under(run, "token"),
    };
}

/* Whom the folders where QEMU binds and writes belong to. */
static gboolean give_to_qemu(const Engine *e, const char *dir, GError **error)
{
    const char *name = conf_get(e->conf, "qemu_user");
    const struct passwd *user = getpwnam(*name ? name : "libvirt-qemu");

    if (!user && *name) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "qemu_user: there is no user '%s'", name);
        return FALSE;
    }
    if (user && chown(dir, user->pw_uid, user->pw_gid) != 0)
        return us_error_errno(error, errno, "cannot give %s to %s", dir, user->pw_name);
    return TRUE;
}

static gboolean make_folders(const Engine *e, GError **error)
{
    const EnginePaths *p = &e->paths;
    const char *const ours[] = {p->state, p->guard, p->plan, p->permit, NULL};

    /* QEMU's user passes through these; it can list nothing. */
    if (!durable_mkdir(p->store, 0711, error) || !durable_mkdir(p->run, 0711, error) ||
        g_chmod(p->run, 0711) != 0)
        return FALSE;
    for (const char *const *dir = ours; *dir; dir++)
        if (!durable_mkdir(*dir, 0700, error))
            return FALSE;
    return durable_mkdir(p->nbd, 0700, error) && give_to_qemu(e, p->nbd, error) &&
           durable_mkdir(p->scratch, 0700, error) && give_to_qemu(e, p->scratch, error);
}

static void on_rescuer(void *user, const RescuerNews *news)
{
    (void)user;
    log_warning("vm %s: %s", ID_TEXT(news->vm), news->why);
}

static void on_ears(void *user, const EarEvent *event)
{
    Engine *e = user;

    if (event->kind == EAR_DOWN)
        log_warning("libvirt: %s -> guests are not touched, replication waits", event->why->message);
    if (event->kind == EAR_RESYNC)
        log_info("libvirt: connected, %u VMs", event->inventory->vms->len);
    rescuer_hear(e->rescuer, event);
}

static void on_status(void *user)
{
    serve_news(user);
}

static void on_role_ended(void *user, Id vm, gboolean standby)
{
    serve_play_again(user, vm, standby);
}

static void finish(Engine *e);

static void on_quiet(void *user)
{
    finish(user);
}

static void on_owned(void *user, Identity *identity)
{
    Engine *e = user;

    identity_unref(e->identity);
    e->identity = identity;
    listener_set_identity(e->listener, identity);
    log_notice("this engine has an owner now");
}

static void on_wrong_token(void *user, const char *from, guint left)
{
    (void)user;
    log_warning("%s came with a wrong token -> %u more and the token ends", from, left);
}

static gboolean may_enrol(void *user)
{
    const Engine *e = user;

    return e->desk && enrol_desk_live(e->desk);
}

gboolean engine_open_desk(Engine *e, GError **error)
{
    EnrolDeskEvents desk = {.on_owned = on_owned, .on_wrong = on_wrong_token};

    enrol_desk_close(g_steal_pointer(&e->desk));
    e->desk =
        enrol_desk_new(&e->loop, e->identity, e->paths.token_file, e->paths.token_print, &desk, e, error);
    if (!e->desk)
        return FALSE;
    log_notice("this engine has no owner -> enrol it with the token in %s", e->paths.token_print);
    return TRUE;
}

static gboolean open_gate(Engine *e, GError **error)
{
    ListenerEvents events = {.may_enrol = may_enrol, .on_link = gate_on_link, .on_refused = gate_on_refused};
    const char *address = conf_get(e->conf, "listen");
    guint64 port;

    if (!g_ascii_string_to_unsigned(conf_get(e->conf, "port"), 10, 1, 65535, &port, NULL)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "port: '%s' is not a TCP port",
                    conf_get(e->conf, "port"));
        return FALSE;
    }
    e->listener =
        listener_new(&e->loop, *address ? address : NULL, (guint16)port, e->identity, &events, e, error);
    if (!e->listener || identity_is_owned(e->identity))
        return e->listener != NULL;
    return engine_open_desk(e, error);
}

static void play_all(Engine *e)
{
    g_autoptr(GPtrArray) actives = policy_actives(e->policy);
    g_autoptr(GPtrArray) standbys = policy_standbys(e->policy);

    for (guint i = 0; i < actives->len; i++) {
        json_auto_t *doc = active_role_to_json(actives->pdata[i]);

        roles_play_active(e->roles, active_role_from_json(doc, NULL), e->identity);
    }
    for (guint i = 0; i < standbys->len; i++)
        roles_play_standby(e->roles, standbys->pdata[i]);
}

static gboolean start(Engine *e, GError **error)
{
    const char *uri = conf_get(e->conf, "libvirt");
    RolesEvents events = {.on_status = on_status, .on_ended = on_role_ended, .on_quiet = on_quiet};
    RolesPaths paths;
    g_autofree char *identity = under(e->paths.state, "identity");
    g_autofree char *policy = under(e->paths.state, "policy.json");

    if (!make_folders(e, error))
        return FALSE;
    e->identity = identity_open(identity, ROLE_ENGINE, error);
    e->policy = e->identity ? policy_load(policy, error) : NULL;
    if (!e->policy)
        return FALSE;
    event_uv_start(&e->loop);
    e->clerk = clerk_new(&e->loop);
    e->hands = hands_new(&e->loop, uri);
    e->rescuer = rescuer_new(&e->loop, uri, e->paths.run, on_rescuer, e);
    e->ears = ears_new(&e->loop, uri, on_ears, e);
    paths = (RolesPaths){.host = {.libvirt_uri = uri,
                                  .nbd_dir = e->paths.nbd,
                                  .scratch_dir = e->paths.scratch,
                                  .run_dir = e->paths.run,
                                  .guard_dir = e->paths.guard,
                                  .permit_dir = e->paths.permit,
                                  .plan_dir = e->paths.plan},
                         .store_dir = e->paths.store};
    e->roles = roles_new(&e->loop, &paths, e->rescuer, &events, e);
    if (!open_gate(e, error))
        return FALSE;
    play_all(e);
    return TRUE;
}

/* --- end --------------------------------------------------------------- */

static void on_part_closed(void *user)
{
    Engine *e = user;

    g_assert(e->open > 0);
    e->open--;
}

/* The threads of the roles are gone; now those that talk to libvirt. */
static void finish(Engine *e)
{
    clerk_close(g_steal_pointer(&e->clerk));
    e->open = 3;
    hands_close(e->hands, on_part_closed, e);
    ears_close(e->ears, on_part_closed, e);
    rescuer_close(e->rescuer, on_part_closed, e);
    roles_free(g_steal_pointer(&e->roles));
}

static void begin_end(Engine *e)
{
    if (e->ending)
        return;
    e->ending = TRUE;
    listener_close(g_steal_pointer(&e->listener));
    enrol_desk_close(g_steal_pointer(&e->desk));
    gate_close(e);
    uv_close((uv_handle_t *)&e->news_timer, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(e->signals); i++)
        uv_close((uv_handle_t *)&e->signals[i], NULL);
    roles_quit(e->roles);
}

static void on_signal(uv_signal_t *signal, int signum)
{
    log_notice("signal %d -> end; replication goes on at the next start", signum);
    begin_end(signal->data);
}

static void run_dry(Engine *e)
{
    while (e->roles || e->open > 0 || event_uv_watches() > 0)
        uv_run(&e->loop, UV_RUN_ONCE);
    event_uv_stop();
    uv_run(&e->loop, UV_RUN_DEFAULT);
}

static void engine_init(Engine *e)
{
    const int numbers[] = {SIGTERM, SIGINT};

    uv_loop_init(&e->loop);
    e->visits = g_ptr_array_new();
    e->arriving = g_ptr_array_new();
    uv_timer_init(&e->loop, &e->news_timer);
    e->news_timer.data = e;
    for (guint i = 0; i < G_N_ELEMENTS(e->signals); i++) {
        uv_signal_init(&e->loop, &e->signals[i]);
        e->signals[i].data = e;
        uv_signal_start(&e->signals[i], on_signal, numbers[i]);
    }
}

static void engine_clear(Engine *e)
{
    EnginePaths *p = &e->paths;
    char **const all[] = {&p->state, &p->guard, &p->plan,   &p->store,      &p->scratch,
                          &p->run,   &p->nbd,   &p->permit, &p->token_file, &p->token_print};

    for (guint i = 0; i < G_N_ELEMENTS(all); i++)
        g_clear_pointer(all[i], g_free);
    g_clear_pointer(&e->visits, g_ptr_array_unref);
    g_clear_pointer(&e->arriving, g_ptr_array_unref);
    g_clear_pointer(&e->policy, policy_free);
    g_clear_pointer(&e->identity, identity_unref);
}

static int run_engine(Conf *conf)
{
    g_autofree Engine *e = g_new0(Engine, 1);
    g_autoptr(GError) error = NULL;

    e->conf = conf;
    set_paths(e);
    engine_init(e);
    if (!start(e, &error)) {
        log_error("%s", error->message);
        /* Nothing has been done yet that an end in good order would have to undo. */
        return us_error_exit(error);
    }
    log_info("understudy-engine %s, port %u", UNDERSTUDY_VERSION, listener_port(e->listener));
    while (!e->ending)
        uv_run(&e->loop, UV_RUN_ONCE);
    run_dry(e);
    if (uv_loop_close(&e->loop) != 0)
        log_warning("something was still open at the end");
    engine_clear(e);
    return 0;
}

/* --- the commands for root --------------------------------------------- */

static Identity *open_identity(const Conf *conf, GError **error)
{
    g_autofree char *dir = under(conf_get(conf, "state"), "identity");

    return identity_open(dir, ROLE_ENGINE, error);
}

static gboolean print_token(const Conf *conf, GError **error)
{
    g_autoptr(Identity) identity = open_identity(conf, error);
    g_autofree char *file = under(conf_get(conf, "state"), "token.json");
    g_autofree char *print = under(conf_get(conf, "run"), "token");
    g_autofree char *text = NULL;

    if (!identity || !enrol_token_renew(identity, file, print, &text, error))
        return FALSE;
    g_print("%s\n", text);
    g_printerr("valid for 24 hours, once; restart understudy-engine if it is running, so that it takes this "
               "token\n");
    return TRUE;
}

static gboolean disown(const Conf *conf, GError **error)
{
    g_autoptr(Identity) identity = open_identity(conf, error);
    g_autoptr(Identity) free_again = identity ? identity_disown(identity, error) : NULL;

    if (!free_again)
        return FALSE;
    g_printerr("this engine has no owner any more; restart understudy-engine, it will print a new token\n");
    return TRUE;
}

static gboolean rescue(const Conf *conf, GError **error)
{
    return rescue_all(conf_get(conf, "libvirt"), conf_get(conf, "run"), RESCUE_MS, NULL, error);
}

typedef struct {
    const char *name;
    gboolean (*run)(const Conf *conf, GError **error);
    const char *help;
} Subcommand;

static const Subcommand SUBCOMMANDS[] = {
    {"token", print_token, "make and print a new token for a controller"},
    {"disown", disown, "forget this engine's controller"},
    {"rescue", rescue, "end our backup jobs, resume and thaw what they stopped"},
};

static int fail(const GError *error)
{
    g_printerr("understudy-engine: %s\n", error->message);
    return us_error_exit(error);
}

static int run_subcommand(const char *name, const Conf *conf)
{
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(SUBCOMMANDS); i++)
        if (g_str_equal(SUBCOMMANDS[i].name, name))
            return SUBCOMMANDS[i].run(conf, &error) ? 0 : fail(error);
    g_printerr("understudy-engine: there is no command '%s'; see --help\n", name);
    return 2;
}

static char *summary(void)
{
    GString *text =
        g_string_new("Replicates this host's virtual machines and keeps copies of others.\n\nCommands:\n"
                     "  (none)      run, until SIGTERM\n");

    for (guint i = 0; i < G_N_ELEMENTS(SUBCOMMANDS); i++)
        g_string_append_printf(text, "  %-10s  %s\n", SUBCOMMANDS[i].name, SUBCOMMANDS[i].help);
    return g_string_free(text, FALSE);
}

int main(int argc, char **argv)
{
    g_autofree char *path = NULL;
    gboolean check = FALSE;
    gboolean version = FALSE;
    LogLevel level;
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &path, "configuration file", "FILE"},
        {"check", 0, 0, G_OPTION_ARG_NONE, &check, "read the configuration and say whether it is good", NULL},
        {"version", 0, 0, G_OPTION_ARG_NONE, &version, "print the version", NULL},
        {NULL},
    };
    g_autoptr(GOptionContext) options = g_option_context_new("[COMMAND]");
    g_autofree char *text = summary();
    g_autoptr(GError) error = NULL;
    g_autoptr(Conf) conf = NULL;

    g_option_context_add_main_entries(options, entries, NULL);
    g_option_context_set_summary(options, text);
    if (!g_option_context_parse(options, &argc, &argv, &error)) {
        g_printerr("understudy-engine: %s\n", error->message);
        return 2;
    }
    if (version) {
        g_print("understudy-engine %s\n", UNDERSTUDY_VERSION);
        return 0;
    }
    conf = conf_load(path ? path : "/etc/understudy/engine.conf", "engine", KEYS, &error);
    if (!conf || !log_level_parse(conf_get(conf, "log"), &level, &error))
        return fail(error);
    if (check)
        return 0;
    log_set_level(level);
    /* Modes are given where files are made; QEMU's user must pass through some of our folders. */
    umask(0022);
    return argc > 1 ? run_subcommand(argv[1], conf) : run_engine(conf);
}
