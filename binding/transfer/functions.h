/* functions.h — functions and classes that cross by value, each shipped once.
 *
 * Model      Whatever crosses by value has an id that is unique in the process and
 *            stands for one state of it: a function whose code, defaults, closure or
 *            needed globals are rebound gets a new one. Its description (a blob: an
 *            image in raw memory) is written once; after that an image carries the id
 *            and a hold on the blob. The receiver looks the id up and reads the blob
 *            only if the id is new to it. What refers to each other is parts of one blob,
 *            see buildings.c: then the hold is on that one.
 * Records    One per id and interpreter. At home, where the object was made, it is
 *            known weakly; elsewhere strongly as long as it is known at home, and weakly
 *            from then on, as instances depend on classes. Functions and code are bounded
 *            in number, the longest unused goes first.
 * Lives      Each id of a function or class has one: raw memory that its record at home
 *            and the blobs that describe it hold. There others read, in any thread, that
 *            it is not known at home any more and so will not be sent again from there.
 */
#ifndef SIPY_TRANSFER_FUNCTIONS_H
#define SIPY_TRANSFER_FUNCTIONS_H

#include "binding/transfer/decoder.h"
#include "binding/transfer/encoder.h"

typedef enum record_kind {
    RECORD_FUNCTION = 0,
    RECORD_CODE,
    RECORD_CLASS,
} record_kind;

/* Something that must be as it was for the description of a function to be true. */
typedef enum dep_kind {
    DEP_CODE = 0, /* of function `where` */
    DEP_DEFAULTS,
    DEP_KWDEFAULTS,
    DEP_CELL,   /* contents of its cell number `id` */
    DEP_GLOBAL, /* `name` in its globals; value NULL: it is not there */
    DEP_ITEMS,  /* all items of dict `where`, or attributes of function `where`: as in dict
                 * value; NULL: none */
    DEP_USE,    /* what has that id must be known by it, and be as it was in its turn */
} dep_kind;

typedef struct dep {
    dep_kind kind;
    bool own_where; /* else it is the function of the record itself */
    bool own_value;
    PyObject *where;
    PyObject *name;  /* owned, may be NULL */
    PyObject *value; /* compared by identity; may be NULL */
    PyObject *weak;  /* owned: weak reference to value if that is a function or class, which
                      * would live for what it contains otherwise; NULL: it is none */
    uint64_t id;     /* DEP_USE; DEP_CELL: which one */
} dep;

/* Whether an id is still known where it was given. */
typedef struct sipy_life {
    si_atomic_u32 refs;
    si_atomic_u32 ended;
} sipy_life;

typedef struct deps {
    dep *list;
    size_t count;
    size_t cap;
} deps;

typedef struct record {
    struct record *next_by_obj;
    struct record *next_by_id;
    uint64_t id;
    uint64_t used;
    record_kind kind;
    uint8_t tag;     /* RECORD_FUNCTION: what it is written with */
    bool importable; /* by value only as the function of a call */
    bool pending;    /* being received: not complete, must stay */
    PyObject *obj;   /* borrowed if weak, else owned */
    PyObject *weak;  /* weak reference to obj: at home, or elsewhere once it ended there */
    sipy_life *life; /* at home: owned; NULL of code */
    sipy_life *home; /* elsewhere: that at its home, which blob holds */
    PyObject *names; /* RECORD_CODE: the globals that it looks up, once known */
    si_block *blob;  /* NULL: must be written before it can be sent alone */
    size_t part;     /* where its description is among the open ones, if it is there */
    uint64_t scope;  /* of the encoding that found or made it valid */
    uint64_t space;  /* number of a function's namespace, see namespaces.c; 0: a module's */
    PyObject *globals; /* at home: of the function; borrowed, to be compared only */
    PyObject *applied; /* elsewhere, if space is not 0: the bindings applied in there */
    deps deps;
} record;

/* A description that can be read only where the one that it leads back to is being read. */
typedef struct open_part {
    uint64_t id;
    si_block *blob; /* owned */
    uint8_t tag;
} open_part;

typedef struct open_parts {
    open_part *list;
    size_t count;
    size_t cap;
} open_parts;

/* A description that is being written right now: on the stack of its thread. */
typedef struct building {
    /* Whoever begins it sets these; deps: what it depends on so far. */
    PyObject *obj;
    uint64_t id; /* 0: gets one once it is complete, cannot be referred to before */
    uint8_t tag;
    deps deps;
    PyObject *globals; /* sipy__space_of sets both: see record */
    uint64_t space;
    /* sipy__describe sets these. */
    struct building *outer; /* the one that it belongs to */
    struct building *next;  /* in the table of those that are written */
    uint32_t depth;
    uint32_t low;      /* depth of the outermost one that it leads back to */
    open_parts *parts; /* the open ones, of all up to the outermost */
    size_t first;      /* of those inside of it */
    size_t part;       /* itself, if it stays open */
} building;

