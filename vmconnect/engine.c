/* SPDX-License-Identifier: Apache-2.0 */
/* understudy-engine - the program on every libvirt host.
 *
 * Happy path: read the configuration, open what is ours, open the port, start a
 * thread for each role of the policy; from then on callbacks. The end is the same
 * way back: no new links, threads end, then the threads that talk to libvirt,
 * then the loop runs dry. */
#include "vmconnect/engine.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/console_here.h"
#include "vmconnect/hypervisor/event_uv.h"
#include "vmconnect/hypervisor/guard_judge.h"
#include "vmconnect/hypervisor/rescue.h"
#include "vmconnect/link/dial.h"
#include "vmconnect/loop/program.h"
#include "vmconnect/promote_here.h"
#include "vmconnect/start_alone.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <libxml/parser.h>
#include <linux/magic.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define NAME "understudy-engine"
#define RESCUE_MS 20000
#define NAMING_HANDS 2
#define WATCHES_MS 2000 /* so long libvirt may take to let go of connections that nobody uses */

static const ConfKey KEYS[] = {
    {"listen", "", "address to listen on; empty: all"},
    {"port", "25000", "TCP port to listen on"},
    {"libvirt", CONNECTION_DEFAULT_URI, "libvirt's URI on this host"},
    {"store", "/var/lib/understudy/images", "folder of the copies that this host keeps"},
    {"scratch", "/var/lib/understudy/scratch",
     "folder for libvirt's scratch files, and nothing else; local file system, no quota"},
    {"qemu_user", "",
     "user that QEMU runs as and that must bind sockets; empty: what qemu.conf means (libvirt-qemu)"},
    {"probes", "/etc/understudy/probes", "folder of the programs that a check of the kind script may run"},
    {"tests_at_once", "0", "VMs of integrity tests that run at a time; 0: as many as memory allows"},
    {"restart_libvirtd", "",
     "command that restarts libvirtd, run when that has lost a backup job of ours; empty: never"},
    {"log", "info", "error, warning, notice, info or debug"},
    {NULL},
};

/* Not to be configured: the start hook, which is asked about every guest of this host, looks there. */
#define STATE_FOLDER "/var/lib/understudy/engine"
#define RUN_FOLDER "/run/understudy/engine"

/* --- start ------------------------------------------------------------- */

static char *under(const char *dir, const char *name)
{
    return g_build_filename(dir, name, NULL);
}

static void set_paths(Engine *e)
{
    e->paths = (EnginePaths){
        .state = g_strdup(STATE_FOLDER),
        .identity = under(STATE_FOLDER, "identity"),
        .guard = g_strdup(GUARD_FOLDER),
        .plan = under(STATE_FOLDER, "plan"),
        .store = g_strdup(conf_get(e->conf, "store")),
        .scratch = g_strdup(conf_get(e->conf, "scratch")),
        .run = g_strdup(RUN_FOLDER),
        .nbd = under(RUN_FOLDER, "nbd"),
        .permit = g_strdup(PERMIT_FOLDER),
        .test = g_strdup(TEST_PERMIT_FOLDER),
        .obeyed = under(STATE_FOLDER, "obeyed.json"),
        .token_file = under(STATE_FOLDER, "token.json"),
        .token_print = under(RUN_FOLDER, "token"),
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

/* An error of scratch other than "no space" reaches the guest as an I/O error of its own disk: a
 * file system that may not answer is no place for it. */
static gboolean check_scratch(const char *dir, GError **error)
{
    static const struct {
        guint32 magic;
        const char *name;
    } REMOTE[] = {
        {NFS_SUPER_MAGIC, "NFS"},  {SMB_SUPER_MAGIC, "SMB"},   {CIFS_SUPER_MAGIC, "CIFS"},
        {SMB2_SUPER_MAGIC, "SMB"}, {CEPH_SUPER_MAGIC, "Ceph"}, {FUSE_SUPER_MAGIC, "FUSE"},
        {V9FS_MAGIC, "9P"},        {AFS_SUPER_MAGIC, "AFS"},   {OCFS2_SUPER_MAGIC, "OCFS2"},
    };
    struct statfs fs;

    if (statfs(dir, &fs) != 0)
        return us_error_errno(error, errno, "scratch folder %s", dir);
    for (guint i = 0; i < G_N_ELEMENTS(REMOTE); i++)
        if ((guint32)fs.f_type == REMOTE[i].magic) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE,
                        "scratch: %s is on %s, and when that fails every protected guest would see an I/O "
                        "error on its own disks; name a folder on a local file system in engine.conf",
                        dir, REMOTE[i].name);
            return FALSE;
        }
    return TRUE;
}

