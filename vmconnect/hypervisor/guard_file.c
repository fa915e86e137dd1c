/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/guard_file.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/machine.h"
#include "vmconnect/base/place.h"
#include "vmconnect/base/sealed.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What is written. 1 named the machine alone, not the file. */
#define GUARD_FORMAT 2
#define PERMIT_FORMAT 1

static char *read_small(const char *path, gsize *ret_len, char **ret_place, GError **error)
{
    return sealed_read(path, GUARD_MAX_BYTES, ret_len, ret_place, error);
}

static char *path_of(const char *folder, Id vm)
{
    return g_strconcat(folder, "/", ID_TEXT(vm), NULL);
}

void guard_free(Guard *g)
{
    if (!g)
        return;
    g_free(g->scenario);
    pivot_free(g->pivot);
    g_free(g);
}

char *guard_encode(const Guard *g, const char *place)
{
    return sealed_text(
        "guard", GUARD_FORMAT,
        json_pack("{s:s, s:s, s:o, s:s, s:b, s:b, s:o*, s:s}", "vm", ID_TEXT(g->vm), "scenario", g->scenario,
                  "reign", reign_to_json(g->reign), "role", g->role == GUARD_ACTIVE ? "active" : "standby",
                  "journal_open", g->journal_open, "autostart", g->autostart, "pivot",
                  g->pivot ? pivot_to_json(g->pivot) : NULL, "place", g->elsewhere ? "" : place));
}

static gboolean role_parse(const char *text, GuardRole *ret_role)
{
    if (strcmp(text, "active") == 0)
        *ret_role = GUARD_ACTIVE;
    else if (strcmp(text, "standby") == 0)
        *ret_role = GUARD_STANDBY;
    else
        return FALSE;
    return TRUE;
}

/* In which file was it written? NULL @place: in format 1, on @machine. */
static gboolean is_elsewhere(const char *place, const char *machine, const char *here)
{
    g_autofree char *this_machine = machine_id();

    return place ? !g_str_equal(place, here) : !g_str_equal(machine, this_machine);
}

static gboolean guard_unpack(Guard *g, const json_t *doc, const char *here, GError **error)
{
    const char *vm;
    const char *scenario;
    const char *role;
    json_t *reign, *pivot = NULL;
    int journal_open;
    int autostart;
    const char *place = NULL, *machine = NULL;

    if (!json_read(doc, "guard file", error, "{s:s, s:s, s:o, s:s, s:b, s:b, s?o, s?s, s?s}", "vm", &vm,
                   "scenario", &scenario, "reign", &reign, "role", &role, "journal_open", &journal_open,
                   "autostart", &autostart, "pivot", &pivot, "place", &place, "machine", &machine) ||
        !id_parse(vm, &g->vm, error) || !reign_from_json(reign, &g->reign, error))
        return FALSE;
    if (!role_parse(role, &g->role))
        return sealed_corrupt(error, "an unknown role");
    if (!place && !machine)
        return sealed_corrupt(error, "it does not say where it was written");
    if (pivot && !(g->pivot = pivot_from_json(pivot, error)))
        return FALSE;
    g->scenario = g_strdup(scenario);
    g->journal_open = journal_open != 0;
    g->autostart = autostart != 0;
    g->elsewhere = is_elsewhere(place, machine, here);
    return TRUE;
}

Guard *guard_decode(const char *text, gsize len, const char *place, GError **error)
{
    g_autoptr(Guard) g = g_new0(Guard, 1);
    g_autoptr(GError) why = NULL;
    json_auto_t *doc = sealed_parse("guard", GUARD_FORMAT, text, len, GUARD_MAX_BYTES, &why);

    if (doc && guard_unpack(g, doc, place, &why))
        return g_steal_pointer(&g);
    /* A right sum over a wrong document is a fault of ours, and as unusable. */
    if (!g_error_matches(why, US_ERROR,
                         US_ERROR_UNSUPPORTED)) // NOLINT(clang-analyzer-unix.Malloc): g_autoptr
        why->code = US_ERROR_CORRUPT;
    g_propagate_error(error, g_steal_pointer(&why));
    return NULL;
}

