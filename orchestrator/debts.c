/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/debts.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"

#define ROW_ID ((Id){{0xfe}})
#define ROW_NAME "~debts" /* no scenario's name */
/* Removing the checkpoints of a busy guest waits for its jobs. */
#define CALL_MS 120000
#define AGAIN_MS 30000

typedef struct {
    char *host;
    char *method;
    json_t *params;
} Debt;

struct Debts {
    Database *db;
    Hosts *hosts;
    DebtsWord word;
    void *user;
    GPtrArray *list;    /* Debt *, in the order in which they are to be told */
    GHashTable *paying; /* set of hosts that are being told */
    gint64 again_at_ms;
};

typedef struct {
    Debts *debts;
    char *host;
    DebtsPaid paid;
    void *user;
} Payment;

static void debt_free(gpointer data)
{
    Debt *debt = data;

    g_free(debt->host);
    g_free(debt->method);
    json_decref(debt->params);
    g_free(debt);
}

Debts *debts_new(Database *db, Hosts *hosts, DebtsWord word, void *user)
{
    Debts *d = g_new0(Debts, 1);

    d->db = db;
    d->hosts = hosts;
    d->word = word;
    d->user = user;
    d->list = g_ptr_array_new_with_free_func(debt_free);
    d->paying = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return d;
}

void debts_free(Debts *d)
{
    if (!d)
        return;
    g_ptr_array_unref(d->list);
    g_hash_table_unref(d->paying);
    g_free(d);
}

/* --- the row --------------------------------------------------------------- */

gboolean debts_is_document(const json_t *doc)
{
    return json_object_get(doc, "debts") != NULL;
}

gboolean debts_load(Debts *d, const json_t *doc, GError **error)
{
    const json_t *list = json_object_get(doc, "debts");
    json_t *one;
    gsize i;

    json_array_foreach(list, i, one)
    {
        const char *host, *method;
        json_t *params;

        if (!json_read(one, "debt", error, "{s:s, s:s, s:o}", "host", &host, "method", &method, "params",
                       &params))
            return FALSE;
        debts_add(d, host, method, json_incref(params));
    }
    return TRUE;
}

void debts_put(const Debts *d, DatabaseChanges *changes)
{
    json_auto_t *doc = json_pack("{s:[]}", "debts");

    for (guint i = 0; i < d->list->len; i++) {
        const Debt *debt = d->list->pdata[i];

        json_array_append_new(
            json_object_get(doc, "debts"),
            json_pack("{s:s, s:s, s:O}", "host", debt->host, "method", debt->method, "params", debt->params));
    }
    database_put_scenario(changes, ROW_ID, ROW_NAME, doc);
}

void debts_add(Debts *d, const char *host, const char *method, json_t *steal_params)
{
    Debt *debt = g_new0(Debt, 1);

    debt->host = g_strdup(host);
    debt->method = g_strdup(method);
    debt->params = steal_params;
    g_ptr_array_add(d->list, debt);
}

static Debt *first_of(const Debts *d, const char *host)
{
    for (guint i = 0; i < d->list->len; i++)
        if (g_str_equal(((const Debt *)d->list->pdata[i])->host, host))
            return d->list->pdata[i];
    return NULL;
}

gboolean debts_owes(const Debts *d, const char *host)
{
    return first_of(d, host) != NULL;
}

/* What could not be struck out is told again after a restart: each call may be. */
static void on_struck_out(const GError *error, void *user)
{
    (void)user;
    if (error)
        log_warning("the database still has what is not owed to a host any more: %s", error->message);
}

static void save(const Debts *d)
{
    DatabaseChanges *changes = database_changes_new();

    debts_put(d, changes);
    database_submit(d->db, changes, on_struck_out, NULL);
}

void debts_forget(Debts *d, const char *host)
{
    gboolean any = FALSE;
    Debt *debt;

    while ((debt = first_of(d, host)))
        any = g_ptr_array_remove(d->list, debt);
    if (any)
        save(d);
}

/* --- paying ---------------------------------------------------------------- */

static void payment_end(Payment *p)
{
    g_hash_table_remove(p->debts->paying, p->host);
    g_free(p->host);
    g_free(p);
}

static void pay_next(Payment *p);

static void tell_paid(Payment *p)
{
    g_autofree char *host = g_strdup(p->host);
    DebtsPaid paid = p->paid;
    void *user = p->user;

    payment_end(p);
    if (paid)
        paid(user, host);
}

/* Nothing to end is as good as ended. */
static gboolean is_still_owed(const GError *error)
{
    return error && !g_error_matches(error, US_ERROR, US_ERROR_NOT_FOUND);
}

static void on_answer(void *user, const json_t *result, const GError *error)
{
    Payment *p = user;
    Debt *debt;

    (void)result;
    /* An engine that answers may itself say that its libvirtd is unreachable: then others are not held up by that. */
    if (!hosts_is_up(p->debts->hosts, p->host)) {
        payment_end(p);
        return;
    }
    debt = first_of(p->debts, p->host);
    if (!debt || is_still_owed(error)) {
        if (debt)
            log_warning("host '%s', of a scenario that was deleted while it was away: %s: %s -> try again",
                        p->host, debt->method, error->message);
        p->debts->again_at_ms = clock_steady_ms() + AGAIN_MS;
        tell_paid(p);
        return;
    }
    log_notice("host '%s', of a scenario that was deleted while it was away: %s is done", p->host,
               debt->method);
    g_ptr_array_remove(p->debts->list, debt);
    save(p->debts);
    pay_next(p);
}

static void pay_next(Payment *p)
{
    const Debts *d = p->debts;
    const Debt *debt = first_of(d, p->host);
    json_auto_t *params = NULL;
    const char *method;

    if (!debt) {
        tell_paid(p);
        return;
    }
    method = debt->method;
    params = d->word(d->user, p->host, &method, debt->params);
    hosts_call(d->hosts, p->host, method, params, CALL_MS, on_answer, p);
}

void debts_pay(Debts *d, const char *host, DebtsPaid paid, void *user)
{
    Payment *p;

    if (!g_hash_table_add(d->paying, g_strdup(host)))
        return;
    p = g_new0(Payment, 1);
    *p = (Payment){d, g_strdup(host), paid, user};
    pay_next(p);
}

void debts_tick(Debts *d)
{
    g_autoptr(GPtrArray) hosts = g_ptr_array_new_with_free_func(g_free);

    if (d->list->len == 0 || clock_steady_ms() < d->again_at_ms)
        return;
    d->again_at_ms = clock_steady_ms() + AGAIN_MS;
    for (guint i = 0; i < d->list->len; i++)
        g_ptr_array_add(hosts, g_strdup(((const Debt *)d->list->pdata[i])->host));
    for (guint i = 0; i < hosts->len; i++)
        if (hosts_is_up(d->hosts, hosts->pdata[i]))
            debts_pay(d, hosts->pdata[i], NULL, NULL);
}
