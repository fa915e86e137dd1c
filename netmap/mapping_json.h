/* SPDX-License-Identifier: Apache-2.0 */
/* mapping_json - a mapping as an object of texts, {"FROM": "TO", …}: in a scenario, over the wire, in an
 * engine's policy. Apart from netmap, which knows nothing of JSON. */
#pragma once

#include "netmap/mapping.h"

#include <jansson.h>

json_t *mapping_to_json(const Mapping *m);

/* Put the rules of @doc into @m; where @may_unset, one whose TO is null is taken out. USAGE with the rule that
 * makes no sense, two that are of one place, or more than MAPPING_MAX_RULES; @m may be half changed then. */
gboolean mapping_merge_json(Mapping *m, json_t *doc, gboolean may_unset, GError **error);

/* The whole. NULL is an empty one. USAGE also for what mapping_check() refuses. */
Mapping *mapping_from_json(json_t *doc, GError **error);
