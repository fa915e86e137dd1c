/* SPDX-License-Identifier: Apache-2.0 */
#include "post.h"

static void on_link_closed(void *user, const GError *error)
{
    LinkLoop **at = user;

    (void)error;
    *at = NULL;
}

static void on_link(void *user, Link *link)
{
    static const LinkLoopEvents EVENTS = {.on_closed = on_link_closed};
    Post *p = user;
    LinkLoop **at = g_new0(LinkLoop *, 1);

    g_assert_cmpint(link_purpose(link), ==, PURPOSE_BEAT);
    p->came++;
    g_ptr_array_add(p->links, at);
    *at = link_loop_new(p->loop, link, &EVENTS, at);
}

static void on_refused(void *user, const GError *error)
{
    (void)error;
    ((Post *)user)->refused++;
}

static void link_forget(gpointer at)
{
    link_loop_close(*(LinkLoop **)at);
    g_free(at);
}

void post_open(Post *p, uv_loop_t *loop, Identity *identity)
{
    static const ListenerEvents EVENTS = {.on_link = on_link, .on_refused = on_refused};
    g_autoptr(GError) error = NULL;

    p->loop = loop;
    if (!p->links)
        p->links = g_ptr_array_new_with_free_func(link_forget);
    p->listener = listener_new(loop, "127.0.0.1", p->port, identity, &EVENTS, p, &error);
    g_assert_no_error(error);
    p->port = listener_port(p->listener);
}

void post_shut(Post *p)
{
    listener_close(g_steal_pointer(&p->listener));
}

void post_close(Post *p)
{
    post_shut(p);
    g_clear_pointer(&p->links, g_ptr_array_unref);
}
