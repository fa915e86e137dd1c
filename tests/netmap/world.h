/* SPDX-License-Identifier: Apache-2.0 */
/* world - two made-up hosts, alpha and beta, and the mapping between them, for the tests of netmap. */
#pragma once

#include "netmap/isolate.h"
#include "netmap/translate.h"

#define ALPHA_ID "11111111-1111-4111-8111-111111111111"
#define BETA_ID "22222222-2222-4222-8222-222222222222"

Host *world_alpha(void);
Host *world_beta(void);
Mapping *world_mapping(void);

/* Chains of files for every writable disk of a definition, as a replica has them. */
typedef struct {
    GArray *disks;     /* of TranslateDisk */
    GPtrArray *chains; /* of char **, which it owns */
    char *nvram;       /* NULL: it has no variable store */
} WorldDisks;

WorldDisks *world_disks(const char *definition);
void world_disks_free(WorldDisks *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WorldDisks, world_disks_free)

/* From alpha to beta; borrowed from the arguments. */
TranslateInput world_there(const Host *beta, const Mapping *mapping, const WorldDisks *disks);
/* And back. */
TranslateInput world_back(const Host *alpha, const Mapping *mapping, const WorldDisks *disks);

/* Names of the golden definitions, sorted (of char *); the text of one: NAME and END (".in.xml"), or NULL. */
GPtrArray *world_golden(void);
char *world_read(const char *name, const char *end);

/* The same definition, but for order, and for the files of its disks. */
void world_expect_same(const char *got, const char *wanted);

/* An integrity test of VM_ID on beta; its overlays lie where world_disks() has them. */
#define VM_ID "6e6ab37a-3ec0-4a5b-9c65-9a7a4a4d3c11"
#define TEST_ID "33333333-3333-4333-8333-333333333333"
IsolateInput world_isolation(void);
