/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/image/qmp_message.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    g_autoptr(QmpDecoder) decoder = qmp_decoder_new();
    gsize half = len / 2;
    QmpMessage *m;

    /* In two pieces, so that the seam falls anywhere. */
    qmp_decoder_feed(decoder, (const char *)data, half);
    while ((m = qmp_decoder_next(decoder, NULL)))
        qmp_message_free(m);
    qmp_decoder_feed(decoder, (const char *)data + half, len - half);
    while ((m = qmp_decoder_next(decoder, NULL))) {
        g_assert((m->kind == QMP_REPLY) <= (m->data != NULL));
        g_assert((m->kind == QMP_FAILURE) <= (m->name && m->text));
        g_assert((m->kind == QMP_EVENT) <= (m->name != NULL));
        qmp_message_free(m);
    }
    return 0;
}
