/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/vmconnect/fake_players.h"

struct Worker {
    FakePlayer player;
};

struct Keeper {
    FakePlayer player;
};

static GPtrArray *players;
static guint started;

static void begin(FakePlayer *p, Id vm, gboolean standby, Mailbox *reports)
{
    p->vm = vm;
    p->standby = standby;
    p->reports = reports;
    g_queue_init(&p->told);
    if (!players)
        players = g_ptr_array_new();
    g_ptr_array_add(players, p);
    started++;
}

static void end(FakePlayer *p)
{
    g_queue_clear_full(&p->told, (GDestroyNotify)command_free);
    active_role_free(p->role);
    g_ptr_array_remove(players, p);
}

Worker *worker_start(ActiveRole *role, const HostPaths *paths, Identity *identity, Rescuer *rescuer,
                     Mailbox *reports)
{
    Worker *w = g_new0(Worker, 1);

    (void)paths;
    (void)rescuer;
    begin(&w->player, role->vm, FALSE, reports);
    w->player.role = role;
    w->player.identity = identity;
    return w;
}

void worker_tell(Worker *w, Command *command)
{
    g_queue_push_tail(&w->player.told, command);
}

void worker_join(Worker *w)
{
    end(&w->player);
    g_free(w);
}

Keeper *keeper_start(const KeeperSpec *spec, Mailbox *reports)
{
    Keeper *k = g_new0(Keeper, 1);

    begin(&k->player, spec->role->vm, TRUE, reports);
    return k;
}

void keeper_tell(Keeper *k, Command *command)
{
    g_queue_push_tail(&k->player.told, command);
}

void keeper_join(Keeper *k)
{
    end(&k->player);
    g_free(k);
}

FakePlayer *fake_player(Id vm, gboolean standby)
{
    for (guint i = 0; players && i < players->len; i++) {
        FakePlayer *p = players->pdata[i];

        if (id_equal(p->vm, vm) && p->standby == standby)
            return p;
    }
    return NULL;
}

guint fake_players_started(void)
{
    return started;
}

static Report *report_of(const FakePlayer *p)
{
    Report *report = g_new0(Report, 1);

    report->vm = p->vm;
    report->standby = p->standby;
    return report;
}

static void answer(FakePlayer *p, CommandVerb verb, json_t *result, GError *error)
{
    Report *report = report_of(p);

    report->done = g_queue_pop_head(&p->told);
    g_assert_nonnull(report->done);
    g_assert_cmpint(report->done->verb, ==, verb);
    report->done->result = result;
    report->done->error = error;
    mailbox_send(p->reports, report);
}

void fake_player_answer(FakePlayer *p, CommandVerb verb, GError *error)
{
    answer(p, verb, NULL, error);
}

void fake_player_give(FakePlayer *p, CommandVerb verb, json_t *result)
{
    answer(p, verb, result, NULL);
}

void fake_player_say(FakePlayer *p, const char *state)
{
    Report *report = report_of(p);

    report->status = json_pack("{s:s}", "state", state);
    mailbox_send(p->reports, report);
}

void fake_player_end(FakePlayer *p)
{
    Report *report = report_of(p);

    report->ended = TRUE;
    mailbox_send(p->reports, report);
}
