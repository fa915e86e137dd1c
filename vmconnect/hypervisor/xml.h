/* SPDX-License-Identifier: Apache-2.0 */
/* xml - netmap/xml.h for those whose errors are US_ERROR. */
#pragma once

#include "netmap/xml.h"

/* A document whose root is <@root>, xmlFreeDoc() it; NULL with @error USAGE ("@what: line 3: …"). */
xmlDoc *xml_parse(const char *text, gsize len, const char *root, const char *what, GError **error);
