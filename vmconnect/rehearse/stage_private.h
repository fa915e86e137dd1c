/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a stage share: its insides, the programs that it runs, and its rules. */
#pragma once

#include "vmconnect/image/process.h"
#include "vmconnect/rehearse/stage.h"

typedef struct {
    char *place;
    guint number; /* b1, p1, ports_1, … */
    int prober_fd;
    char *address; /* the prober's */
    guint prefix;
    gboolean known;   /* what is there in production */
    GStrv dhcp_words; /* the command that answers DHCP; NULL: nobody does */
    Process *dhcp;    /* NULL: none */
} StagePlace;

typedef struct {
    char *tap;
    const StagePlace *place;
} StageTap;

struct Stage {
    int host_fd;
    int bridges_fd;
    gboolean ipv6;             /* this kernel has it */
    GPtrArray *host_addresses; /* char *, as reach_address() writes them */
    GPtrArray *places;         /* StagePlace * */
    GPtrArray *taps;           /* StageTap * */
    guint numbers;             /* given away */
};

/* A new network, which the thread is in then; -1 with @error. Its owner closes it. */
int stage_net_new(gboolean speaks_ipv6, GError **error);
void stage_net_enter(int net_fd);
/* Write what is below /proc/sys/net, of the network that the thread is in. TRUE if this kernel has no such thing. */
gboolean stage_net_set(const char *name, const char *value, GError **error);

/* Commands for `ip`, a line each, in the network @net_fd. */
gboolean stage_ip(int net_fd, const char *commands, GError **error);
/* "/proc/1/fd/2": how `ip` is told of it. The caller frees. */
char *stage_net_path(int net_fd);

/* "02:75:73:00:NN:0W", of the prober, 1, or of who stands for a guest, 2. The caller frees. */
char *stage_mac(const StagePlace *place, guint who);
/* "fd75:7300:0:NN::W", likewise. */
char *stage_address6(const StagePlace *place, guint who);

/* --- stage_rules.c --- */

/* Drop everything. */
gboolean stage_rules_begin(const Stage *stage, GError **error);
/* Let plugged ports of @place talk to each other; the prober's is. */
gboolean stage_rules_add_place(const Stage *stage, const StagePlace *place, GError **error);
gboolean stage_rules_plug(const Stage *stage, const StagePlace *place, const char *port, const char *mac,
                          GError **error);
gboolean stage_rules_unplug(const Stage *stage, const StagePlace *place, const char *port, const char *mac,
                            GError **error);

/* All that nft knows, for the two below. New reference, or NULL with @error. */
json_t *stage_rules_list(const Stage *stage, GError **error);
/* How many frames @port (NULL: all of them) has in @set, and a counter altogether. */
json_int_t stage_rules_frames(const json_t *list, const char *set, const char *port);
json_int_t stage_rules_count(const json_t *list, const char *counter);