gboolean engine_make_folders(const Engine *e, GError **error)
{
    const EnginePaths *p = &e->paths;
    const char *const ours[] = {p->state, p->guard, p->plan, p->permit, p->test, NULL};

    /* QEMU's user passes through these; it can list nothing. */
    if (!durable_mkdir(p->store, 0711, error) || !durable_mkdir(p->run, 0711, error) ||
        g_chmod(p->run, 0711) != 0)
        return FALSE;
    for (const char *const *dir = ours; *dir; dir++)
        if (!durable_mkdir(*dir, 0700, error))
            return FALSE;
    return durable_mkdir(p->nbd, 0700, error) && give_to_qemu(e, p->nbd, error) &&
           durable_mkdir(p->scratch, 0700, error) && check_scratch(p->scratch, error) &&
           give_to_qemu(e, p->scratch, error);
}

static void on_rescuer(void *user, const RescuerNews *news)
{
    Engine *e = user;

    log_warning("vm %s: %s", ID_TEXT(news->vm), news->why);
    if (e->roles && (news->kind == RESCUER_JOB_ENDED || news->kind == RESCUER_RESUMED))
        roles_rescued(e->roles, news->vm, news->why);
}

static void on_ears(void *user, const EarEvent *event)
{
    Engine *e = user;

    if (event->kind == EAR_DOWN)
        log_warning("libvirt: %s -> guests are not touched, replication waits", event->why->message);
    if (event->kind == EAR_RESYNC)
        log_info("libvirt: connected, %u VMs", event->inventory->vms->len);
    if (event->kind == EAR_RESYNC && !e->ending) {
        serve_trial_tidy(e);
        serve_test_tidy(e);
    }
    rescuer_hear(e->rescuer, event);
    if (e->ending)
        return;
    guests_hear(e->guests, event);
    if (e->tenure)
        tenure_hear(e->tenure, event);
}

static void on_status(void *user, gboolean urgent)
{
    (urgent ? serve_news_now : serve_news)(user);
}

static void on_other_news(void *user)
{
    serve_news(user);
}

