/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"

#include "vmconnect/base/json.h"

#include <string.h>

/* Negative: it was never answered, and is another one than any that was. */
static json_t *score(const char *words, int misses)
{
    return json_pack("{s:s, s:s, s:b, s:b, s:i, s:s?}", "kind", "ping", "words",
                     misses < 0 ? "asks for what is not there" : words, "tried", 1, "ever", misses >= 0,
                     "misses", misses < 0 ? 10 : misses, "why", misses ? "no answer" : NULL);
}

static json_t *guest(const Stage *s, guint number, const char *word, const char *why, guint boots)
{
    return json_pack("{s:s, s:s, s:s*, s:s?, s:i}", "vm", ID_TEXT(world_vm(number)), "word", word, "lease",
                     s->lease, "why", why, "boots", (int)boots);
}

static void say_alpha(Stage *s)
{
    json_t *up = s->unheard ? json_null() : json_boolean(s->libvirt);
    /* Who has chosen other checks has none of the agent. */
    json_t *agent = s->has_web && s->agent < 0 ? NULL : score("agent", s->agent);
    json_auto_t *doc =
        json_pack("{s:b, s:[], s:[], s:[], s:{s:o, s:s?}, s:{s:[], s:[{s:s, s:[o*]}], s:n}}", "complete", 1,
                  "active", "standby", "guests", "libvirt", "up", up, "why", s->libvirt ? NULL : "it hangs",
                  "watch", "hosts", "guests", "vm", ID_TEXT(world_vm(1)), "checks", agent, "gateway");
    json_t *guests = json_object_get(doc, "guests");

    json_object_set_new(doc, "guard",
                        json_pack("{s:b, s:s?, s:b, s:b}", "up", s->guard == NULL, "why", s->guard, "older",
                                  FALSE, "wanted", !s->unwanted));
    if (s->word) {
        json_t *web = guest(s, 1, s->unheard ? "unknown" : s->word, s->why, s->boots);

        json_object_set_new(web, "halts", json_integer(s->halts));
        json_object_set_new(web, "halted_ms", json_integer(s->halted_ms));
        json_object_set_new(web, "barks", json_integer(s->barks));
        json_object_set_new(web, "bark", s->barks ? json_string("it was reset") : json_null());
        json_array_append_new(guests, web);
    }
    if (s->other)
        json_array_append_new(guests, guest(s, 2, s->other, NULL, s->other_boots));
    vitals_hear(s->v, "alpha", doc);
}

static json_t *score_of_web(const Stage *s)
{
    json_t *web = score("tcp web1", s->web);

    if (s->forgetful && s->web > 0)
        json_object_set_new(web, "ever", json_false());
    return web;
}

static void say_beta(Stage *s)
{
    json_auto_t *doc =
        json_pack("{s:b, s:[], s:[], s:[], s:{s:[{s:s, s:[o,o]}], s:[], s:o}}", "complete", 1, "active",
                  "standby", "guests", "watch", "hosts", "id", ID_TEXT(world_id(0xa1)), "checks",
                  score("beat alpha", s->path), score("ping alpha", s->path), "guests", "gateway",
                  s->gateway < 0 ? json_null() : score("ping gateway", s->gateway));

    json_t *watch = json_object_get(doc, "watch"), *ping;

    if (s->gateway == UNRESOLVED)
        json_object_set_new(
            watch, "gateway",
            json_pack("{s:b, s:i, s:s, s:b}", "tried", 1, "misses", 9, "why", "no echo", "unresolved", 1));

    if (s->beat > 0) {
        json_t *checks = json_object_get(json_array_get(json_object_get(watch, "hosts"), 0), "checks");

        json_array_set_new(checks, 0, score("beat alpha", s->beat));
        json_object_set_new(json_array_get(checks, 0), "hangs", json_boolean(s->hangs));
    }
    if (s->via >= 0)
        json_array_append_new(json_object_get(json_array_get(json_object_get(watch, "hosts"), 0), "checks"),
                              score("beat [fd00::1]:25000", s->via));
    if (s->unmade) {
        ping =
            json_array_get(json_object_get(json_array_get(json_object_get(watch, "hosts"), 0), "checks"), 1);
        json_object_set_new(ping, "misses", json_integer(0));
        json_object_set_new(ping, "why", json_string("its name is not found"));
    }
    if (s->second >= 0)
        json_array_append_new(
            json_object_get(watch, "guests"),
            json_pack("{s:s, s:[o]}", "vm", ID_TEXT(world_vm(2)), "checks", score("tcp web2", s->second)));
    if (s->has_web)
        json_array_append_new(json_object_get(watch, "guests"),
                              json_pack("{s:s, s:[o, o*]}", "vm", ID_TEXT(world_vm(1)), "checks",
                                        score_of_web(s), s->ssh < 0 ? NULL : score("ssh web1", s->ssh)));
    if (s->far >= 0)
        json_array_append_new(
            json_object_get(watch, "hosts"),
            json_pack("{s:s, s:[o]}", "id", ID_TEXT(world_id(0xd4)), "checks", score("ping delta", s->far)));
    if (s->there)
        json_array_append_new(json_object_get(doc, "guests"), guest(s, 2, s->there, NULL, 0));
    vitals_hear(s->v, "beta", doc);
}

