/* blobs.c — descriptions in raw memory: how an image refers to one, and how it is read. */
#include "binding/transfer/functions.h"
#include "core/base/alloc.h"

/* What a blob is about. */
typedef struct description {
    sipy_image image;
    uint64_t id;
    uint8_t tag;
    sipy_life *life; /* owned, of the id */
    si_block *whole; /* borrowed: the blob that it is a part of, which holds it; NULL: none.
                      * Set before anybody else sees either. */
} description;

/* ---- lives ---- */

sipy_life *
sipy__life_new(void)
{
    sipy_life *life = si_alloc(sizeof(*life));
    if (life == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    si_store_relaxed(&life->refs, 1);
    si_store_relaxed(&life->ended, 0);
    return life;
}

static void
drop_life(sipy_life *life)
{
    if (life != NULL && si_sub_acq_rel(&life->refs, 1) == 1) {
        si_free(life);
    }
}

void
sipy__life_end(sipy_life *life)
{
    if (life != NULL) {
        si_store_relaxed(&life->ended, 1);
        drop_life(life);
    }
}

bool
sipy__has_ended(const sipy_life *life)
{
    return life != NULL && si_load_relaxed(&life->ended) != 0;
}

/* ---- blobs ---- */

static void
release_blob(si_block *block, void *context)
{
    description *d = context;
    (void)block;
    sipy_image_fini(&d->image);
    drop_life(d->life);
    si_free(d);
}

static void
drop_blob(void *ptr)
{
    si_block_drop(ptr);
}

/* The same for marshalled code: by its function a hold tells what it holds. */
static void
drop_code(void *ptr)
{
    drop_blob(ptr);
}

static void (*dropper_of(unsigned tag))(void *ptr)
{
    return tag == TAG_CODE ? drop_code : drop_blob;
}

si_block *
sipy__blob_new(sipy_image *image, unsigned tag, uint64_t id)
{
    description *d = si_alloc(sizeof(*d));
    si_block *block = d == NULL ? NULL : si_block_wrap(NULL, 0, release_blob, d);
    if (block == NULL) {
        si_free(d);
        sipy_image_fini(image);
        PyErr_NoMemory();
        return NULL;
    }
    d->image = *image;
    d->id = id;
    d->tag = (uint8_t)tag;
    d->life = NULL;
    d->whole = NULL;
    sipy_image_init(image);
    return block;
}

int
sipy__image_hold_blob(sipy_image *image, si_block *blob, unsigned tag)
{
    si_block_hold(blob);
    if (sipy_image_hold(image, blob, dropper_of(tag)) < 0) {
        si_block_drop(blob);
        return -1;
    }
    return 0;
}

void
sipy__blob_joins(si_block *part, si_block *whole)
{
    ((description *)part->context)->whole = whole;
}

static si_block *
whole_of(si_block *blob)
{
    const description *d = blob->context;
    return d->whole != NULL ? d->whole : blob;
}

void
sipy__received_by(record *r, si_block *blob)
{
    r->blob = whole_of(blob);
    si_block_hold(r->blob);
    r->home = ((const description *)blob->context)->life;
}

void
sipy__blob_lives(si_block *blob, sipy_life *life)
{
    if (life != NULL) {
        si_add_relaxed(&life->refs, 1);
        ((description *)blob->context)->life = life;
    }
}

/* ---- writing ---- */

/* What depends on its description being true, beside whoever has it. */
static bool
can_change(unsigned tag)
{
    return tag == TAG_FUNCTION || tag == TAG_DISPATCHER || tag == TAG_CACHED;
}

int
sipy__enc_by_id(sipy_encoder *e, PyObject *obj, unsigned tag, uint64_t id, si_block *blob)
{
    unsigned flag = 0;
    if (tag != TAG_CODE) {
        int known = sipy__enc_memo(e, obj, &flag);
        if (known != 0) {
            return known < 0 ? -1 : 0;
        }
    }
    if (enc_room(e, 32) < 0 || (e->building != NULL && can_change(tag) &&
                                sipy__deps_add_use(&e->building->deps, id) < 0)) {
        return -1;
    }
    e->pure = false;
    *e->p++ = (uint8_t)(tag | flag);
    memcpy(e->p, &id, 8);
    e->p += 8;
    if (blob == NULL) {
        *e->p++ = 0;
        return 0;
    }
    uint32_t number = e->image->hold_count;
    if (sipy__image_hold_blob(e->image, blob, tag) < 0) {
        return -1;
    }
    enc_varint(e, (uint64_t)number + 1);
    return 0;
}

/* ---- reading ---- */

int
sipy__dec_by_id(sipy_decoder *d, unsigned tag, uint64_t *id, si_block **blob)
{
    uint64_t number;
    *blob = NULL;
    if (d->pure || !dec_has(d, 9)) {
        sipy__damaged(d);
        return -1;
    }
    memcpy(id, d->p, 8);
    d->p += 8;
    if (dec_varint(d, &number) < 0 || number > d->hold_count ||
        (number > 0 && d->holds[number - 1].drop != dropper_of(tag))) {
        sipy__damaged(d);
        return -1;
    }
    if (number > 0) {
        *blob = d->holds[number - 1].ptr;
    }
    return 0;
}

/* The blob with that id among whole and what it holds, borrowed; NULL: none. */
static si_block *
find(si_block *whole, uint64_t id)
{
    const description *d = whole->context;
    if (d->id == id) {
        return whole;
    }
    for (uint32_t i = 0; i < d->image.hold_count; i++) {
        si_block *part = d->image.holds[i].ptr;
        if (d->image.holds[i].drop == drop_blob &&
            ((const description *)part->context)->id == id) {
            return part;
        }
    }
    return NULL;
}

static PyObject *
receive(sipy_functions *fs, sipy_transfer *t, si_block *blob)
{
    const description *d = blob->context;
    PyObject *obj = NULL;
    if (Py_EnterRecursiveCall(" while receiving a function or class")) {
        return NULL;
    }
    sipy__records_busy(fs);
    switch (d->tag) {
        case TAG_LOCAL_CLASS:
            obj = sipy__receive_class(t, d->id, blob);
            break;
        case TAG_TYPE_PARAM:
        case TAG_CACHED:
            obj = sipy__receive_made(t, d->id, blob, d->tag);
            break;
        default:
            obj = sipy__receive_function(t, d->id, blob, d->tag);
    }
    sipy__records_idle(fs);
    Py_LeaveRecursiveCall();
    return obj;
}

PyObject *
sipy__dec_described(sipy_decoder *d, unsigned tag)
{
    uint64_t id;
    si_block *blob;
    sipy_functions *fs = sipy__functions(d->t);
    if (fs == NULL || sipy__dec_by_id(d, tag, &id, &blob) < 0) {
        return NULL;
    }
    record *r = sipy__record_by_id(fs, id);
    if (r == NULL && blob == NULL) {
        /* Whoever wrote this could rely on it; here it has been forgotten since. */
        blob = d->whole == NULL ? NULL : find(d->whole, id);
    }
    else if (r == NULL && ((const description *)blob->context)->id != id) {
        /* A part of that blob: the whole comes first, as its parts refer to each other. */
        si_block *whole = blob;
        if (sipy__record_by_id(fs, ((const description *)whole->context)->id) == NULL) {
            PyObject *first = receive(fs, d->t, whole);
            if (first == NULL) {
                return NULL;
            }
            Py_DECREF(first);
            r = sipy__record_by_id(fs, id);
        }
        blob = find(whole, id);
    }
    PyObject *obj = r != NULL      ? Py_NewRef(r->obj)
                    : blob != NULL ? receive(fs, d->t, blob)
                                   : sipy__damaged(d);
    if (obj != NULL && tag == TAG_LOCAL_CLASS && !PyType_Check(obj)) {
        Py_CLEAR(obj);
        sipy__damaged(d);
    }
    return obj;
}

sipy_decoder *
sipy__blob_open(sipy_transfer *t, si_block *blob)
{
    const sipy_image *image = &((const description *)blob->context)->image;
    sipy_decoder *d =
        sipy__decoder_begin(t, image->data, image->len, image->holds, image->hold_count);
    if (d != NULL) {
        d->whole = whole_of(blob);
    }
    return d;
}
