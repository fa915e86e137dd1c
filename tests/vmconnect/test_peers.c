/* SPDX-License-Identifier: Apache-2.0 */
/* Links to the engines of standbys, over real sockets: who is dialled, who is not any more, and what is answered while one of
 * them is not there. */
#include "link/answerer.h"
#include "link/fixture.h"
#include "vmconnect/base/error.h"
#include "vmconnect/peers.h"

#include <signal.h>
#include <string.h>

#define LIMIT_MS 15000
#define PATIENCE_MS 30000

static House house;
static Identity *me;

typedef struct Room Room;
struct Room {
    uv_loop_t loop;
    LoopLimit limit;
    Answerer beta;
    Answerer gamma;
    Peers *peers;
    GString *trace;
    char *said;              /* of the last error */
    void (*inside)(Room *r); /* done in the next answer, once */
};

static Id beta_id(void)
{
    return identity_peer(house.standby).id;
}

static Id gamma_id(void)
{
    return identity_peer(house.active).id;
}

static void on_answer(void *user, const json_t *result, const GError *error)
{
    Room *r = user;
    void (*inside)(Room *) = r->inside;

    g_assert_true(!result == (error != NULL));
    g_string_append_printf(r->trace, "%s ", error ? us_error_name((UsError)error->code) : "answer");
    if (error) {
        g_free(r->said);
        r->said = g_strdup(error->message);
    }
    r->inside = NULL;
    if (inside)
        inside(r);
}

static void ask(Room *r, Id engine, const char *method)
{
    gsize before = r->trace->len;

    peers_call(r->peers, engine, method, NULL, LIMIT_MS, on_answer, r);
    g_assert_cmpuint(r->trace->len, ==, before); /* never before it returns */
}

static void turn(Room *r)
{
    uv_run(&r->loop, UV_RUN_ONCE);
}

/* Turn until so much was answered, and this it must be. */
static void expect(Room *r, const char *trace)
{
    while (r->trace->len < strlen(trace))
        turn(r);
    g_assert_cmpstr(r->trace->str, ==, trace);
    g_string_truncate(r->trace, 0);
}

static void until_up(Room *r, Id engine)
{
    while (!peers_is_up(r->peers, engine))
        turn(r);
}

static void until_down(Room *r, Id engine)
{
    while (peers_is_up(r->peers, engine))
        turn(r);
}

static void want_at(Room *r, Id engine, const char *address)
{
    peers_want(r->peers, engine, (const char *const[]){address, NULL});
}

static void want_both(Room *r)
{
    want_at(r, beta_id(), r->beta.address);
    want_at(r, gamma_id(), r->gamma.address);
}

static void keep_only(Room *r, const Id *engine)
{
    g_autoptr(GHashTable) wanted = g_hash_table_new(id_hash, id_equal_func);

    if (engine)
        g_hash_table_add(wanted, (gpointer)engine);
    peers_keep_only(r->peers, wanted);
}

static void close_peers(Room *r)
{
    peers_close(g_steal_pointer(&r->peers));
}

static void set_up(Room *r, gconstpointer data)
{
    (void)data;
    memset(r, 0, sizeof(*r));
    uv_loop_init(&r->loop);
    loop_limit_begin(&r->limit, &r->loop, PATIENCE_MS);
    r->trace = g_string_new(NULL);
    answerer_open(&r->beta, &r->loop, house.standby);
    answerer_open(&r->gamma, &r->loop, house.active);
    r->peers = peers_new(&r->loop, me);
}

static void tear_down(Room *r, gconstpointer data)
{
    (void)data;
    close_peers(r);
    answerer_close(&r->beta);
    answerer_close(&r->gamma);
    loop_limit_end(&r->limit);
    loop_end(&r->loop);
    g_assert_cmpstr(r->trace->str, ==, "");
    g_string_free(r->trace, TRUE);
    g_free(r->said);
}

/* --- asking ---------------------------------------------------------------------- */

