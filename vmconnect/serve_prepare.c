/* SPDX-License-Identifier: Apache-2.0 */
/* serve_prepare - a host is made ready to take over: networks as its master has them, and the rights of our folders. Each
 * step may be asked for again. */
#include "vmconnect/serve_parts.h"

#include "netmap/network.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/hypervisor/host_facts.h"

#include <stdlib.h>

/* --- how a network is defined -------------------------------------------- */

static gboolean read_network(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const char *name = request;
    g_autoptr(virNetwork) net = virNetworkLookupByName(conn, name);
    char *xml = net ? virNetworkGetXMLDesc(net, VIR_NETWORK_XML_INACTIVE) : NULL;

    if (!xml)
        return virt_error(error, "network '%s'", name);
    *ret_result = json_pack("{s:s}", "definition", xml);
    free(xml);
    return TRUE;
}

void serve_network_definition(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    const char *name;
    HandsJob job = {.what = "reading a network",
                    .work = read_network,
                    .free_request = g_free,
                    .free_result = serve_free_json};

    if (!serve_good(reply, json_read(params, "network.definition", &error, "{s:s}", "name", &name), &error))
        return;
    job.request = g_strdup(name);
    hands_submit(((Visit *)user)->engine->hands, &job, serve_json, reply);
}

/* --- preparing ------------------------------------------------------------ */

typedef struct {
    Engine *engine;
    char *name;       /* of a network; NULL: none is asked for */
    char *definition; /* as the other host has it; NULL: it is here already */
    gboolean folders;
} Preparation;

static void preparation_free(gpointer data)
{
    Preparation *p = data;

    g_free(p->name);
    g_free(p->definition);
    g_free(p);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Preparation, preparation_free)

static virNetworkPtr define_network(virConnectPtr conn, const Preparation *p, GError **error)
{
    g_autoptr(Host) here = host_new(NULL, "this host");
    g_autoptr(GError) why = NULL;
    g_autofree char *xml = NULL;
    virNetworkPtr net;

    if (!host_facts_places(conn, here, error))
        return NULL;
    xml = network_for(p->definition, p->name, here, &why);
    if (!xml) {
        g_set_error_literal(error, US_ERROR, US_ERROR_REFUSED, why->message);
        return NULL;
    }
    net = virNetworkDefineXML(conn, xml);
    if (!net)
        virt_error(error, "network '%s' cannot be defined", p->name);
    return net;
}

/* One that is there is its user's: it is started, and starts by itself from then on, but never changed. */
static gboolean prepare_network(virConnectPtr conn, const Preparation *p, GError **error)
{
    g_autoptr(virNetwork) net = virNetworkLookupByName(conn, p->name);

    if (!net && !p->definition)
        return virt_error(error, "network '%s'", p->name);
    if (!net)
        net = define_network(conn, p, error);
    if (!net)
        return FALSE;
    if (virNetworkSetAutostart(net, 1) != 0)
        return virt_error(error, "network '%s' cannot be made to start by itself", p->name);
    return virNetworkIsActive(net) == 1 || virNetworkCreate(net) == 0 ||
           virt_error(error, "network '%s' cannot be started", p->name);
}

static gboolean prepare(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const Preparation *p = request;
    const char *store = p->engine->paths.store;

    /* What is not there now is not mounted, and must not be made below. */
    if (p->folders && !g_file_test(store, G_FILE_TEST_IS_DIR)) {
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "the store %s is not there: mount it", store);
        return FALSE;
    }
    if ((p->folders && !engine_make_folders(p->engine, error)) ||
        (p->name && !prepare_network(conn, p, error)))
        return FALSE;
    *ret_result = json_object();
    return TRUE;
}

void serve_host_prepare(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    g_autoptr(GError) error = NULL;
    g_autoptr(Preparation) p = g_new0(Preparation, 1);
    const char *name = NULL, *definition = NULL;
    int folders = FALSE;
    HandsJob job = {.what = "preparing this host",
                    .work = prepare,
                    .free_request = preparation_free,
                    .free_result = serve_free_json};

    if (!serve_good(reply,
                    json_read(params, "host.prepare", &error, "{s?s, s?s, s?b}", "network", &name,
                              "definition", &definition, "folders", &folders),
                    &error))
        return;
    p->engine = engine;
    p->name = g_strdup(name);
    p->definition = g_strdup(definition);
    p->folders = folders;
    job.request = g_steal_pointer(&p);
    hands_submit(engine->hands, &job, serve_json, reply);
}
