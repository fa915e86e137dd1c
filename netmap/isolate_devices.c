/* SPDX-License-Identifier: Apache-2.0 */
/* Each device is a copy that ends at the test, or is left out and told, or is refused. */
#include "netmap/isolate_parts.h"
#include "netmap/place.h"

#include <string.h>

#define AGENT "org.qemu.guest_agent.0"

static gboolean isolate_plain(Isolation *t, const xmlNode *dev, GError **error)
{
    (void)error;
    isolate_copy(t->devices, dev, (const char *)dev->name);
    return TRUE;
}

/* Replaced by the test's own, in add_screen(). */
static gboolean isolate_replaced(Isolation *t, const xmlNode *dev, GError **error)
{
    (void)t;
    (void)dev;
    (void)error;
    return TRUE;
}

static gboolean isolate_emulator(Isolation *t, const xmlNode *dev, GError **error)
{
    g_autofree char *path = xml_text(dev);

    isolate_copy(t->devices, dev, "emulator");
    return isolate_allow_path(t, path, "emulator", error);
}

/* --- interfaces --------------------------------------------------------- */

/* A card of the host stands behind it, and none that QEMU plays: libvirt has named the model of all others. */
static void add_card(Isolation *t, xmlNode *nic, const char *mac)
{
    xml_set(xml_add(nic, "model"), "type", "virtio");
    isolate_leave_out(t, "the host's own card of interface %.80s, for which a virtio card stands",
                      mac ? mac : "?");
}

/* Not through the kernel's vhost, which would be the default. */
static void set_driver(xmlNode *nic)
{
    g_autofree char *model = xml_attr(xml_child(nic, "model"), "type");

    if (model && g_str_has_prefix(model, "virtio"))
        xml_set(xml_need(nic, "driver"), "name", "qemu");
    else
        xml_drop(nic, "driver");
}

static gboolean isolate_interface(Isolation *t, const xmlNode *dev, GError **error)
{
    g_autofree char *tap = g_strdup_printf("%s%u", t->in->tap_prefix, t->nics->len);
    g_autofree char *mac = xml_attr(xml_child(dev, "mac"), "address");
    g_auto(Place) place = place_of_interface(dev);
    xmlNode *nic;
    IsolatedNic *isolated;

    /* The other one of the pair has its address, and is the one that stays when a VM is moved. */
    if (xml_attr_is(xml_child(dev, "teaming"), "type", "transient")) {
        isolate_leave_out(t, "the host's own card beside interface %.80s", mac ? mac : "?");
        return TRUE;
    }
    if (strlen(tap) > ISOLATE_TAP_MAX)
        return isolate_refuse(error, "its interface number %u would be called '%s', which is too long",
                              t->nics->len, tap);
    nic = isolate_copy(t->devices, dev, "interface");
    if (!xml_child(nic, "model"))
        add_card(t, nic, mac);
    set_driver(nic);
    xml_set(nic, "type", "ethernet");
    xml_set(xml_add(nic, "target"), "dev", tap);
    isolated = g_new0(IsolatedNic, 1);
    *isolated = (IsolatedNic){.tap = g_steal_pointer(&tap),
                              .mac = g_steal_pointer(&mac),
                              .place = place_format(&place),
                              .down = xml_attr_is(xml_child(dev, "link"), "state", "down")};
    g_ptr_array_add(t->nics, isolated);
    return TRUE;
}

/* --- ports -------------------------------------------------------------- */

static void connect_port(Isolation *t, xmlNode *port)
{
    xmlNode *source, *log;

    xml_set(port, "type", "null");
    if (t->has_port || !t->in->console)
        return;
    t->has_port = TRUE;
    xml_set(port, "type", "unix");
    source = xml_add(port, "source");
    xml_set(source, "mode", "bind");
    xml_set(source, "path", t->in->console);
    if (!t->in->console_log)
        return;
    log = xml_add(port, "log");
    xml_set(log, "file", t->in->console_log);
    xml_set(log, "append", "off");
}

static gboolean isolate_serial(Isolation *t, const xmlNode *dev, GError **error)
{
    (void)error;
    connect_port(t, isolate_copy(t->devices, dev, "serial"));
    return TRUE;
}

/* libvirt itself adds the console that is the first serial port once more. */
static gboolean isolate_console(Isolation *t, const xmlNode *dev, GError **error)
{
    g_autofree char *type = xml_attr(xml_child(dev, "target"), "type");
    gboolean mirror = !type || g_str_equal(type, "serial");
    xmlNode *port;

    (void)error;
    if (t->has_serial && mirror)
        return TRUE;
    port = isolate_copy(t->devices, dev, "console");
    if (t->has_serial)
        xml_set(port, "type", "null");
    else
        connect_port(t, port);
    return TRUE;
}

static gboolean isolate_parallel(Isolation *t, const xmlNode *dev, GError **error)
{
    (void)error;
    xml_set(isolate_copy(t->devices, dev, "parallel"), "type", "null");
    return TRUE;
}

/* libvirt makes the agent's socket, under the test's own name. */
static gboolean isolate_channel(Isolation *t, const xmlNode *dev, GError **error)
{
    const xmlNode *target = xml_child(dev, "target");
    g_autofree char *name = xml_attr(target, "name");

    (void)error;
    if (g_strcmp0(name, AGENT) == 0 && xml_attr_is(target, "type", "virtio"))
        xml_set(isolate_copy(t->devices, dev, "channel"), "type", "unix");
    else
        isolate_leave_out(t, "the channel %.80s", name ? name : "without a name");
    return TRUE;
}

