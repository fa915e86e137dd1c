/* SPDX-License-Identifier: Apache-2.0 */
/* outside - whom the guests of an integrity test must not reach, although this host may: asked before any of them runs. */
#pragma once

#include <glib.h>

/* Two addresses that are nobody's, but would go out (RFC 5737, RFC 3849); this host's gateway; and @hosts ("host", "host:port",
 * "[v6]:port"), names as the system resolves them now, which blocks for so long: a resolver that does not answer is asked once. What
 * is no number, and what has no meaning outside of its own line (fe80::), is left out. Each once, with a NULL at the end; the caller
 * unrefs. For a thread that is in the host's network. */
GPtrArray *outside_addresses(const GPtrArray *hosts);
