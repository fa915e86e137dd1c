/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/probe/prober.h"

#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/agent.h"
#include "vmconnect/hypervisor/agents.h"
#include "vmconnect/image/process.h"
#include "vmconnect/link/dial.h"
#include "vmconnect/loop/aside.h"
#include "vmconnect/loop/lookup.h"
#include "vmconnect/probe/http_get.h"
#include "vmconnect/probe/pinger.h"

#include <stdatomic.h>
#include <string.h>

#define AGENT_HANDS 8
#define GRACE_MS 1000 /* what must not hang has so long beyond its time */
#define HELD_MAX 4    /* tries of one script that nobody can end */

struct Prober {
    uv_loop_t *loop;
    char *script_dir;
    Pinger *pinger;
    Agents *agents;
    GPtrArray *tenures; /* of Tenure *, a part of each: scripts whose processes may be there still */
    void (*on_closed)(void *user);
    void *user;
};

struct Probe {
    ProbeDone on_done; /* NULL: cancelled */
    void *user;
    Ping *ping;
    struct Knock *knock;
    struct Tenure *tenure; /* of a script; one part of it */
};

/* Told once, unless it was cancelled. */
static void tell(Probe *probe, ProbeResult result, const char *why)
{
    ProbeDone on_done = probe->on_done;

    probe->on_done = NULL;
    if (on_done)
        on_done(probe->user, result, why);
}

/* @found: whom to ask was known. */
static ProbeResult result_of(gboolean found, const char *why)
{
    return !found ? PROBE_NOT_MADE : why ? PROBE_MISSED : PROBE_ANSWERED;
}

/* Nothing comes back to it any more. */
static void end(Probe *probe, gboolean found, const char *why)
{
    tell(probe, result_of(found, why), why);
    g_free(probe);
}

/* --- ping ------------------------------------------------------------------ */

static void on_ping(void *user, gboolean found, const char *why)
{
    end(user, found, why);
}

static void try_ping(Prober *p, Probe *probe, const CheckSpec *spec, gint64 timeout_ms)
{
    probe->ping = pinger_ask(p->pinger, spec->address, timeout_ms, on_ping, probe);
}

/* --- tcp ------------------------------------------------------------------- */

typedef struct Knock {
    Probe *probe;
    uv_getaddrinfo_t look_up;
    uv_connect_t connect;
    uv_tcp_t tcp;
    uv_timer_t timer;
    char *why;
    gboolean looking, found; /* for its address; it is known, and it can be asked */
    guint handles;
} Knock;

static void knock_unref(Knock *k)
{
    if (k->handles > 0 || k->looking)
        return;
    end(k->probe, TRUE, NULL);
    g_free(k->why);
    g_free(k);
}

static void on_handle_closed(uv_handle_t *handle)
{
    Knock *k = handle->data;

    k->handles--;
    knock_unref(k);
}

static void knock_end(Knock *k, const char *why)
{
    if (uv_is_closing((uv_handle_t *)&k->timer))
        return;
    uv_close((uv_handle_t *)&k->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&k->timer, on_handle_closed);
    tell(k->probe, result_of(k->found, why), why);
}

static void on_knock_timer(uv_timer_t *timer)
{
    Knock *k = timer->data;

    knock_end(k, k->why ? k->why : k->found ? "no answer in time" : "its name is not found in time");
}

static void knock_end_soon(Knock *k, const char *what, int rc)
{
    k->why = g_strdup_printf("%s: %s", what, uv_strerror(rc));
    uv_timer_start(&k->timer, on_knock_timer, 0, 0);
}

/* Our own host has said it, and nobody else. */
static gboolean is_our_own(int status)
{
    return status == UV_ENETUNREACH || status == UV_EADDRNOTAVAIL || status == UV_EPERM ||
           status == UV_EACCES;
}

static void on_connected(uv_connect_t *request, int status)
{
    Knock *k = request->data;
    g_autofree char *why = status ? g_strdup_printf("nothing accepts there: %s", uv_strerror(status)) : NULL;

    k->found = !is_our_own(status);
    if (status != UV_ECANCELED)
        knock_end(k, why);
}

