/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/rehearsal.h"

#include "netmap/isolate.h"
#include "netmap/place.h"
#include "netmap/subnet.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/base/priority.h"
#include "vmconnect/base/readable.h"
#include "vmconnect/base/stop.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/host_facts.h"
#include "vmconnect/hypervisor/qemu_process.h"
#include "vmconnect/hypervisor/takeover.h"
#include "vmconnect/loop/thread.h"
#include "vmconnect/rehearse/checkup.h"
#include "vmconnect/rehearse/outside.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CONNECT_MS 10000
#define LOOK_EACH_MS 500
#define FORCE_MS 2000 /* so long may stand-ins and libvirt take to end what must end */
#define TCP_PORT 9    /* discard: whatever answers there has been reached */

typedef struct {
    StandInPart part;
    StandIn *thread; /* NULL: not started, or over */
    gboolean begun;
    gboolean up;
    gboolean over;
} Role;

struct Rehearsal {
    RehearsalSpec *spec;
    Mailbox *reports;
    Mailbox *box; /* of StandInWord * */
    int stop_fd;
    int all_up_fd;
    uv_thread_t thread;

    /* The thread's own: */
    Stage *stage;
    Lookout *lookout;
    GPtrArray *outside; /* of char *, NULL at the end */
    json_t *proof;      /* that nothing leads out of it; NULL: not made yet … */
    GError *not_closed; /* … or it does */
    gint64 look_at_ms;
    StandInSite site;
    Role *roles;
    gboolean stopping;
    gint64 force_at_ms; /* when it is stopping: then without libvirt */
    gint64 until_ms;
};

void rehearsal_spec_free(RehearsalSpec *spec)
{
    if (!spec)
        return;
    for (guint i = 0; spec->mappings && i < spec->vms->len; i++)
        mapping_free(spec->mappings[i]);
    g_free(spec->mappings);
    g_free(spec->here);
    g_clear_pointer(&spec->vms, g_ptr_array_unref);
    g_clear_pointer(&spec->after, g_ptr_array_unref);
    g_clear_pointer(&spec->hosts, g_ptr_array_unref);
    g_free(spec);
}

void rehearsal_news_free(RehearsalNews *news)
{
    if (!news)
        return;
    stand_in_word_free(news->word);
    json_decref(news->proof);
    g_free(news);
}

static void tell(const Rehearsal *r, RehearsalNews *news)
{
    news->test = r->spec->test;
    mailbox_send(r->reports, news);
}

static StandInSpec *spec_at(const Rehearsal *r, guint i)
{
    return r->spec->vms->pdata[i];
}

/* It takes no part: nothing of it was started. */
static void leave_out(Rehearsal *r, guint i, const char *verdict, const char *why)
{
    RehearsalNews *news = g_new0(RehearsalNews, 1);
    g_autoptr(GError) error = NULL;

    r->roles[i].over = TRUE;
    if (!remains_remove_files(&r->spec->remains, spec_at(r, i)->as, &error)) {
        log_warning("test of '%s': %s -> removed later", spec_at(r, i)->name, error->message);
        remains_give_up(&r->spec->remains, spec_at(r, i)->as);
    }
    news->word = g_new0(StandInWord, 1);
    news->word->index = i;
    news->word->doc = stand_in_unbegun(spec_at(r, i), verdict, why);
    news->word->ended = TRUE;
    tell(r, news);
}

static void leave_out_all(Rehearsal *r, const char *verdict, const char *why)
{
    for (guint i = 0; i < r->spec->vms->len; i++)
        if (!r->roles[i].begun && !r->roles[i].over)
            leave_out(r, i, verdict, why);
}

/* --- definitions -------------------------------------------------------------------- */

/* An overlay of the test's own for each disk; what lies below it isolate_definition() adds. */
typedef struct {
    GArray *disks;      /* of TranslateDisk */
    GPtrArray *lists;   /* of char **, whose texts are … */
    GPtrArray *strings; /* … of char * */
} Overlays;

static void overlays_clear(Overlays *o)
{
    g_array_unref(o->disks);
    g_ptr_array_unref(o->lists);
    g_ptr_array_unref(o->strings);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Overlays, overlays_clear)

