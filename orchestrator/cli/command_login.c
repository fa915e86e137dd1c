/* SPDX-License-Identifier: Apache-2.0 */
/* login: an admin.json has everything; from a URL the authority is fetched, and
 * a person (or --fingerprint) confirms it before anything secret is sent. */
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/session.h"
#include "vmconnect/base/error.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* SHA-256 of the certificate itself, as browsers show it, without colons. */
static char *fingerprint_of(const char *pem, GError **error)
{
    static const char BEGIN[] = "-----BEGIN CERTIFICATE-----";
    const char *start = strstr(pem, BEGIN);
    const char *end = start ? strstr(start, "-----END") : NULL;
    g_autofree char *base64 =
        end ? g_strndup(start + strlen(BEGIN), (gsize)(end - start) - strlen(BEGIN)) : NULL;
    g_autofree guchar *der = NULL;
    gsize len = 0;

    if (base64)
        der = g_base64_decode(base64, &len);
    if (len == 0) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL, "the controller's authority is not a certificate");
        return NULL;
    }
    return g_compute_checksum_for_data(G_CHECKSUM_SHA256, der, len);
}

static gboolean same_fingerprint(const char *a, const char *b)
{
    g_autofree char *plain = g_ascii_strdown(b, -1);
    g_auto(GStrv) parts = g_strsplit(plain, ":", 0);
    g_autofree char *joined = g_strjoinv("", parts);

    return g_str_equal(a, joined);
}

static gboolean confirm_authority(Cli *cli, const char *url, const char *ca, GError **error)
{
    g_autofree char *fingerprint = fingerprint_of(ca, error);
    const char *expected = cli_option(cli, "fingerprint");
    g_autofree char *question = NULL;

    if (!fingerprint)
        return FALSE;
    if (expected) {
        if (same_fingerprint(fingerprint, expected))
            return TRUE;
        g_set_error(error, US_ERROR, US_ERROR_DENIED,
                    "the authority at %s has fingerprint %s, not the one that was expected: nothing was sent",
                    url, fingerprint);
        return FALSE;
    }
    if (cli->yes) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "--yes cannot vouch for %s: say --fingerprint %s if that is right", url, fingerprint);
        return FALSE;
    }
    question = g_strdup_printf(
        "The authority at %s has the SHA-256 fingerprint\n  %s\nIs it the controller's?", url, fingerprint);
    return cli_confirm(cli, question, error);
}

static volatile sig_atomic_t interrupted; /* by which signal; 0: none */

static void on_signal(int number)
{
    interrupted = number;
}

static const int ENDINGS[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

/* Caught, but only while a line is waited for: one that came a moment before must not be lost. */
typedef struct {
    sigset_t mask;
    struct sigaction actions[G_N_ELEMENTS(ENDINGS)];
} Before;

static void hold_endings(Before *ret_before)
{
    struct sigaction caught = {.sa_handler = on_signal};
    sigset_t held;

    interrupted = 0;
    sigemptyset(&held);
    for (guint i = 0; i < G_N_ELEMENTS(ENDINGS); i++)
        sigaddset(&held, ENDINGS[i]);
    sigprocmask(SIG_BLOCK, &held, &ret_before->mask);
    for (guint i = 0; i < G_N_ELEMENTS(ENDINGS); i++)
        sigaction(ENDINGS[i], &caught, &ret_before->actions[i]);
}

static void release_endings(const Before *before)
{
    for (guint i = 0; i < G_N_ELEMENTS(ENDINGS); i++)
        sigaction(ENDINGS[i], &before->actions[i], NULL);
    sigprocmask(SIG_SETMASK, &before->mask, NULL);
    if (interrupted)
        raise(interrupted);
}

/* Typed, and not shown. Whatever ends it, the terminal shows again what is typed. */
static char *ask_token(GError **error)
{
    struct pollfd line = {.fd = STDIN_FILENO, .events = POLLIN};
    struct termios shown;
    struct termios hidden;
    Before before;
    char *token = NULL;

    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &shown) != 0)
        return cli_token("-", error);
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    hold_endings(&before);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    fputs("Token: ", stderr);
    while (!interrupted && ppoll(&line, 1, NULL, &before.mask) < 0 && errno == EINTR)
        ;
    if (!interrupted)
        token = cli_token("-", error);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    fputc('\n', stderr);
    release_endings(&before);
    if (!token && error && !*error)
        g_set_error(error, US_ERROR, US_ERROR_CANCELLED, "interrupted: nothing was sent");
    return token;
}

static Session *from_url(Cli *cli, const char *url, GError **error)
{
    g_autoptr(Session) s = g_new0(Session, 1);
    const char *given = cli_option(cli, "token");

    if (given && given[0] != '@' && !g_str_equal(given, "-")) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "a bearer token is never an argument, others could see it: --token "
                    "@FILE, or - for standard input");
        return NULL;
    }
    s->url = g_strdup(url);
    s->ca = client_fetch_authority(url, error);
    if (!s->ca || !confirm_authority(cli, url, s->ca, error))
        return NULL;
    s->token = given ? cli_token(given, error) : ask_token(error);
    return s->token ? g_steal_pointer(&s) : NULL;
}

/* A login that does not work is not kept. */
static gboolean try_out(Cli *cli, const Session *s, GError **error)
{
    g_autoptr(Client) client = client_new(s->url, s->ca, s->token);
    json_auto_t *doc = client_call(client, "host.list", NULL, NULL, NULL, error);

    (void)cli;
    return doc != NULL;
}

gboolean command_login(Cli *cli, GError **error)
{
    const char *from = cli_argument(cli, 0);
    g_autofree char *conf = session_conf_path();
    g_autoptr(Session) s =
        g_str_has_prefix(from, "https://") ? from_url(cli, from, error) : session_read_admin(from, error);
    json_auto_t *doc = NULL;

    if (!s || !try_out(cli, s, error) || !session_save(s, conf, error))
        return FALSE;
    doc = json_pack("{s:s, s:s}", "controller", s->url, "file", conf);
    cli_show(cli, doc, g_strdup_printf("%s is the controller from now on (%s)\n", s->url, conf));
    return TRUE;
}