static void on_looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    Knock *k = request->data;
    int rc;

    k->looking = FALSE;
    k->found = status == 0;
    if (uv_is_closing((uv_handle_t *)&k->timer))
        knock_unref(k);
    else if (status != 0)
        knock_end_soon(k, "its name is not found", status);
    else if ((rc = uv_tcp_connect(&k->connect, &k->tcp, found->ai_addr, on_connected)) != 0) {
        k->found = FALSE;
        knock_end_soon(k, "it cannot be connected to", rc);
    }
    uv_freeaddrinfo(found);
}

static void try_tcp(Prober *p, Probe *probe, const CheckSpec *spec, gint64 timeout_ms)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    Knock *k = g_new0(Knock, 1);
    char port[8];
    int rc;

    g_snprintf(port, sizeof(port), "%u", spec->port);
    k->probe = probe;
    k->handles = 2;
    uv_tcp_init(p->loop, &k->tcp);
    uv_timer_init(p->loop, &k->timer);
    k->tcp.data = k->timer.data = k->look_up.data = k->connect.data = k;
    probe->knock = k;
    uv_timer_start(&k->timer, on_knock_timer, (guint64)timeout_ms, 0);
    k->looking = TRUE;
    rc = lookup_start(p->loop, &k->look_up, on_looked_up, spec->address, port, &hints);
    if (rc == 0)
        return;
    k->looking = FALSE;
    knock_end_soon(k, "its name cannot be looked up", rc);
}

/* --- the guest's agent ------------------------------------------------------ */

typedef struct {
    Id vm;
    char **argv; /* NULL: a ping */
    gint64 timeout_ms;
} Asked;

static void asked_free(gpointer data)
{
    Asked *asked = data;

    g_strfreev(asked->argv);
    g_free(asked);
}

static gboolean ask(virDomainPtr dom, const Asked *asked, GError **error)
{
    return asked->argv ? agent_run(dom, (const char *const *)asked->argv, asked->timeout_ms, error)
                       : agent_ping(dom, asked->timeout_ms, error);
}

