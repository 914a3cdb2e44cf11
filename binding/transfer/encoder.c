/* encoder.c — the state of one encoding: buffer, memo, life. */
#include "binding/transfer/encoder.h"
#include "binding/transfer/functions.h"
#include "core/base/alloc.h"
#include "core/platform/pages.h"

#define FIRST_BUFFER ((size_t)1024)
#define MEMO_KEEP ((size_t)65536) /* a spare encoder keeps a memo up to this size */

int
sipy__enc_grow(sipy_encoder *e, size_t size)
{
    sipy_image *image = e->image;
    size_t used = e->p == NULL ? image->prefix : enc_offset(e);
    if (size > SIZE_MAX / 4 - used) {
        PyErr_NoMemory();
        return -1;
    }
    size_t cap = image->cap < FIRST_BUFFER ? FIRST_BUFFER : image->cap;
    while (cap < used + size + 16) {
        cap += cap / 2;
    }
    uint8_t *data = si_realloc(image->data, cap);
    if (data == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    si_pages_expect(data, cap);
    image->data = data;
    image->cap = cap;
    e->p = data + used;
    e->end = data + cap;
    return 0;
}

/* ---- memo ---- */

static inline size_t
memo_hash(PyObject *obj)
{
    return (size_t)(((uint64_t)(uintptr_t)obj * UINT64_C(0x9E3779B97F4A7C15)) >> 20);
}

/* How many objects a table of that size takes: a large one is filled more densely, as
 * its memory comes on top of the image's. */
static uint32_t
memo_limit(size_t size)
{
    size_t limit = size <= MEMO_KEEP ? size / 2 : size / 4 * 3;
    return limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX;
}

static int
memo_grow(sipy_encoder *e)
{
    size_t size = (e->memo_mask + 1) * (e->memo_mask < MEMO_KEEP / 4 ? 4 : 2);
    enc_slot *slots = si_calloc(size * sizeof(enc_slot));
    if (slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (uint32_t i = 0; i < e->memo_count; i++) {
        if (e->numbered[i] == NULL) {
            continue;
        }
        size_t at = memo_hash(e->numbered[i]) & (size - 1);
        while (slots[at].round != 0) {
            at = (at + 1) & (size - 1);
        }
        slots[at].key = e->numbered[i];
        slots[at].number = i;
        slots[at].round = 1;
    }
    si_free(e->memo);
    e->memo = slots;
    e->memo_mask = size - 1;
    e->memo_limit = memo_limit(size);
    e->round = 1;
    return 0;
}

int
sipy__enc_number(sipy_encoder *e, PyObject *obj, uint32_t *number)
{
    size_t at = memo_hash(obj) & e->memo_mask;
    while (e->memo[at].round == e->round) {
        if (e->memo[at].key == obj) {
            *number = e->memo[at].number;
            return 1;
        }
        at = (at + 1) & e->memo_mask;
    }
    if (SI_UNLIKELY(e->memo_count == e->numbered_cap)) {
        if (e->numbered_cap > UINT32_MAX / 2) {
            PyErr_NoMemory();
            return -1;
        }
        uint32_t cap = e->numbered_cap * 2;
        PyObject **numbered = si_realloc(e->numbered, cap * sizeof(PyObject *));
        if (numbered == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        e->numbered = numbered;
        e->numbered_cap = cap;
    }
    e->memo[at].key = obj;
    e->memo[at].number = e->memo_count;
    e->memo[at].round = e->round;
    e->numbered[e->memo_count] = obj;
    *number = e->memo_count++;
    if (e->holding) {
        Py_INCREF(obj);
    }
    if (SI_UNLIKELY(e->memo_count >= e->memo_limit)) {
        return memo_grow(e);
    }
    return 0;
}

/* Where obj, which has a number, is in the table. */
static size_t
memo_slot(const sipy_encoder *e, PyObject *obj)
{
    size_t at = memo_hash(obj) & e->memo_mask;
    while (e->memo[at].key != obj || e->memo[at].round != e->round) {
        at = (at + 1) & e->memo_mask;
    }
    return at;
}

/* Frees the slot at `at`, and those before it that were waiting for that: a slot that
 * another one may have been passed over for stays taken. -> whether it is free */
static bool
vacate(sipy_encoder *e, size_t at)
{
    e->memo[at].key = NULL;
    if (e->memo[(at + 1) & e->memo_mask].round == e->round) {
        return false;
    }
    while (e->memo[at].round == e->round && e->memo[at].key == NULL) {
        e->memo[at].round = 0;
        at = (at - 1) & e->memo_mask;
    }
    return true;
}

void
sipy__enc_forget_numbers(sipy_encoder *e, uint32_t keep)
{
    while (e->memo_count > keep) {
        PyObject *obj = e->numbered[--e->memo_count];
        if (obj == NULL || !vacate(e, memo_slot(e, obj))) {
            e->memo_limit -= e->memo_limit > 0; /* its slot may be taken still */
        }
        if (obj != NULL && e->holding) {
            Py_DECREF(obj);
        }
    }
    e->settled = e->settled < keep ? e->settled : keep;
}

/* Nobody finds the object of that number any more. */
static void
take_back(sipy_encoder *e, uint32_t number)
{
    PyObject *obj = e->numbered[number];
    (void)vacate(e, memo_slot(e, obj));
    e->numbered[number] = NULL;
    if (e->holding) {
        Py_DECREF(obj);
    }
}

/* Whether obj is written anew as easily as it is referred to: by its value, by reference,
 * or by an id. Runs destructors. */
static bool
is_easy(sipy_encoder *e, PyObject *obj)
{
    return PyUnicode_Check(obj) || PyBytes_Check(obj) || PyType_Check(obj) ||
           PyFunction_Check(obj) || PyCFunction_Check(obj) || PyCode_Check(obj) ||
           PyModule_Check(obj) ||
           (e->t->functions != NULL && sipy__record_of(e->t->functions, obj) != NULL);
}

void
sipy__enc_settle(sipy_encoder *e)
{
    for (; e->settled < e->memo_count; e->settled++) {
        PyObject *obj = e->numbered[e->settled];
        if (obj != NULL && is_easy(e, obj)) {
            take_back(e, e->settled);
        }
    }
}

bool
sipy__enc_find(sipy_encoder *e, PyObject *obj, uint32_t *number)
{
    size_t at = memo_hash(obj) & e->memo_mask;
    while (e->memo[at].round == e->round) {
        if (e->memo[at].key == obj) {
            *number = e->memo[at].number;
            return true;
        }
        at = (at + 1) & e->memo_mask;
    }
    return false;
}

int
sipy__enc_memo_shared(sipy_encoder *e, PyObject *obj, unsigned *flag)
{
    uint32_t number;
    int known = sipy__enc_number(e, obj, &number);
    if (known == 0) {
        *flag = TAG_MEMO;
        return 0;
    }
    if (known > 0 && enc_tag(e, TAG_REF, number) < 0) {
        return -1;
    }
    return known;
}

int
sipy__enc_ref_if_known(sipy_encoder *e, PyObject *obj)
{
    uint32_t number;
    if (!sipy__enc_find(e, obj, &number)) {
        return 0;
    }
    return enc_tag(e, TAG_REF, number) < 0 ? -1 : 1;
}

int
sipy__enc_memo_late(sipy_encoder *e, PyObject *obj, bool *memo)
{
    *memo = !enc_is_lone(e, obj);
    return *memo ? sipy__enc_ref_if_known(e, obj) : 0;
}

/* ---- life of an encoder ---- */

static sipy_encoder *
encoder_new(void)
{
    sipy_encoder *e = si_calloc(sizeof(sipy_encoder));
    if (e == NULL) {
        return NULL;
    }
    e->memo = si_calloc(ENC_MEMO_MIN * sizeof(enc_slot));
    e->memo_mask = ENC_MEMO_MIN - 1;
    e->memo_limit = memo_limit(ENC_MEMO_MIN);
    e->numbered_cap = ENC_MEMO_MIN;
    e->numbered = si_alloc(ENC_MEMO_MIN * sizeof(PyObject *));
    e->frames = e->first_frames;
    e->frame_cap = ENC_FRAMES;
    if (e->memo == NULL || e->numbered == NULL) {
        sipy__encoder_free(e);
        return NULL;
    }
    return e;
}

void
sipy__encoder_free(sipy_encoder *e)
{
    if (e == NULL) {
        return;
    }
    si_free(e->memo);
    si_free(e->numbered);
    si_free(e->shapes);
    if (e->frames != e->first_frames) {
        si_free(e->frames);
    }
    si_free(e);
}

sipy_encoder *
sipy__encoder_begin(sipy_transfer *t, sipy_image *image, unsigned flags)
{
    sipy_encoder *e = t->spare_encoder;
    t->spare_encoder = NULL;
    if (e == NULL) {
        e = encoder_new();
        if (e == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
    }
    if (++e->round == 0) {
        memset(e->memo, 0, (e->memo_mask + 1) * sizeof(enc_slot));
        e->round = 1;
    }
    e->t = t;
    e->image = image;
    e->flags = flags;
    e->pure = true;
    e->holding = false;
    e->memo_count = 0;
    e->reducing = 0;
    e->trying = 0;
    e->inside = 0;
    e->told = 0;
    e->settled = 0;
    e->quiet = false;
    e->late = 0;
    e->depth = 0;
    e->shape_count = 0;
    e->culprit = NULL;
    e->guarded = NULL;
    e->root = NULL;
    e->calling = false;
    e->in_function = false;
    e->building = NULL;
    e->scope = ++t->encodings;
    if (image->data == NULL) {
        e->p = e->end = NULL;
    }
    else {
        e->p = image->data + image->prefix;
        e->end = image->data + image->cap;
    }
    if ((image->data == NULL || image->cap < image->prefix + 16) &&
        sipy__enc_grow(e, 16) < 0) {
        sipy__encoder_end(e, false);
        return NULL;
    }
    *e->p++ = FORMAT_MAGIC;
    *e->p++ = 0;
    return e;
}

/* Gives back what a large value has grown; the spare encoder stays small. */
static void
trim(sipy_encoder *e)
{
    if (e->memo_mask >= MEMO_KEEP) {
        enc_slot *slots = si_calloc(ENC_MEMO_MIN * sizeof(enc_slot));
        if (slots != NULL) {
            si_free(e->memo);
            e->memo = slots;
            e->memo_mask = ENC_MEMO_MIN - 1;
            e->memo_limit = memo_limit(ENC_MEMO_MIN);
            e->round = 0;
        }
    }
    if (e->numbered_cap > MEMO_KEEP) {
        PyObject **less = si_realloc(e->numbered, ENC_MEMO_MIN * sizeof(PyObject *));
        if (less != NULL) {
            e->numbered = less;
            e->numbered_cap = ENC_MEMO_MIN;
        }
    }
    if (e->frames != e->first_frames) {
        si_free(e->frames);
        e->frames = e->first_frames;
        e->frame_cap = ENC_FRAMES;
    }
}

void
sipy__encoder_end(sipy_encoder *e, bool ok)
{
    sipy_transfer *t = e->t;
    sipy_image *image = e->image;
    if (ok) {
        image->len = enc_offset(e);
        image->data[image->prefix + 1] |= e->pure ? FORMAT_PURE : 0;
    }
    if (SI_UNLIKELY(e->depth > 0 || e->holding || e->shape_count > 0 || !ok)) {
        PyObject *exc = PyErr_GetRaisedException();
        while (e->depth > 0) {
            sipy__enc_pop(e);
        }
        sipy__enc_drop_shapes(e, 0);
        if (e->holding) {
            for (uint32_t i = 0; i < e->memo_count; i++) {
                Py_XDECREF(e->numbered[i]);
            }
        }
        e->memo_limit = memo_limit(e->memo_mask + 1);
        if (!ok) {
            sipy_image_reset(image);
        }
        Py_CLEAR(e->root);
        Py_CLEAR(e->culprit);
        PyErr_SetRaisedException(exc);
    }
    e->p = e->end = NULL;
    if (t->spare_encoder == NULL && !t->cleared) {
        trim(e);
        t->spare_encoder = e;
    }
    else {
        sipy__encoder_free(e);
    }
}