static void test_asks(Room *r, gconstpointer data)
{
    (void)data;
    want_both(r);
    g_assert_false(peers_is_up(r->peers, beta_id()));
    until_up(r, beta_id());
    until_up(r, gamma_id());
    ask(r, beta_id(), "echo");
    expect(r, "answer ");
    ask(r, gamma_id(), "later");
    while (r->gamma.owed.length == 0)
        turn(r);
    answerer_pay(&r->gamma);
    expect(r, "answer ");
    g_assert_cmpstr(r->beta.asked->str, ==, "echo ");
    g_assert_cmpstr(r->gamma.asked->str, ==, "later ");
}

/* What cannot be asked now is answered so now, and is not asked later. */
static void test_down(Room *r, gconstpointer data)
{
    (void)data;
    ask(r, beta_id(), "echo");
    expect(r, "unreachable ");
    g_assert_cmpstr(r->said, ==, "its engine is not reached: this one does not ask it");
    answerer_shut(&r->beta);
    want_at(r, beta_id(), r->beta.address);
    ask(r, beta_id(), "echo");
    expect(r, "unreachable ");
    g_assert_cmpstr(r->said, ==, "its engine is not reached: it is being dialled");
    answerer_open(&r->beta, &r->loop, house.standby);
    until_up(r, beta_id());
    g_assert_cmpstr(r->beta.asked->str, ==, "");
    ask(r, beta_id(), "echo");
    expect(r, "answer ");
}

static void test_lost_and_back(Room *r, gconstpointer data)
{
    g_autoptr(GError) why = g_error_new_literal(US_ERROR, US_ERROR_BUSY, "the engine has other things to do");

    (void)data;
    want_both(r);
    until_up(r, beta_id());
    until_up(r, gamma_id());
    ask(r, beta_id(), "later");
    while (r->beta.owed.length == 0)
        turn(r);
    answerer_drop(&r->beta, why);
    until_down(r, beta_id());
    ask(r, beta_id(), "echo");
    expect(r, "busy unreachable ");
    g_assert_true(peers_is_up(r->peers, gamma_id()));
    until_up(r, beta_id());
    ask(r, beta_id(), "echo");
    expect(r, "answer ");
}

/* Its answer to be asked again is answered, and no loop holds up what else is to be done. */
static void ask_nobody(Room *r)
{
    ask(r, id_random(), "echo");
}

static void test_ask_again(Room *r, gconstpointer data)
{
    (void)data;
    r->inside = ask_nobody;
    ask_nobody(r);
    expect(r, "unreachable unreachable ");
}

/* --- who is wanted ----------------------------------------------------------------- */

static void test_want_again(Room *r, gconstpointer data)
{
    (void)data;
    want_at(r, beta_id(), r->beta.address);
    turn(r);
    for (guint i = 0; i < 100; i++)
        want_at(r, beta_id(), r->beta.address);
    until_up(r, beta_id());
    want_at(r, beta_id(), r->beta.address);
    ask(r, beta_id(), "echo");
    expect(r, "answer ");
    g_assert_cmpuint(r->beta.came, ==, 1);
    g_assert_cmpuint(r->beta.refused, ==, 0);
}

static void test_want_elsewhere(Room *r, gconstpointer data)
{
    Answerer elsewhere = {0};

    (void)data;
    answerer_shut(&r->beta);
    answerer_open(&elsewhere, &r->loop, house.standby);
    want_at(r, beta_id(), r->beta.address);
    turn(r);
    want_at(r, beta_id(), elsewhere.address);
    until_up(r, beta_id());
    /* One that is up stays so. */
    answerer_open(&r->beta, &r->loop, house.standby);
    want_at(r, beta_id(), r->beta.address);
    ask(r, beta_id(), "echo");
    expect(r, "answer ");
    g_assert_cmpuint(r->beta.came, ==, 0);
    answerer_close(&elsewhere);
    until_down(r, beta_id());
    until_up(r, beta_id());
    g_assert_cmpuint(r->beta.came, ==, 1);
}

