/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

static void test_generations_read_as_sealed(void)
{
    g_autoptr(Rig) rig = rig_new(2);

    rig_open(rig);
    for (guint i = 0; i < 6; i++) {
        rig_cut(rig);
        rig_settle(rig, 10000);
    }
    rig_check_points(rig);
    rig_close(rig);
    rig_open(rig);
    g_assert_true(id_equal(store_tip(rig->store)->id, ((RigPoint *)rig->points->pdata[5])->generation->id));
    rig_check_points(rig);
    rig_cut(rig);
    rig_check_points(rig);
}

static void test_merging_keeps_the_kept(void)
{
    g_autoptr(Rig) rig = rig_new(2);

    rig->options.retain = (RetentionPolicy){.newest = 3};
    rig_open(rig);
    for (guint i = 0; i < 10; i++) {
        rig_cut(rig);
        rig_settle(rig, 10000);
    }
    g_assert_cmpuint(store_points(rig->store)->len, ==, 3);
    rig_check_points(rig);
    rig_close(rig);
    rig_open(rig);
    rig_check_points(rig);
    rig_cut(rig);
    rig_settle(rig, 10000);
    rig_check_points(rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/store/generations-read-as-sealed", test_generations_read_as_sealed);
    g_test_add_func("/store/merging-keeps-the-kept", test_merging_keeps_the_kept);
    return g_test_run();
}
