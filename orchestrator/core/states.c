/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/states.h"

#include "vmconnect/base/error.h"

/* News come several times a second, not at every move of the engine: a copy may
 * be seen to have passed a state that was never reported. */
/* clang-format off */
/*    from           to             event           why this edge may be taken */
#define COPY_EDGES(X)                                                                                        \
    X(UNPROTECTED,   SYNCHRONIZING, SYNC_STARTED,   "the standby admitted the VM, the first copy begins")     \
    X(UNPROTECTED,   PROTECTED,     SYNC_DONE,      "the first generation is sealed")                         \
    X(UNPROTECTED,   LAGGING,       SYNC_DONE,      "the standby has a complete copy, which is old")          \
    X(UNPROTECTED,   RESYNCING,     RESYNC_STARTED, "the standby has a complete copy from before")            \
    X(UNPROTECTED,   PAUSED,        NONE,           "pause confirmed before there was a copy")                \
    X(UNPROTECTED,   SWITCHING,     NONE,           "the active reports a plan at work")                      \
    X(UNPROTECTED,   STOPPED,       NONE,           "stop asked for")                                         \
    X(UNPROTECTED,   FAILED,        VM_FAILED,      "the engine needs an operator")                           \
    X(SYNCHRONIZING, UNPROTECTED,   NONE,           "the first copy was interrupted; what is there is kept")  \
    X(SYNCHRONIZING, PROTECTED,     SYNC_DONE,      "the first generation is sealed")                         \
    X(SYNCHRONIZING, LAGGING,       SYNC_DONE,      "the first generation is sealed, the next is late")       \
    X(SYNCHRONIZING, RESYNCING,     RESYNC_STARTED, "sealed, and the changes since then are not known")       \
    X(SYNCHRONIZING, PAUSED,        NONE,           "pause confirmed")                                        \
    X(SYNCHRONIZING, SWITCHING,     NONE,           "the active reports a plan at work")                      \
    X(SYNCHRONIZING, STOPPED,       NONE,           "stop asked for")                                         \
    X(SYNCHRONIZING, FAILED,        VM_FAILED,      "the engine needs an operator")                           \
    X(PROTECTED,     LAGGING,       LAG_HIGH,       "the newest sealed instant is older than allowed")        \
    X(PROTECTED,     RESYNCING,     RESYNC_STARTED, "what changed since the tip is no longer known")          \
    X(PROTECTED,     SYNCHRONIZING, COPY_LOST,      "the standby lost its copy, a new one is made")           \
    X(PROTECTED,     UNPROTECTED,   COPY_LOST,      "the standby lost its copy")                              \
    X(PROTECTED,     PAUSED,        NONE,           "pause confirmed")                                        \
    X(PROTECTED,     SWITCHING,     NONE,           "a plan locked the VM")                                   \
    X(PROTECTED,     STOPPED,       NONE,           "stop asked for")                                         \
    X(PROTECTED,     FAILED,        VM_FAILED,      "the engine needs an operator")                           \
    X(LAGGING,       PROTECTED,     LAG_OVER,       "the standby caught up")                                  \
    X(LAGGING,       RESYNCING,     RESYNC_STARTED, "what changed since the tip is not known")                \
    X(LAGGING,       SYNCHRONIZING, COPY_LOST,      "the standby lost its copy, a new one is made")           \
    X(LAGGING,       UNPROTECTED,   COPY_LOST,      "the standby lost its copy")                              \
    X(LAGGING,       PAUSED,        NONE,           "pause confirmed")                                        \
    X(LAGGING,       SWITCHING,     NONE,           "a plan locked the VM")                                   \
    X(LAGGING,       STOPPED,       NONE,           "stop asked for")                                         \
    X(LAGGING,       FAILED,        VM_FAILED,      "the engine needs an operator")                           \
    X(RESYNCING,     PROTECTED,     RESYNC_DONE,    "what differed is sealed")                                \
    X(RESYNCING,     LAGGING,       RESYNC_DONE,    "what differed is sealed, the next generation is late")   \
    X(RESYNCING,     SYNCHRONIZING, COPY_LOST,      "the standby lost its copy, a new one is made")           \
    X(RESYNCING,     UNPROTECTED,   COPY_LOST,      "the standby lost its copy")                              \
    X(RESYNCING,     PAUSED,        NONE,           "pause confirmed")                                        \
    X(RESYNCING,     SWITCHING,     NONE,           "a plan locked the VM")                                   \
    X(RESYNCING,     STOPPED,       NONE,           "stop asked for")                                         \
    X(RESYNCING,     FAILED,        VM_FAILED,      "the engine needs an operator")                           \
    X(PAUSED,        UNPROTECTED,   NONE,           "continue confirmed, there is no copy yet")               \
    X(PAUSED,        SYNCHRONIZING, NONE,           "continue confirmed, the first copy goes on")             \
    X(PAUSED,        PROTECTED,     NONE,           "continue confirmed, what changed meanwhile is sealed")   \
    X(PAUSED,        LAGGING,       NONE,           "continue confirmed, the copy is old")                    \
    X(PAUSED,        RESYNCING,     RESYNC_STARTED, "continue confirmed, what changed is not known")          \
    X(PAUSED,        SWITCHING,     NONE,           "the active reports a plan at work")                      \
    X(PAUSED,        STOPPED,       NONE,           "stop asked for")                                         \
    X(PAUSED,        FAILED,        VM_FAILED,      "the engine needs an operator")                           \
    X(SWITCHING,     UNPROTECTED,   NONE,           "the VM runs on the other host; its old image is no copy yet") \
    X(SWITCHING,     SYNCHRONIZING, NONE,           "not moved, the first copy goes on")                      \
    X(SWITCHING,     PROTECTED,     NONE,           "not moved, the copy is young enough")                    \
    X(SWITCHING,     LAGGING,       NONE,           "not moved, the copy is old")                             \
    X(SWITCHING,     RESYNCING,     RESYNC_STARTED, "not moved, and what changed is not known")               \
    X(SWITCHING,     PAUSED,        NONE,           "not moved, and paused before")                           \
    X(SWITCHING,     STOPPED,       NONE,           "stop asked for")                                         \
    X(SWITCHING,     FAILED,        NONE,           "given up by the old host, not yet started by the new")   \
    X(STOPPED,       UNPROTECTED,   NONE,           "run asked for, there is no copy yet")                    \
    X(STOPPED,       LAGGING,       NONE,           "run asked for, there is a copy from before")             \
    X(FAILED,        UNPROTECTED,   VM_RECOVERED,   "the cause was removed, there is no copy")                \
    X(FAILED,        SYNCHRONIZING, VM_RECOVERED,   "the cause was removed, the first copy goes on")          \
    X(FAILED,        PROTECTED,     VM_RECOVERED,   "the cause was removed")                                  \
    X(FAILED,        LAGGING,       VM_RECOVERED,   "the cause was removed, the copy is old")                 \
    X(FAILED,        RESYNCING,     VM_RECOVERED,   "the cause was removed, what differs is sent")            \
    X(FAILED,        PAUSED,        VM_RECOVERED,   "the cause was removed, replication is paused")           \
    X(FAILED,        SWITCHING,     NONE,           "a plan goes on with the VM")                             \
    X(FAILED,        STOPPED,       NONE,           "stop asked for")