/* What libvirt says in time is the agent's silence; no answer of libvirt's at all is libvirtd's. */
static gboolean ask_agent(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const Asked *asked = request;
    g_autoptr(GError) why = NULL;
    g_autoptr(virDomain) dom = vm_lookup(conn, asked->vm, error);

    *ret_result = NULL;
    if (!dom)
        return FALSE;
    if (ask(dom, asked, &why))
        return TRUE;
    if (g_error_matches(why, US_ERROR, US_ERROR_TIMEOUT))
        why->code = US_ERROR_FAILED;
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

/* libvirt gives up on an agent by itself, in time: whatever takes longer is libvirtd. */
static gboolean is_libvirtd(const GError *error)
{
    return g_error_matches(error, US_ERROR, US_ERROR_UNREACHABLE) ||
           g_error_matches(error, US_ERROR, US_ERROR_TIMEOUT) ||
           g_error_matches(error, US_ERROR, US_ERROR_CANCELLED);
}

static void on_agent(void *user, gpointer result, const GError *error)
{
    (void)result;
    if (is_libvirtd(error))
        tell(user, PROBE_NOT_MADE, error->message);
    end(user, TRUE, error ? error->message : NULL);
}

static void try_agent(Prober *p, Probe *probe, const CheckSpec *spec, Id vm, gint64 timeout_ms)
{
    Asked *asked = g_new0(Asked, 1);
    HandsJob job = {.what = "asking the guest's agent",
                    .timeout_ms = timeout_ms + GRACE_MS,
                    .work = ask_agent,
                    .request = asked,
                    .free_request = asked_free};

    *asked = (Asked){vm, g_strdupv(spec->argv), timeout_ms};
    agents_submit(p->agents, vm, &job, on_agent, probe);
}

/* --- what is done on a thread aside ------------------------------------------- */

/* A script that hangs in the kernel, as on a dead network mount, is not ended by being killed. Until all of it is gone, which its thread waits
 * for, no other is begun of the same check: each would leave some more behind, and find the same. Nor, once several of a script are held, is
 * that script for any other guest: each costs a thread. Those that run when the first is given up go on. */
typedef struct Tenure {
    atomic_uint parts; /* the errand's until its thread is back, the probe's, the prober's */
    Id vm;
    char **argv;
    gboolean given_up; /* the loop's: its time was over, and it was not ended */
} Tenure;

static Tenure *tenure_new(Id vm, char **argv)
{
    Tenure *t = g_new0(Tenure, 1);

    t->parts = 1;
    t->vm = vm;
    t->argv = g_strdupv(argv);
    return t;
}

static Tenure *tenure_ref(Tenure *t)
{
    atomic_fetch_add(&t->parts, 1);
    return t;
}

static void tenure_unref(gpointer data)
{
    Tenure *t = data;

    if (!t || atomic_fetch_sub(&t->parts, 1) > 1)
        return;
    g_strfreev(t->argv);
    g_free(t);
}

/* Those that nobody but we know of are over. */
static void forget_tenures(Prober *p)
{
    for (guint i = p->tenures->len; i > 0; i--)
        if (atomic_load(&((Tenure *)p->tenures->pdata[i - 1])->parts) == 1)
            g_ptr_array_remove_index_fast(p->tenures, i - 1);
}

typedef enum { HELD_NOT, HELD_BY_ITSELF, HELD_BY_OTHERS } Held;

static Held held_by(const Prober *p, Id vm, char **argv)
{
    guint n = 0;

    for (guint i = 0; i < p->tenures->len; i++) {
        const Tenure *t = p->tenures->pdata[i];

        if (!t->given_up || !g_str_equal(t->argv[0], argv[0]))
            continue;
        if (id_equal(t->vm, vm) && g_strv_equal((const char *const *)t->argv, (const char *const *)argv))
            return HELD_BY_ITSELF;
        n++;
    }
    return n >= HELD_MAX ? HELD_BY_OTHERS : HELD_NOT;
}

typedef struct {
    CheckSpec *spec;
    char *script_dir;
    gint64 timeout_ms;
    Tenure *tenure; /* of a script … */
    Held held;      /* … which is not begun, because of earlier ones */
} Errand;

static void errand_free(gpointer data)
{
    Errand *e = data;

    tenure_unref(e->tenure);
    check_spec_free(e->spec);
    g_free(e->script_dir);
    g_free(e);
}

/* @ret_found: it was there, and could be started. */
static char *run_script(const Errand *e, gboolean *ret_found)
{
    g_autofree char *path = g_build_filename(e->script_dir, e->spec->argv[0], NULL);
    g_autofree const char **argv =
        g_memdup2(e->spec->argv, (g_strv_length(e->spec->argv) + 1) * sizeof(char *));
    ProcessSpec spec = {.argv = argv, .until_gone = TRUE};
    g_autoptr(GError) error = NULL;

    argv[0] = path;
    *ret_found = e->held != HELD_BY_OTHERS;
    if (e->held)
        return g_strdup_printf(
            "%s in the kernel, where it cannot be ended (a mount that does not answer?): no other is begun "
            "until it is gone",
            e->held == HELD_BY_ITSELF ? "an earlier try of it hangs" : "the script hangs for other guests");
    if (process_run_spec(&spec, (int)e->timeout_ms, -1, 0, NULL, &error))
        return NULL;
    *ret_found = g_error_matches(error, US_ERROR, US_ERROR_FAILED) ||
                 g_error_matches(error, US_ERROR, US_ERROR_TIMEOUT) ||
                 g_error_matches(error, US_ERROR, US_ERROR_PROTOCOL);
    return g_strdup(error->message);
}

typedef struct {
    gboolean found;
    char *why;
} Brought;

static void brought_free(gpointer data)
{
    Brought *b = data;

    g_free(b->why);
    g_free(b);
}

static gpointer run_errand(gpointer request)
{
    const Errand *e = request;
    Brought *b = g_new0(Brought, 1);

    b->found = TRUE;
    b->why = e->spec->kind == CHECK_HTTP ? http_get(e->spec->url, e->spec->expect, e->timeout_ms, &b->found)
                                         : run_script(e, &b->found);
    return b;
}

static void on_errand(void *user, gpointer result)
{
    Tenure *tenure = g_steal_pointer(&((Probe *)user)->tenure);
    Brought *b = result;

    if (tenure)
        tenure->given_up = !b;
    tenure_unref(tenure);
    if (!b) {
        end(user, TRUE, "it hangs, and cannot be ended");
        return;
    }
    end(user, b->found, b->why);
    brought_free(b);
}

/* One that is held is a miss like that which it is held for: who is asked may be who does not answer the kernel. For others' sake it is
 * not made: they may wait for somebody else. */
static void take_tenure(Prober *p, Probe *probe, Errand *e, Id vm)
{
    forget_tenures(p);
    e->held = held_by(p, vm, e->spec->argv);
    if (e->held)
        return;
    e->tenure = tenure_new(vm, e->spec->argv);
    probe->tenure = tenure_ref(e->tenure);
    g_ptr_array_add(p->tenures, tenure_ref(e->tenure));
}

static void try_aside(Prober *p, Probe *probe, const CheckSpec *spec, Id vm, gint64 timeout_ms)
{
    Errand *e = g_new0(Errand, 1);
    AsideWork work = {.timeout_ms = timeout_ms + GRACE_MS,
                      .work = run_errand,
                      .request = e,
                      .free_request = errand_free,
                      .free_result = brought_free};

    *e = (Errand){
        .spec = check_spec_copy(spec), .script_dir = g_strdup(p->script_dir), .timeout_ms = timeout_ms};
    if (spec->kind == CHECK_SCRIPT)
        take_tenure(p, probe, e, vm);
    aside_run(p->loop, &work, on_errand, probe);
}

/* --- all --------------------------------------------------------------------- */

Prober *prober_new(uv_loop_t *loop, const ProberPaths *paths)
{
    Prober *p = g_new0(Prober, 1);

    p->loop = loop;
    p->script_dir = g_strdup(paths->script_dir);
    p->pinger = pinger_new(loop);
    p->agents = agents_new(loop, paths->libvirt_uri, AGENT_HANDS);
    p->tenures = g_ptr_array_new_with_free_func(tenure_unref);
    return p;
}

Probe *prober_try(Prober *p, const CheckSpec *spec, Id vm, gint64 timeout_ms, ProbeDone on_done, void *user)
{
    Probe *probe = g_new0(Probe, 1);

    probe->on_done = on_done;
    probe->user = user;
    if (spec->kind == CHECK_PING)
        try_ping(p, probe, spec, timeout_ms);
    else if (spec->kind == CHECK_TCP)
        try_tcp(p, probe, spec, timeout_ms);
    else if (spec->kind == CHECK_AGENT || spec->kind == CHECK_COMMAND)
        try_agent(p, probe, spec, vm, timeout_ms);
    else
        try_aside(p, probe, spec, vm, timeout_ms);
    return probe;
}

void prober_cancel(Probe *probe)
{
    if (!probe)
        return;
    probe->on_done = NULL;
    if (probe->knock)
        knock_end(probe->knock, NULL);
    else if (probe->ping) {
        pinger_cancel(probe->ping);
        g_free(probe);
    }
}

static void on_agents_closed(void *user)
{
    Prober *p = user;

    p->on_closed(p->user);
    g_ptr_array_unref(p->tenures);
    g_free(p->script_dir);
    g_free(p);
}

void prober_close(Prober *p, void (*on_closed)(void *user), void *user)
{
    p->on_closed = on_closed;
    p->user = user;
    pinger_close(p->pinger);
    agents_close(p->agents, on_agents_closed, p);
}
