/* SPDX-License-Identifier: Apache-2.0 */
/* event - what the operator is told, as a catalogue.
 *
 * Code, severity, text and next step of an event stand in one table;
 * docs/events.md is made from it (a test compares). In the templates
 * {scenario}, {host}, {vm}, {why}, {channel} and {command} are filled in by who makes it. Number and
 * time are given by who keeps the list, not here. */
#pragma once

#include <glib.h>
#include <jansson.h>

/* clang-format off */
/*    code                severity */
#define EVENT_CODES(X)                                                                                       \
    X(SCENARIO_STARTED,   INFO,                                                                              \
      "scenario '{scenario}' was started", NULL)                                                             \
    X(SCENARIO_STOPPED,   SIGNIFICANT,                                                                       \
      "scenario '{scenario}' was stopped: its VMs are no longer protected, their copies stay as they are",   \
      "understudy run {scenario} protects them again")                                                       \
    X(SCENARIO_PAUSED,    SIGNIFICANT,                                                                       \
      "scenario '{scenario}' is paused: changes are remembered and not sent, its copies grow old",           \
      "understudy continue {scenario}")                                                                      \
    X(SCENARIO_CONTINUED, INFO,                                                                              \
      "scenario '{scenario}' goes on: what changed meanwhile is sent", NULL)                                 \
    X(SCENARIO_HELD,      SIGNIFICANT,                                                                       \
      "scenario '{scenario}' is held ({why}): nothing of it is moved or started again by itself",            \
      "understudy hold {scenario} --release")                                                                \
    X(SCENARIO_RELEASED,  SIGNIFICANT,                                                                       \
      "scenario '{scenario}' is not held any more: what its settings say is done by itself again", NULL)     \
    X(HOST_HELD,          SIGNIFICANT,                                                                       \
      "{host} is held ({why}): nothing is moved to it or from it, or started again on it, by itself",        \
      "understudy hold {host} --release")                                                                    \
    X(HOST_RELEASED,      SIGNIFICANT,                                                                       \
      "{host} is not held any more: what settings say is done by itself again", NULL)                        \
    X(VERIFY_FAILED,      ERROR,                                                                             \
      "scenario '{scenario}' was not started: {why}",                                                        \
      "understudy verify {scenario} lists every finding with its remedy")                                    \
    X(VERIFY_TROUBLE,     ERROR,                                                                             \
      "scenario '{scenario}' could not be started, or switched over, as things are now: {why}",              \
      "understudy verify {scenario} lists every finding with its remedy")                                    \
    X(VERIFY_REMARK,      WARNING,                                                                           \
      "something about scenario '{scenario}' has changed: {why}",                                            \
      "understudy verify {scenario} lists every finding with its remedy")                                    \
    X(VERIFY_CLEAR,       SIGNIFICANT,                                                                       \
      "nothing stands in the way of scenario '{scenario}' any more", NULL)                                   \
    X(SYNC_STARTED,       INFO,                                                                              \
      "the first copy of '{vm}' on {host} is being made; until it is there {host} cannot take over", NULL)   \
    X(SYNC_DONE,          SIGNIFICANT,                                                                       \
      "'{vm}' has a complete copy on {host}, which can take over from now on", NULL)                         \
    X(RESYNC_STARTED,     WARNING,                                                                           \
      "the copy of '{vm}' on {host} is brought up again: {why}; its recovery points stay usable", NULL)      \
    X(RESYNC_DONE,        SIGNIFICANT,                                                                       \
      "the copy of '{vm}' on {host} is up to date again", NULL)                                              \
    X(LAG_HIGH,           WARNING,                                                                           \
      "the copy of '{vm}' on {host} is older than its interval allows: {why}",                               \
      "look at the link and at the load of both hosts; understudy status {scenario} --watch")                \
    X(LAG_OVER,           INFO,                                                                              \
      "the copy of '{vm}' on {host} is young enough again", NULL)                                            \
    X(COPY_LOST,          ERROR,                                                                             \
      "'{vm}' has no usable copy on {host}: {why}",                                                          \
      "a new one is made as soon as {host} answers; look at its storage")                                    \
    X(VM_FAILED,          CRITICAL,                                                                          \
      "'{vm}' cannot be protected any more without an operator: {why}",                                      \
      "remove the cause; it is tried again by itself")                                                       \
    X(VM_RECOVERED,       SIGNIFICANT,                                                                       \
      "'{vm}' can be protected again", NULL)                                                                 \
    X(JOB_STUCK,          ERROR,                                                                             \
      "'{vm}' cannot be cut on {host}: {why}",                                                               \
      "do as it says; replication goes on by itself then")                                                   \
    X(SCRATCH_LOW,        WARNING,                                                                           \
      "a cut of '{vm}' on {host} was given up: {why}",                                                       \
      "the next one carries on; if it was for want of room, give the scratch folder of {host} more, or let "  \
      "it be used: understudy scenario set {scenario} scratch=SIZE")                                         \
    X(ENGINE_REFUSED,     ERROR,                                                                             \
      "the engine of {host} refused its part for '{vm}': {why}",                                             \
      "remove the cause; it is asked again by itself")                                                       \
    X(LINK_LOST,          WARNING,                                                                           \
      "the engine of {host} does not answer the controller; replication goes on by itself if {host} lives",  \
      "look at {host}, its network and the understudy-engine service")                                       \
    X(LINK_BACK,          INFO,                                                                              \
      "the engine of {host} answers again", NULL)                                                            \
    X(PROBE_MISSED,       INFO,                                                                              \
      "{host} missed a probe: no path to it answered", NULL)                                                 \
    X(HOST_SILENT,        ERROR,                                                                             \
      "{host} is silent: {why}",                                                                             \
      "look at {host} and its network")                                                                      \
    X(HOST_BACK,          SIGNIFICANT,                                                                       \
      "{host} answers again", NULL)                                                                          \
    X(HEARTBEAT_LOST,     ERROR,                                                                             \
      "scenario '{scenario}': for {why} {host} has answered echoes, and its engine nobody: it hangs, or "    \
      "everything there but the kernel does; nothing is copied from there, it is not known whether its "     \
      "guests live, and nothing is moved by itself",                                                         \
      "look at the console of {host}: if its guests live, `systemctl restart understudy-engine` there; if "  \
      "not, power it off, then understudy switchover {scenario} --force")                                    \
    X(HEARTBEAT_BACK,     SIGNIFICANT,                                                                       \
      "scenario '{scenario}': the engine of {host} is heard again", NULL)                                    \
    X(WATCH_BLIND,        WARNING,                                                                           \
      "{host} sees nobody: neither those that it watches, nor its own gateway; what it says of others "      \
      "does not count",                                                                                      \
      "look at the network of {host}")                                                                       \
    X(WATCH_SEES,         INFO,                                                                              \
      "{host} sees again: what it says of others counts", NULL)                                              \
    X(PATH_LOST,          WARNING,                                                                           \
      "{host} is not heard on every path that leads there: {why}; the others do what it is there for, and "  \
      "if they are lost, too, it counts as silent",                                                          \
      "look at that network, or whether its address is right: understudy host show {host} shows every path") \
    X(PATH_BACK,          INFO,                                                                              \
      "{host} is heard on every path that leads there again", NULL)                                          \
    X(HYPERVISOR_SILENT,  WARNING,                                                                           \
      "libvirtd of {host} does not answer: {why}; guests run on, nothing new is replicated",                 \
      "look at the libvirtd service of {host}; its restart disturbs no guest")                               \
    X(HYPERVISOR_BACK,    INFO,                                                                              \
      "libvirtd of {host} answers again", NULL)                                                              \
    X(GUARD_SILENT,       WARNING,                                                                           \
      "the guard of {host} {why}: nothing that runs there is switched over by itself until it is back, and "  \
      "a guest whose lease ends before it could be freed of that is not stopped; the kernel holds its frames", \
      "look at the understudy-guard service of {host}; its restart disturbs no guest")                       \
    X(GUARD_BACK,         INFO,                                                                              \
      "the guard of {host} answers again", NULL)                                                             \
    X(GUEST_SILENT,       ERROR,                                                                             \
      "'{vm}' on {host} does not live: {why}",                                                               \
      "look at it; what is done meanwhile: understudy status {scenario}")                                    \
    X(GUEST_BACK,         SIGNIFICANT,                                                                       \
      "'{vm}' on {host} lives again", NULL)                                                                  \
    X(LEASE_LOST,         WARNING,                                                                           \
      "'{vm}' on {host} stood still for {why}, since none of those that vote had answered its host; it goes on", \
      "look at the lines between {host}, its replica and the controller")                                   \
    X(AGENT_SILENT,       WARNING,                                                                           \
      "the agent of '{vm}' on {host} answered before and does not any more; its QEMU runs it, and nothing is done", \
      "look at the guest; to have it watched by other means: understudy scenario set {scenario} --check")    \
    X(AGENT_BACK,         INFO,                                                                              \
      "the agent of '{vm}' on {host} answers again", NULL)                                                   \
    X(CHECK_UNANSWERED,   WARNING,                                                                           \
      "check {why} of '{vm}' on {host} was never answered: until it is, it says nothing of the guest", \
      "correct the check, or look at the guest: understudy status {scenario}")                               \
    X(GUEST_WATCHDOG,     WARNING,                                                                           \
      "the watchdog of '{vm}' on {host} went off, since the guest did not feed it: {why}",                   \
      "look for what kept the guest from it, in its own log")                                                \
    X(GUEST_RESTARTED,    WARNING,                                                                           \
      "'{vm}' was {why} on {host}, where it did not live any more",                                          \
      "look for the cause in the guest and on {host}")                                                       \
    X(GUEST_RESTART_FAILED, ERROR,                                                                           \
      "'{vm}' could not be brought back to life on {host}: {why}",                                           \
      "remove the cause and start it there, or switch over: understudy switchover {scenario}")               \
    X(COUNTDOWN_STARTED,  WARNING,                                                                           \
      "scenario '{scenario}': a switchover is required in {why} if what is silent does not answer",          \
      "understudy status {scenario} shows what is silent, and why")                                          \
    X(COUNTDOWN_CANCELLED, SIGNIFICANT,                                                                      \
      "scenario '{scenario}': nothing of it is silent any more, no switchover is required", NULL)               \
    X(FENCED,             SIGNIFICANT,                                                                       \
      "{host} was fenced: it is off, by {why}",                                                              \
      "look at {host} before it is switched on again; what ran there is started on other hosts")             \
    X(FENCE_FAILED,       ERROR,                                                                             \
      "{host} could not be fenced: {why}; it is not certain that it is off, so nothing counts on that",      \
      "look at {host} and its agent, which `understudy fence {host} --status` asks without harm; if it is "  \
      "off, understudy switchover SCENARIO --force --old-is-off says so")                                    \
    X(SWITCHOVER_REQUIRED, CRITICAL,                                                                         \
      "scenario '{scenario}': a switchover is required: {why}",                                              \
      "{command}")                                                                                           \
    X(SWITCHOVER_STARTED, SIGNIFICANT,                                                                       \
      "switchover of scenario '{scenario}' to {host} was started", NULL)                                     \
    X(SWITCHBACK_AHEAD,   INFO,                                                                              \
      "the VMs of scenario '{scenario}' are moved home to {host} by themselves when they have been "         \
      "protected for {why} without a break",                                                                 \
      "understudy scenario set {scenario} switchback=manual leaves it to you")                               \
    X(SWITCHBACK_STARTED, SIGNIFICANT,                                                                       \
      "the VMs of scenario '{scenario}' are moved home to {host}, as switchback=auto says: they were "       \
      "protected for {why} without a break", NULL)                                                           \
    X(SWITCHBACK_LEFT,    ERROR,                                                                             \
      "scenario '{scenario}' is not moved home to {host} by itself any more: {why}",                         \
      "remove the cause, then understudy switchback {scenario}")                                             \
    X(DIVERGED,           ERROR,                                                                             \
      "'{vm}' lived on on {host} after another host was made its active; it is paused there now",            \
      "look at what it holds, with its console or `virsh`, then end it there with `virsh destroy`: its "     \
      "disks are kept as a branch until you release it")                                                     \
    X(OLD_ACTIVE_BACK,    SIGNIFICANT,                                                                       \
      "{host}, where '{vm}' ran before, is back; it is not started there, and its disks are kept", NULL)     \
    X(COPY_EQUAL,         INFO,                                                                              \
      "the copy of '{vm}' on {host} is what its disks are: all that did not change meanwhile was compared",  \
      NULL)                                                                                                  \
    X(COPY_DIFFERS,       CRITICAL,                                                                          \
      "the copy of '{vm}' on {host} differs from its disks",                                                 \
      "have what differs sent with `understudy compare {scenario} --repair` (points that are kept already "  \
      "stay as they are), then look for what wrote to the copy, or for a storage that fails")                \
    X(COMPARE_FAILED,     ERROR,                                                                             \
      "the copy of '{vm}' on {host} could not be compared with its disks: {why}",                            \
      "look at the storage of both hosts")                                                                   \
    X(TEST_STARTED,       INFO,                                                                              \
      "an integrity test of scenario '{scenario}' was started on {host}: what runs and is replicated "       \
      "is not touched", NULL)                                                                                \
    X(TEST_READY,         SIGNIFICANT,                                                                       \
      "{host} is ready for the manual integrity test of scenario '{scenario}'",                              \
      "understudy test show {why} says where its consoles are; understudy test stop {scenario} ends it")     \
    X(TEST_PASSED,        SIGNIFICANT,                                                                       \
      "the integrity test of scenario '{scenario}' on {host} passed: {why}", NULL)                           \
    X(TEST_FAILED,        ERROR,                                                                             \
      "the integrity test of scenario '{scenario}' on {host} failed: {why}",                                 \
      "understudy test list {scenario}, then test show ID, with --html FILE what was on the screens")        \
    X(TEST_UNDECIDED,     WARNING,                                                                           \
      "the integrity test of scenario '{scenario}' on {host} came to no verdict: {why}",                     \
      "the copies are as proven as they were before; understudy test start {scenario} begins another")       \
    X(TEST_ENDED,         INFO,                                                                              \
      "the integrity test of scenario '{scenario}' on {host} has ended: {why}", NULL)                        \
    X(TEST_SKIPPED,       WARNING,                                                                           \
      "the time of an integrity test of scenario '{scenario}' was passed over: {why}",                       \
      "understudy test start {scenario} begins one now; else the next time is waited for")                   \
    X(MAINTENANCE_STARTED, SIGNIFICANT,                                                                      \
      "maintenance of {host} was started: what runs there is shut down and comes back on it, copies that it "\
      "keeps are closed, and nothing switches over meanwhile",                                               \
      "understudy maintenance list says how far it is; understudy maintenance finish {host} ends it")        \
    X(MAINTENANCE_READY,  SIGNIFICANT, "Ready for reboot: {host} ({why})", NULL)                             \
    X(MAINTENANCE_LATE,   ERROR, "{host} is in maintenance still: {why}",                                    \
      "understudy maintenance list and status say what is waited for; if {host} is gone for good, understudy switchover SCENARIO --force goes on with what it ran") \
    X(MAINTENANCE_DONE,   SIGNIFICANT, "Host maintenance is complete. {why}", NULL)                          \
    X(MAINTENANCE_FAILED, ERROR,                                                                             \
      "{host} could not be prepared for its maintenance: {why}; what was shut down for it is started again", \
      "remove the cause, then understudy maintenance start {host}")                                          \
    X(DRILL_STARTED,      INFO,                                                                              \
      "a drill of {host} was started: each scenario that has VMs there is tested on its replica, and "       \
      "nothing of it is moved", NULL)                                                                        \
    X(DRILL_PASSED,       SIGNIFICANT, "the drill of {host} passed: {why}", NULL)                            \
    X(DRILL_FAILED,       ERROR, "the drill of {host} failed: {why}",                                        \
      "understudy drill list, then drill show ID, with --html FILE what was on the screens")                 \
    X(DRILL_STOPPED,      INFO, "the drill of {host} was ended: {why}", NULL)                                \
    X(OVERRULED,          CRITICAL,                                                                          \
      "{host} obeys another controller, with the identity of this one and a newer memory: one of the two "   \
      "is a copy",                                                                                           \
      "end the one that is not meant; if this is the one that is meant, stop it, run `understudy-controller "\
      "accept-copy` as root, and start it again")                                                            \
    X(BRANCH_KEPT,        WARNING,                                                                           \
      "what only the disks of {host} hold of '{vm}' is kept there beside its copy: {why}",                   \
      "understudy branch list {scenario}; `branch open ID` reads it, `branch release ID` lets it go")         \
    X(PROMOTED_BY_HAND,   SIGNIFICANT,                                                                       \
      "'{vm}' runs on {host}: it was promoted there without this controller", NULL)                          \
    X(REIGN_LEARNT,       WARNING,                                                                           \
      "'{vm}' runs on {host} in a later reign than this controller knew: its database is older than that",   \
      "was a backup restored, or does a second controller run? If one does, end it")                         \
    X(REIGN_CONFLICT,     CRITICAL,                                                                          \
      "{host} says that it runs '{vm}', in another reign of the same number as this controller's: another "  \
      "controller, or a copy of this one, has made it",                                                      \
      "if that controller runs, end the one that is not meant; if it is lost, stop and delete this "         \
      "scenario and create it again: its reign will be above both, and the copies are compared")             \
    X(VM_MOVED,           SIGNIFICANT,                                                                       \
      "'{vm}' runs on {host}", NULL)                                                                         \
    X(VM_STAYED,          WARNING,                                                                           \
      "'{vm}' was not moved and stays on {host}: {why}",                                                     \
      "remove the cause, then understudy switchover {scenario} --vm {vm}")                                   \
    X(VM_NOT_PARKED,      WARNING,                                                                           \
      "'{vm}' could not be prepared for the maintenance of {host}, and runs on there: {why}",                \
      "remove the cause, then understudy maintenance start {host}")                                          \
    X(VM_BLOCKED,         CRITICAL,                                                                          \
      "'{vm}' was given up by its old host and {host} could not start it: {why}",                            \
      "remove the cause on {host}; the start is tried again by itself")                                      \
    X(VM_DOWN,            CRITICAL,                                                                          \
      "'{vm}' was not moved and could not be started again on {host}: {why}",                                \
      "start it there: virsh start, after the cause is removed")                                             \
    X(GATE_MISSED,        WARNING,                                                                           \
      "what starts after '{vm}' is started on {host} without waiting for it any longer: {why}",              \
      "look at '{vm}' and its checks; understudy scenario set {scenario} --vm {vm} --gate GATE changes what "\
      "is waited for")                                                                                       \
    X(SWITCHOVER_DONE,    SIGNIFICANT,                                                                       \
      "switchover of scenario '{scenario}' to {host} is done", NULL)                                         \
    X(SWITCHOVER_FAILED,  ERROR,                                                                             \
      "switchover of scenario '{scenario}' to {host} did not move every VM: {why}",                          \
      "understudy status {scenario} shows which VM runs where")                                              \
    X(NOTIFY_FAILED,      WARNING,                                                                           \
      "channel '{channel}' delivers nothing: {why}; what it was to tell waits, and none of it is lost",      \
      "remove the cause; understudy notify test {channel} tries it at once")                                 \
    X(NOTIFY_BACK,        INFO,                                                                              \
      "channel '{channel}' delivers again", NULL)                                                            \
    X(RECIPIENT_REFUSED,  WARNING,                                                                           \
      "channel '{channel}' does not reach {why}; the others are told, and what waits for this one is kept",  \
      "correct the mailbox, or make the channel anew without it; understudy notify test {channel} tries it " \
      "at once")                                                                                             \
    X(RECIPIENT_BACK,     INFO,                                                                              \
      "channel '{channel}' reaches {why} again", NULL)                                                       \
    X(MESSAGE_REFUSED,    WARNING,                                                                           \
      "channel '{channel}' could not deliver {why}; others were taken, so this one is given up and holds "   \
      "up nothing",                                                                                          \
      "read it with understudy events, and let the receiver take such ones; understudy notify show "         \
      "{channel} counts them")                                                                               \
    X(NOTIFY_TEST,        INFO,                                                                              \
      "this is a test of channel '{channel}': nothing has happened", NULL)                                   \
    X(EVENTS_FORGOTTEN,   WARNING,                                                                           \
      "{why} fell out of the history before channel '{channel}' could deliver them; some may have been "     \
      "for it",                                                                                              \
      "raise events_kept and events_age in controller.conf, and look why it could not deliver")
