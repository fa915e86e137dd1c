/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/replicate/certificate.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

json_t *certificate_of_release(const Release *r)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:b, s:b}", "vm", ID_TEXT(r->vm), "plan",
                     ID_TEXT(r->plan), "tip", json_from_id(r->tip), "successor", json_from_id(r->successor),
                     "reign", reign_to_json(r->reign), "reign_next", reign_to_json(r->next), "running",
                     r->running, "autostart", r->autostart);
}

static gboolean read_release(const json_t *root, Release *ret, GError **error)
{
    json_t *vm, *plan, *tip, *successor, *reign, *next;

    return json_read(root, "certificate", error, "{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b*}", "vm", &vm,
                     "plan", &plan, "tip", &tip, "successor", &successor, "reign", &reign, "reign_next",
                     &next, "running", &ret->running, "autostart", &ret->autostart) &&
           json_to_id(vm, &ret->vm, error) && json_to_id(plan, &ret->plan, error) &&
           json_to_id(tip, &ret->tip, error) && json_to_id(successor, &ret->successor, error) &&
           reign_from_json(reign, &ret->reign, error) && reign_from_json(next, &ret->next, error);
}

gboolean certificate_check(const json_t *params, Id vm, Id here, GError **error)
{
    const json_t *certificate = json_object_get(params, "certificate");
    json_t *plan_doc, *next_doc;
    Id plan;
    Reign next;
    Release r;

    if (json_is_true(json_object_get(certificate, "forced")))
        return TRUE;
    if (!json_read(params, "plan.promote", error, "{s:o, s:o*}", "plan", &plan_doc, "reign_next",
                   &next_doc) ||
        !json_to_id(plan_doc, &plan, error) || !reign_from_json(next_doc, &next, error) ||
        !read_release(certificate, &r, error))
        return FALSE;
    if (id_equal(r.vm, vm) && id_equal(r.plan, plan) && id_equal(r.successor, here) &&
        reign_equal(r.next, next) && r.next.number > r.reign.number)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "what its active released (VM %s, plan %s, to host %s in reign %" G_GUINT64_FORMAT
                ") is not what shall be promoted (VM %s, plan %s, on host %s in reign %" G_GUINT64_FORMAT
                "): the VM stays off; `understudy status` says where it can be started",
                ID_TEXT(r.vm), ID_TEXT(r.plan), ID_TEXT(r.successor), r.next.number, ID_TEXT(vm),
                ID_TEXT(plan), ID_TEXT(here), next.number);
    return FALSE;
}
