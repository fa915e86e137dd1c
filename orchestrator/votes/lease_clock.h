/* SPDX-License-Identifier: Apache-2.0 */
/* lease_clock - now, on both clocks that leases go by (lease.h). */
#pragma once

#include "orchestrator/core/lease/lease.h"

LeaseMoment lease_clock_now(void);
