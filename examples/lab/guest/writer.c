/* SPDX-License-Identifier: Apache-2.0 */
/* writer - runs in the guest: record after record, each to the next disk.
 *
 * Usage: writer DISK…   (vda first; those without a label are somebody else's)
 * A record is acknowledged to the receiver on the network only when the disk
 * has said yes to it; whether anybody hears that does not concern the writer.
 * Its numbers go on from the newest record found on the disks, so that a guest
 * started from a copy continues what the copy holds.
 *
 * /run/rate      records a second, 0 as fast as the disks say yes
 * /run/receiver  address of the receiver, written when the network is up
 * SIGTERM        end after the record under way */
#include "record.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DISKS_MAX 16
#define SCAN_SLOTS 64u

typedef struct {
    int fds[DISKS_MAX];
    RecordLabel label;
    Record *block;
    uint64_t boot;
    uint64_t sequence; /* newest on the disks */
    int socket;
    struct sockaddr_in receiver;
    double rate;
} Writer;

static volatile sig_atomic_t ended;

static void on_term(int number)
{
    (void)number;
    ended = 1;
}

static void die(const char *what)
{
    fprintf(stderr, "writer: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void *blocks_new(size_t n)
{
    void *blocks = aligned_alloc(RECORD_LEN, n * RECORD_LEN);

    if (!blocks)
        die("memory");
    return blocks;
}

/* O_DIRECT: a yes from the disk, not from the page cache. FALSE: it bears no label, so a test has added it. */
static bool disk_open(Writer *w, uint32_t i, const char *path)
{
    w->fds[i] = open(path, O_RDWR | O_DIRECT | O_SYNC | O_CLOEXEC);
    if (w->fds[i] < 0)
        die(path);
    if (pread(w->fds[i], w->block, RECORD_LEN, (off_t)record_region(i)) != RECORD_LEN)
        die("reading a label");
    memcpy(&w->label, w->block, sizeof w->label);
    if (record_label_valid(&w->label) && w->label.disk == i)
        return true;
    close(w->fds[i]);
    return false;
}

static void disks_open(Writer *w, int n, char **paths)
{
    RecordLabel label = {0};
    uint32_t found = 0;

    for (int i = 0; i < n; i++)
        if (disk_open(w, found, paths[i])) {
            label = w->label;
            found++;
        }
    w->label = label;
    if (found == 0 || label.disks != found) {
        fprintf(stderr, "writer: %u of the %u disks of this guest are there\n", found, label.disks);
        exit(1);
    }
}

static void newest_find(Writer *w)
{
    Record *part = blocks_new(SCAN_SLOTS);

    for (uint32_t disk = 0; disk < w->label.disks; disk++)
        for (uint32_t slot = 0; slot < w->label.slots; slot += SCAN_SLOTS) {
            if (pread(w->fds[disk], part, SCAN_SLOTS * RECORD_LEN, (off_t)record_slot_offset(disk, slot)) < 0)
                die("reading records");
            for (uint32_t i = 0; i < SCAN_SLOTS; i++)
                if (part[i].sequence > w->sequence && record_valid(&part[i], &w->label))
                    w->sequence = part[i].sequence;
        }
    free(part);
}

/* Both may come and change at any time: the network later than the writer, the
 * rate by a test's wish. */
static void settings_read(Writer *w)
{
    char text[64] = "";
    FILE *f;

    f = fopen("/run/rate", "re");
    if (f) {
        if (fgets(text, sizeof text, f))
            w->rate = strtod(text, NULL);
        fclose(f);
    }
    f = fopen("/run/receiver", "re");
    if (f) {
        if (fgets(text, sizeof text, f)) {
            text[strcspn(text, "\n")] = '\0';
            inet_pton(AF_INET, text, &w->receiver.sin_addr);
        }
        fclose(f);
    }
}

static void record_write(Writer *w)
{
    uint64_t next = w->sequence + 1;
    uint32_t disk = record_disk(&w->label, next);
    off_t at = (off_t)record_slot_offset(disk, record_slot(&w->label, next));
    RecordAck ack;

    record_make(w->block, &w->label, next, w->boot, now_ns(CLOCK_REALTIME));
    if (pwrite(w->fds[disk], w->block, RECORD_LEN, at) != RECORD_LEN)
        die("writing a record");
    w->sequence = next;
    record_ack_make(&ack, w->block);
    (void)!sendto(w->socket, &ack, sizeof ack, MSG_DONTWAIT, (struct sockaddr *)&w->receiver,
                  sizeof w->receiver);
}

static void pause_until(uint64_t due_ns)
{
    struct timespec t = {.tv_sec = (time_t)(due_ns / 1000000000u), .tv_nsec = (long)(due_ns % 1000000000u)};

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void writer_run(Writer *w)
{
    uint64_t due_ns = now_ns(CLOCK_MONOTONIC), settings_ns = 0;

    while (!ended) {
        uint64_t now = now_ns(CLOCK_MONOTONIC);

        if (now >= settings_ns) {
            settings_read(w);
            settings_ns = now + 250000000u;
        }
        record_write(w);
        if (w->rate <= 0)
            continue;
        /* A slow disk does not make up for lost time afterwards. */
        due_ns += (uint64_t)(1e9 / w->rate);
        if (due_ns < now)
            due_ns = now;
        pause_until(due_ns);
    }
}

int main(int argc, char **argv)
{
    struct sigaction term = {.sa_handler = on_term};
    Writer w = {.receiver = {.sin_family = AF_INET, .sin_port = htons(RECORD_PORT)}, .rate = 20};

    if (argc < 2 || argc - 1 > DISKS_MAX) {
        fprintf(stderr, "usage: writer DISK…\n");
        return 2;
    }
    sigaction(SIGTERM, &term, NULL);
    w.block = blocks_new(1);
    disks_open(&w, argc - 1, argv + 1);
    newest_find(&w);
    /* Different for each start is enough, and the pool of a young guest fills slowly. */
    if (getrandom(&w.boot, sizeof w.boot, GRND_INSECURE) != sizeof w.boot)
        die("random numbers");
    w.boot ^= now_ns(CLOCK_REALTIME);
    w.socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    printf("writer: goes on after record %llu\n", (unsigned long long)w.sequence);
    fflush(stdout);
    writer_run(&w);
    return 0;
}
