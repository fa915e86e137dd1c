/* SPDX-License-Identifier: Apache-2.0 */
/* Enrolment: the word, both pure sides, and both on a loop with real files. */
#include "fixture.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/dial.h"
#include "vmconnect/link/enrol_loop.h"
#include "vmconnect/link/link_loop.h"
#include "vmconnect/link/listener.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

static House house;

/* --- the word ---------------------------------------------------------------- */

static void test_token_text(void)
{
    Token token = {.secret = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
    g_autofree char *text = NULL;
    g_autofree char *spaced = NULL;
    Token back;

    memset(token.fingerprint, 0xfb, FINGERPRINT_LEN);
    text = token_format(&token);
    g_assert_cmpstr(text, ==, "us1.AAECAwQFBgcICQoLDA0OD_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v78ti_");
    g_assert_true(token_parse(text, &back, NULL));
    g_assert_cmpmem(&token, sizeof(token), &back, sizeof(back));
    spaced = g_strdup_printf(" %s\n", text);
    g_assert_true(token_parse(spaced, &back, NULL));
}

static void test_token_mistyped(void)
{
    static const guint8 FINGERPRINT[FINGERPRINT_LEN] = {7};
    Token token = token_random(FINGERPRINT);
    g_autofree char *text = token_format(&token);
    g_autofree char *huge = g_strnfill(100000, 'A');
    Token back;

    for (gsize i = 0; i < strlen(text); i++) {
        g_autoptr(GError) error = NULL;
        char was = text[i];

        text[i] = was == 'x' ? 'y' : 'x';
        g_assert_false(token_parse(text, &back, &error));
        g_assert_error(error, US_ERROR, US_ERROR_USAGE);
        /* Half of it is a secret. */
        g_assert_null(strstr(error->message, text + 4));
        text[i] = was;
    }
    g_assert_false(token_parse("", &back, NULL));
    g_assert_false(token_parse("us1.", &back, NULL));
    g_assert_false(token_parse(huge, &back, NULL));
    text[strlen(text) - 1] = '\0';
    g_assert_false(token_parse(text, &back, NULL));
}

static void test_token_state(void)
{
    static const guint8 FINGERPRINT[FINGERPRINT_LEN] = {7};
    g_autofree char *path = g_build_filename(house.dir, "token.json", NULL);
    TokenState a = token_state_new(FINGERPRINT, 1000000000);
    TokenState b;
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    struct stat st;

    g_assert_true(token_state_live(&a, 1000000000));
    g_assert_true(token_state_live(&a, 1000000000 + TOKEN_VALID_MS - 1));
    g_assert_false(token_state_live(&a, 1000000000 + TOKEN_VALID_MS));
    g_assert_false(token_state_live(&a, 1000000000 - 1)); /* the clock went back */
    a.wrong = TOKEN_WRONG_MAX - 1;
    g_assert_true(token_state_live(&a, 1000000000));
    g_assert_false(token_state_load(path, &b, &error));
    g_assert_error(error, US_ERROR, US_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_true(token_state_save(&a, path, &error));
    g_assert_true(token_state_load(path, &b, &error));
    g_assert_cmpmem(&a, sizeof(a), &b, sizeof(b));
    g_assert_cmpint(g_stat(path, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 0777, ==, 0600);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_true(g_str_has_prefix(text, "{\"format\":1,"));
    text[10] = '2';
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_false(token_state_load(path, &b, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_clear_error(&error);
    text[20] = '\0';
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_false(token_state_load(path, &b, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CORRUPT);
}

static void test_proof_golden(void)
{
    Token token = {.secret = {1}};
    EnrolBinding binding = {.session = {2}, .dialer = {3}, .listener = {4}};
    guint8 controller[ENROL_PROOF_LEN], engine[ENROL_PROOF_LEN], other[ENROL_PROOF_LEN];
    g_autoptr(GString) hex = g_string_new(NULL);

    enrol_proof(&token, ROLE_CONTROLLER, &binding, controller);
    enrol_proof(&token, ROLE_ENGINE, &binding, engine);
    for (guint i = 0; i < ENROL_PROOF_LEN; i++)
        g_string_append_printf(hex, "%02x", controller[i]);
    g_assert_cmpstr(hex->str, ==, "555b0955f7f98305fa062bab7e2d7eab82deaf12fb31b85c1ddebd5aa8293705");
    /* Each part counts: a proof cannot be sent back, nor used on another session or key. */
    g_assert_cmpint(memcmp(controller, engine, sizeof(engine)), !=, 0);
    binding.session[31] ^= 1;
    enrol_proof(&token, ROLE_CONTROLLER, &binding, other);
    g_assert_cmpint(memcmp(controller, other, sizeof(other)), !=, 0);
    binding.session[31] ^= 1;
    binding.dialer[0] ^= 1;
    enrol_proof(&token, ROLE_CONTROLLER, &binding, other);
    g_assert_cmpint(memcmp(controller, other, sizeof(other)), !=, 0);
    binding.dialer[0] ^= 1;
    binding.listener[0] ^= 1;
    enrol_proof(&token, ROLE_CONTROLLER, &binding, other);
    g_assert_cmpint(memcmp(controller, other, sizeof(other)), !=, 0);
}

/* --- both sides, pure ------------------------------------------------------------- */

typedef struct {
    Identity *engine;
    TokenState state;
    EnrolBinding binding;
    guint signed_keys;
} Stage;

static gboolean sign_key(void *user, GBytes *public_key, Id engine, char **ret_certificate,
                         char **ret_authority, GError **error)
{
    Stage *s = user;

    if (s)
        s->signed_keys++;
    *ret_certificate = issuer_issue_peer(house.issuer, public_key, ROLE_ENGINE, engine, A_YEAR, error);
    *ret_authority = g_strdup(issuer_certificate(house.issuer));
    return *ret_certificate != NULL;
}

static void stage_init(Stage *s)
{
    Peer me, them = identity_peer(house.controller);

    memset(s, 0, sizeof(*s));
    s->engine = stranger(house.dir, ROLE_ENGINE);
    me = identity_peer(s->engine);
    s->state = token_state_new(me.fingerprint, clock_wall_ms());
    memset(s->binding.session, 0x5a, sizeof(s->binding.session));
    memcpy(s->binding.dialer, them.fingerprint, FINGERPRINT_LEN);
    memcpy(s->binding.listener, me.fingerprint, FINGERPRINT_LEN);
}

static void stage_clear(Stage *s)
{
    identity_unref(s->engine);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Stage, stage_clear)

static Frame *frame_json(MessageType type, const json_t *doc)
{
    g_autoptr(GBytes) bytes = message_encode_json(type, doc, NULL);
    gsize len = g_bytes_get_size(bytes);
    Frame *frame = frame_new((FrameHeader){type, 0, (guint32)len, 0});

    memcpy(frame->payload, g_bytes_get_data(bytes, NULL), len);
    return frame;
}

/* The engine's step upon what the controller said. */
static void tell(EnrolEngine *engine, MessageType type, const json_t *doc, gint64 wall_ms, EnrolStep *step)
{
    g_autoptr(Frame) frame = frame_json(type, doc);

    enrol_engine_take(engine, frame, wall_ms, step);
}

static void test_pure_right(void)
{
    g_auto(Stage) s;
    g_auto(EnrolStep) proof = {0};
    g_auto(EnrolStep) owner = {0};
    g_autoptr(EnrolEngine) e = NULL;
    g_autoptr(EnrolController) c = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(Identity) owned_now = NULL;
    g_autoptr(Frame) f1 = NULL;
    g_autoptr(Frame) f2 = NULL;
    json_auto_t *enrol = NULL;
    json_auto_t *certificate = NULL;
    json_auto_t *none = NULL;
    MessageType type;
    gboolean done;
    Id id;

    stage_init(&s);
    e = enrol_engine_new(s.engine, &s.state, &s.binding);
    c = enrol_controller_new(&s.state.token, &s.binding, sign_key, &s);
    enrol = enrol_controller_start(c, &error);
    g_assert_no_error(error);
    tell(e, MESSAGE_ENROL, enrol, clock_wall_ms(), &proof);
    g_assert_no_error(proof.fail);
    g_assert_cmpint(proof.store, ==, ENROL_STORE_NOTHING);
    g_assert_cmpint(proof.type, ==, MESSAGE_ENROL_PROOF);
    f1 = frame_json(proof.type, proof.doc);
    g_assert_true(enrol_controller_take(c, f1, &type, &certificate, &done, &id, &error));
    g_assert_false(done);
    g_assert_cmpint(type, ==, MESSAGE_ENROL_CERTIFICATE);
    tell(e, type, certificate, clock_wall_ms(), &owner);
    g_assert_no_error(owner.fail);
    g_assert_cmpint(owner.store, ==, ENROL_STORE_OWNER);
    owned_now = identity_adopt(s.engine, owner.certificate, owner.authority, &error);
    g_assert_no_error(error);
    g_assert_true(identity_is_owned(owned_now));
    f2 = frame_json(owner.type, owner.doc);
    g_assert_true(enrol_controller_take(c, f2, &type, &none, &done, &id, &error));
    g_assert_true(done);
    g_assert_true(id_equal(id, identity_peer(s.engine).id));
    g_assert_false(token_state_live(&s.state, clock_wall_ms())); /* once */
}

/* What the engine answers to a proof made with these. */
static void expect_wrong(Stage *s, const Token *token, const EnrolBinding *binding)
{
    g_autoptr(EnrolEngine) e = enrol_engine_new(s->engine, &s->state, &s->binding);
    g_autoptr(EnrolController) c = enrol_controller_new(token, binding, sign_key, s);
    g_auto(EnrolStep) step = {0};
    json_auto_t *enrol = enrol_controller_start(c, NULL);
    guint before = s->state.wrong;

    tell(e, MESSAGE_ENROL, enrol, clock_wall_ms(), &step);
    g_assert_cmpint(step.store, ==, ENROL_STORE_TOKEN);
    g_assert_error(step.fail, US_ERROR, US_ERROR_DENIED);
    g_assert_null(step.doc);
    g_assert_cmpuint(s->state.wrong, ==, before + 1);
}

static void test_pure_wrong(void)
{
    g_auto(Stage) s;
    Token other;
    EnrolBinding elsewhere;

    stage_init(&s);
    other = token_random(s.state.token.fingerprint);
    expect_wrong(&s, &other, &s.binding);
    /* The man in the middle passes on what the controller said on its own session with him… */
    elsewhere = s.binding;
    elsewhere.session[0] ^= 1;
    expect_wrong(&s, &s.state.token, &elsewhere);
    /* …or shows another key to the engine than the controller's. */
    elsewhere = s.binding;
    elsewhere.dialer[0] ^= 1;
    expect_wrong(&s, &s.state.token, &elsewhere);
}

static void test_pure_five_wrong(void)
{
    g_auto(Stage) s;
    g_autoptr(EnrolEngine) e = NULL;
    g_autoptr(EnrolController) c = NULL;
    g_auto(EnrolStep) step = {0};
    json_auto_t *enrol = NULL;
    Token other;

    stage_init(&s);
    other = token_random(s.state.token.fingerprint);
    for (guint i = 0; i < TOKEN_WRONG_MAX; i++)
        expect_wrong(&s, &other, &s.binding);
    /* Now the right one is of no use. */
    e = enrol_engine_new(s.engine, &s.state, &s.binding);
    c = enrol_controller_new(&s.state.token, &s.binding, sign_key, &s);
    enrol = enrol_controller_start(c, NULL);
    tell(e, MESSAGE_ENROL, enrol, clock_wall_ms(), &step);
    g_assert_error(step.fail, US_ERROR, US_ERROR_DENIED);
    g_assert_nonnull(strstr(step.fail->message, "has been used, has expired or was ended by 5 wrong ones"));
}

static void test_pure_expired(void)
{
    g_auto(Stage) s;
    g_autoptr(EnrolEngine) e = NULL;
    g_autoptr(EnrolController) c = NULL;
    g_auto(EnrolStep) step = {0};
    g_auto(EnrolStep) late = {0};
    json_auto_t *enrol = NULL;
    json_auto_t *empty = json_object();

    stage_init(&s);
    e = enrol_engine_new(s.engine, &s.state, &s.binding);
    c = enrol_controller_new(&s.state.token, &s.binding, sign_key, &s);
    enrol = enrol_controller_start(c, NULL);
    tell(e, MESSAGE_ENROL, enrol, clock_wall_ms(), &step);
    g_assert_no_error(step.fail);
    /* It expired between the two. */
    tell(e, MESSAGE_ENROL_CERTIFICATE, empty, s.state.expires_at_ms, &late);
    g_assert_error(late.fail, US_ERROR, US_ERROR_DENIED);
}

static void test_pure_wrong_order(void)
{
    g_auto(Stage) s;
    g_autoptr(EnrolEngine) e = NULL;
    g_auto(EnrolStep) first = {0};
    g_auto(EnrolStep) then = {0};
    json_auto_t *doc = json_pack("{s:s, s:s}", "certificate", "x", "authority", "y");
    json_auto_t *enrol = json_pack("{s:s}", "proof", "");

    stage_init(&s);
    e = enrol_engine_new(s.engine, &s.state, &s.binding);
    tell(e, MESSAGE_ENROL_CERTIFICATE, doc, clock_wall_ms(), &first);
    g_assert_error(first.fail, US_ERROR, US_ERROR_PROTOCOL);
    g_assert_cmpstr(first.fail->message, ==, "ENROL_CERTIFICATE came where ENROL was due");
    /* And nothing comes after a mistake. */
    tell(e, MESSAGE_ENROL, enrol, clock_wall_ms(), &then);
    g_assert_error(then.fail, US_ERROR, US_ERROR_PROTOCOL);
    g_assert_cmpuint(s.state.wrong, ==, 0);
}

static void test_pure_wrong_certificate(void)
{
    g_auto(Stage) s;
    g_autoptr(EnrolEngine) e = NULL;
    g_autoptr(EnrolController) c = NULL;
    g_auto(EnrolStep) step = {0};
    g_auto(EnrolStep) bad = {0};
    json_auto_t *enrol = NULL;
    json_auto_t *doc =
        json_pack("{s:s, s:s}", "certificate", "x", "authority", issuer_certificate(house.issuer));

    stage_init(&s);
    e = enrol_engine_new(s.engine, &s.state, &s.binding);
    c = enrol_controller_new(&s.state.token, &s.binding, sign_key, &s);
    enrol = enrol_controller_start(c, NULL);
    tell(e, MESSAGE_ENROL, enrol, clock_wall_ms(), &step);
    tell(e, MESSAGE_ENROL_CERTIFICATE, doc, clock_wall_ms(), &bad);
    g_assert_error(bad.fail, US_ERROR, US_ERROR_DENIED);
    g_assert_cmpint(bad.store, ==, ENROL_STORE_NOTHING);
    g_assert_true(token_state_live(&s.state, clock_wall_ms()));
}

/* The controller's eyes: another key, and an engine that does not know the token. */
static void test_pure_false_engine(void)
{
    g_auto(Stage) s;
    g_autoptr(EnrolController) c = NULL;
    g_autoptr(EnrolController) d = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(Frame) frame = NULL;
    g_autoptr(GBytes) key = NULL;
    g_autofree char *key_text = NULL;
    json_auto_t *doc = NULL;
    json_auto_t *enrol = NULL;
    json_auto_t *answer = NULL;
    EnrolBinding other;
    MessageType type;
    gboolean done;
    Id id;

    stage_init(&s);
    other = s.binding;
    other.listener[3] ^= 1;
    c = enrol_controller_new(&s.state.token, &other, sign_key, &s);
    g_assert_null(enrol_controller_start(c, &error));
    g_assert_error(error, US_ERROR, US_ERROR_DENIED);
    g_assert_true(g_str_has_prefix(error->message, "another key answers than the one the token names"));
    g_clear_error(&error);

    d = enrol_controller_new(&s.state.token, &s.binding, sign_key, &s);
    enrol = enrol_controller_start(d, &error);
    key = identity_public_key(s.engine);
    key_text = g_base64_encode(g_bytes_get_data(key, NULL), g_bytes_get_size(key));
    /* The controller's own proof, sent back. */
    answer = json_pack("{s:O, s:s, s:s}", "proof", json_object_get(enrol, "proof"), "id",
                       ID_TEXT(identity_peer(s.engine).id), "public_key", key_text);
    frame = frame_json(MESSAGE_ENROL_PROOF, answer);
    g_assert_false(enrol_controller_take(d, frame, &type, &doc, &done, &id, &error));
    g_assert_error(error, US_ERROR, US_ERROR_DENIED);
    g_assert_cmpstr(error->message, ==,
                    "the engine did not prove that it knows the token; nothing was signed");
    g_assert_cmpuint(s.signed_keys, ==, 0);
}

/* --- on the loop, with files ----------------------------------------------------------- */

typedef struct {
    uv_loop_t loop;
    Listener *listener;
    EnrolDesk *desk;
    Identity *engine; /* without an owner */
    Identity *owned;  /* once it has one */
    char *path;
    char *print_path;
    char address[32];
    guint wrong;
    guint left;
    guint enrolled;
    guint done;
    guint due;
    gboolean reached;
    GError *error; /* of the last that failed */
} Office;

static gboolean may_enrol(void *user)
{
    return enrol_desk_live(((Office *)user)->desk);
}

static void on_link(void *user, Link *link)
{
    Office *o = user;

    enrol_desk_take(o->desk, link);
}

static void on_owned(void *user, Identity *identity)
{
    Office *o = user;

    g_assert_null(o->owned);
    o->owned = identity;
    listener_set_identity(o->listener, identity);
}

static void on_wrong(void *user, const char *from, guint left)
{
    Office *o = user;

    g_assert_nonnull(from);
    o->wrong++;
    o->left = left;
}

static void open_desk(Office *o)
{
    static const EnrolDeskEvents DESK = {on_owned, on_wrong};
    g_autoptr(GError) error = NULL;

    o->desk = enrol_desk_new(&o->loop, o->engine, o->path, o->print_path, &DESK, o, &error);
    g_assert_no_error(error);
}

static void office_init(Office *o)
{
    static const ListenerEvents EVENTS = {.may_enrol = may_enrol, .on_link = on_link};
    static guint n;
    g_autofree char *name = g_strdup_printf("office-%u", n++);
    g_autoptr(GError) error = NULL;

    memset(o, 0, sizeof(*o));
    uv_loop_init(&o->loop);
    o->engine = stranger(house.dir, ROLE_ENGINE);
    o->path = g_strdup_printf("%s/%s.json", house.dir, name);
    o->print_path = g_strdup_printf("%s/%s/run/token", house.dir, name);
    open_desk(o);
    o->listener = listener_new(&o->loop, "127.0.0.1", 0, o->engine, &EVENTS, o, &error);
    g_assert_no_error(error);
    g_snprintf(o->address, sizeof(o->address), "127.0.0.1:%u", listener_port(o->listener));
}

static void office_clear(Office *o)
{
    enrol_desk_close(o->desk);
    listener_close(o->listener);
    loop_end(&o->loop);
    identity_unref(o->engine);
    identity_unref(o->owned);
    g_free(o->path);
    g_free(o->print_path);
    g_clear_error(&o->error);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Office, office_clear)

/* As a person would: from the file that root can read. */
static Token read_token(const Office *o)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    Token token;

    g_assert_true(g_file_get_contents(o->print_path, &text, NULL, NULL));
    g_assert_true(token_parse(text, &token, &error));
    g_assert_no_error(error);
    return token;
}

static void on_enrolled(void *user, const Id *engine, const GError *error)
{
    Office *o = user;

    g_assert_true(!engine == (error != NULL));
    if (engine) {
        o->enrolled++;
    } else {
        g_clear_error(&o->error);
        o->error = g_error_copy(error);
    }
    o->reached = ++o->done == o->due;
}

static gboolean sign_on_loop(void *user, GBytes *public_key, Id engine, char **ret_certificate,
                             char **ret_authority, GError **error)
{
    (void)user;
    return sign_key(NULL, public_key, engine, ret_certificate, ret_authority, error);
}

static void enrol(Office *o, const Token *token)
{
    const char *const addresses[] = {o->address, NULL};

    enrol_host(&o->loop, addresses, house.controller, token, 5000, sign_on_loop, on_enrolled, o);
}

static void wait_done(Office *o, guint due)
{
    o->due = due;
    o->reached = o->done == due;
    loop_until(&o->loop, &o->reached);
}

typedef struct {
    gboolean done;
    GError *error;
} Control;

static void on_control(void *user, Link *link, const GError *error)
{
    Control *c = user;

    g_assert_true(error || link_state(link) == LINK_OPEN);
    link_free(link);
    c->error = error ? g_error_copy(error) : NULL;
    c->done = TRUE;
}

static void keep_link(void *user, Link *link)
{
    *(Link **)user = link;
}

static void test_enrol(void)
{
    g_auto(Office) o;
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    Token token;

    office_init(&o);
    token = read_token(&o);
    enrol(&o, &token);
    wait_done(&o, 1);
    g_assert_no_error(o.error);
    g_assert_nonnull(o.owned);
    g_assert_true(identity_is_owned(o.owned));
    g_assert_false(enrol_desk_live(o.desk));
    g_assert_false(g_file_test(o.path, G_FILE_TEST_EXISTS));
    g_assert_false(g_file_test(o.print_path, G_FILE_TEST_EXISTS));
    /* Replayed: an owned engine takes nobody. */
    enrol(&o, &token);
    wait_done(&o, 2);
    g_assert_error(o.error, US_ERROR, US_ERROR_DENIED);
    g_assert_nonnull(strstr(o.error->message, "this engine has an owner"));
    g_assert_false(enrol_token_renew(o.owned, o.path, o.print_path, &text, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
}

/* What was enrolled is trusted from then on, with a listener of its own. */
static void test_enrol_then_control(void)
{
    static const ListenerEvents EVENTS = {.on_link = keep_link};
    g_auto(Office) o;
    LinkSettings settings = {.identity = house.controller, .purpose = PURPOSE_CONTROL};
    g_autoptr(Link) kept = NULL;
    Control c = {0};
    Listener *control;
    char address[32];
    Token token;

    office_init(&o);
    token = read_token(&o);
    enrol(&o, &token);
    wait_done(&o, 1);
    g_assert_no_error(o.error);
    control = listener_new(&o.loop, "127.0.0.1", 0, o.owned, &EVENTS, &kept, NULL);
    g_snprintf(address, sizeof(address), "127.0.0.1:%u", listener_port(control));
    settings.expect = identity_peer(o.engine).id;
    dial_start(&o.loop, (const char *const[]){address, NULL}, &settings, 5000, on_control, &c);
    loop_until(&o.loop, &c.done);
    g_assert_no_error(c.error);
    listener_close(control);
}

static void test_wrong_token_counts(void)
{
    g_auto(Office) o;
    Token right, wrong;
    TokenState there;

    office_init(&o);
    right = read_token(&o);
    wrong = token_random(right.fingerprint);
    enrol(&o, &wrong);
    wait_done(&o, 1);
    g_assert_error(o.error, US_ERROR, US_ERROR_DENIED);
    g_assert_nonnull(strstr(o.error->message, "the token is wrong; 4 more wrong ones end it"));
    g_assert_cmpuint(o.wrong, ==, 1);
    g_assert_cmpuint(o.left, ==, 4);
    /* It was durable before it was answered: an engine that starts again knows. */
    g_assert_true(token_state_load(o.path, &there, NULL));
    g_assert_cmpuint(there.wrong, ==, 1);
    enrol_desk_close(o.desk);
    open_desk(&o);
    enrol(&o, &wrong);
    wait_done(&o, 2);
    g_assert_nonnull(strstr(o.error->message, "3 more wrong ones"));
    /* The right one is good still. */
    enrol(&o, &right);
    wait_done(&o, 3);
    g_assert_cmpuint(o.enrolled, ==, 1);
}

static void test_five_wrong_at_once(void)
{
    g_auto(Office) o;
    Token right, wrong, fresh;
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;

    office_init(&o);
    right = read_token(&o);
    wrong = token_random(right.fingerprint);
    for (guint i = 0; i < TOKEN_WRONG_MAX; i++)
        enrol(&o, &wrong);
    wait_done(&o, TOKEN_WRONG_MAX);
    g_assert_false(enrol_desk_live(o.desk));
    g_assert_false(g_file_test(o.print_path, G_FILE_TEST_EXISTS));
    enrol(&o, &right);
    wait_done(&o, TOKEN_WRONG_MAX + 1);
    g_assert_error(o.error, US_ERROR, US_ERROR_DENIED);
    g_assert_nonnull(strstr(o.error->message, "this engine has no valid token"));
    /* `understudy-engine token` beside the running engine. */
    g_assert_true(enrol_token_renew(o.engine, o.path, o.print_path, &text, &error));
    while (!enrol_desk_live(o.desk))
        uv_run(&o.loop, UV_RUN_ONCE);
    fresh = read_token(&o);
    enrol(&o, &fresh);
    wait_done(&o, TOKEN_WRONG_MAX + 2);
    g_assert_cmpuint(o.enrolled, ==, 1);
}

static void test_two_controllers(void)
{
    g_auto(Office) o;
    Token token;

    office_init(&o);
    token = read_token(&o);
    enrol(&o, &token);
    enrol(&o, &token);
    wait_done(&o, 2);
    g_assert_cmpuint(o.enrolled, ==, 1);
    g_assert_true(o.error && o.error->domain == US_ERROR);
}

static void test_another_host(void)
{
    g_auto(Office) o;
    Token token;

    office_init(&o);
    token = read_token(&o);
    token.fingerprint[0] ^= 1;
    enrol(&o, &token);
    wait_done(&o, 1);
    g_assert_error(o.error, US_ERROR, US_ERROR_DENIED);
    g_assert_true(g_str_has_prefix(o.error->message, "another key answers"));
    g_assert_cmpuint(o.wrong, ==, 0); /* nothing was sent */
}

static void test_expired_token_file(void)
{
    g_auto(Office) o;
    Token before, after;
    TokenState state;

    office_init(&o);
    before = read_token(&o);
    g_assert_true(token_state_load(o.path, &state, NULL));
    state.expires_at_ms = clock_wall_ms() - 1;
    g_assert_true(token_state_save(&state, o.path, NULL));
    enrol_desk_close(o.desk);
    open_desk(&o);
    after = read_token(&o);
    g_assert_cmpint(memcmp(&before, &after, sizeof(after)), !=, 0);
}

static void test_cancel(void)
{
    g_auto(Office) o;
    Token token;
    EnrolHost *host;
    const char *addresses[2] = {NULL, NULL};

    office_init(&o);
    token = read_token(&o);
    addresses[0] = o.address;
    host = enrol_host(&o.loop, addresses, house.controller, &token, 5000, sign_on_loop, on_enrolled, &o);
    uv_run(&o.loop, UV_RUN_NOWAIT);
    enrol_host_cancel(host);
    g_assert_cmpuint(o.done, ==, 0);
}

/* A stranger may say nothing but enrolment's words. */
static void test_stranger_is_held(void)
{
    LinkSettings d = {.identity = house.controller, .purpose = PURPOSE_ENROL};
    g_autoptr(Identity) bare = stranger(house.dir, ROLE_ENGINE);
    LinkSettings l = {.identity = bare, .strangers = TRUE};
    g_auto(Pair) pair = pair_new(&d, &l);
    g_autoptr(GError) error = NULL;

    pair_run(&pair, both_up);
    g_assert_cmpint(link_state(pair.dialer), ==, LINK_STRANGER);
    g_assert_cmpint(link_state(pair.listener), ==, LINK_STRANGER);
    for (guint type = MESSAGE_REQUEST; type <= MESSAGE_SLOW; type++)
        g_assert_false(
            message_check((FrameHeader){(guint16)type, 0, 0, 0}, SIDE_DIALER, PURPOSE_ENROL, NULL));
    g_assert_true(message_check((FrameHeader){MESSAGE_ENROL, 0, 9, 0}, SIDE_DIALER, PURPOSE_ENROL, &error));
}

int main(int argc, char **argv)
{
    int rc;

    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    house_init(&house);
    g_test_add_func("/link/token/text", test_token_text);
    g_test_add_func("/link/token/mistyped", test_token_mistyped);
    g_test_add_func("/link/token/state", test_token_state);
    g_test_add_func("/link/enrol/proof", test_proof_golden);
    g_test_add_func("/link/enrol/pure/right", test_pure_right);
    g_test_add_func("/link/enrol/pure/wrong", test_pure_wrong);
    g_test_add_func("/link/enrol/pure/five-wrong", test_pure_five_wrong);
    g_test_add_func("/link/enrol/pure/expired", test_pure_expired);
    g_test_add_func("/link/enrol/pure/order", test_pure_wrong_order);
    g_test_add_func("/link/enrol/pure/certificate", test_pure_wrong_certificate);
    g_test_add_func("/link/enrol/pure/false-engine", test_pure_false_engine);
    g_test_add_func("/link/enrol/whole", test_enrol);
    g_test_add_func("/link/enrol/then-control", test_enrol_then_control);
    g_test_add_func("/link/enrol/wrong", test_wrong_token_counts);
    g_test_add_func("/link/enrol/five-wrong", test_five_wrong_at_once);
    g_test_add_func("/link/enrol/two-controllers", test_two_controllers);
    g_test_add_func("/link/enrol/another-host", test_another_host);
    g_test_add_func("/link/enrol/expired", test_expired_token_file);
    g_test_add_func("/link/enrol/cancel", test_cancel);
    g_test_add_func("/link/enrol/stranger", test_stranger_is_held);
    rc = g_test_run();
    house_clear(&house);
    return rc;
}
