/* SPDX-License-Identifier: Apache-2.0 */
/* hypervisor_probe - the folder's threads on a loop, driven by lines, for lab tests.
 *
 *   hypervisor_probe run RUN_FOLDER               commands on standard input, one JSON object a line out
 *   hypervisor_probe rescue RUN_FOLDER SCRATCH    rescue_all()
 *   hypervisor_probe guard VM ROLE [journal]      write a guard file: "active" or "standby"
 *   hypervisor_probe unguard VM
 *   hypervisor_probe permit VM | forbid VM
 *   hypervisor_probe lease VM LEFT_MS [TERM]      write a lease file of this VM alone, in its guard's reign or one of another number
 *
 * Commands of `run`: list, host, definition VM, shutdown VM TIMEOUT_MS
 * [force], settle VM TIMEOUT_MS, freeze VM, watch VM LIMIT LIFE_MS SCRATCH…,
 * unwatch VM, end VM, quit. `shutdown`, `settle` and `freeze` are done by a
 * worker with a connection of its own. Each second there is {"gap_ms"}: the
 * longest time that the loop did not turn. */
#include "orchestrator/votes/lease_clock.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/machine.h"
#include "vmconnect/hypervisor/agent.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/ears.h"
#include "vmconnect/hypervisor/event_uv.h"
#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/hypervisor/hands.h"
#include "vmconnect/hypervisor/lease_file.h"
#include "vmconnect/hypervisor/rescue.h"
#include "vmconnect/hypervisor/rescuer.h"
#include "vmconnect/hypervisor/shutdown.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS 20

static struct {
    uv_loop_t loop;
    uv_pipe_t in;
    uv_timer_t tick;
    const char *run_folder;
    Ears *ears;
    Hands *hands;
    Rescuer *rescuer;
    GString *line;
    gint64 last_ms;
    gint64 gap_ms;
    gint64 told_ms;
    guint open;
} probe;

static void say(json_t *doc)
{
    g_autofree char *text = json_text(doc);

    printf("%s\n", text);
    fflush(stdout);
    json_decref(doc);
}

static void say_error(const char *what, const GError *error)
{
    say(json_pack("{s:s, s:s, s:s}", "answer", what, "error", us_error_name(error->code), "text",
                  error->message));
}

static Id vm_of(const char *text)
{
    Id id = ID_NIL;

    if (!text || !id_parse(text, &id, NULL))
        g_printerr("not a UUID: %s\n", text ? text : "(nothing)");
    return id;
}

static void on_ear(void *user, const EarEvent *event)
{
    json_t *doc = json_pack("{s:s, s:i, s:i}", "ear", ear_kind_name(event->kind), "event", event->event,
                            "detail", event->detail);

    (void)user;
    rescuer_hear(probe.rescuer, event);
    if (event->name)
        json_object_set_new(doc, "name", json_string(event->name));
    if (event->disk)
        json_object_set_new(doc, "disk", json_string(event->disk));
    if (event->reason)
        json_object_set_new(doc, "reason", json_string(event->reason));
    if (event->inventory) {
        json_t *vms = json_object();

        for (guint i = 0; i < event->inventory->vms->len; i++) {
            const Vm *vm = event->inventory->vms->pdata[i];

            json_object_set_new(vms, vm->definition->name, json_string(vm_state_name(vm->state)));
        }
        json_object_set_new(doc, "vms", vms);
    }
    say(doc);
}

static void on_news(void *user, const RescuerNews *news)
{
    static const char *const NAMES[] = {"job-ended", "resumed", "thawed", "stuck", "failed"};

    (void)user;
    say(json_pack("{s:s, s:I, s:s?}", "rescuer", NAMES[news->kind], "paused_ms", (json_int_t)news->paused_ms,
                  "why", news->why));
}

static void on_list(void *user, gpointer result, const GError *error)
{
    Inventory *inv = result;
    json_t *list;

    (void)user;
    if (error) {
        say_error("list", error);
        return;
    }
    list = json_array();
    for (guint i = 0; i < inv->vms->len; i++) {
        const Vm *vm = inv->vms->pdata[i];
        json_t *entry = vm_to_json(vm, inv);

        if (vm->problem)
            json_object_set_new(entry, "unreadable", json_string(vm->problem));
        json_array_append_new(list, entry);
    }
    say(json_pack("{s:s, s:o}", "answer", "list", "vms", list));
    inventory_free(inv);
}

static void on_host(void *user, gpointer result, const GError *error)
{
    (void)user;
    if (error)
        say_error("host", error);
    else
        say(json_pack("{s:s, s:o}", "answer", "host", "host", result));
}

static void on_definition(void *user, gpointer result, const GError *error)
{
    g_autofree char *xml = result;

    (void)user;
    if (error)
        say_error("definition", error);
    else
        say(json_pack("{s:s, s:I}", "answer", "definition", "bytes", (json_int_t)strlen(xml)));
}

