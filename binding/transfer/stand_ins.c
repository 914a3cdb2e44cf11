/* stand_ins.c — parts of an exception in whose place something else may come.
 *
 * What it is   A TAG_TRY around a value says how long it is and how many values are
 *              numbered after it. If the value cannot be written, the writer goes back to
 *              where it began: a TAG_STAND_IN says why. If it cannot be built, the reader
 *              goes on behind it. Either way the reader puts a stand-in in its place.
 * Numbers      What was numbered inside a value that is given up is forgotten by the
 *              writer; for the reader, that which it has not built is the stand-in, too.
 *              Str, classes and the like that are numbered inside, and shapes that are
 *              defined there, count there only: others must not depend on them.
 * What passes  MemoryError, what is no Exception (KeyboardInterrupt), and damage.
 */
#include "binding/transfer/decoder.h"
#include "binding/transfer/encoder.h"
#include "binding/transfer/scalars.h"

#define TRY_HEAD 12 /* length, count */
#define NO_EXCEPTION "what it makes of itself is '%.200s', no exception"

bool
sipy__is_answerable(void)
{
    return PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception) &&
           !PyErr_ExceptionMatches(PyExc_MemoryError);
}

/* ---- writing ---- */

static int
write_told(sipy_encoder *e, PyObject *obj)
{
    if (!PyExceptionInstance_Check(obj)) {
        return enc_bare(e, TAG_NONE);
    }
    PyObject *told = sipy__tell(e, obj);
    if (told == NULL || enc_tag(e, TAG_TUPLE, (uint64_t)PyTuple_GET_SIZE(told)) < 0) {
        Py_XDECREF(told);
        return -1;
    }
    int failed = 0;
    for (Py_ssize_t i = 0; !failed && i < PyTuple_GET_SIZE(told); i++) {
        failed = write_str(e, PyTuple_GET_ITEM(told, i)) < 0;
    }
    Py_DECREF(told);
    return failed ? -1 : 0;
}

int
sipy__enc_try(sipy_encoder *e, PyObject *obj, bool link)
{
    size_t at = enc_offset(e);
    uint8_t head[TRY_HEAD] = {0};
    if (enc_room(e, 1 + TRY_HEAD) < 0) {
        return -1;
    }
    *e->p++ = TAG_TRY;
    memcpy(e->p, head, TRY_HEAD);
    e->p += TRY_HEAD;
    uint32_t shapes = e->shape_count;
    if (e->trying == 0) {
        e->settled = e->memo_count;
    }
    sipy__enc_settle(e);
    size_t told = e->told;
    if (write_told(e, obj) < 0) {
        return -1;
    }
    enc_frame *f = sipy__enc_push(e, ENC_TRY, obj, false);
    if (f == NULL) {
        return -1;
    }
    f->at = at;
    f->pos = (Py_ssize_t)enc_offset(e);
    f->numbered = e->memo_count;
    f->shape_number = shapes;
    f->size = link || !PyExceptionInstance_Check(obj) ? 0 : 1;
    if (f->size > 0 && e->told - told > TELL_LONG) {
        f->size = TELL_INSIDE + 1;
    }
    e->trying++;
    e->inside += (uint32_t)f->size;
    return 0;
}

int
sipy__enc_go_try(sipy_encoder *e, enc_frame *f)
{
    uint8_t *head = e->image->data + f->at + 1;
    uint64_t length = enc_offset(e) - f->at - 1 - TRY_HEAD;
    memcpy(head, &length, 8);
    memcpy(head + 8, &e->memo_count, 4);
    sipy__enc_drop_shapes(e, f->shape_number);
    sipy__enc_settle(e);
    e->trying--;
    e->inside -= (uint32_t)f->size;
    return 0;
}

/* Takes the frame on top off before it is complete. */
static void
give_up(sipy_encoder *e)
{
    const enc_frame *f = &e->frames[e->depth - 1];
    bool reducing =
        (f->kind == ENC_PARTS && f->label == LABEL_REDUCE) || f->kind == ENC_ERROR;
    e->late -= f->memo;
    e->reducing -= reducing && f->due >= 0;
    if (f->kind == ENC_TRY) {
        e->trying--;
        e->inside -= (uint32_t)f->size;
    }
    sipy__enc_pop(e);
}

