/* SPDX-License-Identifier: Apache-2.0 */
/* record - the numbered, checksummed blocks by which a test recognises a moment.
 *
 * A guest writes record 1, 2, 3 … in turn to its disks, each only after the
 * one before is on stable storage. A set of images is therefore a moment of
 * that guest exactly if some number N exists with every record up to N there
 * and none above. Each disk keeps the newest @slots of its records in a ring
 * behind a label that says whose disk this is.
 *
 * Shared by the programs inside the guest and those that read its images, so
 * nothing but the C library is used here. Blocks are in the byte order of the
 * machine: guest and reader are the same one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RECORD_LEN 4096u
#define RECORD_SLOTS 2048u
/* The first disk boots: its region begins behind the file systems. The others
 * are regions from their first byte. */
#define RECORD_BOOT_OFFSET (UINT64_C(64) << 20)
#define RECORD_PORT 7077

/* First block of a region. */
typedef struct {
    uint64_t magic;
    uint8_t guest[16]; /* the guest's UUID */
    uint32_t disk;     /* this disk's place, from 0 */
    uint32_t disks;
    uint32_t slots;
    uint32_t unused;
    char options[RECORD_LEN - 48]; /* KEY=VALUE lines for the guest, NUL terminated */
    uint64_t checksum;
} RecordLabel;

/* One slot of the ring that follows the label. */
typedef struct {
    uint64_t magic;
    uint8_t guest[16];
    uint64_t sequence;
    uint64_t boot;       /* random, one for each start of the guest */
    uint64_t written_ns; /* the guest's own clock */
    uint64_t noise[(RECORD_LEN - 56) / 8];
    uint64_t checksum;
} Record;

/* What the guest says once the record is on stable storage. */
typedef struct {
    uint64_t magic;
    uint8_t guest[16];
    uint64_t sequence;
    uint64_t boot;
} RecordAck;

/* Where region @disk begins on its disk, in bytes. */
uint64_t record_region(uint32_t disk);

/* Where slot @slot of region @disk begins on its disk, in bytes. */
uint64_t record_slot_offset(uint32_t disk, uint32_t slot);

void record_label_make(RecordLabel *label, const uint8_t guest[16], uint32_t disk, uint32_t disks,
                       const char *options);
bool record_label_valid(const RecordLabel *label);

/* Make record @sequence; @label says of which guest. */
void record_make(Record *r, const RecordLabel *label, uint64_t sequence, uint64_t boot, uint64_t now_ns);
/* Whole, and of @label's guest. */
bool record_valid(const Record *r, const RecordLabel *label);

void record_ack_make(RecordAck *ack, const Record *r);
bool record_ack_valid(const RecordAck *ack);

/* The disk and the slot of record @sequence. */
uint32_t record_disk(const RecordLabel *label, uint64_t sequence);
uint32_t record_slot(const RecordLabel *label, uint64_t sequence);

/* The record that @slot of @disk holds when @last is the newest of the guest;
 * 0 if that slot was not written yet. */
uint64_t record_expected(const RecordLabel *label, uint64_t last, uint32_t disk, uint32_t slot);

/* Parse the 36 characters of a UUID. */
bool record_uuid_parse(const char *text, uint8_t ret_guest[16]);
/* Write the 36 characters and NUL. */
void record_uuid_format(const uint8_t guest[16], char ret_text[37]);
