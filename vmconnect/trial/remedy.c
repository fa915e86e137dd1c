/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/trial/remedy.h"

#include <string.h>

/* Debian's profile for every guest includes this file, if it is there, and so does that of libvirt's helper. */
#define AA_GUESTS "/etc/apparmor.d/local/abstractions/libvirt-qemu"
#define AA_HELPER "/etc/apparmor.d/local/usr.lib.libvirt.virt-aa-helper"

typedef struct {
    const RemedyHost *host;
    TrialStep step;
    const char *folder;
    const char *barrier;
} Case;

const char *trial_step_id(TrialStep step)
{
    static const char *const IDS[] = {
#define X(name, id) [TRIAL_##name] = (id),
        TRIAL_STEPS(X)
#undef X
    };

    return IDS[step];
}

TrialStep remedy_blame(const RemedyHost *host, TrialStep step, const char *words)
{
    if (step != TRIAL_BACKUP)
        return step;
    return strstr(words, host->nbd_dir)       ? TRIAL_SOCKET
           : strstr(words, host->scratch_dir) ? TRIAL_SCRATCH
                                              : step;
}

const char *remedy_folder(const RemedyHost *host, TrialStep step)
{
    switch (step) {
    case TRIAL_STORE:
    case TRIAL_START:
        return host->store_dir;
    case TRIAL_SCRATCH:
        return host->scratch_dir;
    case TRIAL_SOCKET:
        return host->nbd_dir;
    case TRIAL_HOOK:
    case TRIAL_BACKUP:
    case TRIAL_DEFINE:
        return NULL;
    }
    g_assert_not_reached();
}

/* --- remedies, each for one kind of cause; NULL: there is none after all ---- */

static char *make_room(const Case *c)
{
    return c->folder ? g_strdup_printf("make room in %s, or name a folder on a larger file system in "
                                       "/etc/understudy/engine.conf",
                                       c->folder)
                     : NULL;
}

static char *make_writable(const Case *c)
{
    return c->folder ? g_strdup_printf("%s must be on a file system that can be written to: mount it so, or "
                                       "name another folder in /etc/understudy/engine.conf",
                                       c->folder)
                     : NULL;
}

static char *mount_it(const Case *c)
{
    return c->folder
               ? g_strdup_printf("mount what belongs to %s, or restart the engine, which makes it", c->folder)
               : NULL;
}

static char *apparmor_guests(const Case *c)
{
    return c->folder ? g_strdup_printf("AppArmor: add the line `%s/** rwk,` to %s and run `systemctl reload "
                                       "apparmor`",
                                       c->folder, AA_GUESTS)
                     : NULL;
}

/* The helper reads each image's header before it writes the guest's profile. */
static char *apparmor_helper(const Case *c)
{
    return g_strdup_printf(
        "AppArmor: add the line `%s/** r,` to %s and `%s/** rwk,` to %s and run `systemctl reload apparmor`",
        c->host->store_dir, AA_HELPER, c->host->store_dir, AA_GUESTS);
}

static char *selinux_label(const Case *c)
{
    const char *type = c->step == TRIAL_SOCKET ? "qemu_var_run_t" : "virt_image_t";

    return c->folder
               ? g_strdup_printf(
                     "SELinux: `semanage fcontext -a -t %s '%s(/.*)?' && restorecon -RF %s`; a file system "
                     "that cannot keep labels (NFS of old, CIFS) cannot be used",
                     type, c->folder, c->folder)
               : NULL;
}

static char *let_pass(const Case *c)
{
    const char *user = c->host->qemu_user ? c->host->qemu_user : "QEMU's user";

    if (!g_str_equal(c->barrier, c->folder))
        return g_strdup_printf("%s may not pass through %s: `chmod o+x %s`", user, c->barrier, c->barrier);
    if (c->step == TRIAL_STORE || c->step == TRIAL_START)
        return g_strdup_printf("%s may not enter %s: `chmod 0711 %s`", user, c->folder, c->folder);
    return g_strdup_printf("%s must be %s's own: `chown %s %s && chmod 0700 %s`; if QEMU shall run as "
                           "somebody else, `qemu_user` in /etc/understudy/engine.conf says so",
                           c->folder, user, user, c->folder, c->folder);
}

/* The file system's own rights first: they are certain. */
static char *let_in(const Case *c)
{
    if (c->barrier && c->folder)
        return let_pass(c);
    if (g_str_equal(c->host->security, "apparmor"))
        return apparmor_guests(c);
    if (g_str_equal(c->host->security, "selinux"))
        return selinux_label(c);
    return NULL;
}

static char *install_qemu(const Case *c)
{
    (void)c;
    return g_strdup("install QEMU for this host's processor (Debian: qemu-system-x86), and see that "
                    "`virsh capabilities` names it");
}

static char *renew(const Case *c)
{
    (void)c;
    return g_strdup("this needs a libvirt and a QEMU that can do incremental backups (Debian 12 has them): "
                    "bring the host up to date");
}

static char *rename_it(const Case *c)
{
    (void)c;
    return g_strdup("that VM is not ours and was left alone: rename it");
}

static char *mend_hook(const Case *c)
{
    (void)c;
    return g_strdup(
        "install Understudy's start hook anew; if the script is another's, mend it, or take it out "
        "of /etc/libvirt/hooks");
}

static char *become_root(const Case *c)
{
    (void)c;
    return g_strdup(
        "the engine must run as root, and libvirt's access rules (polkit) must let it define VMs");
}

/* The first that is in the words and has a remedy. */
static const struct {
    const char *words;
    char *(*remedy)(const Case *c);
} CAUSES[] = {
    {"No space left on device", make_room},
    {"Disk quota exceeded", make_room},
    {" is full", make_room},
    {"Read-only file system", make_writable},
    {"virt-aa-helper", apparmor_helper},
    {"AppArmor profile", apparmor_helper},
    {"apparmor", apparmor_helper},
    {"set security context", selinux_label},
    {"Hook script execution failed", mend_hook},
    {"read only access", become_root},
    {"access denied", become_root},
    {"authentication", become_root},
    {"Permission denied", let_in},
    {"Operation not permitted", let_in},
    {"Cannot check QEMU binary", install_qemu},
    {"could not find capabilities", install_qemu},
    {"No emulator found", install_qemu},
    {"does not support virt type", install_qemu},
    {"Cannot find suitable emulator", install_qemu},
    {"incremental backup", renew},
    {"block-dirty-bitmap", renew},
    {"already exists", rename_it},
    {"already active", rename_it},
    {"No such file or directory", mount_it},
};

char *remedy_for(const RemedyHost *host, TrialStep step, const char *words, const char *barrier)
{
    const Case c = {host, step, remedy_folder(host, step), barrier};

    for (guint i = 0; i < G_N_ELEMENTS(CAUSES); i++) {
        char *remedy = strstr(words, CAUSES[i].words) ? CAUSES[i].remedy(&c) : NULL;

        if (remedy)
            return remedy;
    }
    return NULL;
}
