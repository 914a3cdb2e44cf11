/* buildings.c — descriptions that are being written, and those that lead back to them.
 *
 * What refers to something whose description is not complete (recursion, methods that name
 * their class) writes its id alone. Such a description is open: it can be read only where
 * that is being read too. So it is set aside as a part of the outermost one that it leads
 * back to, directly or through others, and whatever is written inside of that uses it from
 * there: all that refer to each other are described once. Once the outermost one is
 * complete, it holds its parts, where a receiver finds those that it does not know.
 * (These are the strongly connected components of Tarjan's algorithm.)
 */
#include "binding/transfer/functions.h"
#include "core/base/alloc.h"

static int
add_part(building *b, si_block *blob)
{
    open_parts *all = b->parts;
    if (all->count == all->cap) {
        size_t cap = all->cap * 2 + 8;
        open_part *more = si_realloc(all->list, cap * sizeof(open_part));
        if (more == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        all->list = more;
        all->cap = cap;
    }
    si_block_hold(blob);
    b->part = all->count++;
    all->list[b->part] = (open_part){.id = b->id, .blob = blob, .tag = b->tag};
    return 0;
}

/* Forgets the parts that were set aside inside of b. */
static void
drop_parts(building *b)
{
    while (b->parts->count > b->first) {
        si_block_drop(b->parts->list[--b->parts->count].blob);
    }
}

static bool
is_class(unsigned tag)
{
    return tag == TAG_LOCAL_CLASS || tag == TAG_TYPE_PARAM;
}

/* b is complete, and whole its blob, which holds the parts: it is sent for each of them.
 * Only for classes if there is one: those are described once, so a function that is as it
 * was does not mean that all of the whole is. */
static void
join_parts(sipy_functions *fs, building *b, si_block *whole)
{
    bool classes = is_class(b->tag);
    for (size_t i = b->first; i < b->parts->count; i++) {
        sipy__blob_joins(b->parts->list[i].blob, whole);
        classes = classes || is_class(b->parts->list[i].tag);
    }
    for (size_t i = b->first; i < b->parts->count; i++) {
        record *r = classes && !is_class(b->parts->list[i].tag)
                        ? NULL
                        : sipy__record_by_id(fs, b->parts->list[i].id);
        if (r != NULL && r->blob == NULL) {
            si_block_hold(whole);
            r->blob = whole;
        }
    }
}

static void
list_open(sipy_functions *fs, building *b)
{
    building **bucket = &fs->open[sipy__bucket_of(b->obj)];
    b->next = *bucket;
    *bucket = b;
}

static void
unlist_open(sipy_functions *fs, const building *b)
{
    building **at = &fs->open[sipy__bucket_of(b->obj)];
    while (*at != b) {
        at = &(*at)->next;
    }
    *at = b->next;
}

/* The innermost description of obj that e belongs to and that can be referred to. */
static building *
find_open(const sipy_encoder *e, const PyObject *obj)
{
    if (e->building == NULL) {
        return NULL;
    }
    building *b = e->t->functions->open[sipy__bucket_of(obj)];
    while (b != NULL && (b->obj != obj || b->id == 0 || b->parts != e->building->parts)) {
        b = b->next;
    }
    return b;
}

/* -> blob | NULL with an exception */
static si_block *
write_blob(sipy_encoder *outer, building *b,
           int (*write)(sipy_encoder *e, building *b, PyObject *with), PyObject *with)
{
    sipy_functions *fs = outer->t->functions;
    sipy_image image;
    sipy_image_init(&image);
    sipy_encoder *e = sipy__encoder_begin(outer->t, &image, SIPY_ASYNC);
    if (e == NULL) {
        return NULL;
    }
    e->in_function = true;
    e->building = b;
    e->scope = outer->scope;
    sipy__enc_hold(e);
    bool failed = write(e, b, with) < 0;
    for (size_t i = b->first; !failed && b->low == b->depth && i < b->parts->count; i++) {
        open_part *p = &b->parts->list[i];
        failed = sipy__image_hold_blob(&image, p->blob, p->tag) < 0;
    }
    if (failed) {
        sipy__blame(e);
        sipy__encoder_end(e, false);
        sipy_image_fini(&image);
        return NULL;
    }
    sipy__encoder_end(e, true);
    if (b->id == 0) {
        /* By now one below may have described it too: the id is the same. */
        record *r = sipy__record_of(fs, b->obj);
        b->id = r != NULL ? r->id : sipy__new_id();
    }
    return sipy__blob_new(&image, b->tag, b->id);
}

si_block *
sipy__describe(sipy_encoder *e, building *b,
               int (*write)(sipy_encoder *e, building *b, PyObject *with), PyObject *with)
{
    sipy_functions *fs = e->t->functions;
    open_parts own = {0};
    si_block *blob = NULL;
    b->outer = e->building;
    b->depth = b->outer == NULL ? 0 : b->outer->depth + 1;
    b->low = b->depth;
    b->parts = b->outer == NULL ? &own : b->outer->parts;
    b->first = b->parts->count;
    if (Py_EnterRecursiveCall(" while sending a function or class")) {
        return NULL;
    }
    sipy__records_busy(fs);
    list_open(fs, b);
    blob = write_blob(e, b, write, with);
    unlist_open(fs, b);
    if (blob != NULL && b->low < b->depth) {
        if (add_part(b, blob) < 0) {
            si_block_drop(blob);
            blob = NULL;
        }
        else if (b->low < b->outer->low) {
            b->outer->low = b->low;
        }
    }
    else if (blob != NULL) {
        join_parts(fs, b, blob);
    }
    if (blob == NULL || b->low == b->depth) {
        drop_parts(b);
    }
    if (b->outer == NULL) {
        si_free(own.list);
    }
    sipy__records_idle(fs);
    Py_LeaveRecursiveCall();
    return blob;
}

void
sipy__described_as(sipy_encoder *e, record *r, const building *b, si_block *blob)
{
    r->scope = e->scope;
    sipy__blob_lives(blob, r->life);
    r->part = b->part;
    if (b->low == b->depth && r->blob == NULL) {
        si_block_hold(blob);
        r->blob = blob;
    }
}

bool
sipy__is_building(sipy_encoder *e, PyObject *obj, uint64_t *id)
{
    const building *b = find_open(e, obj);
    if (b == NULL) {
        return false;
    }
    if (b->depth < e->building->low) {
        e->building->low = b->depth;
    }
    *id = b->id;
    return true;
}

si_block *
sipy__blob_for(sipy_encoder *e, const record *r)
{
    building *now = e->building, *in = now;
    if (r->blob != NULL || now == NULL || r->part >= now->parts->count ||
        now->parts->list[r->part].id != r->id) {
        return r->blob;
    }
    while (in->first > r->part) {
        in = in->outer;
    }
    if (in->low < now->low) {
        now->low = in->low;
    }
    return now->parts->list[r->part].blob;
}

uint64_t
sipy__described_id(sipy_encoder *e, PyObject *obj)
{
    const building *b = find_open(e, obj);
    if (b != NULL) {
        return b->id;
    }
    record *r = sipy__record_of(e->t->functions, obj);
    return r == NULL ? 0 : r->id;
}
