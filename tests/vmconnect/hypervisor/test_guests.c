/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's words, told as the ears tell them, against processes that look like QEMU. */
#include "turn.h"

#include "tests/tree.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/guests.h"
#include "vmconnect/hypervisor/qemu_process.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME "web & ) T 'one'"
#define PROGRAM "sh) T (x" /* proc_pid_stat(5) has it, and looks then as if it were stopped */
#define PATIENCE_MS 30000

static const GuestsSettings SOON = {.notice_ms = 1000};
static const GuestsSettings LATE = {.notice_ms = 45000, .obey_ms = 0};

/* --- words ----------------------------------------------------------------- */

static void expect_word(GuestWord word, const char *why, GuestWord expected, gboolean has_why)
{
    g_assert_cmpstr(guest_word_name(word), ==, guest_word_name(expected));
    g_assert_cmpint(why != NULL, ==, has_why);
}

static void test_words_of_states(void)
{
    static const struct {
        VmState state;
        int reason;
        GuestWord word;
        gboolean has_why;
    } CASES[] = {
        {VM_STATE_RUNNING, VIR_DOMAIN_RUNNING_BOOTED, GUEST_ALIVE, FALSE},
        {VM_STATE_RUNNING, VIR_DOMAIN_RUNNING_CRASHED, GUEST_ALIVE, FALSE},
        {VM_STATE_SHUTTING_DOWN, VIR_DOMAIN_SHUTDOWN_USER, GUEST_ALIVE, FALSE},
        {VM_STATE_PAUSED, VIR_DOMAIN_PAUSED_UNKNOWN, GUEST_PAUSED, TRUE},
        {VM_STATE_PAUSED, VIR_DOMAIN_PAUSED_USER, GUEST_PAUSED, TRUE},
        {VM_STATE_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION, GUEST_PAUSED, TRUE},
        {VM_STATE_PAUSED, VIR_DOMAIN_PAUSED_IOERROR, GUEST_STALLED, TRUE},
        {VM_STATE_PAUSED, VIR_DOMAIN_PAUSED_WATCHDOG, GUEST_DEAD, TRUE},
        {VM_STATE_PAUSED, VIR_DOMAIN_PAUSED_CRASHED, GUEST_DEAD, TRUE},
        {VM_STATE_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP, GUEST_ALIVE, FALSE},
        {VM_STATE_PAUSED, 9999, GUEST_PAUSED, TRUE},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_UNKNOWN, GUEST_IDLE, TRUE},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN, GUEST_OFF, TRUE},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_DESTROYED, GUEST_OFF, TRUE},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_CRASHED, GUEST_DEAD, TRUE},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_MIGRATED, GUEST_OFF, TRUE},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_SAVED, GUEST_OFF, TRUE},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_FAILED, GUEST_DEAD, TRUE},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT, GUEST_OFF, TRUE},
        {VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_DAEMON, GUEST_DEAD, TRUE},
        {VM_STATE_OFF, 9999, GUEST_IDLE, TRUE},
        {VM_STATE_CRASHED, VIR_DOMAIN_CRASHED_PANICKED, GUEST_DEAD, TRUE},
        {VM_STATE_SUSPENDED, 0, GUEST_PAUSED, TRUE},
        {VM_STATE_UNKNOWN, 0, GUEST_UNKNOWN, FALSE},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        const char *why = "unset";
        GuestWord word = guest_word_of(CASES[i].state, CASES[i].reason, &why);

        g_test_message("%s, reason %d", vm_state_name(CASES[i].state), CASES[i].reason);
        expect_word(word, why, CASES[i].word, CASES[i].has_why);
    }
}

