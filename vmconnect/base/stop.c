/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/stop.h"

#ifdef UNDERSTUDY_STOP_POINTS

#include <glib.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_uint passed;

/* COUNT of the entry `NAME[:COUNT]` if it names @name, else 0. */
static guint wanted(const char *entry, const char *name)
{
    gsize len = strlen(name);

    if (strncmp(entry, name, len) != 0)
        return 0;
    if (entry[len] == '\0')
        return 1;
    return entry[len] == ':' ? (guint)strtoul(entry + len + 1, NULL, 10) : 0;
}

void stop_at(const char *name)
{
    const char *setting = g_getenv("UNDERSTUDY_STOP_AT");
    const char *file = g_getenv("UNDERSTUDY_STOP_FILE");
    g_auto(GStrv) entries = NULL;

    if (!setting)
        return;
    entries = g_strsplit(setting, ",", 0);
    for (char **e = entries; *e; e++) {
        guint count = wanted(*e, name);

        /* One counter serves: a test names one point with a count at a time. */
        if (count == 0 || atomic_fetch_add(&passed, 1) + 1 != count)
            continue;
        if (file)
            g_file_set_contents(file, name, -1, NULL);
        raise(SIGSTOP);
    }
}

#endif
