/* SPDX-License-Identifier: Apache-2.0 */
/* priority - who gets a core when all of them are wanted: the guests. */
#pragma once

/* The calling thread, and what it starts from now on, stands behind everything of ordinary
 * priority on this host: guests above all. It still gets its share of a busy host. */
void priority_behind_guests(void);
