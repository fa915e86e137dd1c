/* SPDX-License-Identifier: Apache-2.0 */
/* serve_check - could this host run that VM? Its definition is translated as a promotion would, and thrown away.
 *
 * A scenario asks for each of its VMs, one after the other: what was read of the host serves them all, until the next
 * trial begins. Paths that a definition names are looked at, and may lie on a file system that hangs: that is done
 * on the trials' thread, which nobody else waits for. */
#include "vmconnect/serve_parts.h"

#include "netmap/mapping_json.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/hypervisor/host_facts.h"
#include "vmconnect/hypervisor/takeover.h"

#include <string.h>

#define FACTS_MS 3000
#define CHECK_MS 30000

typedef struct {
    Engine *engine; /* for its `facts`, which are that thread's */
    Id vm;
    char *definition;
    char *here;
    char *name;
    char *from;
    char *store;
    Mapping *mapping;
} Check;

static void check_free(gpointer data)
{
    Check *c = data;

    g_free(c->definition);
    g_free(c->here);
    g_free(c->name);
    g_free(c->from);
    g_free(c->store);
    mapping_free(c->mapping);
    g_free(c);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Check, check_free)

/* Chains as they would be called: one file each. */
typedef struct {
    GArray *disks;      /* of TranslateDisk */
    GPtrArray *strings; /* of char * */
    GPtrArray *lists;   /* of char **, whose texts are in the one above */
} Chains;

static void chains_clear(Chains *c)
{
    g_array_unref(c->disks);
    g_ptr_array_unref(c->strings);
    g_ptr_array_unref(c->lists);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Chains, chains_clear)

static Chains chains_of(const Definition *d, const char *folder)
{
    Chains c = {g_array_new(FALSE, FALSE, sizeof(TranslateDisk)), g_ptr_array_new_with_free_func(g_free),
                g_ptr_array_new_with_free_func(g_free)};

    for (guint i = 0; i < d->disks->len; i++) {
        const Disk *disk = d->disks->pdata[i];
        char **list = g_new0(char *, 2);
        TranslateDisk one = {disk->target, (const char *const *)list};

        g_ptr_array_add(c.lists, list);
        if (!disk_is_data(disk) || !disk->target)
            continue;
        list[0] = g_strdup_printf("%s/%s.qcow2", folder, disk->target);
        g_ptr_array_add(c.strings, list[0]);
        g_array_append_val(c.disks, one);
    }
    return c;
}

static const Host *facts(virConnectPtr conn, const Check *c, GError **error)
{
    EngineFacts *f = &c->engine->facts;

    if (f->host && g_strcmp0(f->host->name, c->name) == 0 && clock_steady_ms() < f->until_ms)
        return f->host;
    host_free(f->host);
    f->host = host_facts_read(conn, c->here, c->name, c->store, error);
    f->until_ms = clock_steady_ms() + FACTS_MS;
    return f->host;
}

static json_t *remarks_to_json(const GPtrArray *remarks)
{
    json_t *list = json_array();

    for (guint i = 0; i < remarks->len; i++) {
        const Remark *r = remarks->pdata[i];

        json_array_append_new(list,
                              json_pack("{s:s, s:s}", "id", remark_row(r->kind)->id, "cause", r->cause));
    }
    return list;
}

static gboolean check(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const Check *c = request;
    g_autoptr(Definition) d = definition_parse(c->definition, strlen(c->definition), error);
    g_autofree char *folder = g_build_filename(c->store, ID_TEXT(c->vm), NULL);
    g_autofree char *nvram = g_build_filename(folder, "nvram", NULL);
    const Host *here = d ? facts(conn, c, error) : NULL;
    g_autoptr(GPtrArray) remarks = NULL;
    g_autofree char *out = NULL;

    if (!here)
        return FALSE;
    {
        g_auto(Chains) chains = chains_of(d, folder);
        Takeover t = {.vm = c->vm,
                      .here = here,
                      .from = c->from,
                      .mapping = c->mapping,
                      .disks = (const TranslateDisk *)(void *)chains.disks->data,
                      .n_disks = chains.disks->len,
                      .nvram = d->nvram ? nvram : NULL};

        out = takeover_definition(conn, &t, c->definition, &remarks, error);
    }
    if (!out && (!remarks || remarks->len == 0))
        return FALSE;
    *ret_result = json_pack("{s:o, s:s?}", "remarks", remarks_to_json(remarks), "definition", out);
    return TRUE;
}

static Check *read_check(Engine *engine, const json_t *params, GError **error)
{
    g_autoptr(Check) c = g_new0(Check, 1);
    const char *vm, *definition, *name, *from;
    json_t *networks;

    if (!json_read(params, "standby.check", error, "{s:s, s:s, s:s, s:s, s:o}", "vm", &vm, "definition",
                   &definition, "host", &name, "from", &from, "networks", &networks) ||
        !id_parse(vm, &c->vm, error))
        return NULL;
    c->mapping = mapping_from_json(networks, error);
    if (!c->mapping)
        return NULL;
    c->engine = engine;
    c->definition = g_strdup(definition);
    c->name = g_strdup(name);
    c->from = g_strdup(from);
    c->here = g_strdup(ID_TEXT(identity_peer(engine->identity).id));
    c->store = g_strdup(engine->paths.store);
    return g_steal_pointer(&c);
}

void serve_standby_check(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;
    g_autoptr(Check) c = read_check(engine, params, &error);
    HandsJob job = {.what = "looking whether a VM could run here",
                    .timeout_ms = CHECK_MS,
                    .work = check,
                    .free_request = check_free,
                    .free_result = serve_free_json};

    if (!serve_good(reply, c != NULL, &error))
        return;
    job.request = g_steal_pointer(&c);
    hands_submit(engine->trial_hands, &job, serve_json, reply);
}