/* The exception that is set, told with the way to what failed. -> new str | NULL */
static PyObject *
take_reason(sipy_encoder *e)
{
    sipy__blame(e);
    Py_CLEAR(e->culprit);
    if (!sipy__is_answerable()) {
        return NULL;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *reason = PyObject_Str(exc);
    Py_DECREF(exc);
    if (reason != NULL && !PyUnicode_CheckExact(reason)) {
        Py_SETREF(reason, PyUnicode_FromObject(reason));
    }
    return reason;
}

static uint32_t *
open_bucket(sipy_encoder *e, const PyObject *obj)
{
    uint64_t hash = (uint64_t)(uintptr_t)obj * UINT64_C(0x9E3779B97F4A7C15);
    return &e->open[hash >> 32 & (ENC_OPEN_TABLE - 1)];
}

bool
sipy__enc_is_open(sipy_encoder *e, PyObject *obj)
{
    if (e->reducing == 0) {
        return false;
    }
    for (; e->indexed < e->depth; e->indexed++) {
        enc_frame *f = &e->frames[e->indexed];
        if (f->subject != NULL) {
            uint32_t *bucket = open_bucket(e, f->subject);
            f->before = *bucket;
            *bucket = (uint32_t)e->indexed + 1;
        }
    }
    uint32_t place = *open_bucket(e, obj);
    while (place > 0 && e->frames[place - 1].subject != obj) {
        place = e->frames[place - 1].before;
    }
    return place > 0;
}

void
sipy__enc_unindex(sipy_encoder *e, const enc_frame *f)
{
    e->indexed--;
    if (f->subject != NULL) {
        *open_bucket(e, f->subject) = f->before;
    }
}

int
sipy__enc_recover(sipy_encoder *e, size_t base)
{
    size_t depth = e->trying > 0 && sipy__is_answerable() ? e->depth : base;
    while (depth > base &&
           (e->frames[depth - 1].kind != ENC_TRY || e->frames[depth - 1].i > 0)) {
        depth--;
    }
    if (depth == base) {
        return -1;
    }
    PyObject *reason = take_reason(e);
    if (reason == NULL) {
        return -1;
    }
    while (e->depth > depth) {
        give_up(e);
    }
    enc_frame *f = &e->frames[depth - 1];
    f->i = 1;
    e->p = e->image->data + f->pos;
    uint32_t shapes = f->shape_number;
    sipy__enc_forget_numbers(e, f->numbered);
    sipy__enc_drop_shapes(e, shapes);
    unsigned flag = 0;
    /* It may be a part of itself, and as a whole cross nevertheless. */
    int failed =
        (!sipy__enc_is_open(e, f->obj) && sipy__enc_memo_shared(e, f->obj, &flag) < 0) ||
        enc_bare(e, TAG_STAND_IN | flag) < 0 || write_str(e, reason) < 0;
    Py_DECREF(reason);
    return failed ? -1 : 0;
}

/* ---- reading ---- */

int
sipy__dec_try(sipy_decoder *d)
{
    uint64_t length;
    uint32_t numbered;
    if (!dec_has(d, TRY_HEAD)) {
        sipy__damaged(d);
        return -1;
    }
    memcpy(&length, d->p, 8);
    memcpy(&numbered, d->p + 8, 4);
    d->p += TRY_HEAD;
    if (!dec_has(d, length) || numbered < d->memo_count ||
        numbered - d->memo_count > length) {
        sipy__damaged(d);
        return -1;
    }
    dec_frame *f = sipy__dec_push(d, DEC_TRY);
    if (f == NULL) {
        return -1;
    }
    f->size = (Py_ssize_t)numbered;
    f->shape = d->shape_count;
    f->end = d->p + length;
    return 0;
}

static bool
is_told(PyObject *told)
{
    if (told == Py_None) {
        return true;
    }
    bool good = PyTuple_CheckExact(told) && PyTuple_GET_SIZE(told) >= 5;
    for (Py_ssize_t i = 0; good && i < PyTuple_GET_SIZE(told); i++) {
        good = PyUnicode_CheckExact(PyTuple_GET_ITEM(told, i));
    }
    return good;
}

int
sipy__dec_into_try(sipy_decoder *d, dec_frame *f, PyObject *v)
{
    if (f->key == NULL) {
        f->key = v;
        return is_told(v) ? 0 : (sipy__damaged(d), -1);
    }
    f->obj = v;
    if (d->p != f->end || (Py_ssize_t)d->memo_count != f->size) {
        sipy__damaged(d);
        return -1;
    }
    if (f->key != Py_None && !PyExceptionInstance_Check(v)) {
        PyErr_Format(PyExc_TypeError, NO_EXCEPTION, Py_TYPE(v)->tp_name);
        return -1;
    }
    Py_CLEAR(f->key);
    sipy__dec_drop_shapes(d, f->shape);
    return 1;
}

/* A stand-in for what that is told of. */
static PyObject *
make_stand_in(sipy_decoder *d, PyObject *told, PyObject *reason)
{
    const sipy_hooks *hooks = &d->t->hooks;
    if (hooks->stand_in != NULL) {
        return hooks->stand_in(hooks->owner, told, reason);
    }
    PyObject *type = hooks->not_shareable(hooks->owner);
    return type == NULL ? NULL : PyObject_CallOneArg(type, reason);
}

PyObject *
sipy__dec_stand_in(sipy_decoder *d)
{
    const dec_frame *f = d->depth == 0 ? NULL : &d->frames[d->depth - 1];
    if (d->pure || f == NULL || f->kind != DEC_TRY || f->key == NULL) {
        return sipy__damaged(d);
    }
    PyObject *reason = sipy__dec_text(d);
    PyObject *stand_in = reason == NULL ? NULL : make_stand_in(d, f->key, reason);
    Py_XDECREF(reason);
    return stand_in;
}

PyObject *
sipy__dec_no_exception(sipy_decoder *d, PyObject *v)
{
    PyObject *reason = PyUnicode_FromFormat(NO_EXCEPTION, Py_TYPE(v)->tp_name);
    PyObject *stand_in = reason == NULL ? NULL : make_stand_in(d, Py_None, reason);
    Py_XDECREF(reason);
    return stand_in;
}

/* Takes the frames above `depth` off. What one of them was building and has a number is
 * the stand-in from now on. */
static void
give_up_reading(sipy_decoder *d, size_t depth, PyObject *stand_in)
{
    while (d->depth > depth) {
        PyObject *obj = d->frames[d->depth - 1].obj;
        for (uint32_t i = d->memo_count; obj != NULL && i > 0; i--) {
            if (d->memo[i - 1] == obj) {
                Py_SETREF(d->memo[i - 1], Py_NewRef(stand_in));
                break;
            }
        }
        sipy__dec_abandon(d);
    }
}

/* -> 0 with *out and the frame at depth - 1 taken off | -1 */
static int
replace(sipy_decoder *d, size_t depth, PyObject *reason, PyObject **out)
{
    PyObject *stand_in = make_stand_in(d, d->frames[depth - 1].key, reason);
    if (stand_in == NULL) {
        return -1;
    }
    give_up_reading(d, depth, stand_in);
    dec_frame *f = &d->frames[depth - 1];
    d->replaced = true;
    d->p = f->end;
    while ((Py_ssize_t)d->memo_count < f->size) {
        if (sipy__dec_memo(d, stand_in) < 0) {
            Py_DECREF(stand_in);
            return -1;
        }
    }
    if ((Py_ssize_t)d->memo_count != f->size) {
        Py_DECREF(stand_in);
        sipy__damaged(d);
        return -1;
    }
    sipy__dec_drop_shapes(d, f->shape);
    sipy__dec_abandon(d);
    *out = stand_in;
    return 0;
}

/* Whether exc is a NotShareableError, which says by itself what it is about. */
static bool
is_not_shareable(const sipy_decoder *d, PyObject *exc)
{
    PyObject *type = d->t->hooks.not_shareable(d->t->hooks.owner);
    PyErr_Clear();
    return (PyObject *)Py_TYPE(exc) == type;
}

int
sipy__dec_recover(sipy_decoder *d, size_t base, PyObject **out)
{
    size_t depth = !d->damaged && sipy__is_answerable() ? d->depth : base;
    while (depth > base && d->frames[depth - 1].kind != DEC_TRY) {
        depth--;
    }
    if (depth == base || d->frames[depth - 1].key == NULL) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *reason = PyObject_Str(exc);
    if (reason == NULL) {
        PyErr_Clear();
        reason = PyUnicode_FromString("<unprintable>");
    }
    if (reason != NULL && !is_not_shareable(d, exc)) {
        Py_SETREF(reason, PyUnicode_FromFormat("%s: %U", Py_TYPE(exc)->tp_name, reason));
    }
    Py_DECREF(exc);
    int result = reason == NULL ? -1 : replace(d, depth, reason, out);
    Py_XDECREF(reason);
    return result < 0 ? -1 : 1;
}
