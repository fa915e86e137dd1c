/* SPDX-License-Identifier: Apache-2.0 */
/* issuer - an authority's key and certificate: makes certificates.
 *
 * Who gets one is decided elsewhere (orchestrator/authority). EC P-256, which
 * browsers take too. A certificate starts a day before it is made, for the
 * sake of clocks that are wrong by hours. */
#pragma once

#include "vmconnect/link/peer.h"

#include <glib.h>

typedef struct Issuer Issuer;

/* A new authority called @name (at most 60 ASCII characters), valid 30 years. */
Issuer *issuer_new(const char *name, GError **error);

/* One file, 0600, a format line, key and certificate in PEM; durable. Blocks on the disk. */
Issuer *issuer_load(const char *path, GError **error);
gboolean issuer_save(const Issuer *issuer, const char *path, GError **error);

void issuer_free(Issuer *issuer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Issuer, issuer_free)

/* The authority's certificate, PEM; borrowed. */
const char *issuer_certificate(const Issuer *issuer);

/* A certificate (PEM; the caller frees) for @public_key (identity_public_key()), naming
 * that peer, for @seconds from now (negative: expired already, for tests). USAGE for a
 * key that is none, or not EC P-256. */
char *issuer_issue_peer(const Issuer *issuer, GBytes *public_key, Role role, Id id, gint64 seconds,
                        GError **error);

/* A certificate of a web server for @hosts (names and IP addresses, NULL at the end; 1 or more).
 * USAGE for one that issuer_may_name() denies. */
char *issuer_issue_hosts(const Issuer *issuer, GBytes *public_key, const char *const *hosts, gint64 seconds,
                         GError **error);

/* Can a web server's certificate name this host? Not every name that a machine may have can. */
gboolean issuer_may_name(const char *host);
