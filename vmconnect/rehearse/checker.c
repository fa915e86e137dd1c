/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/checker.h"

#include "vmconnect/base/error.h"

#include <string.h>
#include <unistd.h>

#define WORDS_MAX 300 /* bytes */

const char *checker_state_name(CheckerState state)
{
    static const char *const NAME[] = {"clean", "damaged", "unknown"};

    return NAME[state];
}

void checker_finding_clear(CheckerFinding *finding)
{
    g_free(finding->text);
    *finding = (CheckerFinding){0};
}

/* ---- what a program says ---- */

typedef struct {
    int status;
    char *output;
} Answer;

static void answer_clear(Answer *answer)
{
    g_free(answer->output);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Answer, answer_clear)

static gboolean says(const Answer *a, const char *words)
{
    return strstr(a->output, words) != NULL;
}

/* What each says of every file system, good or bad. */
static gboolean is_chatter(const char *line)
{
    static const char *const CHATTER[] = {"Pass ",           "e2fsck 1.",      "Warning: skipping",
                                          "fsck.fat ",       "Phase ",         "        - ",
                                          "Cannot get host", "Repair may",     "the image and the host",
                                          "Opening ",        "Checking file",  "[",
                                          "Mounting vol",    "There are diff", NULL};

    for (guint i = 0; CHATTER[i]; i++)
        if (g_str_has_prefix(line, CHATTER[i]))
            return TRUE;
    return *line == '\0';
}

static void append_line(GString *words, const char *line)
{
    if (g_str_has_prefix(line, SANDBOX_FILE ": "))
        line += strlen(SANDBOX_FILE ": ");
    if (words->len > 0)
        g_string_append(words, "; ");
    for (const char *c = line; *c; c = g_utf8_next_char(c)) {
        gunichar letter = g_utf8_get_char(c);

        g_string_append_unichar(words, g_unichar_isprint(letter) ? letter : '?');
    }
}

/* Its first complaints, without what it says always. Names in them are the guest's. The caller frees. */
static char *first_words(const char *output)
{
    g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
    g_autoptr(GString) words = g_string_new(NULL);

    for (guint i = 0; lines[i] && words->len < WORDS_MAX; i++)
        if (!is_chatter(lines[i]))
            append_line(words, g_strstrip(lines[i]));
    if (words->len > WORDS_MAX) {
        const char *end = g_utf8_find_prev_char(words->str, words->str + WORDS_MAX);

        g_string_truncate(words, (gsize)(end - words->str));
        g_string_append(words, "…");
    }
    return g_string_free(g_steal_pointer(&words), FALSE);
}

static gboolean found(CheckerFinding *f, CheckerState state, char *text)
{
    g_free(f->text);
    *f = (CheckerFinding){state, text};
    return TRUE;
}

static gboolean found_by(CheckerFinding *f, CheckerState state, const char *checker, const Answer *a)
{
    g_autofree char *words = first_words(a->output);

    return found(f, state, g_strdup_printf("%s: %s", checker, words));
}

/* FALSE: it did not answer, which is either an error or a finding: then @error is not set. */
static gboolean ask(const char *const *argv, int fd, SandboxLimits limits, Answer *ret_answer,
                    CheckerFinding *f, GError **error)
{
    g_autoptr(GError) why = NULL;

    g_clear_pointer(&ret_answer->output, g_free);
    if (sandbox_run(argv, fd, limits, &ret_answer->status, &ret_answer->output, &why))
        return TRUE;
    if (why->code == US_ERROR_TIMEOUT || why->code == US_ERROR_CANCELLED)
        g_propagate_error(error, g_steal_pointer(&why));
    else if (why->code == US_ERROR_PROTOCOL)
        found(f, CHECKER_DAMAGED, g_strdup_printf("%s finds so much that it was stopped", argv[0]));
    else
        found(f, CHECKER_UNKNOWN, g_strdup_printf("not looked into: %s", why->message));
    return FALSE;
}

#define ASK(answer, ...) \
    ask((const char *const[]){__VA_ARGS__, SANDBOX_FILE, NULL}, fd, limits, answer, f, error)

/* ---- what is there ---- */