/*    from           to             event           why this edge may be taken */
#define SCENARIO_EDGES(X)                                                                                    \
    X(STOPPED,       VERIFYING,     NONE,           "run asked for")                                          \
    X(VERIFYING,     STOPPED,       NONE,           "verification found errors, or stop asked for")           \
    X(VERIFYING,     SYNCHRONIZING, NONE,           "no errors found")                                        \
    X(VERIFYING,     DEGRADED,      NONE,           "no errors found; a copy from before is old")             \
    X(SYNCHRONIZING, RUNNING,       NONE,           "every VM is protected")                                  \
    X(SYNCHRONIZING, DEGRADED,      NONE,           "a VM is unprotected or lagging")                         \
    X(SYNCHRONIZING, PAUSED,        NONE,           "pause confirmed for every VM")                           \
    X(SYNCHRONIZING, SWITCHING,     NONE,           "a plan was begun")                                       \
    X(SYNCHRONIZING, STOPPED,       NONE,           "stop asked for")                                         \
    X(SYNCHRONIZING, SWITCHED,      NONE,           "it runs there in a reign that the controller did not make")               \
    X(SYNCHRONIZING, FAILED,        NONE,           "a VM needs an operator")                                 \
    X(RUNNING,       SYNCHRONIZING, NONE,           "a standby lost its copy, a new one is made")             \
    X(RUNNING,       DEGRADED,      NONE,           "a VM is unprotected or lagging")                         \
    X(RUNNING,       PAUSED,        NONE,           "pause confirmed for every VM")                           \
    X(RUNNING,       SWITCHING,     NONE,           "a plan was begun")                                       \
    X(RUNNING,       STOPPED,       NONE,           "stop asked for")                                         \
    X(RUNNING,       SWITCHED,      NONE,           "it runs there in a reign that the controller did not make")               \
    X(RUNNING,       FAILED,        NONE,           "a VM needs an operator")                                 \
    X(DEGRADED,      RUNNING,       NONE,           "every VM is protected")                                  \
    X(DEGRADED,      SYNCHRONIZING, NONE,           "nothing hinders any more, a first copy is being made")   \
    X(DEGRADED,      PAUSED,        NONE,           "pause confirmed for every VM")                           \
    X(DEGRADED,      SWITCHING,     NONE,           "a plan was begun")                                       \
    X(DEGRADED,      STOPPED,       NONE,           "stop asked for")                                         \
    X(DEGRADED,      SWITCHED,      NONE,           "it runs there in a reign that the controller did not make")               \
    X(DEGRADED,      FAILED,        NONE,           "a VM needs an operator")                                 \
    X(PAUSED,        SYNCHRONIZING, NONE,           "continue confirmed, a first copy is being made")         \
    X(PAUSED,        RUNNING,       NONE,           "continue confirmed, every VM is protected")              \
    X(PAUSED,        DEGRADED,      NONE,           "continue confirmed, a VM is unprotected or lagging")     \
    X(PAUSED,        SWITCHING,     NONE,           "a plan goes on")                                         \
    X(PAUSED,        STOPPED,       NONE,           "stop asked for")                                         \
    X(PAUSED,        SWITCHED,      NONE,           "it runs there in a reign that the controller did not make")               \
    X(PAUSED,        FAILED,        NONE,           "a VM needs an operator")                                 \
    X(SWITCHING,     SWITCHED,      NONE,           "the plan moved every VM")                                \
    X(SWITCHING,     DEGRADED,      NONE,           "the plan ended; a VM stayed, or its copy is old")        \
    X(SWITCHING,     RUNNING,       NONE,           "the plan ended, every VM is protected")                  \
    X(SWITCHING,     SYNCHRONIZING, NONE,           "the plan ended, a first copy is being made")             \
    X(SWITCHING,     PAUSED,        NONE,           "the plan ended, replication is paused")                  \
    X(SWITCHING,     FAILED,        NONE,           "the plan left a VM that needs an operator")              \
    X(SYNCHRONIZING, MAINTENANCE,   NONE,           "maintenance of a host was begun")                        \
    X(RUNNING,       MAINTENANCE,   NONE,           "maintenance of a host was begun")                        \
    X(DEGRADED,      MAINTENANCE,   NONE,           "maintenance of a host was begun, or a plan of it goes on")\
    X(PAUSED,        MAINTENANCE,   NONE,           "maintenance of a host was begun")                        \
    X(SWITCHED,      MAINTENANCE,   NONE,           "maintenance of a host was begun")                        \
    X(FAILED,        MAINTENANCE,   NONE,           "maintenance of a host was begun")                        \
    X(SWITCHING,     MAINTENANCE,   NONE,           "the plan ended; a host is in maintenance")               \
    X(VERIFYING,     MAINTENANCE,   NONE,           "no errors found; a host is in maintenance")              \
    X(STOPPED,       MAINTENANCE,   NONE,           "run asked for; a host is in maintenance")                \
    X(MAINTENANCE,   RUNNING,       NONE,           "maintenance is over, every VM is protected")             \
    X(MAINTENANCE,   DEGRADED,      NONE,           "maintenance is over; a VM is unprotected or lagging")    \
    X(MAINTENANCE,   SYNCHRONIZING, NONE,           "maintenance is over, a first copy is being made")        \
    X(MAINTENANCE,   PAUSED,        NONE,           "maintenance is over, replication is paused")             \
    X(MAINTENANCE,   SWITCHING,     NONE,           "a plan moves its VMs, by force or for the maintenance")  \
    X(MAINTENANCE,   SWITCHED,      NONE,           "maintenance is over; the VMs run on the replica")        \
    X(MAINTENANCE,   STOPPED,       NONE,           "stop asked for")                                         \
    X(MAINTENANCE,   FAILED,        NONE,           "a VM needs an operator")                                 \
    X(SWITCHED,      STOPPED,       NONE,           "stop asked for")                                         \
    X(SWITCHED,      SYNCHRONIZING, NONE,           "run asked for: replication back begins")                  \
    X(SWITCHED,      RUNNING,       NONE,           "every VM is protected where it runs")                    \
    X(SWITCHED,      DEGRADED,      NONE,           "run asked for: a VM is not protected where it runs yet") \
    X(STOPPED,       SYNCHRONIZING, NONE,           "run asked for where the VMs were moved to")              \
    X(STOPPED,       DEGRADED,      NONE,           "run asked for where the VMs were moved to")              \
    X(SWITCHED,      SWITCHING,     NONE,           "a plan was begun")                                       \
    X(SWITCHED,      FAILED,        NONE,           "a VM needs an operator")                                 \
    X(FAILED,        SYNCHRONIZING, NONE,           "the cause was removed, a first copy is being made")      \
    X(FAILED,        RUNNING,       NONE,           "the cause was removed, every VM is protected")           \
    X(FAILED,        DEGRADED,      NONE,           "the cause was removed, a VM is unprotected or lagging")  \
    X(FAILED,        PAUSED,        NONE,           "the cause was removed, replication is paused")           \
    X(FAILED,        SWITCHING,     NONE,           "a plan was begun")                                       \
    X(FAILED,        SWITCHED,      NONE,           "the cause was removed, every VM runs on the replica")    \
    X(FAILED,        STOPPED,       NONE,           "stop asked for")