static void test_keep_only(Room *r, gconstpointer data)
{
    Id kept = gamma_id();

    (void)data;
    want_both(r);
    until_up(r, beta_id());
    until_up(r, gamma_id());
    ask(r, beta_id(), "later");
    ask(r, gamma_id(), "later");
    while (r->beta.owed.length == 0 || r->gamma.owed.length == 0)
        turn(r);
    keep_only(r, &kept);
    g_assert_cmpstr(r->trace->str, ==, "cancelled ");
    g_string_truncate(r->trace, 0);
    g_assert_false(peers_is_up(r->peers, beta_id()));
    g_assert_true(peers_is_up(r->peers, gamma_id()));
    answerer_pay(&r->gamma);
    expect(r, "answer ");
    while (r->beta.links->len > 0)
        turn(r);
    ask(r, beta_id(), "echo");
    expect(r, "unreachable ");
    /* Wanted again it is dialled anew. */
    want_at(r, beta_id(), r->beta.address);
    until_up(r, beta_id());
    g_assert_cmpuint(r->beta.came, ==, 2);
    g_assert_cmpuint(r->gamma.came, ==, 1);
}

/* Who hears that his question is lost wants the engine again. */
static void want_beta_and_ask(Room *r)
{
    want_at(r, beta_id(), r->beta.address);
    ask(r, beta_id(), "echo");
}

static void test_want_inside(Room *r, gconstpointer data)
{
    (void)data;
    want_both(r);
    until_up(r, beta_id());
    ask(r, beta_id(), "later");
    r->inside = want_beta_and_ask;
    keep_only(r, NULL);
    expect(r, "cancelled unreachable ");
    until_up(r, beta_id());
    g_assert_false(peers_is_up(r->peers, gamma_id()));
}

/* --- another owner ------------------------------------------------------------------ */

static void test_identity(Room *r, gconstpointer data)
{
    g_autoptr(Issuer) other = issuer_new("test", NULL);
    g_autoptr(Identity) foreign = owned(house.dir, ROLE_ENGINE, other, A_YEAR);

    (void)data;
    want_both(r);
    until_up(r, beta_id());
    until_up(r, gamma_id());
    ask(r, beta_id(), "later");
    while (r->beta.owed.length == 0)
        turn(r);
    /* None: nobody is asked, and none of its links stays. */
    peers_set_identity(r->peers, NULL);
    expect(r, "cancelled ");
    ask(r, beta_id(), "echo");
    expect(r, "unreachable ");
    g_assert_cmpstr(r->said, ==, "its engine is not reached: this one has no owner");
    while (r->beta.links->len > 0 || r->gamma.links->len > 0)
        turn(r);
    /* One whom they do not know. */
    peers_set_identity(r->peers, foreign);
    while (r->beta.refused == 0 || r->gamma.refused == 0)
        turn(r);
    /* The former one: links are made anew, and of those who are wanted. */
    g_assert_cmpuint(r->beta.came, ==, 1);
    peers_set_identity(r->peers, me);
    until_up(r, beta_id());
    until_up(r, gamma_id());
    g_assert_cmpuint(r->beta.came, ==, 2);
    ask(r, beta_id(), "later");
    r->inside = want_beta_and_ask;
    peers_set_identity(r->peers, me);
    expect(r, "cancelled unreachable ");
    until_up(r, beta_id());
    g_assert_cmpuint(r->beta.came, ==, 3);
}

/* What was wanted before there was an owner is dialled when there is one. */
static void test_no_owner(Room *r, gconstpointer data)
{
    (void)data;
    close_peers(r);
    r->peers = peers_new(&r->loop, NULL);
    want_at(r, beta_id(), "127.0.0.1:1");
    want_at(r, beta_id(), r->beta.address);
    peers_set_identity(r->peers, me);
    until_up(r, beta_id());
}

/* --- the end ------------------------------------------------------------------------- */

