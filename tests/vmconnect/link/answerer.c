/* SPDX-License-Identifier: Apache-2.0 */
#include "answerer.h"

#include "vmconnect/base/error.h"

#include <string.h>

typedef struct {
    Answerer *at;
    Rpc *rpc;
} Visitor;

static void on_echo(void *user, RpcReply *reply, const json_t *params)
{
    g_string_append(((Visitor *)user)->at->asked, "echo ");
    rpc_reply(reply, json_deep_copy(params));
}

static void on_later(void *user, RpcReply *reply, const json_t *params)
{
    Answerer *a = ((Visitor *)user)->at;

    (void)params;
    g_string_append(a->asked, "later ");
    g_queue_push_tail(&a->owed, reply);
    a->owed_most = MAX(a->owed_most, a->owed.length);
}

static void on_greet(void *user, RpcReply *reply, const json_t *params)
{
    Answerer *a = ((Visitor *)user)->at;
    g_autoptr(GError) error = g_error_new_literal(US_ERROR, US_ERROR_FAILED, "not in the mood");

    g_assert_cmpint(json_integer_value(json_object_get(params, "memory")), ==, 7);
    g_string_append(a->asked, "greet ");
    if (a->welcome)
        rpc_reply(reply, json_incref(a->welcome));
    else
        rpc_reply_error(reply, error);
}

static const RpcMethod METHODS[] = {
    {"echo", on_echo}, {"later", on_later}, {"greet", on_greet}, {NULL, NULL}};

static void on_closed(void *user, const GError *error)
{
    Visitor *visitor = user;

    (void)error;
    g_ptr_array_remove_fast(visitor->at->links, visitor);
    g_free(visitor);
}

static void on_link(void *user, Link *link)
{
    static const RpcEvents EVENTS = {.methods = METHODS, .on_closed = on_closed};
    Answerer *a = user;
    Visitor *visitor = g_new0(Visitor, 1);

    a->came++;
    visitor->at = a;
    visitor->rpc = rpc_new(a->loop, link, &EVENTS, visitor);
    g_ptr_array_add(a->links, visitor);
}

static void on_refused(void *user, const GError *error)
{
    (void)error;
    ((Answerer *)user)->refused++;
}

void answerer_open(Answerer *a, uv_loop_t *loop, Identity *identity)
{
    static const ListenerEvents EVENTS = {.on_link = on_link, .on_refused = on_refused};
    const char *colon = strchr(a->address, ':');
    guint16 port = colon ? (guint16)g_ascii_strtoull(colon + 1, NULL, 10) : 0;
    g_autoptr(GError) error = NULL;

    a->loop = loop;
    if (!a->links) {
        a->links = g_ptr_array_new();
        a->asked = g_string_new(NULL);
    }
    a->listener = listener_new(loop, "127.0.0.1", port, identity, &EVENTS, a, &error);
    g_assert_no_error(error);
    g_snprintf(a->address, sizeof(a->address), "127.0.0.1:%u", listener_port(a->listener));
}

void answerer_shut(Answerer *a)
{
    listener_close(g_steal_pointer(&a->listener));
    /* The kernel lets go of the port when the loop does. */
    uv_run(a->loop, UV_RUN_NOWAIT);
}

void answerer_drop(Answerer *a, const GError *why)
{
    while (a->links && a->links->len > 0) {
        Visitor *visitor = g_ptr_array_remove_index_fast(a->links, 0);

        rpc_close(visitor->rpc, why);
        g_free(visitor);
    }
}

void answerer_pay(Answerer *a)
{
    while (!g_queue_is_empty(&a->owed))
        rpc_reply(g_queue_pop_head(&a->owed), json_object());
}

void answerer_close(Answerer *a)
{
    if (!a->links)
        return;
    answerer_shut(a);
    answerer_drop(a, NULL);
    answerer_pay(a);
    g_ptr_array_unref(a->links);
    g_string_free(a->asked, TRUE);
    json_decref(a->welcome);
}

void answerer_tell(Answerer *a, const json_t *news)
{
    for (guint i = 0; i < a->links->len; i++)
        rpc_news(((Visitor *)a->links->pdata[i])->rpc, news);
}
