/* SPDX-License-Identifier: Apache-2.0 */
/* vote_file - what a party has promised about each VM, kept so that it holds.
 *
 * A standby's engine, an active's and the controller have one each: a file of its own, in no database and no backup's list. It names its machine and
 * itself (place.h): one that is missing, was copied or was put back has forgotten promises, and its party is mute until it has heard
 * every engine (voter.h). The records are in memory here; what is to be durable goes out as a document, because the loop must not wait for a
 * disk: whoever changes a record answers nobody before vote_file_write() of that change has returned. A record stays when its VM is not protected
 * any more: what was promised is promised, and an active that was cut off may still ask. */
#pragma once

#include "orchestrator/core/lease/voter.h"

#include <jansson.h>

typedef struct {
    VoterRecord voter;
    gboolean mute; /* that may have been forgotten: found in a copy, and not everybody has been heard since */
    Reign own;     /* the last reign that was this party's own (holder.h), if it ever armed one … */
    guint64 arm;   /* … and that one's arm */
} VoteRecord;

typedef struct VoteFile VoteFile;

/* What is not there has forgotten its promises: it is an empty one, and a copy. So is what cannot be read (damaged, of a newer version): that is
 * kept under another name, PATH.unreadable-TIME, and the log says so. Blocking. */
VoteFile *vote_file_read(const char *path);
/* Of a text, which ends with a NUL beyond @len, that was found in @place. NULL with @error: CORRUPT, UNSUPPORTED. */
VoteFile *vote_file_parse(const char *text, gsize len, const char *place, GError **error);
void vote_file_free(VoteFile *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VoteFile, vote_file_free)

/* Then all its records are mute, and written as that. */
gboolean vote_file_is_copy(const VoteFile *f);

/* Of its party's own promises; 0: it has never spoken. */
guint64 vote_file_incarnation(const VoteFile *f);
/* It never falls. */
void vote_file_set_incarnation(VoteFile *f, guint64 incarnation);

/* Of all records: Id. The caller unrefs. */
GArray *vote_file_vms(const VoteFile *f);
/* Borrowed until the record changes; NULL: nothing was ever promised of that VM. */
const VoteRecord *vote_file_find(const VoteFile *f, Id vm);
void vote_file_set(VoteFile *f, Id vm, const VoteRecord *record);

/* What it is now; new reference. */
json_t *vote_file_document(const VoteFile *f);
/* Durable when it returns TRUE, and no copy any more. Takes @document. Blocking. */
gboolean vote_file_write(const char *path, json_t *document, GError **error);
