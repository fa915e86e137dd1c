/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger's bytes, and its records behind good checksums. Whatever is accepted
 * is sound, and written as one record is accepted again. */
#include "vmconnect/store/ledger_text.h"

#include <glib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static void check(const Ledger *ledger)
{
    json_auto_t *whole = NULL;
    g_autoptr(Ledger) copy = NULL;
    GError *error = NULL;

    if (id_is_nil(ledger->vm))
        return;
    ledger_is_sound(ledger, &error);
    g_assert_no_error(error);
    whole = ledger_to_json(ledger);
    copy = ledger_new(ID_NIL);
    ledger_apply(copy, whole, &error);
    g_assert_no_error(error);
}

static void replay_raw(const guint8 *data, gsize size)
{
    g_autoptr(Ledger) ledger = ledger_new(ID_NIL);
    g_autoptr(GError) error = NULL;
    gsize good;

    if (ledger_text_replay(ledger, (const char *)data, size, &good, &error))
        g_assert_cmpuint(good, <=, size);
    else
        g_assert_nonnull(error);
    check(ledger);
}

/* Each line is a record; a checksum at its start is cut off. */
static void apply_lines(const guint8 *data, gsize size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) lines = g_strsplit(text, "\n", 64);
    g_autoptr(Ledger) ledger = ledger_new(ID_NIL);

    for (char **line = lines; *line; line++) {
        const char *json = strchr(*line, '{');
        json_auto_t *record = json ? json_loads(json, 0, NULL) : NULL;

        if (record)
            ledger_apply(ledger, record, NULL);
        check(ledger);
    }
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    replay_raw(data, size);
    apply_lines(data, size);
    return 0;
}
