/* image.c — the raw memory that a value travels in. */
#include "binding/transfer/internal.h"
#include "core/base/alloc.h"

/* A buffer above this size is given back by reset: one large value should not keep its
 * memory for good. */
#define KEEP_MAX ((size_t)262144)
#define HOLDS_KEEP 64 /* the same for the list of holds */

void
sipy_image_init(sipy_image *image)
{
    memset(image, 0, sizeof(*image));
}

void
sipy_image_reset(sipy_image *image)
{
    /* A release function may run Python code that uses this image again. */
    sipy_hold *holds = image->holds;
    uint32_t count = image->hold_count, cap = image->hold_cap;
    image->len = 0;
    if (count > 0) {
        image->holds = NULL;
        image->hold_count = 0;
        image->hold_cap = 0;
        for (uint32_t i = 0; i < count; i++) {
            holds[i].drop(holds[i].ptr);
        }
        if (image->holds == NULL && cap <= HOLDS_KEEP) {
            image->holds = holds;
            image->hold_cap = cap;
        }
        else {
            si_free(holds);
        }
    }
    if (image->cap > KEEP_MAX) {
        /* Without its buffer it is taken for empty: nothing else may be left. */
        si_free(image->data);
        si_free(image->holds);
        image->data = NULL;
        image->holds = NULL;
        image->cap = 0;
        image->hold_cap = 0;
    }
}

void
sipy_image_fini(sipy_image *image)
{
    sipy_image_reset(image);
    si_free(image->data);
    si_free(image->holds);
    memset(image, 0, sizeof(*image));
}

int
sipy_image_hold(sipy_image *image, void *ptr, void (*drop)(void *ptr))
{
    if (image->hold_count == image->hold_cap) {
        if (image->hold_cap > UINT32_MAX / 2 - 4) {
            PyErr_NoMemory();
            return -1;
        }
        uint32_t cap = image->hold_cap * 2 + 4;
        sipy_hold *holds = si_realloc(image->holds, cap * sizeof(*holds));
        if (holds == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        image->holds = holds;
        image->hold_cap = cap;
    }
    image->holds[image->hold_count].ptr = ptr;
    image->holds[image->hold_count].drop = drop;
    image->hold_count++;
    return 0;
}

/* Moves what image holds into one allocation behind a header; the image is left empty.
 * A small image is copied, so that its buffer can be used again. */
static void *
pack(sipy_image *image, size_t header_size)
{
    size_t holds_size = image->hold_count * sizeof(sipy_hold);
    size_t offset = sizeof(sipy_packet) + holds_size;
    size_t body = image->len - image->prefix;
    size_t total = header_size + offset + body;
    char *memory;
    bool in_place = image->prefix >= header_size + offset && body > 1024;
    if (in_place) {
        /* The image was written behind room for all that comes before it. */
        offset = image->prefix - header_size;
        memory = si_realloc(image->data, image->len);
        if (memory == NULL) {
            memory = (char *)image->data;
        }
        image->data = NULL;
        image->cap = 0;
    }
    else {
        memory = si_alloc(total);
        if (memory == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        memcpy(memory + header_size + offset, image->data + image->prefix, body);
    }
    memset(memory, 0, header_size);
    sipy_packet *packet = sipy_packet_behind(memory, header_size);
    packet->len = body;
    packet->offset = offset;
    packet->hold_count = image->hold_count;
    packet->holds = image->hold_count > 0 ? (sipy_hold *)(packet + 1) : NULL;
    if (image->hold_count > 0) {
        memcpy(packet->holds, image->holds, holds_size);
    }
    image->hold_count = 0;
    image->len = 0;
    return memory;
}

/* The image that packets of t are written to; NULL while another one is being written
 * (by Python code that an encoding runs). */
static sipy_image *
take_scratch(sipy_transfer *t, sipy_image *own)
{
    if (t->scratch_busy) {
        sipy_image_init(own);
        return own;
    }
    t->scratch_busy = true;
    return &t->scratch;
}

static void
give_scratch(sipy_transfer *t, sipy_image *image)
{
    if (image == &t->scratch) {
        sipy_image_reset(image);
        t->scratch_busy = false;
        if (t->cleared) {
            sipy_image_fini(image);
        }
    }
    else {
        sipy_image_fini(image);
    }
}

/* Room before the image for the header, the packet and a few holds. */
static size_t
prefix_for(size_t header_size)
{
    return header_size + sizeof(sipy_packet) + 4 * sizeof(sipy_hold);
}

void *
sipy_encode_packet(sipy_transfer *t, PyObject *obj, unsigned flags, size_t header_size)
{
    sipy_image own;
    sipy_image *image = take_scratch(t, &own);
    void *memory = NULL;
    image->prefix = prefix_for(header_size);
    if (sipy_encode(t, obj, flags & ~(unsigned)SIPY_SYNC, image) == 0) {
        memory = pack(image, header_size);
    }
    give_scratch(t, image);
    return memory;
}

void *
sipy_encode_call_packet(sipy_transfer *t, PyObject *func, PyObject *const *args,
                        size_t nargs, PyObject *kwnames, unsigned flags, size_t header_size)
{
    sipy_image own;
    sipy_image *image = take_scratch(t, &own);
    void *memory = NULL;
    image->prefix = prefix_for(header_size);
    if (sipy_encode_call(t, func, args, nargs, kwnames, flags & ~(unsigned)SIPY_SYNC,
                         image) == 0) {
        memory = pack(image, header_size);
    }
    give_scratch(t, image);
    return memory;
}

void
sipy_packet_fini(sipy_packet *packet)
{
    for (size_t i = 0; i < packet->hold_count; i++) {
        packet->holds[i].drop(packet->holds[i].ptr);
    }
    packet->hold_count = 0;
}
