/* SPDX-License-Identifier: Apache-2.0 */
/* domain_uuid - the UUID in a domain definition, found without building the document.
 *
 * For the start hook: what it is given may be megabytes, or only their beginning, and it needs the
 * first <uuid> under the root, which libvirt writes near the top. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

/* FALSE with @error USAGE: no <domain>
 * with a <uuid>, not XML, a document type in it. Never opens anything. */
gboolean domain_uuid_parse(const char *xml, gsize len, Id *ret_id, GError **error);
