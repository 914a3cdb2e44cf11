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
        fs->sweep_in = SWEEP_MIN;
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
    *d = (dep){.kind = kind, .where = where, .name = name, .value = value};
    /* A function must not keep itself alive through its own record, nor a class through
     * those of its methods. */
    if (value != NULL && value != self &&
        (PyFunction_Check(value) ||
         (PyType_Check(value) &&
          PyType_HasFeature((PyTypeObject *)value, Py_TPFLAGS_HEAPTYPE)))) {
        d->weak = PyWeakref_NewRef(value, NULL);
        if (d->weak == NULL) {
            return -1;
        }
    }
    d->own_where = where != self;
    d->own_value = value != NULL && value != self && d->weak == NULL;
    if (d->own_where) {
        Py_INCREF(where);
    }
    if (d->own_value) {
        Py_INCREF(value);
    }
    Py_XINCREF(name);
    list->count++;
    return 0;
}

int
sipy__deps_add_cell(deps *list, PyObject *self, Py_ssize_t i, PyObject *value)
{
    if (sipy__deps_add(list, DEP_CELL, self, self, NULL, value) < 0) {
        return -1;
    }
    list->list[list->count - 1].id = (uint64_t)i;
    return 0;
}

PyObject *
sipy__items_of(PyObject *where)
{
    PyObject *dict =
        PyFunction_Check(where) ? ((PyFunctionObject *)where)->func_dict : where;
    return dict == NULL || PyDict_GET_SIZE(dict) == 0 ? NULL : dict;
}

int
sipy__deps_add_items(deps *list, PyObject *self, PyObject *where)
{
    PyObject *items = sipy__items_of(where);
    PyObject *copy = items == NULL ? NULL : PyDict_Copy(items);
    if (items != NULL && copy == NULL) {
        return -1;
    }
    int failed = sipy__deps_add(list, DEP_ITEMS, self, where, NULL, copy);
    Py_XDECREF(copy);
    return failed;
}

int
sipy__deps_add_use(deps *list, uint64_t id)
{
    dep *d = deps_next(list);
    if (d == NULL) {
        return -1;
    }
    *d = (dep){.kind = DEP_USE, .id = id};
    list->count++;
    return 0;
}

int
sipy__deps_move(deps *into, deps *from)
{
    while (from->count > 0) {
        dep *d = deps_next(into);
        if (d == NULL) {
            return -1;
        }
        *d = from->list[--from->count];
        into->count++;
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
        Py_XDECREF(old.list[i].weak);
    }
    si_free(old.list);
}

/* ---- the table ---- */

size_t
sipy__bucket_of(const PyObject *obj)
{
    uintptr_t hash = (uintptr_t)obj >> 4;
    return (hash ^ hash >> 9) & (RECORD_BUCKETS - 1);
}

bool
sipy__refers_to(PyObject *weak, PyObject *obj)
{
    PyObject *now = sipy_compat_weakref_get(weak);
    Py_XDECREF(now);
    return now == obj;
}

static bool
is_alive(const record *r)
{
    return r->weak == NULL || sipy__refers_to(r->weak, r->obj);
}

