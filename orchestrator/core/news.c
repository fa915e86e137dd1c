/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/news.h"

#include "vmconnect/base/error.h"

static void compare_clear(NewsCompare *c)
{
    g_free(c->state);
    json_decref(c->ranges);
    g_free(c->point);
    g_free(c->started_at);
    g_free(c->ended_at);
    g_free(c->why);
}

static void copy_free(gpointer p)
{
    NewsCopy *c = p;

    g_free(c->host);
    g_free(c->why);
    g_free(c->resync_reason);
    g_free(c->tip.cut_at);
    g_free(c->tip.sealed_at);
    compare_clear(&c->compare);
    g_free(c);
}

News *news_new(Id vm)
{
    News *n = g_new0(News, 1);

    n->vm = vm;
    n->copies = g_ptr_array_new_with_free_func(copy_free);
    return n;
}

void news_free(News *n)
{
    if (!n)
        return;
    g_ptr_array_free(n->copies, TRUE);
    g_free(n->guest);
    g_free(n->tracking);
    g_free(n->why);
    g_free(n->rescue_why);
    g_free(n);
}

/* Reads members of one object; the first that is wrong is remembered, and
 * everything after it reads as nothing. */
typedef struct {
    const json_t *doc;
    const char *wrong;
} Reader;

static const char *text_or(Reader *r, const char *key, const char *fallback)
{
    const json_t *v = json_object_get(r->doc, key);

    if (!v || json_is_null(v))
        return fallback;
    if (json_is_string(v))
        return json_string_value(v);
    r->wrong = r->wrong ? r->wrong : key;
    return fallback;
}

static gint64 number_or(Reader *r, const char *key, gint64 fallback)
{
    const json_t *v = json_object_get(r->doc, key);

    if (!v || json_is_null(v))
        return fallback;
    if (json_is_integer(v) && json_integer_value(v) >= 0)
        return json_integer_value(v);
    r->wrong = r->wrong ? r->wrong : key;
    return fallback;
}

static Id id_or_nil(Reader *r, const char *key)
{
    const char *text = text_or(r, key, NULL);
    Id id = ID_NIL;

    if (text && !id_parse(text, &id, NULL))
        r->wrong = r->wrong ? r->wrong : key;
    return id;
}

static gboolean read_well(const Reader *r, const char *what, GError **error)
{
    if (!r->wrong)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "the engine's %s has no sound '%s'", what, r->wrong);
    return FALSE;
}

static gboolean read_tip(NewsTip *tip, const json_t *doc, GError **error)
{
    Reader r = {doc};

    if (!json_is_object(doc))
        return TRUE;
    tip->id = id_or_nil(&r, "id");
    tip->term = (guint64)number_or(&r, "term", 0);
    tip->sequence = (guint64)number_or(&r, "sequence", 0);
    tip->cut_at = g_strdup(text_or(&r, "cut_at", NULL));
    tip->sealed_at = g_strdup(text_or(&r, "sealed_at", NULL));
    return read_well(&r, "tip", error);
}

static gboolean read_sync(NewsCopy *c, const json_t *doc, GError **error)
{
    Reader r = {doc};

    c->done_bytes = number_or(&r, "done_bytes", 0);
    c->total_bytes = number_or(&r, "total_bytes", 0);
    c->sent_bytes = number_or(&r, "sent_bytes", 0);
    c->rate_bps = number_or(&r, "rate_bps", 0);
    c->left_s = number_or(&r, "left_s", -1);
    c->synced_bytes = number_or(&r, "synced_bytes", -1);
    c->payload_bytes = number_or(&r, "payload_bytes", -1);
    return read_well(&r, "sync", error);
}

static gboolean read_resync(NewsCopy *c, const json_t *doc, GError **error)
{
    Reader r = {doc};

    c->resync_reason = g_strdup(text_or(&r, "reason", NULL));
    c->resync_compared_bytes = number_or(&r, "compared_bytes", 0);
    c->resync_sent_bytes = number_or(&r, "sent_bytes", 0);
    return read_well(&r, "resync", error);
}

#define RANGES_MAX 16

static const char *const COMPARE_STATES[] = {"running", "equal", "different", "repaired", "failed", NULL};

