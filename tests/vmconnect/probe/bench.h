/* SPDX-License-Identifier: Apache-2.0 */
/* bench - a loop with a prober on it, and tries whose end is waited for. */
#pragma once

#include "tests/vmconnect/hypervisor/turn.h"
#include "vmconnect/probe/prober.h"

#include <glib.h>
#include <uv.h>

#define PATIENCE_MS 30000 /* fails the test */
#define LONG_MS 25000     /* of a try whose answer must come by itself */
#define SHORT_MS 300      /* of one that is not answered */

#define NO_LIBVIRT "qemu+unix:///system?socket=/nonexistent/sock"

typedef struct {
    uv_loop_t loop;
    Prober *prober;
    char *dir; /* of its scripts */
    gboolean closed;
} Bench;

void bench_open(Bench *bench, const char *libvirt_uri);
/* Until nothing is left on its loop. */
void bench_close(Bench *bench);
/* As g_test_add(), each test with a bench of its own that has no libvirt. */
void bench_add(const char *path, void (*test)(Bench *bench, gconstpointer data));

/* One try, and what came of it. */
typedef struct {
    Bench *bench;
    CheckSpec *spec;
    Probe *probe; /* NULL: it has ended */
    gboolean done;
    guint times;
    ProbeResult result;
    char *why;
} Try;

/* @spec as check_spec_parse() has it. */
void try_begin(Try *t, Bench *bench, const char *spec, Id vm, gint64 timeout_ms);
void try_wait(Try *t);
void try_clear(Try *t);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Try, try_clear)

/* Begun and waited for; @why (NULL: whatever it says) is a part of what must be said. */
void expect(Bench *bench, const char *spec, gint64 timeout_ms, ProbeResult result, const char *why);
void expect_of(Bench *bench, const char *spec, Id vm, gint64 timeout_ms, ProbeResult result, const char *why);
