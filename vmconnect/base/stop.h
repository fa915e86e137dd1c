/* SPDX-License-Identifier: Apache-2.0 */
/* stop - named stopping points, where a fault test holds or kills the process.
 *
 * UNDERSTUDY_STOP_AT=NAME[:COUNT][,…] names the points; at the COUNTth passage
 * (default the first) the process writes NAME into the file
 * $UNDERSTUDY_STOP_FILE (if set) and raises SIGSTOP on itself. The test sees
 * the file, then kills it or lets it go on. Release builds have none of it.
 * docs/testing.md lists the names; a test compares that list with the code. */
#pragma once

#ifdef UNDERSTUDY_STOP_POINTS
void stop_at(const char *name);
#else
static inline void stop_at(const char *name)
{
    (void)name;
}
#endif
