/* SPDX-License-Identifier: Apache-2.0 */
/* protection_parts - what the files of protection share, and nobody else uses. */
#pragma once

#include "orchestrator/core/protection.h"

/* Rebuild the list of copies: every host of the scenario but the active one, all in @state. */
void protection_set_active(Protection *p, ProtectionVm *vm, const char *host, CopyState state);
ProtectionCopy *protection_copy_on(const ProtectionVm *vm, const char *host);

gboolean protection_vm_is_home(const Protection *p, const ProtectionVm *vm);
/* Is it replicated from where it runs: from home, or back to there? */
gboolean protection_vm_is_covered(const Protection *p, const ProtectionVm *vm);

#define EACH_VM(p, vm)                           \
    for (guint i_ = 0; i_ < (p)->vms->len; i_++) \
        for (ProtectionVm *vm = (p)->vms->pdata[i_]; vm; vm = NULL)

/* Without a plan of ours: in a higher reign than we knew. */
void protection_runs_there(Protection *p, ProtectionVm *vm, const char *host, Reign reign, EventCode code,
                           ActionList *out);
/* The same, and it is the host that we took for the active. */
void protection_rules_on(Protection *p, ProtectionVm *vm, Reign reign, ActionList *out);
void protection_publish(const Protection *p, EventCode code, const char *host, const char *vm,
                        const char *why, ActionList *out);
/* FALSE with @error REFUSED while a plan runs. */
gboolean protection_no_plan(const Protection *p, GError **error);

/* Has the host said what it knows, since its link is up? Have all of the scenario's? */
gboolean protection_has_heard(const Protection *p, const char *host);
gboolean protection_has_heard_all(const Protection *p);

/* After a boot an active starts its guest upon the order to protect it, if its controller vouches for that and its standby does
 * not answer. A controller that has just started may not know yet that another host was promoted by hand: it waits for the
 * hosts, for a while, and vouches for nothing before it has heard that one. */
gboolean protection_must_wait(const Protection *p, gint64 now_ms);

/* The handlers of INPUT_PLAN_BEGUN, _ENDED, and of those about one VM of a plan. */
gboolean protection_on_plan_begun(Protection *p, const Input *in, ActionList *out, GError **error);
gboolean protection_on_plan_ended(Protection *p, const Input *in, ActionList *out, GError **error);
gboolean protection_on_plan_vm(Protection *p, const Input *in, ActionList *out, GError **error);

/* Orders: append the next call that @vm needs, if any; take an answer to one. */
void protection_order(Protection *p, ProtectionVm *vm, gint64 now_ms, ActionList *out);
/* Who has not confirmed a stop, and why: of the first of those of whom that is known. The caller frees; NULL: all have. */
char *protection_owed_text(const Protection *p, const ProtectionVm *vm);
/* Why the first of the orders that were refused was; NULL: none is. */
const char *protection_trouble(const ProtectionVm *vm);
void protection_trouble_free(gpointer trouble);
/* What must be known after a restart of the controller, with its host gone or started anew: "alive", "off" or null. */
json_t *protection_life_to_json(const ProtectionVm *vm);
void protection_life_from_json(ProtectionVm *vm, const json_t *doc);
/* What was told of a VM, and not yet that it is over: an array of events' names; and of a countdown {"since": wall ms, "over", "late"},
 * or null. So a controller that has started anew says none of it twice, and says when it is over. */
json_t *protection_told_to_json(const ProtectionVm *vm);
void protection_told_from_json(ProtectionVm *vm, const json_t *list);
/* {host: what vitals_answers_of() has of it there}: checks that were answered in its reign, should all who know it start anew. */
json_t *protection_answers_to_json(const Protection *p, const ProtectionVm *vm);
json_t *protection_countdown_to_json(const Protection *p);
void protection_countdown_from_json(Protection *p, const json_t *doc);

/* The old active's guest may have lived on; what only its disks hold is kept there. */
void protection_yielded(const Protection *p, const ProtectionVm *vm, const char *host, const char *guest,
                        ActionList *out);
