/* SPDX-License-Identifier: Apache-2.0 */
/* keepsake - what was seen in integrity tests, collected for a page (report.h) that --html FILE asks for. */
#pragma once

#include "orchestrator/cli/cli.h"

/* Put {"png", "console"} of each VM of @test into @evidence, by its UUID; of whom nothing was seen there is none. */
gboolean keepsake_collect(Cli *cli, const json_t *test, json_t *evidence, GError **error);

/* Write @html to the file of --html, for its reader alone: screens are in it. @doc is what --json shows. */
gboolean keepsake_write(Cli *cli, const json_t *doc, const char *html, GError **error);