/* A worker: straight-line code with a connection of its own. */
typedef struct {
    uv_work_t work;
    char **words;
    json_t *doc;
} Work;

static json_t *do_work(char **words, GError **error)
{
    g_autoptr(Connection) c = connection_new(CONNECTION_DEFAULT_URI, NULL, NULL);
    virConnectPtr conn = connection_get(c, CONNECTION_OPEN_MS, error);
    gint64 start_ms = clock_steady_ms();
    Id vm = vm_of(words[1]);
    ShutdownHow how = SHUTDOWN_WAS_OFF;
    const char *did = words[0];
    gboolean ok = FALSE;

    if (!conn)
        return NULL;
    if (strcmp(words[0], "shutdown") == 0) {
        ShutdownRules rules = {
            .timeout_ms = atoi(words[2]), .cancel_fd = -1, .power_off = g_strcmp0(words[3], "force") == 0};

        ok = shutdown_guest(conn, vm, &rules, &how, error);
        did = shutdown_how_name(how);
    } else if (strcmp(words[0], "settle") == 0) {
        ok = shutdown_settle(conn, vm, probe.run_folder, atoi(words[2]), error);
    } else {
        g_autoptr(virDomain) dom = vm_lookup(conn, vm, error);
        g_autofree char *host = dom ? agent_host_name(dom, 2000, error) : NULL;
        guint n = 0;

        ok = host && agent_freeze(dom, probe.run_folder, &n, error);
        did = n > 0 ? "frozen" : "nothing to freeze";
    }
    return ok ? json_pack("{s:s, s:s, s:I}", "answer", words[0], "did", did, "ms",
                          (json_int_t)(clock_steady_ms() - start_ms))
              : NULL;
}

static void on_work(uv_work_t *work)
{
    Work *w = work->data;
    g_autoptr(GError) error = NULL;

    w->doc = do_work(w->words, &error);
    if (!w->doc)
        w->doc = json_pack("{s:s, s:s, s:s}", "answer", w->words[0], "error", us_error_name(error->code),
                           "text", error->message);
}

static void after_work(uv_work_t *work, int status)
{
    Work *w = work->data;

    (void)status;
    say(w->doc);
    g_strfreev(w->words);
    g_free(w);
}

static void start_work(char **words)
{
    Work *w = g_new0(Work, 1);

    w->work.data = w;
    w->words = g_strdupv(words);
    uv_queue_work(&probe.loop, &w->work, on_work, after_work);
}

static void on_closed(void *user)
{
    (void)user;
    if (--probe.open > 0)
        return;
    uv_close((uv_handle_t *)&probe.in, NULL);
    uv_close((uv_handle_t *)&probe.tick, NULL);
}

static void quit(void)
{
    probe.open = 3;
    uv_read_stop((uv_stream_t *)&probe.in);
    ears_close(probe.ears, on_closed, NULL);
    hands_close(probe.hands, on_closed, NULL);
    rescuer_close(probe.rescuer, on_closed, NULL);
}

static void watch(char **words, guint n)
{
    RescuerWatch w = {.vm = vm_of(words[1]), .was_running = TRUE};

    w.scratch_limit_bytes = g_ascii_strtoull(words[2], NULL, 10);
    w.end_by_ms = clock_steady_ms() + g_ascii_strtoll(words[3], NULL, 10);
    w.thaw_by_ms = w.end_by_ms;
    w.scratch = (const char *const *)(n > 4 ? words + 4 : NULL);
    rescuer_watch(probe.rescuer, &w);
}

static void command(const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    guint n = g_strv_length(words);
    const char *verb = n ? words[0] : "";

    if (strcmp(verb, "list") == 0)
        hands_inventory(probe.hands, on_list, NULL);
    else if (strcmp(verb, "host") == 0)
        hands_host(probe.hands, on_host, NULL);
    else if (strcmp(verb, "definition") == 0)
        hands_definition(probe.hands, vm_of(words[1]), on_definition, NULL);
    else if (strcmp(verb, "quit") == 0)
        quit();
    else if (strcmp(verb, "watch") == 0 && n >= 4)
        watch(words, n);
    else if (strcmp(verb, "unwatch") == 0)
        rescuer_unwatch(probe.rescuer, vm_of(words[1]));
    else if (strcmp(verb, "end") == 0)
        rescuer_end(probe.rescuer, vm_of(words[1]));
    else if (n >= 2)
        start_work(words);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char space[4096];

    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(space, sizeof(space));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    char *end;

    (void)stream;
    if (n < 0) {
        quit();
        return;
    }
    g_string_append_len(probe.line, buf->base, n);
    while ((end = strchr(probe.line->str, '\n'))) {
        g_autofree char *line = g_strndup(probe.line->str, (gsize)(end - probe.line->str));

        g_string_erase(probe.line, 0, end - probe.line->str + 1);
        command(line);
    }
}

