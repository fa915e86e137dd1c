/* SPDX-License-Identifier: Apache-2.0 */
/* translate_parts - what the files of translate share; each takes one kind of thing through a definition. */
#pragma once

#include "netmap/home.h"
#include "netmap/translate.h"

typedef struct {
    const TranslateInput *in;
    xmlNode *root;
    xmlNode *devices;
    char *vm; /* UUID as it stands there, or "" */
    Home home;
    GPtrArray *remarks;
    GHashTable *functions; /* set of char *: PCI functions of the host that are given away */
} Translation;

void translate_disks(Translation *t);
void translate_interfaces(Translation *t);
/* Machine, processor, memory, firmware, emulator. */
void translate_machine(Translation *t);
/* All other devices that stand for something of the host, and labels, pinning, folders. */
void translate_devices(Translation *t);

/* The children of @parent called @name; the current one may be removed. */
#define EACH_CHILD(parent, name, node)                                                               \
    for (xmlNode *node = xml_child(parent, name), *node##_next = node ? xml_next(node) : NULL; node; \
         node = node##_next, node##_next = node ? xml_next(node) : NULL)