void protection_answered(Protection *p, ProtectionVm *vm, const Input *in, ActionList *out);

/* Its host, or its reign, is another: nothing of what was known of it counts. */
void protection_life_anew(ProtectionVm *vm);

/* Of the guest, where it runs. */
void protection_publish_guest(const Protection *p, const ProtectionVm *vm, EventCode code, const char *why,
                              ActionList *out);
/* Whoever could not see has missed what was there, and for as long as may be missed its score says so. */
gboolean protection_has_seen_since(const Protection *p, gint64 blind_ms, gint64 now_ms);

/* Once the guests' lives are settled. @more: one has fallen silent just now; when it is over for others already, that one has its own,
 * and for those it stays over. TRUE: what is durable of it is other than before. */
gboolean protection_count(Protection *p, gboolean more, gint64 now_ms, ActionList *out);
/* It goes on, by what is durable of it, and the first input's time. */
void protection_countdown_resume(Protection *p, gint64 now_ms);
/* There is none, and nothing was tried. */
void protection_countdown_anew(Protection *p);

void protection_hang_free(gpointer hang);
/* Those that were told: an array of names. */
json_t *protection_hangs_to_json(const Protection *p);
void protection_hangs_from_json(Protection *p, const json_t *list);
/* No guest is taken for dead by it: its host's kernel answers, and they may run on. TRUE: what is told is other than before. */
gboolean protection_watch_hangs(Protection *p, gint64 now_ms, ActionList *out);
/* While nobody looks, no time passes. */
void protection_hangs_anew(Protection *p, gint64 now_ms);
/* Look at what is known of each guest's life, and act upon it. */
void protection_live(Protection *p, gint64 now_ms, ActionList *out);
/* Once that is known of all: start or reset where it is who should be; an answer to guest.revive. */
void protection_revive(Protection *p, gint64 now_ms, ActionList *out);
void protection_on_revived(Protection *p, ProtectionVm *vm, const Input *in, ActionList *out);

/* After the states are settled: wait, or ask for the switchback, if it is left to the controller. */
void protection_go_home(Protection *p, gint64 now_ms, ActionList *out);
/* It counts from nothing again. */
void protection_home_anew(Protection *p);
gboolean protection_on_switchback(Protection *p, const Input *in, ActionList *out, GError **error);

/* What `guests` says of a lease. */
LeaseWord lease_word_of(const char *word);
/* Whom to arm, and whom no more; before the orders. */
void protection_review_arms(Protection *p);
/* The "lease" of active.protect; NULL: none. New reference. */
json_t *protection_lease_of(const Protection *p, const ProtectionVm *vm);
/* The countdown is over: TRUE if the controller begins the switchover itself. */
gboolean protection_take_over(Protection *p, gint64 now_ms, ActionList *out);
void protection_take_over_again(Protection *p, gint64 now_ms, ActionList *out);
/* Does it still? After whatever may have changed that. */
void protection_review_takeover(Protection *p);
gboolean protection_on_takeover(Protection *p, const Input *in, ActionList *out, GError **error);
gboolean protection_on_looked(Protection *p, const Input *in, ActionList *out, GError **error);
/* Its operator is told that a switchover is required. @why_not: why it does not come by itself; NULL: it never would. */
void protection_require(const Protection *p, const char *why_not, gint64 now_ms, ActionList *out);

/* Whose news count (news.h): @p is a Protection. */
gboolean protection_has_vm(const void *p, Id vm);

/* What the hosts keep beside the copies (protection_branch.c). A host's word of its own disks counts in any reign. */
void protection_take_branches(Protection *p, const Input *in, ActionList *out);
void protection_branches_free(gpointer branches);
/* The "branches" of a VM, as they are durable; what is unsound is left out. */
json_t *protection_branches_to_json(const ProtectionVm *vm);
void protection_branches_from_json(ProtectionVm *vm, const json_t *list);

/* Bring every state in line with what is known at @now_ms, and publish the moves. */
void protection_settle(Protection *p, gint64 now_ms, ActionList *out);

/* The same after a restart: states are as they are, there was no move. */
void protection_restore(Protection *p);
