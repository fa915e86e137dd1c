/* SPDX-License-Identifier: Apache-2.0 */
/* What hosts say, word by word, and what becomes of it. */
#include "vmconnect/trial/remedy.h"

#include <string.h>

#define STORE "/srv/images"
#define SCRATCH "/srv/scratch"
#define NBD "/run/understudy/engine/nbd"
#define TOP STORE "/understudy-trial-533fcecd-2814-458a-8be7-6ef7a4ba6ace/top.qcow2"
#define DENIED_BY_QEMU                                                                                       \
    "internal error: process exited while connecting to monitor: 2026-11-26T12:24:04.440691Z "               \
    "qemu-system-x86_64: -blockdev {\"driver\":\"file\",\"filename\":\"" TOP "\",\"node-name\":\"libvirt-1-" \
    "storage\"}: Could not open '" TOP "': Permission denied"
#define NO_BIND                                                                               \
    "cannot begin a backup job: internal error: unable to execute QEMU command "              \
    "'nbd-server-start': Failed to bind socket to " NBD "/533fcecd-0c1d2e3f-nbd: Permission " \
    "denied"
#define AA_ABSTRACTION "/etc/apparmor.d/local/abstractions/libvirt-qemu"

typedef struct {
    const char *what;
    TrialStep step, blamed;
    const char *security;
    const char *words;
    const char *barrier;
    const char *remedy; /* a part of it; NULL: none */
} Case;

