/* internal.h — what the files of the transfer engine share. */
#ifndef SIPY_TRANSFER_INTERNAL_H
#define SIPY_TRANSFER_INTERNAL_H

#include <string.h>

#include "binding/compat/compat_transfer.h"
#include "binding/transfer/format.h"
#include "binding/transfer/transfer.h"
#include "core/base/annotate.h"
#include "core/memory/block.h"

/* From this size on, bytes travel beside the image in a block of their own. */
#define SIPY_HELD_MIN ((size_t)65536)

typedef struct sipy_encoder sipy_encoder;
typedef struct sipy_decoder sipy_decoder;
typedef struct sipy_functions sipy_functions;

/* ---- the engine of one interpreter ---- */

/* Strings that the engine needs again and again, interned per interpreter. */
#define SIPY_TRANSFER_NAMES(X) \
    X(__main__)                \
    X(__name__)                \
    X(__module__)              \
    X(__qualname__)            \
    X(__dict__)                \
    X(__reduce_ex__)           \
    X(__reduce__)              \
    X(__getstate__)            \
    X(__setstate__)            \
    X(__getnewargs__)          \
    X(__getnewargs_ex__)       \
    X(__new__)                 \
    X(__slots__)               \
    X(__orig_bases__)          \
    X(__class__)               \
    X(__builtins__)            \
    X(__weakref__)             \
    X(__doc__)                 \
    X(__notes__)               \
    X(__cause__)               \
    X(__context__)             \
    X(__self__)                \
    X(__wrapped__)             \
    X(_fields)                 \
    X(_make)                   \
    X(append)                  \
    X(extend)                  \
    X(raw)                     \
    X(dispatch_table)          \
    X(__newobj__)              \
    X(__newobj_ex__)           \
    X(modules)

/* Objects that are looked up when they are first needed. */
#define SIPY_TRANSFER_OBJECTS(X)                          \
    X(dispatch_table)      /* copyreg.dispatch_table */   \
    X(newobj)              /* copyreg.__newobj__ */       \
    X(newobj_ex)           /* copyreg.__newobj_ex__ */    \
    X(slotnames)           /* copyreg._slotnames */       \
    X(object_reduce_ex)    /* object.__reduce_ex__ */     \
    X(object_reduce)       /* object.__reduce__ */        \
    X(object_getstate)     /* object.__getstate__ */      \
    X(object_getattribute) /* object.__getattribute__ */  \
    X(exception_reduce)    /* BaseException.__reduce__ */ \
    X(exporter_type)       /* see buffers.c */            \
    X(shared_type)         /* see shared.c */             \
    X(array_type)          /* array.array */              \
    X(globals)             /* (module, name) -> object, see classes.c */

/* How instances of a class are written; see classes.c. */
typedef enum sipy_class_kind {
    SIPY_KIND_REDUCE = 0, /* by what its __reduce_ex__ says */
    SIPY_KIND_DICT,       /* plain: the class and its __dict__ */
    SIPY_KIND_SLOTS,      /* plain: the class and its slots */
    SIPY_KIND_EMPTY,      /* plain: neither */
    SIPY_KIND_NAMEDTUPLE, /* made by collections.namedtuple or typing.NamedTuple */
    SIPY_KIND_SINGLETON,  /* a mark of dataclasses: a name in that module */
    SIPY_KIND_OWN,        /* one of our own types */
    SIPY_KIND_EXCEPTION,  /* a plain exception */
} sipy_class_kind;

/* Knowledge about one class, true while the class keeps its version. The class itself
 * is not owned: versions are never used twice, so a new class at the same address is
 * not mistaken for it. */
typedef struct sipy_class_info {
    PyTypeObject *type;
    unsigned int version;
    sipy_class_kind kind;
    uint64_t checked;            /* number of the encoding that last looked at it */
    PyObject *slots;             /* tuple of attribute names, SIPY_KIND_SLOTS */
    const sipy_crosser *crosser; /* SIPY_KIND_OWN */
} sipy_class_info;

#define SIPY_NAME_CACHE 512 /* a power of two */
#define SIPY_CLASS_CACHE 256

/* A short ASCII str that was decoded as a name before. */
typedef struct sipy_name {
    PyObject *str; /* NULL: free */
    bool interned;
} sipy_name;

struct sipy_transfer {
    sipy_hooks hooks;
    bool cleared;
    uint64_t encodings; /* how many so far */
    sipy_image scratch; /* packets are written here */
    bool scratch_busy;
    sipy_encoder *spare_encoder;
    sipy_decoder *spare_decoder;
    sipy_functions *functions; /* NULL until the first function crosses */
    PyObject *empty_tuple;
    PyObject *unset; /* stands for the value of a slot that has none */
    PyObject *five;  /* the pickle protocol that objects are asked for */
#define SIPY_DECLARE(name) PyObject *n_##name;
    SIPY_TRANSFER_NAMES(SIPY_DECLARE)
#undef SIPY_DECLARE
#define SIPY_DECLARE(name) PyObject *o_##name;
    SIPY_TRANSFER_OBJECTS(SIPY_DECLARE)
#undef SIPY_DECLARE
    sipy_class_info classes[SIPY_CLASS_CACHE];
    sipy_name names[SIPY_NAME_CACHE];
};

/* Where a small dict with `size` str keys that were set in order has its first value,
 * in its table of keys, if CPython lays it out as all supported versions do. It is
 * tried out before it is relied on: see sipy__dict_first. */
static inline PyObject **
dict_values(PyObject *dict, ptrdiff_t first)
{
    return (PyObject **)((char *)((PyDictObject *)dict)->ma_keys + first);
}

/* The offset for dict_values, for a dict with these keys in this order; -1 if this dict
 * is laid out in another way. */
ptrdiff_t
sipy__dict_first(PyObject *dict, PyObject *const *keys, Py_ssize_t size);

/* The objects copyreg.* and object.*; imports copyreg once. -> 0 | -1 */
int
sipy__need_pickling(sipy_transfer *t);

/* Whether an exception is set that need not pass: an Exception other than MemoryError. */
bool
sipy__is_answerable(void);

/* Whether the class itself, whatever its bases are, is written in Python. */
bool
sipy__is_of_python(PyTypeObject *type);

/* A class written in Python down to type. */
bool
sipy__is_python_metaclass(PyTypeObject *type);

/* A class written in Python, without a __new__ of its own, down to object. */
bool
sipy__is_plain_class(PyTypeObject *type);

/* Whether memory of that format (of a buffer; NULL: bytes) holds references to objects. */
bool
sipy__format_has_objects(const char *format);

/* A memoryview of all bytes that obj's buffer, taken with flags, spans. *view describes
 * that buffer, which is exported as long as the result lives; its first item is at
 * *offset. The result may be used in place by any interpreter. -> NULL with an exception */
PyObject *
sipy__span_of(sipy_transfer *t, PyObject *obj, int flags, const Py_buffer **view,
              Py_ssize_t *offset);

void
sipy__functions_clear(sipy_transfer *t);
int
sipy__functions_traverse(sipy_transfer *t, visitproc visit, void *arg);

#endif /* SIPY_TRANSFER_INTERNAL_H */
