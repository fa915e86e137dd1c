/* SPDX-License-Identifier: Apache-2.0 */
#include "netmap/translate.h"

#include "netmap/translate_parts.h"

#include <string.h>

/* More are no VM, and each is compared with the others. */
#define DEVICES_MAX 1024

static const char *odd_about(const xmlNode *root)
{
    static const char *const ONCE[] = {"devices", "os", "uuid", "name", "metadata"};
    guint n = 0;

    if (!xml_child(root, "devices"))
        return "a domain without <devices>";
    for (guint i = 0; i < G_N_ELEMENTS(ONCE); i++)
        if (xml_child(root, ONCE[i]) && xml_next(xml_child(root, ONCE[i])))
            return "a domain that has <devices>, <os>, <uuid>, <name> or <metadata> twice";
    for (const xmlNode *d = xml_child(root, "devices")->children; d; d = d->next)
        n += d->type == XML_ELEMENT_NODE;
    return n > DEVICES_MAX ? "a domain with more than " G_STRINGIFY(DEVICES_MAX) " devices" : NULL;
}

static xmlDoc *read_domain(const char *definition, GError **error)
{
    g_autoptr(xmlDoc) doc = xml_read(definition, strlen(definition), "domain", error);
    const char *odd = doc ? odd_about(xmlDocGetRootElement(doc)) : NULL;

    if (odd) {
        g_set_error(error, NETMAP_ERROR, NETMAP_ERROR_XML, "line 1: %s", odd);
        return NULL;
    }
    return g_steal_pointer(&doc);
}

/* On the host that it is of nothing is plugged elsewhere, and nothing left behind. */
static gboolean stays(const TranslateInput *in)
{
    return g_strcmp0(in->from, in->to->id) == 0;
}

static void translate(Translation *t)
{
    home_open(&t->home, t->root, stays(t->in) ? NULL : t->in->from, t->in->to->id);
    xml_set(t->root, "id", NULL);
    translate_machine(t);
    translate_disks(t);
    if (!stays(t->in)) {
        translate_interfaces(t);
        translate_devices(t);
    }
    home_close(&t->home);
}

char *translate_definition(const char *definition, const TranslateInput *in, GPtrArray **ret_remarks,
                           GError **error)
{
    g_autoptr(xmlDoc) doc = read_domain(definition, error);
    Translation t = {.in = in, .remarks = remarks_new()};

    *ret_remarks = t.remarks;
    if (!doc)
        return NULL;
    t.root = xmlDocGetRootElement(doc);
    t.devices = xml_child(t.root, "devices");
    t.vm = xml_text(xml_child(t.root, "uuid"));
    if (!t.vm)
        t.vm = g_strdup("");
    t.functions = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    translate(&t);
    g_hash_table_unref(t.functions);
    g_free(t.vm);
    return remarks_errors(t.remarks) ? NULL : xml_write(doc);
}

/* --- the processor ----------------------------------------------------- */

void cpu_question_clear(CpuQuestion *q)
{
    g_free(q->type);
    g_free(q->arch);
    g_free(q->machine);
    g_free(q->emulator);
    g_free(q->cpu);
    *q = (CpuQuestion){0};
}

static char *element_text(xmlDoc *doc, xmlNode *node)
{
    xmlBuffer *buffer = xmlBufferCreate();
    char *text;

    xmlNodeDump(buffer, doc, node, 0, 0);
    text = g_strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return text;
}

/* Only a named model can fit or not; how far libvirt shall look is said by check='none'. */
static gboolean is_worth_asking(const xmlNode *cpu)
{
    return cpu && xml_child(cpu, "model") && !xml_attr_is(cpu, "check", "none") &&
           (xml_attr_is(cpu, "mode", "custom") || xml_attr_is(cpu, "mode", NULL));
}

gboolean translate_cpu_question(const char *definition, CpuQuestion *ret_question, GError **error)
{
    g_autoptr(xmlDoc) doc = read_domain(definition, error);
    const xmlNode *type;
    xmlNode *root, *cpu;

    if (!doc)
        return FALSE;
    root = xmlDocGetRootElement(doc);
    type = xml_child(xml_child(root, "os"), "type");
    cpu = xml_child(root, "cpu");
    *ret_question = (CpuQuestion){.type = xml_attr(root, "type"),
                                  .arch = xml_attr(type, "arch"),
                                  .machine = xml_attr(type, "machine"),
                                  .cpu = is_worth_asking(cpu) ? element_text(doc, cpu) : NULL};
    return TRUE;
}
