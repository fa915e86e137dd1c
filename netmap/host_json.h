/* SPDX-License-Identifier: Apache-2.0 */
/* host_json - the places of a host, in what its engine tells of it (`host.info`). */
#pragma once

#include "netmap/host.h"

#include <jansson.h>

/* {"networks": [{"name", "active", "bridge", "over", "portgroups": […]}], "bridges": [{"name", "ovs", "of_network"}]} */
json_t *host_places_to_json(const Host *h);

/* Add them to @h. FALSE if @doc is not of that shape; other keys are not looked at. */
gboolean host_places_from_json(const json_t *doc, Host *h);
