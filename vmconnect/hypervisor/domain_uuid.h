/* SPDX-License-Identifier: Apache-2.0 */
/* domain_uuid - the UUID in a domain definition, found without building the document.
 *
 * For the start hook: it reads a stream that may be megabytes and needs the
 * first <uuid> under the root, which libvirt writes near the top. */
#pragma once

#include "vmconnect/base/id.h"

#include <glib.h>

/* From an open descriptor or from memory. FALSE with @error USAGE: no <domain>
 * with a <uuid>, not XML, a document type in it. Never opens anything. */
gboolean domain_uuid_read(int fd, Id *ret_id, GError **error);
gboolean domain_uuid_parse(const char *xml, gsize len, Id *ret_id, GError **error);