static void on_tick(uv_timer_t *timer)
{
    gint64 now_ms = clock_steady_ms();

    (void)timer;
    probe.gap_ms = MAX(probe.gap_ms, now_ms - probe.last_ms);
    probe.last_ms = now_ms;
    if (now_ms - probe.told_ms < 1000)
        return;
    say(json_pack("{s:I}", "gap_ms", (json_int_t)probe.gap_ms));
    probe.told_ms = now_ms;
    probe.gap_ms = 0;
}

static int run(const char *run_folder)
{
    const char *uri = CONNECTION_DEFAULT_URI;

    uv_loop_init(&probe.loop);
    event_uv_start(&probe.loop);
    probe.run_folder = run_folder;
    probe.line = g_string_new(NULL);
    probe.last_ms = probe.told_ms = clock_steady_ms();
    probe.rescuer = rescuer_new(&probe.loop, uri, run_folder, on_news, NULL);
    probe.hands = hands_new(&probe.loop, uri);
    probe.ears = ears_new(&probe.loop, uri, on_ear, NULL);
    uv_timer_init(&probe.loop, &probe.tick);
    uv_timer_start(&probe.tick, on_tick, TICK_MS, TICK_MS);
    uv_pipe_init(&probe.loop, &probe.in, 0);
    uv_pipe_open(&probe.in, 0);
    uv_read_start((uv_stream_t *)&probe.in, on_alloc, on_read);
    while (uv_is_active((uv_handle_t *)&probe.tick) || event_uv_watches() > 0)
        uv_run(&probe.loop, UV_RUN_ONCE);
    event_uv_stop();
    uv_run(&probe.loop, UV_RUN_DEFAULT);
    g_string_free(probe.line, TRUE);
    return uv_loop_close(&probe.loop);
}

static int fail(const GError *error)
{
    g_printerr("%s\n", error->message);
    return us_error_exit(error);
}

static int rescue(const char *run_folder, const char *scratch_folder)
{
    g_autoptr(GPtrArray) outcomes = NULL;
    g_autoptr(GError) error = NULL;
    gboolean ok = rescue_all(CONNECTION_DEFAULT_URI, run_folder, scratch_folder, 20000, &outcomes, &error);

    for (guint i = 0; i < outcomes->len; i++) {
        const RescueOutcome *o = outcomes->pdata[i];

        say(json_pack("{s:s?, s:b, s:b, s:b, s:b}", "name", o->name, "job_ended", o->job_ended, "resumed",
                      o->resumed, "thawed", o->thawed, "stuck", o->stuck));
    }
    return ok ? 0 : fail(error);
}

/* One reign serves: what the hook compares is that guard and permit agree. */
static int guard(char **words, int n)
{
    g_autoptr(GError) error = NULL;
    Reign reign = {1, vm_of(words[2])};
    Guard g = {.vm = vm_of(words[2]),
               .scenario = (char *)"lab",
               .reign = reign,
               .role = n > 3 && strcmp(words[3], "active") == 0 ? GUARD_ACTIVE : GUARD_STANDBY,
               .journal_open = n > 4};
    Id boot;
    gboolean ok = FALSE;

    if (strcmp(words[1], "guard") == 0)
        ok = guard_write(GUARD_FOLDER, &g, &error);
    else if (strcmp(words[1], "unguard") == 0)
        ok = guard_remove(GUARD_FOLDER, g.vm, &error);
    else if (strcmp(words[1], "permit") == 0)
        ok = machine_boot_id(&boot, &error) && permit_write(PERMIT_FOLDER, g.vm, reign, boot, &error);
    else if (strcmp(words[1], "forbid") == 0)
        ok = permit_remove(PERMIT_FOLDER, g.vm, &error);
    return ok ? 0 : error ? fail(error) : 2;
}

static int lease(char **words, int n)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(LeaseEntry));
    g_autoptr(Guard) g = guard_read(GUARD_FOLDER, vm_of(words[2]), &error);
    g_autofree char *text = NULL;
    LeaseEntry e;

    if (!g)
        return fail(error);
    e = (LeaseEntry){g->vm, g->reign,
                     lease_moment_after(lease_clock_now(), g_ascii_strtoll(words[3], NULL, 10))};
    if (n > 4)
        e.reign.number = g_ascii_strtoull(words[4], NULL, 10);
    g_array_append_val(entries, e);
    text = lease_file_text(entries);
    return lease_file_write(LEASE_FILE, text, &error) ? 0 : fail(error);
}

int main(int argc, char **argv)
{
    if (argc >= 4 && strcmp(argv[1], "lease") == 0)
        return lease(argv, argc);
    if (argc == 3 && strcmp(argv[1], "run") == 0)
        return run(argv[2]);
    if (argc == 4 && strcmp(argv[1], "rescue") == 0)
        return rescue(argv[2], argv[3]);
    if (argc >= 3)
        return guard(argv, argc);
    g_printerr("usage: see the top of %s\n", __FILE__);
    return 2;
}
