/* SPDX-License-Identifier: Apache-2.0 */
/* log - one line an event on standard error, with journald's levels.
 *
 * Only the loops and main() log; everything else returns its error. A line
 * about a decision reads `condition -> decision`. Under journald (JOURNAL_STREAM
 * set) lines start with <N> and carry no time; elsewhere with UTC time and level.
 * Safe from any thread; a line is written by one write(2). */
#pragma once

#include <glib.h>

typedef enum {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
} LogLevel;

/* Lines above @level are dropped; INFO until called. */
void log_set_level(LogLevel level);

/* "error" … "debug", as a configuration's `log` has them. USAGE. */
gboolean log_level_parse(const char *name, LogLevel *ret_level, GError **error);

void log_line(LogLevel level, const char *format, ...) G_GNUC_PRINTF(2, 3);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
