/* SPDX-License-Identifier: Apache-2.0 */
/* serve_obey - the first thing that a controller says: how new its memory is. The link of one that is older than what was followed
 * here already ends, and so do the links of those that are older than this one. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"

typedef struct {
    Engine *engine;
    RpcReply *reply;
    Obeyed obeyed;
    GError *error;
} Obeying;

static void work(void *data)
{
    Obeying *o = data;

    obeyed_write(o->engine->paths.obeyed, &o->obeyed, &o->error);
}

static json_t *answer(const Engine *e, gboolean obeyed)
{
    return json_pack("{s:b, s:I}", "obeyed", obeyed, "incarnation", (json_int_t)e->obeyed.incarnation);
}

static void done(void *data)
{
    Obeying *o = data;
    json_auto_t *result = answer(o->engine, TRUE);

    if (!o->error)
        o->engine->obeyed_kept = o->obeyed;
    serve_done(o->reply, result, o->error);
    g_clear_error(&o->error);
    g_free(o);
}

static void refuse(Visit *visit, RpcReply *reply, guint64 incarnation)
{
    const Engine *e = visit->engine;
    json_auto_t *result = answer(e, FALSE);

    log_warning("controller %s comes with incarnation %" G_GUINT64_FORMAT
                ", here it was followed as %" G_GUINT64_FORMAT " -> a copy, it is not obeyed",
                ID_TEXT(visit->controller), incarnation, e->obeyed.incarnation);
    visit->former = TRUE;
    gate_leave(visit->engine);
    serve_done(reply, result, NULL);
}

/* In memory at once: whoever asks next is measured by it. */
static void obey(Visit *visit, guint64 incarnation)
{
    Engine *e = visit->engine;

    e->obeyed = (Obeyed){visit->controller, incarnation};
    visit->incarnation = incarnation;
    for (guint i = 0; i < e->visits->len; i++) {
        Visit *other = e->visits->pdata[i];

        other->former |= id_equal(other->controller, visit->controller) && other->incarnation < incarnation;
    }
    gate_leave(e);
}

void serve_host_obey(void *user, RpcReply *reply, const json_t *params)
{
    Visit *visit = user;
    g_autoptr(GError) error = NULL;
    json_int_t incarnation;
    Obeying *o;

    if (!serve_good(reply, json_read(params, "host.obey", &error, "{s:I}", "incarnation", &incarnation),
                    &error))
        return;
    if (incarnation <= 0 || !obeyed_allows(&visit->engine->obeyed, visit->controller, (guint64)incarnation)) {
        refuse(visit, reply, (guint64)MAX(incarnation, 0));
        return;
    }
    obey(visit, (guint64)incarnation);
    /* A link that broke off needs no room on the disk. */
    if (obeyed_equal(&visit->engine->obeyed, &visit->engine->obeyed_kept)) {
        json_auto_t *result = answer(visit->engine, TRUE);

        serve_done(reply, result, NULL);
        return;
    }
    o = g_new0(Obeying, 1);
    *o = (Obeying){.engine = visit->engine, .reply = reply, .obeyed = visit->engine->obeyed};
    clerk_submit(visit->engine->clerk, work, done, o);
}
