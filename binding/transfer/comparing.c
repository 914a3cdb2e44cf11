/* comparing.c — whether what a description depends on is as it was. */
#include "binding/transfer/functions.h"
#include "core/base/alloc.h"

#define FIRST_RECORDS 16

/* The records that are compared, each once, however many use it: it counts as checked from
 * then on. */
typedef struct comparison {
    uint64_t scope;
    size_t count;
    size_t cap;
    record **list;
    record *first[FIRST_RECORDS];
} comparison;

static int
add_record(comparison *all, record *r)
{
    if (all->count == all->cap) {
        size_t cap = all->cap * 2;
        record **more = si_alloc(cap * sizeof(record *));
        if (more == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        memcpy(more, all->list, all->count * sizeof(record *));
        if (all->list != all->first) {
            si_free(all->list);
        }
        all->list = more;
        all->cap = cap;
    }
    r->scope = all->scope;
    all->list[all->count++] = r;
    return 0;
}

/* What is used by that id must be known still, or else be described right now. */
static bool
is_known(sipy_encoder *e, comparison *all, uint64_t id)
{
    record *r = sipy__record_by_id(e->t->functions, id);
    if (r != NULL) {
        return r->scope == all->scope || add_record(all, r) == 0;
    }
    const building *b = e->building;
    while (b != NULL && b->id != id) {
        b = b->outer;
    }
    return b != NULL;
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
cell_now(PyFunctionObject *func, uint64_t i)
{
    PyObject *cells = func->func_closure;
    return cells != NULL && i < (uint64_t)PyTuple_GET_SIZE(cells)
               ? PyCell_GET(PyTuple_GET_ITEM(cells, (Py_ssize_t)i))
               : NULL;
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
            return cell_now(func, d->id);
        case DEP_ITEMS:
            return same_items(sipy__items_of(d->where), d->value) ? d->value : Py_None;
        default:
            return PyDict_GetItemWithError(func->func_globals, d->name);
    }
}

static bool
is_as_it_was(sipy_encoder *e, comparison *all, const deps *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const dep *d = &list->list[i];
        if (d->kind == DEP_USE
                ? !is_known(e, all, d->id)
                : value_now(d) != d->value ||
                      (d->weak != NULL && !sipy__refers_to(d->weak, d->value))) {
            return false;
        }
    }
    return true;
}

bool
sipy__record_valid(sipy_encoder *e, record *r)
{
    sipy_functions *fs = e->t->functions;
    if (r->scope == e->scope) {
        return true;
    }
    comparison all;
    all.scope = e->scope;
    all.count = 0;
    all.cap = FIRST_RECORDS;
    all.list = all.first;
    fs->comparing++;
    bool same = add_record(&all, r) == 0;
    for (size_t i = 0; same && i < all.count; i++) {
        same = is_as_it_was(e, &all, &all.list[i]->deps);
    }
    /* A key in a namespace may have run code when it was compared. */
    same = same && !PyErr_Occurred();
    for (size_t i = 0; !same && i < all.count; i++) {
        all.list[i]->scope = 0;
    }
    if (all.list != all.first) {
        si_free(all.list);
    }
    return sipy__compared(fs) && same;
}
