/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/sight.h"

#include <string.h>

#define BEAT "beat "
#define PING "ping "

/* --- a score ------------------------------------------------------------------ */

const char *score_words(const json_t *score)
{
    return json_string_value(json_object_get(score, "words"));
}

const char *score_why(const json_t *score)
{
    return json_string_value(json_object_get(score, "why"));
}

guint score_misses(const json_t *score)
{
    return (guint)CLAMP(json_integer_value(json_object_get(score, "misses")), 0, 1000000);
}

gboolean score_was_tried(const json_t *score)
{
    return json_is_true(json_object_get(score, "tried"));
}

gboolean score_was_answered(const json_t *score)
{
    return json_is_true(json_object_get(score, "ever"));
}

/* Neither missed nor answered. */
static gboolean is_unmade(const json_t *score)
{
    return score_misses(score) == 0 && score_why(score);
}

gboolean score_is_answered(const json_t *score)
{
    return score_was_tried(score) && score_misses(score) == 0 && !score_why(score);
}

/* --- all ---------------------------------------------------------------------- */

Sight sight_of(const json_t *checks, guint misses)
{
    Sight s = {0};

    for (gsize i = 0; i < json_array_size(checks); i++) {
        const json_t *score = json_array_get(checks, i);
        gboolean tried = score_was_tried(score);

        if (is_unmade(score))
            continue;
        s.n++;
        s.tried += tried;
        s.answered += score_is_answered(score);
        s.missed += tried && score_misses(score) >= misses;
    }
    return s;
}

char *sight_words(const json_t *checks)
{
    GString *text = g_string_new(NULL);

    for (gsize i = 0; i < json_array_size(checks); i++) {
        const char *words = score_words(json_array_get(checks, i));

        g_string_append_printf(text, "%s%s", i == 0 ? "" : ", ", words ? words : "?");
    }
    return g_string_free(text, FALSE);
}

/* --- paths -------------------------------------------------------------------- */

/* NULL: it asks for something else. */
static const char *asked_for(const json_t *score, const char *prefix)
{
    const char *words = score_words(score);

    return words && g_str_has_prefix(words, prefix) ? words + strlen(prefix) : NULL;
}

/* "[ADDRESS]:PORT" or "ADDRESS:PORT" to ADDRESS; one of IPv6 without brackets has no port. */
static char *without_port(const char *address)
{
    const char *colon = strchr(address, ':'), *bracket = strrchr(address, ']');

    if (bracket && address[0] == '[')
        return g_strndup(address + 1, (gsize)(bracket - address - 1));
    return colon && !strchr(colon + 1, ':') ? g_strndup(address, (gsize)(colon - address))
                                            : g_strdup(address);
}

/* Does the echo of the same address come back? */
static gboolean is_way(const json_t *checks, const char *address)
{
    g_autofree char *host = without_port(address);

    for (gsize i = 0; i < json_array_size(checks); i++) {
        const char *asked = asked_for(json_array_get(checks, i), PING);

        if (g_strcmp0(asked, host) == 0)
            return score_is_answered(json_array_get(checks, i));
    }
    return FALSE;
}

/* A beat that is missed where no echo comes back either says nothing of the engine. A watcher of before does not know who hangs. */
static EngineLife engine_by(const json_t *beat, const json_t *checks, guint misses)
{
    if (score_is_answered(beat))
        return ENGINE_HEARD;
    if (score_misses(beat) < misses || !is_way(checks, asked_for(beat, BEAT)))
        return ENGINE_UNKNOWN;
    return json_is_true(json_object_get(beat, "hangs")) ? ENGINE_HANGS : ENGINE_REFUSED;
}

EngineLife sight_of_engine(const json_t *checks, guint misses)
{
    EngineLife most = ENGINE_UNKNOWN;

    for (gsize i = 0; i < json_array_size(checks); i++) {
        const json_t *score = json_array_get(checks, i);

        if (asked_for(score, BEAT))
            most = MAX(most, engine_by(score, checks, misses));
    }
    return most;
}

void sight_of_lost_paths(const json_t *checks, guint misses, const char *watcher, GHashTable *lost)
{
    if (sight_of_engine(checks, misses) != ENGINE_HEARD)
        return;
    for (gsize i = 0; i < json_array_size(checks); i++) {
        const json_t *score = json_array_get(checks, i);
        const char *address = asked_for(score, BEAT), *why = score_why(score);

        if (address && score_misses(score) >= misses)
            g_hash_table_insert(lost, g_strdup_printf("%s at %s", watcher, address),
                                g_strdup(why ? why : "no beat"));
    }
}
