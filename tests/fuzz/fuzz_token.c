/* SPDX-License-Identifier: Apache-2.0 */
/* Words that people type: a token, an address, a peer's name. What is read is written the same. */
#include "vmconnect/link/dial.h"
#include "vmconnect/link/token.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    g_autofree char *text = g_strndup((const char *)data, len);
    g_autofree char *host = NULL;
    guint16 port = 0;
    Token token;
    Role role;
    Id id;

    if (token_parse(text, &token, NULL)) {
        g_autofree char *again = token_format(&token);

        g_assert(strcmp(again, g_strstrip(text)) == 0);
    }
    if (peer_parse_uri(text, &role, &id, NULL)) {
        g_autofree char *again = peer_uri(role, id);

        g_assert(strcmp(again, text) == 0);
    }
    if (dial_parse(text, 25000, &host, &port, NULL))
        g_assert(host && *host && port != 0);
    return 0;
}