static void test_words_of_events(void)
{
    static const struct {
        int event;
        int detail;
        gboolean says;
        GuestWord word;
        gboolean has_why;
    } CASES[] = {
        {VIR_DOMAIN_EVENT_DEFINED, VIR_DOMAIN_EVENT_DEFINED_ADDED, FALSE, 0, FALSE},
        {VIR_DOMAIN_EVENT_UNDEFINED, VIR_DOMAIN_EVENT_UNDEFINED_REMOVED, FALSE, 0, FALSE},
        {VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED, TRUE, GUEST_ALIVE, FALSE},
        {VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_UNPAUSED, TRUE, GUEST_ALIVE, FALSE},
        {VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED, TRUE, GUEST_PAUSED, TRUE},
        {VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED, TRUE, GUEST_PAUSED, TRUE},
        {VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_IOERROR, TRUE, GUEST_STALLED, TRUE},
        {VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG, TRUE, GUEST_DEAD, TRUE},
        {VIR_DOMAIN_EVENT_SUSPENDED, 9999, TRUE, GUEST_PAUSED, TRUE},
        {VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, TRUE, GUEST_OFF, TRUE},
        {VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_DESTROYED, TRUE, GUEST_OFF, TRUE},
        {VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_CRASHED, TRUE, GUEST_DEAD, TRUE},
        {VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_MIGRATED, TRUE, GUEST_OFF, TRUE},
        {VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_SAVED, TRUE, GUEST_OFF, TRUE},
        {VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_FAILED, TRUE, GUEST_DEAD, TRUE},
        {VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT, TRUE, GUEST_OFF, TRUE},
        {VIR_DOMAIN_EVENT_STOPPED, 9999, TRUE, GUEST_IDLE, TRUE},
        {VIR_DOMAIN_EVENT_STOPPED, -1, TRUE, GUEST_IDLE, TRUE},
        {VIR_DOMAIN_EVENT_SHUTDOWN, VIR_DOMAIN_EVENT_SHUTDOWN_FINISHED, FALSE, 0, FALSE},
        {VIR_DOMAIN_EVENT_PMSUSPENDED, VIR_DOMAIN_EVENT_PMSUSPENDED_MEMORY, TRUE, GUEST_PAUSED, TRUE},
        {VIR_DOMAIN_EVENT_CRASHED, VIR_DOMAIN_EVENT_CRASHED_PANICKED, TRUE, GUEST_DEAD, TRUE},
        {VIR_DOMAIN_EVENT_CRASHED, 9999, TRUE, GUEST_DEAD, TRUE},
        {9999, 0, FALSE, 0, FALSE},
        {-1, 0, FALSE, 0, FALSE},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        GuestWord word = GUEST_UNKNOWN;
        const char *why = "unset";

        g_test_message("event %d, detail %d", CASES[i].event, CASES[i].detail);
        g_assert_cmpint(guest_word_of_event(CASES[i].event, CASES[i].detail, &word, &why), ==, CASES[i].says);
        if (CASES[i].says)
            expect_word(word, why, CASES[i].word, CASES[i].has_why);
    }
}

static void test_names(void)
{
    g_assert_cmpstr(guest_word_name(GUEST_UNKNOWN), ==, "unknown");
    g_assert_cmpstr(guest_word_name(GUEST_FROZEN), ==, "frozen");
}

/* --- a house of guests -------------------------------------------------------- */

typedef struct {
    uv_loop_t loop;
    Guests *guests;
    Id vm;
    guint news;
    char *dir;
    char *program;
    pid_t qemu; /* 0: none runs */
    const char *awaited;
} House;

static void on_news(void *user)
{
    ((House *)user)->news++;
}

/* @data: GuestsSettings; NULL: the usual ones. */
static void set_up(House *h, gconstpointer data)
{
    uv_loop_init(&h->loop);
    h->guests = guests_new(&h->loop, data ? data : &GUESTS_USUAL, on_news, h);
    h->vm = id_random();
    h->dir = g_dir_make_tmp("understudy-guests-XXXXXX", NULL);
    h->program = g_build_filename(h->dir, PROGRAM, NULL);
    g_assert_cmpint(symlink("/bin/sh", h->program), ==, 0);
}

static void end_qemu(House *h)
{
    if (h->qemu == 0)
        return;
    kill(h->qemu, SIGKILL);
    waitpid(h->qemu, NULL, 0);
    h->qemu = 0;
}

static void tear_down(House *h, gconstpointer data)
{
    (void)data;
    guests_close(h->guests);
    g_assert_cmpint(uv_run(&h->loop, UV_RUN_DEFAULT), ==, 0);
    g_assert_cmpint(uv_loop_close(&h->loop), ==, 0);
    end_qemu(h);
    tree_remove(h->dir);
    g_free(h->dir);
    g_free(h->program);
}

/* Until it has become what it is to look like. */
static void await_qemu(const House *h)
{
    gint64 deadline_ms = clock_steady_ms() + PATIENCE_MS;
    gboolean gone;
    int fd;

    while ((fd = qemu_process_open("/nonexistent", NAME, h->vm, &gone, NULL)) < 0) {
        g_assert_cmpint(clock_steady_ms(), <, deadline_ms);
        g_usleep(1000);
    }
    close(fd);
}

