/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/guard/word.h"

#include "vmconnect/base/error.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MARK 0x31475355u /* "USG1": another layout is another number */
#define MOMENT_MAX_MS (G_GINT64_CONSTANT(1) << 52)

typedef struct {
    guint32 mark;
    guint8 kind;
    guint8 how;
    guint8 is_enforced;
    guint8 taps;
    guint8 vm[16];
    guint8 reign_id[16];
    guint64 reign;
    gint64 boot_ms;
    gint64 raw_ms;
    char tap[WORD_TAPS_MAX][IF_NAMESIZE];
    char text[WORD_TEXT_MAX];
    guint8 unused[16];
} Packet;

G_STATIC_ASSERT(sizeof(Packet) == WORD_BYTES);

const char *word_kind_name(WordKind kind)
{
    static const char *const NAMES[WORD_KINDS] = {"",       "keep", "release", "stopped", "running",
                                                  "list",   "done", "refused", "ward",    "please-stop",
                                                  "fenced", "gone", "lend",    "leaving"};

    return kind < WORD_KINDS ? NAMES[kind] : "";
}

const char *fenced_name(Fenced how)
{
    static const char *const NAMES[FENCED_HOWS] = {"not", "asked", "stopped", "killed"};

    return how < FENCED_HOWS ? NAMES[how] : "";
}

/* As much as there is room for, and no half of a character. @to is all zeros. */
static void copy_text(char to[static WORD_TEXT_MAX], const char *text)
{
    const char *end;

    g_strlcpy(to, text, WORD_TEXT_MAX);
    if (!g_utf8_validate(to, -1, &end))
        memset(to + (end - to), 0, WORD_TEXT_MAX - (gsize)(end - to));
}

/* These have no reign, and an older end does not look where it would be. */
static gboolean has_words(WordKind kind)
{
    return kind == WORD_LIST || kind == WORD_DONE;
}

void word_encode(const Word *w, guint8 ret_packet[static WORD_BYTES])
{
    Packet p = {.mark = MARK,
                .kind = (guint8)w->kind,
                .how = (guint8)w->how,
                .is_enforced = w->is_enforced != 0,
                .taps = (guint8)w->taps,
                .reign = has_words(w->kind) ? w->words : w->reign.number};

    g_assert(w->taps <= WORD_TAPS_MAX);
    memcpy(p.vm, w->vm.bytes, sizeof(p.vm));
    memcpy(p.reign_id, w->reign.id.bytes, sizeof(p.reign_id));
    if (w->is_enforced) {
        p.boot_ms = w->until.boot_ms;
        p.raw_ms = w->until.raw_ms;
    }
    for (guint i = 0; i < w->taps; i++)
        g_strlcpy(p.tap[i], w->tap[i], IF_NAMESIZE);
    copy_text(p.text, w->text);
    memcpy(ret_packet, &p, sizeof(p));
}

static gboolean is_zero(const void *data, gsize len)
{
    const guint8 *bytes = data;

    for (gsize i = 0; i < len; i++)
        if (bytes[i] != 0)
            return FALSE;
    return TRUE;
}

/* A text, then nothing but zeros: so that one word has one packet. */
static gboolean is_text(const char *text, gsize size)
{
    gsize len = strnlen(text, size);

    return len < size && is_zero(text + len, size - len) && g_utf8_validate(text, (gssize)len, NULL);
}

