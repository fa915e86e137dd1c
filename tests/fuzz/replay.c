/* SPDX-License-Identifier: Apache-2.0 */
/* replay - runs a fuzz target over the files of its corpus, without libFuzzer. */
#include <glib.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

int main(int argc, char **argv)
{
    g_autoptr(GDir) dir = argc > 1 ? g_dir_open(argv[1], 0, NULL) : NULL;
    const char *name;
    guint n = 0;

    LLVMFuzzerTestOneInput((const guint8 *)"", 0);
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(argv[1], name, NULL);
        g_autofree char *data = NULL;
        gsize len = 0;

        if (!g_file_get_contents(path, &data, &len, NULL))
            continue;
        LLVMFuzzerTestOneInput((const guint8 *)data, len);
        n++;
    }
    g_print("ok 1 corpus of %u inputs\n1..1\n", n);
    return 0;
}
