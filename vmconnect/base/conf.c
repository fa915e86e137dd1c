/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/conf.h"

#include "vmconnect/base/error.h"

struct Conf {
    const ConfKey *keys;
    GHashTable *values; /* char * -> char *, only what the file sets */
};

static const ConfKey *find(const ConfKey *keys, const char *key)
{
    for (const ConfKey *k = keys; k->key; k++)
        if (g_str_equal(k->key, key))
            return k;
    return NULL;
}

static gboolean take_values(Conf *conf, GKeyFile *file, const char *path, const char *group, GError **error)
{
    g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);
    g_auto(GStrv) keys = NULL;

    for (char **g = groups; *g; g++)
        if (!g_str_equal(*g, group)) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s: unknown group [%s], only [%s] is known", path,
                        *g, group);
            return FALSE;
        }
    if (!g_key_file_has_group(file, group))
        return TRUE;
    keys = g_key_file_get_keys(file, group, NULL, NULL);
    for (char **k = keys; *k; k++) {
        char *value;

        if (!find(conf->keys, *k)) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s: unknown key '%s' in [%s]", path, *k, group);
            return FALSE;
        }
        value = g_key_file_get_string(file, group, *k, error);
        if (!value) {
            (*error)->domain = US_ERROR;
            (*error)->code = US_ERROR_USAGE;
            g_prefix_error(error, "%s: ", path);
            return FALSE;
        }
        g_hash_table_insert(conf->values, g_strdup(*k), value);
    }
    return TRUE;
}

Conf *conf_load(const char *path, const char *group, const ConfKey *keys, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(Conf) conf = g_new0(Conf, 1);
    g_autoptr(GError) why = NULL;

    conf->keys = keys;
    conf->values = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &why)) {
        if (g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            return g_steal_pointer(&conf);
        g_set_error(error, US_ERROR, why->domain == G_KEY_FILE_ERROR ? US_ERROR_USAGE : US_ERROR_IO, "%s: %s",
                    path, why->message);
        return NULL;
    }
    if (!take_values(conf, file, path, group, &why)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return NULL;
    }
    return g_steal_pointer(&conf);
}

void conf_free(Conf *conf)
{
    if (!conf)
        return;
    g_hash_table_destroy(conf->values);
    g_free(conf);
}

const char *conf_get(const Conf *conf, const char *key)
{
    const ConfKey *known = find(conf->keys, key);
    const char *value = g_hash_table_lookup(conf->values, key);

    g_assert(known);
    return value ? value : known->fallback;
}