static void on_guests(void *user)
{
    Engine *e = user;

    tenure_look(e->tenure);
    serve_news(e);
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

static gboolean open_gate(Engine *e, GError **error)
{
    ListenerEvents events = {
        .may_enrol = owner_may_enrol, .on_link = gate_on_link, .on_refused = gate_on_refused};
    guint16 port;

    if (!program_port(e->conf, &port, error))
        return FALSE;
    e->listener = listener_new(&e->loop, program_address(e->conf), port, e->identity, &events, e, error);
    return e->listener && owner_begin(e, error);
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

static gboolean tests_at_once(const Conf *conf, guint *ret_max, GError **error)
{
    const char *text = conf_get(conf, "tests_at_once");
    guint64 max;

    if (!g_ascii_string_to_unsigned(text, 10, 0, 1024, &max, NULL)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "tests_at_once: '%s' is not a number from 0 to 1024",
                    text);
        return FALSE;
    }
    *ret_max = (guint)max;
    return TRUE;
}

static gboolean check_conf(const Conf *conf, GError **error)
{
    guint at_once;

    return tests_at_once(conf, &at_once, error);
}

static gboolean start(Engine *e, GError **error)
{
    const char *uri = conf_get(e->conf, "libvirt");
    RolesEvents events = {.on_status = on_status, .on_ended = on_role_ended, .on_quiet = on_quiet};
    HostPaths paths;
    g_autofree char *policy = under(e->paths.state, "policy.json");
    guint at_once;

    /* A second engine on this host, or one beside a rescue, ends here, with nothing to undo. */
    if (!tests_at_once(e->conf, &at_once, error) || !engine_make_folders(e, error) ||
        !program_claim(e->paths.run, error))
        return FALSE;
    e->identity = identity_open(e->paths.identity, ROLE_ENGINE, error);
    e->policy = e->identity ? policy_load(policy, error) : NULL;
    if (!e->policy || !obeyed_read(e->paths.obeyed, &e->obeyed, error))
        return FALSE;
    e->clerk = clerk_new(&e->loop);
    e->voice = voice_new(e);
    e->tenure = tenure_new(e);
    if (!open_gate(e, error))
        return FALSE;
    e->obeyed_kept = e->obeyed;
    event_uv_start(&e->loop);
    e->hands = hands_new(&e->loop, uri);
    e->trials = trials_new(&e->paths);
    e->trial_hands = hands_new(&e->loop, uri);
    e->lease_hands = hands_new(&e->loop, uri);
    e->agents = agents_new(&e->loop, uri, NAMING_HANDS);
    e->rescuer = rescuer_new(&e->loop, uri, e->paths.run, on_rescuer, e);
    e->guests = guests_new(&e->loop, &GUESTS_USUAL, on_guests, e);
    e->watch = watch_new(&e->loop, &(ProberPaths){uri, conf_get(e->conf, "probes")}, on_other_news, e);
    watch_set_identity(e->watch, identity_is_owned(e->identity) ? e->identity : NULL);
    paths = (HostPaths){.libvirt_uri = uri,
                        .nbd_dir = e->paths.nbd,
                        .scratch_dir = e->paths.scratch,
                        .run_dir = e->paths.run,
                        .guard_dir = e->paths.guard,
                        .permit_dir = e->paths.permit,
                        .plan_dir = e->paths.plan,
                        .store_dir = e->paths.store,
                        .restart_libvirtd = conf_get(e->conf, "restart_libvirtd")};
    e->rehearsals = rehearsals_new(&e->loop, &paths, e->paths.test, at_once, e->policy, on_other_news, e);
    e->ears = ears_new(&e->loop, uri, on_ears, e);
    e->roles = roles_new(&e->loop, &paths, e->rescuer, &events, e);
    rehearsals_set(e->rehearsals, e->roles, e->clerk);
    tenure_begin(e->tenure);
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
    e->open = 7;
    watch_close(g_steal_pointer(&e->watch), on_part_closed, e);
    guests_close(g_steal_pointer(&e->guests));
    hands_close(e->hands, on_part_closed, e);
    hands_close(e->trial_hands, on_part_closed, e);
    hands_close(e->lease_hands, on_part_closed, e);
    agents_close(e->agents, on_part_closed, e);
    ears_close(e->ears, on_part_closed, e);
    rescuer_close(e->rescuer, on_part_closed, e);
    roles_free(g_steal_pointer(&e->roles));
    rehearsals_free(g_steal_pointer(&e->rehearsals));
}

/* They run from what the roles' threads have open. */
static void on_tests_ended(void *user)
{
    roles_quit(((Engine *)user)->roles);
}

static void begin_end(Engine *e)
{
    if (e->ending)
        return;
    e->ending = TRUE;
    listener_close(g_steal_pointer(&e->listener));
    tenure_close(e->tenure);
    owner_end(e);
    gate_close(e);
    uv_close((uv_handle_t *)&e->news_timer, NULL);
    program_leave_signals(e->signals);
    if (!e->roles) {
        clerk_close(g_steal_pointer(&e->clerk));
        return;
    }
    /* Workers cut until the tests have ended, so the rescuer still hears of their guests. */
    ears_open_no_more(e->ears);
    rehearsals_close(e->rehearsals, on_tests_ended, e);
}

static void on_left(void *user)
{
    begin_end(user);
}

static void on_signal(uv_signal_t *signal, int signum)
{
    Engine *e = signal->data;

    log_notice("signal %d -> end; replication goes on at the next start", signum);
    if (e->roles && !e->ending)
        tenure_leave(e->tenure, on_left, e);
    else
        begin_end(e);
}

static void end_threads(Engine *e)
{
    while (e->roles || e->open > 0)
        uv_run(&e->loop, UV_RUN_ONCE);
    /* No thread of ours waits for libvirt any more; an opening that nobody waits for may never end. */
    if (!event_uv_drain(WATCHES_MS)) {
        log_notice("libvirt does not let go of its connections -> the process ends without it");
        _exit(0);
    }
    event_uv_stop();
}

static void engine_init(Engine *e)
{
    uv_loop_init(&e->loop);
    gate_init(e);
    uv_timer_init(&e->loop, &e->news_timer);
    e->news_timer.data = e;
    owner_init(e);
    program_watch_signals(&e->loop, e->signals, on_signal, e);
}

static void engine_clear(Engine *e)
{
    EnginePaths *p = &e->paths;
    char **const all[] = {&p->state,   &p->identity,   &p->guard,      &p->plan,   &p->store,
                          &p->scratch, &p->run,        &p->nbd,        &p->permit, &p->test,
                          &p->obeyed,  &p->token_file, &p->token_print};

    for (guint i = 0; i < G_N_ELEMENTS(all); i++)
        g_clear_pointer(all[i], g_free);
    g_clear_pointer(&e->visits, g_ptr_array_unref);
    g_clear_pointer(&e->peer_visits, g_ptr_array_unref);
    g_clear_pointer(&e->arriving, g_ptr_array_unref);
    g_clear_pointer(&e->facts.host, host_free);
    g_clear_pointer(&e->trials, trials_free);
    g_clear_pointer(&e->tenure, tenure_free);
    g_clear_pointer(&e->voice, voice_free);
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
    if (start(e, &error)) {
        log_info("understudy-engine %s, port %u", UNDERSTUDY_VERSION, listener_port(e->listener));
        while (!e->ending)
            uv_run(&e->loop, UV_RUN_ONCE);
        end_threads(e);
    } else {
        log_error("%s", error->message);
        begin_end(e);
    }
    program_run_dry(&e->loop);
    engine_clear(e);
    return error ? us_error_exit(error) : 0;
}

/* --- the commands for root --------------------------------------------- */

static gboolean alone;
static gboolean gone;
static gboolean old_is_off;
static char *point;

static const GOptionEntry OPTIONS[] = {
    {"old-is-off", 0, 0, G_OPTION_ARG_NONE, &old_is_off, "with promote: I certify that the active is off",
     NULL},
    {"point", 0, 0, G_OPTION_ARG_STRING, &point,
     "with promote: go on from this recovery point or branch instead of the newest point", "ID"},
    {"alone", 0, 0, G_OPTION_ARG_NONE, &alone, "with start: I certify that the other host is off", NULL},
    {"gone", 0, 0, G_OPTION_ARG_NONE, &gone,
     "with start --alone: I certify that the other host never comes back", NULL},
    {NULL},
};

static Identity *open_identity(GError **error)
{
    return identity_open(STATE_FOLDER "/identity", ROLE_ENGINE, error);
}

static gboolean print_token(const Conf *conf, GError **error)
{
    g_autoptr(Identity) identity = open_identity(error);
    g_autofree char *text = NULL;

    (void)conf;
    if (!identity ||
        !enrol_token_renew(identity, STATE_FOLDER "/token.json", RUN_FOLDER "/token", &text, error))
        return FALSE;
    g_print("%s\n", text);
    g_printerr("valid for 24 hours, once; an engine that runs takes it within a second\n");
    return TRUE;
}

static gboolean disown(const Conf *conf, GError **error)
{
    g_autoptr(Identity) identity = open_identity(error);
    g_autoptr(Identity) free_again = identity ? identity_disown(identity, error) : NULL;

    (void)conf;
    if (!free_again)
        return FALSE;
    g_printerr(
        "this engine has no owner any more; one that runs sees it within a second. Its next token is in "
        "%s/token, or of `understudy-engine token`\n",
        RUN_FOLDER);
    return TRUE;
}

static gboolean rescue(const Conf *conf, GError **error)
{
    /* A living engine's workers connect to jobs, and a job that is ended in that instant stops its guest
     * for ever; the engine rescues by itself. */
    if (!durable_mkdir(RUN_FOLDER, 0711, error))
        return FALSE;
    if (!program_claim(RUN_FOLDER, error)) {
        g_prefix_error(error,
                       "nothing was rescued: an engine on this host does that itself; if it hangs, end "
                       "it first: ");
        return FALSE;
    }
    return rescue_all(conf_get(conf, "libvirt"), RUN_FOLDER, conf_get(conf, "scratch"), RESCUE_MS, NULL,
                      error);
}

static gboolean start_here(const Conf *conf, const char *scenario, GError **error)
{
    AlonePlace place = {conf_get(conf, "libvirt"),   GUARD_FOLDER, STATE_FOLDER "/plan", PERMIT_FOLDER,
                        STATE_FOLDER "/policy.json", gone};

    if (point) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "start goes on from the disks as they are; from a point: `understudy-engine promote %s "
                    "--old-is-off --point %s`",
                    scenario, point);
        return FALSE;
    }
    if (alone)
        return start_alone(&place, scenario, error);
    g_set_error(
        error, US_ERROR, US_ERROR_USAGE,
        "start needs --alone, by which you certify that the other host of scenario '%s' is off and will "
        "not run its VMs: this host cannot see that, and a VM that runs on both is two different VMs from "
        "then on. If the other host may be on: `understudy status %s` on the controller",
        scenario, scenario);
    return FALSE;
}

