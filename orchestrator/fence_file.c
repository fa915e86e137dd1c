/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/fence_file.h"

#include "orchestrator/notify/line.h"
#include "vmconnect/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX 65536
#define SECRET_BYTES_MIN 3 /* "1" is none, and everywhere */
#define HIDDEN "***"
#define SAID_BYTES_MAX 4096

/* Their values are no secrets, and help whoever reads the log; all others may be. */
static const char *const PLAIN_KEYS[] = {"ip",   "ipaddr",   "ipport", "login",
                                         "plug", "username", "port",   "nodename"};

void fence_file_free(FenceFile *f)
{
    if (!f)
        return;
    g_free(f->agent);
    g_free(f->told);
    g_ptr_array_unref(f->secrets);
    g_free(f);
}

gboolean fence_file_exists(const char *folder, const char *host)
{
    g_autofree char *path = g_build_filename(folder, host, NULL);
    struct stat st;

    return lstat(path, &st) == 0;
}

/* --- whose it is --------------------------------------------------------------- */

static gboolean refuse(GError **error, const char *path, const char *why)
{
    g_set_error(error, US_ERROR, US_ERROR_REFUSED, "%s is not used: %s", path, why);
    return FALSE;
}

static gboolean check_own(int fd, const char *path, GError **error)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return us_error_errno(error, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return refuse(error, path, "it is no file");
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return refuse(error, path, "it belongs to another user: chown root");
    if (st.st_mode & (S_IWGRP | S_IRWXO))
        return refuse(error, path, "others may read or write it: chmod 0640, or 0600");
    return !(st.st_mode & S_IRGRP) || st.st_gid == getegid() || st.st_gid == 0 ||
           refuse(error, path, "others may read it, its group: chgrp to the controller's group");
}

static gboolean is_roots_alone(const struct stat *st)
{
    return st->st_uid == 0 && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

/* Whoever can write its folder can put another there. */
static gboolean check_agent(const char *agent, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(agent);
    struct stat st, in;

    if (!g_path_is_absolute(agent))
        return refuse(error, agent, "an agent is named by its whole path");
    if (stat(agent, &st) != 0 || stat(folder, &in) != 0)
        return us_error_errno(error, errno, "agent %s", agent);
    if (!S_ISREG(st.st_mode))
        return refuse(error, agent, "it is no program");
    if (!is_roots_alone(&st) || !is_roots_alone(&in))
        return refuse(error, agent, "it, or its folder, is not root's alone: chown root, chmod go-w");
    return faccessat(AT_FDCWD, agent, X_OK, AT_EACCESS) == 0 ||
           refuse(error, agent, "the controller's user may not execute it: chmod +x");
}

/* --- what stands there ------------------------------------------------------------ */

static gboolean odd(GError **error, guint line, const char *why)
{
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "line %u: %s", line, why);
    return FALSE;
}

static gboolean has_control(const char *text)
{
    for (; *text; text++)
        if (g_ascii_iscntrl(*text))
            return TRUE;
    return FALSE;
}

static void keep_secret(FenceFile *f, const char *key, const char *value)
{
    for (guint i = 0; i < G_N_ELEMENTS(PLAIN_KEYS); i++)
        if (g_str_equal(PLAIN_KEYS[i], key))
            return;
    if (strlen(value) >= SECRET_BYTES_MIN)
        g_ptr_array_add(f->secrets, g_strdup(value));
}

static gboolean take_line(FenceFile *f, char *line, guint number, GString *told, GError **error)
{
    char *value = strchr(line, '=');
    gsize key_len = value ? (gsize)(value - line) : 0;

    if (key_len == 0 || strspn(line, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "_-") != key_len)
        return odd(error, number, "not of the shape key=value");
    if (has_control(line))
        return odd(error, number, "a control character");
    *value++ = '\0';
    if (g_str_equal(line, "action") || g_str_equal(line, "option"))
        return odd(error, number, "what is to be done is said by the controller, not here");
    if (g_str_equal(line, "agent") != !f->agent)
        return odd(error, number, "agent= stands first, and once");
    if (!f->agent) {
        f->agent = g_strdup(value);
        return TRUE;
    }
    g_string_append_printf(told, "%s=%s\n", line, value);
    keep_secret(f, line, value);
    return TRUE;
}

static gint by_length(gconstpointer a, gconstpointer b)
{
    gsize first = strlen(*(char *const *)a), second = strlen(*(char *const *)b);

    return first < second ? 1 : first > second ? -1 : 0;
}

static FenceFile *parse(char *text, GError **error)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autoptr(FenceFile) f = g_new0(FenceFile, 1);
    GString *told = g_string_new(NULL);
    gboolean good = TRUE;

    f->secrets = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; lines[i] && good; i++) {
        char *line = g_strstrip(lines[i]);

        good = *line == '\0' || *line == '#' || take_line(f, line, i + 1, told, error);
    }
    f->told = g_string_free(told, FALSE);
    /* One may be a part of another. */
    g_ptr_array_sort(f->secrets, by_length);
    if (good && !f->agent)
        good = odd(error, 1, "no agent=");
    return good && check_agent(f->agent, error) ? g_steal_pointer(&f) : NULL;
}

static char *read_text(int fd, const char *path, GError **error)
{
    g_autofree char *text = g_malloc0(FILE_BYTES_MAX + 1);
    ssize_t len = pread(fd, text, FILE_BYTES_MAX + 1, 0);

    if (len < 0) {
        us_error_errno(error, errno, "%s", path);
        return NULL;
    }
    if (len > FILE_BYTES_MAX || strlen(text) != (gsize)len) {
        refuse(error, path, "it is no text, or too long");
        return NULL;
    }
    return g_steal_pointer(&text);
}

FenceFile *fence_file_read(const char *folder, const char *host, GError **error)
{
    g_autofree char *path = g_build_filename(folder, host, NULL);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    g_autofree char *text = NULL;
    FenceFile *f = NULL;

    if (fd < 0) {
        us_error_errno(error, errno, "%s", path);
        return NULL;
    }
    if (check_own(fd, path, error))
        text = read_text(fd, path, error);
    close(fd);
    if (text) {
        f = parse(text, error);
        if (!f)
            g_prefix_error(error, "%s: ", path);
    }
    return f;
}

/* --- what is not told --------------------------------------------------------------- */

static void hide(GString *text, const char *secret)
{
    (void)g_string_replace(text, secret, HIDDEN, 0);
}

char *fence_file_hide(const FenceFile *f, const char *said, gboolean is_cut)
{
    GString *text = g_string_new(said);
    g_autofree char *raw = NULL;
    gsize longest = f->secrets->len ? strlen(f->secrets->pdata[0]) : 0;
    char *line;

    for (guint i = 0; i < f->secrets->len; i++)
        hide(text, f->secrets->pdata[i]);
    if (is_cut)
        g_string_truncate(text, text->len - MIN(longest, text->len));
    raw = g_string_free(text, FALSE);
    line = line_of(raw, SAID_BYTES_MAX);
    return g_strstrip(line);
}