static Overlays overlays_of(const StandInSpec *spec)
{
    Overlays o = {g_array_new(FALSE, FALSE, sizeof(TranslateDisk)), g_ptr_array_new_with_free_func(g_free),
                  g_ptr_array_new_with_free_func(g_free)};
    json_t *disk;
    gsize i;

    json_array_foreach(json_object_get(spec->lent, "disks"), i, disk)
    {
        const char *target = json_string_value(json_object_get(disk, "target"));
        char **list = g_new0(char *, 2);
        TranslateDisk one = {target, (const char *const *)list};

        list[0] = g_strdup_printf("%s/%s.qcow2", spec->folder, target);
        g_ptr_array_add(o.strings, list[0]);
        g_ptr_array_add(o.lists, list);
        g_array_append_val(o.disks, one);
    }
    return o;
}

/* As a promotion would have it. */
static char *translate(const Rehearsal *r, guint i, virConnectPtr conn, const Host *here, GError **error)
{
    const StandInSpec *spec = spec_at(r, i);
    g_auto(Overlays) overlays = overlays_of(spec);
    g_autoptr(GPtrArray) remarks = NULL;
    Takeover takeover = {.vm = spec->vm,
                         .here = here,
                         .from = spec->from,
                         .mapping = r->spec->mappings[i],
                         .nvram = json_string_value(json_object_get(spec->lent, "nvram")),
                         .disks = (const TranslateDisk *)(const void *)overlays.disks->data,
                         .n_disks = overlays.disks->len};
    char *xml = takeover_definition(
        conn, &takeover, json_string_value(json_object_get(spec->lent, "definition")), &remarks, error);

    if (!xml && remarks && remarks->len) {
        g_autofree char *reasons = remarks_text(remarks);

        g_set_error(error, US_ERROR, US_ERROR_REFUSED, "it could not be defined here: %s", reasons);
    }
    return xml;
}

static gboolean isolate(const Rehearsal *r, guint i, const char *xml, GError **error)
{
    const StandInSpec *spec = spec_at(r, i);
    StandInPart *part = &r->roles[i].part;
    g_autofree char *name = g_strconcat(REMAINS_PREFIX, ID_TEXT(spec->vm), NULL);
    g_autofree char *tap = g_strdup_printf("us%.8s-", ID_TEXT(spec->as));
    g_autofree char *screen = g_strdup_printf("%s/%s-vnc", r->spec->remains.nbd_dir, ID_TEXT(spec->as));
    g_autofree char *console = g_strdup_printf("%s/%s-console", r->spec->remains.nbd_dir, ID_TEXT(spec->as));
    g_autofree char *log = g_build_filename(spec->folder, CHECKUP_CONSOLE_LOG, NULL);
    IsolateInput in = {.name = name,
                       .uuid = ID_TEXT(spec->as),
                       .vm = ID_TEXT(spec->vm),
                       .folder = spec->folder,
                       .backing = json_string_value(json_object_get(spec->lent, "socket")),
                       .tap_prefix = tap,
                       .graphics = screen,
                       .console = console,
                       .console_log = log,
                       .nvram = json_string_value(json_object_get(spec->lent, "nvram"))};

    part->xml = isolate_definition(xml, &in, &part->nics, &part->left_out, error);
    part->has_screen = part->xml && strstr(part->xml, screen);
    return part->xml != NULL;
}

/* Who is tested is where its map has tests, if it says so: it meets those who are there, and finds the addresses of that network. */
static gboolean move_to_tests(const Mapping *m, const char *vm, const GPtrArray *nics, GError **error)
{
    for (guint n = 0; n < nics->len; n++) {
        IsolatedNic *nic = nics->pdata[n];
        g_auto(Place) place = {0};
        const Place *test;

        if (*nic->place && !place_parse(nic->place, &place, error))
            return FALSE;
        test = mapping_find(m, MAP_REPLICA, MAP_TEST, vm, nic->mac, &place).place;
        if (!test)
            continue;
        g_free(nic->place);
        nic->place = place_format(test);
    }
    return TRUE;
}

