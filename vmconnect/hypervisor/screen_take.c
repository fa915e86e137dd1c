/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU writes the picture into a file of libvirt's, which comes as a stream: whole, or none. */
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/screen.h"

#include <string.h>

#define HEADER_MAX_BYTES (64U << 10)
#define PIECE_BYTES (16U << 10)

/* For libvirt that is an internal error: its words where no screen is defined, and QEMU's for <model type='none'/>. */
static gboolean has_no_screen(void)
{
    const virError *e = virGetLastError();

    return e && e->message &&
           (strstr(e->message, "no screens to take screenshot from") ||
            strstr(e->message, "no console to take a screendump from"));
}

/* The stream's end is taken, too. NULL with @error; the stream is over in any case. */
static GByteArray *receive(virStreamPtr stream, const char *vm, GError **error)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autofree char *piece = g_malloc(PIECE_BYTES);
    int got;

    while ((got = virStreamRecv(stream, piece, PIECE_BYTES)) > 0 &&
           bytes->len <= SCREEN_BYTES_MAX + HEADER_MAX_BYTES)
        g_byte_array_append(bytes, (const guint8 *)piece, (guint)got);
    if (got > 0)
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED,
                    "the picture of the screen of '%s' has more than %u MiB: it is not taken", vm,
                    SCREEN_BYTES_MAX >> 20);
    else if (got < 0)
        virt_error(error, "the picture of the screen of '%s' did not arrive", vm);
    if (got != 0) {
        virStreamAbort(stream);
        return NULL;
    }
    if (virStreamFinish(stream) < 0) {
        virt_error(error, "the picture of the screen of '%s' did not arrive whole", vm);
        return NULL;
    }
    return g_steal_pointer(&bytes);
}

gboolean screen_take(virDomainPtr dom, Screen **ret_screen, GError **error)
{
    const char *vm = virDomainGetName(dom);
    g_autoptr(virStream) stream = virStreamNew(virDomainGetConnect(dom), 0);
    g_autoptr(GByteArray) bytes = NULL;
    g_autofree char *mime = NULL;
    Screen *screen;

    if (!stream)
        return virt_error(error, "no stream for the screen of '%s'", vm);
    mime = virDomainScreenshot(dom, stream, 0, 0);
    if (!mime && has_no_screen()) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED,
                    "'%s' has no screen: no picture of it can be taken; one comes with a <video> device", vm);
        return FALSE;
    }
    if (!mime)
        return virt_error(error, "no picture of the screen of '%s' could be taken", vm);
    bytes = receive(stream, vm, error);
    if (!bytes)
        return FALSE;
    screen = screen_parse(mime, bytes->data, bytes->len, error);
    if (!screen) {
        g_prefix_error(error, "'%s': ", vm);
        return FALSE;
    }
    *ret_screen = screen;
    return TRUE;
}
