/* SPDX-License-Identifier: Apache-2.0 */
/* Each engine keeps the rows of the scenarios that its host has a part in, so that a controller that is lost with its
 * database can be built anew from any of them. Nothing waits for it, and what fails is tried again. */
#include "orchestrator/scenario_live.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/log.h"

#define KEEP_MS 30000
#define RETRY_MS 30000

typedef struct {
    guint64 row; /* that the engine has; 0: none that we know of */
    gboolean asked;
    gint64 retry_at_ms;
} Paper;

typedef struct {
    Scenarios *owner;
    Id id;
    char *host;
    guint64 row;
} Giving;

static void on_kept(void *user, const json_t *result, const GError *error)
{
    Giving *g = user;
    Live *live = g->owner->closed ? NULL : scenarios_live(g->owner, g->id);
    /* Not there: the host was away meanwhile, and has been forgotten. */
    Paper *paper = live ? g_hash_table_lookup(live->papers, g->host) : NULL;

    (void)result;
    if (paper) {
        paper->asked = FALSE;
        if (!error)
            paper->row = MAX(paper->row, g->row);
        else
            paper->retry_at_ms = clock_steady_ms() + RETRY_MS;
    }
    if (error)
        log_info("%s does not keep a scenario for us: %s", g->host, error->message);
    g_free(g->host);
    g_free(g);
}

static void give(Live *live, const char *host, json_t *steal_document)
{
    json_auto_t *params =
        json_pack("{s:s, s:o}", "scenario", live->p->scenario->name, "document", steal_document);
    Giving *g = g_new0(Giving, 1);

    *g = (Giving){live->owner, live->id, g_strdup(host), live->row};
    hosts_call(live->owner->hosts, host, "scenario.keep", params, KEEP_MS, on_kept, g);
}

static void give_if_new(Live *live, const char *host)
{
    Paper *paper = g_hash_table_lookup(live->papers, host);

    if (!protection_is_up(live->p, host))
        return;
    if (!paper) {
        paper = g_new0(Paper, 1);
        g_hash_table_insert(live->papers, g_strdup(host), paper);
    }
    if (paper->asked || paper->row == live->row || clock_steady_ms() < paper->retry_at_ms)
        return;
    paper->asked = TRUE;
    give(live, host, live_document(live, live->row));
}

void live_give_papers(Live *live)
{
    const Scenario *s = live->p->scenario;

    /* A row that is not on the disk yet is given when it is. */
    if (live->keeping || live->noting > 0 || live->note_again || live->leaving || live->row == 0)
        return;
    give_if_new(live, s->master);
    for (guint i = 0; i < s->replicas->len; i++)
        give_if_new(live, s->replicas->pdata[i]);
}

void live_forget_papers(Live *live, const char *host)
{
    g_hash_table_remove(live->papers, host);
}

void live_take_papers(Live *live)
{
    const Scenario *s = live->p->scenario;

    give(live, s->master, json_null());
    for (guint i = 0; i < s->replicas->len; i++)
        give(live, s->replicas->pdata[i], json_null());
}
