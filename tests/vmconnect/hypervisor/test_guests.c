/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a guest lives, as libvirt says it and as the kernel knows it of a process that looks like its QEMU. */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/guests.h"
#include "vmconnect/hypervisor/qemu_process.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 20000

typedef struct {
    uv_loop_t loop;
    GuestsSettings settings;
    Guests *guests;
    guint news;
    Id vm;
    char *path;
    pid_t pid; /* of what looks like its QEMU; 0: none */
} Stage;

static void on_news(void *user)
{
    ((Stage *)user)->news++;
}

static Stage *stage_new(gint64 notice_ms)
{
    Stage *s = g_new0(Stage, 1);

    uv_loop_init(&s->loop);
    s->vm = id_random();
    s->settings = (GuestsSettings){g_dir_make_tmp("guests-XXXXXX", NULL), notice_ms};
    s->path = g_strconcat(s->settings.folder, "/web1.xml", NULL);
    s->guests = guests_new(&s->loop, &s->settings, on_news, s);
    return s;
}

static void kill_process(Stage *s)
{
    if (s->pid == 0)
        return;
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

static void stage_free(Stage *s)
{
    guests_close(s->guests);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&s->loop), ==, 0);
    kill_process(s);
    g_unlink(s->path);
    g_rmdir(s->settings.folder);
    g_free((char *)s->settings.folder);
    g_free(s->path);
    g_free(s);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Stage, stage_free)

/* fork and exec take a moment in which the command line is still ours. */
static void wait_until_there(Stage *s)
{
    gint64 deadline_ms = clock_steady_ms() + WAIT_MS;
    gboolean gone;
    int fd;

    while ((fd = qemu_process_open(s->settings.folder, "web1", s->vm, &gone, NULL)) < 0 &&
           clock_steady_ms() < deadline_ms)
        g_usleep(1000);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
}

/* It reads from a pipe that nobody writes: it lives until it is killed. */
static void start_process(Stage *s)
{
    g_autofree char *record = NULL;
    int hold[2];

    g_assert_cmpint(pipe(hold), ==, 0);
    s->pid = fork();
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(hold[0], 0);
        execlp("sh", "sh", "-c", "read x", "-name", "guest=web1", "-uuid", ID_TEXT(s->vm), NULL);
        _exit(127);
    }
    record = g_strdup_printf(
        "<domstatus state='running' reason='booted' pid='%d'><domain id='1'/></domstatus>", (int)s->pid);
    g_assert_true(g_file_set_contents(s->path, record, -1, NULL));
    close(hold[0]);
    wait_until_there(s);
}

/* --- what libvirt says --------------------------------------------------------- */

static void resync(Stage *s, VmState state, int reason)
{
    Definition definition = {.uuid = s->vm, .name = (char *)"web1"};
    Vm vm = {.definition = &definition, .state = state, .reason = reason};
    Inventory all = {.vms = g_ptr_array_new()};

    g_ptr_array_add(all.vms, &vm);
    guests_hear(s->guests, &(EarEvent){.kind = EAR_RESYNC, .inventory = &all});
    g_ptr_array_unref(all.vms);
}

static void lifecycle(Stage *s, int event, int detail)
{
    guests_hear(
        s->guests,
        &(EarEvent){.kind = EAR_LIFECYCLE, .vm = s->vm, .name = "web1", .event = event, .detail = detail});
}

static void down(Stage *s)
{
    g_autoptr(GError) why = g_error_new(US_ERROR, US_ERROR_UNREACHABLE, "it hangs");

    guests_hear(s->guests, &(EarEvent){.kind = EAR_DOWN, .why = why});
}

static gboolean is_word(Stage *s, const char *word, int boots)
{
    json_t *doc = guests_describe(s->guests, s->vm);
    gboolean is = g_strcmp0(json_string_value(json_object_get(doc, "word")), word) == 0 &&
                  (boots < 0 || json_integer_value(json_object_get(doc, "boots")) == boots);

    json_decref(doc);
    return is;
}

static void becomes(Stage *s, const char *word)
{
    gint64 deadline_ms = clock_steady_ms() + WAIT_MS;

    while (!is_word(s, word, -1) && clock_steady_ms() < deadline_ms)
        uv_run(&s->loop, UV_RUN_ONCE);
    g_assert_true(is_word(s, word, -1));
}

static json_t *libvirt_up(Stage *s)
{
    json_t *doc = guests_libvirt(s->guests);
    json_t *up = json_incref(json_object_get(doc, "up"));

    json_decref(doc);
    return up;
}