/* clang-format on */

static const char *const COPY_WORDS[] = {
#define X(state, json) json,
    COPY_STATES(X)
#undef X
};

static const char *const SCENARIO_WORDS[] = {
#define X(state, json) json,
    SCENARIO_STATES(X)
#undef X
};

static const StateEdge COPY_LIST[] = {
#define X(from, to, event, reason) {COPY_##from, COPY_##to, EVENT_##event, reason},
    COPY_EDGES(X)
#undef X
};

static const StateEdge SCENARIO_LIST[] = {
#define X(from, to, event, reason) {SCENARIO_##from, SCENARIO_##to, EVENT_##event, reason},
    SCENARIO_EDGES(X)
#undef X
};

const StateMachine *copy_machine(void)
{
    static const StateMachine MACHINE = {"A VM's copy on a standby", COPY_WORDS, G_N_ELEMENTS(COPY_WORDS),
                                         COPY_LIST, G_N_ELEMENTS(COPY_LIST)};

    return &MACHINE;
}

const StateMachine *scenario_machine(void)
{
    static const StateMachine MACHINE = {"A scenario", SCENARIO_WORDS, G_N_ELEMENTS(SCENARIO_WORDS),
                                         SCENARIO_LIST, G_N_ELEMENTS(SCENARIO_LIST)};

    return &MACHINE;
}

