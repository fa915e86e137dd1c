/* SPDX-License-Identifier: Apache-2.0 */
/* checkup - does the guest of a stand-in live, and are its disks whole?
 *
 *   agent     it answers, as the VM's own does at home
 *   network   an address of a card answers an echo, or ARP, and so does one of each card that has or wants any; what has none is waited
 *             for 10 s then, and a card whose link is down in the definition not at all
 *   screen    it shows something, and has not changed for a while
 *   disks     every one of them opens, and its file systems are clean (file_systems.h)
 *
 * A guest lives if its agent answers; where there is none, if its network does; where it has neither, if its screen
 * has settled. Where its operator has said what he wants to see of it (StandInSpec.exams), it lives if all of that has come true, once
 * each, and none of the first three is asked; disks are, unless he does not want that. A list that asks for nothing but that is as none. Used by the stand-in's thread, on its own connection. */
#pragma once

#include "vmconnect/rehearse/stand_in.h"

typedef struct Checkup Checkup;

Checkup *checkup_new(const StandInSite *site, const StandInSpec *spec, const StandInPart *part);
void checkup_free(Checkup *c);

/* Look once at all that has not been answered yet; the guest runs for @at_ms. */
void checkup_look(Checkup *c, virDomainPtr dom, gint64 at_ms);
gboolean checkup_lives(const Checkup *c);
/* Why not, after @boot_ms, with its kernel's last words if its console has them. The caller frees. */
char *checkup_why(const Checkup *c, gint64 boot_ms);

/* When the VM has ended. *@ret_why: what is wrong with its disks, NULL: nothing; the caller frees. FALSE with @error: they could
 * not be looked at. */
gboolean checkup_disks(Checkup *c, const json_t *lent, const char *folder, int stop_fd, char **ret_why,
                       GError **error);

/* Its screen as PNG; NULL: it has none. The caller unrefs. */
GBytes *checkup_picture(Checkup *c, virDomainPtr dom);
/* The end of what its console in @folder said, for people; NULL: nothing. The caller frees. */
char *checkup_console(const char *folder);
#define CHECKUP_CONSOLE_LOG "console.log"

/* [{"what", "state": "waiting"|"passed"|"failed"|"unknown", "text", "after_ms"}]; unknown: of disks that open, when nobody could look into
 * any of their file systems (file_systems.h). New reference. */
json_t *checkup_describe(const Checkup *c);
