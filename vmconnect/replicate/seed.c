/* SPDX-License-Identifier: Apache-2.0 */
/* Every name that may be meant is looked for, so that nothing else in the folder is touched. A file is opened
 * once, without following a link, looked at, and then given to QEMU as what is open here: it cannot be another one
 * by then. */
#include "vmconnect/replicate/seed.h"

#include "vmconnect/base/error.h"
#include "vmconnect/image/daemon_reader.h"
#include "vmconnect/image/qcow2_header.h"
#include "vmconnect/link/message.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECT_MS 10000
#define WHY_MAX 2048    /* bytes of all that is told */
#define FRUITLESS_MAX 4 /* of the active's jobs, of some seconds each */

struct Seed {
    char *dir;
    DaemonReader *reader; /* NULL: nothing is open */
    json_t *sizes;
    GString *why;
    char *lost;
    guint fruitless;
};

/* --- what is told ------------------------------------------------------ */

static void tell(Seed *seed, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void tell(Seed *seed, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    if (seed->why->len + strlen(text) <= WHY_MAX)
        g_string_append_printf(seed->why, "%s%s", seed->why->len ? "; " : "", text);
}

/* --- files that may be meant ------------------------------------------- */

typedef struct {
    Seed *seed;
    const SeedPlace *place;
    int dir;
    int vm_dir; /* the folder named as the VM; -1: none */
} Search;

typedef struct {
    int dir;
    char *name;
    char *path;         /* for people */
    const char *format; /* NULL: its name does not tell */
} Candidate;

static void candidate_free(gpointer data)
{
    Candidate *c = data;

    g_free(c->name);
    g_free(c->path);
    g_free(c);
}

/* By its ending, and nothing else. */
static const char *format_of(const char *name)
{
    const char *ending = strrchr(name, '.');

    if (!ending || g_str_equal(ending, ".raw") || g_str_equal(ending, ".img"))
        return "raw";
    return g_str_equal(ending, ".qcow2") ? "qcow2" : NULL;
}

static gboolean is_known(const GPtrArray *found, int dir, const char *name)
{
    for (guint i = 0; i < found->len; i++) {
        const Candidate *c = found->pdata[i];

        if (c->dir == dir && g_str_equal(c->name, name))
            return TRUE;
    }
    return FALSE;
}

/* Takes @name. One that cannot be looked at is there, too: why not shows when it is opened. */
static void look_for(const Search *s, GPtrArray *found, int dir, char *name, const char *format)
{
    g_autofree char *owned = name;
    struct stat st = {0};
    Candidate *c;

    if (dir < 0 || is_known(found, dir, name) ||
        (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 && (errno == ENOENT || errno == ENAMETOOLONG)))
        return;
    /* The VM's own folder may have the name of its image. */
    if (S_ISDIR(st.st_mode) && dir == s->dir && g_str_equal(name, s->place->vm))
        return;
    c = g_new0(Candidate, 1);
    *c = (Candidate){dir, g_steal_pointer(&owned),
                     g_build_filename(s->place->dir, dir == s->vm_dir ? s->place->vm : "", name, NULL),
                     format};
    g_ptr_array_add(found, c);
}

static GPtrArray *candidates(const Search *s, const char *target, const char *image)
{
    static const struct {
        const char *ending;
        const char *format;
    } KINDS[] = {{".qcow2", "qcow2"}, {".raw", "raw"}, {".img", "raw"}, {"", "raw"}};
    GPtrArray *found = g_ptr_array_new_with_free_func(candidate_free);

    for (guint i = 0; i < G_N_ELEMENTS(KINDS); i++) {
        look_for(s, found, s->vm_dir, g_strconcat(target, KINDS[i].ending, NULL), KINDS[i].format);
        if (!strchr(s->place->vm, '/'))
            look_for(s, found, s->dir, g_strconcat(s->place->vm, "-", target, KINDS[i].ending, NULL),
                     KINDS[i].format);
    }
    if (*image)
        look_for(s, found, s->dir, g_strdup(image), format_of(image));
    return found;
}

/* --- one file ---------------------------------------------------------- */

static gboolean refuse(GError **error, const char *why)
{
    g_set_error_literal(error, US_ERROR, US_ERROR_REFUSED, why);
    return FALSE;
}

/* A device may do something when it is opened: looked at before, and once more when it is open. */
static gboolean expect_regular(const struct stat *st, GError **error)
{
    if (S_ISREG(st->st_mode))
        return TRUE;
    return refuse(error, S_ISLNK(st->st_mode) ? "it is a symbolic link, and what it leads to is not opened; "
                                                "put the image itself there"
                                              : "it is not a regular file");
}

/* -1 with @error. */
static int open_file(const Candidate *c, struct stat *ret_st, GError **error)
{
    int fd;

    if (fstatat(c->dir, c->name, ret_st, AT_SYMLINK_NOFOLLOW) != 0)
        return us_error_errno(error, errno, "cannot be looked at"), -1;
    if (!expect_regular(ret_st, error))
        return -1;
    fd = openat(c->dir, c->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return us_error_errno(error, errno, "cannot be opened"), -1;
    if (fstat(fd, ret_st) == 0 && expect_regular(ret_st, error))
        return fd;
    close(fd);
    return -1;
}

static gboolean check_qcow2(const guint8 *head, gsize len, guint64 *ret_bytes, GError **error)
{
    Qcow2Header header;

    if (!qcow2_header_decode(head, len, &header, error))
        return FALSE;
    if (header.has_backing)
        return refuse(error,
                      "it has a backing file, and is no copy by itself; make one with `qemu-img convert "
                      "-O qcow2`");
    if (header.has_data_file)
        return refuse(error, "its data lies in an external data file, which is not opened; convert it with "
                             "`qemu-img convert -O qcow2`");
    if (header.encrypted || header.corrupt)
        return refuse(error, header.encrypted ? "it is encrypted" : "QEMU has marked it as corrupt");
    *ret_bytes = header.size_bytes;
    return TRUE;
}

/* A disk of a guest does not begin like that, or hardly ever. */
static gboolean check_raw(const guint8 *head, gsize len, GError **error)
{
    Qcow2Header header;

    return !qcow2_header_decode(head, len, &header, NULL) ||
           refuse(error, "its name says raw, and it begins like a qcow2 image; name it .qcow2");
}

static gboolean check_image(const Candidate *c, int fd, const struct stat *st, guint64 *ret_bytes,
                            GError **error)
{
    guint8 head[QCOW2_HEADER_LEN];
    gssize n = pread(fd, head, sizeof(head), 0);

    if (n < 0)
        return us_error_errno(error, errno, "cannot be read");
    *ret_bytes = (guint64)st->st_size;
    return g_str_equal(c->format, "raw") ? check_raw(head, (gsize)n, error)
                                         : check_qcow2(head, (gsize)n, ret_bytes, error);
}

static gboolean export_open(Seed *seed, const char *run_dir, const char *target, const char *format, int fd,
                            GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd/%d", (int)getpid(), fd);
    const ReaderLayer layer = {path, format};

    if (!seed->reader)
        seed->reader = daemon_reader_start(run_dir, "seed", error);
    return seed->reader && daemon_reader_add(seed->reader, target, &layer, 1, NULL, error);
}

static gboolean open_image(const Search *s, const char *target, const Candidate *c, GError **error)
{
    struct stat st;
    guint64 bytes = 0;
    gboolean ok;
    int fd;

    if (!c->format)
        return refuse(error, "its name does not say what it is; let it end with .qcow2 or .raw");
    fd = open_file(c, &st, error);
    if (fd < 0)
        return FALSE;
    ok = check_image(c, fd, &st, &bytes, error) &&
         (!s->place->run_dir || export_open(s->seed, s->place->run_dir, target, c->format, fd, error));
    close(fd);
    /* What ends within a block is compared up to it, so that whole blocks came from here, or nothing of them. */
    bytes -= bytes % MESSAGE_BLOCK;
    if (ok)
        json_object_set_new(s->seed->sizes, target, json_integer((json_int_t)MIN(bytes, EXTENTS_MAX_OFFSET)));
    return ok;
}

/* --- all of them ------------------------------------------------------- */

static void look_for_disk(const Search *s, const char *target, const char *image)
{
    g_autoptr(GPtrArray) found = candidates(s, target, image);
    const Candidate *first = found->len ? found->pdata[0] : NULL;
    g_autoptr(GError) error = NULL;

    if (found->len > 1)
        tell(s->seed, "disk %s is sent as a whole: %s and %s may both be its copy; leave one of them there",
             target, first->path, ((const Candidate *)found->pdata[1])->path);
    else if (!first)
        tell(
            s->seed,
            "disk %s is sent as a whole: no copy of it is in %s; call it %s-%s.qcow2, or .raw if it is a raw "
            "image",
            target, s->place->dir, s->place->vm, target);
    else if (!open_image(s, target, first, &error))
        tell(s->seed, "disk %s is sent as a whole: %s is not used as its copy: %s", target, first->path,
             error->message);
}

/* The folder of the VM, if it is one. */
static int open_vm_dir(const Search *s)
{
    const char *vm = s->place->vm;
    struct stat st;

    if (strchr(vm, '/') || g_str_equal(vm, ".") || g_str_equal(vm, ".."))
        return -1;
    if (fstatat(s->dir, vm, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        tell(s->seed, "%s/%s is a symbolic link: what it leads to is not opened", s->place->dir, vm);
    return openat(s->dir, vm, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void look(Seed *seed, const SeedPlace *place, const json_t *images)
{
    Search s = {seed, place, open(place->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), -1};
    const char *target;
    json_t *image;

    if (s.dir < 0) {
        tell(seed,
             "all is sent as a whole: the folder %s with its copy cannot be opened: %s; bring it there, "
             "then stop the scenario and run it again",
             place->dir, g_strerror(errno));
        return;
    }
    s.vm_dir = open_vm_dir(&s);
    json_object_foreach((json_t *)images, target, image) look_for_disk(&s, target, json_string_value(image));
    if (s.vm_dir >= 0)
        close(s.vm_dir);
    close(s.dir);
}

Seed *seed_open(const SeedPlace *place, const json_t *images)
{
    Seed *seed = g_new0(Seed, 1);

    seed->dir = g_strdup(place->dir);
    seed->sizes = json_object();
    seed->why = g_string_new(NULL);
    if (place->lost)
        tell(seed, "%s", place->lost);
    else
        look(seed, place, images);
    return seed;
}

void seed_close(Seed *seed)
{
    if (!seed)
        return;
    daemon_reader_free(seed->reader);
    json_decref(seed->sizes);
    g_string_free(seed->why, TRUE);
    g_free(seed->lost);
    g_free(seed->dir);
    g_free(seed);
}

const json_t *seed_sizes(const Seed *seed)
{
    return seed->sizes;
}

const char *seed_why(const Seed *seed)
{
    return seed->why->len ? seed->why->str : NULL;
}

guint64 seed_bytes(const Seed *seed, const char *target)
{
    return (guint64)json_integer_value(json_object_get(seed->sizes, target));
}

NbdDisk *seed_connect(const Seed *seed, const char *target, const char *context, GError **error)
{
    NbdSpec spec = {.socket_path = daemon_reader_nbd_path(seed->reader),
                    .export_name = target,
                    .disk = target,
                    .context = context,
                    .timeout_ms = CONNECT_MS};
    NbdDisk *disk = nbd_disk_open(&spec, error);

    if (!disk || nbd_disk_size(disk) >= seed_bytes(seed, target))
        return disk;
    nbd_disk_close(disk);
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "the copy of disk %s is shorter than its head says",
                target);
    return NULL;
}

void seed_lose(Seed *seed, const char *why)
{
    if (!seed->lost)
        seed->lost =
            g_strdup_printf("the copy in %s cannot be read any more (%s): what is missing is sent as a "
                            "whole; to go on with it, stop the scenario and run it again",
                            seed->dir, why);
}

const char *seed_lost(const Seed *seed)
{
    return seed->lost;
}

void seed_judge(Seed *seed, gboolean fruitful)
{
    seed->fruitless = fruitful ? 0 : seed->fruitless + 1;
    if (seed->fruitless >= FRUITLESS_MAX)
        seed_lose(seed, "it does not answer");
}
