/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/machine.h"

#include <glib.h>

char *machine_id(void)
{
    char *text = NULL;

    return g_file_get_contents("/etc/machine-id", &text, NULL, NULL) ? g_strstrip(text) : g_strdup("");
}
