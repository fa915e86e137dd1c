/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/xml.h"

#include "vmconnect/base/error.h"

xmlDoc *xml_parse(const char *text, gsize len, const char *root, const char *what, GError **error)
{
    g_autoptr(GError) why = NULL;
    xmlDoc *doc = xml_read(text, len, root, &why);

    if (!doc)
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s: %s", what, why->message);
    return doc;
}