/* The worker of a VM, its keeper and the engine's clerk may all have something to write, and the keeper something to do that it must
 * stay true for. Of each VM, or the disk of one would be waited for by all. */
static GMutex writing[64];

static GMutex *lock_of(Id vm)
{
    return &writing[id_hash(&vm) % G_N_ELEMENTS(writing)];
}

/* As it will lie in the file @fd. */
static char *text_for(int fd, const Guard *g, GError **error)
{
    g_autofree char *place = place_of(fd, "", error);
    g_autofree char *text = place ? guard_encode(g, place) : NULL;

    if (text && strlen(text) > GUARD_MAX_BYTES) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "the scenario's name is too long for a guard file");
        return NULL;
    }
    return g_steal_pointer(&text);
}

static char *kept_of(const char *path)
{
    return g_strconcat(path, ".format1", NULL);
}

/* What replaces it is read by no version of before; durable with that. */
static gboolean keep_older(const char *path, GError **error)
{
    g_autofree char *kept = kept_of(path);
    gsize len = 0;
    g_autofree char *text = read_small(path, &len, NULL, NULL);

    if (!text || !g_str_has_prefix(text, "understudy-guard 1 ") || link(path, kept) == 0 || errno == EEXIST)
        return TRUE;
    return us_error_errno(error, errno, "cannot keep a copy of %s, which is of an older format", path);
}

static gboolean write_file(const char *folder, const Guard *g, GError **error)
{
    g_autofree char *path = path_of(folder, g->vm);
    int fd = durable_mkdir(folder, 0700, error) && keep_older(path, error)
                 ? durable_replace_begin(path, 0600, error)
                 : -1;
    g_autofree char *text = fd >= 0 ? text_for(fd, g, error) : NULL;

    if (text)
        return durable_replace_end(path, fd, text, strlen(text), error);
    if (fd >= 0)
        close(fd);
    return FALSE;
}

gboolean guard_write(const char *folder, const Guard *g, GError **error)
{
    g_autoptr(Guard) before = NULL;
    Guard guard = *g;
    gboolean ok;

    g_mutex_lock(lock_of(g->vm));
    before = guard_read(folder, g->vm, NULL);
    guard.pivot = before ? before->pivot : NULL;
    guard.elsewhere = FALSE;
    ok = write_file(folder, &guard, error);
    g_mutex_unlock(lock_of(g->vm));
    return ok;
}

static gboolean set_pivot(const char *folder, const Guard *seen, const Pivot *pivot, GError **error)
{
    g_autoptr(Guard) now = guard_read(folder, seen->vm, error);
    Guard guard;

    if (!now)
        return FALSE;
    if (now->role != seen->role || !reign_equal(now->reign, seen->reign)) {
        g_set_error(error, US_ERROR, US_ERROR_OVERTAKEN, "another reign of this VM has begun meanwhile");
        return FALSE;
    }
    guard = *now;
    guard.pivot = (Pivot *)pivot;
    return write_file(folder, &guard, error);
}

gboolean guard_set_pivot(const char *folder, const Guard *seen, const Pivot *pivot, GError **error)
{
    gboolean ok;

    g_mutex_lock(lock_of(seen->vm));
    ok = set_pivot(folder, seen, pivot, error);
    g_mutex_unlock(lock_of(seen->vm));
    return ok;
}

gboolean guard_remove(const char *folder, Id vm, GError **error)
{
    g_autofree char *path = path_of(folder, vm);
    g_autofree char *kept = kept_of(path);
    gboolean ok;

    g_mutex_lock(lock_of(vm));
    ok = durable_remove(kept, error) && durable_remove(path, error);
    g_mutex_unlock(lock_of(vm));
    return ok;
}

void guard_hold(Id vm)
{
    g_mutex_lock(lock_of(vm));
}

void guard_let_go(Id vm)
{
    g_mutex_unlock(lock_of(vm));
}

