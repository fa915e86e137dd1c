/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/loop/thread.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/fault.h"

gboolean thread_start(uv_thread_t *ret_thread, void (*run)(void *arg), void *arg, GError **error)
{
    int why = fault_at();
    int rc = why ? -why : uv_thread_create(ret_thread, run, arg);

    return rc == 0 ||
           us_error_errno(error, -rc,
                          "this host lets the engine have no more threads: free some memory, or see "
                          "`systemctl status` for its tasks");
}
