/* SPDX-License-Identifier: Apache-2.0 */
/* serve - what a controller may ask of this engine, one function a method.
 *
 * A request that changes what this engine is told is answered only when the new
 * policy is durable (serve_change.c); a request to a VM's thread when that has done
 * it. The table at the end is the list; docs/protocol.md has the parameters. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/clock.h"

#define NEWS_EACH_MS 250 /* at most so often is looked for some */

/* --- status ------------------------------------------------------------ */

static void status(void *user, RpcReply *reply, const json_t *params)
{
    (void)params;
    rpc_reply(reply, serve_status(((Visit *)user)->engine, clock_steady_ms()));
}

/* At that time, if it is not to be sooner anyway. */
static void look_at(Engine *engine, gint64 due_ms);

static void look(Engine *engine, gboolean at_once)
{
    gint64 now_ms = clock_steady_ms(), due_ms = -1;
    json_auto_t *status = NULL;

    if (engine->visits->len == 0 || engine->ending)
        return;
    uv_timer_stop(&engine->news_timer);
    status = serve_status(engine, now_ms);
    engine->news_at_ms = now_ms;
    for (guint i = 0; i < engine->visits->len; i++) {
        const Visit *visit = engine->visits->pdata[i];
        gint64 later_ms;
        json_auto_t *news = tidings_take(visit->tidings, status, now_ms, at_once, &later_ms);

        if (news)
            rpc_news(visit->rpc, news);
        else if (later_ms >= 0)
            due_ms = due_ms < 0 ? later_ms : MIN(due_ms, later_ms);
    }
    if (due_ms >= 0)
        look_at(engine, due_ms);
}

static void on_news_timer(uv_timer_t *timer)
{
    look(timer->data, FALSE);
}

static void look_at(Engine *engine, gint64 due_ms)
{
    guint64 left_ms = (guint64)clock_left_ms(due_ms);

    if (!uv_is_active((uv_handle_t *)&engine->news_timer) ||
        uv_timer_get_due_in(&engine->news_timer) > left_ms)
        uv_timer_start(&engine->news_timer, on_news_timer, left_ms, 0);
}

void serve_news_now(Engine *engine)
{
    look(engine, TRUE);
}

void serve_news(Engine *engine)
{
    if (engine->visits->len > 0 && !engine->ending)
        look_at(engine, engine->news_at_ms + NEWS_EACH_MS);
}

const RpcMethod SERVE_METHODS_OF_PEERS[] = {
    {"lease.renew", serve_lease_renew},
    {NULL, NULL},
};

const RpcMethod SERVE_METHODS_OF_ROOT[] = {
    {"standby.points", serve_standby_points},
    {"lease.promised", serve_lease_promised},
    {"plan.promote", serve_plan_promote},
    {"status", status},
    {NULL, NULL},
};

const RpcMethod SERVE_METHODS[] = {
    {"host.obey", serve_host_obey},
    {"host.info", serve_host_info},
    {"host.trial", serve_host_trial},
    {"host.routes", serve_host_routes},
    {"host.disown", serve_host_disown},
    {"host.prepare", serve_host_prepare},
    {"network.definition", serve_network_definition},
    {"vm.list", serve_vm_list},
    {"vm.check", serve_vm_check},
    {"vm.definition", serve_vm_definition_of},
    {"scenario.keep", serve_scenario_keep},
    {"scenario.kept", serve_scenario_kept},
    {"active.protect", serve_active_protect},
    {"active.pause", serve_active_pause},
    {"active.continue", serve_active_continue},
    {"active.compare", serve_active_compare},
    {"active.stop", serve_active_stop},
    {"active.yield", serve_active_yield},
    {"standby.check", serve_standby_check},
    {"standby.seed", serve_standby_seed},
    {"standby.admit", serve_standby_admit},
    {"standby.dismiss", serve_standby_dismiss},
    {"standby.points", serve_standby_points},
    {"standby.pin", serve_standby_pin},
    {"standby.rest", serve_standby_rest},
    {"standby.open", serve_standby_open},
    {"watch.set", serve_watch_set},
    {"guest.revive", serve_guest_revive},
    {"plan.lock", serve_plan_lock},
    {"plan.shutdown", serve_plan_shutdown},
    {"plan.final", serve_plan_final},
    {"plan.park", serve_plan_park},
    {"plan.release", serve_plan_release},
    {"plan.rollback", serve_plan_rollback},
    {"plan.unlock", serve_plan_unlock},
    {"plan.state", serve_plan_state},
    {"plan.promote", serve_plan_promote},
    {"lease.answers", serve_lease_answers},
    {"lease.promised", serve_lease_promised},
    {"lease.would", serve_lease_would},
    {"test.start", serve_test_start},
    {"test.stop", serve_test_stop},
    {"test.result", serve_test_result},
    {"test.evidence", serve_test_evidence},
    {"test.forget", serve_test_forget},
    {"status", status},
    {NULL, NULL},
};
