/* SPDX-License-Identifier: Apache-2.0 */
/* label - makes the first block of a region, to be written into a new image.
 *
 * Usage: label UUID DISK DISKS <OPTIONS >BLOCK
 *        label show <BLOCK     in the guest: its options, KEY=VALUE lines */
#include "record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int show(void)
{
    RecordLabel label;

    if (fread(&label, sizeof label, 1, stdin) != 1 || !record_label_valid(&label)) {
        fprintf(stderr, "label: this is no label\n");
        return 1;
    }
    printf("DISKS=%u\n%s", label.disks, label.options);
    return 0;
}

int main(int argc, char **argv)
{
    char options[sizeof((RecordLabel *)0)->options] = "";
    uint8_t guest[16];
    RecordLabel label;

    if (argc == 2 && strcmp(argv[1], "show") == 0)
        return show();
    if (argc != 4 || !record_uuid_parse(argv[1], guest)) {
        fprintf(stderr, "usage: label UUID DISK DISKS <OPTIONS >BLOCK\n");
        return 2;
    }
    if (fread(options, 1, sizeof options, stdin) == sizeof options) {
        fprintf(stderr, "label: options are longer than a label has room for\n");
        return 1;
    }
    record_label_make(&label, guest, (uint32_t)atoi(argv[2]), (uint32_t)atoi(argv[3]), options);
    return fwrite(&label, sizeof label, 1, stdout) == 1 ? 0 : 1;
}
