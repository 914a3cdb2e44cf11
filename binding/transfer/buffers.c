/* buffers.c — large memory: in place, or copied once into a block that is adopted.
 *
 * memoryview    crosses in place. The sender's buffer stays exported until the last
 *               view of it, in whatever interpreter, is gone; then it is released at
 *               home, whoever runs there.
 * PickleBuffer  (NumPy and other types that reduce to one) is copied into a block; the
 *               receiver's object uses the block itself.
 * Shapes and strides are never read from the image: they stay beside the memory that
 * they describe, where nothing can damage them.
 */
#include "binding/transfer/decoder.h"
#include "binding/transfer/encoder.h"
#include "core/base/alloc.h"

/* A buffer that its owner has exported to others. */
typedef struct sipy_export {
    Py_buffer view;
    int64_t interp_id;
    bool (*run_at_home)(int64_t interp_id, void (*fn)(void *arg), void *arg);
} sipy_export;

/* The object behind a received view: exports a block in its own interpreter. */
typedef struct exporter {
    PyObject_HEAD
    si_block *block;
    const Py_buffer *like; /* in the block's context; NULL: plain bytes */
    bool readonly;
} exporter;

static void
drop_view(void *ptr)
{
    si_block_drop(ptr);
}

static int
exporter_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    exporter *x = (exporter *)self;
    if (x->like == NULL) {
        return PyBuffer_FillInfo(view, self, x->block->data, (Py_ssize_t)x->block->size,
                                 x->readonly, flags);
    }
    if ((flags & PyBUF_WRITABLE) && x->readonly) {
        PyErr_SetString(PyExc_BufferError, "this memory is read-only");
        return -1;
    }
    if ((flags & PyBUF_STRIDES) != PyBUF_STRIDES && !PyBuffer_IsContiguous(x->like, 'C')) {
        PyErr_SetString(PyExc_BufferError, "this memory is not contiguous");
        return -1;
    }
    *view = *x->like;
    view->obj = Py_NewRef(self);
    view->internal = NULL;
    if (!(flags & PyBUF_FORMAT)) {
        view->format = NULL;
    }
    return 0;
}

static void
exporter_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    si_block_drop(((exporter *)self)->block);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot exporter_slots[] = {
    {Py_bf_getbuffer, exporter_getbuffer},
    {Py_tp_dealloc, exporter_dealloc},
    {Py_tp_doc, "Memory that came from another interpreter."},
    {0, NULL},
};

static PyType_Spec exporter_spec = {
    .name = "subinterpreters._core.Memory",
    .basicsize = sizeof(exporter),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = exporter_slots,
};

/* A memoryview over a block, of which it takes a reference of its own. */
static PyObject *
view_of(sipy_transfer *t, si_block *block, const Py_buffer *like, bool readonly)
{
    if (t->o_exporter_type == NULL) {
        t->o_exporter_type = PyType_FromSpec(&exporter_spec);
        if (t->o_exporter_type == NULL) {
            return NULL;
        }
    }
    PyTypeObject *type = (PyTypeObject *)t->o_exporter_type;
    exporter *x = (exporter *)type->tp_alloc(type, 0);
    if (x == NULL) {
        return NULL;
    }
    si_block_hold(block);
    x->block = block;
    x->like = like;
    x->readonly = readonly;
    PyObject *view = PyMemoryView_FromObject((PyObject *)x);
    Py_DECREF(x);
    return view;
}

/* ---- memoryview: in place ---- */

static void
release_at_home(void *arg)
{
    sipy_export *export = arg;
    PyBuffer_Release(&export->view);
    si_free(export);
}

static void
release_export(si_block *block, void *context)
{
    sipy_export *export = context;
    PyThreadState *ts = sipy_compat_current();
    if (ts != NULL &&
        PyInterpreterState_GetID(PyThreadState_GetInterpreter(ts)) == export->interp_id) {
        release_at_home(export);
        return;
    }
    if (export->run_at_home == NULL ||
        !export->run_at_home(export->interp_id, release_at_home, export)) {
        /* Its interpreter is gone, and its object with it. */
        si_free(export);
    }
}

bool
sipy__format_has_objects(const char *format)
{
    while (format != NULL && *format != '\0') {
        if (*format == 'O') {
            return true;
        }
        const char *rest = *format == ':' ? strchr(format + 1, ':') : format; /* a name */
        format = rest == NULL ? NULL : rest + 1;
    }
    return false;
}

