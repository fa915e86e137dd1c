/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/base/error.h"

#include <errno.h>
#include <string.h>

/* G_DEFINE_QUARK() with an atomic: two threads may fail for the first time at once. */
GQuark us_error_quark(void)
{
    static _Atomic GQuark quark;

    if (quark == 0)
        quark = g_quark_from_static_string("us-error-quark");
    return quark;
}

static const struct {
    const char *wire;
    int exit_code;
    int http_status;
} CODES[] = {
#define X(code, wire, exit, http) [US_ERROR_##code] = {wire, exit, http},
    US_ERROR_CODES(X)
#undef X
};

const char *us_error_name(UsError code)
{
    g_assert(code < G_N_ELEMENTS(CODES));
    return CODES[code].wire;
}

UsError us_error_from_name(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(CODES); i++)
        if (g_strcmp0(CODES[i].wire, name) == 0)
            return i;
    return US_ERROR_FAILED;
}

static UsError code_of(const GError *error)
{
    return error->domain == US_ERROR ? (UsError)error->code : US_ERROR_FAILED;
}

gboolean us_error_may_pass(const GError *error)
{
    return g_error_matches(error, US_ERROR, US_ERROR_UNREACHABLE) ||
           g_error_matches(error, US_ERROR, US_ERROR_TIMEOUT) ||
           g_error_matches(error, US_ERROR, US_ERROR_BUSY) ||
           g_error_matches(error, US_ERROR, US_ERROR_CANCELLED);
}

int us_error_exit(const GError *error)
{
    return CODES[code_of(error)].exit_code;
}

int us_error_http(const GError *error)
{
    return CODES[code_of(error)].http_status;
}

static UsError code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return US_ERROR_NO_SPACE;
    case ENOENT:
        return US_ERROR_NOT_FOUND;
    case EACCES:
    case EPERM:
        return US_ERROR_DENIED;
    default:
        return US_ERROR_IO;
    }
}

gboolean us_error_errno(GError **error, int errnum, const char *format, ...)
{
    g_autofree char *what = NULL;
    va_list args;

    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, US_ERROR, code_of_errno(errnum), "%s: %s", what, g_strerror(errnum));
    return FALSE;
}
