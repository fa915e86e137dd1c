/* SPDX-License-Identifier: Apache-2.0 */
/* A host that lets the engine have no more threads or descriptors: the test is not begun, and says why. */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/fault.h"
#include "vmconnect/rehearse/rehearsal.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct {
    uv_loop_t loop;
    char *dir;
    Mailbox *reports;
    Rehearsal *rehearsal;
    char *why;
} World;

static void on_report(void *user, void *letter)
{
    World *w = user;
    RehearsalNews *news = letter;

    if (news->word && !w->why)
        w->why = g_strdup(json_string_value(json_object_get(news->word->doc, "why")));
    if (news->ended)
        rehearsal_join(g_steal_pointer(&w->rehearsal));
    rehearsal_news_free(news);
}

static void set_up(World *w, gconstpointer data)
{
    (void)data;
    uv_loop_init(&w->loop);
    w->dir = g_dir_make_tmp("rehearsal-XXXXXX", NULL);
    w->reports = mailbox_new_loop(&w->loop, on_report, w, (GDestroyNotify)rehearsal_news_free);
}

static void tear_down(World *w, gconstpointer data)
{
    (void)data;
    mailbox_close(w->reports);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&w->loop), ==, 0);
    g_assert_cmpint(g_rmdir(w->dir), ==, 0);
    g_free(w->dir);
    g_free(w->why);
}

/* Of one VM, where there is no libvirt. */
static RehearsalSpec *spec_new(const World *w)
{
    RehearsalSpec *spec = g_new0(RehearsalSpec, 1);

    spec->begun_ms = clock_steady_ms();
    spec->limit_ms = 10000;
    spec->here = g_strdup("here");
    spec->vms = g_ptr_array_new_with_free_func((GDestroyNotify)stand_in_spec_free);
    spec->after = g_ptr_array_new_with_free_func((GDestroyNotify)g_array_unref);
    spec->mappings = g_new0(Mapping *, 1);
    spec->hosts = g_ptr_array_new();
    spec->libvirt_uri = "none:///";
    spec->remains = (RemainsSite){w->dir, w->dir, w->dir, w->dir, id_random()};
    g_ptr_array_add(spec->vms, stand_in_spec_new(id_random(), "web1"));
    g_ptr_array_add(spec->after, g_array_new(FALSE, FALSE, sizeof(Id)));
    return spec;
}

static void run(World *w)
{
    while (w->rehearsal)
        uv_run(&w->loop, UV_RUN_ONCE);
    g_assert_nonnull(w->why);
}

static rlim_t set_limit(rlim_t fds)
{
    struct rlimit limit;
    rlim_t before;

    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    before = limit.rlim_cur;
    limit.rlim_cur = fds;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    return before;
}

static int next_fd(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    return fd;
}

static void test_no_descriptors(World *w, gconstpointer data)
{
    RehearsalSpec *spec = spec_new(w);
    guint failed;

    (void)data;
    for (failed = 0; !w->rehearsal; failed++) {
        rlim_t before = set_limit((rlim_t)next_fd() + failed);
        g_autoptr(GError) error = NULL;

        w->rehearsal = rehearsal_start(spec, w->reports, &error);
        set_limit(before);
        g_assert_true(w->rehearsal || g_error_matches(error, US_ERROR, US_ERROR_IO));
    }
    g_assert_cmpuint(failed, >, 2); /* the box's, and the one that says when to stop */
    run(w);
}

static void test_no_thread(World *w, gconstpointer data)
{
    RehearsalSpec *spec = spec_new(w);
    g_autoptr(GError) error = NULL;

    (void)data;
    fault_arm(1, EAGAIN);
    g_assert_null(rehearsal_start(spec, w->reports, &error));
    g_assert_true(fault_was_met());
    g_assert_error(error, US_ERROR, US_ERROR_IO);
    w->rehearsal = rehearsal_start(spec, w->reports, NULL);
    run(w);
}

static void test_no_thread_for_a_vm(void)
{
    StandInSite site = {.stop_fd = -1};
    StandInSpec *spec = stand_in_spec_new(id_random(), "web1");
    StandInPart part = {.xml = g_strdup("<domain/>"), .nics = g_ptr_array_new()};
    Mailbox *box = mailbox_new_thread((GDestroyNotify)stand_in_word_free);
    g_autoptr(GError) error = NULL;

    fault_arm(1, EAGAIN);
    g_assert_null(stand_in_start(&site, spec, &part, 0, 0, box, &error));
    g_assert_true(fault_was_met());
    g_assert_error(error, US_ERROR, US_ERROR_IO);
    stand_in_part_clear(&part);
    stand_in_spec_free(spec);
    mailbox_close(box);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/rehearsal/no-descriptors", World, NULL, set_up, test_no_descriptors, tear_down);
    g_test_add("/rehearsal/no-thread", World, NULL, set_up, test_no_thread, tear_down);
    g_test_add_func("/rehearsal/no-thread-for-a-vm", test_no_thread_for_a_vm);
    return g_test_run();
}
