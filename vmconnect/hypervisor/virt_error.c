/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/virt_error.h"

#include "vmconnect/base/error.h"

#include <string.h>

/* libvirt reports a lost connection as an error of the call that noticed it,
 * with the text as the only difference; these are its texts for all the ways. */
static gboolean is_about_connection(const virError *e)
{
    static const char *const TEXTS[] = {"keepalive timeout", "End of file while reading data",
                                        "client socket is closed", "Connection reset", "Broken pipe"};

    if (e->code == VIR_ERR_NO_CONNECT || e->code == VIR_ERR_INVALID_CONN)
        return TRUE;
    if (e->domain != VIR_FROM_RPC && e->domain != VIR_FROM_REMOTE && e->code != VIR_ERR_INTERNAL_ERROR)
        return FALSE;
    if (e->code == VIR_ERR_SYSTEM_ERROR && e->domain == VIR_FROM_RPC)
        return TRUE;
    for (guint i = 0; i < G_N_ELEMENTS(TEXTS); i++)
        if (e->message && strstr(e->message, TEXTS[i]))
            return TRUE;
    return FALSE;
}

static UsError code_of(const virError *e)
{
    if (is_about_connection(e))
        return US_ERROR_UNREACHABLE;
    switch (e->code) {
    case VIR_ERR_OPERATION_TIMEOUT: /* "cannot acquire state change lock" */
    case VIR_ERR_BLOCK_COPY_ACTIVE:
        return US_ERROR_BUSY;
    case VIR_ERR_NO_DOMAIN:
    case VIR_ERR_NO_NETWORK:
    case VIR_ERR_NO_DOMAIN_CHECKPOINT:
    case VIR_ERR_NO_DOMAIN_BACKUP:
        return US_ERROR_NOT_FOUND;
    case VIR_ERR_DOM_EXIST:
        return US_ERROR_EXISTS;
    case VIR_ERR_OPERATION_FAILED:
        return e->message && strstr(e->message, "already exists with uuid") ? US_ERROR_EXISTS
                                                                            : US_ERROR_FAILED;
    case VIR_ERR_OPERATION_INVALID:
    case VIR_ERR_OPERATION_DENIED:
    case VIR_ERR_HOOK_SCRIPT_FAILED:
        return US_ERROR_REFUSED;
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_OPERATION_UNSUPPORTED:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
        return US_ERROR_UNSUPPORTED;
    case VIR_ERR_AGENT_UNRESPONSIVE:
    case VIR_ERR_AGENT_UNSYNCED:
        return US_ERROR_TIMEOUT;
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_AUTH_UNAVAILABLE:
    case VIR_ERR_ACCESS_DENIED:
        return US_ERROR_DENIED;
    default:
        return US_ERROR_FAILED;
    }
}

gboolean virt_error_take(virErrorPtr last, GError **error, const char *format, ...)
{
    g_autofree char *what = NULL;
    g_autofree char *words = NULL;
    va_list args;

    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);
    /* It quotes QEMU, and cuts where its buffer ends: neither is always UTF-8, which all that we say must be. */
    if (last && last->message)
        words = g_utf8_make_valid(last->message, -1);
    if (last && last->code != VIR_ERR_OK)
        g_set_error(error, US_ERROR, (int)code_of(last), "%s: %s", what, words ? words : "");
    else
        g_set_error(error, US_ERROR, US_ERROR_FAILED, "%s: libvirt gave no reason", what);
    virFreeError(last);
    return FALSE;
}

int virt_error_code(void)
{
    const virError *e = virGetLastError();

    return e ? e->code : VIR_ERR_OK;
}
