/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/gate.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/units.h"

#include <string.h>

#define PROBE "probe"

static gboolean parse_delay(const char *text, gint64 *ret_ms)
{
    return units_parse_duration(text, ret_ms, NULL) && *ret_ms <= GATE_MAX_DELAY_MS;
}

gboolean gate_parse(const char *text, Gate *ret_gate, GError **error)
{
    Gate gate = {.probe = g_str_equal(text, PROBE) || g_str_has_prefix(text, PROBE "+")};
    gboolean delays = !g_str_equal(text, PROBE) && !g_str_equal(text, "none");

    if (delays && !parse_delay(gate.probe ? text + strlen(PROBE "+") : text, &gate.delay_ms)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "'%.64s' is no gate: it is none, probe, a delay of at most 1h like 30s, or probe+30s",
                    text);
        return FALSE;
    }
    *ret_gate = gate;
    return TRUE;
}

char *gate_text(const Gate *gate)
{
    g_autofree char *delay = units_format_duration(gate->delay_ms);

    if (gate_is_none(gate))
        return g_strdup("none");
    return g_strconcat(gate->probe ? PROBE : "", gate->probe && gate->delay_ms ? "+" : "",
                       gate->delay_ms ? delay : "", NULL);
}

char *gate_words(const Gate *gate)
{
    g_autofree char *delay = units_format_duration(gate->delay_ms);

    if (gate->delay_ms == 0)
        return g_strdup(gate->probe ? "answers its probe" : "runs");
    return g_strdup_printf(gate->probe ? "has answered its probe for %s" : "has run for %s", delay);
}

gboolean gate_is_none(const Gate *gate)
{
    return !gate->probe && gate->delay_ms == 0;
}
