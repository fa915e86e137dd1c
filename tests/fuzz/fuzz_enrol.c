/* SPDX-License-Identifier: Apache-2.0 */
/* A stranger who does not know the token, towards both sides of enrolment. Input: frames of
 * a type byte, a length of two bytes and a payload. Nothing of it may get an owner stored or a key signed. */
#include "vmconnect/link/enrol.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_LEN 3

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

static Identity *identity;

static Identity *the_identity(void)
{
    g_autofree char *dir = NULL;
    g_autofree char *key = NULL;

    if (identity)
        return identity;
    dir = g_dir_make_tmp("understudy-fuzz-XXXXXX", NULL);
    g_assert(dir);
    identity = identity_open(dir, ROLE_ENGINE, NULL);
    g_assert(identity);
    key = g_build_filename(dir, "key.pem", NULL);
    g_unlink(key);
    g_rmdir(dir);
    return identity;
}

static gboolean never_sign(void *user, GBytes *public_key, Id engine, char **ret_certificate,
                           char **ret_authority, GError **error)
{
    (void)user;
    (void)public_key;
    (void)engine;
    (void)ret_certificate;
    (void)ret_authority;
    (void)error;
    abort();
}

static void to_engine(EnrolEngine *engine, const Frame *frame)
{
    g_auto(EnrolStep) step = {0};

    enrol_engine_take(engine, frame, 1000, &step);
    g_assert(step.fail && !step.doc && step.store != ENROL_STORE_OWNER);
}

static void to_controller(EnrolController *controller, const Frame *frame)
{
    json_auto_t *doc = NULL;
    MessageType type;
    gboolean done;
    Id id;

    g_assert(!enrol_controller_take(controller, frame, &type, &doc, &done, &id, NULL) && !doc);
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    Peer me = identity_peer(the_identity());
    TokenState state = token_state_new(me.fingerprint, 1000);
    EnrolBinding binding = {.session = {1}, .dialer = {2}};
    g_autoptr(EnrolEngine) engine = NULL;
    g_autoptr(EnrolController) controller = NULL;
    json_auto_t *first = NULL;

    memcpy(binding.listener, me.fingerprint, FINGERPRINT_LEN);
    engine = enrol_engine_new(identity, &state, &binding);
    controller = enrol_controller_new(&state.token, &binding, never_sign, NULL);
    first = enrol_controller_start(controller, NULL);
    g_assert(first);
    while (len >= HEAD_LEN) {
        gsize n = MIN((gsize)data[1] | (gsize)data[2] << 8, len - HEAD_LEN);
        Frame frame = {{data[0], 0, (guint32)n, 0}, (guint8 *)data + HEAD_LEN};

        data += HEAD_LEN + n;
        len -= HEAD_LEN + n;
        to_engine(engine, &frame);
        /* A controller hears nothing after its first mistake; a fresh one each time hears more. */
        g_clear_pointer(&controller, enrol_controller_free);
        controller = enrol_controller_new(&state.token, &binding, never_sign, NULL);
        json_decref(first);
        first = enrol_controller_start(controller, NULL);
        to_controller(controller, &frame);
    }
    return 0;
}
