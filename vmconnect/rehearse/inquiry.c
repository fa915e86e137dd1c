/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/inquiry.h"

#include "vmconnect/hypervisor/agent.h"

#include <string.h>

#define PING_MS 2000

gboolean inquiry_needs_agent(const Exam *exam)
{
    switch (exam->kind) {
    case EXAM_AGENT:
    case EXAM_COMMAND:
    case EXAM_HOSTNAME:
    case EXAM_MOUNTED:
    case EXAM_SERVICE:
        return TRUE;
    default:
        return FALSE;
    }
}

static gboolean has_said(const char *console, const char *text, char **ret_says)
{
    gboolean has = console && strstr(console, text);

    *ret_says = g_strdup(has       ? "its console has said that"
                         : console ? "its console has not said that"
                                   : "it has said nothing on a serial console");
    return has;
}

static gboolean is_called(virDomainPtr dom, const char *name, char **ret_says, GError **error)
{
    g_autofree char *own = agent_host_name(dom, INQUIRY_MS, error);

    if (own)
        *ret_says = g_strdup_printf("it calls itself '%s'", own);
    return own && g_str_equal(own, name);
}

/* Agents name what lies on block devices, and Windows has no program for it. */
static gboolean is_mounted(virDomainPtr dom, const char *path, char **ret_says)
{
    const char *const argv[] = {"mountpoint", "-q", path, NULL};
    gboolean mounted =
        agent_has_mount(dom, path, INQUIRY_MS / 2, NULL) || agent_run(dom, argv, INQUIRY_MS / 2, NULL);

    *ret_says = g_strdup(mounted ? "it is mounted" : "no file system is mounted there");
    return mounted;
}

static gboolean is_active(virDomainPtr dom, const char *name, char **ret_says)
{
    const char *const systemctl[] = {"systemctl", "is-active", "--quiet", name, NULL};
    const char *const service[] = {"service", name, "status", NULL};
    g_autoptr(GError) first = NULL;
    g_autoptr(GError) second = NULL;
    gboolean active =
        agent_run(dom, systemctl, INQUIRY_MS / 2, &first) || agent_run(dom, service, INQUIRY_MS / 2, &second);

    *ret_says = active ? g_strdup("it is active")
                       : g_strdup_printf("it is not active (%s; %s)", first->message, second->message);
    return active;
}

gboolean inquiry_ask(const Exam *exam, virDomainPtr dom, const char *console, char **ret_says)
{
    g_autoptr(GError) error = NULL;
    char *says = NULL;
    gboolean good = FALSE;

    switch (exam->kind) {
    case EXAM_CONSOLE:
        good = has_said(console, exam->word, &says);
        break;
    case EXAM_AGENT:
        good = agent_ping(dom, PING_MS, &error);
        break;
    case EXAM_COMMAND:
        good = agent_run(dom, (const char *const *)exam->argv, INQUIRY_MS, &error);
        break;
    case EXAM_HOSTNAME:
        good = is_called(dom, exam->word, &says, &error);
        break;
    case EXAM_MOUNTED:
        good = is_mounted(dom, exam->word, &says);
        break;
    case EXAM_SERVICE:
        good = is_active(dom, exam->word, &says);
        break;
    default:
        g_assert_not_reached();
    }
    if (!says)
        says = g_strdup(error ? error->message : exam->kind == EXAM_AGENT ? "it answers" : "it ended with 0");
    *ret_says = says;
    return good;
}
