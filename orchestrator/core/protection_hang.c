/* SPDX-License-Identifier: Apache-2.0 */
/* A host whose kernel answers echoes and whose engine says nothing, not even no: whether its guests live is not known.
 *
 * When it has been so for as long as a countdown, its operator is told, and no more. Durable is that it was. */
#include "orchestrator/core/protection_parts.h"

#include "vmconnect/base/units.h"

void protection_hang_free(gpointer data)
{
    ProtectionHang *hang = data;

    g_free(hang->host);
    g_free(hang);
}

static ProtectionHang *add_hang(Protection *p, const char *host)
{
    ProtectionHang *hang = g_new0(ProtectionHang, 1);

    hang->host = g_strdup(host);
    g_ptr_array_add(p->hangs, hang);
    return hang;
}

json_t *protection_hangs_to_json(const Protection *p)
{
    json_t *list = json_array();

    for (guint i = 0; i < p->hangs->len; i++) {
        const ProtectionHang *hang = p->hangs->pdata[i];

        if (hang->told)
            json_array_append_new(list, json_string(hang->host));
    }
    return list;
}

void protection_hangs_from_json(Protection *p, const json_t *list)
{
    for (gsize i = 0; i < json_array_size(list); i++) {
        const char *host = json_string_value(json_array_get(list, i));

        if (host && scenario_has_host(p->scenario, host))
            add_hang(p, host)->told = TRUE;
    }
}

static ProtectionHang *find_hang(const Protection *p, const char *host)
{
    for (guint i = 0; i < p->hangs->len; i++)
        if (g_str_equal(((const ProtectionHang *)p->hangs->pdata[i])->host, host))
            return p->hangs->pdata[i];
    return NULL;
}

/* Those of whom it is known that they are dead have a countdown. */
static gboolean is_there_another(const Protection *p, const char *host)
{
    EACH_VM (p, vm)
        if (g_str_equal(vm->active, host) && vm->life.state != GUEST_LIFE_SILENT)
            return TRUE;
    return FALSE;
}

static void note_hangs(Protection *p, gint64 now_ms)
{
    EACH_VM (p, vm)
        if (vitals_engine(p->vitals, vm->active) == ENGINE_HANGS && !find_hang(p, vm->active))
            add_hang(p, vm->active)->since_ms = now_ms;
}

static gboolean runs_some(const Protection *p, const char *host)
{
    EACH_VM (p, vm)
        if (g_str_equal(vm->active, host))
            return TRUE;
    return FALSE;
}

/* An engine that was started anew, or ended, says so at its port: no host is dead. What was told stays until it is heard, though all
 * of its VMs were moved meanwhile. */
static gboolean is_no_hang(const Protection *p, const ProtectionHang *hang)
{
    EngineLife engine = vitals_engine(p->vitals, hang->host);

    return engine == ENGINE_HEARD ||
           (!hang->told && (!runs_some(p, hang->host) || engine == ENGINE_REFUSED ||
                            vitals_host(p->vitals, hang->host, NULL) == LIFE_SILENT));
}

gboolean protection_watch_hangs(Protection *p, gint64 now_ms, ActionList *out)
{
    g_autofree char *after = units_format_duration(p->scenario->policy.countdown_ms);
    gboolean changed = FALSE;

    note_hangs(p, now_ms);
    for (guint i = p->hangs->len; i > 0; i--) {
        ProtectionHang *hang = p->hangs->pdata[i - 1];
        EngineLife engine = vitals_engine(p->vitals, hang->host);

        if (is_no_hang(p, hang)) {
            if (hang->told)
                protection_publish(p, EVENT_HEARTBEAT_BACK, hang->host, NULL, NULL, out);
            changed |= hang->told;
            g_ptr_array_remove_index(p->hangs, i - 1);
        } else if (!hang->told && engine == ENGINE_HANGS && is_there_another(p, hang->host) &&
                   now_ms >= hang->since_ms + p->scenario->policy.countdown_ms) {
            hang->told = changed = TRUE;
            protection_publish(p, EVENT_HEARTBEAT_LOST, hang->host, NULL, after, out);
        }
    }
    return changed;
}

void protection_hangs_anew(Protection *p, gint64 now_ms)
{
    if (p->goal == GOAL_STOPPED)
        g_ptr_array_set_size(p->hangs, 0);
    for (guint i = 0; i < p->hangs->len; i++)
        ((ProtectionHang *)p->hangs->pdata[i])->since_ms = now_ms;
}
