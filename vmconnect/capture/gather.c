/* SPDX-License-Identifier: Apache-2.0 */
/* The folders belong to the users of QEMU and swtpm, who are not to be trusted as root is: no
 * link is followed at a path's end, nothing but a regular file is read. */
#include "vmconnect/capture/gather.h"

#include "vmconnect/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TPM_FILES_MAX (BELONGINGS_MAX - 1)
#define READ_TRIES 3 /* a file that is being written to */
#define FRESH_NS (G_GINT64_CONSTANT(3) * 1000000000)

/* One file as it was read last. */
typedef struct {
    Signature signature;
    gboolean settled;     /* the signature stands for what is in it */
    Belonging *belonging; /* NULL: it was left out, because … */
    char *why;
} Known;

struct Gather {
    char *tpm_dir;
    GHashTable *known; /* name -> Known * */
};

/* One look. */
typedef struct {
    Gather *gather;
    GPtrArray *set;
    GHashTable *known; /* what was seen in it, to be the gather's for the next one */
    gsize packed;      /* bytes in the set */
    char *why;
} Look;

static void known_free(gpointer data)
{
    Known *k = data;

    belonging_free(k->belonging);
    g_free(k->why);
    g_free(k);
}

static GHashTable *known_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, known_free);
}

Gather *gather_new(const char *tpm_dir)
{
    Gather *g = g_new0(Gather, 1);

    g->tpm_dir = g_strdup(tpm_dir);
    g->known = known_new();
    return g;
}

void gather_free(Gather *g)
{
    if (!g)
        return;
    g_hash_table_unref(g->known);
    g_free(g->tpm_dir);
    g_free(g);
}

/* --- one file ---------------------------------------------------------- */

gboolean gather_is_settled(const Signature *s, gint64 now_ns)
{
    return s->mtime_ns < now_ns - FRESH_NS && s->ctime_ns < now_ns - FRESH_NS;
}

static gint64 wall_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (gint64)now.tv_sec * 1000000000 + now.tv_nsec;
}

static gboolean read_all(int fd, guint8 *data, gsize len)
{
    for (gsize at = 0; at < len;) {
        gssize n = pread(fd, data + at, len - at, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return FALSE;
        at += (gsize)n;
    }
    return TRUE;
}

/* The file at one moment: its signature is the same before and after. NULL with @error: it never was. */
static Belonging *read_calm(int fd, const char *name, Signature *ret_signature, GError **error)
{
    for (int i = 0; i < READ_TRIES; i++) {
        g_autofree guint8 *data = NULL;
        Signature before, after;

        if (!signature_read_open(fd, &before, error))
            return NULL;
        if (before.size_bytes > belonging_max_bytes(name)) {
            g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED,
                        "it has %" G_GUINT64_FORMAT " bytes, and at most %" G_GUINT64_FORMAT " can be sent",
                        before.size_bytes, belonging_max_bytes(name));
            *ret_signature = before;
            return NULL;
        }
        data = g_malloc(MAX(before.size_bytes, 1));
        if (read_all(fd, data, before.size_bytes) && signature_read_open(fd, &after, error) &&
            signature_equal(&before, &after)) {
            *ret_signature = before;
            return belonging_new(name, data, before.size_bytes);
        }
        g_clear_error(error);
    }
    g_set_error(error, US_ERROR, US_ERROR_BUSY, "it is being written to all the time, or cannot be read");
    return NULL;
}

static Known *read_file(int fd, const char *name)
{
    g_autoptr(GError) why = NULL;
    Known *k = g_new0(Known, 1);
    gint64 now_ns = wall_ns();

    k->belonging = read_calm(fd, name, &k->signature, &why);
    if (k->belonging && g_bytes_get_size(k->belonging->packed) > BELONGINGS_PACKED_MAX) {
        g_clear_pointer(&k->belonging, belonging_free);
        g_set_error(&why, US_ERROR, US_ERROR_UNSUPPORTED,
                    "compressed it has more than the %u bytes that can be sent", BELONGINGS_PACKED_MAX);
    }
    k->settled = !g_error_matches(why, US_ERROR, US_ERROR_BUSY) && gather_is_settled(&k->signature, now_ns);
    k->why = why ? g_strdup(why->message) : NULL;
    return k;
}

