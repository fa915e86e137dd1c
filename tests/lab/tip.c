/* SPDX-License-Identifier: Apache-2.0 */
/* tip - prints the files of the newest sealed generation in a VM's folder, one a disk.
 *
 *   tip FOLDER [NUMBER]        the newest, or generation NUMBER
 *   tip FOLDER definition      the file with the newest one's definition
 *
 * Reads a copy of the ledger, so that a keeper may be at work. */
#include "vmconnect/base/error.h"
#include "vmconnect/store/blob.h"
#include "vmconnect/store/ledger_file.h"

#include <glib/gstdio.h>
#include <string.h>

static void print_files(const char *dir, const LedgerPoint *point)
{
    for (guint i = 0; i < point->disks->len; i++) {
        const LedgerDisk *disk = point->disks->pdata[i];

        g_print("%s/%s.%s.qcow2\n", dir, ID_TEXT(disk->layer), disk->target);
    }
}

static const LedgerPoint *find_point(const Ledger *ledger, const char *number)
{
    for (guint i = 0; i < ledger->points->len; i++) {
        const LedgerPoint *point = ledger->points->pdata[i];

        if (point->generation->sequence == g_ascii_strtoull(number, NULL, 10))
            return point;
    }
    return NULL;
}

static gboolean print(const char *dir, const Ledger *ledger, const char *what)
{
    gboolean definition = g_strcmp0(what, "definition") == 0;
    const LedgerPoint *point = what && !definition ? find_point(ledger, what) : ledger_tip(ledger);

    if (point && definition) {
        g_autofree char *name = blob_file_name(BLOB_DEFINITION, point->definition);

        g_print("%s/%s\n", dir, name);
    } else if (point) {
        print_files(dir, point);
    }
    return point != NULL;
}

int main(int argc, char **argv)
{
    g_autofree char *source = argc == 2 || argc == 3 ? g_build_filename(argv[1], "ledger", NULL) : NULL;
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
    if (file && print(argv[1], ledger_file_model(file), argv[2]))
        return 0;
    g_printerr("tip: %s\n", error ? error->message
                                  : "usage: tip FOLDER [NUMBER | definition], of a VM with that generation");
    return 1;
}