record *
sipy__record_of(sipy_functions *fs, PyObject *obj)
{
    for (record *r = fs->by_obj[sipy__bucket_of(obj)]; r != NULL; r = r->next_by_obj) {
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

static void
unlink_record(sipy_functions *fs, record *r)
{
    record **at = &fs->by_obj[sipy__bucket_of(r->obj)];
    while (*at != r) {
        at = &(*at)->next_by_obj;
    }
    *at = r->next_by_obj;
    at = &fs->by_id[r->id & (RECORD_BUCKETS - 1)];
    while (*at != r) {
        at = &(*at)->next_by_id;
    }
    *at = r->next_by_id;
    fs->total--;
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
    sipy__life_end(r->life);
    si_block_drop(r->blob);
    Py_XDECREF(r->names);
    Py_XDECREF(r->applied);
    sipy__deps_clear(&r->deps);
    si_free(r);
}

/* Frees a chain of unlinked ones, which may run any code; but while records are compared,
 * that comes afterwards. */
static void
free_records(sipy_functions *fs, record *gone)
{
    while (gone != NULL) {
        record *next = gone->next_by_id;
        if (fs->comparing > 0) {
            gone->next_by_id = fs->ended;
            fs->ended = gone;
        }
        else {
            free_record(gone);
        }
        gone = next;
    }
}

void
sipy__record_end(sipy_functions *fs, record *r)
{
    unlink_record(fs, r);
    r->next_by_id = NULL;
    free_records(fs, r);
}

bool
sipy__compared(sipy_functions *fs)
{
    record *gone = fs->ended;
    if (--fs->comparing > 0 || gone == NULL) {
        return true;
    }
    fs->ended = NULL;
    free_records(fs, gone);
    return false;
}

void
sipy__records_busy(sipy_functions *fs)
{
    if (fs->busy++ == 0) {
        fs->busy_since = fs->clock;
    }
}

void
sipy__records_idle(sipy_functions *fs)
{
    fs->busy--;
}

/* Whether what is described or received right now may refer to r. */
static bool
is_busy(const sipy_functions *fs, const record *r)
{
    return r->pending || (fs->busy > 0 && r->used > fs->busy_since);
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
            if (is_busy(fs, r)) {
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
    free_records(fs, gone);
}

/* Ends the records of what is gone, and knows only weakly from now on what is not known at
 * home any more. The next one comes after a share as many new records. */
static void
sweep(sipy_functions *fs)
{
    PyObject **let_go = si_alloc((fs->total + 1) * sizeof(PyObject *));
    size_t count = 0;
    record *gone = NULL;
    for (size_t i = 0; let_go != NULL && i < RECORD_BUCKETS; i++) {
        record *next;
        for (record *r = fs->by_id[i]; r != NULL; r = next) {
            next = r->next_by_id;
            if (is_busy(fs, r)) {
                continue;
            }
            if (!is_alive(r)) {
                unlink_record(fs, r);
                r->next_by_id = gone;
                gone = r;
            }
            else if (r->weak == NULL && r->kind != RECORD_CODE &&
                     sipy__has_ended(r->home)) {
                r->weak = PyWeakref_NewRef(r->obj, NULL);
                if (r->weak != NULL) {
                    let_go[count++] = r->obj;
                }
                PyErr_Clear();
            }
        }
    }
    fs->sweep_in = (fs->total - count) / 8 + SWEEP_MIN;
    /* Both may run any code. */
    free_records(fs, gone);
    while (count > 0) {
        Py_DECREF(let_go[--count]);
    }
    si_free(let_go);
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
    if (fs != NULL) {
        free_records(fs, gone);
        PyDict_Clear(fs->namespaces);
        PyDict_Clear(fs->bindings);
    }
}

record *
sipy__record_new(sipy_functions *fs, record_kind kind, PyObject *obj, uint64_t id,
                 bool home)
{
    if (fs->sweep_in == 0) {
        sweep(fs);
    }
    if (kind != RECORD_CLASS && fs->count >= RECORDS_MAX) {
        make_room(fs);
    }
    record *r = si_calloc(sizeof(*r));
    if (r == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (home) {
        r->life = kind == RECORD_CODE ? NULL : sipy__life_new();
        if (r->life != NULL || kind == RECORD_CODE) {
            r->weak = PyWeakref_NewRef(obj, NULL);
        }
        if (r->weak == NULL) {
            sipy__life_end(r->life);
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
    size_t bucket = sipy__bucket_of(obj);
    r->next_by_obj = fs->by_obj[bucket];
    fs->by_obj[bucket] = r;
    r->next_by_id = fs->by_id[id & (RECORD_BUCKETS - 1)];
    fs->by_id[id & (RECORD_BUCKETS - 1)] = r;
    fs->total++;
    fs->sweep_in -= fs->sweep_in > 0; /* a sweep may have led here */
    if (kind != RECORD_CLASS) {
        fs->count++;
    }
    return r;
}

record *
sipy__record_renew(sipy_functions *fs, record_kind kind, PyObject *obj, uint64_t id)
{
    record *old = sipy__record_of(fs, obj);
    sipy_life *life = NULL;
    if (old != NULL) {
        if (old->id == id) {
            life = old->life;
            old->life = NULL;
        }
        sipy__record_end(fs, old);
    }
    record *r = sipy__record_new(fs, kind, obj, id, true);
    if (r != NULL && life != NULL) {
        sipy_life *fresh = r->life;
        r->life = life;
        life = fresh;
    }
    sipy__life_end(life);
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
            Py_VISIT(r->applied);
            for (size_t k = 0; k < r->deps.count; k++) {
                if (r->deps.list[k].own_where) {
                    Py_VISIT(r->deps.list[k].where);
                }
                if (r->deps.list[k].own_value) {
                    Py_VISIT(r->deps.list[k].value);
                }
                Py_VISIT(r->deps.list[k].weak);
            }
        }
    }
    Py_VISIT(fs->namespaces);
    Py_VISIT(fs->bindings);
    return 0;
}
