/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/trial/confinement.h"

#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/virt_error.h"
#include "vmconnect/hypervisor/xml.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_GROUPS 64

void confinement_free(Confinement *c)
{
    if (!c)
        return;
    g_free(c->module);
    g_free(c->user);
    g_free(c);
}

static void take_user(Confinement *c, const xmlNode *model)
{
    g_autofree char *label = xml_text(xml_child(model, "baselabel"));
    const struct passwd *pw;
    guint uid, gid;

    if (!label || sscanf(label, "+%u:+%u", &uid, &gid) != 2) // NOLINT(cert-err34-c)
        return;
    c->uid = uid;
    c->gid = gid;
    pw = getpwuid(uid);
    c->user = pw ? g_strdup(pw->pw_name) : g_strdup_printf("%u", uid);
}

/* What holds QEMU in is a list of models: the kernel's module or "none", and "dac", the plain user. */
static void take_model(Confinement *c, const xmlNode *model)
{
    g_autofree char *name = xml_text(xml_child(model, "model"));

    if (g_strcmp0(name, "dac") == 0)
        take_user(c, model);
    else if (g_strcmp0(name, "apparmor") == 0 || g_strcmp0(name, "selinux") == 0) {
        g_free(c->module);
        c->module = g_steal_pointer(&name);
    }
}

Confinement *confinement_parse(const char *xml, GError **error)
{
    g_autoptr(xmlDoc) doc = xml_parse(xml, strlen(xml), "capabilities", "capabilities", error);
    const xmlNode *host;
    Confinement *c;

    if (!doc)
        return NULL;
    c = g_new0(Confinement, 1);
    c->module = g_strdup("none");
    host = xml_child(xmlDocGetRootElement(doc), "host");
    for (const xmlNode *m = xml_child(host, "secmodel"); m; m = xml_next(m))
        take_model(c, m);
    return c;
}

Confinement *confinement_read(virConnectPtr conn, GError **error)
{
    char *xml = virConnectGetCapabilities(conn);
    Confinement *c = NULL;

    if (xml)
        c = confinement_parse(xml, error);
    else
        virt_error(error, "cannot read what libvirt knows of this host");
    free(xml);
    return c;
}

/* As libvirt does for QEMU: all groups of the user. */
static gboolean is_in_group(const Confinement *c, gid_t gid)
{
    gid_t groups[MAX_GROUPS];
    int n = MAX_GROUPS;

    if (gid == c->gid)
        return TRUE;
    if (getgrouplist(c->user, c->gid, groups, &n) < 0)
        n = MAX_GROUPS;
    for (int i = 0; i < n; i++)
        if (groups[i] == gid)
            return TRUE;
    return FALSE;
}

gboolean confinement_allows(const Confinement *c, const char *path, int mode)
{
    struct stat st;
    guint bits = (guint)mode;

    if (!c->user || c->uid == 0 || stat(path, &st) != 0)
        return TRUE;
    if (st.st_uid == c->uid)
        bits <<= 6;
    else if (is_in_group(c, st.st_gid))
        bits <<= 3;
    return (st.st_mode & bits) == bits;
}

char *confinement_barrier(const Confinement *c, const char *folder, int mode)
{
    const char *end = folder;

    g_assert(g_path_is_absolute(folder));
    while ((end = strchr(end + 1, '/'))) {
        g_autofree char *part = g_strndup(folder, (gsize)(end - folder));

        if (!confinement_allows(c, part, X_OK))
            return g_steal_pointer(&part);
    }
    return confinement_allows(c, folder, mode) ? NULL : g_strdup(folder);
}
