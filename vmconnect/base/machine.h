/* SPDX-License-Identifier: Apache-2.0 */
/* machine - which machine this is. */
#pragma once

/* What /etc/machine-id says; "" if it cannot be read. The caller frees. */
char *machine_id(void);
