/* SPDX-License-Identifier: Apache-2.0 */
/* cli - one invocation of `understudy`: what was asked for, and with what.
 *
 * A command reads its arguments and options from here, asks the controller
 * through it, and prints through it. It decides nothing about VMs. */
#pragma once

#include "orchestrator/cli/client.h"

#include <glib.h>
#include <jansson.h>

typedef struct {
    const char *name;  /* without the dashes */
    const char *value; /* what --help calls its value; NULL: a flag */
    const char *help;
    gboolean repeats;
} CliOption;

typedef enum {
    PROPERTIES_NONE,
    PROPERTIES_OPTIONS,   /* --interval 5s */
    PROPERTIES_ARGUMENTS, /* interval=5s */
} CliProperties;

typedef struct Command Command;

typedef struct {
    const Command *command;
    GPtrArray *arguments; /* char *, NULL-ended beyond its len */
    GHashTable *options;  /* name -> GPtrArray of char *, empty for a flag */
    gboolean json;        /* one document on standard output */
    gboolean yes;         /* nobody is asked */
    gboolean wait;        /* for the end of what was begun */
    gboolean terminal;    /* a person looks at standard error */
    gint64 timeout_ms;    /* of waiting; 0: none */
    Client *client;       /* NULL for a command that needs none */
} Cli;

struct Command {
    const char *words;     /* "host add" */
    const char *arguments; /* as --help shows them: "NAME KEY=VALUE…" */
    guint min_arguments;
    guint max_arguments;
    const CliOption *options; /* ends with a NULL name */
    CliProperties properties; /* how it takes those of a scenario */
    gboolean offline;         /* needs no controller */
    const char *help;         /* one line */
    gboolean (*run)(Cli *cli, GError **error);
};

/* The argument; there is one, or the parser refused. */
const char *cli_argument(const Cli *cli, guint index);
/* The option's (last) value, or NULL; all of them, NULL-ended, never NULL itself. */
const char *cli_option(const Cli *cli, const char *name);
const char *const *cli_options(const Cli *cli, const char *name);
gboolean cli_flag(const Cli *cli, const char *name);

/* client_call() with up to one path parameter. */
json_t *cli_call(Cli *cli, const char *operation, const char *parameter, const json_t *query,
                 const json_t *body, GError **error);

/* Standard output: a document with --json, else @text. Takes @text. */
void cli_show(const Cli *cli, const json_t *doc, char *text);
/* A line for a person, unless --json. */
void cli_say(const Cli *cli, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Did all that was printed get there? IO if not. */
gboolean cli_printed(GError **error);

/* TRUE if the person agrees, or --yes. REFUSED if not; USAGE if there is nobody to ask. */
gboolean cli_confirm(const Cli *cli, const char *question, GError **error);

/* The same for what cannot be taken back: the person types @name. */
gboolean cli_confirm_name(const Cli *cli, const char *question, const char *name, GError **error);

/* The whole of a file that its user names, "-" for standard input, of at most @max_bytes: one that never ends (/dev/zero) must not
 * take all memory. The caller frees; NULL with @error USAGE. */
char *cli_read(const char *path, gsize max_bytes, gsize *ret_len, GError **error);

/* A token as it may be given: itself, @FILE, or - for standard input. The caller frees. */
char *cli_token(const char *text, GError **error);

/* The same for a secret, which is never an argument itself: @FILE, or - for a line of standard input. @what
 * ("password") is for the message. */
char *cli_secret(const char *what, const char *text, GError **error);

/* The UUID among @docs (objects) whose "name" is @text or, if none has that name, whose @key starts
 * with it. The caller frees; NOT_FOUND, or USAGE if several or @text is empty. @what is for the
 * message: "VM". */
char *cli_find(const json_t *docs, const char *key, const char *what, const char *text, GError **error);

/* The whole UUID of the one that is meant, which may be only as much of its beginning as no other has, of what @operation lists under
 * @list, each with its UUID as @key. @what is for the message. The caller frees; NOT_FOUND, USAGE. */
char *cli_listed(Cli *cli, const char *operation, const char *list, const char *key, const char *what,
                 const char *text, GError **error);

/* The UUIDs of those VMs of the scenario (the first argument) that --vm names; without --vm none, and
 * nobody is asked. New array, or NULL with @error. */
json_t *cli_vms(Cli *cli, GError **error);

/* The whole UUID of the only point of the scenario (the first argument) that begins with @begins. The caller frees; NOT_FOUND, or
 * USAGE if several do. */
char *cli_point(Cli *cli, const char *begins, GError **error);