static void test_close(Room *r, gconstpointer data)
{
    (void)data;
    peers_close(NULL);
    want_at(r, beta_id(), r->beta.address);
    until_up(r, beta_id());
    want_at(r, gamma_id(), r->gamma.address);
    ask(r, beta_id(), "later");
    ask(r, gamma_id(), "later"); /* is being dialled */
    ask(r, id_random(), "echo");
    close_peers(r);
    g_assert_cmpstr(r->trace->str, ==, "cancelled cancelled ");
    expect(r, "cancelled cancelled unreachable ");
    /* While it dials, and with nothing wanted. */
    r->peers = peers_new(&r->loop, me);
    want_both(r);
    turn(r);
    close_peers(r);
    r->peers = peers_new(&r->loop, me);
}

/* In the answer to one of several, whatever it is. */
static void test_close_inside(Room *r, gconstpointer data)
{
    (void)data;
    want_at(r, beta_id(), r->beta.address);
    until_up(r, beta_id());
    ask(r, beta_id(), "echo");
    ask(r, beta_id(), "echo");
    r->inside = close_peers;
    expect(r, "answer cancelled ");

    r->peers = peers_new(&r->loop, me);
    want_at(r, beta_id(), r->beta.address);
    until_up(r, beta_id());
    ask(r, beta_id(), "later");
    ask(r, beta_id(), "later");
    while (r->beta.owed.length < 2)
        turn(r);
    r->inside = close_peers;
    answerer_drop(&r->beta, NULL);
    expect(r, "cancelled cancelled ");

    r->peers = peers_new(&r->loop, me);
    want_both(r);
    ask(r, beta_id(), "echo");
    ask(r, beta_id(), "echo");
    ask(r, gamma_id(), "echo");
    r->inside = close_peers;
    expect(r, "unreachable cancelled cancelled ");

    r->peers = peers_new(&r->loop, me);
    ask(r, beta_id(), "echo");
    ask(r, beta_id(), "echo");
    r->inside = close_peers;
    expect(r, "unreachable unreachable ");

    r->peers = peers_new(&r->loop, me);
    want_both(r);
    ask(r, beta_id(), "echo");
    r->inside = close_peers;
    peers_set_identity(r->peers, NULL);
    expect(r, "cancelled ");
}

static void ask_and_want_at_the_end(Room *r)
{
    want_at(r, beta_id(), r->beta.address);
    ask(r, beta_id(), "echo");
}

/* Who asks again when told that it ends is told so once more. */
static void end_and_ask(Room *r)
{
    Peers *peers = r->peers;

    r->inside = ask_and_want_at_the_end;
    peers_close(peers);
    r->peers = NULL;
}

static void test_ask_at_the_end(Room *r, gconstpointer data)
{
    (void)data;
    want_at(r, beta_id(), r->beta.address);
    until_up(r, beta_id());
    ask(r, beta_id(), "later");
    end_and_ask(r);
    g_assert_cmpstr(r->trace->str, ==, "cancelled ");
    expect(r, "cancelled cancelled ");
    g_assert_cmpstr(r->said, ==, "this engine ends");
}

static void add(const char *path, void (*test)(Room *r, gconstpointer data))
{
    g_test_add(path, Room, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    int rc;

    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    house_init(&house);
    me = owned(house.dir, ROLE_ENGINE, house.issuer, A_YEAR);
    add("/peers/asks", test_asks);
    add("/peers/down", test_down);
    add("/peers/lost and back", test_lost_and_back);
    add("/peers/ask again", test_ask_again);
    add("/peers/want/again", test_want_again);
    add("/peers/want/elsewhere", test_want_elsewhere);
    add("/peers/want/inside", test_want_inside);
    add("/peers/keep only", test_keep_only);
    add("/peers/identity", test_identity);
    add("/peers/identity/none", test_no_owner);
    add("/peers/close", test_close);
    add("/peers/close/inside", test_close_inside);
    add("/peers/close/asked at the end", test_ask_at_the_end);
    rc = g_test_run();
    identity_unref(me);
    house_clear(&house);
    return rc;
}
