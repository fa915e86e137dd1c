/* SPDX-License-Identifier: Apache-2.0 */
/* stand_in - one VM of an integrity test: a copy's point, booted as if it were the VM itself, looked at, and thrown away.
 *
 *   overlays on the point's chain → a transient VM, paused → its cards are plugged into the stage → it runs → does it live?
 *   → a picture, what its console said → it is ended → its disks are looked into → all that it had is removed
 *
 * A thread of its own, since libvirt may take long over each step; it says what it sees as StandInWords. libvirt ends the VM when the
 * thread's connection goes, so that an engine that is killed leaves files and no VM (remains.h). Nothing it does changes the copy. */
#pragma once

#include "vmconnect/base/id.h"
#include "vmconnect/loop/mailbox.h"
#include "vmconnect/rehearse/lookout.h"
#include "vmconnect/rehearse/remains.h"
#include "vmconnect/rehearse/room.h"

#include <glib.h>
#include <jansson.h>

/* A VM of the test, as it was asked for and lent. */
typedef struct {
    Id vm;
    char *name;
    char *from;   /* id of the engine of its active */
    Id as;        /* UUID of the VM that stands in for it */
    char *folder; /* remains_make() */
    json_t *lent; /* as lending_lend() has it */
    char *unlent; /* or why it has nothing to lend: the copy is damaged */
    int agent;    /* its agent answers at home: TRUE it must here, too, FALSE it does not; -1: not known */
    GPtrArray *exams; /* of Exam *: what its operator wants to see of it; NULL: nothing was said */
} StandInSpec;

StandInSpec *stand_in_spec_new(Id vm, const char *name);
void stand_in_spec_free(StandInSpec *spec);

/* What all of one test have in common; borrowed, and outlives them. */
typedef struct {
    const char *libvirt_uri;
    RemainsSite remains;
    Lookout *lookout;
    Room *room;
    int stop_fd;    /* readable: all of them end */
    int all_up_fd;  /* readable: each of them lives, or is over */
    gboolean alone; /* there is one */
    gboolean manual;
    gint64 begun_ms; /* steady: when the test was asked for */
    gint64 boot_ms;  /* so long may a guest take until it lives */
} StandInSite;

/* As it is to be started: made by whoever has the stage, before the thread. */
typedef struct {
    char *xml;
    GPtrArray *nics;     /* of IsolatedNic * */
    GPtrArray *left_out; /* of char * */
    gboolean has_screen;
} StandInPart;

void stand_in_part_clear(StandInPart *part);

/* What a stand-in says. Owned by who has it. */
typedef struct {
    guint index;
    json_t *doc;   /* a VM of `test.result`, as it is now */
    GBytes *png;   /* its picture; NULL: none, or it was told already */
    char *console; /* the same */
    gboolean
        plug; /* it stands there, paused: its cards are to be plugged into the stage, then stand_in_plugged() */
    gboolean up; /* it lives, or need not be waited for any more */
    gboolean ended;
} StandInWord;

void stand_in_word_free(StandInWord *word);

typedef struct StandIn StandIn;

/* @spec and @part are borrowed until stand_in_join(); @since_ms (steady): when it could begin. StandInWords go to @box. NULL with @error: there
 * is no thread or descriptor for it. */
StandIn *stand_in_start(const StandInSite *site, const StandInSpec *spec, const StandInPart *part,
                        guint index, gint64 since_ms, Mailbox *box, GError **error);
/* It may run; or must not, because of @steal_error. Once, from any thread. */
void stand_in_plugged(StandIn *s, GError *steal_error);
/* After its word that it has ended; frees. */
void stand_in_join(StandIn *s);

/* Of one that goes no further: what may be otherwise in a moment, as of a libvirtd that hangs, says nothing of the copy; nor does that
 * somebody here has taken its name. */
const char *stand_in_verdict_of(const GError *error);

/* The document of one that is not begun: yet (@verdict NULL), or ever. New reference. */
json_t *stand_in_unbegun(const StandInSpec *spec, const char *verdict, const char *why);
