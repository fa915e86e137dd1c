/* SPDX-License-Identifier: Apache-2.0 */
/* The signature covers the time of sending, so that a receiver can refuse what somebody recorded and sends again, and
 * the bytes of the body as they are. */
#include "orchestrator/notify/sending_kinds.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/json.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

static char *signature(const char *secret, gint64 at_s, const char *body)
{
    g_autofree char *signed_text = g_strdup_printf("%" G_GINT64_FORMAT ".%s", at_s, body);
    GString *header = g_string_new(NULL);
    guint8 mac[EVP_MAX_MD_SIZE];
    guint len = 0;
    const guint8 *done = HMAC(EVP_sha256(), secret, (int)strlen(secret), (const guint8 *)signed_text,
                              strlen(signed_text), mac, &len);

    g_assert(done);
    g_string_printf(header, "X-Understudy-Signature: t=%" G_GINT64_FORMAT ",v1=", at_s);
    for (guint i = 0; i < len; i++)
        g_string_append_printf(header, "%02x", mac[i]);
    return g_string_free(header, FALSE);
}

CarrierOrder *webhook_order(const SendingGround *ground, const Channel *channel, const Message *message)
{
    CarrierOrder *order = carrier_order_new();
    GPtrArray *headers = g_ptr_array_new();

    *order = (CarrierOrder){.timeout_ms = ground->webhook_ms,
                            .url = g_strdup(channel->url),
                            .ca = g_strdup(channel->ca),
                            .body = json_text(message->document)};
    g_ptr_array_add(headers, g_strdup("Content-Type: application/json"));
    g_ptr_array_add(headers, g_strdup("User-Agent: understudy/" UNDERSTUDY_VERSION));
    g_ptr_array_add(headers, g_strdup("Expect:"));
    g_ptr_array_add(headers, g_strdup_printf("X-Understudy-Id: %s", message->id));
    if (channel->secret)
        g_ptr_array_add(headers, signature(channel->secret, clock_wall_ms() / 1000, order->body));
    g_ptr_array_add(headers, NULL);
    order->headers = (char **)g_ptr_array_free(headers, FALSE);
    return order;
}
