/* SPDX-License-Identifier: Apache-2.0 */
/* turn - a test's way to wait: turn the loop until a condition holds. */
#pragma once

#include "vmconnect/base/clock.h"

#include <uv.h>

static inline void turn_nothing(uv_timer_t *tick)
{
    (void)tick;
}

static inline void turn_free(uv_handle_t *tick)
{
    g_free(tick);
}

/* TRUE once @condition is; FALSE after @timeout_ms. The loop never sleeps longer than 5 ms. */
static inline gboolean turn_until(uv_loop_t *loop, gboolean (*condition)(void *user), void *user,
                                  gint64 timeout_ms)
{
    gint64 deadline_ms = clock_steady_ms() + timeout_ms;
    uv_timer_t *tick = g_new0(uv_timer_t, 1);
    gboolean met;

    uv_timer_init(loop, tick);
    uv_timer_start(tick, turn_nothing, 5, 5);
    while (!(met = condition(user)) && clock_steady_ms() < deadline_ms)
        uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)tick, turn_free);
    uv_run(loop, UV_RUN_NOWAIT);
    return met;
}

static inline gboolean turn_is_set(void *flag)
{
    return *(gboolean *)flag;
}