/* clang-format on */

typedef enum {
    EVENT_NONE,
#define X(code, severity, text, next) EVENT_##code,
    EVENT_CODES(X)
#undef X
} EventCode;

/* clang-format off */
/*    severity      as JSON         syslog level */
#define EVENT_SEVERITIES(X)                                                                                  \
    X(INFO,         "info",         6)                                                                       \
    X(SIGNIFICANT,  "significant",  5)                                                                       \
    X(WARNING,      "warning",      4)                                                                       \
    X(ERROR,        "error",        3)                                                                       \
    X(CRITICAL,     "critical",     2)
/* clang-format on */

typedef enum {
#define X(severity, json, level) EVENT_##severity,
    EVENT_SEVERITIES(X)
#undef X
} EventSeverity;

typedef struct {
    EventCode code;
    char *scenario;
    char *host; /* NULL: none */
    char *vm;   /* its name; NULL: none */
    char *text; /* filled in */
    char *next; /* filled in; NULL: nothing needs doing */
    char *
        channel; /* the one that it is about, and that it is not sent through; NULL, as event_new() leaves it: none */
} Event;

/* @scenario, @host, @vm, @why may be NULL if the template does not name them (a bug otherwise). */
Event *event_new(EventCode code, const char *scenario, const char *host, const char *vm, const char *why);
/* SWITCHOVER_REQUIRED, of which it depends what is to be done: @command says it. */
Event *event_new_with_command(EventCode code, const char *scenario, const char *why, const char *command);
/* The same for {channel} and {why}. */
Event *event_new_about_channel(EventCode code, const char *channel, const char *why);
/* RECIPIENT_REFUSED and _BACK, MESSAGE_REFUSED: they are sent through the channel, too, which delivers to others, resp. others. */
Event *event_new_through_channel(EventCode code, const char *channel, const char *why);
void event_free(Event *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Event, event_free)

const char *event_code_name(EventCode code);
/* Is it one of @names, an array of what event_code_name() says? */
gboolean event_is_named(const json_t *names, EventCode code);
EventSeverity event_severity(EventCode code);
const char *event_severity_name(EventSeverity severity);
int event_severity_syslog(EventSeverity severity);
/* USAGE for a name that is none. */
gboolean event_severity_parse(const char *name, EventSeverity *ret_severity, GError **error);

/* {"sequence", "at", "code", "severity", "scenario", "host", "vm", "text", "next"}, and "channel" if there is one; @at_ms
 * is wall time. */
json_t *event_to_json(const Event *e, guint64 sequence, gint64 at_ms);

/* The catalogue as docs/events.md has it. The caller frees. */
char *event_catalogue_text(void);