/* The value of @key in blkid's lines of KEY=VALUE, kept to the letters that its names have; NULL: none. */
static char *value_of(const char *output, const char *key)
{
    g_auto(GStrv) lines = g_strsplit(output, "\n", -1);

    for (guint i = 0; lines[i]; i++)
        if (g_str_has_prefix(lines[i], key) && lines[i][strlen(key)] == '=')
            return g_strcanon(g_strndup(lines[i] + strlen(key) + 1, 32),
                              G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_-", '_');
    return NULL;
}

#define BLKID_NOTHING 2
#define BLKID_SEVERAL 8

gboolean checker_recognize(int fd, SandboxLimits limits, char **ret_kind, char **ret_table, GError **error)
{
    g_auto(CheckerFinding) no_answer = {0};
    g_auto(Answer) a = {0};
    CheckerFinding *f = &no_answer;
    GError *why = NULL;

    if (!ask((const char *const[]){"blkid", "-p", "-o", "export", SANDBOX_FILE, NULL}, fd, limits, &a, f,
             &why)) {
        if (why)
            g_propagate_error(error, why);
        else
            g_set_error_literal(error, US_ERROR, US_ERROR_UNSUPPORTED, f->text);
        return FALSE;
    }
    if (a.status != 0 && a.status != BLKID_NOTHING) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "not looked into: %s",
                    a.status == BLKID_SEVERAL ? "it has the marks of several file systems"
                                              : "blkid cannot read it");
        return FALSE;
    }
    *ret_kind = value_of(a.output, "TYPE");
    *ret_table = value_of(a.output, "PTTYPE");
    return TRUE;
}

/* ---- ext2, ext3, ext4 ---- */

#define E2FSCK_CORRECTED 1 /* bits */
#define E2FSCK_UNCORRECTED 4
#define E2FSCK_GAVE_UP (~7) /* with the one before: because of what it found */

/* As the guest's own start does it: the journal, files that were deleted while open, and all that is corrected without a question if there is
 * no journal. Of one whose superblock says that it is clean nothing more is read. */
static gboolean ext_replay(int fd, SandboxLimits limits, Answer *a, CheckerFinding *f, GError **error)
{
    if (!ASK(a, "e2fsck", "-p"))
        return FALSE;
    if (a->status & E2FSCK_UNCORRECTED)
        return !found_by(f, CHECKER_DAMAGED, "e2fsck", a);
    if (a->status & E2FSCK_GAVE_UP)
        return !found_by(f, CHECKER_UNKNOWN, "e2fsck", a);
    if ((a->status & E2FSCK_CORRECTED) && !says(a, "was not cleanly unmounted, check forced"))
        return !found_by(f, CHECKER_DAMAGED, "e2fsck", a);
    return TRUE;
}

static gboolean look_ext(int fd, SandboxLimits limits, CheckerFinding *f, GError **error)
{
    g_auto(Answer) replay = {0};
    g_auto(Answer) a = {0};

    if (!ext_replay(fd, limits, &replay, f, error) || !ASK(&a, "e2fsck", "-f", "-n"))
        return f->text != NULL;
    if (a.status)
        return found_by(f, a.status & E2FSCK_UNCORRECTED ? CHECKER_DAMAGED : CHECKER_UNKNOWN, "e2fsck", &a);
    if (replay.status & E2FSCK_CORRECTED)
        return found(f, CHECKER_CLEAN,
                     g_strdup("it was in use, and was corrected as at a start of its guest"));
    return found(f, CHECKER_CLEAN,
                 says(&replay, "recovering journal") ? g_strdup("its journal was replayed") : NULL);
}

/* ---- FAT ---- */

#define FAT_SECTOR_BYTES 0x0b /* where in the boot sector; all numbers little endian */
#define FAT_16_SECTORS 0x16   /* 0: it is FAT32, … */
#define FAT_16_STATE 0x25
#define FAT_32_STATE 0x41 /* … which has it there … */
#define FAT_32_INFO 0x30  /* … and an information sector */
#define FAT_INFO_FREE 488
#define FAT_DIRTY 1

static guint get16(const guint8 *boot, gsize at)
{
    return boot[at] | (guint)boot[at + 1] << 8;
}

/* How much of it is free, as far as the information sector at @at (0: none) knows: not at all. */
static void fat_forget_free(int fd, off_t at)
{
    static const guint8 NOT_COUNTED[4] = {0xff, 0xff, 0xff, 0xff};
    guint8 info[512];

    if (at > 0 && pread(fd, info, sizeof(info), at) == (gssize)sizeof(info) && memcmp(info, "RRaA", 4) == 0 &&
        memcmp(info + 484, "rrAa", 4) == 0 &&
        pwrite(fd, NOT_COUNTED, sizeof(NOT_COUNTED), at + FAT_INFO_FREE) < 0)
        return;
}

/* A FAT that is mounted is marked so, and how much of it is free is only written at its end: neither is damage, and fsck.fat
 * does not tell them from what is. TRUE: it was mounted. What cannot be read or written here is fsck.fat's to tell. */
