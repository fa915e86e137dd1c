/* SPDX-License-Identifier: Apache-2.0 */
/* A host is added in three steps: its engine takes our certificate (enrolment), the
 * database has it, then it is dialled. An engine that is ours already, because we died
 * between the first two, needs no second enrolment. Who adds a host goes on with it at once: the answer waits
 * until its link is up, but not for long, since in our care it is all the same.
 *
 * Addresses are changed in the same way, with a look at who answers there in place of the enrolment. */
#include "orchestrator/core/scenario.h"
#include "orchestrator/operations.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/link/dial.h"
#include "vmconnect/link/enrol_loop.h"

#define ENROL_MS 15000
#define UP_MS 10000
#define MAX_ADDRESSES 8

typedef struct {
    Controller *c;
    ApiCall *call;
    char *name;
    char **addresses;
    gboolean moves; /* it is in our care, and gets other addresses */
    Id id;
    Token token;
    EnrolHost *enrol;
    Dial *dial;
    GError *refusal; /* of the enrolment */
    gint64 until_ms; /* it is in our care, and its link is waited for; 0: not yet */
} Enrolling;

static void end(Enrolling *e, const GError *error)
{
    if (error)
        api_call_fail(e->call, error);
    else
        api_call_answer(e->call, hosts_describe(e->c->hosts, e->name));
    g_ptr_array_remove_fast(e->c->enrolling, e);
    g_clear_error(&e->refusal);
    g_free(e->name);
    g_strfreev(e->addresses);
    g_free(e);
}

static void take_up(const Enrolling *e)
{
    const char *const *to = (const char *const *)e->addresses;

    if (!e->moves)
        hosts_add(e->c->hosts, e->name, e->id, to);
    else if (roster_find(hosts_roster(e->c->hosts), e->name)) {
        hosts_move(e->c->hosts, e->name, to);
        scenarios_host_has_moved(e->c->scenarios, e->name);
    }
    log_notice("host '%s' is in our care, at %s", e->name, e->addresses[0]);
}

static void on_kept(const GError *error, void *user)
{
    Enrolling *e = user;

    if (!error && e->c->ending) {
        g_autoptr(GError) late =
            g_error_new(US_ERROR, US_ERROR_CANCELLED, "the controller ends; the host is in its care");

        end(e, late);
    } else if (error) {
        end(e, error);
    } else {
        take_up(e);
        e->until_ms = clock_steady_ms() + UP_MS;
        operations_enrol_look(e->c);
    }
}

/* It is in our care, unless it was let go meanwhile. */
static void end_waiting(Enrolling *e)
{
    g_autoptr(GError) error = NULL;

    operation_expect_host(e->c, e->name, &error);
    end(e, error);
}

void operations_enrol_look(Controller *c)
{
    gint64 now_ms = clock_steady_ms();

    for (guint i = c->enrolling->len; i > 0; i--) {
        Enrolling *e = c->enrolling->pdata[i - 1];

        if (e->until_ms && (now_ms >= e->until_ms || hosts_is_up(c->hosts, e->name) ||
                            !roster_find(hosts_roster(c->hosts), e->name)))
            end_waiting(e);
    }
}

static void keep(Enrolling *e)
{
    DatabaseChanges *changes = database_changes_new();
    json_auto_t *doc =
        hosts_document(&(RosterHost){.name = e->name, .id = e->id, .addresses = (char **)e->addresses});

    if (e->moves)
        database_move_host(changes, e->id, json_object_get(doc, "addresses"));
    else
        database_put_host(changes, e->id, e->name, doc);
    database_submit(e->c->db, changes, on_kept, e);
}

static gboolean check_new(const Enrolling *e, GError **error)
{
    const char *known = hosts_name_of(e->c->hosts, e->id);

    if (known)
        g_set_error(error, US_ERROR, US_ERROR_EXISTS,
                    "that engine is in the controller's care already, as '%s'", known);
    return !known;
}

static void keep_if_new(Enrolling *e)
{
    g_autoptr(GError) error = NULL;

    if (check_new(e, &error))
        keep(e);
    else
        end(e, error);
}

/* Its certificate is of our authority: it is ours. Else what enrolment said is the answer. */
static void on_dialled(void *user, Link *link, const GError *error)
{
    Enrolling *e = user;

    e->dial = NULL;
    if (error) {
        g_autoptr(GError) silent =
            e->moves
                ? g_error_new(
                      error->domain, error->code,
                      "the engine of host '%s' does not answer there, and is looked for where it was: %s",
                      e->name, error->message)
                : NULL;

        end(e, silent ? silent : e->refusal);
        return;
    }
    e->id = link_peer(link).id;
    link_free(link);
    if (e->moves)
        keep(e);
    else
        keep_if_new(e);
}

