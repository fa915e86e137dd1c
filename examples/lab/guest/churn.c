/* SPDX-License-Identifier: Apache-2.0 */
/* churn - runs in the guest: random small writes, and what they cost it.
 *
 * Usage: churn [--disk DEV] [--from MIB] [--mib N] [--seconds S] [--rate R]
 * Writes of 4 KiB with O_DIRECT|O_DSYNC at random places of the N MiB that
 * begin at MIB of the disk, R a second (0: as fast as the disk says yes), and
 * prints one line of JSON: writes, seconds, rate, p50_ms, p99_ms, max_ms. The
 * default place is behind the records of the last disk, or of the first. */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LATENCIES_MAX (1u << 20)

typedef struct {
    const char *disk;
    uint64_t from_mib, mib;
    double seconds, rate;
} Wish;

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static double ms_at(const uint32_t *us, uint32_t n, double part)
{
    return n ? us[(uint32_t)((n - 1) * part)] / 1000.0 : 0;
}

static void pace(const Wish *wish, uint64_t begun_ns, uint64_t writes)
{
    uint64_t due_ns = begun_ns + (uint64_t)((double)writes * 1e9 / wish->rate);
    struct timespec t = {.tv_sec = (time_t)(due_ns / 1000000000u), .tv_nsec = (long)(due_ns % 1000000000u)};

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static int churn(const Wish *wish, int fd, uint64_t *block, uint32_t *us)
{
    uint64_t begun = now_ns(), end = begun + (uint64_t)(wish->seconds * 1e9), state = begun | 1, writes = 0;
    uint64_t now = begun;
    uint32_t n;

    for (; now < end; writes++) {
        off_t at = (off_t)((wish->from_mib << 20) + random_next(&state) % (wish->mib << 8) * RECORD_LEN);
        uint64_t asked = now_ns();

        for (unsigned i = 0; i < RECORD_LEN / 8; i++)
            block[i] = random_next(&state);
        if (pwrite(fd, block, RECORD_LEN, at) != RECORD_LEN) {
            fprintf(stderr, "churn: %s: %s\n", wish->disk, strerror(errno));
            return 1;
        }
        now = now_ns();
        us[writes % LATENCIES_MAX] = (uint32_t)((now - asked) / 1000);
        if (wish->rate > 0)
            pace(wish, begun, writes + 1);
    }
    n = writes < LATENCIES_MAX ? (uint32_t)writes : LATENCIES_MAX;
    qsort(us, n, sizeof *us, by_size);
    printf("{\"writes\": %llu, \"seconds\": %.3f, \"rate\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"max_ms\": %.3f}\n",
           (unsigned long long)writes, (double)(now - begun) / 1e9,
           (double)writes * 1e9 / (double)(now - begun), ms_at(us, n, 0.5), ms_at(us, n, 0.99),
           ms_at(us, n, 1));
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"disk", 1, NULL, 'd'},    {"from", 1, NULL, 'f'},
                                            {"mib", 1, NULL, 'm'},     {"rate", 1, NULL, 'r'},
                                            {"seconds", 1, NULL, 's'}, {0}};
    Wish wish = {.disk = access("/dev/vdb", F_OK) == 0 ? "/dev/vdb" : "/dev/vda",
                 .from_mib = 96,
                 .mib = 64,
                 .seconds = 10};
    uint32_t *us = malloc(LATENCIES_MAX * sizeof *us);
    uint64_t *block = aligned_alloc(RECORD_LEN, RECORD_LEN);
    int fd, option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (option) {
        case 'd':
            wish.disk = optarg;
            break;
        case 'f':
            wish.from_mib = strtoull(optarg, NULL, 10);
            break;
        case 'm':
            wish.mib = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            wish.rate = strtod(optarg, NULL);
            break;
        case 's':
            wish.seconds = strtod(optarg, NULL);
            break;
        default:
            return 2;
        }
    fd = open(wish.disk, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (fd < 0 || !us || !block || wish.mib == 0) {
        fprintf(stderr, "churn: %s: %s\n", wish.disk, strerror(errno));
        return 1;
    }
    return churn(&wish, fd, block, us);
}
