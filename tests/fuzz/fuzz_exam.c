/* SPDX-License-Identifier: Apache-2.0 */
/* Checks as an operator's file or a controller may have them. What is accepted can be tried: it has all that its kind needs. */
#include "vmconnect/base/exam.h"
#include "vmconnect/base/json.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static void check_list(const json_t *list)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) exams = exam_list_from_json(list, &error);

    g_assert_true((exams == NULL) == (error != NULL));
    for (guint i = 0; exams && i < exams->len; i++) {
        const Exam *exam = exams->pdata[i];
        g_autoptr(Exam) again = exam_parse(exam->text, NULL);

        g_assert_true(again && again->kind == exam->kind);
        g_assert_true((exam->kind == EXAM_TCP || exam->kind == EXAM_HTTP) == (exam->port > 0));
        g_assert_true((exam->kind == EXAM_HTTP) == (exam->path != NULL));
        g_assert_true((exam->kind == EXAM_COMMAND) == (exam->argv != NULL));
        g_assert_true(!exam->argv || *exam->argv[0]);
        g_assert_true(!exam->path || exam->path[0] == '/');
    }
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    json_auto_t *doc = json_parse((const char *)data, size, 1 << 20, NULL);
    const char *vm;
    json_t *list;

    (void)exam_document_check(doc, NULL);
    json_object_foreach(doc, vm, list) check_list(list);
    return 0;
}
