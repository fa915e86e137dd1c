/* SPDX-License-Identifier: Apache-2.0 */
/* Between the sentry's halves: sentry.c has sockets and the loop, sentry_care.c the wards. */
#pragma once

#include "vmconnect/guard/sentry.h"
#include "vmconnect/guard/shutter.h"
#include "vmconnect/guard/ward.h"
#include "vmconnect/guard/watchdog.h"
#include "vmconnect/loop/supervisor.h"

#include <sys/types.h>

typedef struct {
    int fd;
    guint64 words; /* that it knows, if it is an engine; 0: not said */
} Client;

typedef struct {
    dev_t dev;
    ino_t ino;
} Place;

struct Sentry {
    char *folder;
    char *roll_path;
    char *socket_path;
    char *boot_id;
    Shutter *shutter;
    Watchdog *watchdog; /* NULL: none is used */
    GPtrArray *wards;   /* Ward */
    GArray *clients;    /* Client */
    GArray *requests;   /* Request: heard and not yet answered */
    int listener;
    Place folder_at, socket_at; /* where that listens, by more than its name */
    gint64 look_ms;             /* CLOCK_BOOTTIME: when it is looked whether that is there still */
    int timer;                  /* timerfd of CLOCK_BOOTTIME */
    int signals;                /* signalfd */
    gboolean has_table;         /* it stood when we last looked */
    gint64
        leave_ms; /* CLOCK_BOOTTIME: it has been told to end, and does so then at the latest; 0: it was not */
    gboolean is_ending;
    Supervisor *supervisor;
    gint64 beat_ms; /* CLOCK_BOOTTIME: when that is to hear that this process does not hang */
    /* Told once, until it works again. */
    gboolean roll_fails;
    gboolean lay_fails;
    gboolean listen_fails;
};

typedef struct {
    int client;
    Word word;
    int fd; /* of the word's process; -1: none */
    /* While it is carried out. */
    Ward *ward;
    Ward before;
    gboolean is_new;
    GError *error; /* it is refused */
} Request;

/* To everybody who is connected. */
void sentry_tell(Sentry *s, const Word *w);
void sentry_answer(Sentry *s, int client, const Word *w);
/* @client is an engine, and knows these. */
void sentry_know(Sentry *s, int client, guint64 words);

void care_begin(Sentry *s);
/* The roll is gone, and written anew. */
void care_write(Sentry *s);
/* Carry out and answer all requests. */
void care_serve(Sentry *s);
/* A lease has ended before anything was done about it: by then the kernel holds the frames, and that lease may have been renewed, or be needed no
 * more. */
gboolean care_was_held_up(const Sentry *s);
/* Do what the clocks and the processes demand now. */
void care_walk(Sentry *s);
gboolean care_is_enforced(const Sentry *s);
/* Nothing follows. Where no guest needs a lease nothing is left in the kernel. */
void care_end(Sentry *s);
/* -1: for ever. */
gint64 care_wait_ms(const Sentry *s);
