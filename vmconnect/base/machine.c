/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/machine.h"

#include "vmconnect/base/sealed.h"

#define BOOT_ID_MAX 64

char *machine_id(void)
{
    char *text = NULL;

    return g_file_get_contents("/etc/machine-id", &text, NULL, NULL) ? g_strstrip(text) : g_strdup("");
}

gboolean machine_boot_id(Id *ret_id, GError **error)
{
    gsize len;
    g_autofree char *text = sealed_read("/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &len, NULL, error);

    return text && id_parse(g_strchomp(text), ret_id, error);
}
