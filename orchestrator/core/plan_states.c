/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/plan_parts.h"

/* clang-format off */
/*    from           to             why this edge may be taken */
#define MOVE_EDGES(X)                                                                                        \
    X(WAITING,       LOCKING,       "the plan was begun")                                                     \
    X(WAITING,       READING,       "the controller was restarted: what was done is read from the active")    \
    X(WAITING,       PROMOTING,     "the active has released the VM, or is gone: it goes on without it")      \
    X(WAITING,       ELECTING,      "the active is gone: who votes is asked for the next reign")               \
    X(WAITING,       HELD,          "it is released; those it starts after come first")                       \
    X(WAITING,       STAYED,        "the old active keeps what runs there: nothing was begun")                \
    X(WAITING,       MOVED,         "the standby was promoted by hand: it runs there")                        \
    X(LOCKING,       SHUTTING_DOWN, "nobody else can start the guest")                                        \
    X(LOCKING,       STAYED,        "the active refused the lock: nothing was begun")                         \
    X(LOCKING,       READING,       "what the active did must be read from it")                               \
    X(LOCKING,       MOVED,         "the standby was promoted by hand: it runs there")                        \
    X(SHUTTING_DOWN, FINISHING,     "the guest is off")                                                       \
    X(SHUTTING_DOWN, PARKING,       "the guest is off, and its standby is away")                              \
    X(SHUTTING_DOWN, ROLLING_BACK,  "the guest did not shut down")                                            \
    X(SHUTTING_DOWN, READING,       "what the active did must be read from it")                               \
    X(SHUTTING_DOWN, MOVED,         "the standby was promoted by hand: it runs there")                        \
    X(FINISHING,     RELEASING,     "the last generation is sealed")                                          \
    X(FINISHING,     ROLLING_BACK,  "the last generation could not be sealed")                                \
    X(FINISHING,     READING,       "what the active did must be read from it")                               \
    X(FINISHING,     MOVED,         "the standby was promoted by hand: it runs there")                        \
    X(FINISHING,     PARKING,       "the last generation is sealed")                                          \
    X(PARKING,       PARKED,        "it is off, and stays so until it is called back")                        \
    X(PARKING,       ROLLING_BACK,  "it could not be parked, or is called back")                              \
    X(PARKING,       READING,       "what the active did must be read from it")                               \
    X(PARKING,       MOVED,         "the standby was promoted by hand: it runs there")                        \
    X(PARKED,        ROLLING_BACK,  "it is called back, and its turn has come")                               \
    X(PARKED,        PROMOTING,     "its host is gone: it goes on without it")                                \
    X(PARKED,        ELECTING,      "its host is gone: who votes is asked for the next reign")                 \
    X(PARKED,        HELD,          "its host is gone; those it starts after come first")                     \
    X(PARKED,        MOVED,         "the standby was promoted by hand: it runs there")                        \
    X(RELEASING,     PROMOTING,     "the active gave the VM up for good")                                     \
    X(RELEASING,     HELD,          "the active gave the VM up for good; those it starts after come first")   \
    X(RELEASING,     READING,       "whether the active released must be read from it")                       \
    X(RELEASING,     MOVED,         "the standby was promoted by hand: it runs there")                        \
    X(HELD,          PROMOTING,     "those it starts after are there, or were waited for long enough")        \
    X(HELD,          MOVED,         "the standby was promoted by hand: it runs there")                        \
    X(ELECTING,      PROMOTING,     "the next reign is promised")                                             \
    X(ELECTING,      HELD,          "the next reign is promised; those it starts after come first")            \
    X(ELECTING,      STAYED,        "the next reign was not promised: the active keeps what it has")           \
    X(ELECTING,      MOVED,         "the standby was promoted by hand: it runs there")                        \
    X(PROMOTING,     UNLOCKING,     "the guest runs on the standby")                                          \
    X(PROMOTING,     MOVED,         "the guest runs on the standby; the old host has no part in it")          \
    X(PROMOTING,     STAYED,        "the old active has not gone")                                            \
    X(PROMOTING,     BLOCKED,       "the standby did not start the guest")                                    \
    X(BLOCKED,       PROMOTING,     "the start is tried again")                                               \
    X(BLOCKED,       MOVED,         "the standby was promoted by hand: it runs there")                        \
    X(UNLOCKING,     MOVED,         "the move is done")                                                       \
    X(ROLLING_BACK,  STAYED,        "the guest runs where it was")                                            \
    X(ROLLING_BACK,  READING,       "how the rollback ended must be read from the active")                    \
    X(ROLLING_BACK,  MOVED,         "the standby was promoted by hand: it runs there")                        \
    X(READING,       LOCKING,       "the active knows nothing of the plan yet")                               \
    X(READING,       SHUTTING_DOWN, "the active has locked the guest")                                        \
    X(READING,       FINISHING,     "the guest is off")                                                       \
    X(READING,       PARKING,       "the last generation is sealed")                                          \
    X(READING,       PARKED,        "it is parked")                                                           \
    X(READING,       RELEASING,     "the last generation is sealed")                                          \
    X(READING,       PROMOTING,     "the active has released the VM, or is gone: it goes on without it")      \
    X(READING,       ELECTING,      "the active is gone: who votes is asked for the next reign")               \
    X(READING,       HELD,          "it is released; those it starts after come first")                       \
    X(READING,       ROLLING_BACK,  "the active has not released the VM")                                     \
    X(READING,       MOVED,         "the active was unlocked, or the standby promoted by hand")               \
    X(READING,       STAYED,        "the active keeps the guest")                                             \
    X(READING,       DOWN,          "the active rolled back and could not start the guest")
/* clang-format on */

static const char *const WORDS[] = {
#define X(state, json) json,
    MOVE_STATES(X)
#undef X
};

static const StateEdge EDGES[] = {
#define X(from, to, reason) {MOVE_##from, MOVE_##to, EVENT_NONE, reason},
    MOVE_EDGES(X)
#undef X
};

const StateMachine *move_machine(void)
{
    static const StateMachine MACHINE = {"A VM in a switchover", WORDS, G_N_ELEMENTS(WORDS), EDGES,
                                         G_N_ELEMENTS(EDGES)};

    return &MACHINE;
}

const char *move_state_name(MoveState state)
{
    g_assert(state < G_N_ELEMENTS(WORDS));
    return WORDS[state];
}

StepKind move_step(MoveState state)
{
    switch (state) {
    case MOVE_LOCKING:
        return STEP_LOCK;
    case MOVE_SHUTTING_DOWN:
        return STEP_SHUTDOWN;
    case MOVE_FINISHING:
        return STEP_FINAL;
    case MOVE_PARKING:
        return STEP_PARK;
    case MOVE_RELEASING:
        return STEP_RELEASE;
    case MOVE_PROMOTING:
        return STEP_PROMOTE;
    case MOVE_UNLOCKING:
        return STEP_UNLOCK;
    case MOVE_ROLLING_BACK:
        return STEP_ROLLBACK;
    case MOVE_ELECTING:
        return STEP_ELECT;
    default:
        return STEP_COUNT;
    }
}