static gboolean read_range(json_t *ranges, const json_t *doc, GError **error)
{
    Reader r = {doc};
    const char *disk = text_or(&r, "disk", "");
    gint64 offset = number_or(&r, "offset", 0);
    gint64 len = number_or(&r, "len", 0);

    json_array_append_new(ranges, json_pack("{s:s, s:I, s:I}", "disk", disk, "offset", (json_int_t)offset,
                                            "len", (json_int_t)len));
    return read_well(&r, "range", error);
}

static gboolean read_compare(NewsCompare *c, const json_t *doc, GError **error)
{
    Reader r = {doc};
    const json_t *ranges = json_object_get(doc, "ranges");

    c->id = id_or_nil(&r, "id");
    c->state = g_strdup(text_or(&r, "state", "running"));
    c->repairing = json_is_true(json_object_get(doc, "repairing"));
    c->done_bytes = number_or(&r, "done_bytes", 0);
    c->total_bytes = number_or(&r, "total_bytes", 0);
    c->compared_bytes = number_or(&r, "compared_bytes", 0);
    c->different_bytes = number_or(&r, "different_bytes", 0);
    c->point = g_strdup(text_or(&r, "point", NULL));
    c->started_at = g_strdup(text_or(&r, "started_at", NULL));
    c->ended_at = g_strdup(text_or(&r, "ended_at", NULL));
    c->why = g_strdup(text_or(&r, "why", NULL));
    c->ranges = json_array();
    if (!g_strv_contains(COMPARE_STATES, c->state))
        r.wrong = "state";
    for (gsize i = 0; i < json_array_size(ranges) && i < RANGES_MAX; i++)
        if (!read_range(c->ranges, json_array_get(ranges, i), error))
            return FALSE;
    return read_well(&r, "compare", error);
}

/* An engine that has released a VM calls it switched: for us the plan still has it. */
static gboolean read_state(const char *word, CopyState *ret_state, GError **error)
{
    return copy_state_parse(g_str_equal(word, "switched") ? "switching" : word, ret_state, error);
}

static gboolean read_copy(News *n, const json_t *doc, GError **error)
{
    Reader r = {doc};
    NewsCopy *c = g_new0(NewsCopy, 1);

    g_ptr_array_add(n->copies, c);
    c->host = g_strdup(text_or(&r, "host", NULL));
    c->why = g_strdup(text_or(&r, "why", NULL));
    c->lag_ms = number_or(&r, "lag_ms", -1);
    if (!c->host)
        r.wrong = "host";
    return read_well(&r, "standby", error) && read_state(text_or(&r, "state", ""), &c->state, error) &&
           read_sync(c, json_object_get(doc, "sync"), error) &&
           read_resync(c, json_object_get(doc, "resync"), error) &&
           read_tip(&c->tip, json_object_get(doc, "tip"), error) &&
           read_compare(&c->compare, json_object_get(doc, "compare"), error);
}

static gboolean read_rescues(News *n, const json_t *doc, GError **error)
{
    Reader r = {doc};

    n->rescues = number_or(&r, "count", 0);
    n->rescue_why = g_strdup(text_or(&r, "why", NULL));
    return read_well(&r, "rescues", error);
}

static gboolean read_plan(NewsPlan *n, const json_t *doc, GError **error)
{
    static const char *const HELD[] = {"lock", "shutdown", "final", "park", "release", NULL};
    const char *done = json_string_value(json_object_get(doc, "done"));
    const json_t *certificate = json_object_get(doc, "certificate");
    Reader plan = {doc}, paper = {certificate};

    if (!done || !g_strv_contains(HELD, done))
        return TRUE;
    n->id = id_or_nil(&plan, "plan");
    n->released = g_str_equal(done, "release");
    n->parked = g_str_equal(done, "park");
    n->booted = json_is_true(json_object_get(doc, "booted"));
    n->until_told = json_is_true(json_object_get(doc, "until_told"));
    n->alone = json_is_true(json_object_get(doc, "alone"));
    if (n->released) {
        n->successor = id_or_nil(&paper, "successor");
        if (!reign_from_json(json_object_get(certificate, "reign_next"), &n->next, NULL))
            paper.wrong = "reign_next";
    }
    return read_well(&plan, "plan", error) && read_well(&paper, "certificate", error);
}

static gboolean read_copies(News *n, const json_t *list, GError **error)
{
    for (gsize i = 0; i < json_array_size(list); i++)
        if (!read_copy(n, json_array_get(list, i), error))
            return FALSE;
    return TRUE;
}