Guard *guard_read(const char *folder, Id vm, GError **error)
{
    g_autofree char *path = path_of(folder, vm);
    g_autofree char *place = NULL;
    gsize len = 0;
    g_autofree char *text = read_small(path, &len, &place, error);
    g_autoptr(Guard) g = text ? guard_decode(text, len, place, error) : NULL;

    if (text && !g)
        g_prefix_error(
            error,
            "%s, by which this host knows whether the VM may run here, is of no use, and nothing is started, "
            "replicated or received for it; if it is certain where it runs, remove that file and restart "
            "understudy-engine: ",
            path);
    if (g && !id_equal(g->vm, vm)) {
        g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "%s speaks of another VM, %s", path, ID_TEXT(g->vm));
        return NULL;
    }
    return g_steal_pointer(&g);
}

gboolean guard_expect_own(const Guard *g, const char *so, GError **error)
{
    if (g->elsewhere)
        g_set_error(error, US_ERROR, US_ERROR_REFUSED, GUARD_COPIED ": %s", so);
    return !g->elsewhere;
}

/* What else lies in the folder (PATH.new of a crash) is not ours to judge. */
GArray *guard_ids(const char *folder, GError **error)
{
    GArray *ids = g_array_new(FALSE, FALSE, sizeof(Id));
    g_autoptr(GError) why = NULL;
    g_autoptr(GDir) dir = g_dir_open(folder, 0, &why);
    const char *name;
    Id id;

    if (!dir && !g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
        g_set_error(error, US_ERROR, US_ERROR_IO, "%s", why->message);
        g_array_unref(ids);
        return NULL;
    }
    while (dir && (name = g_dir_read_name(dir)))
        if (id_parse(name, &id, NULL))
            g_array_append_val(ids, id);
    return ids;
}

GPtrArray *guard_list(const char *folder, GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)guard_free);
    g_autoptr(GArray) ids = guard_ids(folder, error);

    if (!ids)
        return NULL;
    for (guint i = 0; i < ids->len; i++) {
        Guard *g = guard_read(folder, g_array_index(ids, Id, i), error);

        if (!g)
            return NULL;
        g_ptr_array_add(list, g);
    }
    return g_steal_pointer(&list);
}

gboolean guard_any(const char *folder)
{
    g_autoptr(GArray) ids = guard_ids(folder, NULL);

    return !ids || ids->len > 0;
}

gboolean permit_write(const char *folder, Id vm, Reign reign, Id boot_id, GError **error)
{
    g_autofree char *path = path_of(folder, vm);
    g_autofree char *text = sealed_text("permit", PERMIT_FORMAT,
                                        json_pack("{s:s, s:s, s:o}", "vm", ID_TEXT(vm), "boot",
                                                  ID_TEXT(boot_id), "reign", reign_to_json(reign)));

    return durable_mkdir(folder, 0700, error) && durable_replace(path, text, strlen(text), 0600, error);
}

gboolean permit_remove(const char *folder, Id vm, GError **error)
{
    g_autofree char *path = path_of(folder, vm);

    return durable_remove(path, error);
}

gboolean permit_check(const char *folder, Id vm, Reign reign, Id boot_id, GError **error)
{
    g_autofree char *path = path_of(folder, vm);
    gsize len = 0;
    g_autofree char *text = read_small(path, &len, NULL, error);
    json_auto_t *doc = text ? sealed_parse("permit", PERMIT_FORMAT, text, len, GUARD_MAX_BYTES, error) : NULL;
    const char *vm_text;
    const char *boot_text;
    json_t *reign_doc;
    Id its_vm;
    Id its_boot;
    Reign its_reign;

    if (!doc ||
        !json_read(doc, "permit", error, "{s:s, s:s, s:o}", "vm", &vm_text, "boot", &boot_text, "reign",
                   &reign_doc) ||
        !id_parse(vm_text, &its_vm, error) || !id_parse(boot_text, &its_boot, error) ||
        !reign_from_json(reign_doc, &its_reign, error))
        return FALSE;
    if (id_equal(its_vm, vm) && id_equal(its_boot, boot_id) && reign_equal(its_reign, reign))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED, "the permit is of another boot or reign");
    return FALSE;
}

gboolean permit_grant(const char *folder, Id vm, Reign reign, GError **error)
{
    Id boot_id;

    return machine_boot_id(&boot_id, error) && permit_write(folder, vm, reign, boot_id, error);
}
