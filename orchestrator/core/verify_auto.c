/* SPDX-License-Identifier: Apache-2.0 */
/* What must be true before a switchover may begin by itself, beside all else: three votes that do not die of one cause, clocks that go on, and
 * guests that are held when their lease ends. Of a host that is silent nothing is said here. */
#include "orchestrator/core/verify_parts.h"

#include "netmap/spill.h"

/* --- three machines ------------------------------------------------------ */

static gboolean says_same(const HostFacts *a, const HostFacts *b, const char *key)
{
    const char *text = fact_text(a->info->said, key);

    return *text && g_str_equal(text, fact_text(b->info->said, key));
}

/* The controller's machine is a guest of that host's: it says there what its hypervisor calls it. */
static const json_t *controllers_vm(const VerifyFacts *f, const HostFacts *h)
{
    Id id;

    return f->system_uuid && id_parse(f->system_uuid, &id, NULL) ? facts_find_vm(h, id) : NULL;
}

static gboolean is_known_apart(const VerifyFacts *f, const HostFacts *h)
{
    return (f->machine_id && *f->machine_id && *fact_text(h->info->said, "machine_id")) ||
           (f->boot_id && *f->boot_id && *fact_text(h->info->said, "boot_id"));
}

static void look_at_controller(Report *r, const HostFacts *h)
{
    const json_t *asker = h->routes ? json_object_get(h->routes->said, "asker") : NULL;
    const json_t *vm = controllers_vm(r->facts, h);

    if (facts_is_controllers(r->facts, h))
        verify_found(r, h->host, NULL, "the controller runs on %s (its machine id or boot id is the same)",
                     h->host);
    else if (json_is_true(json_object_get(asker, "local")))
        verify_found(r, h->host, NULL,
                     "the controller runs on %s: it speaks to it from an address of its own", h->host);
    else if (vm)
        verify_found(r, h->host, NULL, "the controller runs in '%s', a VM of %s", fact_text(vm, "name"),
                     h->host);
    else if (!is_known_apart(r->facts, h))
        verify_found(
            r, h->host, NULL,
            "whether the controller runs on %s is not known: one of the two does not say which machine "
            "it is",
            h->host);
}

static void votes_apart(Report *r)
{
    const HostFacts *master = facts_master(r->facts);

    EACH_HOST (r, h, 0)
        if (h->info->said)
            look_at_controller(r, h);
    EACH_HOST (r, h, 1)
        if (says_same(master, h, "machine_id") || says_same(master, h, "boot_id"))
            verify_found(r, h->host, NULL,
                         "%s and %s are one machine (their machine id or boot id is the same)", master->host,
                         h->host);
}

/* --- and the ways between them ------------------------------------------- */

typedef struct {
    guint known;
    guint direct;        /* of these: on the line itself */
    const char *gateway; /* of the first that has one */
    gboolean gateways;   /* there are several */
    const char *device;
    gboolean devices;
    const char *why; /* of one that is not known */
} Ways;

static void add_way(Ways *w, const json_t *route)
{
    const char *gateway = fact_text(route, "gateway"), *device = fact_text(route, "device");

    if (*fact_text(route, "why")) {
        w->why = fact_text(route, "why");
        return;
    }
    w->known++;
    w->direct += !*gateway;
    if (*gateway) {
        w->gateways |= w->gateway && !g_str_equal(w->gateway, gateway);
        w->gateway = gateway;
    }
    w->devices |= w->device && !g_str_equal(w->device, device);
    w->device = device;
}

/* To all who have a vote on what runs there: the other hosts on each of their addresses, and the controller. */
static Ways ways_of(const HostFacts *h)
{
    const json_t *routes = json_object_get(h->routes->said, "routes");
    Ways w = {0};

    for (gsize i = 0; i < json_array_size(routes); i++)
        add_way(&w, json_array_get(routes, i));
    add_way(&w, json_object_get(h->routes->said, "asker"));
    return w;
}

static gboolean is_one_router(const Ways *w)
{
    return w->known > 0 && w->direct == 0 && !w->gateways;
}

static void votes_reached(Report *r)
{
    EACH_HOST (r, h, 0) {
        Ways w = h->routes->said ? ways_of(h) : (Ways){0};

        if (h->routes->failure && !verify_silence_of(h))
            verify_found(r, h->host, NULL, "%s cannot say by which ways it reaches the others: %s", h->host,
                         h->routes->failure->message);
        else if (is_one_router(&w))
            verify_found(r, h->host, NULL,
                         "%s reaches the other host and the controller through one router, %s", h->host,
                         w.gateway);
        else if (h->routes->said && w.known == 0)
            verify_found(r, h->host, NULL, "by which ways %s reaches the others is not known: %s", h->host,
                         w.why);
    }
}

