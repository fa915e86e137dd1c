/* SPDX-License-Identifier: Apache-2.0 */
/* serve_host - the host itself and the VMs on it, as libvirt tells. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/capture/chain.h"
#include "vmconnect/capture/eligible.h"
#include "vmconnect/hypervisor/agent.h"
#include "vmconnect/hypervisor/host.h"
#include "vmconnect/hypervisor/job.h"
#include "vmconnect/hypervisor/trial_mark.h"
#include "vmconnect/replicate/adoption.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* A question that hands answer, and the engine adds to. */
typedef struct {
    Engine *engine;
    RpcReply *reply;
} Asked;

static Asked *asked_new(void *user, RpcReply *reply)
{
    Asked *asked = g_new0(Asked, 1);

    *asked = (Asked){((Visit *)user)->engine, reply};
    return asked;
}

/* --- the host ---------------------------------------------------------- */

static json_int_t bytes_of(fsblkcnt_t blocks, gulong block_bytes)
{
    return (json_int_t)blocks * (json_int_t)block_bytes;
}

static json_t *space_of(const char *folder)
{
    struct statvfs fs = {0};

    statvfs(folder, &fs);
    return json_pack("{s:s, s:I, s:I}", "path", folder, "free_bytes", bytes_of(fs.f_bavail, fs.f_frsize),
                     "total_bytes", bytes_of(fs.f_blocks, fs.f_frsize));
}

static gboolean read_host(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    Engine *engine = request;
    json_t *doc = host_read(conn, error);

    if (!doc)
        return FALSE;
    json_object_set_new(doc, "version", json_string(UNDERSTUDY_VERSION));
    json_object_set_new(doc, "wall_ms", json_integer(clock_wall_ms()));
    json_object_set_new(
        doc, "hook",
        json_boolean(g_file_test("/etc/libvirt/hooks/qemu.d/understudy", G_FILE_TEST_IS_EXECUTABLE)));
    json_object_set_new(doc, "store", space_of(engine->paths.store));
    json_object_set_new(doc, "scratch", space_of(engine->paths.scratch));
    *ret_result = doc;
    return TRUE;
}

/* Who it is, and until when peers believe it: nothing renews that by itself. */
static void on_host(void *user, gpointer result, const GError *error)
{
    g_autofree Asked *asked = user;
    char at[CLOCK_TEXT_LEN + 1];

    if (result) {
        json_object_set_new(result, "certificate_expires_at",
                            json_string(clock_format(identity_expires_at_ms(asked->engine->identity), at)));
        json_object_set_new(result, "id", json_string(ID_TEXT(identity_peer(asked->engine->identity).id)));
    }
    serve_json(asked->reply, result, error);
}

void serve_host_info(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    HandsJob job = {
        .what = "reading the host", .work = read_host, .request = engine, .free_result = serve_free_json};

    (void)params;
    hands_submit(engine->hands, &job, on_host, asked_new(user, reply));
}

/* --- its VMs ----------------------------------------------------------- */

/* What a guest calls itself, if its agent says so in this time. */
#define NAME_MS 1000

typedef struct {
    Inventory *inventory;
    GArray *given_up; /* of gboolean, parallel to its VMs */
} VmList;

static void vm_list_free(gpointer data)
{
    VmList *list = data;

    inventory_free(list->inventory);
    g_array_unref(list->given_up);
    g_free(list);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VmList, vm_list_free)

static gboolean read_vms(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const Engine *engine = request;
    Inventory *inventory = inventory_read(conn, error);
    VmList *list;

    if (!inventory)
        return FALSE;
    list = g_new0(VmList, 1);
    list->inventory = inventory;
    list->given_up = g_array_new(FALSE, FALSE, sizeof(gboolean));
    for (guint i = 0; i < inventory->vms->len; i++) {
        const Vm *vm = inventory->vms->pdata[i];
        gboolean given_up = adoption_is_due(vm->definition->uuid, engine->paths.guard, engine->paths.plan);

        g_array_append_val(list->given_up, given_up);
    }
    *ret_result = list;
    return TRUE;
}

static gboolean read_name(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const Id *vm = request;
    g_autoptr(virDomain) dom = vm_lookup(conn, *vm, error);

    *ret_result = dom ? agent_host_name(dom, NAME_MS, error) : NULL;
    return *ret_result != NULL;
}

