/* records.c — what is known about functions and classes that crossed by value. */
#include "binding/transfer/functions.h"
#include "core/base/alloc.h"

/* Ids are never used twice in the process, by whatever interpreter. */
static si_atomic_u64 last_id;

uint64_t
sipy__new_id(void)
{
    return si_add_relaxed(&last_id, 1) + 1;
}

sipy_functions *
sipy__functions(sipy_transfer *t)
{
    if (t->functions == NULL) {
        if (t->cleared) {
            PyErr_SetString(PyExc_RuntimeError, "the interpreter is being closed");
            return NULL;
        }
        sipy_functions *fs = si_calloc(sizeof(*fs));
        if (fs == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        fs->namespaces = PyDict_New();
        fs->bindings = PyDict_New();
        if (fs->namespaces == NULL || fs->bindings == NULL) {
            Py_XDECREF(fs->namespaces);
            Py_XDECREF(fs->bindings);
            si_free(fs);
            return NULL;
        }
        t->functions = fs;
    }
    return t->functions;
}

/* ---- dependencies ---- */

static dep *
deps_next(deps *list)
{
    if (list->count == list->cap) {
        size_t cap = list->cap * 2 + 8;
        dep *more = si_realloc(list->list, cap * sizeof(dep));
        if (more == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        list->list = more;
        list->cap = cap;
    }
    return &list->list[list->count];
}

int
sipy__deps_add(deps *list, dep_kind kind, PyObject *self, PyObject *where, PyObject *name,
               PyObject *value)
{
    dep *d = deps_next(list);
    if (d == NULL) {
        return -1;
    }
    /* A function must not keep itself alive through its own record. */
    d->kind = kind;
    d->own_where = where != self;
    d->own_value = value != NULL && value != self;
    d->where = d->own_where ? Py_NewRef(where) : where;
    d->name = Py_XNewRef(name);
    d->value = d->own_value ? Py_NewRef(value) : value;
    list->count++;
    return 0;
}

/* The dict that a DEP_ITEMS is about; NULL: nothing is in it. */
static PyObject *
items_of(PyObject *where)
{
    PyObject *dict =
        PyFunction_Check(where) ? ((PyFunctionObject *)where)->func_dict : where;
    return dict == NULL || PyDict_GET_SIZE(dict) == 0 ? NULL : dict;
}

int
sipy__deps_add_items(deps *list, PyObject *self, PyObject *where)
{
    PyObject *items = items_of(where);
    PyObject *copy = items == NULL ? NULL : PyDict_Copy(items);
    if (items != NULL && copy == NULL) {
        return -1;
    }
    int failed = sipy__deps_add(list, DEP_ITEMS, self, where, NULL, copy);
    Py_XDECREF(copy);
    return failed;
}

int
sipy__deps_merge(deps *into, const deps *from, PyObject *self)
{
    for (size_t i = 0; i < from->count; i++) {
        const dep *d = &from->list[i];
        if (sipy__deps_add(into, d->kind, self, d->where, d->name, d->value) < 0) {
            return -1;
        }
    }
    return 0;
}

void
sipy__deps_clear(deps *list)
{
    deps old = *list;
    memset(list, 0, sizeof(*list));
    for (size_t i = 0; i < old.count; i++) {
        if (old.list[i].own_where) {
            Py_DECREF(old.list[i].where);
        }
        if (old.list[i].own_value) {
            Py_DECREF(old.list[i].value);
        }
        Py_XDECREF(old.list[i].name);
    }
    si_free(old.list);
}

/* Whether a dict has the same keys and values in the same order. */
static bool
same_items(PyObject *now, PyObject *then)
{
    PyObject *key, *value, *old_key, *old_value;
    Py_ssize_t pos = 0, old_pos = 0;
    if (now == NULL || then == NULL || PyDict_GET_SIZE(now) != PyDict_GET_SIZE(then)) {
        return now == then;
    }
    while (PyDict_Next(now, &pos, &key, &value) &&
           PyDict_Next(then, &old_pos, &old_key, &old_value)) {
        if (key != old_key || value != old_value) {
            return false;
        }
    }
    return true;
}

static PyObject *
value_now(const dep *d)
{
    PyFunctionObject *func = (PyFunctionObject *)d->where;
    switch (d->kind) {
        case DEP_CODE:
            return func->func_code;
        case DEP_DEFAULTS:
            return func->func_defaults;
        case DEP_KWDEFAULTS:
            return func->func_kwdefaults;
        case DEP_CELL:
            return PyCell_GET(d->where);
        case DEP_ITEMS:
            return same_items(items_of(d->where), d->value) ? d->value : Py_None;
        default:
            return PyDict_GetItemWithError(d->where, d->name);
    }
}

bool
sipy__record_valid(record *r)
{
    for (size_t i = 0; i < r->deps.count; i++) {
        if (value_now(&r->deps.list[i]) != r->deps.list[i].value) {
            return false;
        }
    }
    return !PyErr_Occurred();
}

/* ---- the table ---- */

static size_t
bucket_of_obj(PyObject *obj)
{
    uintptr_t hash = (uintptr_t)obj >> 4;
    return (hash ^ hash >> 9) & (RECORD_BUCKETS - 1);
}

static bool
is_alive(const record *r)
{
    if (r->weak == NULL) {
        return true;
    }
    PyObject *obj = sipy_compat_weakref_get(r->weak);
    Py_XDECREF(obj);
    return obj == r->obj;
}

record *
sipy__record_of(sipy_functions *fs, PyObject *obj)
{
    for (record *r = fs->by_obj[bucket_of_obj(obj)]; r != NULL; r = r->next_by_obj) {
        if (r->obj == obj) {
            if (is_alive(r)) {
                r->used = ++fs->clock;
                return r;
            }
            sipy__record_end(fs, r);
            return NULL;
        }
    }
    return NULL;
}

record *
sipy__record_by_id(sipy_functions *fs, uint64_t id)
{
    record *r = fs->by_id[id & (RECORD_BUCKETS - 1)];
    while (r != NULL && r->id != id) {
        r = r->next_by_id;
    }
    if (r == NULL || !is_alive(r)) {
        return NULL;
    }
    r->used = ++fs->clock;
    return r;
}

uint64_t
sipy__described_id(sipy_functions *fs, PyObject *obj)
{
    for (building *b = fs->building; b != NULL; b = b->outer) {
        if (b->obj == obj && b->id != 0) {
            return b->id;
        }
    }
    record *r = sipy__record_of(fs, obj);
    return r == NULL ? 0 : r->id;
}

static void
unlink_record(sipy_functions *fs, record *r)
{
    record **at = &fs->by_obj[bucket_of_obj(r->obj)];
    while (*at != r) {
        at = &(*at)->next_by_obj;
    }
    *at = r->next_by_obj;
    at = &fs->by_id[r->id & (RECORD_BUCKETS - 1)];
    while (*at != r) {
        at = &(*at)->next_by_id;
    }
    *at = r->next_by_id;
    if (r->kind != RECORD_CLASS) {
        fs->count--;
    }
}

static void
free_record(record *r)
{
    if (r->weak == NULL) {
        Py_DECREF(r->obj);
    }
    Py_XDECREF(r->weak);
    si_block_drop(r->blob);
    Py_XDECREF(r->names);
    sipy__deps_clear(&r->deps);
    si_free(r);
}

void
sipy__record_end(sipy_functions *fs, record *r)
{
    unlink_record(fs, r);
    free_record(r);
}

/* Of a chain of unlinked ones. */
static void
free_records(record *gone)
{
    while (gone != NULL) {
        record *next = gone->next_by_id;
        free_record(gone);
        gone = next;
    }
}

/* Unlinks what can go: all dead records, and if that is not enough the longest unused
 * one. Only then are they ended, which may run any code. */
static void
make_room(sipy_functions *fs)
{
    record *gone = NULL, *oldest = NULL;
    for (size_t i = 0; i < RECORD_BUCKETS; i++) {
        record *next;
        for (record *r = fs->by_id[i]; r != NULL; r = next) {
            next = r->next_by_id;
            if (r->pending) {
                continue;
            }
            if (!is_alive(r)) {
                unlink_record(fs, r);
                r->next_by_id = gone;
                gone = r;
            }
            else if (r->kind != RECORD_CLASS &&
                     (oldest == NULL || r->used < oldest->used)) {
                oldest = r;
            }
        }
    }
    if (oldest != NULL && fs->count > RECORDS_MAX / 4 * 3) {
        unlink_record(fs, oldest);
        oldest->next_by_id = gone;
        gone = oldest;
    }
    free_records(gone);
}

void
sipy_transfer_forget(sipy_transfer *t)
{
    sipy_functions *fs = t->functions;
    record *gone = NULL;
    for (size_t i = 0; fs != NULL && i < RECORD_BUCKETS; i++) {
        record *next;
        for (record *r = fs->by_id[i]; r != NULL; r = next) {
            next = r->next_by_id;
            if (!r->pending) {
                unlink_record(fs, r);
                r->next_by_id = gone;
                gone = r;
            }
        }
    }
    free_records(gone);
    if (fs != NULL) {
        PyDict_Clear(fs->namespaces);
        PyDict_Clear(fs->bindings);
    }
}

record *
sipy__record_new(sipy_functions *fs, record_kind kind, PyObject *obj, uint64_t id,
                 bool home)
{
    if (kind != RECORD_CLASS && fs->count >= RECORDS_MAX) {
        make_room(fs);
    }
    record *r = si_calloc(sizeof(*r));
    if (r == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (home) {
        r->weak = PyWeakref_NewRef(obj, NULL);
        if (r->weak == NULL) {
            si_free(r);
            return NULL;
        }
        r->obj = obj;
    }
    else {
        r->obj = Py_NewRef(obj);
    }
    r->kind = kind;
    r->id = id;
    r->used = ++fs->clock;
    size_t bucket = bucket_of_obj(obj);
    r->next_by_obj = fs->by_obj[bucket];
    fs->by_obj[bucket] = r;
    r->next_by_id = fs->by_id[id & (RECORD_BUCKETS - 1)];
    fs->by_id[id & (RECORD_BUCKETS - 1)] = r;
    if (kind != RECORD_CLASS) {
        fs->count++;
    }
    return r;
}

void
sipy__functions_clear(sipy_transfer *t)
{
    sipy_functions *fs = t->functions;
    t->functions = NULL;
    if (fs == NULL) {
        return;
    }
    for (size_t i = 0; i < RECORD_BUCKETS; i++) {
        while (fs->by_id[i] != NULL) {
            sipy__record_end(fs, fs->by_id[i]);
        }
    }
    Py_CLEAR(fs->namespaces);
    Py_CLEAR(fs->bindings);
    si_free(fs);
}

int
sipy__functions_traverse(sipy_transfer *t, visitproc visit, void *arg)
{
    sipy_functions *fs = t->functions;
    if (fs == NULL) {
        return 0;
    }
    for (size_t i = 0; i < RECORD_BUCKETS; i++) {
        for (record *r = fs->by_id[i]; r != NULL; r = r->next_by_id) {
            if (r->weak == NULL) {
                Py_VISIT(r->obj);
            }
            Py_VISIT(r->weak);
            Py_VISIT(r->names);
            for (size_t k = 0; k < r->deps.count; k++) {
                if (r->deps.list[k].own_where) {
                    Py_VISIT(r->deps.list[k].where);
                }
                if (r->deps.list[k].own_value) {
                    Py_VISIT(r->deps.list[k].value);
                }
            }
        }
    }
    Py_VISIT(fs->namespaces);
    Py_VISIT(fs->bindings);
    return 0;
}

/* ---- blobs ---- */

static void
release_blob(si_block *block, void *context)
{
    sipy_image_fini(context);
    si_free(context);
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
sipy__blob_new(sipy_image *image)
{
    sipy_image *kept = si_alloc(sizeof(*kept));
    si_block *block = NULL;
    if (kept != NULL) {
        *kept = *image;
        sipy_image_init(image);
        block = si_block_wrap(NULL, 0, release_blob, kept);
        if (block == NULL) {
            *image = *kept;
            si_free(kept);
        }
    }
    if (block == NULL) {
        sipy_image_fini(image);
        PyErr_NoMemory();
    }
    return block;
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
    if (enc_room(e, 32) < 0) {
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
    si_block_hold(blob);
    if (sipy_image_hold(e->image, blob, dropper_of(tag)) < 0) {
        si_block_drop(blob);
        return -1;
    }
    enc_varint(e, (uint64_t)number + 1);
    return 0;
}

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

PyObject *
sipy__dec_described(sipy_decoder *d, const char *where,
                    PyObject *(*receive)(sipy_transfer *t, uint64_t id, si_block *blob))
{
    uint64_t id;
    si_block *blob;
    sipy_functions *fs = sipy__functions(d->t);
    if (fs == NULL || sipy__dec_by_id(d, TAG_FUNCTION, &id, &blob) < 0) {
        return NULL;
    }
    record *r = sipy__record_by_id(fs, id);
    if (r != NULL) {
        return Py_NewRef(r->obj);
    }
    if (blob == NULL) {
        return sipy__damaged(d);
    }
    if (Py_EnterRecursiveCall(where)) {
        return NULL;
    }
    PyObject *obj = receive(d->t, id, blob);
    Py_LeaveRecursiveCall();
    return obj;
}

sipy_decoder *
sipy__blob_open(sipy_transfer *t, si_block *blob)
{
    const sipy_image *image = blob->context;
    if (image == NULL) {
        PyErr_SetString(PyExc_ValueError, "damaged or truncated image");
        return NULL;
    }
    return sipy__decoder_begin(t, image->data, image->len, image->holds, image->hold_count);
}