/* The switch behind it cannot be seen, nor whether there are two. */
static void votes_on_one_line(Report *r)
{
    EACH_HOST (r, h, 0) {
        Ways w = h->routes->said ? ways_of(h) : (Ways){0};

        if (w.known > 0 && !is_one_router(&w) && !w.devices)
            verify_found(r, h->host, NULL, "%s reaches the other host and the controller over %s alone",
                         h->host, w.device);
    }
}

/* As of a line between two towns, where a warm copy is worth more than a switchover that nobody wanted. */
#define SLOW_MS 100
#define LOSSY 2 /* of 20 */

/* Who answers no echo at all may be told not to. */
static void look_at_line(Report *r, const HostFacts *h, const json_t *route, const char *to)
{
    const json_t *line = json_object_get(route, "line");
    int sent = (int)json_integer_value(json_object_get(line, "sent"));
    int answered = (int)json_integer_value(json_object_get(line, "answered"));
    int rtt_ms = (int)json_integer_value(json_object_get(line, "rtt_ms"));

    if (answered > 0 && sent - answered >= LOSSY)
        verify_found(r, h->host, NULL, "of %d echoes from %s to %s %d did not come back", sent, h->host, to,
                     sent - answered);
    else if (answered > 0 && rtt_ms >= SLOW_MS)
        verify_found(r, h->host, NULL, "an echo from %s to %s takes %d ms", h->host, to, rtt_ms);
}

static void votes_fast(Report *r)
{
    EACH_HOST (r, h, 0) {
        const json_t *routes = json_object_get(h->routes->said, "routes");

        for (gsize i = 0; i < json_array_size(routes); i++)
            look_at_line(
                r, h, json_array_get(routes, i),
                json_string_value(json_array_get(json_object_get(h->routes->params, "addresses"), i)));
        look_at_line(r, h, json_object_get(h->routes->said, "asker"), "the controller");
    }
}

/* --- clocks -------------------------------------------------------------- */

/* An engine of before says nothing: that is not known to be a machine of its own. */
static void look_at_clocks(Report *r, gboolean fenced)
{
    EACH_HOST (r, h, 0) {
        const char *outer = fact_text(h->info->said, "outer");
        gboolean says = json_is_string(json_object_get(h->info->said, "outer"));

        if (!h->info->said || h->has_fence != fenced ||
            r->facts->scenario->policy.trust_clock == TRUST_CLOCK_YES)
            continue;
        if (!says)
            verify_found(r, h->host, NULL, "%s does not say whether it is a VM itself", h->host);
        else if (*outer)
            verify_found(r, h->host, NULL, "%s is a VM itself (%s)", h->host, outer);
    }
}

static void host_clock(Report *r)
{
    look_at_clocks(r, FALSE);
}

static void host_clock_fenced(Report *r)
{
    look_at_clocks(r, TRUE);
}

/* --- guests -------------------------------------------------------------- */

static void look_at_guest(Report *r, const HostFacts *h, const Fact *fact, const char *key, GHashTable *said)
{
    const ScenarioVm *vm = scenario_find_vm(r->facts->scenario, fact->vm);
    const char *definition = fact_text(fact->said, key);
    g_autoptr(Host) here = facts_places(h);
    g_autoptr(GError) why = NULL;
    g_autoptr(GPtrArray) spills = *definition ? spill_of(definition, here, &why) : NULL;

    if (why)
        verify_found(r, h->host, vm->name, "on %s, what '%s' does to others is not known: %s", h->host,
                     vm->name, why->message);
    for (guint i = 0; spills && i < spills->len; i++)
        if (g_hash_table_add(said, g_strdup(spills->pdata[i])))
            verify_found(r, h->host, vm->name, "on %s, '%s' %s", h->host, vm->name, (char *)spills->pdata[i]);
}

static const HostFacts *replica_of(Report *r, const Fact *fit)
{
    EACH_HOST (r, h, 1)
        if (g_str_equal(h->host, fit->call.host))
            return h;
    g_assert_not_reached();
}

/* As it is defined, as it runs, and as it would be on the replica, which is the next one that it may be taken over from. */
static void look_at_guests(Report *r, gboolean fenced)
{
    const HostFacts *master = facts_master(r->facts);

    for (guint i = 0; master->has_fence == fenced && i < r->facts->checks->len; i++) {
        g_autoptr(GHashTable) said = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

        look_at_guest(r, master, r->facts->checks->pdata[i], "definition", said);
        look_at_guest(r, master, r->facts->checks->pdata[i], "live", said);
    }
    for (guint i = 0; i < r->facts->fits->len; i++) {
        const Fact *fit = r->facts->fits->pdata[i];
        g_autoptr(GHashTable) said = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

        if (replica_of(r, fit)->has_fence == fenced)
            look_at_guest(r, replica_of(r, fit), fit, "definition", said);
    }
}

