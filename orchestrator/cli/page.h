/* SPDX-License-Identifier: Apache-2.0 */
/* page - what a person reads: aligned tables, and documents as `key value` lines.
 *
 * Names come from guests and other hosts: nothing in a cell can move the
 * cursor. Not for --json. */
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct Page Page;

/* @titles: NULL-ended; one that begins with `>` makes a column that is aligned to the right. */
Page *page_new(const char *const *titles);
void page_free(Page *page);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Page, page_free)

/* The next cell of the last row (a full row begins another). NULL and "" are shown as `-`. */
void page_cell(Page *page, const char *text);
void page_cellf(Page *page, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* A value of a document: its text, `-` if it is not there or null. */
void page_value(Page *page, const json_t *doc, const char *key);
void page_bytes(Page *page, const json_t *doc, const char *key);
void page_duration(Page *page, const json_t *doc, const char *key);

/* The whole table, each line after @indent spaces. The caller frees. */
char *page_text(const Page *page, guint indent);

/* A document as lines of `key  value`, nested ones indented. The caller frees. */
char *page_of(const json_t *doc);

/* @text with control characters as `?`. The caller frees. */
char *page_clean(const char *text);
