/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/hello.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

json_t *hello_to_json(const Hello *hello)
{
    return json_pack("{s:s, s:[ii], s:I, s:s, s:s, s:s}", "program", hello->program, "versions",
                     hello->version_min, hello->version_max, "features", (json_int_t)hello->features,
                     "purpose", purpose_name(hello->purpose), "role", role_name(hello->role), "id",
                     ID_TEXT(hello->id));
}

gboolean hello_from_json(const json_t *doc, Hello *ret_hello, GError **error)
{
    const char *program, *purpose, *role, *id;
    int min, max;
    json_int_t features;
    Hello h = {0};

    if (!json_read(doc, "HELLO", error, "{s:s, s:[ii], s:I, s:s, s:s, s:s*}", "program", &program, "versions",
                   &min, &max, "features", &features, "purpose", &purpose, "role", &role, "id", &id) ||
        !id_parse(id, &h.id, error))
        return message_blame(error);
    if (min < 1 || max < min || features < 0 || !purpose_from_name(purpose, &h.purpose) ||
        !role_from_name(role, &h.role)) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL,
                    "HELLO asks for versions %d to %d, purpose '%.32s', role '%.32s'", min, max, purpose,
                    role);
        return FALSE;
    }
    h.version_min = (guint)min;
    h.version_max = (guint)max;
    h.features = (guint64)features;
    g_strlcpy(h.program, program, sizeof(h.program));
    *ret_hello = h;
    return TRUE;
}

/* Control and enrolment are asked for by a controller, all else by an engine. */
static Role role_for(Purpose purpose)
{
    return purpose == PURPOSE_CONTROL || purpose == PURPOSE_ENROL ? ROLE_CONTROLLER : ROLE_ENGINE;
}

static gboolean no_common_version(const Hello *mine, const Hello *theirs, GError **error)
{
    gboolean mine_older = mine->version_max < theirs->version_min;

    g_set_error(
        error, US_ERROR, US_ERROR_UNSUPPORTED,
        "no common protocol version: the %s (program %s) speaks %u to %u, the %s (program %s) %u to %u; "
        "upgrade the %s",
        role_name(mine->role), mine->program, mine->version_min, mine->version_max, role_name(theirs->role),
        theirs->program, theirs->version_min, theirs->version_max,
        role_name(mine_older ? mine->role : theirs->role));
    return FALSE;
}

/* Whoever has this engine's own key is root on its host, and may ask it as that (gate.c). */
static gboolean may_open(const Hello *mine, const Hello *theirs)
{
    return theirs->role == role_for(theirs->purpose) ||
           (theirs->purpose == PURPOSE_CONTROL && theirs->role == mine->role &&
            id_equal(theirs->id, mine->id));
}

gboolean hello_agree(const Hello *mine, const Hello *theirs, Hello *ret_welcome, GError **error)
{
    guint version = MIN(mine->version_max, theirs->version_max);

    if (version < mine->version_min || version < theirs->version_min)
        return no_common_version(mine, theirs, error);
    if (!may_open(mine, theirs)) {
        g_set_error(error, US_ERROR, US_ERROR_DENIED, "a link for %s may not be opened by the role %s",
                    purpose_name(theirs->purpose), role_name(theirs->role));
        return FALSE;
    }
    *ret_welcome = *mine;
    ret_welcome->version_min = ret_welcome->version_max = version;
    ret_welcome->features = mine->features & theirs->features;
    ret_welcome->purpose = theirs->purpose;
    return TRUE;
}

gboolean hello_accept(const Hello *mine, const Hello *welcome, GError **error)
{
    if (welcome->version_min == welcome->version_max && welcome->version_min >= mine->version_min &&
        welcome->version_max <= mine->version_max && (welcome->features & ~mine->features) == 0 &&
        welcome->purpose == mine->purpose && welcome->role == ROLE_ENGINE)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "WELCOME agrees to what was not asked for");
    return FALSE;
}