/* It reads from a pipe that nobody writes: it lives until it is killed. */
static void start_qemu(House *h)
{
    const char *id = ID_TEXT(h->vm);
    int hold[2];

    end_qemu(h);
    g_assert_cmpint(pipe(hold), ==, 0);
    h->qemu = fork();
    if (h->qemu == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* nor does it outlive a test that fails */
        dup2(hold[0], 0);
        execl(h->program, "sh", "-c", "read x", "-name", "guest=" NAME, "-uuid", id, NULL);
        _exit(127);
    }
    close(hold[0]);
    await_qemu(h);
}

static void hear(House *h, EarKind kind, int event, int detail)
{
    EarEvent said = {.kind = kind, .vm = h->vm, .name = NAME, .event = event, .detail = detail};

    guests_hear(h->guests, &said);
}

static void lifecycle(House *h, int event, int detail)
{
    hear(h, EAR_LIFECYCLE, event, detail);
}

static void down(House *h, const char *why)
{
    g_autoptr(GError) error = g_error_new_literal(US_ERROR, US_ERROR_UNREACHABLE, why);
    EarEvent said = {.kind = EAR_DOWN, .why = error};

    guests_hear(h->guests, &said);
}

/* Of the one guest; NULL: of none. */
static void resync(House *h, const VmState *state, int reason)
{
    Inventory *inventory = g_new0(Inventory, 1);
    EarEvent said = {.kind = EAR_RESYNC, .inventory = inventory};

    inventory->vms = g_ptr_array_new_with_free_func((GDestroyNotify)vm_free);
    if (state) {
        Vm *vm = g_new0(Vm, 1);

        vm->definition = definition_bare(h->vm, NAME);
        vm->state = *state;
        vm->reason = reason;
        vm->persistent = TRUE;
        g_ptr_array_add(inventory->vms, vm);
    }
    guests_hear(h->guests, &said);
    inventory_free(inventory);
}

static void resync_as(House *h, VmState state, int reason)
{
    resync(h, &state, reason);
}

static gboolean is_word(void *user)
{
    const House *h = user;
    json_auto_t *doc = guests_describe(h->guests, h->vm);

    return g_str_equal(json_string_value(json_object_get(doc, "word")), h->awaited);
}

static int boots(const House *h)
{
    json_auto_t *doc = guests_describe(h->guests, h->vm);

    return (int)json_integer_value(json_object_get(doc, "boots"));
}

/* @why: a part of it, NULL: there is none. */
static void expect(House *h, GuestWord word, const char *why)
{
    json_auto_t *doc = guests_describe(h->guests, h->vm);
    const char *said = json_string_value(json_object_get(doc, "why"));

    g_assert_cmpuint(json_object_size(doc), ==, 6);
    g_assert_cmpstr(json_string_value(json_object_get(doc, "vm")), ==, ID_TEXT(h->vm));
    g_assert_cmpstr(json_string_value(json_object_get(doc, "word")), ==, guest_word_name(word));
    if (why ? !said || !strstr(said, why) : said != NULL)
        g_error("%s: %s", guest_word_name(word), said ? said : "no reason");
}

/* Once the loop has turned to it, which is news. */
static void await(House *h, GuestWord word, const char *why)
{
    guint news = h->news;

    h->awaited = guest_word_name(word);
    g_assert_true(turn_until(&h->loop, is_word, h, PATIENCE_MS));
    g_assert_cmpuint(h->news, >, news);
    expect(h, word, why);
}

static void expect_libvirt(const House *h, json_t *steal_up, const char *why)
{
    json_auto_t *up = steal_up;
    json_auto_t *doc = guests_libvirt(h->guests);

    g_assert_cmpuint(json_object_size(doc), ==, 2);
    g_assert_true(json_equal(json_object_get(doc, "up"), up));
    g_assert_cmpstr(json_string_value(json_object_get(doc, "why")), ==, why);
}

/* --- libvirt's word ------------------------------------------------------------ */

