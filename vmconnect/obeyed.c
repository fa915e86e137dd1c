/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/obeyed.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/machine.h"

#include <string.h>

#define FORMAT 1
#define MAX_BYTES 4096

static gboolean parse(const char *text, gsize len, Obeyed *ret, GError **error)
{
    json_auto_t *doc = json_parse(text, len, MAX_BYTES, error);
    g_autofree char *here = machine_id();
    const char *there, *controller;
    json_int_t incarnation;
    int format;

    if (!doc || !json_read(doc, "obeyed.json", error, "{s:i, s:s, s:s, s:I}", "format", &format, "machine",
                           &there, "controller", &controller, "incarnation", &incarnation))
        return FALSE;
    if (format != FORMAT || incarnation < 0) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "obeyed.json is not what this program writes");
        return FALSE;
    }
    if (!g_str_equal(there, here))
        return TRUE;
    ret->incarnation = (guint64)incarnation;
    return id_parse(controller, &ret->controller, error);
}

gboolean obeyed_read(const char *path, Obeyed *ret, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autofree char *text = NULL;
    gsize len;

    *ret = (Obeyed){ID_NIL, 0};
    if (durable_read(path, &text, &len, &why)) {
        if (parse(text, len, ret, error))
            return TRUE;
        g_prefix_error(error,
                       "%s, which says how new the memory of the controller is that this engine obeys, is "
                       "damaged; guests "
                       "run on, and nothing is replicated; remove it if there is but one controller: ",
                       path);
        return FALSE;
    }
    if (g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

gboolean obeyed_write(const char *path, const Obeyed *obeyed, GError **error)
{
    g_autofree char *here = machine_id();
    json_auto_t *doc = json_pack("{s:i, s:s, s:s, s:I}", "format", FORMAT, "machine", here, "controller",
                                 ID_TEXT(obeyed->controller), "incarnation", (json_int_t)obeyed->incarnation);
    g_autofree char *text = json_text(doc);

    return durable_replace(path, text, strlen(text), 0600, error);
}

gboolean obeyed_allows(const Obeyed *known, Id controller, guint64 incarnation)
{
    return !id_equal(known->controller, controller) || incarnation >= known->incarnation;
}

gboolean obeyed_equal(const Obeyed *a, const Obeyed *b)
{
    return id_equal(a->controller, b->controller) && a->incarnation == b->incarnation;
}