static gboolean promote(const Conf *conf, const char *scenario, GError **error)
{
    const char *listen = conf_get(conf, "listen");
    const char *port = conf_get(conf, "port");
    g_autofree char *address =
        g_strdup_printf(strchr(listen, ':') ? "[%s]:%s" : "%s:%s", *listen ? listen : "127.0.0.1", port);
    PromotePlace place = {STATE_FOLDER "/identity", STATE_FOLDER "/policy.json", GUARD_FOLDER, address};
    Id from = ID_NIL;

    if (point && !id_parse(point, &from, error))
        return FALSE;
    if (old_is_off)
        return promote_here(&place, scenario, from, error);
    g_set_error(
        error, US_ERROR, US_ERROR_USAGE,
        "promote needs --old-is-off, by which you certify that the host that ran the VMs of scenario '%s' "
        "is off: this host cannot see that, and a VM that runs on both is two different VMs from then on. "
        "While a controller is there: `understudy switchover %s --force`",
        scenario, scenario);
    return FALSE;
}

static gboolean console(const Conf *conf, const char *vm, GError **error)
{
    ConsolePlace place = {conf_get(conf, "libvirt"), STATE_FOLDER "/policy.json"};

    return console_here(&place, vm, error);
}

typedef struct {
    const char *name;
    gboolean (*run)(const Conf *conf, GError **error); /* one of the two */
    gboolean (*run_on)(const Conf *conf, const char *what, GError **error);
    const char *usage;
    const char *help;
} Subcommand;

