/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/reigns.h"

#include "vmconnect/base/error.h"

#define ROW_ID ((Id){{0xff}})
#define ROW_NAME "~reigns" /* no scenario's name */

struct Reigns {
    GHashTable *last; /* Id * -> guint64 * */
};

Reigns *reigns_new(void)
{
    Reigns *r = g_new0(Reigns, 1);

    r->last = g_hash_table_new_full(id_hash, id_equal_func, g_free, g_free);
    return r;
}

void reigns_free(Reigns *r)
{
    if (!r)
        return;
    g_hash_table_destroy(r->last);
    g_free(r);
}

guint64 reigns_last(const Reigns *r, Id vm)
{
    const guint64 *number = g_hash_table_lookup(r->last, &vm);

    return number ? *number : 0;
}

void reigns_remember(Reigns *r, Id vm, guint64 number)
{
    g_hash_table_insert(r->last, g_memdup2(&vm, sizeof vm), g_memdup2(&number, sizeof number));
}

gboolean reigns_is_document(const json_t *doc)
{
    return json_object_get(doc, "reigns") != NULL;
}

gboolean reigns_load(Reigns *r, const json_t *doc, GError **error)
{
    const char *key;
    json_t *number;

    json_object_foreach(json_object_get(doc, "reigns"), key, number)
    {
        Id vm;

        if (!id_parse(key, &vm, error))
            return FALSE;
        if (!json_is_integer(number) || json_integer_value(number) < 1) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "the last reign of VM %s is not a number", key);
            return FALSE;
        }
        reigns_remember(r, vm, (guint64)json_integer_value(number));
    }
    return TRUE;
}

void reigns_put(const Reigns *r, DatabaseChanges *changes)
{
    json_auto_t *numbers = json_object();
    json_auto_t *doc = NULL;
    GHashTableIter iter;
    gpointer vm, number;

    g_hash_table_iter_init(&iter, r->last);
    while (g_hash_table_iter_next(&iter, &vm, &number))
        json_object_set_new(numbers, ID_TEXT(*(const Id *)vm),
                            json_integer((json_int_t)(*(guint64 *)number)));
    doc = json_pack("{s:O}", "reigns", numbers);
    database_put_scenario(changes, ROW_ID, ROW_NAME, doc);
}
