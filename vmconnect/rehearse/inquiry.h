/* SPDX-License-Identifier: Apache-2.0 */
/* inquiry - what an operator's check asks of a guest by its agent, or of what its console said: asked once.
 *
 * For the stand-in's thread; what its agent is asked takes up to INQUIRY_MS. */
#pragma once

#include "vmconnect/base/exam.h"
#include "vmconnect/hypervisor/virt_error.h"

#define INQUIRY_MS 4000

/* One of AGENT, CONSOLE, COMMAND, HOSTNAME, MOUNTED, SERVICE. @console: what it said so far; NULL: nothing. *@ret_says: how it is, for
 * people; the caller frees. TRUE: as it is wanted. */
gboolean inquiry_ask(const Exam *exam, virDomainPtr dom, const char *console, char **ret_says);
/* It is asked by the agent. */
gboolean inquiry_needs_agent(const Exam *exam);