#define RECORD_BUCKETS 256
#define RECORDS_MAX 1024
#define SWEEP_MIN 128

struct sipy_functions {
    record *by_obj[RECORD_BUCKETS];
    record *by_id[RECORD_BUCKETS];
    size_t count;    /* functions and code */
    size_t total;    /* records of any kind */
    size_t sweep_in; /* after so many more, those that nobody needs any more are ended */
    uint64_t clock;
    size_t busy;         /* descriptions that are written or read right now */
    uint64_t busy_since; /* the clock at the first of them: what was used later stays */
    building *open[RECORD_BUCKETS]; /* those that are written, of all threads; by object */
    size_t comparing; /* that go on; what is ended meanwhile waits in `ended` */
    record *ended;
    PyObject
        *namespaces;    /* (interpreter, module) -> (namespace, bindings applied, number) */
    PyObject *bindings; /* (space, name) -> (value, id, its described id) */
};

/* ---- records ---- */

/* The functions part of the engine, made when first needed. -> NULL with MemoryError */
sipy_functions *
sipy__functions(sipy_transfer *t);

uint64_t
sipy__new_id(void);

/* Where obj is in a table of RECORD_BUCKETS. */
size_t
sipy__bucket_of(const PyObject *obj);

/* Whether that weak reference is to obj, which is alive then. */
bool
sipy__refers_to(PyObject *weak, PyObject *obj);

/* The record of a living object, or NULL. */
record *
sipy__record_of(sipy_functions *fs, PyObject *obj);

/* The record with that id, its object alive, or NULL. */
record *
sipy__record_by_id(sipy_functions *fs, uint64_t id);

/* A new record; home: obj is known weakly. May end the longest unused one.
 * -> record | NULL with an exception */
record *
sipy__record_new(sipy_functions *fs, record_kind kind, PyObject *obj, uint64_t id,
                 bool home);

/* The same at home, for an object that has been described again: in place of the record
 * that it has, whose life goes on if id is the same. */
record *
sipy__record_renew(sipy_functions *fs, record_kind kind, PyObject *obj, uint64_t id);

void
sipy__record_end(sipy_functions *fs, record *r);

/* Between these, none that was used meanwhile goes to make room. They nest. */
void
sipy__records_busy(sipy_functions *fs);
void
sipy__records_idle(sipy_functions *fs);

/* Whether all that r depends on is as it was, looked at once per outermost encoding.
 * false: or not, with an exception; r may have been ended then. */
bool
sipy__record_valid(sipy_encoder *e, record *r);

/* A comparison is over. -> whether no record was ended meanwhile */
bool
sipy__compared(sipy_functions *fs);

int
sipy__deps_add(deps *list, dep_kind kind, PyObject *self, PyObject *where, PyObject *name,
               PyObject *value);
/* A DEP_CELL: cell number i of function self has that value. */
int
sipy__deps_add_cell(deps *list, PyObject *self, Py_ssize_t i, PyObject *value);
/* A DEP_ITEMS: where, a dict or a function, has the items that it has now. */
int
sipy__deps_add_items(deps *list, PyObject *self, PyObject *where);
/* A DEP_USE. */
int
sipy__deps_add_use(deps *list, uint64_t id);
/* Moves all; on failure (MemoryError) some may have been moved. */
int
sipy__deps_move(deps *into, deps *from);
void
sipy__deps_clear(deps *list);
/* The dict that a DEP_ITEMS is about, borrowed; NULL: nothing is in it. */
PyObject *
sipy__items_of(PyObject *where);

/* ---- descriptions that are being written ---- */

/* Writes the description of b->obj, as part of what e writes, by write(e, b, with).
 * -> blob with one reference | NULL with an exception */
si_block *
sipy__describe(sipy_encoder *e, building *b,
               int (*write)(sipy_encoder *e, building *b, PyObject *with), PyObject *with);

/* r, the record of what b has described as blob, can be sent by it from now on. */
void
sipy__described_as(sipy_encoder *e, record *r, const building *b, si_block *blob);

/* Whether e belongs to the description of obj: then *id stands for it, without a blob. */
bool
sipy__is_building(sipy_encoder *e, PyObject *obj, uint64_t *id);

/* The blob to send with r's id in what e writes, which does so then; borrowed. NULL: it
 * must be described. */
si_block *
sipy__blob_for(sipy_encoder *e, const record *r);

/* The id under which obj was described last, or is being described; 0: under none. */
uint64_t
sipy__described_id(sipy_encoder *e, PyObject *obj);

/* ---- blobs ---- */

/* The description with that tag and id; takes over what image has.
 * -> block | NULL with MemoryError (image is then empty) */
si_block *
sipy__blob_new(sipy_image *image, unsigned tag, uint64_t id);

/* image holds blob (tag: TAG_CODE, or that of a description). -> 0 | -1 with MemoryError */
int
sipy__image_hold_blob(sipy_image *image, si_block *blob, unsigned tag);

