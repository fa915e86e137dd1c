/* SPDX-License-Identifier: Apache-2.0 */
/* All through virDomainQemuAgentCommand(), because it alone takes a deadline:
 * libvirt's own freeze waits for ever for an agent that died. */
#include "vmconnect/hypervisor/agent.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/id.h"
#include "vmconnect/base/json.h"

#include <libvirt/libvirt-qemu.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX_BYTES (64 << 10)
#define ASK_AGAIN_MS 100
#define HOST_NAME_MAX_BYTES 253 /* RFC 1035 */

/* Its "return" as a new reference. Takes @arguments; NULL: none. */
static json_t *ask_with(virDomainPtr dom, const char *command, json_t *arguments, gint64 timeout_ms,
                        GError **error)
{
    json_auto_t *question = json_pack("{s:s, s:o*}", "execute", command, "arguments", arguments);
    g_autofree char *text = json_text(question);
    char *answer = virDomainQemuAgentCommand(dom, text, (int)((timeout_ms + 999) / 1000), 0);
    json_auto_t *doc = NULL;

    if (!answer) {
        virt_error(error, "the guest agent of '%s' did not do %s", virDomainGetName(dom), command);
        return NULL;
    }
    doc = json_parse(answer, strlen(answer), ANSWER_MAX_BYTES, error);
    free(answer);
    if (doc && !json_object_get(doc, "return"))
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "its answer to %s returns nothing", command);
    else if (doc)
        return json_incref(json_object_get(doc, "return"));
    g_prefix_error(error, "the guest agent of '%s': ", virDomainGetName(dom));
    return NULL;
}

static json_t *ask(virDomainPtr dom, const char *command, gint64 timeout_ms, GError **error)
{
    return ask_with(dom, command, NULL, timeout_ms, error);
}

gboolean agent_ping(virDomainPtr dom, gint64 timeout_ms, GError **error)
{
    json_auto_t *answer = ask(dom, "guest-ping", timeout_ms, error);

    return answer != NULL;
}

static json_t *start_in_guest(virDomainPtr dom, const char *const *argv, gint64 timeout_ms, GError **error)
{
    json_t *args = json_array();

    for (const char *const *word = argv + 1; *word; word++)
        json_array_append_new(args, json_string(*word));
    return ask_with(dom, "guest-exec", json_pack("{s:s, s:o}", "path", argv[0], "arg", args), timeout_ms,
                    error);
}

gboolean agent_run(virDomainPtr dom, const char *const *argv, gint64 timeout_ms, GError **error)
{
    gint64 until_ms = clock_steady_ms() + timeout_ms;
    json_auto_t *started = start_in_guest(dom, argv, timeout_ms, error);
    json_int_t pid = json_integer_value(json_object_get(started, "pid"));

    while (started) {
        int left_ms = clock_left_ms(until_ms);
        json_auto_t *state =
            ask_with(dom, "guest-exec-status", json_pack("{s:I}", "pid", pid), MAX(left_ms, 1), error);
        json_int_t code = json_integer_value(json_object_get(state, "exitcode"));

        if (!state)
            return FALSE;
        if (json_is_true(json_object_get(state, "exited"))) {
            if (code == 0 && !json_object_get(state, "signal"))
                return TRUE;
            g_set_error(error, US_ERROR, US_ERROR_FAILED, "'%s' in the guest ended with %d", argv[0],
                        (int)code);
            return FALSE;
        }
        if (left_ms == 0) {
            g_set_error(error, US_ERROR, US_ERROR_FAILED, "'%s' in the guest has not ended in time", argv[0]);
            return FALSE;
        }
        g_usleep(MIN(left_ms, ASK_AGAIN_MS) * 1000UL);
    }
    return FALSE;
}

char *agent_host_name(virDomainPtr dom, gint64 timeout_ms, GError **error)
{
    json_auto_t *answer = ask(dom, "guest-get-host-name", timeout_ms, error);
    const char *name;

    if (!answer)
        return NULL;
    name = json_string_value(json_object_get(answer, "host-name"));
    if (!name || strlen(name) > HOST_NAME_MAX_BYTES) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "the guest agent of '%s' gave no usable host name",
                    virDomainGetName(dom));
        return NULL;
    }
    return g_strdup(name);
}

gboolean agent_has_mount(virDomainPtr dom, const char *path, gint64 timeout_ms, GError **error)
{
    json_auto_t *answer = ask(dom, "guest-get-fsinfo", timeout_ms, error);
    json_t *one;
    gsize i;

    if (!answer)
        return FALSE;
    json_array_foreach(answer, i, one)
    {
        if (g_strcmp0(json_string_value(json_object_get(one, "mountpoint")), path) == 0)
            return TRUE;
    }
    g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "the guest agent of '%s' knows nothing mounted at '%s'",
                virDomainGetName(dom), path);
    return FALSE;
}

static char *mark_path(Id vm, const char *run_folder)
{
    return g_strconcat(run_folder, "/frozen-", ID_TEXT(vm), NULL);
}

static char *mark_of(virDomainPtr dom, const char *run_folder)
{
    Id vm;

    virDomainGetUUID(dom, vm.bytes);
    return mark_path(vm, run_folder);
}

gboolean agent_is_marked(Id vm, const char *run_folder)
{
    g_autofree char *mark = mark_path(vm, run_folder);

    return g_file_test(mark, G_FILE_TEST_EXISTS);
}

gboolean agent_freeze(virDomainPtr dom, const char *run_folder, guint *ret_frozen, GError **error)
{
    g_autofree char *mark = mark_of(dom, run_folder);
    json_auto_t *answer = NULL;

    if (!durable_replace(mark, "", 0, 0600, error))
        return FALSE;
    answer = ask(dom, "guest-fsfreeze-freeze", AGENT_FREEZE_MAX_MS, error);
    if (!answer)
        return FALSE;
    if (ret_frozen)
        *ret_frozen = (guint)json_integer_value(answer);
    return TRUE;
}

gboolean agent_thaw(virDomainPtr dom, const char *run_folder, GError **error)
{
    g_autofree char *mark = mark_of(dom, run_folder);
    json_auto_t *answer = ask(dom, "guest-fsfreeze-thaw", AGENT_FREEZE_MAX_MS, error);

    return answer && durable_remove(mark, error);
}
