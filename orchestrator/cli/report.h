/* SPDX-License-Identifier: Apache-2.0 */
/* report - an integrity test, or a drill of many, as one page of HTML that needs nothing else, to be kept or sent.
 *
 * Everything that comes from a guest or another host is text in it, never markup; pictures are data in it, if they are PNGs. */
#pragma once

#include <jansson.h>

/* What was proved of its isolation before its VMs ran, and counted until they ended, as a sentence. NULL: nothing yet. The caller frees. */
char *report_isolation(const json_t *test);

/* @test: its document (docs/protocol.md, test.result); @evidence: {vm: {"png": base64 or null, "console": text or null}}, may lack
 * some. The caller frees. */
char *report_html(const json_t *test, const json_t *evidence);

/* @drill: its document (orchestrator/core/drill.h); @tests: an array of those of its tests that there are, @evidence of all of their VMs. The
 * caller frees. */
char *report_drill_html(const json_t *drill, const json_t *tests, const json_t *evidence);
