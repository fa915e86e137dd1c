/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate that a peer sends as PEM, and a file of ours that holds two. */
#include "vmconnect/base/error.h"
#include "vmconnect/link/certificate.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static void sent(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(X509) certificate = certificate_from_pem(text, &error);
    g_autoptr(X509) back = NULL;
    g_autofree char *pem = NULL;
    Peer peer;

    if (!certificate) {
        g_assert(g_error_matches(error, US_ERROR, US_ERROR_CORRUPT));
        return;
    }
    if (!certificate_peer(certificate, &peer, &error))
        g_assert(g_error_matches(error, US_ERROR, US_ERROR_PROTOCOL));
    certificate_expires_at_ms(certificate);
    certificate_verify(certificate, certificate, NULL);
    pem = certificate_to_pem(certificate);
    back = certificate_from_pem(pem, NULL);
    g_assert(back && X509_cmp(certificate, back) == 0);
}

static const char *the_path(void)
{
    static char path[64];

    if (!*path)
        g_snprintf(path, sizeof(path), "/dev/shm/understudy-fuzz-%d", (int)getpid());
    return path;
}

static void kept(const char *text, gsize len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(X509) first = NULL;
    g_autoptr(X509) second = NULL;

    g_assert(g_file_set_contents_full(the_path(), text, (gssize)len, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
    if (!pem_load(the_path(), "understudy-owner", NULL, &first, &second, &error))
        g_assert(error->domain == US_ERROR);
    g_unlink(the_path());
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *text = g_strndup((const char *)data, size);

    sent(text);
    kept(text, size);
    return 0;
}
