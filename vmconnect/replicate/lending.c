/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/lending.h"

#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/capture/gather.h"
#include "vmconnect/hypervisor/definition.h"
#include "vmconnect/image/daemon_reader.h"
#include "vmconnect/replicate/tpm_state.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

struct Lending {
    char *nbd_dir;
    Id vm;
    GHashTable *loans; /* test's UUID as text -> Loan * */
};

typedef struct {
    StoreLease *lease;
    DaemonReader *reader;
} Loan;

typedef struct {
    Id point;
    Id as;
    const char *test;
    const char *folder;
} Wish;

Lending *lending_new(const char *nbd_dir, Id vm)
{
    Lending *l = g_new0(Lending, 1);

    l->nbd_dir = g_strdup(nbd_dir);
    l->vm = vm;
    l->loans = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return l;
}

static void end_loan(Loan *loan, Store *store)
{
    daemon_reader_free(loan->reader);
    store_lease_release(store, loan->lease);
    g_free(loan);
}

void lending_clear(Lending *l, Store *store)
{
    GHashTableIter it;
    gpointer loan;

    g_hash_table_iter_init(&it, l->loans);
    while (g_hash_table_iter_next(&it, NULL, &loan)) {
        end_loan(loan, store);
        g_hash_table_iter_remove(&it);
    }
}

void lending_free(Lending *l)
{
    if (!l)
        return;
    g_assert(g_hash_table_size(l->loans) == 0);
    g_hash_table_unref(l->loans);
    g_free(l->nbd_dir);
    g_free(l);
}

/* --- what there is to lend ------------------------------------------------ */

static gboolean read_wish(const json_t *params, Wish *wish, GError **error)
{
    const char *vm, *as;
    json_t *point;

    if (!json_read(params, "lending", error, "{s:s, s:s, s:s, s:o, s:s}", "vm", &vm, "test", &wish->test,
                   "as", &as, "point", &point, "folder", &wish->folder) ||
        !id_parse(as, &wish->as, error))
        return FALSE;
    return !json_is_string(point) || id_parse(json_string_value(point), &wish->point, error);
}

static gboolean choose_point(const Store *store, Wish *wish, GError **error)
{
    const Generation *tip = store_tip(store);

    if (!id_is_nil(store_promoted(store))) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "the VM was promoted here and runs from this copy: it proves itself, and is not tested");
        return FALSE;
    }
    if (id_is_nil(wish->point) && tip)
        wish->point = tip->id;
    if (!id_is_nil(wish->point))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "there is no sealed generation here yet, so nothing can be tested: wait until the first "
                "synchronisation is done");
    return FALSE;
}

static json_t *describe_point(const Store *store, Id id)
{
    g_autoptr(GPtrArray) points = store_points(store);

    for (guint i = 0; i < points->len; i++) {
        const StorePoint *point = points->pdata[i];

        if (id_equal(point->generation->id, id))
            return generation_describe(point->generation);
    }
    return json_null();
}

static json_t *describe_disks(const GPtrArray *files)
{
    json_t *list = json_array();

    for (guint i = 0; i < files->len; i++) {
        const StoreFiles *disk = files->pdata[i];

        json_array_append_new(list, json_pack("{s:s, s:I}", "target", disk->target, "size_bytes",
                                              (json_int_t)disk->size_bytes));
    }
    return list;
}

/* --- belongings ------------------------------------------------------------- */

static GBytes *read_belonging(const void *store, const Belonging *b, GError **error)
{
    return store_belonging(store, b, error);
}

/* What the point has not, the first start makes of the firmware's template, as it would after a promotion. */
static gboolean put_nvram(Store *store, const GPtrArray *belongings, const char *path, GError **error)
{
    const Belonging *b = belongings_find(belongings, BELONGINGS_NVRAM);
    g_autoptr(GBytes) file = b ? store_belonging(store, b, error) : NULL;
    const void *data;
    gsize len;

    if (!b)
        return TRUE;
    if (!file)
        return FALSE;
    data = g_bytes_get_data(file, &len);
    return durable_replace(path, data, len, 0600, error);
}

static gboolean put_belongings(Store *store, const Wish *wish, const Definition *d, const char *nvram,
                               GError **error)
{
    TpmPlace tpm = {.dir = GATHER_TPM_DIR,
                    .vm = wish->as,
                    .point = wish->point,
                    .expected = d->tpm == DEFINITION_TPM_2 || d->tpm == DEFINITION_TPM_1_2};
    const GPtrArray *belongings = store_belongings(store, wish->point, error);

    return belongings && (!nvram || put_nvram(store, belongings, nvram, error)) &&
           tpm_state_put(&tpm, belongings, read_belonging, store, error);
}

