/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/path.h"

#include <string.h>

gboolean path_is_in(const char *dir, const char *path)
{
    return g_str_has_prefix(path, dir) && path[strlen(dir)] == '/';
}