const StateEdge *state_may_move(const StateMachine *m, int from, int to)
{
    for (guint i = 0; i < m->count; i++)
        if (m->edges[i].from == from && m->edges[i].to == to)
            return &m->edges[i];
    return NULL;
}

const char *copy_state_name(CopyState state)
{
    g_assert(state < G_N_ELEMENTS(COPY_WORDS));
    return COPY_WORDS[state];
}

const char *scenario_state_name(ScenarioState state)
{
    g_assert(state < G_N_ELEMENTS(SCENARIO_WORDS));
    return SCENARIO_WORDS[state];
}

gboolean copy_state_parse(const char *word, CopyState *ret_state, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(COPY_WORDS); i++) {
        if (!g_str_equal(COPY_WORDS[i], word))
            continue;
        *ret_state = i;
        return TRUE;
    }
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "'%.32s' is no state of a copy", word);
    return FALSE;
}

/* Mermaid takes no '-' in the name of a state. */
static char *node(const char *word)
{
    return g_strdelimit(g_strdup(word), "-", '_');
}

char *state_machine_text(const StateMachine *m)
{
    GString *text = g_string_new(NULL);

    g_string_append_printf(text, "## %s\n\n```mermaid\nstateDiagram-v2\n", m->name);
    for (guint i = 0; i < m->count; i++) {
        g_autofree char *from = node(m->words[m->edges[i].from]);
        g_autofree char *to = node(m->words[m->edges[i].to]);

        g_string_append_printf(text, "    %s --> %s\n", from, to);
    }
    g_string_append(text, "```\n\n| from | to | why | event |\n|---|---|---|---|\n");
    for (guint i = 0; i < m->count; i++) {
        const StateEdge *e = &m->edges[i];

        g_string_append_printf(text, "| %s | %s | %s | %s |\n", m->words[e->from], m->words[e->to], e->reason,
                               e->event == EVENT_NONE ? "" : event_code_name(e->event));
    }
    return g_string_free(text, FALSE);
}
