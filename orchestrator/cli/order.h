/* SPDX-License-Identifier: Apache-2.0 */
/* order - in which order a plan's VMs are shut down and started, in words. */
#pragma once

#include <jansson.h>

/* A line for each VM that starts after others; "" if there is none. The caller frees. */
char *order_text(const json_t *plan);