static void test_libvirt(void)
{
    g_autoptr(Stage) s = stage_new(0);

    g_assert_true(json_is_null(libvirt_up(s)));
    g_assert_true(is_word(s, "unknown", 0));
    down(s);
    g_assert_true(json_is_false(libvirt_up(s)));
    resync(s, VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_UNKNOWN);
    g_assert_true(json_is_true(libvirt_up(s)));
    g_assert_true(is_word(s, "idle", 0));
}

static void test_words(void)
{
    static const struct {
        VmState state;
        int reason;
        const char *word;
    } STATES[] = {
        {VM_STATE_RUNNING, VIR_DOMAIN_RUNNING_BOOTED, "alive"},
        {VM_STATE_PAUSED, VIR_DOMAIN_PAUSED_USER, "off"},
        {VM_STATE_PAUSED, VIR_DOMAIN_PAUSED_IOERROR, "stalled"},
        {VM_STATE_PAUSED, VIR_DOMAIN_PAUSED_CRASHED, "dead"},
        {VM_STATE_PAUSED, VIR_DOMAIN_PAUSED_WATCHDOG, "dead"},
        {VM_STATE_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP, "alive"},
        {VM_STATE_CRASHED, VIR_DOMAIN_CRASHED_PANICKED, "dead"},
        {VM_STATE_SUSPENDED, 0, "off"},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN, "off"},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_DESTROYED, "off"},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_SAVED, "off"},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_CRASHED, "dead"},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_FAILED, "dead"},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_UNKNOWN, "idle"},
        {VM_STATE_UNKNOWN, 0, "unknown"},
    };
    const char *why;

    for (guint i = 0; i < G_N_ELEMENTS(STATES); i++)
        g_assert_cmpstr(guest_word_name(guest_word_of(STATES[i].state, STATES[i].reason, &why)), ==,
                        STATES[i].word);
}

/* Each end, start and reboot is one, however libvirt tells it. */
static void test_boots(void)
{
    g_autoptr(Stage) s = stage_new(0);

    resync(s, VM_STATE_RUNNING, 0);
    g_assert_true(is_word(s, "alive", 0));
    lifecycle(s, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_CRASHED);
    g_assert_true(is_word(s, "dead", 1));
    lifecycle(s, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
    g_assert_true(is_word(s, "alive", 2));
    guests_hear(s->guests, &(EarEvent){.kind = EAR_REBOOT, .vm = s->vm, .name = "web1"});
    g_assert_true(is_word(s, "alive", 3));
    lifecycle(s, VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
    g_assert_true(is_word(s, "off", 3));
    lifecycle(s, VIR_DOMAIN_EVENT_RESUMED, 0);
    g_assert_true(is_word(s, "alive", 3));
    lifecycle(s, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN);
    g_assert_true(is_word(s, "off", 4));
    down(s);
    resync(s, VM_STATE_RUNNING, 0);
    g_assert_true(is_word(s, "alive", 5));
    g_assert_cmpuint(s->news, >, 6);
}

/* --- what the kernel knows ------------------------------------------------------- */

static void watch_process(Stage *s)
{
    start_process(s);
    resync(s, VM_STATE_RUNNING, 0);
    /* Until its process is held. */
    kill(s->pid, SIGSTOP);
    becomes(s, "frozen");
    kill(s->pid, SIGCONT);
    becomes(s, "alive");
}

static void test_process_ends(void)
{
    g_autoptr(Stage) s = stage_new(3000);

    watch_process(s);
    kill_process(s);
    becomes(s, "unknown");
    becomes(s, "dead");
    lifecycle(s, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_FAILED);
    lifecycle(s, VIR_DOMAIN_EVENT_STARTED, 0);
    g_assert_true(is_word(s, "alive", -1));
}

/* While libvirtd is silent nobody starts it anew, and the kernel's word is enough. */
static void test_process_ends_without_libvirtd(void)
{
    g_autoptr(Stage) s = stage_new(3600000);

    watch_process(s);
    down(s);
    g_assert_true(is_word(s, "alive", -1));
    kill_process(s);
    becomes(s, "dead");
    /* It is back, and has not looked yet. */
    resync(s, VM_STATE_RUNNING, 0);
    g_assert_true(is_word(s, "unknown", -1));
    start_process(s);
    becomes(s, "alive");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guests/libvirt", test_libvirt);
    g_test_add_func("/guests/words", test_words);
    g_test_add_func("/guests/boots", test_boots);
    g_test_add_func("/guests/process-ends", test_process_ends);
    g_test_add_func("/guests/process-ends-without-libvirtd", test_process_ends_without_libvirtd);
    return g_test_run();
}