/* A life with one reference | NULL with MemoryError. */
sipy_life *
sipy__life_new(void);

/* Marks it as ended and gives the reference back; NULL is allowed. */
void
sipy__life_end(sipy_life *life);

bool
sipy__has_ended(const sipy_life *life);

/* blob, which nobody else has seen yet, describes what has that life (NULL: none). */
void
sipy__blob_lives(si_block *blob, sipy_life *life);

/* part, which nobody else has seen yet, is held by whole from now on, and can be read only
 * while that lives. */
void
sipy__blob_joins(si_block *part, si_block *whole);

/* r was received by blob: it can be sent on by it, or by what that is a part of. */
void
sipy__received_by(record *r, si_block *blob);

/* Writes tag, id and a hold on blob (NULL: the receiver has it by then). */
int
sipy__enc_by_id(sipy_encoder *e, PyObject *obj, unsigned tag, uint64_t id, si_block *blob);

/* Reads id and blob behind a tag; *blob is borrowed, NULL if none was written. A blob of
 * the other sort (code, or a description) is damage. */
int
sipy__dec_by_id(sipy_decoder *d, unsigned tag, uint64_t *id, si_block **blob);

/* A new object from the description in blob, made known by that id. -> new reference
 * | NULL with an exception */
PyObject *
sipy__receive_function(sipy_transfer *t, uint64_t id, si_block *blob, unsigned tag);
PyObject *
sipy__receive_class(sipy_transfer *t, uint64_t id, si_block *blob);
PyObject *
sipy__receive_made(sipy_transfer *t, uint64_t id, si_block *blob, unsigned tag);

/* A decoder for the inside of a blob. -> NULL with an exception */
sipy_decoder *
sipy__blob_open(sipy_transfer *t, si_block *blob);

/* Writes one part of a description; what and name say which in an error. */
int
sipy__enc_described(sipy_encoder *e, PyObject *value, const char *what, PyObject *name);

/* ---- submodules ---- */

/* Writes the names of the loaded submodules that func, whose globals are needs, may use as
 * attributes. -> 0 | -1 with an exception */
int
sipy__enc_submodules(sipy_encoder *e, PyFunctionObject *func, PyObject *needs);

/* Reads and imports them. -> 0 | -1 with an exception */
int
sipy__dec_submodules(sipy_decoder *d);

/* ---- what is made by a call ---- */

/* obj by an id and a description: callable, arguments, keywords, attributes, as parts_of
 * gives them, which may note what they depend on. Descriptions of one object may nest.
 * -> 1 | -1 */
int
sipy__enc_made(sipy_encoder *e, PyObject *obj, unsigned tag,
               PyObject *(*parts_of)(sipy_transfer *t, PyObject *obj, deps *list));

/* ---- generic functions ---- */

/* The implementations of a function that singledispatch made: class -> function,
 * borrowed. NULL: it is none, or with an exception. */
PyObject *
sipy__registry_of(PyFunctionObject *func);

/* The parts of its description. */
int
sipy__write_dispatcher(sipy_encoder *e, PyFunctionObject *func, deps *list);

/* The function from the first part, then the rest of it. */
PyObject *
sipy__make_dispatcher(sipy_decoder *d);
int
sipy__fill_dispatcher(sipy_decoder *d, PyObject *func);

/* ---- code ---- */

/* The names that code and the code nested in it look up as globals: a tuple. */
PyObject *
sipy__global_names(sipy_transfer *t, PyObject *code);

/* ---- namespaces ---- */

/* Which namespace the function that b describes has: a tuple of its name and number, which
 * are kept in b too. New reference. */
PyObject *
sipy__space_of(sipy_encoder *e, building *b);

/* The namespace of that name and number for functions of that interpreter, and the
 * bindings applied there. New references. */
int
sipy__namespace(sipy_transfer *t, PyObject *interp_id, PyObject *name, uint64_t number,
                PyObject **ns, PyObject **applied);

/* The number that stands for `name` being bound to value, as it was described last, in
 * that space; value NULL: that it is not bound there any more. New reference; None: a
 * receiver can have no binding of it. */
PyObject *
sipy__binding(sipy_encoder *e, PyObject *space, PyObject *name, PyObject *value);

/* ---- enums.c ---- */

/* Whether the class of type is the one of that name, or has it as a base. */
bool
sipy__has_metaclass(PyTypeObject *type, const char *module, const char *name);

/* Whether an attribute of an enum tells of its members: it is set before anything that may
 * look them up. */
bool
sipy__is_enum_table(const char *name, PyObject *value);

/* What members get once all of them are made: a list of (member, state). -> list | NULL */
PyObject *
sipy__enum_states(sipy_transfer *t, PyTypeObject *type);

/* Sets it. -> 0 | -1 */
int
sipy__set_states(sipy_decoder *d, PyObject *states);

#endif /* SIPY_TRANSFER_FUNCTIONS_H */