static void guests_held(Report *r)
{
    look_at_guests(r, FALSE);
}

static void guests_held_fenced(Report *r)
{
    look_at_guests(r, TRUE);
}

/* --- what the operator chose --------------------------------------------- */

static void isolation_fenced(Report *r)
{
    EACH_HOST (r, h, 0)
        if (r->facts->scenario->policy.isolation == ISOLATION_RUN && !h->has_fence)
            verify_found(r, h->host, NULL, "isolation is 'run', and no fence is set for %s", h->host);
}

#define FENCE                                                                                              \
    "set a fence for that host, /etc/understudy/fence/HOST on the controller, which names the agent that " \
    "switches it off (understudy-controller(8))"

#define RESTS_ON_FENCE                                                                                      \
    "a lease does not hold its VMs: they are taken over only when its fence has switched it off, else the " \
    "operator is asked"
#define TRY_FENCE "see now and then that the fence works: understudy fence HOST --status"

static const Check CHECKS[] = {
    {"votes-apart", FINDING_ERROR, FALSE, votes_apart,
     "with that one machine two of the three votes are gone: VMs that are well would be paused, or nobody "
     "could "
     "take over",
     "run the controller on a third machine, however small, that is none of the scenario's hosts nor a VM on "
     "one; if "
     "they are two with one id, give one of them its own: rm /etc/machine-id && systemd-machine-id-setup; or "
     "set "
     "switchover=manual",
     TRUE},
    {"votes-reached", FINDING_ERROR, FALSE, votes_reached,
     "with that one router all votes are gone: VMs that are well would be paused",
     "give that host a second way: a line of its own to the other host (understudy host set HOST --address … "
     "--via "
     "ADDRESS), or a controller that is reached otherwise; or set switchover=manual",
     TRUE},
    {"host-clock", FINDING_ERROR, FALSE, host_clock,
     "one that is suspended, migrated or put back as a whole runs no clock: its VMs would go on after their "
     "lease, beside "
     "those of the next",
     FENCE "; or, if nobody ever does that to it, take the risk: understudy scenario set SCENARIO "
           "trust_clock=yes; or "
           "set switchover=manual",
     TRUE},
    {"guest-held", FINDING_ERROR, FALSE, guests_held,
     "that is not stopped by the gate that shuts when the VM's lease ends: it could take effect while the VM "
     "runs on "
     "the other host already",
     "detach it, or plug it into a bridge of the kernel's; or " FENCE "; or set switchover=manual", TRUE},
    {"votes-on-one-line", FINDING_WARNING, FALSE, votes_on_one_line,
     "if its cable or switch is lost for as long as the countdown, VMs that are well are paused, or taken "
     "over",
     "see that there are two cables to two switches behind it (a bond), or give the hosts a second path: "
     "understudy "
     "host set HOST --via ADDRESS"},
    {"votes-fast", FINDING_WARNING, FALSE, votes_fast,
     "on a line that is slow or loses what is sent, renewals and probes come late: VMs that are well may be "
     "paused, or taken over",
     "give the hosts a line of their own (understudy host set HOST --via ADDRESS), or a longer countdown: "
     "understudy "
     "scenario set SCENARIO countdown=…; or set switchover=manual"},
    {VERIFY_CLOCK_FENCED, FINDING_WARNING, FALSE, host_clock_fenced, RESTS_ON_FENCE, TRY_FENCE},
    {VERIFY_GUEST_FENCED, FINDING_WARNING, FALSE, guests_held_fenced, RESTS_ON_FENCE, TRY_FENCE},
    {"isolation-fenced", FINDING_WARNING, FALSE, isolation_fenced,
     "when that host is gone its VMs are not started on the other by themselves: the operator must do it",
     FENCE "; or set isolation=pause"},
};

void verify_auto(Report *r)
{
    for (guint i = 0; i < G_N_ELEMENTS(CHECKS); i++) {
        r->check = &CHECKS[i];
        CHECKS[i].look(r);
    }
}

void verify_auto_catalogue(GString *text)
{
    for (guint i = 0; i < G_N_ELEMENTS(CHECKS); i++)
        verify_write_row(text, CHECKS[i].id, CHECKS[i].severity, CHECKS[i].bars_move, CHECKS[i].consequence,
                         CHECKS[i].remedy);
}
