/* SPDX-License-Identifier: Apache-2.0 */
/* tip - prints the files of the newest sealed generation in a VM's folder, one a disk.
 *
 * Reads a copy of the ledger, so that a keeper may be at work. */
#include "vmconnect/base/error.h"
#include "vmconnect/store/ledger_file.h"

#include <glib/gstdio.h>
#include <string.h>

static void print_files(const char *dir, const LedgerPoint *tip)
{
    for (guint i = 0; i < tip->disks->len; i++) {
        const LedgerDisk *disk = tip->disks->pdata[i];

        g_print("%s/%s.%s.qcow2\n", dir, ID_TEXT(disk->layer), disk->target);
    }
}

int main(int argc, char **argv)
{
    g_autofree char *source = argc == 2 ? g_build_filename(argv[1], "ledger", NULL) : NULL;
    g_autofree char *temp = g_dir_make_tmp("tip-XXXXXX", NULL);
    g_autofree char *copy = g_build_filename(temp, "ledger", NULL);
    g_autofree char *name = source ? g_path_get_basename(argv[1]) : NULL;
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(LedgerFile) file = NULL;
    gsize len;
    Id vm;

    if (source && id_parse(name, &vm, &error) && g_file_get_contents(source, &text, &len, &error) &&
        g_file_set_contents(copy, text, (gssize)len, &error))
        file = ledger_file_open(copy, vm, FALSE, &error);
    g_unlink(copy);
    g_rmdir(temp);
    if (!file || !ledger_tip(ledger_file_model(file))) {
        g_printerr("tip: %s\n",
                   error ? error->message : "usage: tip FOLDER, of a VM with a sealed generation");
        return 1;
    }
    print_files(argv[1], ledger_tip(ledger_file_model(file)));
    return 0;
}
