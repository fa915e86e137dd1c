/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/certificate.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

static Release a_release(void)
{
    return (Release){.vm = id_random(),
                     .plan = id_random(),
                     .tip = id_random(),
                     .successor = id_random(),
                     .reign = {4, id_random()},
                     .next = {5, id_random()},
                     .running = TRUE};
}

/* What the controller asks with that certificate; it is taken. */
static json_t *params_of(const Release *r, json_t *certificate)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "plan", ID_TEXT(r->plan), "vm", ID_TEXT(r->vm), "tip",
                     json_from_id(r->tip), "reign_next", reign_to_json(r->next), "certificate", certificate);
}

static void assert_refused(const Release *asked, json_t *certificate, UsError code)
{
    json_auto_t *params = params_of(asked, certificate);
    g_autoptr(GError) error = NULL;

    g_assert_false(certificate_check(params, asked->vm, asked->successor, &error));
    g_assert_error(error, US_ERROR, (gint)code);
}

static void test_its_own(void)
{
    Release r = a_release();
    json_auto_t *params = params_of(&r, certificate_of_release(&r));

    g_assert_true(certificate_check(params, r.vm, r.successor, NULL));
    json_object_set_new(params, "tip", json_string(ID_TEXT(id_random()))); /* an older point was chosen */
    g_assert_true(certificate_check(params, r.vm, r.successor, NULL));
}

/* One thing is another's, each in its turn. */
static void test_anothers(void)
{
    const Release asked = a_release(), other = a_release();

    for (guint i = 0; i < 5; i++) {
        Release r = asked;

        if (i == 0)
            r.vm = other.vm;
        if (i == 1)
            r.plan = other.plan;
        if (i == 2)
            r.successor = other.successor;
        if (i == 3)
            r.next.id = other.next.id;
        if (i == 4)
            r.reign.number = asked.next.number;
        assert_refused(&asked, certificate_of_release(&r), US_ERROR_REFUSED);
    }
}

static void test_none(void)
{
    Release asked = a_release();
    json_auto_t *forced = params_of(&asked, json_pack("{s:b, s:b}", "forced", 1, "old_is_off", 0));

    assert_refused(&asked, json_null(), US_ERROR_USAGE);
    assert_refused(&asked, json_pack("{s:b}", "forced", 0), US_ERROR_USAGE);
    assert_refused(&asked, json_string("released"), US_ERROR_USAGE);
    g_assert_true(certificate_check(forced, asked.vm, asked.successor, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/certificate/its-own", test_its_own);
    g_test_add_func("/certificate/anothers", test_anothers);
    g_test_add_func("/certificate/none", test_none);
    return g_test_run();
}
