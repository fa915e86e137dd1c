/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/priority.h"

#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#define BEHIND 5 /* about a third of the weight of an ordinary thread */

void priority_behind_guests(void)
{
    /* On Linux a nice value is a thread's own. A refusal changes nothing that matters. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), BEHIND);
}
