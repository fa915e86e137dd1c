/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/guard/shutter.h"

#include "vmconnect/base/error.h"

#include <nftables/libnftables.h>
#include <string.h>

#define TICK_MS 10 /* the coarsest that kernels count in */

struct Shutter {
    struct nft_ctx *nft;
};

/* Before all other rules of bridges, that nobody accepts what is to be dropped. */
static const char RULES[] = "table bridge " SHUTTER_TABLE " {\n"
                            "  counter shut { }\n"
                            "  set kept { type iface_index; }\n"
                            "  set open { type iface_index; flags timeout; }\n"
                            "  chain from_guest {\n"
                            "    type filter hook prerouting priority -350; policy accept;\n"
                            "    iif @kept iif != @open counter name shut drop\n"
                            "  }\n"
                            "}\n";

Shutter *shutter_new(GError **error)
{
    g_autoptr(Shutter) s = g_new0(Shutter, 1);

    s->nft = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!s->nft || nft_ctx_buffer_error(s->nft) != 0 || nft_ctx_buffer_output(s->nft) != 0) {
        g_set_error_literal(error, US_ERROR, US_ERROR_FAILED, "libnftables does not start");
        return NULL;
    }
    return g_steal_pointer(&s);
}

void shutter_free(Shutter *s)
{
    if (!s)
        return;
    if (s->nft)
        nft_ctx_free(s->nft);
    g_free(s);
}

/* One transaction. */
static gboolean run(Shutter *s, const char *commands, GError **error)
{
    const char *said;

    if (nft_run_cmd_from_buffer(s->nft, commands) == 0)
        return TRUE;
    said = nft_ctx_get_error_buffer(s->nft);
    g_set_error(error, US_ERROR, US_ERROR_FAILED, "nftables: %.*s", (int)strcspn(said, "\n"), said);
    return FALSE;
}

gint64 shutter_life_ms(gint64 open_ms)
{
    return MAX(open_ms * 9 / 10 - TICK_MS, 0);
}

static void append_indices(GString *out, const char *verb, const char *set, const ShutterTap *taps, guint n)
{
    g_string_append_printf(out, "%s element bridge " SHUTTER_TABLE " %s { ", verb, set);
    for (guint i = 0; i < n; i++)
        g_string_append_printf(out, "%s%u", i ? ", " : "", taps[i].index);
    g_string_append(out, " }\n");
}

/* Adding first makes deleting possible, whether it was there or not. */
static void append_removal(GString *out, const char *set, const ShutterTap *taps, guint n)
{
    append_indices(out, "add", set, taps, n);
    append_indices(out, "delete", set, taps, n);
}

static void append_openings(GString *out, const ShutterTap *taps, guint n)
{
    for (guint i = 0; i < n; i++) {
        gint64 life_ms = taps[i].open_ms == SHUTTER_ENDLESS ? 0 : shutter_life_ms(taps[i].open_ms);

        if (taps[i].open_ms == SHUTTER_ENDLESS)
            append_indices(out, "add", "open", &taps[i], 1);
        else if (life_ms > 0)
            g_string_append_printf(
                out, "add element bridge " SHUTTER_TABLE " open { %u timeout %" G_GINT64_FORMAT "ms }\n",
                taps[i].index, life_ms);
    }
}

static void append_laying(GString *out, const ShutterTap *taps, guint n)
{
    if (n == 0)
        return;
    append_indices(out, "add", "kept", taps, n);
    append_removal(out, "open", taps, n);
    append_openings(out, taps, n);
}

gboolean shutter_stands(Shutter *s)
{
    return run(s, "list chain bridge " SHUTTER_TABLE " from_guest\n", NULL) &&
           strstr(nft_ctx_get_output_buffer(s->nft), "drop") != NULL;
}

gboolean shutter_make(Shutter *s, const ShutterTap *taps, guint n, GError **error)
{
    g_autoptr(GString) commands =
        g_string_new("add table bridge " SHUTTER_TABLE "\ndelete table bridge " SHUTTER_TABLE "\n");

    g_string_append(commands, RULES);
    append_laying(commands, taps, n);
    return run(s, commands->str, error);
}

gboolean shutter_lay(Shutter *s, const ShutterTap *taps, guint n, GError **error)
{
    g_autoptr(GString) commands = g_string_new(NULL);

    append_laying(commands, taps, n);
    return n == 0 || run(s, commands->str, error);
}

gboolean shutter_release(Shutter *s, const ShutterTap *taps, guint n, GError **error)
{
    g_autoptr(GString) commands = g_string_new(NULL);

    if (n == 0)
        return TRUE;
    append_removal(commands, "kept", taps, n);
    append_removal(commands, "open", taps, n);
    return run(s, commands->str, error);
}

gboolean shutter_end(Shutter *s, GError **error)
{
    if (!run(s, "list set bridge " SHUTTER_TABLE " kept\n", error))
        return FALSE;
    return strstr(nft_ctx_get_output_buffer(s->nft), "elements") != NULL ||
           run(s, "delete table bridge " SHUTTER_TABLE "\n", error);
}