static void test_inventories(House *h, gconstpointer data)
{
    (void)data;
    expect(h, GUEST_UNKNOWN, NULL);
    resync(h, NULL, 0);
    expect(h, GUEST_UNKNOWN, NULL);
    resync_as(h, VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_UNKNOWN);
    expect(h, GUEST_IDLE, "since its host was");
    resync_as(h, VM_STATE_RUNNING, VIR_DOMAIN_RUNNING_BOOTED);
    expect(h, GUEST_ALIVE, NULL);
    resync_as(h, VM_STATE_PAUSED, VIR_DOMAIN_PAUSED_IOERROR);
    expect(h, GUEST_STALLED, "I/O error");
    resync_as(h, VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_CRASHED);
    expect(h, GUEST_DEAD, "it crashed");
    resync_as(h, VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_UNKNOWN);
    expect(h, GUEST_DEAD, "it crashed"); /* libvirtd was restarted, and has forgotten it */
    resync(h, NULL, 0);
    expect(h, GUEST_UNKNOWN, NULL); /* it is none of this host's any more */
}

static void test_events(House *h, gconstpointer data)
{
    guint news;

    (void)data;
    lifecycle(h, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
    expect(h, GUEST_ALIVE, NULL);
    lifecycle(h, VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
    expect(h, GUEST_PAUSED, "it is paused");
    lifecycle(h, VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_UNPAUSED);
    expect(h, GUEST_ALIVE, NULL);
    /* What says nothing about it changes nothing, and is no news; neither is what was known. */
    news = h->news;
    lifecycle(h, VIR_DOMAIN_EVENT_DEFINED, VIR_DOMAIN_EVENT_DEFINED_UPDATED);
    lifecycle(h, VIR_DOMAIN_EVENT_SHUTDOWN, VIR_DOMAIN_EVENT_SHUTDOWN_FINISHED);
    lifecycle(h, VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_UNPAUSED);
    hear(h, EAR_BLOCK_JOB, 0, 0);
    hear(h, EAR_AGENT, 1, 0);
    expect(h, GUEST_ALIVE, NULL);
    g_assert_cmpuint(h->news, ==, news);
    lifecycle(h, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN);
    expect(h, GUEST_OFF, "it was shut down");
    g_assert_cmpuint(h->news, >, news);
}

/* It rises with each end, start and reboot that was seen, and with nothing else. */
static void test_boots(House *h, gconstpointer data)
{
    (void)data;
    g_assert_cmpint(boots(h), ==, 0);
    resync_as(h, VM_STATE_RUNNING, 0);
    g_assert_cmpint(boots(h), ==, 0);
    hear(h, EAR_REBOOT, 0, 0);
    g_assert_cmpint(boots(h), ==, 1);
    lifecycle(h, VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
    lifecycle(h, VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_UNPAUSED);
    g_assert_cmpint(boots(h), ==, 1);
    lifecycle(h, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN);
    g_assert_cmpint(boots(h), ==, 2);
    lifecycle(h, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
    g_assert_cmpint(boots(h), ==, 3);
    resync_as(h, VM_STATE_RUNNING, 0);
    g_assert_cmpint(boots(h), ==, 3);
    /* Off and on again while nobody listened. */
    resync_as(h, VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN);
    down(h, "it is gone");
    resync_as(h, VM_STATE_RUNNING, 0);
    g_assert_cmpint(boots(h), ==, 4);
}

static void expect_barks(House *h, int times, const char *what)
{
    json_auto_t *doc = guests_describe(h->guests, h->vm);

    g_assert_cmpint(json_integer_value(json_object_get(doc, "barks")), ==, times);
    g_assert_cmpstr(json_string_value(json_object_get(doc, "bark")), ==, what);
}

/* Each time it goes off is news, and nobody is dead for that. */
static void test_watchdog(House *h, gconstpointer data)
{
    guint news;

    (void)data;
    resync_as(h, VM_STATE_RUNNING, 0);
    expect_barks(h, 0, NULL);
    news = h->news;
    hear(h, EAR_WATCHDOG, 0, VIR_DOMAIN_EVENT_WATCHDOG_RESET);
    expect_barks(h, 1, "it was reset");
    g_assert_cmpuint(h->news, ==, news + 1);
    hear(h, EAR_WATCHDOG, 0, VIR_DOMAIN_EVENT_WATCHDOG_RESET);
    expect_barks(h, 2, "it was reset");
    g_assert_cmpuint(h->news, ==, news + 2);
    hear(h, EAR_WATCHDOG, 0, 99);
    expect_barks(h, 3, "libvirt does not say what was done");
    expect(h, GUEST_ALIVE, NULL);
}

static void start(House *h)
{
    lifecycle(h, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
    expect(h, GUEST_ALIVE, NULL);
    g_assert_false(guests_ended_by_watchdog(h->guests, h->vm));
}

static void stop_as(House *h, int detail, GuestWord word, const char *why)
{
    lifecycle(h, VIR_DOMAIN_EVENT_STOPPED, detail);
    expect(h, word, why);
    g_assert_cmpint(guests_ended_by_watchdog(h->guests, h->vm), ==, strstr(why, "watchdog") != NULL);
}

/* One that its watchdog has ended is dead, whatever libvirt calls that, however often it is asked, and though it forgets. */
static void test_watchdog_ends(House *h, gconstpointer data)
{
    static const struct {
        int action, detail, reason;
        const char *why;
    } CASES[] = {
        {VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF, VIR_DOMAIN_EVENT_STOPPED_FAILED, VIR_DOMAIN_SHUTOFF_CRASHED,
         "its watchdog went off, and powered it off"},
        {VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, VIR_DOMAIN_SHUTOFF_SHUTDOWN,
         "its watchdog went off, and powered it off"},
        {VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, VIR_DOMAIN_SHUTOFF_SHUTDOWN,
         "its watchdog went off, and it was shut down by that"},
    };

    (void)data;
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        resync_as(h, VM_STATE_RUNNING, 0);
        hear(h, EAR_WATCHDOG, 0, CASES[i].action);
        expect(h, GUEST_ALIVE, NULL);
        stop_as(h, CASES[i].detail, GUEST_DEAD, CASES[i].why);
        g_assert_true(guests_ended_by_watchdog(h->guests, h->vm));
        resync_as(h, VM_STATE_OFF, CASES[i].reason);
        expect(h, GUEST_DEAD, CASES[i].why);
        lifecycle(h, VIR_DOMAIN_EVENT_STOPPED, CASES[i].detail); /* as the ears say it again */
        expect(h, GUEST_DEAD, CASES[i].why);
        resync_as(h, VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_UNKNOWN);
        expect(h, GUEST_DEAD, CASES[i].why);
        start(h);
        /* The same end of the next run. */
        stop_as(h, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, GUEST_OFF, "it was shut down");
        start(h);
        /* An inventory may know of the end first, or be older than its news. */
        hear(h, EAR_WATCHDOG, 0, CASES[i].action);
        resync_as(h, VM_STATE_OFF, CASES[i].reason);
        expect(h, GUEST_DEAD, CASES[i].why);
        resync_as(h, VM_STATE_RUNNING, 0);
        g_assert_false(guests_ended_by_watchdog(h->guests, h->vm));
        stop_as(h, CASES[i].detail, GUEST_DEAD, CASES[i].why);
        start(h);
    }
}

/* Its user's will: what ends otherwise, of what was reset meanwhile, and when its watchdog did nothing that ends a guest. */
static void test_watchdog_and_its_user(House *h, gconstpointer data)
{
    static const int HARMLESS[] = {VIR_DOMAIN_EVENT_WATCHDOG_NONE,      VIR_DOMAIN_EVENT_WATCHDOG_PAUSE,
                                   VIR_DOMAIN_EVENT_WATCHDOG_RESET,     VIR_DOMAIN_EVENT_WATCHDOG_DEBUG,
                                   VIR_DOMAIN_EVENT_WATCHDOG_INJECTNMI, 99};
    static const int OTHERWISE[] = {VIR_DOMAIN_EVENT_STOPPED_DESTROYED, VIR_DOMAIN_EVENT_STOPPED_SAVED,
                                    VIR_DOMAIN_EVENT_STOPPED_MIGRATED,
                                    VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT};

    (void)data;
    resync_as(h, VM_STATE_RUNNING, 0);
    for (guint i = 0; i < G_N_ELEMENTS(HARMLESS); i++) {
        hear(h, EAR_WATCHDOG, 0, HARMLESS[i]);
        stop_as(h, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, GUEST_OFF, "it was shut down");
        start(h);
    }
    for (guint i = 0; i < G_N_ELEMENTS(OTHERWISE); i++) {
        hear(h, EAR_WATCHDOG, 0, VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF);
        stop_as(h, OTHERWISE[i], GUEST_OFF, "it was");
        start(h);
    }
    hear(h, EAR_WATCHDOG, 0, VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN);
    hear(h, EAR_REBOOT, 0, 0);
    stop_as(h, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, GUEST_OFF, "it was shut down");
    start(h);
    hear(h, EAR_WATCHDOG, 0, VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN);
    hear(h, EAR_WATCHDOG, 0, VIR_DOMAIN_EVENT_WATCHDOG_RESET);
    stop_as(h, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, GUEST_OFF, "it was shut down");
    start(h);
    /* A guest that was asked has not failed for that. */
    hear(h, EAR_WATCHDOG, 0, VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN);
    stop_as(h, VIR_DOMAIN_EVENT_STOPPED_FAILED, GUEST_DEAD, "has ended by itself");
    start(h);
    /* Its user has started it and ended it while nobody listened. */
    hear(h, EAR_WATCHDOG, 0, VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF);
    stop_as(h, VIR_DOMAIN_EVENT_STOPPED_FAILED, GUEST_DEAD, "its watchdog");
    resync_as(h, VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_DESTROYED);
    expect(h, GUEST_OFF, "destroyed");
    g_assert_false(guests_ended_by_watchdog(h->guests, h->vm));
}

/* It ran by the inventory, and is shut down now. */
static gboolean is_users_end(void *user)
{
    House *h = user;

    resync_as(h, VM_STATE_RUNNING, 0);
    lifecycle(h, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN);
    return !guests_ended_by_watchdog(h->guests, h->vm);
}

/* Nobody heard of its start. At once it may still be the end that was told before, by ears whose inventory is older. */
static void test_watchdog_and_a_start_unheard(House *h, gconstpointer data)
{
    static const int ACTIONS[] = {VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF, VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN};

    (void)data;
    for (guint i = 0; i < G_N_ELEMENTS(ACTIONS); i++) {
        resync_as(h, VM_STATE_RUNNING, 0);
        hear(h, EAR_WATCHDOG, 0, ACTIONS[i]);
        resync_as(h, VM_STATE_RUNNING, 0); /* it was not off */
        stop_as(h, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, GUEST_DEAD, "its watchdog");
        down(h, "it is gone");
        g_assert_true(turn_until(&h->loop, is_users_end, h, PATIENCE_MS));
        expect(h, GUEST_OFF, "it was shut down");
        start(h);
    }
    /* It goes off of a guest that was not known to run before. */
    resync(h, NULL, 0);
    hear(h, EAR_WATCHDOG, 0, VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN);
    resync_as(h, VM_STATE_RUNNING, 0);
    stop_as(h, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, GUEST_DEAD, "its watchdog");
}

/* One that hung did not follow, and ran on; it was shut down later. */
static void test_watchdog_long_ago(House *h, gconstpointer data)
{
    (void)data;
    resync_as(h, VM_STATE_RUNNING, 0);
    hear(h, EAR_WATCHDOG, 0, VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN);
    stop_as(h, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, GUEST_OFF, "it was shut down");
    resync_as(h, VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN);
    expect(h, GUEST_OFF, "it was shut down");
}

/* Of what has ended, and cannot be started again, nothing is kept, but of whom somebody has asked for. */
static void test_forgotten(House *h, gconstpointer data)
{
    (void)data;
    lifecycle(h, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
    lifecycle(h, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_CRASHED);
    expect(h, GUEST_UNKNOWN, NULL);
    lifecycle(h, VIR_DOMAIN_EVENT_DEFINED, VIR_DOMAIN_EVENT_DEFINED_ADDED);
    lifecycle(h, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
    lifecycle(h, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_CRASHED);
    lifecycle(h, VIR_DOMAIN_EVENT_UNDEFINED, VIR_DOMAIN_EVENT_UNDEFINED_REMOVED);
    expect(h, GUEST_UNKNOWN, NULL);
    /* It goes on without its definition, and goes with its end. */
    resync_as(h, VM_STATE_RUNNING, 0);
    lifecycle(h, VIR_DOMAIN_EVENT_UNDEFINED, VIR_DOMAIN_EVENT_UNDEFINED_REMOVED);
    lifecycle(h, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_CRASHED);
    expect(h, GUEST_UNKNOWN, NULL);
    g_assert_cmpint(boots(h), ==, 0);
}

static void test_remembered(House *h, gconstpointer data)
{
    (void)data;
    /* It may be asked for later. */
    lifecycle(h, VIR_DOMAIN_EVENT_DEFINED, VIR_DOMAIN_EVENT_DEFINED_ADDED);
    lifecycle(h, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
    lifecycle(h, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_CRASHED);
    expect(h, GUEST_DEAD, "it crashed");
    lifecycle(h, VIR_DOMAIN_EVENT_UNDEFINED, VIR_DOMAIN_EVENT_UNDEFINED_REMOVED);
    expect(h, GUEST_DEAD, "it crashed");
    lifecycle(h, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
    lifecycle(h, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN);
    expect(h, GUEST_OFF, "it was shut down");
    g_assert_cmpint(boots(h), ==, 4);
    resync(h, NULL, 0);
    expect(h, GUEST_UNKNOWN, NULL);
}

static void test_libvirt(House *h, gconstpointer data)
{
    guint news;

    (void)data;
    expect_libvirt(h, json_null(), NULL);
    down(h, "it hangs");
    expect_libvirt(h, json_false(), "it hangs");
    g_assert_cmpuint(h->news, ==, 1);
    resync_as(h, VM_STATE_RUNNING, 0);
    expect_libvirt(h, json_true(), NULL);
    /* It says nothing about any guest, and is told once. */
    news = h->news;
    down(h, "it is gone");
    down(h, "it is gone still");
    expect_libvirt(h, json_false(), "it is gone");
    expect(h, GUEST_ALIVE, NULL);
    g_assert_cmpuint(h->news, ==, news + 1);
    resync_as(h, VM_STATE_RUNNING, 0);
    expect_libvirt(h, json_true(), NULL);
}

/* --- the kernel's --------------------------------------------------------------- */

/* Each of these waits for a look, of which there is one a second. That the process is held shows when it is stopped. */
static void stop(House *h)
{
    kill(h->qemu, SIGSTOP);
    await(h, GUEST_FROZEN, "stopped by a signal");
}

static void test_frozen(House *h, gconstpointer data)
{
    House other = {.vm = id_random(), .program = h->program}; /* whose process is nothing to it */

    (void)data;
    start_qemu(&other);
    start_qemu(h);
    resync_as(h, VM_STATE_RUNNING, 0);
    stop(h);
    /* libvirtd has no part in it. */
    down(h, "it is gone");
    expect(h, GUEST_FROZEN, "stopped by a signal");
    /* One that its user paused is not frozen. */
    lifecycle(h, VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
    expect(h, GUEST_PAUSED, "it is paused");
    lifecycle(h, VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_UNPAUSED);
    expect(h, GUEST_FROZEN, "stopped by a signal");
    end_qemu(&other);
    kill(h->qemu, SIGCONT);
    await(h, GUEST_ALIVE, NULL);
    g_assert_cmpint(boots(h), ==, 0);
}

/* It is not known to be dead before libvirt says so, unless that is silent. */
static void test_ended(House *h, gconstpointer data)
{
    (void)data;
    start_qemu(h);
    resync_as(h, VM_STATE_RUNNING, 0);
    stop(h);
    end_qemu(h);
    await(h, GUEST_UNKNOWN, "libvirtd has not said so yet");
    down(h, "it hangs");
    expect(h, GUEST_DEAD, "has not started it anew");
    resync_as(h, VM_STATE_RUNNING, 0);
    expect(h, GUEST_UNKNOWN, "libvirtd has not said so yet");
    lifecycle(h, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN);
    expect(h, GUEST_OFF, "it was shut down");
    /* The next one is another process. */
    start_qemu(h);
    lifecycle(h, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
    expect(h, GUEST_ALIVE, NULL);
    stop(h);
    down(h, "it hangs");
    end_qemu(h);
    await(h, GUEST_DEAD, "has not started it anew");
}

/* It was started anew while libvirtd did not answer, or by one that has not told it. */
static void test_found_anew(House *h, gconstpointer data)
{
    (void)data;
    start_qemu(h);
    resync_as(h, VM_STATE_RUNNING, 0);
    stop(h);
    down(h, "it hangs");
    end_qemu(h);
    await(h, GUEST_DEAD, "has not started it anew");
    resync_as(h, VM_STATE_RUNNING, 0);
    expect(h, GUEST_UNKNOWN, "libvirtd has not said so yet");
    start_qemu(h);
    await(h, GUEST_ALIVE, NULL);
}

static void test_not_noticed(House *h, gconstpointer data)
{
    (void)data;
    start_qemu(h);
    resync_as(h, VM_STATE_RUNNING, 0);
    stop(h);
    end_qemu(h);
    await(h, GUEST_UNKNOWN, "libvirtd has not said so yet");
    await(h, GUEST_DEAD, "libvirtd does not notice");
    lifecycle(h, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_FAILED);
    expect(h, GUEST_DEAD, "ended by itself");
    lifecycle(h, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
    expect(h, GUEST_ALIVE, NULL);
}

/* The guest goes; and all of it, in the middle of the search for the process that came after one that has ended. */
static void test_gone(House *h, gconstpointer data)
{
    guint news;

    (void)data;
    start_qemu(h);
    resync_as(h, VM_STATE_RUNNING, 0);
    stop(h);
    resync(h, NULL, 0);
    expect(h, GUEST_UNKNOWN, NULL);
    resync_as(h, VM_STATE_RUNNING, 0);
    expect(h, GUEST_ALIVE, NULL); /* it is not held yet */
    stop(h);
    start_qemu(h);
    uv_run(&h->loop, UV_RUN_ONCE); /* the look that begins the search */
    expect(h, GUEST_UNKNOWN, "libvirtd has not said so yet");
    news = h->news;
    guests_close(h->guests);
    g_assert_cmpint(uv_run(&h->loop, UV_RUN_DEFAULT), ==, 0);
    g_assert_cmpuint(h->news, ==, news);
    h->guests = guests_new(&h->loop, &GUESTS_USUAL, on_news, h); /* for what tears down */
}

static guint pidfds(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    const char *name;
    guint n = 0;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename("/proc/self/fd", name, NULL);
        g_autofree char *to = g_file_read_link(path, NULL);

        n += to && strstr(to, "pidfd");
    }
    return n;
}

/* The guests' timer and the turn's are all that there is. */
static gboolean searches_no_more(void *user)
{
    return ((House *)user)->loop.active_handles <= 2;
}

/* A process is held until libvirt says that it has ended, and no longer; nor one that was searched for meanwhile. */
static void test_let_go(House *h, gconstpointer data)
{
    (void)data;
    start_qemu(h);
    resync_as(h, VM_STATE_RUNNING, 0);
    stop(h);
    lifecycle(h, VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
    g_assert_cmpuint(pidfds(), ==, 1);
    resync_as(h, VM_STATE_OFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN);
    g_assert_cmpuint(pidfds(), ==, 0);
    resync_as(h, VM_STATE_RUNNING, 0);
    stop(h);
    lifecycle(h, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_DESTROYED);
    g_assert_cmpuint(pidfds(), ==, 0);
    lifecycle(h, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
    uv_run(&h->loop, UV_RUN_ONCE); /* the look that begins the search */
    lifecycle(h, VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_DESTROYED);
    g_assert_true(turn_until(&h->loop, searches_no_more, h, PATIENCE_MS));
    g_assert_cmpuint(pidfds(), ==, 0);
}

static void test_close_nothing(void)
{
    guests_close(NULL);
}

static void add(const char *path, void (*test)(House *house, gconstpointer data))
{
    g_test_add(path, House, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guests/words/of states", test_words_of_states);
    g_test_add_func("/guests/words/of events", test_words_of_events);
    g_test_add_func("/guests/words/names", test_names);
    g_test_add_func("/guests/closing nothing", test_close_nothing);
    add("/guests/libvirt/inventories", test_inventories);
    add("/guests/libvirt/events", test_events);
    add("/guests/libvirt/boots", test_boots);
    add("/guests/libvirt/watchdog/is heard", test_watchdog);
    add("/guests/libvirt/watchdog/ends it", test_watchdog_ends);
    add("/guests/libvirt/watchdog/and its user", test_watchdog_and_its_user);
    add("/guests/libvirt/watchdog/and a start that nobody heard of", test_watchdog_and_a_start_unheard);
    g_test_add("/guests/libvirt/watchdog/long ago", House, &LATE, set_up, test_watchdog_long_ago, tear_down);
    add("/guests/libvirt/forgotten", test_forgotten);
    add("/guests/libvirt/remembered", test_remembered);
    add("/guests/libvirt/up, down, and not asked yet", test_libvirt);
    add("/guests/kernel/frozen", test_frozen);
    add("/guests/kernel/ended", test_ended);
    add("/guests/kernel/found anew", test_found_anew);
    g_test_add("/guests/kernel/not noticed", House, &SOON, set_up, test_not_noticed, tear_down);
    add("/guests/kernel/let go", test_let_go);
    add("/guests/kernel/gone while it is looked for", test_gone);
    return g_test_run();
}
