/* SPDX-License-Identifier: Apache-2.0 */
/* thread - begin one where it is no mistake of ours that there is none to be had: what it was for is not done, and the process goes on. */
#pragma once

#include <glib.h>
#include <uv.h>

/* @run with @arg on *@ret_thread, for uv_thread_join(). FALSE with @error IO: this host lets the process have no more. */
gboolean thread_start(uv_thread_t *ret_thread, void (*run)(void *arg), void *arg, GError **error);
