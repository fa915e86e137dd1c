/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: the file is looked at, and run (errand.h) with the message as its input. */
#include "orchestrator/notify/line.h"
#include "orchestrator/notify/sending_kinds.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/loop/errand.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct Hook {
    Errand *errand;
    SendingDone on_done;
    void *user;
};

/* --- the file ---------------------------------------------------------------- */

static gboolean refuse(GError **error, const char *path, const char *why)
{
    g_set_error(error, US_ERROR, US_ERROR_REFUSED, "%s is not run: %s", path, why);
    return FALSE;
}

/* Looked at by its descriptor, so that a link is seen as one. Who can change the folder afterwards is root. */
static gboolean check_file(const char *folder, const char *file, const char *path, GError **error)
{
    int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat in, st;
    gboolean good;

    if (dir < 0)
        return us_error_errno(error, errno, "the folder of hooks, %s", folder);
    if (fstat(dir, &in) != 0 || fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) != 0)
        good = us_error_errno(error, errno, "%s", path);
    else if (S_ISLNK(st.st_mode))
        good = refuse(error, path, "it is a symbolic link: put the program itself there");
    else if (!S_ISREG(st.st_mode))
        good = refuse(error, path, "it is no file");
    else if ((in.st_mode | st.st_mode) & S_IWOTH)
        good = refuse(error, path, "everybody may write to it, or to its folder: chmod o-w");
    else
        good = faccessat(dir, file, X_OK, AT_EACCESS) == 0 ||
               refuse(error, path, "the controller's user may not execute it: chmod +x");
    close(dir);
    return good;
}

/* --- the program -------------------------------------------------------------- */

static void on_end(void *user, const ErrandEnd *end)
{
    g_autofree Hook *h = user;
    g_autofree char *said = line_of(end->said, ERRAND_KEPT_BYTES);
    const char *shown = g_strstrip(said);
    Outcome outcome = {0};

    if (errand_check(end, shown, &outcome.error) && *shown)
        log_info("%s said: %s", end->path, shown);
    h->on_done(h->user, &outcome);
    g_clear_error(&outcome.error);
}

Hook *hook_start(const SendingGround *ground, const Channel *channel, const Message *message,
                 SendingDone on_done, void *user)
{
    g_autofree char *path = g_build_filename(ground->hooks, channel->file, NULL);
    g_autofree char *body = json_text(message->document);
    g_auto(GStrv) env = message_environment(message);
    g_autoptr(GError) refusal = NULL;
    Hook *h = g_new0(Hook, 1);
    ErrandOrder order = {
        .path = path, .env = (const char *const *)env, .input = body, .limit_ms = ground->hook_ms};

    *h = (Hook){NULL, on_done, user};
    if (!check_file(ground->hooks, channel->file, path, &refusal))
        order.refusal = refusal;
    h->errand = errand_start(ground->loop, &order, on_end, h);
    return h;
}

void hook_cancel(Hook *h)
{
    errand_cancel(h->errand);
    g_free(h);
}
