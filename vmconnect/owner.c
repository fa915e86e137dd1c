/* SPDX-License-Identifier: Apache-2.0 */
/* owner - whose this engine is, and what follows when that changes.
 *
 * A controller becomes its owner at the enrolment desk; the owner lets it go
 * (serve_disown.c), or root does with `understudy-engine disown`, which is seen by
 * the file that is gone. Whoever had a link as the owner loses it. */
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/engine.h"

#define WATCH_MS 1000

static gboolean open_desk(Engine *e, GError **error);
static void watch_file(Engine *e);

/* Takes @identity. */
void owner_take(Engine *e, Identity *identity)
{
    g_autoptr(GError) error = NULL;

    identity_unref(e->identity);
    e->identity = identity;
    listener_set_identity(e->listener, identity);
    gate_leave_former(e);
    watch_file(e);
    watch_set_identity(e->watch, identity_is_owned(identity) ? identity : NULL);
    tenure_set_identity(e->tenure, identity);
    if (identity_is_owned(identity))
        /* Without an owner workers go on as who they were: their standbys still know that one. */
        roles_set_identity(e->roles, identity);
    else if (!open_desk(e, &error))
        log_error("nobody can enrol this engine: %s", error->message);
}

/* --- the desk ------------------------------------------------------------- */

static void on_owned(void *user, Identity *identity)
{
    log_notice("this engine has an owner now");
    owner_take(user, identity);
}

static void on_wrong_token(void *user, const char *from, guint left)
{
    (void)user;
    log_warning("%s came with a wrong token -> %u more and the token ends", from, left);
}

gboolean owner_may_enrol(void *user)
{
    const Engine *e = user;

    return e->desk && enrol_desk_live(e->desk);
}

static gboolean open_desk(Engine *e, GError **error)
{
    EnrolDeskEvents desk = {.on_owned = on_owned, .on_wrong = on_wrong_token};

    enrol_desk_close(g_steal_pointer(&e->desk));
    e->desk =
        enrol_desk_new(&e->loop, e->identity, e->paths.token_file, e->paths.token_print, &desk, e, error);
    if (!e->desk)
        return FALSE;
    log_notice("this engine has no owner -> enrol it with the token in %s", e->paths.token_print);
    return TRUE;
}

/* --- root's word ---------------------------------------------------------- */

typedef struct {
    Engine *engine;
    Identity *found;
    GError *error;
} Looking;

static void look_work(void *data)
{
    Looking *l = data;

    l->found = identity_open(l->engine->paths.identity, ROLE_ENGINE, &l->error);
}

static void look_done(void *data)
{
    Looking *l = data;
    Engine *e = l->engine;

    if (l->error)
        log_error("whether this engine still has an owner cannot be read: %s", l->error->message);
    /* Its controller may have let it go at the same time: then all is done already. */
    if (l->found && !identity_is_owned(l->found) && identity_is_owned(e->identity) && !e->ending) {
        log_notice("this engine was taken from its owner by root -> links of its controller end");
        owner_take(e, g_steal_pointer(&l->found));
    }
    g_clear_pointer(&l->found, identity_unref);
    g_clear_error(&l->error);
    g_free(l);
}

static void on_owner_file(uv_fs_poll_t *watch, int status, const uv_stat_t *before, const uv_stat_t *now)
{
    Engine *e = watch->data;
    Looking *l;

    (void)before;
    (void)now;
    if (status != UV_ENOENT || !identity_is_owned(e->identity) || e->ending)
        return;
    l = g_new0(Looking, 1);
    l->engine = e;
    clerk_submit(e->clerk, look_work, look_done, l);
}

/* From the beginning each time: an owner that came and went between two looks is seen, too. */
static void watch_file(Engine *e)
{
    g_autofree char *path = g_build_filename(e->paths.identity, IDENTITY_OWNER_FILE, NULL);

    uv_fs_poll_stop(&e->owner_watch);
    uv_fs_poll_start(&e->owner_watch, on_owner_file, path, WATCH_MS);
}

/* --- begin and end -------------------------------------------------------- */

void owner_init(Engine *e)
{
    uv_fs_poll_init(&e->loop, &e->owner_watch);
    e->owner_watch.data = e;
}

gboolean owner_begin(Engine *e, GError **error)
{
    watch_file(e);
    return identity_is_owned(e->identity) || open_desk(e, error);
}

void owner_end(Engine *e)
{
    uv_close((uv_handle_t *)&e->owner_watch, NULL);
    enrol_desk_close(g_steal_pointer(&e->desk));
}