/* A trial's VM of one second is nobody's: by its name, and by where its disk lies. */
static gboolean is_of_trial(const Engine *engine, const Definition *d)
{
    g_autofree char *folder = g_strconcat(engine->paths.store, "/" TRIAL_NAME "-", NULL);
    const Disk *disk = d->disks->len == 1 ? d->disks->pdata[0] : NULL;

    return g_strcmp0(d->name, TRIAL_NAME) == 0 && disk && disk->source &&
           g_str_has_prefix(disk->source, folder);
}

/* An answer that the guests' own names are added to. */
typedef struct {
    RpcReply *reply;
    json_t *vms;
    guint open; /* questions to agents */
} Naming;

static void naming_drop(Naming *n)
{
    if (--n->open > 0)
        return;
    serve_json(n->reply, json_pack("{s:o}", "vms", n->vms), NULL);
    g_free(n);
}

typedef struct {
    Naming *naming;
    json_t *item; /* of its vms */
} Named;

static void on_name(void *user, gpointer result, const GError *error)
{
    g_autofree Named *named = user;
    g_autofree char *name = result;

    (void)error; /* a guest whose agent does not say it has no name */
    if (name)
        json_object_set_new(named->item, "guest_name", json_string(name));
    naming_drop(named->naming);
}

static void ask_name(Engine *e, Naming *n, json_t *item, const Vm *vm)
{
    Named *named = g_new0(Named, 1);
    HandsJob job = {.what = "asking a guest's name",
                    .timeout_ms = NAME_MS,
                    .work = read_name,
                    .request = g_memdup2(&vm->definition->uuid, sizeof(Id)),
                    .free_request = g_free,
                    .free_result = g_free};

    *named = (Named){n, item};
    n->open++;
    agents_submit(e->agents, vm->definition->uuid, &job, on_name, named);
}

static void on_vms(void *user, gpointer result, const GError *error)
{
    g_autofree Asked *asked = user;
    g_autoptr(VmList) list = result;
    Naming *naming;

    if (error) {
        rpc_reply_error(asked->reply, error);
        return;
    }
    naming = g_new0(Naming, 1);
    *naming = (Naming){asked->reply, json_array(), 1};
    for (guint i = 0; i < list->inventory->vms->len; i++) {
        const Vm *vm = list->inventory->vms->pdata[i];
        const ActiveRole *role = policy_active(asked->engine->policy, vm->definition->uuid);
        json_t *item;

        /* Here for a second, and nobody's to protect. */
        if (is_of_trial(asked->engine, vm->definition))
            continue;
        item = vm_to_json(vm, list->inventory);
        json_object_set_new(item, "guest_name", json_null());
        json_object_set_new(item, "given_up", json_boolean(g_array_index(list->given_up, gboolean, i)));
        json_object_set_new(item, "scenario", role ? json_string(role->scenario) : json_null());
        json_array_append_new(naming->vms, item);
        if (vm->state == VM_STATE_RUNNING && vm->definition->agent_connected)
            ask_name(asked->engine, naming, item, vm);
    }
    naming_drop(naming);
}

void serve_vm_list(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    HandsJob job = {
        .what = "listing the VMs", .work = read_vms, .request = engine, .free_result = vm_list_free};

    (void)params;
    hands_submit(engine->hands, &job, on_vms, asked_new(user, reply));
}

/* --- one VM, looked at closely ------------------------------------------ */

#define HEADER_MS 5000

static json_t *texts(const GPtrArray *list)
{
    json_t *out = json_array();

    for (guint i = 0; i < list->len; i++) {
        g_autofree char *valid = g_utf8_make_valid(list->pdata[i], -1);

        json_array_append_new(out, json_string(valid));
    }
    return out;
}

/* What the files of a disk's chain hold: about what a first copy sends. */
static gint64 data_bytes(const char *xml, const Disk *disk)
{
    g_autoptr(GPtrArray) chain = chain_of_disk(xml, disk->target, HEADER_MS, -1, NULL);
    gint64 sum = 0;
    struct stat st;

    for (guint i = 0; chain && i < chain->len; i++)
        if (stat(((const ChainLayer *)chain->pdata[i])->path, &st) == 0)
            sum += (gint64)st.st_blocks * 512;
    return sum;
}

typedef struct {
    Id vm;
    const char *run_dir; /* the engine's */
} VmCheck;