static const Case CASES[] = {
    {"a parent folder of mode 0700", TRIAL_START, TRIAL_START, "none",
     "cannot access storage file '" TOP "' (as uid:64055, gid:64055): Permission denied", "/srv",
     "libvirt-qemu may not pass through /srv: `chmod o+x /srv`"},
    {"the store itself", TRIAL_START, TRIAL_START, "none", DENIED_BY_QEMU, STORE,
     "libvirt-qemu may not enter " STORE ": `chmod 0711 " STORE "`"},
    {"denied, and nobody knows why", TRIAL_START, TRIAL_START, "none", DENIED_BY_QEMU, NULL, NULL},
    {"AppArmor, of QEMU", TRIAL_START, TRIAL_START, "apparmor", DENIED_BY_QEMU, NULL,
     "add the line `" STORE "/** rwk,` to " AA_ABSTRACTION},
    {"modes are looked at before AppArmor", TRIAL_START, TRIAL_START, "apparmor", DENIED_BY_QEMU, "/srv",
     "`chmod o+x /srv`"},
    {"AppArmor, of libvirt's helper", TRIAL_START, TRIAL_START, "apparmor",
     "internal error: cannot load AppArmor profile 'libvirt-533fcecd-2814-458a-8be7-6ef7a4ba6ace'", NULL,
     "add the line `" STORE "/** r,` to /etc/apparmor.d/local/usr.lib.libvirt.virt-aa-helper and `" STORE
     "/** rwk,` to " AA_ABSTRACTION},
    {"the helper's own words", TRIAL_START, TRIAL_START, "apparmor",
     "internal error: Child process (LC_ALL=C /usr/lib/libvirt/virt-aa-helper -r -u libvirt-533fcecd) "
     "unexpected exit status 1: virt-aa-helper: error: skipped restricted file",
     NULL, "usr.lib.libvirt.virt-aa-helper"},
    {"AppArmor, of the socket", TRIAL_BACKUP, TRIAL_SOCKET, "apparmor", NO_BIND, NULL,
     "add the line `" NBD "/** rwk,` to " AA_ABSTRACTION " and run `systemctl reload apparmor`"},
    {"SELinux, of QEMU", TRIAL_START, TRIAL_START, "selinux", DENIED_BY_QEMU, NULL,
     "semanage fcontext -a -t virt_image_t '" STORE "(/.*)?' && restorecon -RF " STORE},
    {"SELinux, of the socket", TRIAL_BACKUP, TRIAL_SOCKET, "selinux", NO_BIND, NULL,
     "semanage fcontext -a -t qemu_var_run_t '" NBD "(/.*)?'"},
    {"a file system without labels", TRIAL_START, TRIAL_START, "selinux",
     "unable to set security context 'system_u:object_r:svirt_image_t:s0:c17,c803' on '" TOP
     "': Operation not supported",
     NULL, "a file system that cannot keep labels"},
    {"a socket folder of another owner", TRIAL_BACKUP, TRIAL_SOCKET, "none", NO_BIND, NBD,
     "`chown libvirt-qemu " NBD " && chmod 0700 " NBD "`"},
    {"a scratch folder of another owner", TRIAL_BACKUP, TRIAL_SCRATCH, "none",
     "cannot begin a backup job: internal error: unable to execute QEMU command 'blockdev-add': Could not "
     "open '" SCRATCH "/533fcecd-0c1d2e3f-vda': Permission denied",
     SCRATCH, "`chown libvirt-qemu " SCRATCH " && chmod 0700 " SCRATCH "`"},
    {"full scratch", TRIAL_BACKUP, TRIAL_SCRATCH, "none",
     "not cutting 'understudy-trial': " SCRATCH " is full; free some space there", NULL,
     "make room in " SCRATCH},
    {"a full store", TRIAL_STORE, TRIAL_STORE, "none",
     "cannot write " STORE "/understudy-trial-533fcecd/understudy-trial.new: No space left on device", NULL,
     "make room in " STORE},
    {"a quota", TRIAL_STORE, TRIAL_STORE, "none", "image " TOP ": Disk quota exceeded", NULL,
     "make room in " STORE},
    {"a read-only store", TRIAL_STORE, TRIAL_STORE, "none",
     "cannot make " STORE "/understudy-trial-533fcecd: Read-only file system", NULL,
     STORE " must be on a file system that can be written to"},
    {"a store that is not mounted", TRIAL_STORE, TRIAL_STORE, "none", STORE ": No such file or directory",
     NULL, "mount what belongs to " STORE},
    {"no QEMU", TRIAL_START, TRIAL_START, "none",
     "invalid argument: could not find capabilities for arch=x86_64 domaintype=qemu", NULL, "install QEMU"},
    {"no QEMU, said by a libvirtd that started without", TRIAL_START, TRIAL_START, "none",
     "unsupported configuration: No emulator found for arch 'x86_64'", NULL, "install QEMU"},
    {"QEMU went away", TRIAL_START, TRIAL_START, "none",
     "Cannot check QEMU binary /usr/bin/qemu-system-x86_64: No such file or directory", NULL, "install QEMU"},
    {"an old libvirt", TRIAL_BACKUP, TRIAL_BACKUP, "none",
     "cannot begin a backup job: Operation not supported: incremental backup is not supported yet", NULL,
     "bring the host up to date"},
    {"a VM of the same name", TRIAL_START, TRIAL_START, "none",
     "operation failed: domain 'understudy-trial' already exists with uuid 533fcecd-2814-458a", NULL,
     "rename it"},
    {"another's hook", TRIAL_START, TRIAL_START, "none",
     "Hook script execution failed: internal error: Child process (LC_ALL=C /etc/libvirt/hooks/qemu.d/other "
     "understudy-trial prepare begin -) unexpected exit status 1: Permission denied",
     NULL, "if the script is another's, mend it"},
    {"not root", TRIAL_DEFINE, TRIAL_DEFINE, "none",
     "defining: operation forbidden: read only access prevents virDomainDefineXML", NULL, "must run as root"},
    {"something new", TRIAL_BACKUP, TRIAL_BACKUP, "none", "internal error: the moon is full of cheese", NULL,
     NULL},
};

static void test_cases(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        const Case *c = &CASES[i];
        RemedyHost host = {STORE, SCRATCH, NBD, "libvirt-qemu", c->security};
        TrialStep blamed = remedy_blame(&host, c->step, c->words);
        g_autofree char *remedy = remedy_for(&host, blamed, c->words, c->barrier);

        g_test_message("%s: %s", c->what, remedy);
        g_assert_cmpint(blamed, ==, c->blamed);
        g_assert_true(c->remedy ? remedy && strstr(remedy, c->remedy) : remedy == NULL);
    }
}

static void test_user_not_known(void)
{
    RemedyHost host = {STORE, SCRATCH, NBD, NULL, "none"};
    g_autofree char *remedy = remedy_for(&host, TRIAL_START, DENIED_BY_QEMU, "/srv");

    g_assert_cmpstr(remedy, ==, "QEMU's user may not pass through /srv: `chmod o+x /srv`");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/remedy/cases", test_cases);
    g_test_add_func("/remedy/user-not-known", test_user_not_known);
    return g_test_run();
}
