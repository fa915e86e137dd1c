/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/debts.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"

#define ROW_ID ((Id){{0xfe}})
#define ROW_NAME "~debts" /* no scenario's name */
/* Removing the checkpoints of a busy guest waits for its jobs. */
#define CALL_MS 120000

typedef struct {
    char *host;
    char *method;
    json_t *params;
} Debt;

struct Debts {
    Database *db;
    Hosts *hosts;
    DebtsSign sign;
    void *user;
    GPtrArray *list; /* Debt *, in the order in which they are to be told */
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

Debts *debts_new(Database *db, Hosts *hosts, DebtsSign sign, void *user)
{
    Debts *d = g_new0(Debts, 1);

    d->db = db;
    d->hosts = hosts;
    d->sign = sign;
    d->user = user;
    d->list = g_ptr_array_new_with_free_func(debt_free);
    return d;
}

void debts_free(Debts *d)
{
    if (!d)
        return;
    g_ptr_array_unref(d->list);
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

gboolean debts_forget(Debts *d, const char *host)
{
    gboolean any = FALSE;
    Debt *debt;

    while ((debt = first_of(d, host)))
        any = g_ptr_array_remove(d->list, debt);
    return any;
}

/* --- paying ---------------------------------------------------------------- */

static void payment_free(Payment *p)
{
    g_free(p->host);
    g_free(p);
}

static void pay_next(Payment *p);

static void tell_paid(Payment *p)
{
    p->paid(p->user, p->host);
    payment_free(p);
}

/* Then it is told again after a restart: each call may be. */
static void on_struck_out(const GError *error, void *user)
{
    (void)user;
    if (error)
        log_warning("the database could not take what a host was told: %s", error->message);
}

static void strike_out(Debts *d, Debt *debt)
{
    DatabaseChanges *changes = database_changes_new();

    g_ptr_array_remove(d->list, debt);
    debts_put(d, changes);
    database_submit(d->db, changes, on_struck_out, NULL);
}

static void on_answer(void *user, const json_t *result, const GError *error)
{
    Payment *p = user;
    Debt *debt;

    (void)result;
    if (g_error_matches(error, US_ERROR, US_ERROR_UNREACHABLE) ||
        g_error_matches(error, US_ERROR, US_ERROR_CANCELLED)) {
        payment_free(p);
        return;
    }
    if (g_error_matches(error, US_ERROR, US_ERROR_TIMEOUT)) {
        tell_paid(p);
        return;
    }
    debt = first_of(p->debts, p->host);
    if (!debt) {
        tell_paid(p); /* the host was let go meanwhile */
        return;
    }
    if (error)
        log_warning("host '%s', of a scenario that was deleted while it was away: %s: %s", p->host,
                    debt->method, error->message);
    else
        log_notice("host '%s', of a scenario that was deleted while it was away: %s is done", p->host,
                   debt->method);
    strike_out(p->debts, debt);
    pay_next(p);
}

static void pay_next(Payment *p)
{
    const Debts *d = p->debts;
    const Debt *debt = first_of(d, p->host);
    json_auto_t *params = NULL;

    if (!debt) {
        tell_paid(p);
        return;
    }
    params =
        g_str_has_prefix(debt->method, "plan.") ? d->sign(d->user, debt->params) : json_incref(debt->params);
    hosts_call(d->hosts, p->host, debt->method, params, CALL_MS, on_answer, p);
}

void debts_pay(Debts *d, const char *host, DebtsPaid paid, void *user)
{
    Payment *p = g_new0(Payment, 1);

    *p = (Payment){d, g_strdup(host), paid, user};
    pay_next(p);
}