/* What libvirt knows of it; QEMU is not asked. */
static gboolean read_job(virConnectPtr conn, const VmCheck *c, gboolean *ret_running, gboolean *ret_transient,
                         Job **ret_job, GError **error)
{
    g_autoptr(virDomain) dom = vm_lookup(conn, c->vm, error);

    if (!dom)
        return FALSE;
    *ret_running = virDomainIsActive(dom) == 1;
    *ret_transient = virDomainIsPersistent(dom) == 0;
    *ret_job = job_probe(dom, c->run_dir, error);
    return *ret_job != NULL;
}

static void job_remark(const Job *job, const char *name, GPtrArray *remarks)
{
    if (job->kind == JOB_FOREIGN)
        g_ptr_array_add(
            remarks,
            g_strdup_printf("'%s' is worked on by %s: nothing can be cut until that has ended; see virsh "
                            "domjobinfo",
                            name, job->socket ? "another backup tool" : "another job"));
}

static void transient_remark(const char *name, GPtrArray *remarks)
{
    g_ptr_array_add(
        remarks,
        g_strdup_printf("'%s' is transient: libvirt forgets it when it ends, so that it is neither started "
                        "again where it died nor moved in good order, by force alone; `virsh define` "
                        "what `virsh dumpxml --inactive --security-info %s` says",
                        name, name));
}

/* Of a VM that runs: what of its disks is not so at its next start. */
static void next_remark(const Definition *live, const Definition *next, GPtrArray *remarks)
{
    char *remark = definition_disks_at_stop(live, next);

    if (remark)
        g_ptr_array_add(remarks, remark);
}

/* From files and libvirt's own record: a hung QEMU holds nobody up. The definition is the one that a generation
 * carries, but for its secrets: the replica is asked whether it could run that. */
static gboolean check_vm(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const VmCheck *c = request;
    g_autofree char *xml = vm_definition(conn, c->vm, VM_DEFINITION_LIVE, error);
    g_autofree char *inactive = xml ? vm_definition(conn, c->vm, VM_DEFINITION_SHOWN, error) : NULL;
    g_autoptr(Definition) d = inactive ? definition_parse(xml, strlen(xml), error) : NULL;
    g_autoptr(Definition) next = d ? definition_parse(inactive, strlen(inactive), error) : NULL;
    g_autoptr(Job) job = NULL;
    g_autoptr(GPtrArray) problems = NULL;
    g_autoptr(GPtrArray) remarks = NULL;
    gboolean running = FALSE, transient = FALSE;
    gint64 sum = 0;

    if (!next || !read_job(conn, c, &running, &transient, &job, error))
        return FALSE;
    problems = eligible_problems(d->disks, d->name, HEADER_MS, -1, &remarks);
    eligible_vm_remarks(d, running, remarks);
    job_remark(job, d->name, remarks);
    next_remark(d, next, remarks);
    if (transient)
        transient_remark(d->name, remarks);
    for (guint i = 0; i < d->disks->len; i++)
        if (disk_is_data(d->disks->pdata[i]))
            sum += data_bytes(xml, d->disks->pdata[i]);
    *ret_result =
        json_pack("{s:o, s:o, s:I, s:s, s:s?}", "problems", texts(problems), "remarks", texts(remarks),
                  "data_bytes", (json_int_t)sum, "definition", inactive, "live", running ? xml : NULL);
    return TRUE;
}

void serve_vm_check(void *user, RpcReply *reply, const json_t *params)
{
    Engine *engine = ((Visit *)user)->engine;
    VmCheck *check;
    HandsJob job = {
        .what = "looking at a VM", .work = check_vm, .free_request = g_free, .free_result = serve_free_json};
    g_autoptr(GError) error = NULL;
    Id vm;

    if (!serve_good(reply, serve_read_vm(params, &vm, &error), &error))
        return;
    check = g_new0(VmCheck, 1);
    *check = (VmCheck){vm, engine->paths.run};
    job.request = check;
    hands_submit(engine->hands, &job, serve_json, reply);
}

static void on_definition(void *user, gpointer result, const GError *error)
{
    g_autofree char *xml = result;
    json_auto_t *doc = xml ? json_pack("{s:s}", "definition", xml) : NULL;

    serve_done(user, doc, error);
}

void serve_vm_definition_of(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = NULL;
    Id vm;

    if (serve_good(reply, serve_read_vm(params, &vm, &error), &error))
        hands_definition(((Visit *)user)->engine->hands, vm, on_definition, reply);
}
