/* SPDX-License-Identifier: Apache-2.0 */
/* All through virDomainQemuAgentCommand(), because it alone takes a deadline:
 * libvirt's own freeze waits for ever for an agent that died. */
#include "vmconnect/hypervisor/agent.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/id.h"
#include "vmconnect/base/json.h"

#include <libvirt/libvirt-qemu.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX_BYTES (64 << 10)
#define HOST_NAME_MAX_BYTES 253 /* RFC 1035 */

/* A command without arguments; its "return" as a new reference. */
static json_t *ask(virDomainPtr dom, const char *command, gint64 timeout_ms, GError **error)
{
    g_autofree char *text = g_strdup_printf("{\"execute\":\"%s\"}", command);
    char *answer = virDomainQemuAgentCommand(dom, text, (int)((timeout_ms + 999) / 1000), 0);
    json_auto_t *doc = NULL;

    if (!answer) {
        virt_error(error, "the guest agent of '%s' did not do %s", virDomainGetName(dom), command);
        return NULL;
    }
    doc = json_parse(answer, strlen(answer), ANSWER_MAX_BYTES, error);
    free(answer);
    if (!doc)
        g_prefix_error(error, "the guest agent of '%s': ", virDomainGetName(dom));
    return doc ? json_incref(json_object_get(doc, "return")) : NULL;
}

gboolean agent_ping(virDomainPtr dom, gint64 timeout_ms, GError **error)
{
    json_auto_t *answer = ask(dom, "guest-ping", timeout_ms, error);

    return answer != NULL;
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