/* obj's buffer, exported until the block that will hold it is gone. */
static sipy_export *
export_buffer(sipy_transfer *t, PyObject *obj, int flags)
{
    sipy_export *export = si_calloc(sizeof(*export));
    if (export == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (PyObject_GetBuffer(obj, &export->view, flags) < 0) {
        si_free(export);
        return NULL;
    }
    export->interp_id = t->hooks.interp_id;
    export->run_at_home = t->hooks.run_at_home;
    if (sipy__format_has_objects(export->view.format)) {
        release_at_home(export);
        PyErr_SetString(PyExc_TypeError, "this memory holds references to objects");
        return NULL;
    }
    return export;
}

/* Takes export over, also on failure. */
static si_block *
wrap_export(sipy_export *export, void *data, size_t size)
{
    si_block *block = si_block_wrap(data, size, release_export, export);
    if (block == NULL) {
        release_at_home(export);
        PyErr_NoMemory();
    }
    return block;
}

PyObject *
sipy__span_of(sipy_transfer *t, PyObject *obj, int flags, const Py_buffer **view,
              Py_ssize_t *offset)
{
    sipy_export *export = export_buffer(t, obj, flags);
    if (export == NULL) {
        return NULL;
    }
    const Py_buffer *b = &export->view;
    Py_ssize_t below = 0, above = b->len > 0 ? b->itemsize : 0;
    for (int i = 0; b->len > 0 && i < b->ndim; i++) {
        Py_ssize_t reach = (b->shape[i] - 1) * b->strides[i];
        *(reach < 0 ? &below : &above) += reach;
    }
    *view = b;
    *offset = -below;
    si_block *block = wrap_export(export, (char *)b->buf + below, (size_t)(above - below));
    if (block == NULL) {
        return NULL;
    }
    PyObject *span = view_of(t, block, NULL, b->readonly != 0);
    si_block_drop(block);
    return span;
}

int
sipy__enc_memoryview(sipy_encoder *e, PyObject *obj)
{
    unsigned flag;
    int known = sipy__enc_memo(e, obj, &flag);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    sipy__enc_hold(e);
    sipy_export *export = export_buffer(e->t, obj, PyBUF_FULL_RO);
    if (export == NULL) {
        return -1;
    }
    si_block *block = wrap_export(export, export->view.buf, (size_t)export->view.len);
    if (block == NULL) {
        return -1;
    }
    uint32_t number = e->image->hold_count;
    if (sipy_image_hold(e->image, block, drop_view) < 0) {
        si_block_drop(block);
        return -1;
    }
    return enc_tag(e, TAG_BUFFER | flag, number);
}

PyObject *
sipy__dec_memoryview(sipy_decoder *d)
{
    uint64_t number;
    if (d->pure || dec_varint(d, &number) < 0 || number >= d->hold_count ||
        d->holds[number].drop != drop_view) {
        return sipy__damaged(d);
    }
    si_block *block = d->holds[number].ptr;
    const sipy_export *export = block->context;
    return view_of(d->t, block, &export->view, export->view.readonly != 0);
}

/* ---- bytearray, PickleBuffer, array.array: copied ---- */

static void
release_buffer(si_block *block, void *context)
{
    PyBuffer_Release(context);
    si_free(context);
}

/* The memory of a mutable object, in place while the sender waits: nobody can resize it
 * meanwhile. */
static si_block *
pin_buffer(PyObject *obj)
{
    Py_buffer *view = si_alloc(sizeof(*view));
    if (view == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (PyObject_GetBuffer(obj, view, PyBUF_SIMPLE) < 0) {
        si_free(view);
        return NULL;
    }
    si_block *block = si_block_wrap(view->buf, (size_t)view->len, release_buffer, view);
    if (block == NULL) {
        PyBuffer_Release(view);
        si_free(view);
        PyErr_NoMemory();
    }
    return block;
}

/* The bytes of obj in a block: pinned if the sender waits, else copied. */
static int
hold_buffer(sipy_encoder *e, PyObject *obj, const void *data, size_t size)
{
    si_block *block =
        e->flags & SIPY_SYNC ? pin_buffer(obj) : sipy__copy_to_block(data, size);
    if (block == NULL) {
        return -1;
    }
    return sipy__enc_hold_block(e, block);
}

int
sipy__enc_bytearray(sipy_encoder *e, PyObject *obj)
{
    unsigned flag;
    int known = sipy__enc_memo(e, obj, &flag);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    size_t size = (size_t)PyByteArray_GET_SIZE(obj);
    if (size < SIPY_HELD_MIN) {
        if (enc_tag(e, TAG_BYTEARRAY | flag, size) < 0 || enc_room(e, size) < 0) {
            return -1;
        }
        memcpy(e->p, PyByteArray_AS_STRING(obj), size);
        e->p += size;
        return 0;
    }
    uint32_t number = e->image->hold_count;
    if (hold_buffer(e, obj, PyByteArray_AS_STRING(obj), size) < 0 ||
        enc_tag(e, TAG_HELD_BYTEARRAY | flag, number) < 0 || enc_room(e, 16) < 0) {
        return -1;
    }
    enc_varint(e, size);
    return 0;
}

int
sipy__enc_pickle_buffer(sipy_encoder *e, PyObject *obj)
{
    unsigned flag;
    int known = sipy__enc_memo(e, obj, &flag);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    const Py_buffer *view = PyPickleBuffer_GetBuffer(obj);
    if (view == NULL) {
        return -1;
    }
    if (!PyBuffer_IsContiguous(view, 'A')) {
        PyErr_SetString(PyExc_BufferError, "PickleBuffer over memory with gaps");
        return -1;
    }
    size_t size = (size_t)view->len;
    if (size < SIPY_HELD_MIN) {
        unsigned tag = view->readonly ? TAG_BYTES : TAG_BYTEARRAY;
        if (enc_tag(e, tag | flag, size) < 0 || enc_room(e, size) < 0) {
            return -1;
        }
        memcpy(e->p, view->buf, size);
        e->p += size;
        return 0;
    }
    si_block *block = sipy__copy_to_block(view->buf, size);
    uint32_t number = e->image->hold_count;
    if (block == NULL || sipy__enc_hold_block(e, block) < 0 ||
        enc_tag(e, TAG_PICKLE_BUFFER | flag, number) < 0 || enc_room(e, 16) < 0) {
        return -1;
    }
    *e->p++ = view->readonly ? 1 : 0;
    return 0;
}

PyObject *
sipy__dec_pickle_buffer(sipy_decoder *d)
{
    uint64_t number;
    if (dec_varint(d, &number) < 0 || !dec_has(d, 1)) {
        return sipy__damaged(d);
    }
    bool readonly = *d->p++ != 0;
    si_block *block = sipy__dec_block(d, number);
    return block == NULL ? NULL : view_of(d->t, block, NULL, readonly);
}

bool
sipy__is_array(sipy_transfer *t, PyTypeObject *type)
{
    if (t->o_array_type != NULL) {
        return (PyObject *)type == t->o_array_type;
    }
    if (strcmp(type->tp_name, "array.array") != 0) {
        return false;
    }
    PyObject *module = PyImport_ImportModule("array");
    t->o_array_type = module == NULL ? NULL : sipy_compat_attr(module, "array");
    Py_XDECREF(module);
    if (t->o_array_type == NULL) {
        PyErr_Clear();
    }
    return (PyObject *)type == t->o_array_type;
}

int
sipy__enc_array(sipy_encoder *e, PyObject *obj)
{
    unsigned flag;
    int known = sipy__enc_memo(e, obj, &flag);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    PyObject *code = sipy_compat_attr(obj, "typecode");
    if (code == NULL || !PyUnicode_Check(code) || PyUnicode_GET_LENGTH(code) != 1) {
        Py_XDECREF(code);
        PyErr_SetString(PyExc_TypeError, "array without a typecode");
        return -1;
    }
    uint8_t typecode = (uint8_t)PyUnicode_READ_CHAR(code, 0);
    Py_DECREF(code);
    Py_buffer view;
    if (PyObject_GetBuffer(obj, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    e->pure = false;
    size_t size = (size_t)view.len;
    int failed = 0;
    if (enc_room(e, 16) < 0) {
        failed = -1;
    }
    else if (size < SIPY_HELD_MIN) {
        *e->p++ = (uint8_t)(TAG_ARRAY | flag);
        *e->p++ = typecode;
        enc_varint(e, 0);
        enc_varint(e, size);
        failed = enc_room(e, size);
        if (!failed) {
            memcpy(e->p, view.buf, size);
            e->p += size;
        }
    }
    else {
        uint32_t number = e->image->hold_count;
        *e->p++ = (uint8_t)(TAG_ARRAY | flag);
        *e->p++ = typecode;
        enc_varint(e, (uint64_t)number + 1);
        failed = hold_buffer(e, obj, view.buf, size);
    }
    PyBuffer_Release(&view);
    return failed;
}

PyObject *
sipy__dec_array(sipy_decoder *d)
{
    uint64_t held;
    Py_ssize_t size;
    sipy_transfer *t = d->t;
    if (d->pure || !dec_has(d, 1)) {
        return sipy__damaged(d);
    }
    char typecode[2] = {(char)*d->p++, 0};
    if (dec_varint(d, &held) < 0) {
        return sipy__damaged(d);
    }
    if (t->o_array_type == NULL) {
        PyObject *module = PyImport_ImportModule("array");
        t->o_array_type = module == NULL ? NULL : sipy_compat_attr(module, "array");
        Py_XDECREF(module);
        if (t->o_array_type == NULL) {
            return NULL;
        }
    }
    PyObject *bytes;
    if (held > 0) {
        si_block *block = sipy__dec_block(d, held - 1);
        bytes = block == NULL ? NULL : view_of(t, block, NULL, true);
    }
    else if (dec_size(d, 1, &size) < 0) {
        return sipy__damaged(d);
    }
    else {
        bytes = PyMemoryView_FromMemory((char *)d->p, size, PyBUF_READ);
        d->p += size;
    }
    PyObject *array =
        bytes == NULL ? NULL : PyObject_CallFunction(t->o_array_type, "s", typecode);
    PyObject *done = array == NULL ? NULL : sipy_compat_method(array, "frombytes", bytes);
    Py_XDECREF(bytes);
    if (done == NULL) {
        Py_CLEAR(array);
    }
    Py_XDECREF(done);
    return array;
}