/* Engines push what is other than before, and so do these. */
static guint summary(const Stage *s, gboolean alpha_speaks)
{
    g_autofree char *all = g_strdup_printf(
        "%s %s %s %s %s %s %d %u %u %u %u %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d", s->word, s->why,
        s->other, s->lease, s->there, s->guard, s->unwanted, s->boots, s->halts, s->barks, s->other_boots,
        s->libvirt, s->unheard, s->agent, s->path, s->gateway, s->web, s->has_web, s->ssh, s->far, s->second,
        s->unmade, s->forgetful, s->beat, s->hangs, s->via, alpha_speaks);

    return g_str_hash(all);
}

void stage_pass(Stage *s, gboolean alpha_speaks)
{
    g_autoptr(ActionList) out = action_list_new();
    guint now = summary(s, alpha_speaks);

    s->w->now_ms += 1000;
    if (now != s->told && alpha_speaks)
        say_alpha(s);
    if (now != s->told)
        say_beta(s);
    s->told = now;
    vitals_step(s->v, s->w->now_ms, out);
    for (guint i = 0; i < out->len; i++)
        g_string_append_printf(s->w->trace, "[%4" G_GINT64_FORMAT "] %s %s\n", s->w->now_ms / 1000,
                               event_code_name(((const Action *)out->pdata[i])->event->code),
                               ((const Action *)out->pdata[i])->event->host);
    world_do(s->w, INPUT_TICK);
}

void stage_pass_for(Stage *s, int seconds, gboolean alpha_speaks)
{
    for (int i = 0; i < seconds; i++)
        stage_pass(s, alpha_speaks);
}

Stage *stage_new_of(guint vms)
{
    Stage *s = g_new0(Stage, 1);

    s->w = world_new(vms);
    s->v = vitals_new();
    s->word = "alive";
    s->other = vms > 1 ? "alive" : NULL;
    s->libvirt = TRUE;
    s->gateway = s->ssh = s->far = s->second = s->via = -1;
    vitals_add(s->v, "alpha", world_id(0xa1));
    vitals_add(s->v, "beta", world_id(0xb2));
    vitals_link(s->v, "alpha", TRUE);
    vitals_link(s->v, "beta", TRUE);
    vitals_expect(s->v, "alpha", 3, 1000);
    s->w->p->vitals = s->v;
    s->w->p->scenario->policy.countdown_ms = 20000;
    s->w->p->scenario->policy.start_timeout_ms = 10000;
    s->w->p->scenario->policy.reset_after_ms = 0;
    s->w->p->scenario->policy.probe_timeout_ms = 250;
    /* What becomes of the copy meanwhile is another matter. */
    s->w->p->scenario->policy.interval_ms = 3600000;
    world_run(s->w);
    stage_pass(s, TRUE);
    world_forget(s->w);
    return s;
}

Stage *stage_new(void)
{
    return stage_new_of(1);
}

void stage_free(Stage *s)
{
    world_free(s->w);
    vitals_free(s->v);
    g_free(s);
}
void stage_expect(Stage *s, const char *wanted)
{
    g_auto(GStrv) lines = g_strsplit(s->w->trace->str, "\n", -1);
    GString *found = g_string_new(NULL);

    for (char **line = lines; *line; line++)
        if (**line && !strstr(*line, "time passed -> nothing"))
            g_string_append_printf(found, "%s\n", *line);
    g_assert_cmpstr(found->str, ==, wanted);
    g_string_free(found, TRUE);
    world_forget(s->w);
}

void stage_revived(Stage *s, int code, const char *why)
{
    world_answer(s->w, "alpha", "guest.revive", 1, code, why);
}

void stage_link(Stage *s, gboolean up)
{
    vitals_link(s->v, "alpha", up);
    world_link(s->w, "alpha", up);
    s->told = 0;
}

void stage_lose(Stage *s)
{
    stage_link(s, FALSE);
    world_forget(s->w);
}

void stage_find(Stage *s)
{
    stage_link(s, TRUE);
    world_forget(s->w);
}

void stage_restart(Stage *s)
{
    Scenario *kept = scenario_copy(s->w->p->scenario);

    scenario_free(s->w->scenario);
    s->w->scenario = kept;
    world_restart(s->w);
    s->w->p->vitals = s->v;
    s->told = 0;
}

void stage_controller_back(Stage *s, int away_s, EventCode told)
{
    vitals_free(s->v);
    s->v = vitals_new();
    vitals_add(s->v, "alpha", world_id(0xa1));
    vitals_add(s->v, "beta", world_id(0xb2));
    vitals_recall(s->v, "alpha", told);
    vitals_link(s->v, "beta", TRUE);
    vitals_expect(s->v, "alpha", 3, 1000);
    s->w->now_ms += away_s * 1000;
    stage_restart(s);
    world_link(s->w, "beta", TRUE);
    world_forget(s->w);
}