static const Subcommand SUBCOMMANDS[] = {
    {"token", print_token, NULL, "token", "make and print a new token for a controller"},
    {"disown", disown, NULL, "disown", "forget this engine's controller"},
    {"rescue", rescue, NULL, "rescue", "end our backup jobs, resume and thaw what they stopped"},
    {"promote", NULL, promote, "promote SCENARIO --old-is-off [--point ID]",
     "run its copies here; controller and active are gone"},
    {"console", NULL, console, "console VM", "the serial console of a VM that a test has up"},
    {"start", NULL, start_here, "start SCENARIO --alone [--gone]",
     "start its VMs here; the other host is off"},
};

static gboolean run_subcommand(char *const *words, int n, const Conf *conf, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(SUBCOMMANDS); i++) {
        const Subcommand *c = &SUBCOMMANDS[i];

        if (!g_str_equal(c->name, words[0]))
            continue;
        if (n == (c->run_on ? 2 : 1))
            return c->run_on ? c->run_on(conf, words[1], error) : c->run(conf, error);
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "usage: " NAME " %s", c->usage);
        return FALSE;
    }
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "there is no command '%s'; see --help", words[0]);
    return FALSE;
}

static char *summary(void)
{
    static const char FORMAT[] = "  %-42s  %s\n";
    GString *text =
        g_string_new("Replicates this host's virtual machines and keeps copies of others.\n\nCommands:\n");

    g_string_append_printf(text, FORMAT, "(none)", "run, until SIGTERM");
    for (guint i = 0; i < G_N_ELEMENTS(SUBCOMMANDS); i++)
        g_string_append_printf(text, FORMAT, SUBCOMMANDS[i].usage, SUBCOMMANDS[i].help);
    return g_string_free(text, FALSE);
}

int main(int argc, char **argv)
{
    g_autofree char *text = summary();
    const ProgramSpec spec = {.name = NAME,
                              .path = "/etc/understudy/engine.conf",
                              .group = "engine",
                              .keys = KEYS,
                              .check = check_conf,
                              .options = OPTIONS,
                              .arguments = "[COMMAND]",
                              .summary = text};
    int status;
    g_autoptr(GError) error = NULL;
    g_autoptr(Conf) conf = program_begin(&spec, &argc, &argv, &status);

    if (!conf)
        return status;
    /* Modes are given where files are made; QEMU's user must pass through some of our folders. */
    umask(0022);
    /* Threads that parse for the first time at once would find it half set up. */
    xmlInitParser();
    if (argc == 1)
        return run_engine(conf);
    return run_subcommand(argv + 1, argc - 1, conf, &error) ? 0 : program_fail(NAME, error);
}
