/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/pass.h"

Pass *pass_new(Id since, guint n_disks)
{
    Pass *pass = g_new0(Pass, 1);

    pass->since = since;
    pass->has = g_ptr_array_new_with_free_func((GDestroyNotify)extents_free);
    for (guint i = 0; i < n_disks; i++)
        g_ptr_array_add(pass->has, extents_new());
    return pass;
}

void pass_free(Pass *pass)
{
    if (!pass)
        return;
    g_ptr_array_free(pass->has, TRUE);
    g_free(pass);
}

Extents *pass_todo(const Pass *pass, guint disk, const Extents *dirty)
{
    Extents *todo = extents_copy(dirty);

    g_assert(disk < pass->has->len);
    extents_remove_all(todo, pass->has->pdata[disk]);
    return todo;
}

void pass_add(Pass *pass, guint disk, guint64 offset, guint64 len)
{
    g_assert(disk < pass->has->len);
    extents_add(pass->has->pdata[disk], offset, len);
}

void pass_break(Pass *pass, Id guard)
{
    /* Exactly one guard a pass: a later one would not cover what was read before it. */
    g_assert(id_is_nil(pass->guard) != id_is_nil(guard));
    if (id_is_nil(pass->guard))
        pass->guard = guard;
}

void pass_next(Pass *pass)
{
    g_assert(!id_is_nil(pass->guard));
    pass->since = pass->guard;
    pass->guard = ID_NIL;
    for (guint i = 0; i < pass->has->len; i++)
        extents_clear(pass->has->pdata[i]);
}

gboolean pass_is_first_job(const Pass *pass)
{
    return id_is_nil(pass->guard);
}
