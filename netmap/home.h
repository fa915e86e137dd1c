/* SPDX-License-Identifier: Apache-2.0 */
/* home - what a definition was like on the host it comes from, kept inside itself.
 *
 * What is changed or left behind for another host, and cannot be read back from a mapping, goes into
 * <metadata> under a namespace of our own. When the definition is rewritten for that host again it is put
 * back, wherever its device is still there and still as it was made. Nothing of it is a secret.
 *
 *   <understudy:home xmlns:understudy="urn:understudy:1">
 *     <understudy:kept host="…" in="devices/disk" key="sda" name="source"><source file="/x.iso"/></understudy:kept>
 *     <understudy:kept host="…" in="devices/graphics" key="vnc" attribute="listen" value="192.0.2.1"/>
 *     <understudy:kept host="…" in="devices"><hostdev …/></understudy:kept>
 *     <understudy:kept host="…" in="devices/interface" key="52:54:00:12:34:56" place="office" type="bridge">
 *       <mac address="…"/><source bridge="br0"/></understudy:kept>
 *   </understudy:home>
 *
 * Each entry is of one host; who went through several finds on each what it had there.
 */
#pragma once

#include "netmap/xml.h"

#define HOME_NAMESPACE "urn:understudy:1"

typedef struct {
    xmlNode *root;
    const char *from;     /* borrowed; NULL: not known */
    xmlNode *kept;        /* the element that takes what is kept; NULL: nothing is kept */
    gboolean arrived;     /* it had been at @to before */
    GHashTable *restored; /* set of xmlNode *: devices that were put back, or a part of them */
} Home;

/* A definition goes from host @from to host @to; NULL: not known which. What is kept of @to is put back, and
 * nothing of that is left. */
void home_open(Home *h, xmlNode *root, const char *from, const char *to);
/* Nothing was kept: nothing is left behind. */
void home_close(Home *h);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Home, home_close)

/* Before a change: keep an attribute, all children of that name (none, too). The first time counts. */
void home_keep_attr(Home *h, const xmlNode *element, const char *name);
void home_keep_child(Home *h, const xmlNode *element, const char *name);
/* An element that does not go along: it is taken out of the definition. */
void home_keep_removed(Home *h, xmlNode *element);

/* Before an interface is plugged into another place: all that says where and as what it is; its card, too, if
 * that changes. The entry, or NULL, for … */
xmlNode *home_keep_interface(Home *h, const xmlNode *interface, gboolean card);
/* … after the change: it is put back only if the interface is still in @place. */
void home_kept_in_place(xmlNode *entry, const xmlNode *interface, const char *place);
/* Was that device, or a part of it, put back as it was on this host? */
gboolean home_has_restored(const Home *h, const xmlNode *device);
