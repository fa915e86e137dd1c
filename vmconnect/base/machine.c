/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/machine.h"

#include "vmconnect/base/sealed.h"

#define BOOT_ID_MAX 64

static char *text_of(const char *path)
{
    char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? g_strstrip(text) : g_strdup("");
}

char *machine_id(void)
{
    return text_of("/etc/machine-id");
}

char *machine_system_uuid(void)
{
    return text_of("/sys/class/dmi/id/product_uuid");
}

gboolean machine_boot_id(Id *ret_id, GError **error)
{
    gsize len;
    g_autofree char *text = sealed_read("/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &len, NULL, error);

    return text && id_parse(g_strchomp(text), ret_id, error);
}
