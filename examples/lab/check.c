/* SPDX-License-Identifier: Apache-2.0 */
/* check - do these images hold one moment of a guest?
 *
 * Usage: check [--stamps FILE]… IMAGE…   (in the order of the guest's disks)
 * Prints {"last": N, "prefix": true|false, "disks": [n, …], "at": …, "why": …}:
 * the newest record there; whether every slot of every disk holds what it must
 * if N was the newest; the newest of each disk; when a receiver heard of N; and
 * the first thing found wrong. Exit status 0 prefix, 1 not, 3 unreadable.
 *
 * Images are read through qemu-nbd with force-share: raw or qcow2, with
 * whatever backs them, also while something else has them open. */
#include "guest/record.h"

#include <errno.h>
#include <inttypes.h>
#include <libnbd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IMAGES_MAX 16
#define UNREADABLE 3

typedef struct {
    const char *path;
    RecordLabel label;
    Record *slots;
    uint64_t newest;
} Image;

typedef struct {
    Image images[IMAGES_MAX];
    int n;
    uint64_t last, last_boot;
    char why[256]; /* empty: a prefix */
} Check;

static void __attribute__((noreturn, format(printf, 1, 2))) unreadable(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    fputs("check: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(UNREADABLE);
}

static bool is_qcow2(const char *path)
{
    char magic[4] = "";
    FILE *f = fopen(path, "re");

    if (!f)
        unreadable("%s: %s", path, strerror(errno));
    if (fread(magic, 1, 4, f) != 4)
        magic[0] = '\0';
    fclose(f);
    return memcmp(magic, "QFI\xfb", 4) == 0;
}

/* QEMU's option syntax: a comma in a value is written twice. */
static char *image_options(const char *path)
{
    size_t len = strlen(path) * 2 + 128;
    char *options = malloc(len), *at;

    if (!options)
        unreadable("memory");
    at = options + sprintf(options, "driver=%s,read-only=on,force-share=on,file.driver=file,file.filename=",
                           is_qcow2(path) ? "qcow2" : "raw");
    for (; *path; path++) {
        if (*path == ',')
            *at++ = ',';
        *at++ = *path;
    }
    *at = '\0';
    return options;
}

static struct nbd_handle *image_open(const char *path)
{
    char *options = image_options(path);
    /* Not persistent: it ends with our connection, however we end. */
    char *argv[] = {"qemu-nbd", "--read-only", "--image-opts", options, NULL};
    struct nbd_handle *nbd = nbd_create();

    if (!nbd || nbd_connect_systemd_socket_activation(nbd, argv) < 0)
        unreadable("%s: %s", path, nbd_get_error());
    free(options);
    return nbd;
}

static bool label_read(struct nbd_handle *nbd, Image *image, uint32_t disk)
{
    uint64_t at = record_region(disk);

    if ((uint64_t)nbd_get_size(nbd) < at + RECORD_LEN)
        return false;
    if (nbd_pread(nbd, &image->label, sizeof image->label, at, 0) < 0)
        unreadable("%s: %s", image->path, nbd_get_error());
    return record_label_valid(&image->label);
}

/* A disk in another's place is still readable: it is wrong, not broken. */
static void image_read(Image *image, uint32_t disk)
{
    struct nbd_handle *nbd = image_open(image->path);
    size_t len;

    if (!label_read(nbd, image, disk) && !label_read(nbd, image, disk == 0 ? 1 : 0))
        unreadable("%s: no label of a lab's guest where a disk has it", image->path);
    len = (size_t)image->label.slots * RECORD_LEN;
    image->slots = malloc(len);
    if (!image->slots || nbd_pread(nbd, image->slots, len, record_slot_offset(image->label.disk, 0), 0) < 0)
        unreadable("%s: %s", image->path, nbd_get_error());
    nbd_shutdown(nbd, 0);
    nbd_close(nbd);
}

static void __attribute__((format(printf, 2, 3))) wrong(Check *c, const char *format, ...)
{
    va_list ap;

    if (c->why[0])
        return;
    va_start(ap, format);
    vsnprintf(c->why, sizeof c->why, format, ap);
    va_end(ap);
}

/* The set belongs together: every disk of one guest, each in its place. */
static void labels_compare(Check *c)
{
    const RecordLabel *first = &c->images[0].label;

    if (first->disks != (uint32_t)c->n)
        unreadable("the guest has %u disks, %d images were given", first->disks, c->n);
    for (int i = 0; i < c->n; i++) {
        const RecordLabel *label = &c->images[i].label;

        if (memcmp(label->guest, first->guest, 16) != 0)
            wrong(c, "image %d is another guest's", i);
        else if (label->disk != (uint32_t)i)
            wrong(c, "image %d is disk %u", i, label->disk);
    }
}

static void newest_find(Check *c)
{
    for (int i = 0; i < c->n; i++) {
        Image *image = &c->images[i];

        for (uint32_t s = 0; s < image->label.slots; s++) {
            const Record *r = &image->slots[s];

            if (!record_valid(r, &image->label) || r->sequence <= image->newest)
                continue;
            image->newest = r->sequence;
            if (r->sequence > c->last) {
                c->last = r->sequence;
                c->last_boot = r->boot;
            }
        }
    }
}

static bool block_is_zero(const void *block)
{
    static const char zero[RECORD_LEN];

    return memcmp(block, zero, RECORD_LEN) == 0;
}

static void slot_check(Check *c, uint32_t disk, uint32_t slot)
{
    const Image *image = &c->images[disk];
    const Record *r = &image->slots[slot];
    uint64_t expected = record_expected(&image->label, c->last, disk, slot), next = c->last + 1;
    bool whole = record_valid(r, &image->label);

    /* The one that was being written at the moment may be there in part. */
    if (!whole && record_disk(&image->label, next) == disk && record_slot(&image->label, next) == slot)
        return;
    if (expected == 0 && !block_is_zero(r))
        wrong(c, "disk %u slot %u was never written by the guest and is not empty", disk, slot);
    else if (expected != 0 && !whole)
        wrong(c, "disk %u lacks record %" PRIu64 ": its slot holds no whole record", disk, expected);
    else if (expected != 0 && r->sequence != expected)
        wrong(c, "disk %u lacks record %" PRIu64 ": its slot holds %" PRIu64, disk, expected, r->sequence);
}

/* When a receiver heard of the newest record; 0 if none did. */
static uint64_t stamp_find(const Check *c, const char *path)
{
    FILE *f = fopen(path, "re");
    uint64_t sequence, at_ns, boot, found = 0;

    if (!f)
        return 0;
    while (!found && fscanf(f, "%" SCNu64 " %" SCNu64 " %" SCNx64, &sequence, &at_ns, &boot) == 3)
        if (sequence == c->last && boot == c->last_boot)
            found = at_ns;
    fclose(f);
    return found;
}

static void report(const Check *c, uint64_t at_ns)
{
    time_t seconds = (time_t)(at_ns / 1000000000u);
    char at[32];

    printf("{\"last\": %" PRIu64 ", \"prefix\": %s, \"disks\": [", c->last, c->why[0] ? "false" : "true");
    for (int i = 0; i < c->n; i++)
        printf("%s%" PRIu64, i ? ", " : "", c->images[i].newest);
    strftime(at, sizeof at, "%FT%T", gmtime(&seconds));
    if (at_ns)
        printf("], \"at\": \"%s.%03uZ\"", at, (unsigned)(at_ns / 1000000u % 1000u));
    else
        printf("], \"at\": null");
    if (c->why[0])
        printf(", \"why\": \"%s\"}\n", c->why);
    else
        printf(", \"why\": null}\n");
}

int main(int argc, char **argv)
{
    Check c = {.n = 0};
    uint64_t at_ns = 0;
    int first = 1;

    while (first + 1 < argc && strcmp(argv[first], "--stamps") == 0)
        first += 2;
    if (first >= argc || argc - first > IMAGES_MAX) {
        fprintf(stderr, "usage: check [--stamps FILE]… IMAGE…\n");
        return 2;
    }
    for (int i = first; i < argc; i++, c.n++) {
        c.images[c.n].path = argv[i];
        image_read(&c.images[c.n], (uint32_t)c.n);
    }
    labels_compare(&c);
    newest_find(&c);
    for (uint32_t disk = 0; !c.why[0] && disk < (uint32_t)c.n; disk++)
        for (uint32_t slot = 0; slot < c.images[disk].label.slots; slot++)
            slot_check(&c, disk, slot);
    for (int i = 2; i < first && !at_ns; i += 2)
        at_ns = stamp_find(&c, argv[i]);
    report(&c, at_ns);
    return c.why[0] ? 1 : 0;
}
