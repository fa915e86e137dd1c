/* SPDX-License-Identifier: Apache-2.0 */
/* outcome - what came of sending one message once. */
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct {
    GError *error; /* NULL: it was delivered. Else cause and next step, not the channel's name */
    gboolean
        refused; /* … it came to its receiver, who says that he will never take this one; another he may */
    json_t *
        missed; /* of a mail that some have, or refuse, {"address": why} of those of whom that is not so; NULL: of nobody */
} Outcome;
