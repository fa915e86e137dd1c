/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/told.h"

#include "vmconnect/base/log.h"

static const struct {
    EventCode begins, ends;
} PAIRS[] = {
    {EVENT_LINK_LOST, EVENT_LINK_BACK},
    {EVENT_HOST_SILENT, EVENT_HOST_BACK},
    {EVENT_HYPERVISOR_SILENT, EVENT_HYPERVISOR_BACK},
    {EVENT_GUARD_SILENT, EVENT_GUARD_BACK},
    {EVENT_WATCH_BLIND, EVENT_WATCH_SEES},
    {EVENT_PATH_LOST, EVENT_PATH_BACK},
};

gboolean told_is(const Hosts *hosts, const char *host, EventCode code)
{
    const RosterHost *known = roster_find(hosts_roster(hosts), host);

    return known && event_is_named(known->told, code);
}

static void on_noted(const GError *error, void *user)
{
    (void)user;
    if (error)
        log_warning("what was told of hosts is not durable: %s -> a controller that starts tells it again",
                    error->message);
}

static void note(Database *db, Hosts *hosts, const RosterHost *host, EventCode code, gboolean holds)
{
    json_auto_t *told = json_array();
    DatabaseChanges *changes;

    if (event_is_named(host->told, code) == holds)
        return;
    for (guint i = 0; i < G_N_ELEMENTS(PAIRS); i++)
        if (PAIRS[i].begins == code ? holds : event_is_named(host->told, PAIRS[i].begins))
            json_array_append_new(told, json_string(event_code_name(PAIRS[i].begins)));
    hosts_tell(hosts, host->name, told);
    changes = database_changes_new();
    database_tell_host(changes, host->id, told);
    database_submit(db, changes, on_noted, NULL);
}

void told_note(Database *db, Hosts *hosts, const Event *event)
{
    const RosterHost *host = event->host ? roster_find(hosts_roster(hosts), event->host) : NULL;

    for (guint i = 0; host && i < G_N_ELEMENTS(PAIRS); i++)
        if (event->code == PAIRS[i].begins || event->code == PAIRS[i].ends)
            note(db, hosts, host, PAIRS[i].begins, event->code == PAIRS[i].begins);
}