static Known *steal_known(Gather *g, const char *name)
{
    gpointer key = NULL;
    gpointer k = NULL;

    g_hash_table_steal_extended(g->known, name, &key, &k);
    g_free(key);
    return k;
}

static const Known *known_file(Look *look, int fd, const char *name)
{
    Known *k = steal_known(look->gather, name);
    Signature now;

    if (!k || !k->settled || !signature_read_open(fd, &now, NULL) || !signature_equal(&now, &k->signature)) {
        if (k)
            known_free(k);
        k = read_file(fd, name);
    }
    g_hash_table_insert(look->known, g_strdup(name), k);
    return k;
}

static void leave_out(Look *look, const char *name, const char *path, const char *cause)
{
    gboolean tpm = !g_str_equal(name, BELONGINGS_NVRAM);

    if (look->why)
        return;
    look->why = g_strdup_printf(
        "%.512s is not replicated: %s; after a switchover %s", path, cause,
        tpm ? "what the TPM has sealed, a disk's key for instance, cannot be opened: keep a recovery key"
            : "the firmware begins with fresh variables, and may not find the boot loader: try it before you "
              "rely "
              "on it");
}

static void take(Look *look, const char *name, const char *path, const Known *k)
{
    gsize len = k->belonging ? g_bytes_get_size(k->belonging->packed) : 0;

    if (k->why) {
        leave_out(look, name, path, k->why);
    } else if (len > BELONGINGS_PACKED_MAX - look->packed) {
        leave_out(look, name, path, "together with the rest there is more than can be sent");
    } else {
        look->packed += len;
        g_ptr_array_add(look->set, belonging_copy(k->belonging));
    }
}

/* One that is not there (any more) is none: libvirt makes it at the first start, swtpm replaces it by rename. */
static void look_at_file(Look *look, const char *name, const char *path)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd < 0 && errno == ENOENT)
        return;
    if (fd < 0)
        leave_out(look, name, path, g_strerror(errno));
    else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        leave_out(look, name, path, "it is not a regular file");
    else
        take(look, name, path, known_file(look, fd, name));
    if (fd >= 0)
        close(fd);
}

/* --- the folder of a TPM ------------------------------------------------- */

static int compare_names(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(*(const char *const *)a, *(const char *const *)b);
}

/* Names (of char *) of what goes along: locks and what swtpm has not finished do not. No folder is an empty list, one
 * that cannot be read to its end is left out. */
static GPtrArray *list_state(Look *look, const char *folder, const char *kind)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = g_dir_open(folder, 0, &error);
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    const char *file;

    if (error && !g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT) &&
        !g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOTDIR))
        leave_out(look, folder, folder, error->message);
    errno = 0;
    while (dir && (file = g_dir_read_name(dir))) {
        char *name = g_strconcat(kind, "/", file, NULL);

        if (belonging_max_bytes(name) > 0)
            g_ptr_array_add(names, name);
        else
            g_free(name);
        errno = 0;
    }
    if (dir && errno != 0)
        leave_out(look, folder, folder, g_strerror(errno));
    g_ptr_array_sort(names, compare_names);
    return names;
}

static void look_at_tpm(Look *look, const Definition *d)
{
    const char *kind = d->tpm == DEFINITION_TPM_1_2 ? "tpm1.2" : "tpm2";
    g_autofree char *vm_dir = g_build_filename(look->gather->tpm_dir, ID_TEXT(d->uuid), NULL);
    g_autofree char *folder = g_build_filename(vm_dir, kind, NULL);
    g_autoptr(GPtrArray) names = list_state(look, folder, kind);

    if (names->len > TPM_FILES_MAX) {
        leave_out(look, folder, folder, "it holds more files than can be sent");
        g_ptr_array_set_size(names, TPM_FILES_MAX);
    }
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *path = g_build_filename(vm_dir, names->pdata[i], NULL);

        look_at_file(look, names->pdata[i], path);
    }
}

GPtrArray *gather_look(Gather *g, const Definition *d, char **ret_why)
{
    Look look = {.gather = g, .set = belongings_new(), .known = known_new()};

    if (d->nvram)
        look_at_file(&look, BELONGINGS_NVRAM, d->nvram);
    if (d->tpm == DEFINITION_TPM_1_2 || d->tpm == DEFINITION_TPM_2)
        look_at_tpm(&look, d);
    g_hash_table_unref(g->known);
    g->known = look.known;
    *ret_why = look.why;
    return look.set;
}
