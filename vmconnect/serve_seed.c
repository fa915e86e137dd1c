/* SPDX-License-Identifier: Apache-2.0 */
/* serve_seed - what of a folder with copies of images could a first copy begin from? By the rules of seed.h, and only
 * looked at.
 *
 * It lies on a removable medium or on another machine as a rule, and may hang for ever: who looks has a thread that can be
 * given up. While several of these have not come back nobody looks. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/folder.h"
#include "vmconnect/base/json.h"
#include "vmconnect/link/bulk.h"
#include "vmconnect/loop/aside.h"
#include "vmconnect/replicate/seed.h"

#include <string.h>

#define LOOK_MS 5000
#define LOST_MAX 4

static atomic_uint lost;

typedef struct {
    char *dir;
    char *store;
    json_t *vms; /* of {vm, name, images} */
} Look;

typedef struct {
    RpcReply *reply;
    char *dir;
} Asked;

static void look_free(gpointer data)
{
    Look *look = data;

    g_free(look->dir);
    g_free(look->store);
    json_decref(look->vms);
    g_free(look);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Look, look_free)

/* It is for the first generation only. */
static gboolean has_copy(const Look *look, const char *vm)
{
    g_autofree char *ledger = g_build_filename(look->store, vm, "ledger", NULL);

    return g_file_test(ledger, G_FILE_TEST_EXISTS);
}

static json_t *look_for_vm(const Look *look, const json_t *one)
{
    const char *vm = json_string_value(json_object_get(one, "vm"));
    SeedPlace place = {.dir = look->dir, .vm = json_string_value(json_object_get(one, "name"))};
    g_autoptr(Seed) seed = NULL;

    if (has_copy(look, vm))
        return json_pack("{s:s, s:{}, s:n}", "vm", vm, "disks", "why");
    seed = seed_open(&place, json_object_get(one, "images"));
    return json_pack("{s:s, s:O, s:s?}", "vm", vm, "disks", seed_sizes(seed), "why", seed_why(seed));
}

static gpointer look_for_all(gpointer request)
{
    const Look *look = request;
    json_t *list = json_array();

    for (gsize i = 0; i < json_array_size(look->vms); i++)
        json_array_append_new(list, look_for_vm(look, json_array_get(look->vms, i)));
    return json_pack("{s:o}", "vms", list);
}

static void on_looked(void *user, gpointer result)
{
    Asked *asked = user;
    json_auto_t *doc = result;
    g_autoptr(GError) error = NULL;

    if (!doc)
        g_set_error(&error, US_ERROR, US_ERROR_TIMEOUT,
                    "the folder %s does not answer within %d s: what it is mounted from may be gone",
                    asked->dir, LOOK_MS / 1000);
    serve_done(asked->reply, doc, error);
    g_free(asked->dir);
    g_free(asked);
}

static gboolean are_vms(const json_t *vms)
{
    Id id;

    for (gsize i = 0; i < json_array_size(vms); i++) {
        const json_t *one = json_array_get(vms, i);
        const char *vm = json_string_value(json_object_get(one, "vm"));

        if (!vm || !id_parse(vm, &id, NULL) || !json_is_string(json_object_get(one, "name")) ||
            !json_is_object(json_object_get(one, "images")) ||
            !attach_are_images(json_object_get(one, "images")))
            return FALSE;
    }
    return json_is_array(vms);
}

static Look *read_look(const Engine *engine, const json_t *params, GError **error)
{
    const char *dir;
    json_t *vms;
    Look *look;

    if (!json_read(params, "standby.seed", error, "{s:s, s:o}", "seed", &dir, "vms", &vms) ||
        !folder_check("seed", dir, error))
        return NULL;
    if (!are_vms(vms)) {
        g_set_error_literal(error, US_ERROR, US_ERROR_USAGE, "standby.seed: its VMs are none");
        return NULL;
    }
    if (atomic_load(&lost) >= LOST_MAX) {
        g_set_error(error, US_ERROR, US_ERROR_BUSY,
                    "%u looks into such folders have not come back: a mount does not answer",
                    atomic_load(&lost));
        return NULL;
    }
    look = g_new0(Look, 1);
    *look = (Look){g_strdup(dir), g_strdup(engine->paths.store), json_deep_copy(vms)};
    return look;
}

void serve_standby_seed(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;
    Look *look = read_look(engine, params, &error);
    AsideWork work = {.timeout_ms = LOOK_MS,
                      .lost = &lost,
                      .work = look_for_all,
                      .request = look,
                      .free_request = look_free,
                      .free_result = serve_free_json};
    Asked *asked;

    if (!serve_good(reply, look != NULL, &error))
        return;
    asked = g_new0(Asked, 1);
    *asked = (Asked){reply, g_strdup(look->dir)};
    aside_run(&engine->loop, &work, on_looked, asked);
}
