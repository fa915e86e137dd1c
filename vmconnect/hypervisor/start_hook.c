/* SPDX-License-Identifier: Apache-2.0 */
/* understudy-start-hook NAME OPERATION SUB-OPERATION EXTRA < definition
 *
 * libvirt runs it as /etc/libvirt/hooks/qemu.d/understudy around the life of
 * every guest and waits for it; see https://libvirt.org/hooks.html. It refuses
 * a start by failing, with its reason on standard error, gives a guest whose lease is enforced to the guard when its
 * QEMU runs, and passes everything else. Nothing goes to standard output: for `migrate` and `restore` that would
 * be a new definition. */
#include "netmap/isolate.h"
#include "netmap/xml.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/machine.h"
#include "vmconnect/guard/word.h"
#include "vmconnect/hypervisor/domain_uuid.h"
#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/hypervisor/guard_judge.h"
#include "vmconnect/hypervisor/qemu_process.h"
#include "vmconnect/hypervisor/start_lease.h"
#include "vmconnect/hypervisor/trial_mark.h"

#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES 16384

/* libvirt would notice only by the lock on its image, and throw its record of the first one away. */
static gboolean expect_first(Id vm, const char *name, GError **error)
{
    g_autoptr(Guard) guard = guard_read(GUARD_FOLDER, vm, NULL);

    return !guard || qemu_process_expect_none(vm, name, error);
}

/* A copy that was to run in isolation may not be started by hand, from a definition that somebody has kept. */
static gboolean expect_engines_own(Id vm, const char *name, GError **error)
{
    g_autofree char *permit = g_build_filename(TEST_PERMIT_FOLDER, ID_TEXT(vm), NULL);

    if (g_access(permit, F_OK) == 0)
        return TRUE;
    g_set_error(
        error, US_ERROR, US_ERROR_REFUSED,
        "Understudy does not let '%s' start: it is the VM of an integrity test, which only its engine "
        "starts: `understudy test start SCENARIO`.",
        name);
    return FALSE;
}

/* All of it, or as much as can be of use. */
static GString *read_definition(void)
{
    GString *text = g_string_sized_new(READ_BYTES);
    char piece[READ_BYTES];
    gssize n;

    while (text->len < XML_BYTES_MAX && (n = read(STDIN_FILENO, piece, sizeof piece)) > 0)
        g_string_append_len(text, piece, n);
    return text;
}

static const StartLease PLACES = {.guard_folder = GUARD_FOLDER,
                                  .lease_file = LEASE_FILE,
                                  .process_folder = QEMU_PROCESS_FOLDER,
                                  .socket = SENTRY_SOCKET};

static gboolean decide(const char *name, GError **error)
{
    g_autoptr(GString) definition = NULL;
    GuardJudge judge = {
        .guard_folder = GUARD_FOLDER, .permit_folder = PERMIT_FOLDER, .lease_file = LEASE_FILE};
    Id vm;

    if (!guard_any(GUARD_FOLDER))
        return TRUE;
    definition = read_definition();
    judge.definition = definition->str;
    judge.definition_len = definition->len;
    if (!domain_uuid_parse(definition->str, definition->len, &vm, error) ||
        !machine_boot_id(&judge.boot_id, error)) {
        g_prefix_error(
            error,
            "Understudy does not let '%s' start, because it cannot tell whether it is protected: ", name);
        return FALSE;
    }
    if (isolate_is_marked(definition->str, definition->len, NULL))
        return expect_engines_own(vm, name, error);
    return guard_judge(&judge, vm, name, error) && expect_first(vm, name, error) &&
           start_lease_expect_guard(&PLACES, vm, name, error);
}

/* QEMU runs. */
static gboolean follow(const char *name, GError **error)
{
    g_autoptr(GString) definition = NULL;
    Id vm;

    if (!guard_any(GUARD_FOLDER))
        return TRUE;
    definition = read_definition();
    if (domain_uuid_parse(definition->str, definition->len, &vm, error))
        return start_lease_give(&PLACES, vm, name, error);
    g_prefix_error(
        error, "Understudy does not let '%s' start, because it cannot tell whether it needs a lease: ", name);
    return FALSE;
}

/* FALSE: it is refused. */
static gboolean pass(const char *operation, const char *name, GError **error)
{
    if (guard_asks(operation))
        return decide(name, error);
    return !guard_follows(operation) || follow(name, error);
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;

    if (argc < 3) {
        fprintf(stderr, "usage: %s NAME OPERATION SUB-OPERATION EXTRA < definition\n", argv[0]);
        return 2;
    }
    if (strcmp(argv[1], TRIAL_NAME) == 0)
        trial_mark_leave(TRIAL_MARK);
    if (pass(argv[2], argv[1], &error))
        return 0;
    fprintf(stderr, "%s\n", error->message);
    return 1;
}
