/* SPDX-License-Identifier: Apache-2.0 */
#include "record.h"

#include <stdio.h>
#include <string.h>

#define LABEL_MAGIC UINT64_C(0x314c424c42414c55)  /* "ULABLBL1" */
#define RECORD_MAGIC UINT64_C(0x3143455242414c55) /* "ULABREC1" */
#define ACK_MAGIC UINT64_C(0x314b434142414c55)    /* "ULABACK1" */

_Static_assert(sizeof(RecordLabel) == RECORD_LEN, "a label is one block");
_Static_assert(sizeof(Record) == RECORD_LEN, "a record is one block");

uint64_t record_region(uint32_t disk)
{
    return disk == 0 ? RECORD_BOOT_OFFSET : 0;
}

uint64_t record_slot_offset(uint32_t disk, uint32_t slot)
{
    return record_region(disk) + (UINT64_C(1) + slot) * RECORD_LEN;
}

/* FNV-1a over words instead of bytes: eight times as fast under emulation. The
 * checksum is the last word of the block. */
static uint64_t checksum_of(const void *block)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < RECORD_LEN - 8; i += 8) {
        uint64_t word;

        memcpy(&word, (const char *)block + i, 8);
        sum = (sum ^ word) * UINT64_C(0x100000001b3);
        sum ^= sum >> 29;
    }
    return sum;
}

void record_label_make(RecordLabel *label, const uint8_t guest[16], uint32_t disk, uint32_t disks,
                       const char *options)
{
    memset(label, 0, sizeof *label);
    label->magic = LABEL_MAGIC;
    memcpy(label->guest, guest, 16);
    label->disk = disk;
    label->disks = disks;
    label->slots = RECORD_SLOTS;
    snprintf(label->options, sizeof label->options, "%s", options);
    label->checksum = checksum_of(label);
}

bool record_label_valid(const RecordLabel *label)
{
    return label->magic == LABEL_MAGIC && label->checksum == checksum_of(label) && label->disks > 0 &&
           label->disk < label->disks && label->slots > 0;
}

void record_make(Record *r, const RecordLabel *label, uint64_t sequence, uint64_t boot, uint64_t now_ns)
{
    uint64_t noise = sequence ^ boot;

    r->magic = RECORD_MAGIC;
    memcpy(r->guest, label->guest, 16);
    r->sequence = sequence;
    r->boot = boot;
    r->written_ns = now_ns;
    /* Nothing that compresses: what travels is then what was written. */
    for (size_t i = 0; i < sizeof r->noise / 8; i++) {
        noise = noise * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        r->noise[i] = noise ^ (noise >> 31);
    }
    r->checksum = checksum_of(r);
}

bool record_valid(const Record *r, const RecordLabel *label)
{
    return r->magic == RECORD_MAGIC && memcmp(r->guest, label->guest, 16) == 0 && r->sequence > 0 &&
           r->checksum == checksum_of(r);
}

void record_ack_make(RecordAck *ack, const Record *r)
{
    ack->magic = ACK_MAGIC;
    memcpy(ack->guest, r->guest, 16);
    ack->sequence = r->sequence;
    ack->boot = r->boot;
}

bool record_ack_valid(const RecordAck *ack)
{
    return ack->magic == ACK_MAGIC && ack->sequence > 0;
}

uint32_t record_disk(const RecordLabel *label, uint64_t sequence)
{
    return (uint32_t)(sequence % label->disks);
}

uint32_t record_slot(const RecordLabel *label, uint64_t sequence)
{
    return (uint32_t)(sequence / label->disks % label->slots);
}

uint64_t record_expected(const RecordLabel *label, uint64_t last, uint32_t disk, uint32_t slot)
{
    uint64_t turn, back;

    if (last < disk)
        return 0;
    turn = (last - disk) / label->disks;
    back = (turn % label->slots + label->slots - slot) % label->slots;
    return back > turn ? 0 : (turn - back) * label->disks + disk;
}

bool record_uuid_parse(const char *text, uint8_t ret_guest[16])
{
    unsigned n = 0;

    while (n < 16) {
        unsigned byte;

        if (*text == '-')
            text++;
        if (sscanf(text, "%2x", &byte) != 1 || text[1] == '\0')
            return false;
        ret_guest[n++] = (uint8_t)byte;
        text += 2;
    }
    return *text == '\0';
}

void record_uuid_format(const uint8_t guest[16], char ret_text[37])
{
    char *at = ret_text;

    for (unsigned i = 0; i < 16; i++)
        at += sprintf(at, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", guest[i]);
}
