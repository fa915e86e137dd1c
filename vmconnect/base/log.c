/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/log.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static _Atomic LogLevel max_level = LOG_LEVEL_INFO;

static const char *const NAMES[] = {
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_NOTICE] = "notice",
    [LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_DEBUG] = "debug",
};

void log_set_level(LogLevel level)
{
    max_level = level;
}

gboolean log_level_parse(const char *name, LogLevel *ret_level, GError **error)
{
    for (LogLevel level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++)
        if (g_str_equal(NAMES[level], name)) {
            *ret_level = level;
            return TRUE;
        }
    g_set_error(error, US_ERROR, US_ERROR_USAGE,
                "log: '%.32s' is none of error, warning, notice, info and debug", name);
    return FALSE;
}

/* A message may carry a guest's or a peer's words: keep it one line. */
static void flatten(GString *line, gsize from)
{
    for (gsize i = from; i < line->len; i++)
        if ((guchar)line->str[i] < 0x20)
            line->str[i] = ' ';
}

void log_line(LogLevel level, const char *format, ...)
{
    g_autoptr(GString) line = NULL;
    va_list args;
    gsize head;

    if (level > max_level)
        return;
    line = g_string_new(NULL);
    if (g_getenv("JOURNAL_STREAM")) {
        g_string_append_printf(line, "<%d>", level);
    } else {
        char now[CLOCK_TEXT_LEN + 1];

        g_string_append_printf(line, "%s %-7s ", clock_format(clock_wall_ms(), now), NAMES[level]);
    }
    head = line->len;
    va_start(args, format);
    g_string_append_vprintf(line, format, args);
    va_end(args);
    flatten(line, head);
    g_string_append_c(line, '\n');
    /* A lost log line is not worth an error path. */
    (void)!write(STDERR_FILENO, line->str, line->len);
}