static gboolean fat_forgive(int fd)
{
    guint8 boot[512];
    gboolean is_32, dirty;
    gsize state;

    if (pread(fd, boot, sizeof(boot), 0) != (gssize)sizeof(boot))
        return FALSE;
    is_32 = get16(boot, FAT_16_SECTORS) == 0;
    if (is_32)
        fat_forget_free(fd, (off_t)get16(boot, FAT_32_INFO) * (off_t)get16(boot, FAT_SECTOR_BYTES));
    state = is_32 ? FAT_32_STATE : FAT_16_STATE;
    dirty = boot[state] & FAT_DIRTY;
    boot[state] &= (guint8)~FAT_DIRTY;
    return dirty && pwrite(fd, &boot[state], 1, (off_t)state) == 1;
}

static gboolean look_fat(int fd, SandboxLimits limits, CheckerFinding *f, GError **error)
{
    g_auto(Answer) a = {0};
    gboolean dirty = fat_forgive(fd);

    if (!ASK(&a, "fsck.fat", "-n"))
        return f->text != NULL;
    if (a.status > 1)
        return found_by(f, CHECKER_UNKNOWN, "fsck.fat", &a);
    if (a.status == 1)
        return found_by(f, CHECKER_DAMAGED,
                        dirty ? "it was in use, and has no journal; fsck.fat" : "fsck.fat", &a);
    return found(f, CHECKER_CLEAN, dirty ? g_strdup("it was in use") : NULL);
}

/* ---- others ---- */

/* Only a kernel replays its log, and not on a host on which others live. */
static gboolean look_xfs(int fd, SandboxLimits limits, CheckerFinding *f, GError **error)
{
    g_auto(Answer) a = {0};

    if (!ASK(&a, "xfs_repair", "-n", "-f", "-m", "1024"))
        return f->text != NULL;
    if (a.status == 0)
        return found(f, CHECKER_CLEAN, NULL);
    if (says(&a, "valuable metadata changes in a log"))
        return found(f, CHECKER_UNKNOWN, g_strdup("its log was not replayed, so xfs_repair cannot tell"));
    return found_by(
        f, a.status == 1 && !says(&a, "Required memory for repair") ? CHECKER_DAMAGED : CHECKER_UNKNOWN,
        "xfs_repair", &a);
}

static gboolean look_btrfs(int fd, SandboxLimits limits, CheckerFinding *f, GError **error)
{
    g_auto(Answer) a = {0};

    if (!ASK(&a, "btrfs", "check", "--readonly"))
        return f->text != NULL;
    if (says(&a, "warning, device "))
        return found(f, CHECKER_UNKNOWN, g_strdup("not looked into: it lies on several disks or partitions"));
    if (a.status == 0)
        return found(f, CHECKER_CLEAN, NULL);
    return found_by(f, CHECKER_DAMAGED, "btrfs check", &a);
}

/* There is no whole check of NTFS outside of Windows. */
static gboolean look_ntfs(int fd, SandboxLimits limits, CheckerFinding *f, GError **error)
{
    g_auto(Answer) a = {0};

    if (!ASK(&a, "ntfsfix", "-n"))
        return f->text != NULL;
    if (a.status == 0)
        return found(
            f, CHECKER_UNKNOWN,
            g_strdup("ntfsfix finds its boot sectors and file table right; nothing else was looked at"));
    return found_by(f, says(&a, "Volume is corrupt") ? CHECKER_DAMAGED : CHECKER_UNKNOWN, "ntfsfix", &a);
}

static const struct {
    const char *kind;
    gboolean (*look)(int fd, SandboxLimits limits, CheckerFinding *f, GError **error);
    const char *text; /* why nobody looks */
} LOOKS[] = {
    {"ext2", look_ext, NULL},
    {"ext3", look_ext, NULL},
    {"ext4", look_ext, NULL},
    {"vfat", look_fat, NULL},
    {"xfs", look_xfs, NULL},
    {"btrfs", look_btrfs, NULL},
    {"ntfs", look_ntfs, NULL},
    {"swap", NULL, "not looked into: swap space"},
    {"LVM2_member", NULL, "not looked into: a physical volume of LVM"},
    {"crypto_LUKS", NULL, "not looked into: encrypted (LUKS)"},
    {"linux_raid_member", NULL, "not looked into: a member of a RAID"},
};

gboolean checker_look(const char *kind, int fd, SandboxLimits limits, CheckerFinding *ret_finding,
                      GError **error)
{
    *ret_finding = (CheckerFinding){0};
    if (!kind)
        return found(ret_finding, CHECKER_UNKNOWN,
                     g_strdup("not looked into: no file system that is known here"));
    for (guint i = 0; i < G_N_ELEMENTS(LOOKS); i++)
        if (g_str_equal(LOOKS[i].kind, kind))
            return LOOKS[i].look ? LOOKS[i].look(fd, limits, ret_finding, error)
                                 : found(ret_finding, CHECKER_UNKNOWN, g_strdup(LOOKS[i].text));
    return found(ret_finding, CHECKER_UNKNOWN,
                 g_strdup_printf("not looked into: no check of %s is known here", kind));
}
