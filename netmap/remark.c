/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/remark.h"

static const RemarkRow ROWS[] = {
#define X(name, id, severity, consequence, remedy) {id, REMARK_##severity, consequence, remedy},
    NETMAP_REMARKS(X)
#undef X
};

const RemarkRow *remark_row(RemarkKind kind)
{
    g_assert(kind < REMARKS);
    return &ROWS[kind];
}

const RemarkRow *remark_find(const char *id)
{
    for (guint i = 0; i < REMARKS; i++)
        if (g_str_equal(ROWS[i].id, id))
            return &ROWS[i];
    return NULL;
}

static void remark_free(gpointer data)
{
    Remark *remark = data;

    g_free(remark->cause);
    g_free(remark);
}

GPtrArray *remarks_new(void)
{
    return g_ptr_array_new_with_free_func(remark_free);
}

void remarks_add(GPtrArray *remarks, RemarkKind kind, const char *format, ...)
{
    Remark *remark = g_new0(Remark, 1);
    va_list args;

    remark->kind = kind;
    va_start(args, format);
    remark->cause = g_strdup_vprintf(format, args);
    va_end(args);
    g_ptr_array_add(remarks, remark);
}

guint remarks_errors(const GPtrArray *remarks)
{
    guint n = 0;

    for (guint i = 0; i < remarks->len; i++)
        n += remark_row(((const Remark *)remarks->pdata[i])->kind)->severity == REMARK_ERROR;
    return n;
}

char *remarks_text(const GPtrArray *remarks)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < remarks->len; i++) {
        const Remark *remark = remarks->pdata[i];

        if (remark_row(remark->kind)->severity == REMARK_ERROR)
            g_string_append_printf(text, "%s%s", text->len ? "; " : "", remark->cause);
    }
    return g_string_free(text, FALSE);
}