/* --- others ------------------------------------------------------------- */

static gboolean isolate_input(Isolation *t, const xmlNode *dev, GError **error)
{
    if (xml_attr_is(dev, "type", "mouse") || xml_attr_is(dev, "type", "tablet") ||
        xml_attr_is(dev, "type", "keyboard"))
        return isolate_plain(t, dev, error);
    isolate_leave_out(t, "an input device of the host");
    return TRUE;
}

static gboolean isolate_memory(Isolation *t, const xmlNode *dev, GError **error)
{
    g_autofree char *model = xml_attr(dev, "model");

    if (g_strcmp0(model, "dimm") == 0 || g_strcmp0(model, "virtio-mem") == 0)
        return isolate_plain(t, dev, error);
    isolate_leave_out(t, "the memory device of model %.80s", model ? model : "?");
    return TRUE;
}

static gboolean isolate_rng(Isolation *t, const xmlNode *dev, GError **error)
{
    xmlNode *backend = xml_add(isolate_copy(t->devices, dev, "rng"), "backend");

    xml_set(backend, "model", "random");
    xml_set_text(backend, "/dev/urandom");
    return isolate_allow_path(t, "/dev/urandom", "rng", error);
}

static gboolean isolate_tpm(Isolation *t, const xmlNode *dev, GError **error)
{
    const xmlNode *backend = xml_child(dev, "backend");

    if (!xml_attr_is(backend, "type", "emulator")) {
        isolate_leave_out(t, "the TPM, a chip of the host");
        return TRUE;
    }
    if (xml_child(backend, "encryption"))
        return isolate_refuse(error, "the state of its TPM is encrypted with a secret of the host");
    return isolate_plain(t, dev, error);
}

/* A dump would be a file of the host, as large as the guest. */
static gboolean isolate_watchdog(Isolation *t, const xmlNode *dev, GError **error)
{
    xmlNode *watchdog = isolate_copy(t->devices, dev, "watchdog");

    (void)error;
    if (xml_attr_is(watchdog, "action", "dump"))
        xml_set(watchdog, "action", NULL);
    return TRUE;
}

/* Sound goes nowhere, the screen to its socket. */
static void add_screen(Isolation *t)
{
    xmlNode *audio = xml_add(t->devices, "audio"), *graphics;

    xml_set(audio, "id", "1");
    xml_set(audio, "type", "none");
    if (!t->in->graphics || !xml_child(t->devices, "video"))
        return;
    graphics = xml_add(t->devices, "graphics");
    xml_set(graphics, "type", "vnc");
    xml_set(graphics, "socket", t->in->graphics);
}

/* --- all ---------------------------------------------------------------- */

static const struct {
    const char *tag;
    gboolean (*isolate)(Isolation *t, const xmlNode *dev, GError **error); /* NULL: … */
    const char *left_out;                                                  /* … it is left out */
} DEVICES[] = {
    {"audio", isolate_replaced, NULL},
    {"channel", isolate_channel, NULL},
    {"console", isolate_console, NULL},
    {"controller", isolate_plain, NULL},
    {"disk", isolate_disk, NULL},
    {"emulator", isolate_emulator, NULL},
    {"graphics", isolate_replaced, NULL},
    {"hub", isolate_plain, NULL},
    {"input", isolate_input, NULL},
    {"interface", isolate_interface, NULL},
    {"iommu", isolate_plain, NULL},
    {"memballoon", isolate_plain, NULL},
    {"memory", isolate_memory, NULL},
    {"nvram", isolate_plain, NULL},
    {"panic", isolate_plain, NULL},
    {"parallel", isolate_parallel, NULL},
    {"rng", isolate_rng, NULL},
    {"serial", isolate_serial, NULL},
    {"sound", isolate_plain, NULL},
    {"tpm", isolate_tpm, NULL},
    {"video", isolate_plain, NULL},
    {"watchdog", isolate_watchdog, NULL},
    {"crypto", NULL, "the crypto device"},
    {"filesystem", NULL, "the folder shared with the host"},
    {"hostdev", NULL, "the device of the host that is passed through"},
    {"lease", NULL, "the lease"},
    {"pstore", NULL, "the pstore device"},
    {"redirdev", NULL, "the USB redirection"},
    {"redirfilter", NULL, "the USB redirection"},
    {"shmem", NULL, "the memory shared with others"},
    {"smartcard", NULL, "the smartcard reader"},
    {"vsock", NULL, "the vsock device"},
};

static gboolean isolate_device(Isolation *t, const xmlNode *dev, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(DEVICES); i++) {
        if (!xml_is(dev, DEVICES[i].tag))
            continue;
        if (DEVICES[i].isolate)
            return DEVICES[i].isolate(t, dev, error);
        isolate_leave_out(t, "%s", DEVICES[i].left_out);
        return TRUE;
    }
    return isolate_refuse(error, "it is not known what its <%.80s> device may reach", dev->name);
}

gboolean isolate_devices(Isolation *t, const xmlNode *devices, GError **error)
{
    t->has_serial = xml_child(devices, "serial") != NULL;
    for (const xmlNode *dev = devices->children; dev; dev = dev->next)
        if (dev->type == XML_ELEMENT_NODE && !isolate_device(t, dev, error))
            return FALSE;
    add_screen(t);
    return TRUE;
}
