/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/hold.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define WHY_MAX 500

static gboolean check_why(const char *why, GError **error)
{
    if (!why)
        return TRUE;
    if (*why == '\0' || strlen(why) > WHY_MAX) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "why: a reason has 1 to %d bytes", WHY_MAX);
        return FALSE;
    }
    for (const char *c = why; *c; c = g_utf8_next_char(c))
        if (g_unichar_iscntrl(g_utf8_get_char(c))) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "why: a reason is one line of text");
            return FALSE;
        }
    return TRUE;
}

json_t *hold_from_request(const json_t *request, gint64 now_wall_ms, GError **error)
{
    const char *why = NULL;

    if (!json_read(request, "request", error, "{s?s}", "why", &why) || !check_why(why, error))
        return NULL;
    return json_pack("{s:s, s:s?}", "since", clock_format(now_wall_ms, (char[CLOCK_TEXT_LEN + 1]){0}), "why",
                     why);
}

gboolean hold_read(const json_t *doc, json_t **ret_hold, GError **error)
{
    const char *since;
    json_t *why;
    gint64 at_ms;

    *ret_hold = NULL;
    if (!doc || json_is_null(doc))
        return TRUE;
    if (!json_read(doc, "hold", error, "{s:s, s:o}", "since", &since, "why", &why) ||
        !clock_parse(since, &at_ms, error) || !check_why(json_string_value(why), error))
        return FALSE;
    *ret_hold = json_deep_copy(doc);
    return TRUE;
}

const char *hold_reason(const json_t *hold)
{
    const char *why = json_string_value(json_object_get(hold, "why"));

    return why ? why : "no reason was given";
}

json_t *hold_describe(const json_t *hold, const char *kind, const char *name)
{
    json_t *doc = json_pack("{s:s, s:s}", "kind", kind, "name", name);

    json_object_update(doc, (json_t *)hold);
    return doc;
}