/* --- the disks ---------------------------------------------------------------- */

/* What would be the same in a moment is the copy's fault: a file is missing, or is not what was written. That it may not be read is
 * this host's. */
static gboolean offer(DaemonReader *reader, const StoreFiles *files, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autofree ReaderLayer *layers = g_new0(ReaderLayer, files->files->len);

    for (guint i = 0; i < files->files->len; i++)
        layers[i] = (ReaderLayer){files->files->pdata[i], files->formats->pdata[i], TRUE};
    if (daemon_reader_add(reader, files->target, layers, files->files->len, NULL, &why))
        return TRUE;
    if (!us_error_may_pass(why) && !g_error_matches(why, US_ERROR, US_ERROR_DENIED))
        why->code = US_ERROR_CORRUPT;
    g_propagate_prefixed_error(error, g_steal_pointer(&why),
                               "disk %s of the copy does not open: ", files->target);
    return FALSE;
}

/* QEMU's own user must pass through its folder, and connect. */
static gboolean let_qemu_in(const char *folder, const DaemonReader *reader, GError **error)
{
    const char *socket = daemon_reader_nbd_path(reader);

    if (g_chmod(folder, 0711) == 0 && g_chmod(socket, 0666) == 0)
        return TRUE;
    return us_error_errno(error, errno, "cannot let QEMU connect to %s", socket);
}

static DaemonReader *offer_all(const Lending *l, Id as, const GPtrArray *files, GError **error)
{
    g_autofree char *name = g_strdup_printf("%s-disks", ID_TEXT(as));
    g_autofree char *folder = g_build_filename(l->nbd_dir, name, NULL);
    g_autoptr(DaemonReader) reader = daemon_reader_start(folder, name, error);

    if (!reader || !let_qemu_in(folder, reader, error))
        return NULL;
    for (guint i = 0; i < files->len; i++)
        if (!offer(reader, files->pdata[i], error))
            return NULL;
    return g_steal_pointer(&reader);
}

/* --- lending ------------------------------------------------------------------ */

static json_t *describe(Store *store, const Wish *wish, const DaemonReader *reader, const GPtrArray *files,
                        GError **error)
{
    g_autofree char *xml = store_definition(store, wish->point, error);
    g_autoptr(Definition) d = xml ? definition_parse(xml, strlen(xml), error) : NULL;
    g_autofree char *nvram = d && d->nvram ? g_build_filename(wish->folder, "nvram", NULL) : NULL;

    if (!d || !put_belongings(store, wish, d, nvram, error))
        return NULL;
    return json_pack("{s:o, s:s, s:s?, s:s, s:o}", "point", describe_point(store, wish->point), "definition",
                     xml, "nvram", nvram, "socket", daemon_reader_nbd_path(reader), "disks",
                     describe_disks(files));
}

static json_t *lay_out(const Lending *l, Store *store, const Wish *wish, Loan *loan, GError **error)
{
    g_autoptr(GPtrArray) files = NULL;

    loan->lease = store_lease_share(store, wish->point, &files, error);
    if (!loan->lease)
        return NULL;
    loan->reader = offer_all(l, wish->as, files, error);
    return loan->reader ? describe(store, wish, loan->reader, files, error) : NULL;
}

gboolean lending_lend(Lending *l, Store *store, const json_t *params, json_t **ret_result, GError **error)
{
    Wish wish = {0};
    Loan *loan;

    if (!read_wish(params, &wish, error) || !choose_point(store, &wish, error))
        return FALSE;
    g_assert(!g_hash_table_contains(l->loans, wish.test));
    loan = g_new0(Loan, 1);
    *ret_result = lay_out(l, store, &wish, loan, error);
    if (*ret_result) {
        g_hash_table_insert(l->loans, g_strdup(wish.test), loan);
        return TRUE;
    }
    if (loan->lease)
        end_loan(loan, store);
    else
        g_free(loan);
    return FALSE;
}

gboolean lending_return(Lending *l, Store *store, const json_t *params, GError **error)
{
    const char *vm, *test;
    Loan *loan;

    if (!json_read(params, "lending", error, "{s:s, s:s*}", "vm", &vm, "test", &test))
        return FALSE;
    loan = g_hash_table_lookup(l->loans, test);
    if (!loan)
        return TRUE;
    end_loan(loan, store);
    g_hash_table_remove(l->loans, test);
    return TRUE;
}
