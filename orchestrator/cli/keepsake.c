/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/cli/keepsake.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

gboolean keepsake_collect(Cli *cli, const json_t *test, json_t *evidence, GError **error)
{
    json_t *vm;
    gsize i;

    json_array_foreach(json_object_get(test, "vms"), i, vm)
    {
        const char *id = json_text_of(vm, "vm") ?: "";
        json_auto_t *query = json_pack("{s:s}", "vm", id);
        g_autoptr(GError) why = NULL;
        json_t *seen = cli_call(cli, "test.evidence", json_text_of(test, "test"), query, NULL, &why);

        if (!seen && !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&why));
            return FALSE;
        }
        if (seen)
            json_object_set_new(evidence, id, seen);
    }
    return TRUE;
}

/* What is no file is written to where it is: a page is not to take the place of /dev/null, or of a link as /dev/stdout is. */
static gboolean write_there(const char *path, const char *html, GError **error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY | O_CLOEXEC, 0600);
    gboolean ok = fd >= 0 && durable_write(fd, html, strlen(html), error);

    if (fd < 0)
        us_error_errno(error, errno, "cannot open %s", path);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* All of it or nothing, and nothing is left beside it. */
static gboolean replace(const char *path, const char *html, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (g_file_set_contents_full(path, html, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &why))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_IO, "%s", why->message);
    return FALSE;
}

gboolean keepsake_write(Cli *cli, const json_t *doc, const char *html, GError **error)
{
    const char *path = cli_option(cli, "html");
    struct stat st;
    gboolean is_file = lstat(path, &st) != 0 || S_ISREG(st.st_mode);

    if (!(is_file ? replace(path, html, error) : write_there(path, html, error))) {
        g_prefix_error(error, "the page was not written, name another file with --html: ");
        return FALSE;
    }
    cli_show(cli, doc, g_strdup_printf("written: %s\n", path));
    return TRUE;
}