News *news_from_json(const json_t *item, GError **error)
{
    Reader r = {item};
    g_autoptr(News) n = news_new(id_or_nil(&r, "vm"));

    n->guest = g_strdup(text_or(&r, "guest", "unknown"));
    n->tracking = g_strdup(text_or(&r, "tracking", NULL));
    n->spool_bytes = number_or(&r, "spool_bytes", 0);
    n->why = g_strdup(text_or(&r, "why", NULL));
    n->stuck = g_str_equal(text_or(&r, "why_code", ""), us_error_name(US_ERROR_STUCK));
    if (id_is_nil(n->vm))
        r.wrong = "vm";
    if (!reign_from_json(json_object_get(item, "reign"), &n->reign, NULL))
        r.wrong = "reign";
    if (!read_well(&r, "status", error) || !read_rescues(n, json_object_get(item, "rescues"), error) ||
        !read_plan(&n->plan, json_object_get(item, "plan"), error) ||
        !read_copies(n, json_object_get(item, "standbys"), error))
        return NULL;
    return g_steal_pointer(&n);
}

static void news_free_one(gpointer p)
{
    news_free(p);
}

static Id vm_of(const json_t *item)
{
    Reader r = {item};

    return id_or_nil(&r, "vm");
}

GPtrArray *news_list_from_json(const json_t *status, gboolean (*wanted)(const void *ctx, Id vm),
                               const void *ctx, GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(news_free_one);
    const json_t *active = json_object_get(status, "active");

    if (!json_is_array(active)) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "the engine's status has no list 'active'");
        return NULL;
    }
    for (gsize i = 0; i < json_array_size(active); i++) {
        const json_t *item = json_array_get(active, i);
        News *n;

        if (wanted && !wanted(ctx, vm_of(item)))
            continue;
        n = news_from_json(item, error);
        if (!n)
            return NULL;
        g_ptr_array_add(list, n);
    }
    return g_steal_pointer(&list);
}

GArray *news_promotions_from_json(const json_t *status, gboolean (*wanted)(const void *ctx, Id vm),
                                  const void *ctx)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(NewsPromotion));
    json_t *item;
    gsize i;

    json_array_foreach(json_object_get(status, "standby"), i, item)
    {
        NewsPromotion promotion = {.vm = vm_of(item)};

        if ((!wanted || wanted(ctx, promotion.vm)) &&
            reign_from_json(json_object_get(item, "promoted"), &promotion.reign, NULL))
            g_array_append_val(list, promotion);
    }
    return list;
}

gboolean news_is_part(const json_t *status)
{
    return g_strcmp0(json_string_value(json_object_get(status, "event")), "changes") == 0;
}

gboolean news_is_complete(const json_t *status)
{
    return !json_is_false(json_object_get(status, "complete")) && !news_is_part(status);
}

static void read_branches(const json_t *items, gboolean (*wanted)(const void *ctx, Id vm), const void *ctx,
                          GArray *list)
{
    json_t *item;
    gsize i;

    json_array_foreach(items, i, item)
    {
        Reader r = {json_object_get(item, "branches")};
        NewsBranches branches = {
            .vm = vm_of(item), .count = number_or(&r, "count", -1), .bytes = number_or(&r, "bytes", -1)};

        if ((!wanted || wanted(ctx, branches.vm)) && !r.wrong && branches.count >= 0)
            g_array_append_val(list, branches);
    }
}

GArray *news_branches_from_json(const json_t *status, gboolean (*wanted)(const void *ctx, Id vm),
                                const void *ctx)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(NewsBranches));

    read_branches(json_object_get(status, "active"), wanted, ctx, list);
    read_branches(json_object_get(status, "standby"), wanted, ctx, list);
    return list;
}

void news_copy_tip(NewsCopy *copy, const NewsCopy *from)
{
    g_free(copy->tip.cut_at);
    g_free(copy->tip.sealed_at);
    copy->tip = from->tip;
    copy->tip.cut_at = g_strdup(from->tip.cut_at);
    copy->tip.sealed_at = g_strdup(from->tip.sealed_at);
}

const NewsCopy *news_find(const News *n, const char *host)
{
    for (guint i = 0; i < n->copies->len; i++) {
        const NewsCopy *c = n->copies->pdata[i];

        if (g_str_equal(c->host, host))
            return c;
    }
    return NULL;
}