/* What guests find there in production, if it is a network that libvirt serves. */
static Subnet subnet_of(virConnectPtr conn, const char *text)
{
    g_auto(Place) place = {0};
    g_autoptr(virNetwork) network = NULL;
    Subnet subnet = {0};
    char *xml;

    if (!place_parse(text, &place, NULL) || place.kind != PLACE_NETWORK)
        return subnet;
    network = virNetworkLookupByName(conn, place.name);
    xml = network ? virNetworkGetXMLDesc(network, 0) : NULL;
    if (xml)
        (void)subnet_parse(xml, &subnet, NULL);
    free(xml);
    return subnet;
}

/* The networks that its cards would be plugged into in production, each by itself. */
static gboolean add_networks(const Rehearsal *r, guint i, virConnectPtr conn, GError **error)
{
    const GPtrArray *nics = r->roles[i].part.nics;

    for (guint n = 0; n < nics->len; n++) {
        const IsolatedNic *nic = nics->pdata[n];
        g_auto(Subnet) subnet = subnet_of(conn, nic->place);
        StageNetwork network = {.place = nic->place,
                                .address = subnet.address,
                                .prefix = subnet.prefix,
                                .dhcp_first = subnet.dhcp_first,
                                .dhcp_last = subnet.dhcp_last,
                                .router = subnet.address,
                                .hosts = subnet.hosts};
        g_autoptr(GError) why = NULL;

        if (!stage_add_network(r->stage, &network, &why) &&
            !g_error_matches(why, US_ERROR, US_ERROR_EXISTS)) {
            g_propagate_error(error, g_steal_pointer(&why));
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean define(const Rehearsal *r, guint i, virConnectPtr conn, const Host *here, GError **error)
{
    g_autofree char *xml = translate(r, i, conn, here, error);

    return xml && isolate(r, i, xml, error) &&
           move_to_tests(r->spec->mappings[i], ID_TEXT(spec_at(r, i)->vm), r->roles[i].part.nics, error) &&
           add_networks(r, i, conn, error);
}

/* --- the thread ------------------------------------------------------------------------ */

static gboolean is_waited_for(const Rehearsal *r, guint i)
{
    const GArray *after = r->spec->after->pdata[i];

    for (guint j = 0; j < r->spec->vms->len; j++)
        if (id_is_in(spec_at(r, j)->vm, after) && !r->roles[j].up && !r->roles[j].over)
            return TRUE;
    return FALSE;
}

static void start_those_that_can(Rehearsal *r)
{
    for (guint i = 0; i < r->spec->vms->len; i++) {
        Role *role = &r->roles[i];
        g_autoptr(GError) error = NULL;
        gint64 since_ms;

        if (role->begun || role->over || is_waited_for(r, i))
            continue;
        role->begun = TRUE;
        since_ms = ((const GArray *)r->spec->after->pdata[i])->len ? clock_steady_ms() : r->spec->begun_ms;
        role->thread = stand_in_start(&r->site, spec_at(r, i), &role->part, i, since_ms, r->box, &error);
        if (!role->thread)
            leave_out(r, i, "stopped", error->message);
    }
}

static gboolean are_all_over(const Rehearsal *r)
{
    for (guint i = 0; i < r->spec->vms->len; i++)
        if (!r->roles[i].over)
            return FALSE;
    return TRUE;
}

/* Nobody's checks have need of another any more. */
static void tell_if_all_are_up(const Rehearsal *r)
{
    for (guint i = 0; i < r->spec->vms->len; i++)
        if (!r->roles[i].up && !r->roles[i].over)
            return;
    eventfd_write(r->all_up_fd, 1);
}

static void look_out(Rehearsal *r)
{
    g_autoptr(GError) error = NULL;

    if (clock_left_ms(r->look_at_ms) > 0)
        return;
    if (!stage_keep_serving(r->stage, &error))
        log_warning("a test's %s -> try again", error->message);
    lookout_turn(r->lookout, r->stage, mailbox_fd(r->box));
    r->look_at_ms = clock_steady_ms() + LOOK_EACH_MS;
}

static void stop_all(Rehearsal *r)
{
    if (r->stopping)
        return;
    r->stopping = TRUE;
    r->force_at_ms = clock_steady_ms() + FORCE_MS;
    eventfd_write(r->stop_fd, 1);
    leave_out_all(r, "stopped", NULL);
}

/* Once, before the first guest runs. */
static gboolean expect_closed(Rehearsal *r, GError **error)
{
    const StageTargets targets = {(const char *const *)r->outside->pdata, TCP_PORT};

    if (!r->proof && !r->not_closed)
        (void)stage_expect_closed(r->stage, &targets, &r->proof, &r->not_closed);
    if (r->proof)
        return TRUE;
    g_propagate_prefixed_error(error, g_error_copy(r->not_closed),
                               "its network could not be proved to be closed, so that it was not started: ");
    return FALSE;
}

static gboolean plug(Rehearsal *r, const Role *role, GError **error)
{
    const GPtrArray *nics = role->part.nics;

    if (nics->len > 0 && !expect_closed(r, error))
        return FALSE;
    for (guint i = 0; i < nics->len; i++) {
        const IsolatedNic *nic = nics->pdata[i];

        if (!stage_plug(r->stage, nic->place, nic->tap, nic->mac, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean is_to_end(const Rehearsal *r)
{
    return clock_left_ms(r->until_ms) == 0 || readable_within(r->stop_fd, 0);
}

/* That takes seconds, in which nothing else of the test is done. */
static void plug_unless_late(Rehearsal *r, const Role *role)
{
    GError *error = NULL;

    if (is_to_end(r))
        error = g_error_new(US_ERROR, US_ERROR_CANCELLED, "the test ended before its cards were plugged in");
    else
        (void)plug(r, role, &error);
    stand_in_plugged(role->thread, error);
}

static void hear(Rehearsal *r, StandInWord *word)
{
    Role *role = &r->roles[word->index];
    RehearsalNews *news = g_new0(RehearsalNews, 1);

    if (word->plug)
        plug_unless_late(r, role);
    role->up |= word->up;
    if (word->ended) {
        role->over = TRUE;
        stand_in_join(g_steal_pointer(&role->thread));
    }
    news->word = word;
    tell(r, news);
}

/* libvirt may hang, and a stand-in that asks it; one that it has not yet started may come late, and the start hook lets it no more.
 * To look for processes takes its time: not again with each word. */
static void end_by_force(Rehearsal *r)
{
    r->force_at_ms = clock_steady_ms() + LOOK_EACH_MS;
    for (guint i = 0; i < r->spec->vms->len; i++) {
        g_autofree char *name = g_strconcat(REMAINS_PREFIX, ID_TEXT(spec_at(r, i)->vm), NULL);

        if (!r->roles[i].thread)
            continue;
        remains_forbid(&r->spec->remains, spec_at(r, i)->as);
        qemu_process_kill(QEMU_PROCESS_FOLDER, name, spec_at(r, i)->as);
    }
}

/* Who waits for the end of a test, and what is replicated, wait for no guest, no agent and no libvirtd. */
static void keep_bounds(Rehearsal *r)
{
    g_autoptr(GError) full = NULL;

    if (!r->stopping && !room_expect_space(r->spec->remains.store_dir, &full)) {
        log_warning("%s -> end", full->message);
        stop_all(r);
    }
    if (r->stopping && clock_left_ms(r->force_at_ms) == 0)
        end_by_force(r);
}

/* A word without a document is no stand-in's: it only wakes us. */
static void go_on(Rehearsal *r)
{
    while (!are_all_over(r)) {
        StandInWord *word;

        if (is_to_end(r))
            stop_all(r);
        else
            start_those_that_can(r);
        word = mailbox_wait(r->box, LOOK_EACH_MS);
        if (word && word->doc)
            hear(r, word);
        else
            stand_in_word_free(word);
        tell_if_all_are_up(r);
        keep_bounds(r);
        if (!r->stopping)
            look_out(r);
    }
}

static void define_all(Rehearsal *r, virConnectPtr conn, const Host *here)
{
    for (guint i = 0; i < r->spec->vms->len; i++) {
        const char *unlent = spec_at(r, i)->unlent;
        g_autoptr(GError) error = NULL;

        if (unlent)
            leave_out(r, i, "failed", unlent);
        else if (!define(r, i, conn, here, &error))
            leave_out(r, i, stand_in_verdict_of(error), error->message);
    }
}

static gboolean set_up(Rehearsal *r, GError **error)
{
    g_autoptr(Connection) connection = connection_new(r->spec->libvirt_uri, NULL, NULL);
    virConnectPtr conn = connection_get(connection, CONNECT_MS, error);
    g_autoptr(Host) here =
        conn ? host_facts_read(conn, r->spec->here, "this host", r->spec->remains.store_dir, error) : NULL;

    if (!here)
        return FALSE;
    r->outside = outside_addresses(r->spec->hosts);
    r->stage = stage_open(error);
    if (!r->stage)
        return FALSE;
    define_all(r, conn, here);
    return TRUE;
}

static json_t *take_proof(const Rehearsal *r)
{
    g_autoptr(GError) error = NULL;
    json_t *counters = stage_counters(r->stage, &error);

    return json_pack("{s:O?, s:o}", "probes", r->proof, "counters",
                     counters ? counters : json_pack("{s:s}", "why", error->message));
}

static void run(void *arg)
{
    Rehearsal *r = arg;
    RehearsalNews *last = g_new0(RehearsalNews, 1);
    g_autoptr(GError) error = NULL;

    priority_behind_guests();
    r->until_ms = r->spec->begun_ms + r->spec->limit_ms;
    if (set_up(r, &error)) {
        go_on(r);
        last->proof = take_proof(r);
    } else {
        /* libvirt is away, or this host lacks something: that says nothing of any copy. */
        leave_out_all(r, "stopped", error->message);
    }
    stop_at("test.over");
    lookout_end(r->lookout);
    stage_close(r->stage);
    last->ended = TRUE;
    tell(r, last);
}

/* All but its spec. */
static void rehearsal_free(Rehearsal *r)
{
    mailbox_close(r->box);
    lookout_free(r->lookout);
    g_clear_pointer(&r->outside, g_ptr_array_unref);
    json_decref(r->proof);
    g_clear_error(&r->not_closed);
    if (r->stop_fd >= 0)
        close(r->stop_fd);
    if (r->all_up_fd >= 0)
        close(r->all_up_fd);
    g_free(r->roles);
    g_free(r);
}

static gboolean open_descriptors(Rehearsal *r, GError **error)
{
    r->box = mailbox_try_thread((GDestroyNotify)stand_in_word_free, error);
    if (!r->box)
        return FALSE;
    r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->all_up_fd = r->stop_fd >= 0 ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
    return r->all_up_fd >= 0 || us_error_errno(error, errno, "cannot make an event descriptor");
}

Rehearsal *rehearsal_start(RehearsalSpec *spec, Mailbox *reports, GError **error)
{
    Rehearsal *r = g_new0(Rehearsal, 1);

    r->spec = spec;
    r->reports = reports;
    r->stop_fd = r->all_up_fd = -1;
    if (!open_descriptors(r, error)) {
        rehearsal_free(r);
        return NULL;
    }
    r->lookout = lookout_new();
    r->roles = g_new0(Role, spec->vms->len);
    r->site = (StandInSite){.libvirt_uri = spec->libvirt_uri,
                            .remains = spec->remains,
                            .lookout = r->lookout,
                            .room = spec->room,
                            .stop_fd = r->stop_fd,
                            .all_up_fd = r->all_up_fd,
                            .alone = spec->vms->len == 1,
                            .manual = spec->manual,
                            .begun_ms = spec->begun_ms,
                            .boot_ms = spec->boot_ms};
    if (thread_start(&r->thread, run, r, error))
        return r;
    rehearsal_free(r);
    return NULL;
}

void rehearsal_stop(Rehearsal *r)
{
    eventfd_write(r->stop_fd, 1); /* whatever its thread is at: no stand-in starts its VM from now on */
    mailbox_send(r->box, g_new0(StandInWord, 1));
}

void rehearsal_join(Rehearsal *r)
{
    RehearsalSpec *spec = r->spec;

    uv_thread_join(&r->thread);
    for (guint i = 0; i < spec->vms->len; i++)
        stand_in_part_clear(&r->roles[i].part);
    rehearsal_free(r);
    rehearsal_spec_free(spec);
}