/* As the kernel has it, less what could mean something to who prints it. */
static gboolean is_tap(const char name[static IF_NAMESIZE])
{
    if (!is_text(name, IF_NAMESIZE) || !*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return FALSE;
    for (const char *c = name; *c; c++)
        if (!g_ascii_isgraph(*c) || strchr("/:\"'\\{};,", *c))
            return FALSE;
    return TRUE;
}

static const char *taps_fault(const Packet *p)
{
    if (p->taps > WORD_TAPS_MAX)
        return "too many taps";
    for (guint i = 0; i < p->taps; i++)
        if (!is_tap(p->tap[i]))
            return "what is no name of a tap";
    if (!is_zero(p->tap[p->taps], (WORD_TAPS_MAX - p->taps) * (gsize)IF_NAMESIZE))
        return "taps that are not counted";
    return NULL;
}

static gboolean is_moment(gint64 ms)
{
    return ms >= 0 && ms <= MOMENT_MAX_MS;
}

static const char *packet_fault(const Packet *p)
{
    gboolean of_vm =
        p->kind != WORD_LIST && p->kind != WORD_DONE && p->kind != WORD_REFUSED && p->kind != WORD_LEAVING;

    if (p->mark != MARK)
        return "a word of another version";
    if (p->kind < WORD_KEEP || p->kind >= WORD_KINDS || p->how >= FENCED_HOWS || p->is_enforced > 1 ||
        !is_zero(p->unused, sizeof(p->unused)))
        return "a word that is not known";
    if (of_vm && is_zero(p->vm, sizeof(p->vm)))
        return "a word of no VM";
    if (!is_moment(p->boot_ms) || !is_moment(p->raw_ms) ||
        (!p->is_enforced && (p->boot_ms != 0 || p->raw_ms != 0)))
        return "an end that is no moment";
    if (!is_text(p->text, WORD_TEXT_MAX))
        return "a text that is none";
    return taps_fault(p);
}

gboolean word_decode(const guint8 *packet, gsize len, Word *ret_word, GError **error)
{
    const char *fault = len == WORD_BYTES ? NULL : "a word of another length";
    Packet p;

    if (!fault) {
        memcpy(&p, packet, sizeof(p));
        fault = packet_fault(&p);
    }
    if (fault) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "%s", fault);
        return FALSE;
    }
    *ret_word = (Word){.kind = p.kind,
                       .how = p.how,
                       .reign.number = has_words(p.kind) ? 0 : p.reign,
                       .words = has_words(p.kind) ? p.reign : 0,
                       .is_enforced = p.is_enforced,
                       .until = {p.boot_ms, p.raw_ms},
                       .taps = p.taps};
    memcpy(ret_word->vm.bytes, p.vm, sizeof(p.vm));
    memcpy(ret_word->reign.id.bytes, p.reign_id, sizeof(p.reign_id));
    memcpy(ret_word->tap, p.tap, sizeof(p.tap));
    memcpy(ret_word->text, p.text, sizeof(p.text));
    return TRUE;
}

/* --- over a socket ------------------------------------------------------- */

typedef union {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
} Control;

static gboolean fail(GError **error, int errnum)
{
    if (errnum == EAGAIN || errnum == EPIPE || errnum == ECONNRESET) {
        g_set_error(error, US_ERROR, errnum == EAGAIN ? US_ERROR_BUSY : US_ERROR_UNREACHABLE,
                    "between engine and guard: %s", g_strerror(errnum));
        return FALSE;
    }
    return us_error_errno(error, errnum, "between engine and guard");
}

gboolean word_send(int socket, const Word *w, int fd, GError **error)
{
    guint8 packet[WORD_BYTES];
    Control control = {0};
    struct iovec data = {packet, sizeof(packet)};
    struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1};

    word_encode(w, packet);
    if (fd >= 0) {
        m.msg_control = &control;
        m.msg_controllen = sizeof(control);
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
    }
    return sendmsg(socket, &m, MSG_NOSIGNAL) == WORD_BYTES || fail(error, errno);
}

/* The one descriptor of @m, -1: none. More than one has not fitted. */
static int take_fd(struct msghdr *m)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    int fd = -1;

    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    return fd;
}

gboolean word_receive(int socket, Word *ret_word, int *ret_fd, GError **error)
{
    guint8 packet[WORD_BYTES + 1];
    Control control;
    struct iovec data = {packet, sizeof(packet)};
    /* Not all of @control, whose padding is as long as a second descriptor. */
    struct msghdr m = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_LEN(sizeof(int))};
    ssize_t len = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
    int fd;

    if (len < 0)
        return fail(error, errno);
    fd = take_fd(&m);
    if (len == 0)
        g_set_error_literal(error, US_ERROR, US_ERROR_UNREACHABLE, "it was closed");
    else if (word_decode(packet, (gsize)len, ret_word, error) && (fd < 0 || ret_fd)) {
        if (ret_fd)
            *ret_fd = fd;
        return TRUE;
    }
    if (fd >= 0)
        close(fd);
    if (error && !*error)
        g_set_error_literal(error, US_ERROR, US_ERROR_PROTOCOL, "a descriptor that nobody asked for");
    return FALSE;
}
