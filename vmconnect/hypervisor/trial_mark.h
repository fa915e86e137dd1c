/* SPDX-License-Identifier: Apache-2.0 */
/* trial_mark - proof that libvirtd asks the start hook.
 *
 * Whether it does cannot be seen from outside: libvirtd looks for hooks at its own
 * start. So the hook, asked about a trial's VM, leaves an empty file. */
#pragma once

#include <glib.h>

/* The name of every trial's VM (vmconnect/trial/trial.h): one for all, because libvirt keeps a log file for
 * each name that it has ever seen. */
#define TRIAL_NAME "understudy-trial"
#define TRIAL_MARK "/run/understudy/engine/hook-asked"

/* For the hook. Who cannot write there proves nothing and refuses nothing. */
void trial_mark_leave(const char *path);

/* Take the mark away; was it there? */
gboolean trial_mark_take(const char *path);
