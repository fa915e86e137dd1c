/* SPDX-License-Identifier: Apache-2.0 */
/* isolate_parts - what the files of isolate share. */
#pragma once

#include "netmap/isolate.h"
#include "netmap/xml.h"

typedef struct {
    const IsolateInput *in;
    xmlNode *root;       /* of what is built */
    xmlNode *devices;    /* in it */
    GHashTable *paths;   /* set of char *: what may be named of the host */
    GPtrArray *nics;     /* of IsolatedNic * */
    GPtrArray *left_out; /* of char * */
    gboolean has_serial; /* the VM has a <serial> */
    gboolean has_port;   /* in->console is taken */
} Isolation;

/* Is there a rule for this @path: "domain/os", or from a device's tag on, "disk/target"? */
gboolean isolate_knows(const char *path);
/* Copy what the rules let through of @from, which stands at @path (and is known), to a new last child of @to. */
xmlNode *isolate_copy(xmlNode *to, const xmlNode *from, const char *path);

/* All children of the VM's <devices>. */
gboolean isolate_devices(Isolation *t, const xmlNode *devices, GError **error);
gboolean isolate_disk(Isolation *t, const xmlNode *disk, GError **error);

/* It lies on the host, and is the test's to open. Refuses one that is not absolute. */
gboolean isolate_allow_path(Isolation *t, const char *path, const char *what, GError **error);
void isolate_leave_out(Isolation *t, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* FALSE. @format: the cause; what to do is the same for all. */
gboolean isolate_refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
