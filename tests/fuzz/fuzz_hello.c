/* SPDX-License-Identifier: Apache-2.0 */
/* HELLO as anybody may send it; what a listener agrees to, an honest dialer accepts. */
#include "vmconnect/link/hello.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    Frame frame = {{MESSAGE_HELLO, 0, (guint32)MIN(len, 4096), 0}, (guint8 *)data};
    json_auto_t *doc = message_decode_json(&frame, NULL);
    json_auto_t *again = NULL;
    Hello mine = {1, 3, HELLO_FEATURES, 0, ROLE_ENGINE, ID_NIL, "fuzz"};
    Hello theirs, welcome, back;

    if (!doc || !hello_from_json(doc, &theirs, NULL))
        return 0;
    again = hello_to_json(&theirs);
    g_assert(again && hello_from_json(again, &back, NULL));
    g_assert(back.version_min == theirs.version_min && back.version_max == theirs.version_max);
    if (!hello_agree(&mine, &theirs, &welcome, NULL))
        return 0;
    g_assert(hello_accept(&theirs, &welcome, NULL));
    return 0;
}