static void look_who_answers(Enrolling *e, Id expected)
{
    LinkSettings settings = {
        .identity = authority_identity(e->c->authority), .purpose = PURPOSE_CONTROL, .expect = expected};

    e->dial = dial_start(&e->c->loop, (const char *const *)e->addresses, &settings, ENROL_MS, on_dialled, e);
}

static void on_enrolled(void *user, const Id *engine, const GError *error)
{
    Enrolling *e = user;

    e->enrol = NULL;
    if (!error) {
        e->id = *engine;
        keep_if_new(e);
        return;
    }
    e->refusal = g_error_copy(error);
    look_who_answers(e, ID_NIL);
}

static gboolean sign(void *user, GBytes *public_key, Id engine, char **ret_certificate, char **ret_authority,
                     GError **error)
{
    const Enrolling *e = user;

    return authority_sign(e->c->authority, public_key, engine, ret_certificate, ret_authority, error);
}

static char **read_addresses(const json_t *list, GError **error)
{
    g_autoptr(GPtrArray) addresses = g_ptr_array_new_with_free_func(g_free);

    for (gsize i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        g_autofree char *host = NULL;
        guint16 port;

        if (!text || !dial_parse(text, 25000, &host, &port, error)) {
            if (!text)
                g_set_error(error, US_ERROR, US_ERROR_USAGE, "addresses must be texts");
            return NULL;
        }
        g_ptr_array_add(addresses, g_strdup(text));
    }
    if (addresses->len == 0 || addresses->len > MAX_ADDRESSES) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "a host has one to %d addresses", MAX_ADDRESSES);
        return NULL;
    }
    g_ptr_array_add(addresses, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&addresses), FALSE);
}

static gboolean check_name(const Controller *c, const char *name, GError **error)
{
    gboolean taken = roster_find(hosts_roster(c->hosts), name) != NULL;

    for (guint i = 0; i < c->enrolling->len && !taken; i++)
        taken = g_str_equal(((Enrolling *)c->enrolling->pdata[i])->name, name);
    if (taken)
        g_set_error(error, US_ERROR, US_ERROR_EXISTS, "there is a host '%s' already", name);
    return !taken && scenario_name_check("host", name, error);
}

static Enrolling *read_host(Controller *c, const json_t *body, GError **error)
{
    const char *name, *token_text;
    json_t *list;
    Token token;
    char **addresses;
    Enrolling *e;

    if (!json_read(body, "host", error, "{s:s, s:o, s:s}", "name", &name, "addresses", &list, "token",
                   &token_text) ||
        !check_name(c, name, error) || !token_parse(token_text, &token, error))
        return NULL;
    addresses = read_addresses(list, error);
    if (!addresses)
        return NULL;
    e = g_new0(Enrolling, 1);
    *e = (Enrolling){.c = c, .name = g_strdup(name), .addresses = addresses, .token = token};
    return e;
}

static void host_add(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    Enrolling *e = read_host(c, api_call_body(call), &error);

    if (!e) {
        api_call_fail(call, error);
        return;
    }
    e->call = call;
    g_ptr_array_add(c->enrolling, e);
    e->enrol = enrol_host(&c->loop, (const char *const *)e->addresses, authority_identity(c->authority),
                          &e->token, ENROL_MS, sign, on_enrolled, e);
}

static void host_set(ApiCall *call, void *user)
{
    Controller *c = user;
    const char *name = api_call_parameter(call, "host");
    g_autoptr(GError) error = NULL;
    json_t *list;
    char **to = NULL;
    Enrolling *e;

    if (!operation_expect_host(c, name, &error) ||
        !json_read(api_call_body(call), "host", &error, "{s:o}", "addresses", &list) ||
        !(to = read_addresses(list, &error))) {
        api_call_fail(call, error);
        return;
    }
    e = g_new0(Enrolling, 1);
    *e = (Enrolling){.c = c, .call = call, .name = g_strdup(name), .addresses = to, .moves = TRUE};
    g_ptr_array_add(c->enrolling, e);
    look_who_answers(e, roster_find(hosts_roster(c->hosts), name)->id);
}

void operations_enrol_close(Controller *c)
{
    g_autoptr(GError) error = g_error_new(US_ERROR, US_ERROR_CANCELLED, "the controller ends");

    for (guint i = c->enrolling->len; i > 0; i--) {
        Enrolling *e = c->enrolling->pdata[i - 1];

        if (e->until_ms) {
            end_waiting(e);
            continue;
        }
        if (!e->enrol && !e->dial)
            continue; /* the database has it, and will answer */
        enrol_host_cancel(e->enrol);
        dial_cancel(e->dial);
        end(e, error);
    }
}

const Operation OPERATIONS_ENROL[] = {
    {"host.add", host_add},
    {"host.set", host_set},
    {NULL, NULL},
};
